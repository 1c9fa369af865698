//! Files that are ignored because of another one: a link to it, or a copy. Should that one go before its run, they are looked at.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::book::{Book, Now};
use super::entries::Id;
use super::entry::{Entry, State};
use super::line::Line;
use super::settling::Pending;
use super::stat::{Found, Stat};
use crate::model::FileEvent;

/// How it is said that a file is ignored because of another one.
pub(super) const SAME: [&str; 2] = ["it is the same file as ", "it has the same content as "];

/// Whether a file is ignored because of a content of the other one that nobody has run for: that one may have had others.
fn is_for_what_is_to_come(follower: &Entry, leader: &Entry, words: &str) -> bool {
    let (is_link, is_same_inode) = (words == SAME[0], follower.stat.inode == leader.stat.inode);
    match leader.content() {
        State::Seen | State::Stable | State::Running => is_same_inode || !is_link,
        // It is written to.
        State::Done | State::Failed | State::Ignored => {
            is_link && is_same_inode && !follower.stat.is_same_file(&leader.stat)
        }
    }
}

impl Book {
    /// Which files are ignored because of which others whose run is still to come, as their lines say.
    pub(super) fn all_followers(&self) -> Vec<(Box<[u8]>, Id)> {
        let mut odd_names: Option<HashMap<String, Id>> = None;
        let mut found = Vec::new();
        for (id, entry) in self.entries.iter().filter(|(_, entry)| entry.content() == State::Ignored) {
            let why = entry.why.as_deref().unwrap_or_default();
            let Some((words, other)) = SAME.iter().find_map(|words| Some((*words, why.strip_prefix(words)?))) else {
                continue;
            };
            let leader = self.entries.by_path(Path::new(other)).or_else(|| {
                // A name that is no UTF-8 stands there as it is shown.
                let is_odd = other.contains(char::REPLACEMENT_CHARACTER);
                let odd_names = is_odd.then(|| odd_names.get_or_insert_with(|| self.pending_with_odd_names()));
                odd_names.and_then(|odd_names| odd_names.get(other)).copied()
            });
            let leader = leader.and_then(|leader| self.entries.get(leader)).filter(|leader| leader.state.is_pending());
            if let Some(leader) = leader.filter(|leader| is_for_what_is_to_come(entry, leader, words)) {
                found.push((leader.path.clone(), id));
            }
        }
        found
    }

    fn pending_with_odd_names(&self) -> HashMap<String, Id> {
        let pending = self.entries.iter().filter(|(_, entry)| entry.state.is_pending());
        let odd = pending.filter(|(_, entry)| entry.path().to_str().is_none());
        odd.map(|(id, entry)| (entry.path().display().to_string(), id)).collect()
    }

    /// The same content is at another path as well.
    pub(super) fn is_link_to(&mut self, id: Id, found: &Found, other: &Path, now: &Now) {
        if self.entries.get(id).is_some_and(|entry| entry.content().is_pending()) {
            // Nobody has run for what it held, or a run has it that may be cut short.
            self.entries.forget_hash(id);
        }
        // What stood there may have gone elsewhere.
        self.remember_if_replaced(id, found, now);
        self.entries.set_stat(id, found.stat);
        // Should that one be ignored itself, because of another one, this one is so as well.
        let is_ignored = |id: &Id| {
            let is_it = |entry: &Entry| entry.content() == State::Ignored && entry.stat.is_same_file(&found.stat);
            self.entries.get(*id).is_some_and(is_it)
        };
        let leader = self.entries.by_path(other).filter(is_ignored).and_then(|other| self.leader_of(other));
        let (words, leader) = leader.unwrap_or_else(|| (SAME[0], other.to_path_buf()));
        if let Some(leader_id) = self.entries.by_path(&leader).filter(|leader| self.is_to_be_run_for(*leader, found)) {
            // After a crash nobody else knows what is to come of that one.
            self.line(leader_id);
            self.followers.entry(leader.as_os_str().as_bytes().into()).or_default().insert(id);
        }
        self.ignore_for(id, words, &leader, now);
    }

    /// It is ignored because of that one.
    fn ignore_for(&mut self, id: Id, words: &str, leader: &Path, now: &Now) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.state = State::Ignored;
            entry.at = now.ms();
            entry.why = Some(format!("{words}{}", leader.display()).into());
        }
        self.line(id);
    }

    /// The file that one is ignored for, where a run of that is still to come, and how that is said.
    pub(super) fn leader_of(&self, id: Id) -> Option<(&'static str, PathBuf)> {
        let why = self.entries.get(id).filter(|entry| entry.content() == State::Ignored)?.why.as_deref()?;
        let (words, leader) = SAME.iter().find_map(|words| Some((*words, why.strip_prefix(words)?)))?;
        let leads = |leader: &[u8]| self.followers.get(leader).is_some_and(|all| all.contains(&id));
        if leads(leader.as_bytes()) {
            return Some((words, leader.into()));
        }
        // A name that is no UTF-8 stands there as it is shown.
        let is_odd = leader.contains(char::REPLACEMENT_CHARACTER);
        let mut all = self.followers.keys().filter(|_| is_odd);
        all.find(|leader| leads(leader)).map(|leader| (words, OsStr::from_bytes(leader).into()))
    }

    /// Whether a run is still to come for a content of a file, or under way.
    fn is_to_be_run_for(&self, id: Id, found: &Found) -> bool {
        let Some(entry) = self.entries.get(id) else { return false };
        let inode = |stat: &Stat| (stat.dev, stat.inode);
        let is_beside = match self.settling.get(id) {
            Some(pending) => pending.found.is_some_and(|beside| inode(&beside.stat) == inode(&found.stat)),
            // It is as the ledger says, and was not looked at yet.
            None => entry.state.is_pending() && inode(&entry.stat) == inode(&found.stat),
        };
        match entry.content() {
            State::Seen | State::Stable | State::Running => true,
            State::Done | State::Failed | State::Ignored => is_beside && !entry.stat.is_same_file(&found.stat),
        }
    }

    /// What became of a content at another path, where a run has it, had it, or was not to be made for it.
    fn known_beside(&self, id: Id) -> Option<State> {
        let entry = self.entries.get(id)?;
        let is_follower = |why: &str| SAME.iter().any(|words| why.starts_with(words));
        let others = self.entries.with_inode(&entry.stat).filter(|other| *other != id);
        let others = others
            .filter_map(|other| self.entries.get(other))
            .filter(|other| other.stat.is_same_file(&entry.stat) && !other.why.as_deref().is_some_and(is_follower));
        others.map(Entry::content).find(|state| *state != State::Seen)
    }

    /// A file is gone, or has other content, that nobody has run for: what was ignored because of it is not any more. Those only
    /// whose reason begins so.
    pub(super) fn look_at_followers(&mut self, path: &Path, reason: &str, now: &Now) {
        let Some(mut all) = self.followers.remove(path.as_os_str().as_bytes()) else { return };
        let shown = path.display().to_string();
        let is_follower = |entry: &Entry, words: &str| {
            let why = entry.why.as_deref().filter(|_| entry.content() == State::Ignored);
            why.is_some_and(|why| why.strip_prefix(words) == Some(shown.as_str()))
        };
        let mut meant = Vec::new();
        all.retain(|id| {
            let entry = self.entries.get(*id);
            // An entry may be another one's by now.
            let Some(words) = SAME.iter().find(|words| entry.is_some_and(|entry| is_follower(entry, words))) else {
                return false;
            };
            if !words.starts_with(reason) {
                return true;
            }
            match self.known_beside(*id) {
                // Should that run be cut short, it is looked at again.
                Some(State::Running) => true,
                Some(_) => false,
                None => {
                    meant.push(*id);
                    false
                }
            }
        });
        if !all.is_empty() {
            self.followers.insert(path.as_os_str().as_bytes().into(), all);
        }
        // One of the names of a file is enough: the others follow that one, first of all one that waits for something already.
        meant.sort_by_key(|id| self.settling.get(*id).is_none());
        let mut leaders: Vec<(Stat, PathBuf)> = Vec::new();
        for id in meant {
            let Some(entry) = self.entries.get(id) else { continue };
            let (path, is_there) = (entry.path().to_path_buf(), !entry.gone);
            // What waits for something else already may be another file by now.
            let beside = self.settling.get(id).and_then(|pending| pending.found);
            let stat = beside.map_or(entry.stat, |beside| beside.stat);
            let inode = |stat: &Stat| (stat.dev, stat.inode);
            let leader =
                leaders.iter().find(|(other, _)| inode(other) == inode(&stat) && other.may_be_born_with(&stat));
            match leader.filter(|_| entry.state == State::Ignored && is_there) {
                Some((_, leader)) => {
                    self.followers.entry(leader.as_os_str().as_bytes().into()).or_default().insert(id);
                    self.ignore_for(id, SAME[0], leader, now);
                }
                None => {
                    self.follows_no_more(id, now);
                    leaders.extend(is_there.then_some((stat, path)));
                }
            }
        }
    }

    /// Nobody has run for its content, wherever else that stood: it is looked at.
    fn follows_no_more(&mut self, id: Id, now: &Now) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        (entry.why, entry.before) = (None, None);
        if let Some(pending) = self.settling.get_mut(id) {
            pending.before = State::Seen;
            match pending.found {
                Some(found) => self.entries.set_stat(id, found.stat),
                None => self.entries.forget_content(id),
            }
        } else if entry.state == State::Stable && entry.event == FileEvent::Deleted {
            self.entries.forget_content(id);
        } else if entry.state == State::Ignored && entry.gone {
            // Should it come back, it is new.
            Line::forgotten(now.time, entry.path()).put(&mut self.lines);
            self.written += 1;
            self.entries.remove(id);
            return;
        } else if entry.state == State::Ignored {
            (entry.state, entry.event) = (State::Seen, FileEvent::Created);
            let found = Found { stat: entry.stat, ctime: 0, is_linked: true };
            let pending =
                Pending { is_closed: true, ..Pending::new(FileEvent::Created, State::Seen, Some(found), now.instant) };
            self.settling.put(id, pending);
            self.settling.check_at(id, Some(now.instant));
        }
        self.line(id);
    }

    /// What is ignored because of a file is so because of its new name.
    pub(super) fn follow_to(&mut self, from: &Path, to: &Path) {
        let Some(all) = self.followers.remove(from.as_os_str().as_bytes()) else { return };
        let (before, after) = (from.display().to_string(), to.display().to_string());
        for id in &all {
            let why = self.entries.get(*id).and_then(|entry| entry.why.as_deref());
            let words = why.and_then(|why| SAME.iter().find(|words| why.strip_prefix(**words) == Some(&before)));
            let Some(words) = words else { continue };
            if let Some(entry) = self.entries.get_mut(*id) {
                entry.why = Some(format!("{words}{after}").into());
            }
            self.line(*id);
        }
        self.followers.entry(to.as_os_str().as_bytes().into()).or_default().extend(all);
    }

    /// A file's content was run for: what is ignored because of that stays so, and not what is because of one that came since.
    pub(super) fn leave_followers(&mut self, id: Id) {
        let Some(entry) = self.entries.get(id) else { return };
        let Some(mut all) = self.followers.remove(&entry.path) else { return };
        let is_link = |other: &Entry| other.why.as_deref().is_some_and(|why| why.starts_with(SAME[0]));
        let is_of_another = |other: &Entry| is_link(other) && !other.stat.is_same_file(&entry.stat);
        all.retain(|other| self.entries.get(*other).is_some_and(is_of_another));
        if !all.is_empty() {
            self.followers.insert(entry.path.clone(), all);
        }
    }
}
