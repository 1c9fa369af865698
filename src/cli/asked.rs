//! A question about one moment of a job, and all that is known for an answer.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::{Map, Value};

use super::context::Context;
use super::files::Known;
use super::output::{local_with_zone, times_in};
use crate::catalog::Job;
use crate::engine::simulate::grid_back;
use crate::engine::{BreakerState, latest, upcoming};
use crate::model::{JobName, TriggeredBy};
use crate::trigger::{self, Armed};

/// One thing that is known about the moment.
#[derive(Debug, Serialize)]
pub(super) struct Reason {
    pub kind: &'static str,
    pub text: String,
    #[serde(flatten)]
    pub data: Map<String, Value>,
}

impl Reason {
    pub fn new(kind: &'static str, text: impl Into<String>, data: Value) -> Self {
        let data = if let Value::Object(map) = data { map } else { Map::new() };
        Self { kind, text: text.into(), data }
    }
}

/// The question, and all that is known.
pub(super) struct Asked<'a> {
    pub context: &'a Context,
    pub known: &'a Known,
    pub name: JobName,
    /// As it is in force.
    pub job: Option<Arc<Job>>,
    /// As `list` has it; absent where the file is gone.
    pub entry: Option<Value>,
    /// Of the running runner.
    pub status: Option<Value>,
    pub at: Timestamp,
    pub last: Timestamp,
    pub now: Timestamp,
    /// Whether a moment was named.
    pub given: bool,
    pub zone: TimeZone,
    /// Its triggers; also those of a job that is disabled, where a moment of the past is asked for.
    pub armed: Vec<(TriggeredBy, Armed)>,
}

impl Asked<'_> {
    pub fn time(&self, time: Timestamp) -> String {
        local_with_zone(time, &self.zone)
    }

    pub fn armed(&self) -> &[(TriggeredBy, Armed)] {
        &self.armed
    }

    /// Where the grid of its interval begins, as far as due times after `from` are concerned.
    pub fn anchor(&self, from: Timestamp) -> Timestamp {
        let Some(job) = &self.job else { return from };
        let shift = trigger::spread(&job.name, job.spec.policies.jitter);
        let interval_due = self.known.facts(&self.name).interval_due(job);
        let anchor = trigger::anchor(job.first_loaded, interval_due, shift);
        // Far enough back that the due time before it lies on the grid as well.
        let earlier = |anchor| grid_back(self.armed(), anchor, from.min(anchor));
        earlier(anchor).and_then(earlier).unwrap_or(anchor)
    }

    /// The last due time at the moment, by the file as it is now, since the job is known.
    pub fn due_before(&self) -> Option<(Timestamp, TriggeredBy)> {
        let job = self.job.as_ref()?;
        latest(self.armed(), self.anchor(self.at), self.last).filter(|(due, _)| *due > job.first_loaded)
    }

    /// Whether its triggers rest because its file says so.
    pub fn is_disabled(&self) -> bool {
        self.job.as_ref().is_some_and(|job| !job.spec.about.enabled)
    }

    /// When its file was changed last.
    pub fn file_changed(&self) -> Option<Timestamp> {
        let path = self.context.paths.directory.join(&*self.job.as_ref()?.file);
        Timestamp::try_from(std::fs::metadata(path).ok()?.modified().ok()?).ok()
    }

    /// That a due time which comes will be skipped, where that is known; begins with a comma.
    pub fn skip_words(&self, due: Timestamp) -> String {
        let Some(job) = self.job.as_ref().filter(|_| due > self.now) else { return String::new() };
        let facts = self.known.facts(&self.name);
        let reason = match (facts.paused, facts.breaker(job, self.now)) {
            (Some(until), _) if until.is_none_or(|until| due < until) => Some("paused".to_string()),
            (_, BreakerState::Open { until, .. }) if due < until => {
                Some(format!("its breaker is open until {}", self.time(until)))
            }
            _ => job.closed().and_then(|closed| closed.reason_at(due)).map(|reason| times_in(&reason, &self.zone)),
        };
        reason.map(|reason| format!(", which will be skipped: {reason}")).unwrap_or_default()
    }

    pub fn due_after(&self) -> Option<Timestamp> {
        upcoming(self.armed(), self.anchor(self.at), self.last, 1).first().copied()
    }

    pub fn list(&self, key: &str) -> &[Value] {
        self.status.as_ref().and_then(|status| status[key].as_array()).map(Vec::as_slice).unwrap_or_default()
    }

    /// What a run waits for, as the running runner tells of it in its status.
    pub fn waits_for(&self, waiting: &Value) -> String {
        let until = waiting["until"].as_str().and_then(|until| until.parse().ok());
        let until = until.map(|until| format!(" until {}", self.time(until))).unwrap_or_default();
        let stopping = self.status.as_ref().is_some_and(|status| status["stopping"] == true);
        let stopping = if stopping { "; it will not begin, as the runner is stopping" } else { "" };
        format!("{}{until}{stopping}", waiting["for"].as_str().unwrap_or("its turn"))
    }

    pub fn last_sign(&self) -> Option<Timestamp> {
        super::files::last_sign(&self.known.layout)
    }
}
