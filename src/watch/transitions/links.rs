//! Links to files.

use super::*;

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
