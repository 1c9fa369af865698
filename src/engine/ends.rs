//! How runs come to their end: the last attempt is over, or they are given up before it.

use jiff::{SignedDuration, Timestamp};

use super::breaker::Change;
use super::chains::{self, Arrival};
use super::decision::{Decision, Next};
use super::load::skipped;
use super::machine::Engine;
use super::runs::Stage;
use crate::model::{Firing, Parent, RunId, Status, stable_hash};
use crate::spec::JobSpec;

/// What a run that waited is recorded as when it is given up before its first attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unbegun {
    /// Nobody wanted it to end: what was due is passed over.
    Skipped,
    /// A person or a stop wanted it to end, as they would if it ran.
    Cancelled,
}

impl Engine {
    /// An attempt ended: another one follows, or it was the last.
    pub(super) fn ended(
        &mut self,
        run: RunId,
        status: Status,
        exit_code: Option<i32>,
        now: Timestamp,
        decisions: &mut Vec<Decision>,
    ) {
        let Some(state) = self.runs.get_mut(&run) else { return };
        let Stage::UnderWay { spec, told_to_end } = &state.stage else { return };
        let (spec, told_to_end) = (spec.clone(), told_to_end.clone());
        let attempt = state.attempt;
        let job = state.firing.job.clone();
        self.places.release(spec.policies.pool.as_deref());
        let Some(wait) = wait_after(&spec, run, attempt, status, exit_code) else {
            self.finish(run, status, now, decisions);
            return;
        };
        let why_not = match told_to_end {
            Some(reason) => Some(reason),
            None if self.stopping => Some("the runner stopped while the run waited for its next attempt".into()),
            None if !self.by_name.contains_key(&job) => {
                Some("the job was removed while the run waited for its next attempt".into())
            }
            None => None,
        };
        if let Some(reason) = why_not {
            decisions.push(Decision::Abandon { run, job, attempt, reason });
            self.finish(run, Status::Cancelled, now, decisions);
            return;
        }
        let at = now.saturating_add(SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX));
        let at = at.unwrap_or(Timestamp::MAX);
        let next = Next { attempt: attempt + 1, of: spec.policies.retry.max + 1, wait, at };
        decisions.push(Decision::Retry { run, job, next });
        if let Some(state) = self.runs.get_mut(&run) {
            state.attempt += 1;
            state.stage = Stage::Retrying { spec, at };
            self.retries.insert((at, run));
        }
    }

    /// A run has come to its end.
    fn finish(&mut self, run: RunId, status: Status, now: Timestamp, decisions: &mut Vec<Decision>) {
        let Some(firing) = self.forget_run(run) else { return };
        let job = firing.job.clone();
        let breaker = self.job(&job).and_then(|job| job.spec.policies.breaker);
        match self.breakers.note(&job, breaker.as_ref(), status, now) {
            Change::None => {}
            Change::Opened { failed_in_row, until } => {
                decisions.push(Decision::BreakerOpened { job: job.clone(), failed_in_row, until });
            }
            Change::Closed => decisions.push(Decision::BreakerClosed { job: job.clone() }),
        }
        self.advance(&job, now, decisions);
        self.tell_children(&firing, run, status, now, decisions);
    }

    pub(super) fn forget(&mut self, run: RunId, now: Timestamp, decisions: &mut Vec<Decision>) {
        if let Some(firing) = self.forget_run(run) {
            self.advance(&firing.job, now, decisions);
        }
    }

    pub(super) fn forget_run(&mut self, run: RunId) -> Option<Firing> {
        let state = self.runs.remove(&run)?;
        match &state.stage {
            Stage::Retrying { at, .. } => {
                self.retries.remove(&(*at, run));
            }
            Stage::Waiting { .. } => {
                if self.places.leave(run).is_some()
                    && let Some(of_job) = self.instances.get_mut(&state.firing.job)
                {
                    of_job.waiting = of_job.waiting.saturating_sub(1);
                }
            }
            Stage::Queued | Stage::UnderWay { .. } => {}
        }
        if let Some(of_job) = self.instances.get_mut(&state.firing.job) {
            of_job.active.retain(|other| *other != run);
            of_job.queue.retain(|other| *other != run);
            if of_job.is_empty() {
                self.instances.remove(&state.firing.job);
            }
        }
        Some(state.firing)
    }

    fn tell_children(
        &mut self,
        firing: &Firing,
        run: RunId,
        status: Status,
        now: Timestamp,
        decisions: &mut Vec<Decision>,
    ) {
        if self.stopping {
            return;
        }
        for child in self.chains.children_of(&firing.job) {
            let Some(chain) = self.job(&child).and_then(|job| job.after.clone()) else { continue };
            if !chain.waits_for(&firing.job, &child) || !chain.when.is_met_by(status) {
                continue;
            }
            let parent = Parent { job: firing.job.clone(), run, status };
            let arrival = Arrival::new(parent, &firing.path, now);
            if let Some(arrivals) = self.chains.arrive(&child, &chain, arrival)
                && let Some(firing) = chains::firing(&child, arrivals)
            {
                self.fire_chain(firing, now, decisions);
            }
        }
    }

    /// A run is to end, wherever it is.
    pub(super) fn cancel(&mut self, run: RunId, reason: String, now: Timestamp, decisions: &mut Vec<Decision>) {
        self.tell_to_end(run, reason, Unbegun::Cancelled, now, decisions);
    }

    pub(super) fn tell_to_end(
        &mut self,
        run: RunId,
        reason: String,
        unbegun: Unbegun,
        now: Timestamp,
        decisions: &mut Vec<Decision>,
    ) {
        let Some(state) = self.runs.get_mut(&run) else { return };
        match &mut state.stage {
            // Once is enough.
            Stage::UnderWay { told_to_end: Some(_), .. } => {}
            Stage::UnderWay { told_to_end, .. } => {
                *told_to_end = Some(reason.clone());
                decisions.push(Decision::End { run, reason });
            }
            _ => self.give_up(run, &reason, unbegun, now, decisions),
        }
    }

    /// A run that is not under way never is again.
    pub(super) fn give_up(
        &mut self,
        run: RunId,
        reason: &str,
        unbegun: Unbegun,
        now: Timestamp,
        decisions: &mut Vec<Decision>,
    ) {
        let Some(state) = self.runs.get(&run) else { return };
        let job = state.firing.job.clone();
        if state.attempt == 1 {
            match unbegun {
                // Files wait in their ledger, whatever becomes of the run.
                _ if Self::is_for_backlog(&state.firing) => {
                    self.drop_run(run, reason.into(), decisions);
                    self.advance(&job, now, decisions);
                }
                Unbegun::Skipped => {
                    self.drop_run(run, reason.into(), decisions);
                    self.advance(&job, now, decisions);
                }
                Unbegun::Cancelled => {
                    let firing = state.firing.clone();
                    decisions.push(Decision::Cancel { run, firing, reason: reason.into() });
                    self.finish(run, Status::Cancelled, now, decisions);
                }
            }
            return;
        }
        // The next attempt has not begun: the last one made is the one before.
        let attempt = state.attempt - 1;
        let reason = reason.replace("waited for its turn", "waited for its next attempt");
        decisions.push(Decision::Abandon { run, job, attempt, reason });
        self.finish(run, Status::Cancelled, now, decisions);
    }

    /// A run that waited never begins.
    pub(super) fn drop_run(&mut self, run: RunId, reason: String, decisions: &mut Vec<Decision>) {
        if let Some(firing) = self.forget_run(run).filter(|firing| !Self::is_for_backlog(firing)) {
            decisions.push(Decision::Drop { run, gap: skipped(&firing, reason) });
        }
    }

    pub(super) fn stop(&mut self, now: Timestamp, decisions: &mut Vec<Decision>) {
        self.stopping = true;
        let mut waiting: Vec<RunId> = self
            .runs
            .iter()
            .filter(|(_, run)| !matches!(run.stage, Stage::UnderWay { .. }))
            .map(|(id, _)| *id)
            .collect();
        waiting.sort();
        for run in waiting {
            let reason = "the runner stopped while the run waited for its turn";
            self.give_up(run, reason, Unbegun::Cancelled, now, decisions);
        }
    }
}

/// How long to wait after an attempt before the next one; `None` if it was the last. The same for the engine and for whoever
/// records the attempt: it depends on nothing but what is handed in.
pub fn wait_after(
    spec: &JobSpec,
    run: RunId,
    attempt: u32,
    status: Status,
    exit_code: Option<i32>,
) -> Option<std::time::Duration> {
    let chance = stable_hash::mixed(run.as_u128() as u64 ^ u64::from(attempt) << 32);
    spec.policies.retry.wait_after(attempt, status, exit_code, chance)
}
