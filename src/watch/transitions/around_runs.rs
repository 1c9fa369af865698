//! What changes just before a run, during it, and because of it.

use super::*;

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
fn a_further_attempt_is_for_what_the_run_has_under_the_names_that_it_has_by_now() {
    let mut desk = Desk::new(json!({ "settle": "close", "batch": { "mode": "all", "wait": "0s" } }));
    let found = desk.stable(A, 5, 1);
    desk.stable("/in/gone", 6, 1);
    let run = RunId::from_u128(9);
    let taken = desk.book.take(run, &desk.now).unwrap();
    let paths = |items: &[Item]| items.iter().map(|item| item.path.clone()).collect::<Vec<_>>();
    assert_eq!(paths(&taken.input.items), [Path::new(A), Path::new("/in/gone")]);
    desk.book.keep(run, &[(Path::new(A), LastLook::Found(found)), (Path::new("/in/gone"), LastLook::Gone)], &desk.now);
    desk.found_beside(B, &found, Sight::MovedIn, Some((A.into(), Twin::Gone)));
    assert_eq!(paths(&desk.book.items_again(run)), [Path::new(B)], "and not for what was given back");
    // It failed though it knew.
    desk.book.ended(run, &Ended::Failed("exit code 1".into()), &desk.now);
    assert_eq!((desk.state(B), desk.waiting()), (Some(State::Failed), 0));
    // What has gone stands at the name that it had, as far as anybody knows.
    let other = desk.stable(A, 7, 1);
    let (run, _) = desk.take().unwrap();
    let replacing = desk.content(8, 2);
    desk.found("/in/new", &replacing, Sight::Made);
    desk.found_beside(A, &replacing, Sight::MovedIn, Some(("/in/new".into(), Twin::Gone)));
    let again = desk.book.items_again(run);
    assert_eq!((paths(&again), again[0].size), (vec![A.into()], other.stat.size));
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
