//! Runs that are to be had of watches: files wait in a ledger, not here. The engine knows how many runs there could be, and lets
//! the next one begin whenever the job has room; which files it gets is decided when it starts.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::breaker::BreakerState;
use super::decision::Decision;
use super::machine::Engine;
use crate::model::{Firing, JobName, RunId, TriggeredBy};
use crate::spec::Overlap;

/// How many runs could begin, and since when the first one could.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    pub runs: u64,
    pub since: Timestamp,
    /// Whether a run of it would have more than the oldest active one: with `overlap: replace` it ends that one then.
    pub replaces: bool,
}

/// The backlogs of all watches that have one.
#[derive(Debug, Clone, Default)]
pub(super) struct Backlogs {
    of: BTreeMap<JobName, Backlog>,
    /// When to look again at those that time alone holds up.
    look_again: Option<Timestamp>,
}

/// A rest without an end is looked at again after this.
const LONGEST_LOOK: SignedDuration = SignedDuration::from_hours(1);

impl Backlogs {
    /// When to wake the engine for them.
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.look_again
    }

    /// The job is gone, or is no watch any more.
    pub fn forget(&mut self, job: &str) {
        self.of.remove(job);
    }

    /// A run that was to be had has begun.
    fn begun(&mut self, job: &str) {
        if let Some(backlog) = self.of.get_mut(job) {
            backlog.runs -= 1;
            if backlog.runs == 0 {
                self.of.remove(job);
            }
        }
    }
}

impl Engine {
    /// A watch's book says how many runs could be had of it.
    pub(super) fn set_backlog(&mut self, job: JobName, backlog: Backlog) {
        if backlog.runs == 0 || self.job(&job).is_none() {
            self.backlogs.of.remove(&job);
        } else {
            self.backlogs.of.insert(job, backlog);
        }
    }

    /// What a run of a watch was to be for is gone: it never was.
    pub(super) fn withdraw(&mut self, run: RunId, now: Timestamp, decisions: &mut Vec<Decision>) {
        let Some(state) = self.runs.get(&run) else { return };
        let (job, spec) = (state.firing.job.clone(), state.spec().cloned());
        if let Some(spec) = spec {
            self.places.release(spec.policies.pool.as_deref());
        }
        self.forget_run(run);
        self.advance(&job, now, decisions);
    }

    /// A run takes its place: where it is for files, one fewer is to be had.
    pub(super) fn note_begun(&mut self, firing: &Firing, attempt: u32) {
        if firing.triggered_by == TriggeredBy::Watch && attempt == 1 {
            self.backlogs.begun(&firing.job);
        }
    }

    /// Whether a firing is for files that wait in a ledger: if it does not become a run, nothing is lost.
    pub(super) fn is_for_backlog(firing: &Firing) -> bool {
        firing.triggered_by == TriggeredBy::Watch
    }

    /// Lets runs begin of the watches that have any to be had, as far as their jobs have room.
    pub(super) fn fire_backlogs(&mut self, now: Timestamp, decisions: &mut Vec<Decision>) {
        self.backlogs.look_again = None;
        let jobs: Vec<JobName> = self.backlogs.of.keys().cloned().collect();
        for job in jobs {
            while self.fire_one(&job, now, decisions) {}
        }
    }

    /// Says whether one more might begin.
    fn fire_one(&mut self, name: &JobName, now: Timestamp, decisions: &mut Vec<Decision>) -> bool {
        let Some(Backlog { since, replaces, .. }) = self.backlogs.of.get(name).copied() else { return false };
        let Some(job) = self.job(name) else { return false };
        if job.pause.is_some() || !job.spec.about.enabled {
            return false;
        }
        let spec = job.spec.clone();
        if job.closed_at(now).is_some() {
            let most = now.saturating_add(LONGEST_LOOK).unwrap_or(Timestamp::MAX);
            let changes = job.closed.as_ref().map_or(most, |closed| closed.changes_after(now, most));
            self.look_again_at(changes);
            return false;
        }
        match self.breakers.state(name, spec.policies.breaker.as_ref(), now) {
            BreakerState::Open { until, .. } => {
                self.look_again_at(until);
                return false;
            }
            // One run shows whether the job works again.
            BreakerState::HalfOpen { .. } if self.instances.contains_key(name) => return false,
            BreakerState::HalfOpen { .. } | BreakerState::Closed => {}
        }
        let (active, waits) = self
            .instances
            .get(name)
            .map_or((0, false), |of_job| (of_job.active.len(), of_job.waiting > 0 || !of_job.queue.is_empty()));
        if waits {
            return false;
        }
        if active >= spec.most_at_once() {
            match spec.overlap() {
                Overlap::Queue | Overlap::Allow => return false,
                Overlap::Skip => {
                    self.backlogs.forget(name);
                    decisions.push(Decision::PassOver { job: name.clone(), due: since });
                    return false;
                }
                Overlap::Replace if !replaces => return false,
                // The oldest is ended for it.
                Overlap::Replace => {}
            }
        }
        self.fire(Firing::new(name.clone(), TriggeredBy::Watch, since), &spec, false, now, decisions);
        true
    }

    fn look_again_at(&mut self, at: Timestamp) {
        let soonest = self.backlogs.look_again.map_or(at, |other| other.min(at));
        self.backlogs.look_again = Some(soonest);
    }
}
