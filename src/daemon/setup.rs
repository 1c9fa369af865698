//! From paths to a runner that is ready: directories, lock, logs, what the records remember, the first generation.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use tokio::sync::mpsc::unbounded_channel;

use super::catalog_thread::CatalogThread;
use super::control::Server;
use super::interrupted::CutShort;
use super::main_loop::{Daemon, Parts};
use super::pauses::Pause;
use super::record_queue::RecordQueue;
use super::reload::say_findings;
use super::signals::Signals;
use super::watches::Watches;
use super::{interrupted, pauses};
use crate::catalog::{Catalog, Delta, Generation, Options, StartError};
use crate::engine::{Event as EngineEvent, Starting};
use crate::model::{Clock, Problem, RunId, TriggeredBy, count};
use crate::os::cgroup::{self, Groups, Home, NoGroups};
use crate::os::clock::SystemClock;
use crate::os::file_events::Hub;
use crate::os::lock::{Lock, LockError};
use crate::os::means::Means;
use crate::os::private::Shelves;
use crate::os::{limits, memory, orphans, socket};
use crate::record::{Layout, Records, Settings, Synced, TornTail, restore_all, runner_log};
use crate::spec::{Format, Level, RunnerSpec, SyncLogs};

/// Where everything is, and what stands above runner.yaml.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The configuration directory, absolute.
    pub directory: PathBuf,
    pub jobs: PathBuf,
    pub logs: PathBuf,
    /// A flag or the environment names the logs directory, so that runner.yaml has no say in it.
    pub names_logs: bool,
}

/// What flags and the environment say over runner.yaml, every version of it.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    pub timezone: Option<String>,
    pub level: Option<Level>,
    pub format: Option<Format>,
}

impl Overrides {
    /// The settings that hold.
    pub fn apply(&self, spec: &RunnerSpec) -> RunnerSpec {
        let mut spec = spec.clone();
        if let Some(timezone) = &self.timezone {
            spec.timezone.clone_from(timezone);
        }
        spec.logs.level = self.level.unwrap_or(spec.logs.level);
        spec.logs.format = self.format.unwrap_or(spec.logs.format);
        spec
    }
}

/// How the runner is started.
#[derive(Debug, Clone)]
pub struct StartOptions {
    pub paths: Paths,
    pub catalog: Options,
    pub overrides: Overrides,
    /// Whether lines of runner.log are also written to standard error, and how coloured.
    pub echo: Option<anstream::ColorChoice>,
    /// Whether changes of the files are taken up by themselves.
    pub reload: bool,
    /// Any error in any file is a reason not to start.
    pub strict: bool,
    /// For one run alone: triggers rest, and it ends by itself.
    pub once: bool,
}

/// Why the runner did not start.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("the logs directory {} cannot be {what}: {error}", .path.display())]
    Logs { path: PathBuf, what: &'static str, error: io::Error },
    #[error("another runner has the logs directory {}: {error}", .path.display())]
    Locked { path: PathBuf, error: LockError },
    #[error(
        "the configuration directory {} is a link, and the logs directory lies inside of it: a swap of the link would \
         lose what the runner remembers; put the logs elsewhere with --logs",
        .path.display()
    )]
    LogsBehindLink { path: PathBuf },
    #[error(
        "runner.yaml is broken, and as it was good last it has the logs in {}, not in {}; mend it, or name them with --logs",
        .meant.display(), .used.display()
    )]
    LogsElsewhere { used: PathBuf, meant: PathBuf },
    #[error(transparent)]
    Catalog(#[from] StartError),
    #[error("{} in the files, and --strict was asked for", count(.0.len(), "error"))]
    Strict(Vec<Problem>),
    #[error(
        "this process belongs to run {0} (RUNNER_RUN_ID), which a crash of the runner cut short and the start would have to end; \
         start the runner from somewhere else"
    )]
    PartOfRun(RunId),
    #[error("the control socket {} cannot be opened: {error}", .path.display())]
    Socket { path: PathBuf, error: io::Error },
    #[error("the system refuses what the runner needs: {0}")]
    System(#[from] io::Error),
}

/// A runner that is ready.
pub struct Prepared {
    pub daemon: Daemon,
    pub generation: Arc<Generation>,
    /// Writes what is still on its way into runner.log when it is dropped.
    pub log_guard: runner_log::Guard,
}

/// Makes the logs directory fit to be written to, or says clearly why it is not.
pub fn make_logs(paths: &Paths) -> Result<(), SetupError> {
    let logs = &paths.logs;
    not_behind_link(paths)?;
    let failed = |what| move |error| SetupError::Logs { path: logs.clone(), what, error };
    crate::record::make_directory(logs).map_err(failed("made"))?;
    let ignore = logs.join(".gitignore");
    if !ignore.exists() {
        fs::write(&ignore, "*\n").map_err(failed("written to"))?;
    }
    probe(logs).map_err(failed("written to"))
}

/// Looks whether the logs directory can be written to, or made, and leaves nothing behind. Says whether it is there.
pub fn check_logs(paths: &Paths) -> Result<bool, SetupError> {
    let logs = &paths.logs;
    not_behind_link(paths)?;
    let existing = logs.ancestors().find(|path| path.exists()).unwrap_or(logs);
    let is_there = existing == logs;
    probe(existing).map_err(|error| SetupError::Logs {
        path: logs.clone(),
        what: if is_there { "written to" } else { "made" },
        error,
    })?;
    Ok(is_there)
}

fn not_behind_link(paths: &Paths) -> Result<(), SetupError> {
    let is_link = fs::symlink_metadata(&paths.directory).is_ok_and(|meta| meta.file_type().is_symlink());
    match is_link && paths.logs.starts_with(&paths.directory) {
        true => Err(SetupError::LogsBehindLink { path: paths.directory.clone() }),
        false => Ok(()),
    }
}

/// Writes a file and takes it away again. A full disk often takes an empty one still.
fn probe(directory: &Path) -> io::Result<()> {
    let probe = directory.join(format!(".probe-{}", std::process::id()));
    // Left behind by a process that had this number before. What somebody puts there meanwhile is not written to.
    let _ = fs::remove_file(&probe);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).custom_flags(libc::O_NOFOLLOW).open(&probe)?;
    let written = io::Write::write_all(&mut file, &[b'\n'; 64 * 1024]).and_then(|()| file.sync_all());
    let _ = fs::remove_file(&probe);
    written
}

/// Takes the lock of the logs directory. Also says when the last runner there gave its last sign of life.
pub fn take_lock(layout: &Layout) -> Result<(Lock, Option<SystemTime>), SetupError> {
    Lock::take(&layout.lock()).map_err(|error| match error {
        LockError::Io(error) => SetupError::Logs { path: layout.root().to_path_buf(), what: "written to", error },
        held => SetupError::Locked { path: layout.root().to_path_buf(), error: held },
    })
}

/// Makes everything ready. Must be called within the async runtime; from then on `runner.log` gets what happens.
///
/// # Errors
/// See [`SetupError`]; what went wrong after the log was open also stands in it.
pub fn prepare(options: StartOptions, first: &RunnerSpec) -> Result<Prepared, SetupError> {
    make_logs(&options.paths)?;
    let logs = options.paths.logs.canonicalize()?;
    let layout = Layout::new(&logs);
    let (lock, alive) = take_lock(&layout)?;
    let rotation = rotation(first);
    let log_control = runner_log::Control::new(level(first.logs.level), rotation);
    let format = match first.logs.format {
        Format::Text => runner_log::Format::Text,
        Format::Json => runner_log::Format::Json,
    };
    let (subscriber, log_guard) =
        runner_log::subscriber(layout.runner_log(), format, log_control.clone(), options.echo);
    // In a process that has one already, such as a test, that one goes on.
    let _ = tracing::subscriber::set_global_default(subscriber);
    match start(options, layout, lock, alive, rotation, log_control.clone()) {
        Ok((daemon, generation)) => Ok(Prepared { daemon, generation, log_guard }),
        Err(error) => {
            // Written before the process ends, whatever comes then. Standard error hears it from whoever gets the error.
            log_control.end_echo();
            tracing::error!(target: "daemon", "not started: {error}");
            if let SetupError::Catalog(StartError::Settings(problems)) | SetupError::Strict(problems) = &error {
                for problem in problems {
                    tracing::error!(target: "catalog", "{problem}");
                }
            }
            drop(log_guard);
            Err(error)
        }
    }
}

fn start(
    options: StartOptions,
    layout: Layout,
    lock: Lock,
    alive: Option<SystemTime>,
    rotation: Settings,
    log_control: Arc<runner_log::Control>,
) -> Result<(Daemon, Arc<Generation>), SetupError> {
    let now = SystemClock.now();
    let signals = Signals::listen()?;
    let records = Records::new(layout.clone(), rotation);
    let cut_short = restore(&records)?;
    let groups = control_groups(layout.root());
    let _ = Means::settled(&groups);
    let groups = groups.ok().map(Arc::new);
    let unused = Unused(groups.clone());
    let shelves = Shelves::of(layout.root())?;
    match shelves.clear() {
        Ok(0) => {}
        Ok(found) => {
            tracing::warn!(target: "run", "took away the private files of {} that a crash had left behind", count(found, "run"))
        }
        Err(error) => {
            tracing::error!(target: "run", "private files that a crash left behind cannot be taken away: {error}")
        }
    }
    let (mut catalog, generation, delta) = Catalog::open(options.catalog.clone(), now)?;
    if options.strict && generation.problems.iter().any(Problem::is_error) {
        let errors = generation.problems.iter().filter(|problem| problem.is_error()).cloned().collect();
        return Err(SetupError::Strict(errors));
    }
    let settings = options.overrides.apply(&generation.settings);
    let meant = options.paths.directory.join(&settings.logs.directory);
    if !options.paths.names_logs && meant != options.paths.logs {
        return Err(SetupError::LogsElsewhere { used: options.paths.logs, meant });
    }
    if let Err(error) = orphans::adopt() {
        tracing::warn!(target: "daemon", "orphans of jobs cannot be adopted: {error}");
    }
    limits::raise_open_files(u64::from(settings.max_concurrent_runs) * 9 + 256);
    memory::give_back();
    let listener =
        socket::listen(&layout.socket()).map_err(|error| SetupError::Socket { path: layout.socket(), error })?;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let (sender, events) = unbounded_channel();
    let server = Server::start(listener, sender.clone());
    if let Some(error) = catalog.last_good_error.take() {
        tracing::error!(target: "catalog", "{error}");
    }
    let hub = Hub::default();
    let catalog = CatalogThread::start(catalog, &settings, sender.clone(), options.reload, &hub)?;
    say_start(&generation, &delta, &options);
    let queue = RecordQueue::start(records.clone())?;
    let watches = Watches::new(hub, options.paths.directory.clone(), layout.clone(), sender.clone());
    let mut daemon = Daemon::new(
        Parts {
            generation: generation.clone(),
            records,
            catalog,
            lock,
            log_control,
            directory: options.paths.directory,
            shelves,
            server,
            queue,
            watches,
            signals,
            events,
            sender,
            overrides: options.overrides.clone(),
            groups,
            once: options.once,
        },
        seed(),
    );
    match pauses::load(&layout.paused()) {
        Ok(pauses) => {
            for (job, Pause { until, since }) in pauses {
                daemon.paused_since.extend(since.map(|since| (job.clone(), since)));
                daemon.tell(EngineEvent::Pause { job, until });
            }
        }
        Err(error) => tracing::error!(target: "daemon", "paused.json is passed over, no job is paused: {error}"),
    }
    let down_since = alive.and_then(|time| Timestamp::try_from(time).ok());
    // For the one run that a person asked for, all that is left to the next real start.
    let cut_short = if options.once { CutShort::new() } else { cut_short };
    daemon.begin(Starting { down_since }, cut_short);
    unused.keep();
    Ok((daemon, generation))
}

/// How long processes that were killed may take to go.
const PATIENCE_WITH_LEFT: std::time::Duration = std::time::Duration::from_secs(5);

/// The place for control groups, which goes with a start that fails.
struct Unused(Option<Arc<Groups>>);

impl Unused {
    /// The start has not failed: the runner takes it away at its end.
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Unused {
    fn drop(&mut self) {
        if let Some(groups) = &self.0 {
            groups.remove();
        }
    }
}

/// A place for the control groups of all runs, free of what an earlier runner has left.
fn control_groups(logs: &Path) -> Result<Groups, NoGroups> {
    let groups = Home::find().and_then(|home| home.settle(&cgroup::place_name(logs)));
    match &groups {
        Ok(groups) => {
            let ended = groups.clear(PATIENCE_WITH_LEFT);
            if ended > 0 {
                tracing::warn!(target: "run", "ended {} that an earlier runner was about to start", count(ended, "process"));
            }
        }
        Err(error) => tracing::debug!(target: "daemon", "runs have no control groups: {error}"),
    }
    groups
}

/// Reads the records back, and settles runs that a crash cut short.
fn restore(records: &Arc<Records>) -> Result<CutShort, SetupError> {
    let mut unfinished = Vec::new();
    for (job, restored) in restore_all(&records.layout, TornTail::Cut) {
        match restored {
            Ok(restored) => {
                if restored.torn > 0 {
                    tracing::warn!(target: "record", "{job}: a half-written record of {} was cut off", count(restored.torn, "byte"));
                }
                if restored.unreadable > 0 {
                    tracing::warn!(target: "record", "{job}: passed over {} at the end of runs.log that could not be read as a record", count(restored.unreadable, "line"));
                }
                let log = records.restored(&job, restored);
                unfinished.extend(log.unfinished().into_iter().map(|start| (log.clone(), start)));
            }
            Err(error) => {
                tracing::error!(target: "record", "{job}: the records cannot be read, its counts begin anew: {error}")
            }
        }
    }
    if let Some(run) = interrupted::own_run(&unfinished) {
        return Err(SetupError::PartOfRun(run));
    }
    let place = cgroup::place_name(records.layout.root());
    let ended = interrupted::settle(&unfinished, &place);
    if ended > 0 {
        tracing::warn!(target: "run", "ended {} that interrupted runs had left behind", count(ended, "process"));
    }
    let mut cut_short = CutShort::new();
    // Files that it had are for another run anyway: their watch's ledger knows of them.
    let had_files = |by| matches!(by, TriggeredBy::Watch | TriggeredBy::Replay);
    for (_, start) in unfinished.into_iter().filter(|(_, start)| !had_files(start.triggered_by)) {
        cut_short.entry(start.job).or_default().push((start.due, start.parents));
    }
    Ok(cut_short)
}

fn say_start(generation: &Generation, delta: &Delta, options: &StartOptions) {
    if options.once {
        return;
    }
    tracing::info!(
        target: "daemon",
        "start: runner {} with PID {}, {} ({} stale, {} invalid) in {}, logs in {}, generation {} {}",
        env!("CARGO_PKG_VERSION"),
        std::process::id(),
        count(generation.jobs.len(), "job"),
        generation.stale(),
        generation.invalid.len(),
        options.paths.jobs.display(),
        options.paths.logs.display(),
        generation.number,
        generation.fingerprint,
    );
    say_findings(generation, delta);
}

/// Random enough to tell run ids of two runners apart.
fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

pub(super) fn rotation(spec: &RunnerSpec) -> Settings {
    let synced = match spec.logs.sync {
        SyncLogs::None => Synced::Nothing,
        SyncLogs::Run => Synced::Runs,
        SyncLogs::Always => Synced::Everything,
    };
    Settings { max_size: spec.logs.max_size.0, max_files: spec.logs.max_files, synced }
}

pub(super) fn level(level: Level) -> tracing::Level {
    match level {
        Level::Error => tracing::Level::ERROR,
        Level::Warn => tracing::Level::WARN,
        Level::Info => tracing::Level::INFO,
        Level::Debug => tracing::Level::DEBUG,
        Level::Trace => tracing::Level::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_never_writes_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let name = dir.path().join(format!(".probe-{}", std::process::id()));
        std::os::unix::fs::symlink(&victim, &name).unwrap();
        probe(dir.path()).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
