//! Files that are gone, or seem to be.

use super::*;

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
    let row = FileRow::of(desk.entry(A).unwrap()).unwrap();
    assert!(row.state == State::Seen && !row.is_pending(), "no run is to come");
    let mut desk = desk.crash();
    assert!(
        desk.found(A, &other, Sight::Scan { first: None }).is_some(),
        "what was not run for is, should it come back"
    );
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

/// As a folder is moved: that its files are gone is told of first.
#[test]
fn a_move_is_no_deletion_however_short_files_have_to_hold_still() {
    for settle in ["close", "0s"] {
        let mut desk = Desk::new(json!({ "settle": settle, "events": ["created", "deleted"] }));
        let found = desk.done(A, 5, 1);
        desk.missing(A);
        desk.pass_ms(99);
        assert_eq!(desk.book.due(&desk.now, 99), [], "{settle}");
        desk.found_beside(B, &found, Sight::MovedIn, Some((A.into(), Twin::Gone)));
        desk.pass_ms(2_000);
        desk.look_at(&found);
        assert_eq!((desk.state(B), desk.waiting()), (Some(State::Done), 0), "{settle}");
    }
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

/// It was run for, has changed, and goes before that is: wherever that content turns up, it is run for.
#[test]
fn a_change_that_nobody_has_run_for_is_not_lost_with_the_file() {
    for events in [json!(["created", "modified", "deleted"]), json!(["created", "modified", "renamed", "deleted"])] {
        for (to, is_told) in [(A, false), (A, true), (B, false), (B, true)] {
            let mut desk = Desk::new(json!({ "settle": "close", "events": events }));
            desk.done(A, 5, 1);
            desk.pass_ms(10);
            let changed = desk.stable(A, 5, 2);
            desk.missing(A);
            if is_told {
                desk.pass_ms(100);
                desk.look(|_| Looked::default());
                assert_eq!(desk.state(A), Some(State::Stable));
            }
            desk.found(to, &changed, Sight::MovedIn);
            desk.look_at(&changed);
            let taken: Vec<(PathBuf, u64)> = std::iter::from_fn(|| desk.take())
                .flat_map(|(_, taken)| taken.input.items.clone())
                .filter(|item| item.event != FileEvent::Deleted)
                .map(|item| (item.path, item.size))
                .collect();
            assert_eq!(taken, [(to.into(), 2)], "{events} {is_told}");
        }
    }
}
