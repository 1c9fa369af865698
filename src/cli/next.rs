use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Verb;
use super::context::Context;
use super::error::CliError;
use super::files::entries;
use super::output::{local_with_zone, print, print_json};
use super::show::no_such_job;
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
        let from = self.from.as_deref().map(|text| time(text, context)).transpose()?;
        let count = self.count as usize;
        let entries = entries(context, Query { job: self.job.clone(), spec: false, next: count, from })?;
        if let Some(job) = &self.job
            && entries.is_empty()
        {
            return Err(no_such_job(job));
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

/// A time from the command line: with an offset, or in the runner's zone; a date alone is its midnight.
pub(super) fn time(text: &str, context: &Context) -> Result<Timestamp, CliError> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    text.parse::<jiff::civil::DateTime>()
        .and_then(|local| local.to_zoned(context.zone()))
        .map(|zoned| zoned.timestamp())
        .map_err(|_| {
            CliError::usage(format!("`{text}` is not a time"))
                .help("write 2026-12-24T18:00:00, 2026-12-24, or with a zone 2026-12-24T17:00:00Z")
        })
}
