use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Verb;
use super::ask::ask_if_running;
use super::context::Context;
use super::error::CliError;
use super::files::{Known, entries};
use super::output::{duration, local_with_zone, print, print_json, safe, times_in};
use super::recorded::{self, Found, Told};
use crate::catalog::Job;
use crate::daemon::control::Request;
use crate::daemon::view::Query;
use crate::engine::simulate::grid_back;
use crate::engine::{latest, upcoming};
use crate::model::{Clock, GapKind, JobName, RunId, TriggeredBy, count, rfc3339};
use crate::os::clock::SystemClock;
use crate::record::{End, GapLine, Start};
use crate::trigger::{self, Armed, Trigger};

#[derive(Debug, Args)]
pub(super) struct Why {
    /// The job's name
    job: String,
    /// The moment that is meant, such as 2026-12-24T18:00:00 (in the runner's zone) or 2026-12-24T17:00:00Z; default: now
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

/// One thing that is known about the moment.
#[derive(Debug, Serialize)]
struct Reason {
    kind: &'static str,
    text: String,
    #[serde(flatten)]
    data: Map<String, Value>,
}

impl Reason {
    fn new(kind: &'static str, text: impl Into<String>, data: Value) -> Self {
        let data = if let Value::Object(map) = data { map } else { Map::new() };
        Self { kind, text: text.into(), data }
    }
}

impl Verb for Why {
    fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let now = SystemClock.now();
        let at = self.at.as_deref().map(|text| super::next::time(text, context)).transpose()?;
        let known = Known::read(context)?;
        let query = Query { job: Some(self.job.clone()), ..Query::default() };
        let entry = entries(context, query)?.into_iter().next();
        let name = JobName::new(&self.job).map_err(|_| known.no_such_job(&self.job))?;
        if entry.is_none() && !known.layout.job(&name).is_dir() {
            return Err(known.no_such_job(&self.job));
        }
        let status = ask_if_running(context, &Request::Status)?;
        let job = known.generation.job(&name).cloned();
        let moment = at.unwrap_or(now);
        // Who names a second means all of it.
        let is_whole = at.is_some() && moment.subsec_nanosecond() == 0;
        let last = if is_whole { moment + SignedDuration::from_millis(999) } else { moment };
        let zone = job.as_ref().map_or_else(|| context.zone(), |job| job.zone.clone());
        let asked = Asked {
            context,
            known: &known,
            name,
            job,
            entry,
            status,
            at: moment,
            last,
            now,
            given: at.is_some(),
            zone,
        };
        let (verdict, reasons) = asked.answer()?;
        if self.json {
            let at = rfc3339(moment);
            print_json(&json!({ "job": self.job, "at": at, "verdict": verdict, "reasons": reasons }))?;
        } else {
            let lines: Vec<String> = reasons.iter().map(|reason| safe(&reason.text) + "\n").collect();
            print(&lines.concat())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The question, and all that is known.
struct Asked<'a> {
    context: &'a Context,
    known: &'a Known,
    name: JobName,
    /// As its file is now.
    job: Option<Arc<Job>>,
    /// As `list` has it; absent where the file is gone.
    entry: Option<Value>,
    /// Of the running runner.
    status: Option<Value>,
    at: Timestamp,
    last: Timestamp,
    now: Timestamp,
    /// Whether a moment was named.
    given: bool,
    zone: TimeZone,
}

impl Asked<'_> {
    fn answer(&self) -> Result<(&'static str, Vec<Reason>), CliError> {
        let mut reasons = Vec::new();
        let is_future = self.at > self.now;
        let about = if is_future { self.coming(&mut reasons) } else { self.past(&mut reasons)? };
        let mut state = Vec::new();
        let blocked = self.blocked(&mut state);
        let verdict = match (blocked, about) {
            // What holds now says most about now and later; about the past the records do.
            (Some(blocked), about) if !self.given || is_future || about == "unknown" => {
                state.append(&mut reasons);
                reasons = state;
                blocked
            }
            (_, about) => {
                reasons.append(&mut state);
                about
            }
        };
        let verdict = match self.never(&mut reasons) {
            Some(never) if matches!(verdict, "unknown" | "not_due") => {
                // What never comes due needs no other reason.
                reasons.rotate_right(1);
                never
            }
            _ => verdict,
        };
        self.runner(&mut reasons);
        self.next(&mut reasons);
        if let (Some(job), true) = (&self.job, self.given) {
            let words = super::clock_change::on_the_day_of(job, self.at);
            reasons.extend(words.into_iter().map(|text| Reason::new("clock_change", text, Value::Null)));
        }
        let verdict = match verdict {
            "unknown" if reasons.iter().any(|reason| reason.kind == "next") && !self.given => "not_yet",
            verdict => verdict,
        };
        if reasons.is_empty() {
            reasons.push(Reason::new("unknown", "Nothing is known of it at that time.", Value::Null));
        }
        Ok((verdict, reasons))
    }

    fn time(&self, time: Timestamp) -> String {
        local_with_zone(time, &self.zone)
    }

    fn armed(&self) -> &[(TriggeredBy, Armed)] {
        self.job.as_ref().map(|job| &*job.armed).unwrap_or_default()
    }

    /// Where the grid of its interval begins, as far as due times after `from` are concerned.
    fn anchor(&self, from: Timestamp) -> Timestamp {
        let Some(job) = &self.job else { return from };
        let shift = trigger::spread(&job.name, job.spec.policies.jitter);
        let anchor = trigger::anchor(job.first_loaded, self.known.facts(&self.name).memory.interval_due, shift);
        // Far enough back that the due time before it lies on the grid as well.
        let earlier = |anchor| grid_back(self.armed(), anchor, from.min(anchor));
        earlier(anchor).and_then(earlier).unwrap_or(anchor)
    }

    /// The last due time at the moment, by the file as it is now, since the job is known.
    fn due_before(&self) -> Option<(Timestamp, TriggeredBy)> {
        let job = self.job.as_ref()?;
        latest(self.armed(), self.anchor(self.at), self.last).filter(|(due, _)| *due > job.first_loaded)
    }

    fn due_after(&self) -> Option<Timestamp> {
        upcoming(self.armed(), self.anchor(self.at), self.last, 1).first().copied()
    }

    /// What the records say about a moment that has passed.
    fn past(&self, reasons: &mut Vec<Reason>) -> Result<&'static str, CliError> {
        let due = self.due_before();
        let found = recorded::look(&self.known.layout, &self.name, (self.at, self.last), due.map(|(due, _)| due))?;
        let Found { covering, of_due, before } = found;
        let is_exact = self.given && due.is_some_and(|(due, _)| due >= self.at);
        let of_due_or_later = match (&of_due, &before) {
            (Some(of_due), Some(before)) if before.due() > of_due.due() => Some(before.clone()),
            (None, Some(before)) if due.is_none_or(|(due, _)| before.due() > due) => Some(before.clone()),
            _ => of_due.clone(),
        };
        let subject = match (is_exact, covering) {
            (true, _) if of_due.is_some() => of_due,
            (_, Some(covering)) => {
                let verdict = self.told(&covering, reasons);
                // What it kept from running is told as well.
                let mut others = Vec::new();
                match (&of_due, due) {
                    (Some(later @ Told::Passed(..)), _) if later.due() > covering.due() => {
                        self.told(later, &mut others);
                    }
                    (None, Some((due, by))) if due > covering.due() => {
                        self.untold(due, by, before.as_ref(), &mut others);
                    }
                    _ => {}
                }
                reasons.extend(others.into_iter().filter(|reason| reason.kind != "no_record"));
                return Ok(verdict);
            }
            _ => of_due_or_later,
        };
        let verdict = match (&subject, due) {
            (Some(told), _) => self.told(told, reasons),
            (None, Some((due, by))) => self.untold(due, by, before.as_ref(), reasons),
            (None, None) => "unknown",
        };
        let nearest = subject.as_ref().map(Told::due).or(due.map(|(due, _)| due));
        if let Some(nearest) = nearest.filter(|nearest| self.given && *nearest < self.at) {
            let text = format!(
                "It was not due at {} itself: the due time before was {}.",
                self.time(self.at),
                self.time(nearest)
            );
            reasons.push(Reason::new("before", text, json!({ "due": rfc3339(nearest) })));
        }
        let first_loaded = self.job.as_ref().map(|job| job.first_loaded);
        let was_known = |time: Timestamp| first_loaded.is_some_and(|first| first < time);
        if let Some(after) = self.due_after().filter(|after| self.given && *after <= self.now && was_known(*after)) {
            let text = format!("The due time after it was {}.", self.time(after));
            reasons.push(Reason::new("after", text, json!({ "due": rfc3339(after) })));
        }
        if let Some(first) = first_loaded.filter(|first| subject.is_none() && self.given && *first > self.last) {
            let text = format!("No runner knew the job then: one first saw its file at {}.", self.time(first));
            reasons.push(Reason::new("not_known", text, json!({ "first_loaded": rfc3339(first) })));
            return Ok("not_known");
        }
        Ok(verdict)
    }

    fn told(&self, told: &Told, reasons: &mut Vec<Reason>) -> &'static str {
        match told {
            Told::Ran(end) => self.ran(end, reasons),
            Told::Started(start) => self.started(start, reasons),
            Told::Passed(kind, gap) => self.passed(*kind, gap, reasons),
        }
    }

    fn ran(&self, end: &End, reasons: &mut Vec<Reason>) -> &'static str {
        let late = if end.late_ms >= 1_000 { format!(", {} late", duration(end.late_ms)) } else { String::new() };
        let attempts = if end.attempt > 1 { format!(" at attempt {}", end.attempt) } else { String::new() };
        let error = end.error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
        let text = format!(
            "It ran: due {}, made due by {}, started {}{late}, and ended{attempts} as {} after {}{error}. It is run {}.",
            self.time(end.due),
            cause(end.triggered_by),
            self.time(end.started),
            end.status,
            duration(end.duration_ms),
            end.run,
        );
        let data = json!({
            "run": end.run, "status": end.status, "triggered_by": end.triggered_by, "due": rfc3339(end.due),
            "started": rfc3339(end.started), "ended": rfc3339(end.ended), "late_ms": end.late_ms, "attempt": end.attempt,
        });
        reasons.push(Reason::new("run", text, data));
        self.parents(&end.parents, reasons);
        "ran"
    }

    fn parents(&self, parents: &[crate::model::Parent], reasons: &mut Vec<Reason>) {
        for parent in parents {
            let text = format!("It followed {}, whose run {} ended as {}.", parent.job, parent.run, parent.status);
            let data = json!({ "job": parent.job, "run": parent.run, "status": parent.status });
            reasons.push(Reason::new("parent", text, data));
        }
    }

    fn started(&self, start: &Start, reasons: &mut Vec<Reason>) -> &'static str {
        let data = json!({
            "run": start.run, "triggered_by": start.triggered_by, "due": rfc3339(start.due),
            "started": rfc3339(start.started), "attempt": start.attempt,
        });
        let (due, started, cause) = (self.time(start.due), self.time(start.started), cause(start.triggered_by));
        let verdict = if self.status.is_some() {
            let text = format!("Run {} is active: due {due}, made due by {cause}, started {started}.", start.run);
            reasons.push(Reason::new("running", text, data));
            "running"
        } else {
            let text = format!(
                "Run {} started {started}, due {due}, made due by {cause}, and has no end: its runner ended before it did. The next \
                 start records it as interrupted.",
                start.run
            );
            reasons.push(Reason::new("cut_short", text, data));
            "ran"
        };
        self.parents(&start.parents, reasons);
        verdict
    }

    fn passed(&self, kind: GapKind, gap: &GapLine, reasons: &mut Vec<Reason>) -> &'static str {
        let verdict = if kind == GapKind::Skipped { "skipped" } else { "missed" };
        let about = about(&gap.reason);
        let times = match gap.count {
            1 => format!("Its due time {}", self.time(gap.due)),
            many => format!("Its {} due times from {} to {}", many, self.time(gap.due), self.time(gap.until)),
        };
        let verb = if gap.count == 1 { "was" } else { "were" };
        let reason = times_in(&gap.reason, &self.zone);
        let text = format!("{times} ({}) {verb} {verdict}: {reason}.", cause(gap.triggered_by));
        let data = json!({
            "reason": gap.reason, "triggered_by": gap.triggered_by, "due": rfc3339(gap.due), "until": rfc3339(gap.until),
            "count": gap.count, "what": verdict,
        });
        reasons.push(Reason::new(about, text, data));
        self.other_run(&gap.reason, reasons);
        verdict
    }

    /// The run that was in the way, with its times.
    fn other_run(&self, reason: &str, reasons: &mut Vec<Reason>) {
        let Some(run) = reason.split([' ', ',']).find_map(|word| word.parse::<RunId>().ok()) else { return };
        let text = match recorded::of_run(&self.known.layout, &self.name, run) {
            Ok(Some(Told::Ran(end))) => {
                format!(
                    "Run {run} was active from {} to {} ({}).",
                    self.time(end.started),
                    self.time(end.ended),
                    end.status
                )
            }
            Ok(Some(Told::Started(start))) => format!("Run {run} has been active since {}.", self.time(start.started)),
            Ok(Some(Told::Passed(..)) | None) | Err(_) => return,
        };
        reasons.push(Reason::new("other_run", text, json!({ "run": run })));
    }

    /// A due time that no record tells of.
    fn untold(
        &self,
        due: Timestamp,
        by: TriggeredBy,
        before: Option<&Told>,
        reasons: &mut Vec<Reason>,
    ) -> &'static str {
        let when = format!("{} ({})", self.time(due), cause(by));
        let data = json!({ "due": rfc3339(due), "triggered_by": by });
        let is_due = |value: &Value| {
            let time = value["due"].as_str().and_then(|due| due.parse().ok());
            value["job"] == self.name.as_str() && time.is_some_and(|time| recorded::same_instant(time, due))
        };
        if let Some(waiting) = self.list("waiting").iter().find(|run| is_due(run)) {
            let run = waiting["run"].as_str().unwrap_or_default();
            let text = format!("The run {run} that was due {when} waits for its turn.");
            reasons.push(Reason::new("waiting", text, data));
            return "waiting";
        }
        let counted = crate::daemon::counted(&self.known.layout.pending());
        if let Some(gap) = counted.iter().find(|gap| gap.job == self.name && gap.due <= due && due <= gap.until) {
            let reason = times_in(&gap.reason, &self.zone);
            reasons.push(Reason::new(about(&gap.reason), format!("Its due time {when} was skipped: {reason}."), data));
            return "skipped";
        }
        match (&self.status, before) {
            (None, _) if self.last_sign().is_none_or(|sign| sign < due) => {
                let text = format!("Its due time {when} passed while no runner was running with these logs.");
                reasons.push(Reason::new("down", text, data));
                "missed"
            }
            (Some(_), Some(Told::Passed(GapKind::Skipped, gap))) => {
                let reason = times_in(&gap.reason, &self.zone);
                let text = format!(
                    "Its due time {when} was skipped, as those since {} were: {reason}. They are counted, and written as one line \
                     later.",
                    self.time(gap.due)
                );
                reasons.push(Reason::new(about(&gap.reason), text, data));
                self.other_run(&gap.reason, reasons);
                "skipped"
            }
            _ => {
                let text = format!(
                    "No record tells of its due time {when}. Its file may have said otherwise then, or its records do not go back \
                     that far."
                );
                reasons.push(Reason::new("no_record", text, data));
                "unknown"
            }
        }
    }

    fn list(&self, key: &str) -> &[Value] {
        self.status.as_ref().and_then(|status| status[key].as_array()).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether it is due at a moment that comes.
    fn coming(&self, reasons: &mut Vec<Reason>) -> &'static str {
        let at = self.time(self.at);
        let anchor = self.anchor(self.now);
        let due = upcoming(self.armed(), anchor, self.at - SignedDuration::from_nanos(1), 1);
        if let Some(due) = due.first().copied().filter(|due| *due <= self.last) {
            reasons.push(Reason::new("due", format!("It is due {}.", self.time(due)), json!({ "due": rfc3339(due) })));
            if let Some(reason) = self.job.as_ref().and_then(|job| job.closed.as_ref()?.reason_at(due)) {
                let text = format!("It will be skipped: {}.", times_in(&reason, &self.zone));
                reasons.push(Reason::new(about(&reason), text, Value::Null));
                return "skipped";
            }
            return "due";
        }
        reasons.push(Reason::new("not_due", format!("It is not due at {at}."), Value::Null));
        if let Some((before, _)) = latest(self.armed(), anchor, self.last) {
            let verb = if before > self.now { "is" } else { "was" };
            let text = format!("The due time before {verb} {}.", self.time(before));
            reasons.push(Reason::new("before", text, json!({ "due": rfc3339(before) })));
        }
        if let Some(after) = due.first() {
            let text = format!("The due time after is {}.", self.time(*after));
            reasons.push(Reason::new("after", text, json!({ "due": rfc3339(*after) })));
        }
        "not_due"
    }

    /// What keeps the job from running by its triggers now, the most important first.
    fn blocked(&self, reasons: &mut Vec<Reason>) -> Option<&'static str> {
        let Some(entry) = &self.entry else {
            reasons.push(Reason::new(
                "gone",
                "There is no file for it any more: only its records are left.",
                Value::Null,
            ));
            return Some("gone");
        };
        let error = entry["error"].as_str().unwrap_or_default();
        let mut verdict = None;
        if entry["state"] == "invalid" {
            let text = format!("Its file is broken, and there is no version of it that could run: {error}");
            reasons.push(Reason::new("invalid", text, json!({ "error": error })));
            return Some("invalid");
        }
        if entry["enabled"] == false {
            let file = entry["file"].as_str().unwrap_or_default();
            let text = format!("It is disabled: {file} says `enabled: false`, so its triggers rest.");
            reasons.push(Reason::new("disabled", text, Value::Null));
            verdict = verdict.or(Some("disabled"));
        }
        let until: Option<Timestamp> = entry["paused_until"].as_str().and_then(|until| until.parse().ok());
        if entry["paused"] == true && until.is_none_or(|until| until > self.at) {
            let end = until.map_or("until it is resumed".into(), |until| format!("until {}", self.time(until)));
            let since = recorded::since(&self.known.layout, &self.name, "paused", self.now);
            let since_words =
                since.map(|since| format!("; its due times have been skipped since {}", self.time(since)));
            let text = format!("It is paused {end}{}.", since_words.unwrap_or_default());
            let data = json!({ "until": until.map(rfc3339), "skipped_since": since.map(rfc3339) });
            reasons.push(Reason::new("paused", text, data));
            verdict = verdict.or(Some("paused"));
        }
        let breaker = &entry["breaker"];
        let until: Option<Timestamp> = breaker["until"].as_str().and_then(|until| until.parse().ok());
        if let Some(until) = until.filter(|until| *until > self.at) {
            let failed = breaker["failed_in_row"].as_u64().unwrap_or(0);
            let text = format!(
                "Its breaker is open until {}, after {} in a row: due times until then are skipped.",
                self.time(until),
                count(failed, "failed run")
            );
            let data = json!({ "until": rfc3339(until), "failed_in_row": failed });
            reasons.push(Reason::new("breaker", text, data));
            verdict = verdict.or(Some("breaker"));
        }
        if self.at <= self.now && !self.given {
            verdict = verdict.or(self.waits(entry, reasons));
        }
        if entry["state"] == "stale" {
            let since = self.broken_since();
            let since_words = since.map(|since| format!(" since {}", self.time(since))).unwrap_or_default();
            let text = format!("Its file is broken{since_words}, and its last good version is in force: {error}");
            reasons.push(Reason::new("stale", text, json!({ "since": since.map(rfc3339), "error": error })));
        }
        verdict
    }

    /// Runs that wait now: for their turn, or for their next attempt.
    fn waits(&self, entry: &Value, reasons: &mut Vec<Reason>) -> Option<&'static str> {
        let mut verdict = None;
        let at = entry["next_attempt"]["at"].as_str().and_then(|at| at.parse().ok());
        if let (Some(attempt), Some(at)) = (entry["next_attempt"]["attempt"].as_u64(), at) {
            let text = format!("A run waits for its next attempt, number {attempt}, which begins {}.", self.time(at));
            reasons.push(Reason::new("retrying", text, json!({ "attempt": attempt, "until": rfc3339(at) })));
            verdict = Some("waiting");
        }
        for run in self.list("waiting").iter().filter(|run| run["job"] == self.name.as_str()) {
            let due = run["due"].as_str().and_then(|due| due.parse().ok()).map(|due| self.time(due));
            let reason = match (entry["running"].as_u64().unwrap_or(0), self.pool()) {
                (1.., _) => "for an active run of the job to end".to_string(),
                (0, Some(pool)) => format!("for a place in the pool {pool}, or among all runs"),
                (0, None) => "for a place among all runs (max_concurrent_runs)".to_string(),
            };
            let id = run["run"].as_str().unwrap_or_default();
            let text = format!("Run {id}, due {}, waits {reason}.", due.unwrap_or_default());
            reasons.push(Reason::new("waiting", text, json!({ "run": run["run"], "due": run["due"] })));
            verdict = Some("waiting");
        }
        verdict
    }

    fn pool(&self) -> Option<String> {
        self.job.as_ref()?.spec.policies.pool.clone()
    }

    /// When the file that is broken was changed last.
    fn broken_since(&self) -> Option<Timestamp> {
        let path = &self.job.as_ref()?.errors.first()?.path;
        let changed = std::fs::metadata(self.context.paths.directory.join(path)).ok()?.modified().ok()?;
        Timestamp::try_from(changed).ok()
    }

    /// Why no due time comes by the clock.
    fn never(&self, reasons: &mut Vec<Reason>) -> Option<&'static str> {
        let job = self.job.as_ref().filter(|job| job.spec.about.enabled)?;
        if self.due_after().is_some() {
            return None;
        }
        let words = |by: TriggeredBy| {
            let of_kind = job.spec.triggers.iter().find(|trigger| trigger.triggered_by() == by)?;
            Some(of_kind.words(trigger::TriggerContext::of(&job.name, &job.zone))).filter(|words| !words.is_empty())
        };
        let others: Vec<String> = [TriggeredBy::After, TriggeredBy::Start].into_iter().filter_map(words).collect();
        let has_times = self.armed().iter().any(|(_, armed)| matches!(armed, Armed::Times(_)));
        let (kind, text) = if job.spec.is_manual() {
            ("by_hand", "It has no trigger: it runs by hand only.".to_string())
        } else if !others.is_empty() {
            ("not_by_the_clock", format!("Its triggers name no further time: it runs {}.", others.join(", and ")))
        } else if has_times && job.spec.triggers.iter().all(Trigger::has_an_end) {
            let at = upcoming(self.armed(), self.at, Timestamp::MIN, 1).first().map(|due| self.time(*due));
            ("done", format!("It is done: its one due time was {}.", at.unwrap_or_default()))
        } else if has_times {
            ("no_further_date", "Its triggers name no further time.".to_string())
        } else {
            return None;
        };
        reasons.push(Reason::new(kind, text, Value::Null));
        Some(kind)
    }

    /// That no runner is there, where it matters.
    fn runner(&self, reasons: &mut Vec<Reason>) {
        if self.status.is_some() || self.given && self.at <= self.now {
            return;
        }
        let sign = self.last_sign();
        let words = sign.map(|sign| format!(" since {}", self.time(sign))).unwrap_or_default();
        let text = format!("No runner is running with these logs{words}: nothing runs by itself.");
        reasons.push(Reason::new("no_runner", text, json!({ "since": sign.map(rfc3339) })));
    }

    fn last_sign(&self) -> Option<Timestamp> {
        let changed = std::fs::metadata(self.known.layout.lock()).ok()?.modified().ok()?;
        Timestamp::try_from(changed).ok()
    }

    fn next(&self, reasons: &mut Vec<Reason>) {
        if self.at > self.now {
            return;
        }
        let Some(job) = &self.job else { return };
        let facts = self.known.facts(&self.name);
        if let Some(next) = crate::daemon::view::next_dues(job, &facts, self.now, 1).first() {
            let text = format!("It is due next {}.", self.time(*next));
            reasons.push(Reason::new("next", text, json!({ "due": rfc3339(*next) })));
        }
    }
}

/// What made a run due, in words.
fn cause(by: TriggeredBy) -> &'static str {
    match by {
        TriggeredBy::Cron => "its schedule",
        TriggeredBy::Interval => "its interval",
        TriggeredBy::At => "its `at`",
        TriggeredBy::Start => "the runner's start",
        TriggeredBy::Watch => "a file",
        TriggeredBy::After => "the end of other jobs",
        TriggeredBy::Webhook => "a webhook",
        TriggeredBy::Manual => "a person",
        TriggeredBy::CatchUp => "catching up",
        TriggeredBy::Replay => "a replay",
        TriggeredBy::Rerun => "a rerun",
    }
}

/// What a reason in a record is about, in a word.
fn about(reason: &str) -> &'static str {
    const WORDS: [(&str, &str); 12] = [
        ("paused", "paused"),
        ("blackout", "blackout"),
        ("breaker ", "breaker"),
        ("queue full", "queue_full"),
        ("replaced by run", "replaced"),
        ("the chain came back", "chain"),
        ("the runner was down", "down"),
        ("the runner was killed", "down"),
        ("the runner stopped", "stopped"),
        ("the runner is stopping", "stopped"),
        ("the job was removed", "removed"),
        ("it was handled late", "late"),
    ];
    let late = ["handled later", "several due times had passed"];
    match WORDS.iter().find(|(begin, _)| reason.starts_with(begin)) {
        Some((_, word)) => word,
        None if reason.contains("still active") => "overlap",
        None if late.iter().any(|begin| reason.starts_with(begin)) => "late",
        None => "other",
    }
}
