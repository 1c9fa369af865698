use std::process::ExitCode;

use clap::Args;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::Verb;
use super::context::Context;
use super::error::CliError;
use super::files::entries;
use super::output::{local, print, print_json, safe, table, table_text};
use crate::daemon::view::Query;
use crate::model::count;

#[derive(Debug, Args)]
pub(super) struct List {
    /// One JSON document
    #[arg(long)]
    json: bool,
}

impl Verb for List {
    fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let entries = entries(context, Query::default())?;
        if self.json {
            print_json(&entries)?;
            return Ok(ExitCode::SUCCESS);
        }
        if entries.is_empty() {
            print("there are no jobs yet: each file in jobs/ is one\n")?;
            return Ok(ExitCode::SUCCESS);
        }
        let zone = context.zone();
        let time = |value: &Value| value.as_str().and_then(|text| text.parse().ok()).map(|time| local(time, &zone));
        let mut rows = table(&["JOB", "STATE", "SCHEDULE", "NEXT RUN", "LAST RUN", "RUNS", "FAILED"]);
        for entry in &entries {
            let text = |key: &str| safe(entry[key].as_str().unwrap_or_default());
            let last = &entry["last_run"];
            let last_words = match last["status"].as_str() {
                None => "-".to_string(),
                Some(status) => format!("{} {status}", time(&last["ended"]).unwrap_or_default()),
            };
            rows.add_row([
                text("name"),
                state(entry, &zone),
                match (text("schedule_text"), &entry["state"]) {
                    (words, state) if words.is_empty() => if state == "invalid" { "-" } else { "by hand" }.into(),
                    (words, _) => words,
                },
                time(&entry["next_run"]).unwrap_or_else(|| "-".into()),
                last_words,
                entry["runs"].to_string(),
                entry["failures"].to_string(),
            ]);
        }
        let mut text = table_text(&rows);
        let broken: Vec<&Value> = entries.iter().filter(|entry| !entry["error"].is_null()).collect();
        for entry in &broken {
            text.push_str(&format!(
                "\n{} is {}:\n",
                safe(entry["name"].as_str().unwrap_or_default()),
                state(entry, &zone)
            ));
            for line in entry["error"].as_str().unwrap_or_default().lines() {
                text.push_str(&format!("  {}\n", safe(line)));
            }
        }
        text.push_str(&format!("\n{}, times in {}\n", count(entries.len(), "job"), context.settings.timezone));
        print(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A job's state in a word or three.
pub(super) fn state(entry: &Value, zone: &TimeZone) -> String {
    let mut words = vec![entry["state"].as_str().unwrap_or_default().to_string()];
    if entry["paused"] == true {
        words.push("paused".into());
    }
    match (entry["breaker"]["state"].as_str(), entry["breaker"]["until"].as_str()) {
        (Some("open"), Some(until)) => {
            let until = until.parse().map_or_else(|_| until.to_string(), |time| local(time, zone));
            words.push(format!("breaker open until {until}"));
        }
        (Some(_), _) => words.push("breaker half open".into()),
        (None, _) => {}
    }
    match entry["running"].as_u64().unwrap_or(0) {
        0 => {}
        1 => words.push("running".into()),
        more => words.push(format!("{more} running")),
    }
    match entry["waiting"].as_u64().unwrap_or(0) {
        0 => {}
        waiting => words.push(format!("{waiting} waiting")),
    }
    if let Some(attempt) = entry["next_attempt"]["attempt"].as_u64() {
        words.push(format!("attempt {attempt} to come"));
    }
    words.join(", ")
}
