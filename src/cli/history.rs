use std::process::ExitCode;

use clap::Args;
use jiff::tz::TimeZone;

use super::Verb;
use super::context::{Context, job_name};
use super::error::CliError;
use super::output::{duration, local, print, print_json, safe, times_in};
use crate::model::{JobName, Status};
use crate::record::{End, GapLine, HistoryQuery, Line, history, history_of};

#[derive(Debug, Args)]
pub(super) struct History {
    /// The job; all jobs where none is named
    #[arg(value_parser = job_name)]
    job: Option<JobName>,
    /// Only runs that ended so: success, failed, timeout, cancelled, interrupted
    #[arg(long, value_name = "STATUS", value_parser = status)]
    status: Option<Status>,
    /// Only what ended at or after this time
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only what ended at or before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// How many to show; what ended last comes first, shown with the time at which it started
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Also due times that were skipped or missed
    #[arg(long)]
    all: bool,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

impl Verb for History {
    fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let time = |text: Option<&String>| text.map(|text| super::moment::time(text, context)).transpose();
        let query = HistoryQuery {
            status: self.status,
            since: time(self.since.as_ref())?,
            until: time(self.until.as_ref())?,
            gaps: self.all,
            limit: self.limit,
        };
        let layout = context.layout();
        let lines = match &self.job {
            Some(job) => {
                super::files::expect_job(context, job)?;
                history_of(&layout, job, &query)?
            }
            None => history(&layout, &query)?,
        };
        if self.json {
            print_json(&lines)?;
            return Ok(ExitCode::SUCCESS);
        }
        let zone = context.zone();
        let mut text = String::new();
        for line in &lines {
            let job = |name: &JobName| if self.job.is_none() { format!("  {name}") } else { String::new() };
            text.push_str(&match line {
                Line::End(end) => format!("{} {}{}\n", local(end.started, &zone), ended(end), job(&end.job)),
                Line::Skipped(gap) => {
                    format!("{} - Skipped {}{}\n", local(gap.due, &zone), passed(gap, &zone), job(&gap.job))
                }
                Line::Missed(gap) => {
                    format!("{} - Missed {}{}\n", local(gap.due, &zone), passed(gap, &zone), job(&gap.job))
                }
                Line::Start(_) | Line::Attempt(_) => continue,
            });
        }
        if text.is_empty() {
            let asks_for_part =
                self.status.is_some() || self.since.is_some() || self.until.is_some() || self.limit == 0;
            text.push_str(if asks_for_part {
                "nothing that was asked for is recorded\n"
            } else {
                "nothing has run yet\n"
            });
        }
        print(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// "✓ Success (234ms)"
fn ended(end: &End) -> String {
    let took = match end.attempt {
        1 if end.never_began() => "never began".into(),
        1 => duration(end.duration_ms),
        attempt => format!("{}, attempt {attempt}", duration(end.duration_ms)),
    };
    let error = end.error.as_deref().map(|error| format!(": {}", safe(error))).unwrap_or_default();
    match end.status {
        Status::Success => format!("\x1b[32m✓\x1b[0m Success ({took})"),
        Status::Failed => format!("\x1b[31m✗\x1b[0m Failed ({took}){error}"),
        Status::Timeout => format!("\x1b[31m✗\x1b[0m Timeout ({took}){error}"),
        Status::Cancelled => format!("\x1b[33m✗\x1b[0m Cancelled ({took}){error}"),
        Status::Interrupted => format!("\x1b[31m✗\x1b[0m Interrupted ({took}){error}"),
    }
}

fn passed(gap: &GapLine, zone: &TimeZone) -> String {
    let times = if gap.count == 1 { String::new() } else { format!("{} times: ", gap.count) };
    format!("({times}{})", times_in(&gap.reason, zone))
}

fn status(text: &str) -> Result<Status, String> {
    serde_json::from_value(text.to_lowercase().into())
        .map_err(|_| "expected success, failed, timeout, cancelled or interrupted".to_string())
}
