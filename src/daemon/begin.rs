//! The first generation comes in force, with what earlier runners here have left.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::interrupted::CutShort;
use super::main_loop::Daemon;
use super::memory;
use super::pending::{InForce, Pending};
use super::record_queue::Entry;
use crate::catalog::Job;
use crate::engine::{Event as EngineEvent, Starting};
use crate::model::{Clock, Gap, GapKind, JobName, RunId};
use crate::os::clock::SystemClock;
use crate::record::{WaitingRun, ends_after};

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
        for job in &generation.jobs {
            self.tell_begun(job, now);
        }
        self.tell(EngineEvent::Load { changes, starting: Some(starting) });
        self.record_gone(waiting);
        self.put_watches_in_force();
        self.keep_pending();
        if !self.once {
            let _ = self.lock.sign_life();
        }
    }

    /// What began lately counts into the rate of the job's pool, as if this runner had begun it.
    fn tell_begun(&mut self, job: &Job, now: Timestamp) {
        let pools = &self.generation.settings.pools;
        let Some(pool) = job.spec.policies.pool.clone() else { return };
        let Some(rate) = pools.get(&pool).and_then(|pool| pool.rate) else { return };
        let since = now
            .checked_sub(SignedDuration::try_from(rate.per.0).unwrap_or(SignedDuration::MAX))
            .unwrap_or(Timestamp::MIN);
        match ends_after(&self.records.layout, &job.name, since, rate.count as usize) {
            Ok(ends) => {
                for end in ends {
                    // When a later attempt began no record tells: it was before its end.
                    let later = std::iter::repeat_n(end.ended, end.attempt.saturating_sub(1) as usize);
                    for at in std::iter::once(end.started).chain(later).filter(|at| *at > since) {
                        self.tell(EngineEvent::Began { pool: pool.clone(), at: at.min(now) });
                    }
                }
            }
            Err(error) => tracing::error!(target: "record", "{}: the records cannot be searched: {error}", job.name),
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
