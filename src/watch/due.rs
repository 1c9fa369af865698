//! Files that should hold still by now are looked at closely.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use super::book::{Due, Looked, Sight};
use super::hash::content_hash;
use super::shared::now;
use super::stat::file_at;
use super::watcher::{Watcher, tell_book};
use crate::model::lock;
use crate::os::open_files::open_for_writing;

/// So many files are looked at before hints are taken again.
const MOST_LOOKS: usize = 1_024;
/// What is gone, where that cannot be seen now, is looked for again after so long.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

impl Watcher<'_> {
    /// Looks at files that should hold still by now.
    pub(super) fn look_at_due(&mut self) {
        loop {
            let due = lock(&self.shared.book).due(&now(), MOST_LOOKS);
            if due.is_empty() {
                return;
            }
            let is_all = due.len() < MOST_LOOKS;
            let looked: Vec<(Due, io::Result<Looked>)> = {
                let open = self.open_of(&due);
                due.into_iter()
                    .map(|due| {
                        let looked = self.look_closely(&due, &open);
                        (due, looked)
                    })
                    .collect()
            };
            for (due, looked) in looked {
                match looked {
                    // What was to be told of it still is.
                    Ok(Looked { found: None, .. }) if self.has_vanished(&due.path) => {
                        lock(&self.shared.book).look_again(due.id, now().instant + LOOK_AGAIN);
                    }
                    Ok(looked) => {
                        let book = lock(&self.shared.book);
                        let elsewhere = looked.found.filter(|found| book.is_known_elsewhere(due.id, found));
                        drop(book);
                        let noticed = match elsewhere {
                            Some(found) => tell_book(self.shared, &due.path, &found, Sight::Scan { first: None }),
                            None => lock(&self.shared.book).looked(due.id, looked, &now()),
                        };
                        self.noticed.extend(noticed);
                    }
                    // It is looked at again when it is told of, or at the next scan.
                    Err(error) => {
                        lock(&self.shared.book).look_again(due.id, now().instant + LOOK_AGAIN);
                        self.cannot_look(&due.path, &error);
                    }
                }
            }
            if is_all {
                return;
            }
        }
    }

    /// Which of them somebody writes to, who has been silent for long.
    pub(super) fn open_of(&self, due: &[Due]) -> HashSet<(u64, u64)> {
        let inode = |due: &&Due| {
            let found = file_at(&due.path).ok().flatten()?;
            Some((found.stat.dev, found.stat.inode))
        };
        let asked: HashSet<(u64, u64)> = due.iter().filter(|due| due.open).filter_map(|due| inode(&due)).collect();
        if asked.is_empty() { asked } else { open_for_writing(&asked) }
    }

    pub(super) fn look_closely(&self, due: &Due, open: &HashSet<(u64, u64)>) -> io::Result<Looked> {
        let found = file_at(&due.path)?;
        let done_file = self.setup.files.done_file.as_ref();
        let is_done = match (done_file, due.path.file_name(), &found) {
            (Some(pattern), Some(name), Some(found)) => file_at(&due.path.with_file_name(pattern.beside(name)))?
                .is_some_and(|done| done.stat.mtime >= found.stat.mtime),
            _ => false,
        };
        let is_open = found.is_some_and(|found| open.contains(&(found.stat.dev, found.stat.inode)));
        let hash = match (&found, due.hash && !is_open) {
            (Some(_), true) => Some(content_hash(&due.path)?),
            _ => None,
        };
        Ok(Looked { found, is_done, hash, is_open })
    }
}
