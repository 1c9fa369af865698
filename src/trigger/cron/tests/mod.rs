//! Tests of the whole: tables, and comparison with a slow second implementation of the same rules.

mod dst;
mod errors;
mod meaning;
mod oracle;
mod properties;
mod wording;
mod zones;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Cron;

#[track_caller]
fn cron(text: &str) -> Cron {
    match Cron::parse(text, "etl/load") {
        Ok(cron) => cron,
        Err(error) => panic!("{text:?}: {error:?}"),
    }
}

#[track_caller]
fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).expect("a zone of the bundled database")
}

/// The first `count` due times after `after`, as that zone writes them: "2024-03-31T03:00+01".
#[track_caller]
fn due(text: &str, name: &str, after: &str, count: usize) -> Vec<String> {
    let (cron, zone) = (cron(text), zone(name));
    let mut now: Timestamp = after.parse().expect("a time with its offset");
    let mut found = Vec::new();
    for _ in 0..count {
        let Some(next) = cron.next_after(now, &zone) else {
            break;
        };
        found.push(next.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string());
        now = next;
    }
    found
}
