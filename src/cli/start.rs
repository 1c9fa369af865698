use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::process::{Command, ExitCode, Stdio};

use clap::{Args, ValueEnum};

use super::Verb;
use super::context::Context;
use super::error::CliError;
use super::output::{local_with_zone, print, safe};
use crate::catalog::{Generation, StartError};
use crate::daemon::watches::home;
use crate::daemon::{Prepared, SetupError, StartOptions, setup};
use crate::spec::{Format, Level, MissingVariable};
use crate::trigger::Armed;
use crate::watch::Health;

#[derive(Debug, Args)]
pub(super) struct Start {
    /// Run in the background: print PID, paths and log file, and come back
    #[arg(long)]
    detach: bool,
    /// The least severe lines that runner.log gets
    #[arg(long, value_enum)]
    log_level: Option<LogLevel>,
    /// How runner.log's lines are written
    #[arg(long, value_enum)]
    log_format: Option<LogFormat>,
    /// Take up no changes of the files by itself; `runner reload` and SIGHUP still do
    #[arg(long)]
    no_reload: bool,
    /// Do not start if any file has an error
    #[arg(long)]
    strict: bool,
    /// Also load files that others may write to
    #[arg(long)]
    allow_insecure: bool,
    /// Do not take up last good versions of files that are broken
    #[arg(long)]
    no_last_good: bool,
    /// The background process of --detach
    #[arg(long, hide = true)]
    detached: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

const SOONEST: usize = 20;

impl Verb for Start {
    fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        if self.detach {
            return detach();
        }
        let mut overrides = context.overrides.clone();
        overrides.level = self.log_level.map(level).or(overrides.level);
        overrides.format = self.log_format.map(format).or(overrides.format);
        let settings = overrides.apply(&context.settings);
        let colour = if std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
            anstream::ColorChoice::Always
        } else {
            anstream::ColorChoice::Never
        };
        let mut catalog = context.catalog_options(MissingVariable::Error, true);
        catalog.allow_insecure = self.allow_insecure;
        catalog.use_last_good = !self.no_last_good;
        catalog.keeps_last_good = true;
        // Nothing is made where nothing can be started.
        if let Err(error) = std::fs::read_dir(&context.paths.jobs) {
            return Err(SetupError::from(StartError::NoJobs { path: context.paths.jobs.clone(), error }).into());
        }
        // The directory is made before it is resolved.
        setup::make_logs(&context.paths)?;
        catalog.last_good = Some(context.layout().last_good());
        let options = StartOptions {
            paths: context.paths.clone(),
            catalog,
            overrides,
            echo: (!self.detached).then_some(colour),
            reload: !self.no_reload,
            strict: self.strict,
            once: false,
        };
        if self.detached {
            // A session of its own: the terminal's signals are not for it.
            let _ = rustix::process::setsid();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let finished = runtime.block_on(async {
            let Prepared { daemon, generation, log_guard } = setup::prepare(options, &settings)?;
            log_panics();
            let mut text = format!(
                "{} in {}, logs in {}\n",
                crate::model::count(generation.jobs.len(), "job"),
                context.paths.jobs.display(),
                context.paths.logs.display(),
            );
            if self.detached {
                let layout = context.layout();
                text = format!(
                    "runner started in the background with PID {}\n{text}log file {}\nPID file {}\n\
                     `runner stop` ends it; after a crash or a reboot nothing starts it again but a unit of the system\n",
                    std::process::id(),
                    layout.runner_log().display(),
                    layout.lock().display(),
                );
            } else {
                for (due, job) in daemon.soonest(SOONEST) {
                    let zone = generation.job(&job).map_or_else(|| context.zone(), |job| job.zone.clone());
                    text.push_str(&format!("next: {}  {job}\n", local_with_zone(due, &zone)));
                }
                text.push_str(&watches(&generation, context));
                text.push_str("Press Ctrl+C to stop\n");
            }
            // Nobody may be reading any more; that is no reason to stop.
            let _ = print(&text);
            if self.detached {
                leave_the_terminal()?;
            }
            let finished = daemon.run().await;
            if let Err(error) = &finished {
                tracing::error!(target: "daemon", "the runner ends: {error}");
            }
            drop(log_guard);
            finished.map_err(CliError::from)
        })?;
        drop(finished);
        Ok(ExitCode::SUCCESS)
    }
}

/// The watches: path, patterns, and how each is watched.
fn watches(generation: &Generation, context: &Context) -> String {
    let mut text = String::new();
    for job in &generation.jobs {
        for (_, armed) in job.armed.iter() {
            let Armed::AtFiles(files) = armed else { continue };
            let patterns: Vec<&str> = files.patterns.iter().map(|pattern| pattern.text.as_str()).collect();
            let patterns = if patterns.is_empty() { "all files".to_string() } else { patterns.join(", ") };
            for root in crate::watch::roots(files, &context.paths.directory, home().as_deref()) {
                let path = safe(&root.path.to_string_lossy());
                let how = match root.outlook(files) {
                    Health::Missing(why) => format!(", which is waited for: {why}"),
                    there => format!(" by {there}"),
                };
                text.push_str(&format!("watch {}: {path} for {}{how}\n", job.name, safe(&patterns)));
            }
        }
    }
    text
}

/// A panic is a bug, and may end the runner: it is logged with its place, also where nobody reads standard error.
fn log_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!(target: "daemon", "this is a bug: {panic}");
        before(panic);
    }));
}

/// Starts the same again in the background, and passes on what it says until it is ready.
fn detach() -> Result<ExitCode, CliError> {
    let arguments: Vec<OsString> = std::env::args_os()
        .skip(1)
        .map(|argument| if argument == "--detach" { "--detached".into() } else { argument })
        .collect();
    let mut child = Command::new(std::env::current_exe()?)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()?;
    let mut text = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut text)?;
    }
    // It closes its output when it is ready; if it said nothing, it ends.
    if text.is_empty() {
        let status = child.wait()?;
        return Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)));
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Standard streams to nowhere: whoever started the process can go.
fn leave_the_terminal() -> Result<(), CliError> {
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null).map_err(std::io::Error::from)?;
    rustix::stdio::dup2_stdout(&null).map_err(std::io::Error::from)?;
    rustix::stdio::dup2_stderr(&null).map_err(std::io::Error::from)?;
    Ok(())
}

fn level(level: LogLevel) -> Level {
    match level {
        LogLevel::Error => Level::Error,
        LogLevel::Warn => Level::Warn,
        LogLevel::Info => Level::Info,
        LogLevel::Debug => Level::Debug,
        LogLevel::Trace => Level::Trace,
    }
}

fn format(format: LogFormat) -> Format {
    match format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Settings, Synced, runner_log};

    #[test]
    fn a_panic_is_logged_on_one_line_before_it_ends_the_runner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runner.log");
        let control = runner_log::Control::new(
            tracing::Level::INFO,
            Settings { max_size: 1 << 20, max_files: 2, synced: Synced::Nothing },
        );
        let (subscriber, guard) = runner_log::subscriber(path.clone(), runner_log::Format::Text, control, None);
        let ended = tracing::subscriber::with_default(subscriber, || {
            log_panics();
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
                // As in `run`: the loop's end lets go of it.
                let _guard = guard;
                panic!("no such\nthing");
            }))
        });
        assert!(ended.is_err());
        let log = std::fs::read_to_string(path).unwrap();
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(log.contains(" ERROR daemon: this is a bug: panicked at src/cli/start.rs:"), "{log}");
        assert!(log.ends_with(":\\nno such\\nthing\n"), "{log}");
    }
}
