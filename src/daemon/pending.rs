//! `logs/pending.json`: what is known and stands in no record yet, written with each sign of life. After a crash the next
//! start accounts for it; a clean stop leaves only the chains.
//!
//! Three things are known and not recorded: runs that wait for their turn, since only a run that began has a `start`; and the
//! counted rest of a streak of skipped due times, since a line for each of them would fill the disk; and since when a chain
//! is in force, so that it does not fire for ends that were none of its.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::catalog::Job;
use crate::engine::Engine;
use crate::model::{Gap, JobName, RunId, TriggeredBy, serde_rfc3339};
use crate::record::{Records, WaitingRun, mentions_gap, mentions_run};

/// The file's content.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    /// Runs that wait.
    pub waiting: Vec<Waiting>,
    /// Due times that are counted and not written.
    pub counted: Vec<Gap>,
    /// Since when each chain is in force: ends before that are none of its.
    #[serde(default)]
    pub chains: BTreeMap<JobName, InForce>,
}

/// Since when a job's chain is what it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InForce {
    /// What the job's file says about it.
    pub chain: String,
    #[serde(with = "serde_rfc3339")]
    pub since: Timestamp,
}

/// What a job's file says about its chain, where that is in force.
pub(super) fn chain_words(job: &Job) -> Option<String> {
    let is_armed = job.armed.iter().any(|(by, _)| *by == TriggeredBy::After);
    let trigger = job.spec.triggers.iter().find(|trigger| trigger.triggered_by() == TriggeredBy::After);
    Some(trigger.filter(|_| is_armed)?.to_value().ok()?.to_string())
}

/// Since when the job's chain was in force, by what a runner has left behind.
pub fn chain_since(pending: &Pending, job: &Job) -> Option<Timestamp> {
    let in_force = pending.chains.get(&job.name)?;
    (Some(&in_force.chain) == chain_words(job).as_ref()).then_some(in_force.since)
}

/// A run that waits for its turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    pub job: JobName,
    pub run: RunId,
    pub triggered_by: TriggeredBy,
    #[serde(with = "serde_rfc3339")]
    pub due: Timestamp,
}

/// The runs that wait and that no record tells of.
pub fn waiting_of(engine: &Engine) -> Vec<Waiting> {
    let mut waiting: Vec<Waiting> = engine
        .waiting_runs()
        // One that has begun has its start in the records.
        .filter(|(_, _, attempt)| *attempt == 1)
        .map(|(run, firing, _)| Waiting {
            job: firing.job.clone(),
            run: *run,
            triggered_by: firing.due_of,
            due: firing.due,
        })
        .collect();
    waiting.sort_by_key(|waiting| waiting.run);
    waiting
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
        // A streak may have been written after all; all are looked for before the first one is written.
        let is_news = |gap: &Gap| match mentions_gap(&records.layout, gap) {
            Ok(found) => !found,
            Err(error) => {
                tracing::error!(target: "record", "{}: the records cannot be searched: {error}", gap.job);
                false
            }
        };
        let news: Vec<Gap> = self.counted.into_iter().filter(is_news).collect();
        for gap in news {
            records.job(&gap.job).gap(&gap);
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
