//! What a watch knows of its files, and how it comes to know it. Does no I/O: whoever looks at a file tells what was found there.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::entries::{Entries, Id};
use super::entry::{Hash, State};
use super::file_system::{FileSystem, Inodes};
use super::ledger::Loaded;
use super::line::Line;
use super::looping::Guard;
use super::ready::Ready;
use super::settling::{Pending, Settling};
use super::stat::Found;
use crate::model::{FileEvent, RunId};
use crate::trigger::Files;

/// When something is told.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub time: Timestamp,
    pub instant: Instant,
}

impl Now {
    pub(super) fn ms(&self) -> i64 {
        self.time.as_millisecond()
    }
}

/// By what a file was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Somebody made it, perhaps by a link.
    Made,
    /// Somebody writes to it.
    Written,
    /// Its attributes changed.
    Touched,
    /// Who wrote it has closed it.
    Closed,
    /// It was moved into its place.
    MovedIn,
    /// It was found when everything was looked at; `first`: since this time its root is watched, and not all of it has been seen.
    Scan { first: Option<Timestamp> },
}

/// What is known of another file with the same content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Twin {
    /// There is none, or nobody looked.
    None,
    /// It is not at its path any more.
    Gone,
    /// It is.
    There,
}

/// Something that people may want to hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noticed {
    pub event: FileEvent,
    pub path: PathBuf,
    pub from: Option<PathBuf>,
    /// Why no run is made for it after all.
    pub passed_over: Option<String>,
}

/// A file that has to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    pub id: Id,
    pub path: PathBuf,
    /// With the hash of its content.
    pub hash: bool,
    /// With whether anybody has it open.
    pub open: bool,
}

/// What was found there.
#[derive(Debug, Clone, Default)]
pub struct Looked {
    pub found: Option<Found>,
    /// The file that says so stands beside it.
    pub is_done: bool,
    pub hash: Option<Hash>,
    pub is_open: bool,
}

/// A run and the files that it has.
#[derive(Debug, Clone)]
pub(super) struct Running {
    pub ids: Vec<Id>,
    /// Which run each of them had before, should this one never begin.
    pub runs_before: Vec<Option<RunId>>,
    /// Those that have got another name since: it may not have found them.
    pub renamed: HashSet<Id>,
    /// It is known which of them it keeps, and the ledger hears of those.
    pub is_kept: bool,
    pub generation: u32,
    pub began: Timestamp,
}

/// When a run was active, and how often its watch had made itself due up to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub began: Timestamp,
    pub ended: Timestamp,
    pub generation: u32,
}

/// What has been done since the watch began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub processed: u64,
    pub errors: u64,
}

/// What a watch knows of its files.
#[derive(Debug)]
pub struct Book {
    pub(super) files: Arc<Files>,
    pub(super) entries: Entries,
    pub(super) settling: Settling,
    pub(super) ready: Ready,
    pub(super) running: BTreeMap<RunId, Running>,
    /// The runs that ended last.
    pub(super) spans: VecDeque<Span>,
    /// Files that are ignored because of another one whose run is still to come, by that one's path.
    pub(super) followers: HashMap<Box<[u8]>, BTreeSet<Id>>,
    /// Files that are gone since a moment ago.
    pub(super) recently_gone: HashMap<Id, Instant>,
    /// With so many of these it is looked which ones went longer ago.
    pub(super) most_recently_gone: usize,
    /// Lines of the ledger that are not written yet.
    pub(super) lines: Vec<u8>,
    /// How many lines the file has, those on their way included.
    pub(super) written: u64,
    pub(super) roots: HashMap<PathBuf, (Timestamp, bool)>,
    /// Below these, others may change files elsewhere.
    pub(super) remote: HashSet<PathBuf>,
    /// Below these, inodes are not what they are on most disks.
    pub(super) inodes: HashMap<PathBuf, Inodes>,
    /// Below these, nothing tells that a file was closed.
    pub(super) polled: HashSet<PathBuf>,
    /// One moment by both clocks, so that the same time of day is always the same instant.
    clock: Option<Now>,
    pub(super) guard: Guard,
    pub(super) is_stop_said: bool,
    /// Of files that are complete.
    pub(super) generations: HashMap<Id, u32>,
    pub(super) counts: Counts,
    pub(super) last_activity: Option<Timestamp>,
    /// The ledger is being written anew: each line has to say by itself what is so.
    pub(super) is_rewriting: bool,
    pub(super) mark: u32,
    /// So many files were there before the first start, since that was asked last.
    pub(super) were_there: usize,
    /// When it was noticed that the time of day was set: what it said before means nothing.
    clock_set: Option<Instant>,
}

/// Of runs that have ended so many are remembered, to tell what they may have written.
pub(super) const MOST_SPANS: usize = 16;

/// By more than this the clocks differ only if somebody has set the time of day, or the machine slept.
const CLOCK_SET_NS: i128 = 500_000_000;
/// Reading the one clock after the other takes a moment; with more than that between them somebody has set the time of day.
const STEP_NS: i128 = 2_000_000;

fn is_below(path: &Path, roots: &HashSet<PathBuf>) -> bool {
    !roots.is_empty() && path.ancestors().any(|above| roots.contains(above))
}

impl Book {
    /// With what its ledger remembers. `ended`: how the runs ended that had files when the runner was there last; `None`: they were cut
    /// short, or nobody knows.
    pub fn new(
        files: Arc<Files>,
        loaded: Loaded,
        mut ended: impl FnMut(RunId) -> Option<Result<(), String>>,
        now: &Now,
    ) -> Self {
        let mut book = Self {
            files,
            entries: loaded.entries,
            settling: Settling::default(),
            ready: Ready::default(),
            running: BTreeMap::new(),
            spans: VecDeque::new(),
            followers: HashMap::new(),
            recently_gone: HashMap::new(),
            most_recently_gone: 0,
            lines: Vec::new(),
            written: loaded.lines,
            roots: loaded.roots,
            remote: HashSet::new(),
            inodes: HashMap::new(),
            polled: HashSet::new(),
            clock: Some(*now),
            guard: Guard::Free,
            is_stop_said: false,
            generations: HashMap::new(),
            counts: Counts::default(),
            last_activity: None,
            is_rewriting: false,
            mark: 0,
            were_there: 0,
            clock_set: None,
        };
        for (other, id) in book.all_followers() {
            book.followers.entry(other).or_default().insert(id);
        }
        for id in book.all_pending() {
            let run = book.entries.get(id).filter(|entry| entry.state == State::Running).and_then(|entry| entry.run);
            match run.and_then(&mut ended) {
                Some(how) => book.settle(id, how, now),
                None => book.look_anew(id, now),
            }
        }
        book
    }

    /// Whoever filled the book was stopped in the middle of it: what no run has is looked at as if it had been noticed just now.
    pub fn begin_anew(&mut self, now: &Now) {
        self.is_rewritten();
        for id in self.all_pending() {
            let Some(entry) = self.entries.get(id) else { continue };
            let is_kept = match entry.state {
                State::Running => entry.run.is_some_and(|run| self.running.contains_key(&run)),
                State::Stable => self.ready.has(id),
                _ => false,
            };
            if !is_kept && self.settling.get(id).is_none() {
                self.look_anew(id, now);
            }
        }
    }

    /// How many files were found, since this was asked last, that no run is made for as they were there before the first start.
    pub fn take_were_there(&mut self) -> usize {
        std::mem::take(&mut self.were_there)
    }

    /// Of what a run is still to come, or under way, and of what is ignored because of such.
    pub fn pending_paths(&self) -> Vec<PathBuf> {
        let pending = self.entries.iter().map(|(_, entry)| entry).filter(|entry| entry.state.is_pending());
        let followers = self.followers.values().flatten().filter_map(|id| self.entries.get(*id));
        pending.chain(followers).map(|entry| entry.path().to_path_buf()).collect()
    }

    pub(super) fn all_pending(&self) -> Vec<Id> {
        self.entries.iter().filter(|(_, entry)| entry.state.is_pending()).map(|(id, _)| id).collect()
    }

    /// It is to be looked at, whatever its content; a run that was cut short may have seen it.
    pub(super) fn look_anew(&mut self, id: Id, now: &Now) {
        let Some(entry) = self.entries.get(id) else { return };
        if matches!(entry.state, State::Stable | State::Running) && entry.before.is_none() {
            self.entries.forget_hash(id);
        }
        let Some(entry) = self.entries.get_mut(id) else { return };
        entry.state = State::Seen;
        if entry.gone && entry.event == FileEvent::Deleted {
            let before = entry.before.unwrap_or(State::Done);
            self.settling.put(id, Pending::new(FileEvent::Deleted, before, None, now.instant));
            self.settling.check_at(id, Some(now.instant));
        } else if entry.gone {
            // Its run was cut short, and it was gone already: nobody is told of that once more.
            let path = entry.path().to_path_buf();
            self.look_at_followers(&path, "", now);
        }
    }

    pub fn files(&self) -> &Arc<Files> {
        &self.files
    }

    /// Whether runs have files of it.
    pub fn has_runs(&self) -> bool {
        !self.running.is_empty()
    }

    /// What has been done since the watch began.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Files whose run is still to come, or under way.
    pub fn pending(&self) -> u64 {
        let running: usize = self.running.values().map(|running| running.ids.len()).sum();
        let beside = self
            .settling
            .iter()
            .filter(|(id, _)| self.entries.get(*id).is_some_and(|entry| entry.state != State::Running));
        (running + self.ready.len() + beside.count()) as u64
    }

    pub fn last_activity(&self) -> Option<Timestamp> {
        self.last_activity
    }

    /// Why the watch is stopped, once.
    pub fn says_why_stopped(&mut self) -> Option<String> {
        match &self.guard {
            Guard::Stopped { why } if !self.is_stop_said => {
                self.is_stop_said = true;
                Some(why.clone())
            }
            _ => None,
        }
    }

    /// Why the watch is stopped.
    pub fn why_stopped(&self) -> Option<&str> {
        match &self.guard {
            Guard::Stopped { why } => Some(why),
            Guard::Free | Guard::Suspects { .. } | Guard::Tries { .. } => None,
        }
    }

    pub fn entries(&self) -> &Entries {
        &self.entries
    }

    pub fn settling(&self) -> &Settling {
        &self.settling
    }

    /// The lines that have to be written, which are the caller's from now on.
    pub fn take_lines(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.lines)
    }

    pub fn has_lines(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Lines that could not be written.
    pub fn put_back(&mut self, mut lines: Vec<u8>) {
        lines.append(&mut self.lines);
        self.lines = lines;
    }

    /// Lets go of the lines that have to be written, where these are more than so many bytes. Says whether.
    pub(super) fn lets_go_of_lines(&mut self, most: usize) -> bool {
        let are_too_many = self.lines.len() > most;
        if are_too_many {
            self.lines = Vec::new();
        }
        are_too_many
    }

    pub(super) fn line(&mut self, id: Id) {
        if let Some(entry) = self.entries.get(id) {
            let run = entry.run.filter(|_| entry.state == State::Running).and_then(|run| self.running.get(&run));
            if run.is_some_and(|run| !run.is_kept) {
                // It may not get it.
                return;
            }
            Line::of(entry).put(&mut self.lines);
            self.written += 1;
        }
    }

    pub(super) fn set_state(&mut self, id: Id, state: State) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.state = state;
        }
    }

    /// Takes note of what a root's file system is like.
    pub fn set_file_system(&mut self, root: &Path, file_system: FileSystem) {
        match file_system.remote {
            Some(_) => self.remote.insert(root.to_path_buf()),
            None => self.remote.remove(root),
        };
        match file_system.inodes {
            Inodes::Last => self.inodes.remove(root),
            other => self.inodes.insert(root.to_path_buf(), other),
        };
    }

    /// Takes note that files below a root are found by looking alone, or that events tell of them.
    pub fn set_polled(&mut self, root: &Path, is_polled: bool) {
        match is_polled {
            true => self.polled.insert(root.to_path_buf()),
            false => self.polled.remove(root),
        };
    }

    /// Whether some of it is looked at every now and then.
    pub(super) fn is_polled(&self) -> bool {
        !self.polled.is_empty() || !self.remote.is_empty()
    }

    pub(super) fn is_remote(&self, path: &Path) -> bool {
        is_below(path, &self.remote)
    }

    /// What the inodes of files there say.
    pub(super) fn inodes(&self, path: &Path) -> Inodes {
        let own = || path.ancestors().find_map(|above| self.inodes.get(above)).copied();
        (!self.inodes.is_empty()).then(own).flatten().unwrap_or_default()
    }

    /// Whether a file there that has another inode is another file. On shares the number may change with each mount.
    pub(super) fn tells_by_inode(&self, path: &Path) -> bool {
        !self.is_remote(path) && self.inodes(path) != Inodes::MadeUp
    }

    /// Whether the kernel tells when a file there is closed.
    pub(super) fn is_closing_told(&self, path: &Path) -> bool {
        !is_below(path, &self.remote) && !is_below(path, &self.polled)
    }

    /// When a time of day was, not after now. What was at the same time of day was at the same instant, so that files that were written
    /// at once stay in their order.
    pub(super) fn instant_of(&mut self, nanoseconds: i128, now: &Now) -> Option<Instant> {
        let ahead_of = |clock: &Now, nanoseconds: i128| nanoseconds - clock.time.as_nanosecond();
        let step = |clock: &Now| {
            let passed = now.instant.saturating_duration_since(clock.instant).as_nanos() as i128;
            (ahead_of(clock, now.time.as_nanosecond()) - passed).abs()
        };
        if self.clock.as_ref().is_some_and(|clock| step(clock) > CLOCK_SET_NS) {
            self.clock_set = Some(now.instant);
        }
        let clock = self.clock.filter(|clock| step(clock) <= STEP_NS).unwrap_or(*now);
        self.clock = Some(clock);
        let ahead = ahead_of(&clock, nanoseconds.min(now.time.as_nanosecond()));
        let length = Duration::from_nanos(u64::try_from(ahead.unsigned_abs()).unwrap_or(u64::MAX));
        let instant = if ahead < 0 { clock.instant.checked_sub(length) } else { clock.instant.checked_add(length) };
        // A file has not held still for an hour because the clock went forward by one.
        self.clock_set.into_iter().chain(instant).max()
    }

    /// Since when a root is watched, and whether all of it was seen since; it is from now on.
    pub fn root(&mut self, root: &Path, now: &Now) -> (Timestamp, bool) {
        if let Some(known) = self.roots.get(root) {
            return *known;
        }
        self.roots.insert(root.to_path_buf(), (now.time, false));
        Line::root(now.time, root, false).put(&mut self.lines);
        (now.time, false)
    }

    /// All of a root was seen.
    pub fn root_is_seen(&mut self, root: &Path, now: &Now) {
        if let Some(known) = self.roots.get_mut(root)
            && !known.1
        {
            known.1 = true;
            Line::root(now.time, root, true).put(&mut self.lines);
        }
    }

    /// Whether the watch's thread may have something to do now that a run has ended.
    pub fn is_due_after_run(&self) -> bool {
        // What is ready may wait for its time: a batch that was given back, or a watch that seems to fire itself.
        self.ready.len() > 0 || self.settling.len() > 0 || self.guard != Guard::Free || self.has_lines()
    }
}
