//! The engine on a virtual clock: what would run when, and what would wait or be skipped. Pure: whoever asks brings the jobs,
//! how long their runs take, and the span of time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};

use jiff::{SignedDuration, Timestamp};

use super::decision::Decision;
use super::event::{Change, Entry, Event, Starting};
use super::machine::{Engine, Settings};
use super::waits::WaitsFor;
use crate::model::{Firing, Gap, GapKind, JobName, RunId, Status, TriggeredBy, rfc3339};
use crate::trigger::{self, Armed};

/// What is to be simulated.
#[derive(Debug, Clone)]
pub struct Plan {
    pub settings: Settings,
    pub entries: Vec<Entry>,
    pub pauses: Vec<(JobName, Option<Timestamp>)>,
    /// Runs that are there already; those that began first before the others, and those that wait after them.
    pub begun: Vec<Begun>,
    /// What is due from then on, that instant included.
    pub from: Timestamp,
    /// Up to then, that instant not included.
    pub until: Timestamp,
    /// Whether the runner starts at `from`, so that `on_start` fires.
    pub starts: bool,
    /// The jobs that are told of; all where it is absent. The others run as well: who waits for whom depends on them.
    pub only: Option<BTreeSet<JobName>>,
    /// How many runs, and how many streaks of skipped due times, are told one by one. The rest is counted.
    pub listed: usize,
    /// After so many due times, run or skipped, the simulation stops.
    pub most: u64,
}

/// A run that is there before the span begins.
#[derive(Debug, Clone)]
pub struct Begun {
    pub job: JobName,
    pub triggered_by: TriggeredBy,
    pub due: Timestamp,
    /// When it started; absent where it waits for its turn.
    pub started: Option<Timestamp>,
    /// From when on its time counts: when it started, or when its next attempt begins.
    pub lasts_from: Option<Timestamp>,
}

/// What would happen.
#[derive(Debug, Clone, Default)]
pub struct Course {
    /// In order of their due times.
    pub runs: Vec<SimulatedRun>,
    /// In order of their due times.
    pub skipped: Vec<SimulatedGap>,
    /// Of the jobs that are told of, those that had anything due.
    pub jobs: BTreeMap<JobName, Tally>,
    /// The greatest number of runs at once, and when that was first so.
    pub most_at_once: Option<(usize, Timestamp)>,
    pub longest_wait: Option<(SignedDuration, JobName, Timestamp)>,
    /// The minute in which the most runs start, and how many.
    pub busiest_minute: Option<(Timestamp, u64)>,
    /// The simulation stopped then, because so many due times had come.
    pub stopped: Option<Timestamp>,
}

/// A job's share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub runs: u64,
    /// Runs that still wait at the end.
    pub waiting: u64,
    pub skipped: u64,
    pub longest_wait: SignedDuration,
}

/// A run as it would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatedRun {
    pub job: JobName,
    pub triggered_by: TriggeredBy,
    pub due: Timestamp,
    /// When it starts and when it ends, maybe after the span; absent where it still waits at the end.
    pub times: Option<(Timestamp, Timestamp)>,
    /// What it waits for, and how long for each.
    pub waits: Vec<(WaitsFor, SignedDuration)>,
    /// Some of the jobs whose runs are active when it starts.
    pub overlaps: Vec<JobName>,
    /// How many more there are.
    pub overlaps_more: usize,
    /// A newer run of its job takes its place before its time is over.
    pub replaced: bool,
    /// It was there before the span began.
    pub begun: bool,
}

impl SimulatedRun {
    /// How long it waits in all.
    pub fn waited(&self) -> SignedDuration {
        self.waits.iter().map(|(_, waited)| *waited).sum()
    }
}

/// Due times, one after another, that would not become runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatedGap {
    pub job: JobName,
    pub triggered_by: TriggeredBy,
    pub kind: GapKind,
    pub reason: String,
    pub due: Timestamp,
    pub until: Timestamp,
    pub count: u64,
}

/// Lets the engine go through the span. Each run takes as long as `lasts` says, and succeeds.
pub fn simulate(plan: Plan, lasts: impl Fn(&JobName) -> SignedDuration) -> Course {
    let Plan { settings, entries, pauses, begun, from, until, starts, only, listed, most } = plan;
    let begin = from.checked_sub(INSTANT).unwrap_or(from);
    let mut world = World {
        engine: Engine::new(settings, 0),
        from,
        meant: from,
        lasts,
        only,
        listed,
        active: BTreeMap::new(),
        ends: BinaryHeap::new(),
        waiting: HashMap::new(),
        blames: BTreeMap::new(),
        streaks: HashMap::new(),
        minute: (i64::MIN, 0),
        handled: 0,
        begun: HashMap::new(),
        to_begin: None,
        course: Course::default(),
    };
    for (job, until) in pauses {
        if until.is_none_or(|until| until > from) {
            world.tell(Event::Pause { job, until }, begin);
        }
    }
    let mut entries: Vec<Entry> = entries.into_iter().map(|entry| as_of(entry, from)).collect();
    // Who starts looks at what has come by itself.
    let mut arrived = Vec::new();
    if !starts {
        let take = |entry: &mut Entry| (entry.name.clone(), std::mem::take(&mut entry.memory.arrived));
        arrived.extend(entries.iter_mut().map(take));
    }
    let changes = entries.into_iter().map(|entry| Change::Put(Box::new(entry))).collect();
    let starting = starts.then_some(Starting { down_since: None });
    world.tell(Event::Load { changes, starting }, begin);
    for (job, arrived) in arrived {
        world.engine.note_arrived(&job, arrived);
    }
    for one in begun {
        let job = one.job.clone();
        world.to_begin = Some(one);
        // As if a person asked for it: pauses and breakers do not count for what is there already.
        world.tell(Event::Ask { ask: 0, job, args: Vec::new() }, begin);
        world.to_begin = None;
    }
    let mut now = begin;
    while let Some((time, meant, event)) = world.next() {
        if meant >= until {
            break;
        }
        if world.handled >= most {
            world.course.stopped = Some(whole(meant));
            break;
        }
        // The engine never asks to be woken in the past; if it did, this would still come to an end.
        now = if matches!(event, Event::Wake) && time <= now { now + SignedDuration::from_millis(1) } else { time };
        world.meant = meant.max(now);
        world.tell(event, now);
    }
    let end = world.course.stopped.unwrap_or(until);
    world.finish(end)
}

/// Ends come just before what is due at that instant, so that a run that takes exactly its interval is not in its own way,
/// whatever the order in which several ends come.
const INSTANT: SignedDuration = SignedDuration::from_nanos(1);

/// The whole millisecond that is meant: the nearest one.
fn whole(time: Timestamp) -> Timestamp {
    let ms = time.as_nanosecond().saturating_add(500_000).div_euclid(1_000_000);
    i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(time)
}

/// The job as it would be known at that time: nothing has happened after it, and its grid of intervals goes back as far.
fn as_of(mut entry: Entry, from: Timestamp) -> Entry {
    let memory = &mut entry.memory;
    let is_past = entry.first_loaded > from || memory.interval_due.is_some_and(|due| due > from);
    let shift = trigger::spread(&entry.name, entry.spec.policies.jitter);
    let anchor = trigger::anchor(entry.first_loaded, memory.interval_due, shift);
    if is_past && anchor > from {
        memory.interval_due = grid_back(&entry.armed, anchor, from);
    }
    memory.last_due = memory.last_due.filter(|due| *due < from);
    memory.arrived.retain(|(_, at)| *at < from);
    if memory.failed_at.is_some_and(|at| at > from) {
        (memory.failed_in_row, memory.failed_at) = (0, None);
    }
    entry
}

/// A place on the grid of a job's interval before that time, where the grid is known from `anchor` on; `None` if the job has no
/// interval.
pub fn grid_back(armed: &[(TriggeredBy, Armed)], anchor: Timestamp, before: Timestamp) -> Option<Timestamp> {
    let second = armed.iter().find_map(|(by, armed)| match armed {
        Armed::Times(times) if *by == TriggeredBy::Interval => times.next_after(anchor, anchor),
        _ => None,
    })?;
    let step = second.duration_since(anchor).as_millis().max(1);
    let back = (anchor.duration_since(before).as_millis().max(0) / step + 1) * step;
    let back = SignedDuration::from_millis(i64::try_from(back).unwrap_or(i64::MAX));
    Some(anchor.checked_sub(back).unwrap_or(before))
}

/// A run that is under way.
struct Active {
    job: JobName,
    due: Timestamp,
    /// When the engine is told of its end.
    ends: Timestamp,
    meant_end: Timestamp,
    status: Status,
    /// Its place in the list.
    listed: Option<usize>,
}

/// A run that waits.
struct Waiting {
    firing: Firing,
    waits: Vec<(WaitsFor, Timestamp)>,
    /// Where it waits for a place as a run of a pool: the pool, and how long each limit had been in the way before it came.
    in_pool: Option<(String, Sums)>,
}

/// How long all places, those of a pool, and its rate have been what its runs wait for.
type Sums = [SignedDuration; 3];

/// Which limit is in the way of a pool's runs, and since when; which ones were before.
struct Blame {
    limit: usize,
    since: Timestamp,
    sums: Sums,
    waiting: usize,
}

impl Blame {
    fn sums_at(&self, now: Timestamp) -> Sums {
        let mut sums = self.sums;
        sums[self.limit] += whole(now).duration_since(self.since);
        sums
    }
}

/// The place in [`Sums`] of what a run of a pool waits for.
fn limit(reason: &WaitsFor) -> usize {
    match reason {
        WaitsFor::Place | WaitsFor::EarlierRun => 0,
        WaitsFor::Pool(_) => 1,
        WaitsFor::Rate(_) => 2,
    }
}

struct World<F> {
    engine: Engine,
    from: Timestamp,
    /// The time as it is meant: for the end of a run the instant after the one that the engine is told.
    meant: Timestamp,
    lasts: F,
    only: Option<BTreeSet<JobName>>,
    listed: usize,
    active: BTreeMap<RunId, Active>,
    ends: BinaryHeap<Reverse<(Timestamp, RunId)>>,
    waiting: HashMap<RunId, Waiting>,
    /// Of the pools in which runs have waited.
    blames: BTreeMap<String, Blame>,
    /// The place of each job's open streak in the list of skipped due times.
    streaks: HashMap<JobName, usize>,
    /// The minute that runs start in now, and how many have.
    minute: (i64, u64),
    /// Due times so far, of all jobs.
    handled: u64,
    /// Runs that were there before, as they really are.
    begun: HashMap<RunId, Begun>,
    /// The one that is taken in.
    to_begin: Option<Begun>,
    course: Course,
}

impl<F: Fn(&JobName) -> SignedDuration> World<F> {
    /// What comes next, when, and which time is meant: a run's end, or what the engine waits for.
    fn next(&mut self) -> Option<(Timestamp, Timestamp, Event)> {
        let end = loop {
            let Some(Reverse((at, run))) = self.ends.peek().copied() else { break None };
            match self.active.get(&run) {
                Some(active) if active.ends == at => break Some((at, run, active.meant_end, active.status)),
                _ => drop(self.ends.pop()),
            }
        };
        match (end, self.engine.wake_at()) {
            (Some((at, run, meant, status)), wake) if wake.is_none_or(|wake| at <= wake) => {
                self.ends.pop();
                self.active.remove(&run);
                let exit_code = (status == Status::Success).then_some(0);
                Some((at, meant, Event::Ended { run, status, exit_code }))
            }
            (_, wake) => Some((wake?, wake?, Event::Wake)),
        }
    }

    fn tell(&mut self, event: Event, now: Timestamp) {
        let mut decisions = Vec::new();
        self.engine.handle(event, now, &mut decisions);
        for decision in decisions {
            match decision {
                Decision::Start { run, firing, .. } => self.start(run, firing, now),
                Decision::Wait { run, firing } => self.wait(run, firing, now),
                Decision::Drop { run, gap } => {
                    self.leave(run);
                    self.gap(gap);
                }
                Decision::Gap(gap) => {
                    self.handled += gap.count;
                    self.gap(gap);
                }
                Decision::End { run, .. } => self.end_early(run, now),
                Decision::Answer { answer, .. } => {
                    let begun = answer.ok().and_then(|accepted| Some((accepted.run, self.to_begin.take()?)));
                    self.begun.extend(begun);
                }
                // Runs succeed, and nobody asks for anything else.
                Decision::PassOver { .. }
                | Decision::Retry { .. }
                | Decision::Abandon { .. }
                | Decision::Cancel { .. }
                | Decision::Resumed { .. }
                | Decision::BreakerOpened { .. }
                | Decision::BreakerClosed { .. }
                | Decision::ClockCorrected { .. } => {}
            }
        }
        for (pool, blame) in self.blames.iter_mut().filter(|(_, blame)| blame.waiting > 0) {
            let limit = limit(&self.engine.waits_in(Some(pool), now));
            if limit != blame.limit {
                (blame.sums, blame.limit, blame.since) = (blame.sums_at(now), limit, whole(now));
            }
        }
    }

    /// A run waits no more.
    fn leave(&mut self, run: RunId) -> Option<Waiting> {
        let waiting = self.waiting.remove(&run)?;
        if let Some(blame) = waiting.in_pool.as_ref().and_then(|(pool, _)| self.blames.get_mut(pool)) {
            blame.waiting -= 1;
        }
        Some(waiting)
    }

    fn is_told_of(&self, job: &JobName) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(job))
    }

    fn shown(&self, time: Timestamp) -> Timestamp {
        whole(time).max(self.from)
    }

    fn start(&mut self, run: RunId, firing: Firing, now: Timestamp) {
        let waiting = self.leave(run);
        if waiting.is_none() {
            self.handled += 1;
        }
        let begun = self.begun.get(&run).filter(|_| waiting.is_none()).cloned();
        let firing = self.as_it_is(run, firing);
        let lasts_from = begun.as_ref().and_then(|begun| begun.lasts_from).unwrap_or(self.meant);
        let meant_end = lasts_from.saturating_add((self.lasts)(&firing.job)).unwrap_or(Timestamp::MAX).max(self.from);
        let started = begun.and_then(|begun| begun.started).unwrap_or(self.shown(self.meant));
        let ended = self.shown(meant_end);
        // A run that is over at once still ends after it has started.
        let ends = meant_end.checked_sub(INSTANT).unwrap_or(meant_end).max(now);
        self.ends.push(Reverse((ends, run)));
        self.streaks.remove(&firing.job);
        let mut listed = None;
        if self.is_told_of(&firing.job) {
            let waits = waiting.map(|waiting| self.waits_until(&waiting, now)).unwrap_or_default();
            let waited = waits.iter().map(|(_, waited)| *waited).sum();
            self.count_start(&firing, waited, started);
            listed = self.list(run, firing.clone(), Some((started, ended)), waits);
        }
        let Firing { job, due, .. } = firing;
        self.active.insert(run, Active { job, due, ends, meant_end, status: Status::Success, listed });
        self.count_active(started.max(self.from));
    }

    /// A run that was there before has its own cause and due time.
    fn as_it_is(&self, run: RunId, firing: Firing) -> Firing {
        match self.begun.get(&run) {
            Some(Begun { triggered_by, due, .. }) => Firing { triggered_by: *triggered_by, due: *due, ..firing },
            None => firing,
        }
    }

    fn count_start(&mut self, firing: &Firing, waited: SignedDuration, started: Timestamp) {
        let tally = self.course.jobs.entry(firing.job.clone()).or_default();
        tally.runs += 1;
        tally.longest_wait = tally.longest_wait.max(waited);
        if waited > self.course.longest_wait.as_ref().map_or(SignedDuration::ZERO, |(longest, ..)| *longest) {
            self.course.longest_wait = Some((waited, firing.job.clone(), whole(firing.due).max(self.from)));
        }
        if started < self.from {
            return;
        }
        let minute = started.as_second().div_euclid(60);
        self.minute = if self.minute.0 == minute { (minute, self.minute.1 + 1) } else { (minute, 1) };
        if self.minute.1 > self.course.busiest_minute.map_or(0, |(_, most)| most)
            && let Ok(time) = Timestamp::from_second(minute * 60)
        {
            self.course.busiest_minute = Some((time, self.minute.1));
        }
    }

    fn count_active(&mut self, now: Timestamp) {
        let count = match &self.only {
            None => self.active.len(),
            Some(only) => self.active.values().filter(|active| only.contains(&active.job)).count(),
        };
        if count > self.course.most_at_once.map_or(0, |(most, _)| most) {
            self.course.most_at_once = Some((count, now));
        }
    }

    /// Takes a run into the list, if there is room in it.
    fn list(
        &mut self,
        run: RunId,
        firing: Firing,
        times: Option<(Timestamp, Timestamp)>,
        waits: Vec<(WaitsFor, SignedDuration)>,
    ) -> Option<usize> {
        if self.course.runs.len() >= self.listed {
            return None;
        }
        let mut overlaps: Vec<JobName> = Vec::new();
        let active = if times.is_some() { self.active.len() } else { 0 };
        for active in self.active.values().take(active).take(MOST_OVERLAPS) {
            overlaps.push(active.job.clone());
        }
        let begun = self.begun.contains_key(&run);
        self.course.runs.push(SimulatedRun {
            due: if begun { firing.due } else { self.shown(firing.due) },
            begun,
            job: firing.job,
            triggered_by: firing.triggered_by,
            times,
            waits,
            overlaps_more: active - overlaps.len(),
            overlaps,
            replaced: false,
        });
        Some(self.course.runs.len() - 1)
    }

    fn wait(&mut self, run: RunId, firing: Firing, now: Timestamp) {
        // Maybe it has begun already, at this very instant.
        let reason = self.engine.waits_for(run, now);
        let firing = self.as_it_is(run, firing);
        let waiting = self.waiting.entry(run).or_insert_with(|| {
            self.handled += 1;
            Waiting { firing, waits: Vec::new(), in_pool: None }
        });
        let Some(reason) = reason else { return };
        if waiting.in_pool.is_some() || waiting.waits.last().is_some_and(|(last, _)| *last == reason) {
            return;
        }
        let pool = self.engine.job(&waiting.firing.job).and_then(|job| job.spec.policies.pool.clone());
        if let Some(pool) = pool.filter(|_| reason != WaitsFor::EarlierRun) {
            let (limit, since) = (limit(&reason), whole(now));
            let anew = || Blame { limit, since, sums: Sums::default(), waiting: 0 };
            let blame = self.blames.entry(pool.clone()).or_insert_with(anew);
            if blame.waiting == 0 {
                (blame.limit, blame.since) = (limit, since);
            }
            blame.waiting += 1;
            waiting.in_pool = Some((pool, blame.sums_at(now)));
        }
        waiting.waits.push((reason, now));
    }

    /// What a run has waited for, and how long for each.
    fn waits_until(&self, waiting: &Waiting, end: Timestamp) -> Vec<(WaitsFor, SignedDuration)> {
        let Some((pool, before)) = &waiting.in_pool else { return waits_until(&waiting.waits, end) };
        let Some((last, earlier)) = waiting.waits.split_last() else { return Vec::new() };
        let mut waits = waits_until(earlier, last.1);
        let sums = self.blames.get(pool).map_or(*before, |blame| blame.sums_at(end));
        let reasons = [WaitsFor::Place, WaitsFor::Pool(pool.clone()), WaitsFor::Rate(pool.clone())];
        let of_pool = reasons.into_iter().zip(sums.iter().zip(before).map(|(sum, before)| *sum - *before));
        waits.extend(of_pool.filter(|(_, waited)| waited.is_positive()));
        waits
    }

    /// A newer run takes the place of this one: it ends as soon as it is told to.
    fn end_early(&mut self, run: RunId, now: Timestamp) {
        let ended = self.shown(self.meant);
        let Some(active) = self.active.get_mut(&run) else { return };
        (active.ends, active.meant_end, active.status) = (now, self.meant, Status::Cancelled);
        self.ends.push(Reverse((now, run)));
        if let Some(listed) = active.listed.and_then(|at| self.course.runs.get_mut(at)) {
            listed.replaced = true;
            listed.times = listed.times.map(|(started, _)| (started, ended.max(started)));
        }
    }

    fn gap(&mut self, gap: Gap) {
        if !self.is_told_of(&gap.job) {
            return;
        }
        self.course.jobs.entry(gap.job.clone()).or_default().skipped += gap.count;
        let reason = self.without_ids(&gap.reason);
        let (due, until) = (self.shown(gap.due), self.shown(gap.until));
        if let Some(streak) = self.streaks.get(&gap.job).and_then(|at| self.course.skipped.get_mut(*at))
            && (streak.kind, streak.triggered_by, &streak.reason) == (gap.kind, gap.triggered_by, &reason)
        {
            (streak.until, streak.count) = (streak.until.max(until), streak.count + gap.count);
            return;
        }
        if self.course.skipped.len() < self.listed {
            self.streaks.insert(gap.job.clone(), self.course.skipped.len());
            let Gap { kind, job, triggered_by, count, .. } = gap;
            self.course.skipped.push(SimulatedGap { job, triggered_by, kind, reason, due, until, count });
        } else {
            self.streaks.remove(&gap.job);
        }
    }

    /// Ids mean nothing here: a run is told by when it was due.
    fn without_ids(&self, reason: &str) -> String {
        let mut words: Vec<String> = reason.split(' ').map(str::to_string).collect();
        for at in 0..words.len() {
            let bare = words[at].trim_end_matches([',', ';', ':', '.']).to_string();
            let Ok(run) = bare.parse::<RunId>() else { continue };
            let due = self.active.get(&run).map(|active| active.due);
            let due = due.or_else(|| self.waiting.get(&run).map(|waiting| waiting.firing.due));
            let due = due.map(|due| if self.begun.contains_key(&run) { due } else { self.shown(due) });
            let told = due.map_or("of that instant".into(), |due| format!("due {}", rfc3339(due)));
            words[at] = words[at].replace(&bare, &told);
            if at > 0 && words[at - 1] == "run" {
                words[at - 1] = "the run".into();
            }
        }
        words.join(" ")
    }

    /// What still waits at the end is listed as such.
    fn finish(mut self, end: Timestamp) -> Course {
        let mut waiting: Vec<(RunId, Waiting)> = self.waiting.drain().collect();
        waiting.sort_by_key(|(run, _)| *run);
        for (run, waiting) in waiting {
            let waits = self.waits_until(&waiting, end);
            let Waiting { firing, .. } = waiting;
            if self.is_told_of(&firing.job) {
                self.course.jobs.entry(firing.job.clone()).or_default().waiting += 1;
                self.list(run, firing, None, waits);
            }
        }
        self.course.runs.sort_by_key(|run| (run.due, run.times.map_or(Timestamp::MAX, |(started, _)| started)));
        self.course.skipped.sort_by_key(|gap| gap.due);
        self.course
    }
}

/// How many of the runs that are active when one starts are named.
const MOST_OVERLAPS: usize = 3;

fn waits_until(waits: &[(WaitsFor, Timestamp)], end: Timestamp) -> Vec<(WaitsFor, SignedDuration)> {
    let ends = waits.iter().skip(1).map(|(_, at)| *at).chain([end]);
    let all = waits.iter().zip(ends).map(|((reason, at), end)| (reason.clone(), whole(end).duration_since(whole(*at))));
    all.filter(|(_, waited)| waited.is_positive()).collect()
}
