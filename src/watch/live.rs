//! A root in the hands of its watch's thread: there or not, watched by events or by polling, scanned when it is time.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::book::{Noticed, Now, Sight};
use super::root::{Health, Root, missing};
use super::rules::Verdict;
use super::shared::{Shared, now};
use super::visit::Around;
use super::watched::Watched;
use super::watcher::Setup;
use crate::model::lock;
use crate::os::file_events::{Subscription, What};

/// A watched path and how it fares.
pub struct Live {
    pub root: Root,
    /// Its own: what it lets go of, another path of the same watch may need.
    subscription: Arc<Subscription>,
    state: State,
}

enum State {
    Missing {
        why: String,
        try_at: Instant,
        delay: Duration,
        /// It was said.
        is_said: bool,
        /// The device that it was on, where it was there before.
        device: Option<u64>,
        /// Where its coming is told of: the directory above, and the empty one that stands in its place.
        told_by: Vec<PathBuf>,
    },
    Watching(Box<Watched>),
}

/// What a scan leaves to do.
#[derive(Default)]
pub struct Scanned {
    /// What was there and was not found.
    pub missing: Vec<PathBuf>,
    /// Something was mounted or unmounted meanwhile: it has not been deleted.
    pub is_other_disk: bool,
    pub failed: Vec<(PathBuf, io::Error)>,
}

const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// So long an event may take after that; however long it takes, all that was told is looked at before something is decided.
const LATE_EVENT: Duration = Duration::from_secs(2);

impl Live {
    pub fn new(root: Root, subscription: Subscription, at: &Now) -> Self {
        let state = State::Missing {
            why: "it was not looked at yet".into(),
            try_at: at.instant,
            delay: FIRST_DELAY,
            is_said: false,
            device: None,
            told_by: Vec::new(),
        };
        Self { root, subscription: Arc::new(subscription), state }
    }

    fn watched(&mut self) -> Option<&mut Watched> {
        match &mut self.state {
            State::Watching(watched) => Some(watched),
            State::Missing { .. } => None,
        }
    }

    /// When it has to be looked at.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Missing { try_at, .. } => Some(*try_at),
            State::Watching(watched) => watched.decide_at.into_iter().chain([watched.next_scan]).min(),
        }
    }

    pub fn health(&self) -> Health {
        match &self.state {
            State::Missing { why, .. } => Health::Missing(why.clone()),
            State::Watching(watched) => match &watched.unread {
                Some((why, _)) => Health::Missing(why.clone()),
                None => watched.polling.clone().map_or(Health::Events, Health::Polling),
            },
        }
    }

    /// Looks whether it has come, where it is time.
    pub fn open_if_due(&mut self, setup: &Setup, shared: &Shared, at: &Now) {
        let subscription = &self.subscription;
        let State::Missing { try_at, device, is_said, told_by, .. } = &mut self.state else { return };
        if *try_at > at.instant {
            return;
        }
        let opened = self.root.open().map_err(|error| missing(&error)).and_then(|opened| match device {
            Some(device) if opened.device != *device && opened.is_empty => Err(another_stands_there()),
            _ => Ok(opened),
        });
        match opened {
            Ok(opened) => {
                told_by.iter().for_each(|directory| subscription.remove(directory));
                if *is_said {
                    let words = if device.is_some() { "is there again" } else { "is there now" };
                    tracing::info!(target: "watch", "{}: {} {words}", shared.job, self.root.path.display());
                }
                let is_other_disk = device.is_some_and(|device| device != opened.device);
                self.state = State::Watching(Box::new(Watched { is_other_disk, ..Watched::new(opened, setup, at) }));
            }
            Err(why) => self.is_not_there(why, shared, at),
        }
    }

    fn is_not_there(&mut self, why: String, shared: &Shared, at: &Now) {
        let subscription = &self.subscription;
        let path = self.root.path.display();
        let (delay, was_said, device, before) = match &mut self.state {
            State::Missing { delay, is_said, device, told_by, .. } => {
                ((*delay * 2).min(LONGEST_DELAY), *is_said, *device, std::mem::take(told_by))
            }
            State::Watching(watched) => {
                watched.directories.drain().for_each(|directory| subscription.remove(&directory));
                (FIRST_DELAY, false, Some(watched.opened.device), Vec::new())
            }
        };
        if !was_said {
            tracing::warn!(
                target: "watch",
                "{}: {path} cannot be watched: {why}; what is known of it stays, and it is tried again",
                shared.job
            );
        }
        let told_by: Vec<PathBuf> = [self.root.path.parent(), Some(&self.root.path)]
            .into_iter()
            .filter_map(|directory| directory?.canonicalize().ok())
            .filter(|directory| subscription.add(directory).is_ok())
            .collect();
        before.iter().filter(|old| !told_by.contains(old)).for_each(|old| subscription.remove(old));
        let try_at = at.instant + delay;
        self.state = State::Missing { why, try_at, delay, is_said: true, device, told_by };
    }

    /// The kernel told of a path: not what a scan found before.
    pub fn told_of(&mut self, real: &Path, what: What) {
        match &mut self.state {
            State::Missing { told_by, try_at, .. } => {
                let is_told = |directory: &PathBuf| real.parent() == Some(directory);
                let is_above = told_by.first().is_some_and(is_told) && real.file_name() == self.root.path.file_name();
                // It may have come in that gap.
                let is_gap = what == What::Gap && told_by.iter().any(|directory| directory == real);
                if is_above || is_gap || told_by.get(1).is_some_and(is_told) {
                    *try_at = Instant::now();
                }
            }
            State::Watching(watched) => {
                if !watched.untold.is_empty()
                    && let Some((path, _)) = watched.shown(real)
                {
                    watched.untold.retain(|untold| !untold.starts_with(&path));
                }
            }
        }
    }

    /// The path as it is shown, and whether it is that one itself: a single file may be a link through something else in its
    /// directory. `None`: it is none of this root.
    pub fn shown(&self, real: &Path) -> Option<(PathBuf, bool)> {
        match &self.state {
            State::Missing { .. } => None,
            State::Watching(watched) => watched.shown(real),
        }
    }

    /// What the rules say of a path; `Some(None)`: they cannot be asked, as the root is not there. `None`: it is none of this root.
    pub fn judge(&mut self, path: &Path) -> Option<Option<Verdict>> {
        if !path.starts_with(&self.root.path) {
            return None;
        }
        Some(self.watched().map(|watched| watched.rules.judge(path)))
    }

    pub fn are_rules(&mut self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default();
        self.watched().is_some_and(|watched| watched.rules.are_in(name))
    }

    /// Their files have changed: what was left out may be meant now.
    pub fn forget_rules(&mut self) {
        if let Some(watched) = self.watched() {
            watched.rules.forget();
            watched.next_scan = Instant::now();
            watched.is_lost = true;
        }
    }

    pub fn is_root(&mut self, path: &Path) -> bool {
        let own = self.root.path.clone();
        self.watched()
            .is_some_and(|watched| watched.opened.directory == path || (watched.opened.only.is_none() && own == path))
    }

    /// It has vanished: that is looked at at once. Where it is known, it is tried again at its own pace.
    pub fn look_again_now(&mut self) {
        if matches!(self.state, State::Watching(_)) {
            self.scan_now(true);
        }
    }

    /// Everything is to be looked at. `is_lost`: events were lost.
    pub fn scan_now(&mut self, is_lost: bool) {
        match &mut self.state {
            State::Missing { try_at, .. } => *try_at = Instant::now(),
            State::Watching(watched) => {
                watched.next_scan = Instant::now();
                // What such a scan finds says nothing about events.
                watched.is_lost = true;
                if is_lost {
                    watched.rules.forget();
                }
            }
        }
    }

    /// Something was mounted or unmounted: it is looked at, if that concerns it.
    pub fn mounts_changed(&mut self) {
        match &mut self.state {
            State::Missing { try_at, .. } => *try_at = Instant::now(),
            State::Watching(watched) => {
                let mounts = watched.mounts_of();
                if mounts != watched.mounts {
                    watched.mounts = mounts;
                    watched.is_other_disk = true;
                    self.scan_now(true);
                }
            }
        }
    }

    /// Whether something was mounted or unmounted there since it was scanned.
    pub fn is_other_disk(&self) -> bool {
        matches!(&self.state, State::Watching(watched) if watched.is_other_disk)
    }

    /// Whether what is watched stands there no more, by a look now: what is missing there then has not been deleted.
    pub fn has_vanished(&self) -> bool {
        match &self.state {
            State::Missing { .. } => true,
            State::Watching(watched) => std::fs::metadata(&watched.opened.directory)
                .map_or(true, |meta| !meta.is_dir() || meta.dev() != watched.opened.device),
        }
    }

    /// A directory is gone: neither it nor those below are watched any more.
    /// As which it was shown; `None`: it was no directory that is watched.
    pub fn let_go(&mut self, real: &Path) -> Option<PathBuf> {
        let subscription = self.subscription.clone();
        let watched = self.watched()?;
        if !watched.directories.contains(real) || real == watched.opened.real {
            return None;
        }
        let gone: Vec<PathBuf> = watched.directories.iter().filter(|path| path.starts_with(real)).cloned().collect();
        for directory in gone {
            watched.directories.remove(&directory);
            subscription.remove(&directory);
        }
        watched.untold.clear();
        watched.shown(real).map(|(path, _)| path)
    }

    /// Whether a directory is none of those that the kernel tells of, where it tells of all.
    pub fn is_new(&mut self, real: &Path) -> bool {
        self.watched().is_some_and(|watched| watched.polling.is_none() && !watched.directories.contains(real))
    }

    /// Whether a directory is meant.
    pub fn walks(&mut self, path: &Path) -> bool {
        let Some(watched) = self.watched() else { return false };
        let root = watched.opened.directory.clone();
        let Ok(below) = path.strip_prefix(&root) else { return false };
        let mut folders: Vec<&Path> = below.ancestors().filter(|folder| !folder.as_os_str().is_empty()).collect();
        folders.reverse();
        folders.into_iter().all(|folder| watched.rules.leaves_folder_out(&root.join(folder)).is_none())
    }

    /// A directory has come, or may have other content: it is watched, and what is in it looked at.
    pub fn walk(
        &mut self,
        path: &Path,
        real: &Path,
        setup: &Setup,
        shared: &Shared,
        noticed: &mut Vec<Noticed>,
    ) -> Vec<(PathBuf, io::Error)> {
        let subscription = &*self.subscription.clone();
        let Some(watched) = self.watched() else { return Vec::new() };
        let around = Around { setup, subscription, shared };
        watched.look_through((path, real), Sight::Scan { first: None }, around, noticed).failed
    }

    pub fn is_scan_due(&mut self, at: Instant) -> bool {
        self.watched()
            .is_some_and(|watched| watched.next_scan <= at || watched.decide_at.is_some_and(|decide| decide <= at))
    }

    /// Looks at everything, if that is what is due. `is_up_to_date`: all that was told so far has been looked at.
    pub fn scan(&mut self, setup: &Setup, shared: &Shared, is_up_to_date: bool, noticed: &mut Vec<Noticed>) -> Scanned {
        let subscription = &*self.subscription.clone();
        let at = now();
        let Some(watched) = self.watched() else { return Scanned::default() };
        if is_up_to_date {
            watched.decide(shared, at.instant);
        }
        if watched.next_scan > at.instant {
            return Scanned::default();
        }
        let device = watched.opened.device;
        let opened = self.root.open().map_err(|error| missing(&error)).and_then(|opened| {
            match opened.device != device && opened.is_empty {
                true => Err(another_stands_there()),
                false => Ok(opened),
            }
        });
        let opened = match opened {
            Ok(opened) => opened,
            Err(why) => {
                self.is_not_there(why, shared, &at);
                return Scanned::default();
            }
        };
        let root = self.root.path.clone();
        let Some(watched) = self.watched() else { return Scanned::default() };
        watched.take(opened, setup, subscription);
        let (since, is_whole) = {
            let mut book = lock(&shared.book);
            book.begin_scan();
            book.set_file_system(&watched.opened.directory, watched.opened.file_system);
            book.root(&root, &at)
        };
        let sight = Sight::Scan { first: (!is_whole).then_some(since) };
        let (directory, real) = (watched.opened.directory.clone(), watched.opened.real.clone());
        let outcome = watched.look_through((&directory, &real), sight, Around { setup, subscription, shared }, noticed);
        // What cannot be read has not been seen: nothing in it is new, or gone, for that.
        if let Some((_, error)) = outcome.failed.iter().find(|(path, _)| *path == directory) {
            let why = format!("it cannot be read: {error}");
            let delay = match &watched.unread {
                Some((_, delay)) => (*delay * 2).min(LONGEST_DELAY),
                None => {
                    let (job, path) = (&shared.job, root.display());
                    tracing::warn!(target: "watch", "{job}: {path}: {why}; what is known of it stays, and it is tried again");
                    FIRST_DELAY
                }
            };
            (watched.unread, watched.next_scan) = (Some((why, delay)), Instant::now() + delay);
            return Scanned::default();
        }
        if watched.unread.take().is_some() {
            tracing::info!(target: "watch", "{}: {} can be read again", shared.job, root.display());
        }
        watched.rules.has_folders(outcome.folders);
        watched.is_watched_by(outcome.limit, setup, shared);
        let mut book = lock(&shared.book);
        book.set_polled(&directory, watched.polling.is_some());
        let missing = match &watched.opened.only {
            Some(only) => book.not_found(&directory.join(only)),
            None => book.not_found(&directory),
        };
        book.root_is_seen(&root, &at);
        drop(book);
        // What one scan has found is decided before what the next one has.
        let relies = watched.is_scanned && !watched.is_lost && watched.polling.is_none();
        if relies && watched.decide_at.is_none() && !outcome.late.is_empty() {
            watched.untold = outcome.late;
            watched.decide_at = Some(Instant::now() + LATE_EVENT);
        }
        let is_other_disk = std::mem::take(&mut watched.is_other_disk);
        (watched.is_scanned, watched.is_lost) = (true, false);
        watched.next_scan = Instant::now() + watched.every(setup);
        Scanned { missing, is_other_disk, failed: outcome.failed }
    }
}

fn another_stands_there() -> String {
    "another file system stands in its place, and it is empty".into()
}
