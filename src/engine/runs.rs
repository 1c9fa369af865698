//! From a firing to an attempt: overlap, places, chains.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;

use super::breaker::BreakerState;
use super::chains;
use super::decision::{Accepted, Decision};
use super::ends::Unbegun;
use super::load::skipped;
use super::machine::Engine;
use crate::model::{Firing, JobName, RunId, TriggeredBy, count, rfc3339};
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
    pub(super) fn is_empty(&self) -> bool {
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
            self.tell_to_end(victim, format!("{REPLACED} {run}"), Unbegun::Skipped, now, decisions);
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
}

fn overlap_words(of_job: &Instances, max_instances: u32) -> String {
    match (max_instances, of_job.active.first().or_else(|| of_job.queue.front())) {
        (1, Some(run)) => format!("run {run} is still active"),
        (_, Some(run)) => format!("{max_instances} runs are still active, the oldest is {run}"),
        (_, None) => "other runs are still active".into(),
    }
}
