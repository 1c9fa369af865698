//! What the forms mean, as due times in UTC.

use std::time::Instant;

use super::super::Cron;
use super::{cron, due};

/// Days of due times that lie at midnight, as "MM-DD".
#[track_caller]
fn days(text: &str, after: &str, count: usize) -> String {
    let found = due(text, "UTC", after, count);
    let days: Vec<&str> = found.iter().filter_map(|time| time.get(5..10)).collect();
    days.join(" ")
}

/// Both expressions are one and the same to every question.
#[track_caller]
fn same(left: &str, right: &str) {
    let at = |text| due(text, "UTC", "2023-12-31T23:59:59Z", 40);
    assert_eq!(at(left), at(right), "{left} and {right}");
}

#[test]
fn macros_and_spellings() {
    same("@hourly", "0 * * * *");
    same("@Daily", "0 0 * * *");
    same(" @midnight ", "0 0 * * *");
    same("@weekly", "0 0 * * sun");
    same("@monthly", "0 0 1 * *");
    same("@yearly", "0 0 1 jan *");
    same("@annually", "@yearly");
    same("\t05  09 *\n* *", "5 9 * * *");
    same("0 0 * JAN,Mar MON-Fri", "0 0 * 1,3 1-5");
    same("0 30 9 * * *", "30 9 * * *");
}

#[test]
fn ranges_and_steps() {
    same("*/20 * * * *", "0,20,40 * * * *");
    same("5-20/5 * * * *", "5,10,15,20 * * * *");
    same("50/5 * * * *", "50,55 * * * *");
    same("0 0 * * 5-7", "0 0 * * fri,sat,sun");
    same("0 0 * * fri-sun", "0 0 * * 0,5,6");
    same("0 0 * * sun-tue", "0 0 * * 0,1,2");
    same("0 0 * * 7", "0 0 * * 0");
    same("0 0 * * 0-7", "0 0 * * *");
    same("0 0 * * */7", "0 0 * * 0");
    same("0 0 * * wed-sun/2", "0 0 * * wed,fri,sun");
    same("0 0 ? * 1/2", "0 0 * * 1,3,5");
}

#[test]
fn the_two_day_fields() {
    // Friday the 13th of September 2024; 2024-09-01 is a Sunday.
    assert_eq!(days("0 0 13 * fri", "2024-09-01T00:00:00Z", 5), "09-06 09-13 09-20 09-27 10-04");
    assert_eq!(days("0 0 */13 * fri", "2024-09-01T00:00:00Z", 2), "09-27 11-01");
    assert_eq!(days("0 0 13 * */5", "2024-09-01T00:00:00Z", 2), "09-13 10-13");
    assert_eq!(days("0 0 1-31 * fri", "2024-09-01T00:00:00Z", 3), "09-02 09-03 09-04");
    assert_eq!(days("0 0 29 2 mon", "2024-02-01T00:00:00Z", 5), "02-05 02-12 02-19 02-26 02-29");
    assert_eq!(days("0 0 30 2 mon", "2024-02-20T00:00:00Z", 2), "02-26 02-03");
}

#[test]
fn last_nearest_and_nth_days() {
    let year = "2024-01-01T12:00:00Z";
    assert_eq!(days("0 0 L * *", year, 4), "01-31 02-29 03-31 04-30");
    assert_eq!(days("0 0 l-3 * *", year, 3), "01-28 02-26 03-28");
    assert_eq!(days("0 0 L-30 * *", year, 3), "03-01 05-01 07-01");
    // 15 June 2024 is a Saturday, 15 September a Sunday.
    assert_eq!(days("0 0 15W 6,9 *", year, 2), "06-14 09-16");
    // 1 June is a Saturday, 31 March a Sunday; neither leaves its month.
    assert_eq!(days("0 0 1W 6 *", year, 1), "06-03");
    assert_eq!(days("0 0 31W * *", year, 4), "01-31 03-29 05-31 07-31");
    assert_eq!(days("0 0 LW * *", year, 4), "01-31 02-29 03-29 04-30");
    assert_eq!(days("0 0 * * fri#2", year, 3), "01-12 02-09 03-08");
    assert_eq!(days("0 0 * * 4#5", year, 3), "02-29 05-30 08-29");
    assert_eq!(days("0 0 * * FRIL", year, 3), "01-26 02-23 03-29");
    assert_eq!(days("0 0 * * 7L", year, 2), "01-28 02-25");
    assert_eq!(days("0 0 L,15 * *", year, 3), "01-15 01-31 02-15");
    assert_eq!(days("0 0 L * fri#2", year, 3), "01-12 01-31 02-09");
    assert_eq!(days("0 0 * * mon,fri#1", year, 3), "01-05 01-08 01-15");
}

#[test]
fn seconds() {
    assert_eq!(
        due("*/25 59 23 31 12 *", "UTC", "2024-01-01T00:00:00Z", 3),
        ["2024-12-31T23:59:00+00:00", "2024-12-31T23:59:25+00:00", "2024-12-31T23:59:50+00:00"]
    );
}

#[test]
fn leap_days_on_one_weekday() {
    assert_eq!(due("0 0 29 2 */7", "UTC", "2010-01-01T00:00:00Z", 4).len(), 3);
    assert_eq!(due("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", 1), [""; 0]);
}

#[test]
fn a_hash_is_stable_in_range_and_differs() {
    let minute = |key: &str| {
        let words = Cron::parse("H H * * *", key).expect("H").words();
        assert!(words.starts_with("every day at "), "{words}");
        words
    };
    assert_eq!(minute("etl/load"), minute("etl/load"));
    let different: std::collections::HashSet<String> = (0..100).map(|n| minute(&format!("job-{n}"))).collect();
    assert!(different.len() > 90, "{}", different.len());
    for n in 0..300 {
        let key = format!("job-{n}");
        let fields = |text| Cron::parse(text, &key).expect("H").shared.fields;
        assert_eq!(fields("H H H H H").month_days.days.count_ones(), 1);
        assert!(fields("0 0 H * *").month_days.days < 1 << 29, "every month has a 28th");
        assert_eq!(fields("H/15 * * * *").minutes.count_ones(), 4);
        assert_eq!(fields("H(10-19)/5 * * * *").minutes.count_ones(), 2);
        assert_eq!(fields("H(10-19) * * * *").minutes & !(0x3ff << 10), 0);
        assert_eq!(fields("0 0 * * H(6-7)").week_days.days & !0b100_0001, 0);
    }
}

#[test]
fn the_hash_stays_what_it_was() {
    // Jobs must not move from release to release.
    assert_eq!(cron("H H * * *").words(), "every day at 17:49");
}

#[test]
fn equal_expressions_share_their_parts() {
    let (left, right) = (cron("17 3 * * mon"), cron("17 03 * * 1"));
    assert!(std::sync::Arc::ptr_eq(&left.shared, &right.shared));
    assert_eq!(size_of::<Cron>(), size_of::<usize>());
}

#[test]
fn long_and_hopeless_texts_are_answered_quickly() {
    let start = Instant::now();
    let never = Cron::parse("* * 31 2,4,6,9,11 ?", "job");
    assert!(never.is_err());
    for text in ["1,".repeat(500_000), "é ".repeat(500_000), "-/#LWH(".repeat(150_000), "@".repeat(1 << 20)] {
        let error = Cron::parse(&text, "job").expect_err("not an expression");
        assert!(error.message.len() < 200 && text.get(error.span).is_some());
        for place in 0..5 {
            let mut fields = ["*"; 5];
            fields[place] = text.trim_end();
            assert!(Cron::parse(&fields.join(" "), "job").is_err());
        }
    }
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}
