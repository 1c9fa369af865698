//! What the engine's tests stand on: jobs from their files' text, a clock of their own, decisions as lines.

use std::sync::Arc;

use runner::engine::{Change, Decision, Engine, Entry, Event, Memory, Settings, Starting};
use runner::model::{Gap, GapKind, HumanDuration, JobName, RunId, Status, Timestamp};
use runner::spec::{self, Defaults, MissingVariable, ReadContext, Source};
use runner::trigger::{Blackout, Holidays, TriggerContext};

/// A time of the day on which all these tests take place, such as `10:00:00`; a day before or after as `+1 10:00:00`.
#[track_caller]
pub fn at(text: &str) -> Timestamp {
    let (day, time) = match text.split_once(' ') {
        Some((day, time)) => (15 + day.parse::<i32>().unwrap(), time),
        None => (15, text),
    };
    format!("2024-01-{day:02}T{time}Z").parse().unwrap()
}

fn of_day(time: Timestamp) -> String {
    let text = format!("{time:.3}");
    let (day, rest) = text.split_once('T').unwrap();
    let rest = rest.trim_end_matches('Z').trim_end_matches(".000");
    if day == "2024-01-15" { rest.into() } else { format!("{day} {rest}") }
}

/// A job as its file says it, loaded for the first time at `first_loaded`.
#[track_caller]
pub fn job(name: &str, text: &str, first_loaded: Timestamp) -> Entry {
    let context = ReadContext {
        env: &|_| None,
        missing: MissingVariable::Error,
        timezone: "UTC",
        means: &runner::os::means::Means::ALL,
    };
    let source = Source { path: "jobs/x.yaml", bytes: text.as_bytes() };
    let read = spec::read_job(source, name, &Defaults::default(), &context);
    assert!(read.problems.iter().all(|problem| !problem.is_error()), "{:?}", read.problems);
    let spec = read.spec.unwrap();
    let zone = spec.zone("UTC");
    let context = TriggerContext::with_jitter(name, &zone, spec.policies.jitter);
    let armed = match spec.about.enabled {
        true => spec.triggers.iter().filter_map(|t| Some((t.triggered_by(), t.arm(context)?))).collect(),
        false => Vec::new(),
    };
    let blackout = Blackout::new(&spec.policies.blackout, &zone, |_| Some(Holidays::default()));
    Entry {
        name: JobName::new(name).unwrap(),
        spec: Arc::new(spec),
        armed,
        closed: blackout.map(|blackout| Arc::new(blackout) as _),
        first_loaded,
        memory: Memory::default(),
    }
}

/// An engine with a clock of its own.
pub struct Sim {
    pub engine: Engine,
    pub now: Timestamp,
    pub active: Vec<(RunId, JobName)>,
}

impl Sim {
    pub fn new(now: &str, max_concurrent_runs: u32) -> Self {
        Self { engine: Engine::new(Settings::new(max_concurrent_runs), 7), now: at(now), active: Vec::new() }
    }

    /// A runner's very first start with these jobs.
    #[track_caller]
    pub fn started(now: &str, jobs: &[(&str, &str)]) -> (Self, Vec<String>) {
        let mut sim = Self::new(now, 64);
        let entries = jobs.iter().map(|(name, text)| job(name, text, at(now))).collect();
        let said = sim.load(entries, Some(Starting { down_since: None }));
        (sim, said)
    }

    /// A start after down time.
    pub fn restarted(now: &str, down_since: &str, entries: Vec<Entry>) -> (Self, Vec<String>) {
        let mut sim = Self::new(now, 64);
        let said = sim.load(entries, Some(Starting { down_since: Some(at(down_since)) }));
        (sim, said)
    }

    pub fn load(&mut self, entries: Vec<Entry>, starting: Option<Starting>) -> Vec<String> {
        let changes = entries.into_iter().map(|entry| Change::Put(Box::new(entry))).collect();
        self.tell(Event::Load { changes, starting })
    }

    /// Tells the engine something now.
    pub fn tell(&mut self, event: Event) -> Vec<String> {
        let mut decisions = Vec::new();
        self.engine.handle(event, self.now, &mut decisions);
        for decision in &decisions {
            if let Decision::Start { run, firing, .. } = decision {
                self.active.push((*run, firing.job.clone()));
            }
        }
        let is_told = |decision: &&Decision| !matches!(decision, Decision::Wait { .. });
        decisions.iter().filter(is_told).map(|decision| self.words(decision)).collect()
    }

    /// Goes on to `time`, waking the engine whenever it asks for it.
    #[track_caller]
    pub fn until(&mut self, time: &str) -> Vec<String> {
        let mut said = Vec::new();
        let end = at(time);
        assert!(end >= self.now, "time goes on");
        while let Some(wake) = self.engine.wake_at()
            && wake <= end
        {
            assert!(wake > self.now, "the engine wants to be woken at {wake} again and again");
            self.now = wake;
            said.extend(self.tell(Event::Wake));
        }
        self.now = end;
        said.extend(self.tell(Event::Wake));
        said
    }

    /// Jumps to `time` without waking the engine between: a suspend, or a clock that is set.
    pub fn jump(&mut self, time: &str) -> Vec<String> {
        self.now = at(time);
        self.tell(Event::Wake)
    }

    /// The oldest active run of the job ends.
    #[track_caller]
    pub fn end(&mut self, job: &str) -> Vec<String> {
        self.end_as(job, Status::Success)
    }

    /// The oldest active run of the job ends so.
    #[track_caller]
    pub fn end_as(&mut self, job: &str, status: Status) -> Vec<String> {
        let place = self.active.iter().position(|(_, name)| name.as_str() == job).expect("a run is active");
        let (run, _) = self.active.remove(place);
        let exit_code = match status {
            Status::Success => Some(0),
            Status::Failed => Some(1),
            _ => None,
        };
        self.tell(Event::Ended { run, status, exit_code })
    }

    /// The run that waits longest.
    #[track_caller]
    pub fn waiting(&self) -> RunId {
        *self.engine.waiting_runs().map(|(run, ..)| run).min().expect("a run waits")
    }

    pub fn ask(&mut self, job: &str) -> Vec<String> {
        self.tell(Event::Ask { ask: 1, job: JobName::new(job).unwrap(), args: Vec::new() })
    }

    pub fn pause(&mut self, job: &str, until: Option<&str>) -> Vec<String> {
        self.tell(Event::Pause { job: JobName::new(job).unwrap(), until: until.map(at) })
    }

    pub fn resume(&mut self, job: &str) -> Vec<String> {
        self.tell(Event::Resume { job: JobName::new(job).unwrap() })
    }

    pub fn remove(&mut self, job: &str) -> Vec<String> {
        self.tell(Event::Load { changes: vec![Change::Removed(JobName::new(job).unwrap())], starting: None })
    }

    fn words(&self, decision: &Decision) -> String {
        let without_ids = |text: &str| {
            let is_id = |word: &str| word.len() == 36 && word.parse::<RunId>().is_ok();
            text.split(' ').map(|word| if is_id(word) { "RUN" } else { word }).collect::<Vec<_>>().join(" ")
        };
        match decision {
            Decision::Start { firing, attempt, .. } => {
                let attempt = if *attempt > 1 { format!(" attempt {attempt}") } else { String::new() };
                format!("{} {} {}{attempt}", firing.job, firing.triggered_by.as_str(), of_day(firing.due))
            }
            Decision::Wait { firing, .. } => {
                format!("{} {} {} waits", firing.job, firing.triggered_by.as_str(), of_day(firing.due))
            }
            Decision::Gap(gap) | Decision::Drop { gap, .. } => {
                let Gap { kind, job, triggered_by, reason, due, until, count } = gap;
                let kind = match kind {
                    GapKind::Skipped => "skipped",
                    GapKind::Missed => "missed",
                };
                let times = if due == until { of_day(*due) } else { format!("{}..{}", of_day(*due), of_day(*until)) };
                format!("{job} {} {kind} {count}: {times}: {}", triggered_by.as_str(), without_ids(reason))
            }
            Decision::Cancel { firing, reason, .. } => {
                let (job, due) = (&firing.job, of_day(firing.due));
                format!("{job} {} {due} cancelled: {}", firing.triggered_by.as_str(), without_ids(reason))
            }
            Decision::Retry { job, next, .. } => {
                format!(
                    "{job} attempt {} of {} in {} at {}",
                    next.attempt,
                    next.of,
                    HumanDuration(next.wait),
                    of_day(next.at)
                )
            }
            Decision::Abandon { job, attempt, reason, .. } => {
                format!("{job} abandoned after attempt {attempt}: {}", without_ids(reason))
            }
            Decision::End { reason, .. } => format!("end a run: {}", without_ids(reason)),
            Decision::BreakerOpened { job, failed_in_row, until } => {
                format!("{job} breaker open after {failed_in_row} until {}", of_day(*until))
            }
            Decision::BreakerClosed { job } => format!("{job} breaker closed"),
            Decision::Answer { answer: Ok(accepted), .. } => {
                let waits = if accepted.waits { ", waits" } else { "" };
                format!("accepted{waits}{}", accepted.notice.map(|notice| format!(": {notice}")).unwrap_or_default())
            }
            Decision::Answer { answer: Err(reason), .. } => format!("refused: {}", without_ids(reason)),
            Decision::PassOver { job, due } => format!("{job} passed over {}", of_day(*due)),
            Decision::Resumed { job } => format!("{job} resumed"),
            Decision::ClockCorrected { from, to } => format!("clock corrected: {} to {}", of_day(*from), of_day(*to)),
        }
    }
}
