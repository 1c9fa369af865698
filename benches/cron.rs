//! How long it takes to read a cron expression and to find its next due time.
//!
//! `cargo bench --bench cron`. The aims: under 10 µs to parse, under 2 µs on average for the next due time.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use runner::trigger::cron::Cron;

const ORDINARY: [&str; 8] = [
    "* * * * *",
    "*/5 * * * *",
    "0 9 * * mon-fri",
    "30 2 * * *",
    "0 */2 * * *",
    "15 8-18 * * 1-5",
    "0 0 1 * *",
    "*/10 * * * * *",
];

const RARE: [&str; 5] = ["0 0 1 1 *", "0 0 29 2 *", "0 0 L * *", "0 9 * * fri#2", "0 0 13 * fri"];

fn parse(c: &mut Criterion) {
    let kept: Vec<_> = ORDINARY.iter().map(|text| Cron::parse(text, "job")).collect();
    let mut group = c.benchmark_group("parse");
    group.bench_function("8 known", |b| {
        b.iter(|| ORDINARY.map(|text| Cron::parse(black_box(text), "job").is_ok()));
    });
    group.bench_function("unknown", |b| {
        b.iter(|| Cron::parse(black_box("7,11 3-5 2-9 * tue-thu"), "job").is_ok());
    });
    group.bench_function("unknown with its first due time", |b| {
        let zone = zone("Europe/London");
        let now = now();
        b.iter(|| {
            let cron = Cron::parse(black_box("7,11 3-5 2-9 * tue-thu"), "job");
            cron.ok().and_then(|cron| cron.next_after(now, &zone))
        });
    });
    group.bench_function("hashed", |b| {
        b.iter(|| Cron::parse(black_box("H H(0-6) * * *"), "etl/load").is_ok());
    });
    group.finish();
    drop(kept);
}

fn next(c: &mut Criterion) {
    for name in ["UTC", "Europe/London", "Africa/Casablanca"] {
        let zone = zone(name);
        let mut group = c.benchmark_group(format!("next in {name}"));
        for text in ORDINARY.iter().chain(&RARE) {
            let Ok(cron) = Cron::parse(text, "job") else {
                continue;
            };
            // Many places in the year: near and far from the transitions.
            let mut now = now();
            group.bench_function(*text, |b| {
                b.iter(|| {
                    now += SignedDuration::from_secs(7_001);
                    if now.as_second() > 1_900_000_000 {
                        now = self::now();
                    }
                    cron.next_after(black_box(now), &zone)
                });
            });
        }
        group.finish();
    }
}

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap_or(TimeZone::UTC)
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap_or(Timestamp::UNIX_EPOCH)
}

criterion_group!(benches, parse, next);
criterion_main!(benches);
