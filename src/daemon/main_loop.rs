use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, MissedTickBehavior};

use super::control::{Reply, Server};
use super::decisions::Between;
use super::event::{Event, Refreshed};
use super::faults::FaultSpeaker;
use super::interrupted::CutShort;
use super::memory;
use super::pending::{InForce, Pending, waiting_of};
use super::record_queue::{Entry, RecordQueue};
use super::runs::RunContext;
use super::service_manager::ServiceManager;
use super::setup::Overrides;
use super::shutdown::{self, Stage};
use super::signals::Signals;
use super::view::{self, Facts};
use crate::catalog::watch::{Message, Timing};
use crate::catalog::{Delta, Generation, Job};
use crate::engine::{Change, Engine, Entry as JobEntry, Event as EngineEvent, Memory, Settings, Starting};
use crate::model::{Clock, Gap, GapKind, JobName, OrNone, RunId, TriggeredBy, count};
use crate::os::cgroup::Groups;
use crate::os::clock::SystemClock;
use crate::os::lock::Lock;
use crate::os::means::Means;
use crate::os::private::Shelves;
use crate::os::timer::{Wake, WallTimer};
use crate::record::{End, Records, WaitingRun, runner_log};
use crate::run::{Control, Pool};
use crate::spec::RunnerSpec;

/// The loop and all that it owns.
pub struct Daemon {
    pub(super) engine: Engine,
    pub(super) generation: Arc<Generation>,
    pub(super) records: Arc<Records>,
    pub(super) runs: HashMap<RunId, ActiveRun>,
    /// Since when each job is paused.
    pub(super) paused_since: HashMap<JobName, Timestamp>,
    /// Since when each chain is in force.
    pub(super) chains: BTreeMap<JobName, InForce>,
    /// Runs that wait for their next attempt.
    pub(super) between: HashMap<RunId, Between>,
    pub(super) started: Timestamp,
    /// Who asked for a run, and whether they wait for its end.
    pub(super) asks: HashMap<u64, (UnboundedSender<Reply>, bool)>,
    pub(super) next_ask: u64,
    /// Who wants to know how a run ends.
    pub(super) waiters: HashMap<RunId, UnboundedSender<Reply>>,
    pub(super) catalog: Sender<Message<UnboundedSender<Reply>>>,
    pub(super) lock: Lock,
    pub(super) log_control: Arc<runner_log::Control>,
    pub(super) run_context: RunContext,
    pub(super) overrides: Overrides,
    pub(super) pool: Pool,
    server: Option<Server>,
    pub(super) queue: RecordQueue,
    /// Another runner has the logs.
    pub(super) lock_is_lost: bool,
    signals: Signals,
    events: UnboundedReceiver<Event>,
    pub(super) sender: UnboundedSender<Event>,
    stage: Option<Stage>,
    faults: FaultSpeaker,
    ticks: u64,
    /// Ends by itself when the one run that it was started for has ended.
    once: bool,
    /// That run, and its record once it has ended.
    pub(super) once_run: Option<RunId>,
    pub(super) last_end: Option<Arc<End>>,
    trouble: Option<String>,
    keeping: Keeping,
    manager: ServiceManager,
    last_health: Instant,
    last_streaks: Instant,
    last_sweep: Instant,
}

/// A run that is under way.
#[derive(Debug)]
pub(super) struct ActiveRun {
    pub job: JobName,
    pub triggered_by: TriggeredBy,
    pub due: Timestamp,
    /// When its first attempt started.
    pub started: Timestamp,
    pub attempt: u32,
    pub pid: Option<i32>,
    pub control: Arc<Control>,
    pub kill_grace: Duration,
}

/// How far the file of what waits is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeping {
    Nothing,
    /// It is being written.
    Current,
    /// It is being written, and something has changed since.
    Outdated,
}

impl Drop for Daemon {
    /// Nobody answers at the socket any more. The lock, which is let go after this, keeps it from being another's.
    fn drop(&mut self) {
        if !self.lock_is_lost {
            let _ = std::fs::remove_file(self.records.layout.socket());
        }
    }
}

/// How the loop came to its end.
#[derive(Debug)]
pub struct Finished {
    /// What stopped it.
    pub reason: &'static str,
    /// The record of the one run, where there was to be one.
    pub end: Option<Arc<End>>,
}

/// What the loop starts with, made by `setup`.
pub(super) struct Parts {
    pub generation: Arc<Generation>,
    pub records: Arc<Records>,
    pub catalog: Sender<Message<UnboundedSender<Reply>>>,
    pub lock: Lock,
    pub log_control: Arc<runner_log::Control>,
    pub directory: PathBuf,
    pub shelves: Shelves,
    pub server: Server,
    pub queue: RecordQueue,
    pub signals: Signals,
    pub events: UnboundedReceiver<Event>,
    pub sender: UnboundedSender<Event>,
    pub overrides: Overrides,
    pub groups: Option<Arc<Groups>>,
    pub once: bool,
}

/// How long the end waits for those who were answered and do not read it.
const PATIENCE_WITH_READERS: Duration = Duration::from_secs(1);
/// How long killed processes may take to go.
const PATIENCE_WITH_KILLED: Duration = Duration::from_secs(10);
/// How long the last records may take to be written.
const PATIENCE_WITH_LOGS: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_secs(10);
const TICKS_A_SIGN_OF_LIFE: u64 = 6;
const STREAKS: Duration = Duration::from_secs(3600);
const SWEEP: Duration = Duration::from_secs(300);

impl Daemon {
    pub(super) fn new(parts: Parts, seed: u64) -> Self {
        let settings = engine_settings(&parts.generation.settings);
        Self {
            engine: Engine::new(settings, seed),
            run_context: RunContext {
                records: parts.records.clone(),
                directory: parts.directory,
                shelves: parts.shelves,
                events: parts.sender.clone(),
                groups: parts.groups,
                means: Means::of_this_process(),
            },
            generation: parts.generation,
            records: parts.records,
            runs: HashMap::new(),
            between: HashMap::new(),
            paused_since: HashMap::new(),
            chains: BTreeMap::new(),
            started: SystemClock.now(),
            asks: HashMap::new(),
            next_ask: 0,
            waiters: HashMap::new(),
            catalog: parts.catalog,
            lock: parts.lock,
            log_control: parts.log_control,
            overrides: parts.overrides,
            pool: Pool::default(),
            server: Some(parts.server),
            queue: parts.queue,
            lock_is_lost: false,
            signals: parts.signals,
            events: parts.events,
            sender: parts.sender,
            stage: None,
            faults: FaultSpeaker::default(),
            ticks: 0,
            once: parts.once,
            once_run: None,
            last_end: None,
            trouble: None,
            keeping: Keeping::Nothing,
            manager: ServiceManager::new(parts.once),
            last_health: Instant::now(),
            last_streaks: Instant::now(),
            last_sweep: Instant::now() - SWEEP,
        }
    }

    /// Puts the first generation in force.
    pub(super) fn begin(&mut self, starting: Starting, mut cut_short: CutShort) {
        let mut waiting: HashMap<JobName, HashMap<RunId, WaitingRun>> = HashMap::new();
        // For the one run that a person asked for, all that is left to the next real start.
        if !self.once {
            for (job, run) in self.unsettled() {
                waiting.entry(job).or_default().insert(run.run, run);
            }
        }
        let generation = self.generation.clone();
        let now = SystemClock.now();
        for job in &generation.jobs {
            self.note_chain(job, now);
        }
        let chains = &self.chains;
        let put = |job: &Arc<Job>| {
            let waited = waiting.remove(&job.name).unwrap_or_default().into_values();
            let chain_since = chains.get(&job.name).map(|in_force| in_force.since).filter(|since| *since < now);
            let cut_short = cut_short.remove(&job.name).unwrap_or_default();
            let taken = memory::Taken { name: &job.name, chain_since, armed: &job.armed, cut_short };
            let all = generation.jobs.iter().map(|job| &job.name);
            self.put(job, memory::at_start(&self.records, taken, waited, all))
        };
        let changes = generation.jobs.iter().map(put).collect();
        self.tell(EngineEvent::Load { changes, starting: Some(starting) });
        self.record_gone(waiting);
        self.keep_pending();
        if !self.once {
            let _ = self.lock.sign_life();
        }
    }

    /// Runs that waited when the last runner here was killed.
    fn unsettled(&mut self) -> Vec<(JobName, WaitingRun)> {
        // Each job's last line tells of those that waited then; the file, of those that came after it.
        let mut waiting = self.records.take_waiting();
        match Pending::load(&self.records.layout.pending()) {
            Ok(mut pending) => {
                self.chains = std::mem::take(&mut pending.chains);
                waiting.extend(pending.settle(&self.records));
            }
            Err(error) => {
                tracing::error!(target: "record", "pending.json is passed over, what waited is not known: {error}");
            }
        }
        waiting
    }

    /// Runs that waited, of jobs that are not there any more.
    fn record_gone(&mut self, waiting: HashMap<JobName, HashMap<RunId, WaitingRun>>) {
        for (job, runs) in waiting {
            for WaitingRun { run, triggered_by, due } in runs.into_values() {
                let (kind, job) = (GapKind::Missed, job.clone());
                let reason = "the runner was killed while the run waited, and the job is gone".to_string();
                let gap = Gap { kind, job, triggered_by, reason, due, until: due, count: 1 };
                self.queue.put(Entry::Dropped { run, gap });
            }
        }
    }

    /// Takes note since when a job's chain is what it is.
    fn note_chain(&mut self, job: &Job, now: Timestamp) {
        let Some(chain) = super::pending::chain_words(job) else {
            self.chains.remove(&job.name);
            return;
        };
        if self.chains.get(&job.name).is_none_or(|in_force| in_force.chain != chain) {
            self.chains.insert(job.name.clone(), InForce { chain, since: now });
        }
    }

    /// Keeps what waits for the case that this runner is killed.
    ///
    /// One at a time: what changes while it is written is written after that, however much changes.
    pub(super) fn keep_pending(&mut self) {
        if self.once {
            return;
        }
        if self.keeping == Keeping::Nothing {
            self.put_pending();
        } else {
            self.keeping = Keeping::Outdated;
        }
    }

    fn put_pending(&mut self) {
        self.keeping = Keeping::Current;
        let waiting = waiting_of(&self.engine);
        let pending = Pending { waiting, chains: self.chains.clone(), ..Pending::default() };
        self.queue.put(Entry::Pending(pending, self.sender.clone()));
    }

    fn pending_is_kept(&mut self) {
        if std::mem::replace(&mut self.keeping, Keeping::Nothing) == Keeping::Outdated {
            self.put_pending();
        }
    }

    /// The jobs' next due times, soonest first, as `next` tells them: not in a pause, nor in a blackout.
    pub fn soonest(&self, most: usize) -> Vec<(Timestamp, JobName)> {
        let now = SystemClock.now();
        let next = |job: &Arc<Job>| {
            let facts = Facts {
                paused: self.engine.paused(&job.name),
                memory: self.records.due_state(&job.name),
                anchor: self.engine.anchor(&job.name),
                ..Facts::default()
            };
            Some((view::next_dues(job, &facts, now, 1).first().copied()?, job.name.clone()))
        };
        let mut all: Vec<(Timestamp, JobName)> = self.generation.jobs.iter().filter_map(next).collect();
        all.sort();
        all.truncate(most);
        all
    }

    /// Runs until it is stopped and nothing is active any more.
    pub async fn run(mut self) -> std::io::Result<Finished> {
        let timer = WallTimer::new()?;
        let mut tick = tokio::time::interval_at(Instant::now() + TICK, TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watchdog = self.manager.watchdog().map(tokio::time::interval);
        self.manager.ready(self.status_line());
        let mut shutdown_at: Option<Instant> = None;
        let mut armed = None;
        let mut reason = "stopped";
        loop {
            let wake_at = self.engine.wake_at();
            if armed != Some(wake_at) {
                timer.arm(wake_at)?;
                armed = Some(wake_at);
            }
            let is_idle = self.runs.is_empty() && self.between.is_empty();
            if is_idle && self.stage.is_some() {
                break;
            }
            let event = tokio::select! {
                biased;
                wake = timer.wait() => {
                    armed = None;
                    Event::Timer(wake?)
                }
                Some(event) = self.events.recv() => event,
                _ = self.signals.terminate.recv() => Event::Stop("SIGTERM"),
                _ = self.signals.interrupt.recv() => Event::Stop("SIGINT"),
                _ = self.signals.hangup.recv() => Event::Hangup,
                _ = tick.tick() => Event::Tick,
                () = sleep_until(shutdown_at), if shutdown_at.is_some() => Event::ShutdownTimeout,
                () = next_of(&mut watchdog), if watchdog.is_some() => {
                    self.manager.alive();
                    continue;
                }
            };
            match event {
                Event::Stop(why) => {
                    if self.stage.is_none() {
                        reason = why;
                    }
                    shutdown_at = self.stop(why);
                }
                Event::ShutdownTimeout => {
                    shutdown_at = self.end_after_timeout();
                }
                other => self.take(other),
            }
            if self.once && self.last_end.is_some() && self.stage.is_none() {
                self.stage = Some(Stage::Waiting);
            }
        }
        self.finish(reason);
        self.answer_the_last().await;
        Ok(Finished { reason, end: self.last_end.take() })
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Timer(wake) => {
                if wake == Wake::ClockSet {
                    tracing::warn!(target: "engine", "the clock was set; due times are looked at again");
                }
                self.tell(EngineEvent::Wake);
            }
            Event::Catalog(refreshed) => self.reloaded(refreshed),
            Event::Spawned { run, pid } => {
                if let Some(active) = self.runs.get_mut(&run) {
                    active.pid = pid;
                }
            }
            Event::Request { request, reply } => self.answer(request, reply),
            Event::Hangup => {
                tracing::info!(target: "daemon", "SIGHUP: the files are compared");
                self.manager.reloading();
                // A request that nobody waits for the answer of.
                self.ask_catalog(unbounded_channel().0);
            }
            Event::Tick => self.tick(),
            Event::PendingKept => self.pending_is_kept(),
            Event::Ended(ended) => self.ended(ended),
            Event::Settled(end) => self.settled(end),
            // Taken care of where the shutdown's time is kept.
            Event::Stop(_) | Event::ShutdownTimeout => {}
        }
    }

    fn put(&self, job: &Arc<Job>, memory: Memory) -> Change {
        Change::Put(Box::new(JobEntry {
            name: job.name.clone(),
            spec: job.spec.clone(),
            // For the one run that a person asked for, triggers rest.
            armed: if self.once { Vec::new() } else { job.armed.to_vec() },
            closed: job.closed(),
            first_loaded: job.first_loaded,
            memory,
        }))
    }

    fn reloaded(&mut self, refreshed: Refreshed) {
        let Refreshed { generation, delta, asked, trouble, last_good_error } = refreshed;
        if trouble != self.trouble {
            if let Some(trouble) = &trouble {
                tracing::warn!(target: "catalog", "changes may be taken up late: {trouble}; the files are compared every {}", generation.settings.reload.scan);
            }
            self.trouble = trouble;
        }
        if let Some(error) = last_good_error {
            tracing::error!(target: "catalog", "{error}");
        }
        if delta.is_new {
            self.put_in_force(generation, &delta);
        } else if asked.is_some() {
            tracing::info!(target: "catalog", "asked to compare the files: nothing changed");
        }
        if asked.is_some() {
            self.manager.reloaded(self.status_line());
        } else {
            self.manager.status(self.status_line());
        }
        if let Some(reply) = asked {
            let errors = self.generation.problems.iter().filter(|problem| problem.is_error()).map(ToString::to_string);
            let _ = reply.send(Reply::Ok(serde_json::json!({
                "generation": self.generation.number,
                "fingerprint": self.generation.fingerprint,
                "changes": delta.words(),
                "jobs": self.generation.jobs.len(),
                "errors": errors.collect::<Vec<_>>(),
            })));
        }
    }

    fn put_in_force(&mut self, generation: Arc<Generation>, delta: &Delta) {
        tracing::info!(
            target: "catalog",
            "reload: {} ({}), generation {} {}",
            count(generation.jobs.len(), "job"),
            delta.words(),
            generation.number,
            generation.fingerprint,
        );
        say_findings(&generation, delta);
        let old = std::mem::replace(&mut self.generation, generation);
        if old.vanished.is_some() && self.generation.vanished.is_none() {
            tracing::info!(target: "catalog", "the job files are there again");
        }
        if delta.settings_changed {
            self.take_settings(&old.settings);
        }
        let now = SystemClock.now();
        for job in delta.added.iter().chain(&delta.changed) {
            self.note_chain(job, now);
        }
        for job in &delta.removed {
            self.chains.remove(job);
        }
        let changes = delta
            .added
            .iter()
            .chain(&delta.changed)
            .map(|job| self.put(job, memory::of_job(&self.records, &job.name)))
            .chain(delta.removed.iter().cloned().map(Change::Removed))
            .collect();
        self.tell(EngineEvent::Load { changes, starting: None });
        // The grid of a changed interval begins at due times that may only be counted so far.
        for job in &delta.changed {
            self.queue.put(Entry::FlushJob(job.name.clone()));
        }
        // Down time, if it comes, begins under what is in force now.
        self.sign_life();
    }

    fn take_settings(&mut self, old: &RunnerSpec) {
        let new = self.overrides.apply(&self.generation.settings);
        let old = self.overrides.apply(old);
        if new.logs.directory != old.logs.directory || new.logs.format != old.logs.format {
            tracing::warn!(target: "catalog", "logs.directory and logs.format take effect at the next start");
        }
        let rotation = super::setup::rotation(&new);
        self.records.set_settings(rotation);
        self.log_control.set(super::setup::level(new.logs.level), rotation);
        let _ = self.catalog.send(Message::Timing(timing(&new)));
        crate::os::limits::raise_open_files(u64::from(new.max_concurrent_runs) * 6 + 256);
        let settings = engine_settings(&new);
        self.tell(EngineEvent::Configure(settings));
    }

    pub(super) fn ask_catalog(&self, asked: UnboundedSender<Reply>) {
        let _ = self.catalog.send(Message::Asked(asked));
    }

    fn tick(&mut self) {
        self.ticks += 1;
        if self.ticks.is_multiple_of(TICKS_A_SIGN_OF_LIFE) {
            self.sign_life();
        }
        if !self.once && self.stage.is_none() {
            self.restore_lock_and_socket();
        }
        if !self.once {
            crate::os::orphans::reap_strangers();
        }
        self.queue.put(Entry::Flush { streaks: false });
        self.faults.tick(&self.records, &self.log_control);
        self.manager.status(self.status_line());
        if self.stage.is_some() {
            self.manager.not_yet();
        }
        let now = Instant::now();
        let settings = self.generation.settings.clone();
        if now - self.last_health >= settings.health.interval.0 {
            self.last_health = now;
            self.say_health();
        }
        if now - self.last_streaks >= STREAKS {
            self.last_streaks = now;
            self.queue.put(Entry::Flush { streaks: true });
        }
        if now - self.last_sweep >= SWEEP {
            self.last_sweep = now;
            self.sweep(&settings);
        }
    }

    /// Says when the runner was last there, and what stands in no record by then.
    fn sign_life(&mut self) {
        if self.once || self.stage.is_some() || self.lock_is_lost {
            return;
        }
        self.keep_pending();
        if let Err(error) = self.lock.sign_life() {
            tracing::warn!(target: "daemon", "no sign of life could be given: {error}");
        }
    }

    /// What is going on, in one line.
    fn status_line(&self) -> String {
        let what = match self.stage {
            Some(_) => "stopping; ",
            None => "",
        };
        let jobs = count(self.generation.jobs.len(), "job");
        let (stale, invalid) = (self.generation.stale(), self.generation.invalid.len());
        format!(
            "{what}{jobs}, {stale} stale, {invalid} invalid; {} running, {} queued",
            self.runs.len(),
            self.engine.waiting()
        )
    }

    fn say_health(&self) {
        tracing::info!(target: "health", "{}; {} KiB resident", self.status_line(), crate::os::memory::own_resident_kb());
    }

    /// Begins the shutdown, or makes it more urgent. Says when the patience ends.
    fn stop(&mut self, why: &'static str) -> Option<Instant> {
        match self.stage {
            None => {
                self.stage = Some(Stage::Waiting);
                tracing::info!(target: "daemon", "stopping ({why}): no new runs are started");
                self.tell(EngineEvent::Stop);
                self.manager.stopping(self.status_line());
                if self.once {
                    // Whoever asked for the run takes it back.
                    self.stage = Some(Stage::Ending);
                    shutdown::end_runs(&self.runs, false);
                    return None;
                }
                // The last sign of life: from here on due times belong to the down time, and the next start accounts for them.
                let _ = self.lock.sign_life();
                let timeout = self.generation.settings.shutdown_timeout;
                shutdown::say_waiting(&self.runs, timeout);
                match timeout {
                    OrNone::None => None,
                    OrNone::Some(timeout) => Some(Instant::now() + timeout.0),
                }
            }
            Some(_) => {
                tracing::warn!(target: "daemon", "{why} again: {} will be ended at once", count(self.runs.len(), "active run"));
                Some(self.kill_runs())
            }
        }
    }

    /// The time for this stage of the shutdown is over. Says how long the next one may take.
    fn end_after_timeout(&mut self) -> Option<Instant> {
        match self.stage {
            Some(Stage::Waiting) => {
                self.stage = Some(Stage::Ending);
                tracing::warn!(
                    target: "daemon",
                    "{} did not end in time and will be ended now",
                    count(self.runs.len(), "active run")
                );
                shutdown::end_runs(&self.runs, false);
                let grace = self.runs.values().map(|run| run.kill_grace).max().unwrap_or_default();
                Some(Instant::now() + grace + PATIENCE_WITH_KILLED)
            }
            Some(Stage::Ending) => Some(self.kill_runs()),
            // What cannot even be killed, such as a process that waits for a file system that hangs, is left to the next start.
            Some(Stage::Killing) => {
                for (run, active) in &self.runs {
                    tracing::error!(
                        target: "daemon",
                        "{}: run {run} with PID {} cannot be ended; the next start looks for it",
                        active.job,
                        active.pid.map_or("unknown".into(), |pid| pid.to_string()),
                    );
                }
                self.runs.clear();
                self.between.clear();
                None
            }
            None => None,
        }
    }

    fn kill_runs(&mut self) -> Instant {
        self.stage = Some(Stage::Killing);
        shutdown::end_runs(&self.runs, true);
        Instant::now() + PATIENCE_WITH_KILLED
    }

    fn finish(&mut self, reason: &'static str) {
        let _ = self.catalog.send(Message::Stop);
        // Whoever took the lock meanwhile writes these logs now.
        if !self.lock_is_lost {
            self.queue.put(Entry::Flush { streaks: true });
            if !self.once {
                self.put_pending();
            }
            self.queue.finish(PATIENCE_WITH_LOGS);
        }
        // What could not be written until now never will be.
        self.faults.tick(&self.records, &self.log_control);
        if let Some(groups) = &self.run_context.groups {
            groups.remove();
        }
        if !self.once {
            tracing::info!(target: "daemon", "stopped ({reason})");
        }
    }

    /// Whoever has asked is answered before the process ends.
    async fn answer_the_last(&mut self) {
        self.events.close();
        while let Ok(event) = self.events.try_recv() {
            if let Event::Request { reply, .. } = event {
                let _ = reply.send(Reply::Error("the runner has stopped".into()));
            }
        }
        self.asks.clear();
        self.waiters.clear();
        if let Some(server) = self.server.take() {
            server.finish(PATIENCE_WITH_READERS).await;
        }
    }

    /// Answers at another socket from now on.
    pub(super) fn listen_at(&mut self, listener: tokio::net::UnixListener) {
        self.server = Some(Server::start(listener, self.sender.clone()));
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stage.is_some()
    }

    pub(super) fn request_stop(&self, why: &'static str) {
        let _ = self.sender.send(Event::Stop(why));
    }
}

/// Of one kind of finding at most so many are said one by one: a broken `_defaults.yaml` can be above thousands of jobs.
const MOST_SAID: usize = 50;

/// Says what is newly wrong, and what is good again.
pub(super) fn say_findings(generation: &Generation, delta: &Delta) {
    for problem in delta.new_problems.iter().take(MOST_SAID) {
        if problem.is_error() {
            tracing::error!(target: "catalog", "{problem}");
        } else {
            tracing::warn!(target: "catalog", "{problem}");
        }
    }
    say_rest(delta.new_problems.len(), "more finding");
    for file in delta.broken.iter().take(MOST_SAID) {
        let goes_on = generation.jobs.iter().any(|job| job.file == *file);
        let what = if goes_on { "its last good version goes on" } else { "its job is not scheduled" };
        tracing::warn!(target: "catalog", "{file} is broken: {what}");
    }
    say_rest(delta.broken.len(), "more broken file");
    for file in delta.mended.iter().take(MOST_SAID) {
        tracing::info!(target: "catalog", "{file} is good again");
    }
    say_rest(delta.mended.len(), "more mended file");
}

fn say_rest(found: usize, what: &str) {
    if found > MOST_SAID {
        tracing::warn!(target: "catalog", "and {}; `runner validate` shows all that is wrong", count(found - MOST_SAID, what));
    }
}

pub(super) fn engine_settings(spec: &RunnerSpec) -> Settings {
    Settings { max_concurrent_runs: spec.max_concurrent_runs, pools: spec.pools.clone() }
}

pub(super) fn timing(spec: &RunnerSpec) -> Timing {
    Timing { debounce: spec.reload.debounce.0, max_wait: spec.reload.max_wait.0, scan: spec.reload.scan.0 }
}

async fn next_of(interval: &mut Option<tokio::time::Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
