use std::process::ExitCode;

use clap::Args;

use super::Verb;
use super::context::Context;
use super::error::CliError;
use super::files::entries;
use super::list::state;
use super::output::{local_with_zone, print, print_json, safe};
use crate::daemon::view::Query;

#[derive(Debug, Args)]
pub(super) struct Show {
    /// The job's name
    job: String,
    /// One JSON document: the entry of `list` with the spec and the due times that come
    #[arg(long)]
    json: bool,
}

impl Verb for Show {
    fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let query = Query { job: Some(self.job.clone()), spec: true, next: 5, from: None };
        let Some(entry) = entries(context, query)?.into_iter().next() else {
            return Err(super::files::no_such_job(context, &self.job));
        };
        if self.json {
            print_json(&entry)?;
            return Ok(ExitCode::SUCCESS);
        }
        let zone = entry["timezone"]
            .as_str()
            .and_then(|name| jiff::tz::TimeZone::get(name).ok())
            .unwrap_or_else(|| context.zone());
        let mut text = format!(
            "# {} ({}), {}\n",
            self.job,
            safe(entry["file"].as_str().unwrap_or_default()),
            state(&entry, &context.zone())
        );
        if let Some(words) = entry["schedule_text"].as_str().filter(|words| !words.is_empty()) {
            text.push_str(&format!("# {}\n", safe(words)));
        }
        for due in entry["next"].as_array().into_iter().flatten() {
            if let Some(due) = due.as_str().and_then(|due| due.parse().ok()) {
                text.push_str(&format!("# next: {}\n", local_with_zone(due, &zone)));
            }
        }
        for limit in entry["limits"].as_array().into_iter().flatten() {
            if let (Some(name), Some(how)) = (limit["limit"].as_str(), limit["how"].as_str()) {
                text.push_str(&format!("# {name}: {}\n", safe(how)));
            }
        }
        if let Some(error) = entry["error"].as_str() {
            for line in error.lines() {
                text.push_str(&format!("# error: {}\n", safe(line)));
            }
        }
        if entry["spec"].is_object() {
            // Written from our own data: what serde_yaml is good for.
            text.push_str(&serde_yaml::to_string(&entry["spec"]).map_err(|error| CliError::failed(error.to_string()))?);
        }
        print(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The error for a name that no job has.
pub(super) fn no_such_job(name: &str) -> CliError {
    CliError::failed(format!("there is no job `{}`", safe(name))).help("`runner list` shows the jobs")
}
