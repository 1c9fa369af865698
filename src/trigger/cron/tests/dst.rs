//! The table of section 4 with real dates.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{cron, due};

#[test]
fn a_time_in_the_gap_comes_due_at_its_end() {
    // London springs from 01:00 to 02:00 on 2024-03-31.
    assert_eq!(
        due("30 1 * * *", "Europe/London", "2024-03-30T12:00:00Z", 2),
        ["2024-03-31T02:00:00+01:00", "2024-04-01T01:30:00+01:00"]
    );
    // New York from 02:00 to 03:00 on 2024-03-10.
    assert_eq!(
        due("15,45 2 * * *", "America/New_York", "2024-03-09T12:00:00Z", 3),
        ["2024-03-10T03:00:00-04:00", "2024-03-11T02:15:00-04:00", "2024-03-11T02:45:00-04:00"]
    );
}

#[test]
fn the_due_time_after_a_gap_is_merged_with_a_regular_one() {
    assert_eq!(
        due("*/30 1-2 * * *", "Europe/London", "2024-03-31T00:59:59Z", 3),
        ["2024-03-31T02:00:00+01:00", "2024-03-31T02:30:00+01:00", "2024-04-01T01:00:00+01:00"]
    );
}

#[test]
fn a_star_in_the_hour_field_follows_the_clock_over_a_gap() {
    assert_eq!(
        due("30 * * * *", "Europe/London", "2024-03-31T00:00:00Z", 2),
        ["2024-03-31T00:30:00+00:00", "2024-03-31T02:30:00+01:00"]
    );
    assert_eq!(due("30 */2 * * *", "America/New_York", "2024-03-10T05:30:00Z", 1), ["2024-03-10T04:30:00-04:00"]);
}

#[test]
fn a_repeated_time_comes_due_in_the_first_pass() {
    // London falls back from 02:00 to 01:00 on 2024-10-27.
    assert_eq!(
        due("30 1 * * *", "Europe/London", "2024-10-26T12:00:00Z", 2),
        ["2024-10-27T01:30:00+01:00", "2024-10-28T01:30:00+00:00"]
    );
    // Asked between the passes and inside the second.
    for after in ["2024-10-27T00:30:00Z", "2024-10-27T00:59:59Z", "2024-10-27T01:15:00Z"] {
        assert_eq!(due("30 1 * * *", "Europe/London", after, 1), ["2024-10-28T01:30:00+00:00"]);
    }
    assert_eq!(
        due("0,30 0-2 * * *", "Europe/London", "2024-10-27T00:15:00Z", 2),
        ["2024-10-27T01:30:00+01:00", "2024-10-27T02:00:00+00:00"]
    );
}

#[test]
fn a_star_in_the_hour_field_follows_the_clock_over_both_passes() {
    assert_eq!(
        due("*/30 * * * *", "Europe/London", "2024-10-26T23:45:00Z", 5),
        [
            "2024-10-27T01:00:00+01:00",
            "2024-10-27T01:30:00+01:00",
            "2024-10-27T01:00:00+00:00",
            "2024-10-27T01:30:00+00:00",
            "2024-10-27T02:00:00+00:00",
        ]
    );
    assert_eq!(due("45 * 27 10 *", "Europe/London", "2024-10-27T00:45:00Z", 1), ["2024-10-27T01:45:00+00:00"]);
}

#[test]
fn half_an_hour_in_lord_howe() {
    // From 02:00 to 02:30 on 2024-10-06, from 02:00 back to 01:30 on 2024-04-07.
    assert_eq!(
        due("10,20 2 * * *", "Australia/Lord_Howe", "2024-10-05T12:00:00Z", 2),
        ["2024-10-06T02:30:00+11:00", "2024-10-07T02:10:00+11:00"]
    );
    assert_eq!(
        due("45 1 * * *", "Australia/Lord_Howe", "2024-04-06T12:00:00Z", 2),
        ["2024-04-07T01:45:00+11:00", "2024-04-08T01:45:00+10:30"]
    );
    assert_eq!(
        due("45 * * * *", "Australia/Lord_Howe", "2024-04-06T14:00:00Z", 3),
        ["2024-04-07T01:45:00+11:00", "2024-04-07T01:45:00+10:30", "2024-04-07T02:45:00+10:30"]
    );
}

#[test]
fn a_skipped_day_is_one_due_time() {
    // Apia went from the end of 2011-12-29 to 2011-12-31.
    assert_eq!(
        due("0 9,17 * * *", "Pacific/Apia", "2011-12-29T20:00:00-10:00", 2),
        ["2011-12-31T00:00:00+14:00", "2011-12-31T09:00:00+14:00"]
    );
    assert_eq!(
        due("0 9 30 * *", "Pacific/Apia", "2011-12-01T00:00:00-10:00", 2),
        ["2011-12-31T00:00:00+14:00", "2012-01-30T09:00:00+14:00"]
    );
    assert_eq!(due("0 * 30 * *", "Pacific/Apia", "2011-12-01T00:00:00-10:00", 1), ["2012-01-30T00:00:00+14:00"]);
}

#[test]
fn midnight_that_is_skipped_or_repeated() {
    // Sao Paulo skipped 00:00 to 01:00 on 2018-11-04 and repeated 23:00 to 24:00 on 2018-02-17.
    assert_eq!(
        due("0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00Z", 2),
        ["2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00"]
    );
    assert_eq!(
        due("30 23 * * *", "America/Sao_Paulo", "2018-02-17T12:00:00Z", 2),
        ["2018-02-17T23:30:00-02:00", "2018-02-18T23:30:00-03:00"]
    );
    assert_eq!(due("30 23 * * sat", "America/Sao_Paulo", "2018-02-18T01:30:00Z", 1), ["2018-02-24T23:30:00-03:00"]);
}

#[test]
fn a_fraction_of_a_second_counts() {
    assert_eq!(due("0 9 * * *", "UTC", "2024-01-01T08:59:59.5Z", 1), ["2024-01-01T09:00:00+00:00"]);
    assert_eq!(due("0 9 * * *", "UTC", "2024-01-01T09:00:00.5Z", 1), ["2024-01-02T09:00:00+00:00"]);
    assert_eq!(due("0 0 * * *", "UTC", "1969-12-31T23:59:59.5Z", 1), ["1970-01-01T00:00:00+00:00"]);
}

#[test]
fn the_ends_of_time() {
    assert_eq!(due("0 0 * * *", "UTC", "-009999-01-03T00:00:00Z", 1), ["1970-01-01T00:00:00+00:00"]);
    assert_eq!(due("0 0 31 12 *", "UTC", "2099-12-31T00:00:00Z", 1), [""; 0]);
    assert_eq!(due("0 0 * * *", "Europe/London", "9999-12-01T00:00:00Z", 1), [""; 0]);
    assert_eq!(due("0 0 * * *", "America/New_York", "-009999-01-03T00:00:00Z", 1).len(), 1);
}

#[test]
fn two_moves_within_an_hour() {
    // An invented zone: on 10 April from 03:00 back to 02:00, half an hour later from 02:30 on to 03:30.
    let zone = TimeZone::posix("STD0DST,J100/2:30,J100/3").expect("a zone");
    let due = |text: &str, count: usize| -> Vec<String> {
        let start: Timestamp = "2024-04-10T01:10:00Z".parse().expect("a time");
        let cron = cron(text);
        std::iter::successors(cron.next_after(start, &zone), |now| cron.next_after(*now, &zone))
            .take(count)
            .map(|due| due.to_zoned(zone.clone()).strftime("%dT%H:%M%:z").to_string())
            .collect()
    };
    assert_eq!(due("45 2 * * *", 2), ["10T02:45+01:00", "11T02:45+01:00"]);
    assert_eq!(due("15 2,3 * * *", 3), ["10T02:15+01:00", "10T03:30+01:00", "11T02:15+01:00"]);
    assert_eq!(due("15 * * * *", 3), ["10T02:15+01:00", "10T02:15+00:00", "10T04:15+01:00"]);
}

#[test]
fn offsets_with_seconds() {
    // Monrovia went from 44 minutes and 30 seconds behind UTC to UTC on 1972-01-07.
    assert_eq!(
        due("30 0 * * *", "Africa/Monrovia", "1972-01-06T12:00:00Z", 2),
        ["1972-01-07T00:44:30+00:00", "1972-01-08T00:30:00+00:00"]
    );
    assert_eq!(
        due("0 0 * * *", "Africa/Monrovia", "1972-01-05T12:00:00Z", 2),
        ["1972-01-06T00:00:00-00:44:30", "1972-01-07T00:44:30+00:00"]
    );
}
