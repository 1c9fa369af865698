use std::path::{Path, PathBuf};

use clap::Args;
use jiff::tz::TimeZone;

use super::error::CliError;
use crate::catalog::{Options, read_file};
use crate::daemon::{Overrides, Paths};
use crate::model::{JobName, Problem, RunId};
use crate::os::means::Means;
use crate::record::Layout;
use crate::spec::{Format, Level, MissingVariable, ReadContext, RunnerSpec, Source, logs_directory, read_runner};

/// What every verb takes.
#[derive(Debug, Args)]
pub(super) struct Global {
    /// The configuration directory
    #[arg(short = 'C', long = "directory", global = true, value_name = "DIR", env = "RUNNER_DIR", default_value = ".")]
    directory: PathBuf,
    /// Where the job files are, instead of jobs/ in the configuration directory
    #[arg(long, global = true, value_name = "DIR", env = "RUNNER_JOBS")]
    jobs: Option<PathBuf>,
    /// The logs directory, instead of runner.yaml's
    #[arg(long, global = true, value_name = "DIR", env = "RUNNER_LOGS")]
    logs: Option<PathBuf>,
    /// The time zone of jobs that name none, instead of runner.yaml's
    #[arg(long, global = true, value_name = "ZONE", env = "RUNNER_TIMEZONE")]
    timezone: Option<String>,
}

/// Where everything is, as flags, environment and runner.yaml say it, in this order.
#[derive(Debug)]
pub(super) struct Context {
    pub paths: Paths,
    pub overrides: Overrides,
    /// runner.yaml; the defaults where it is broken.
    pub settings: RunnerSpec,
    /// What is wrong with runner.yaml.
    pub settings_problems: Vec<Problem>,
}

impl Context {
    pub fn new(global: Global) -> Result<Self, CliError> {
        let directory = std::path::absolute(&global.directory)?;
        if !directory.is_dir() {
            return Err(CliError::Config {
                message: format!("there is no configuration directory {}", directory.display()),
                help: Some("-C says where to look".into()),
                problems: Vec::new(),
            });
        }
        if let Some(zone) = &global.timezone
            && TimeZone::get(zone).is_err()
        {
            return Err(CliError::usage(format!("`{zone}` is not a time zone"))
                .help("write an IANA name such as `Europe/London`"));
        }
        let (settings, settings_problems) = read_settings(&directory);
        let overrides = Overrides {
            timezone: global.timezone,
            level: from_env::<Level>("RUNNER_LOG_LEVEL")?,
            format: from_env::<Format>("RUNNER_LOG_FORMAT")?,
        };
        let settings = overrides.apply(&settings);
        let jobs = directory.join(global.jobs.unwrap_or_else(|| "jobs".into()));
        let names_logs = global.logs.is_some();
        let logs = directory.join(global.logs.unwrap_or_else(|| settings.logs.directory.clone().into()));
        Ok(Self { paths: Paths { directory, jobs, logs, names_logs }, overrides, settings, settings_problems })
    }

    /// Where the logs are, resolved once.
    pub fn layout(&self) -> Layout {
        Layout::new(self.paths.logs.canonicalize().unwrap_or_else(|_| self.paths.logs.clone()))
    }

    /// The zone in which people are told times.
    pub fn zone(&self) -> TimeZone {
        TimeZone::get(&self.settings.timezone).unwrap_or(TimeZone::UTC)
    }

    /// How the catalog is read without a running runner: nothing is kept.
    pub fn catalog_options(&self, missing: MissingVariable, use_last_good: bool) -> Options {
        Options {
            directory: self.paths.directory.clone(),
            jobs: self.paths.jobs.clone(),
            timezone: self.overrides.timezone.clone(),
            allow_insecure: false,
            last_good: use_last_good.then(|| self.layout().last_good()),
            use_last_good,
            keeps_last_good: false,
            missing,
            means: Means::of_this_process(),
            tolerates_broken_settings: false,
        }
    }
}

/// runner.yaml on its own, so that the logs can be found. Who else may write to it is the catalog's concern.
fn read_settings(directory: &Path) -> (RunnerSpec, Vec<Problem>) {
    let found = ["runner.yaml", "runner.yml", "runner.json"].into_iter().find(|name| directory.join(name).exists());
    let Some(name) = found else { return (RunnerSpec::default(), Vec::new()) };
    let bytes = match read_file(&directory.join(name), name, true) {
        Ok(bytes) => bytes,
        Err(problem) => return (RunnerSpec::default(), vec![*problem]),
    };
    let env = |name: &str| std::env::var(name).ok();
    let cx =
        ReadContext { env: &env, missing: MissingVariable::Error, timezone: "UTC", means: Means::of_this_process() };
    let source = Source { path: name, bytes: &bytes };
    let (read, problems) = read_runner(source, &cx);
    let spec = read.map(|(spec, _)| spec).unwrap_or_else(|| {
        // Whatever else is wrong with it: the runner that is running has its logs there.
        let mut spec = RunnerSpec::default();
        if let Some(directory) = logs_directory(source, &cx) {
            spec.logs.directory = directory;
        }
        spec
    });
    (spec, problems)
}

/// A setting from the environment, in the words of runner.yaml.
fn from_env<T: serde::de::DeserializeOwned>(name: &str) -> Result<Option<T>, CliError> {
    let Ok(text) = std::env::var(name) else { return Ok(None) };
    serde_json::from_value(serde_json::Value::String(text.clone()))
        .map(Some)
        .map_err(|error| CliError::usage(format!("{name}={text}: {error}")))
}

/// A run's id from the command line.
pub(super) fn run_id(text: &str) -> Result<RunId, String> {
    text.parse().map_err(|_| "it is no id of a run, which `runner status` and `runner history --json` show".to_string())
}

/// A job's name from the command line.
pub(super) fn job_name(text: &str) -> Result<JobName, String> {
    JobName::new(text).map_err(|error| error.to_string())
}
