//! Another file stands where one was: what stood there is remembered, as it may have gone elsewhere, and what is to come is for the other.

use std::path::{Path, PathBuf};

use super::book::{Book, Now};
use super::entries::Id;
use super::entry::{Entry, State};
use super::noticing::not_among;
use super::renames::numbered;
use super::stat::{Found, Stat};
use crate::model::FileEvent;
use crate::trigger::Identity;

impl Book {
    /// Whether another file stands at the path of one that is known.
    pub fn is_another(&self, path: &Path, found: &Found) -> bool {
        let known = self.entries.by_path(path).and_then(|id| self.entries.get(id)).filter(|entry| !entry.gone);
        known.is_some_and(|entry| self.are_two(path, &entry.stat, &found.stat))
    }

    /// Whether these are of two files, as far as the file system of that path tells.
    pub(super) fn are_two(&self, path: &Path, one: &Stat, other: &Stat) -> bool {
        one.inode != other.inode && self.tells_by_inode(path)
    }

    /// What happened makes no run.
    pub(super) fn makes_no_run(&mut self, id: Id, event: FileEvent, found: &Found, now: &Now) {
        let Some(entry) = self.entries.get(id) else { return };
        if entry.state == State::Running && self.are_two(entry.path(), &entry.stat, &found.stat) {
            // Its run has what stood there.
            let path = entry.path().to_path_buf();
            self.overwritten(&path, now);
            let entry = Entry { mark: self.mark, stat: found.stat, ..Entry::new(&path, event, now.ms()) };
            let id = self.entries.add(Entry { state: State::Ignored, why: Some(not_among(event).into()), ..entry });
            self.line(id);
            return;
        }
        // What was run for may turn up elsewhere, and this one was not.
        if self.remember_if_replaced(id, found, now)
            && let Some(entry) = self.entries.get_mut(id)
        {
            (entry.state, entry.event, entry.at) = (State::Ignored, event, now.ms());
            entry.why = Some(not_among(event).into());
        }
        self.entries.set_stat(id, found.stat);
        self.line(id);
    }

    /// What it is that a file stands where another one went, and nobody was told of that.
    pub(super) fn event_in_its_place(&self) -> FileEvent {
        match self.asks_for(FileEvent::Modified) {
            true => FileEvent::Modified,
            false => FileEvent::Created,
        }
    }

    /// Another file has taken the place of one whose other name was still to be told: what stands there has no name before.
    pub(super) fn is_no_rename(&mut self, id: Id) {
        let event = self.event_in_its_place();
        let Some(entry) = self.entries.get_mut(id) else { return };
        if let Some(pending) = self.settling.get_mut(id)
            && pending.event == FileEvent::Renamed
        {
            (pending.event, pending.from) = (event, None);
            if entry.state != State::Running {
                (entry.event, entry.from) = (event, None);
            }
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
        let is_other = entry.stat.inode != 0 && self.are_two(entry.path(), &entry.stat, &found.stat);
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
