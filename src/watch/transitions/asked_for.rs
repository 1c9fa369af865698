//! Which events make runs.

use super::*;

/// How its writer saves a file: under another name, that it takes the place of the first one with.
fn save(desk: &mut Desk, temporary: &str, path: &str, inode: u64, is_complete_before: bool) {
    let found = desk.content(inode, inode);
    desk.found(temporary, &found, Sight::Made);
    if is_complete_before {
        desk.pass_ms(2_000);
        desk.look_at(&found);
    }
    desk.found_beside(path, &found, Sight::MovedIn, Some((temporary.into(), Twin::Gone)));
    desk.pass_ms(2_000);
    desk.look_at(&found);
}

fn events_of(desk: &mut Desk) -> Vec<FileEvent> {
    let taken = std::iter::from_fn(|| desk.take());
    taken.flat_map(|(_, taken)| taken.input.items.iter().map(|item| item.event).collect::<Vec<_>>()).collect()
}

#[test]
fn a_file_that_is_saved_by_a_rename_is_a_modified_one() {
    for is_complete_before in [false, true] {
        let rules = |events: Value| json!({ "settle": "2s", "events": events });
        // Where it counts, whatever counts besides.
        let mut desk = Desk::new(rules(json!(["modified"])));
        let made = desk.content(1, 1);
        assert_eq!(desk.found(A, &made, Sight::Made), None, "nobody is told of what makes no run");
        desk.pass_ms(2_000);
        desk.look_at(&made);
        assert_eq!((desk.state(A), events_of(&mut desk)), (Some(State::Ignored), vec![]));
        save(&mut desk, "/in/new", A, 2, is_complete_before);
        assert_eq!(events_of(&mut desk), [FileEvent::Modified], "{is_complete_before}");
        // Where it does not.
        let mut desk = Desk::new(rules(json!(["created"])));
        desk.done_after_two_seconds(A, 1, 1);
        let temporary = if is_complete_before { vec![FileEvent::Created] } else { vec![] };
        save(&mut desk, "/in/new", A, 2, is_complete_before);
        assert_eq!(events_of(&mut desk), temporary, "the temporary one is one of its own, once it is complete");
    }
    // A file that nobody has run for is new still.
    let mut desk = Desk::new(json!({ "settle": "2s", "events": ["created"] }));
    let made = desk.content(1, 1);
    desk.found(A, &made, Sight::Made);
    save(&mut desk, "/in/new", A, 2, false);
    assert_eq!(events_of(&mut desk), [FileEvent::Created]);
}

#[test]
fn what_is_written_until_a_file_is_complete_is_its_making() {
    let mut desk = Desk::new(json!({ "settle": "2s", "events": ["modified"] }));
    let mut last = desk.content(1, 0);
    for size in 1..4 {
        last = desk.content(1, size);
        desk.found(A, &last, Sight::Written);
        desk.pass_ms(500);
    }
    desk.pass_ms(2_000);
    desk.look_at(&last);
    assert_eq!((desk.state(A), events_of(&mut desk)), (Some(State::Ignored), vec![]));
    let mut desk = desk.crash();
    desk.pass_ms(10);
    let written = desk.content(1, 9);
    desk.found(A, &written, Sight::Written);
    desk.pass_ms(2_000);
    desk.look_at(&written);
    assert_eq!(events_of(&mut desk), [FileEvent::Modified]);
}

/// As logs are rotated: `mv a b`, and another one is made at `a`, all within one look.
#[test]
fn what_is_rotated_is_run_for_once_and_what_takes_its_place_is_new() {
    let rotate = |desk: &mut Desk, is_told_to_be_gone: bool| {
        let old = desk.done_after_two_seconds(A, 1, 1);
        desk.pass_ms(100);
        let new = desk.content(2, 2);
        assert!(desk.book.is_another(Path::new(A), &new) && !desk.book.is_another(Path::new(A), &old));
        if is_told_to_be_gone {
            desk.missing(A);
        }
        desk.found(A, &new, Sight::Made);
        desk.found(B, &old, Sight::MovedIn);
        desk.pass_ms(2_000);
        desk.look(|path| Looked { found: Some(if path == Path::new(A) { new } else { old }), ..Looked::default() });
        std::iter::from_fn(|| desk.take())
            .flat_map(|(_, taken)| taken.input.items.clone())
            .map(|item| (item.path.to_string_lossy().into_owned(), item.event, item.size))
            .collect::<Vec<_>>()
    };
    let mut desk = Desk::new(json!({ "settle": "2s", "events": ["created"] }));
    assert_eq!(rotate(&mut desk, true), [(A.into(), FileEvent::Created, 2)]);
    // Where nothing tells, as where it is polled, it is a change, and makes no run.
    let mut desk = Desk::new(json!({ "settle": "2s", "events": ["created"] }));
    assert_eq!(rotate(&mut desk, false), []);
    let entry = desk.entry(A).unwrap();
    assert_eq!((entry.state, entry.why.as_deref()), (State::Ignored, Some("`modified` is not among `events`")));
    assert_eq!(desk.state(B), Some(State::Done));
    let mut desk = Desk::new(json!({ "settle": "2s", "events": ["created", "modified", "renamed"] }));
    let mut made = rotate(&mut desk, false);
    made.sort();
    assert_eq!(made, [(A.into(), FileEvent::Modified, 2), (B.into(), FileEvent::Renamed, 1)]);
    assert_eq!(desk.entry(B).unwrap().from.as_deref(), Some(Path::new(A)));
    let mut desk = Desk::new(json!({ "settle": "2s", "events": ["created", "deleted"] }));
    assert_eq!(rotate(&mut desk, true), [(A.into(), FileEvent::Created, 2)]);
}
