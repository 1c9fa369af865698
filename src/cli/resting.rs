//! What keeps a job from running by its triggers, in sentences: its state, what its runs wait for, that nothing is due any more.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::asked::{Asked, Reason};
use super::recorded;
use crate::engine::upcoming;
use crate::model::{JobName, Parent, TriggeredBy, count, rfc3339};
use crate::trigger::{self, Armed, Parents, Trigger};

impl Asked<'_> {
    /// What keeps the job from running by its triggers now, the most important first.
    pub fn blocked(&self, reasons: &mut Vec<Reason>) -> Option<&'static str> {
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
        let broken = match error.contains("the folder's defaults are broken") {
            true => "The `_defaults.yaml` of a folder that it is in is broken",
            false => "Its file is broken",
        };
        if entry["state"] == "invalid" {
            let text = format!("{broken}, and there is no version of it that could run: {error}");
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
            let since: Option<Timestamp> = entry["paused_since"].as_str().and_then(|since| since.parse().ok());
            let skipped = recorded::since(&self.known.layout, &self.name, "paused", self.now);
            let since_words = match (since, skipped) {
                (Some(since), _) => format!(" It has been so since {}.", self.time(since)),
                (None, Some(since)) => format!(" Its due times have been skipped since {}.", self.time(since)),
                (None, None) => String::new(),
            };
            let text = format!("It is paused {end}.{since_words}");
            let data = json!({
                "until": until.map(rfc3339), "since": since.map(rfc3339), "skipped_since": skipped.map(rfc3339),
            });
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
            let since = self.job.as_ref().and_then(|job| job.stale_since);
            let words = match (since, self.file_changed()) {
                (Some(since), _) => format!("{broken} since {}", self.time(since)),
                (None, Some(changed)) if broken.starts_with("Its file") => {
                    format!("Its file, changed last {}, is broken", self.time(changed))
                }
                (None, _) => broken.into(),
            };
            let text = format!("{words}, and its last good version is in force: {error}");
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
            let reason = self.waits_for(run);
            let id = run["run"].as_str().unwrap_or_default();
            let text = format!("Run {id}, due {}, waits for {reason}.", due.unwrap_or_default());
            reasons.push(Reason::new(
                "waiting",
                text,
                json!({ "run": run["run"], "due": run["due"], "for": run["for"], "until": run["until"] }),
            ));
            verdict = Some("waiting");
        }
        verdict
    }

    /// Why no due time comes by the clock.
    pub fn never(&self, reasons: &mut Vec<Reason>) -> Option<&'static str> {
        let job = self.job.as_ref().filter(|job| job.spec.about.enabled)?;
        // Judged by now, whatever moment is asked for: what comes is not over.
        if !upcoming(self.armed(), self.anchor(self.now), self.now, 1).is_empty() {
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

    /// Which of the ends that its chain needs have come, and which are awaited.
    pub fn awaited(&self, reasons: &mut Vec<Reason>) {
        if self.given && self.at <= self.now {
            return;
        }
        let parents = self.armed().iter().find_map(|(_, armed)| match armed {
            Armed::AtEnds(chain) => match &chain.parents {
                Parents::All(parents) => Some(parents.clone()),
                Parents::Any(_) => None,
            },
            _ => None,
        });
        let Some(parents) = parents.filter(|parents| parents.len() > 1) else { return };
        let there = self.known.facts(&self.name).arrived;
        let is_there = |parent: &&JobName| there.iter().any(|(there, _)| there.job == **parent);
        let missing: Vec<&str> = parents.iter().filter(|parent| !is_there(parent)).map(JobName::as_str).collect();
        let (names, verb) = (missing.join(", "), if missing.len() == 1 { "is" } else { "are" });
        let words = |(parent, at): &(Parent, Timestamp)| {
            format!("{} (run {}, {}, {})", parent.job, parent.run, parent.status, self.time(*at))
        };
        let came = if there.len() == 1 { "has come" } else { "have come" };
        let text = match there.is_empty() {
            true => format!("None of these ends has come since it ran last: {names} {verb} awaited."),
            false => {
                let there: Vec<String> = there.iter().map(words).collect();
                format!("Of these ends {} {came}, {names} {verb} awaited.", there.join(", "))
            }
        };
        let there: Vec<Value> = there
            .iter()
            .map(|(parent, at)| json!({ "job": parent.job, "run": parent.run, "status": parent.status, "at": rfc3339(*at) }))
            .collect();
        reasons.push(Reason::new("awaits", text, json!({ "arrived": there, "awaited": missing })));
    }

    /// That no runner is there, where it matters.
    pub fn runner(&self, reasons: &mut Vec<Reason>) {
        if self.given && self.at <= self.now {
            return;
        }
        if let Some(status) = &self.status {
            if status["stopping"] == true {
                let text = "The runner is stopping: no other run begins until it is started again.";
                reasons.push(Reason::new("stopping", text, Value::Null));
            }
            return;
        }
        let sign = self.last_sign();
        let words = sign.map(|sign| format!(" The last sign of life of one is of {}.", self.time(sign)));
        let text =
            format!("No runner is running with these logs: nothing runs by itself.{}", words.unwrap_or_default());
        reasons.push(Reason::new("no_runner", text, json!({ "since": sign.map(rfc3339) })));
    }
}
