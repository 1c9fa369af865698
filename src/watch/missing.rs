//! Files that are not there any more.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::book::{Book, Noticed, Now, Sight};
use super::entries::Id;
use super::entry::{Entry, State};
use super::line::Line;
use super::renames::RENAME;
use crate::model::FileEvent;
use crate::trigger::Settle;

/// So long after it went a file may be told of under another name, at least.
const MOVE: Duration = Duration::from_millis(100);
/// So many files that went a while ago cost nothing.
const FEW: usize = 1_024;

impl Book {
    /// A full look begins: what it does not find is not there.
    pub fn begin_scan(&mut self) {
        self.mark += 1;
    }

    /// What stood below a root, and the full look did not find.
    pub fn not_found(&self, root: &Path) -> Vec<PathBuf> {
        // By bytes, as entries' paths are made of their root's: there may be a million of them.
        let root = root.as_os_str().as_bytes();
        let root = root.strip_suffix(b"/").unwrap_or(root);
        let is_below = |path: &[u8]| path.strip_prefix(root).is_some_and(|rest| matches!(rest, [] | [b'/', ..]));
        let is_lost = |entry: &&Entry| !entry.gone && entry.mark != self.mark && is_below(&entry.path);
        self.entries.iter().map(|(_, entry)| entry).filter(is_lost).map(|entry| entry.path().to_path_buf()).collect()
    }

    /// What stands below any of these directories, as far as it is known.
    pub fn below(&self, directories: &HashSet<PathBuf>) -> Vec<PathBuf> {
        let is_below =
            |entry: &&Entry| !entry.gone && entry.path().ancestors().skip(1).any(|above| directories.contains(above));
        self.entries.iter().map(|(_, entry)| entry).filter(is_below).map(|entry| entry.path().to_path_buf()).collect()
    }

    /// Nothing is at this path any more.
    pub fn missing(&mut self, path: &Path, now: &Now) -> Option<Noticed> {
        self.missing_entry(self.entries.by_path(path)?, true, now)
    }

    /// Nothing is at this path any more, as another disk stands in the place of the one that it was on: that is no deletion.
    pub fn is_elsewhere(&mut self, path: &Path, now: &Now) {
        if let Some(id) = self.entries.by_path(path) {
            self.missing_entry(id, false, now);
        }
    }

    /// Takes note of when it went. Those that went long ago are let go of now and then: all of them are gone through for that.
    pub(super) fn is_gone_recently(&mut self, id: Id, now: &Now) {
        if self.recently_gone.len() >= self.most_recently_gone {
            self.recently_gone.retain(|_, at| now.instant.saturating_duration_since(*at) <= RENAME);
            self.most_recently_gone = FEW.max(self.recently_gone.len() * 2);
        }
        self.recently_gone.insert(id, now.instant);
    }

    pub(super) fn missing_entry(&mut self, id: Id, is_told: bool, now: &Now) -> Option<Noticed> {
        let entry = self.entries.get(id)?;
        if entry.gone {
            return None;
        }
        let (state, has_run, path) = (entry.state, entry.run.is_some(), entry.path().to_path_buf());
        let pending = self.settling.remove(id);
        let was_ready = self.ready.remove(id).is_some();
        self.generations.remove(&id);
        let before = pending.map_or(entry.content(), |pending| pending.before);
        let is_unprocessed = before == State::Seen;
        self.look_at_followers(&path, "", now);
        if was_ready && is_unprocessed {
            self.entries.forget_hash(id);
        }
        if is_unprocessed && !has_run {
            // Nobody has done anything with it.
            Line::forgotten(now.time, &path).put(&mut self.lines);
            self.written += 1;
            self.entries.remove(id);
            return None;
        }
        self.is_gone_recently(id, now);
        let entry = self.entries.get_mut(id)?;
        entry.gone = true;
        if state != State::Running {
            // What was not run for is, should it come back.
            entry.state = if is_unprocessed { State::Seen } else { before };
            (entry.at, entry.replay, entry.before) = (now.ms(), false, None);
        }
        if is_told && self.files.events.contains(&FileEvent::Deleted) {
            let state = entry.state;
            if state == State::Seen {
                // Wherever that content turns up, nobody has run for it.
                self.entries.forget_content(id);
            }
            let noticed = self.begin(id, FileEvent::Deleted, state, None, Sight::MovedIn, now);
            // Who saves a file may take the old one away first.
            let wait = match self.files.settle {
                Settle::After(length) => length.0.max(MOVE),
                Settle::Close => MOVE,
            };
            self.settling.check_at(id, Some(now.instant + wait));
            // It may have another name by then, where that is asked for.
            let is_told = !self.files.events.contains(&FileEvent::Renamed);
            if let Some(pending) = self.settling.get_mut(id) {
                pending.is_told = is_told;
            }
            return noticed.filter(|_| is_told);
        }
        self.line(id);
        None
    }
}
