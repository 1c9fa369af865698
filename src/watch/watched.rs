//! A root that is there: what is watched of it and how, and when to look at all of it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::book::{Noticed, Now, Sight};
use super::root::{Opened, as_asked, of_kind};
use super::rules::Rules;
use super::shared::{Shared, now};
use super::visit::{Around, Outcome, Visit};
use super::walk::walk;
use super::watcher::Setup;
use crate::os::file_events::Subscription;
use crate::os::mounts::{Mount, mounts};
use crate::trigger::Backend;

/// So many scans with changes that no event told of, and events are not relied on any more.
pub(super) const MOST_UNTOLD_SCANS: u32 = 2;

pub(super) struct Watched {
    pub opened: Opened,
    pub rules: Rules,
    /// Why events do not do.
    pub polling: Option<String>,
    /// What the kernel tells of, with links followed.
    pub directories: HashSet<PathBuf>,
    pub next_scan: Instant,
    /// Why it could not be read when that was tried last, and how long until it is tried again.
    pub unread: Option<(String, Duration)>,
    /// All of it has been looked at once.
    pub is_scanned: bool,
    /// Events were lost since the last scan.
    pub is_lost: bool,
    /// Since the last scan something was mounted or unmounted there: what is not found has not been deleted.
    pub is_other_disk: bool,
    /// Found by a scan, and no event has told of it; when to decide.
    pub untold: HashSet<PathBuf>,
    pub decide_at: Option<Instant>,
    /// How many scans have found such.
    pub untold_scans: u32,
    pub mounts: Vec<Mount>,
}

impl Watched {
    pub fn new(opened: Opened, setup: &Setup, at: &Now) -> Self {
        let rules = Rules::new(setup.files.clone(), opened.directory.clone(), opened.only.clone(), setup.logs.clone());
        let mut watched = Self {
            polling: polling(&opened, setup),
            opened,
            rules,
            directories: HashSet::new(),
            next_scan: at.instant,
            unread: None,
            is_scanned: false,
            is_lost: false,
            is_other_disk: false,
            untold: HashSet::new(),
            decide_at: None,
            untold_scans: 0,
            mounts: Vec::new(),
        };
        watched.mounts = watched.mounts_of();
        watched
    }

    /// What stands there may be another directory now.
    pub fn take(&mut self, opened: Opened, setup: &Setup, subscription: &Subscription) {
        let is_other = (&opened.real, &opened.only) != (&self.opened.real, &self.opened.only);
        if is_other || opened.device != self.opened.device {
            self.directories.drain().for_each(|directory| subscription.remove(&directory));
            self.rules =
                Rules::new(setup.files.clone(), opened.directory.clone(), opened.only.clone(), setup.logs.clone());
            self.is_lost = true;
            self.is_other_disk |= opened.device != self.opened.device;
            self.untold_scans = 0;
            self.polling = polling(&opened, setup);
        }
        self.opened = opened;
    }

    pub fn every(&self, setup: &Setup) -> Duration {
        if self.polling.is_some() { setup.files.poll } else { setup.files.rescan }
    }

    pub fn shown(&self, real: &Path) -> Option<(PathBuf, bool)> {
        let below = real.strip_prefix(&self.opened.real).ok()?;
        if below.as_os_str().is_empty() {
            return Some((self.opened.directory.clone(), true));
        }
        let path = self.opened.directory.join(below);
        match &self.opened.only {
            Some(only) if below != Path::new(only) => {
                let path = self.opened.directory.join(only);
                path.is_symlink().then_some((path, false))
            }
            _ => Some((path, true)),
        }
    }

    /// The mounts at its place, above and below.
    pub fn mounts_of(&self) -> Vec<Mount> {
        let mut mounts = mounts().unwrap_or_default();
        mounts.retain(|(_, path)| {
            path.starts_with(&self.opened.real) || (self.opened.real.starts_with(path) && path != Path::new("/"))
        });
        mounts
    }

    /// Walks through a directory, given as it is shown and with links followed.
    pub fn look_through(
        &mut self,
        (shown, real): (&Path, &Path),
        sight: Sight,
        around: Around<'_>,
        noticed: &mut Vec<Noticed>,
    ) -> Outcome {
        let Around { setup, subscription, shared } = around;
        let uses_events = setup.files.backend != Backend::Poll
            && (self.opened.file_system.remote.is_none() || setup.files.backend == Backend::Events)
            && self.untold_scans < MOST_UNTOLD_SCANS;
        let mut visit = Visit {
            subscription: uses_events.then_some(subscription),
            directories: &mut self.directories,
            shared,
            sight,
            noticed,
            outcome: Outcome::default(),
            began: now().time.as_nanosecond(),
        };
        walk(&mut self.rules, shown, real, &mut visit);
        visit.outcome
    }

    /// How it is watched after a scan: the kernel may have had no room.
    pub fn is_watched_by(&mut self, limit: Option<String>, setup: &Setup, shared: &Shared) {
        let (job, path) = (&shared.job, self.opened.directory.display());
        let before = self.polling.take();
        let by_itself = match self.untold_scans >= MOST_UNTOLD_SCANS {
            true => Some(untold_words()),
            false => polling(&self.opened, setup),
        };
        self.polling = by_itself.or(limit);
        if self.polling == before || !self.is_scanned {
            // The first time it is said with what is watched.
            return;
        }
        let every = crate::model::HumanDuration(setup.files.poll);
        match &self.polling {
            Some(why) => tracing::warn!(target: "watch", "{job}: {path} is looked at every {every}: {why}"),
            None => tracing::info!(target: "watch", "{job}: {path} is watched by events again"),
        }
    }

    /// Decides what scans have found that no event told of.
    pub fn decide(&mut self, shared: &Shared, at: Instant) {
        if self.decide_at.is_none_or(|decide| decide > at) {
            return;
        }
        self.decide_at = None;
        let untold = std::mem::take(&mut self.untold);
        let Some(first) = untold.iter().min() else { return };
        self.untold_scans += 1;
        tracing::warn!(
            target: "watch",
            "{}: a scan found changes that no event told of, {} and {} more",
            shared.job,
            shared.name(first),
            untold.len() - 1
        );
        if self.untold_scans >= MOST_UNTOLD_SCANS {
            // With the next scan it is polled.
            self.next_scan = at;
        }
    }
}

fn untold_words() -> String {
    format!("{MOST_UNTOLD_SCANS} scans found changes that no event told of")
}

fn polling(opened: &Opened, setup: &Setup) -> Option<String> {
    match setup.files.backend {
        Backend::Poll => Some(as_asked()),
        Backend::Auto => opened.file_system.remote.map(of_kind),
        Backend::Events => None,
    }
}
