//! Files are looked at once more just before their run: with polling the last look is a while ago.

use std::path::Path;

use super::book::{Book, Now, Sight};
use super::entries::Id;
use super::entry::State;
use super::followers::SAME;
use super::line::Line;
use super::settling::Pending;
use super::stat::Found;
use crate::model::{FileEvent, RunId};

/// What was found at a file's path just before its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastLook {
    Found(Found),
    Gone,
    /// Nobody looked, or could: its command sees.
    Skipped,
}

const SCAN: Sight = Sight::Scan { first: None };

impl Book {
    /// A run is about to begin, and its files were looked at once more, in their order: what is gone, has another name or other content
    /// by now is not for this run. Says which of them it keeps: these are on their way into the ledger as
    /// its own. It never was, where it keeps none.
    pub fn keep(&mut self, run: RunId, looked: &[(&Path, LastLook)], now: &Now) -> Vec<bool> {
        let Some(running) = self.running.get_mut(&run) else { return vec![true; looked.len()] };
        running.is_kept = true;
        let of_run: Vec<(Id, Option<RunId>)> =
            running.ids.iter().copied().zip(running.runs_before.iter().copied()).collect();
        let mut kept = Vec::with_capacity(looked.len());
        for ((id, run_before), (path, look)) in of_run.into_iter().zip(looked) {
            if self.entries.get(id).is_none_or(|entry| entry.state != State::Running || entry.run != Some(run)) {
                // It has turned out to be another name of a file that is run for under that one.
                kept.push(false);
                continue;
            }
            // What was found there is another file than the one that has another name now.
            let is_moved = self.entries.get(id).is_some_and(|entry| entry.path() != *path);
            let look = if is_moved && *look != LastLook::Skipped { &LastLook::Gone } else { look };
            let is_meant = self.entries.get(id).is_some_and(|entry| match look {
                LastLook::Skipped => true,
                LastLook::Found(found) => self.is_known(entry, &found.stat),
                LastLook::Gone => false,
            });
            match is_meant {
                true => self.line(id),
                false => self.give_back(id, run_before, look, now),
            }
            kept.push(is_meant);
        }
        if let Some(running) = self.running.get_mut(&run) {
            let mut keeps = kept.iter();
            running.ids.retain(|_| keeps.next().copied().unwrap_or(true));
            if running.ids.is_empty() {
                self.running.remove(&run);
            }
        }
        kept
    }

    /// A file that a run was to have is as if nobody had taken it, and is looked at again.
    pub(super) fn give_back(&mut self, id: Id, run_before: Option<RunId>, look: &LastLook, now: &Now) {
        let before = self.entries.get(id).and_then(|entry| entry.before);
        if before.is_none() {
            self.entries.forget_hash(id);
        }
        if let Some(entry) = self.entries.get_mut(id).filter(|entry| entry.path.contains(&0)) {
            if let Some(before) = before {
                (entry.state, entry.run) = (before, run_before);
                self.line(id);
                return;
            }
            // Another file has taken its place meanwhile: it stands nowhere, and nobody has run for it.
            let path = entry.path().to_path_buf();
            Line::forgotten(now.time, &path).put(&mut self.lines);
            self.written += 1;
            self.entries.remove(id);
            self.look_at_followers(&path, "", now);
            return;
        }
        let Some(entry) = self.entries.get_mut(id) else { return };
        (entry.state, entry.run) = (State::Seen, run_before);
        let (event, stat, before) = (entry.event, entry.stat, entry.content());
        let from = entry.from.as_deref().filter(|_| event == FileEvent::Renamed).map(Path::to_path_buf);
        // That it is gone was noticed already: so it is noticed once more.
        entry.gone = false;
        let beside = self.settling.get(id).map(|pending| pending.found.is_some());
        // A file that is known has come to its place: another look tells of it as that.
        let is_known_elsewhere = match (look, self.entries.get(id)) {
            (LastLook::Found(found), Some(entry)) => self.twin_of(entry.path(), &found.stat).is_some(),
            _ => false,
        };
        let look = if is_known_elsewhere { &LastLook::Gone } else { look };
        let beside_it = self.settling.get(id).and_then(|pending| pending.found);
        let there = match (beside_it.as_ref(), look) {
            (Some(found), _) | (None, LastLook::Found(found)) => Some(found),
            (None, LastLook::Gone | LastLook::Skipped) => None,
        };
        if let (Some(there), Some(entry)) = (there, self.entries.get(id))
            && stat != there.stat
        {
            // A link to the one before, and a copy, have its content still.
            let path = entry.path().to_path_buf();
            let is_replaced = self.are_two(&path, &stat, &there.stat);
            self.look_at_followers(&path, if is_replaced { "" } else { SAME[1] }, now);
        }
        match (beside, look) {
            (Some(true), _) => {
                if let Some(pending) = self.settling.get_mut(id) {
                    (pending.before, pending.after_run) = (before, false);
                    if pending.event == FileEvent::Renamed && before == State::Seen {
                        // Nobody has had it under the name before.
                        (pending.event, pending.from) = (event, from);
                    }
                }
            }
            (_, LastLook::Found(found)) => drop(self.begin(id, event, before, Some(*found), SCAN, now)),
            (_, LastLook::Gone | LastLook::Skipped) => {
                let found = Found { stat, ctime: 0, is_linked: false };
                let pending =
                    Pending { is_closed: true, from, ..Pending::new(event, before, Some(found), now.instant) };
                self.settling.put(id, pending);
            }
        }
        if *look == LastLook::Gone || beside == Some(true) {
            self.settling.check_at(id, Some(now.instant));
        }
        self.line(id);
    }
}
