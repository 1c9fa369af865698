use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What could not be written: counted and said, never a reason for a job to stop.
#[derive(Debug, Default)]
pub struct Faults {
    records: AtomicU64,
    output_bytes: AtomicU64,
    waiting: AtomicU64,
    last: Mutex<Option<String>>,
    above_total: AtomicBool,
    taken_away: Mutex<Vec<PathBuf>>,
}

/// More logs than these are not told by name.
const MOST_PATHS: usize = 1_000;

/// The faults since the last report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultReport {
    /// Record lines that are lost for good.
    pub records: u64,
    /// Bytes of jobs' output that were not written.
    pub output_bytes: u64,
    /// Record lines that wait in memory for the log to become writable.
    pub waiting: u64,
    /// The newest error, with the file; absent if everything that was tried lately worked.
    pub error: Option<String>,
}

impl Faults {
    pub(super) fn record_waits(&self, path: &Path, error: &io::Error) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.say(path, error);
    }

    pub(super) fn record_written_late(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn record_lost(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.records.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn output_lost(&self, bytes: u64, path: &Path, error: &io::Error) {
        self.output_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.say(path, error);
    }

    pub(super) fn more_output_lost(&self, bytes: u64) {
        self.output_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Lines were written, and are perhaps not on the disk.
    pub fn not_synced(&self, path: &Path, error: &io::Error) {
        *crate::model::lock(&self.last) = Some(format!("{} cannot be synced to the disk: {error}", path.display()));
    }

    /// Others moved or deleted a log while it was in use; a new one was begun.
    pub(super) fn taken_away(&self, path: &Path) {
        let mut paths = crate::model::lock(&self.taken_away);
        if paths.len() < MOST_PATHS && !paths.iter().any(|other| other == path) {
            paths.push(path.to_path_buf());
        }
    }

    /// The logs that others moved or deleted since the last call.
    pub fn take_taken_away(&self) -> Vec<PathBuf> {
        std::mem::take(&mut *crate::model::lock(&self.taken_away))
    }

    fn say(&self, path: &Path, error: &io::Error) {
        *crate::model::lock(&self.last) = Some(format!("{}: {error}", path.display()));
    }

    /// Whether lines wait in memory for a log to become writable.
    pub(super) fn is_anything_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Takes note whether the logs have more than their total. Says whether it was otherwise before.
    pub fn note_above_total(&self, is_above: bool) -> bool {
        self.above_total.swap(is_above, Ordering::Relaxed) != is_above
    }

    /// What has gone wrong since the last call; `None` if nothing has and nothing waits.
    pub fn report(&self) -> Option<FaultReport> {
        let report = FaultReport {
            records: self.records.swap(0, Ordering::Relaxed),
            output_bytes: self.output_bytes.swap(0, Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
            error: crate::model::lock(&self.last).take(),
        };
        (report.records > 0 || report.output_bytes > 0 || report.waiting > 0 || report.error.is_some())
            .then_some(report)
    }
}
