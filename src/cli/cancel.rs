use std::process::ExitCode;

use clap::Args;

use super::Verb;
use super::ask::ask;
use super::context::{Context, run_id};
use super::error::CliError;
use super::output::print;
use crate::daemon::control::Request;
use crate::model::RunId;

#[derive(Debug, Args)]
pub(super) struct Cancel {
    /// The run's id, as `status` and `run` show it
    #[arg(value_parser = run_id)]
    run: RunId,
}

impl Verb for Cancel {
    fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let (_, answer) = ask(context, &Request::Cancel { run: self.run })?;
        print(&format!("run {} of {} is told to end\n", self.run, answer["job"].as_str().unwrap_or_default()))?;
        Ok(ExitCode::SUCCESS)
    }
}
