//! What becomes of a file while something else than its content is to be run for, and somebody edits the job meanwhile.

use super::*;

const X: &str = "/in/c";

fn with(events: &[&str]) -> Value {
    json!({ "settle": "close", "events": events })
}

impl Desk {
    /// An edit leaves all out, and another one takes that back.
    fn is_left_out_for_a_while(&mut self) {
        let files = self.book.files().clone();
        self.book.set_files(files.clone(), |_| false, &self.now);
        assert_eq!((self.book.pending(), self.waiting()), (0, 0));
        self.book.set_files(files, |_| true, &self.now);
    }

    /// It was moved there, and stands where it was no more.
    fn moved(&mut self, from: &str, to: &str, found: &Found) -> Option<Noticed> {
        self.found_beside(to, found, Sight::MovedIn, Some((from.into(), Twin::Gone)))
    }

    fn scanned(&mut self, path: &str, found: &Found) -> Option<FileEvent> {
        self.found(path, found, Sight::Scan { first: None }).map(|noticed| noticed.event)
    }

    /// Another content, later.
    fn later(&mut self, inode: u64, size: u64) -> Found {
        self.pass_ms(10);
        self.content(inode, size)
    }

    /// All that is to be run for is, and succeeds: by path, event and size.
    fn runs(&mut self) -> Vec<(String, FileEvent, u64)> {
        let mut made = Vec::new();
        while let Some((run, taken)) = self.take() {
            let items = taken.input.items.iter();
            made.extend(items.map(|item| (item.path.to_string_lossy().into_owned(), item.event, item.size)));
            self.book.ended(run, &Ended::Done, &self.now);
        }
        made
    }
}

fn made(path: &str, event: FileEvent, size: u64) -> Vec<(String, FileEvent, u64)> {
    vec![(path.into(), event, size)]
}

#[test]
fn a_rename_after_a_moment_in_which_it_seemed_gone_is_one_of_what_was_done() {
    let mut desk = Desk::new(with(&["created", "modified", "renamed", "deleted"]));
    let done = desk.done(A, 5, 1);
    desk.missing(A);
    desk.moved(A, B, &done);
    assert_eq!(desk.entry(B).unwrap().content(), State::Done);
    desk.is_left_out_for_a_while();
    assert_eq!(desk.scanned(B, &done), None);
}

#[test]
fn another_file_in_the_place_of_one_whose_deletion_is_to_be_told_is_run_for() {
    for (events, event) in
        [(["created", "deleted"], FileEvent::Created), (["modified", "deleted"], FileEvent::Modified)]
    {
        let mut desk = Desk::new(with(&["created", "modified"]));
        let done = desk.done(A, 5, 1);
        let other = files(json!({ "paths": ["/in"], "settle": "close", "events": events }));
        desk.book.set_files(other, |_| true, &desk.now);
        desk.missing(A);
        desk.pass_ms(100);
        desk.look(|_| Looked::default());
        assert_eq!(desk.state(A), Some(State::Stable));
        let new = desk.later(6, 2);
        desk.found(A, &new, Sight::Closed);
        desk.look_at(&new);
        assert_eq!(desk.runs(), made(A, event, 2));
        assert_eq!(desk.found(B, &done, Sight::MovedIn), None, "that is known");
    }
}

#[test]
fn a_run_that_was_cut_short_while_its_file_went_is_made_once_it_is_back() {
    for is_crash in [true, false] {
        let mut desk = Desk::new(with(&["created", "deleted"]));
        let found = desk.stable(A, 5, 1);
        let (run, _) = desk.take().unwrap();
        desk.missing(A);
        desk.book.ended(run, &Ended::Again, &desk.now);
        if is_crash {
            desk = desk.crash();
        } else {
            desk.pass_ms(100);
            desk.look(|_| Looked::default());
        }
        desk.found(A, &found, Sight::MovedIn);
        desk.look_at(&found);
        assert_eq!(desk.runs(), made(A, FileEvent::Created, 1));
    }
}

#[test]
fn what_failed_has_failed_still_when_it_is_back_after_a_crash() {
    let mut desk = Desk::new(with(&["created", "modified", "deleted"]));
    let found = desk.stable(A, 5, 1);
    desk.run(Ended::Failed("exit code 1".into()));
    desk.missing(A);
    let mut desk = desk.crash();
    desk.found(A, &found, Sight::MovedIn);
    desk.look_at(&found);
    assert_eq!((desk.state(A), desk.waiting()), (Some(State::Failed), 0));
}

#[test]
fn a_link_to_a_change_that_nobody_has_run_for_is_run_for() {
    for is_gone in [true, false] {
        let mut desk = Desk::new(json!({ "settle": "2s" }));
        desk.done_after_two_seconds(A, 5, 1);
        let changed = desk.later(5, 2);
        desk.found(A, &changed, Sight::Written);
        desk.found_beside(B, &changed, Sight::Made, Some((A.into(), Twin::There)));
        assert_eq!(desk.state(B), Some(State::Ignored));
        match is_gone {
            true => drop(desk.missing(A)),
            false => desk.book.judge_anew(|path| path == Path::new(B), &desk.now),
        }
        desk.look_at(&changed);
        assert_eq!(desk.runs(), made(B, FileEvent::Created, 2));
    }
}

#[test]
fn a_link_to_what_was_done_is_not_run_for_whatever_is_to_come_of_that() {
    let mut desk = Desk::new(with(&["created", "modified", "renamed"]));
    let done = desk.done(A, 5, 1);
    desk.moved(A, B, &done);
    desk.found_beside(X, &done, Sight::Made, Some((B.into(), Twin::There)));
    desk.missing(B);
    let other = desk.later(6, 2);
    desk.found(B, &other, Sight::Closed);
    desk.missing(B);
    desk.look_at(&done);
    assert_eq!((desk.state(X), desk.waiting()), (Some(State::Ignored), 0));
}

#[test]
fn what_came_where_a_file_was_is_new_again_after_it_was_left_out() {
    // Of another file, of the same one, and after the deletion was told.
    for way in 0..3 {
        let events: &[&str] = if way == 2 { &["created", "deleted"] } else { &["created"] };
        let mut desk = Desk::new(with(events));
        desk.done(A, 5, 1);
        desk.missing(A);
        if way == 2 {
            desk.pass_ms(100);
            desk.look(|_| Looked::default());
            assert_eq!(desk.runs().len(), 1);
        }
        for is_complete in [false, true] {
            let new = desk.later(if way == 0 { 6 } else { 5 }, 2);
            desk.found(A, &new, Sight::Closed);
            if is_complete {
                desk.look_at(&new);
            }
            desk.is_left_out_for_a_while();
            assert_eq!(desk.scanned(A, &new), Some(FileEvent::Created), "{way} {is_complete}");
            desk.pass(FOUND);
            desk.look_at(&new);
            assert_eq!(desk.waiting(), 1);
            desk.missing(A);
        }
    }
}

#[test]
fn a_change_is_one_again_after_it_was_left_out() {
    let mut desk = Desk::new(with(&["modified"]));
    desk.stable(A, 5, 1);
    assert_eq!(desk.state(A), Some(State::Ignored));
    let changed = desk.later(5, 2);
    for is_complete in [false, true] {
        desk.found(A, &changed, Sight::Closed);
        if is_complete {
            desk.look_at(&changed);
            assert_eq!(desk.waiting(), 1);
        }
        desk.is_left_out_for_a_while();
    }
    assert_eq!(desk.scanned(A, &changed), Some(FileEvent::Modified));
}

#[test]
fn a_change_of_what_was_renamed_is_run_for_though_renames_do_not_count_any_more() {
    let mut desk = Desk::new(with(&["created", "modified", "renamed"]));
    let done = desk.done(A, 5, 1);
    desk.moved(A, B, &done);
    let changed = desk.later(5, 2);
    desk.found(B, &changed, Sight::Closed);
    let fewer = files(json!({ "paths": ["/in"], "settle": "close", "events": ["created", "modified"] }));
    desk.book.set_files(fewer, |_| true, &desk.now);
    desk.look_at(&changed);
    assert_eq!(desk.runs(), made(B, FileEvent::Modified, 2));
}

#[test]
fn a_copy_that_waits_for_something_else_is_run_for_once_what_it_was_ignored_for_has_gone() {
    let rules = || json!({ "settle": "close", "identity": "hash", "events": ["created", "modified", "renamed"] });
    // It is renamed, asked for again, or has gone for a moment.
    for way in 0..3 {
        let mut desk = Desk::new(rules());
        desk.stable_of(A, 5, [1; 32]);
        let copy = desk.stable_of(B, 6, [1; 32]);
        assert_eq!(desk.state(B), Some(State::Ignored));
        let path = match way {
            0 => {
                desk.moved(B, X, &copy);
                X
            }
            1 => {
                desk.book.replay(Path::new(B), Some(&copy), &desk.now).unwrap();
                B
            }
            _ => {
                desk.missing(B);
                B
            }
        };
        desk.missing(A);
        if way == 2 {
            desk.found(B, &copy, Sight::MovedIn);
        } else {
            desk.is_left_out_for_a_while();
            assert!(desk.scanned(path, &copy).is_some(), "{way}");
            desk.pass(FOUND);
        }
        desk.look(|_| hashed(&copy, [1; 32]));
        assert_eq!(desk.waiting(), 1, "{way}");
    }
}

#[test]
fn a_crash_in_the_run_for_a_rename_makes_its_content_no_new_one() {
    let mut desk = Desk::new(with(&["created", "modified", "renamed"]));
    let done = desk.done(A, 5, 1);
    desk.moved(A, B, &done);
    desk.look_at(&done);
    desk.take().unwrap();
    let mut desk = desk.crash();
    desk.is_left_out_for_a_while();
    assert_eq!((desk.scanned(B, &done), desk.state(B)), (None, Some(State::Done)));
}

#[test]
fn what_is_run_for_again_by_request_is_so_though_the_runner_is_killed_in_the_middle() {
    let mut desk = Desk::new(close());
    let done = desk.done(A, 5, 1);
    desk.book.replay(Path::new(A), Some(&done), &desk.now).unwrap();
    desk.look_at(&done);
    desk.take().unwrap();
    let mut desk = desk.crash();
    desk.scanned(A, &done);
    desk.pass(FOUND);
    desk.look_at(&done);
    assert_eq!(desk.runs(), made(A, FileEvent::Created, 1));
}

#[test]
fn what_is_asked_for_again_without_a_runner_was_done_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (path, ledger) = (dir.path().join("a"), dir.path().join("ledger.log"));
    std::fs::write(&path, "x").unwrap();
    let found = crate::watch::file_at(&path).unwrap().unwrap();
    let mut desk = Desk::new(close());
    let name = path.to_string_lossy().into_owned();
    desk.found(&name, &found, Sight::Closed);
    desk.look_at(&found);
    desk.run(Ended::Done);
    desk.remembered();
    std::fs::write(&ledger, &desk.ledger).unwrap();
    let replayed = crate::watch::replay::replay_offline(&ledger, &Selection::default(), false).unwrap();
    assert_eq!(replayed.files, [name.as_str()]);
    let loaded = ledger::load(&ledger).unwrap();
    let mut desk = Desk::remembering(close(), loaded, desk.now);
    desk.is_left_out_for_a_while();
    assert_eq!((desk.scanned(&name, &found), desk.state(&name)), (None, Some(State::Done)));
}

/// It waits for a run, as it has another name.
fn renamed_and_waiting() -> (Desk, Found) {
    let mut desk = Desk::new(with(&["created", "modified", "renamed"]));
    let done = desk.done(A, 5, 1);
    desk.moved(A, B, &done);
    desk.look_at(&done);
    assert_eq!((desk.state(B), desk.waiting()), (Some(State::Stable), 1));
    (desk, done)
}

#[test]
fn another_file_in_the_place_of_one_that_was_renamed_is_a_change_and_that_one_is_known() {
    // While it waits for its run, and before it is complete.
    for is_complete in [true, false] {
        let (mut desk, done) = match is_complete {
            true => renamed_and_waiting(),
            false => {
                let mut desk = Desk::new(with(&["created", "modified", "renamed"]));
                let done = desk.done(A, 5, 1);
                desk.moved(A, B, &done);
                (desk, done)
            }
        };
        let other = desk.later(6, 2);
        desk.found(B, &other, Sight::MovedIn);
        let noticed = desk.found(X, &done, Sight::MovedIn);
        assert!(noticed.is_none_or(|noticed| noticed.event == FileEvent::Renamed));
        desk.look(|path| Looked { found: Some(if path == Path::new(B) { other } else { done }), ..Looked::default() });
        let mut runs = desk.runs();
        runs.retain(|(_, event, _)| *event != FileEvent::Renamed);
        assert_eq!(runs, made(B, FileEvent::Modified, 2));
    }
}

#[test]
fn a_run_for_a_rename_that_is_cut_short_makes_the_content_no_new_one() {
    let (mut desk, done) = renamed_and_waiting();
    let (run, _) = desk.take().unwrap();
    let other = desk.later(6, 2);
    desk.found(B, &other, Sight::MovedIn);
    desk.book.ended(run, &Ended::Again, &desk.now);
    desk.found(X, &done, Sight::MovedIn);
    desk.look(|path| Looked { found: Some(if path == Path::new(B) { other } else { done }), ..Looked::default() });
    let mut runs = desk.runs();
    runs.retain(|(_, event, _)| *event != FileEvent::Renamed);
    assert_eq!(runs.into_iter().map(|(_, _, size)| size).collect::<Vec<_>>(), [2]);
}

#[test]
fn what_is_given_back_as_another_file_took_its_place_is_known_if_it_was_done() {
    let (mut desk, done) = renamed_and_waiting();
    let known = desk.content(8, 8);
    desk.found("/in/y", &known, Sight::Closed);
    let run = RunId::from_u128(99);
    desk.book.take(run, &desk.now).unwrap();
    desk.moved("/in/y", B, &known);
    desk.book.keep(run, &[(Path::new(B), LastLook::Found(known))], &desk.now);
    let noticed = desk.found(X, &done, Sight::MovedIn);
    assert!(noticed.is_none_or(|noticed| noticed.event == FileEvent::Renamed));
}

#[test]
fn the_hash_of_what_was_done_is_not_forgotten_with_the_run_for_its_rename() {
    let mut desk =
        Desk::new(json!({ "settle": "close", "identity": "hash", "events": ["created", "modified", "renamed"] }));
    let done = desk.stable_of(A, 5, [1; 32]);
    desk.run(Ended::Done);
    desk.moved(A, B, &done);
    desk.look(|_| hashed(&done, [1; 32]));
    let mut desk = desk.crash();
    desk.is_left_out_for_a_while();
    let touched = desk.later(5, 1);
    desk.found(B, &touched, Sight::Closed);
    desk.look(|_| hashed(&touched, [1; 32]));
    assert_eq!((desk.state(B), desk.waiting()), (Some(State::Done), 0));
    // It is touched before it is complete under its new name.
    desk.moved(B, X, &touched);
    let again = desk.later(5, 1);
    desk.found(X, &again, Sight::Closed);
    desk.look(|_| hashed(&again, [1; 32]));
    assert_eq!(desk.entry(X).unwrap().content(), State::Done);
}

/// `mv a c; ln b a`.
#[test]
fn what_a_link_takes_the_place_of_is_known_still() {
    let mut desk = Desk::new(close());
    let a = desk.done(A, 5, 1);
    desk.pass_ms(10);
    let b = desk.done(B, 6, 1);
    desk.found_beside(A, &b, Sight::Made, Some((B.into(), Twin::There)));
    assert_eq!(desk.found(X, &a, Sight::MovedIn), None);
    assert_eq!((desk.state(A), desk.state(X)), (Some(State::Ignored), Some(State::Done)));
}

#[test]
fn a_link_takes_the_place_of_a_file_and_its_run_goes_along_with_that() {
    let mut desk = Desk::new(close());
    let b = desk.done(B, 6, 1);
    desk.pass_ms(10);
    let a = desk.stable(A, 5, 1);
    let (run, _) = desk.take().unwrap();
    desk.found_beside(A, &b, Sight::Made, Some((B.into(), Twin::There)));
    assert_eq!(desk.found(X, &a, Sight::MovedIn), None);
    assert_eq!((desk.state(A), desk.state(X)), (Some(State::Ignored), Some(State::Running)));
    desk.book.ended(run, &Ended::Done, &desk.now);
    assert_eq!((desk.state(A), desk.state(X), desk.book.pending()), (Some(State::Ignored), Some(State::Done), 0));
}

#[test]
fn a_rename_during_a_run_has_its_name_before_after_a_crash() {
    let mut desk = Desk::new(with(&["created", "renamed"]));
    let found = desk.stable(A, 5, 1);
    let (run, _) = desk.take().unwrap();
    desk.moved(A, B, &found);
    desk.book.ended(run, &Ended::Done, &desk.now);
    let mut desk = desk.crash();
    desk.scanned(B, &found);
    desk.look_at(&found);
    desk.pass(FOUND);
    desk.look_at(&found);
    let (_, taken) = desk.take().unwrap();
    assert_eq!(taken.input.items[0].from.as_deref(), Some(Path::new(A)));
}

#[test]
fn the_ledger_names_no_run_that_does_not_get_the_file() {
    let mut desk = Desk::new(close());
    let found = desk.stable(A, 5, 1);
    let run = RunId::from_u128(7);
    desk.book.take(run, &desk.now).unwrap();
    desk.missing(A);
    desk.book.keep(run, &[(Path::new(A), LastLook::Gone)], &desk.now);
    desk.look(|_| Looked::default());
    desk.remembered();
    assert!(!String::from_utf8_lossy(&desk.ledger).contains("running"));
    assert!(desk.found(A, &found, Sight::MovedIn).is_some());
}
