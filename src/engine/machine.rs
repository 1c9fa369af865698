use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::decision::{Accepted, Decision};
use super::due::DueQueue;
use super::event::{Change, Entry, Event, Starting};
use super::job::{Job, MOST_COUNTED, Passed, Pause};
use crate::model::{Firing, GapKind, JobName, RunId, RunIds, TriggeredBy};
use crate::spec::Overlap;

/// What concerns all jobs together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    pub max_concurrent_runs: u32,
}

/// The state machine. Whoever owns it feeds it events with the time at which they happened.
#[derive(Debug, Clone)]
pub struct Engine {
    settings: Settings,
    ids: RunIds,
    slots: Vec<Option<Job>>,
    free: Vec<u32>,
    by_name: HashMap<JobName, u32>,
    due: DueQueue,
    /// Ends of pauses, looked at when the time comes.
    pauses: HashMap<JobName, Pause>,
    /// Runs that wait for one of `max_concurrent_runs` places, in order.
    waiting: VecDeque<(RunId, Firing)>,
    /// Runs that are waiting or under way, of each job that has any; also of jobs that are gone.
    active: HashMap<JobName, Vec<RunId>>,
    under_way: HashMap<RunId, JobName>,
    /// The first generation is in force. Before it, ends of pauses are only kept: which due times they cover is not known yet.
    loaded: bool,
    stopping: bool,
    /// The latest time that was seen since the clock was last corrected.
    latest: Option<Timestamp>,
}

/// A clock that goes back further than this was wrong before, or is now; less is waited for.
const CORRECTION: SignedDuration = SignedDuration::from_hours(3);

impl Engine {
    /// `seed` decides the random parts of run ids, and nothing else.
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self {
            settings,
            ids: RunIds::new(seed),
            slots: Vec::new(),
            free: Vec::new(),
            by_name: HashMap::new(),
            due: DueQueue::default(),
            pauses: HashMap::new(),
            waiting: VecDeque::new(),
            active: HashMap::new(),
            under_way: HashMap::new(),
            loaded: false,
            stopping: false,
            latest: None,
        }
    }

    /// Takes an event up and adds what follows from it to `decisions`.
    pub fn handle(&mut self, event: Event, now: Timestamp, decisions: &mut Vec<Decision>) {
        self.notice_clock(now, decisions);
        // What was due until now is dealt with under what was in force until now. Only the end of a run goes before it, so that
        // a due time is not skipped for a run that has ended.
        match &event {
            Event::Ended { run } => self.ended(*run, decisions),
            _ => self.pass_time(now, decisions),
        }
        match event {
            Event::Load { changes, starting } => self.load(changes, starting, now, decisions),
            Event::Wake | Event::Ended { .. } => {}
            Event::Ask { ask, job, args } => self.ask(ask, job, args, now, decisions),
            Event::Pause { job, until } => self.pause(&job, Some(Pause { until })),
            Event::Resume { job } => self.pause(&job, None),
            Event::Configure(settings) => {
                self.settings = settings;
                self.start_waiting(decisions);
            }
            Event::Stop => self.stop(decisions),
        }
        self.pass_time(now, decisions);
    }

    /// Ends pauses and accounts for due times up to `now`.
    fn pass_time(&mut self, now: Timestamp, decisions: &mut Vec<Decision>) {
        if self.loaded && !self.stopping {
            self.end_pauses(now, decisions);
            self.fire_due(now, None, decisions);
        }
    }

    /// When the engine wants to be woken: the soonest due time, or end of a pause.
    pub fn wake_at(&mut self) -> Option<Timestamp> {
        if self.stopping {
            return None;
        }
        let Self { slots, due, .. } = self;
        let next = due.peek(|due, slot| is_current(slots, due, slot)).map(|(due, _)| due);
        let resume = self.pauses.values().filter_map(|pause| pause.until).min();
        [next, resume].into_iter().flatten().min()
    }

    /// A job's next due time, paused or not.
    pub fn next_due(&self, job: &str) -> Option<Timestamp> {
        self.job(job)?.next
    }

    /// How a job is paused: not at all, without an end (`Some(None)`), or until a time.
    pub fn paused(&self, job: &str) -> Option<Option<Timestamp>> {
        self.pauses.get(job).map(|pause| pause.until)
    }

    /// All pauses, with their ends.
    pub fn pauses(&self) -> impl Iterator<Item = (&JobName, Option<Timestamp>)> {
        self.pauses.iter().map(|(job, pause)| (job, pause.until))
    }

    /// How many runs wait for a place.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The runs that were started and have not ended.
    pub fn under_way(&self) -> impl Iterator<Item = (&RunId, &JobName)> {
        self.under_way.iter()
    }

    /// The jobs' next due times, soonest first.
    pub fn soonest(&self, most: usize) -> Vec<(Timestamp, JobName)> {
        let mut all: Vec<_> =
            self.slots.iter().flatten().filter_map(|job| Some((job.next?, job.name.clone()))).collect();
        all.sort();
        all.truncate(most);
        all
    }

    fn job(&self, name: &str) -> Option<&Job> {
        self.slots.get(*self.by_name.get(name)? as usize)?.as_ref()
    }

    fn job_mut(&mut self, name: &str) -> Option<&mut Job> {
        self.slots.get_mut(*self.by_name.get(name)? as usize)?.as_mut()
    }

    fn notice_clock(&mut self, now: Timestamp, decisions: &mut Vec<Decision>) {
        if let Some(from) = self.latest
            && from.duration_since(now) > CORRECTION
        {
            self.latest = None;
            // What waits was due by the wrong clock; its record must not lie in the future.
            for (_, firing) in &mut self.waiting {
                firing.due = firing.due.min(now);
            }
            decisions.push(Decision::ClockCorrected { from, to: now });
            for slot in 0..self.slots.len() as u32 {
                if let Some(job) = &mut self.slots[slot as usize] {
                    job.handled = now;
                    job.last_due = job.last_due.min(Some(now));
                    job.anchor = job.anchor.min(now);
                    self.schedule(slot);
                }
            }
        }
        self.latest = self.latest.max(Some(now));
    }

    fn load(
        &mut self,
        changes: Vec<Change>,
        starting: Option<Starting>,
        now: Timestamp,
        decisions: &mut Vec<Decision>,
    ) {
        let mut from_the_future = None;
        for change in changes {
            match change {
                Change::Put(entry) => self.put(*entry, starting, now, &mut from_the_future, decisions),
                Change::Removed(name) => self.remove(&name, decisions),
            }
        }
        if let Some(from) = from_the_future {
            decisions.push(Decision::ClockCorrected { from, to: now });
        }
        self.loaded = true;
        let Self { slots, due, by_name, .. } = self;
        due.tidy(by_name.len(), |due, slot| is_current(slots, due, slot));
        if let Some(Starting { down_since: Some(since) }) = starting {
            self.end_pauses(now, decisions);
            self.fire_due(now, Some(since), decisions);
        }
    }

    fn put(
        &mut self,
        entry: Entry,
        starting: Option<Starting>,
        now: Timestamp,
        from_the_future: &mut Option<Timestamp>,
        decisions: &mut Vec<Decision>,
    ) {
        let handled = match starting {
            // Known before: what has passed since is accounted for under the spec that is loaded now.
            Some(Starting { down_since: Some(since) }) if entry.first_loaded != now => {
                let known = entry.last_due.unwrap_or(since).max(since);
                let is_from_the_future = entry.first_loaded.duration_since(now) > CORRECTION;
                let known = if is_from_the_future { known } else { known.max(entry.first_loaded) };
                // A record from the future comes from a clock that was wrong.
                if known.duration_since(now) > CORRECTION {
                    *from_the_future = (*from_the_future).max(Some(known));
                    now
                } else {
                    known
                }
            }
            // New to the engine. What ran before a small step back of the clock does not run again.
            _ => entry.last_due.filter(|due| due.duration_since(now) <= CORRECTION).map_or(now, |due| due.max(now)),
        };
        let (mut job, at_start) = Job::new(entry, handled);
        if job.anchor.duration_since(now) > CORRECTION {
            job.anchor = now;
        }
        job.pause = self.pauses.get(&job.name).copied();
        let name = job.name.clone();
        let spec = job.spec.clone();
        let slot = match self.by_name.get(&name) {
            Some(slot) => {
                let slot = *slot;
                if let Some(before) = &self.slots[slot as usize] {
                    // No due time runs twice, also where the clock went back a little before the reload.
                    job.last_due = before.last_due;
                    job.handled = job.handled.max(before.last_due.unwrap_or(job.handled));
                    job.anchor = before.anchor;
                }
                self.slots[slot as usize] = Some(job);
                slot
            }
            None => {
                let slot = self.free.pop().unwrap_or_else(|| {
                    self.slots.push(None);
                    self.slots.len() as u32 - 1
                });
                self.slots[slot as usize] = Some(job);
                self.by_name.insert(name.clone(), slot);
                slot
            }
        };
        self.schedule(slot);
        if starting.is_some() && at_start && !self.stopping {
            let firing = Firing { job: name, triggered_by: TriggeredBy::Start, due: now, args: Vec::new() };
            if self.pauses.get(&firing.job).is_some_and(|pause| !pause.is_over(now)) {
                decisions.push(skipped(&firing, "paused".into()));
            } else {
                self.fire(firing, &spec, now, decisions);
            }
        }
    }

    fn remove(&mut self, name: &JobName, decisions: &mut Vec<Decision>) {
        let Some(slot) = self.by_name.remove(name) else { return };
        self.slots[slot as usize] = None;
        self.free.push(slot);
        let (gone, stay): (VecDeque<_>, _) = self.waiting.drain(..).partition(|(_, firing)| firing.job == *name);
        self.waiting = stay;
        for (run, firing) in gone {
            self.forget(run, &firing.job);
            decisions.push(skipped(&firing, "the job was removed while it waited".into()));
        }
    }

    /// Works out a job's next due time anew.
    fn schedule(&mut self, slot: u32) {
        if let Some(job) = &mut self.slots[slot as usize] {
            job.next = job.next_due();
            if let Some(due) = job.next {
                self.due.push(due, slot);
            }
        }
    }

    /// Accounts for every due time up to `now`. `down_since`: the runner was away from then on.
    fn fire_due(&mut self, now: Timestamp, down_since: Option<Timestamp>, decisions: &mut Vec<Decision>) {
        loop {
            let Self { slots, due, .. } = self;
            let Some((at, slot)) = due.peek(|due, slot| is_current(slots, due, slot)) else { return };
            if at > now {
                return;
            }
            self.due.pop();
            if self.stopping {
                continue;
            }
            let Some(job) = &mut self.slots[slot as usize] else { continue };
            let passed = job.passed(now);
            let firing = judge(job, &passed, now, down_since, decisions);
            job.account(&passed, now);
            let spec = job.spec.clone();
            self.schedule(slot);
            if let Some(firing) = firing {
                self.fire(firing, &spec, now, decisions);
            }
        }
    }

    /// A trigger went off: the run starts, waits for a place, or is skipped because of its own kind.
    fn fire(
        &mut self,
        firing: Firing,
        spec: &std::sync::Arc<crate::spec::JobSpec>,
        now: Timestamp,
        decisions: &mut Vec<Decision>,
    ) {
        if let Some(reason) = self.overlaps(&firing.job, spec) {
            decisions.push(skipped(&firing, reason));
            return;
        }
        self.admit(firing, spec.clone(), now, decisions);
    }

    fn overlaps(&self, job: &JobName, spec: &crate::spec::JobSpec) -> Option<String> {
        let active = self.active.get(job)?;
        match spec.policies.overlap {
            Overlap::Allow => None,
            Overlap::Skip if active.len() < spec.policies.max_instances as usize => None,
            Overlap::Skip => {
                let run = active.first()?;
                Some(match spec.policies.max_instances {
                    1 => format!("run {run} is still active"),
                    most => format!("{most} runs are still active, the oldest is {run}"),
                })
            }
        }
    }

    /// Starts a run, or lets it wait for a place. Says its id, and whether it waits.
    fn admit(
        &mut self,
        firing: Firing,
        spec: std::sync::Arc<crate::spec::JobSpec>,
        now: Timestamp,
        decisions: &mut Vec<Decision>,
    ) -> (RunId, bool) {
        let run = self.ids.next(now);
        self.active.entry(firing.job.clone()).or_default().push(run);
        if self.under_way.len() >= self.settings.max_concurrent_runs as usize {
            self.waiting.push_back((run, firing));
            return (run, true);
        }
        self.under_way.insert(run, firing.job.clone());
        decisions.push(Decision::Start { run, firing, spec });
        (run, false)
    }

    fn start_waiting(&mut self, decisions: &mut Vec<Decision>) {
        while self.under_way.len() < self.settings.max_concurrent_runs as usize {
            let Some((run, firing)) = self.waiting.pop_front() else { return };
            // A changed job's waiting firing takes the spec that is in force now.
            let Some(spec) = self.job(&firing.job).map(|job| job.spec.clone()) else {
                self.forget(run, &firing.job);
                continue;
            };
            self.under_way.insert(run, firing.job.clone());
            decisions.push(Decision::Start { run, firing, spec });
        }
    }

    fn ended(&mut self, run: RunId, decisions: &mut Vec<Decision>) {
        if let Some(job) = self.under_way.remove(&run) {
            self.forget(run, &job);
        }
        self.start_waiting(decisions);
    }

    fn forget(&mut self, run: RunId, job: &JobName) {
        if let Some(active) = self.active.get_mut(job) {
            active.retain(|other| *other != run);
            if active.is_empty() {
                self.active.remove(job);
            }
        }
    }

    fn ask(&mut self, ask: u64, name: JobName, args: Vec<String>, now: Timestamp, decisions: &mut Vec<Decision>) {
        let mut refuse = |reason: String| decisions.push(Decision::Answer { ask, answer: Err(reason) });
        if self.stopping {
            return refuse("the runner is stopping".into());
        }
        let Some(spec) = self.job(&name).map(|job| job.spec.clone()) else {
            return refuse(format!("there is no job `{name}`"));
        };
        if let Some(reason) = self.overlaps(&name, &spec) {
            return refuse(format!("{reason}, and the job's overlap is skip"));
        }
        let notice = if !spec.about.enabled {
            Some("the job is disabled: only its triggers rest")
        } else if self.pauses.contains_key(&name) {
            Some("the job is paused: only its triggers rest")
        } else {
            None
        };
        let firing = Firing { job: name, triggered_by: TriggeredBy::Manual, due: now, args };
        let mut after = Vec::new();
        let (run, waits) = self.admit(firing, spec, now, &mut after);
        decisions.push(Decision::Answer { ask, answer: Ok(Accepted { run, waits, notice }) });
        decisions.append(&mut after);
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

    fn end_pauses(&mut self, now: Timestamp, decisions: &mut Vec<Decision>) {
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
            if let Some(until) = pause.until {
                let last = until - SignedDuration::from_nanos(1);
                self.pass_over(&name, last, decisions);
            }
            self.pause(&name, None);
            decisions.push(Decision::Resumed { job: name });
        }
    }

    /// Accounts for a paused job's due times up to `until`.
    fn pass_over(&mut self, name: &JobName, until: Timestamp, decisions: &mut Vec<Decision>) {
        let Some(slot) = self.by_name.get(name).copied() else { return };
        if let Some(job) = &mut self.slots[slot as usize] {
            let passed = job.passed(until);
            judge(job, &passed, until, None, decisions);
            job.account(&passed, until);
        }
        self.schedule(slot);
    }

    fn stop(&mut self, decisions: &mut Vec<Decision>) {
        self.stopping = true;
        for (run, firing) in std::mem::take(&mut self.waiting) {
            self.forget(run, &firing.job);
            decisions.push(skipped(&firing, "the runner stopped while the run waited for its turn".into()));
        }
    }
}

fn is_current(slots: &[Option<Job>], due: Timestamp, slot: u32) -> bool {
    slots.get(slot as usize).and_then(Option::as_ref).is_some_and(|job| job.next == Some(due))
}

fn skipped(firing: &Firing, reason: String) -> Decision {
    Decision::Gap {
        kind: GapKind::Skipped,
        job: firing.job.clone(),
        triggered_by: firing.triggered_by,
        reason,
        due: firing.due,
        until: firing.due,
        count: 1,
    }
}

/// Of the due times that have passed: which one fires, if any; the others are recorded with their reason.
///
/// Several triggers that are due at one instant fire once. Of several instants only the newest can still run, if it is not
/// later than the job's `misfire_grace`.
fn judge(
    job: &Job,
    passed: &[Passed],
    now: Timestamp,
    down_since: Option<Timestamp>,
    decisions: &mut Vec<Decision>,
) -> Option<Firing> {
    let newest = passed.iter().map(|passed| passed.newest).max()?;
    let late = now.duration_since(newest);
    let grace = job.spec.policies.misfire_grace;
    let is_in_time = late <= SignedDuration::try_from(grace.0).unwrap_or(SignedDuration::MAX);
    let mut firing = None;
    for one in passed {
        let mut gap = |kind, reason: String, until, count| {
            let reason = if one.is_capped { format!("{reason} (counted up to {MOST_COUNTED})") } else { reason };
            decisions.push(Decision::Gap {
                kind,
                job: job.name.clone(),
                triggered_by: one.triggered_by,
                reason,
                due: one.first,
                until,
                count,
            });
        };
        if job.pause.is_some() {
            gap(GapKind::Skipped, "paused".into(), one.newest, one.count);
            continue;
        }
        let missed = match down_since {
            Some(since) => {
                format!("the runner was down from {} to {}", crate::model::rfc3339(since), crate::model::rfc3339(now))
            }
            None => format!("handled later than the misfire_grace of {grace}"),
        };
        let runs = is_in_time && one.newest == newest;
        if !runs {
            gap(GapKind::Missed, missed, one.newest, one.count);
            continue;
        }
        if one.count > 1 {
            // A count that was capped does not hold the newest.
            let count = if one.is_capped { one.count } else { one.count - 1 };
            gap(GapKind::Missed, missed, job.last_before_newest(one), count);
        }
        if firing.is_none() {
            firing =
                Some(Firing { job: job.name.clone(), triggered_by: one.triggered_by, due: newest, args: Vec::new() });
        }
    }
    firing
}
