//! What is foretold comes true: the due times that `next` tells are the ones at which the engine fires, over years and across
//! every change of the clock.

use jiff::SignedDuration;
use runner::engine::simulate::{Plan, simulate};
use runner::engine::{Change, Decision, Engine, Entry, Event, Settings, Starting, latest, upcoming};
use runner::model::{Status, Timestamp};
use runner::trigger;

use crate::engine_sim::job;

const ZONES: [&str; 5] = ["Europe/London", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia"];
/// Schedules that meet the hours in which clocks are moved in these zones, each in its way.
const JOBS: [(&str, &str); 9] = [
    ("fixed", "schedule: '30 1 * * *'"),
    ("fixed-two", "schedule: '15 2 * * *'"),
    ("midnight", "schedule: ['0 0 * * *', '59 23 * * sun']"),
    ("hourly", "schedule: '30 * * * *'"),
    ("minutes", "schedule: '*/20 1-3 * * *'"),
    ("list", "schedule: ['0 1 * * *', '0 2 * * *', '0 3 * * *', '0 */4 * * *']"),
    ("jittered", "schedule: '45 1,2 * * *'\njitter: 2h"),
    ("every", "every: 5h7m"),
    ("both", "every: 36h\njitter: 1h\nschedule: '0 2 1 * *'"),
];

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The jobs of one zone; loaded for the first time at `from`.
fn entries(zone: &str, from: Timestamp) -> Vec<Entry> {
    let text = |rest: &str| format!("{rest}\ntimezone: {zone}\ncommand: x\noverlap: allow\n");
    JOBS.iter().map(|(name, rest)| job(name, &text(rest), from)).collect()
}

fn anchor(entry: &Entry) -> Timestamp {
    let shift = trigger::spread(&entry.name, entry.spec.policies.jitter);
    trigger::anchor(entry.first_loaded, entry.memory.interval_due, shift)
}

/// All due times after `from` and before `until`, as `next` tells them.
fn foretold(entry: &Entry, from: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    let mut found = Vec::new();
    let mut at = from;
    loop {
        let more = upcoming(&entry.armed, anchor(entry), at, 500);
        let Some(last) = more.last().copied() else { return found };
        found.extend(more.iter().copied().filter(|due| *due < until));
        if last >= until {
            return found;
        }
        at = last;
    }
}

/// Two years; Samoa's are those in which it left out a day and then moved its clock for the summer.
fn span(zone: &str) -> (Timestamp, Timestamp) {
    match zone {
        "Pacific/Apia" => (time("2010-12-31T12:00:00Z"), time("2013-01-01T00:00:00Z")),
        _ => (time("2025-12-31T12:00:00Z"), time("2028-01-01T00:00:00Z")),
    }
}

/// Tells the first difference alone: there are thousands of times.
#[track_caller]
fn same(fired: &[Timestamp], foretold: &[Timestamp], zone: &str, entry: &Entry) {
    let differs = (0..fired.len().max(foretold.len())).find(|at| fired.get(*at) != foretold.get(*at));
    if let Some(at) = differs {
        panic!("{zone} {}: {:?} was foretold, {:?} came", entry.name, foretold.get(at), fired.get(at));
    }
}

#[test]
fn what_next_foretells_over_two_years_in_five_zones_is_what_the_engine_fires() {
    let mut fired_in_all = 0;
    for zone in ZONES {
        let (from, until) = span(zone);
        let entries = entries(zone, from);
        let mut engine = Engine::new(Settings::new(64), 1);
        let mut decisions = Vec::new();
        let changes = entries.iter().cloned().map(|entry| Change::Put(Box::new(entry))).collect();
        engine.handle(Event::Load { changes, starting: Some(Starting { down_since: None }) }, from, &mut decisions);
        let mut fired: Vec<(String, Timestamp)> = Vec::new();
        while let Some(now) = engine.wake_at().filter(|wake| *wake < until) {
            engine.handle(Event::Wake, now, &mut decisions);
            let mut ended = Vec::new();
            for decision in std::mem::take(&mut decisions) {
                let Decision::Start { run, firing, .. } = decision else { panic!("{zone} {now}: {decision:?}") };
                fired.push((firing.job.to_string(), firing.due));
                ended.push(run);
            }
            for run in ended {
                let event = Event::Ended { run, status: Status::Success, exit_code: Some(0) };
                engine.handle(event, now, &mut decisions);
            }
        }
        for entry in &entries {
            let own: Vec<Timestamp> =
                fired.iter().filter(|(job, _)| *job == *entry.name).map(|(_, due)| *due).collect();
            assert!(own.len() > 300, "{zone} {}: {} firings", entry.name, own.len());
            same(&own, &foretold(entry, from, until), zone, entry);
        }
        fired_in_all += fired.len();
    }
    assert!(fired_in_all > 150_000, "{fired_in_all} firings");
}

#[test]
fn a_simulation_has_the_same_due_times_and_so_has_the_way_back() {
    for zone in ZONES {
        let from = span(zone).0;
        // Each of these clocks is moved within a year, but India's.
        let until = from + SignedDuration::from_hours(370 * 24);
        let entries = entries(zone, from);
        let plan = Plan {
            settings: Settings::new(64),
            entries: entries.clone(),
            pauses: Vec::new(),
            begun: Vec::new(),
            from,
            until,
            starts: false,
            only: None,
            listed: 1_000_000,
            most: 1_000_000,
        };
        let course = simulate(plan, |_| SignedDuration::from_secs(1));
        assert_eq!(course.skipped, []);
        for entry in &entries {
            let dues: Vec<Timestamp> =
                course.runs.iter().filter(|run| run.job == entry.name).map(|run| run.due).collect();
            // What is due at its very beginning belongs to a simulation.
            same(&dues, &foretold(entry, from - SignedDuration::from_nanos(1), until), zone, entry);
            for pair in dues.windows(2).step_by(7) {
                let before = pair[1] - SignedDuration::from_nanos(1);
                let found = latest(&entry.armed, anchor(entry), before).map(|(due, _)| due);
                assert_eq!(found, Some(pair[0]), "{zone} {} before {}", entry.name, pair[1]);
            }
        }
    }
}
