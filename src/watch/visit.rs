//! A walk through a root tells the book what it finds, and the kernel which directories to tell of.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use super::book::{Noticed, Sight};
use super::shared::Shared;
use super::stat::Found;
use super::walk::Visitor;
use super::watcher::{Setup, tell_book};
use crate::model::lock;
use crate::os::file_events::{Subscription, WatchError};

/// A change that is older than this when a scan finds it should have been told of.
pub(super) const TOLD_WITHIN_NS: i128 = 1_000_000_000;

/// What a walk is made for.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    pub setup: &'a Setup,
    pub subscription: &'a Subscription,
    pub shared: &'a Shared,
}

#[derive(Default)]
pub(super) struct Outcome {
    pub failed: Vec<(PathBuf, io::Error)>,
    /// Why the kernel does not tell of all of it.
    pub limit: Option<String>,
    /// Changes that are older than they should be when they are found.
    pub late: HashSet<PathBuf>,
    /// How many directories there are.
    pub folders: usize,
}

pub(super) struct Visit<'a> {
    pub subscription: Option<&'a Subscription>,
    pub directories: &'a mut HashSet<PathBuf>,
    pub shared: &'a Shared,
    pub sight: Sight,
    pub noticed: &'a mut Vec<Noticed>,
    pub outcome: Outcome,
    /// In nanoseconds since 1970.
    pub began: i128,
}

impl Visitor for Visit<'_> {
    fn directory(&mut self, real: &Path) {
        self.outcome.folders += 1;
        let Some(subscription) = self.subscription.filter(|_| self.outcome.limit.is_none()) else { return };
        match subscription.add(real) {
            Ok(()) => {
                self.directories.insert(real.to_path_buf());
            }
            Err(WatchError::Limit(words)) => self.outcome.limit = Some(words),
            // It is read next, and that says why.
            Err(WatchError::Missing | WatchError::Other(_)) => {}
        }
    }

    fn files(&mut self, found: &mut Vec<(PathBuf, Found)>) {
        {
            let mut book = lock(&self.shared.book);
            found.retain(|(path, file)| !book.is_unchanged(path, file));
        }
        for (path, file) in found.iter() {
            if let Some(noticed) = tell_book(self.shared, path, file, self.sight) {
                if self.began - i128::from(file.ctime) > TOLD_WITHIN_NS && !file.is_linked {
                    self.outcome.late.insert(path.clone());
                }
                self.noticed.push(noticed);
            }
        }
        // However many there are.
        self.shared.noticed(self.noticed);
    }

    fn failed(&mut self, path: &Path, error: io::Error) {
        self.outcome.failed.push((path.to_path_buf(), error));
    }
}
