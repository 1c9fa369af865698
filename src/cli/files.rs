//! What is known without a running runner: the files, and what the logs remember.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::context::Context;
use super::error::CliError;
use crate::catalog::{Catalog, Generation, Job};
use crate::daemon::pauses;
use crate::daemon::view::{self, Facts, Query};
use crate::engine::{Entry, Memory};
use crate::model::{Clock, JobName};
use crate::os::clock::SystemClock;
use crate::record::{Layout, Records, Settings, Synced, TornTail, restore_all};
use crate::spec::{MissingVariable, nearest};

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
    let known = Known::read(context)?;
    Ok(view::list(&known.generation, SystemClock.now(), &query, |name| known.facts(name)))
}

/// The files and the records, as they stand.
pub(super) struct Known {
    pub generation: Arc<Generation>,
    pub pauses: BTreeMap<JobName, Option<Timestamp>>,
    pub layout: Layout,
    records: Arc<Records>,
}

impl Known {
    /// Reads them; nothing is written or kept.
    pub fn read(context: &Context) -> Result<Self, CliError> {
        let generation = generation(context)?;
        let layout = context.layout();
        let records =
            Records::new(layout.clone(), Settings { max_size: u64::MAX, max_files: 1, synced: Synced::Nothing });
        for (job, restored) in restore_all(&layout, TornTail::Leave) {
            if let Ok(restored) = restored {
                records.restored(&job, restored);
            }
        }
        let pauses = pauses::load(&layout.paused()).unwrap_or_default();
        Ok(Self { generation, pauses, layout, records })
    }

    pub fn facts(&self, name: &str) -> Facts {
        Facts {
            paused: self.pauses.get(name).copied(),
            summary: self.records.summary(name),
            memory: self.records.due_state(name),
            ..Facts::default()
        }
    }

    /// The jobs as the engine takes them in.
    pub fn engine_entries(&self) -> Vec<Entry> {
        let entry = |job: &Arc<Job>| {
            let due = self.records.due_state(&job.name);
            Entry {
                name: job.name.clone(),
                spec: job.spec.clone(),
                armed: job.armed.to_vec(),
                closed: job.closed(),
                first_loaded: job.first_loaded,
                memory: Memory {
                    interval_due: due.interval_due,
                    last_due: due.last_due,
                    failed_in_row: due.failed_in_row,
                    failed_at: due.failed_at,
                    ..Memory::default()
                },
            }
        };
        self.generation.jobs.iter().map(entry).collect()
    }

    /// The error for a name that no job has, with the one that was probably meant.
    pub fn no_such_job(&self, name: &str) -> CliError {
        let invalid = self.generation.invalid.iter().map(|invalid| invalid.name.as_str());
        let names = self.generation.jobs.iter().map(|job| job.name.as_str()).chain(invalid);
        match nearest(name, names) {
            Some(meant) => {
                super::show::no_such_job(name).help(format!("did you mean `{meant}`? `runner list` shows the jobs"))
            }
            None => super::show::no_such_job(name),
        }
    }
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
