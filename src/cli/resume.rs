use std::process::ExitCode;

use clap::Args;

use super::Verb;
use super::ask::{ask_if_running, say_notice};
use super::context::{Context, job_name};
use super::error::CliError;
use super::files::{generation, no_such_job, or_no_such_job};
use super::output::print;
use crate::daemon::control::Request;
use crate::daemon::{pauses, setup};
use crate::model::JobName;

#[derive(Debug, Args)]
pub(super) struct Resume {
    /// The job's name
    #[arg(value_parser = job_name)]
    job: JobName,
}

impl Verb for Resume {
    fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let request = Request::Resume { job: self.job.clone() };
        let answer = ask_if_running(context, &request).map_err(|error| or_no_such_job(context, &self.job, error))?;
        if let Some(answer) = answer {
            say_notice(&answer);
        } else {
            setup::make_logs(&context.paths)?;
            let layout = context.layout();
            let (_lock, _) = setup::take_lock(&layout)?;
            let mut all = pauses::load(&layout.paused())?;
            if all.remove(&self.job).is_none() {
                if generation(context)?.job(&self.job).is_none() {
                    return Err(no_such_job(context, &self.job));
                }
                return Err(CliError::failed(format!("the job `{}` is not paused", self.job)));
            }
            pauses::save(&layout.paused(), &all)?;
        }
        print(&format!("{} is resumed\n", self.job))?;
        Ok(ExitCode::SUCCESS)
    }
}
