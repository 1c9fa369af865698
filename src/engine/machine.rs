use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};

use super::backlog::Backlogs;
use super::breaker::{BreakerState, Breakers};
use super::chains::Chains;
use super::decision::Decision;
use super::due::DueQueue;
use super::event::{Event, Owed};
use super::job::{Job, Pause};
use super::judge::{Look, ON_TIME, judge};
use super::places::Places;
use super::runs::{Instances, Run};
use crate::model::{JobName, RunId, RunIds};
use crate::spec::Pool;

/// What concerns all jobs together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub max_concurrent_runs: u32,
    /// By name.
    pub pools: BTreeMap<String, Pool>,
}

impl Settings {
    /// No pools, and so many runs at once.
    pub fn new(max_concurrent_runs: u32) -> Self {
        Self { max_concurrent_runs, pools: BTreeMap::new() }
    }
}

/// The state machine. Whoever owns it feeds it events with the time at which they happened.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(super) ids: RunIds,
    pub(super) slots: Vec<Option<Job>>,
    pub(super) free: Vec<u32>,
    pub(super) by_name: HashMap<JobName, u32>,
    pub(super) due: DueQueue,
    /// Ends of pauses, looked at when the time comes.
    pub(super) pauses: HashMap<JobName, Pause>,
    /// All that wait, are under way, or will be tried again.
    pub(super) runs: HashMap<RunId, Run>,
    /// The runs of each job that has any; also of jobs that are gone.
    pub(super) instances: HashMap<JobName, Instances>,
    pub(super) places: Places,
    /// When which run is tried again.
    pub(super) retries: BTreeSet<(Timestamp, RunId)>,
    pub(super) chains: Chains,
    pub(super) breakers: Breakers,
    pub(super) backlogs: Backlogs,
    /// The first generation is in force. Before it, ends of pauses are only kept: which due times they cover is not known yet.
    pub(super) loaded: bool,
    pub(super) stopping: bool,
    /// The latest time that was seen since the clock was last corrected.
    latest: Option<Timestamp>,
    /// The time that was seen last.
    previous: Option<Timestamp>,
    /// While an event is taken up: nothing was handled from then on, when the engine wanted to be woken.
    held_since: Option<Timestamp>,
}

/// A clock that goes back further than this was wrong before, or is now; less is waited for.
pub(super) const CORRECTION: SignedDuration = SignedDuration::from_hours(3);

impl Engine {
    /// `seed` decides the random parts of run ids, and nothing else.
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self {
            ids: RunIds::new(seed),
            slots: Vec::new(),
            free: Vec::new(),
            by_name: HashMap::new(),
            due: DueQueue::default(),
            pauses: HashMap::new(),
            runs: HashMap::new(),
            instances: HashMap::new(),
            places: Places::new(&settings),
            retries: BTreeSet::new(),
            chains: Chains::default(),
            breakers: Breakers::default(),
            backlogs: Backlogs::default(),
            loaded: false,
            stopping: false,
            latest: None,
            previous: None,
            held_since: None,
        }
    }

    /// Takes an event up and adds what follows from it to `decisions`.
    pub fn handle(&mut self, event: Event, now: Timestamp, decisions: &mut Vec<Decision>) {
        self.notice_clock(now, decisions);
        self.held_since = self.wake_at().filter(|at| self.loaded && now.duration_since(*at) > ON_TIME);
        // What was due until now is dealt with under what was in force until now. Only the end of a run goes before it, so that
        // a due time is not skipped for a run that has ended.
        match &event {
            Event::Ended { run, status, exit_code } => {
                self.ended(*run, *status, *exit_code, now, decisions);
                if self.loaded && !self.stopping {
                    self.start_waiting(now, decisions);
                }
            }
            _ => self.pass_time(now, decisions),
        }
        match event {
            Event::Load { changes, starting } => self.load(changes, starting, now, decisions),
            Event::Wake | Event::Ended { .. } => {}
            Event::Ask { ask, job, args } => self.ask(ask, job, args, now, decisions),
            Event::Cancel { run, reason } => self.cancel(run, reason, now, decisions),
            Event::Pause { job, until } => self.pause(&job, Some(Pause { until })),
            Event::Resume { job } => self.pause(&job, None),
            Event::Began { pool, at } => self.places.began(&pool, at),
            Event::Backlog { job, backlog } => self.set_backlog(job, backlog),
            Event::Withdraw { run } => self.withdraw(run, now, decisions),
            Event::Configure(settings) => self.configure(&settings),
            Event::Stop => self.stop(now, decisions),
        }
        self.pass_time(now, decisions);
        self.held_since = None;
    }

    /// Other limits come in force. Pools that loaded jobs or runs name stay: without them nothing would limit those.
    fn configure(&mut self, settings: &Settings) {
        let jobs = self.slots.iter().flatten().map(|job| &job.spec);
        let specs = jobs.chain(self.runs.values().filter_map(Run::spec));
        let named = specs.filter_map(|spec| spec.policies.pool.as_deref());
        self.places.configure(settings, &named.collect());
    }

    /// Ends pauses, accounts for due times up to `now`, and lets go on what has waited for the time.
    fn pass_time(&mut self, now: Timestamp, decisions: &mut Vec<Decision>) {
        if self.loaded && !self.stopping {
            self.end_pauses(now, decisions);
            self.fire_due(now, None, decisions);
            self.try_again(now);
            self.start_waiting(now, decisions);
            self.fire_backlogs(now, decisions);
        }
    }

    /// When the engine wants to be woken: the soonest due time, end of a pause, or end of a wait.
    pub fn wake_at(&mut self) -> Option<Timestamp> {
        if self.stopping {
            return None;
        }
        let Self { slots, due, .. } = self;
        let next = due.peek(|due, slot| is_current(slots, due, slot)).map(|(due, _)| due);
        let resume = self.pauses.values().filter_map(|pause| pause.until).min();
        let retry = self.retries.first().map(|(at, _)| *at);
        [next, resume, retry, self.places.wake_at(), self.backlogs.wake_at()].into_iter().flatten().min()
    }

    /// A job's next due time, paused or not.
    pub fn next_due(&self, job: &str) -> Option<Timestamp> {
        self.job(job)?.next
    }

    /// Where the grid of a job's interval begins.
    pub fn anchor(&self, job: &str) -> Option<Timestamp> {
        Some(self.job(job)?.anchor)
    }

    /// How a job is paused: not at all, without an end (`Some(None)`), or until a time.
    pub fn paused(&self, job: &str) -> Option<Option<Timestamp>> {
        self.pauses.get(job).map(|pause| pause.until)
    }

    /// All pauses, with their ends.
    pub fn pauses(&self) -> impl Iterator<Item = (&JobName, Option<Timestamp>)> {
        self.pauses.iter().map(|(job, pause)| (job, pause.until))
    }

    /// What a job's circuit breaker says now.
    pub fn breaker(&self, job: &str, now: Timestamp) -> BreakerState {
        let breaker = self.job(job).and_then(|job| job.spec.policies.breaker);
        self.breakers.state(job, breaker.as_ref(), now)
    }

    pub(super) fn job(&self, name: &str) -> Option<&Job> {
        self.slots.get(*self.by_name.get(name)? as usize)?.as_ref()
    }

    fn job_mut(&mut self, name: &str) -> Option<&mut Job> {
        self.slots.get_mut(*self.by_name.get(name)? as usize)?.as_mut()
    }

    fn notice_clock(&mut self, now: Timestamp, decisions: &mut Vec<Decision>) {
        if let Some(previous) = self.previous.filter(|previous| *previous > now) {
            // Waits are lengths of time: a clock that is set back makes none of them longer.
            let by = previous.duration_since(now);
            self.retries = self.retries.iter().map(|(at, run)| (at.checked_sub(by).unwrap_or(*at), *run)).collect();
            for (at, run) in &self.retries {
                if let Some(run) = self.runs.get_mut(run) {
                    run.tried_again_at(*at);
                }
            }
            self.places.shift_back(by);
            self.breakers.shift_back(by);
        }
        self.previous = Some(now);
        if let Some(from) = self.latest
            && from.duration_since(now) > CORRECTION
        {
            self.latest = None;
            // What waits was due by the wrong clock; its record must not lie in the future.
            for run in self.runs.values_mut() {
                run.correct(now);
            }
            self.chains.correct(now);
            decisions.push(Decision::ClockCorrected { from, to: now });
            for slot in 0..self.slots.len() as u32 {
                if let Some(job) = &mut self.slots[slot as usize] {
                    job.handled = now;
                    job.last_due = job.last_due.min(Some(now));
                    job.anchor = job.anchor.min(now);
                    job.interval_due = job.interval_due.min(Some(now));
                    self.schedule(slot);
                }
            }
        }
        self.latest = self.latest.max(Some(now));
    }

    /// Works out a job's next due time anew.
    pub(super) fn schedule(&mut self, slot: u32) {
        if let Some(job) = &mut self.slots[slot as usize] {
            job.next = job.next_due();
            if let Some(due) = job.next {
                self.due.push(due, slot);
            }
        }
    }

    /// Accounts for every due time up to `now`. `down_since`: the runner was away from then on.
    pub(super) fn fire_due(&mut self, now: Timestamp, down_since: Option<Timestamp>, decisions: &mut Vec<Decision>) {
        loop {
            let Self { slots, due, .. } = self;
            let Some((at, slot)) = due.peek(|due, slot| is_current(slots, due, slot)) else { return };
            if at > now {
                return;
            }
            self.due.pop();
            self.account_for(slot, &[], self.look(now, down_since), decisions);
        }
    }

    /// With what due times are judged.
    pub(super) fn look(&self, now: Timestamp, down_since: Option<Timestamp>) -> Look {
        Look { now, down_since, held_since: self.held_since }
    }

    /// Decides about all that has passed of a job.
    pub(super) fn account_for(&mut self, slot: u32, owed: &[Owed], look: Look, decisions: &mut Vec<Decision>) {
        let Some(job) = &mut self.slots[slot as usize] else { return };
        let passed = job.passed(look.now);
        let verdict = judge(job, &passed, owed, look);
        job.account(&passed, look.now);
        let spec = job.spec.clone();
        self.schedule(slot);
        decisions.extend(verdict.drops.into_iter().map(|(run, gap)| Decision::Drop { run, gap }));
        decisions.extend(verdict.gaps.into_iter().map(Decision::Gap));
        for (firing, run) in verdict.firings {
            self.fire_as(run, firing, &spec, verdict.all, look.now, decisions);
        }
    }

    fn pause(&mut self, name: &JobName, pause: Option<Pause>) {
        match pause {
            Some(pause) => self.pauses.insert(name.clone(), pause),
            None => self.pauses.remove(name),
        };
        if let Some(job) = self.job_mut(name) {
            job.pause = pause;
        }
    }

    pub(super) fn end_pauses(&mut self, now: Timestamp, decisions: &mut Vec<Decision>) {
        if !self.pauses.values().any(|pause| pause.is_over(now)) {
            return;
        }
        let over: Vec<(JobName, Pause)> = self
            .pauses
            .iter()
            .filter(|(_, pause)| pause.is_over(now))
            .map(|(name, pause)| (name.clone(), *pause))
            .collect();
        for (name, pause) in over {
            // Due times up to the end of the pause are passed over; one at its very end is not.
            if let (Some(until), Some(slot)) = (pause.until, self.by_name.get(&name).copied()) {
                let last = until - SignedDuration::from_nanos(1);
                self.account_for(slot, &[], self.look(last, None), decisions);
            }
            self.pause(&name, None);
            decisions.push(Decision::Resumed { job: name });
        }
    }
}

pub(super) fn is_current(slots: &[Option<Job>], due: Timestamp, slot: u32) -> bool {
    slots.get(slot as usize).and_then(Option::as_ref).is_some_and(|job| job.next == Some(due))
}
