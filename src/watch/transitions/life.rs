//! A file from its first sight to what became of its run.

use super::*;

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
fn a_long_reason_is_cut_in_the_ledger() {
    let mut desk = Desk::new(close());
    desk.stable(A, 5, 1);
    desk.run(Ended::Failed("\u{1}é".repeat(100_000)));
    let loaded = desk.remembered();
    let id = loaded.entries.by_path(Path::new(A)).unwrap();
    assert_eq!(loaded.entries.get(id).unwrap().why.as_deref().map(|why| why.chars().count()), Some(1_000));
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

/// What was done is known still, whatever was to be told of it when it was left out.
#[test]
fn what_is_not_meant_for_a_while_is_not_done_twice() {
    let (out, back) = (|_: &Path| false, |_: &Path| true);
    let rules = |events: Value| json!({ "settle": "2s", "events": events });
    // It was renamed, and that was to make a run.
    for is_complete in [false, true] {
        let mut desk = Desk::new(rules(json!(["created", "modified", "renamed"])));
        let done = desk.done_after_two_seconds(A, 5, 1);
        desk.found_beside(B, &done, Sight::MovedIn, Some((A.into(), Twin::Gone)));
        assert_eq!(desk.state(B), Some(State::Seen));
        if is_complete {
            desk.pass_ms(2_000);
            desk.look_at(&done);
            assert_eq!(desk.state(B), Some(State::Stable));
        }
        let files = desk.book.files().clone();
        desk.book.set_files(files.clone(), out, &desk.now);
        assert_eq!((desk.state(B), desk.book.pending()), (Some(State::Done), 0));
        let mut desk = desk.crash();
        desk.book.set_files(files, back, &desk.now);
        assert_eq!(desk.found(B, &done, Sight::Scan { first: None }), None, "complete: {is_complete}");
    }
    // It was gone, and nobody was told.
    for is_complete in [false, true] {
        let mut desk = Desk::new(rules(json!(["created", "modified", "deleted"])));
        let done = desk.done_after_two_seconds(A, 5, 1);
        desk.missing(A);
        if is_complete {
            desk.pass_ms(2_000);
            desk.look(|_| Looked::default());
            assert_eq!(desk.state(A), Some(State::Stable));
        }
        let files = desk.book.files().clone();
        desk.book.set_files(files.clone(), out, &desk.now);
        assert_eq!((desk.state(A), desk.book.pending()), (Some(State::Done), 0));
        let mut desk = desk.crash();
        desk.book.set_files(files, back, &desk.now);
        assert_eq!(desk.found(A, &done, Sight::Scan { first: None }), None, "complete: {is_complete}");
    }
    // It was written to, and became what it was: as with a clock that is set, or `touch -r`.
    let mut desk = Desk::new(rules(json!(["created", "modified"])));
    let done = desk.done_after_two_seconds(A, 5, 1);
    desk.pass_ms(10);
    let changed = desk.content(5, 2);
    desk.found(A, &changed, Sight::Written);
    let files = desk.book.files().clone();
    desk.book.set_files(files.clone(), out, &desk.now);
    let mut desk = desk.crash();
    desk.book.set_files(files, back, &desk.now);
    assert_eq!(desk.found(A, &done, Sight::Scan { first: None }), None);
    assert!(desk.found(A, &changed, Sight::Scan { first: None }).is_some(), "and what it became is new");
    // A failure is one still.
    let mut desk = Desk::new(rules(json!(["created", "modified"])));
    let failed = desk.stable(A, 5, 1);
    desk.pass_ms(2_000);
    desk.look_at(&failed);
    desk.run(Ended::Failed("exit code 1".into()));
    desk.pass_ms(10);
    let changed = desk.content(5, 2);
    desk.found(A, &changed, Sight::Written);
    let files = desk.book.files().clone();
    desk.book.set_files(files, out, &desk.now);
    assert_eq!((desk.state(A), desk.entry(A).unwrap().why.as_deref()), (Some(State::Failed), Some("exit code 1")));
}

/// A copy is ignored because of a file that is left out now: it is run for, unless it is left out as well.
#[test]
fn what_was_ignored_because_of_what_is_not_meant_is_looked_at() {
    for is_meant in [true, false] {
        let mut desk = Desk::new(json!({ "settle": "close", "identity": "hash" }));
        desk.stable_of(A, 5, [1; 32]);
        let copy = desk.stable_of(B, 6, [1; 32]);
        assert_eq!((desk.state(B), desk.waiting()), (Some(State::Ignored), 1));
        assert!(desk.book.pending_paths().contains(&B.into()), "it is judged as well");
        desk.book.judge_anew(|path| is_meant && path == Path::new(B), &desk.now);
        desk.look(|_| hashed(&copy, [1; 32]));
        let expected = if is_meant { Some(State::Stable) } else { None };
        assert_eq!((desk.state(A), desk.state(B)), (None, expected));
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
