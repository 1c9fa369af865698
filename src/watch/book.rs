//! What a watch knows of its files, and how it comes to know it. Does no I/O: whoever looks at a file tells what was found there.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::entries::{Entries, Id};
use super::entry::{Entry, Hash, State};
use super::ledger::Loaded;
use super::line::Line;
use super::looping::Guard;
use super::ready::{Arrived, Ready};
use super::settling::{FOUND, Pending, SILENT_WRITER, Settling};
use super::stat::{Found, Stat};
use crate::model::{FileEvent, RunId};
use crate::trigger::{Backend, Existing, Files, Identity, Settle};

/// When something is told.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub time: Timestamp,
    pub instant: Instant,
}

impl Now {
    fn ms(&self) -> i64 {
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
    followers: HashMap<Box<[u8]>, BTreeSet<Id>>,
    /// Files that are gone since a moment ago.
    recently_gone: HashMap<Id, Instant>,
    /// Lines of the ledger that are not written yet.
    lines: Vec<u8>,
    /// How many lines the file has, those on their way included.
    written: u64,
    roots: HashMap<PathBuf, (Timestamp, bool)>,
    /// Below these, a file system's inodes are not what they should be.
    remote: HashSet<PathBuf>,
    pub(super) guard: Guard,
    pub(super) is_stop_said: bool,
    /// Of files that are complete.
    pub(super) generations: HashMap<Id, u32>,
    pub(super) counts: Counts,
    pub(super) last_activity: Option<Timestamp>,
    /// The ledger is being written anew: each line has to say by itself what is so.
    is_rewriting: bool,
    mark: u32,
}

/// Of files that are gone this many are remembered at least, and for so long.
const GONE_KEPT: usize = 10_000;
const GONE_FOR_MS: i64 = 30 * 86_400_000;
/// Within so long the two halves of a rename are told.
const RENAME: Duration = Duration::from_secs(2);
/// How it is said that a file is ignored because of another one.
const SAME: [&str; 2] = ["it is the same file as ", "it has the same content as "];
/// Of runs that have ended so many are remembered, to tell what they may have written.
pub(super) const MOST_SPANS: usize = 16;

/// The path at which content stood that is known and stands nowhere.
fn real_path(path: &Path) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    Path::new(OsStr::from_bytes(&bytes[..end])).to_path_buf()
}

/// No path holds a NUL: nothing is ever found there.
fn numbered(path: &Path, number: u64) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(format!("\0{number}"));
    name.into()
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
            lines: Vec::new(),
            written: loaded.lines,
            roots: loaded.roots,
            remote: HashSet::new(),
            guard: Guard::Free,
            is_stop_said: false,
            generations: HashMap::new(),
            counts: Counts::default(),
            last_activity: None,
            is_rewriting: false,
            mark: 0,
        };
        let follows = |(id, entry): (Id, &Entry)| {
            let why = entry.why.as_deref().filter(|_| entry.state == State::Ignored)?;
            let other = SAME.iter().find_map(|words| why.strip_prefix(words))?;
            let leader = book.entries.get(book.entries.by_path(Path::new(other))?)?;
            leader.state.is_pending().then(|| (other.as_bytes().into(), id))
        };
        for (other, id) in book.entries.iter().filter_map(follows).collect::<Vec<(Box<[u8]>, Id)>>() {
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

    fn all_pending(&self) -> Vec<Id> {
        self.entries.iter().filter(|(_, entry)| entry.state.is_pending()).map(|(id, _)| id).collect()
    }

    /// It is to be looked at, whatever its content; a run that was cut short may have seen it.
    fn look_anew(&mut self, id: Id, now: &Now) {
        let Some(entry) = self.entries.get(id) else { return };
        if matches!(entry.state, State::Stable | State::Running) {
            self.entries.forget_hash(id);
        }
        let Some(entry) = self.entries.get_mut(id) else { return };
        entry.state = State::Seen;
        if entry.gone && entry.event == FileEvent::Deleted {
            self.settling.put(id, Pending::new(FileEvent::Deleted, State::Done, None, now.instant));
            self.settling.check_at(id, Some(now.instant));
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

    pub(super) fn line(&mut self, id: Id) {
        if let Some(entry) = self.entries.get(id) {
            Line::of(entry).put(&mut self.lines);
            self.written += 1;
        }
    }

    fn set_state(&mut self, id: Id, state: State) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.state = state;
        }
    }

    /// The kernel lost count: of what somebody seemed to have open the closing may have been among what is lost.
    pub fn events_were_lost(&mut self, now: &Now) {
        let open: Vec<Id> = self.settling.iter().filter(|(_, pending)| pending.is_open).map(|(id, _)| id).collect();
        for id in open {
            let Some(pending) = self.settling.get_mut(id) else { continue };
            pending.is_open = false;
            let is_remote = self.entries.get(id).is_some_and(|entry| self.is_remote(entry.path()));
            self.schedule(id, now, is_remote);
        }
    }

    /// Takes note that the inodes of files below a root mean nothing, or something.
    pub fn set_remote(&mut self, root: &Path, is_remote: bool) {
        match is_remote {
            true => self.remote.insert(root.to_path_buf()),
            false => self.remote.remove(root),
        };
    }

    /// Whether some of it is looked at every now and then.
    pub(super) fn is_polled(&self) -> bool {
        self.files.backend == Backend::Poll || !self.remote.is_empty()
    }

    fn is_remote(&self, path: &Path) -> bool {
        !self.remote.is_empty() && path.ancestors().any(|above| self.remote.contains(above))
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

    /// Whether the content is the one that the entry is about.
    pub(super) fn is_known(&self, entry: &Entry, stat: &Stat) -> bool {
        match self.files.identity {
            Identity::Path => true,
            Identity::Stat | Identity::Hash => entry.stat.is_same_here(stat, !self.is_remote(entry.path())),
        }
    }

    /// Another file that has this content, which the one at `path` has not had so far. Whether it is still at its path decides what
    /// this one is: [`Twin`].
    pub fn twin_of(&self, path: &Path, stat: &Stat) -> Option<(PathBuf, bool)> {
        if self.files.identity == Identity::Path {
            return None;
        }
        let known = self.entries.by_path(path).and_then(|id| self.entries.get(id));
        if known.is_some_and(|entry| !entry.gone && self.is_known(entry, stat)) {
            return None;
        }
        // What is written to still may have any content.
        let is_open = |id: &Id| {
            let found = self.settling.get(*id).and_then(|pending| pending.found);
            found.is_some_and(|found| (found.stat.dev, found.stat.inode) == (stat.dev, stat.inode))
        };
        let id = self.entries.by_stat(stat).or_else(|| self.entries.with_inode(stat).find(is_open))?;
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
        if self.settling.get(id).is_some() {
            self.seen_again(id, found, sight, now);
            return None;
        }
        let entry = self.entries.get(id)?;
        let (state, is_known) = (entry.state, self.is_known(entry, &found.stat));
        match state {
            State::Seen => {
                let event = entry.event;
                let event = if event == FileEvent::Deleted { FileEvent::Created } else { event };
                self.begin(id, event, State::Seen, Some(*found), sight, now)
            }
            State::Stable if entry.stat == found.stat => None,
            State::Stable => {
                let event = entry.event;
                self.ready.remove(id);
                // A copy has what it held, and nobody has run for that.
                self.look_at_followers(path, SAME[1], now);
                self.entries.forget_hash(id);
                self.begin(id, event, State::Seen, Some(*found), sight, now)
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
                if !self.files.events.contains(&event) {
                    self.entries.set_stat(id, found.stat);
                    self.line(id);
                    return None;
                }
                self.begin(id, event, state, Some(*found), sight, now)
            }
        }
    }

    /// A file that is not known.
    fn first_met(
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
            "it was there at the first start"
        } else if !self.files.events.contains(&FileEvent::Created) {
            "`created` is not among `events`"
        } else {
            let id = self.entries.add(entry);
            return self.begin(id, FileEvent::Created, State::Seen, Some(*found), sight, now);
        };
        let id = self.entries.add(Entry { state: State::Ignored, stat: found.stat, why: Some(why.into()), ..entry });
        self.line(id);
        None
    }

    /// The same content is at another path as well.
    fn is_link_to(&mut self, id: Id, found: &Found, other: &Path, now: &Now) {
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

    /// A file has another name.
    fn renamed(&mut self, id: Id, path: &Path, found: &Found, sight: Sight, now: &Now) -> Option<Noticed> {
        if self.entries.by_path(path) == Some(id) {
            return None;
        }
        let is_overwritten = self.overwritten(path, now);
        let from = self.entries.get(id)?.path().to_path_buf();
        let inode = |found: &Found| (found.stat.dev, found.stat.inode);
        let is_other = |pending: &Pending| pending.found.is_some_and(|other| inode(&other) != inode(found));
        let other = self.settling.get(id).is_some_and(is_other).then(|| self.settling.remove(id)).flatten();
        if let (Some(pending), Some(entry)) = (&other, self.entries.get_mut(id)) {
            // What was noticed at the old path is another file: the history goes along, and that one begins anew.
            if entry.state != State::Running {
                entry.state = pending.before;
            }
        }
        self.entries.rename(id, path);
        self.follow_to(&from, path);
        let is_itself_again = other.is_some();
        if let Some(pending) = other {
            let event = if pending.event == FileEvent::Modified { FileEvent::Created } else { pending.event };
            let entry = Entry { mark: self.mark, ..Entry::new(&from, event, now.ms()) };
            let found = pending.found;
            let new = self.entries.add(entry);
            self.settling.put(new, Pending { event, before: State::Seen, after_run: false, ..pending });
            if let Some(found) = found {
                self.entries.set_stat(new, found.stat);
                self.noted(new, &found, Sight::Touched, now);
            }
        }
        let mark = self.mark;
        let entry = self.entries.get_mut(id)?;
        entry.mark = mark;
        let was_gone = std::mem::take(&mut entry.gone);
        let left = self.recently_gone.remove(&id);
        let is_move = !was_gone || left.is_some_and(|at| now.instant.saturating_duration_since(at) <= RENAME);
        let (state, event) = (entry.state, entry.event);
        self.line_of_move(id, &from, path, now);
        if is_itself_again {
            self.line(id);
        }
        if let Some(pending) = self.settling.get_mut(id)
            && pending.event != FileEvent::Deleted
        {
            if is_overwritten && pending.event == FileEvent::Created {
                pending.event = FileEvent::Modified;
            }
            self.seen_again(id, found, Sight::MovedIn, now);
            return None;
        }
        if self.settling.remove(id).is_some() {
            // It was to be told that it is gone; it is not.
            self.set_state(id, State::Done);
        }
        match state {
            State::Seen if event != FileEvent::Deleted => self.begin(id, event, State::Seen, Some(*found), sight, now),
            State::Stable => None,
            state if self.files.events.contains(&FileEvent::Renamed) && is_move => {
                let from = real_path(&from);
                let noticed = self.begin(id, FileEvent::Renamed, state, Some(*found), Sight::MovedIn, now);
                if let Some(pending) = self.settling.get_mut(id) {
                    pending.from = Some(from.clone());
                }
                noticed.map(|noticed| Noticed { from: Some(from), ..noticed })
            }
            _ => None,
        }
    }

    /// Another file has come to this path: what stood there is remembered, as it may have gone elsewhere. Says whether anything did.
    fn overwritten(&mut self, path: &Path, now: &Now) -> bool {
        let Some(other) = self.entries.by_path(path) else { return false };
        let pending = self.settling.remove(other);
        let was_ready = self.ready.remove(other).is_some();
        self.generations.remove(&other);
        let Some(entry) = self.entries.get_mut(other) else { return false };
        let was_there = !std::mem::replace(&mut entry.gone, true);
        if was_there {
            self.recently_gone.insert(other, now.instant);
        }
        let Some(entry) = self.entries.get_mut(other) else { return false };
        let before = pending.map_or(entry.state, |pending| pending.before);
        if entry.state != State::Running && (before == State::Seen || was_ready) {
            self.look_at_followers(path, "", now);
            self.entries.remove(other);
            return was_there;
        }
        if entry.state != State::Running {
            entry.state = before;
        }
        let away = self.nowhere(path);
        self.entries.rename(other, &away);
        self.line_of_move(other, path, &away, now);
        self.line(other);
        was_there
    }

    /// A path at which nothing can be, for content that is known and stands nowhere.
    fn nowhere(&self, path: &Path) -> PathBuf {
        let number = (0u64..).find(|number| self.entries.by_path(&numbered(path, *number)).is_none());
        numbered(path, number.unwrap_or(u64::MAX))
    }

    /// The ledger hears of a file's other name. One that is being written anew may have it at either name already.
    fn line_of_move(&mut self, id: Id, from: &Path, to: &Path, now: &Now) {
        self.written += 1;
        if self.is_rewriting {
            Line::forgotten(now.time, from).put(&mut self.lines);
            self.line(id);
        } else {
            Line::moved(now.time, from, to).put(&mut self.lines);
        }
    }

    /// The content that a file had before is known, should it turn up elsewhere: another file stands in its place.
    fn remember(&mut self, id: Id, now: &Now) {
        let Some(entry) = self.entries.get(id) else { return };
        let is_remembered = |other: Id| self.entries.get(other).is_some_and(|other| other.stat == entry.stat);
        if self.entries.with_inode(&entry.stat).any(|other| other != id && is_remembered(other)) {
            return;
        }
        let away = self.nowhere(entry.path());
        let old = Entry { gone: true, at: now.ms(), hash: None, why: None, from: None, ..entry.clone() };
        let old = Entry { path: Entry::new(&away, old.event, old.at).path, state: State::Done, ..old };
        let old = self.entries.add(old);
        self.line(old);
    }

    /// The same, where that is so: the file that was found is another one than the one that was run for, and from now on the entry is
    /// about it. At once, and not when it is complete: the runner may be killed in between.
    pub(super) fn remember_if_replaced(&mut self, id: Id, found: &Found, now: &Now) {
        let Some(entry) = self.entries.get(id) else { return };
        let before = match (self.settling.get(id), entry.state) {
            (_, State::Running) => State::Running,
            (Some(pending), _) => pending.before,
            (None, state) => state,
        };
        let is_other = entry.stat.inode != found.stat.inode && entry.stat.inode != 0 && !self.is_remote(entry.path());
        if self.files.identity == Identity::Stat && is_other && !before.is_pending() {
            self.remember(id, now);
            self.entries.set_stat(id, found.stat);
            if let Some(pending) = self.settling.get_mut(id) {
                pending.before = State::Seen;
            }
        }
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
        let pending = Pending { generation, ..Pending::new(event, before, found, now.instant) };
        self.settling.put(id, pending);
        if let Some(found) = &found {
            self.remember_if_replaced(id, found, now);
        }
        let entry = self.entries.get_mut(id)?;
        entry.gone &= found.is_none();
        if entry.state != State::Running {
            (entry.state, entry.event, entry.at) = (State::Seen, event, now.ms());
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
        // Written only if it takes its time: what is complete at once says so itself.
        let check_at = self.settling.get(id).and_then(|pending| pending.check_at);
        let waits = check_at.is_none_or(|at| at > now.instant);
        if waits && self.entries.get(id).is_some_and(|entry| entry.state == State::Seen) {
            self.line(id);
        }
        Some(Noticed { event, path, from: None })
    }

    /// How often the watch has made itself due up to a change: a run of it may have made the change that was active then.
    fn generation_at(&self, found: Option<&Found>, now: &Now) -> u32 {
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
    fn seen_again(&mut self, id: Id, found: &Found, sight: Sight, now: &Now) {
        let generation = self.generation_at(Some(found), now);
        let Some(pending) = self.settling.get_mut(id) else { return };
        if pending.found.is_none() {
            // It was gone, and another one stands there.
            pending.event = FileEvent::Modified;
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
        self.remember_if_replaced(id, found, now);
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
    fn noted(&mut self, id: Id, found: &Found, sight: Sight, now: &Now) {
        let is_remote = self.entries.get(id).is_some_and(|entry| self.is_remote(entry.path()));
        let Some(pending) = self.settling.get_mut(id) else { return };
        match sight {
            Sight::Made => (pending.is_open, pending.is_closed) = (!found.is_linked, found.is_linked),
            Sight::Written => (pending.is_open, pending.is_closed) = (true, false),
            Sight::Closed | Sight::MovedIn => (pending.is_open, pending.is_closed) = (false, true),
            Sight::Touched | Sight::Scan { .. } => {}
        }
        if !is_remote {
            // By its own times it may have held still for long. Only the kernel sets this one.
            let held = now.time.as_nanosecond() - i128::from(found.ctime);
            let held = Duration::from_nanos(held.clamp(0, i128::from(i64::MAX)) as u64);
            if let Some(since) = now.instant.checked_sub(held) {
                pending.quiet_since = since;
            }
        } else if !matches!(sight, Sight::Scan { .. }) {
            pending.quiet_since = now.instant;
        }
        self.schedule(id, now, is_remote);
    }

    fn schedule(&mut self, id: Id, now: &Now, is_remote: bool) {
        let Some(pending) = self.settling.get(id) else { return };
        if pending.after_run {
            return;
        }
        let at = match self.files.settle {
            Settle::After(length) => pending.quiet_since + length.0,
            Settle::Close if pending.is_closed => now.instant,
            Settle::Close if pending.is_open && !is_remote => pending.quiet_since + SILENT_WRITER,
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

    /// Nothing is at this path any more.
    pub fn missing(&mut self, path: &Path, now: &Now) -> Option<Noticed> {
        self.missing_entry(self.entries.by_path(path)?, true, now)
    }

    /// Nothing is at this path any more, as another disk stands in the place of the one that it was on: that is no deletion.
    pub fn is_elsewhere(&mut self, path: &Path, now: &Now) {
        if let Some(id) = self.entries.by_path(path) {
            self.missing_entry(id, false, now);
        }
    }

    fn missing_entry(&mut self, id: Id, is_told: bool, now: &Now) -> Option<Noticed> {
        let entry = self.entries.get(id)?;
        if entry.gone {
            return None;
        }
        let (state, has_run, path) = (entry.state, entry.run.is_some(), entry.path().to_path_buf());
        let pending = self.settling.remove(id);
        let was_ready = self.ready.remove(id).is_some();
        self.generations.remove(&id);
        let before = pending.map_or(state, |pending| pending.before);
        let is_unprocessed = before == State::Seen || was_ready;
        if is_unprocessed {
            self.look_at_followers(&path, "", now);
        }
        if was_ready {
            self.entries.forget_hash(id);
        }
        if is_unprocessed && !has_run {
            // Nobody has done anything with it.
            Line::forgotten(now.time, &path).put(&mut self.lines);
            self.written += 1;
            self.entries.remove(id);
            return None;
        }
        self.recently_gone.retain(|_, at| now.instant.saturating_duration_since(*at) <= RENAME);
        self.recently_gone.insert(id, now.instant);
        let entry = self.entries.get_mut(id)?;
        entry.gone = true;
        if state != State::Running {
            // What was not run for is, should it come back.
            entry.state = if is_unprocessed { State::Seen } else { before };
            (entry.at, entry.replay) = (now.ms(), false);
        }
        if is_told && self.files.events.contains(&FileEvent::Deleted) {
            let state = entry.state;
            let noticed = self.begin(id, FileEvent::Deleted, state, None, Sight::MovedIn, now);
            // Who saves a file may take the old one away first.
            let wait = match self.files.settle {
                Settle::After(length) => length.0,
                Settle::Close => Duration::from_millis(100),
            };
            self.settling.check_at(id, Some(now.instant + wait));
            return noticed;
        }
        self.line(id);
        None
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
            (entry.state, entry.event, entry.why) = (State::Seen, FileEvent::Created, None);
            let found = Found { stat: entry.stat, ctime: 0, is_linked: true };
            let pending =
                Pending { is_closed: true, ..Pending::new(FileEvent::Created, State::Seen, Some(found), now.instant) };
            self.settling.put(id, pending);
            self.settling.check_at(id, Some(now.instant));
            self.line(id);
        }
    }

    /// Whether the watch's thread may have something to do now that a run has ended.
    pub fn is_due_after_run(&self) -> bool {
        // What is ready may wait for its time: a batch that was given back, or a watch that seems to fire itself.
        self.ready.len() > 0 || self.settling.len() > 0 || self.guard != Guard::Free || self.has_lines()
    }

    /// What is ignored because of a file is so because of its new name.
    fn follow_to(&mut self, from: &Path, to: &Path) {
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

    /// When to look at the next file.
    pub fn next_look(&self) -> Option<Instant> {
        self.settling.next()
    }

    /// Files that have to be looked at now.
    pub fn due(&mut self, now: &Now, most: usize) -> Vec<Due> {
        let ids = self.settling.due(now.instant, most);
        let due = ids.into_iter().filter_map(|id| {
            let (pending, entry) = (self.settling.get(id)?, self.entries.get(id)?);
            let is_close = self.files.settle == Settle::Close;
            Some(Due {
                id,
                path: entry.path().to_path_buf(),
                hash: self.files.identity == Identity::Hash && pending.found.is_some() && entry.state != State::Running,
                open: is_close && !pending.is_closed && pending.found.is_some(),
            })
        });
        due.collect()
    }

    /// Whether what was found at a file's path is what stands, or stood, at another one as well: then it is to be told as found, with
    /// that as its twin.
    pub fn is_known_elsewhere(&self, id: Id, found: &Found) -> bool {
        let is_other = self.settling.get(id).and_then(|pending| pending.found).is_some_and(|it| it.stat != found.stat);
        is_other && self.entries.get(id).is_some_and(|entry| self.twin_of(entry.path(), &found.stat).is_some())
    }

    /// A file was looked at: it is complete now, or not yet.
    pub fn looked(&mut self, id: Id, looked: Looked, now: &Now) -> Option<Noticed> {
        let pending = self.settling.get(id)?;
        let is_remote = self.entries.get(id).is_some_and(|entry| self.is_remote(entry.path()));
        match (looked.found, pending.found) {
            (None, Some(_)) => return self.missing_entry(id, true, now),
            (None, None) if self.entries.get(id)?.state == State::Running => {
                self.settling.get_mut(id)?.after_run = true;
                return None;
            }
            (None, None) => {
                self.complete(id, Stat::default(), None, now);
                return None;
            }
            (Some(found), before) if before.is_none_or(|before| before.stat != found.stat) => {
                if let Some(entry) = self.entries.get_mut(id) {
                    entry.gone = false;
                }
                self.seen_again(id, &found, Sight::Scan { first: None }, now);
                return None;
            }
            (Some(_), _) => {}
        }
        let found = looked.found?;
        let pending = self.settling.get_mut(id)?;
        if looked.is_open {
            // Its closing is told of; should that be lost, it is looked at again.
            (pending.quiet_since, pending.is_open) = (now.instant, true);
            self.schedule(id, now, is_remote);
            return None;
        }
        if self.files.done_file.is_some() && !looked.is_done {
            let is_news = !std::mem::replace(&mut pending.awaits_done, true);
            if is_news && self.entries.get(id).is_some_and(|entry| entry.state == State::Seen) {
                self.line(id);
            }
            return None;
        }
        let before = pending.before;
        if self.entries.get(id)?.state == State::Running {
            pending.after_run = true;
            return None;
        }
        if self.is_as_before(id, &found) {
            self.settling.remove(id);
            self.generations.remove(&id);
            if let Some(entry) = self.entries.get_mut(id) {
                (entry.state, entry.at) = (before, now.ms());
            }
            self.line(id);
            return None;
        }
        if let Some(hash) = looked.hash
            && !self.entries.get(id)?.replay
            && let Some(other) = self.entries.by_hash(&hash)
        {
            self.is_not_new(id, &found, hash, other, now);
            return None;
        }
        self.complete(id, found.stat, looked.hash, now);
        None
    }

    /// The content that was run for is there again: another one stood there only for a moment.
    fn is_as_before(&self, id: Id, found: &Found) -> bool {
        let (Some(pending), Some(entry)) = (self.settling.get(id), self.entries.get(id)) else { return false };
        let is_change = matches!(pending.event, FileEvent::Created | FileEvent::Modified);
        is_change && !entry.replay && !pending.before.is_pending() && self.is_known(entry, &found.stat)
    }

    /// The content is one that was there before.
    fn is_not_new(&mut self, id: Id, found: &Found, hash: Hash, other: Id, now: &Now) {
        let before = self.settling.remove(id).map_or(State::Seen, |pending| pending.before);
        self.generations.remove(&id);
        let why = match self.entries.get(other) {
            Some(twin) if other != id => {
                if matches!(twin.state, State::Stable | State::Running) {
                    self.followers.entry(twin.path.clone()).or_default().insert(id);
                }
                Some(format!("{}{}", SAME[1], twin.path().display()))
            }
            _ => None,
        };
        self.entries.set_stat(id, found.stat);
        if let Some(entry) = self.entries.get_mut(id) {
            entry.at = now.ms();
            match why {
                Some(why) => (entry.state, entry.why) = (State::Ignored, Some(why.into())),
                None => entry.state = if before == State::Seen { State::Done } else { before },
            }
        }
        if other == id {
            self.entries.set_hash(id, hash);
        }
        self.line(id);
    }

    /// It is complete, and waits for its run from now on.
    fn complete(&mut self, id: Id, stat: Stat, hash: Option<Hash>, now: &Now) {
        let Some(pending) = self.settling.remove(id) else { return };
        if pending.found.is_some() {
            self.entries.set_stat(id, stat);
        }
        if let Some(hash) = hash {
            self.entries.set_hash(id, hash);
        }
        let Some(entry) = self.entries.get_mut(id) else { return };
        entry.gone &= pending.found.is_none();
        (entry.state, entry.event, entry.at, entry.why) = (State::Stable, pending.event, now.ms(), None);
        entry.from = pending.from.map(Into::into);
        self.generations.insert(id, pending.generation);
        let order = self.files.order;
        if let Some(entry) = self.entries.get(id) {
            self.ready.put(id, entry, order, Arrived { at: now.instant, time: now.time });
        }
        self.line(id);
    }

    /// A full look begins: what it does not find is not there.
    pub fn begin_scan(&mut self) {
        self.mark += 1;
    }

    /// What stood below a root, and the full look did not find.
    pub fn not_found(&self, root: &Path) -> Vec<PathBuf> {
        let is_lost = |entry: &&Entry| !entry.gone && entry.mark != self.mark && entry.path().starts_with(root);
        self.entries.iter().map(|(_, entry)| entry).filter(is_lost).map(|entry| entry.path().to_path_buf()).collect()
    }

    /// What stands below any of these directories, as far as it is known.
    pub fn below(&self, directories: &HashSet<PathBuf>) -> Vec<PathBuf> {
        let is_below =
            |entry: &&Entry| !entry.gone && entry.path().ancestors().skip(1).any(|above| directories.contains(above));
        self.entries.iter().map(|(_, entry)| entry).filter(is_below).map(|entry| entry.path().to_path_buf()).collect()
    }

    /// Whether the file of the ledger has so many lines more than are needed that it should be written anew.
    pub fn is_worth_rewriting(&self, at_start: bool) -> bool {
        let needed = (self.entries.len() + self.roots.len()) as u64;
        match at_start {
            true => self.written > needed + needed / 4,
            false => self.written > 2 * needed + 50_000,
        }
    }

    /// Forgets files that are gone for long, and hands out the lines of the roots: the beginning of a ledger that is written anew.
    pub fn rewriting(&mut self, now: &Now) -> Vec<u8> {
        self.forget_gone(now);
        self.is_rewriting = true;
        let mut lines = Vec::new();
        for (root, (at, whole)) in &self.roots {
            Line::root(*at, root, *whole).put(&mut lines);
        }
        self.written = (self.entries.len() + self.roots.len()) as u64;
        lines
    }

    /// It is written, or it could not be.
    pub fn is_rewritten(&mut self) {
        self.is_rewriting = false;
    }

    /// The lines of entries for such a ledger, from that place on; `None` after the last. What is made meanwhile is written after
    /// them, and counts.
    pub fn lines_from(&self, place: Id, most: u32) -> Option<Vec<u8>> {
        let entries = self.entries.from(place, most)?;
        let mut lines = Vec::new();
        entries.for_each(|entry| Line::of(entry).put(&mut lines));
        Some(lines)
    }

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
    fn is_not_meant(&mut self, id: Id, now: &Now) {
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

    fn forget_gone(&mut self, now: &Now) {
        let is_over = |entry: &Entry| entry.gone && !matches!(entry.state, State::Stable | State::Running);
        let mut gone: Vec<(i64, Id)> =
            self.entries.iter().filter(|(_, entry)| is_over(entry)).map(|(id, entry)| (entry.at, id)).collect();
        gone.sort_unstable();
        let most = GONE_KEPT.max(self.entries.len() - gone.len());
        let above = gone.len().saturating_sub(most);
        for (place, (at, id)) in gone.into_iter().enumerate() {
            if place < above || now.ms() - at > GONE_FOR_MS {
                self.entries.remove(id);
            }
        }
    }
}
