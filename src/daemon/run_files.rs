//! The files of a run of a watch: written down before it begins, handed to its command, and settled after its end.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::requests::CANCELLED;
use super::watches::why_failed;
use crate::engine::REPLACED;
use crate::model::Status;
use crate::model::{FileEvent, Input, RunId, count, lock};
use crate::os::private::{Owner, PrivateFiles, Shelves};
use crate::record::{End, RunFacts};
use crate::trigger::{BatchMode, Files};
use crate::watch::{Ended, LastLook, Root, Shared, file_at, now};

/// The name of the file that RUNNER_ITEMS names.
const ITEMS: &str = "items.jsonl";

/// What stands in the environment of a command that is for files.
pub(super) struct Handed {
    pub env: Vec<(OsString, OsString)>,
    /// Taken away with this.
    _files: Option<PrivateFiles>,
}

/// Puts the list of what arrived where the command can read it.
///
/// # Errors
/// There is no place for it, in words.
#[inline(never)]
pub(super) fn hand(
    input: Option<&Input>,
    facts: &RunFacts,
    shelves: &Shelves,
    owner: Option<Owner>,
) -> Result<Handed, String> {
    let Some(input) = input else { return Ok(Handed { env: Vec::new(), _files: None }) };
    let lines: String = input.items.iter().map(crate::model::Item::line).collect();
    let name = format!("{}.items", facts.run);
    let files = shelves.put(&name, &[(ITEMS, lines.as_bytes())], owner);
    let files = files.map_err(|error| format!("the list of its files cannot be written: {error}"))?;
    let mut env = vec![("RUNNER_ITEMS".into(), files.path_of(ITEMS).into_os_string())];
    if let Some(item) = input.one() {
        env.push(("RUNNER_PATH".into(), item.path.clone().into_os_string()));
        env.push(("RUNNER_EVENT".into(), item.event.as_str().into()));
    }
    Ok(Handed { env, _files: Some(files) })
}

/// A run's files and who keeps them.
pub(super) struct RunFiles<'a> {
    pub shared: &'a Arc<Shared>,
    pub input: &'a Input,
    /// The runner ends its runs.
    pub stopping: &'a AtomicBool,
}

impl RunFiles<'_> {
    /// What the run is for, in one word or two.
    fn what(&self) -> String {
        match self.input.one() {
            Some(item) => self.shared.name(&item.path),
            None => count(self.input.items.len(), "file"),
        }
    }

    /// Looks at each file once more: with polling the last look is a while ago. What is not there any more, or is another content, is
    /// not for this run. What is left for it; `None`: all of it.
    pub fn look(&self, run: RunId) -> Option<Arc<Input>> {
        let looked = self.input.items.iter().map(|item| {
            let look = match item.event {
                FileEvent::Deleted => LastLook::Skipped,
                FileEvent::Created | FileEvent::Modified | FileEvent::Renamed => match file_at(&item.path) {
                    Ok(Some(found)) => LastLook::Found(found),
                    Ok(None) => LastLook::Gone,
                    Err(_) => LastLook::Skipped,
                },
            };
            (item.path.as_path(), look)
        });
        let looked: Vec<(&Path, LastLook)> = looked.collect();
        let kept = lock(&self.shared.book).keep(run, &looked, &now());
        if kept.iter().all(|is_kept| *is_kept) {
            return None;
        }
        for ((path, look), _) in looked.iter().zip(&kept).filter(|(_, is_kept)| !**is_kept) {
            let why = if *look == LastLook::Gone { "it is gone" } else { "it has changed" };
            let (job, name) = (&self.shared.job, self.shared.name(path));
            tracing::info!(target: "watch", "{job}: {name} is not run for now: {why} since it was looked at last");
        }
        let items = self.input.items.iter().zip(&kept).filter(|(_, is_kept)| **is_kept).map(|(item, _)| item.clone());
        Some(Arc::new(Input { items: items.collect(), is_each: self.input.is_each }))
    }

    /// Before a further attempt: they may have other names by now. `None`: they are as they were.
    pub fn look_again(&self, run: RunId) -> Option<Arc<Input>> {
        let items = lock(&self.shared.book).items_again(run);
        let is_another = !items.is_empty() && items != self.input.items;
        is_another.then(|| Arc::new(Input { items, is_each: self.input.is_each }))
    }

    /// Before the program begins: from here on the ledger says that this run has them.
    pub fn begin(&self) {
        self.shared.flush_now();
        self.shared.say_noticed();
        let again = self.input.one().is_some_and(|item| item.event == FileEvent::Modified);
        let verb = if again { "Reprocessing" } else { "Processing" };
        tracing::info!(target: "watch", "{}: {verb} {}...", self.shared.job, self.what());
    }

    /// After the last attempt: what became of them.
    pub fn end(&self, end: &End) {
        let files = lock(&self.shared.book).files().clone();
        let how = how(end, &files, self.stopping.load(Ordering::Acquire));
        let folder = match &how {
            Ended::Done => files.on_success.as_deref(),
            Ended::Failed(_) => files.on_failure.as_deref(),
            Ended::Again => None,
        };
        let stay = folder.map(|folder| self.move_to(folder, end.run)).unwrap_or_default();
        {
            let mut book = lock(&self.shared.book);
            book.ended(end.run, &how, &now());
            stay.iter().for_each(|(path, why)| book.stays(path, why));
        }
        self.shared.flush_now();
        self.say(end, &how);
    }

    /// After it is written down.
    fn say(&self, end: &End, how: &Ended) {
        let job = &self.shared.job;
        let seconds = end.duration_ms as f64 / 1000.0;
        let what = self.what();
        match how {
            Ended::Done => {
                let verb = match self.input.one().map(|item| item.event) {
                    Some(FileEvent::Created) => "Added",
                    Some(FileEvent::Modified) => "Updated",
                    Some(FileEvent::Deleted) => "Removed",
                    Some(FileEvent::Renamed) => "Renamed",
                    None => "Processed",
                };
                tracing::info!(target: "watch", "{job}: ✓ {verb} {what} ({seconds:.1}s)");
            }
            Ended::Failed(why) => tracing::warn!(target: "watch", "{job}: ✗ Failed {what} ({seconds:.1}s): {why}"),
            Ended::Again => {
                tracing::info!(target: "watch", "{job}: {what} will be processed again: {}", why_failed(end))
            }
        }
    }

    /// Moves the files to where processed ones go. Which of them stay where they are, and why.
    fn move_to(&self, folder: &str, run: RunId) -> Vec<(PathBuf, String)> {
        let roots: Vec<Root> = lock(&self.shared.health).iter().map(|(root, _)| root.clone()).collect();
        // They may have other names by now.
        let paths: Vec<PathBuf> = {
            let book = lock(&self.shared.book);
            let files = book.files_of(run).into_iter().filter(|entry| entry.event != FileEvent::Deleted);
            files.map(|entry| entry.path().to_path_buf()).collect()
        };
        let stay = paths.into_iter().filter_map(|path| {
            let why = self.shared.put_away(&path, &roots, folder).err()?;
            tracing::warn!(target: "watch", "{}: {} {why}", self.shared.job, path.display());
            Some((path, why))
        });
        stay.collect()
    }
}

/// The same, where the record of its end is all that is known of the run.
pub(super) fn how_recorded(end: &End, files: &Files) -> Ended {
    // Between two attempts what the last one came to stands behind it.
    let is_named = |error: &str| [CANCELLED, REPLACED].iter().any(|reason| error.starts_with(reason));
    how(end, files, !end.error.as_deref().is_some_and(is_named))
}

/// What a run's end means for its files.
fn how(end: &End, files: &Files, is_stopping: bool) -> Ended {
    match end.status {
        Status::Success => Ended::Done,
        Status::Interrupted => Ended::Again,
        Status::Cancelled if is_stopping => Ended::Again,
        // They are part of the batch that replaced it.
        Status::Cancelled
            if files.mode == BatchMode::All
                && end.error.as_deref().is_some_and(|error| error.starts_with(REPLACED)) =>
        {
            Ended::Again
        }
        Status::Cancelled | Status::Failed | Status::Timeout => Ended::Failed(why_failed(end)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::trigger::{Armed, Trigger, TriggerContext};

    #[test]
    fn what_a_person_cancelled_is_not_run_for_again_also_where_the_record_alone_tells() {
        let trigger = Trigger::from_value("watch", json!({ "paths": ["in"] })).unwrap().unwrap();
        let armed = trigger.arm(TriggerContext::of("w", &jiff::tz::TimeZone::UTC));
        let Some(Armed::AtFiles(files)) = armed else { panic!("{armed:?}") };
        let how = |status: &str, error: &str| {
            let at = "2026-01-15T09:00:00.000Z";
            let end: End = serde_json::from_value(json!({
                "run": "019bc0f0-5c00-7000-8000-000000000001", "job": "w", "n": 1, "failures": 1, "triggered_by": "WATCH", "due": at,
                "started": at, "ended": at, "duration_ms": 0, "late_ms": 0, "attempt": 1, "status": status, "exit_code": 1,
                "signal": null, "error": error, "output": { "bytes": 0, "lines": 0, "truncated": false }, "usage": null,
                "spec": null, "commit": null,
            }))
            .unwrap();
            how_recorded(&end, &files)
        };
        for (status, error, is_again) in [
            ("cancelled", CANCELLED.to_string(), false),
            ("cancelled", format!("{CANCELLED}; attempt 1: exit code 1"), false),
            ("cancelled", format!("{REPLACED} x"), false),
            (
                "cancelled",
                "the runner stopped while the run waited for its next attempt; attempt 1: exit code 1".into(),
                true,
            ),
            ("interrupted", "the runner ended while the run was active".into(), true),
            ("failed", "exit code 1".into(), false),
        ] {
            assert_eq!(matches!(how(status, &error), Ended::Again), is_again, "{status}: {error}");
        }
    }
}
