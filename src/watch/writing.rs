//! What a book has for its ledger is written, and waits where it cannot be.

use std::io;
use std::time::{Duration, Instant};

use super::entries::Id;
use super::ledger::Writer;
use super::shared::{Shared, now};
use crate::model::lock;

/// So many entries are turned into lines while the book is locked.
const LINES_AT_ONCE: u32 = 4_096;
/// A ledger that could not be written is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// One that could not be compacted is, after so long.
const COMPACT_AGAIN: Duration = Duration::from_secs(60);
/// So many bytes of lines wait at most. Beyond that they are let go of: the ledger is written anew then, with what they said.
const MOST_WAITING: usize = 16 << 20;

/// The ledger could not be written.
#[derive(Debug, Clone)]
pub(super) struct Failing {
    why: String,
    /// When it is tried again.
    try_at: Instant,
    /// It misses what cannot be appended any more: it has to be written anew.
    is_behind: bool,
}

/// How much is done for lines that could not be written a moment ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Urgency {
    /// They wait.
    Waits,
    /// They are tried, unless all of the ledger has to be written anew.
    Now,
    /// Whatever it takes.
    Last,
}

impl Shared {
    /// Writes what the book has for the ledger. What cannot be written waits, which is said once, and is tried again every few seconds.
    pub fn flush(&self) {
        self.write(Urgency::Waits);
    }

    /// The same before a command begins, and after its end: it is tried, also where it could not be written a moment ago.
    pub fn flush_now(&self) {
        self.write(Urgency::Now);
    }

    /// The same, where nobody tries again.
    pub fn flush_at_end(&self) {
        self.write(Urgency::Last);
    }

    /// When the ledger has to be written, whatever comes.
    pub(super) fn writes_at(&self) -> Option<Instant> {
        let failing = lock(&self.failing).as_ref().map(|failing| (failing.try_at, failing.is_behind));
        let waits = lock(&self.book).has_lines();
        match failing {
            Some((try_at, is_behind)) => (waits || is_behind).then_some(try_at),
            None => waits.then(|| Instant::now() + TRY_AGAIN),
        }
    }

    fn write(&self, urgency: Urgency) {
        let mut writer = self.ledger.writer();
        let is_behind = self.is_behind();
        let is_due = lock(&self.failing).as_ref().is_none_or(|failing| failing.try_at <= Instant::now());
        let is_tried = match urgency {
            Urgency::Waits => is_due,
            Urgency::Now => is_due || !is_behind,
            Urgency::Last => true,
        };
        match (is_tried, is_behind) {
            (true, true) => self.write_anew(&mut writer, true),
            (true, false) => self.append(&mut writer),
            (false, _) => {}
        }
        self.let_go_of_too_many();
    }

    fn append(&self, writer: &mut Writer<'_>) {
        let lines = lock(&self.book).take_lines();
        if lines.is_empty() {
            return;
        }
        match writer.append(&lines) {
            Ok(false) => self.succeeded(),
            Ok(true) => {
                tracing::warn!(target: "watch", "{}: somebody took the ledger away, it is written anew", self.job);
                self.write_anew(writer, true);
            }
            Err(error) => {
                lock(&self.book).put_back(lines);
                self.failed(&error, false);
            }
        }
    }

    /// Writes the ledger anew, with what counts, unless it could not be written a moment ago. The book is locked for a moment at a time
    /// only.
    pub fn rewrite(&self) {
        let mut writer = self.ledger.writer();
        let is_due = lock(&self.failing).as_ref().is_none_or(|failing| failing.try_at <= Instant::now());
        if is_due && lock(&self.compacts_after).is_none_or(|at| at <= Instant::now()) {
            self.write_anew(&mut writer, false);
        }
    }

    /// `misses`: the file does not have all that was said, so nothing is to be appended to it.
    fn write_anew(&self, writer: &mut Writer<'_>, misses: bool) {
        let is_behind = misses || self.is_behind();
        // What waited to be written is part of what is written anew.
        let mut waited = Vec::new();
        let written = writer.rewrite(|file| {
            let roots = {
                let mut book = lock(&self.book);
                waited = book.take_lines();
                book.rewriting(&now())
            };
            self.write_entries(file, &roots).inspect_err(|_| lock(&self.book).is_rewritten())
        });
        match written {
            Ok(()) => {
                *lock(&self.compacts_after) = None;
                self.succeeded();
            }
            Err(error) if is_behind => self.failed(&error, true),
            Err(error) => {
                lock(&self.book).put_back(waited);
                self.is_not_compacted(&error);
            }
        }
    }

    fn write_entries(&self, file: &mut dyn io::Write, roots: &[u8]) -> io::Result<()> {
        file.write_all(roots)?;
        let mut place: Id = 0;
        loop {
            let lines = {
                let mut book = lock(&self.book);
                let Some(lines) = book.lines_from(place, LINES_AT_ONCE) else {
                    book.is_rewritten();
                    return Ok(());
                };
                lines
            };
            file.write_all(&lines)?;
            place += LINES_AT_ONCE;
        }
    }

    /// What waits stands in the book as well.
    fn let_go_of_too_many(&self) {
        if !self.is_failing() {
            return;
        }
        let most = if self.is_behind() { 0 } else { MOST_WAITING };
        let lets_go = lock(&self.book).lets_go_of_lines(most);
        if let Some(failing) = &mut *lock(&self.failing) {
            failing.is_behind |= lets_go;
        }
    }

    /// Whether it could not be written when it was tried last.
    pub(super) fn is_failing(&self) -> bool {
        lock(&self.failing).is_some()
    }

    /// What kept it from being written.
    pub(super) fn why_failing(&self) -> Option<String> {
        lock(&self.failing).as_ref().map(|failing| failing.why.clone())
    }

    fn is_behind(&self) -> bool {
        lock(&self.failing).as_ref().is_some_and(|failing| failing.is_behind)
    }

    /// It was to get smaller, and has all that was said.
    fn is_not_compacted(&self, error: &io::Error) {
        if lock(&self.compacts_after).replace(Instant::now() + COMPACT_AGAIN).is_none() {
            let job = &self.job;
            tracing::warn!(target: "watch", "{job}: the ledger cannot be compacted, and goes on as it is: {error}");
        }
    }

    fn succeeded(&self) {
        if lock(&self.failing).take().is_some() {
            tracing::info!(target: "watch", "{}: the ledger is written again", self.job);
        }
    }

    fn failed(&self, error: &io::Error, is_behind: bool) {
        let again = Failing { why: error.to_string(), try_at: Instant::now() + TRY_AGAIN, is_behind };
        if lock(&self.failing).replace(again).is_none() {
            let job = &self.job;
            tracing::error!(target: "watch", "{job}: the ledger cannot be written, its lines wait in memory: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::path::{Path, PathBuf};

    use super::super::book::Book;
    use super::super::ledger::{Ledger, Loaded, load};
    use super::*;
    use crate::model::JobName;
    use crate::watch::rules::tests::files;

    fn watch(ledger: &Path) -> Shared {
        let files = files(serde_json::json!({ "paths": ["/in"] }));
        let book = Book::new(files, Loaded::default(), |_| None, &now());
        Shared::new(JobName::new("w").unwrap(), book, Ledger::new(ledger.to_path_buf()))
    }

    /// Something that has to be remembered.
    fn say(shared: &Shared, what: &str) {
        lock(&shared.book).root(Path::new(what), &now());
    }

    fn remembered(ledger: &Path) -> Vec<PathBuf> {
        let mut roots: Vec<PathBuf> = load(ledger).unwrap().roots.into_keys().collect();
        roots.sort();
        roots
    }

    fn waiting(shared: &Shared) -> usize {
        lock(&shared.book).lines.len()
    }

    #[test]
    fn what_cannot_be_written_waits_and_is_not_tried_at_each_word() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = dir.path().join("ledger.log");
        let shared = watch(&ledger);
        std::fs::create_dir(&ledger).unwrap();
        say(&shared, "/a");
        shared.flush();
        assert!(shared.is_failing() && waiting(&shared) > 0);
        std::fs::remove_dir(&ledger).unwrap();
        say(&shared, "/b");
        shared.flush();
        assert!(!ledger.exists(), "it was tried a moment ago");
        let at = shared.writes_at().unwrap();
        assert!(at > Instant::now() && at <= Instant::now() + TRY_AGAIN);
        lock(&shared.failing).as_mut().unwrap().try_at = Instant::now();
        shared.flush();
        assert_eq!((remembered(&ledger), waiting(&shared)), (vec!["/a".into(), "/b".into()], 0));
        assert!(!shared.is_failing() && shared.writes_at().is_none());
        // What a run begins with does not wait for that.
        std::fs::remove_file(&ledger).unwrap();
        std::fs::create_dir(&ledger).unwrap();
        say(&shared, "/c");
        shared.flush_now();
        assert!(shared.is_failing());
        std::fs::remove_dir(&ledger).unwrap();
        shared.flush_now();
        assert_eq!(remembered(&ledger).len(), 3);
    }

    #[test]
    fn more_than_a_heap_of_lines_does_not_wait_and_nothing_of_it_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = dir.path().join("ledger.log");
        let shared = watch(&ledger);
        say(&shared, "/first");
        shared.flush();
        std::fs::rename(&ledger, dir.path().join("away")).unwrap();
        std::fs::create_dir(&ledger).unwrap();
        let long = "x".repeat(200 << 10);
        for n in 0..100 {
            say(&shared, &format!("/{n}{long}"));
            shared.flush();
            assert!(waiting(&shared) <= MOST_WAITING, "{}", waiting(&shared));
        }
        assert!(shared.is_behind() && shared.writes_at().is_some());
        // It is not appended to what misses some, whatever is tried.
        shared.rewrite();
        std::fs::remove_dir(&ledger).unwrap();
        std::fs::rename(dir.path().join("away"), &ledger).unwrap();
        say(&shared, "/last");
        shared.flush_now();
        assert_eq!(remembered(&ledger).len(), 1);
        assert!(waiting(&shared) == 0 && shared.writes_at().is_some());
        lock(&shared.failing).as_mut().unwrap().try_at = Instant::now();
        shared.flush();
        assert_eq!(remembered(&ledger).len(), 102);
        say(&shared, "/after");
        shared.flush();
        assert_eq!((remembered(&ledger).len(), shared.is_failing()), (103, false));
    }

    #[test]
    fn one_that_cannot_be_compacted_goes_on_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = dir.path().join("ledger.log");
        let shared = watch(&ledger);
        say(&shared, "/a");
        shared.flush();
        let inode = || std::fs::metadata(&ledger).unwrap().ino();
        let before = inode();
        // Where the new one is put together.
        let beside = crate::os::file::beside(&ledger, ".tmp");
        std::fs::create_dir(&beside).unwrap();
        shared.rewrite();
        assert!(!shared.is_failing() && waiting(&shared) == 0, "nothing of it waits");
        say(&shared, "/b");
        shared.flush();
        assert_eq!(remembered(&ledger), ["/a", "/b"].map(PathBuf::from));
        std::fs::remove_dir(&beside).unwrap();
        shared.rewrite();
        assert_eq!(inode(), before, "it was tried a moment ago");
        *lock(&shared.compacts_after) = Some(Instant::now());
        shared.rewrite();
        assert!(inode() != before && lock(&shared.compacts_after).is_none());
        assert_eq!(remembered(&ledger), ["/a", "/b"].map(PathBuf::from));
    }

    #[test]
    fn one_that_was_taken_away_and_cannot_be_written_anew_is_once_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = dir.path().join("ledger.log");
        let shared = watch(&ledger);
        say(&shared, "/a");
        shared.flush();
        std::fs::remove_file(&ledger).unwrap();
        // Where the new one is put together.
        let beside = crate::os::file::beside(&ledger, ".tmp");
        std::fs::create_dir(&beside).unwrap();
        say(&shared, "/b");
        shared.flush();
        say(&shared, "/c");
        shared.flush_at_end();
        std::fs::remove_dir(&beside).unwrap();
        shared.flush_at_end();
        assert_eq!(remembered(&ledger), ["/a", "/b", "/c"].map(PathBuf::from));
    }
}
