//! `runner simulate`: the engine on a virtual clock, from the pure part up to the verb and its picture.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use runner::cli::picture::{Picture, picture};
use runner::engine::simulate::{Begun, Course, Plan, SimulatedGap, Tally, simulate};
use runner::engine::{Entry, Settings, WaitsFor};
use runner::model::{GapKind, HumanDuration, JobName, TriggeredBy};
use runner::spec::{Pool, Rate};
use serde_json::Value;

use crate::engine_sim::{at, job};
use crate::sandbox::Sandbox;
use crate::xml::well_formed;

const NOTHING: [&str; 0] = [];

fn name(name: &str) -> JobName {
    JobName::new(name).unwrap()
}

fn plan(jobs: &[(&str, &str)], from: &str, until: &str) -> Plan {
    let first_loaded = at("-14 00:00:00");
    let entries: Vec<Entry> = jobs.iter().map(|(name, text)| job(name, text, first_loaded)).collect();
    Plan {
        settings: Settings::new(64),
        entries,
        pauses: Vec::new(),
        begun: Vec::new(),
        from: at(from),
        until: at(until),
        starts: false,
        only: None,
        listed: 1_000,
        most: 1_000_000,
    }
}

fn seconds(seconds: i64) -> impl Fn(&JobName) -> SignedDuration {
    move |_| SignedDuration::from_secs(seconds)
}

fn time(time: runner::model::Timestamp) -> String {
    time.strftime("%H:%M:%S").to_string()
}

/// Each run as `job TRIGGER due started-ended`, with what it waited for.
fn runs(course: &Course) -> Vec<String> {
    let words = |run: &runner::engine::simulate::SimulatedRun| {
        let times = run.times.map_or("-".into(), |(started, ended)| format!("{}-{}", time(started), time(ended)));
        let waits: String = run
            .waits
            .iter()
            .map(|(reason, waited)| {
                let reason = match reason {
                    WaitsFor::EarlierRun => "its earlier run",
                    WaitsFor::Place => "a place",
                    WaitsFor::Pool(pool) => pool,
                    WaitsFor::Rate(_) => "the rate",
                };
                format!(", {}s for {reason}", waited.as_secs())
            })
            .collect();
        let early = if run.replaced { ", replaced" } else { "" };
        format!("{} {} {} {times}{waits}{early}", run.job, run.triggered_by.as_str(), time(run.due))
    };
    course.runs.iter().map(words).collect()
}

fn skipped(course: &Course) -> Vec<String> {
    let words = |gap: &SimulatedGap| {
        format!("{} {} {}..{}: {}", gap.job, gap.count, time(gap.due), time(gap.until), gap.reason)
    };
    course.skipped.iter().map(words).collect()
}

#[test]
fn the_beginning_belongs_to_the_span_and_its_end_does_not() {
    let course = simulate(plan(&[("a", "schedule: '0 * * * *'\ncommand: x\n")], "10:00:00", "12:00:00"), seconds(90));
    assert_eq!(runs(&course), ["a CRON 10:00:00 10:00:00-10:01:30", "a CRON 11:00:00 11:00:00-11:01:30"]);
    assert_eq!((course.most_at_once, course.longest_wait), (Some((1, at("10:00:00"))), None));
}

#[test]
fn who_waits_for_a_pool_a_place_or_an_earlier_run_is_told_so_and_for_how_long() {
    let jobs = [
        ("a", "schedule: '0 10 * * *'\ncommand: x\npool: p\n"),
        ("b", "schedule: '0 10 * * *'\ncommand: x\npool: p\n"),
        ("q", "schedule: '0-1 11 * * *'\ncommand: x\noverlap: queue\n"),
    ];
    let mut of_pools = plan(&jobs, "10:00:00", "12:00:00");
    of_pools.settings.pools.insert("p".into(), Pool { max: Some(1), rate: None });
    let course = simulate(of_pools, seconds(90));
    assert_eq!(
        runs(&course),
        [
            "a CRON 10:00:00 10:00:00-10:01:30",
            "b CRON 10:00:00 10:01:30-10:03:00, 90s for p",
            "q CRON 11:00:00 11:00:00-11:01:30",
            "q CRON 11:01:00 11:01:30-11:03:00, 30s for its earlier run",
        ]
    );
    assert_eq!(course.longest_wait, Some((SignedDuration::from_secs(90), name("b"), at("10:00:00"))));
    assert_eq!(course.most_at_once, Some((1, at("10:00:00"))));
    let mut of_places = plan(&jobs[..2], "10:00:00", "12:00:00");
    of_places.settings.max_concurrent_runs = 1;
    assert_eq!(runs(&simulate(of_places, seconds(5)))[1], "b CRON 10:00:00 10:00:05-10:00:10, 5s for a place");
    let mut of_rate = plan(&jobs[..2], "10:00:00", "12:00:00");
    let rate = Rate { count: 1, per: HumanDuration::from_secs(60) };
    of_rate.settings.pools.insert("p".into(), Pool { max: None, rate: Some(rate) });
    assert_eq!(runs(&simulate(of_rate, seconds(5)))[1], "b CRON 10:00:00 10:01:00-10:01:05, 60s for the rate");
    // Each limit is told for as long as it is the one in the way.
    let names = ["a", "b", "c", "d"];
    let all: Vec<(&str, &str)> = names.map(|name| (name, "schedule: '0 10 * * *'\ncommand: x\npool: r\n")).into();
    let mut of_both = plan(&all, "10:00:00", "12:00:00");
    of_both.settings.max_concurrent_runs = 2;
    let rate = Rate { count: 2, per: HumanDuration::from_secs(30) };
    of_both.settings.pools.insert("r".into(), Pool { max: None, rate: Some(rate) });
    let waited = ", 1s for a place, 29s for the rate";
    assert_eq!(
        runs(&simulate(of_both, seconds(1))),
        [
            "a CRON 10:00:00 10:00:00-10:00:01".to_string(),
            "b CRON 10:00:00 10:00:00-10:00:01".into(),
            format!("c CRON 10:00:00 10:00:30-10:00:31{waited}"),
            format!("d CRON 10:00:00 10:00:30-10:00:31{waited}"),
        ]
    );
}

#[test]
fn what_still_waits_at_the_end_is_told_so() {
    let mut plan = plan(&[("q", "schedule: '0-1 11 * * *'\ncommand: x\noverlap: queue\n")], "10:00:00", "11:02:00");
    plan.settings.max_concurrent_runs = 1;
    let course = simulate(plan, seconds(300));
    assert_eq!(runs(&course), ["q CRON 11:00:00 11:00:00-11:05:00", "q CRON 11:01:00 -, 60s for its earlier run"]);
    assert_eq!((course.jobs[&name("q")].runs, course.jobs[&name("q")].waiting), (1, 1));
}

#[test]
fn overlaps_are_named_where_the_later_one_starts_and_the_greatest_number_at_once_is_counted() {
    let text = "schedule: '0 10 * * *'\ncommand: x\n";
    let jobs = [("a", text), ("b", text), ("c", text), ("d", text), ("e", text)];
    let course = simulate(plan(&jobs, "10:00:00", "11:00:00"), seconds(5));
    assert_eq!(course.most_at_once, Some((5, at("10:00:00"))));
    assert_eq!(course.busiest_minute, Some((at("10:00:00"), 5)));
    assert_eq!(course.runs[0].overlaps, []);
    assert_eq!((course.runs[1].overlaps.clone(), course.runs[1].overlaps_more), (vec![name("a")], 0));
    let last = &course.runs[4];
    assert_eq!((last.overlaps.clone(), last.overlaps_more), (vec![name("a"), name("b"), name("c")], 1));
}

#[test]
fn skipped_due_times_are_streaks_with_a_reason_that_has_no_ids() {
    let jobs = [("a", "schedule: '* 10 * * *'\ncommand: x\n")];
    let course = simulate(plan(&jobs, "10:00:00", "10:10:00"), seconds(270));
    assert_eq!(runs(&course), ["a CRON 10:00:00 10:00:00-10:04:30", "a CRON 10:05:00 10:05:00-10:09:30"]);
    let active = |time: &str| format!("the run due 2024-01-15T{time}.000Z is still active");
    assert_eq!(
        skipped(&course),
        [
            format!("a 4 10:01:00..10:04:00: {}", active("10:00:00")),
            format!("a 4 10:06:00..10:09:00: {}", active("10:05:00")),
        ]
    );
    assert_eq!(course.jobs[&name("a")], Tally { runs: 2, skipped: 8, ..Tally::default() });
}

#[test]
fn a_run_that_takes_exactly_its_interval_is_in_nobodys_way() {
    let text = "every: 1s\ncommand: x\n";
    let course = simulate(plan(&[("a", text), ("b", text), ("c", text)], "10:00:00", "10:01:00"), seconds(1));
    assert_eq!(skipped(&course), NOTHING);
    assert_eq!((course.runs.len(), course.most_at_once), (180, Some((3, at("10:00:00")))));
}

#[test]
fn a_replaced_run_ends_when_the_newer_one_comes() {
    let jobs = [("r", "schedule: '0,1 10 * * *'\ncommand: x\noverlap: replace\n")];
    assert_eq!(
        runs(&simulate(plan(&jobs, "10:00:00", "11:00:00"), seconds(300))),
        ["r CRON 10:00:00 10:00:00-10:01:00, replaced", "r CRON 10:01:00 10:01:00-10:06:00"]
    );
}

#[test]
fn chains_fire_since_runs_end_and_on_start_only_where_the_runner_starts() {
    let jobs = [
        ("load", "schedule: '0 10 * * *'\non_start: true\ncommand: x\n"),
        ("report", "after: { jobs: [load] }\ncommand: x\n"),
        ("alarm", "after: { jobs: ['*'], when: failure }\ncommand: x\n"),
    ];
    let course = simulate(plan(&jobs, "09:00:00", "11:00:00"), seconds(60));
    let of_ten = ["load CRON 10:00:00 10:00:00-10:01:00", "report AFTER 10:01:00 10:01:00-10:02:00"];
    assert_eq!(runs(&course), of_ten);
    let starts = Plan { starts: true, ..plan(&jobs, "09:00:00", "11:00:00") };
    let at_start = ["load START 09:00:00 09:00:00-09:01:00", "report AFTER 09:01:00 09:01:00-09:02:00"];
    assert_eq!(runs(&simulate(starts, seconds(60))), [&at_start[..], &of_ten[..]].concat());
}

#[test]
fn it_goes_on_from_what_the_records_know() {
    let mut plan = plan(
        &[
            ("every", "every: 1h\ncommand: x\n"),
            ("paused", "every: 1h\ncommand: x\n"),
            ("resting", "every: 1h\ncommand: x\nbreaker: { after: 3, cooldown: 90m }\n"),
            ("done", "at: 2024-01-15T09:00:00\ncommand: x\n"),
            ("off", "enabled: false\nevery: 1m\ncommand: x\n"),
        ],
        "10:00:00",
        "12:30:00",
    );
    for entry in &mut plan.entries[..3] {
        (entry.memory.interval_due, entry.memory.last_due) = (Some(at("09:10:00")), Some(at("09:10:00")));
    }
    (plan.entries[2].memory.failed_in_row, plan.entries[2].memory.failed_at) = (3, Some(at("09:11:00")));
    plan.pauses = vec![(name("paused"), Some(at("11:10:00"))), (name("every"), Some(at("09:00:00")))];
    let course = simulate(plan, seconds(0));
    assert_eq!(
        runs(&course),
        [
            "every INTERVAL 10:10:00 10:10:00-10:10:00",
            "every INTERVAL 11:10:00 11:10:00-11:10:00",
            "paused INTERVAL 11:10:00 11:10:00-11:10:00",
            "resting INTERVAL 11:10:00 11:10:00-11:10:00",
            "every INTERVAL 12:10:00 12:10:00-12:10:00",
            "paused INTERVAL 12:10:00 12:10:00-12:10:00",
            "resting INTERVAL 12:10:00 12:10:00-12:10:00",
        ]
        .map(String::from)
        .into_iter()
        .collect::<Vec<_>>()
    );
    assert_eq!(
        skipped(&course),
        [
            "paused 1 10:10:00..10:10:00: paused",
            "resting 1 10:10:00..10:10:00: breaker open until 2024-01-15T10:41:00.000Z after 3 failed runs in a row",
        ]
    );
}

#[test]
fn in_the_past_the_grid_of_an_interval_goes_back_and_later_records_do_not_count() {
    let mut plan = plan(&[("a", "every: 7m\ncommand: x\n")], "10:00:00", "10:15:00");
    let memory = &mut plan.entries[0].memory;
    (memory.interval_due, memory.last_due) = (Some(at("+1 10:03:00")), Some(at("+1 10:03:00")));
    // A day has five minutes more than 205 times seven: 10:08 is as far from 10:03 of the next day.
    assert_eq!(
        runs(&simulate(plan, seconds(1))),
        ["a INTERVAL 10:01:00 10:01:00-10:01:01", "a INTERVAL 10:08:00 10:08:00-10:08:01"]
    );
}

#[test]
fn those_that_are_not_named_run_as_well_and_are_not_told_of() {
    let text = "schedule: '0 10 * * *'\ncommand: x\n";
    let mut plan = plan(&[("a", text), ("b", text)], "10:00:00", "11:00:00");
    (plan.settings.max_concurrent_runs, plan.only) = (1, Some(BTreeSet::from([name("b")])));
    let course = simulate(plan, seconds(60));
    assert_eq!(runs(&course), ["b CRON 10:00:00 10:01:00-10:02:00, 60s for a place"]);
    assert_eq!((course.jobs.len(), course.most_at_once), (1, Some((1, at("10:01:00")))));
}

#[test]
fn beyond_the_bounds_runs_are_counted_and_then_it_stops_and_says_when() {
    let jobs = [("a", "every: 1s\ncommand: x\n")];
    let bounded = Plan { listed: 10, most: 100, ..plan(&jobs, "10:00:00", "+10 00:00:00") };
    let course = simulate(bounded, seconds(0));
    assert_eq!((course.runs.len(), course.jobs[&name("a")].runs), (10, 100));
    assert_eq!(course.stopped, Some(at("10:01:39")));
    let skipping = Plan { listed: 10, most: 100, ..plan(&jobs, "10:00:00", "+10 00:00:00") };
    let course = simulate(skipping, seconds(1_000_000));
    assert_eq!((course.jobs[&name("a")].runs, course.jobs[&name("a")].skipped), (1, 99));
    assert_eq!(course.stopped, Some(at("10:01:40")));
}

fn draw(course: &Course, zone: &str, from: &str, until: &str) -> String {
    let zone = TimeZone::get(zone).unwrap();
    let svg = picture(&Picture { course, from: at(from), until: at(until), zone: &zone });
    well_formed(&svg).unwrap_or_else(|error| panic!("{error}:\n{svg}"));
    svg
}

#[test]
fn the_picture_has_a_row_a_job_and_a_bar_a_run() {
    let jobs = [
        ("a", "schedule: '0 * * * *'\ncommand: x\npool: p\n"),
        ("b/deep", "schedule: '0 */2 * * *'\ncommand: x\npool: p\n"),
        ("c", "schedule: '*/5 20 * * *'\ncommand: x\n"),
    ];
    let mut of_pools = plan(&jobs, "10:00:00", "+1 10:00:00");
    of_pools.settings.pools.insert("p".into(), Pool { max: Some(1), rate: None });
    let course = simulate(of_pools, seconds(600));
    let svg = draw(&course, "Asia/Kolkata", "10:00:00", "+1 10:00:00");
    let count = |text: &str| svg.matches(text).count();
    assert_eq!(
        (count("class=\"name\""), count("class=\"run\"") - 1, count("class=\"wait\"") - 1),
        (3, 24 + 12 + 6, 12)
    );
    assert_eq!(count("class=\"skip\"") - 1, 6, "each second due time of the hour comes too early");
    assert!(svg.contains(">a<title>a: 24 runs, 0 skipped</title>"), "{svg}");
    // Midnight in India.
    assert!(svg.contains("class=\"day\"") && svg.contains(">Tue 16 Jan</text>"), "{svg}");
    assert!(svg.contains("Mon 2024-01-15 15:30:00 IST to Tue 2024-01-16 15:30:00 IST"), "{svg}");
    assert_eq!((count("<script"), count("href"), count("url(")), (0, 0, 0));
}

#[test]
fn the_picture_is_well_formed_whatever_stands_in_a_reason_and_for_any_span() {
    let mut course = simulate(plan(&[("a", "every: 1m\ncommand: x\n")], "10:00:00", "11:00:00"), seconds(1));
    course.skipped.push(SimulatedGap {
        job: name("a"),
        triggered_by: TriggeredBy::Interval,
        kind: GapKind::Skipped,
        reason: "a < b && \"c\" > 'd' ]]> \u{1} \u{fffe} </svg><script>".into(),
        due: at("10:10:00"),
        until: at("10:10:00"),
        count: 1,
    });
    let svg = draw(&course, "UTC", "10:00:00", "11:00:00");
    assert!(svg.contains("a &lt; b &amp;&amp; &quot;c&quot; &gt; &#39;d&#39;"), "{svg}");
    assert!(draw(&Course::default(), "UTC", "10:00:00", "11:00:00").contains("nothing is due"));
    for (zone, until) in [
        ("UTC", "10:00:01"),
        ("Europe/London", "10:30:00"),
        ("Australia/Lord_Howe", "+6 10:00:00"),
        ("America/New_York", "+16 10:00:00"),
    ] {
        let svg = draw(&course, zone, "10:00:00", until);
        let labels = svg.matches("class=\"label\"").count();
        assert!((1..=14).contains(&labels) || until == "10:00:01", "{labels} labels until {until}");
    }
    let zone = TimeZone::UTC;
    for years in [1, 7, 100] {
        let until = at("10:00:00") + SignedDuration::from_hours(24 * 366 * years);
        let svg = picture(&Picture { course: &course, from: at("10:00:00"), until, zone: &zone });
        well_formed(&svg).unwrap();
        let labels = svg.matches("class=\"label\"").count();
        assert!((3..=14).contains(&labels), "{labels} labels for {years} years");
    }
}

#[test]
fn the_picture_ends_where_its_list_does_and_tells_reasons_and_waits_that_lie_close_together() {
    let mut course = simulate(plan(&[("a", "every: 1m\ncommand: x\n")], "10:00:00", "11:00:00"), seconds(1));
    let gap = |due: &str, reason: &str| SimulatedGap {
        job: name("a"),
        triggered_by: TriggeredBy::Interval,
        kind: GapKind::Skipped,
        reason: reason.into(),
        due: at(due),
        until: at(due),
        count: 1,
    };
    course.skipped = vec![gap("10:10:00", "one"), gap("10:10:01", "another"), gap("10:50:00", "after the end")];
    let svg = draw(&course, "UTC", "10:00:00", "10:30:00");
    assert!(
        svg.contains(
            "skipped: 2 from Mon 2024-01-15 10:10:00 UTC to Mon 2024-01-15 10:10:01 UTC: several kinds, such as one<"
        ),
        "{svg}"
    );
    assert!(!svg.contains("after the end"), "{svg}");
    // A wait lies over the bar of the run that it waits for.
    let queued = plan(&[("q", "schedule: '0-1 10 * * *'\ncommand: x\noverlap: queue\n")], "10:00:00", "10:10:00");
    let svg = draw(&simulate(queued, seconds(90)), "UTC", "10:00:00", "10:10:00");
    assert!(svg.find("<rect class=\"run\"").unwrap() < svg.find("<rect class=\"wait\"").unwrap(), "{svg}");
}

#[test]
fn beyond_sixty_jobs_the_picture_has_the_busiest_and_says_so() {
    let names: Vec<String> = (0..70).map(|n| format!("job{n:02}")).collect();
    let texts: Vec<String> =
        (0..70).map(|n| format!("every: {}m\ncommand: x\n", if n < 10 { 59 } else { 7 })).collect();
    let jobs: Vec<(&str, &str)> = names.iter().zip(&texts).map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let course = simulate(plan(&jobs, "10:00:00", "12:00:00"), seconds(1));
    let svg = draw(&course, "UTC", "10:00:00", "12:00:00");
    assert_eq!(svg.matches("class=\"name\"").count(), 60);
    assert!(svg.contains("the busiest 60 of 70 jobs") && !svg.contains(">job09<") && svg.contains(">job10<"), "{svg}");
    // A year of runs is not more to draw than fits.
    let dense = simulate(plan(&[("a", "every: 1s\ncommand: x\n")], "10:00:00", "11:00:00"), seconds(0));
    let svg = draw(&dense, "UTC", "10:00:00", "11:00:00");
    assert_eq!(dense.runs.len(), 1_000, "what is listed");
    assert!(svg.matches("<rect").count() < 800, "{}", svg.matches("<rect").count());
}

fn sandbox() -> Sandbox {
    Sandbox::new()
        .file("runner.yaml", "timezone: Europe/London\npools: { p: 1 }\n")
        .file("jobs/etl/load.yaml", "schedule: '0 9 * * *'\ncommand: x\npool: p\n")
        .file("jobs/etl/fetch.yaml", "schedule: '0 9 * * *'\ncommand: x\npool: p\n")
        .file("jobs/report.yaml", "after: { jobs: [etl/load] }\ncommand: 'true'\n")
        .file("jobs/hello.yaml", "on_start: true\ncommand: x\n")
}

#[test]
fn the_verb_tells_a_line_a_run_and_sums_up() {
    let sandbox = sandbox();
    let ran = sandbox.run(&["simulate", "--from", "2027-06-01", "--for", "1d"]).code(0).stdout(
        "Tue 2027-06-01 09:00:00 BST  etl/fetch  CRON         1.0s\n\
         Tue 2027-06-01 09:00:00 BST  etl/load   CRON         1.0s  waited 1.0s for pool p\n\
         Tue 2027-06-01 09:00:02 BST  report     AFTER        1.0s\n\
         Tue 2027-06-01 00:00:00 BST to Wed 2027-06-02 00:00:00 BST: 3 runs\n\
         at most 1 run at once, first at Tue 2027-06-01 09:00:00 BST\n\
         the longest wait is 1.0s (etl/load, due Tue 2027-06-01 09:00:00 BST)\n\
         the busiest minute is Tue 2027-06-01 09:00:00 BST, with 3 starts\n",
    );
    ran.stderr(
        "note: no successful run is recorded of etl/fetch, etl/load, report: 1s is assumed\n\
         note: 1 job also runs when the runner starts: --on-start shows it\n",
    );
    sandbox.run(&["simulate", "hello", "--from", "2027-06-01", "--on-start"]).code(0).says("hello  START  ");
    sandbox.run(&["simulate", "hello", "--from", "2027-06-01"]).code(0).says("00:00:00 BST: 0 runs\n");
    assert!(!sandbox.path("logs").exists(), "nothing is written");
    sandbox.run(&["simulate", "etl/laod"]).code(1).stdout("").says("did you mean `etl/load`?");
    sandbox.run(&["simulate", "--for", "0s"]).code(2);
    sandbox.run(&["simulate", "--for", "3"]).code(2).says("has no unit");
    sandbox.run(&["simulate", "--from", "soon"]).code(2).says("`soon` is not a time");
}

#[test]
fn the_verb_takes_recorded_durations_and_goes_on_from_the_records_with_and_without_a_runner() {
    let sandbox = sandbox().file("jobs/bad.yaml", "schedule: x\ncommand: x\n");
    sandbox.run(&["run", "report", "--wait"]).code(0);
    let end = sandbox.events("report", "end")[0].clone();
    let lines = [(7, "success"), (90, "success"), (3_600, "failed"), (1_000, "success")].map(|(seconds, status)| {
        let mut line = end.clone();
        (line["duration_ms"], line["status"], line["job"]) =
            ((seconds * 1_000).into(), status.into(), "etl/load".into());
        line.to_string() + "\n"
    });
    sandbox.write("logs/jobs/etl/load/runs.log", &lines.concat());
    sandbox.run(&["pause", "etl/fetch"]).code(0);
    let args = ["simulate", "--from", "2027-06-01", "--for", "2d", "--json", "--svg", "picture.svg"];
    let alone = sandbox.json(&args);
    let runs = alone["runs"].as_array().unwrap();
    let keys = ["job", "triggered_by", "due", "started", "ended", "waited_ms"];
    assert!(runs.iter().all(|run| keys.iter().all(|key| run.get(key).is_some())), "{alone}");
    assert_eq!(runs.len(), 4);
    assert_eq!((&runs[0]["job"], &runs[0]["due"]), (&"etl/load".into(), &"2027-06-01T08:00:00.000Z".into()));
    assert_eq!(runs[0]["ended"], "2027-06-01T08:01:30.000Z", "the median of the successful ones");
    assert_eq!((&runs[1]["job"], &runs[1]["triggered_by"]), (&"report".into(), &"AFTER".into()));
    let gap = serde_json::json!([{
        "job": "etl/fetch", "triggered_by": "CRON", "reason": "paused",
        "due": "2027-06-01T08:00:00.000Z", "until": "2027-06-02T08:00:00.000Z", "count": 2,
    }]);
    assert_eq!(
        (&alone["skipped"], &alone["assumed"], &alone["most_at_once"]),
        (&gap, &serde_json::json!([]), &1.into())
    );
    assert_eq!(
        (&alone["from"], &alone["until"]),
        (&"2027-05-31T23:00:00.000Z".into(), &"2027-06-02T23:00:00.000Z".into())
    );
    well_formed(&sandbox.read("picture.svg")).unwrap();
    sandbox.run(&args).code(0).says("note: 1 invalid file left out");
    let runner = sandbox.start();
    assert_eq!(sandbox.json(&args), alone);
    runner.stop();
}

#[test]
fn what_the_verb_does_not_list_it_counts() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", "every: 1s\ncommand: x\n");
    let args = ["simulate", "--from", "2027-06-01", "--for", "2h", "--limit", "5"];
    let ran = sandbox.run(&args).code(0).says(": 7200 runs; listed: the first 5\n");
    assert_eq!(ran.out().matches("INTERVAL").count(), 5);
    let json: Value = sandbox.json(&[&args[..], &["--json"]].concat());
    assert_eq!((json["runs"].as_array().unwrap().len(), &json["totals"]["runs"]), (5, &7200.into()));
    sandbox.run(&["simulate", "--limit", "100001"]).code(2);
}

#[test]
fn runs_that_are_there_already_are_taken_in() {
    let jobs = [
        ("a", "schedule: '* 10 * * *'\ncommand: x\npool: p\n"),
        ("b", "schedule: '0 10 * * *'\ncommand: x\npool: p\n"),
        ("q", "manual: true\ncommand: x\npool: p\n"),
    ];
    let mut plan = plan(&jobs, "10:00:00", "10:02:00");
    plan.settings.pools.insert("p".into(), Pool { max: Some(1), rate: None });
    let begun = |job: &str, by, due: &str, started: Option<&str>| Begun {
        job: name(job),
        triggered_by: by,
        due: at(due),
        started: started.map(at),
        lasts_from: started.map(at),
    };
    plan.begun = vec![
        begun("a", TriggeredBy::Cron, "09:59:00", Some("09:59:30")),
        begun("q", TriggeredBy::Manual, "09:58:00", None),
        begun("gone", TriggeredBy::Cron, "09:58:00", Some("09:58:00")),
    ];
    let course = simulate(plan, seconds(50));
    assert_eq!(
        runs(&course),
        [
            "q MANUAL 09:58:00 10:00:20-10:01:10, 20s for p",
            "a CRON 09:59:00 09:59:30-10:00:20",
            "b CRON 10:00:00 10:01:10-10:02:00, 70s for p",
            "a CRON 10:01:00 -, 60s for p",
        ]
    );
    assert_eq!(skipped(&course), ["a 1 10:00:00..10:00:00: the run due 2024-01-15T09:59:00.000Z is still active"]);
    let there: Vec<bool> = course.runs.iter().map(|run| run.begun).collect();
    assert_eq!(there, [true, true, false, false]);
    assert_eq!(course.most_at_once, Some((1, at("10:00:00"))));
}

#[test]
fn the_verb_takes_in_what_the_running_runner_has_under_way() {
    let sandbox = Sandbox::new()
        .file("jobs/long.yaml", "on_start: true\nevery: 1h\ncommand: sleep 600\n")
        .file("jobs/other.yaml", "schedule: '0 9 * * *'\ncommand: x\n");
    let runner = sandbox.start();
    crate::sandbox::wait_for("it runs", || !sandbox.events("long", "start").is_empty());
    let course = sandbox.json(&["simulate", "--for", "10m", "--json"]);
    let run = &course["runs"][0];
    assert_eq!((&run["job"], &run["begun"], &run["triggered_by"]), (&"long".into(), &true.into(), &"START".into()));
    sandbox.run(&["simulate", "--for", "10m"]).code(0).says("was there already");
    let later = sandbox.json(&["simulate", "--from", "2027-06-01T08:00:00Z", "--for", "30m", "--json"]);
    assert!(later["runs"].as_array().unwrap().iter().all(|run| run["begun"] == false), "{later}");
    runner.stop_at_once();
}

#[test]
fn in_the_past_next_and_simulate_follow_the_same_grid() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", "every: 7m\njitter: 3m\ncommand: 'true'\n");
    let check = || {
        for from in ["2024-01-15T10:00:00Z", "2026-11-22T00:00:00Z"] {
            let next = sandbox.json(&["next", "a", "--from", from, "-n", "3", "--json"]);
            let course = sandbox.json(&["simulate", "--from", from, "--for", "21m", "--json"]);
            let dues = |list: &Value| -> Vec<Value> {
                list.as_array().unwrap().iter().map(|one| one["due"].clone()).collect()
            };
            assert_eq!(dues(&next), dues(&course["runs"]), "from {from}");
        }
    };
    let runner = sandbox.start();
    check();
    runner.stop();
    check();
}
