//! Files that are ignored because of another one: a link to it, or a copy. Should that one go before its run, they are looked at.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::book::{Book, Now};
use super::entries::Id;
use super::entry::{Entry, State};
use super::line::Line;
use super::settling::Pending;
use super::stat::Found;
use crate::model::FileEvent;

/// How it is said that a file is ignored because of another one.
pub(super) const SAME: [&str; 2] = ["it is the same file as ", "it has the same content as "];

impl Book {
    /// The same content is at another path as well.
    pub(super) fn is_link_to(&mut self, id: Id, found: &Found, other: &Path, now: &Now) {
        // What stood there may have gone elsewhere.
        self.remember_if_replaced(id, found, now);
        self.entries.set_stat(id, found.stat);
        if let Some(entry) = self.entries.get_mut(id) {
            entry.state = State::Ignored;
            entry.at = now.ms();
            entry.why = Some(format!("{}{}", SAME[0], other.display()).into());
        }
        if self.entries.by_path(other).is_some_and(|leader| self.is_to_be_run_for(leader, found)) {
            self.followers.entry(other.as_os_str().as_bytes().into()).or_default().insert(id);
        }
        self.line(id);
    }

    /// Whether a run is still to come for a content of a file, or under way.
    fn is_to_be_run_for(&self, id: Id, found: &Found) -> bool {
        let Some(entry) = self.entries.get(id) else { return false };
        let beside = self.settling.get(id).and_then(|pending| pending.found);
        let is_beside = beside.is_some_and(|beside| beside.stat.is_same_file(&found.stat));
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
        meant.into_iter().for_each(|id| self.follows_no_more(id, now));
    }

    /// Nobody has run for its content, wherever else that stood: it is looked at.
    fn follows_no_more(&mut self, id: Id, now: &Now) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        (entry.why, entry.before) = (None, None);
        if let Some(pending) = self.settling.get_mut(id) {
            pending.before = State::Seen;
            if pending.found.is_none() {
                self.entries.forget_content(id);
            }
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

    /// A file's content is run for: what is ignored because of it stays so.
    pub(super) fn leave_followers(&mut self, id: Id) {
        if self.settling.get(id).is_none()
            && let Some(entry) = self.entries.get(id)
        {
            self.followers.remove(&entry.path);
        }
    }
}
