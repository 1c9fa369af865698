use std::process::ExitCode;

use clap::Args;

use super::Verb;
use super::ask::{ask_if_running, say_notice};
use super::context::{Context, job_name};
use super::error::CliError;
use super::files::{generation, no_such_job, or_no_such_job};
use super::output::{local_with_zone, print};
use crate::catalog::Generation;
use crate::daemon::control::Request;
use crate::daemon::{pauses, setup};
use crate::model::{Clock, JobName};
use crate::os::clock::SystemClock;

#[derive(Debug, Args)]
pub(super) struct Pause {
    /// The job's name
    #[arg(value_parser = job_name)]
    job: JobName,
    /// When the pause ends by itself
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl Verb for Pause {
    fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let until = self.until.as_deref().map(|text| super::moment::time(text, context)).transpose()?;
        if until.is_some_and(|until| until <= SystemClock.now()) {
            return Err(CliError::usage("--until lies in the past"));
        }
        let request = Request::Pause { job: self.job.clone(), until };
        let answer = ask_if_running(context, &request).map_err(|error| or_no_such_job(context, &self.job, error))?;
        let has_files =
            |generation: &Generation| generation.job(&self.job).is_some_and(|job| job.spec.files().is_some());
        let is_watch = if let Some(answer) = answer {
            say_notice(&answer);
            // It is paused, whatever the files are like now.
            generation(context).is_ok_and(|generation| has_files(&generation))
        } else {
            let generation = generation(context)?;
            if generation.job(&self.job).is_none() {
                return Err(no_such_job(context, &self.job));
            }
            setup::make_logs(&context.paths)?;
            let layout = context.layout();
            let (_lock, _) = setup::take_lock(&layout)?;
            let mut all = pauses::load(&layout.paused())?;
            let since = all.get(&self.job).map_or(Some(SystemClock.now()), |pause| pause.since);
            all.insert(self.job.clone(), pauses::Pause { until, since });
            pauses::save(&layout.paused(), &all)?;
            has_files(&generation)
        };
        let words = match until {
            Some(until) => format!("until {}", local_with_zone(until, &context.zone())),
            None => "until it is resumed".into(),
        };
        let meanwhile = match is_watch {
            true => "files that come wait until then",
            false => "its due times are recorded as skipped",
        };
        print(&format!("{} is paused {words}; {meanwhile}\n", self.job))?;
        Ok(ExitCode::SUCCESS)
    }
}
