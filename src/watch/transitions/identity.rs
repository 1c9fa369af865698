//! What is new, and what is known under another name or in another place.

use super::*;

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
fn a_crash_before_its_run_costs_a_rename_neither_its_name_before_nor_that_it_was_done() {
    for is_complete in [false, true] {
        let mut desk = Desk::new(json!({ "settle": "2s", "events": ["created", "renamed"] }));
        let done = desk.done_after_two_seconds(A, 5, 1);
        desk.found_beside(B, &done, Sight::MovedIn, Some((A.into(), Twin::Gone)));
        if is_complete {
            desk.pass_ms(2_000);
            desk.look_at(&done);
        }
        let mut desk = desk.crash();
        desk.found(B, &done, Sight::Scan { first: None });
        desk.pass_ms(2_000);
        desk.look_at(&done);
        assert_eq!(desk.entry(B).unwrap().content(), State::Done);
        let (_, taken) = desk.take().expect("it is run for");
        let item = &taken.input.items[0];
        assert_eq!((item.event, item.from.as_deref()), (FileEvent::Renamed, Some(Path::new(A))), "{is_complete}");
    }
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
