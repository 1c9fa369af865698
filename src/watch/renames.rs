//! Files that have other names now, and what stood where they are.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::book::{Book, Noticed, Now, Sight};
use super::entries::Id;
use super::entry::{Entry, State};
use super::line::Line;
use super::noticing::not_among;
use super::settling::Pending;
use super::stat::Found;
use crate::model::FileEvent;

/// Within so long the two halves of a rename are told.
pub(super) const RENAME: Duration = Duration::from_secs(2);

/// The path at which content stood that is known and stands nowhere.
pub(super) fn real_path(path: &Path) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    Path::new(OsStr::from_bytes(&bytes[..end])).to_path_buf()
}

/// No path holds a NUL: nothing is ever found there.
pub(super) fn numbered(path: &Path, number: u64) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(format!("\0{number}"));
    name.into()
}

impl Book {
    /// A file has another name.
    pub(super) fn renamed(&mut self, id: Id, path: &Path, found: &Found, sight: Sight, now: &Now) -> Option<Noticed> {
        if self.entries.by_path(path) == Some(id) {
            return None;
        }
        let is_overwritten = self.overwritten(path, now);
        let from = self.entries.get(id)?.path().to_path_buf();
        let inode = |found: &Found| (found.stat.dev, found.stat.inode);
        let is_other = |pending: &Pending| pending.found.is_some_and(|other| inode(&other) != inode(found));
        let other = self.settling.get(id).is_some_and(is_other).then(|| self.settling.remove(id)).flatten();
        if let (Some(pending), Some(entry)) = (&other, self.entries.get_mut(id)) {
            // What was noticed at the old path is another file: the history goes along, and that one begins anew.
            if entry.state != State::Running {
                entry.state = pending.before;
            }
        }
        self.entries.rename(id, path);
        self.follow_to(&from, path);
        let is_itself_again = other.is_some();
        if let Some(pending) = other {
            let event = if pending.event == FileEvent::Modified { FileEvent::Created } else { pending.event };
            let entry = Entry { mark: self.mark, ..Entry::new(&from, event, now.ms()) };
            let found = pending.found;
            let new = self.entries.add(entry);
            self.settling.put(new, Pending { event, before: State::Seen, after_run: false, ..pending });
            if let Some(found) = found {
                self.entries.set_stat(new, found.stat);
                self.noted(new, &found, Sight::Touched, now);
            }
        }
        let run = self.entries.get(id).filter(|entry| entry.state == State::Running).and_then(|entry| entry.run);
        if let Some(running) = run.and_then(|run| self.running.get_mut(&run)) {
            running.renamed.insert(id);
        }
        let mark = self.mark;
        let entry = self.entries.get_mut(id)?;
        entry.mark = mark;
        let was_gone = std::mem::take(&mut entry.gone);
        let left = self.recently_gone.remove(&id);
        let is_move = !was_gone || left.is_some_and(|at| now.instant.saturating_duration_since(at) <= RENAME);
        let event = entry.event;
        if entry.state == State::Stable && event == FileEvent::Deleted {
            // Nobody was told, and it is there.
            entry.state = entry.content();
            self.ready.remove(id);
            self.generations.remove(&id);
        }
        let entry = self.entries.get(id)?;
        let (mut state, content) = (entry.state, entry.content());
        let is_not_asked_for = state == State::Ignored && entry.why.as_deref() == Some(&not_among(FileEvent::Created));
        self.line_of_move(id, &from, path, now);
        if is_itself_again {
            self.line(id);
        }
        if let Some(pending) = self.settling.get_mut(id)
            && pending.event != FileEvent::Deleted
        {
            if is_overwritten && pending.event == FileEvent::Created {
                pending.event = FileEvent::Modified;
            }
            self.seen_again(id, found, Sight::MovedIn, now);
            return None;
        }
        if let Some(pending) = self.settling.remove(id)
            && state != State::Running
        {
            // It was to be told that it is gone; it is not.
            state = pending.before;
            self.set_state(id, state);
        }
        match state {
            State::Seen if event != FileEvent::Deleted => self.begin(id, event, content, Some(*found), sight, now),
            State::Seen => self.begin(id, FileEvent::Created, State::Seen, Some(*found), sight, now),
            State::Stable => None,
            // Nobody has run for it, and it is new where it stands now.
            State::Ignored if is_overwritten && is_not_asked_for && self.asks_for(FileEvent::Modified) => {
                self.begin(id, FileEvent::Modified, State::Seen, Some(*found), sight, now)
            }
            state if self.asks_for(FileEvent::Renamed) && is_move => {
                let from = real_path(&from);
                if let Some(entry) = self.entries.get_mut(id).filter(|_| state != State::Running) {
                    // The runner may be killed before it is complete.
                    entry.from = Some(from.clone().into());
                }
                let noticed = self.begin(id, FileEvent::Renamed, state, Some(*found), Sight::MovedIn, now);
                if let Some(pending) = self.settling.get_mut(id) {
                    pending.from = Some(from.clone());
                }
                noticed.map(|noticed| Noticed { from: Some(from), ..noticed })
            }
            _ => None,
        }
    }

    /// The ledger hears of a file's other name. One that is being written anew may have it at either name already.
    pub(super) fn line_of_move(&mut self, id: Id, from: &Path, to: &Path, now: &Now) {
        self.written += 1;
        if self.is_rewriting {
            Line::forgotten(now.time, from).put(&mut self.lines);
            self.line(id);
        } else {
            Line::moved(now.time, from, to).put(&mut self.lines);
        }
    }
}
