use std::process::ExitCode;

use clap::Args;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::Verb;
use super::ask::ask_if_running;
use super::asked::{Asked, Reason};
use super::became::about;
use super::context::Context;
use super::error::CliError;
use super::files::{Known, entries};
use super::output::{print, print_json, safe, times_in};
use crate::daemon::control::Request;
use crate::daemon::view::{self, Query};
use crate::engine::{latest, upcoming};
use crate::model::{Clock, JobName, rfc3339};
use crate::os::clock::SystemClock;

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

impl Verb for Why {
    fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let now = SystemClock.now();
        let at = self.at.as_deref().map(|text| super::moment::time(text, context)).transpose()?;
        let known = Known::in_force(context, Some(&self.job))?;
        let query = Query { job: Some(self.job.clone()), ..Query::default() };
        let entry = entries(context, query)?.into_iter().next();
        // The names of all jobs, to find the one that was probably meant.
        let no_such_job =
            || Known::in_force(context, None).map_or_else(|error| error, |known| known.no_such_job(&self.job));
        let name = JobName::new(&self.job).map_err(|_| no_such_job())?;
        if entry.is_none() && !known.layout.job(&name).is_dir() {
            return Err(no_such_job());
        }
        let status = ask_if_running(context, &Request::Status)?;
        let job = known.generation.job(&name).cloned();
        let moment = at.unwrap_or(now);
        // Who names a second means all of it.
        let is_whole = at.is_some() && moment.subsec_nanosecond() == 0;
        let last = if is_whole { moment + SignedDuration::from_millis(999) } else { moment };
        let zone = job.as_ref().map_or_else(|| known.zone.clone(), |job| job.zone.clone());
        // What a job that is disabled has left out is asked for by those who name a moment of the past.
        let rests = at.is_some_and(|at| at <= now);
        let armed = match &job {
            Some(job) if rests && !job.spec.about.enabled => job.spec.arm(&job.name, &job.zone),
            Some(job) => job.armed.to_vec(),
            None => Vec::new(),
        };
        let asked = Asked {
            armed,
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
            let lines: Vec<String> =
                reasons.iter().flat_map(|reason| reason.text.lines()).map(|line| safe(line) + "\n").collect();
            print(&lines.concat())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Asked<'_> {
    fn answer(&self) -> Result<(&'static str, Vec<Reason>), CliError> {
        let mut reasons = Vec::new();
        let is_future = self.at > self.now;
        let about = if is_future { self.coming(&mut reasons) } else { self.past(&mut reasons)? };
        let mut state = Vec::new();
        let blocked = self.blocked(&mut state);
        let verdict = match (blocked, about) {
            // What holds now says most about now and later; about the past the records do. Where there is no job, there is
            // nothing else to say.
            (Some(blocked), about)
                if !self.given || is_future || about == "unknown" && matches!(blocked, "gone" | "invalid") =>
            {
                state.append(&mut reasons);
                reasons = state;
                blocked
            }
            (_, about) => {
                if self.given && about == "unknown" && reasons.is_empty() {
                    reasons.push(unknown());
                }
                state.retain(|state| state.kind != "disabled" || about != "disabled");
                reasons.append(&mut state);
                about
            }
        };
        let verdict = match self.never(&mut reasons) {
            Some(never) if matches!(verdict, "unknown" | "not_due") => {
                // What never comes due needs no other reason.
                reasons.rotate_right(1);
                reasons.retain(|reason| reason.kind != "unknown");
                never
            }
            _ => verdict,
        };
        self.awaited(&mut reasons);
        self.runner(&mut reasons);
        self.next(&mut reasons);
        if let (Some(job), true) = (&self.job, self.given) {
            let words = super::clock_change::on_the_day_of(job, self.at);
            reasons.extend(words.into_iter().map(|text| Reason::new("clock_change", text, Value::Null)));
        }
        let verdict = match verdict {
            "unknown" if !self.given && reasons.iter().any(|reason| matches!(reason.kind, "next" | "blackout")) => {
                "not_yet"
            }
            verdict => verdict,
        };
        if reasons.is_empty() {
            reasons.push(unknown());
        }
        Ok((verdict, reasons))
    }

    /// Whether it is due at a moment that comes.
    fn coming(&self, reasons: &mut Vec<Reason>) -> &'static str {
        let at = self.time(self.at);
        let anchor = self.anchor(self.now);
        let due = upcoming(self.armed(), anchor, self.at - SignedDuration::from_nanos(1), 1);
        if let Some(due) = due.first().copied().filter(|due| *due <= self.last) {
            reasons.push(Reason::new("due", format!("It is due {}.", self.time(due)), json!({ "due": rfc3339(due) })));
            if let Some(reason) = self.job.as_ref().and_then(|job| job.closed()?.reason_at(due)) {
                let text = format!("It will be skipped: {}.", times_in(&reason, &self.zone));
                reasons.push(Reason::new(about(&reason), text, Value::Null));
                return "skipped";
            }
            return "due";
        }
        reasons.push(Reason::new("not_due", format!("It is not due at {at}."), Value::Null));
        if let Some(reason) = self.job.as_ref().and_then(|job| job.closed()?.reason_at(self.at)) {
            let text = format!("What is due at that time is skipped: {}.", times_in(&reason, &self.zone));
            reasons.push(Reason::new(about(&reason), text, Value::Null));
        }
        if let Some((before, _)) = latest(self.armed(), anchor, self.last) {
            let verb = if before > self.now { "is" } else { "was" };
            let text = format!("The due time before {verb} {}{}.", self.time(before), self.skip_words(before));
            reasons.push(Reason::new("before", text, json!({ "due": rfc3339(before) })));
        }
        if let Some(after) = due.first() {
            let text = format!("The due time after is {}{}.", self.time(*after), self.skip_words(*after));
            reasons.push(Reason::new("after", text, json!({ "due": rfc3339(*after) })));
        }
        "not_due"
    }

    fn next(&self, reasons: &mut Vec<Reason>) {
        if self.at > self.now {
            return;
        }
        let Some(job) = &self.job else { return };
        let facts = self.known.facts(&self.name);
        if let Some((due, reason)) = view::passed_over(job, &facts, self.now).filter(|_| !self.given) {
            let words = times_in(&reason, &self.zone);
            let text = format!("Its due time {}, which comes next, will be skipped: {words}.", self.time(due));
            reasons.push(Reason::new(about(&reason), text, json!({ "due": rfc3339(due) })));
        }
        if let Some(next) = view::next_dues(job, &facts, self.now, 1).first() {
            let text = format!("It is due next {}.", self.time(*next));
            reasons.push(Reason::new("next", text, json!({ "due": rfc3339(*next) })));
        }
    }
}

fn unknown() -> Reason {
    Reason::new("unknown", "Nothing is known of it at that time.", Value::Null)
}
