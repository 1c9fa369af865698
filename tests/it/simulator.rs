//! A whole runner without processes, clock and files of jobs: the engine and the real records, driven through random lives.
//!
//! Each seed draws a set of jobs and a life: time passes, runs end in all ways, jobs change, the clock steps, the machine
//! sleeps, the runner stops, is killed and starts again from what its records say. After every step the limits hold; at the
//! end the records tell of every due time that came exactly once.
//!
//! `RUNNER_SEED=17 cargo test --test it simulator` lives one life again and says what happens in it;
//! `RUNNER_SEEDS=1000000` lives more of them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use runner::action::{Action, Command};
use runner::daemon::memory::{self, Taken};
use runner::daemon::pending::{Pending, waiting_of};
use runner::engine::{Change, Decision, Engine, Entry, Event, Memory, Settings, Starting, wait_after};
use runner::model::{GapKind, HumanDuration, JobName, Outcome, RunId, Status, Timestamp, TriggeredBy, stable_hash};
use runner::record::{End, Layout, Line, Records, RunFacts, TornTail, WaitingRun, restore_all};
use runner::spec::{
    About, Backoff, Breaker, CatchUp, CatchUpPolicy, JobSpec, Overlap, Policies, Pool, Rate, Retry, RetryWhen,
};
use runner::trigger::{
    After, Armed, At, Blackout, Closed, DueTimes, Every, OnStart, Schedule, Trigger, TriggerContext, When, Window,
};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const LIFE_SIGN: i64 = MINUTE;
/// 2024-01-15T10:00:00Z.
const BEGIN: i64 = 1_705_312_800_000;
const STEPS: u64 = 20;

struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        stable_hash::mixed(self.0)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn percent(&mut self, n: u64) -> bool {
        self.below(100) < n
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize].clone()
    }

    /// Milliseconds from one second up to `most`.
    fn time(&mut self, most: i64) -> i64 {
        1_000 + self.below(most as u64 - 999) as i64
    }
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap()
}

fn seconds(n: u64) -> HumanDuration {
    HumanDuration::from_secs(n)
}

/// A job that is loaded.
struct Job {
    name: JobName,
    spec: Arc<JobSpec>,
    armed: Vec<(TriggeredBy, Armed)>,
    first_loaded: i64,
    /// Due times up to here have come.
    handled: i64,
    anchor: i64,
    interval_came: Option<i64>,
    last_came: Option<i64>,
    paused_until: Option<Option<i64>>,
    /// Runs that were active when its limits last changed: so many may be more than the limit.
    carried: usize,
    blackout: Option<Arc<Blackout>>,
    /// Nothing of it is under way or waits that was judged under another text.
    is_of_one_text: bool,
}

fn draw_policies(dice: &mut Dice) -> Policies {
    let policy =
        dice.one(&[None, None, Some(CatchUpPolicy::None), Some(CatchUpPolicy::Last), Some(CatchUpPolicy::All)]);
    let catch_up = CatchUp { policy, max: 1 + dice.below(5) as u32, within: seconds(dice.one(&[30, 3_600, 86_400])) };
    let retry = Retry {
        max: dice.one(&[0, 0, 0, 1, 3]),
        delay: seconds(dice.one(&[1, 5, 60])),
        backoff: dice.one(&[Backoff::Constant, Backoff::Linear, Backoff::Exponential]),
        jitter: seconds(dice.one(&[0, 0, 3])),
        when: dice.one(&[vec![RetryWhen::Failure, RetryWhen::Timeout], vec![RetryWhen::Timeout]]),
        ..Retry::default()
    };
    let window = |dice: &mut Dice| {
        let (from, to) = dice.one(&[
            ("10:20", "10:50"),
            ("11:00", "11:00:30"),
            ("23:00", "11:10"),
            ("2024-01-15T10:05", "2024-01-15T12:00"),
        ]);
        Window { from: Some(from.into()), to: Some(to.into()), ..Window::default() }
    };
    Policies {
        blackout: if dice.percent(20) { vec![window(dice)] } else { Vec::new() },
        jitter: seconds(dice.one(&[0, 0, 0, 50])),
        misfire_grace: seconds(dice.one(&[0, 60, 60, 600])),
        catch_up,
        retry,
        breaker: dice.percent(20).then(|| Breaker { after: 1 + dice.below(3) as u32, cooldown: seconds(120) }),
        overlap: Some(dice.one(&[Overlap::Skip, Overlap::Skip, Overlap::Queue, Overlap::Replace, Overlap::Allow])),
        max_instances: 1 + dice.below(3) as u32,
        max_queued: dice.one(&[0, 1, 3, 100]),
        pool: dice.one(&[None, None, Some("narrow".to_string()), Some("slow".to_string())]),
        priority: 1 + dice.below(10) as u8,
        ..Policies::default()
    }
}

fn draw_triggers(dice: &mut Dice, index: usize) -> Vec<Trigger> {
    let every = |dice: &mut Dice| Trigger::Every(Every(seconds(dice.one(&[20, 45, 60, 90, 600, 3_600]))));
    let cron = |dice: &mut Dice| {
        let text = dice.one(&["*/7 * * * *", "0 * * * *", "30 */2 * * * *", "*/20 * * * * *", "15,45 * * * *"]);
        Trigger::Schedule(Schedule::One(text.into()))
    };
    let moment = |dice: &mut Dice| {
        let time = at(BEGIN + dice.time(6 * HOUR) / 1_000 * 1_000);
        Trigger::At(At(time.to_string()))
    };
    let mut triggers = match dice.below(8) {
        0 | 1 => vec![every(dice)],
        2 | 3 => vec![cron(dice)],
        4 => vec![cron(dice), every(dice)],
        5 => vec![every(dice), moment(dice)],
        6 => vec![cron(dice), moment(dice)],
        _ => Vec::new(),
    };
    if dice.percent(10) {
        triggers.push(Trigger::OnStart(OnStart(true)));
    }
    if index > 0 && (triggers.is_empty() || dice.percent(15)) {
        let when = dice.one(&[When::Success, When::Failure, When::Always]);
        let jobs = match dice.below(4) {
            0 => vec!["*".to_string()],
            1 if index > 1 => vec!["job0".to_string(), format!("job{}", index - 1)],
            _ => vec![format!("job{}", dice.below(index as u64))],
        };
        triggers.push(Trigger::After(After { jobs, when }));
    }
    triggers
}

fn draw_spec(dice: &mut Dice, index: usize) -> JobSpec {
    let about = About { name: None, description: None, enabled: true, manual: false };
    JobSpec {
        about,
        triggers: draw_triggers(dice, index),
        action: Action::Command(Command::Exec(vec!["x".into()])),
        policies: Arc::new(draw_policies(dice)),
    }
}

fn arm(name: &str, spec: &JobSpec) -> Vec<(TriggeredBy, Armed)> {
    let zone = spec.zone("UTC");
    let context = TriggerContext::with_jitter(name, &zone, spec.policies.jitter);
    spec.triggers.iter().filter_map(|trigger| Some((trigger.triggered_by(), trigger.arm(context)?))).collect()
}

/// An attempt that is under way.
struct Attempt {
    facts: RunFacts,
    spec: Arc<JobSpec>,
    ends_at: i64,
    status: Status,
}

struct Life<'a> {
    seed: u64,
    dice: Dice,
    talks: bool,
    layout: Layout,
    records: Arc<Records>,
    engine: Engine,
    now: i64,
    /// The last sign of life.
    alive: i64,
    latest: i64,
    jobs: BTreeMap<usize, Job>,
    settings: Settings,
    under_way: HashMap<RunId, Attempt>,
    between: HashMap<RunId, (RunFacts, Arc<End>)>,
    stopping: bool,
    lives: u64,
    /// Every due time that came: which job, when, of which triggers.
    came: BTreeMap<(usize, i64), BTreeSet<TriggeredBy>>,
    /// Those of them that came while their job rested.
    rests: HashSet<(usize, i64)>,
    /// Ends that came back from the records at a start.
    arrived: HashSet<(usize, i64)>,
    begun_in: HashMap<String, Vec<i64>>,
    started: HashSet<RunId>,
    directory: &'a Path,
}

const LOGS: runner::record::Settings =
    runner::record::Settings { max_size: 1 << 40, max_files: 2, synced: runner::record::Synced::Nothing };

impl<'a> Life<'a> {
    fn new(seed: u64, directory: &'a Path, talks: bool) -> Self {
        let mut dice = Dice(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x5bd1_e995);
        let layout = Layout::new(directory);
        let rate = Rate { count: 2, per: seconds(60) };
        let pools = BTreeMap::from([
            ("narrow".to_string(), Pool { max: Some(1), rate: None }),
            ("slow".to_string(), Pool { max: Some(2), rate: Some(rate) }),
        ]);
        let settings = Settings { max_concurrent_runs: 1 + dice.below(6) as u32, pools };
        Self {
            seed,
            talks,
            records: Records::new(layout.clone(), LOGS),
            layout,
            engine: Engine::new(settings.clone(), seed),
            now: BEGIN,
            alive: BEGIN,
            latest: BEGIN,
            jobs: BTreeMap::new(),
            settings,
            under_way: HashMap::new(),
            between: HashMap::new(),
            stopping: false,
            lives: 0,
            came: BTreeMap::new(),
            rests: HashSet::new(),
            arrived: HashSet::new(),
            begun_in: HashMap::new(),
            started: HashSet::new(),
            directory,
            dice,
        }
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.talks {
            eprintln!("{}  {}", at(self.now), what());
        }
    }

    fn index(&self, name: &JobName) -> usize {
        name.as_str()[3..].parse().unwrap()
    }

    /// Due times up to now come.
    fn come_due(&mut self) {
        if self.stopping {
            return;
        }
        for (index, job) in &mut self.jobs {
            for (by, armed) in &job.armed {
                let Armed::Times(times) = armed else { continue };
                let times: &Arc<dyn DueTimes> = times;
                let mut from = job.handled;
                while let Some(due) = times.next_after(at(from), at(job.anchor)).map(Timestamp::as_millisecond)
                    && due <= self.now
                {
                    self.came.entry((*index, due)).or_default().insert(*by);
                    if job.blackout.as_ref().is_some_and(|blackout| blackout.reason_at(at(due)).is_some()) {
                        self.rests.insert((*index, due));
                    }
                    job.last_came = job.last_came.max(Some(due));
                    from = due;
                }
                if *by == TriggeredBy::Interval && from > job.handled {
                    job.anchor = job.anchor.max(from);
                    job.interval_came = Some(job.anchor);
                }
            }
            job.handled = job.handled.max(self.now);
        }
    }

    /// Tells the engine, and does what it decides as the daemon does.
    fn tell(&mut self, event: Event) {
        self.latest = self.latest.max(self.now);
        self.come_due();
        let mut decisions = Vec::new();
        self.engine.handle(event, at(self.now), &mut decisions);
        for decision in decisions {
            self.say(|| format!("    {decision:?}"));
            self.carry_out(decision);
        }
        if let Some(wake) = self.engine.wake_at() {
            assert!(wake > at(self.now), "the engine asks for a time that has passed: {wake}");
        }
    }

    fn carry_out(&mut self, decision: Decision) {
        match decision {
            Decision::PassOver { job, .. } => panic!("{job} is no watch"),
            Decision::Start { run, firing, spec, attempt } => {
                let facts = match self.between.remove(&run) {
                    Some((facts, _)) => RunFacts { attempt, ..facts },
                    None => {
                        assert!(self.started.insert(run), "{run} starts once");
                        self.check_line(&firing, &spec);
                        RunFacts { run, firing, attempt, started: at(self.now), spec: None, commit: None }
                    }
                };
                assert!(attempt <= spec.policies.retry.max + 1, "no more attempts than the policy allows");
                self.records.job(&facts.firing.job).prepare_start(&facts).settle();
                let (most, status) = (
                    self.dice.one(&[500, 5_000, 40_000, 10 * MINUTE]),
                    self.dice.one(&[
                        Status::Success,
                        Status::Success,
                        Status::Success,
                        Status::Failed,
                        Status::Timeout,
                    ]),
                );
                let ends_at = self.now + 1 + self.dice.below(most as u64) as i64;
                self.under_way.insert(run, Attempt { facts, spec: spec.clone(), ends_at, status });
                self.check_limits(run, &spec);
            }
            Decision::Wait { run, firing } => {
                let (triggered_by, due) = (firing.due_of, firing.due);
                self.records.job(&firing.job).waits(WaitingRun { run, triggered_by, due });
            }
            Decision::Drop { run, gap } => {
                assert!(!gap.reason.is_empty());
                self.records.job(&gap.job).dropped(run, &gap);
            }
            Decision::Cancel { run, firing, reason } => {
                assert!(self.started.insert(run), "{run} has one fate");
                let facts = RunFacts { run, firing, attempt: 1, started: at(self.now), spec: None, commit: None };
                let outcome = Outcome { status: Status::Cancelled, ..Outcome::failed(reason) };
                self.records.job(&facts.firing.job).cancelled(&facts, outcome, at(self.now));
            }
            Decision::Gap(gap) => {
                assert!(!gap.reason.is_empty() && gap.count > 0 && gap.due <= gap.until, "{gap:?}");
                self.records.job(&gap.job).gap(&gap);
            }
            Decision::Abandon { run, attempt, reason, .. } => {
                let (facts, last) = self.between.remove(&run).expect("it was between two attempts");
                assert_eq!(attempt, last.attempt);
                let outcome = Outcome { status: Status::Cancelled, ..Outcome::failed(reason) };
                self.records.job(&facts.firing.job).end(&facts, outcome, at(self.now));
            }
            Decision::End { run, .. } => {
                let soon = self.now + 1 + self.dice.below(2_000) as i64;
                let attempt = self.under_way.get_mut(&run).expect("it is under way");
                (attempt.ends_at, attempt.status) = (attempt.ends_at.min(soon), Status::Cancelled);
            }
            Decision::Retry { next, .. } => assert!(next.attempt <= next.of && next.at >= at(self.now)),
            Decision::ClockCorrected { to, .. } => self.records.clock_corrected(to),
            Decision::Answer { .. }
            | Decision::Resumed { .. }
            | Decision::BreakerOpened { .. }
            | Decision::BreakerClosed { .. } => {}
        }
    }

    /// What `all` makes up for goes one at a time, between attempts as well.
    fn check_line(&self, firing: &runner::model::Firing, spec: &JobSpec) {
        let is_of_line = |firing: &runner::model::Firing| firing.triggered_by == TriggeredBy::CatchUp;
        let job = self.jobs.get(&self.index(&firing.job));
        if !is_of_line(firing)
            || spec.policies.catch_up.policy != Some(CatchUpPolicy::All)
            || job.is_none_or(|job| !job.is_of_one_text)
        {
            return;
        }
        let active = self.under_way.values().map(|attempt| &attempt.facts.firing);
        let mut others = active.chain(self.between.values().map(|(facts, _)| &facts.firing));
        let other = others.find(|other| other.job == firing.job && is_of_line(other));
        assert!(other.is_none(), "{} is caught up beside another: {}", firing.due, firing.job);
    }

    fn check_limits(&mut self, run: RunId, spec: &JobSpec) {
        assert!(self.under_way.len() <= self.settings.max_concurrent_runs as usize, "max_concurrent_runs holds");
        let name = self.under_way[&run].facts.firing.job.clone();
        let of_job = self.under_way.values().filter(|attempt| attempt.facts.firing.job == name).count();
        // A run keeps the spec that it began with; of those that come after it the new one decides.
        let loaded = self.jobs.get(&self.index(&name)).map(|job| job.carried.max(job.spec.most_at_once()));
        let most = spec.most_at_once().max(loaded.unwrap_or(usize::MAX));
        assert!(of_job <= most, "max_instances holds for {name}: {of_job}");
        let Some(pool) = spec.policies.pool.clone() else { return };
        let in_pool = self.under_way.values().filter(|attempt| attempt.spec.policies.pool.as_ref() == Some(&pool));
        let Pool { max, rate } = self.settings.pools[&pool];
        assert!(max.is_none_or(|max| in_pool.count() <= max as usize), "the pool {pool} holds");
        if let Some(rate) = rate {
            let begun = self.begun_in.entry(pool.clone()).or_default();
            begun.push(self.now);
            let span = rate.per.0.as_millis() as i64;
            let within = begun.iter().filter(|begun| **begun > self.now - span && **begun <= self.now).count();
            assert!(within <= rate.count as usize, "the rate of {pool} holds: {within}");
        }
    }

    /// The runs whose time has come end.
    fn end_due_runs(&mut self) {
        let mut ended: Vec<RunId> =
            self.under_way.iter().filter(|(_, run)| run.ends_at <= self.now).map(|(run, _)| *run).collect();
        ended.sort();
        for run in ended {
            self.end(run);
        }
    }

    fn end(&mut self, run: RunId) {
        let Some(Attempt { facts, spec, status, .. }) = self.under_way.remove(&run) else { return };
        let exit_code = (status == Status::Failed).then_some(1);
        let error = (status != Status::Success).then(|| "it was so".to_string());
        let outcome = Outcome { status, exit_code, error, ..Outcome::failed("") };
        let log = self.records.job(&facts.firing.job);
        let follows = wait_after(&spec, run, facts.attempt, status, exit_code).is_some();
        self.say(|| format!("{} {run} ends as {status}{}", facts.firing.job, if follows { ", for now" } else { "" }));
        if follows {
            let end = log.attempt(&facts, outcome, at(self.now));
            self.between.insert(run, (facts, end));
        } else {
            log.end(&facts, outcome, at(self.now));
        }
        self.tell(Event::Ended { run, status, exit_code });
    }

    fn sign_life(&mut self) {
        let waiting = waiting_of(&self.engine);
        Pending { waiting, counted: self.records.counted().0, ..Pending::default() }
            .save(&self.layout.pending())
            .unwrap();
        self.alive = self.now;
    }

    /// Time goes on as it should.
    fn live(&mut self, ms: i64) {
        let end = self.now + ms;
        loop {
            let wake = self.engine.wake_at().map(Timestamp::as_millisecond);
            let run = self.under_way.values().map(|run| run.ends_at).min();
            let sign = self.alive.max(self.now - LIFE_SIGN) + LIFE_SIGN;
            let next = [wake, run, Some(sign)].into_iter().flatten().min().unwrap_or(end);
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            self.end_due_runs();
            self.tell(Event::Wake);
            if self.now >= sign {
                self.sign_life();
            }
        }
        self.now = end;
        self.tell(Event::Wake);
    }

    fn entry(&self, index: usize, memory: Memory) -> Entry {
        let job = &self.jobs[&index];
        Entry {
            name: job.name.clone(),
            spec: job.spec.clone(),
            armed: job.armed.clone(),
            closed: job.blackout.clone().map(|blackout| blackout as _),
            first_loaded: at(job.first_loaded),
            memory,
        }
    }

    fn load(&mut self, index: usize) {
        // No file is taken that names a pool which is not there.
        self.tell(Event::Configure(self.settings.clone()));
        let name = JobName::new(&format!("job{index}")).unwrap();
        let mut spec = draw_spec(&mut self.dice, index);
        let active = self.under_way.values().map(|attempt| &attempt.facts.firing.job);
        let between = self.between.values().map(|(facts, _)| &facts.firing.job);
        let carried = active.chain(between).filter(|job| **job == name).count();
        let carried = carried + self.engine.waiting_of(&name);
        let memory = memory::of_job(&self.records, &name);
        let shift = runner::trigger::spread(&name, spec.policies.jitter);
        let (first_loaded, handled, interval_came, paused_until, last_came);
        let is_of_one_text = !self.jobs.contains_key(&index) && carried == 0;
        match self.jobs.get(&index) {
            Some(before) => {
                // Its chain stays as it is: what had arrived for another one is another story.
                let is_chain = |trigger: &Trigger| trigger.triggered_by() == TriggeredBy::After;
                spec.triggers.retain(|trigger| !is_chain(trigger));
                spec.triggers.extend(before.spec.triggers.iter().filter(|trigger| is_chain(trigger)).cloned());
                (first_loaded, paused_until) = (before.first_loaded, before.paused_until);
                interval_came = before.interval_came;
                let known = before.last_came.max(memory.last_due.map(Timestamp::as_millisecond)).unwrap_or(0);
                handled = known.max(self.now).max(first_loaded);
                last_came = before.last_came;
            }
            None => {
                first_loaded = self.now;
                interval_came = memory.interval_due.map(Timestamp::as_millisecond);
                handled = memory.last_due.map_or(0, Timestamp::as_millisecond).max(self.now);
                paused_until = self.engine.paused(&name).map(|until| until.map(Timestamp::as_millisecond));
                last_came = None;
            }
        }
        let anchor = runner::trigger::anchor(at(first_loaded), interval_came.map(at), shift).as_millisecond();
        let armed = arm(&name, &spec);
        let blackout = Blackout::new(&spec.policies.blackout, &spec.zone("UTC"), |_| None).map(Arc::new);
        let spec = Arc::new(spec);
        self.say(|| format!("{name} is loaded: {:?} {:?}", spec.triggers, spec.policies));
        self.jobs.insert(
            index,
            Job {
                name,
                spec,
                armed,
                first_loaded,
                handled,
                anchor,
                interval_came,
                last_came,
                paused_until,
                carried,
                blackout,
                is_of_one_text,
            },
        );
        let entry = self.entry(index, memory);
        let changes = vec![Change::Put(Box::new(entry))];
        self.tell(Event::Load { changes, starting: None });
        self.records.flush_job(&JobName::new(&format!("job{index}")).unwrap());
        self.sign_life();
    }

    fn remove(&mut self, index: usize) {
        self.tell(Event::Wake);
        if let Some(job) = self.jobs.remove(&index) {
            self.tell(Event::Load { changes: vec![Change::Removed(job.name)], starting: None });
            self.sign_life();
        }
    }

    fn stop(&mut self) {
        self.tell(Event::Stop);
        self.stopping = true;
        // The last sign of life: what comes due from here on belongs to the down time.
        let alive = self.now;
        while !self.under_way.is_empty() {
            let run = *self.under_way.keys().min().unwrap();
            self.now += 1;
            if self.dice.percent(50) {
                self.under_way.get_mut(&run).unwrap().status = Status::Cancelled;
            }
            self.end(run);
        }
        self.records.flush(true);
        assert!(self.between.is_empty() && self.engine.waiting() == 0, "nothing is left over");
        self.sign_life();
        self.alive = alive;
    }

    /// The runner is killed: what only it knew is gone.
    fn kill(&mut self) {
        self.say(|| "the runner is killed".into());
        self.come_due();
        self.under_way.clear();
        self.between.clear();
        self.begun_in.clear();
    }

    /// A new runner starts from the records.
    fn start(&mut self) {
        self.lives += 1;
        // When the runs of a pool began is not remembered.
        self.begun_in.clear();
        self.say(|| "the runner starts".into());
        self.records = Records::new(self.layout.clone(), LOGS);
        for (job, restored) in restore_all(&self.layout, TornTail::Cut) {
            let log = self.records.restored(&job, restored.unwrap());
            for start in log.unfinished() {
                let firing = runner::model::Firing {
                    parents: start.parents.clone(),
                    ..runner::model::Firing::new(start.job.clone(), start.triggered_by, start.due)
                };
                let facts = RunFacts {
                    run: start.run,
                    firing,
                    attempt: start.attempt,
                    started: start.started,
                    spec: None,
                    commit: None,
                };
                let outcome = Outcome { status: Status::Interrupted, ..Outcome::failed("cut short") };
                log.end(&facts, outcome, at(self.now));
            }
            assert!(log.unfinished().is_empty(), "no lock is left");
        }
        let mut waited: HashMap<JobName, HashMap<RunId, WaitingRun>> = HashMap::new();
        let known = self.records.take_waiting();
        let pending = Pending::load(&self.layout.pending()).unwrap().settle(&self.records);
        for (job, run) in known.into_iter().chain(pending) {
            waited.entry(job).or_default().insert(run.run, run);
        }
        let pauses: Vec<(JobName, Option<i64>)> =
            self.jobs.values().filter_map(|job| Some((job.name.clone(), job.paused_until?))).collect();
        self.engine = Engine::new(self.settings.clone(), self.seed ^ self.lives << 32);
        self.stopping = false;
        for (job, until) in pauses {
            self.engine.handle(Event::Pause { job, until: until.map(at) }, at(self.now), &mut Vec::new());
        }
        let names: Vec<JobName> = self.jobs.values().map(|job| job.name.clone()).collect();
        let mut changes = Vec::new();
        let mut owed: HashMap<usize, i64> = HashMap::new();
        for index in self.jobs.keys().copied().collect::<Vec<_>>() {
            let job = &self.jobs[&index];
            let taken = Taken {
                name: &job.name,
                chain_since: Some(at(job.first_loaded)),
                armed: &job.armed,
                cut_short: Vec::new(),
            };
            let waited = waited.remove(&job.name).unwrap_or_default().into_values();
            let memory = memory::at_start(&self.records, taken, waited, names.iter());
            // A start or a chain that waited says nothing of the job's due times.
            let by_time = |by| !matches!(by, TriggeredBy::Manual | TriggeredBy::Start | TriggeredBy::After);
            let timed = memory.owed.iter().filter(|owed| by_time(owed.triggered_by));
            let newest = timed.map(|owed| owed.due.as_millisecond()).filter(|due| *due > self.now).max();
            owed.insert(index, newest.unwrap_or(0));
            self.arrived.extend(memory.arrived.iter().map(|(_, ended)| (index, ended.as_millisecond())));
            changes.push(Change::Put(Box::new(self.entry(index, memory))));
        }
        // Runs that waited, of jobs that have gone since.
        for (job, runs) in waited {
            for WaitingRun { run, triggered_by, due } in runs.into_values() {
                let reason = "the job is gone".to_string();
                let gap = runner::model::Gap {
                    kind: GapKind::Missed,
                    job: job.clone(),
                    triggered_by,
                    reason,
                    due,
                    until: due,
                    count: 1,
                };
                self.records.job(&job).dropped(run, &gap);
            }
        }
        // Where the clock had gone back, a start knows no more than its records: what ran, and the last sign of life.
        for (index, job) in &mut self.jobs {
            let recorded = self.records.due_state(&job.name).last_due.map_or(0, Timestamp::as_millisecond);
            job.handled = job.handled.min(self.alive.max(job.first_loaded).max(recorded).max(owed[index]));
        }
        let starting = Some(Starting { down_since: Some(at(self.alive)) });
        for job in self.jobs.values_mut() {
            job.carried = 0;
            job.is_of_one_text = true;
        }
        self.tell(Event::Load { changes, starting });
        self.sign_life();
    }

    fn step(&mut self) {
        let index = self.dice.below(6) as usize;
        let name = JobName::new(&format!("job{index}")).unwrap();
        match self.dice.below(100) {
            0..35 => {
                let ms = self.dice.time(8 * MINUTE);
                self.say(|| format!("{ms} ms pass"));
                self.live(ms);
            }
            35..43 => {
                let ms = self.dice.time(2 * HOUR);
                self.say(|| format!("nobody is there for {ms} ms"));
                self.now += ms;
                self.tell(Event::Wake);
                self.end_due_runs();
                self.sign_life();
            }
            43..48 => {
                let ms = self.dice.time(HOUR);
                // Further back than that in all, and the clock would be taken for wrong.
                if self.latest - (self.now - ms) < 3 * HOUR - 1 {
                    self.say(|| format!("the clock goes back {ms} ms"));
                    self.now -= ms;
                    for run in self.under_way.values_mut() {
                        run.ends_at -= ms;
                    }
                    for begun in self.begun_in.values_mut().flatten() {
                        *begun -= ms;
                    }
                    self.tell(Event::Wake);
                    self.sign_life();
                }
            }
            48..60 => {
                let mut runs: Vec<RunId> = self.under_way.keys().copied().collect();
                runs.sort();
                if !runs.is_empty() {
                    let run = self.dice.one(&runs);
                    self.end(run);
                }
            }
            60..66 => self.tell(Event::Ask { ask: 1, job: name, args: Vec::new() }),
            66..70 => {
                let mut runs: Vec<RunId> = self.engine.waiting_runs().map(|(run, ..)| *run).collect();
                runs.extend(self.engine.retrying().map(|(run, ..)| *run));
                runs.extend(self.under_way.keys());
                runs.sort();
                if !runs.is_empty() {
                    let run = self.dice.one(&runs);
                    self.tell(Event::Cancel { run, reason: "cancelled".into() });
                }
            }
            70..74 => {
                let until = self.dice.percent(70).then(|| self.now + self.dice.time(HOUR));
                self.tell(Event::Pause { job: name, until: until.map(at) });
                if let Some(job) = self.jobs.get_mut(&index) {
                    job.paused_until = Some(until);
                }
            }
            74..78 => {
                self.tell(Event::Resume { job: name });
                if let Some(job) = self.jobs.get_mut(&index) {
                    job.paused_until = None;
                }
            }
            78..86 => self.load(index),
            86 => self.remove(index),
            87 => {
                // A pool that goes limits on those that name it, as the limits that are looked at say.
                let mut settings = self.settings.clone();
                let pool = self.dice.one(&["narrow", "slow"]);
                self.say(|| format!("pool {pool} goes"));
                settings.pools.remove(pool);
                self.tell(Event::Configure(settings));
                // Of one that nobody names nothing is remembered.
                if self.jobs.values().all(|job| job.spec.policies.pool.as_deref() != Some(pool)) {
                    self.begun_in.remove(pool);
                }
                if self.dice.percent(50) {
                    self.tell(Event::Configure(self.settings.clone()));
                }
            }
            88..92 => {
                self.stop();
                self.now += self.dice.time(2 * HOUR);
                self.under_way.clear();
                self.start();
            }
            _ => {
                self.kill();
                self.now += self.dice.time(2 * HOUR);
                self.start();
            }
        }
        for job in self.jobs.values_mut() {
            if job.paused_until.is_some() && self.engine.paused(&job.name).is_none() {
                job.paused_until = None;
            }
        }
    }

    fn live_it(&mut self) {
        let count = 1 + self.dice.below(6) as usize;
        for index in 0..count {
            self.load(index);
        }
        for _ in 0..STEPS {
            self.step();
        }
        // Whatever waits comes to its turn once nothing new is due: nobody starves, no place is lost.
        for job in self.jobs.values().map(|job| job.name.clone()).collect::<Vec<_>>() {
            self.tell(Event::Pause { job, until: None });
        }
        for _ in 0..2_000 {
            if self.engine.waiting() == 0 && self.under_way.is_empty() && self.engine.retrying().count() == 0 {
                break;
            }
            self.live(MINUTE);
        }
        assert_eq!((self.engine.waiting(), self.under_way.len()), (0, 0), "all that waited has had its turn");
        self.stop();
    }

    /// What the records say is what came.
    fn check_records(&self) -> (u64, u64) {
        let mut runs = 0;
        let mut told: HashMap<(usize, i64), u32> = HashMap::new();
        for index in 0..6 {
            let name = JobName::new(&format!("job{index}")).unwrap();
            let text = std::fs::read_to_string(self.layout.runs(&name)).unwrap_or_default();
            let lines: Vec<Line> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let (mut starts, mut ends) = (HashMap::<RunId, u32>::new(), HashMap::<RunId, u32>::new());
            let timed = |by| !matches!(by, TriggeredBy::Manual | TriggeredBy::Start | TriggeredBy::After);
            let mut covered: HashMap<(i64, TriggeredBy), u32> = HashMap::new();
            // Within a streak another due time may have had a fate of its own.
            let own_fate: HashSet<i64> = lines
                .iter()
                .filter_map(|line| match line {
                    Line::Start(start) => timed(start.triggered_by).then_some(start.due),
                    Line::Skipped(gap) | Line::Missed(gap) => {
                        (gap.count == 1 && timed(gap.triggered_by)).then_some(gap.due)
                    }
                    _ => None,
                })
                .map(Timestamp::as_millisecond)
                .collect();
            for line in &lines {
                match line {
                    Line::Start(start) if !start.copy => {
                        runs += 1;
                        *starts.entry(start.run).or_default() += 1;
                        if timed(start.triggered_by) {
                            let due = start.due.as_millisecond();
                            assert!(
                                self.came.contains_key(&(index, due)),
                                "{name} ran for {} which never came",
                                start.due
                            );
                            *told.entry((index, due)).or_default() += 1;
                        }
                    }
                    Line::End(end) => {
                        *ends.entry(end.run).or_default() += 1;
                        assert!(end.ended >= end.started);
                    }
                    Line::Skipped(gap) | Line::Missed(gap) if timed(gap.triggered_by) => {
                        assert!(!gap.reason.is_empty());
                        let (from, to) = (gap.due.as_millisecond(), gap.until.as_millisecond());
                        let is_of = |triggers: &BTreeSet<TriggeredBy>| {
                            gap.triggered_by == TriggeredBy::CatchUp || triggers.contains(&gap.triggered_by)
                        };
                        let inside: Vec<i64> = self
                            .came
                            .range((index, from)..=(index, to))
                            .filter(|(_, triggers)| is_of(triggers))
                            .map(|((_, due), _)| *due)
                            .collect();
                        assert!(inside.len() as u64 >= gap.count, "{name}: {gap:?} counts more than came");
                        // Of many that were judged together, some in a blackout, each kind has a line.
                        let is_of_kind = |due: &i64| {
                            gap.reason.contains("paused")
                                || self.rests.contains(&(index, *due)) == gap.reason.contains("blackout: ")
                        };
                        let is_free = |due: &i64| gap.count == 1 || !own_fate.contains(due) && is_of_kind(due);
                        let inside: Vec<i64> = inside.into_iter().filter(is_free).collect();
                        // Of several triggers at one instant, one is enough.
                        let alone = inside.iter().filter(|due| self.came[&(index, **due)].len() == 1).count() as u64;
                        assert!(alone <= gap.count, "{name}: {gap:?} counts fewer than came: {alone}");
                        for due in inside {
                            *covered.entry((due, gap.triggered_by)).or_default() += 1;
                        }
                    }
                    _ => {}
                }
            }
            assert!(starts.values().chain(ends.values()).all(|count| *count == 1), "a run has one start and one end");
            assert_eq!(starts.len(), ends.len(), "each run that started has ended: {name}");
            for ((due, by), count) in covered {
                assert_eq!(count, 1, "{name}: {} of {by:?} is told of twice", at(due));
                *told.entry((index, due)).or_default() += 1;
            }
        }
        for ((index, due), triggers) in &self.came {
            let count = told.get(&(*index, *due)).copied().unwrap_or(0);
            assert!(count >= 1, "job{index}: nothing tells of {} ({triggers:?})", at(*due));
            assert!(
                count as usize <= triggers.len(),
                "job{index}: {} is told of {count} times ({triggers:?})",
                at(*due)
            );
        }
        (self.came.len() as u64, runs)
    }
}

fn live_one(seed: u64, talks: bool) -> (u64, u64) {
    let memory = Path::new("/dev/shm");
    let directory = match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    };
    let directory = directory.unwrap();
    let mut life = Life::new(seed, directory.path(), talks);
    life.live_it();
    let told = life.check_records();
    assert!(life.directory.is_dir());
    told
}

#[test]
fn in_ten_thousand_lives_every_due_time_has_one_fate_and_every_limit_holds() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    if let Some(seed) = number("RUNNER_SEED") {
        live_one(seed, true);
        return;
    }
    let count = number("RUNNER_SEEDS").unwrap_or(10_000);
    let (next, dues, runs) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(8);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= count {
                        return;
                    }
                    let told = std::panic::catch_unwind(|| live_one(seed, false)).unwrap_or_else(|error| {
                        next.store(count, Ordering::Relaxed);
                        eprintln!("again: RUNNER_SEED={seed} cargo test --test it simulator");
                        std::panic::resume_unwind(error)
                    });
                    dues.fetch_add(told.0, Ordering::Relaxed);
                    runs.fetch_add(told.1, Ordering::Relaxed);
                }
            });
        }
    });
    let (dues, runs) = (dues.into_inner(), runs.into_inner());
    eprintln!("{count} lives: {dues} due times, {runs} runs");
    assert!(dues > 30 * count && runs > 5 * count, "the lives are full: {dues} due times, {runs} runs");
}
