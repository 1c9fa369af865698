use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::Verb;
use super::ask::running;
use super::context::Context;
use super::error::CliError;
use super::output::{print, print_json, safe};
use crate::action::Work;
use crate::catalog::{Catalog, Generation, StartError};
use crate::model::{Clock, Firing, Problem, TriggeredBy, count};
use crate::os::clock::SystemClock;
use crate::spec::MissingVariable;
use crate::trigger::Armed;
use crate::watch::Health;

#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// One JSON document
    #[arg(long)]
    json: bool,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    state: State,
    message: String,
    help: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Good,
    Warning,
    Bad,
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn good(&mut self, check: &'static str, message: impl Into<String>) {
        self.0.push(Finding { check, state: State::Good, message: message.into(), help: None });
    }

    fn warning(&mut self, check: &'static str, message: impl Into<String>, help: impl Into<String>) {
        self.0.push(Finding { check, state: State::Warning, message: message.into(), help: Some(help.into()) });
    }

    fn bad(&mut self, check: &'static str, message: impl Into<String>, help: impl Into<String>) {
        self.0.push(Finding { check, state: State::Bad, message: message.into(), help: Some(help.into()) });
    }
}

impl Verb for Doctor {
    fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let mut findings = Findings::default();
        settings(context, &mut findings);
        jobs(context, &mut findings);
        logs(context, &mut findings);
        runner(context, &mut findings);
        system(context, &mut findings);
        let Findings(findings) = findings;
        let bad = findings.iter().filter(|finding| finding.state == State::Bad).count();
        if self.json {
            print_json(&findings)?;
        } else {
            let mut text = String::new();
            for finding in &findings {
                let mark = match finding.state {
                    State::Good => "\x1b[32m✓\x1b[0m",
                    State::Warning => "\x1b[33m!\x1b[0m",
                    State::Bad => "\x1b[31m✗\x1b[0m",
                };
                text.push_str(&format!("{mark} {}: {}\n", finding.check, safe(&finding.message)));
                if let Some(help) = &finding.help {
                    text.push_str(&format!("    {}\n", safe(help)));
                }
            }
            print(&text)?;
        }
        Ok(if bad > 0 { ExitCode::from(1) } else { ExitCode::SUCCESS })
    }
}

fn settings(context: &Context, findings: &mut Findings) {
    let errors: Vec<&Problem> = context.settings_problems.iter().filter(|problem| problem.is_error()).collect();
    match errors.first() {
        None => findings.good(
            "settings",
            format!("runner.yaml is fine or absent, times are meant in {}", context.settings.timezone),
        ),
        Some(first) => findings.bad("settings", first.to_string(), "`runner validate` shows the place"),
    }
}

fn jobs(context: &Context, findings: &mut Findings) {
    let generation = match Catalog::open(context.catalog_options(MissingVariable::Error, false), SystemClock.now()) {
        Ok((_, generation, _)) => generation,
        Err(StartError::NoJobs { path, error }) => {
            let message = format!("{} cannot be read: {error}", path.display());
            return findings.bad("jobs", message, StartError::NO_JOBS_HELP);
        }
        Err(StartError::Settings(_)) => return,
    };
    let errors = generation.problems.iter().filter(|problem| problem.is_error()).count();
    let idle = super::idle::warnings(&generation, SystemClock.now()).len();
    let warnings = generation.problems.len() - errors + idle;
    match (errors, warnings) {
        (0, 0) => findings.good("jobs", format!("{}, no problems", count(generation.jobs.len(), "job"))),
        (0, n) => findings.warning(
            "jobs",
            format!("{}, {}", count(generation.jobs.len(), "job"), count(n, "warning")),
            "`runner validate` shows them",
        ),
        (n, _) => {
            findings.bad("jobs", format!("{} in the job files", count(n, "error")), "`runner validate` shows them")
        }
    }
    commands(context, &generation, findings);
    secrets(context, &generation, findings);
    watches(context, &generation, findings);
}

/// Paths that are watched; nothing is said where there are none.
fn watches(context: &Context, generation: &Generation, findings: &mut Findings) {
    let (mut paths, mut fine) = (0, true);
    let home = crate::daemon::watches::home();
    for job in &generation.jobs {
        let files = job.armed.iter().filter_map(|(_, armed)| match armed {
            Armed::AtFiles(files) => Some(files),
            _ => None,
        });
        for (root, files) in files.flat_map(|files| {
            let roots = crate::watch::roots(files, &context.paths.directory, home.as_deref());
            roots.into_iter().map(move |root| (root, files))
        }) {
            paths += 1;
            if let Health::Missing(why) = root.outlook(files) {
                fine = false;
                let message = format!("{}: {} cannot be watched: {why}", job.name, root.path.display());
                findings.warning(
                    "watches",
                    message,
                    format!("it is waited for; make it, or mend `paths` in {}", job.file),
                );
            }
        }
    }
    if fine && paths > 0 {
        findings.good("watches", format!("{} can be watched", count(paths, "path")));
    }
}

/// Programs and directories that jobs name.
fn commands(context: &Context, generation: &Generation, findings: &mut Findings) {
    let mut fine = true;
    for job in generation.jobs.iter().filter(|job| job.spec.about.enabled) {
        let policies = &job.spec.policies;
        let directory = match &policies.working_directory {
            Some(path) => context.paths.directory.join(path),
            None => context.paths.directory.clone(),
        };
        if !directory.is_dir() {
            fine = false;
            findings.bad(
                "commands",
                format!("{}: the working directory {} does not exist", job.name, directory.display()),
                format!("make it, or mend `working_directory` in {}", job.file),
            );
            continue;
        }
        let firing = Firing::new(job.name.clone(), TriggeredBy::Manual, SystemClock.now());
        let Work::Process { argv, direct, through_shell } = job.spec.action.work(&firing);
        // Of a text for the shell, what it begins with, where that is a path as it stands.
        let of_text = || argv.get(2)?.to_str()?.split_whitespace().next().filter(|word| through_shell && is_path(word));
        let program = direct.as_ref().and_then(|words| words.first()?.to_str()).or_else(of_text);
        let Some(program) = program.or(argv.first().and_then(|program| program.to_str())) else { continue };
        let path = policies.env.get("PATH").map(Into::into).or_else(|| std::env::var_os("PATH")).unwrap_or_default();
        let found = if program.contains('/') {
            directory.join(program).exists()
        } else {
            std::env::split_paths(&path).any(|folder| folder.join(program).exists())
        };
        if !found {
            fine = false;
            findings.bad(
                "commands",
                format!("{}: the program `{program}` was not found", job.name),
                format!("install it, write its whole path, or mend PATH in `env` of {}", job.file),
            );
        }
    }
    if fine {
        let words = "the working directories of all enabled jobs are there, and so are the programs with which their commands begin";
        findings.good("commands", words);
    }
}

/// Whether a word of a command is a path to the shell as well.
fn is_path(word: &str) -> bool {
    word.contains('/') && word.chars().all(|c| c.is_alphanumeric() || "-_./+".contains(c))
}

/// Files that secrets come from; nothing is said where there are none.
fn secrets(context: &Context, generation: &Generation, findings: &mut Findings) {
    let (files, trouble) = super::secret_files::look(&context.paths.directory, generation);
    if files > 0 && trouble.is_empty() {
        findings
            .good("secrets", format!("{} with secrets can be read, by this user and not by all", count(files, "file")));
    }
    for (message, help) in trouble {
        findings.warning("secrets", message, help);
    }
}

fn logs(context: &Context, findings: &mut Findings) {
    let logs = context.paths.logs.display();
    match crate::daemon::setup::check_logs(&context.paths) {
        Ok(true) => findings.good("logs", format!("{logs} can be written to")),
        Ok(false) => findings.good("logs", format!("{logs} is not there yet and can be made")),
        Err(error) => findings.bad("logs", error.to_string(), "make it writable, or name another one with --logs"),
    }
    let existing = context.paths.logs.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    if let Ok(disk) = rustix::fs::statvfs(existing) {
        let used = 100 - disk.f_bavail.saturating_mul(100) / disk.f_blocks.max(1);
        match used {
            0..80 => findings.good("disk", format!("{used} % of the logs' disk are used")),
            80..90 => findings.warning(
                "disk",
                format!("{used} % of the logs' disk are used"),
                "logs.max_total bounds the logs",
            ),
            _ => findings.bad(
                "disk",
                format!("{used} % of the logs' disk are used"),
                "free room; logs.max_total bounds the logs",
            ),
        }
    }
}

fn runner(context: &Context, findings: &mut Findings) {
    match running(context) {
        Some(pid) => findings.good("runner", format!("running with PID {pid}")),
        None => findings.warning("runner", "not running with this logs directory", "`runner start` starts it"),
    }
}

fn system(context: &Context, findings: &mut Findings) {
    if !PathBuf::from("/bin/sh").exists() {
        findings.bad(
            "shell",
            "/bin/sh is missing, which commands in string form need",
            "install a shell, or write commands as lists",
        );
    }
    let read =
        |name: &str| std::fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).ok()?.trim().parse::<u64>().ok();
    if let Some(instances) = read("max_user_instances").filter(|limit| *limit < 32) {
        findings.warning(
            "inotify",
            format!("only {instances} watchers are allowed for this user"),
            "`sysctl fs.inotify.max_user_instances=1024` raises it; without one, changes are found by the periodic scan alone",
        );
    }
    let needed = u64::from(context.settings.max_concurrent_runs) * 6 + 256;
    let open_files = crate::os::limits::raise_open_files(needed);
    if open_files < needed {
        findings.warning(
            "open files",
            format!(
                "{} may be open at once, max_concurrent_runs of {} needs {needed}",
                count(open_files, "file"),
                context.settings.max_concurrent_runs
            ),
            "raise the hard limit (`ulimit -Hn`, LimitNOFILE=), or lower max_concurrent_runs",
        );
    }
}
