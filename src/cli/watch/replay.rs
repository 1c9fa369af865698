use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use jiff::{SignedDuration, Timestamp};

use super::about::about;
use super::explain::named;
use crate::cli::ask::{ask, running};
use crate::cli::context::{Context, job_name};
use crate::cli::error::CliError;
use crate::cli::output::{print, print_json, safe};
use crate::daemon::control::Request;
use crate::daemon::setup::take_lock;
use crate::model::{Clock, HumanDuration, JobName, count, put_path};
use crate::os::clock::SystemClock;
use crate::watch::{Refused, Replayed, Selection, replay_offline};

#[derive(Debug, Args)]
pub struct Replay {
    /// The watch's job
    #[arg(value_parser = job_name)]
    job: JobName,
    /// The files: from here, or from a watched path
    #[arg(conflicts_with_all = ["failed", "since"])]
    files: Vec<PathBuf>,
    /// All files whose run has failed
    #[arg(long)]
    failed: bool,
    /// Only what was run for in the time up to now, such as 2d, or since a time such as 2024-01-15T09:00
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Say what would be run for, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

impl Replay {
    pub fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        if self.files.is_empty() && !self.failed && self.since.is_none() {
            return Err(CliError::usage("which files are meant is not said")
                .help("name them, or write --failed, or --since such as 2d; --dry-run shows what would be run for"));
        }
        let since = self.since.as_deref().map(|text| since(text, context)).transpose()?;
        let about = about(context, &self.job)?;
        let paths = self.files.iter().map(|file| named(file, &about).map(as_text)).collect::<Result<Vec<_>, _>>()?;
        let selection = Selection { failed: self.failed, since, paths };
        let is_running = running(context).is_some();
        let replayed = match is_running {
            true => {
                let request = Request::Replay { job: self.job.clone(), selection, dry_run: self.dry_run };
                let (_, answer) = ask(context, &request)?;
                serde_json::from_value(answer).map_err(|error| CliError::failed(error.to_string()))?
            }
            false => {
                // The ledger is this one's meanwhile.
                let _lock = take_lock(&context.layout())?;
                replay_offline(&about.path, &selection, self.dry_run)?
            }
        };
        self.say(&replayed, is_running)
    }

    fn say(&self, replayed: &Replayed, is_running: bool) -> Result<ExitCode, CliError> {
        if self.json {
            print_json(replayed)?;
        } else {
            let text: String = replayed.files.iter().map(|file| format!("{}\n", safe(file))).collect();
            print(&text)?;
            for Refused { path, why } in &replayed.refused {
                anstream::eprintln!("note: {}: {why}", safe(path));
            }
            let files = count(replayed.files.len(), "file");
            match (self.dry_run, is_running) {
                (true, _) => anstream::eprintln!("{files} would be run for again"),
                (false, true) => anstream::eprintln!("{files} will be run for again"),
                (false, false) => anstream::eprintln!("{files} will be run for again once a runner runs"),
            }
        }
        // A named file that is not run for is not what was asked for.
        let failed = !self.files.is_empty() && !replayed.refused.is_empty();
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// A path as text, and exactly where that is not the same.
fn as_text(path: PathBuf) -> (String, Option<String>) {
    let mut map = serde_json::Map::new();
    put_path(&mut map, "path", &path);
    let text = |key: &str| map.get(key).and_then(|value| value.as_str()).map(str::to_string);
    (text("path").unwrap_or_default(), text("path_base64"))
}

/// A length of time back from now, or a time.
fn since(text: &str, context: &Context) -> Result<Timestamp, CliError> {
    match text.parse::<HumanDuration>() {
        Ok(HumanDuration(length)) => {
            let back = SignedDuration::try_from(length.max(Duration::ZERO)).unwrap_or(SignedDuration::MAX);
            Ok(SystemClock.now().checked_sub(back).unwrap_or(Timestamp::MIN))
        }
        Err(_) => crate::cli::moment::time(text, context),
    }
}
