use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, MissedTickBehavior};

use super::as_written::AsWritten;
use super::control::{Reply, Server};
use super::decisions::Between;
use super::event::Event;
use super::faults::FaultSpeaker;
use super::pending::{InForce, Pending, waiting_of};
use super::record_queue::{Entry, RecordQueue};
use super::reload::engine_settings;
use super::runs::RunContext;
use super::service_manager::ServiceManager;
use super::setup::Overrides;
use super::shutdown::Stage;
use super::signals::Signals;
use super::view::{self, Facts};
use super::watches::Watches;
use crate::catalog::watch::Message;
use crate::catalog::{Generation, Job};
use crate::engine::{Engine, Event as EngineEvent};
use crate::model::{Clock, HumanDuration, JobName, RunId, TriggeredBy, count};
use crate::os::cgroup::Groups;
use crate::os::clock::SystemClock;
use crate::os::lock::Lock;
use crate::os::means::Means;
use crate::os::private::Shelves;
use crate::os::timer::{Wake, WallTimer};
use crate::record::{End, Records, runner_log};
use crate::run::{Control, Pool, Stop};
use crate::watch::watcher::Message as WatchMessage;

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
    /// Runs that never began and whose end is on its way to their records.
    pub(super) never_began: HashSet<RunId>,
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
    pub(super) server: Option<Server>,
    pub(super) queue: RecordQueue,
    pub(super) watches: Watches,
    /// Another runner has the logs.
    pub(super) lock_is_lost: bool,
    pub(super) signals: Signals,
    pub(super) events: UnboundedReceiver<Event>,
    pub(super) sender: UnboundedSender<Event>,
    pub(super) stage: Option<Stage>,
    /// The same for the threads of runs: what they are told to end for is the stop.
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) faults: FaultSpeaker,
    pub(super) ticks: u64,
    /// Ends by itself when the one run that it was started for has ended.
    pub(super) once: bool,
    /// That run, and its record once it has ended.
    pub(super) once_run: Option<RunId>,
    pub(super) last_end: Option<Arc<End>>,
    pub(super) trouble: Option<String>,
    pub(super) keeping: Keeping,
    pub(super) manager: ServiceManager,
    pub(super) last_health: Instant,
    pub(super) last_streaks: Instant,
    pub(super) last_sweep: Instant,
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
    pub control: Arc<Control>,
    pub kill_grace: Duration,
    pub timeout: Option<Duration>,
    pub written: AsWritten,
}

/// How far the file of what waits is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeping {
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
    pub watches: Watches,
    pub signals: Signals,
    pub events: UnboundedReceiver<Event>,
    pub sender: UnboundedSender<Event>,
    pub overrides: Overrides,
    pub groups: Option<Arc<Groups>>,
    pub once: bool,
}

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
            never_began: HashSet::new(),
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
            watches: parts.watches,
            lock_is_lost: false,
            signals: parts.signals,
            events: parts.events,
            sender: parts.sender,
            stage: None,
            stopping: Arc::default(),
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

    pub(super) fn put_pending(&mut self) {
        self.keeping = Keeping::Current;
        let waiting = waiting_of(&self.engine);
        let pending = Pending { waiting, chains: self.chains.clone(), ..Pending::default() };
        self.queue.put(Entry::Pending(pending, self.sender.clone()));
    }

    pub(super) fn pending_is_kept(&mut self) {
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
            let is_idle = self.runs.is_empty() && self.between.is_empty() && self.never_began.is_empty();
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
                    shutdown_at = self.stop(why, shutdown_at);
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
            Event::Request { request, reply } => self.answer(request, reply),
            Event::Hangup => {
                tracing::info!(target: "daemon", "SIGHUP: the files are compared");
                self.manager.reloading();
                self.watches.wake_all(|| WatchMessage::Scan("SIGHUP"));
                // A request that nobody waits for the answer of.
                self.ask_catalog(unbounded_channel().0);
            }
            Event::Backlog(job) => self.take_backlog(&job),
            Event::GivenBack { job, withdrawn } => self.files_given_back(&job, withdrawn),
            Event::Mounts => self.watches.wake_all(|| WatchMessage::Mounts),
            Event::Tick => self.tick(),
            Event::PendingKept => self.pending_is_kept(),
            Event::Ended(ended) => self.ended(ended),
            Event::Settled(end) => self.settled(end),
            // Taken care of where the shutdown's time is kept.
            Event::Stop(_) | Event::ShutdownTimeout => {}
        }
    }

    fn tick(&mut self) {
        self.ticks += 1;
        if self.ticks.is_multiple_of(TICKS_A_SIGN_OF_LIFE) {
            self.sign_life();
        }
        if !self.once && self.stage.is_none() {
            self.restore_lock_and_socket();
            self.watches.try_again();
        }
        if !self.once {
            crate::os::orphans::reap_strangers();
        }
        self.queue.put(Entry::Flush { streaks: false });
        self.faults.tick(&self.records, &self.log_control);
        self.end_what_hangs();
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
    pub(super) fn sign_life(&mut self) {
        if self.once || self.stage.is_some() || self.lock_is_lost {
            return;
        }
        self.keep_pending();
        if let Err(error) = self.lock.sign_life() {
            tracing::warn!(target: "daemon", "no sign of life could be given: {error}");
        }
    }

    /// An attempt's time begins with its program. One whose process does not even become that, because a file system does not
    /// answer or its user has stopped it, is ended from here.
    fn end_what_hangs(&self) {
        for active in self.runs.values() {
            let since = active.control.making_since();
            if let (Some(since), Some(timeout)) = (since, active.timeout)
                && since.elapsed() > timeout
            {
                let reason = format!("its program could not be begun within its timeout of {}", HumanDuration(timeout));
                active.control.stop(Stop { reason, at_once: true });
            }
        }
    }

    /// What is going on, in one line.
    pub(super) fn status_line(&self) -> String {
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
