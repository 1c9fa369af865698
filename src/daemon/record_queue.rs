//! Records that the loop makes are written on a thread of their own: a job's log is locked while its process is made, and that
//! can take as long as a file system hangs. The loop never waits for it.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use jiff::Timestamp;

use crate::model::{GapKind, JobName, TriggeredBy};
use crate::record::Records;

/// What is to be written.
#[derive(Debug)]
pub(super) enum Entry {
    /// Due times that did not become runs.
    Gap {
        kind: GapKind,
        job: JobName,
        triggered_by: TriggeredBy,
        reason: String,
        due: Timestamp,
        until: Timestamp,
        count: u64,
    },
    /// The clock was corrected: due times count from then.
    ClockCorrected(Timestamp),
    /// What waits in memory; counted streaks as well, if asked for.
    Flush { streaks: bool },
    /// Everything before this is written.
    Mark(Sender<()>),
}

/// The way to the thread that writes.
#[derive(Debug, Clone)]
pub(super) struct RecordQueue {
    sender: Sender<Entry>,
}

impl RecordQueue {
    pub fn start(records: Arc<Records>) -> io::Result<Self> {
        let (sender, entries) = channel();
        std::thread::Builder::new().name("records".into()).spawn(move || {
            for entry in entries {
                write(&records, entry);
            }
        })?;
        Ok(Self { sender })
    }

    pub fn put(&self, entry: Entry) {
        // The thread ends only with the last sender.
        let _ = self.sender.send(entry);
    }

    /// Waits until everything is written, and no longer than `patience`.
    pub fn finish(&self, patience: Duration) {
        let (done, wait) = channel();
        self.put(Entry::Mark(done));
        let _ = wait.recv_timeout(patience);
    }
}

fn write(records: &Arc<Records>, entry: Entry) {
    match entry {
        Entry::Gap { kind, job, triggered_by, reason, due, until, count } => {
            let is_news = records.job(&job).gap(kind, &reason, triggered_by, due, until, count);
            if is_news {
                let what = match kind {
                    GapKind::Skipped => "skipped",
                    GapKind::Missed => "missed",
                };
                let times = if count == 1 { "a due time".to_string() } else { format!("{count} due times") };
                tracing::info!(target: "engine", "{job}: {what} {times} ({}): {reason}", triggered_by.as_str());
            }
        }
        Entry::ClockCorrected(to) => records.clock_corrected(to),
        Entry::Flush { streaks } => records.flush(streaks),
        Entry::Mark(done) => {
            let _ = done.send(());
        }
    }
}
