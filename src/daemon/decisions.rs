//! What the engine decides is carried out here.

use std::sync::Arc;

use jiff::Timestamp;

use super::as_written::AsWritten;
use super::control::Reply;
use super::main_loop::{ActiveRun, Daemon};
use super::record_queue::Entry;
use super::runs::{Ended, Run};
use super::watches::why_failed;
use crate::catalog::Job;
use crate::engine::{Decision, Event as EngineEvent, Next};
use crate::model::{Clock, Firing, JobName, Outcome, RunId, Status, TriggeredBy, count, rfc3339};
use crate::os::clock::SystemClock;
use crate::record::{End, RunFacts, WaitingRun};
use crate::run::{Control, Stop};
use crate::spec::JobSpec;
use crate::watch::Ended as FilesEnded;

/// A run between two of its attempts.
#[derive(Debug)]
pub(super) struct Between {
    pub facts: RunFacts,
    written: AsWritten,
    /// The record of the attempt that was made last.
    last: Arc<End>,
}

impl Daemon {
    /// Tells the engine, and carries out what it decides.
    pub(super) fn tell(&mut self, event: EngineEvent) {
        for decision in self.decide(event) {
            self.carry_out(decision);
        }
    }

    pub(super) fn decide(&mut self, event: EngineEvent) -> Vec<Decision> {
        let mut decisions = Vec::new();
        self.engine.handle(event, SystemClock.now(), &mut decisions);
        decisions
    }

    pub(super) fn carry_out(&mut self, decision: Decision) {
        match decision {
            Decision::Start { run, firing, spec, attempt } => self.start(run, firing, spec, attempt),
            // Its files stay in the ledger until it begins.
            Decision::Wait { firing, .. } if firing.triggered_by == TriggeredBy::Watch => {}
            Decision::Wait { run, firing } => {
                // Whose due time it is decides what becomes of it if this runner is killed.
                let (triggered_by, due) = (firing.due_of, firing.due);
                self.records.job(&firing.job).waits(WaitingRun { run, triggered_by, due });
                tracing::debug!(target: "engine", run = %run, "{}: waits for its turn", firing.job);
            }
            Decision::Drop { run, gap } => {
                if let Some(waiter) = self.waiters.remove(&run) {
                    let _ = waiter.send(Reply::Error(gap.reason.clone()));
                }
                self.queue.put(Entry::Dropped { run, gap });
            }
            Decision::Cancel { run, firing, reason } => self.cancel(run, firing, reason),
            Decision::Gap(gap) => self.queue.put(Entry::Gap(gap)),
            Decision::PassOver { job, due } => self.pass_files_over(&job, due),
            Decision::Retry { run, job, next } => self.say_retry(run, &job, next),
            Decision::Abandon { run, job, attempt, reason } => self.abandon(run, &job, attempt, reason),
            Decision::End { run, reason } => {
                if let Some(active) = self.runs.get(&run) {
                    tracing::info!(target: "run", run = %run, "{}: is ended: {reason}", active.job);
                    active.control.stop(Stop { reason, at_once: false });
                }
            }
            Decision::Answer { ask, answer } => self.answer_ask(ask, answer),
            Decision::Resumed { job } => {
                tracing::info!(target: "engine", "{job}: the pause is over");
                self.paused_since.remove(&job);
                self.keep_pauses();
            }
            Decision::BreakerOpened { job, failed_in_row, until } => {
                tracing::warn!(
                    target: "engine",
                    "{job}: the breaker is open after {} in a row: its triggers rest until {}",
                    count(failed_in_row, "failed run"),
                    rfc3339(until)
                );
            }
            Decision::BreakerClosed { job } => {
                tracing::info!(target: "engine", "{job}: the breaker is closed, the job works again");
            }
            Decision::ClockCorrected { from, to } => {
                tracing::warn!(target: "engine", "the clock went back from {from} to {to}: due times count from now");
                // Else the next start would find the records in the future again.
                self.queue.put(Entry::ClockCorrected(to));
            }
        }
    }

    fn start(&mut self, run: RunId, firing: Firing, spec: Arc<JobSpec>, attempt: u32) {
        let now = SystemClock.now();
        let (facts, written, watch) = match self.between.remove(&run) {
            Some(between) => {
                let watch = between.facts.firing.input.as_ref().and_then(|_| self.watches.get(&firing.job).cloned());
                (RunFacts { attempt, ..between.facts }, between.written, watch)
            }
            None => {
                let Some((firing, watch)) = self.hand_files(run, firing) else { return };
                let job = self.generation.job(&firing.job).filter(|job| Arc::ptr_eq(&job.spec, &spec));
                let written = AsWritten::of(job);
                // When it really starts is known on its own thread.
                (self.first_facts(run, firing, job, now), written, watch)
            }
        };
        let control = match Control::new() {
            Ok(control) => Arc::new(control),
            Err(error) => return self.could_not_start(facts, spec, &error),
        };
        let (kill_grace, timeout) = (spec.policies.kill_grace.0, spec.policies.timeout.map(|timeout| timeout.0));
        let job = facts.firing.job.clone();
        let Firing { triggered_by, due, .. } = facts.firing;
        let (started, control_of) = (facts.started, control.clone());
        let active = ActiveRun {
            job,
            triggered_by,
            due,
            started,
            attempt,
            control: control_of,
            kill_grace,
            timeout,
            written: written.clone(),
        };
        self.runs.insert(run, active);
        let stopping = self.stopping.clone();
        let work = Run { facts: facts.clone(), spec: spec.clone(), written, control, watch, stopping };
        let context = self.run_context.clone();
        if let Err(error) = self.pool.run(move || context.carry_out(work)) {
            self.runs.remove(&run);
            self.could_not_start(facts, spec, &error);
        }
    }

    /// What is known of a first attempt. `job`: what it runs, where that is loaded.
    fn first_facts(&self, run: RunId, firing: Firing, job: Option<&Arc<Job>>, started: Timestamp) -> RunFacts {
        let spec = job.map(|job| job.hash.to_string());
        RunFacts { run, firing, attempt: 1, started, spec, commit: self.generation.commit.clone() }
    }

    /// The system has no descriptor or thread left: the attempt is recorded as failed for that.
    fn could_not_start(&mut self, facts: RunFacts, spec: Arc<JobSpec>, error: &std::io::Error) {
        let reason = format!("the runner has no means left to start it: {error}");
        tracing::error!(target: "run", run = %facts.run, "{}: {reason}", facts.firing.job);
        self.never_began.insert(facts.run);
        let (facts, at, events) = (Box::new(facts), SystemClock.now(), self.sender.clone());
        self.queue.put(Entry::NotStarted { facts, spec, reason, at, events });
    }

    /// A run that waited never begins, because a person or a stop wanted it so.
    fn cancel(&mut self, run: RunId, firing: Firing, reason: String) {
        tracing::info!(target: "run", run = %run, "{}: cancelled before it began: {reason}", firing.job);
        let at = SystemClock.now();
        let job = self.generation.job(&firing.job);
        let facts = Box::new(self.first_facts(run, firing, job, at));
        self.never_began.insert(run);
        self.queue.put(Entry::Cancelled { facts, reason, at, events: self.sender.clone() });
    }

    /// An attempt is over and recorded.
    pub(super) fn ended(&mut self, ended: Ended) {
        let Ended { facts, end, is_last } = ended;
        let (run, status, exit_code) = (end.run, end.status, end.exit_code);
        let active = self.runs.remove(&run);
        let was_not_started = self.never_began.remove(&run);
        if is_last && facts.firing.input.is_some() {
            if was_not_started {
                self.files_ended(&facts.firing.job, run, &FilesEnded::Failed(why_failed(&end)));
            } else {
                // What has changed meanwhile is looked at.
                self.watches.wake_if_due(&facts.firing.job);
                self.look_at_backlog(&facts.firing.job);
            }
        }
        if is_last {
            self.settled(end);
        } else {
            let written = active.map_or(AsWritten::Unknown, |active| active.written);
            self.between.insert(run, Between { facts, written, last: end });
        }
        self.tell(EngineEvent::Ended { run, status, exit_code });
    }

    /// A run is over and recorded, whoever ended it.
    pub(super) fn settled(&mut self, end: Arc<End>) {
        self.between.remove(&end.run);
        self.never_began.remove(&end.run);
        if let Some(waiter) = self.waiters.remove(&end.run) {
            let _ = waiter.send(Reply::Ok(serde_json::json!({ "ended": &*end })));
        }
        if self.once_run == Some(end.run) {
            self.last_end = Some(end);
        }
    }

    fn say_retry(&self, run: RunId, job: &JobName, next: Next) {
        let Next { attempt, of, wait, .. } = next;
        let wait = crate::model::HumanDuration(wait);
        tracing::info!(target: "run", run = %run, "{job}: attempt {attempt} of {of}, next in {wait}");
    }

    /// The run was to be tried again and is not: its end is written.
    fn abandon(&mut self, run: RunId, job: &JobName, attempt: u32, reason: String) {
        let Some(between) = self.between.get(&run) else { return };
        tracing::info!(target: "run", run = %run, "{job}: cancelled after attempt {attempt}: {reason}");
        let last = &between.last;
        let error = match &last.error {
            Some(error) => format!("{reason}; attempt {attempt}: {error}"),
            None => reason,
        };
        let outcome = Outcome {
            status: Status::Cancelled,
            exit_code: last.exit_code,
            signal: last.signal,
            error: Some(error),
            output: last.output,
            usage: last.usage,
        };
        let facts = RunFacts { attempt, ..between.facts.clone() };
        if facts.firing.input.is_some() {
            let how = match self.is_stopping() {
                true => FilesEnded::Again,
                false => FilesEnded::Failed(outcome.error.clone().unwrap_or_default()),
            };
            self.files_ended(job, run, &how);
        }
        let (facts, outcome) = (Box::new(facts), Box::new(outcome));
        self.queue.put(Entry::End { facts, outcome, ended: SystemClock.now(), events: self.sender.clone() });
    }
}
