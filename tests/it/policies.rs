//! What the engine does beyond due times: retries, the breaker, queues, pools, chains, catching up. On a clock of the test's own.

use runner::engine::{Event, Owed, Settings, Starting};
use runner::model::{HumanDuration, JobName, Parent, Status, TriggeredBy};
use runner::spec::{Pool, Rate};

use crate::engine_sim::{Sim, at, job};
use crate::record_support::run_id;

const NOTHING: [&str; 0] = [];

/// A pool's name, how many at once, how many in how many seconds.
type Limits = (&'static str, Option<u32>, Option<(u32, u64)>);

fn with_pools(sim: &mut Sim, max: u32, pools: &[Limits]) -> Vec<String> {
    let pools = pools.iter().map(|(name, max, rate)| {
        let rate = rate.map(|(count, per)| Rate { count, per: HumanDuration::from_secs(per) });
        (name.to_string(), Pool { max: *max, rate })
    });
    sim.tell(Event::Configure(Settings { max_concurrent_runs: max, pools: pools.collect() }))
}

#[test]
fn an_exponential_backoff_of_one_second_waits_1_2_4_and_8_seconds() {
    let (mut sim, _) = Sim::started("10:00:00", &[("a", "manual: true\ncommand: x\nretry: { max: 4 }\n")]);
    assert_eq!(sim.ask("a"), ["accepted", "a MANUAL 10:00:00"]);
    for (attempt, wait, then) in
        [(2, "1s", "10:00:01"), (3, "2s", "10:00:03"), (4, "4s", "10:00:07"), (5, "8s", "10:00:15")]
    {
        assert_eq!(sim.end_as("a", Status::Failed), [format!("a attempt {attempt} of 5 in {wait} at {then}")]);
        assert_eq!(sim.engine.wake_at(), Some(at(then)));
        assert_eq!(sim.until(then), [format!("a MANUAL 10:00:00 attempt {attempt}")]);
    }
    assert_eq!(sim.end_as("a", Status::Failed), NOTHING, "four retries follow the first attempt and no more");
    assert_eq!(sim.engine.wake_at(), None);
}

#[test]
fn a_success_ends_the_retries_and_a_run_between_attempts_counts_as_active() {
    let (mut sim, _) = Sim::started("10:00:00", &[("a", "every: 1m\ncommand: x\nretry: { max: 9, delay: 50s }\n")]);
    assert_eq!(sim.until("10:01:30"), ["a INTERVAL 10:01:00"]);
    assert_eq!(sim.end_as("a", Status::Timeout), ["a attempt 2 of 10 in 50s at 10:02:20"]);
    assert_eq!(
        sim.until("10:02:20"),
        ["a INTERVAL skipped 1: 10:02:00: run RUN is still active", "a INTERVAL 10:01:00 attempt 2"]
    );
    assert_eq!(sim.end("a"), NOTHING);
    assert_eq!(sim.until("10:03:00"), ["a INTERVAL 10:03:00"]);
}

#[test]
fn a_run_between_attempts_leaves_its_place_to_others() {
    let (mut sim, _) = Sim::started(
        "10:00:00",
        &[
            ("a", "manual: true\ncommand: x\nretry: { max: 1, delay: 10s }\n"),
            ("b", "manual: true\ncommand: x\n"),
            ("c", "manual: true\ncommand: x\n"),
        ],
    );
    with_pools(&mut sim, 1, &[]);
    sim.ask("a");
    assert_eq!(sim.ask("b"), ["accepted, waits"]);
    assert_eq!(sim.end_as("a", Status::Failed), ["a attempt 2 of 2 in 10s at 10:00:10", "b MANUAL 10:00:00"]);
    assert_eq!(sim.until("10:00:10"), NOTHING, "the place is taken");
    assert_eq!(sim.end("b"), ["a MANUAL 10:00:00 attempt 2"]);
    assert_eq!(sim.ask("c"), ["accepted, waits"]);
    assert_eq!(sim.end("a"), ["c MANUAL 10:00:10"]);
}

#[test]
fn a_wait_between_attempts_is_ended_by_cancel_by_the_jobs_removal_and_by_a_stop() {
    let text = "manual: true\ncommand: x\nretry: { max: 3 }\n";
    let waiting = || {
        let (mut sim, _) = Sim::started("10:00:00", &[("a", text)]);
        sim.ask("a");
        let (run, _) = sim.active[0].clone();
        sim.end_as("a", Status::Failed);
        (sim, run)
    };
    let (mut sim, run) = waiting();
    let said = sim.tell(Event::Cancel { run, reason: "cancelled by a person".into() });
    assert_eq!(said, ["a abandoned after attempt 1: cancelled by a person"]);
    assert_eq!(sim.until("11:00:00"), NOTHING);
    let (mut sim, _) = waiting();
    let reason = "the job was removed while the run waited for its next attempt";
    assert_eq!(sim.remove("a"), [format!("a abandoned after attempt 1: {reason}")]);
    assert_eq!(sim.until("11:00:00"), NOTHING);
    let (mut sim, _) = waiting();
    let reason = "the runner stopped while the run waited for its next attempt";
    assert_eq!(sim.tell(Event::Stop), [format!("a abandoned after attempt 1: {reason}")]);
    assert_eq!(sim.engine.wake_at(), None);
}

#[test]
fn an_attempt_that_fails_while_the_runner_stops_or_after_its_job_is_gone_is_the_last_one() {
    let text = "manual: true\ncommand: x\nretry: { max: 3 }\n";
    let (mut sim, _) = Sim::started("10:00:00", &[("a", text)]);
    sim.ask("a");
    sim.tell(Event::Stop);
    let reason = "the runner stopped while the run waited for its next attempt";
    assert_eq!(sim.end_as("a", Status::Failed), [format!("a abandoned after attempt 1: {reason}")]);
    let (mut sim, _) = Sim::started("10:00:00", &[("a", text)]);
    sim.ask("a");
    sim.remove("a");
    let reason = "the job was removed while the run waited for its next attempt";
    assert_eq!(sim.end_as("a", Status::Failed), [format!("a abandoned after attempt 1: {reason}")]);
}

#[test]
fn a_run_that_is_told_to_end_is_told_once_and_not_tried_again() {
    let (mut sim, _) = Sim::started("10:00:00", &[("a", "manual: true\ncommand: x\nretry: { max: 3 }\n")]);
    sim.ask("a");
    let (run, _) = sim.active[0].clone();
    let cancel = || Event::Cancel { run, reason: "cancelled by a person".into() };
    assert_eq!(sim.tell(cancel()), ["end a run: cancelled by a person"]);
    assert_eq!(sim.tell(cancel()), NOTHING);
    assert_eq!(
        sim.end_as("a", Status::Failed),
        ["a abandoned after attempt 1: cancelled by a person"],
        "it failed by itself before the signal came"
    );
}

#[test]
fn a_changed_job_keeps_its_retry_under_the_spec_that_the_run_began_with() {
    let text =
        |delay: &str| format!("manual: true\ncommand: x\nretry: {{ max: 2, backoff: constant, delay: {delay} }}\n");
    let (mut sim, _) = Sim::started("10:00:00", &[("a", &text("10s"))]);
    sim.ask("a");
    sim.end_as("a", Status::Failed);
    assert_eq!(sim.load(vec![job("a", &text("1h"), at("10:00:00"))], None), NOTHING);
    assert_eq!(sim.until("10:00:10"), ["a MANUAL 10:00:00 attempt 2"]);
    assert_eq!(sim.end_as("a", Status::Failed), ["a attempt 3 of 3 in 10s at 10:00:20"]);
}

#[test]
fn a_clock_that_is_set_back_makes_no_wait_longer() {
    let (mut sim, _) = Sim::started("10:00:00", &[("a", "manual: true\ncommand: x\nretry: { max: 1, delay: 10s }\n")]);
    sim.ask("a");
    sim.end_as("a", Status::Failed);
    assert_eq!(sim.jump("09:00:00"), NOTHING);
    assert_eq!(sim.engine.wake_at(), Some(at("09:00:10")));
    assert_eq!(sim.until("09:00:10"), ["a MANUAL 10:00:00 attempt 2"]);
}

#[test]
fn after_so_many_failures_in_a_row_the_job_rests_and_one_run_probes_it_after_the_cooldown() {
    let text = "every: 1m\ncommand: x\nbreaker: { after: 2, cooldown: 5m }\noverlap: allow\n";
    let (mut sim, _) = Sim::started("10:00:00", &[("a", text)]);
    sim.until("10:01:00");
    assert_eq!(sim.end_as("a", Status::Failed), NOTHING);
    sim.until("10:02:00");
    assert_eq!(sim.end_as("a", Status::Failed), ["a breaker open after 2 until 10:07:00"]);
    let resting = "breaker open until 2024-01-15T10:07:00.000Z after 2 failed runs in a row";
    assert_eq!(sim.until("10:03:00"), [format!("a INTERVAL skipped 1: 10:03:00: {resting}")]);
    assert_eq!(sim.until("10:06:59").len(), 3);
    assert_eq!(sim.until("10:07:00"), ["a INTERVAL 10:07:00"], "one run is let through");
    let probing = "breaker half open: run RUN shows whether the job works again";
    assert_eq!(sim.until("10:08:00"), [format!("a INTERVAL skipped 1: 10:08:00: {probing}")]);
    assert_eq!(sim.end_as("a", Status::Failed), ["a breaker open after 3 until 10:13:00"]);
    assert_eq!(sim.until("10:12:59").len(), 4);
    assert_eq!(sim.until("10:13:00"), ["a INTERVAL 10:13:00"]);
    assert_eq!(sim.end("a"), ["a breaker closed"]);
    assert_eq!(sim.until("10:15:00"), ["a INTERVAL 10:14:00", "a INTERVAL 10:15:00"]);
}

#[test]
fn a_person_may_run_a_job_that_rests_and_a_cancelled_run_says_nothing_about_it() {
    let text = "manual: true\ncommand: x\nbreaker: { after: 1, cooldown: 1h }\n";
    let (mut sim, _) = Sim::started("10:00:00", &[("a", text)]);
    sim.ask("a");
    sim.end_as("a", Status::Failed);
    let said = sim.ask("a");
    assert_eq!(said, ["accepted: the job's breaker is open: only its triggers rest", "a MANUAL 10:00:00"]);
    assert_eq!(sim.end_as("a", Status::Cancelled), NOTHING);
    sim.ask("a");
    assert_eq!(sim.end("a"), ["a breaker closed"]);
    assert_eq!(sim.ask("a")[0], "accepted");
}

#[test]
fn a_breaker_survives_a_reload_and_a_restart() {
    let text = "every: 1m\ncommand: x\nbreaker: { after: 1, cooldown: 1h }\n";
    let (mut sim, _) = Sim::started("10:00:00", &[("a", text)]);
    sim.until("10:01:00");
    sim.end_as("a", Status::Failed);
    sim.load(vec![job("a", &format!("{text}timeout: 5m\n"), at("10:00:00"))], None);
    assert!(sim.until("10:02:00")[0].contains("breaker open until"));
    let mut entry = job("a", text, at("10:00:00"));
    entry.memory.last_due = Some(at("10:02:00"));
    entry.memory.interval_due = Some(at("10:02:00"));
    (entry.memory.failed_in_row, entry.memory.failed_at) = (1, Some(at("10:01:00")));
    let (mut sim, said) = Sim::restarted("10:02:30", "10:02:10", vec![entry]);
    assert_eq!(said, NOTHING);
    assert!(sim.until("10:03:00")[0].contains("breaker open until 2024-01-15T11:01:00.000Z"));
    assert_eq!(sim.until("11:01:00").last().unwrap(), "a INTERVAL 11:01:00");
}

#[test]
fn a_queue_keeps_order_up_to_its_length_and_beyond_it_the_reason_is_recorded() {
    let (mut sim, _) = Sim::started("10:00:00", &[("a", "every: 1m\ncommand: x\noverlap: queue\nmax_queued: 2\n")]);
    assert_eq!(sim.until("10:03:30"), ["a INTERVAL 10:01:00"]);
    assert_eq!(sim.engine.waiting(), 2);
    let full = "queue full: 2 runs waiting, max_queued is 2";
    assert_eq!(sim.until("10:04:00"), [format!("a INTERVAL skipped 1: 10:04:00: {full}")]);
    assert_eq!(sim.end("a"), ["a INTERVAL 10:02:00"]);
    assert_eq!(sim.end("a"), ["a INTERVAL 10:03:00"]);
    assert_eq!(sim.end("a"), NOTHING);
    assert_eq!(sim.engine.waiting(), 0);
}

#[test]
fn a_queue_survives_a_reload_takes_the_new_limits_and_is_recorded_when_its_job_goes() {
    let text = |more: &str| format!("every: 1m\ncommand: x\noverlap: queue\n{more}");
    let (mut sim, _) = Sim::started("10:00:00", &[("a", &text(""))]);
    sim.until("10:03:30");
    assert_eq!(
        sim.load(vec![job("a", &text("max_instances: 2\n"), at("10:00:00"))], None),
        ["a INTERVAL 10:02:00"],
        "more may run at once now"
    );
    let reason = "the job was removed while the run waited for its turn";
    assert_eq!(sim.remove("a"), [format!("a INTERVAL skipped 1: 10:03:00: {reason}")]);
}

#[test]
fn a_waiting_run_can_be_cancelled() {
    let (mut sim, _) = Sim::started("10:00:00", &[("a", "every: 1m\ncommand: x\noverlap: queue\n")]);
    sim.until("10:02:00");
    let run = sim.waiting();
    let said = sim.tell(Event::Cancel { run, reason: "cancelled by a person".into() });
    assert_eq!(said, ["a INTERVAL 10:02:00 cancelled: cancelled by a person"]);
    assert_eq!(sim.end("a"), NOTHING);
}

#[test]
fn replace_ends_the_oldest_run_and_starts_the_new_one_when_it_has_gone() {
    let (mut sim, _) = Sim::started("10:00:00", &[("a", "every: 1m\ncommand: x\noverlap: replace\n")]);
    sim.until("10:01:00");
    assert_eq!(sim.until("10:02:00"), ["end a run: replaced by run RUN"]);
    // A third comes before the first has gone: it takes the place of the second.
    assert_eq!(sim.until("10:03:00"), ["a INTERVAL skipped 1: 10:02:00: replaced by run RUN"]);
    assert_eq!(sim.end_as("a", Status::Cancelled), ["a INTERVAL 10:03:00"]);
    assert_eq!(sim.engine.waiting(), 0);
}

#[test]
fn replace_ends_a_run_that_waits_for_its_next_attempt_at_once() {
    let text = "every: 1m\ncommand: x\noverlap: replace\nretry: { max: 1, delay: 10m }\n";
    let (mut sim, _) = Sim::started("10:00:00", &[("a", text)]);
    sim.until("10:01:00");
    sim.end_as("a", Status::Failed);
    assert_eq!(sim.until("10:02:00"), ["a abandoned after attempt 1: replaced by run RUN", "a INTERVAL 10:02:00"]);
}

#[test]
fn a_pool_is_shared_and_the_higher_priority_goes_first() {
    let of = |priority: u8| format!("manual: true\ncommand: x\npool: p\npriority: {priority}\n");
    let jobs = [("a", of(5)), ("low", of(1)), ("high", of(10)), ("b", "manual: true\ncommand: x\n".into())];
    let jobs: Vec<(&str, &str)> = jobs.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let (mut sim, _) = Sim::started("10:00:00", &jobs);
    with_pools(&mut sim, 9, &[("p", Some(1), None)]);
    assert_eq!(sim.ask("a"), ["accepted", "a MANUAL 10:00:00"]);
    assert_eq!(sim.ask("low"), ["accepted, waits"]);
    assert_eq!(sim.ask("high"), ["accepted, waits"]);
    assert_eq!(sim.ask("b"), ["accepted", "b MANUAL 10:00:00"], "the pool holds up nobody else");
    assert_eq!(sim.end("a"), ["high MANUAL 10:00:00"]);
    assert_eq!(sim.end("high"), ["low MANUAL 10:00:00"]);
}

#[test]
fn a_pools_rate_lets_the_next_one_begin_when_its_span_allows() {
    let (mut sim, _) =
        Sim::started("10:00:00", &[("a", "every: 10s\ncommand: [x]\npool: p\noverlap: queue\nmax_instances: 9\n")]);
    with_pools(&mut sim, 9, &[("p", None, Some((2, 60)))]);
    assert_eq!(sim.until("10:00:50"), ["a INTERVAL 10:00:10", "a INTERVAL 10:00:20"]);
    assert_eq!(sim.until("10:01:10"), ["a INTERVAL 10:00:30"]);
    assert_eq!(sim.until("10:01:20"), ["a INTERVAL 10:00:40"]);
}

#[test]
fn a_changed_priority_counts_for_what_waits_already() {
    let of = |priority: u8| format!("manual: true\ncommand: x\npriority: {priority}\n");
    let (mut sim, _) = Sim::started("10:00:00", &[("a", &of(5)), ("b", &of(5)), ("c", &of(5))]);
    with_pools(&mut sim, 1, &[]);
    for job in ["a", "b", "c"] {
        sim.ask(job);
    }
    sim.load(vec![job("c", &of(6), at("10:00:00"))], None);
    assert_eq!(sim.end("a"), ["c MANUAL 10:00:00"]);
}

#[test]
fn exact_names_are_due_once_each_of_them_has_ended_so_since_the_last_firing() {
    let manual = "manual: true\ncommand: x\n";
    let jobs = [("a", manual), ("b", manual), ("c", "after: { jobs: [a, b] }\ncommand: x\noverlap: allow\n")];
    let (mut sim, _) = Sim::started("10:00:00", &jobs);
    sim.ask("a");
    assert_eq!(sim.end("a"), NOTHING);
    sim.ask("a");
    assert_eq!(sim.end("a"), NOTHING, "the same one again is not the other");
    sim.ask("b");
    assert_eq!(sim.end_as("b", Status::Failed), NOTHING, "only a success counts");
    sim.now = at("10:05:00");
    sim.ask("b");
    assert_eq!(sim.end("b"), ["c AFTER 10:05:00"]);
    sim.ask("b");
    assert_eq!(sim.end("b"), NOTHING, "`a` has not ended since");
    sim.ask("a");
    assert_eq!(sim.end("a"), ["c AFTER 10:05:00"]);
}

#[test]
fn a_pattern_is_due_at_each_end_of_any_that_matches_but_never_of_the_job_itself() {
    let jobs = [
        ("etl/a", "manual: true\ncommand: x\n"),
        ("other", "manual: true\ncommand: x\n"),
        ("alarm", "after: { jobs: ['*'], when: failure }\ncommand: x\noverlap: allow\n"),
    ];
    let (mut sim, _) = Sim::started("10:00:00", &jobs);
    sim.ask("etl/a");
    assert_eq!(sim.end("etl/a"), NOTHING);
    for status in [Status::Failed, Status::Timeout, Status::Interrupted] {
        sim.ask("etl/a");
        assert_eq!(sim.end_as("etl/a", status), ["alarm AFTER 10:00:00"]);
        assert_eq!(sim.end_as("alarm", Status::Failed), NOTHING, "it is no alarm for itself");
    }
    sim.ask("other");
    assert_eq!(sim.end_as("other", Status::Cancelled), NOTHING);
}

#[test]
fn only_the_last_attempt_of_a_parent_counts_and_its_skipped_firings_do_not() {
    let jobs = [
        ("a", "every: 1m\ncommand: x\nretry: { max: 1 }\n"),
        ("alarm", "after: { jobs: [a], when: failure }\ncommand: x\n"),
    ];
    let (mut sim, _) = Sim::started("10:00:00", &jobs);
    sim.until("10:01:00");
    assert_eq!(sim.until("10:02:00"), ["a INTERVAL skipped 1: 10:02:00: run RUN is still active"]);
    assert_eq!(sim.end_as("a", Status::Failed), ["a attempt 2 of 2 in 1s at 10:02:01"]);
    sim.until("10:02:01");
    assert_eq!(sim.end_as("a", Status::Failed), ["alarm AFTER 10:02:01"]);
}

#[test]
fn a_chain_that_comes_back_through_patterns_ends_there() {
    let jobs = [
        ("job", "manual: true\ncommand: x\n"),
        ("alarm", "after: { jobs: ['*'], when: failure }\ncommand: x\noverlap: allow\n"),
        ("pager", "after: { jobs: ['*'], when: failure }\ncommand: x\noverlap: allow\n"),
    ];
    let (mut sim, _) = Sim::started("10:00:00", &jobs);
    sim.ask("job");
    assert_eq!(sim.end_as("job", Status::Failed), ["alarm AFTER 10:00:00", "pager AFTER 10:00:00"]);
    assert_eq!(sim.end_as("alarm", Status::Failed), ["pager AFTER 10:00:00"]);
    // Each has failed once for the other: here it ends.
    assert_eq!(sim.end_as("pager", Status::Failed), ["alarm AFTER 10:00:00"]);
    assert_eq!(
        sim.end_as("pager", Status::Failed),
        ["alarm AFTER skipped 1: 10:00:00: the chain came back to it: alarm -> pager -> alarm"]
    );
    assert_eq!(
        sim.end_as("alarm", Status::Failed),
        ["pager AFTER skipped 1: 10:00:00: the chain came back to it: pager -> alarm -> pager"]
    );
    assert_eq!(sim.active.len(), 0);
}

#[test]
fn a_paused_or_disabled_child_does_not_fire() {
    let manual = "manual: true\ncommand: x\n";
    let (mut sim, _) = Sim::started(
        "10:00:00",
        &[
            ("a", manual),
            ("b", "after: { jobs: [a] }\ncommand: x\n"),
            ("c", "after: { jobs: [a] }\nenabled: false\ncommand: x\n"),
        ],
    );
    sim.pause("b", None);
    sim.ask("a");
    assert_eq!(sim.end("a"), ["b AFTER skipped 1: 10:00:00: paused"]);
    sim.resume("b");
    assert_eq!(sim.until("10:30:00"), NOTHING);
}

#[test]
fn an_end_that_came_just_before_a_crash_makes_its_child_due_at_the_next_start() {
    let manual = "manual: true\ncommand: x\n";
    let child = |arrived: &[(&str, Status, &str)], more: &str| {
        let mut entry = job("c", &format!("after: {{ jobs: [a, b] }}\ncommand: x\n{more}"), at("09:00:00"));
        entry.memory.arrived = arrived
            .iter()
            .map(|(parent, status, ended)| {
                (Parent { job: JobName::new(parent).unwrap(), run: run_id(1), status: *status }, at(ended))
            })
            .collect();
        vec![job("a", manual, at("09:00:00")), job("b", manual, at("09:00:00")), entry]
    };
    let start = |entries| Sim::restarted("10:00:30", "10:00:00", entries).1;
    let ok = Status::Success;
    assert_eq!(start(child(&[("a", ok, "09:50:00"), ("b", ok, "10:00:00")], "")), ["c AFTER 10:00:00"]);
    let late = child(&[("a", ok, "09:50:00"), ("b", ok, "09:59:00")], "");
    let down = "the runner was down from 2024-01-15T10:00:00.000Z to 2024-01-15T10:00:30.000Z";
    assert_eq!(start(late), [format!("c AFTER missed 1: 09:59:00: due after a, b, too late: {down}")]);
    let late = child(&[("a", ok, "09:50:00"), ("b", ok, "09:59:00")], "catch_up: { policy: last }\n");
    assert_eq!(start(late), ["c AFTER 09:59:00"]);
    assert_eq!(start(child(&[("a", ok, "10:00:00"), ("b", Status::Failed, "10:00:00")], "")), NOTHING);
    // What had come of one parent is not forgotten: the other one's end completes it.
    let (mut sim, said) = Sim::restarted("10:00:30", "10:00:00", child(&[("a", ok, "09:00:01")], ""));
    assert_eq!(said, NOTHING);
    sim.ask("b");
    assert_eq!(sim.end("b"), ["c AFTER 10:00:30"]);
}

fn caught_up(policy: &str, down_since: &str, now: &str) -> Vec<String> {
    let text = format!("every: 10m\ncommand: x\n{policy}\n");
    let mut entry = job("a", &text, at("08:00:00"));
    entry.memory.interval_due = Some(at("09:00:00"));
    entry.memory.last_due = Some(at("09:00:00"));
    Sim::restarted(now, down_since, vec![entry]).1
}

#[test]
fn due_times_in_down_time_are_caught_up_as_the_policy_says() {
    let down = "the runner was down from 2024-01-15T09:05:00.000Z to 2024-01-15T10:00:30.000Z";
    let said = |policy| caught_up(policy, "09:05:00", "10:00:30");
    let missed = format!("a INTERVAL missed 5: 09:10:00..09:50:00: {down}");
    assert_eq!(said(""), [missed.clone(), "a INTERVAL 10:00:00".into()], "the newest is within the grace");
    assert_eq!(said("misfire_grace: 10s"), [format!("a INTERVAL missed 6: 09:10:00..10:00:00: {down}")]);
    assert_eq!(said("catch_up: { policy: none }"), [missed, "a INTERVAL 10:00:00".into()]);
    assert_eq!(
        said("catch_up: { policy: last }"),
        [
            format!("a INTERVAL missed 5: 09:10:00..09:50:00: {down}; catch_up runs only the newest"),
            "a CATCH_UP 10:00:00".into()
        ]
    );
    assert_eq!(said("catch_up: { policy: last }\nmisfire_grace: 0s").last().unwrap(), "a CATCH_UP 10:00:00");
    assert_eq!(
        said("catch_up: { policy: last, within: 10s }").last().unwrap(),
        &format!("a INTERVAL missed 1: 10:00:00: {down}; older than catch_up.within, 10s")
    );
    assert_eq!(
        said("catch_up: { policy: all, max: 2 }"),
        [
            format!("a INTERVAL missed 4: 09:10:00..09:40:00: {down}; catch_up runs only the newest 2"),
            "a CATCH_UP 09:50:00".into()
        ]
    );
}

#[test]
fn all_that_is_caught_up_runs_one_after_another_the_oldest_first_whatever_the_overlap() {
    for overlap in ["skip", "queue", "replace"] {
        let text = format!("every: 10m\ncommand: x\noverlap: {overlap}\nmax_queued: 0\ncatch_up: {{ policy: all }}\n");
        let mut entry = job("a", &text, at("08:00:00"));
        entry.memory.interval_due = Some(at("09:00:00"));
        let (mut sim, said) = Sim::restarted("09:30:30", "09:05:00", vec![entry]);
        assert_eq!(said, ["a CATCH_UP 09:10:00"], "{overlap}");
        assert_eq!(sim.engine.waiting(), 2);
        assert_eq!(sim.end("a"), ["a CATCH_UP 09:20:00"]);
        assert_eq!(sim.end("a"), ["a CATCH_UP 09:30:00"]);
        assert_eq!(sim.end("a"), NOTHING);
        assert_eq!(sim.until("09:40:00"), ["a INTERVAL 09:40:00"]);
    }
}

#[test]
fn a_suspend_is_caught_up_like_down_time_and_what_is_on_time_keeps_its_own_trigger() {
    let (mut sim, _) =
        Sim::started("10:00:00", &[("a", "every: 10m\ncommand: x\noverlap: allow\ncatch_up: { policy: all }\n")]);
    assert_eq!(sim.until("10:10:00"), ["a INTERVAL 10:10:00"]);
    assert_eq!(sim.jump("10:20:00.004"), ["a INTERVAL 10:20:00"]);
    assert_eq!(sim.jump("10:45:00"), ["a CATCH_UP 10:30:00"]);
    assert_eq!([sim.end("a"), sim.end("a")], [NOTHING; 2]);
    assert_eq!(sim.end("a"), ["a CATCH_UP 10:40:00"]);
    assert_eq!(sim.end("a"), NOTHING);
    assert_eq!(sim.jump("10:55:00"), ["a CATCH_UP 10:50:00"], "it is five minutes late");
}

#[test]
fn after_a_suspend_the_newest_alone_is_caught_up_where_the_policy_says_last() {
    let text = "every: 10m\ncommand: x\noverlap: allow\ncatch_up: { policy: last }\n";
    let (mut sim, _) = Sim::started("10:00:00", &[("a", text)]);
    assert_eq!(
        sim.jump("10:30:05"),
        [
            "a INTERVAL missed 2: 10:10:00..10:20:00: it was handled late: nothing was handled from 2024-01-15T10:10:00.000Z to \
             2024-01-15T10:30:05.000Z; catch_up runs only the newest",
            "a INTERVAL 10:30:00"
        ],
        "five seconds late is within the grace"
    );
    assert_eq!(sim.jump("10:40:05"), ["a INTERVAL 10:40:00"]);
    assert_eq!(sim.jump("11:01:01").last().unwrap(), "a CATCH_UP 11:00:00", "a second too late for the grace");
    // Two triggers that are due at one instant are one due time.
    let text = "every: 10m\nschedule: '*/10 * * * *'\ncommand: x\ncatch_up: { policy: all }\n";
    let (mut sim, _) = Sim::started("10:00:00", &[("a", text)]);
    assert_eq!(sim.until("10:10:00"), ["a CRON 10:10:00"]);
}

#[test]
fn an_at_is_caught_up_by_default_and_other_triggers_are_not() {
    let entry = |text: &str| vec![job("a", text, at("08:00:00"))];
    let text = "at: '2024-01-15T09:30:00'\nschedule: '40 9 * * *'\ncommand: x\noverlap: allow\n";
    let (mut sim, said) = Sim::restarted("10:00:00", "09:00:00", entry(text));
    let down = "the runner was down from 2024-01-15T09:00:00.000Z to 2024-01-15T10:00:00.000Z";
    assert_eq!(said, [format!("a CRON missed 1: 09:40:00: {down}"), "a CATCH_UP 09:30:00".into()]);
    assert_eq!(sim.until("23:00:00"), NOTHING);
    let (_, said) = Sim::restarted("10:00:00", "09:00:00", entry(&format!("{text}catch_up: {{ policy: none }}\n")));
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said.iter().all(|line| line.contains("missed 1")), "what is written holds for all triggers: {said:?}");
}

#[test]
fn very_many_due_times_are_caught_up_without_going_through_them_all() {
    let mut entry =
        job("a", "schedule: '* * * * * *'\ncommand: x\ncatch_up: { policy: all, max: 3 }\n", at("-9 00:00:00"));
    entry.memory.last_due = Some(at("-9 00:00:00"));
    let begun = std::time::Instant::now();
    let (mut sim, said) = Sim::restarted("10:00:00", "-9 00:00:00", vec![entry]);
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    assert!(said[0].contains("missed 10000: 2024-01-06 00:00:01..09:59:57"), "{said:?}");
    assert!(said[0].ends_with("catch_up runs only the newest 3 (counted up to 10000)"), "{said:?}");
    assert_eq!(said[1], "a CATCH_UP 09:59:58");
    assert_eq!(sim.end("a"), ["a CATCH_UP 09:59:59"]);
    assert_eq!(sim.end("a"), ["a CATCH_UP 10:00:00"]);
    assert_eq!(sim.engine.waiting(), 0);
}

#[test]
fn runs_that_waited_when_the_runner_was_killed_are_accounted_for_at_the_next_start() {
    let entry = |policy: &str| {
        let mut entry = job("a", &format!("every: 10m\ncommand: x\n{policy}"), at("08:00:00"));
        entry.memory.interval_due = Some(at("09:50:00"));
        entry.memory.last_due = Some(at("09:50:00"));
        entry.memory.owed = [
            (TriggeredBy::Interval, at("09:40:00")),
            (TriggeredBy::Interval, at("09:50:00")),
            (TriggeredBy::Manual, at("09:51:00")),
        ]
        .map(|(triggered_by, due)| Owed { run: run_id(due.as_second() as u64), triggered_by, due })
        .into();
        vec![entry]
    };
    let start = |policy| Sim::restarted("09:55:00", "09:54:30", entry(policy)).1;
    let down = "the runner was down from 2024-01-15T09:54:30.000Z to 2024-01-15T09:55:00.000Z";
    let manual = "a MANUAL missed 1: 09:51:00: the runner was killed while the run waited";
    let waited = "its run waited when the runner was killed";
    let missed = |due| format!("a INTERVAL missed 1: {due}: {waited}; {down}");
    assert_eq!(start(""), [manual, &missed("09:40:00"), &missed("09:50:00")]);
    assert_eq!(start("catch_up: { policy: all }\n")[1..], ["a CATCH_UP 09:40:00"]);
    let off = start("catch_up: { policy: all }\nenabled: false\n");
    assert!(off.len() == 3 && off.iter().all(|said| said.ends_with("and the job is disabled now")), "{off:?}");
}

#[test]
fn jitter_shifts_every_due_time_by_a_part_that_is_the_jobs_own_and_always_the_same() {
    let dues = |name: &str, jitter: &str| {
        let text = format!("schedule: '*/10 * * * *'\njitter: {jitter}\ncommand: x\noverlap: allow\n");
        let mut sim = Sim::new("10:00:00", 64);
        sim.load(vec![job(name, &text, at("10:00:00"))], Some(Starting { down_since: None }));
        let mut found = Vec::new();
        while found.len() < 3 {
            let wake = sim.engine.wake_at().unwrap();
            sim.now = wake;
            sim.tell(Event::Wake);
            found.push(wake);
        }
        found
    };
    assert_eq!(dues("a", "0s"), [at("10:10:00"), at("10:20:00"), at("10:30:00")]);
    let shifted = dues("a", "5m");
    let shift = shifted[0].duration_since(at("10:00:00"));
    assert!(shift.as_secs() < 300 + 600, "{shift}");
    assert_eq!(shifted, dues("a", "5m"));
    assert_ne!(shifted, dues("b", "5m"));
    assert_eq!(shifted[1].duration_since(shifted[0]).as_secs(), 600);
    // An interval's grid begins so much later, and then keeps its steps over a restart.
    let text = "every: 10m\njitter: 5m\ncommand: x\noverlap: allow\n";
    let (mut sim, _) = Sim::started("10:00:00", &[("a", text)]);
    let first = sim.engine.wake_at().unwrap();
    assert!(first >= at("10:10:00") && first <= at("10:15:00"), "{first}");
    sim.until("10:20:00");
    let mut entry = job("a", text, at("10:00:00"));
    entry.memory.interval_due = Some(first);
    entry.memory.last_due = Some(first);
    let (mut again, _) = Sim::restarted("10:20:01", "10:20:00", vec![entry]);
    assert_eq!(again.engine.wake_at(), sim.engine.wake_at());
}

#[test]
fn due_times_in_a_blackout_are_skipped_those_outside_of_it_run_and_a_person_may_always() {
    let text = "every: 10m\ncommand: x\noverlap: allow\nblackout: [{ from: '10:15', to: '10:40' }]\n";
    let (mut sim, _) = Sim::started("10:00:00", &[("a", text)]);
    assert_eq!(
        sim.until("10:40:00"),
        [
            "a INTERVAL 10:10:00",
            "a INTERVAL skipped 1: 10:20:00: blackout: 10:15 to 10:40",
            "a INTERVAL skipped 1: 10:30:00: blackout: 10:15 to 10:40",
            "a INTERVAL 10:40:00"
        ]
    );
    // Of many that passed, those inside are skipped and those outside are what the misfire is about.
    let (mut sim, _) = Sim::started("10:00:00", &[("a", &format!("{text}catch_up: {{ policy: all }}\n"))]);
    assert_eq!(
        sim.jump("10:50:01"),
        ["a INTERVAL skipped 2: 10:20:00..10:30:00: blackout: 10:15 to 10:40", "a CATCH_UP 10:10:00",]
    );
    assert_eq!([sim.end("a"), sim.end("a")], [["a CATCH_UP 10:40:00"], ["a CATCH_UP 10:50:00"]]);
    sim.now = at("+1 10:16:00");
    assert_eq!(sim.ask("a").last().unwrap(), "a MANUAL 2024-01-16 10:16:00");
}

#[test]
fn disabling_a_job_drops_what_waits_but_ends_no_run_and_no_retry() {
    let text = |more: &str| format!("every: 1m\ncommand: x\noverlap: queue\nretry: {{ max: 1, delay: 10s }}\n{more}");
    let (mut sim, _) = Sim::started("10:00:00", &[("a", &text(""))]);
    assert_eq!(sim.until("10:02:30"), ["a INTERVAL 10:01:00"]);
    assert_eq!(sim.ask("a"), ["accepted, waits"]);
    let reason = "the job was disabled while the run waited for its turn";
    assert_eq!(
        sim.load(vec![job("a", &text("enabled: false\n"), at("10:00:00"))], None),
        [format!("a INTERVAL skipped 1: 10:02:00: {reason}")]
    );
    assert_eq!(sim.end_as("a", Status::Failed), ["a attempt 2 of 2 in 10s at 10:02:40"]);
    assert_eq!(sim.until("10:02:40"), ["a INTERVAL 10:01:00 attempt 2"]);
    assert_eq!(sim.end("a"), ["a MANUAL 10:02:30"]);
    assert_eq!(sim.until("11:00:00"), NOTHING);
}

#[test]
fn what_is_caught_up_runs_one_after_another_also_where_several_may_run() {
    for overlap in ["overlap: allow", "max_instances: 3", "overlap: queue\nmax_instances: 3"] {
        let text = format!("every: 10m\ncommand: x\n{overlap}\ncatch_up: {{ policy: all }}\n");
        let mut entry = job("a", &text, at("08:00:00"));
        entry.memory.interval_due = Some(at("09:00:00"));
        let (mut sim, said) = Sim::restarted("09:30:30", "09:05:00", vec![entry]);
        assert_eq!(said, ["a CATCH_UP 09:10:00"], "{overlap}");
        assert_eq!(sim.engine.waiting(), 2);
        // What comes due meanwhile follows `overlap`, and is not held up by those that stand in line.
        assert_eq!(sim.until("09:40:00"), ["a INTERVAL 09:40:00"], "{overlap}");
        assert_eq!(sim.ask("a"), ["accepted", "a MANUAL 09:40:00"], "{overlap}");
        assert_eq!(sim.end("a"), ["a CATCH_UP 09:20:00"], "{overlap}");
        // Neither of the other two is of the line.
        assert_eq!(sim.end("a"), NOTHING, "{overlap}");
        assert_eq!(sim.end("a"), NOTHING, "{overlap}");
        assert_eq!(sim.end("a"), ["a CATCH_UP 09:30:00"], "{overlap}");
        assert_eq!(sim.end("a"), NOTHING);
        assert_eq!(sim.engine.waiting(), 0);
    }
}

#[test]
fn replace_neither_ends_nor_drops_what_is_caught_up_and_waits_behind_it() {
    let text = "every: 10m\ncommand: x\noverlap: replace\ncatch_up: { policy: all }\n";
    let mut entry = job("a", text, at("08:00:00"));
    entry.memory.interval_due = Some(at("09:00:00"));
    let (mut sim, said) = Sim::restarted("09:30:30", "09:05:00", vec![entry]);
    assert_eq!(said, ["a CATCH_UP 09:10:00"]);
    assert_eq!(sim.until("09:40:00"), NOTHING);
    assert_eq!(sim.until("09:50:00"), ["a INTERVAL skipped 1: 09:40:00: replaced by run RUN"]);
    assert_eq!(sim.engine.waiting(), 3);
    assert_eq!(sim.end("a"), ["a CATCH_UP 09:20:00"]);
    assert_eq!(sim.end("a"), ["a CATCH_UP 09:30:00"]);
    assert_eq!(sim.end("a"), ["a INTERVAL 09:50:00"]);
    assert_eq!(sim.until("10:00:00"), ["end a run: replaced by run RUN"], "the line is at its end");
    assert_eq!(sim.end_as("a", Status::Cancelled), ["a INTERVAL 10:00:00"]);
}

#[test]
fn with_places_for_two_replace_ends_the_run_that_is_not_of_the_line() {
    let text = "every: 10m\ncommand: x\noverlap: replace\nmax_instances: 2\ncatch_up: { policy: all }\n";
    let mut entry = job("a", text, at("08:00:00"));
    entry.memory.interval_due = Some(at("09:00:00"));
    let (mut sim, said) = Sim::restarted("09:30:30", "09:05:00", vec![entry]);
    assert_eq!(said, ["a CATCH_UP 09:10:00"]);
    assert_eq!(sim.until("09:40:00"), ["a INTERVAL 09:40:00"]);
    assert_eq!(sim.until("09:50:00"), ["end a run: replaced by run RUN"]);
    let of_the_line = sim.active.remove(0);
    assert_eq!(sim.end_as("a", Status::Cancelled), ["a INTERVAL 09:50:00"], "it goes before those in line");
    sim.active.insert(0, of_the_line);
    assert_eq!(sim.end("a"), ["a CATCH_UP 09:20:00"]);
}

#[test]
fn a_pool_that_goes_limits_those_that_name_it_as_before() {
    let text = "manual: true\ncommand: x\npool: p\noverlap: allow\n";
    let (mut sim, _) = Sim::started("10:00:00", &[("a", text), ("b", text)]);
    with_pools(&mut sim, 9, &[("p", Some(1), None)]);
    assert_eq!(sim.ask("a"), ["accepted", "a MANUAL 10:00:00"]);
    assert_eq!(sim.ask("b"), ["accepted, waits"]);
    assert_eq!(with_pools(&mut sim, 9, &[("q", Some(5), None)]), NOTHING, "who waits goes on waiting");
    assert_eq!(with_pools(&mut sim, 9, &[("q", Some(6), None)]), NOTHING);
    assert_eq!(sim.ask("a"), ["accepted, waits"]);
    assert_eq!(sim.end("a"), ["b MANUAL 10:00:00"]);
    assert_eq!(sim.end("b"), ["a MANUAL 10:00:00"]);
    assert_eq!(sim.end("a"), NOTHING);
    // Nothing of it is active: those that are loaded name it all the same.
    assert_eq!(with_pools(&mut sim, 9, &[]), NOTHING);
    assert_eq!([sim.ask("a").len(), sim.ask("b").len()], [2, 1]);
    // It is back, and larger.
    assert_eq!(with_pools(&mut sim, 9, &[("p", Some(2), None)]), ["b MANUAL 10:00:00"]);
}

#[test]
fn a_pool_that_goes_limits_a_run_between_two_attempts_that_began_in_it() {
    let text = |pool: &str| format!("manual: true\ncommand: x\npool: {pool}\nretry: {{ max: 1, delay: 10s }}\n");
    let (mut sim, _) = Sim::started("10:00:00", &[("a", &text("p"))]);
    with_pools(&mut sim, 9, &[("p", None, Some((1, 60))), ("q", Some(9), None)]);
    sim.ask("a");
    sim.end_as("a", Status::Failed);
    sim.load(vec![job("a", &text("q"), at("10:00:00"))], None);
    with_pools(&mut sim, 9, &[("q", Some(9), None)]);
    assert_eq!(sim.until("10:00:59"), NOTHING);
    assert_eq!(sim.until("10:01:00"), ["a MANUAL 10:00:00 attempt 2"]);
}

#[test]
fn a_pool_that_nobody_has_told_of_lets_one_run_through_at_a_time() {
    let text = "manual: true\ncommand: x\npool: p\noverlap: allow\n";
    let (mut sim, _) = Sim::started("10:00:00", &[("a", text), ("b", text)]);
    assert_eq!(sim.ask("a"), ["accepted", "a MANUAL 10:00:00"]);
    assert_eq!(sim.ask("b"), ["accepted, waits"]);
    assert_eq!(sim.end("a"), ["b MANUAL 10:00:00"]);
    assert_eq!(sim.ask("a"), ["accepted, waits"]);
    assert_eq!(with_pools(&mut sim, 9, &[("p", Some(2), None)]), ["a MANUAL 10:00:00"]);
}

#[test]
fn of_very_many_due_times_those_in_a_blackout_are_skipped_and_the_newest_outside_of_it_is_caught_up() {
    // Nine days of seconds; open is one second in each night and, at last, nothing for ten hours.
    let text = |policy: &str| {
        format!(
            "schedule: '* * * * * *'\ncommand: x\noverlap: allow\nblackout: [{{ from: '00:00:03', to: '00:00:00' }}]\n\
             catch_up: {{ policy: {policy}, max: 4, within: 30d }}\n"
        )
    };
    let start = |policy| {
        let mut entry = job("a", &text(policy), at("-9 00:00:00"));
        entry.memory.last_due = Some(at("-9 00:00:00"));
        let begun = std::time::Instant::now();
        let (sim, said) = Sim::restarted("10:00:00", "-9 00:00:00", vec![entry]);
        assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
        (sim, said)
    };
    let down = "the runner was down from 2024-01-06T00:00:00.000Z to 2024-01-15T10:00:00.000Z";
    let skipped =
        "a CRON skipped 10000: 2024-01-06 00:00:03..10:00:00: blackout: 00:00:03 to 00:00:00 (counted up to 10000)";
    let (_, said) = start("none");
    assert_eq!(said, [skipped, &format!("a CRON missed 29: 2024-01-06 00:00:01..00:00:02: {down}")]);
    let (_, said) = start("last");
    assert_eq!(said[0], skipped);
    assert_eq!(
        said[1],
        format!("a CRON missed 28: 2024-01-06 00:00:01..00:00:01: {down}; catch_up runs only the newest")
    );
    assert_eq!(said[2..], ["a CATCH_UP 00:00:02"]);
    let (mut sim, said) = start("all");
    assert_eq!(said.last().unwrap(), "a CATCH_UP 2024-01-14 00:00:02");
    for due in ["00:00:00", "00:00:01", "00:00:02"] {
        assert_eq!(sim.end("a"), [format!("a CATCH_UP {due}")]);
    }
    assert_eq!(sim.end("a"), NOTHING);
}

#[test]
fn a_queue_that_may_hold_none_holds_none_also_where_a_place_is_about_to_be_given_away() {
    let jobs = [
        ("first", "manual: true\ncommand: x\n"),
        ("waits", "manual: true\ncommand: x\n"),
        ("child", "after: { jobs: [first] }\ncommand: x\nmax_queued: 0\n"),
    ];
    let (mut sim, _) = Sim::started("10:00:00", &jobs);
    with_pools(&mut sim, 1, &[]);
    sim.ask("first");
    assert_eq!(sim.ask("waits"), ["accepted, waits"]);
    let full = "queue full: 0 runs waiting, max_queued is 0";
    assert_eq!(sim.end("first"), [format!("child AFTER skipped 1: 10:00:00: {full}"), "waits MANUAL 10:00:00".into()]);
}

#[test]
fn a_raised_rate_counts_what_began_before_it_was_raised() {
    let text = "manual: true\ncommand: x\npool: p\noverlap: allow\n";
    let (mut sim, _) = Sim::started("10:00:00", &[("a", text)]);
    with_pools(&mut sim, 99, &[("p", None, Some((2, 10)))]);
    for begin in ["10:00:00", "10:00:20", "10:00:40"] {
        sim.until(begin);
        assert_eq!([sim.ask("a").len(), sim.ask("a").len()], [2, 2], "{begin}");
    }
    // Six have begun within the minute.
    with_pools(&mut sim, 99, &[("p", None, Some((7, 60)))]);
    assert_eq!(sim.ask("a").len(), 2);
    assert_eq!(sim.ask("a"), ["accepted, waits"]);
    assert_eq!(sim.until("10:00:59"), NOTHING);
    assert_eq!(sim.until("10:01:00"), ["a MANUAL 10:00:40"]);
}
