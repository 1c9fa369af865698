//! A file is noticed: it is new, has changed, is known already, or may still be written to.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::book::{Book, Noticed, Now, Sight, Twin};
use super::entries::Id;
use super::entry::{Entry, State};
use super::file_system::Inodes;
use super::followers::SAME;
use super::settling::{FOUND, Pending, SILENT_WRITER};
use super::stat::{Found, Stat};
use crate::model::FileEvent;
use crate::trigger::{Existing, Identity, Settle};

/// Why a file is ignored to which something happened that is not asked for.
pub(super) fn not_among(event: FileEvent) -> String {
    format!("`{}` is not among `events`", event.as_str())
}

/// What writers such as rsync call a file that is not complete, whatever else they write behind the dot.
fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

impl Book {
    /// Whether the content is the one that the entry is about.
    pub(super) fn is_known(&self, entry: &Entry, stat: &Stat) -> bool {
        match self.files.identity {
            // Of one that was told to be gone it is not known.
            Identity::Path => entry.stat != Stat::default(),
            Identity::Stat | Identity::Hash => self.is_same(entry.path(), &entry.stat, stat),
        }
    }

    /// Whether what is found is the same content of the same file, as far as the file system of that path tells.
    pub(super) fn is_same(&self, path: &Path, known: &Stat, found: &Stat) -> bool {
        known.is_same_here(found, self.tells_by_inode(path))
            && (self.inodes(path) != Inodes::Last || known.may_be_born_with(found))
    }

    /// Another file that has this content, which the one at `path` has not had so far. Whether it is still at its path decides what
    /// this one is: [`Twin`].
    pub fn twin_of(&self, path: &Path, stat: &Stat) -> Option<(PathBuf, bool)> {
        let inodes = self.inodes(path);
        if self.files.identity == Identity::Path || inodes == Inodes::MadeUp {
            return None;
        }
        let born = if inodes == Inodes::Last { stat.born } else { 0 };
        let stat = &Stat { born, ..*stat };
        let known = self.entries.by_path(path).and_then(|id| self.entries.get(id));
        if known.is_some_and(|entry| !entry.gone && self.is_known(entry, stat)) {
            return None;
        }
        // What is written to still may have any content.
        let is_open = |id: &Id| {
            let found = self.settling.get(*id).and_then(|pending| pending.found);
            let inode = |stat: &Stat| (stat.dev, stat.inode);
            found.is_some_and(|found| inode(&found.stat) == inode(stat) && found.stat.may_be_born_with(stat))
        };
        // What is ignored because of this one says nothing of it.
        let followers = self.followers.get(path.as_os_str().as_bytes());
        let is_ignored = |id: &Id| self.entries.get(*id).is_some_and(|entry| entry.content() == State::Ignored);
        let leads = |id: &Id| !(followers.is_some_and(|all| all.contains(id)) && is_ignored(id));
        let id = self.entries.by_stat(stat, leads).or_else(|| self.entries.with_inode(stat).find(is_open))?;
        let twin = self.entries.get(id)?;
        (twin.path() != path).then(|| (twin.path().to_path_buf(), twin.gone))
    }

    /// A scan found a file that is just as it is known, and nothing is to be done about it: most are. Else it has to be told of.
    pub fn is_unchanged(&mut self, path: &Path, found: &Found) -> bool {
        let Some(id) = self.entries.by_path(path).filter(|id| self.settling.get(*id).is_none()) else { return false };
        let mark = self.mark;
        let Some(entry) = self.entries.get_mut(id) else { return false };
        let is_unchanged = !entry.gone && !entry.state.is_pending() && entry.stat == found.stat;
        if is_unchanged {
            entry.mark = mark;
        }
        is_unchanged
    }

    /// A file is there.
    pub fn found(
        &mut self,
        path: &Path,
        found: &Found,
        sight: Sight,
        twin: Option<(&Path, Twin)>,
        now: &Now,
    ) -> Option<Noticed> {
        if let Some((other, Twin::Gone)) = twin
            && let Some(id) = self.entries.by_path(other)
        {
            return self.renamed(id, path, found, sight, now);
        }
        let Some(id) = self.entries.by_path(path) else { return self.first_met(path, found, sight, twin, now) };
        let mark = self.mark;
        let entry = self.entries.get_mut(id)?;
        entry.mark = mark;
        let came_back = std::mem::take(&mut entry.gone);
        if let Some((_, Twin::There)) = twin
            && entry.state == State::Running
            && self.is_another(path, found)
        {
            // Its run has what stood there.
            self.overwritten(path, now);
            return self.first_met(path, found, sight, twin, now);
        }
        let entry = self.entries.get_mut(id)?;
        if let Some((other, Twin::There)) = twin
            && entry.state.is_pending()
            && entry.state != State::Running
        {
            // A link to another file has taken its place.
            self.settling.remove(id);
            self.ready.remove(id);
            self.generations.remove(&id);
            self.look_at_followers(path, "", now);
            self.is_link_to(id, found, other, now);
            return None;
        }
        if let Some(pending) = self.settling.get_mut(id) {
            let is_told = std::mem::replace(&mut pending.is_told, true);
            self.seen_again(id, found, sight, now);
            let event = self.settling.get(id)?.event;
            let path = path.to_path_buf();
            return (!is_told).then_some(Noticed { event, path, from: None, passed_over: None });
        }
        let entry = self.entries.get(id)?;
        let (state, is_known) = (entry.state, self.is_known(entry, &found.stat));
        match state {
            State::Seen => {
                let event = entry.event;
                let event = if event == FileEvent::Deleted { FileEvent::Created } else { event };
                let (content, is_other) = (entry.content(), !is_known && entry.content() == State::Seen);
                if self.is_another(path, found) {
                    self.look_at_followers(path, "", now);
                } else if is_other {
                    // It was complete before a crash, and a copy has what it held then.
                    self.look_at_followers(path, SAME[1], now);
                }
                self.begin(id, event, content, Some(*found), sight, now)
            }
            State::Stable if entry.event == FileEvent::Deleted => {
                // It is back before anybody was told.
                self.ready.remove(id);
                self.generations.remove(&id);
                let state = entry.content();
                self.set_state(id, state);
                if is_known {
                    self.entries.set_stat(id, found.stat);
                    self.line(id);
                    return None;
                }
                match self.event_in_its_place() {
                    event if self.asks_for(event) => self.begin(id, event, state, Some(*found), sight, now),
                    event => {
                        self.makes_no_run(id, event, found, now);
                        None
                    }
                }
            }
            State::Stable if entry.stat == found.stat => None,
            State::Stable => {
                let (event, content, is_replaced) = (entry.event, entry.content(), self.is_another(path, found));
                self.ready.remove(id);
                if content == State::Seen {
                    // A copy has what it held, and nobody has run for that; so has a link to another file that stood there.
                    self.entries.forget_content(id);
                    self.look_at_followers(path, if is_replaced { "" } else { SAME[1] }, now);
                }
                let noticed = self.begin(id, event, content, Some(*found), sight, now);
                if is_replaced {
                    self.is_no_rename(id);
                }
                noticed
            }
            _ if is_known => {
                // The device's number may have changed, or a link to it was made.
                if entry.stat != found.stat && self.files.identity != Identity::Path {
                    self.entries.set_stat(id, found.stat);
                }
                if came_back {
                    self.line(id);
                }
                None
            }
            _ => {
                let event = if came_back { FileEvent::Created } else { FileEvent::Modified };
                if let Some((other, Twin::There)) = twin {
                    self.is_link_to(id, found, other, now);
                    return None;
                }
                if !self.asks_for(event) {
                    self.makes_no_run(id, event, found, now);
                    return None;
                }
                self.begin(id, event, state, Some(*found), sight, now)
            }
        }
    }

    /// Whether such an event makes a run.
    pub(super) fn asks_for(&self, event: FileEvent) -> bool {
        self.files.events.contains(&event)
    }

    /// A file that is not known.
    pub(super) fn first_met(
        &mut self,
        path: &Path,
        found: &Found,
        sight: Sight,
        twin: Option<(&Path, Twin)>,
        now: &Now,
    ) -> Option<Noticed> {
        let entry = Entry { mark: self.mark, ..Entry::new(path, FileEvent::Created, now.ms()) };
        if let Some((other, Twin::There)) = twin {
            let id = self.entries.add(entry);
            self.is_link_to(id, found, other, now);
            return None;
        }
        let was_there = match sight {
            Sight::Scan { first: Some(since) } => i128::from(found.ctime) <= since.as_nanosecond(),
            _ => false,
        };
        let why = if was_there && self.files.existing == Existing::Ignore {
            self.were_there += 1;
            "it was there at the first start"
        } else if !self.asks_for(FileEvent::Created) && self.asks_for(FileEvent::Modified) {
            // What is written to it until it is complete is part of its making.
            let id = self.entries.add(entry);
            self.begin(id, FileEvent::Created, State::Seen, Some(*found), sight, now);
            return None;
        } else if !self.asks_for(FileEvent::Created) {
            &not_among(FileEvent::Created)
        } else {
            let id = self.entries.add(entry);
            return self.begin(id, FileEvent::Created, State::Seen, Some(*found), sight, now);
        };
        let id = self.entries.add(Entry { state: State::Ignored, stat: found.stat, why: Some(why.into()), ..entry });
        self.line(id);
        None
    }

    /// From now on it is looked whether it holds still.
    pub(super) fn begin(
        &mut self,
        id: Id,
        event: FileEvent,
        before: State,
        found: Option<Found>,
        sight: Sight,
        now: &Now,
    ) -> Option<Noticed> {
        let generation = self.generation_at(found.as_ref(), now);
        if generation == 0 && self.guard.clear() {
            self.generations.clear();
        }
        // Of no content nothing is known.
        let is_empty = |entry: &Entry| entry.state != State::Running && entry.stat == Stat::default();
        let is_empty = found.is_some() && self.entries.get(id).is_some_and(is_empty);
        let before = if is_empty { State::Seen } else { before };
        let from = self.entries.get(id).filter(|_| event == FileEvent::Renamed).and_then(|entry| entry.from.as_deref());
        let from = from.map(Path::to_path_buf);
        let pending = Pending { generation, from, ..Pending::new(event, before, found, now.instant) };
        self.settling.put(id, pending);
        let is_replaced = found.is_some_and(|found| self.remember_if_replaced(id, &found, now));
        let entry = self.entries.get_mut(id)?;
        entry.gone &= found.is_none();
        if entry.state != State::Running {
            (entry.state, entry.event, entry.at) = (State::Seen, event, now.ms());
            entry.before = self.settling.get(id).and_then(Pending::before);
        }
        let path = entry.path().to_path_buf();
        self.last_activity = Some(now.time);
        if let Some(found) = found {
            if before == State::Seen {
                // So that it is found again under another name.
                self.entries.set_stat(id, found.stat);
            }
            self.noted(id, &found, sight, now);
        }
        // Written only if it takes its time: what is complete at once says so itself. That it has another name, or is another file,
        // nothing tells after a crash.
        let check_at = self.settling.get(id).and_then(|pending| pending.check_at);
        let waits = check_at.is_none_or(|at| at > now.instant) || event == FileEvent::Renamed || is_replaced;
        if waits && self.entries.get(id).is_some_and(|entry| entry.state == State::Seen) {
            self.line(id);
        }
        Some(Noticed { event, path, from: None, passed_over: None })
    }

    /// How often the watch has made itself due up to a change: a run of it may have made the change that was active then.
    pub(super) fn generation_at(&self, found: Option<&Found>, now: &Now) -> u32 {
        // The kernel's times of files lag a little behind the clock.
        const LAG: i128 = 10_000_000;
        let at = found.map_or(now.time.as_nanosecond(), |found| i128::from(found.ctime));
        let active = self.running.values().filter(|running| running.began.as_nanosecond() - LAG <= at);
        let ended = self
            .spans
            .iter()
            .filter(|span| (span.began.as_nanosecond() - LAG..=span.ended.as_nanosecond()).contains(&at));
        let generations = active.map(|running| running.generation).chain(ended.map(|span| span.generation));
        generations.map(|generation| generation + 1).min().unwrap_or(0)
    }

    /// A file that may still be written to was noticed again.
    pub(super) fn seen_again(&mut self, id: Id, found: &Found, sight: Sight, now: &Now) {
        let generation = self.generation_at(Some(found), now);
        let event = self.event_in_its_place();
        let Some(path) = self.entries.get(id).map(|entry| entry.path().to_path_buf()) else { return };
        let before = self.settling.get(id).and_then(|pending| pending.found);
        let is_replaced = before.is_some_and(|before| self.are_two(&path, &before.stat, &found.stat));
        let Some(pending) = self.settling.get_mut(id) else { return };
        if pending.found.is_none() {
            // It was gone, and another one stands there.
            pending.event = event;
        }
        let is_other = pending.found.is_none_or(|before| before.stat != found.stat);
        if is_other {
            (pending.is_closed, pending.awaits_done) = (false, false);
            pending.quiet_since = now.instant;
            pending.generation = pending.generation.min(generation);
        }
        pending.found = Some(*found);
        self.last_activity = Some(now.time);
        let is_first = pending.before == State::Seen;
        if self.remember_if_replaced(id, found, now) {
            self.is_no_rename(id);
        }
        if is_replaced {
            // A link to the one before has its content still.
            self.look_at_followers(&path, "", now);
        } else if is_other && is_first {
            self.look_at_followers(&path, SAME[1], now);
        }
        if is_other && is_first {
            self.entries.set_stat(id, found.stat);
        }
        let is_scan = matches!(sight, Sight::Scan { .. });
        let is_left = self.settling.get(id).is_some_and(|pending| pending.check_at.is_none() && !pending.after_run);
        if is_other || !is_scan {
            self.noted(id, found, sight, now);
        } else if is_left {
            // Nothing may have told of the file that says that it is complete, or of what kept it from being looked at.
            self.settling.check_at(id, Some(now.instant));
        }
    }

    /// Takes in how a file was noticed, and sets when to look at it.
    pub(super) fn noted(&mut self, id: Id, found: &Found, sight: Sight, now: &Now) {
        let is_remote = self.entries.get(id).is_some_and(|entry| self.is_remote(entry.path()));
        let since = self.instant_of(i128::from(found.ctime), now);
        let Some(pending) = self.settling.get_mut(id) else { return };
        pending.is_only_made = match sight {
            Sight::Made => true,
            Sight::Touched | Sight::Scan { .. } => pending.is_only_made,
            Sight::Written | Sight::Closed | Sight::MovedIn => false,
        };
        match sight {
            Sight::Made => (pending.is_open, pending.is_closed) = (!found.is_linked, found.is_linked),
            Sight::Written => (pending.is_open, pending.is_closed) = (true, false),
            Sight::Closed | Sight::MovedIn => (pending.is_open, pending.is_closed) = (false, true),
            Sight::Touched | Sight::Scan { .. } => {}
        }
        if !is_remote {
            // By its own times it may have held still for long. Only the kernel sets this one.
            if let Some(since) = since {
                pending.quiet_since = since;
            }
        } else if !matches!(sight, Sight::Scan { .. }) {
            pending.quiet_since = now.instant;
        }
        self.schedule(id, now);
    }

    pub(super) fn schedule(&mut self, id: Id, now: &Now) {
        let entry = self.entries.get(id);
        let is_closing_told = entry.is_some_and(|entry| self.is_closing_told(entry.path()));
        let is_hidden = entry.is_some_and(|entry| is_hidden(entry.path()));
        let Some(pending) = self.settling.get(id) else { return };
        if pending.after_run {
            return;
        }
        let has_content = pending.found.is_some_and(|found| found.stat.size > 0);
        let at = match self.files.settle {
            Settle::After(length) => pending.quiet_since + length.0,
            // A hidden one mostly gets its name next, and comes to its place with that.
            Settle::Close if pending.is_closed && !is_hidden => now.instant,
            Settle::Close if pending.is_closed => pending.quiet_since + FOUND,
            // Whoever writes it is told of, but for one that writes it where it has no name (`O_TMPFILE`).
            Settle::Close if pending.is_open && is_closing_told && !(pending.is_only_made && has_content) => {
                pending.quiet_since + SILENT_WRITER
            }
            Settle::Close => pending.quiet_since + FOUND,
        };
        self.settling.check_at(id, Some(at));
    }

    /// The file that says that this one is complete stands beside it, and is not older.
    pub fn hurry(&mut self, path: &Path, now: &Now) {
        if let Some(id) = self.entries.by_path(path)
            && self.settling.get(id).is_some_and(|pending| !pending.after_run)
        {
            self.settling.check_at(id, Some(now.instant));
        }
    }

    /// The kernel may not have told all of what happened in a directory, or below it: of what somebody seemed to have open there the
    /// closing may have been among what is lost.
    pub fn events_were_lost(&mut self, directory: &Path, now: &Now) {
        let is_below = |id: &Id| self.entries.get(*id).is_some_and(|entry| entry.path().starts_with(directory));
        let open = self.settling.iter().filter(|(_, pending)| pending.is_open).map(|(id, _)| id);
        let open: Vec<Id> = open.filter(is_below).collect();
        for id in open {
            let Some(pending) = self.settling.get_mut(id) else { continue };
            pending.is_open = false;
            self.schedule(id, now);
        }
    }
}
