//! Other rules come in force for what is known.

use std::path::Path;
use std::sync::Arc;

use super::book::{Book, Now};
use super::entries::Id;
use super::entry::{Entry, State};
use super::line::Line;
use super::stat::Stat;
use crate::model::FileEvent;
use crate::trigger::Files;

impl Book {
    /// Other rules are in force: what is not meant any more is left out, and what is not complete yet is so by these rules.
    pub fn set_files(&mut self, files: Arc<Files>, is_meant: impl FnMut(&Path) -> bool, now: &Now) {
        let before = std::mem::replace(&mut self.files, files);
        self.judge_anew(is_meant, now);
        let settling: Vec<Id> = self.settling.iter().map(|(id, _)| id).collect();
        for id in settling {
            if self.settling.get(id).is_some_and(|pending| pending.found.is_some()) {
                self.schedule(id, now);
            }
        }
        if before.order != self.files.order {
            for id in self.ready.by_arrival() {
                if let (Some(arrived), Some(entry)) = (self.ready.remove(id), self.entries.get(id)) {
                    self.ready.put(id, entry, self.files.order, arrived);
                }
            }
        }
        self.resume();
    }

    /// What is not meant is left out, where its run is still to come.
    pub fn judge_anew(&mut self, mut is_meant: impl FnMut(&Path) -> bool, now: &Now) {
        loop {
            let mut left_out = self.all_pending();
            left_out.retain(|id| {
                let is_running = |entry: &Entry| entry.state == State::Running && self.settling.get(*id).is_none();
                self.entries.get(*id).is_some_and(|entry| !is_running(entry) && !is_meant(entry.path()))
            });
            if left_out.is_empty() {
                return;
            }
            // What was ignored because of one of them is looked at, and may not be meant either.
            left_out.into_iter().for_each(|id| self.is_not_meant(id, now));
        }
    }

    /// A file whose run was to come is left out now. Should it be meant again, it is new, but for a content that was run for.
    pub(super) fn is_not_meant(&mut self, id: Id, now: &Now) {
        let pending = self.settling.remove(id);
        let was_ready = self.ready.remove(id).is_some();
        self.generations.remove(&id);
        let Some(path) = self.entries.get(id).map(|entry| entry.path().to_path_buf()) else { return };
        self.look_at_followers(&path, "", now);
        let Some(entry) = self.entries.get(id).filter(|entry| entry.state != State::Running) else { return };
        let event = pending.as_ref().map_or(entry.event, |pending| pending.event);
        let before = pending.map_or(entry.content(), |pending| pending.before);
        if before != State::Seen {
            if let Some(entry) = self.entries.get_mut(id) {
                // That one was gone, and what stands there is new.
                entry.gone |= event == FileEvent::Created && !entry.replay;
                (entry.state, entry.replay, entry.at) = (before, false, now.ms());
            }
            self.line(id);
            return;
        }
        if event == FileEvent::Created {
            Line::forgotten(now.time, &path).put(&mut self.lines);
            self.written += 1;
            self.entries.remove(id);
            return;
        }
        if was_ready {
            self.entries.forget_hash(id);
        }
        self.entries.set_stat(id, Stat::default());
        if let Some(entry) = self.entries.get_mut(id) {
            let why = "the watch does not mean it any more";
            (entry.state, entry.why, entry.at) = (State::Ignored, Some(why.into()), now.ms());
        }
        self.line(id);
    }
}
