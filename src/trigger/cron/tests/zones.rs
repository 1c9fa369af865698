//! Every transition of every zone from 2000 to 2037 against the plain rules.

use std::collections::HashSet;

use jiff::tz::{self, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::super::Cron;
use super::cron;
use super::oracle::{Numbers, Plain, clock};

fn expressions() -> Vec<(Plain, Cron)> {
    let (day, month, weekday) = (Numbers::all(1, 31), Numbers::all(1, 12), Numbers::all(0, 6));
    let with = |minute: Numbers, hour: Numbers| {
        let (day, month, weekday) = (day.clone(), month.clone(), weekday.clone());
        let plain = Plain { minute, hour, day, month, weekday };
        let cron = cron(&plain.text());
        (plain, cron)
    };
    vec![
        with(Numbers::new("*/20", [0, 20, 40]), Numbers::all(0, 23)),
        with(Numbers::new("30", [30]), Numbers::new("*/2", (0..24).step_by(2))),
        with(Numbers::new("0", [0]), Numbers::new("0", [0])),
        with(Numbers::all(0, 59), Numbers::new("1-2", [1, 2])),
        with(Numbers::new("15,45", [15, 45]), Numbers::new("0-3,22,23", [0, 1, 2, 3, 22, 23])),
    ]
}

/// The moments from 2000 to 2037 at which the clock of the zone is moved, and by how much, in seconds.
fn moves(zone: &TimeZone) -> Vec<(Timestamp, i32)> {
    let start = Timestamp::from_second(946_684_800).expect("in range");
    let end = Timestamp::from_second(2_145_916_800).expect("in range");
    let mut offset = zone.to_offset(start).seconds();
    let mut moves = Vec::new();
    for transition in zone.following(start).take_while(|next| next.timestamp() < end) {
        let new = transition.offset().seconds();
        if new != offset {
            moves.push((transition.timestamp(), new - offset));
        }
        offset = new;
    }
    moves
}

#[test]
fn every_transition_agrees_with_the_plain_rules() {
    let expressions = expressions();
    let mut looked_at = HashSet::new();
    let mut transitions = 0;
    for name in tz::db().available() {
        let Ok(zone) = TimeZone::get(name.as_str()) else {
            continue;
        };
        let moves = moves(&zone);
        // Links and zones that moved alike since 2000 need one look for each standard offset.
        let offset = zone.to_offset(Timestamp::UNIX_EPOCH + SignedDuration::from_hours(300_000)).seconds();
        if !looked_at.insert((offset, moves.clone())) {
            continue;
        }
        for (at, by) in moves {
            transitions += 1;
            let length = SignedDuration::from_secs(i64::from(by.abs()));
            let margin = SignedDuration::from_mins(90);
            let (from, until) = (at - margin, at + margin + length);
            let clock = clock(&zone, from, until, length);
            for (plain, cron) in &expressions {
                let mut after = from - SignedDuration::from_secs(1);
                let mut found = Vec::new();
                while let Some(due) = cron.next_after(after, &zone).filter(|due| *due < until) {
                    found.push(due);
                    after = due;
                }
                assert_eq!(found, plain.due(&clock), "{} in {} at {at}", plain.text(), name.as_str());
            }
        }
    }
    assert!(transitions > 5_000, "only {transitions} transitions");
}
