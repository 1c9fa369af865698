//! What people are shown of jobs: the entries of `list` and `show`. The same for a running runner and for the files alone.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::catalog::{Generation, Invalid, Job};
use crate::engine::simulate::grid_back;
use crate::engine::{BreakerState, Failures, latest, upcoming};
use crate::model::{Parent, Problem, TriggeredBy, rfc3339, serde_rfc3339};
use crate::os::means::Means;
use crate::record::{DueState, Line, Summary};
use crate::spec::{CatchUpPolicy, How, Kept, Policies, kept};
use crate::trigger::{Trigger, TriggerContext};

/// What is known of a job besides its files.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// `None`: not paused. `Some(None)`: until it is resumed.
    pub paused: Option<Option<Timestamp>>,
    /// Since when it is paused, where that is known.
    pub paused_since: Option<Timestamp>,
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
    /// Ends of other jobs' runs that its chain has not fired for, while others are awaited.
    pub arrived: Vec<(Parent, Timestamp)>,
    /// Since when no runner has been there; absent while one runs, and where none ever ran.
    pub down_since: Option<Timestamp>,
}

impl Facts {
    /// The last due time of its interval. The engine may have come further than the records.
    pub fn interval_due(&self, job: &Job) -> Option<Timestamp> {
        let shift = crate::trigger::spread(&job.name, job.spec.policies.jitter);
        let first = crate::trigger::anchor(job.first_loaded, None, shift);
        self.memory.interval_due.max(self.anchor.filter(|anchor| *anchor != first))
    }

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

/// Where the grid of a job's interval begins, for due times after that time: also before it was known.
fn anchor(job: &Job, facts: &Facts, after: Timestamp) -> Timestamp {
    let shift = crate::trigger::spread(&job.name, job.spec.policies.jitter);
    let interval_due = facts.interval_due(job);
    let anchor = crate::trigger::anchor(job.first_loaded, interval_due, shift);
    let is_past = job.first_loaded > after || interval_due.is_some_and(|due| due > after);
    let back = || grid_back(&job.armed, anchor, after).unwrap_or(anchor);
    if is_past && anchor > after { back() } else { anchor }
}

/// The next due time, where a blackout passes it over; and why.
pub fn passed_over(job: &Job, facts: &Facts, after: Timestamp) -> Option<(Timestamp, Arc<str>)> {
    if facts.paused.is_some() {
        return None;
    }
    let closed = job.closed()?;
    let at = rests_until(job, facts, after)?;
    let due = upcoming(&job.armed, anchor(job, facts, after), at, 1).first().copied()?;
    Some((due, closed.reason_at(due)?))
}

/// What a start makes of the newest due time of a trigger that has passed in down time: by which policy, and how late it may be.
pub fn may_be_late(policies: &Policies, by: TriggeredBy) -> (CatchUpPolicy, SignedDuration) {
    let default = if by == TriggeredBy::At { CatchUpPolicy::Last } else { CatchUpPolicy::None };
    let policy = policies.catch_up.policy.unwrap_or(default);
    let length = if policy == CatchUpPolicy::None { policies.misfire_grace } else { policies.catch_up.within };
    let length = SignedDuration::try_from(length.0).unwrap_or(SignedDuration::MAX);
    // A timer is never exact.
    let least = if policy == CatchUpPolicy::None { SignedDuration::from_secs(1) } else { SignedDuration::ZERO };
    (policy, length.max(least))
}

/// The newest due time that has passed in down time, and that its blackout lets through: a start that comes soon runs it.
pub fn owed(job: &Job, facts: &Facts, now: Timestamp) -> Option<(Timestamp, TriggeredBy)> {
    let since = facts.down_since?;
    let handled = facts.memory.last_due.unwrap_or(since).max(since).max(job.first_loaded);
    let (anchor, closed) = (anchor(job, facts, now), job.closed());
    let mut until = now;
    for _ in 0..MOST_LOOKED_AT {
        let (due, by) = latest(&job.armed, anchor, until).filter(|(due, _)| *due > handled)?;
        if closed.as_ref().is_none_or(|closed| closed.reason_at(due).is_none()) {
            return Some((due, by));
        }
        until = due.checked_sub(SignedDuration::from_nanos(1)).ok()?;
    }
    None
}

/// Whether the next start would still run a due time that has passed in down time.
fn is_owed(job: &Job, facts: &Facts, now: Timestamp) -> bool {
    owed(job, facts, now).is_some_and(|(due, by)| now.duration_since(due) <= may_be_late(&job.spec.policies, by).1)
}

/// Whether all its due times lie behind.
fn is_done(job: &Job, facts: &Facts, now: Timestamp) -> bool {
    let has_an_end = !job.spec.triggers.is_empty() && job.spec.triggers.iter().all(Trigger::has_an_end);
    let has_none = || upcoming(&job.armed, anchor(job, facts, now), now, 1).is_empty();
    has_an_end && has_none() && !is_owed(job, facts, now)
}

/// After which time due times become runs again: no earlier than its pause and the rest of its breaker end. `None`: not at all.
fn rests_until(job: &Job, facts: &Facts, after: Timestamp) -> Option<Timestamp> {
    let just_before = |until: Timestamp| until.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(until);
    let mut at = match facts.paused {
        Some(None) => return None,
        Some(Some(until)) => after.max(just_before(until)),
        None => after,
    };
    // What failed later than that says nothing about it.
    if facts.memory.failed_at.is_some_and(|failed| failed <= after)
        && let BreakerState::Open { until, .. } = facts.breaker(job, after)
    {
        at = at.max(just_before(until));
    }
    Some(at)
}

/// The next due times of a job.
pub fn next_dues(job: &Job, facts: &Facts, after: Timestamp, count: usize) -> Vec<Timestamp> {
    let anchor = anchor(job, facts, after);
    let Some(mut at) = rests_until(job, facts, after) else { return Vec::new() };
    let Some(closed) = job.closed() else { return upcoming(&job.armed, anchor, at, count) };
    // What lies in a blackout is passed over, from its end on the next one is looked for; one that seems to have no end is not
    // looked at for ever.
    let mut found = Vec::new();
    let mut rests_since = None;
    for _ in 0..MOST_LOOKED_AT {
        let Some(due) = upcoming(&job.armed, anchor, at, 1).first().copied() else { break };
        at = due;
        if closed.reason_at(due).is_some() {
            let rests_since = *rests_since.get_or_insert(due);
            if due.duration_since(rests_since) > LONGEST_REST {
                break;
            }
            at = at.max(closed.changes_after(due, Timestamp::MAX) - SignedDuration::from_nanos(1));
            continue;
        }
        rests_since = None;
        found.push(due);
        if found.len() >= count {
            break;
        }
    }
    found
}

/// How many due times and blackouts of one job are looked at for those that are outside.
const MOST_LOOKED_AT: usize = 20_000;
/// A rest that lasts longer is one without an end: going through it day by day would take its time.
const LONGEST_REST: SignedDuration = SignedDuration::from_hours(50 * 366 * 24);

/// A job's entry in `list`.
pub fn entry(job: &Job, facts: &Facts, now: Timestamp) -> Value {
    let next = next_dues(job, facts, now, 1).first().copied();
    let context = TriggerContext::of(&job.name, &job.zone);
    let schedule: Vec<String> = job.spec.triggers.iter().flat_map(|trigger| trigger.written()).collect();
    let words: Vec<String> =
        job.spec.triggers.iter().map(|trigger| trigger.words(context)).filter(|words| !words.is_empty()).collect();
    let breaker = facts.breaker(job, now);
    let state = if job.is_stale() {
        "stale"
    } else if !job.spec.about.enabled {
        "disabled"
    } else if is_done(job, facts, now) {
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
        "paused_since": facts.paused_since.map(rfc3339),
        "state": state,
        "running": facts.running,
        "waiting": facts.waiting,
        "next_attempt": facts.next_attempt.map(|(attempt, at)| json!({ "attempt": attempt, "at": rfc3339(at) })),
        "breaker": breaker_words(breaker),
        "kind": if job.spec.files().is_some() { "watch" } else { "job" },
        "command": job.spec.action.words(),
        "schedule": schedule,
        "schedule_text": words.join("; "),
        "after": words_of(job, TriggeredBy::After),
        "files": words_of(job, TriggeredBy::Watch),
        "timezone": job.zone.iana_name().unwrap_or("UTC"),
        "next_run": next.map(rfc3339),
        "passed_over": passed_over_words(job, facts, now),
        "last_run": last_run(&facts.summary),
        "runs": facts.summary.runs,
        "failures": facts.summary.failures,
        "description": job.spec.about.description,
        "labels": job.spec.policies.labels,
        "error": error_text(&job.errors),
        "stale_since": job.stale_since.map(rfc3339),
    })
}

fn passed_over_words(job: &Job, facts: &Facts, after: Timestamp) -> Value {
    match passed_over(job, facts, after) {
        Some((due, reason)) => json!({ "due": rfc3339(due), "reason": reason }),
        None => Value::Null,
    }
}

/// When such a trigger makes it due, in words, where it has one: for which jobs it waits, or for which files.
fn words_of(job: &Job, triggered_by: TriggeredBy) -> Option<String> {
    let trigger = job.spec.triggers.iter().find(|trigger| trigger.triggered_by() == triggered_by)?;
    Some(trigger.words(TriggerContext::of(&job.name, &job.zone)))
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
        "paused_since": null,
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
        "files": null,
        "timezone": null,
        "next_run": null,
        "passed_over": null,
        "last_run": last_run(summary),
        "runs": summary.runs,
        "failures": summary.failures,
        "description": null,
        "labels": {},
        "error": error_text(&invalid.errors),
        "stale_since": null,
    })
}

/// How each limit and wall that a job asks for is kept.
fn limits(policies: &Policies, means: &Means) -> Value {
    let name = |pointer: &str| pointer.trim_start_matches('/').replace('/', ".");
    let of = |kept: Kept| {
        let is_kept = !matches!(kept.how, How::Not(_));
        json!({ "limit": name(kept.pointer), "kept": is_kept, "how": kept.how.to_string() })
    };
    kept(policies, means).into_iter().map(of).collect()
}

/// The entries that are asked for, by name.
pub fn list(generation: &Generation, now: Timestamp, query: &Query, facts_of: impl Fn(&str) -> Facts) -> Vec<Value> {
    let is_asked_for = |name: &str| query.job.as_deref().is_none_or(|job| job == name);
    let of_job = |job: &Job| {
        let facts = facts_of(&job.name);
        let mut entry = entry(job, &facts, now);
        if query.spec {
            entry["spec"] = Value::Object(without_sources(job.written()));
            // As this process can: a running runner answers for itself.
            entry["limits"] = limits(&job.spec.policies, Means::of_this_process());
        }
        if query.next > 0 {
            let from = query.from.unwrap_or(now);
            entry["next"] = next_dues(job, &facts, from, query.next).into_iter().map(rfc3339).collect();
            entry["passed_over"] = passed_over_words(job, &facts, from);
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

/// A spec with its secrets by name alone: where a secret is read from is nobody's business who only looks at the job.
fn without_sources(mut spec: Map<String, Value>) -> Map<String, Value> {
    if let Some(Value::Object(secrets)) = spec.get_mut("secrets") {
        secrets.values_mut().for_each(|source| *source = "***".into());
    }
    spec
}

/// The end record of the last run, as it stands in the log.
fn last_run(summary: &Summary) -> Option<Line> {
    summary.last.as_deref().map(|end| Line::End(end.clone()))
}

fn error_text(errors: &[Problem]) -> Option<String> {
    (!errors.is_empty()).then(|| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}
