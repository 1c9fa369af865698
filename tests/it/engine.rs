//! The engine decides alone and by the times it is told: every promise about due times, shown on a clock of the test's own.

use std::time::{Duration, Instant};

use runner::engine::{Engine, Event, Settings, Starting};
use runner::model::{JobName, Status};

use crate::engine_sim::{Sim, at, job};

const NOTHING: [&str; 0] = [];

#[test]
fn a_schedule_comes_due_at_each_of_its_times() {
    let (mut sim, said) = Sim::started("09:59:30", &[("a", "schedule: '*/15 * * * *'\ncommand: x\noverlap: allow\n")]);
    assert_eq!(said, NOTHING);
    assert_eq!(sim.engine.wake_at(), Some(at("10:00:00")));
    assert_eq!(sim.until("09:59:59.999"), NOTHING);
    assert_eq!(sim.until("10:30:00"), ["a CRON 10:00:00", "a CRON 10:15:00", "a CRON 10:30:00"]);
}

#[test]
fn an_interval_comes_due_one_step_after_the_first_load_and_then_on_its_grid() {
    let (mut sim, said) = Sim::started("10:00:07", &[("a", "every: 10m\ncommand: x\noverlap: allow\n")]);
    assert_eq!(said, NOTHING);
    assert_eq!(sim.until("10:31:00"), ["a INTERVAL 10:10:07", "a INTERVAL 10:20:07", "a INTERVAL 10:30:07"]);
}

#[test]
fn at_comes_due_once_and_on_start_fires_at_a_start_but_not_at_a_reload() {
    let text = "at: '2024-01-15T10:00:00'\non_start: true\ncommand: x\noverlap: allow\n";
    let (mut sim, said) = Sim::started("09:00:00", &[("a", text)]);
    assert_eq!(said, ["a START 09:00:00"]);
    let changed = job("a", &format!("{text}timeout: 1h\n"), at("09:00:00"));
    assert_eq!(sim.load(vec![changed], None), NOTHING);
    assert_eq!(sim.until("10:00:00"), ["a AT 10:00:00"]);
    assert_eq!(sim.engine.wake_at(), None);
    assert_eq!(sim.until("+1 10:00:00"), NOTHING);
}

#[test]
fn an_at_that_has_run_never_runs_again_after_a_restart_not_even_with_parts_of_a_millisecond() {
    for moment in ["2024-01-15T10:00:00", "2024-01-15T10:00:00.0009"] {
        let mut entry = job("a", &format!("at: '{moment}'\ncommand: x\n"), at("-1 10:00:00"));
        entry.memory.last_due = Some(at("10:00:00"));
        let (mut sim, said) = Sim::restarted("10:00:30", "09:59:50", vec![entry]);
        assert_eq!(said, NOTHING);
        assert_eq!(sim.until("+1 10:00:00"), NOTHING);
    }
}

#[test]
fn a_job_that_is_new_does_not_run_for_a_moment_that_has_passed() {
    let (mut sim, _) = Sim::started("10:00:01", &[]);
    assert_eq!(sim.load(vec![job("a", "at: '2024-01-15T10:00:00'\ncommand: x\n", at("10:00:01"))], None), NOTHING);
    assert_eq!(sim.until("+1 10:00:00"), NOTHING);
}

#[test]
fn a_firing_while_a_run_is_active_is_skipped_with_the_reason() {
    let (mut sim, _) = Sim::started("10:00:00", &[("a", "every: 1m\ncommand: x\n")]);
    assert_eq!(sim.until("10:01:00"), ["a INTERVAL 10:01:00"]);
    assert_eq!(sim.until("10:02:30"), ["a INTERVAL skipped 1: 10:02:00: run RUN is still active"]);
    assert_eq!(sim.end("a"), NOTHING);
    assert_eq!(sim.until("10:03:00"), ["a INTERVAL 10:03:00"]);
}

#[test]
fn a_run_that_ends_at_the_instant_of_a_due_time_does_not_stand_in_its_way() {
    let (mut sim, _) = Sim::started("10:00:00", &[("a", "every: 1m\ncommand: x\n")]);
    sim.until("10:01:00");
    sim.now = at("10:02:00");
    assert_eq!(sim.end("a"), ["a INTERVAL 10:02:00"]);
}

#[test]
fn overlap_allow_lets_any_number_of_runs_be_active() {
    let (mut sim, _) = Sim::started("10:00:00", &[("a", "every: 1m\ncommand: x\noverlap: allow\n")]);
    assert_eq!(sim.until("10:50:00").len(), 50);
    assert_eq!(sim.engine.under_way().count(), 50);
}

#[test]
fn max_instances_of_three_lets_three_runs_be_active() {
    let (mut sim, _) = Sim::started("10:00:00", &[("a", "every: 1m\ncommand: x\nmax_instances: 3\n")]);
    assert_eq!(
        sim.until("10:04:00"),
        [
            "a INTERVAL 10:01:00",
            "a INTERVAL 10:02:00",
            "a INTERVAL 10:03:00",
            "a INTERVAL skipped 1: 10:04:00: 3 runs are still active, the oldest is RUN",
        ]
    );
    sim.end("a");
    assert_eq!(sim.until("10:05:00"), ["a INTERVAL 10:05:00"]);
}

#[test]
fn runs_beyond_max_concurrent_runs_wait_in_order_and_start_when_others_end() {
    let mut sim = Sim::new("10:00:00", 2);
    let jobs = ["a", "b", "c", "d"].map(|name| job(name, "schedule: '0 * * * *'\ncommand: x\n", at("10:00:00")));
    sim.load(jobs.to_vec(), Some(Starting { down_since: None }));
    let said = sim.until("11:00:00");
    assert_eq!(said.len(), 2);
    assert_eq!(sim.engine.waiting(), 2);
    let first = sim.active[0].1.clone();
    let third = sim.end(first.as_str());
    let second = sim.active[0].1.clone();
    let fourth = sim.end(second.as_str());
    assert_eq!([said, third, fourth].concat(), ["a", "b", "c", "d"].map(|name| format!("{name} CRON 11:00:00")));
    assert_eq!(sim.engine.waiting(), 0);
}

#[test]
fn a_run_that_waits_counts_as_active_so_that_its_job_is_not_queued_twice() {
    let mut sim = Sim::new("10:00:00", 1);
    let jobs = ["a", "b"].map(|name| job(name, "every: 1m\ncommand: x\n", at("10:00:00")));
    sim.load(jobs.to_vec(), Some(Starting { down_since: None }));
    assert_eq!(sim.until("10:01:00"), ["a INTERVAL 10:01:00"]);
    assert_eq!(sim.until("10:02:00").len(), 2);
    assert_eq!(sim.engine.waiting(), 1);
}

#[test]
fn raising_max_concurrent_runs_starts_what_waits() {
    let mut sim = Sim::new("10:00:00", 1);
    let jobs = ["a", "b"].map(|name| job(name, "every: 1m\ncommand: x\n", at("10:00:00")));
    sim.load(jobs.to_vec(), Some(Starting { down_since: None }));
    sim.until("10:01:00");
    assert_eq!(sim.tell(Event::Configure(Settings::new(5))), ["b INTERVAL 10:01:00"]);
}

#[test]
fn a_paused_jobs_due_times_are_skipped_and_it_goes_on_when_it_is_resumed() {
    let (mut sim, _) = Sim::started("10:00:00", &[("a", "every: 1m\ncommand: x\noverlap: allow\n")]);
    assert_eq!(sim.pause("a", None), NOTHING);
    assert_eq!(sim.engine.paused("a"), Some(None));
    assert_eq!(sim.until("10:01:00"), ["a INTERVAL skipped 1: 10:01:00: paused"]);
    sim.until("10:02:30");
    assert_eq!(sim.resume("a"), NOTHING);
    assert_eq!(sim.engine.paused("a"), None);
    assert_eq!(sim.until("10:03:00"), ["a INTERVAL 10:03:00"]);
}

#[test]
fn a_pause_with_an_end_ends_by_itself_and_a_due_time_at_its_very_end_runs() {
    let (mut sim, _) = Sim::started("10:00:00", &[("a", "every: 1m\ncommand: x\noverlap: allow\n")]);
    sim.pause("a", Some("10:02:00"));
    assert_eq!(sim.until("10:02:00"), ["a INTERVAL skipped 1: 10:01:00: paused", "a resumed", "a INTERVAL 10:02:00"]);
    assert_eq!(sim.engine.pauses().count(), 0);
}

#[test]
fn a_due_time_handled_late_counts_by_whether_it_came_during_the_pause() {
    let text = "every: 10s\ncommand: x\noverlap: allow\nmisfire_grace: 5s\n";
    let (mut sim, _) = Sim::started("10:00:00", &[("a", text)]);
    sim.now = at("10:00:12");
    // Due before the pause was asked for: it runs.
    assert_eq!(sim.pause("a", Some("10:00:25")), ["a INTERVAL 10:00:10"]);
    // Nobody was there until 10:00:52: one came during the pause, two after it were missed, one can still run.
    assert_eq!(
        sim.jump("10:00:52"),
        [
            "a INTERVAL skipped 1: 10:00:20: paused",
            "a resumed",
            "a INTERVAL missed 2: 10:00:30..10:00:40: several due times had passed, only the newest runs; nothing was handled from 2024-01-15T10:00:20.000Z to 2024-01-15T10:00:52.000Z",
            "a INTERVAL 10:00:50",
        ]
    );
    sim.pause("a", Some("10:01:05"));
    sim.now = at("10:01:11");
    assert_eq!(sim.resume("a"), ["a INTERVAL skipped 1: 10:01:00: paused", "a resumed", "a INTERVAL 10:01:10"]);
}

#[test]
fn a_pause_that_ended_while_the_runner_was_down_covers_only_its_own_due_times() {
    let mut sim = Sim::new("12:00:30", 64);
    assert_eq!(sim.pause("a", Some("10:30:00")), NOTHING);
    let mut entry = job("a", "schedule: '0 * * * *'\ncommand: x\non_start: true\noverlap: allow\n", at("-1 00:00:00"));
    entry.memory.last_due = Some(at("09:00:00"));
    let said = sim.load(vec![entry], Some(Starting { down_since: Some(at("09:30:00")) }));
    assert_eq!(
        said,
        [
            "a START 12:00:30",
            "a CRON skipped 1: 10:00:00: paused",
            "a resumed",
            "a CRON missed 1: 11:00:00: the runner was down from 2024-01-15T09:30:00.000Z to 2024-01-15T12:00:30.000Z",
            "a CRON 12:00:00",
        ]
    );
}

#[test]
fn a_pause_that_goes_on_over_a_restart_also_holds_on_start() {
    let mut sim = Sim::new("12:00:30", 64);
    sim.pause("a", None);
    let entry = job("a", "on_start: true\nevery: 1h\ncommand: x\n", at("09:00:30"));
    let said = sim.load(vec![entry], Some(Starting { down_since: Some(at("11:30:00")) }));
    assert_eq!(said, ["a START skipped 1: 12:00:30: paused", "a INTERVAL skipped 1: 12:00:30: paused"]);
}

#[test]
fn a_disabled_job_never_fires_by_itself_but_can_be_asked_for() {
    let text = "every: 1m\non_start: true\ncommand: x\nenabled: false\n";
    let (mut sim, said) = Sim::started("10:00:00", &[("a", text)]);
    assert_eq!(said, NOTHING);
    assert_eq!(sim.until("+1 10:00:00"), NOTHING);
    let said = sim.ask("a");
    assert_eq!(said[0], "accepted: the job is disabled: only its triggers rest");
    assert_eq!(said[1], "a MANUAL 2024-01-16 10:00:00");
}

#[test]
fn a_paused_job_can_be_asked_for() {
    let (mut sim, _) = Sim::started("10:00:00", &[("a", "every: 1m\ncommand: x\n")]);
    sim.pause("a", None);
    assert_eq!(sim.ask("a"), ["accepted: the job is paused: only its triggers rest", "a MANUAL 10:00:00"]);
}

#[test]
fn asking_is_refused_while_a_run_is_active_for_an_unknown_job_and_while_stopping() {
    let (mut sim, _) = Sim::started("10:00:00", &[("a", "command: x\nmanual: true\n")]);
    assert_eq!(sim.ask("a"), ["accepted", "a MANUAL 10:00:00"]);
    assert_eq!(sim.ask("a"), ["refused: run RUN is still active, and the job's overlap is skip"]);
    assert_eq!(sim.ask("b"), ["refused: there is no job `b`"]);
    sim.tell(Event::Stop);
    sim.end("a");
    assert_eq!(sim.ask("a"), ["refused: the runner is stopping"]);
}

#[test]
fn asking_beyond_max_concurrent_runs_is_told_that_it_waits() {
    let mut sim = Sim::new("10:00:00", 1);
    let jobs = ["a", "b"].map(|name| job(name, "command: x\nmanual: true\n", at("10:00:00")));
    sim.load(jobs.to_vec(), Some(Starting { down_since: None }));
    sim.ask("a");
    assert_eq!(sim.ask("b"), ["accepted, waits"]);
    assert_eq!(sim.end("a"), ["b MANUAL 10:00:00"]);
}

#[test]
fn stopping_cancels_what_waits_and_starts_nothing_more() {
    let mut sim = Sim::new("10:00:00", 1);
    let jobs = ["a", "b"].map(|name| job(name, "every: 1m\ncommand: x\n", at("10:00:00")));
    sim.load(jobs.to_vec(), Some(Starting { down_since: None }));
    sim.until("10:01:00");
    assert_eq!(
        sim.tell(Event::Stop),
        ["b INTERVAL 10:01:00 cancelled: the runner stopped while the run waited for its turn"]
    );
    assert_eq!(sim.end("a"), NOTHING);
    assert_eq!(sim.engine.wake_at(), None);
    assert_eq!(sim.jump("10:02:00"), NOTHING);
    assert_eq!(sim.load(vec![job("c", "on_start: true\ncommand: x\n", at("10:02:00"))], None), NOTHING);
}

#[test]
fn what_was_due_when_the_stop_came_is_not_forgotten() {
    let (mut sim, _) = Sim::started("10:00:00", &[("a", "every: 1m\ncommand: x\n")]);
    sim.now = at("10:01:00.005");
    assert_eq!(sim.tell(Event::Stop), ["a INTERVAL 10:01:00"]);
}

#[test]
fn an_unchanged_job_keeps_its_due_times_when_others_are_loaded() {
    let (mut sim, _) = Sim::started("10:00:00", &[("a", "every: 10m\ncommand: x\n")]);
    sim.until("10:05:00");
    sim.load(vec![job("b", "every: 10m\ncommand: x\n", at("10:05:00"))], None);
    assert_eq!(sim.until("10:15:00"), ["a INTERVAL 10:10:00", "b INTERVAL 10:15:00"]);
}

#[test]
fn a_changed_jobs_due_times_are_worked_out_from_now_and_what_was_due_before_runs_under_the_old_ones() {
    let (mut sim, _) = Sim::started("10:00:00", &[("a", "schedule: '5 * * * *'\ncommand: x\noverlap: allow\n")]);
    sim.now = at("10:05:01");
    let changed = job("a", "schedule: ['3 * * * *', '7 * * * *']\ncommand: x\noverlap: allow\n", at("10:00:00"));
    assert_eq!(sim.load(vec![changed], None), ["a CRON 10:05:00"]);
    assert_eq!(sim.until("11:05:00"), ["a CRON 10:07:00", "a CRON 11:03:00"]);
}

#[test]
fn a_changed_interval_goes_on_from_its_last_due_time() {
    let (mut sim, _) = Sim::started("10:00:00", &[("a", "every: 10m\ncommand: x\noverlap: allow\n")]);
    sim.until("10:25:00");
    let mut changed = job("a", "every: 15m\ncommand: x\noverlap: allow\n", at("10:00:00"));
    changed.memory.interval_due = Some(at("10:20:00"));
    sim.load(vec![changed], None);
    assert_eq!(sim.until("10:51:00"), ["a INTERVAL 10:35:00", "a INTERVAL 10:50:00"]);
}

#[test]
fn a_removed_jobs_waiting_run_is_recorded_and_its_active_one_still_counts() {
    let mut sim = Sim::new("10:00:00", 1);
    let jobs = ["a", "b", "c"].map(|name| job(name, "every: 1m\ncommand: x\n", at("10:00:00")));
    sim.load(jobs.to_vec(), Some(Starting { down_since: None }));
    sim.until("10:01:00");
    assert_eq!(
        sim.remove("b"),
        ["b INTERVAL skipped 1: 10:01:00: the job was removed while the run waited for its turn"]
    );
    assert_eq!(sim.remove("a"), NOTHING);
    assert_eq!(sim.remove("nobody"), NOTHING);
    sim.load(vec![job("a", "command: x\nmanual: true\n", at("10:01:00"))], None);
    assert_eq!(sim.ask("a"), ["refused: run RUN is still active, and the job's overlap is skip"]);
    assert_eq!(sim.end("a"), ["c INTERVAL 10:01:00"]);
    assert_eq!(sim.ask("a"), ["accepted, waits"]);
}

#[test]
fn a_waiting_run_of_a_changed_job_starts_under_the_new_spec() {
    let mut sim = Sim::new("10:00:00", 1);
    let jobs = ["a", "b"].map(|name| job(name, "every: 1m\ncommand: old\n", at("10:00:00")));
    sim.load(jobs.to_vec(), Some(Starting { down_since: None }));
    sim.until("10:01:00");
    sim.load(vec![job("b", "every: 1m\ncommand: new\n", at("10:00:00"))], None);
    let run = sim.active.remove(0).0;
    let mut decisions = Vec::new();
    sim.engine.handle(Event::Ended { run, status: Status::Success, exit_code: Some(0) }, sim.now, &mut decisions);
    let [runner::engine::Decision::Start { spec, .. }] = &decisions[..] else { panic!("{decisions:?}") };
    assert_eq!(spec.action.words(), "new");
}

#[test]
fn the_grid_of_an_interval_is_moved_by_neither_lateness_nor_manual_runs_nor_restarts() {
    let text = "every: 10m\ncommand: x\noverlap: allow\n";
    let (mut sim, _) = Sim::started("10:00:00", &[("a", text)]);
    assert_eq!(sim.jump("10:10:40"), ["a INTERVAL 10:10:00"]);
    sim.now = at("10:13:00");
    sim.ask("a");
    assert_eq!(sim.until("10:20:00"), ["a INTERVAL 10:20:00"]);
    let mut entry = job("a", text, at("10:00:00"));
    entry.memory.interval_due = Some(at("10:20:00"));
    entry.memory.last_due = Some(at("10:20:00"));
    let (mut sim, said) = Sim::restarted("10:33:00", "10:22:00", vec![entry]);
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with("a INTERVAL missed 1: 10:30:00: the runner was down from"), "{said:?}");
    assert_eq!(sim.until("10:41:00"), ["a INTERVAL 10:40:00"]);
    // Also where nothing of it is recorded yet: the grid begins at the first load.
    let (mut sim, _) = Sim::restarted("10:03:00", "10:01:00", vec![job("a", text, at("10:00:00"))]);
    assert_eq!(sim.until("10:10:00"), ["a INTERVAL 10:10:00"]);
}

const DOWN: &str = "the runner was down from 2024-01-15T10:00:30.000Z to";

#[test]
fn due_times_of_down_time_are_recorded_as_missed_and_the_newest_runs_late_within_its_grace() {
    let text = "schedule: '*/10 * * * *'\ncommand: x\nmisfire_grace: 2m\n";
    let entry = || {
        let mut entry = job("a", text, at("-1 00:00:00"));
        entry.memory.last_due = Some(at("10:00:00"));
        entry
    };
    let (_, said) = Sim::restarted("10:32:00", "10:00:30", vec![entry()]);
    assert_eq!(
        said,
        [format!("a CRON missed 2: 10:10:00..10:20:00: {DOWN} 2024-01-15T10:32:00.000Z"), "a CRON 10:30:00".into()]
    );
    let (mut sim, said) = Sim::restarted("10:32:00.001", "10:00:30", vec![entry()]);
    assert_eq!(said, [format!("a CRON missed 3: 10:10:00..10:30:00: {DOWN} 2024-01-15T10:32:00.001Z")]);
    assert_eq!(sim.until("10:40:00"), ["a CRON 10:40:00"]);
    // Exactly one was missed, and it is the one that runs late.
    let (_, said) = Sim::restarted("10:10:30", "10:00:30", vec![entry()]);
    assert_eq!(said, ["a CRON 10:10:00"]);
}

#[test]
fn a_due_time_that_the_records_know_is_not_run_again_though_the_last_sign_of_life_is_older() {
    let mut entry = job("a", "schedule: '* * * * *'\ncommand: x\n", at("-1 00:00:00"));
    entry.memory.last_due = Some(at("10:01:00"));
    let (mut sim, said) = Sim::restarted("10:01:20", "10:00:30", vec![entry]);
    assert_eq!(said, NOTHING);
    assert_eq!(sim.until("10:02:00"), ["a CRON 10:02:00"]);
}

#[test]
fn a_job_that_came_while_the_runner_was_down_has_missed_nothing() {
    let (_, said) =
        Sim::restarted("10:30:00", "10:00:30", vec![job("a", "schedule: '* * * * *'\ncommand: x\n", at("10:30:00"))]);
    assert_eq!(said, NOTHING);
}

#[test]
fn several_due_times_passed_over_by_a_suspend_are_missed_but_the_newest() {
    let (mut sim, _) = Sim::started("10:00:00", &[("a", "every: 1m\ncommand: x\nmisfire_grace: 30s\n")]);
    assert_eq!(
        sim.jump("10:05:30"),
        [
            "a INTERVAL missed 4: 10:01:00..10:04:00: several due times had passed, only the newest runs; nothing was handled from 2024-01-15T10:01:00.000Z to 2024-01-15T10:05:30.000Z",
            "a INTERVAL 10:05:00"
        ]
    );
    assert_eq!(
        sim.jump("10:07:40"),
        [
            "a INTERVAL missed 2: 10:06:00..10:07:00: handled later than the misfire_grace of 30s; nothing was handled from 2024-01-15T10:06:00.000Z to 2024-01-15T10:07:40.000Z"
        ]
    );
}

#[test]
fn two_triggers_due_at_one_instant_fire_once() {
    let text = "schedule: '0 * * * *'\nevery: 30m\nat: '2024-01-15T11:00:00'\ncommand: x\noverlap: allow\n";
    let (mut sim, _) = Sim::started("10:00:00", &[("a", text)]);
    assert_eq!(sim.until("11:00:00"), ["a INTERVAL 10:30:00", "a CRON 11:00:00"]);
    assert_eq!(sim.until("11:30:00"), ["a INTERVAL 11:30:00"]);
    // Of two that are due at different instants and handled together, the newer runs and the older is recorded.
    let mut both = Sim::started("10:00:00", &[("a", "schedule: '5 * * * *'\nevery: 4m\ncommand: x\n")]).0;
    assert_eq!(
        both.jump("10:05:01"),
        [
            "a INTERVAL missed 1: 10:04:00: several due times had passed, only the newest runs; nothing was handled from 2024-01-15T10:04:00.000Z to 2024-01-15T10:05:01.000Z",
            "a CRON 10:05:00"
        ]
    );
}

#[test]
fn a_small_backward_step_of_the_clock_runs_no_due_time_twice() {
    let (mut sim, _) = Sim::started("10:00:00", &[("a", "every: 10m\ncommand: x\noverlap: allow\n")]);
    sim.until("11:00:00");
    assert_eq!(sim.jump("09:00:00"), NOTHING);
    assert_eq!(sim.until("11:00:00"), NOTHING);
    assert_eq!(sim.until("11:10:00"), ["a INTERVAL 11:10:00"]);
    // A reload on the way does not change that.
    sim.jump("10:30:00");
    sim.load(vec![job("a", "every: 10m\ncommand: y\noverlap: allow\n", at("10:00:00"))], None);
    assert_eq!(sim.until("11:15:00"), NOTHING);
    assert_eq!(sim.until("11:20:00"), ["a INTERVAL 11:20:00"]);
}

#[test]
fn a_backward_step_of_more_than_three_hours_is_a_correction() {
    let (mut sim, _) = Sim::started("10:00:00", &[("a", "schedule: '0 * * * *'\ncommand: x\noverlap: allow\n")]);
    sim.until("15:00:00");
    assert_eq!(sim.jump("11:59:59"), ["clock corrected: 15:00:00 to 11:59:59"]);
    assert_eq!(sim.until("12:00:00"), ["a CRON 12:00:00"]);
}

#[test]
fn several_small_steps_back_are_a_correction_together_so_that_no_job_waits_longer_than_three_hours() {
    let (mut sim, _) = Sim::started("10:00:00", &[("a", "schedule: '0 * * * *'\ncommand: x\noverlap: allow\n")]);
    sim.until("15:00:00");
    assert_eq!(sim.jump("13:00:00"), NOTHING);
    assert_eq!(sim.jump("11:30:00"), ["clock corrected: 15:00:00 to 11:30:00"]);
    assert_eq!(sim.jump("11:20:00"), NOTHING);
    assert_eq!(sim.until("12:00:00"), ["a CRON 12:00:00"]);
}

#[test]
fn a_record_from_the_future_is_a_correction_that_is_said_once() {
    let entries = ["a", "b"].map(|name| {
        let mut entry = job(name, "schedule: '0 * * * *'\nevery: 1h\ncommand: x\n", at("-1 00:30:00"));
        entry.memory.last_due = Some(at("+5 00:00:00"));
        entry.memory.interval_due = Some(at("+5 00:00:00"));
        entry
    });
    let (mut sim, said) = Sim::restarted("10:15:00", "10:10:00", entries.to_vec());
    assert_eq!(said, ["clock corrected: 2024-01-20 00:00:00 to 10:15:00"]);
    let said = sim.until("11:15:00");
    assert_eq!(said[..2], ["a CRON 11:00:00", "b CRON 11:00:00"]);
    // A little ahead is waited for: nothing runs twice.
    let mut entry = job("a", "schedule: '0 * * * *'\ncommand: x\n", at("-1 00:30:00"));
    entry.memory.last_due = Some(at("11:00:00"));
    let (mut sim, said) = Sim::restarted("10:15:00", "10:10:00", vec![entry]);
    assert_eq!(said, NOTHING);
    assert_eq!(sim.until("12:00:00"), ["a CRON 12:00:00"]);
}

#[test]
fn very_many_misses_are_counted_up_to_a_limit_and_do_not_hold_up_the_others() {
    let text = "schedule: '* * * * * *'\ncommand: x\nmisfire_grace: 1s\n";
    let (mut sim, _) = Sim::started("00:00:00", &[("a", text), ("b", "every: 1s\ncommand: x\nmisfire_grace: 1s\n")]);
    let begun = Instant::now();
    assert_eq!(
        sim.jump("+9 00:00:00.500"),
        [
            "a CRON missed 10000: 00:00:01..2024-01-23 23:59:59: several due times had passed, only the newest runs; nothing was handled from 2024-01-15T00:00:01.000Z to 2024-01-24T00:00:00.500Z (counted up to 10000)",
            "a CRON 2024-01-24 00:00:00",
            "b INTERVAL missed 777599: 00:00:01..2024-01-23 23:59:59: several due times had passed, only the newest runs; nothing was handled from 2024-01-15T00:00:01.000Z to 2024-01-24T00:00:00.500Z",
            "b INTERVAL 2024-01-24 00:00:00",
        ]
    );
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    // Exactly ten thousand are counted exactly.
    let (mut sim, _) = Sim::started("00:00:00", &[("a", text)]);
    assert_eq!(
        sim.jump("02:46:40"),
        [
            "a CRON missed 9999: 00:00:01..02:46:39: several due times had passed, only the newest runs; nothing was handled from 2024-01-15T00:00:01.000Z to 2024-01-15T02:46:40.000Z",
            "a CRON 02:46:40"
        ]
    );
}

#[test]
fn the_next_due_time_of_a_job_is_told_as_long_as_it_is_there() {
    let (mut sim, _) = Sim::started("10:00:00", &[("a", "every: 3m\ncommand: x\n")]);
    assert_eq!(sim.engine.next_due("a"), Some(at("10:03:00")));
    sim.remove("a");
    assert_eq!(sim.engine.next_due("a"), None);
}

#[test]
fn the_end_of_a_run_that_nobody_knows_changes_nothing() {
    let mut engine = Engine::new(Settings::new(1), 1);
    let mut decisions = Vec::new();
    engine.handle(
        Event::Ended { run: runner::model::RunId::from_u128(1), status: Status::Success, exit_code: Some(0) },
        at("10:00:00"),
        &mut decisions,
    );
    engine.handle(Event::Resume { job: JobName::new("x").unwrap() }, at("10:00:00"), &mut decisions);
    assert_eq!(decisions, []);
}
