//! Other rules come in force for what is known.

use std::path::Path;
use std::sync::Arc;

use super::book::{Book, Now};
use super::entries::Id;
use super::entry::State;
use super::line::Line;
use super::ready::Arrived;
use super::stat::Stat;
use crate::trigger::Files;

impl Book {
    /// Other rules are in force: what has not been run for is looked at again, and what is not meant any more is left out.
    pub fn set_files(&mut self, files: Arc<Files>, mut is_meant: impl FnMut(&Path) -> bool, now: &Now) {
        self.files = files;
        let waiting: Vec<Id> =
            self.entries.iter().filter(|(_, entry)| entry.state.is_pending()).map(|(id, _)| id).collect();
        for id in waiting {
            let Some(entry) = self.entries.get(id) else { continue };
            let (is_running, path) = (entry.state == State::Running, entry.path().to_path_buf());
            if is_running && self.settling.get(id).is_none() {
                continue;
            }
            if !is_meant(&path) {
                self.is_not_meant(id, now);
            } else if self.settling.get(id).is_some_and(|pending| !pending.after_run) {
                self.settling.check_at(id, Some(now.instant));
            } else if self.ready.remove(id).is_some()
                && let Some(entry) = self.entries.get(id)
            {
                // By the order that is asked for now.
                self.ready.put(id, entry, self.files.order, Arrived { at: now.instant, time: now.time });
            }
        }
        self.resume();
    }

    /// A file whose run was to come is left out now. Should it be meant again, it is new.
    pub(super) fn is_not_meant(&mut self, id: Id, now: &Now) {
        self.settling.remove(id);
        self.ready.remove(id);
        self.generations.remove(&id);
        let Some(entry) = self.entries.get(id).filter(|entry| entry.state != State::Running) else { return };
        if entry.run.is_none() {
            let path = entry.path().to_path_buf();
            Line::forgotten(now.time, &path).put(&mut self.lines);
            self.written += 1;
            self.entries.remove(id);
            return;
        }
        self.entries.set_stat(id, Stat::default());
        if let Some(entry) = self.entries.get_mut(id) {
            let why = "the watch does not mean it any more";
            (entry.state, entry.why, entry.at) = (State::Ignored, Some(why.into()), now.ms());
        }
        self.line(id);
    }
}
