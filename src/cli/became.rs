//! What became of a due time, in sentences: from the records, and from what a running runner has counted.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::asked::{Asked, Reason};
use super::error::CliError;
use super::output::{duration, times_in};
use super::recorded::{self, Found, Told};
use crate::model::{Gap, GapKind, RunId, TriggeredBy, rfc3339};
use crate::record::{End, GapLine, Start};
use crate::trigger::Armed;

/// How many runs and skips of one second are told one by one, besides the first.
const MOST_OTHERS: usize = 20;

impl Asked<'_> {
    /// What the records say about a moment that has passed.
    pub fn past(&self, reasons: &mut Vec<Reason>) -> Result<&'static str, CliError> {
        let due = self.due_before();
        let found = recorded::look(&self.known.layout, &self.name, (self.at, self.last), due.map(|(due, _)| due))?;
        let Found { covering, of_due, before, due_then } = found;
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
                self.others_then(&due_then, reasons);
                return Ok(verdict);
            }
            _ => of_due_or_later,
        };
        let verdict = match (&subject, due) {
            (Some(told), _) => self.told(told, reasons),
            (None, Some((due, by))) => self.untold(due, by, before.as_ref(), reasons),
            (None, None) => "unknown",
        };
        self.others_then(&due_then, reasons);
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
        let is_told = |after: &Timestamp| self.given && !self.is_disabled() && *after <= self.now && was_known(*after);
        if let Some(after) = self.due_after().filter(is_told) {
            let text = format!("The due time after it was {}.", self.time(after));
            reasons.push(Reason::new("after", text, json!({ "due": rfc3339(after) })));
        }
        if let Some(first) = first_loaded.filter(|first| subject.is_none() && self.given && *first > self.last) {
            let text = match self.status.is_none() && first >= self.now {
                true => "No runner knew the job then, and none has seen its file yet.".to_string(),
                false => format!("No runner knew the job then: one first saw its file at {}.", self.time(first)),
            };
            reasons.push(Reason::new("not_known", text, json!({ "first_loaded": rfc3339(first) })));
            return Ok("not_known");
        }
        Ok(verdict)
    }

    /// What else was due in the second that was named: of a job with several triggers, or of a chain, that may be much.
    fn others_then(&self, due_then: &[Told], reasons: &mut Vec<Reason>) {
        if !self.given {
            return;
        }
        let mut others: Vec<&Told> = due_then.iter().filter(|told| !told.stands_in(reasons)).collect();
        others.sort_by_key(|told| told.due());
        for told in others.iter().take(MOST_OTHERS) {
            self.told(told, reasons);
        }
        if let Some(more @ 1..) = others.len().checked_sub(MOST_OTHERS) {
            let text = format!("{more} more were due in that second: `runner history {}` shows them.", self.name);
            reasons.push(Reason::new("more", text, json!({ "count": more })));
        }
        let is_then = |time: Timestamp| self.at <= time && time <= self.last;
        for gap in self.known.counted.iter().filter(|gap| gap.job == self.name) {
            let about = about(&gap.reason);
            if (is_then(gap.due) || is_then(gap.until)) && !reasons.iter().any(|reason| reason.kind == about) {
                let (reason, cause) = (times_in(&gap.reason, &self.zone), cause(gap.triggered_by));
                let due = if is_then(gap.due) { gap.due } else { gap.until };
                let text = format!(
                    "Its due time {} ({cause}) was skipped: {reason}. It is counted, and written later.",
                    self.time(due)
                );
                let data = json!({ "due": rfc3339(due), "triggered_by": gap.triggered_by });
                reasons.push(Reason::new(about, text, data));
            }
        }
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
        let (due, cause, started) = (self.time(end.due), cause(end.triggered_by), self.time(end.started));
        let (status, took, run) = (end.status, duration(end.duration_ms), end.run);
        let text = if end.never_began() {
            let waited = duration(end.late_ms);
            format!(
                "It never began: due {due}, made due by {cause}, it waited {waited} and was cancelled {started}{error}. It is run {run}."
            )
        } else {
            format!(
                "It ran: due {due}, made due by {cause}, started {started}{late}, and ended{attempts} as {status} after {took}{error}. \
                 It is run {run}."
            )
        };
        let data = json!({
            "run": end.run, "status": end.status, "triggered_by": end.triggered_by, "due": rfc3339(end.due),
            "started": rfc3339(end.started), "ended": rfc3339(end.ended), "late_ms": end.late_ms, "attempt": end.attempt,
        });
        reasons.push(Reason::new("run", text, data));
        self.parents(&end.parents, reasons);
        if end.never_began() { "cancelled" } else { "ran" }
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
            let is_between = self.list("retrying").iter().any(|run| run["run"] == start.run.to_string());
            let stage = if is_between { "is active, between two attempts" } else { "is active" };
            let text = format!("Run {} {stage}: due {due}, made due by {cause}, started {started}.", start.run);
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
            Ok(Some(Told::Passed(..)) | None) | Err(_) => {
                let Some(waiting) = self.list("waiting").iter().find(|other| other["run"] == run.to_string()) else {
                    return;
                };
                let reason = self.waits_for(waiting);
                format!("Run {run} has not begun: it waits for {reason}, and counts as active meanwhile.")
            }
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
            let reason = self.waits_for(waiting);
            let text = format!("The run {run} that was due {when} waits for {reason}.");
            reasons.push(Reason::new("waiting", text, data));
            return "waiting";
        }
        if let Some(gap) = self.known.counted.iter().find(|gap| self.counts(gap, due)) {
            let reason = times_in(&gap.reason, &self.zone);
            // The first of a streak stands in a record of its own.
            let since = match before {
                Some(Told::Passed(_, first)) if first.reason == gap.reason => first.due,
                _ => gap.due,
            };
            let text = match recorded::same_instant(since, due) {
                true => format!("Its due time {when} was skipped: {reason}. It is counted, and written later."),
                false => format!(
                    "Its due time {when} was skipped, as those since {} were: {reason}. They are counted, and written as one line \
                     later.",
                    self.time(since)
                ),
            };
            reasons.push(Reason::new(about(&gap.reason), text, data));
            self.other_run(&gap.reason, reasons);
            return if gap.kind == GapKind::Skipped { "skipped" } else { "missed" };
        }
        if self.is_disabled() {
            return self.was_disabled(due, by, reasons);
        }
        match &self.status {
            None if self.last_sign().is_none_or(|sign| sign < due) => {
                let text = format!("Its due time {when} passed while no runner was running with these logs.");
                reasons.push(Reason::new("down", text, data));
                if self.at_next_start(reasons) == Some(due) { "awaits_start" } else { "missed" }
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

    /// Whether a counted streak has that due time. A streak has a first, a last and a number: where the file as it is now names
    /// another number of due times between them, it said otherwise then, and only these two are sure.
    fn counts(&self, gap: &Gap, due: Timestamp) -> bool {
        let ms = due.as_millisecond();
        let (first, last) = (gap.due.as_millisecond(), gap.until.as_millisecond());
        if gap.job != self.name || !(first..=last).contains(&ms) {
            return false;
        }
        let from = gap.due - SignedDuration::from_nanos(1);
        let until = gap.until + SignedDuration::from_micros(999);
        let anchor = self.anchor(gap.due);
        let of_trigger = self.armed().iter().filter(|(by, _)| *by == gap.triggered_by);
        let between = of_trigger.filter_map(|(_, armed)| match armed {
            Armed::Times(times) => times.count_between(from, until, anchor, gap.count.saturating_add(1)),
            Armed::AtStart | Armed::AtEnds(_) | Armed::AtFiles(_) => None,
        });
        ms == first || ms == last || between.map(|(count, _)| count).sum::<u64>() == gap.count
    }

    /// No record tells of a due time, and the file says that the triggers rest.
    fn was_disabled(&self, due: Timestamp, by: TriggeredBy, reasons: &mut Vec<Reason>) -> &'static str {
        let changed = self.file_changed();
        let when = format!("{} ({})", self.time(due), cause(by));
        let file = self.job.as_ref().map(|job| job.file.to_string()).unwrap_or_default();
        let since = changed.map(|changed| format!(", changed last {},", self.time(changed))).unwrap_or_default();
        let data = json!({ "due": rfc3339(due), "triggered_by": by, "file_changed": changed.map(rfc3339) });
        if changed.is_some_and(|changed| changed <= due) {
            let text = format!("It was disabled at {when}: {file}{since} says `enabled: false`, so its triggers rest.");
            reasons.push(Reason::new("disabled", text, data));
            return "disabled";
        }
        let text = format!("No record tells of its due time {when}. {file}{since} says `enabled: false`.");
        reasons.push(Reason::new("no_record", text, data));
        "unknown"
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
pub(super) fn about(reason: &str) -> &'static str {
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
