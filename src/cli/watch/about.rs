use std::path::PathBuf;
use std::sync::Arc;

use crate::catalog::Generation;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::files::{Known, generation, no_such_job};
use crate::daemon::watches::home;
use crate::model::JobName;
use crate::trigger::{Armed, Files};
use crate::watch::{Loaded, Root, load, roots};

/// A watch as its file and its ledger have it.
pub struct About {
    pub files: Arc<Files>,
    pub roots: Vec<Root>,
    pub ledger: Loaded,
    pub path: PathBuf,
}

/// What is known of the watch of that name.
pub fn about(context: &Context, job: &JobName) -> Result<About, CliError> {
    let generation = generation(context)?;
    let files = files_of(&generation, job);
    let files = match files {
        Some(files) => files,
        None if generation.job(job).is_none() => return Err(no_such_job(context, job)),
        None => {
            return Err(CliError::failed(format!("the job `{job}` is no watch: it has no `watch:`"))
                .help("`runner list` shows which jobs are watches"));
        }
    };
    let layout = context.layout();
    let path = layout.ledger(job);
    let ledger = load(&path)
        .map_err(|error| CliError::failed(format!("the ledger {} cannot be read: {error}", path.display())))?;
    let roots = roots(&files, &context.paths.directory, home().as_deref());
    Ok(About { files, roots, ledger, path })
}

/// What a job's file says of files, also where the job is disabled.
fn files_of(generation: &Generation, job: &JobName) -> Option<Arc<Files>> {
    let job = generation.job(job)?;
    let armed = job.spec.arm(&job.name, &job.zone);
    armed.into_iter().find_map(|(_, armed)| match armed {
        Armed::AtFiles(files) => Some(files),
        Armed::Times(_) | Armed::AtStart | Armed::AtEnds(_) => None,
    })
}

/// Why the watch does nothing now, as far as anybody knows.
pub fn why_still(context: &Context, job: &JobName) -> Result<Option<String>, CliError> {
    let status = crate::cli::ask::ask_if_running(context, &crate::daemon::control::Request::Status)?;
    let Some(status) = status else { return Ok(Some("no runner is running".into())) };
    let known = Known::in_force(context, Some(job))?;
    if known.generation.job(job).is_some_and(|job| !job.spec.about.enabled) {
        return Ok(Some("the job is disabled".into()));
    }
    if known.facts(job).paused.is_some() {
        return Ok(Some("the job is paused".into()));
    }
    let watches = status["watches"].as_array().into_iter().flatten();
    let state = watches.filter(|watch| watch["job"] == job.as_str()).find_map(|watch| watch["state"].as_str());
    Ok(state.filter(|state| state.starts_with("stopped")).map(str::to_string))
}
