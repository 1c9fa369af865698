//! The first generation comes in force, with what earlier runners here have left.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::interrupted::CutShort;
use super::main_loop::Daemon;
use super::memory;
use super::pending::{InForce, Pending};
use super::record_queue::Entry;
use crate::catalog::Job;
use crate::engine::{Event as EngineEvent, Starting};
use crate::model::{Clock, Gap, GapKind, JobName, RunId};
use crate::os::clock::SystemClock;
use crate::record::WaitingRun;

impl Daemon {
    /// Puts the first generation in force.
    pub(super) fn begin(&mut self, starting: Starting, mut cut_short: CutShort) {
        let mut waiting: HashMap<JobName, HashMap<RunId, WaitingRun>> = HashMap::new();
        // For the one run that a person asked for, all that is left to the next real start.
        if !self.once {
            for (job, run) in self.unsettled() {
                waiting.entry(job).or_default().insert(run.run, run);
            }
        }
        let generation = self.generation.clone();
        let now = SystemClock.now();
        for job in &generation.jobs {
            self.note_chain(job, now);
        }
        let chains = &self.chains;
        let put = |job: &Arc<Job>| {
            let waited = waiting.remove(&job.name).unwrap_or_default().into_values();
            let chain_since = chains.get(&job.name).map(|in_force| in_force.since).filter(|since| *since < now);
            let cut_short = cut_short.remove(&job.name).unwrap_or_default();
            let taken = memory::Taken { name: &job.name, chain_since, armed: &job.armed, cut_short };
            let all = generation.jobs.iter().map(|job| &job.name);
            self.put(job, memory::at_start(&self.records, taken, waited, all))
        };
        let changes = generation.jobs.iter().map(put).collect();
        self.tell(EngineEvent::Load { changes, starting: Some(starting) });
        self.record_gone(waiting);
        self.keep_pending();
        if !self.once {
            let _ = self.lock.sign_life();
        }
    }

    /// Runs that waited when the last runner here was killed.
    pub(super) fn unsettled(&mut self) -> Vec<(JobName, WaitingRun)> {
        // Each job's last line tells of those that waited then; the file, of those that came after it.
        let mut waiting = self.records.take_waiting();
        match Pending::load(&self.records.layout.pending()) {
            Ok(mut pending) => {
                self.chains = std::mem::take(&mut pending.chains);
                waiting.extend(pending.settle(&self.records));
            }
            Err(error) => {
                tracing::error!(target: "record", "pending.json is passed over, what waited is not known: {error}");
            }
        }
        waiting
    }

    /// Runs that waited, of jobs that are not there any more.
    pub(super) fn record_gone(&mut self, waiting: HashMap<JobName, HashMap<RunId, WaitingRun>>) {
        for (job, runs) in waiting {
            for WaitingRun { run, triggered_by, due } in runs.into_values() {
                let (kind, job) = (GapKind::Missed, job.clone());
                let reason = "the runner was killed while the run waited, and the job is gone".to_string();
                let gap = Gap { kind, job, triggered_by, reason, due, until: due, count: 1 };
                self.queue.put(Entry::Dropped { run, gap });
            }
        }
    }

    /// Takes note since when a job's chain is what it is.
    pub(super) fn note_chain(&mut self, job: &Job, now: Timestamp) {
        let Some(chain) = super::pending::chain_words(job) else {
            self.chains.remove(&job.name);
            return;
        };
        if self.chains.get(&job.name).is_none_or(|in_force| in_force.chain != chain) {
            self.chains.insert(job.name.clone(), InForce { chain, since: now });
        }
    }
}
