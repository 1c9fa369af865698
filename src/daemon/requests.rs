//! What people ask of a running runner.

use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::control::{Reply, Request};
use super::loaded::{LoadedRun, Snapshot};
use super::main_loop::Daemon;
use super::pauses::Pause;
use super::view::{self, Facts};
use crate::engine::{Accepted, Decision, Event as EngineEvent, WaitsFor};
use crate::model::{Clock, Firing, JobName, RunId, rfc3339};
use crate::os::clock::SystemClock;
use crate::spec::Overlap;
use crate::watch::WatchStatus;

/// Why a run has ended that a person has cancelled.
pub(super) const CANCELLED: &str = "cancelled by `runner cancel`";

impl Daemon {
    pub(super) fn answer(&mut self, request: Request, reply: UnboundedSender<Reply>) {
        match request {
            Request::Status => send(&reply, Ok(self.status())),
            Request::List(query) => {
                let entries = view::list(&self.generation, SystemClock.now(), &query, |name| self.facts(name));
                send(&reply, Ok(entries.into()));
            }
            Request::Loaded { job } => self.hand_out(job.as_deref(), reply),
            Request::Reload => self.ask_catalog(reply),
            Request::Stop => {
                send(&reply, Ok(json!({ "pid": std::process::id(), "running": self.runs.len() })));
                // Only a second signal is more urgent: two people may ask.
                if !self.is_stopping() {
                    self.request_stop("asked by `runner stop`");
                }
            }
            Request::Run { job, args, wait } => {
                if let Some(reason) = self.why_broken(&job) {
                    return send(&reply, Err(reason));
                }
                let ask = self.next_ask;
                self.next_ask += 1;
                self.asks.insert(ask, (reply, wait));
                self.tell(EngineEvent::Ask { ask, job, args });
            }
            Request::Cancel { run } => match self.engine.job_of(run).cloned() {
                Some(job) => {
                    tracing::info!(target: "run", run = %run, "{job}: cancel was asked for");
                    self.tell(EngineEvent::Cancel { run, reason: CANCELLED.into() });
                    send(&reply, Ok(json!({ "run": run, "job": job })));
                }
                None => send(&reply, Err(format!("no run {run} is active"))),
            },
            Request::Pause { job, until } => {
                if self.generation.job(&job).is_none() {
                    return send(&reply, Err(format!("there is no job `{job}`")));
                }
                self.paused_since.entry(job.clone()).or_insert_with(|| SystemClock.now());
                self.tell(EngineEvent::Pause { job: job.clone(), until });
                let notice = self.keep_pauses();
                let words =
                    until.map_or("until it is resumed".to_string(), |until| format!("until {}", rfc3339(until)));
                tracing::info!(target: "engine", "{job}: paused {words}");
                send(&reply, Ok(json!({ "job": job, "until": until.map(rfc3339), "notice": notice })));
            }
            Request::Replay { job, selection, dry_run } => self.replay(&job, selection, dry_run, reply),
            Request::Resume { job } if self.is_stopped_watch(&job) => {
                self.resume_watch(&job);
                match self.engine.paused(&job) {
                    Some(_) => self.answer(Request::Resume { job }, reply),
                    None => send(&reply, Ok(json!({ "job": job, "notice": null }))),
                }
            }
            Request::Resume { job } => {
                if self.engine.paused(&job).is_none() && self.generation.job(&job).is_none() {
                    return send(&reply, Err(format!("there is no job `{job}`")));
                }
                if self.engine.paused(&job).is_none() {
                    return send(&reply, Err(format!("the job `{job}` is not paused")));
                }
                self.paused_since.remove(&job);
                self.tell(EngineEvent::Resume { job: job.clone() });
                let notice = self.keep_pauses();
                tracing::info!(target: "engine", "{job}: resumed");
                send(&reply, Ok(json!({ "job": job, "notice": notice })));
            }
        }
    }

    /// Keeps the pauses over a restart. Returns what to tell whoever asked, if that failed.
    pub(super) fn keep_pauses(&self) -> Option<String> {
        let pause = |job: &JobName, until| Pause { until, since: self.paused_since.get(job).copied() };
        let pauses = self.engine.pauses().map(|(job, until)| (job.clone(), pause(job, until))).collect();
        let error = super::pauses::save(&self.records.layout.paused(), &pauses).err()?;
        let why = format!("paused.json cannot be written: {error}");
        tracing::error!(target: "daemon", "pauses are not kept over a restart: {why}");
        Some(format!("it will not survive a restart: {why}"))
    }

    /// Tells a person what becomes of the run that they asked for.
    pub(super) fn answer_ask(&mut self, ask: u64, answer: Result<Accepted, String>) {
        let Some((reply, wait)) = self.asks.remove(&ask) else { return };
        match answer {
            Ok(accepted) => {
                let Accepted { run, waits, notice } = accepted;
                if waits {
                    // Its id is told to a person: what becomes of it is told as well, however this runner ends.
                    self.keep_pending();
                }
                let waits_for = self.engine.waits_for(run, SystemClock.now()).filter(|_| waits);
                let replaces = waits_for == Some(WaitsFor::EarlierRun) && self.replaces(run);
                send(&reply, Ok(json!({ "run": run, "waits": waits, "replaces": replaces, "notice": notice })));
                if wait {
                    self.waiters.insert(run, reply);
                }
            }
            Err(reason) => send(&reply, Err(reason)),
        }
    }

    /// Whether the job of a run ends an earlier run for a newer one.
    fn replaces(&self, run: RunId) -> bool {
        let job = self.engine.job_of(run).and_then(|job| self.generation.job(job));
        job.is_some_and(|job| job.spec.overlap() == Overlap::Replace)
    }

    /// Asks for a run before the loop begins, as `runner run` does where no runner is running.
    pub fn ask_directly(&mut self, job: &JobName, args: Vec<String>) -> Result<Accepted, String> {
        if let Some(reason) = self.why_broken(job) {
            return Err(reason);
        }
        let (reply, _replies) = unbounded_channel();
        let mut accepted = Err("the engine gave no answer".to_string());
        let ask = self.next_ask;
        self.next_ask += 1;
        self.asks.insert(ask, (reply, false));
        let event = EngineEvent::Ask { ask, job: job.clone(), args };
        for decision in self.decide(event) {
            if let Decision::Answer { answer, .. } = &decision {
                accepted = answer.clone();
            }
            self.carry_out(decision);
        }
        self.once_run = accepted.as_ref().ok().map(|accepted| accepted.run);
        accepted
    }

    /// Why there is no such job, where its file is there and broken.
    fn why_broken(&self, job: &str) -> Option<String> {
        if self.generation.job(job).is_some() {
            return None;
        }
        let invalid = self.generation.invalid.iter().find(|invalid| invalid.name == job)?;
        let first = invalid.errors.first().map(ToString::to_string).unwrap_or_default();
        Some(format!("the job `{job}` cannot run, its file is broken: {first}"))
    }

    /// Hands out what is in force. Only what is at hand is gathered here: the rest takes its time, on another thread.
    fn hand_out(&self, job: Option<&str>, reply: UnboundedSender<Reply>) {
        let is_asked_for = |name: &JobName| job.is_none_or(|job| job == name.as_str());
        let jobs = self.generation.jobs.iter().filter(|job| is_asked_for(&job.name));
        let (mut counted, _) = self.records.counted();
        counted.retain(|gap| is_asked_for(&gap.job));
        let snapshot = Snapshot {
            generation: self.generation.clone(),
            settings: self.overrides.apply(&self.generation.settings),
            jobs: jobs.map(|job| (job.clone(), self.facts(&job.name))).collect(),
            runs: self.loaded_runs(),
            counted,
        };
        let sender = reply.clone();
        let work = move || {
            let answer = serde_json::to_value(snapshot.loaded()).map_err(|error| error.to_string());
            send(&sender, answer);
        };
        if let Err(error) = self.pool.run(work) {
            send(&reply, Err(format!("the runner has no thread left to answer: {error}")));
        }
    }

    /// The runs that have not come to their end, those that began first before the others.
    fn loaded_runs(&self) -> Vec<LoadedRun> {
        let active = self.runs.iter().map(|(run, active)| LoadedRun {
            run: *run,
            job: active.job.clone(),
            triggered_by: active.triggered_by,
            due: active.due,
            started: Some(active.started),
            next_attempt: None,
        });
        let retrying = self.engine.retrying().filter_map(|(run, job, _, at)| {
            let facts = &self.between.get(run)?.facts;
            let Firing { triggered_by, due, .. } = facts.firing;
            let (job, started) = (job.clone(), Some(facts.started));
            Some(LoadedRun { run: *run, job, triggered_by, due, started, next_attempt: Some(at) })
        });
        let waiting = self.engine.waiting_runs().map(|(run, firing, _)| LoadedRun {
            run: *run,
            job: firing.job.clone(),
            triggered_by: firing.triggered_by,
            due: firing.due,
            started: None,
            next_attempt: None,
        });
        let mut runs: Vec<LoadedRun> = active.chain(retrying).chain(waiting).collect();
        runs.sort_by_key(|run| (run.started.is_none(), run.started, run.run));
        runs
    }

    pub(super) fn facts(&self, name: &str) -> Facts {
        Facts {
            paused: self.engine.paused(name),
            paused_since: self.engine.paused(name).and(self.paused_since.get(name).copied()),
            running: self.runs.values().filter(|run| run.job.as_str() == name).count(),
            summary: self.records.summary(name),
            memory: self.records.due_state(name),
            anchor: self.engine.anchor(name),
            waiting: self.engine.waiting_of(name),
            next_attempt: self.engine.next_attempt(name),
            arrived: self.engine.arrived(name),
            down_since: None,
        }
    }

    fn status(&self) -> Value {
        let mut running: Vec<Value> = self
            .runs
            .iter()
            .map(|(run, active)| {
                json!({
                    "run": run,
                    "job": active.job,
                    "started": rfc3339(active.started),
                    "pid": active.control.pid(),
                    "attempt": active.attempt,
                })
            })
            .collect();
        running.sort_by_key(|run| run["started"].to_string());
        let mut retrying: Vec<Value> = self
            .engine
            .retrying()
            .map(|(run, job, attempt, at)| json!({ "run": run, "job": job, "attempt": attempt, "at": rfc3339(at) }))
            .collect();
        retrying.sort_by_key(|run| run["at"].to_string());
        let now = SystemClock.now();
        let mut waiting: Vec<Value> = self
            .engine
            .waiting_runs()
            .map(|(run, firing, attempt)| {
                let reason = self.engine.waits_for(*run, now);
                let until = reason.as_ref().and_then(|reason| self.engine.rate_until(reason, now)).map(rfc3339);
                let (due, reason) = (rfc3339(firing.due), reason.map(|reason| reason.to_string()));
                json!({
                    "run": run, "job": firing.job, "due": due, "attempt": attempt, "for": reason, "until": until,
                })
            })
            .collect();
        waiting.sort_by_key(|run| run["run"].to_string());
        json!({
            "pid": std::process::id(),
            "started": rfc3339(self.started),
            "version": env!("CARGO_PKG_VERSION"),
            "timezone": self.overrides.apply(&self.generation.settings).timezone,
            "generation": self.generation.number,
            "fingerprint": self.generation.fingerprint,
            "commit": self.generation.commit,
            "jobs": self.generation.jobs.len(),
            "stale": self.generation.stale(),
            "invalid": self.generation.invalid.len(),
            "paused": self.engine.pauses().count(),
            "running": running,
            "queued": self.engine.waiting(),
            "waiting": waiting,
            "retrying": retrying,
            "watches": self.watch_status(),
            "stopping": self.is_stopping(),
            "vanished": self.generation.vanished,
            "logs": self.records.layout.root(),
        })
    }

    /// The active watches; one whose job is paused says so.
    fn watch_status(&self) -> Vec<WatchStatus> {
        let found = self.watches.active().map(|(shared, files)| WatchStatus::of(shared, files));
        let with_pause = |watch: WatchStatus| match self.engine.pauses().any(|(job, _)| job.as_str() == watch.job) {
            true => WatchStatus { state: format!("paused; {}", watch.state), ..watch },
            false => watch,
        };
        found.map(with_pause).collect()
    }
}

fn send(reply: &UnboundedSender<Reply>, answer: Result<Value, String>) {
    let _ = reply.send(match answer {
        Ok(value) => Reply::Ok(value),
        Err(error) => Reply::Error(error),
    });
}
