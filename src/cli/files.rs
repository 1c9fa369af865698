//! What is known: by the running runner, else by the files and what the logs remember.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::ask::ask_if_running;
use super::context::Context;
use super::error::CliError;
use super::output::safe;
use crate::catalog::{Catalog, Generation, Job};
use crate::daemon::control::Request;
use crate::daemon::loaded::{Loaded, LoadedRun};
use crate::daemon::memory;
use crate::daemon::pauses::{self, Pause};
use crate::daemon::pending::{self, Pending};
use crate::daemon::view::{self, Facts, Query};
use crate::engine::{Entry, Memory};
use crate::model::{Clock, Gap, JobName, Parent};
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
    if let Some(Value::Array(entries)) = ask_if_running(context, &Request::List(query.clone()))? {
        return Ok(entries);
    }
    let known = Known::read(context)?;
    Ok(view::list(&known.generation, SystemClock.now(), &query, |name| known.facts(name)))
}

/// What is in force: as the running runner has it, else as the files and the records say it.
pub(super) struct Known {
    pub generation: Arc<Generation>,
    pub layout: Layout,
    /// The zone in which times are meant that name none.
    pub zone: TimeZone,
    /// Due times that are counted and stand in no record yet.
    pub counted: Vec<Gap>,
    /// Runs that have not come to their end.
    pub runs: Vec<LoadedRun>,
    source: Source,
}

/// Who knows what is known of a job besides its file.
enum Source {
    Runner(BTreeMap<JobName, Facts>),
    Files { records: Arc<Records>, pauses: BTreeMap<JobName, Pause>, pending: Pending, last_sign: Option<Timestamp> },
}

impl Known {
    /// Asks the running runner, for one job or for all; reads the files where there is none.
    ///
    /// The files may say something else than what is in force, and this process may have another environment.
    pub fn in_force(context: &Context, job: Option<&str>) -> Result<Self, CliError> {
        let request = Request::Loaded { job: job.map(str::to_string) };
        let Some(answer) = ask_if_running(context, &request)? else { return Self::read(context) };
        let not_understood = |error| {
            CliError::failed(format!("what the running runner has in force is not understood: {error}"))
                .help("is it of another version? `runner status` names it")
        };
        let loaded: Loaded = serde_json::from_value(answer).map_err(not_understood)?;
        let (generation, facts) = loaded.generation().map_err(not_understood)?;
        Ok(Self {
            generation: Arc::new(generation),
            layout: context.layout(),
            zone: TimeZone::get(&loaded.timezone).unwrap_or(TimeZone::UTC),
            counted: loaded.counted,
            runs: loaded.runs,
            source: Source::Runner(facts),
        })
    }

    /// Reads the files; nothing is written or kept.
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
        let pending = Pending::load(&layout.pending()).unwrap_or_default();
        let counted = pending.counted.clone();
        let source = Source::Files { records, pauses, pending, last_sign: last_sign(&layout) };
        Ok(Self { generation, layout, zone: context.zone(), counted, runs: Vec::new(), source })
    }

    pub fn facts(&self, name: &str) -> Facts {
        match &self.source {
            Source::Runner(facts) => facts.get(name).cloned().unwrap_or_default(),
            Source::Files { records, pauses, pending, last_sign } => {
                let pause = pauses.get(name).copied();
                Facts {
                    paused: pause.map(|pause| pause.until),
                    paused_since: pause.and_then(|pause| pause.since),
                    summary: records.summary(name),
                    memory: records.due_state(name),
                    arrived: self
                        .generation
                        .job(name)
                        .map(|job| self.arrived(records, pending, job))
                        .unwrap_or_default(),
                    down_since: *last_sign,
                    ..Facts::default()
                }
            }
        }
    }

    fn arrived(&self, records: &Records, pending: &Pending, job: &Job) -> Vec<(Parent, Timestamp)> {
        let chain_since = pending::chain_since(pending, job);
        let taken = memory::Taken { name: &job.name, chain_since, armed: &job.armed, cut_short: Vec::new() };
        memory::still_there(records, &taken, self.generation.jobs.iter().map(|job| &job.name))
    }

    /// The jobs as the engine takes them in.
    pub fn engine_entries(&self) -> Vec<Entry> {
        let entry = |job: &Arc<Job>| {
            let facts = self.facts(&job.name);
            let interval_due = facts.interval_due(job);
            let Facts { memory: due, arrived, .. } = facts;
            Entry {
                name: job.name.clone(),
                spec: job.spec.clone(),
                armed: job.armed.to_vec(),
                closed: job.closed(),
                first_loaded: job.first_loaded,
                memory: Memory {
                    interval_due,
                    last_due: due.last_due,
                    failed_in_row: due.failed_in_row,
                    failed_at: due.failed_at,
                    arrived,
                    ..Memory::default()
                },
            }
        };
        self.generation.jobs.iter().map(entry).collect()
    }

    /// The pauses, with their ends.
    pub fn pauses(&self) -> Vec<(JobName, Option<Timestamp>)> {
        let jobs = self.generation.jobs.iter();
        jobs.filter_map(|job| Some((job.name.clone(), self.facts(&job.name).paused?))).collect()
    }

    /// The error for a name that no job has, with the one that was probably meant; or of a job that cannot be used, as its file is
    /// broken.
    pub fn no_such_job(&self, name: &str) -> CliError {
        if self.generation.invalid.iter().any(|invalid| invalid.name == name) {
            return CliError::failed(format!(
                "the file of the job `{}` is invalid, so there is no such job yet",
                safe(name)
            ))
            .help("`runner validate` shows what is wrong with it");
        }
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

/// When a runner gave its last sign of life.
pub(super) fn last_sign(layout: &Layout) -> Option<Timestamp> {
    Timestamp::try_from(std::fs::metadata(layout.lock()).ok()?.modified().ok()?).ok()
}

/// The error for a name that no job has, as the running runner knows them, else the files.
pub(super) fn no_such_job(context: &Context, name: &str) -> CliError {
    match Known::in_force(context, None) {
        Ok(known) => known.no_such_job(name),
        Err(_) => super::show::no_such_job(name),
    }
}

/// An error of the running runner; where it knows no such job, with the one that was probably meant.
pub(super) fn or_no_such_job(context: &Context, name: &str, error: CliError) -> CliError {
    match &error {
        CliError::Failed { message, .. } if message.starts_with("there is no job `") => no_such_job(context, name),
        _ => error,
    }
}

/// A job that has no logs and no file is a mistake of whoever typed it. One that is gone still has its logs.
pub(super) fn expect_job(context: &Context, job: &JobName) -> Result<(), CliError> {
    if context.layout().job(job).is_dir() {
        return Ok(());
    }
    // What cannot be read says nothing about a name.
    match generation(context) {
        Ok(generation) if !generation.has_file_for(job) => Err(no_such_job(context, job)),
        _ => Ok(()),
    }
}
