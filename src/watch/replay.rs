//! Files are run for once more because somebody asks for it.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::book::Book;
use super::entry::{Entry, State};
use super::ledger::{self, Ledger};
use super::line::Line;
use super::shared::now;
use super::stat::file_at;
use crate::model::{FileEvent, path_of};

/// Which files are meant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// Those whose run has failed.
    #[serde(default)]
    pub failed: bool,
    /// Those that came to the state that they are in after this time.
    #[serde(with = "crate::model::serde_rfc3339::option", default)]
    pub since: Option<Timestamp>,
    /// These alone, each as text and, where that is not exact, as base64.
    #[serde(default)]
    pub paths: Vec<(String, Option<String>)>,
}

/// What became of each file that was meant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Replayed {
    /// They are run for again.
    pub files: Vec<String>,
    /// They are not.
    pub refused: Vec<Refused>,
}

/// A file that is not run for again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    pub path: String,
    pub why: String,
}

impl Selection {
    /// The files that are named; `None`: none are, it is about what they are. A name that is none of any file is of nobody, and never
    /// stands for all.
    fn named(&self) -> Option<Vec<PathBuf>> {
        let path = |(text, base64): &(String, Option<String>)| {
            path_of(text, base64.as_deref()).unwrap_or_else(|| PathBuf::from(text))
        };
        (!self.paths.is_empty()).then(|| self.paths.iter().map(path).collect())
    }

    /// Whether an entry is meant by what it is, not by its name.
    fn means(&self, entry: &Entry) -> bool {
        let is_processed = match self.failed {
            true => entry.state == State::Failed,
            false => matches!(entry.state, State::Done | State::Failed),
        };
        let since = self.since.map_or(i64::MIN, Timestamp::as_millisecond);
        is_processed && !entry.gone && !entry.path.contains(&0) && entry.at >= since
    }
}

impl Book {
    /// The files that are meant.
    pub fn meant(&self, selection: &Selection) -> Vec<PathBuf> {
        if let Some(named) = selection.named() {
            return named;
        }
        let mut found = self.select(|entry| selection.means(entry));
        found.sort();
        found
    }
}

/// The same without a running runner: the ledger says so, and the next start does it. Only for whoever holds the lock of the logs
/// directory. `dry_run`: nothing is written.
///
/// # Errors
/// The ledger cannot be read or written.
pub fn replay_offline(path: &Path, selection: &Selection, dry_run: bool) -> io::Result<Replayed> {
    let loaded = ledger::load(path)?;
    let meant: Vec<PathBuf> = match selection.named() {
        Some(named) => named,
        None => {
            let all = loaded.entries.iter().map(|(_, entry)| entry).filter(|entry| selection.means(entry));
            let mut all: Vec<PathBuf> = all.map(|entry| entry.path().to_path_buf()).collect();
            all.sort();
            all
        }
    };
    let mut replayed = Replayed::default();
    let mut lines = Vec::new();
    for path in meant {
        let entry = loaded.entries.by_path(&path).and_then(|id| loaded.entries.get(id));
        let why_not = match (entry, file_at(&path)) {
            (None, _) => Some("the watch does not know this file".to_string()),
            (Some(entry), _) if entry.state.is_pending() => Some("it is to be run for already".to_string()),
            (_, Err(error)) => Some(format!("it cannot be looked at: {error}")),
            (_, Ok(None)) => Some("it is not there any more".to_string()),
            (Some(entry), Ok(Some(_))) => {
                let event = if entry.event == FileEvent::Deleted { FileEvent::Created } else { entry.event };
                let at = now().time.as_millisecond();
                let before = Some(entry.state);
                let again = Entry { state: State::Seen, before, replay: true, gone: false, event, at, ..entry.clone() };
                Line::of(&again).put(&mut lines);
                None
            }
        };
        let name = path.to_string_lossy().into_owned();
        match why_not {
            Some(why) => replayed.refused.push(Refused { path: name, why }),
            None => replayed.files.push(name),
        }
    }
    if !dry_run && !lines.is_empty() {
        if loaded.torn > 0 {
            crate::record::Journal::cut(path, loaded.torn)?;
        }
        Ledger::new(path.to_path_buf()).writer().append(&lines)?;
    }
    Ok(replayed)
}
