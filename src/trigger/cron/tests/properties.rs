//! Random expressions in random zones against the plain rules; random texts against panics.

use jiff::civil::{Date, Weekday, date};
use jiff::{SignedDuration, Timestamp, Unit};
use proptest::prelude::*;
use proptest::sample::select;

use super::super::Cron;
use super::oracle::{Numbers, Plain, clock};
use super::{cron, zone};

const ZONES: [&str; 11] = [
    "Europe/London",
    "America/New_York",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Africa/Casablanca",
    "America/Sao_Paulo",
    "Asia/Kathmandu",
    "Asia/Gaza",
    "America/Nuuk",
    "Antarctica/Troll",
    "UTC",
];

/// A field whose values lie in `first..=last`; `stars` in ten are `*`.
fn numbers(first: i8, last: i8, stars: u32) -> impl Strategy<Value = Numbers> {
    let value = first..=last;
    let step = 1..=last.min(30);
    prop_oneof![
        stars => Just(Numbers::all(first, last)),
        2 => step.clone().prop_map(move |step| {
            Numbers::new(&format!("*/{step}"), (first..=last).step_by(step as usize))
        }),
        3 => value.clone().prop_map(|value| Numbers::new(&value.to_string(), [value])),
        2 => prop::collection::vec(value.clone(), 2..5).prop_map(|values| {
            let text: Vec<String> = values.iter().map(ToString::to_string).collect();
            Numbers::new(&text.join(","), values)
        }),
        2 => (value.clone(), value, step).prop_map(|(a, b, step)| {
            let (a, b) = (a.min(b), a.max(b));
            Numbers::new(&format!("{a}-{b}/{step}"), (a..=b).step_by(step as usize))
        }),
        1 => Just(Numbers::new(&format!("{first}-{last}"), first..=last)),
    ]
}

fn plain() -> impl Strategy<Value = Plain> {
    (numbers(0, 59, 4), numbers(0, 23, 6), numbers(1, 31, 12), numbers(1, 12, 30), numbers(0, 6, 12))
        .prop_map(|(minute, hour, day, month, weekday)| Plain { minute, hour, day, month, weekday })
}

/// A whole minute between 2001 and 2037, on most days near a transition of the zone.
fn place(name: &'static str) -> impl Strategy<Value = Timestamp> {
    (978_307_200_i64..2_114_380_800, -30_i64 * 60..10 * 60, 0..10).prop_map(move |(second, near, far)| {
        let somewhere = Timestamp::from_second(second).expect("in range");
        let next = zone(name).following(somewhere).next().map(|next| next.timestamp());
        match next {
            Some(transition) if far < 8 => transition + SignedDuration::from_mins(near),
            _ => somewhere.round(Unit::Minute).expect("in range"),
        }
    })
}

fn zone_and_place() -> impl Strategy<Value = (&'static str, Timestamp)> {
    select(&ZONES).prop_flat_map(|name| (Just(name), place(name)))
}

/// Every due time after `after` and before `until`.
fn all_due(cron: &Cron, zone: &jiff::tz::TimeZone, after: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    std::iter::successors(cron.next_after(after, zone), |due| cron.next_after(*due, zone))
        .take_while(|due| *due < until)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn agrees_with_the_plain_rules(plain in plain(), (name, from) in zone_and_place(), asks in prop::collection::vec(0_i64..3 * 86_400_000, 20)) {
        let text = plain.text();
        let Ok(cron) = Cron::parse(&text, "job") else {
            // Only a date that does not exist is refused.
            prop_assert!(!(0..9 * 366).any(|day| {
                let noon = date(2000, 1, 1).at(0, 0, 0, 0) + SignedDuration::from_hours(24 * day);
                let any = Plain { minute: Numbers::all(0, 59), hour: Numbers::all(0, 23), ..plain.clone() };
                any.matches(noon)
            }), "{} is refused", text);
            return Ok(());
        };
        let zone = zone(name);
        let until = from + SignedDuration::from_hours(72);
        let expected = plain.due(&clock(&zone, from, until, SignedDuration::from_hours(50)));
        let found = all_due(&cron, &zone, from - SignedDuration::from_nanos(1), until);
        prop_assert!(found == expected, "{text} in {name} from {from}: {found:?}, expected {expected:?}");
        for ask in asks {
            let after = from + SignedDuration::from_millis(ask);
            let expected = expected.iter().find(|due| **due > after).copied();
            let found = cron.next_after(after, &zone).filter(|due| *due < until);
            prop_assert!(found == expected, "{text} in {name} after {after}: {found:?}, expected {expected:?}");
        }
    }

    #[test]
    fn special_days_agree_with_the_calendar(
        month in select(&[("L", 0_u8), ("L-2", 1), ("LW", 2), ("15W", 3), ("1W", 4), ("31W", 5), ("30", 6), ("*", 7)]),
        week in select(&[("5L", 0_u8), ("mon#1", 1), ("wed#5", 2), ("6,0", 3), ("*", 4)]),
        start in (2000_i16..2090, 1_i8..=12),
    ) {
        let cron = cron(&format!("0 0 {} * {}", month.0, week.0));
        let first = date(start.0, start.1, 1);
        let after = first.to_zoned(jiff::tz::TimeZone::UTC).expect("in range").timestamp() - SignedDuration::from_secs(1);
        let days: Vec<Date> = first.series(jiff::Span::new().days(1)).take(400).collect();
        let expected: Vec<Date> = days.iter().copied().filter(|day| {
            let (by_month, by_week) = (month_day(month.1, *day), week_day(week.1, *day));
            if month.0 == "*" || week.0 == "*" { by_month && by_week } else { by_month || by_week }
        }).collect();
        let until = after + SignedDuration::from_hours(24 * 400);
        let utc = jiff::tz::TimeZone::UTC;
        let found: Vec<Date> = all_due(&cron, &utc, after, until).into_iter().map(|due| utc.to_datetime(due).date()).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn dates_agree_over_years(
        (day, month, weekday) in (numbers(1, 31, 4), numbers(1, 12, 4), numbers(0, 6, 4)),
        start in (1970_i16..2094, 1_i8..=12),
    ) {
        let midnight = || Numbers::new("0", [0]);
        let plain = Plain { minute: midnight(), hour: midnight(), day, month, weekday };
        let text = plain.text();
        let utc = jiff::tz::TimeZone::UTC;
        let first = utc.to_timestamp(date(start.0, start.1, 1).at(0, 0, 0, 0)).expect("in range");
        let days = (0..365 * 5).map(|day| first + SignedDuration::from_hours(24 * day));
        let expected: Vec<Timestamp> = days.filter(|day| plain.matches(utc.to_datetime(*day))).collect();
        let Ok(cron) = Cron::parse(&text, "job") else {
            prop_assert_eq!(expected, []);
            return Ok(());
        };
        let until = first + SignedDuration::from_hours(24 * 365 * 5);
        let found = all_due(&cron, &utc, first - SignedDuration::from_secs(1), until);
        prop_assert_eq!(found, expected, "{}", text);
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), key in any::<String>()) {
        survives(&text, &key)?;
    }

    #[test]
    fn no_text_that_looks_like_cron_makes_it_panic(
        text in "[0-9*/,#LWHh?@ ()é-]{0,30}",
        fields in prop::collection::vec("[0-7*/,#LWH?()é-]{1,5}|\\*|\\*/[0-9]{1,2}|[0-9]{1,2}|H\\([0-9]-[0-9]{1,2}\\)/?[0-9]?|(mon|fri|jan|dec)[-L#][0-9a-z]{1,3}", 4..8),
    ) {
        survives(&text, "job")?;
        survives(&fields.join(" "), "job")?;
    }
}

fn survives(text: &str, key: &str) -> Result<(), TestCaseError> {
    match Cron::parse(text, key) {
        Ok(cron) => {
            prop_assert!(!cron.words().is_empty());
            let _ = cron.warnings();
            let zone = zone("Australia/Lord_Howe");
            let from = Timestamp::from_second(1_700_000_000).expect("in range");
            let first = cron.next_after(from, &zone);
            let next = |due: &Timestamp| cron.next_after(*due, &zone);
            let due: Vec<Timestamp> = std::iter::successors(first, next).take(3).collect();
            prop_assert!(due.is_sorted_by(|a, b| a < b));
            prop_assert!(!due.is_empty(), "{text:?} never comes due");
        }
        Err(error) => {
            prop_assert!(text.get(error.span.clone()).is_some(), "{text:?}: {error:?}");
            prop_assert!(
                error.message.chars().next().is_some_and(|first| !first.is_uppercase() || "LW".contains(first))
            );
        }
    }
    Ok(())
}

fn is_workday(day: Date) -> bool {
    !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday)
}

/// The working day of the month with the least distance to `wanted`.
fn is_nearest(day: Date, wanted: i8) -> bool {
    let distance = |other: &i8| (other - wanted).abs();
    let workdays = (1..=day.days_in_month()).filter(|other| is_workday(date(day.year(), day.month(), *other)));
    wanted <= day.days_in_month() && workdays.min_by_key(distance) == Some(day.day())
}

fn month_day(form: u8, day: Date) -> bool {
    let last = day.last_of_month();
    match form {
        0 => day == last,
        1 => day + jiff::Span::new().days(2) == last,
        2 => {
            let days = (0..7).map(|back| last - jiff::Span::new().days(back));
            days.into_iter().find(|day| is_workday(*day)) == Some(day)
        }
        3 => is_nearest(day, 15),
        4 => is_nearest(day, 1),
        5 => is_nearest(day, 31),
        6 => day.day() == 30,
        _ => true,
    }
}

fn week_day(form: u8, day: Date) -> bool {
    let nth = |n, weekday| day.nth_weekday_of_month(n, weekday).ok() == Some(day);
    match form {
        0 => nth(-1, Weekday::Friday),
        1 => nth(1, Weekday::Monday),
        2 => nth(5, Weekday::Wednesday),
        3 => !is_workday(day),
        _ => true,
    }
}
