//! Files come to runs, and what became of them comes back.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::book::{Book, MOST_SPANS, Now, Running, Span};
use super::entries::Id;
use super::entry::{Entry, State};
use super::followers::SAME;
use super::looping::{Guard, MOST};
use super::ready::Arrived;
use super::renames::real_path;
use super::settling::Pending;
use super::stat::Found;
use crate::model::{FileEvent, Input, Item, RunId, TriggeredBy};
use crate::trigger::{BatchMode, Settle};

/// How many runs could begin, since when the first could, and when that may change by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    pub runs: u64,
    pub since: Option<Timestamp>,
    pub changes_at: Option<Instant>,
    /// The oldest active run has fewer files than the next one could have.
    pub replaces: bool,
}

/// What a run is handed.
#[derive(Debug, Clone)]
pub struct Taken {
    pub input: Arc<Input>,
    pub triggered_by: TriggeredBy,
    /// When the first of its files was complete.
    pub due: Timestamp,
}

/// What became of a run's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    Done,
    Failed(String),
    /// The run did not come to its end: the files are for another one.
    Again,
}

/// The ledger has so many characters of the reason of a failure at most; the run's record has it whole.
const LONGEST_WHY: usize = 1_000;
/// How long a watch that seems to fire itself holds still at least.
const HOLD_STILL: Duration = Duration::from_secs(5);
/// Of a run that takes longer no more than this counts for that.
const LONGEST_HOLD: Duration = Duration::from_secs(3_600);

impl Book {
    /// How many runs could begin now.
    pub fn backlog(&mut self, now: &Now) -> Backlog {
        let Some(oldest) = self.ready.oldest() else { return Backlog::default() };
        // A batch that is full gains nothing from those that wait: were it ended for them, none would ever come to its end.
        let first = self.running.values().min_by_key(|running| running.began);
        let replaces =
            self.files.mode == BatchMode::Each || first.is_none_or(|running| running.ids.len() < self.files.max);
        let waiting = Backlog { since: Some(oldest.time), replaces, ..Backlog::default() };
        // Mostly the first of them says it all: there may be very many.
        let most = match self.files.mode {
            BatchMode::All if !self.generations.is_empty() => self.files.max,
            BatchMode::Each | BatchMode::All => 1,
        };
        let next: Vec<Id> = self.ready.first(most).collect();
        let generation = self.generation_of(&next);
        let first = next.first().and_then(|id| self.entries.get(*id)).map(|entry| entry.path().to_path_buf());
        let why = || {
            format!(
                "it fired itself {MOST} times in a row: nothing changes but while its own run is active, last {}. Let the command \
                 write elsewhere, or name what it writes in `ignore`; `runner resume` lets it go on",
                first.unwrap_or_default().display()
            )
        };
        let (is_idle, quiet) = (self.running.is_empty(), self.holds_still_for());
        if !self.guard.allows(generation, is_idle, quiet, now.instant, why) {
            return Backlog { changes_at: self.guard.deadline(), ..waiting };
        }
        match self.files.mode {
            BatchMode::Each => Backlog { runs: self.ready.len() as u64, ..waiting },
            BatchMode::All => {
                let at = oldest.at + self.files.wait;
                match self.ready.len() >= self.files.max || now.instant >= at {
                    true => Backlog { runs: 1, ..waiting },
                    false => Backlog { changes_at: Some(at), ..waiting },
                }
            }
        }
    }

    /// So long a watch that seems to fire itself waits for a change of somebody else. Whoever is as fast as its runs has made one by then.
    fn holds_still_for(&self) -> Duration {
        let settle = match self.files.settle {
            Settle::After(length) => length.0,
            Settle::Close => Duration::ZERO,
        };
        let longest =
            self.spans.iter().filter_map(|span| Duration::try_from(span.ended.duration_since(span.began)).ok()).max();
        // Where nothing is told, changes are noticed by looking.
        let look = if self.is_polled() { self.files.poll * 2 } else { Duration::ZERO };
        HOLD_STILL.max(longest.unwrap_or_default().min(LONGEST_HOLD) * 2 + settle * 2).max(look)
    }

    fn generation_of(&self, ids: &[Id]) -> u32 {
        if self.generations.is_empty() {
            return 0;
        }
        ids.iter().map(|id| self.generations.get(id).copied().unwrap_or(0)).min().unwrap_or(0)
    }

    /// Hands the next files to a run; `None` where there are none any more. [`Book::keep`] follows, before the run begins: the ledger
    /// hears of what it keeps.
    pub fn take(&mut self, run: RunId, now: &Now) -> Option<Taken> {
        let most = if self.files.mode == BatchMode::Each { 1 } else { self.files.max };
        let ids: Vec<Id> = self.ready.first(most).collect();
        let generation = self.generation_of(&ids);
        let mut due = None;
        let mut items = Vec::with_capacity(ids.len());
        let mut runs_before = Vec::with_capacity(ids.len());
        let mut is_replay = true;
        for id in &ids {
            let arrived = self.ready.remove(*id)?;
            self.generations.remove(id);
            due = Some(due.map_or(arrived.time, |due: Timestamp| due.min(arrived.time)));
            let entry = self.entries.get_mut(*id)?;
            is_replay &= entry.replay;
            if entry.replay {
                // Should the run be cut short, it is made again.
                entry.before = None;
            }
            runs_before.push(entry.run);
            (entry.state, entry.run, entry.at, entry.replay) =
                (State::Running, Some(run), now.time.as_millisecond(), false);
            items.push(item(entry));
            if entry.event == FileEvent::Deleted {
                // Should it come back as it was, it is a new one for whoever was told.
                self.entries.forget_content(*id);
            }
        }
        let due = due?;
        let renamed = HashSet::new();
        self.running.insert(run, Running { ids, runs_before, renamed, is_kept: false, generation, began: now.time });
        self.last_activity = Some(now.time);
        let input = Input { items, is_each: self.files.mode == BatchMode::Each };
        let triggered_by = if is_replay { TriggeredBy::Replay } else { TriggeredBy::Watch };
        Some(Taken { input: Arc::new(input), triggered_by, due })
    }

    /// The files of a run that is about to try once more, under the names that they have by now.
    pub fn items_again(&mut self, run: RunId) -> Vec<Item> {
        let Some(running) = self.running.get_mut(&run) else { return Vec::new() };
        // From here on it looks for them there.
        running.renamed.clear();
        self.files_of(run).into_iter().map(item).collect()
    }

    /// A run has come to its end. Says whether files have to be looked at that changed meanwhile.
    pub fn ended(&mut self, run: RunId, how: &Ended, now: &Now) -> bool {
        let Some(Running { ids, renamed, generation, began, .. }) = self.running.remove(&run) else { return false };
        self.spans.push_back(Span { began, ended: now.time, generation });
        if self.spans.len() > MOST_SPANS {
            self.spans.pop_front();
        }
        self.last_activity = Some(now.time);
        let mut look = false;
        for id in ids {
            // Another entry may stand in its place by now.
            if self.entries.get(id).is_none_or(|entry| entry.state != State::Running || entry.run != Some(run)) {
                continue;
            }
            match how {
                Ended::Done => self.counts.processed += 1,
                Ended::Failed(_) => self.counts.errors += 1,
                Ended::Again => {}
            }
            // It may have looked for it at the name before. Once: a command may give its file another name itself, each time.
            let may_be = renamed.contains(&id) && matches!(how, Ended::Failed(_));
            let is_for_another = match self.entries.get_mut(id) {
                Some(entry) if *how != Ended::Again => {
                    let is_for_another = may_be && !entry.gone && !entry.is_given_again;
                    entry.is_given_again = is_for_another;
                    is_for_another
                }
                _ => false,
            };
            match how {
                Ended::Failed(_) if is_for_another => self.again(id, now),
                Ended::Done => self.settle(id, Ok(()), now),
                Ended::Failed(why) => self.settle(id, Err(why.clone()), now),
                Ended::Again => self.again(id, now),
            }
            let state = self.entries.get(id).map_or(State::Done, Entry::content);
            let beside = self.settling.get_mut(id).map(|pending| {
                pending.before = state;
                pending.found
            });
            if let Some(Some(found)) = beside {
                // What the run was for may turn up elsewhere.
                self.remember_if_replaced(id, &found, now);
            }
            if let Some(pending) = self.settling.get_mut(id) {
                if std::mem::take(&mut pending.after_run) {
                    self.settling.check_at(id, Some(now.instant));
                    look = true;
                }
                self.is_seen(id, now);
            }
        }
        look | self.has_lines()
    }

    /// A newer content of it is on its way.
    fn is_seen(&mut self, id: Id, now: &Now) {
        let Some(pending) = self.settling.get(id) else { return };
        let (event, before, is_there) = (pending.event, pending.before(), pending.found.is_some());
        if let Some(entry) = self.entries.get_mut(id) {
            (entry.state, entry.event, entry.at) = (State::Seen, event, now.time.as_millisecond());
            entry.before = before;
            if event == FileEvent::Renamed {
                entry.from = pending.from.clone().map(Into::into);
            }
        }
        if !is_there && before.is_none() {
            // Wherever that content turns up, nobody has run for it.
            self.entries.forget_content(id);
        }
        // Nothing else may tell of it after a crash: not of a file that is gone.
        self.line(id);
    }

    /// What became of a file's content.
    pub(super) fn settle(&mut self, id: Id, how: Result<(), String>, now: &Now) {
        if let Some(entry) = self.entries.get_mut(id) {
            (entry.state, entry.why) = match how {
                Ok(()) => (State::Done, None),
                Err(why) => (State::Failed, Some(why.chars().take(LONGEST_WHY).collect::<String>().into())),
            };
            (entry.at, entry.before) = (now.time.as_millisecond(), None);
            // It may have come back meanwhile.
            if entry.event == FileEvent::Deleted && self.settling.get(id).is_none() {
                entry.gone = true;
            }
        }
        self.leave_followers(id);
        self.line(id);
    }

    /// The run that had it did not come to its end: another one gets it.
    fn again(&mut self, id: Id, now: &Now) {
        let is_for_another_look = self.settling.get(id).is_some();
        let is_done = self.entries.get(id).is_some_and(|entry| entry.before.is_some());
        if !is_done && (is_for_another_look || self.entries.get(id).is_some_and(|entry| entry.gone)) {
            self.entries.forget_hash(id);
        }
        let Some(entry) = self.entries.get_mut(id) else { return };
        entry.at = now.time.as_millisecond();
        if entry.gone && entry.event != FileEvent::Deleted {
            // Should it come back, it is run for.
            entry.state = State::Seen;
            let path = entry.path().to_path_buf();
            self.look_at_followers(&path, "", now);
        } else if is_for_another_look {
            // What it has become since is. A link to the one that stood there, and a copy, have its content still.
            entry.state = State::Seen;
            let (path, stat) = (entry.path().to_path_buf(), entry.stat);
            let beside = self.settling.get(id).and_then(|pending| pending.found);
            let is_replaced = beside.is_none_or(|beside| self.are_two(&path, &stat, &beside.stat));
            self.look_at_followers(&path, if is_replaced { "" } else { SAME[1] }, now);
        } else {
            entry.state = State::Stable;
            let order = self.files.order;
            if let Some(entry) = self.entries.get(id) {
                self.ready.put(id, entry, order, Arrived { at: now.instant, time: now.time });
            }
        }
        self.line(id);
    }

    /// The files that a run has.
    pub fn files_of(&self, run: RunId) -> Vec<&Entry> {
        let ids = self.running.get(&run).map(|running| running.ids.as_slice()).unwrap_or_default();
        ids.iter().filter_map(|id| self.entries.get(*id)).filter(|entry| entry.run == Some(run)).collect()
    }

    /// A file was moved away after its run: that it is gone is nobody's business, also where that was noticed already. Another one
    /// may stand there by now.
    pub fn moved_away(&mut self, path: &Path) {
        let Some(id) = self.entries.by_path(path) else { return };
        match self.settling.get(id).map(|pending| pending.found.is_some()) {
            Some(true) => return,
            Some(false) => drop(self.settling.remove(id)),
            None => {}
        }
        if let Some(entry) = self.entries.get_mut(id) {
            entry.gone = true;
            // Where its run has still to be ended, the line of that says so.
            if entry.state != State::Running {
                self.line(id);
            }
        }
    }

    /// A file stays where it is after its run, and why: the ledger says so.
    pub fn stays(&mut self, path: &Path, why: &str) {
        let Some(id) = self.entries.by_path(path) else { return };
        let Some(entry) = self.entries.get_mut(id).filter(|entry| matches!(entry.state, State::Done | State::Failed))
        else {
            return;
        };
        entry.why = Some(match &entry.why {
            Some(before) => format!("{before}; it {why}").into(),
            None => format!("it {why}").into(),
        });
        self.line(id);
    }

    /// All that is complete is passed over, with the reason. Says how many files that were.
    pub fn pass_over(&mut self, why: &str, now: &Now) -> u64 {
        let ids: Vec<Id> = self.ready.first(usize::MAX).collect();
        for id in &ids {
            self.ready.remove(*id);
            self.generations.remove(id);
            if let Some(entry) = self.entries.get_mut(*id) {
                (entry.state, entry.why, entry.at) = (State::Ignored, Some(why.into()), now.time.as_millisecond());
            }
            self.line(*id);
        }
        ids.len() as u64
    }

    /// A file is run for once more, whatever became of it. `found`: as it is now; nothing, where it is gone.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn replay(&mut self, path: &Path, found: Option<&Found>, now: &Now) -> Result<(), &'static str> {
        self.may_replay(path, found)?;
        let (Some(id), Some(found)) = (self.entries.by_path(path), found.copied()) else { return Ok(()) };
        let Some(entry) = self.entries.get_mut(id) else { return Ok(()) };
        let (event, before) = (entry.event, entry.state);
        (entry.replay, entry.gone, entry.state, entry.at) = (true, false, State::Seen, now.time.as_millisecond());
        let event = if event == FileEvent::Deleted { FileEvent::Created } else { event };
        entry.event = event;
        let from = entry.from.as_ref().map(|from| from.to_path_buf());
        let pending = Pending { is_closed: true, from, ..Pending::new(event, before, Some(found), now.instant) };
        entry.before = pending.before();
        self.settling.put(id, pending);
        self.settling.check_at(id, Some(now.instant));
        self.line(id);
        Ok(())
    }

    /// Whether a file can be run for once more.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn may_replay(&self, path: &Path, found: Option<&Found>) -> Result<(), &'static str> {
        let id = self.entries.by_path(path);
        let Some((id, entry)) = id.and_then(|id| Some((id, self.entries.get(id)?))) else {
            return Err("the watch does not know this file");
        };
        if entry.state.is_pending() || self.settling.get(id).is_some() {
            return Err("it is to be run for already");
        }
        if found.is_none() {
            return Err("it is not there any more");
        }
        Ok(())
    }

    /// Lets a watch go on that was stopped because it fired itself.
    pub fn resume(&mut self) {
        self.guard = Guard::Free;
        self.is_stop_said = false;
        self.generations.clear();
    }

    /// The paths of the files that a selection of entries is about.
    pub fn select(&self, is_meant: impl Fn(&Entry) -> bool) -> Vec<PathBuf> {
        self.entries.iter().filter(|(_, entry)| is_meant(entry)).map(|(_, entry)| entry.path().to_path_buf()).collect()
    }
}

fn item(entry: &Entry) -> Item {
    let is_there = entry.event != FileEvent::Deleted;
    Item {
        path: real_path(entry.path()),
        event: entry.event,
        size: if is_there { entry.stat.size } else { 0 },
        modified: entry.stat.modified().filter(|_| is_there),
        from: entry.from.as_ref().map(|from| from.to_path_buf()),
    }
}
