//! When a file is complete.

use super::*;

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

#[test]
fn closing_counts_where_that_is_asked_for() {
    let mut desk = Desk::new(close());
    let found = desk.content(5, 1);
    desk.found(A, &found, Sight::Made);
    desk.found(A, &found, Sight::Written);
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

/// As with `O_TMPFILE` and linkat(2): nothing told of its writes, and nothing tells of its closing.
#[test]
fn a_file_that_was_written_before_it_had_a_name_is_not_waited_for_for_long() {
    let mut desk = Desk::new(close());
    let found = desk.content(5, 1);
    desk.found(A, &found, Sight::Made);
    desk.pass(FOUND - Duration::from_millis(1));
    assert_eq!(desk.book.due(&desk.now, 99), []);
    desk.pass_ms(1);
    desk.look(|_| Looked { found: Some(found), is_open: true, ..Looked::default() });
    desk.pass(SILENT_WRITER - Duration::from_millis(1));
    assert_eq!(desk.book.due(&desk.now, 99), [], "somebody has it open: it is not looked for each time");
    desk.pass_ms(1);
    desk.look_at(&found);
    assert_eq!(desk.state(A), Some(State::Stable));
    // What is empty is about to be written to.
    let empty = desk.content(6, 0);
    desk.found(B, &empty, Sight::Made);
    desk.pass(SILENT_WRITER - Duration::from_millis(1));
    assert_eq!(desk.book.due(&desk.now, 99), []);
}

/// As rsync writes: into `.name.XXXXXX`, which it closes and renames.
#[test]
fn the_closing_of_a_hidden_file_is_no_end_and_its_rename_is() {
    let mut desk = Desk::new(close());
    let found = desk.content(5, 1);
    desk.found("/in/.a.Xy12ab", &found, Sight::Made);
    desk.found("/in/.a.Xy12ab", &found, Sight::Closed);
    desk.pass(FOUND - Duration::from_millis(1));
    assert_eq!(desk.book.due(&desk.now, 99), []);
    desk.found_beside(A, &found, Sight::MovedIn, Some(("/in/.a.Xy12ab".into(), Twin::Gone)));
    desk.look_at(&found);
    assert_eq!(desk.state(A), Some(State::Stable));
    // One that keeps its name is complete as what a scan finds.
    let found = desk.content(6, 1);
    desk.found("/in/.b", &found, Sight::Closed);
    desk.pass(FOUND - Duration::from_millis(1));
    assert_eq!(desk.book.due(&desk.now, 99), []);
    desk.pass_ms(1);
    let due = desk.book.due(&desk.now, 99);
    assert!(due.len() == 1 && !due[0].open, "nobody is looked for who has it open: it was closed");
    desk.book.looked(due[0].id, Looked { found: Some(found), ..Looked::default() }, &desk.now);
    assert_eq!(desk.state("/in/.b"), Some(State::Stable));
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
