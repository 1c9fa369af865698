use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value, json};

use super::about::{about, why_still};
use crate::cli::context::{Context, job_name};
use crate::cli::error::CliError;
use crate::cli::output::{print, print_json, safe, times_in};
use crate::model::{Clock, JobName, put_path};
use crate::os::clock::SystemClock;
use crate::watch::{FileRow, Watched, in_logs, plain};

#[derive(Debug, Args)]
pub struct Explain {
    /// The watch's job
    #[arg(value_parser = job_name)]
    job: JobName,
    /// The file: from here, or from a watched path
    file: PathBuf,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let about = about(context, &self.job)?;
        let path = named(&self.file, &about)?;
        let layout = context.layout();
        let watched = Watched {
            job: &self.job,
            files: &about.files,
            roots: &about.roots,
            logs: layout.root(),
            entries: &about.ledger.entries,
            stopped: why_still(context, &self.job)?,
        };
        let found = crate::watch::explain(&watched, &path, SystemClock.now());
        if self.json {
            let mut map = Map::new();
            map.insert("job".into(), json!(self.job));
            put_path(&mut map, "path", &found.path);
            map.insert("outcome".into(), found.outcome.into());
            map.insert("matched_by".into(), json!(found.matched_by));
            map.insert("ignored_by".into(), json!(found.ignored_by));
            map.insert("file".into(), found.row.as_ref().map_or(Value::Null, FileRow::json));
            map.insert("text".into(), json!(found.lines));
            print_json(&Value::Object(map))?;
            return Ok(ExitCode::SUCCESS);
        }
        let zone = context.zone();
        let mut text = format!("{}: {}\n", safe(&found.path.to_string_lossy()), found.outcome.replace('_', " "));
        for line in &found.lines {
            text.push_str(&format!("  {}\n", times_in(line, &zone)));
        }
        print(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The path that a person means: as it is from here, else below a watched path; also as logs and lists show it, which cannot show every
/// name as it is.
pub(super) fn named(file: &std::path::Path, about: &super::about::About) -> Result<PathBuf, CliError> {
    let here = plain(&std::path::absolute(file)?);
    let below = || about.roots.iter().map(|root| root.path.join(file));
    let is_watched = |path: &PathBuf| about.roots.iter().any(|root| path.starts_with(&root.path));
    let is_known = |path: &PathBuf| about.ledger.entries.by_path(path).is_some() || path.symlink_metadata().is_ok();
    let all: Vec<PathBuf> = std::iter::once(here.clone()).chain(below()).collect();
    let meant = all.iter().filter(|path| is_watched(path)).find(|path| is_known(path));
    if meant.is_none()
        && let Some(path) = shown_as(&all, about)
    {
        return Ok(path);
    }
    Ok(meant.or_else(|| all.iter().find(|path| is_watched(path))).cloned().unwrap_or(here))
}

/// The one file of the ledger that is shown as one of these.
fn shown_as(all: &[PathBuf], about: &super::about::About) -> Option<PathBuf> {
    let all: Vec<_> = all.iter().map(|path| path.to_string_lossy()).collect();
    let is_shown_so = |path: &&std::path::Path| {
        let name = path.to_string_lossy();
        all.iter().any(|one| *one == safe(&in_logs(&name)) || *one == safe(&name))
    };
    let mut found = about.ledger.entries.iter().map(|(_, entry)| entry.path()).filter(is_shown_so);
    let path = found.next()?.to_path_buf();
    found.next().is_none().then_some(path)
}
