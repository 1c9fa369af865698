//! What people are shown of jobs: the entries of `list` and `show`. The same for a running runner and for the files alone.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::catalog::{Generation, Invalid, Job};
use crate::engine::{BreakerState, Failures, upcoming};
use crate::model::{Problem, rfc3339, serde_rfc3339};
use crate::record::{DueState, Line, Summary};
use crate::trigger::{Trigger, TriggerContext};

/// What is known of a job besides its files.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// `None`: not paused. `Some(None)`: until it is resumed.
    pub paused: Option<Option<Timestamp>>,
    pub running: usize,
    pub summary: Summary,
    /// What the records know of its due times, and how it has fared.
    pub memory: DueState,
    /// Where the grid of its interval begins, as the engine has it; absent without a running runner.
    pub anchor: Option<Timestamp>,
    /// Runs that wait for another one to end, or for a place.
    pub waiting: usize,
    /// Its run that waits for its next attempt: the number, and when it begins.
    pub next_attempt: Option<(u32, Timestamp)>,
}

impl Facts {
    /// What the job's breaker says; closed where it has none.
    pub fn breaker(&self, job: &Job, now: Timestamp) -> BreakerState {
        let failures = self.memory.failed_at.map(|last| Failures { in_row: self.memory.failed_in_row, last });
        match (failures, &job.spec.policies.breaker) {
            (Some(failures), Some(breaker)) => failures.state(breaker, now),
            _ => BreakerState::Closed,
        }
    }
}

/// Which entries are asked for, and how much of each.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Query {
    /// This one alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// With the spec, as `show` has it.
    #[serde(default)]
    pub spec: bool,
    /// With so many due times.
    #[serde(default)]
    pub next: usize,
    /// Due times after this; now, where it is absent.
    #[serde(with = "serde_rfc3339::option", default)]
    pub from: Option<Timestamp>,
}

/// The next due times of a job.
pub fn next_dues(job: &Job, facts: &Facts, after: Timestamp, count: usize) -> Vec<Timestamp> {
    let shift = crate::trigger::spread(&job.name, job.spec.policies.jitter);
    let known = || crate::trigger::anchor(job.first_loaded, facts.memory.interval_due, shift);
    let anchor = facts.anchor.unwrap_or_else(known);
    // While it is paused, nothing comes due before the pause ends.
    let mut at = match facts.paused {
        Some(None) => return Vec::new(),
        Some(Some(until)) => after.max(until - jiff::SignedDuration::from_nanos(1)),
        None => after,
    };
    let Some(closed) = job.closed() else { return upcoming(&job.armed, anchor, at, count) };
    // What lies in a blackout is passed over, from its end on the next one is looked for; one that seems to have no end is not
    // looked at for ever.
    let mut found = Vec::new();
    for _ in 0..MOST_LOOKED_AT {
        let Some(due) = upcoming(&job.armed, anchor, at, 1).first().copied() else { break };
        at = due;
        if closed.reason_at(due).is_some() {
            at = at.max(closed.changes_after(due, Timestamp::MAX) - jiff::SignedDuration::from_nanos(1));
            continue;
        }
        found.push(due);
        if found.len() >= count {
            break;
        }
    }
    found
}

/// How many due times and blackouts of one job are looked at for those that are outside.
const MOST_LOOKED_AT: usize = 20_000;

/// A job's entry in `list`.
pub fn entry(job: &Job, facts: &Facts, now: Timestamp) -> Value {
    let next = next_dues(job, facts, now, 1).first().copied();
    let context = TriggerContext::of(&job.name, &job.zone);
    let schedule: Vec<String> = job.spec.triggers.iter().flat_map(|trigger| trigger.written()).collect();
    let words: Vec<String> =
        job.spec.triggers.iter().map(|trigger| trigger.words(context)).filter(|words| !words.is_empty()).collect();
    let has_an_end = !job.spec.triggers.is_empty() && job.spec.triggers.iter().all(Trigger::has_an_end);
    let breaker = facts.breaker(job, now);
    let state = if job.is_stale() {
        "stale"
    } else if !job.spec.about.enabled {
        "disabled"
    } else if has_an_end && next.is_none() && facts.paused.is_none() {
        "done"
    } else if breaker != BreakerState::Closed {
        "resting"
    } else {
        "active"
    };
    json!({
        "name": job.name,
        "file": &*job.file,
        "enabled": job.spec.about.enabled,
        "paused": facts.paused.is_some(),
        "paused_until": facts.paused.flatten().map(rfc3339),
        "state": state,
        "running": facts.running,
        "waiting": facts.waiting,
        "next_attempt": facts.next_attempt.map(|(attempt, at)| json!({ "attempt": attempt, "at": rfc3339(at) })),
        "breaker": breaker_words(breaker),
        "kind": "job",
        "command": job.spec.action.words(),
        "schedule": schedule,
        "schedule_text": words.join("; "),
        "after": after_words(job),
        "timezone": job.zone.iana_name().unwrap_or("UTC"),
        "next_run": next.map(rfc3339),
        "last_run": last_run(&facts.summary),
        "runs": facts.summary.runs,
        "failures": facts.summary.failures,
        "description": job.spec.about.description,
        "labels": job.spec.policies.labels,
        "error": error_text(&job.errors),
    })
}

/// For which jobs it waits, in words, where it does.
fn after_words(job: &Job) -> Option<String> {
    let waits = |trigger: &&Trigger| trigger.triggered_by() == crate::model::TriggeredBy::After;
    Some(job.spec.triggers.iter().find(waits)?.words(TriggerContext::of(&job.name, &job.zone)))
}

/// An open breaker as `list` has it; null where it is closed.
fn breaker_words(state: BreakerState) -> Value {
    match state {
        BreakerState::Closed => Value::Null,
        BreakerState::Open { failed_in_row, until } => {
            json!({ "state": "open", "failed_in_row": failed_in_row, "until": rfc3339(until) })
        }
        BreakerState::HalfOpen { failed_in_row } => {
            json!({ "state": "half_open", "failed_in_row": failed_in_row, "until": null })
        }
    }
}

/// The entry of a file that is broken and has no earlier version.
pub fn invalid_entry(invalid: &Invalid, summary: &Summary) -> Value {
    json!({
        "name": invalid.name,
        "file": &*invalid.file,
        "enabled": false,
        "paused": false,
        "paused_until": null,
        "state": "invalid",
        "running": 0,
        "waiting": 0,
        "next_attempt": null,
        "breaker": null,
        "kind": "job",
        "command": null,
        "schedule": [],
        "schedule_text": "",
        "after": null,
        "timezone": null,
        "next_run": null,
        "last_run": last_run(summary),
        "runs": summary.runs,
        "failures": summary.failures,
        "description": null,
        "labels": {},
        "error": error_text(&invalid.errors),
    })
}

/// The entries that are asked for, by name.
pub fn list(generation: &Generation, now: Timestamp, query: &Query, facts_of: impl Fn(&str) -> Facts) -> Vec<Value> {
    let is_asked_for = |name: &str| query.job.as_deref().is_none_or(|job| job == name);
    let of_job = |job: &Job| {
        let facts = facts_of(&job.name);
        let mut entry = entry(job, &facts, now);
        if query.spec {
            entry["spec"] = Value::Object(job.written());
        }
        if query.next > 0 {
            let dues = next_dues(job, &facts, query.from.unwrap_or(now), query.next);
            entry["next"] = dues.into_iter().map(rfc3339).collect();
        }
        entry
    };
    let mut entries: Vec<(String, Value)> = generation
        .jobs
        .iter()
        .filter(|job| is_asked_for(&job.name))
        .map(|job| (job.name.to_string(), of_job(job)))
        .chain(
            generation
                .invalid
                .iter()
                .filter(|invalid| is_asked_for(&invalid.name))
                .map(|invalid| (invalid.name.clone(), invalid_entry(invalid, &facts_of(&invalid.name).summary))),
        )
        .collect();
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    entries.into_iter().map(|(_, entry)| entry).collect()
}

/// The end record of the last run, as it stands in the log.
fn last_run(summary: &Summary) -> Option<Line> {
    summary.last.as_deref().map(|end| Line::End(end.clone()))
}

fn error_text(errors: &[Problem]) -> Option<String> {
    (!errors.is_empty()).then(|| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}
