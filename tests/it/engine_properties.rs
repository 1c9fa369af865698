//! Whatever happens in whatever order, every due time has exactly one fate. The due times are worked out here a second time,
//! second by second and without the engine's own code.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;
use runner::engine::{Change, Decision, Engine, Entry, Event, Settings, Starting};
use runner::model::{Gap, JobName, RunId, Status, Timestamp, TriggeredBy};

use crate::engine_sim::{at, job};

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
const CORRECTION: i64 = 3 * HOUR * 1000;

#[derive(Debug, Clone)]
enum Step {
    /// Time goes on as it should: the engine is woken when it wants to be.
    Live(i64),
    /// Nobody wakes it: a suspend, an overload, a clock set forward.
    Leap(i64),
    Back(i64),
    End(usize),
    Ask(usize),
    Pause(usize, Option<i64>),
    Resume(usize),
    Load(usize, usize),
    Remove(usize),
    Limit(u32),
    /// A clean stop and a start later.
    Restart(i64),
    /// A crash, seconds after the last sign of life, and a start later.
    Crash(i64, i64),
}

fn step() -> impl Strategy<Value = Step> {
    let seconds = |most: i64| 1..most * 1000;
    prop_oneof![
        8 => seconds(10 * MINUTE).prop_map(Step::Live),
        2 => seconds(4 * HOUR).prop_map(Step::Leap),
        2 => seconds(2 * HOUR).prop_map(Step::Back),
        1 => seconds(9 * HOUR).prop_map(Step::Back),
        8 => (0usize..9).prop_map(Step::End),
        2 => (0usize..JOBS.len()).prop_map(Step::Ask),
        2 => (0usize..JOBS.len(), proptest::option::of(seconds(HOUR))).prop_map(|(job, until)| Step::Pause(job, until)),
        2 => (0usize..JOBS.len()).prop_map(Step::Resume),
        4 => (0usize..JOBS.len(), 0usize..KINDS.len()).prop_map(|(job, kind)| Step::Load(job, kind)),
        1 => (0usize..JOBS.len()).prop_map(Step::Remove),
        1 => (1u32..5).prop_map(Step::Limit),
        1 => seconds(5 * HOUR).prop_map(Step::Restart),
        1 => (0i64..60_000, seconds(5 * HOUR)).prop_map(|(since, down)| Step::Crash(since, down)),
    ]
}

/// Each job has limits of its own; what is loaded again are its triggers.
const JOBS: [(&str, &str, usize); 4] = [
    ("one", "overlap: skip", 1),
    ("three", "max_instances: 3", 3),
    ("all", "overlap: allow", usize::MAX),
    ("strict", "misfire_grace: 0s", 1),
];

/// A job's triggers, in its file's words and as this test understands them: minutes of cron, its second, seconds of an interval.
type Kind = (&'static str, Option<(i64, i64)>, Option<i64>);

const KINDS: [Kind; 6] = [
    ("schedule: '*/7 * * * *'", Some((7, 0)), None),
    ("every: 45s", None, Some(45)),
    ("schedule: '30 */2 * * * *'\nevery: 90s", Some((2, 30)), Some(90)),
    ("schedule: '* * * * *'\nevery: 1m", Some((1, 0)), Some(60)),
    ("every: 10m", None, Some(600)),
    ("manual: true", None, None),
];

type Due = (usize, TriggeredBy, i64);

/// A job as this test knows it; times in milliseconds.
#[derive(Debug, Clone, Default)]
struct Known {
    kind: Option<usize>,
    first_loaded: i64,
    anchor: i64,
    handled: i64,
    /// The last due time that came, whatever became of it.
    came: Option<i64>,
    /// What the records would hold.
    last_due: Option<i64>,
    interval_due: Option<i64>,
}

struct World {
    engine: Engine,
    seed: u64,
    now: i64,
    latest: i64,
    limit: u32,
    stopping: bool,
    jobs: [Known; 4],
    active: Vec<(RunId, usize)>,
    /// Due times that became runs which wait.
    waiting: Vec<(usize, i64)>,
    ids: HashSet<RunId>,
    last_id: Option<RunId>,
    fates: u64,
}

fn time(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap()
}

impl World {
    fn new() -> Self {
        let now = at("10:00:00").as_millisecond();
        Self {
            engine: Engine::new(Settings::new(3), 1),
            seed: 1,
            now,
            latest: now,
            limit: 3,
            stopping: false,
            jobs: Default::default(),
            active: Vec::new(),
            waiting: Vec::new(),
            ids: HashSet::new(),
            last_id: None,
            fates: 0,
        }
    }

    /// The due times in (handled, now] of every job, which then count as handled.
    fn come_due(&mut self) -> Vec<Due> {
        let mut due = Vec::new();
        for (index, job) in self.jobs.iter_mut().enumerate() {
            let Some(kind) = job.kind else { continue };
            let (_, cron, interval) = KINDS[kind];
            if let Some((minutes, second)) = cron {
                for s in job.handled.div_euclid(1000) + 1..=self.now.div_euclid(1000) {
                    if s % MINUTE == second && (s / MINUTE) % 60 % minutes == 0 {
                        due.push((index, TriggeredBy::Cron, s * 1000));
                    }
                }
            }
            if let Some(seconds) = interval {
                let mut next = job.anchor;
                while next <= self.now {
                    if next > job.handled && next != job.anchor {
                        due.push((index, TriggeredBy::Interval, next));
                    }
                    if next > job.handled {
                        job.anchor = next;
                    }
                    next += seconds * 1000;
                }
            }
            job.handled = job.handled.max(self.now);
        }
        for (index, _, ms) in &due {
            self.jobs[*index].came = self.jobs[*index].came.max(Some(*ms));
        }
        due
    }

    fn correct(&mut self) {
        for job in &mut self.jobs {
            job.handled = self.now;
            job.anchor = job.anchor.min(self.now);
            job.came = job.came.min(Some(self.now));
            job.last_due = job.last_due.min(Some(self.now));
            job.interval_due = job.interval_due.min(Some(self.now));
        }
        for (_, due) in &mut self.waiting {
            *due = self.now.min(*due);
        }
        self.latest = self.now;
    }

    /// Tells the engine, and checks all that it decides.
    fn tell(&mut self, event: Event) {
        let mut fresh = Vec::new();
        let is_corrected = self.latest - self.now > CORRECTION;
        if is_corrected {
            self.correct();
        }
        self.latest = self.latest.max(self.now);
        if !self.stopping {
            fresh = self.come_due();
        }
        if let Event::Ended { run, .. } = &event {
            self.active.retain(|(other, _)| other != run);
        }
        self.check(event, fresh, is_corrected);
    }

    fn check(&mut self, event: Event, mut fresh: Vec<Due>, is_corrected: bool) {
        let mut decisions = Vec::new();
        let mut corrections = 0;
        let mut waiting_asked = 0;
        let waits_without_due = self.engine.waiting() - self.waiting.len();
        self.engine.handle(event, time(self.now), &mut decisions);
        for decision in decisions {
            match decision {
                Decision::Start { run, firing, .. } => {
                    let index = index_of(&firing.job);
                    assert!(self.ids.insert(run), "a run id came twice");
                    assert!(self.last_id < Some(run), "run ids rise");
                    self.last_id = Some(run);
                    self.active.push((run, index));
                    assert!(self.active.len() <= self.limit as usize, "max_concurrent_runs is kept");
                    let of_job = self.active.iter().filter(|(_, job)| *job == index).count();
                    assert!(of_job <= JOBS[index].2, "max_instances is kept");
                    if firing.triggered_by == TriggeredBy::Manual {
                        waiting_asked += 1;
                        continue;
                    }
                    let due = firing.due.as_millisecond();
                    self.record(index, firing.triggered_by, due);
                    let place =
                        fresh.iter().position(|(job, by, ms)| (*job, *by, *ms) == (index, firing.triggered_by, due));
                    if place.is_some() {
                        // Triggers that are due at one instant fire once.
                        fresh.retain(|(job, _, ms)| (*job, *ms) != (index, due));
                    } else {
                        self.no_longer_waits(index, due);
                    }
                    self.fates += 1;
                }
                Decision::Gap(Gap { job, triggered_by, reason, due, until, count, .. })
                | Decision::Drop { gap: Gap { job, triggered_by, reason, due, until, count, .. }, .. } => {
                    let index = index_of(&job);
                    let (due, until) = (due.as_millisecond(), until.as_millisecond());
                    self.fates += count;
                    if triggered_by == TriggeredBy::Manual {
                        waiting_asked += 1;
                        continue;
                    }
                    self.record(index, triggered_by, until);
                    if reason.contains("waited") {
                        self.no_longer_waits(index, due);
                        continue;
                    }
                    let covers =
                        |(job, by, ms): &Due| *job == index && *by == triggered_by && (due..=until).contains(ms);
                    let covered: Vec<i64> = fresh.iter().filter(|one| covers(one)).map(|(.., ms)| *ms).collect();
                    assert_eq!(covered.len() as u64, count, "a gap counts what came due: {reason}");
                    assert_eq!((covered.iter().min(), covered.iter().max()), (Some(&due), Some(&until)), "{reason}");
                    let is_overlap = reason.contains("still active") || reason.contains("queue full");
                    fresh.retain(|one| !(covers(one) || is_overlap && one.0 == index && one.2 == due));
                }
                Decision::Cancel { firing, .. } => {
                    self.fates += 1;
                    if firing.triggered_by == TriggeredBy::Manual {
                        waiting_asked += 1;
                        continue;
                    }
                    let (index, due) = (index_of(&firing.job), firing.due.as_millisecond());
                    self.record(index, firing.triggered_by, due);
                    self.no_longer_waits(index, due);
                }
                Decision::Answer { .. } | Decision::Resumed { .. } | Decision::Wait { .. } => {}
                Decision::ClockCorrected { .. } => corrections += 1,
                other => panic!("no job here has a policy for {other:?}"),
            }
        }
        assert_eq!(corrections, u32::from(is_corrected));
        let left: HashSet<(usize, i64)> = fresh.iter().map(|(job, _, ms)| (*job, *ms)).collect();
        self.waiting.extend(left);
        let asked_and_waiting = self.engine.waiting().checked_sub(self.waiting.len());
        assert!(
            asked_and_waiting.is_some_and(|asked| asked <= waits_without_due + 1),
            "what has neither run nor been recorded waits: {:?} of {}, {waits_without_due} {waiting_asked}",
            self.waiting,
            self.engine.waiting(),
        );
    }

    fn no_longer_waits(&mut self, job: usize, due: i64) {
        let place = self.waiting.iter().position(|one| *one == (job, due)).expect("it came due and waited");
        self.waiting.remove(place);
    }

    fn record(&mut self, job: usize, by: TriggeredBy, due: i64) {
        let job = &mut self.jobs[job];
        job.last_due = job.last_due.max(Some(due));
        if by == TriggeredBy::Interval {
            job.interval_due = job.interval_due.max(Some(due));
        }
    }

    fn entry(&self, index: usize) -> Option<Entry> {
        let known = &self.jobs[index];
        let (name, policies, _) = JOBS[index];
        let text = format!("{}\n{policies}\ncommand: x\n", KINDS[known.kind?].0);
        let mut entry = job(name, &text, time(known.first_loaded));
        entry.memory.last_due = known.last_due.map(time);
        entry.memory.interval_due = known.interval_due.map(time);
        Some(entry)
    }

    fn load(&mut self, index: usize, kind: usize) {
        // What is due until now is due under what was in force.
        self.tell(Event::Wake);
        let now = self.now;
        let known = &mut self.jobs[index];
        let is_new = known.kind.is_none();
        known.kind = Some(kind);
        if is_new {
            known.first_loaded = now;
            known.anchor = known.interval_due.filter(|due| *due - now <= CORRECTION).unwrap_or(now);
            known.came = None;
        }
        // Due times are worked out from now; what came before a small step back of the clock does not come again.
        let recorded = known.last_due.filter(|due| *due - now <= CORRECTION);
        known.handled = now.max(known.came.unwrap_or(now)).max(recorded.unwrap_or(now));
        // Nor is anything due before the job was there.
        if known.first_loaded - now <= CORRECTION {
            known.handled = known.handled.max(known.first_loaded);
        }
        let changes = self.entry(index).map(|entry| Change::Put(Box::new(entry))).into_iter().collect();
        self.check(Event::Load { changes, starting: None }, Vec::new(), false);
    }

    fn start_again(&mut self, down_since: i64, down: i64) {
        self.now = self.now.max(down_since) + down;
        self.latest = self.now;
        self.seed += 1;
        self.engine = Engine::new(Settings::new(self.limit), self.seed);
        self.stopping = false;
        self.active.clear();
        self.last_id = None;
        assert_eq!(self.waiting, [], "nothing waits in an engine that is gone");
        let mut from_the_future = false;
        for known in &mut self.jobs {
            if known.kind.is_none() {
                continue;
            }
            // A first load that lies in the future was stamped by a clock that has been corrected since.
            let is_true = known.first_loaded - self.now <= CORRECTION;
            known.handled = known.last_due.unwrap_or(down_since).max(down_since);
            known.handled = known.handled.max(if is_true { known.first_loaded } else { known.handled });
            let first_loaded = if is_true { known.first_loaded } else { self.now };
            known.anchor = known.interval_due.unwrap_or(first_loaded);
            if known.anchor - self.now > CORRECTION {
                known.anchor = self.now;
            }
            known.came = None;
            if known.handled - self.now > CORRECTION {
                from_the_future = true;
                known.handled = self.now;
            }
        }
        let changes = (0..JOBS.len()).filter_map(|i| Some(Change::Put(Box::new(self.entry(i)?)))).collect();
        let fresh = self.come_due();
        let starting = Some(Starting { down_since: Some(time(down_since)) });
        if from_the_future {
            for known in &mut self.jobs {
                known.last_due = known.last_due.min(Some(self.now));
                known.interval_due = known.interval_due.min(Some(self.now));
            }
        }
        self.check(Event::Load { changes, starting }, fresh, from_the_future);
    }

    fn take(&mut self, step: Step) {
        let name = |index: usize| JobName::new(JOBS[index].0).unwrap();
        match step {
            Step::Live(ms) => {
                let end = self.now + ms;
                while let Some(wake) = self.engine.wake_at().map(Timestamp::as_millisecond)
                    && wake <= end
                {
                    assert!(wake > self.now, "a wake-up lies ahead");
                    self.now = wake;
                    self.tell(Event::Wake);
                }
                self.now = end;
                self.tell(Event::Wake);
            }
            Step::Leap(ms) => {
                self.now += ms;
                self.tell(Event::Wake);
            }
            Step::Back(ms) => {
                self.now -= ms;
                self.tell(Event::Wake);
            }
            Step::End(which) => {
                if !self.active.is_empty() {
                    let (run, _) = self.active[which % self.active.len()];
                    self.tell(Event::Ended { run, status: Status::Success, exit_code: Some(0) });
                }
            }
            Step::Ask(index) => self.tell(Event::Ask { ask: 0, job: name(index), args: Vec::new() }),
            Step::Pause(index, until) => {
                let until = until.map(|ms| time(self.now + ms));
                self.tell(Event::Pause { job: name(index), until });
            }
            Step::Resume(index) => self.tell(Event::Resume { job: name(index) }),
            Step::Load(index, kind) => self.load(index, kind),
            Step::Remove(index) => {
                self.tell(Event::Load { changes: vec![Change::Removed(name(index))], starting: None });
                self.jobs[index].kind = None;
            }
            Step::Limit(limit) => {
                self.limit = limit;
                self.tell(Event::Configure(Settings::new(limit)));
            }
            Step::Restart(down) => {
                self.tell(Event::Stop);
                self.stopping = true;
                while let Some((run, _)) = self.active.first().copied() {
                    self.tell(Event::Ended { run, status: Status::Success, exit_code: Some(0) });
                }
                self.start_again(self.now, down);
            }
            Step::Crash(since, down) => {
                // What waits when the runner is killed is in no record: that one loss is known.
                if self.engine.waiting() == 0 {
                    self.start_again(self.now - since, down + since);
                }
            }
        }
    }
}

fn index_of(job: &JobName) -> usize {
    JOBS.iter().position(|(name, ..)| *name == job.as_str()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_due_time_is_started_skipped_or_missed_exactly_once(steps in proptest::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        world.check(Event::Load { changes: Vec::new(), starting: Some(Starting { down_since: None }) }, Vec::new(), false);
        for index in 0..JOBS.len() {
            world.load(index, index);
        }
        for step in steps {
            world.take(step);
        }
    }
}

#[test]
fn a_long_quiet_time_gives_every_due_time_its_fate() {
    let mut world = World::new();
    world.check(Event::Load { changes: Vec::new(), starting: Some(Starting { down_since: None }) }, Vec::new(), false);
    for index in 0..JOBS.len() {
        world.load(index, index);
    }
    for _ in 0..200 {
        world.take(Step::Live(7 * MINUTE * 1000));
        world.take(Step::End(0));
    }
    let by_job: BTreeMap<&str, i64> =
        JOBS.iter().zip(&world.jobs).map(|((name, ..), job)| (*name, job.handled)).collect();
    assert!(by_job.values().all(|handled| *handled == world.now));
    assert!(world.fates > 3_000, "{}", world.fates);
}
