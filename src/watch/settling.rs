use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::entries::Id;
use super::entry::State;
use super::stat::Found;
use crate::model::FileEvent;

/// A file that may still be written to.
#[derive(Debug, Clone, PartialEq)]
pub struct Pending {
    pub event: FileEvent,
    /// Its name before, where it was renamed.
    pub from: Option<PathBuf>,
    /// As it was found last; `None`: it is gone, and that is to be told.
    pub found: Option<Found>,
    /// What became of the content before this one.
    pub before: State,
    /// Since when it has been as it is.
    pub quiet_since: Instant,
    /// Who wrote it has closed it, or it came to its place whole.
    pub is_closed: bool,
    /// Somebody writes to it, and has not closed it.
    pub is_open: bool,
    /// It was told of as made, and of nothing else since: no write, no closing.
    pub is_only_made: bool,
    /// It is complete, and waits for the run that has the content before this one.
    pub after_run: bool,
    /// It holds still, and waits for the file that says that it is complete.
    pub awaits_done: bool,
    /// People have heard of it.
    pub is_told: bool,
    /// How often its watch has made itself due up to here.
    pub generation: u32,
    /// When to look at it; kept by [`Settling`].
    pub(super) check_at: Option<Instant>,
    /// The how manieth it is that was noticed; kept by [`Settling`].
    pub(super) number: u64,
}

impl Pending {
    pub fn new(event: FileEvent, before: State, found: Option<Found>, now: Instant) -> Self {
        Self {
            event,
            from: None,
            found,
            before,
            quiet_since: now,
            is_closed: false,
            is_open: false,
            is_only_made: false,
            after_run: false,
            awaits_done: false,
            is_told: true,
            generation: 0,
            check_at: None,
            number: 0,
        }
    }

    /// What became of the content before this one, where somebody has run for it, or none was to be made.
    pub fn before(&self) -> Option<State> {
        Some(self.before).filter(|before| !before.is_pending())
    }
}

/// All files that may still be written to, and when to look at which.
#[derive(Debug, Default)]
pub struct Settling {
    of: HashMap<Id, Pending>,
    /// What is due at the same time is so in the order in which it was noticed.
    timers: BTreeSet<(Instant, u64, Id)>,
    next: u64,
}

/// How long the writer of a file may be silent before it is looked whether anybody has it open still.
pub const SILENT_WRITER: Duration = Duration::from_secs(60);
/// How long a file that was found by a look has to hold still where its closing would count.
pub const FOUND: Duration = Duration::from_secs(2);

impl Settling {
    pub fn len(&self) -> usize {
        self.of.len()
    }

    pub fn get(&self, id: Id) -> Option<&Pending> {
        self.of.get(&id)
    }

    pub fn get_mut(&mut self, id: Id) -> Option<&mut Pending> {
        self.of.get_mut(&id)
    }

    pub fn put(&mut self, id: Id, pending: Pending) {
        self.remove(id);
        self.of.insert(id, Pending { check_at: None, number: self.next, ..pending });
        self.next += 1;
    }

    pub fn remove(&mut self, id: Id) -> Option<Pending> {
        let pending = self.of.remove(&id)?;
        if let Some(at) = pending.check_at {
            self.timers.remove(&(at, pending.number, id));
        }
        Some(pending)
    }

    /// Sets when to look at it; `None`: not before something is told of it.
    pub fn check_at(&mut self, id: Id, at: Option<Instant>) {
        let Some(pending) = self.of.get_mut(&id) else { return };
        if let Some(before) = std::mem::replace(&mut pending.check_at, at) {
            self.timers.remove(&(before, pending.number, id));
        }
        if let Some(at) = at {
            self.timers.insert((at, pending.number, id));
        }
    }

    /// When to look at the next one.
    pub fn next(&self) -> Option<Instant> {
        self.timers.first().map(|(at, ..)| *at)
    }

    /// Those that are to be looked at now, at most `most`. None of them is told of again before its time is set anew.
    pub fn due(&mut self, now: Instant, most: usize) -> Vec<Id> {
        let mut due = Vec::new();
        while let Some((at, _, id)) = self.timers.first().copied()
            && at <= now
            && due.len() < most
        {
            self.timers.pop_first();
            if let Some(pending) = self.of.get_mut(&id) {
                pending.check_at = None;
            }
            due.push(id);
        }
        due
    }

    /// Those whose run has ended that had the content before.
    pub fn iter(&self) -> impl Iterator<Item = (Id, &Pending)> {
        self.of.iter().map(|(id, pending)| (*id, pending))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_due_once_at_the_time_that_was_set_last() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut settling = Settling::default();
        for id in 0..3 {
            settling.put(id, Pending::new(FileEvent::Created, State::Seen, None, now));
            settling.check_at(id, Some(at(5)));
        }
        settling.check_at(1, Some(at(9)));
        settling.check_at(2, None);
        assert_eq!(settling.next(), Some(at(5)));
        assert_eq!((settling.due(at(4), 9), settling.due(at(5), 9), settling.due(at(8), 9)), (vec![], vec![0], vec![]));
        settling.remove(1);
        assert_eq!((settling.next(), settling.len()), (None, 2));
    }
}
