//! Carries out what the engine decided: one attempt on a thread of the pool, observed into the records.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;

use super::event::Event;
use crate::action::Work;
use crate::model::{Clock, Firing, Outcome, RunId, Stream, rfc3339};
use crate::os::clock::SystemClock;
use crate::os::spawn::Newborn;
use crate::record::{JobLog, OutputLog, PreparedStart, Records, RunFacts};
use crate::run::{Attempt, Control, Observer, Plan};
use crate::spec::JobSpec;

/// What all runs need.
#[derive(Debug, Clone)]
pub(super) struct RunContext {
    pub records: Arc<Records>,
    pub directory: PathBuf,
    pub events: UnboundedSender<Event>,
}

/// One run that was decided.
pub(super) struct Run {
    pub run: RunId,
    pub firing: Firing,
    pub spec: Arc<JobSpec>,
    pub spec_hash: Option<String>,
    pub commit: Option<String>,
    pub control: Arc<Control>,
}

impl RunContext {
    /// Carries the run out to its end. Always tells the loop that it has ended.
    pub fn carry_out(&self, run: Run) {
        let id = run.run;
        let facts = RunFacts {
            run: id,
            attempt: 1,
            started: SystemClock.now(),
            spec: run.spec_hash.clone(),
            commit: run.commit.clone(),
            firing: run.firing.clone(),
        };
        let log = self.records.job(&facts.firing.job);
        let attempt = catch_unwind(AssertUnwindSafe(|| self.attempt(&run, &facts, &log)));
        let (outcome, ended) = attempt.unwrap_or_else(|_| {
            tracing::error!(target: "run", job = %facts.firing.job, run = %id, "the runner failed while it carried out a run; this is a bug");
            let outcome = Outcome::failed("the runner itself failed; runner.log and standard error say more");
            (outcome, SystemClock.now())
        });
        let end = log.end(&facts, outcome, ended);
        let (job, ms) = (&end.job, end.duration_ms);
        match &end.error {
            None => tracing::info!(target: "run", run = %id, "{job}: {} in {ms} ms", end.status),
            Some(error) => tracing::warn!(target: "run", run = %id, "{job}: {} after {ms} ms: {error}", end.status),
        }
        let _ = self.events.send(Event::Ended { run: id, end });
    }

    fn attempt(&self, run: &Run, facts: &RunFacts, log: &Arc<JobLog>) -> (Outcome, Timestamp) {
        let limit = run.spec.policies.limits.output.into_option().map(|size| size.0);
        let mut output = OutputLog::new(log.clone(), run.run, limit);
        let firing = &facts.firing;
        output.marker(
            &format!("start {} {} due {}", firing.job, firing.triggered_by.as_str(), rfc3339(firing.due)),
            facts.started,
        );
        let plan = self.plan(run, facts);
        let mut observer =
            Recorder { start: Some(log.prepare_start(facts)), output, events: &self.events, run: run.run, facts };
        let ended = Attempt::carry_out(&plan, &run.control, &mut observer);
        let now = SystemClock.now();
        let mut output = observer.output;
        if ended.left_behind {
            output.marker("processes that the command left behind were ended", now);
            tracing::warn!(target: "run", run = %run.run, "{}: processes that the command left behind were ended", firing.job);
        }
        let mut outcome = ended.outcome;
        outcome.output = output.finish(now);
        let words = match &outcome.error {
            None => format!("end {}", outcome.status),
            Some(error) => format!("end {}: {error}", outcome.status),
        };
        output.marker(&words, now);
        (outcome, ended.ended)
    }

    fn plan(&self, run: &Run, facts: &RunFacts) -> Plan {
        let policies = &run.spec.policies;
        let Work::Process { argv, through_shell } = run.spec.action.work(&facts.firing);
        let directory = match &policies.working_directory {
            Some(path) => self.directory.join(path),
            None => self.directory.clone(),
        };
        let mut env = INHERITED.clone();
        for (key, value) in policies.env.iter() {
            env.insert(key.into(), value.into());
        }
        let firing = &facts.firing;
        let told: [(&str, OsString); 7] = [
            ("RUNNER_JOB", firing.job.as_str().into()),
            ("RUNNER_RUN_ID", facts.run.to_string().into()),
            ("RUNNER_TRIGGER", firing.triggered_by.as_str().into()),
            ("RUNNER_DUE", rfc3339(firing.due).into()),
            ("RUNNER_ATTEMPT", facts.attempt.to_string().into()),
            ("RUNNER_PRIORITY", PRIORITY.into()),
            ("RUNNER_LOG_DIR", self.records.layout.root().into()),
        ];
        env.extend(told.map(|(key, value)| (key.into(), value)));
        // A shell takes it for granted that this names where it is.
        env.insert("PWD".into(), directory.clone().into());
        Plan {
            argv,
            through_shell,
            env: env.into_iter().collect(),
            directory,
            timeout: policies.timeout,
            kill_grace: policies.kill_grace,
        }
    }
}

/// Every run's priority until jobs can have one of their own.
const PRIORITY: &str = "5";

/// The runner's own environment, without what is meant for the runner alone.
static INHERITED: LazyLock<BTreeMap<OsString, OsString>> = LazyLock::new(|| {
    let is_for_us = |key: &OsString| {
        let key = key.to_string_lossy();
        key == "NOTIFY_SOCKET" || key.starts_with("WATCHDOG_") || key.starts_with("LISTEN_")
    };
    std::env::vars_os().filter(|(key, _)| !is_for_us(key)).collect()
});

struct Recorder<'a> {
    start: Option<PreparedStart<'a>>,
    output: OutputLog,
    events: &'a UnboundedSender<Event>,
    run: RunId,
    facts: &'a RunFacts,
}

impl Observer for Recorder<'_> {
    fn newborn(&mut self, newborn: Newborn) {
        if let Some(start) = &mut self.start {
            start.write_in_child(newborn.pid, newborn.start_time);
        }
    }

    fn settled(&mut self, pid: Option<i32>) {
        if let Some(start) = self.start.take() {
            start.settle();
        }
        let firing = &self.facts.firing;
        tracing::info!(target: "run", run = %self.run, "{}: started by {}", firing.job, firing.triggered_by.as_str());
        let _ = self.events.send(Event::Spawned { run: self.run, pid });
    }

    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        self.output.write(stream, bytes, SystemClock.now());
    }
}
