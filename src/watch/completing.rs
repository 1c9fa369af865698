//! Files that hold still are looked at, and are complete then, or not yet.

use std::path::PathBuf;
use std::time::Instant;

use super::book::{Book, Due, Looked, Noticed, Now, Sight};
use super::entries::Id;
use super::entry::{Entry, Hash, State};
use super::file_system::Inodes;
use super::followers::SAME;
use super::noticing::not_among;
use super::ready::Arrived;
use super::renames::real_path;
use super::stat::{Found, Stat};
use crate::model::FileEvent;
use crate::trigger::{Identity, Settle};

impl Book {
    /// When to look at the next file.
    pub fn next_look(&self) -> Option<Instant> {
        self.settling.next()
    }

    /// Files that have to be looked at now.
    pub fn due(&mut self, now: &Now, most: usize) -> Vec<Due> {
        let ids = self.settling.due(now.instant, most);
        let due = ids.into_iter().filter_map(|id| {
            let (pending, entry) = (self.settling.get(id)?, self.entries.get(id)?);
            let is_close = self.files.settle == Settle::Close;
            Some(Due {
                id,
                path: entry.path().to_path_buf(),
                hash: self.files.identity == Identity::Hash && pending.found.is_some() && entry.state != State::Running,
                open: is_close && !pending.is_closed && pending.found.is_some(),
            })
        });
        due.collect()
    }

    /// Whether it is gone could not be seen. That is to be told, and no scan looks for what is gone already.
    pub fn look_again(&mut self, id: Id, at: Instant) {
        if self.settling.get(id).is_some_and(|pending| pending.found.is_none()) {
            self.settling.check_at(id, Some(at));
        }
    }

    /// Whether what was found at a file's path is what stands, or stood, at another one as well: then it is to be told as found, with
    /// that as its twin.
    pub fn is_known_elsewhere(&self, id: Id, found: &Found) -> bool {
        let is_other = self.settling.get(id).and_then(|pending| pending.found).is_some_and(|it| it.stat != found.stat);
        is_other && self.entries.get(id).is_some_and(|entry| self.twin_of(entry.path(), &found.stat).is_some())
    }

    /// A file was looked at: it is complete now, or not yet.
    pub fn looked(&mut self, id: Id, looked: Looked, now: &Now) -> Option<Noticed> {
        let pending = self.settling.get(id)?;
        match (looked.found, pending.found) {
            (None, Some(_)) => return self.missing_entry(id, true, now),
            (None, None) if self.entries.get(id)?.state == State::Running => {
                let pending = self.settling.get_mut(id)?;
                pending.after_run = true;
                return self.deletion(id);
            }
            (None, None) => {
                let deletion = self.deletion(id);
                self.complete(id, Stat::default(), None, now);
                return deletion;
            }
            (Some(found), before) if before.is_none_or(|before| before.stat != found.stat) => {
                if let Some(entry) = self.entries.get_mut(id) {
                    entry.gone = false;
                }
                self.seen_again(id, &found, Sight::Scan { first: None }, now);
                return None;
            }
            (Some(_), _) => {}
        }
        let found = looked.found?;
        let pending = self.settling.get_mut(id)?;
        if looked.is_open {
            // Its closing is told of; should that be lost, it is looked at again.
            (pending.quiet_since, pending.is_open, pending.is_only_made) = (now.instant, true, false);
            self.schedule(id, now);
            return None;
        }
        if self.files.done_file.is_some() && !looked.is_done {
            let is_news = !std::mem::replace(&mut pending.awaits_done, true);
            if is_news && self.entries.get(id).is_some_and(|entry| entry.state == State::Seen) {
                self.line(id);
            }
            return None;
        }
        let before = pending.before;
        if self.entries.get(id)?.state == State::Running {
            pending.after_run = true;
            return None;
        }
        if self.is_as_before(id, &found) {
            self.settling.remove(id);
            self.generations.remove(&id);
            if let Some(entry) = self.entries.get_mut(id) {
                (entry.state, entry.at) = (before, now.ms());
            }
            self.line(id);
            return self.passed_over(id, "its content is the same as before");
        }
        let event = self.event_that_counts(id, &found)?;
        if !self.asks_for(event) && !self.entries.get(id)?.replay {
            return self.is_not_asked_for(id, event, &found, now);
        }
        let is_change = matches!(event, FileEvent::Created | FileEvent::Modified);
        if is_change
            && !self.entries.get(id)?.replay
            && let Some(other) = self.same_file(id, &found)
        {
            // Both were taken for new ones, as a crash may have them.
            self.settling.remove(id);
            self.generations.remove(&id);
            self.is_link_to(id, &found, &other, now);
            return self.passed_over(id, &format!("{}{}", SAME[0], real_path(&other).display()));
        }
        if let Some(hash) = looked.hash
            && !self.entries.get(id)?.replay
            && is_change
            && let Some(other) = self.entries.by_hash(&hash)
            // What has failed is delivered once more for a reason.
            && !self.has_failed(other)
            && self.is_run_for(other)
        {
            return self.is_not_new(id, &found, hash, other, now);
        }
        self.complete(id, found.stat, looked.hash, now);
        None
    }

    /// Another name of the same file, for which a run has this content, had it, or is to have it next.
    fn same_file(&self, id: Id, found: &Found) -> Option<PathBuf> {
        let path = self.entries.get(id)?.path();
        let inodes = self.inodes(path);
        if self.files.identity == Identity::Path || inodes == Inodes::MadeUp {
            return None;
        }
        let born = if inodes == Inodes::Last { found.stat.born } else { 0 };
        let has_run = |other: &Entry| match other.content() {
            State::Done | State::Failed => true,
            State::Running => other.event != FileEvent::Deleted,
            State::Seen => other.state == State::Stable && other.event != FileEvent::Deleted,
            State::Stable | State::Ignored => false,
        };
        let is_it = |other: &Id| *other != id && self.entries.get(*other).is_some_and(has_run);
        let other = self.entries.by_stat(&Stat { born, ..found.stat }, is_it)?;
        self.entries.get(other).map(|other| other.path().to_path_buf())
    }

    /// The content that was run for is there again: another one stood there only for a moment.
    pub(super) fn is_as_before(&self, id: Id, found: &Found) -> bool {
        let (Some(pending), Some(entry)) = (self.settling.get(id), self.entries.get(id)) else { return false };
        let is_change = matches!(pending.event, FileEvent::Created | FileEvent::Modified);
        is_change && !entry.replay && !pending.before.is_pending() && self.is_known(entry, &found.stat)
    }

    /// What happened to a file. One that has another name, where renames do not count (any more), is new if nobody has run for it, and
    /// has changed if it has other content.
    fn event_that_counts(&mut self, id: Id, found: &Found) -> Option<FileEvent> {
        let (pending, entry) = (self.settling.get(id)?, self.entries.get(id)?);
        if pending.event != FileEvent::Renamed || self.asks_for(FileEvent::Renamed) {
            return Some(pending.event);
        }
        let event = match pending.before {
            State::Seen => FileEvent::Created,
            _ if self.is_known(entry, &found.stat) => return Some(pending.event),
            _ => FileEvent::Modified,
        };
        let pending = self.settling.get_mut(id)?;
        (pending.event, pending.from) = (event, None);
        Some(event)
    }

    /// Whether the content that an entry knows is run for, or no run is made for it: not where it may still be written to.
    fn is_run_for(&self, id: Id) -> bool {
        self.entries.get(id).is_some_and(|entry| entry.state != State::Seen || entry.before.is_some())
    }

    fn has_failed(&self, id: Id) -> bool {
        let state = match self.settling.get(id) {
            Some(pending) => Some(pending.before),
            None => self.entries.get(id).map(Entry::content),
        };
        state == Some(State::Failed)
    }

    /// It is complete, and what happened to it makes no run.
    fn is_not_asked_for(&mut self, id: Id, event: FileEvent, found: &Found, now: &Now) -> Option<Noticed> {
        let before = self.settling.remove(id).map_or(State::Seen, |pending| pending.before);
        self.generations.remove(&id);
        self.entries.set_stat(id, found.stat);
        let why = not_among(event);
        let entry = self.entries.get_mut(id)?;
        (entry.state, entry.event, entry.at) = (before, event, now.ms());
        if before == State::Seen {
            (entry.state, entry.why) = (State::Ignored, Some(why.as_str().into()));
        }
        self.line(id);
        // Of what was made people have not heard where that is not asked for.
        let is_told = event != FileEvent::Created && self.asks_for(FileEvent::Created);
        is_told.then(|| self.passed_over(id, &why)).flatten()
    }

    /// The content is one that was there before.
    pub(super) fn is_not_new(&mut self, id: Id, found: &Found, hash: Hash, other: Id, now: &Now) -> Option<Noticed> {
        let before = self.settling.remove(id).map_or(State::Seen, |pending| pending.before);
        self.generations.remove(&id);
        let why = match self.entries.get(other) {
            Some(twin) if other != id => {
                if matches!(twin.state, State::Stable | State::Running) && twin.before.is_none() {
                    self.followers.entry(twin.path.clone()).or_default().insert(id);
                }
                Some(format!("{}{}", SAME[1], twin.path().display()))
            }
            _ => None,
        };
        self.entries.set_stat(id, found.stat);
        let told = why.clone().unwrap_or_else(|| "its content is the same as before".into());
        if let Some(entry) = self.entries.get_mut(id) {
            entry.at = now.ms();
            match why {
                Some(why) => (entry.state, entry.why) = (State::Ignored, Some(why.into())),
                None => entry.state = if before == State::Seen { State::Done } else { before },
            }
        }
        if other == id {
            self.entries.set_hash(id, hash);
        }
        self.line(id);
        self.passed_over(id, &told)
    }

    /// It is gone, and is no rename: people hear of it once.
    fn deletion(&mut self, id: Id) -> Option<Noticed> {
        let is_told = std::mem::replace(&mut self.settling.get_mut(id)?.is_told, true);
        let path = self.entries.get(id)?.path().to_path_buf();
        (!is_told).then_some(Noticed { event: FileEvent::Deleted, path, from: None, passed_over: None })
    }

    /// It was noticed, and no run is made for it.
    fn passed_over(&self, id: Id, why: &str) -> Option<Noticed> {
        let entry = self.entries.get(id)?;
        let path = entry.path().to_path_buf();
        Some(Noticed { event: entry.event, path, from: None, passed_over: Some(why.into()) })
    }

    /// It is complete, and waits for its run from now on.
    pub(super) fn complete(&mut self, id: Id, stat: Stat, hash: Option<Hash>, now: &Now) {
        let Some(pending) = self.settling.remove(id) else { return };
        let is_known = self.entries.get(id).is_some_and(|entry| {
            let is_same = hash.is_some() && entry.hash.as_deref() == hash.as_ref();
            pending.found.is_none() || is_same || self.is_known(entry, &stat)
        });
        if pending.found.is_some() {
            self.entries.set_stat(id, stat);
        }
        if let Some(hash) = hash {
            self.entries.set_hash(id, hash);
        }
        let Some(entry) = self.entries.get_mut(id) else { return };
        entry.gone &= pending.found.is_none();
        (entry.state, entry.event, entry.at) = (State::Stable, pending.event, now.ms());
        entry.before = pending.before().filter(|_| is_known);
        if entry.before.is_none() {
            entry.why = None;
        }
        entry.from = pending.from.map(Into::into);
        self.generations.insert(id, pending.generation);
        let order = self.files.order;
        if let Some(entry) = self.entries.get(id) {
            self.ready.put(id, entry, order, Arrived { at: now.instant, time: now.time });
        }
        self.line(id);
    }
}
