//! Each way of a file from one state to another, as `docs/design/watch.md` has them. Time is an argument: nobody waits.

mod around_runs;
mod asked_for;
mod deletions;
mod identity;
mod left_out;
mod life;
mod links;
mod random;
mod settling;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::book::{Book, Looked, Noticed, Now, Sight, Twin};
use super::compaction::GONE_KEPT;
use super::entry::{Entry, Hash, State};
use super::file_system::{FileSystem, Inodes};
use super::last_look::LastLook;
use super::ledger::{self, Loaded};
use super::replay::Selection;
use super::rules::tests::files;
use super::settling::{FOUND, SILENT_WRITER};
use super::shown::FileRow;
use super::stat::{Found, Stat};
use super::taking::{Ended, Taken};
use crate::model::{FileEvent, Item, RunId, TriggeredBy};

/// A book, a clock, and all lines that were made for the ledger.
struct Desk {
    book: Book,
    rules: Value,
    now: Now,
    ledger: Vec<u8>,
    runs: u128,
}

const A: &str = "/in/a";
const B: &str = "/in/b";

impl Desk {
    fn new(rules: Value) -> Self {
        Self::remembering(rules, Loaded::default(), Now { time: Timestamp::UNIX_EPOCH, instant: Instant::now() })
    }

    fn remembering(more: Value, loaded: Loaded, now: Now) -> Self {
        let mut rules = json!({ "paths": ["/in"] });
        rules.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let book = Book::new(files(rules.clone()), loaded, |_| None, &now);
        Self { book, rules: more, now, ledger: Vec::new(), runs: 0 }
    }

    fn pass(&mut self, time: Duration) {
        self.now.time += time;
        self.now.instant += time;
    }

    fn pass_ms(&mut self, ms: u64) {
        self.pass(Duration::from_millis(ms));
    }

    /// A content, changed now.
    fn content(&self, inode: u64, size: u64) -> Found {
        let time = self.now.time.as_nanosecond() as i64;
        Found { stat: Stat { dev: 1, inode, size, mtime: time, born: 0 }, ctime: time, is_linked: false }
    }

    fn found(&mut self, path: &str, found: &Found, sight: Sight) -> Option<Noticed> {
        let twin = self.book.twin_of(Path::new(path), &found.stat);
        let twin = twin.map(|(other, is_gone)| (other, if is_gone { Twin::Gone } else { Twin::There }));
        self.found_beside(path, found, sight, twin)
    }

    fn found_beside(
        &mut self,
        path: &str,
        found: &Found,
        sight: Sight,
        twin: Option<(PathBuf, Twin)>,
    ) -> Option<Noticed> {
        let twin = twin.as_ref().map(|(path, twin)| (path.as_path(), *twin));
        self.book.found(Path::new(path), found, sight, twin, &self.now)
    }

    fn missing(&mut self, path: &str) -> Option<Noticed> {
        self.book.missing(Path::new(path), &self.now)
    }

    /// Looks at what is due; each file is found as `there` says.
    fn look(&mut self, there: impl Fn(&Path) -> Looked) {
        for due in self.book.due(&self.now, 99) {
            let looked = there(&due.path);
            match looked.found.filter(|found| self.book.is_known_elsewhere(due.id, found)) {
                Some(found) => drop(self.found(&due.path.to_string_lossy(), &found, Sight::Scan { first: None })),
                None => drop(self.book.looked(due.id, looked, &self.now)),
            }
        }
    }

    fn look_at(&mut self, found: &Found) {
        let found = *found;
        self.look(|_| Looked { found: Some(found), ..Looked::default() });
    }

    fn take(&mut self) -> Option<(RunId, Taken)> {
        self.runs += 1;
        let run = RunId::from_u128(self.runs);
        let taken = self.book.take(run, &self.now)?;
        let looked: Vec<(&Path, LastLook)> =
            taken.input.items.iter().map(|item| (item.path.as_path(), LastLook::Skipped)).collect();
        assert!(self.book.keep(run, &looked, &self.now).into_iter().all(|is_kept| is_kept));
        Some((run, taken))
    }

    /// Takes the one file that waits, and ends its run.
    fn run(&mut self, how: Ended) {
        let (run, _) = self.take().expect("nothing waits");
        self.book.ended(run, &how, &self.now);
    }

    /// A file of this content arrives and is complete.
    fn stable(&mut self, path: &str, inode: u64, size: u64) -> Found {
        let found = self.content(inode, size);
        self.found(path, &found, Sight::Closed);
        self.look_at(&found);
        found
    }

    /// The same for one with a hash.
    fn stable_of(&mut self, path: &str, inode: u64, hash: Hash) -> Found {
        let found = self.content(inode, 1);
        self.found(path, &found, Sight::Closed);
        self.look(|_| hashed(&found, hash));
        found
    }

    /// A file of this content arrives and is run for.
    fn done(&mut self, path: &str, inode: u64, size: u64) -> Found {
        let found = self.stable(path, inode, size);
        self.run(Ended::Done);
        found
    }

    /// The same, held still for two seconds.
    fn done_after_two_seconds(&mut self, path: &str, inode: u64, size: u64) -> Found {
        let found = self.content(inode, size);
        self.found(path, &found, Sight::Made);
        self.pass_ms(2_000);
        self.look_at(&found);
        self.run(Ended::Done);
        found
    }

    fn entry(&self, path: &str) -> Option<&Entry> {
        self.book.entries().get(self.book.entries().by_path(Path::new(path))?)
    }

    fn state(&self, path: &str) -> Option<State> {
        self.entry(path).map(|entry| entry.state)
    }

    /// What waits for a run.
    fn waiting(&mut self) -> u64 {
        self.book.backlog(&self.now).runs
    }

    /// What the ledger would remember after a crash at this moment.
    fn remembered(&mut self) -> Loaded {
        self.ledger.extend(self.book.take_lines());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.log");
        std::fs::write(&path, &self.ledger).unwrap();
        let loaded = ledger::load(&path).unwrap();
        assert_eq!((loaded.odd, loaded.torn), (0, 0));
        loaded
    }

    /// The runner is killed, and starts again.
    fn crash(mut self) -> Self {
        let loaded = self.remembered();
        Self { runs: self.runs, ledger: self.ledger, ..Self::remembering(self.rules, loaded, self.now) }
    }
}

fn close() -> Value {
    json!({ "settle": "close" })
}

fn hashed(found: &Found, hash: Hash) -> Looked {
    Looked { found: Some(*found), hash: Some(hash), ..Looked::default() }
}
