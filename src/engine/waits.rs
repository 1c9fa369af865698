//! Who waits, for what, and who is under way: what others are told of runs.

use jiff::Timestamp;

use super::machine::Engine;
use super::runs::{Run, Stage};
use crate::model::{Firing, JobName, RunId};

/// What a run that has not begun waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitsFor {
    /// Fewer active runs of its job.
    EarlierRun,
    /// A place among all runs.
    Place,
    /// A place in the pool of this name.
    Pool(String),
    /// That the rate of the pool of this name allows another one.
    Rate(String),
}

impl std::fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::EarlierRun => f.write_str("an earlier run"),
            Self::Place => f.write_str("a place"),
            Self::Pool(pool) => write!(f, "pool {pool}"),
            Self::Rate(pool) => write!(f, "the rate of pool {pool}"),
        }
    }
}

impl Engine {
    /// How many runs wait for another one to end, or for a place.
    pub fn waiting(&self) -> usize {
        self.instances.values().map(|of_job| of_job.queue.len() + of_job.waiting as usize).sum()
    }

    /// How many runs of a job wait for another one to end, or for a place.
    pub fn waiting_of(&self, job: &str) -> usize {
        self.instances.get(job).map_or(0, |of_job| of_job.queue.len() + of_job.waiting as usize)
    }

    /// The soonest further attempt of a job's runs: its number, and when it begins.
    pub fn next_attempt(&self, job: &str) -> Option<(u32, Timestamp)> {
        let active = self.instances.get(job)?.active.iter().filter_map(|run| self.runs.get(run));
        let retrying = active.filter_map(|run| match run.stage {
            Stage::Retrying { at, .. } => Some((run.attempt, at)),
            _ => None,
        });
        retrying.min_by_key(|(_, at)| *at)
    }

    /// The runs that were started and have not ended.
    pub fn under_way(&self) -> impl Iterator<Item = (&RunId, &JobName)> {
        let is_under_way = |(_, run): &(&RunId, &Run)| matches!(run.stage, Stage::UnderWay { .. });
        self.runs.iter().filter(is_under_way).map(|(id, run)| (id, &run.firing.job))
    }

    /// The runs that wait for another one to end, or for a place, with what made them due and the attempt that comes.
    pub fn waiting_runs(&self) -> impl Iterator<Item = (&RunId, &Firing, u32)> {
        let waits = |(_, run): &(&RunId, &Run)| matches!(run.stage, Stage::Queued | Stage::Waiting { .. });
        self.runs.iter().filter(waits).map(|(id, run)| (id, &run.firing, run.attempt))
    }

    /// The runs that wait for their next attempt: which one, and when it begins.
    pub fn retrying(&self) -> impl Iterator<Item = (&RunId, &JobName, u32, Timestamp)> {
        self.runs.iter().filter_map(|(id, run)| match &run.stage {
            Stage::Retrying { at, .. } => Some((id, &run.firing.job, run.attempt, *at)),
            _ => None,
        })
    }

    /// What a run waits for that has not begun.
    pub fn waits_for(&self, run: RunId, now: Timestamp) -> Option<WaitsFor> {
        let state = self.runs.get(&run)?;
        match &state.stage {
            Stage::Queued => Some(WaitsFor::EarlierRun),
            Stage::Waiting { spec } => {
                let spec = spec.as_ref().or_else(|| Some(&self.job(&state.firing.job)?.spec));
                Some(self.waits_in(spec.and_then(|spec| spec.policies.pool.as_deref()), now))
            }
            Stage::UnderWay { .. } | Stage::Retrying { .. } => None,
        }
    }

    /// What a run of that pool waits for that only lacks a place.
    pub(super) fn waits_in(&self, pool: Option<&str>, now: Timestamp) -> WaitsFor {
        match pool {
            Some(pool) if self.places.has_room(None, now) => match self.places.rate_until(pool, now) {
                Some(_) => WaitsFor::Rate(pool.to_string()),
                None => WaitsFor::Pool(pool.to_string()),
            },
            _ => WaitsFor::Place,
        }
    }

    /// When a pool's rate allows another run, where that is what its runs wait for.
    pub fn rate_until(&self, reason: &WaitsFor, now: Timestamp) -> Option<Timestamp> {
        match reason {
            WaitsFor::Rate(pool) => self.places.rate_until(pool, now),
            WaitsFor::EarlierRun | WaitsFor::Place | WaitsFor::Pool(_) => None,
        }
    }

    /// The job of a run that waits or is under way.
    pub fn job_of(&self, run: RunId) -> Option<&JobName> {
        self.runs.get(&run).map(|run| &run.firing.job)
    }

    /// The job's runs that wait, for whatever.
    pub(super) fn not_under_way(&self, job: &str) -> Vec<RunId> {
        let Some(of_job) = self.instances.get(job) else { return Vec::new() };
        let waits = |run: &RunId| self.runs.get(run).is_some_and(|run| !matches!(run.stage, Stage::UnderWay { .. }));
        of_job.queue.iter().chain(&of_job.active).copied().filter(waits).collect()
    }
}
