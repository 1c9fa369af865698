//! Each way of a file from one state to another, as `docs/design/watch.md` has them. Time is an argument: nobody waits.

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
use super::stat::{Found, Stat};
use super::taking::{Ended, Taken};
use crate::model::{FileEvent, RunId, TriggeredBy};

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

#[test]
fn it_is_seen_stable_running_and_done() {
    let mut desk = Desk::new(json!({ "settle": "2s" }));
    let found = desk.content(5, 10);
    let noticed = desk.found(A, &found, Sight::Made).unwrap();
    assert_eq!((noticed.event, noticed.path), (FileEvent::Created, PathBuf::from(A)));
    assert_eq!(desk.state(A), Some(State::Seen));
    desk.pass_ms(1_999);
    assert_eq!(desk.book.due(&desk.now, 99), []);
    desk.pass_ms(1);
    desk.look_at(&found);
    assert_eq!((desk.state(A), desk.waiting()), (Some(State::Stable), 1));
    let (run, taken) = desk.take().unwrap();
    assert_eq!((desk.state(A), desk.waiting(), desk.book.pending()), (Some(State::Running), 0, 1));
    assert_eq!((taken.triggered_by, taken.due), (TriggeredBy::Watch, desk.now.time));
    assert_eq!((taken.input.items.len(), taken.input.items[0].size), (1, 10));
    assert!(desk.take().is_none(), "it is this run's");
    desk.book.ended(run, &Ended::Done, &desk.now);
    assert_eq!((desk.state(A), desk.book.pending(), desk.book.counts().processed), (Some(State::Done), 0, 1));
    assert!(desk.found(A, &found, Sight::Touched).is_none(), "it is known");
    assert!(!desk.book.ended(run, &Ended::Done, &desk.now), "a run ends once");
}

#[test]
fn each_change_begins_the_wait_anew() {
    let mut desk = Desk::new(json!({ "settle": "2s" }));
    for size in 1..10 {
        let found = desk.content(5, size);
        assert_eq!(desk.found(A, &found, Sight::Written).is_some(), size == 1, "it is told once");
        desk.pass_ms(1_500);
        assert_eq!(desk.book.due(&desk.now, 99), []);
    }
    // Nobody told of the last change: the look finds it.
    let last = desk.content(5, 99);
    desk.pass_ms(500);
    desk.look_at(&last);
    assert_eq!(desk.state(A), Some(State::Seen));
    desk.pass_ms(1_500);
    desk.look_at(&last);
    assert_eq!(desk.state(A), Some(State::Stable));
    // So does a change while it waits for its run.
    let changed = desk.content(5, 100);
    desk.found(A, &changed, Sight::Written);
    assert_eq!((desk.state(A), desk.waiting()), (Some(State::Seen), 0));
    desk.pass_ms(2_000);
    desk.look_at(&changed);
    assert_eq!(desk.take().unwrap().1.input.items[0].size, 100);
}

/// With polling the last look is a while ago: each file is looked at once more just before its run.
#[test]
fn what_is_gone_or_has_changed_just_before_its_run_is_not_run_for() {
    let start = |more: Value| {
        let mut desk = Desk::new(more);
        desk.stable(A, 5, 1);
        desk
    };
    let keep = |desk: &mut Desk, run, look| desk.book.keep(run, &[(Path::new(A), look)], &desk.now);
    // As it was.
    let mut desk = start(close());
    let (run, _) = desk.take().unwrap();
    let found = desk.content(5, 1);
    assert_eq!(keep(&mut desk, run, LastLook::Found(found)), [true]);
    assert_eq!(keep(&mut desk, run, LastLook::Skipped), [true]);
    // Gone: nobody had done anything with it.
    assert_eq!(keep(&mut desk, run, LastLook::Gone), [false]);
    assert!(!desk.book.has_runs() && !desk.book.ended(run, &Ended::Done, &desk.now));
    desk.look(|_| Looked::default());
    assert_eq!((desk.state(A), desk.waiting(), desk.book.pending()), (None, 0, 0));
    assert_eq!(desk.remembered().entries.len(), 0);
    // Gone, after another content was run for.
    let mut desk = start(close());
    desk.run(Ended::Done);
    let first = desk.entry(A).unwrap().run;
    desk.pass_ms(10);
    desk.stable(A, 5, 2);
    let (run, _) = desk.take().unwrap();
    assert_eq!(keep(&mut desk, run, LastLook::Gone), [false]);
    desk.look(|_| Looked::default());
    assert!(desk.entry(A).unwrap().gone && desk.entry(A).unwrap().run == first);
    // Written to since: it has to hold still again.
    let mut desk = start(json!({ "settle": "2s" }));
    desk.pass_ms(2_000);
    let found = desk.content(5, 1);
    desk.found(A, &found, Sight::Scan { first: None });
    desk.pass_ms(2_000);
    desk.look_at(&found);
    let (run, _) = desk.take().unwrap();
    let changed = desk.content(5, 7);
    assert_eq!(keep(&mut desk, run, LastLook::Found(changed)), [false]);
    desk.look_at(&changed);
    assert_eq!((desk.state(A), desk.waiting()), (Some(State::Seen), 0));
    let mut desk = desk.crash();
    desk.found(A, &changed, Sight::Scan { first: None });
    desk.pass_ms(2_000);
    desk.look_at(&changed);
    assert_eq!(desk.take().unwrap().1.input.items[0].size, 7);
    // Renamed since, and that was noticed: the run has the old name.
    let mut desk = start(close());
    let (run, _) = desk.take().unwrap();
    let found = desk.entry(A).unwrap().stat;
    let found = Found { stat: found, ctime: 0, is_linked: false };
    desk.found_beside(B, &found, Sight::MovedIn, Some((A.into(), Twin::Gone)));
    assert_eq!(keep(&mut desk, run, LastLook::Gone), [false]);
    desk.look_at(&found);
    assert_eq!(desk.take().unwrap().1.input.items[0].path, Path::new(B));
}

#[test]
fn what_has_another_name_just_before_its_run_is_not_taken_for_what_stands_there_now() {
    let keep = |desk: &mut Desk, run, look| desk.book.keep(run, &[(Path::new(A), look)], &desk.now);
    let run = RunId::from_u128(77);
    // Another file, which was run for, was moved onto it: nothing is left of it.
    let mut desk = Desk::new(close());
    let other = desk.done(B, 6, 1);
    desk.stable(A, 5, 1);
    desk.book.take(run, &desk.now).unwrap();
    desk.found_beside(A, &other, Sight::MovedIn, Some((B.into(), Twin::Gone)));
    assert_eq!(keep(&mut desk, run, LastLook::Found(other)), [false]);
    desk.look_at(&other);
    assert_eq!((desk.state(A), desk.waiting(), desk.book.pending()), (Some(State::Done), 0, 0));
    assert_eq!(desk.remembered().entries.len(), 1);
    // It was renamed, and another file was made in its place: both are run for.
    let mut desk = Desk::new(close());
    let found = desk.stable(A, 5, 1);
    desk.book.take(run, &desk.now).unwrap();
    desk.found_beside(B, &found, Sight::MovedIn, Some((A.into(), Twin::Gone)));
    let other = desk.content(6, 9);
    assert_eq!(keep(&mut desk, run, LastLook::Found(other)), [false]);
    desk.found(A, &other, Sight::Closed);
    desk.look(|path| Looked { found: Some(if path == Path::new(A) { other } else { found }), ..Looked::default() });
    assert_eq!((desk.state(A), desk.state(B), desk.waiting()), (Some(State::Stable), Some(State::Stable), 2));
}

#[test]
fn a_file_that_comes_back_under_another_name_during_its_run_is_what_its_run_made_of_it() {
    let mut desk = Desk::new(json!({ "settle": "close", "events": ["created", "deleted"] }));
    let found = desk.stable(A, 5, 1);
    let (run, _) = desk.take().unwrap();
    desk.missing(A);
    desk.found(B, &found, Sight::MovedIn);
    desk.book.ended(run, &Ended::Failed("exit code 1".into()), &desk.now);
    assert_eq!((desk.state(B), desk.book.counts().errors, desk.waiting()), (Some(State::Stable), 1, 1), "once more");
    desk.run(Ended::Failed("exit code 1".into()));
    assert_eq!((desk.state(B), desk.book.counts().errors, desk.waiting()), (Some(State::Failed), 2, 0));
}

#[test]
fn deletions_that_are_to_be_told_are_not_forgotten_however_many_went() {
    let mut desk = Desk::new(json!({ "settle": "close", "events": ["deleted"] }));
    let count = GONE_KEPT as u64 + 10;
    let path = |n: u64| format!("/in/{n}");
    for n in 0..count {
        let found = desk.content(n, 1);
        desk.found(&path(n), &found, Sight::Scan { first: Some(desk.now.time) });
    }
    (0..count).for_each(|n| drop(desk.missing(&path(n))));
    // All are gone, and more than are remembered.
    desk.book.rewriting(&desk.now);
    desk.book.is_rewritten();
    desk.pass_ms(100);
    for due in desk.book.due(&desk.now, usize::MAX) {
        desk.book.looked(due.id, Looked::default(), &desk.now);
    }
    assert_eq!(desk.waiting(), count);
}

#[test]
fn a_failed_run_marks_it_and_one_that_was_cut_short_is_made_again() {
    let mut desk = Desk::new(close());
    let found = desk.stable(A, 5, 1);
    desk.run(Ended::Again);
    assert_eq!((desk.state(A), desk.waiting()), (Some(State::Stable), 1));
    desk.run(Ended::Failed("exit code 1".into()));
    assert_eq!((desk.state(A), desk.waiting(), desk.book.counts().errors), (Some(State::Failed), 0, 1));
    assert_eq!(desk.entry(A).unwrap().why.as_deref(), Some("exit code 1"));
    assert!(desk.found(A, &found, Sight::Scan { first: None }).is_none(), "its content is the same");
    desk.pass_ms(10);
    let new = desk.content(5, 2);
    assert_eq!(desk.found(A, &new, Sight::Closed).unwrap().event, FileEvent::Modified);
    desk.look_at(&new);
    desk.run(Ended::Done);
    assert_eq!(desk.state(A), Some(State::Done));
}

/// Changes lost while the command runs: there are none.
#[test]
fn all_changes_during_a_run_make_one_further_run() {
    let mut desk = Desk::new(close());
    let found = desk.stable(A, 5, 1);
    let (run, _) = desk.take().unwrap();
    let mut last = found;
    for size in 2..5 {
        desk.pass_ms(10);
        last = desk.content(5, size);
        desk.found(A, &last, Sight::Closed);
        desk.look_at(&last);
        assert_eq!((desk.state(A), desk.waiting()), (Some(State::Running), 0), "nobody has it twice at once");
    }
    assert!(desk.book.ended(run, &Ended::Done, &desk.now));
    desk.look_at(&last);
    assert_eq!(desk.waiting(), 1);
    assert_eq!(desk.take().unwrap().1.input.items[0].size, 4);
}

#[test]
fn what_was_there_before_is_ignored_unless_it_is_asked_for() {
    let since = Timestamp::UNIX_EPOCH + Duration::from_secs(5);
    let first = Sight::Scan { first: Some(since) };
    for (rules, expected) in [
        (close(), Some(State::Ignored)),
        (json!({ "settle": "close", "existing": "process" }), Some(State::Seen)),
        (json!({ "settle": "close", "events": ["modified"] }), Some(State::Ignored)),
    ] {
        let mut desk = Desk::new(rules);
        let old = desk.content(5, 1);
        desk.pass_ms(9_000);
        desk.found(A, &old, first);
        assert_eq!(desk.state(A), expected);
        // It changes.
        desk.stable(A, 5, 2);
        assert_eq!((desk.state(A), desk.waiting()), (Some(State::Stable), 1));
    }
    let mut desk = Desk::new(close());
    desk.pass_ms(6_000);
    let new = desk.content(6, 1);
    assert!(desk.found(B, &new, first).is_some(), "it came after that");
}

#[test]
fn what_goes_before_its_run_is_forgotten_and_what_was_run_for_is_remembered() {
    let mut desk = Desk::new(json!({ "settle": "2s" }));
    let found = desk.content(5, 1);
    desk.found(A, &found, Sight::Made);
    desk.missing(A);
    assert_eq!(desk.state(A), None, "seen");
    desk.found(A, &found, Sight::Made);
    desk.pass_ms(2_000);
    desk.look_at(&found);
    desk.missing(A);
    assert_eq!((desk.state(A), desk.waiting()), (None, 0), "stable");
    let mut desk = Desk::new(close());
    let done = desk.done(A, 5, 1);
    desk.missing(A);
    assert!(desk.entry(A).unwrap().gone && desk.state(A) == Some(State::Done));
    assert!(desk.found(A, &done, Sight::MovedIn).is_none() && !desk.entry(A).unwrap().gone, "it was moved back");
    desk.missing(A);
    desk.pass_ms(10);
    let other = desk.content(6, 1);
    assert_eq!(desk.found(A, &other, Sight::Closed).unwrap().event, FileEvent::Created, "another one came");
    // While it settles, nothing is there when it is looked at.
    desk.look(|_| Looked::default());
    assert!(desk.entry(A).unwrap().gone && desk.waiting() == 0);
    let mut desk = desk.crash();
    assert!(
        desk.found(A, &other, Sight::Scan { first: None }).is_some(),
        "what was not run for is, should it come back"
    );
}

#[test]
fn a_rename_takes_the_state_along() {
    let mut desk = Desk::new(close());
    let done = desk.done(A, 5, 1);
    desk.missing(A);
    assert!(desk.found(B, &done, Sight::MovedIn).is_none());
    assert_eq!((desk.state(A), desk.state(B), desk.waiting()), (None, Some(State::Done), 0));
    // One that waits for its run.
    desk.pass_ms(10);
    let stable = desk.stable(A, 6, 1);
    desk.found_beside("/in/c", &stable, Sight::MovedIn, Some((A.into(), Twin::Gone)));
    assert_eq!((desk.state(A), desk.state("/in/c")), (None, Some(State::Stable)));
    assert_eq!(desk.take().unwrap().1.input.items[0].path, Path::new("/in/c"));
    // One that a run has, over another one that was run for.
    desk.found_beside(B, &stable, Sight::MovedIn, Some(("/in/c".into(), Twin::Gone)));
    assert_eq!((desk.state("/in/c"), desk.state(B)), (None, Some(State::Running)));
    let mut desk = desk.crash();
    assert_eq!(desk.state(B), Some(State::Seen), "the run was cut short");
    assert!(desk.found("/in/d", &done, Sight::MovedIn).is_none(), "what stood there before is known, wherever it went");
}

#[test]
fn a_deletion_that_may_be_a_rename_is_told_once_it_is_none() {
    let mut desk = Desk::new(json!({ "settle": "close", "events": ["created", "renamed", "deleted"] }));
    desk.done(A, 5, 1);
    assert_eq!(desk.missing(A), None);
    desk.pass_ms(100);
    let due = desk.book.due(&desk.now, 9).remove(0);
    let noticed = desk.book.looked(due.id, Looked::default(), &desk.now).unwrap();
    assert_eq!((noticed.event, noticed.path.as_path()), (FileEvent::Deleted, Path::new(A)));
    assert_eq!((desk.waiting(), desk.state(A)), (1, Some(State::Stable)));
}

#[test]
fn a_file_that_is_removed_and_made_anew_at_once_is_told_of() {
    let mut desk = Desk::new(json!({ "settle": "2s", "events": ["created", "modified", "renamed", "deleted"] }));
    let found = desk.content(5, 1);
    desk.found(A, &found, Sight::Closed);
    desk.pass_ms(2_000);
    desk.look_at(&found);
    desk.run(Ended::Done);
    assert_eq!(desk.missing(A), None);
    desk.pass_ms(10);
    let other = desk.content(6, 2);
    let noticed = desk.found(A, &other, Sight::Closed).unwrap();
    assert_eq!((noticed.event, noticed.path.as_path()), (FileEvent::Modified, Path::new(A)));
    assert_eq!(desk.found(A, &other, Sight::Closed), None, "once");
}

#[test]
fn a_run_that_failed_while_its_file_got_another_name_is_made_once_more() {
    let mut desk = Desk::new(close());
    let found = desk.stable(A, 5, 1);
    let failed = || Ended::Failed("exit code 1".into());
    let (run, _) = desk.take().unwrap();
    desk.found_beside(B, &found, Sight::MovedIn, Some((A.into(), Twin::Gone)));
    desk.book.ended(run, &failed(), &desk.now);
    assert_eq!((desk.state(B), desk.waiting()), (Some(State::Stable), 1));
    let (run, taken) = desk.take().unwrap();
    assert_eq!(taken.input.items[0].path, Path::new(B));
    // A command that gives it another name each time does so twice.
    desk.found_beside("/in/c", &found, Sight::MovedIn, Some((B.into(), Twin::Gone)));
    desk.book.ended(run, &failed(), &desk.now);
    assert_eq!((desk.state("/in/c"), desk.waiting()), (Some(State::Failed), 0));
    // One that succeeds has found it.
    let other = desk.stable(A, 6, 1);
    let (run, _) = desk.take().unwrap();
    desk.found_beside(B, &other, Sight::MovedIn, Some((A.into(), Twin::Gone)));
    desk.book.ended(run, &Ended::Done, &desk.now);
    assert_eq!((desk.state(B), desk.waiting()), (Some(State::Done), 0));
}

#[test]
fn content_that_has_failed_is_run_for_when_it_is_delivered_again_and_a_rename_is_no_content() {
    let mut desk =
        Desk::new(json!({ "settle": "close", "identity": "hash", "events": ["created", "modified", "renamed"] }));
    let first = desk.stable_of(A, 5, [1; 32]);
    desk.run(Ended::Failed("exit code 1".into()));
    desk.pass_ms(10);
    desk.stable_of(B, 6, [1; 32]);
    assert_eq!((desk.state(B), desk.waiting()), (Some(State::Stable), 1));
    desk.run(Ended::Done);
    desk.pass_ms(10);
    desk.stable_of("/in/c", 7, [1; 32]);
    assert_eq!((desk.state("/in/c"), desk.waiting()), (Some(State::Ignored), 0), "it has succeeded by now");
    desk.missing(A);
    desk.found("/in/d", &first, Sight::MovedIn);
    desk.look(|_| hashed(&first, [1; 32]));
    assert_eq!((desk.state("/in/d"), desk.waiting()), (Some(State::Stable), 1), "it is renamed");
}

#[test]
fn a_batch_that_is_full_is_not_ended_for_what_waits() {
    let mut desk = Desk::new(json!({ "settle": "close", "batch": { "mode": "all", "max": 2, "wait": "0s" } }));
    desk.stable(A, 5, 1);
    let (run, _) = desk.take().unwrap();
    desk.stable(B, 6, 1);
    assert!(desk.book.backlog(&desk.now).replaces, "the two go together");
    desk.book.ended(run, &Ended::Again, &desk.now);
    desk.stable("/in/c", 7, 1);
    let (_, taken) = desk.take().unwrap();
    assert_eq!(taken.input.items.len(), 2);
    let backlog = desk.book.backlog(&desk.now);
    assert_eq!((backlog.runs, backlog.replaces), (1, false));
}

#[test]
fn a_file_that_got_the_inode_of_one_that_is_gone_is_another_one() {
    let born = |found: Found, born: i64| Found { stat: Stat { born, ..found.stat }, ..found };
    let after = |file_system: FileSystem, born_then: i64| {
        let mut desk = Desk::new(close());
        desk.book.set_file_system(Path::new("/in"), file_system);
        let first = born(desk.content(5, 1), 100);
        desk.found(A, &first, Sight::Closed);
        desk.look_at(&first);
        desk.run(Ended::Done);
        desk.missing(A);
        // Of the same size and the same time, as an archive gives them.
        let second = born(first, born_then);
        desk.found(B, &second, Sight::Closed);
        desk.look_at(&second);
        (desk.waiting(), desk.state(B).unwrap())
    };
    let of = |inodes: Inodes| FileSystem { remote: None, inodes };
    assert_eq!(after(of(Inodes::Last), 100), (0, State::Done), "a rename");
    assert_eq!(after(of(Inodes::Last), 101), (1, State::Stable), "another file");
    assert_eq!(after(of(Inodes::Last), 0), (0, State::Done), "nobody knows");
    assert_eq!(after(of(Inodes::WithoutBirth), 101), (0, State::Done), "it was copied up");
    assert_eq!(after(of(Inodes::MadeUp), 100), (1, State::Stable), "nothing is known of it");
}

#[test]
fn another_file_at_the_same_path_is_new_though_its_inode_size_and_time_are_the_same() {
    for (inodes, is_new) in [(Inodes::Last, true), (Inodes::WithoutBirth, false)] {
        for is_told_gone in [true, false] {
            let mut desk = Desk::new(close());
            desk.book.set_file_system(Path::new("/in"), FileSystem { remote: None, inodes });
            let done = desk.done(A, 5, 1);
            let first = Found { stat: Stat { born: 100, ..done.stat }, ..done };
            assert!(desk.found(A, &first, Sight::Scan { first: None }).is_none(), "a ledger of before");
            if is_told_gone {
                desk.missing(A);
            }
            let second = Found { stat: Stat { born: 101, ..done.stat }, ..done };
            let noticed = desk.found(A, &second, Sight::Closed);
            let event = if is_told_gone { FileEvent::Created } else { FileEvent::Modified };
            assert_eq!(noticed.map(|noticed| noticed.event), is_new.then_some(event));
        }
    }
}

#[test]
fn where_inodes_are_made_up_a_file_is_known_by_its_size_and_time() {
    let mut desk = Desk::new(close());
    desk.book.set_file_system(Path::new("/in"), FileSystem { remote: None, inodes: Inodes::MadeUp });
    let done = desk.done(A, 5, 1);
    let loaded_again = Found { stat: Stat { inode: 77, ..done.stat }, ..done };
    assert!(desk.found(A, &loaded_again, Sight::Scan { first: None }).is_none());
    assert_eq!((desk.state(A), desk.waiting()), (Some(State::Done), 0));
    let other = Found { stat: Stat { size: 2, ..loaded_again.stat }, ..loaded_again };
    assert_eq!(desk.found(A, &other, Sight::Scan { first: None }).unwrap().event, FileEvent::Modified);
}

#[test]
fn a_rename_is_told_where_that_is_asked_for() {
    let mut desk = Desk::new(json!({ "settle": "close", "events": ["created", "renamed", "deleted"] }));
    let done = desk.done(A, 5, 1);
    assert_eq!(desk.missing(A), None, "it may have another name");
    let noticed = desk.found(B, &done, Sight::MovedIn).unwrap();
    assert_eq!((noticed.event, noticed.from.as_deref()), (FileEvent::Renamed, Some(Path::new(A))));
    desk.look_at(&done);
    let (run, taken) = desk.take().unwrap();
    assert_eq!(
        (taken.input.items[0].event, taken.input.items[0].from.as_deref()),
        (FileEvent::Renamed, Some(Path::new(A)))
    );
    desk.book.ended(run, &Ended::Done, &desk.now);
    desk.missing(B);
    desk.pass_ms(100);
    desk.look(|_| Looked::default());
    let (run, taken) = desk.take().unwrap();
    assert_eq!((taken.input.items[0].event, taken.input.items[0].size), (FileEvent::Deleted, 0));
    // Another one comes while that is told.
    desk.pass_ms(10);
    let new = desk.content(6, 1);
    desk.found(B, &new, Sight::Closed);
    desk.book.ended(run, &Ended::Done, &desk.now);
    assert!(!desk.entry(B).unwrap().gone, "it is there");
    desk.look_at(&new);
    desk.missing(B);
    assert_eq!(desk.waiting(), 0, "it went before its run");
}

#[test]
fn a_deletion_during_a_run_is_told_after_it_also_after_a_crash() {
    let mut desk = Desk::new(json!({ "settle": "close", "events": ["created", "deleted"] }));
    desk.stable(A, 5, 1);
    let (run, _) = desk.take().unwrap();
    assert_eq!(desk.missing(A).unwrap().event, FileEvent::Deleted);
    desk.pass_ms(200);
    desk.look(|_| Looked::default());
    desk.book.ended(run, &Ended::Done, &desk.now);
    let mut desk = desk.crash();
    desk.look(|_| Looked::default());
    assert_eq!(desk.take().unwrap().1.input.items[0].event, FileEvent::Deleted);
}

#[test]
fn what_the_runner_moved_away_is_no_deletion_whenever_that_is_noticed() {
    for is_noticed_first in [true, false] {
        let mut desk = Desk::new(json!({ "settle": "close", "events": ["created", "deleted"] }));
        desk.stable(A, 5, 1);
        let (run, _) = desk.take().unwrap();
        if is_noticed_first {
            desk.missing(A);
        }
        desk.book.moved_away(Path::new(A));
        assert_eq!(desk.missing(A), None);
        desk.book.ended(run, &Ended::Done, &desk.now);
        desk.pass_ms(200);
        desk.look(|_| Looked::default());
        assert_eq!((desk.state(A), desk.waiting(), desk.book.pending()), (Some(State::Done), 0, 0));
    }
}

#[test]
fn another_disk_in_its_place_is_no_deletion() {
    let mut desk = Desk::new(json!({ "settle": "close", "events": ["created", "deleted"] }));
    let done = desk.done(A, 5, 1);
    desk.book.is_elsewhere(Path::new(A), &desk.now);
    desk.pass_ms(200);
    desk.look(|_| Looked::default());
    assert_eq!((desk.state(A), desk.waiting()), (Some(State::Done), 0));
    assert!(desk.found(A, &done, Sight::Scan { first: None }).is_none(), "it is back");
    assert!(desk.missing(A).is_some());
}

#[test]
fn what_could_not_be_looked_at_is_tried_again_with_the_next_scan() {
    let mut desk = Desk::new(json!({ "settle": "1s", "identity": "hash" }));
    let found = desk.content(5, 1);
    desk.found(A, &found, Sight::Closed);
    desk.pass_ms(1_000);
    assert_eq!(desk.book.due(&desk.now, 99).len(), 1, "it is looked at, and may not be read");
    desk.pass_ms(9_000);
    assert_eq!(desk.book.due(&desk.now, 99), []);
    desk.found(A, &found, Sight::Scan { first: None });
    desk.look(|_| hashed(&found, [1; 32]));
    assert_eq!(desk.state(A), Some(State::Stable));
}

#[test]
fn closing_counts_where_that_is_asked_for() {
    let mut desk = Desk::new(close());
    let found = desk.content(5, 1);
    desk.found(A, &found, Sight::Made);
    desk.pass(SILENT_WRITER - Duration::from_millis(1));
    assert_eq!(desk.book.due(&desk.now, 99), [], "somebody writes to it");
    desk.pass_ms(1);
    desk.look(|_| Looked { found: Some(found), is_open: true, ..Looked::default() });
    assert_eq!(desk.state(A), Some(State::Seen), "who is silent has it open still");
    desk.found(A, &found, Sight::Closed);
    desk.look_at(&found);
    assert_eq!(desk.state(A), Some(State::Stable));
    // Found by a scan: nobody told of its closing.
    desk.pass_ms(10);
    let scanned = desk.content(6, 1);
    desk.found(B, &scanned, Sight::Scan { first: None });
    desk.pass(FOUND - Duration::from_millis(1));
    assert_eq!(desk.book.due(&desk.now, 99), []);
    desk.pass_ms(1);
    desk.look_at(&scanned);
    assert_eq!(desk.state(B), Some(State::Stable));
    // The kernel lost count: its closing may have been among what is lost.
    desk.pass_ms(10);
    let open = desk.content(7, 1);
    desk.found("/in/c", &open, Sight::Written);
    // Elsewhere, and where it is.
    desk.book.events_were_lost(Path::new("/in/sub"), &desk.now);
    desk.pass(FOUND);
    assert_eq!(desk.book.due(&desk.now, 99), []);
    desk.book.events_were_lost(Path::new("/in"), &desk.now);
    desk.pass(FOUND);
    desk.look_at(&open);
    assert_eq!(desk.state("/in/c"), Some(State::Stable));
}

#[test]
fn it_waits_for_its_done_file() {
    let mut desk = Desk::new(json!({ "settle": "close", "done_file": "{name}.done" }));
    let found = desk.stable(A, 5, 1);
    assert_eq!((desk.state(A), desk.book.next_look()), (Some(State::Seen), None));
    desk.book.hurry(Path::new(A), &desk.now);
    desk.look(|_| Looked { found: Some(found), is_done: true, ..Looked::default() });
    assert_eq!(desk.state(A), Some(State::Stable));
}

#[test]
fn a_link_is_run_for_if_what_it_was_ignored_for_never_is() {
    // It is removed, another one takes its place, or it is renamed and removed then.
    for way in 0..3 {
        let mut desk = Desk::new(json!({ "settle": "2s" }));
        let found = desk.content(5, 1);
        desk.found(A, &found, Sight::Made);
        desk.found(B, &found, Sight::Made);
        assert_eq!(desk.state(B), Some(State::Ignored));
        match way {
            0 => drop(desk.missing(A)),
            1 => {
                let other = desk.content(6, 2);
                desk.found("/in/x", &other, Sight::Made);
                desk.found_beside(A, &other, Sight::MovedIn, Some(("/in/x".into(), Twin::Gone)));
            }
            _ => {
                desk.found_beside("/in/c", &found, Sight::MovedIn, Some((A.into(), Twin::Gone)));
                assert_eq!(desk.entry(B).unwrap().why.as_deref(), Some("it is the same file as /in/c"));
                desk = desk.crash();
                desk.missing("/in/c");
            }
        }
        desk.look_at(&found);
        assert_eq!(desk.state(B), Some(State::Stable), "way {way}");
    }
}

#[test]
fn a_link_to_a_file_whose_name_is_no_text_is_run_for_if_that_goes_also_after_a_crash() {
    let odd = Path::new(OsStr::from_bytes(b"/in/\xff"));
    let mut desk = Desk::new(json!({ "settle": "2s" }));
    let found = desk.content(5, 1);
    desk.book.found(odd, &found, Sight::Made, None, &desk.now);
    desk.found_beside(B, &found, Sight::Made, Some((odd.into(), Twin::There)));
    assert_eq!(desk.state(B), Some(State::Ignored));
    let mut desk = desk.crash();
    desk.book.missing(odd, &desk.now);
    desk.look_at(&found);
    assert_eq!(desk.state(B), Some(State::Stable));
}

/// The clock goes forward by an hour while somebody writes: by its own times the file has held still for as long.
#[test]
fn a_clock_that_is_set_completes_no_file() {
    for hours in [1, -1] {
        let mut desk = Desk::new(json!({ "settle": "2s" }));
        desk.pass(Duration::from_secs(100_000));
        let early = desk.content(5, 1);
        desk.found(A, &early, Sight::Made);
        desk.pass_ms(500);
        desk.now.time += jiff::SignedDuration::from_hours(hours);
        // Written before the clock was set, noticed after that; and by a scan, of one that nobody told of.
        desk.found(A, &Found { stat: Stat { size: 2, ..early.stat }, ..early }, Sight::Written);
        let other = Stat { inode: 6, ..early.stat };
        desk.found(B, &Found { stat: other, ..early }, Sight::Scan { first: None });
        assert_eq!(desk.book.due(&desk.now, 99), [], "{hours}");
        desk.pass_ms(1_999);
        assert_eq!(desk.book.due(&desk.now, 99), [], "{hours}");
        desk.pass_ms(1);
        assert_eq!(desk.book.due(&desk.now, 99).len(), 2, "{hours}");
    }
}

#[test]
fn a_long_reason_is_cut_in_the_ledger() {
    let mut desk = Desk::new(close());
    desk.stable(A, 5, 1);
    desk.run(Ended::Failed("\u{1}é".repeat(100_000)));
    let loaded = desk.remembered();
    let id = loaded.entries.by_path(Path::new(A)).unwrap();
    assert_eq!(loaded.entries.get(id).unwrap().why.as_deref().map(|why| why.chars().count()), Some(1_000));
}

#[test]
fn a_link_to_what_was_run_for_is_not_run_for_whatever_becomes_of_that() {
    for is_known_before in [true, false] {
        let mut desk = Desk::new(close());
        let found = desk.content(5, 1);
        desk.found(A, &found, Sight::Closed);
        if is_known_before {
            desk.found(B, &found, Sight::Made);
        }
        desk.look_at(&found);
        desk.run(Ended::Done);
        if !is_known_before {
            desk.found(B, &found, Sight::Made);
        }
        // Another content comes to the first name, and goes before its run.
        desk.pass_ms(10);
        desk.stable(A, 6, 2);
        assert_eq!(desk.state(A), Some(State::Stable));
        desk.missing(A);
        desk.look_at(&found);
        assert_eq!((desk.state(B), desk.waiting()), (Some(State::Ignored), 0));
    }
}

#[test]
fn what_was_not_run_for_is_no_known_content_where_the_hash_counts() {
    let by_hash = json!({ "settle": "close", "identity": "hash" });
    // The runner is killed while it waits for its run, and while that is active; it is touched while it waits, and the runner is killed
    // after that; it goes and comes back.
    for way in 0..5 {
        let mut desk = Desk::new(by_hash.clone());
        let mut found = desk.stable_of(A, 5, [1; 32]);
        assert_eq!(desk.state(A), Some(State::Stable));
        match way {
            0 => desk = desk.crash(),
            1 => {
                desk.take().unwrap();
                desk = desk.crash();
            }
            2 => found.stat.mtime += 1,
            3 => {
                found.stat.mtime += 1;
                desk.found(A, &found, Sight::Written);
                desk = desk.crash();
            }
            _ => {
                desk.run(Ended::Again);
                desk.missing(A);
            }
        }
        desk.found(A, &found, Sight::Closed);
        desk.look(|_| hashed(&found, [1; 32]));
        assert_eq!((desk.state(A), desk.waiting()), (Some(State::Stable), 1), "way {way}");
    }
    // What was run for is known, also after a crash.
    let mut desk = Desk::new(by_hash);
    let mut found = desk.stable_of(A, 5, [1; 32]);
    desk.run(Ended::Done);
    found.stat.mtime += 1;
    desk.found(A, &found, Sight::Closed);
    let mut desk = desk.crash();
    desk.found(A, &found, Sight::Closed);
    desk.look(|_| hashed(&found, [1; 32]));
    assert_eq!((desk.state(A), desk.waiting()), (Some(State::Done), 0));
}

/// So many runs in a row, during each of which the file changes. The last change is complete, and nobody has run for it.
fn changes_during_runs(desk: &mut Desk, count: u64) {
    for size in 1..=count {
        let run = if size > 1 { Some(desk.take().expect("it may run").0) } else { None };
        desk.pass_ms(100);
        let found = desk.content(5, size);
        desk.found(A, &found, Sight::Closed);
        if let Some(run) = run {
            desk.pass_ms(100);
            desk.book.ended(run, &Ended::Done, &desk.now);
        }
        desk.look_at(&found);
        assert_eq!(desk.state(A), Some(State::Stable));
    }
}

/// Somebody else is exactly as fast as its runs, and ends right after the last generation that may follow another.
#[test]
fn what_is_left_by_somebody_who_was_as_fast_as_the_runs_is_run_for() {
    let mut desk = Desk::new(close());
    changes_during_runs(&mut desk, 21);
    assert_eq!(desk.waiting(), 0, "it holds still");
    let at = desk.book.backlog(&desk.now).changes_at.expect("it looks again");
    desk.pass(at - desk.now.instant);
    assert_eq!((desk.waiting(), desk.book.why_stopped()), (1, None));
    desk.run(Ended::Done);
    assert_eq!((desk.state(A), desk.book.pending()), (Some(State::Done), 0));
    // They come back, and are as fast again.
    desk.pass_ms(60_000);
    changes_during_runs(&mut desk, 10);
    assert_eq!((desk.waiting(), desk.book.why_stopped()), (1, None));
}

#[test]
fn a_watch_that_fires_itself_once_more_after_it_held_still_is_stopped() {
    let mut desk = Desk::new(close());
    changes_during_runs(&mut desk, 21);
    assert_eq!(desk.waiting(), 0, "it holds still");
    for is_tried in [false, true] {
        let at = desk.book.backlog(&desk.now).changes_at.expect("it looks again");
        desk.pass(at - desk.now.instant);
        assert_eq!(desk.waiting(), if is_tried { 0 } else { 1 });
        if is_tried {
            break;
        }
        let (run, _) = desk.take().unwrap();
        desk.pass_ms(100);
        let found = desk.content(5, 99);
        desk.found(A, &found, Sight::Closed);
        desk.book.ended(run, &Ended::Done, &desk.now);
        desk.look_at(&found);
        assert_eq!(desk.waiting(), 0, "it holds still again");
    }
    assert!(desk.book.why_stopped().is_some_and(|why| why.contains("20 times in a row")));
}

#[test]
fn a_copy_is_run_for_if_the_first_one_changes_before_its_run() {
    let mut desk = Desk::new(json!({ "settle": "close", "identity": "hash" }));
    desk.stable_of(A, 5, [1; 32]);
    desk.pass_ms(10);
    let copy = desk.stable_of(B, 6, [1; 32]);
    assert_eq!((desk.state(A), desk.state(B)), (Some(State::Stable), Some(State::Ignored)));
    desk.pass_ms(10);
    let changed = desk.content(5, 2);
    desk.found(A, &changed, Sight::Closed);
    desk.look(|path| if path == Path::new(A) { hashed(&changed, [2; 32]) } else { hashed(&copy, [1; 32]) });
    assert_eq!((desk.state(A), desk.state(B), desk.waiting()), (Some(State::Stable), Some(State::Stable), 2));
}

#[test]
fn what_is_not_meant_any_more_is_new_once_it_is_again() {
    let mut desk = Desk::new(close());
    let done = desk.done(A, 5, 1);
    let found = desk.stable(B, 6, 1);
    desk.pass_ms(10);
    let changed = desk.stable(A, 5, 2);
    assert_eq!(desk.waiting(), 2);
    let rules = desk.book.files().clone();
    desk.book.set_files(rules.clone(), |_| false, &desk.now);
    assert_eq!((desk.waiting(), desk.state(A), desk.state(B)), (0, Some(State::Ignored), None));
    let mut desk = desk.crash();
    desk.book.set_files(rules, |_| true, &desk.now);
    assert!(desk.found(A, &changed, Sight::Scan { first: None }).is_some());
    assert!(desk.found(B, &found, Sight::Scan { first: None }).is_some());
    assert_ne!(done, changed);
}

#[test]
fn a_ledger_that_is_written_anew_while_files_are_renamed_loses_none() {
    for is_before in [true, false] {
        let mut desk = Desk::new(close());
        let (a, b) = (desk.done(A, 5, 1), desk.done(B, 6, 2));
        desk.book.take_lines();
        let mut anew = desk.book.rewriting(&desk.now);
        if is_before {
            anew.extend(desk.book.lines_from(0, 99).unwrap());
        }
        // One over the other, and a new one in its old place.
        desk.found_beside(B, &a, Sight::MovedIn, Some((A.into(), Twin::Gone)));
        desk.pass_ms(10);
        let new = desk.done(A, 7, 3);
        if !is_before {
            anew.extend(desk.book.lines_from(0, 99).unwrap());
        }
        desk.book.is_rewritten();
        desk.ledger = anew;
        let mut desk = desk.crash();
        for (path, found) in [(A, new), (B, a), ("/in/elsewhere", b)] {
            assert!(desk.found(path, &found, Sight::Scan { first: None }).is_none(), "{path} is known ({is_before})");
        }
    }
}

#[test]
fn somebody_asks_for_it_again() {
    let mut desk = Desk::new(close());
    let done = desk.done(A, 5, 1);
    assert!(desk.book.replay(Path::new(B), Some(&done), &desk.now).is_err(), "unknown");
    let named = |base64: &str| Selection { paths: vec![(A.into(), Some(base64.into()))], ..Selection::default() };
    assert_eq!(desk.book.meant(&Selection::default()), [PathBuf::from(A)]);
    assert_eq!(desk.book.meant(&named("L2luL3g=")), [PathBuf::from("/in/x")]);
    assert_eq!(desk.book.meant(&named("no base64!")), [PathBuf::from(A)], "never all");
    assert!(desk.book.replay(Path::new(A), None, &desk.now).is_err(), "gone");
    desk.book.replay(Path::new(A), Some(&done), &desk.now).unwrap();
    assert!(desk.book.replay(Path::new(A), Some(&done), &desk.now).is_err(), "it is to be run for already");
    let mut desk = desk.crash();
    desk.found(A, &done, Sight::Scan { first: None });
    desk.pass(FOUND);
    desk.look_at(&done);
    assert_eq!(desk.take().unwrap().1.triggered_by, TriggeredBy::Replay);
}

#[test]
fn a_crash_costs_nothing_but_what_was_cut_short() {
    let mut desk = Desk::new(json!({ "settle": "2s" }));
    let found = desk.content(5, 1);
    desk.found(A, &found, Sight::Made);
    let mut desk = desk.crash();
    assert_eq!(desk.state(A), Some(State::Seen));
    desk.found(A, &found, Sight::Scan { first: None });
    desk.pass_ms(2_000);
    desk.look_at(&found);
    let mut desk = desk.crash();
    assert_eq!(desk.state(A), Some(State::Seen), "what was stable is looked at once more");
    desk.found(A, &found, Sight::Scan { first: None });
    desk.look_at(&found);
    desk.take().unwrap();
    let loaded = desk.remembered();
    let running: Vec<State> = loaded.entries.iter().map(|(_, entry)| entry.state).collect();
    assert_eq!(running, [State::Running], "it is named so");
    // The record of the run says how it ended, where it does.
    for (how, expected) in [(Ok(()), State::Done), (Err("no".to_string()), State::Failed)] {
        let loaded = desk.remembered();
        let book = Book::new(desk.book.files().clone(), loaded, |_| Some(how.clone()), &desk.now);
        assert_eq!(book.entries().get(book.entries().by_path(Path::new(A)).unwrap()).unwrap().state, expected);
    }
    let mut desk = desk.crash();
    desk.found(A, &found, Sight::Scan { first: None });
    desk.look_at(&found);
    desk.run(Ended::Done);
    let mut desk = desk.crash();
    assert!(desk.found(A, &found, Sight::Scan { first: None }).is_none());
}

#[test]
fn what_is_passed_over_is_ignored_until_it_changes() {
    let mut desk = Desk::new(close());
    let found = desk.stable(A, 5, 1);
    assert_eq!((desk.book.pass_over("busy", &desk.now), desk.waiting(), desk.state(A)), (1, 0, Some(State::Ignored)));
    assert!(desk.found(A, &found, Sight::Scan { first: None }).is_none());
    desk.pass_ms(10);
    let changed = desk.content(5, 2);
    assert!(desk.found(A, &changed, Sight::Closed).is_some());
}

/// Two files at one name, one after the other: what was run for is known when it turns up elsewhere, whenever the runner was killed.
#[test]
fn what_was_replaced_is_known_wherever_it_turns_up_also_after_a_crash() {
    // Killed while the other one settles; while it settled beside the run; not at all. Then found before the other one, or after it.
    for (way, is_first) in [(0, true), (0, false), (1, true), (1, false), (2, true), (2, false)] {
        let mut desk = Desk::new(json!({ "settle": "2s" }));
        let first = desk.content(5, 1);
        desk.found(A, &first, Sight::Made);
        desk.pass_ms(2_000);
        desk.look_at(&first);
        let (run, _) = desk.take().unwrap();
        let other = desk.content(6, 2);
        if way == 1 {
            desk.found(A, &other, Sight::Made);
        }
        desk.book.ended(run, &Ended::Done, &desk.now);
        if way != 1 {
            desk.found(A, &other, Sight::Made);
        }
        assert_eq!(desk.state(A), Some(State::Seen));
        if way < 2 {
            desk = desk.crash();
        }
        if is_first {
            assert!(desk.found(B, &first, Sight::MovedIn).is_none(), "it is known (way {way})");
            desk = desk.crash();
        }
        desk.found(A, &other, Sight::Scan { first: None });
        desk.pass_ms(2_000);
        desk.look_at(&other);
        assert_eq!(desk.state(A), Some(State::Stable));
        assert!(desk.found(B, &first, Sight::MovedIn).is_none(), "it is known (way {way})");
        assert_eq!((desk.state(B), desk.waiting()), (Some(State::Done), 1));
        let mut desk = desk.crash();
        assert!(desk.found(B, &first, Sight::Scan { first: None }).is_none());
        assert_eq!(desk.state(B), Some(State::Done));
    }
}

#[test]
fn what_is_there_again_before_the_other_one_was_complete_is_known() {
    let mut desk = Desk::new(json!({ "settle": "2s" }));
    let first = desk.done_after_two_seconds(A, 5, 1);
    let other = desk.content(6, 2);
    desk.found(A, &other, Sight::Made);
    desk.pass_ms(500);
    desk.found(A, &first, Sight::MovedIn);
    desk.pass_ms(2_000);
    desk.look_at(&first);
    assert_eq!((desk.state(A), desk.waiting(), desk.book.pending()), (Some(State::Done), 0, 0));
}

/// What was run for is moved over a file that settles, and only the look at that one finds it.
#[test]
fn what_is_known_and_stands_in_the_place_of_what_settles_is_not_new() {
    for is_run_for in [true, false] {
        let mut desk = Desk::new(json!({ "settle": "2s" }));
        let first = desk.done_after_two_seconds(A, 5, 1);
        let mut other = desk.content(6, 2);
        desk.found(B, &other, Sight::Made);
        if is_run_for {
            desk.pass_ms(2_000);
            desk.look_at(&other);
            desk.run(Ended::Done);
            other = desk.content(6, 3);
            desk.found(B, &other, Sight::Written);
        }
        desk.missing(A);
        desk.pass_ms(2_000);
        desk.look_at(&first);
        desk.pass_ms(2_000);
        desk.look_at(&first);
        assert_eq!((desk.state(B), desk.waiting(), desk.book.pending()), (Some(State::Done), 0, 0), "{is_run_for}");
    }
}

#[test]
fn a_link_to_what_was_run_for_that_takes_the_place_of_what_settles_is_not_new() {
    let mut desk = Desk::new(json!({ "settle": "2s" }));
    let first = desk.done_after_two_seconds(A, 5, 1);
    let other = desk.content(6, 2);
    desk.found(B, &other, Sight::Made);
    desk.found(B, &first, Sight::MovedIn);
    desk.pass_ms(2_000);
    desk.look_at(&first);
    assert_eq!((desk.state(B), desk.waiting(), desk.book.pending()), (Some(State::Ignored), 0, 0));
}

#[test]
fn other_rules_do_not_make_a_file_complete_before_its_time() {
    let mut desk = Desk::new(json!({ "settle": "5s" }));
    let found = desk.content(1, 10);
    desk.found(A, &found, Sight::Written);
    desk.pass_ms(1_000);
    let rules = json!({ "paths": ["/in"], "settle": "5s", "order": "name" });
    desk.book.set_files(files(rules), |_| true, &desk.now);
    desk.look_at(&found);
    assert!(desk.take().is_none(), "it was changed a second ago");
    let rules = json!({ "paths": ["/in"], "settle": "3s" });
    desk.book.set_files(files(rules), |_| true, &desk.now);
    desk.pass_ms(2_000);
    desk.look_at(&found);
    assert!(desk.take().is_some(), "three seconds are enough now");
}

#[test]
fn what_rules_beside_the_files_leave_out_is_not_run_for_though_it_was_noticed() {
    let mut desk = Desk::new(json!({ "settle": "2s" }));
    let found = desk.content(1, 10);
    desk.found(A, &found, Sight::Closed);
    let other = desk.content(2, 10);
    desk.found(B, &other, Sight::Closed);
    desk.book.judge_anew(|path| path != Path::new(A), &desk.now);
    desk.pass_ms(2_000);
    desk.look_at(&other);
    let (_, taken) = desk.take().unwrap();
    assert_eq!(taken.input.items[0].path, Path::new(B));
    assert!(desk.take().is_none());
}

#[test]
fn files_of_the_same_moment_come_in_the_order_in_which_they_were_noticed() {
    for settle in ["500ms", "close"] {
        let mut desk = Desk::new(json!({ "settle": settle }));
        let mut all = Vec::new();
        for n in 0..50 {
            // The clocks are read one after the other, sometimes with a moment between.
            let found = desk.content(n, 10);
            let before = desk.now;
            desk.now.instant += Duration::from_micros(n);
            desk.now.time += Duration::from_micros(n * 53 % 100);
            desk.found(&format!("/in/{n}"), &found, Sight::Closed);
            desk.now = before;
            all.push((format!("/in/{n}"), found));
        }
        desk.pass_ms(600);
        desk.look(|path| {
            let found = all.iter().find(|(own, _)| Path::new(own) == path).map(|(_, found)| *found);
            Looked { found, ..Looked::default() }
        });
        let taken: Vec<PathBuf> =
            std::iter::from_fn(|| desk.take()).map(|(_, taken)| taken.input.items[0].path.clone()).collect();
        let expected: Vec<PathBuf> = all.iter().map(|(path, _)| path.into()).collect();
        assert_eq!(taken, expected, "{settle}");
    }
}

#[test]
fn where_no_closing_is_told_of_an_open_file_is_looked_at_soon_again() {
    let mut desk = Desk::new(json!({ "settle": "close", "backend": "poll" }));
    desk.book.set_polled(Path::new("/in"), true);
    let found = desk.content(1, 10);
    desk.found(A, &found, Sight::Scan { first: None });
    desk.pass(FOUND);
    desk.look(|_| Looked { found: Some(found), is_open: true, ..Looked::default() });
    assert!(desk.take().is_none());
    desk.pass(FOUND);
    desk.look_at(&found);
    assert!(desk.take().is_some(), "it is closed, and nobody waited for a minute");
}

#[test]
fn a_file_that_comes_back_after_its_deletion_was_told_is_new_by_whatever_identity() {
    for identity in ["stat", "hash", "path"] {
        let events = ["created", "modified", "deleted"];
        let mut desk = Desk::new(json!({ "events": events, "identity": identity, "settle": "close" }));
        let found = desk.content(1, 10);
        let content = Looked { found: Some(found), hash: Some([7; 32]), ..Looked::default() };
        desk.found(A, &found, Sight::Closed);
        desk.look(|_| content.clone());
        desk.run(Ended::Done);
        desk.pass_ms(1_000);
        assert_eq!(desk.missing(A).map(|noticed| noticed.event), Some(FileEvent::Deleted));
        desk.pass_ms(1_000);
        desk.look(|_| Looked::default());
        let (run, taken) = desk.take().unwrap();
        assert_eq!(taken.input.items[0].event, FileEvent::Deleted, "{identity}");
        desk.book.ended(run, &Ended::Done, &desk.now);
        desk.pass_ms(1_000);
        let noticed = desk.found(A, &found, Sight::MovedIn);
        assert_eq!(noticed.map(|noticed| noticed.event), Some(FileEvent::Created), "{identity}");
        desk.look(|_| content.clone());
        let (run, taken) = desk.take().unwrap_or_else(|| panic!("{identity}: no run"));
        assert_eq!(taken.input.items[0].event, FileEvent::Created, "{identity}");
        desk.book.ended(run, &Ended::Done, &desk.now);
        // Gone and back while the run for that waits: nobody is told of anything.
        desk.pass_ms(1_000);
        desk.missing(A);
        desk.pass_ms(1_000);
        desk.look(|_| Looked::default());
        assert_eq!(desk.book.pending(), 1, "{identity}");
        assert!(desk.found(A, &found, Sight::MovedIn).is_none(), "{identity}");
        assert!(desk.take().is_none() && desk.book.pending() == 0, "{identity}");
    }
}
