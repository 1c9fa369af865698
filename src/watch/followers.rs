//! Files that are ignored because of another one: a link to it, or a copy. Should that one go before its run, they are looked at.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::book::{Book, Now};
use super::entries::Id;
use super::entry::{Entry, State};
use super::settling::Pending;
use super::stat::Found;
use crate::model::FileEvent;

/// How it is said that a file is ignored because of another one.
pub(super) const SAME: [&str; 2] = ["it is the same file as ", "it has the same content as "];

impl Book {
    /// The same content is at another path as well.
    pub(super) fn is_link_to(&mut self, id: Id, found: &Found, other: &Path, now: &Now) {
        self.entries.set_stat(id, found.stat);
        if let Some(entry) = self.entries.get_mut(id) {
            entry.state = State::Ignored;
            entry.at = now.ms();
            entry.why = Some(format!("{}{}", SAME[0], other.display()).into());
        }
        let leader = self.entries.by_path(other).and_then(|id| Some((id, self.entries.get(id)?)));
        if leader.is_some_and(|(id, leader)| leader.state.is_pending() || self.settling.get(id).is_some()) {
            self.followers.entry(other.as_os_str().as_bytes().into()).or_default().insert(id);
        }
        self.line(id);
    }

    /// A file is gone, or has other content, that nobody has run for: what was ignored because of it is not any more. Those only
    /// whose reason begins so.
    pub(super) fn look_at_followers(&mut self, path: &Path, reason: &str, now: &Now) {
        let Some(all) = self.followers.get_mut(path.as_os_str().as_bytes()) else { return };
        let shown = path.display().to_string();
        let is_follower = |entry: &&Entry, words: &str| {
            let why = entry.why.as_deref().filter(|_| entry.state == State::Ignored && !entry.gone);
            why.is_some_and(|why| why.strip_prefix(words) == Some(shown.as_str()))
        };
        let mut meant = Vec::new();
        all.retain(|id| {
            let entry = self.entries.get(*id);
            // An entry may be another one's by now.
            let Some(words) = SAME.iter().find(|words| entry.is_some_and(|entry| is_follower(&entry, words))) else {
                return false;
            };
            let is_meant = words.starts_with(reason);
            meant.extend(is_meant.then_some(*id));
            !is_meant
        });
        if all.is_empty() {
            self.followers.remove(path.as_os_str().as_bytes());
        }
        for id in meant {
            let Some(entry) = self.entries.get_mut(id) else { continue };
            (entry.state, entry.event, entry.why, entry.before) = (State::Seen, FileEvent::Created, None, None);
            let found = Found { stat: entry.stat, ctime: 0, is_linked: true };
            let pending =
                Pending { is_closed: true, ..Pending::new(FileEvent::Created, State::Seen, Some(found), now.instant) };
            self.settling.put(id, pending);
            self.settling.check_at(id, Some(now.instant));
            self.line(id);
        }
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
