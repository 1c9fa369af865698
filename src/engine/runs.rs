//! From a firing to the end of its run: overlap, places, attempts, chains.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::breaker::{BreakerState, Change};
use super::chains::{self, Arrival};
use super::decision::{Accepted, Decision, Next};
use super::load::skipped;
use super::machine::Engine;
use crate::model::{Firing, JobName, Parent, RunId, Status, TriggeredBy, count, rfc3339, stable_hash};
use crate::spec::{JobSpec, Overlap};

/// How the reason begins for which a run is ended that another one replaces.
pub const REPLACED: &str = "replaced by run";

/// A run that has not come to its end.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub firing: Firing,
    /// The attempt that is under way, or comes next; the first one is 1.
    pub attempt: u32,
    pub stage: Stage,
    /// It is one of several that are caught up, one after another.
    pub in_line: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Stage {
    /// Waits until fewer runs of its job are active.
    Queued,
    /// Waits for a place among all runs, or in its pool. One that has begun keeps its spec.
    Waiting { spec: Option<Arc<JobSpec>> },
    UnderWay {
        spec: Arc<JobSpec>,
        /// Why it has been told to end.
        told_to_end: Option<String>,
    },
    /// Waits for its next attempt.
    Retrying { spec: Arc<JobSpec>, at: Timestamp },
}

impl Run {
    /// The clock was wrong: nothing was due after now.
    pub fn correct(&mut self, now: Timestamp) {
        if !matches!(self.stage, Stage::UnderWay { .. }) {
            self.firing.due = self.firing.due.min(now);
        }
    }

    /// What it was begun with; none before that.
    pub fn spec(&self) -> Option<&Arc<JobSpec>> {
        match &self.stage {
            Stage::Queued => None,
            Stage::Waiting { spec } => spec.as_ref(),
            Stage::UnderWay { spec, .. } | Stage::Retrying { spec, .. } => Some(spec),
        }
    }

    pub fn tried_again_at(&mut self, time: Timestamp) {
        if let Stage::Retrying { at, .. } = &mut self.stage {
            *at = time;
        }
    }
}

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

/// The runs of one job.
#[derive(Debug, Clone, Default)]
pub(super) struct Instances {
    /// Those that count for `max_instances`, the oldest first.
    pub active: Vec<RunId>,
    /// How many of them wait for a place.
    pub waiting: u32,
    /// Those that wait until fewer are active.
    pub queue: VecDeque<RunId>,
}

impl Instances {
    fn is_empty(&self) -> bool {
        self.active.is_empty() && self.queue.is_empty()
    }
}

/// How a firing comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Usual,
    /// A person asks.
    Asked,
    /// One of several that are caught up: they run one after another, whatever the job's overlap says.
    InLine,
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

    /// A trigger went off: the run starts, waits, or is recorded as skipped.
    pub(super) fn fire(
        &mut self,
        firing: Firing,
        spec: &Arc<JobSpec>,
        in_line: bool,
        now: Timestamp,
        decisions: &mut Vec<Decision>,
    ) {
        self.fire_as(None, firing, spec, in_line, now, decisions);
    }

    /// The same, for a run that waited already when the runner was killed.
    pub(super) fn fire_as(
        &mut self,
        run: Option<RunId>,
        firing: Firing,
        spec: &Arc<JobSpec>,
        in_line: bool,
        now: Timestamp,
        decisions: &mut Vec<Decision>,
    ) {
        let manner = if in_line { Manner::InLine } else { Manner::Usual };
        let id = run.unwrap_or_else(|| self.ids.next(now));
        if let Err(reason) = self.enter(id, firing.clone(), spec, manner, now, decisions) {
            let gap = skipped(&firing, reason);
            decisions.push(match run {
                Some(run) => Decision::Drop { run, gap },
                None => Decision::Gap(gap),
            });
        }
    }

    /// Lets a firing in, as the run with this id. Says whether it waits; or why it does not become a run.
    fn enter(
        &mut self,
        run: RunId,
        firing: Firing,
        spec: &Arc<JobSpec>,
        manner: Manner,
        now: Timestamp,
        decisions: &mut Vec<Decision>,
    ) -> Result<bool, String> {
        let policies = &spec.policies;
        if manner != Manner::Asked {
            self.breaker_allows(&firing.job, spec, None, now)?;
        }
        let none = Instances::default();
        let of_job = self.instances.get(&firing.job).unwrap_or(&none);
        let waiting = of_job.queue.len() + of_job.waiting as usize;
        let most = spec.most_at_once();
        let in_line = manner == Manner::InLine;
        let is_full = !in_line && waiting >= policies.max_queued as usize;
        let full = || format!("queue full: {} waiting, max_queued is {}", count(waiting, "run"), policies.max_queued);
        // Those that stand in line hold up nobody else, and nobody else them.
        let is_held_up = of_job.queue.iter().any(|other| self.is_in_line(other) == in_line)
            || (in_line && of_job.active.iter().any(|other| self.is_in_line(other)));
        if of_job.active.len() < most && !is_held_up {
            if is_full && !self.places.lets_in(policies.pool.as_deref(), now) {
                return Err(full());
            }
            self.add(run, firing, in_line);
            self.admit(run, spec, now, decisions);
            return Ok(self.waits(run));
        }
        match (manner, spec.overlap()) {
            (Manner::InLine, _) | (_, Overlap::Queue | Overlap::Allow) => {
                if is_full {
                    return Err(full());
                }
            }
            (_, Overlap::Skip) => return Err(overlap_words(of_job, policies.max_instances)),
            (_, Overlap::Replace) => {
                self.replace(run, firing, most, now, decisions);
                return Ok(self.waits(run));
            }
        }
        self.add(run, firing, in_line);
        self.queue(run, decisions);
        Ok(true)
    }

    fn waits(&self, run: RunId) -> bool {
        self.runs.get(&run).is_some_and(|run| !matches!(run.stage, Stage::UnderWay { .. }))
    }

    /// Whether a run is one of several that are caught up.
    fn is_in_line(&self, run: &RunId) -> bool {
        self.runs.get(run).is_some_and(|run| run.in_line)
    }

    fn add(&mut self, run: RunId, firing: Firing, in_line: bool) {
        self.runs.insert(run, Run { firing, attempt: 1, stage: Stage::Queued, in_line });
    }

    fn queue(&mut self, run: RunId, decisions: &mut Vec<Decision>) {
        let Some(firing) = self.runs.get(&run).map(|run| run.firing.clone()) else { return };
        self.instances.entry(firing.job.clone()).or_default().queue.push_back(run);
        decisions.push(Decision::Wait { run, firing });
    }

    /// The oldest active run is ended, and the new one waits for that. A newer firing takes the place of one that waits so. What is
    /// caught up is neither ended nor dropped: the new one waits behind it.
    fn replace(&mut self, run: RunId, firing: Firing, most: usize, now: Timestamp, decisions: &mut Vec<Decision>) {
        let job = firing.job.clone();
        let others_of = |runs: &mut dyn Iterator<Item = &RunId>| -> Vec<RunId> {
            runs.filter(|other| !self.is_in_line(other)).copied().collect()
        };
        let none = Instances::default();
        let of_job = self.instances.get(&job).unwrap_or(&none);
        let queued = others_of(&mut of_job.queue.iter());
        let active = others_of(&mut of_job.active.iter());
        let above = of_job.active.len().saturating_sub(most);
        self.add(run, firing, false);
        let is_dropped = queued.len() >= most;
        if is_dropped && let Some(oldest) = queued.first().copied() {
            self.drop_run(oldest, format!("{REPLACED} {run}"), decisions);
        }
        self.queue(run, decisions);
        // Each that waits needs one that goes.
        let going = above + queued.len() + usize::from(!is_dropped);
        for victim in active.into_iter().take(going) {
            self.tell_to_end(victim, format!("{REPLACED} {run}"), now, decisions);
        }
    }

    /// A run counts as active from now on, and starts or waits for a place.
    fn admit(&mut self, run: RunId, spec: &Arc<JobSpec>, now: Timestamp, decisions: &mut Vec<Decision>) {
        let Some(state) = self.runs.get_mut(&run) else { return };
        let policies = &spec.policies;
        let of_job = self.instances.entry(state.firing.job.clone()).or_default();
        of_job.active.push(run);
        if self.places.lets_in(policies.pool.as_deref(), now) {
            return self.begin(run, spec.clone(), now, decisions);
        }
        of_job.waiting += 1;
        state.stage = Stage::Waiting { spec: None };
        self.places.wait(run, policies.pool.as_deref(), policies.priority, now);
        decisions.push(Decision::Wait { run, firing: state.firing.clone() });
    }

    /// The run takes its place.
    fn begin(&mut self, run: RunId, spec: Arc<JobSpec>, now: Timestamp, decisions: &mut Vec<Decision>) {
        let Some(state) = self.runs.get_mut(&run) else { return };
        self.places.take(spec.policies.pool.as_deref(), now);
        state.stage = Stage::UnderWay { spec: spec.clone(), told_to_end: None };
        let (firing, attempt) = (state.firing.clone(), state.attempt);
        self.note_begun(&firing, attempt);
        decisions.push(Decision::Start { run, firing, spec, attempt });
    }

    /// Runs whose wait between attempts is over wait for a place from now on.
    pub(super) fn try_again(&mut self, now: Timestamp) {
        while let Some((at, run)) = self.retries.first().copied()
            && at <= now
        {
            self.retries.pop_first();
            let Some(state) = self.runs.get_mut(&run) else { continue };
            let Stage::Retrying { spec, .. } = &state.stage else { continue };
            let spec = spec.clone();
            self.places.wait(run, spec.policies.pool.as_deref(), spec.policies.priority, now);
            state.stage = Stage::Waiting { spec: Some(spec) };
            self.instances.entry(state.firing.job.clone()).or_default().waiting += 1;
        }
    }

    pub(super) fn start_waiting(&mut self, now: Timestamp, decisions: &mut Vec<Decision>) {
        while let Some(run) = self.places.next(now) {
            self.places.leave(run);
            let Some(state) = self.runs.get(&run) else { continue };
            let job = state.firing.job.clone();
            if let Some(of_job) = self.instances.get_mut(&job) {
                of_job.waiting = of_job.waiting.saturating_sub(1);
            }
            let Stage::Waiting { spec } = &state.stage else { continue };
            let (is_first, asked) = (spec.is_none(), state.firing.triggered_by == TriggeredBy::Manual);
            // A changed job's waiting firing takes the spec that is in force now.
            let Some(spec) = spec.clone().or_else(|| Some(self.job(&job)?.spec.clone())) else {
                self.forget(run, now, decisions);
                continue;
            };
            if is_first
                && !asked
                && let Err(reason) = self.breaker_allows(&job, &spec, Some(run), now)
            {
                self.drop_run(run, reason, decisions);
                self.advance(&job, now, decisions);
                continue;
            }
            self.begin(run, spec, now, decisions);
        }
    }

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

    fn forget(&mut self, run: RunId, now: Timestamp, decisions: &mut Vec<Decision>) {
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

    /// Lets those in that wait for fewer active runs of the job.
    pub(super) fn advance(&mut self, job: &JobName, now: Timestamp, decisions: &mut Vec<Decision>) {
        if self.stopping {
            return;
        }
        while let Some(of_job) = self.instances.get(job) {
            // Of those that are caught up one at a time goes; it holds up nobody else.
            let line_moves = !of_job.active.iter().any(|run| self.is_in_line(run));
            let may_go = |run: &&RunId| line_moves || !self.is_in_line(run);
            let Some(run) = of_job.queue.iter().find(may_go).copied() else { return };
            let Some(spec) = self.job(job).map(|job| job.spec.clone()) else { return };
            let most = spec.most_at_once();
            let Some(of_job) = self.instances.get_mut(job) else { return };
            if of_job.active.len() >= most {
                return;
            }
            of_job.queue.retain(|other| *other != run);
            let asked = self.runs.get(&run).is_some_and(|run| run.firing.triggered_by == TriggeredBy::Manual);
            match self.breaker_allows(job, &spec, None, now) {
                Err(reason) if !asked => self.drop_run(run, reason, decisions),
                _ => self.admit(run, &spec, now, decisions),
            }
        }
    }

    /// Whether the job's breaker lets a run begin; if not, why. `own`: the run, where it counts as active already.
    fn breaker_allows(&self, job: &JobName, spec: &JobSpec, own: Option<RunId>, now: Timestamp) -> Result<(), String> {
        match self.breakers.state(job, spec.policies.breaker.as_ref(), now) {
            BreakerState::Closed => Ok(()),
            BreakerState::Open { failed_in_row, until } => Err(format!(
                "breaker open until {} after {} in a row",
                rfc3339(until),
                count(failed_in_row, "failed run")
            )),
            BreakerState::HalfOpen { .. } => {
                let active = self.instances.get(job).map(|of_job| of_job.active.as_slice()).unwrap_or_default();
                match active.iter().find(|run| Some(**run) != own) {
                    Some(probe) => Err(format!("breaker half open: run {probe} shows whether the job works again")),
                    None => Ok(()),
                }
            }
        }
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

    /// All ends have come that a job waits for.
    pub(super) fn fire_chain(&mut self, firing: Firing, now: Timestamp, decisions: &mut Vec<Decision>) {
        let Some(job) = self.job(&firing.job) else { return };
        let spec = job.spec.clone();
        let reason = match &job.pause {
            Some(_) => Some("paused".to_string()),
            None => job.closed_at(now).map(|reason| reason.as_ref().into()).or_else(|| chains::comes_back(&firing)),
        };
        match reason {
            Some(reason) => decisions.push(Decision::Gap(skipped(&firing, reason))),
            None => self.fire(firing, &spec, false, now, decisions),
        }
    }

    /// A person asks for a run.
    pub(super) fn ask(
        &mut self,
        ask: u64,
        name: JobName,
        args: Vec<String>,
        now: Timestamp,
        decisions: &mut Vec<Decision>,
    ) {
        let mut refuse = |reason: String| decisions.push(Decision::Answer { ask, answer: Err(reason) });
        if self.stopping {
            return refuse("the runner is stopping".into());
        }
        let Some(spec) = self.job(&name).map(|job| job.spec.clone()) else {
            return refuse(format!("there is no job `{name}`"));
        };
        if spec.files().is_some()
            && let Some(why) = spec.action.needs_file()
        {
            return refuse(format!("{why}; `runner watch replay {name} FILE` runs it for one that the watch knows"));
        }
        let notice = if !spec.about.enabled {
            Some("the job is disabled: only its triggers rest")
        } else if self.pauses.contains_key(&name) {
            Some("the job is paused: only its triggers rest")
        } else if self.breaker(&name, now) != BreakerState::Closed {
            Some("the job's breaker is open: only its triggers rest")
        } else {
            None
        };
        let firing = Firing { args, ..Firing::new(name, TriggeredBy::Manual, now) };
        let mut after = Vec::new();
        let run = self.ids.next(now);
        let answer = match self.enter(run, firing, &spec, Manner::Asked, now, &mut after) {
            Ok(waits) => Ok(Accepted { run, waits, notice }),
            Err(reason) => Err(format!("{reason}, and the job's overlap is {}", spec.overlap().as_str())),
        };
        decisions.push(Decision::Answer { ask, answer });
        decisions.append(&mut after);
    }

    /// A run is to end, wherever it is.
    pub(super) fn cancel(&mut self, run: RunId, reason: String, now: Timestamp, decisions: &mut Vec<Decision>) {
        self.tell_to_end(run, reason, now, decisions);
    }

    fn tell_to_end(&mut self, run: RunId, reason: String, now: Timestamp, decisions: &mut Vec<Decision>) {
        let Some(state) = self.runs.get_mut(&run) else { return };
        match &mut state.stage {
            // Once is enough.
            Stage::UnderWay { told_to_end: Some(_), .. } => {}
            Stage::UnderWay { told_to_end, .. } => {
                *told_to_end = Some(reason.clone());
                decisions.push(Decision::End { run, reason });
            }
            _ => self.give_up(run, &reason, now, decisions),
        }
    }

    /// A run that is not under way never is again.
    pub(super) fn give_up(&mut self, run: RunId, reason: &str, now: Timestamp, decisions: &mut Vec<Decision>) {
        let Some(state) = self.runs.get(&run) else { return };
        let job = state.firing.job.clone();
        if state.attempt == 1 {
            self.drop_run(run, reason.into(), decisions);
            self.advance(&job, now, decisions);
            return;
        }
        // The next attempt has not begun: the last one made is the one before.
        let attempt = state.attempt - 1;
        let reason = reason.replace("waited for its turn", "waited for its next attempt");
        decisions.push(Decision::Abandon { run, job, attempt, reason });
        self.finish(run, Status::Cancelled, now, decisions);
    }

    /// A run that waited never begins.
    fn drop_run(&mut self, run: RunId, reason: String, decisions: &mut Vec<Decision>) {
        if let Some(firing) = self.forget_run(run).filter(|firing| !Self::is_for_backlog(firing)) {
            decisions.push(Decision::Drop { run, gap: skipped(&firing, reason) });
        }
    }

    /// The job's runs that wait, for whatever.
    pub(super) fn not_under_way(&self, job: &str) -> Vec<RunId> {
        let Some(of_job) = self.instances.get(job) else { return Vec::new() };
        let waits = |run: &RunId| self.runs.get(run).is_some_and(|run| !matches!(run.stage, Stage::UnderWay { .. }));
        of_job.queue.iter().chain(&of_job.active).copied().filter(waits).collect()
    }

    /// A job has changed: its runs that have not begun wait as the new spec says.
    pub(super) fn respec_waiting(&mut self, job: &JobName, before: &JobSpec, after: &JobSpec) {
        let (old, new) = (&before.policies, &after.policies);
        if old.pool == new.pool && old.priority == new.priority {
            return;
        }
        for run in self.not_under_way(job) {
            if matches!(self.runs.get(&run).map(|run| &run.stage), Some(Stage::Waiting { spec: None })) {
                self.places.change(run, new.pool.as_deref(), old.priority, new.priority);
            }
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
            self.give_up(run, "the runner stopped while the run waited for its turn", now, decisions);
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

fn overlap_words(of_job: &Instances, max_instances: u32) -> String {
    match (max_instances, of_job.active.first().or_else(|| of_job.queue.front())) {
        (1, Some(run)) => format!("run {run} is still active"),
        (_, Some(run)) => format!("{max_instances} runs are still active, the oldest is {run}"),
        (_, None) => "other runs are still active".into(),
    }
}
