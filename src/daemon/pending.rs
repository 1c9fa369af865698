//! `logs/pending.json`: what is known and stands in no record yet, written with each sign of life. After a crash the next
//! start accounts for it; a clean stop leaves none.
//!
//! Two things are known and not recorded: runs that wait for their turn, since only a run that began has a `start`; and the
//! counted rest of a streak of skipped due times, since a line for each of them would fill the disk.

use std::io;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Gap, JobName, RunId, TriggeredBy, serde_rfc3339};
use crate::record::{Records, WaitingRun, mentions_run};

/// The file's content.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Pending {
    /// Runs that wait.
    pub waiting: Vec<Waiting>,
    /// Due times that are counted and not written.
    pub counted: Vec<Gap>,
}

/// The due times that were counted at the last sign of life and stood in no record yet.
pub fn counted(path: &Path) -> Vec<Gap> {
    Pending::load(path).map(|pending| pending.counted).unwrap_or_default()
}

/// A run that waits for its turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Waiting {
    pub job: JobName,
    pub run: RunId,
    pub triggered_by: TriggeredBy,
    #[serde(with = "serde_rfc3339")]
    pub due: Timestamp,
}

impl Pending {
    /// Writes the file, or takes it away where there is nothing to keep.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        if *self == Self::default() {
            return match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        crate::os::file::replace(path, &text, 0o640)
    }

    /// What was pending when a runner was killed; nothing if it stopped cleanly.
    ///
    /// # Errors
    /// The file is there and cannot be read or understood.
    pub fn load(path: &Path) -> io::Result<Self> {
        match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            text => Ok(serde_json::from_slice(&text?)?),
        }
    }

    /// Records what was counted and keeps the waiting runs that no record tells of.
    pub fn settle(self, records: &Arc<Records>) -> Vec<(JobName, WaitingRun)> {
        for gap in self.counted {
            // A later line says that its streak was written after all.
            let known = records.due_state(&gap.job).last_due;
            if known.is_none_or(|known| known < gap.until) {
                records.job(&gap.job).gap(&gap);
            }
        }
        let is_told_of = |waiting: &Waiting| match mentions_run(&records.layout, &waiting.job, waiting.run) {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(target: "record", "{}: the records cannot be searched: {error}", waiting.job);
                true
            }
        };
        self.waiting
            .into_iter()
            .filter(|waiting| !is_told_of(waiting))
            .map(|Waiting { job, run, triggered_by, due }| (job, WaitingRun { run, triggered_by, due }))
            .collect()
    }
}
