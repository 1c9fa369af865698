use std::process::ExitCode;

use clap::Args;

use super::Verb;
use super::ask::ask;
use super::context::Context;
use super::error::CliError;
use super::output::{print, print_json, safe};
use crate::daemon::control::Request;
use crate::model::count;

#[derive(Debug, Args)]
pub(super) struct Reload {
    /// One JSON document
    #[arg(long)]
    json: bool,
}

impl Verb for Reload {
    fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let (pid, answer) = ask(context, &Request::Reload)?;
        let errors = answer["errors"].as_array().map_or(0, Vec::len);
        if self.json {
            print_json(&answer)?;
        } else {
            let mut text = format!(
                "the runner with PID {pid} has {}, generation {} {}: {}\n",
                count(answer["jobs"].as_u64().unwrap_or(0), "job"),
                answer["generation"],
                answer["fingerprint"].as_str().unwrap_or_default(),
                answer["changes"].as_str().unwrap_or_default(),
            );
            for error in answer["errors"].as_array().into_iter().flatten() {
                text.push_str(&format!("error: {}\n", safe(error.as_str().unwrap_or_default())));
            }
            print(&text)?;
        }
        Ok(if errors > 0 { ExitCode::from(3) } else { ExitCode::SUCCESS })
    }
}
