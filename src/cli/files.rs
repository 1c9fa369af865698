//! What is known without a running runner: the files, and what the logs remember.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::context::Context;
use super::error::CliError;
use crate::catalog::{Catalog, Generation};
use crate::daemon::pauses;
use crate::daemon::view::{self, Facts, Query};
use crate::model::{Clock, JobName};
use crate::os::clock::SystemClock;
use crate::record::{Records, Settings, TornTail, restore_all};
use crate::spec::MissingVariable;

/// The jobs that `runner start` would load.
pub(super) fn generation(context: &Context) -> Result<Arc<Generation>, CliError> {
    let options = context.catalog_options(MissingVariable::Error, true);
    let (_, generation, _) = Catalog::open(options, SystemClock.now()).map_err(crate::daemon::SetupError::from)?;
    Ok(generation)
}

/// The entries of `list`, `show` and `next`, from the running runner if there is one, else from the files.
pub(super) fn entries(context: &Context, query: Query) -> Result<Vec<Value>, CliError> {
    use crate::daemon::control::Request;
    if let Some(Value::Array(entries)) = super::ask::ask_if_running(context, &Request::List(query.clone()))? {
        return Ok(entries);
    }
    let generation = generation(context)?;
    let layout = context.layout();
    let records = Records::new(layout.clone(), Settings { max_size: u64::MAX, max_files: 1 });
    for (job, restored) in restore_all(&layout, TornTail::Leave) {
        if let Ok(restored) = restored {
            records.restored(&job, restored);
        }
    }
    let pauses: BTreeMap<JobName, Option<Timestamp>> = pauses::load(&layout.paused()).unwrap_or_default();
    Ok(view::list(&generation, SystemClock.now(), &query, |name| Facts {
        paused: pauses.get(name).copied(),
        summary: records.summary(name),
        memory: records.due_state(name),
        ..Facts::default()
    }))
}

/// A job that has no logs and no file is a mistake of whoever typed it. One that is gone still has its logs.
pub(super) fn expect_job(context: &Context, job: &JobName) -> Result<(), CliError> {
    if context.layout().job(job).is_dir() {
        return Ok(());
    }
    // What cannot be read says nothing about a name.
    match generation(context) {
        Ok(generation) if !generation.has_file_for(job) => Err(super::show::no_such_job(job)),
        _ => Ok(()),
    }
}
