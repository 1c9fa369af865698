//! What a watch remembers comes into its book, once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::book::Book;
use super::ledger;
use super::shared::{Shared, now};
use super::watcher::{Past, Setup};
use crate::model::{FileEvent, RunId, count, lock};

/// What the watch remembers comes into the book.
///
/// # Errors
/// It cannot be read, in words. A ledger that is not there is none that cannot be read.
pub(super) fn read_ledger(
    shared: &Shared,
    setup: &Setup,
    path: &Path,
    past: &dyn Fn(&[RunId]) -> HashMap<RunId, Past>,
) -> Result<(), String> {
    let job = &shared.job;
    let loaded = ledger::load(path).map_err(|error| format!("the ledger cannot be read: {error}"))?;
    if loaded.torn > 0 {
        tracing::warn!(target: "watch", "{job}: half a line at the end of the ledger was cut off");
        if let Err(error) = crate::record::Journal::cut(path, loaded.torn) {
            tracing::error!(target: "watch", "{job}: it could not be: {error}");
        }
    }
    shared.ledger.was_read(loaded.bytes);
    if loaded.odd > 0 {
        let odd = count(usize::try_from(loaded.odd).unwrap_or(usize::MAX), "line");
        tracing::warn!(target: "watch", "{job}: passed over {odd} of the ledger that could not be read");
    }
    let is_running = |entry: &super::entry::Entry| entry.state == super::entry::State::Running;
    let mut runs: Vec<RunId> =
        loaded.entries.iter().filter(|(_, entry)| is_running(entry)).filter_map(|(_, entry)| entry.run).collect();
    runs.sort_unstable();
    runs.dedup();
    let known = if runs.is_empty() { HashMap::new() } else { past(&runs) };
    let ended = |run| match known.get(&run) {
        Some(Past::Ended(how)) => Some(how.clone()),
        Some(Past::CutShort) | None => None,
    };
    let ended_before: Vec<(PathBuf, bool)> = loaded
        .entries
        .iter()
        .map(|(_, entry)| entry)
        .filter(|entry| is_running(entry) && entry.event != FileEvent::Deleted)
        .filter_map(|entry| Some((entry.path().to_path_buf(), ended(entry.run?)?.is_ok())))
        .collect();
    let mut book = Book::new(setup.files.clone(), loaded, ended, &now());
    for opened in setup.roots.iter().filter_map(|root| root.open().ok()) {
        book.set_file_system(&opened.directory, opened.file_system);
    }
    let is_worth = book.is_worth_rewriting(true);
    *lock(&shared.book) = book;
    // The runner was killed after the end of their run, and before they were moved, or before that was written down.
    for (path, is_success) in ended_before {
        let folder = if is_success { &setup.files.on_success } else { &setup.files.on_failure };
        let Some(folder) = folder else { continue };
        if let Err(why) = shared.put_away(&path, &setup.roots, folder) {
            tracing::warn!(target: "watch", "{job}: {} {why}", path.display());
            lock(&shared.book).stays(&path, &why);
        }
    }
    if is_worth {
        shared.rewrite();
    }
    Ok(())
}
