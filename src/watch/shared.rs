use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use jiff::Timestamp;

use super::book::{Book, Noticed, Now};
use super::ledger::Ledger;
use super::root::{Health, Root};
use super::writing::Failing;
use crate::model::{Clock, FileEvent, JobName, count, lock};
use crate::os::clock::SystemClock;

/// What the watch's thread, the loop and the threads of runs know together of one watch.
#[derive(Debug)]
pub struct Shared {
    pub job: JobName,
    pub book: Mutex<Book>,
    pub ledger: Ledger,
    /// How each root is watched.
    pub health: Mutex<Vec<(Root, Health)>>,
    /// Since when it is watched.
    pub started: Timestamp,
    /// The book has what the ledger remembers.
    is_loaded: AtomicBool,
    /// The loop was told that the backlog may be another one, and has not looked yet.
    is_told: AtomicBool,
    /// The ledger could not be written when it was tried last.
    pub(super) failing: Mutex<Option<Failing>>,
    /// It could not be compacted when that was tried last: not before this time.
    pub(super) compacts_after: Mutex<Option<Instant>>,
    /// What people have not been told of yet.
    noticed: Mutex<Untold>,
}

/// What people have not been told of: the first ones, and how many more there are.
#[derive(Debug, Default)]
struct Untold {
    first: Vec<Noticed>,
    more: usize,
}

/// So many noticed files are told one by one each time.
const MOST_TOLD: usize = 10;

/// The time, by both clocks.
pub fn now() -> Now {
    Now { time: SystemClock.now(), instant: Instant::now() }
}

impl Shared {
    pub fn new(job: JobName, book: Book, ledger: Ledger) -> Self {
        Self {
            job,
            book: Mutex::new(book),
            ledger,
            health: Mutex::default(),
            started: SystemClock.now(),
            is_loaded: AtomicBool::new(false),
            is_told: AtomicBool::new(false),
            failing: Mutex::default(),
            compacts_after: Mutex::default(),
            noticed: Mutex::default(),
        }
    }

    /// Has the ledger read, unless it was: a watch that comes back while somebody still has its book goes on with that. For its thread
    /// alone.
    ///
    /// # Errors
    /// As of `load`: it is tried again the next time.
    pub(super) fn load_once(&self, load: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
        if !self.is_loaded.load(Ordering::Acquire) {
            load()?;
            self.is_loaded.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Takes note of what people are to be told.
    pub(super) fn noticed(&self, more: &mut Vec<Noticed>) {
        let mut untold = lock(&self.noticed);
        let room = MOST_TOLD - untold.first.len().min(MOST_TOLD);
        untold.more += more.iter().skip(room).filter(|noticed| noticed.passed_over.is_none()).count();
        more.truncate(room);
        untold.first.append(more);
    }

    /// Tells people what was noticed. Called by whoever has more to say of these files, so that this comes first.
    pub fn say_noticed(&self) {
        let mut waiting = lock(&self.noticed);
        let Untold { first, more } = std::mem::take(&mut *waiting);
        let job = &self.job;
        for Noticed { event, path, from, passed_over } in &first {
            let name = self.name(path);
            if let Some(why) = passed_over {
                tracing::info!(target: "watch", "{job}: Passed over {name}: {why}");
                continue;
            }
            match (event, from) {
                (FileEvent::Created, _) => tracing::info!(target: "watch", "{job}: Detected new file: {name}"),
                (FileEvent::Modified, _) => tracing::info!(target: "watch", "{job}: Detected modified file: {name}"),
                (FileEvent::Deleted, _) => tracing::info!(target: "watch", "{job}: Detected deleted file: {name}"),
                (FileEvent::Renamed, from) => {
                    let from = from.as_deref().map(|from| self.name(from)).unwrap_or_default();
                    tracing::info!(target: "watch", "{job}: Detected renamed file: {from} -> {name}");
                }
            }
        }
        if more > 0 {
            let more = count(more, "more file");
            tracing::info!(target: "watch", "{job}: Detected {more}");
        }
        // Held up to here: what follows from these is said after them.
        drop(waiting);
    }

    /// Whether the loop has to be told of another backlog: not, if it was told and has not looked since.
    pub fn has_to_tell(&self) -> bool {
        !self.is_told.swap(true, Ordering::AcqRel)
    }

    /// The loop looks now.
    pub fn looks(&self) {
        self.is_told.store(false, Ordering::Release);
    }

    /// How a path is shown: from the watched one that it is below; where there are several, with that as it is written.
    pub fn name(&self, path: &Path) -> String {
        let health = lock(&self.health);
        let within = health.iter().find_map(|(root, _)| Some((root, path.strip_prefix(&root.path).ok()?)));
        let name = match within {
            Some((root, below)) if health.len() > 1 => {
                Path::new(&root.written).components().chain(below.components()).collect::<PathBuf>()
            }
            Some((_, below)) if !below.as_os_str().is_empty() => below.to_path_buf(),
            _ => path.file_name().map_or(path, Path::new).to_path_buf(),
        };
        in_logs(&name.to_string_lossy())
    }
}

/// A name as logs show it: it may hold anything, also what would steer a terminal or begin a line.
pub fn in_logs(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
