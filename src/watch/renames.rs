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
use crate::trigger::Identity;

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

    /// Another file has come to this path: what stood there is remembered, as it may have gone elsewhere. Says whether anything did that
    /// people have been told of by a run.
    pub(super) fn overwritten(&mut self, path: &Path, now: &Now) -> bool {
        let Some(other) = self.entries.by_path(path) else { return false };
        let pending = self.settling.remove(other);
        self.ready.remove(other);
        self.generations.remove(&other);
        let Some(entry) = self.entries.get_mut(other) else { return false };
        let was_there = !std::mem::replace(&mut entry.gone, true);
        if was_there {
            self.is_gone_recently(other, now);
        }
        self.look_at_followers(path, "", now);
        let Some(entry) = self.entries.get_mut(other) else { return false };
        let before = pending.map_or(entry.content(), |pending| pending.before);
        if entry.state != State::Running && before == State::Seen {
            let has_run = entry.run.is_some();
            self.entries.remove(other);
            return was_there && has_run;
        }
        if entry.state != State::Running {
            (entry.state, entry.replay) = (before, false);
        }
        let away = self.nowhere(path);
        self.entries.rename(other, &away);
        // Those of what its run has.
        self.follow_to(path, &away);
        self.line_of_move(other, path, &away, now);
        self.line(other);
        was_there
    }

    /// A path at which nothing can be, for content that is known and stands nowhere.
    pub(super) fn nowhere(&self, path: &Path) -> PathBuf {
        let number = (0u64..).find(|number| self.entries.by_path(&numbered(path, *number)).is_none());
        numbered(path, number.unwrap_or(u64::MAX))
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

    /// The content that a file had before is known, should it turn up elsewhere: another file stands in its place.
    pub(super) fn remember(&mut self, id: Id, now: &Now) {
        let Some(entry) = self.entries.get(id) else { return };
        let is_remembered = |other: Id| self.entries.get(other).is_some_and(|other| other.stat == entry.stat);
        if self.entries.with_inode(&entry.stat).any(|other| other != id && is_remembered(other)) {
            return;
        }
        let away = self.nowhere(entry.path());
        let old = Entry { gone: true, replay: false, at: now.ms(), hash: None, why: None, from: None, ..entry.clone() };
        let old = Entry { path: Entry::new(&away, old.event, old.at).path, state: State::Done, ..old };
        let old = self.entries.add(old);
        self.is_gone_recently(old, now);
        self.line(old);
    }

    /// The same, where that is so: the file that was found is another one than the one that was run for, and from now on the entry is
    /// about it. At once, and not when it is complete: the runner may be killed in between. Says whether that is so.
    pub(super) fn remember_if_replaced(&mut self, id: Id, found: &Found, now: &Now) -> bool {
        let Some(entry) = self.entries.get(id) else { return false };
        let before = match (self.settling.get(id), entry.state) {
            (_, State::Running) => State::Running,
            (Some(pending), _) => pending.before,
            (None, _) => entry.content(),
        };
        let is_other =
            entry.stat.inode != found.stat.inode && entry.stat.inode != 0 && self.tells_by_inode(entry.path());
        let is_replaced = self.files.identity == Identity::Stat && is_other && !before.is_pending();
        if is_replaced {
            // What another file is to be run for is not done.
            if self.leader_of(id).is_none() {
                self.remember(id, now);
            }
            self.entries.set_stat(id, found.stat);
            if let Some(pending) = self.settling.get_mut(id) {
                pending.before = State::Seen;
            }
            if let Some(entry) = self.entries.get_mut(id) {
                entry.before = None;
            }
        }
        is_replaced
    }
}
