use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Verb;
use super::context::Context;
use super::error::CliError;
use super::files::{entries, no_such_job};
use super::moment::Named;
use super::output::{local_with_zone, print, print_json, safe, times_in};
use crate::daemon::view::Query;

#[derive(Debug, Args)]
pub(super) struct Next {
    /// The job; all jobs where none is named
    job: Option<String>,
    /// How many due times to show
    #[arg(short = 'n', long = "count", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// Due times after this time, such as 2026-12-24T18:00:00 (in the runner's zone) or 2026-12-24T17:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

impl Verb for Next {
    fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let from = self.from.as_deref().map(|text| Named::read(text, context)).transpose()?;
        // Due times after it are shown; what is due at the end of a gap comes after a time inside it.
        let from = from.map(|from| if from.is_in_gap { from.at - SignedDuration::from_nanos(1) } else { from.at });
        let count = self.count as usize;
        let entries = entries(context, Query { job: self.job.clone(), spec: false, next: count, from })?;
        if let Some(job) = &self.job
            && entries.is_empty()
        {
            return Err(no_such_job(context, job));
        }
        let mut dues: Vec<(Timestamp, &str, &str)> = Vec::new();
        for entry in &entries {
            let name = entry["name"].as_str().unwrap_or_default();
            let zone = entry["timezone"].as_str().unwrap_or("UTC");
            let times = entry["next"].as_array().into_iter().flatten().filter_map(Value::as_str);
            dues.extend(times.filter_map(|text| Some((text.parse().ok()?, name, zone))));
        }
        dues.sort();
        dues.truncate(count);
        say_notes(&entries, self.job.is_some(), context);
        if self.json {
            let dues: Vec<Value> =
                dues.iter().map(|(due, job, _)| json!({ "job": job, "due": crate::model::rfc3339(*due) })).collect();
            print_json(&dues)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut text = String::new();
        for (due, job, zone) in dues {
            let zone = jiff::tz::TimeZone::get(zone).unwrap_or(jiff::tz::TimeZone::UTC);
            text.push_str(&format!("{}  {job}\n", local_with_zone(due, &zone)));
        }
        if text.is_empty() {
            text.push_str("nothing comes due\n");
        }
        print(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What due times do not tell: on standard error, for one job in words, for many by their names.
fn say_notes(entries: &[Value], is_one: bool, context: &Context) {
    let mut kinds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for entry in entries {
        let name = entry["name"].as_str().unwrap_or_default();
        let notes = notes(entry);
        if is_one {
            for (_, words) in notes {
                anstream::eprintln!("note: {} {}", safe(name), times_in(&words, &context.zone()));
            }
        } else {
            notes.into_iter().filter_map(|(kind, _)| kind).for_each(|kind| kinds.entry(kind).or_default().push(name));
        }
    }
    for (kind, names) in kinds {
        let more = names.len().saturating_sub(MOST_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let names = &names[..names.len().min(MOST_NAMED)];
        anstream::eprintln!("note: {kind}: {}{more}", safe(&names.join(", ")));
    }
}

const MOST_NAMED: usize = 10;

/// What is to be said of a job: of many jobs in one line each kind, if that matters among many; and of it alone.
fn notes(entry: &Value) -> Vec<(Option<&'static str>, String)> {
    let mut notes = Vec::new();
    let has_dues = entry["next"].as_array().is_some_and(|dues| !dues.is_empty());
    match entry["state"].as_str() {
        Some("invalid") => return vec![(None, "is invalid: `runner validate` shows why".into())],
        Some("disabled") => return vec![(None, "is disabled".into())],
        Some("done") => notes.push((None, "is done".into())),
        _ => {}
    }
    if entry["paused"] == true {
        let until =
            entry["paused_until"].as_str().map_or("until it is resumed".into(), |until| format!("until {until}"));
        notes.push((Some("paused"), format!("is paused {until}")));
    }
    if let Some(until) = entry["breaker"]["until"].as_str() {
        let words = format!("rests, its breaker is open: due times before {until} are skipped");
        notes.push((Some("with an open breaker, due times are skipped"), words));
    }
    if let (false, Some(due), Some(reason)) =
        (has_dues, entry["passed_over"]["due"].as_str(), entry["passed_over"]["reason"].as_str())
    {
        notes.push((None, format!("is due {due}, which will be skipped: {reason}")));
    }
    let only = if has_dues { "also runs" } else { "runs" };
    for (key, kind) in
        [("after", "run after other jobs, which has no time"), ("files", "run when files come, which has no time")]
    {
        if let Some(words) = entry[key].as_str() {
            notes.push((Some(kind), format!("{only} {words}, which has no time")));
        }
    }
    let is_by_hand = entry["schedule_text"].as_str().is_some_and(str::is_empty);
    if is_by_hand && !has_dues && entry["state"] == "active" {
        notes.push((None, "has no trigger: it runs by hand".into()));
    }
    notes
}
