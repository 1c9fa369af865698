//! The log is the memory: the five kinds of line, what a restart reads back, and what rotation keeps.

use proptest::prelude::*;
use runner::model::{GapKind, JobName, Outcome, Status, TriggeredBy};
use runner::record::{HistoryQuery, Line, Settings, Synced, TornTail, history, history_of, restore_all};

use crate::record_support::{LARGE, Logs, gap, lines_of, run_id, second, success};

const TINY: Settings = Settings { max_size: 3_000, max_files: 50, synced: Synced::Nothing };

#[test]
fn the_five_kinds_of_line_read_back_as_they_were_written() {
    let logs = Logs::new(LARGE);
    logs.start(1, TriggeredBy::Cron);
    logs.log().attempt(&logs.facts(1, TriggeredBy::Cron), Outcome::failed("no luck\n\"\u{1b}\\"), second(61));
    logs.end(1, TriggeredBy::Cron, success());
    logs.log().gap(&gap(GapKind::Skipped, "paused", TriggeredBy::Interval, second(120), second(180), 2));
    logs.log().gap(&gap(GapKind::Missed, "down", TriggeredBy::Cron, second(240), second(300), 2));
    let text = std::fs::read_to_string(logs.runs()).unwrap();
    let lines = lines_of(&text);
    let again: String = lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect();
    assert_eq!(again, text);
    let [Line::Start(start), Line::Attempt(attempt), Line::End(end), Line::Skipped(skipped), Line::Missed(missed)] =
        &lines[..]
    else {
        panic!("{lines:?}");
    };
    assert_eq!((start.run, start.pid, start.n), (run_id(1), None, 0));
    assert!(!start.boot.is_empty());
    assert_eq!(attempt.error.as_deref(), Some("no luck\n\"\u{1b}\\"));
    assert_eq!((end.n, end.failures, end.duration_ms, end.late_ms), (1, 0, 234, 3));
    assert_eq!((skipped.due, skipped.until, skipped.count), (second(120), second(180), 2));
    assert_eq!((missed.n, missed.state.last_due), (1, Some(second(300))));
    for field in [
        "event",
        "run",
        "job",
        "n",
        "failures",
        "triggered_by",
        "due",
        "started",
        "ended",
        "duration_ms",
        "attempt",
        "status",
        "exit_code",
        "signal",
        "error",
        "output",
        "usage",
        "spec",
        "commit",
    ] {
        let end = text.lines().nth(2).unwrap();
        assert!(end.contains(&format!("\"{field}\":")), "{field} in {end}");
    }
}

/// A log whose last line is of each kind in turn.
fn ending_in(kind: &str) -> Logs {
    let logs = Logs::new(LARGE);
    logs.run(1);
    logs.start(2, TriggeredBy::Interval);
    logs.end(2, TriggeredBy::Interval, Outcome::failed("exit code 1"));
    match kind {
        "end" => {}
        "start" => logs.start(3, TriggeredBy::Cron),
        "attempt" => {
            logs.start(3, TriggeredBy::Cron);
            logs.log().attempt(&logs.facts(3, TriggeredBy::Cron), Outcome::failed("once"), second(181));
            logs.log().attempt(&logs.facts(3, TriggeredBy::Cron), Outcome::failed("twice"), second(182));
        }
        "skipped" => drop(logs.log().gap(&gap(GapKind::Skipped, "x", TriggeredBy::Cron, second(180), second(180), 1))),
        "missed" => drop(logs.log().gap(&gap(GapKind::Missed, "x", TriggeredBy::Cron, second(180), second(180), 1))),
        other => panic!("{other}"),
    }
    logs
}

#[test]
fn a_restart_knows_totals_last_run_and_last_due_time_from_the_last_line_alone_whichever_kind_it_is() {
    for kind in ["end", "start", "attempt", "skipped", "missed"] {
        let logs = ending_in(kind);
        let restored = logs.restored();
        assert_eq!((restored.runs, restored.failures), (2, 1), "{kind}");
        let last = restored.last.as_ref().unwrap_or_else(|| panic!("{kind}"));
        assert_eq!((last.run, last.status, last.error.as_deref()), (run_id(2), Status::Failed, Some("exit code 1")));
        let last_due = if kind == "end" { 120 } else { 180 };
        assert_eq!((restored.last_due, restored.interval_due), (Some(second(last_due)), Some(second(120))), "{kind}");
        let unfinished: Vec<_> = restored.unfinished.iter().map(|start| start.run).collect();
        let expected = if matches!(kind, "start" | "attempt") { vec![run_id(3)] } else { vec![] };
        assert_eq!(unfinished, expected, "{kind}");
        assert_eq!((restored.torn, restored.unreadable), (0, 0));
        if kind != "attempt" {
            // Nothing but the last line is needed, and the start of what is unfinished.
            let text = std::fs::read_to_string(logs.runs()).unwrap();
            std::fs::write(logs.runs(), text.lines().last().unwrap().to_string() + "\n").unwrap();
            assert_eq!(logs.restored(), restored, "{kind}");
        }
    }
}

#[test]
fn counting_goes_on_after_a_restart() {
    let mut logs = Logs::new(LARGE);
    logs.run(1);
    logs.run(2);
    logs.restart();
    logs.run(3);
    let summary = logs.records.summary("group/job");
    assert_eq!((summary.runs, summary.last.unwrap().run), (3, run_id(3)));
    assert_eq!(logs.ends(), [run_id(3), run_id(2), run_id(1)]);
    assert_eq!(logs.records.due_state("group/job").last_due, Some(second(180)));
    assert_eq!(logs.records.summary("nobody").runs, 0);
}

#[test]
fn no_record_ends_before_it_started_though_the_clock_went_back() {
    let logs = Logs::new(LARGE);
    logs.start(1, TriggeredBy::Cron);
    let facts = logs.facts(1, TriggeredBy::Cron);
    let end = logs.log().end(&facts, success(), facts.started - jiff::SignedDuration::from_hours(1));
    assert_eq!((end.ended, end.duration_ms), (facts.started, 0));
    let Some(Line::End(written)) = logs.lines().pop() else { panic!("no end") };
    assert_eq!((written.ended >= written.started, written.duration_ms), (true, 0));
}

#[test]
fn a_torn_tail_is_cut_off_and_reported_and_what_is_written_next_is_whole() {
    let mut logs = Logs::new(LARGE);
    logs.run(1);
    let whole = std::fs::read(logs.runs()).unwrap();
    let torn = [&whole[..], b"{\"event\":\"start\",\"run\":\"018d"].concat();
    std::fs::write(logs.runs(), &torn).unwrap();
    // Who only looks changes nothing.
    let looked = restore_all(&logs.records.layout, TornTail::Leave).pop().unwrap().1.unwrap();
    assert_eq!((looked.runs, looked.torn), (1, 0));
    assert_eq!(std::fs::read(logs.runs()).unwrap(), torn);
    logs.restart();
    assert_eq!(std::fs::read(logs.runs()).unwrap(), whole);
    std::fs::write(logs.runs(), &torn).unwrap();
    assert_eq!(logs.restored().torn, 28);
    logs.run(2);
    assert_eq!(logs.lines().len(), 4);
    // A file that is nothing but half a line, longer than what is read at once.
    std::fs::write(logs.runs(), vec![b'x'; 300_000]).unwrap();
    assert_eq!(logs.restored().torn, 300_000);
    assert_eq!(std::fs::metadata(logs.runs()).unwrap().len(), 0);
}

#[test]
fn lines_at_the_end_that_are_no_records_are_passed_over_and_reported() {
    let logs = Logs::new(LARGE);
    logs.run(1);
    let mut text = std::fs::read(logs.runs()).unwrap();
    text.extend(b"hello\n\n\xff\xfe\0\n{\"event\":\"dance\"}\n{}\n");
    std::fs::write(logs.runs(), &text).unwrap();
    let restored = logs.restored();
    assert_eq!((restored.runs, restored.unreadable, restored.torn), (1, 5, 0));
    // Also where the newest file holds nothing else.
    std::fs::rename(logs.runs(), logs.runs().with_extension("log.1")).unwrap();
    std::fs::write(logs.runs(), "a\nb\n").unwrap();
    let restored = logs.restored();
    assert_eq!((restored.runs, restored.unreadable), (1, 7));
    assert_eq!(logs.ends(), [run_id(1)]);
}

#[test]
fn a_log_that_is_empty_after_a_crash_in_its_rotation_is_restored_from_the_file_before() {
    let logs = Logs::new(LARGE);
    logs.run(1);
    std::fs::rename(logs.runs(), logs.runs().with_extension("log.1")).unwrap();
    assert_eq!(logs.restored().runs, 1);
    std::fs::write(logs.runs(), "").unwrap();
    assert_eq!(logs.restored().runs, 1);
}

#[test]
fn rotation_copies_unfinished_starts_into_the_new_file_with_the_state_of_that_time() {
    let logs = Logs::new(TINY);
    logs.start(1, TriggeredBy::Cron);
    let mut rotated = 0;
    for n in 2..40 {
        logs.run(n);
        let lines = logs.lines();
        if let Line::Start(first) = &lines[0]
            && first.copy
        {
            rotated += 1;
            assert_eq!(first.run, run_id(1));
            assert!(first.n > 0 && first.last.is_some(), "the totals are those of now");
            assert!(lines.len() > 1, "a copy is never the last line");
        }
        let restored = logs.restored();
        assert_eq!((restored.runs, restored.last.unwrap().run), (n - 1, run_id(n)));
        assert_eq!(restored.unfinished.iter().map(|start| start.run).collect::<Vec<_>>(), [run_id(1)]);
    }
    assert!(rotated > 5, "{rotated}");
    let all = lines_of(&String::from_utf8(logs.everything(logs.runs())).unwrap());
    let starts = all.iter().filter(|line| matches!(line, Line::Start(start) if start.run == run_id(1) && !start.copy));
    assert_eq!(starts.count(), 1);
    assert_eq!(logs.ends().len(), 38);
}

#[test]
fn an_unfinished_run_is_found_though_others_took_the_file_with_its_copy_away() {
    let mut logs = Logs::new(LARGE);
    logs.start(1, TriggeredBy::Cron);
    std::fs::rename(logs.runs(), logs.runs().with_extension("log.1")).unwrap();
    logs.run(2);
    logs.start(3, TriggeredBy::Cron);
    let unfinished: Vec<_> = logs.restart().unfinished().iter().map(|start| start.run).collect();
    assert_eq!(unfinished, [run_id(1), run_id(3)]);
}

#[test]
fn a_streak_is_written_at_its_first_and_counted_to_one_line_when_it_ends() {
    let logs = Logs::new(LARGE);
    let log = logs.log();
    let skip =
        |n: i64| log.gap(&gap(GapKind::Skipped, "run 1 is still active", TriggeredBy::Cron, second(n), second(n), 1));
    assert!(skip(60));
    assert!((2..=100).all(|n| !skip(n * 60)));
    assert_eq!(logs.lines().len(), 1);
    assert!(log.gap(&gap(GapKind::Skipped, "another reason", TriggeredBy::Cron, second(6060), second(6060), 1)));
    let lines = logs.lines();
    let [Line::Skipped(_), Line::Skipped(rest), Line::Skipped(other)] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((rest.due, rest.until, rest.count), (second(120), second(6000), 99));
    assert_eq!(other.reason, "another reason");
    logs.start(200, TriggeredBy::Cron);
    assert_eq!(logs.lines().len(), 4, "a streak of one has no rest");
}

#[test]
fn streaks_are_flushed_hourly_and_at_shutdown_and_go_on_as_the_same_streak() {
    let logs = Logs::new(LARGE);
    let log = logs.log();
    let skip = |n: i64| log.gap(&gap(GapKind::Skipped, "paused", TriggeredBy::Cron, second(n), second(n), 1));
    assert!(skip(1) && !skip(2) && !skip(3));
    logs.records.flush(false);
    assert_eq!(logs.lines().len(), 1);
    logs.records.flush(true);
    logs.records.flush(true);
    assert_eq!(logs.lines().len(), 2);
    assert!(!skip(4));
    logs.records.flush(true);
    let counts: Vec<u64> =
        logs.lines().iter().map(|line| if let Line::Skipped(gap) = line { gap.count } else { 0 }).collect();
    assert_eq!(counts, [1, 2, 1]);
}

#[test]
fn two_triggers_that_are_skipped_in_turn_are_two_streaks_not_a_flood() {
    let logs = Logs::new(LARGE);
    let log = logs.log();
    for n in 0..100 {
        log.gap(&gap(GapKind::Skipped, "paused", TriggeredBy::Cron, second(2 * n), second(2 * n), 1));
        log.gap(&gap(GapKind::Skipped, "paused", TriggeredBy::Interval, second(2 * n + 1), second(2 * n + 1), 1));
    }
    logs.records.flush(true);
    assert_eq!(logs.lines().len(), 4);
}

#[test]
fn a_line_stays_below_64_kib_whatever_the_texts_hold() {
    let logs = Logs::new(LARGE);
    let texts = ["\u{1}".repeat(200_000), "\"\\".repeat(100_000), "é😀".repeat(50_000), "x".repeat(200_000)];
    for (n, text) in texts.iter().enumerate() {
        let n = n as u64 + 1;
        logs.start(n, TriggeredBy::Cron);
        logs.end(n, TriggeredBy::Cron, Outcome::failed(text.clone()));
        logs.log().gap(&gap(GapKind::Missed, text, TriggeredBy::Cron, second(0), second(0), 1));
    }
    let written = std::fs::read_to_string(logs.runs()).unwrap();
    assert!(written.lines().all(|line| line.len() < 64 * 1024));
    let lines = logs.lines();
    assert_eq!(lines.len(), 12);
    let Line::End(end) = &lines[10] else { panic!() };
    let error = end.error.as_ref().unwrap();
    assert!(error.starts_with("xxx") && error.ends_with("x…") && error.len() > 8_000, "{}", error.len());
}

#[test]
fn a_corrected_clock_also_corrects_what_the_records_know_of_due_times() {
    let mut logs = Logs::new(LARGE);
    logs.start(1_000, TriggeredBy::Interval);
    logs.end(1_000, TriggeredBy::Interval, success());
    logs.records.clock_corrected(second(5));
    let due = logs.records.due_state("group/job");
    assert_eq!((due.last_due, due.interval_due), (Some(second(5)), Some(second(5))));
    logs.run(1);
    logs.restart();
    assert_eq!(logs.records.due_state("group/job").last_due, Some(second(60)));
}

#[test]
fn the_start_and_a_persons_runs_count_for_no_due_time() {
    let logs = Logs::new(LARGE);
    for (n, by) in [(1, TriggeredBy::Manual), (2, TriggeredBy::Start)] {
        logs.start(n, by);
        logs.end(n, by, success());
    }
    assert_eq!(logs.restored().last_due, None);
    assert_eq!(logs.restored().runs, 2);
}

#[test]
fn history_answers_by_status_time_and_limit_newest_first() {
    let logs = Logs::new(LARGE);
    for n in 1..=6 {
        logs.start(n, TriggeredBy::Cron);
        logs.end(n, TriggeredBy::Cron, if n % 2 == 0 { Outcome::failed("x") } else { success() });
    }
    logs.log().gap(&gap(GapKind::Missed, "down", TriggeredBy::Cron, second(400), second(460), 2));
    let other = JobName::new("other").unwrap();
    let mut facts = logs.facts(9, TriggeredBy::Manual);
    facts.firing.job = other.clone();
    logs.records.job(&other).prepare_start(&facts).settle();
    logs.records.job(&other).end(&facts, success(), second(541));
    let ask = |query: HistoryQuery| -> Vec<String> {
        let lines = history(&logs.records.layout, &query).unwrap();
        let name = |line: Line| match line {
            Line::End(end) => format!("{}", (1..10).find(|n| run_id(*n) == end.run).unwrap()),
            Line::Missed(_) => "missed".into(),
            other => panic!("{other:?}"),
        };
        lines.into_iter().map(name).collect()
    };
    let all = HistoryQuery { limit: 50, ..Default::default() };
    assert_eq!(ask(all.clone()), ["9", "6", "5", "4", "3", "2", "1"]);
    assert_eq!(ask(HistoryQuery { gaps: true, limit: 3, ..Default::default() }), ["9", "missed", "6"]);
    assert_eq!(ask(HistoryQuery { status: Some(Status::Failed), gaps: true, ..all.clone() }), ["6", "4", "2"]);
    let between = HistoryQuery { since: Some(second(120)), until: Some(second(190)), ..all };
    assert_eq!(ask(between), ["3", "2"]);
    let one = history_of(&logs.records.layout, &other, &HistoryQuery { limit: 5, ..Default::default() });
    assert_eq!(one.unwrap().len(), 1);
}

#[test]
fn a_log_that_others_moved_truncated_or_deleted_is_written_anew_with_the_right_totals() {
    let logs = Logs::new(LARGE);
    logs.run(1);
    std::fs::rename(logs.runs(), logs.directory.path().join("moved")).unwrap();
    logs.run(2);
    assert_eq!(logs.restored().runs, 2);
    std::fs::File::create(logs.runs()).unwrap();
    logs.run(3);
    assert_eq!((logs.restored().runs, logs.lines().len()), (3, 2));
    std::fs::remove_dir_all(logs.directory.path().join("jobs")).unwrap();
    logs.run(4);
    assert_eq!((logs.restored().runs, logs.lines().len()), (4, 2));
    assert_eq!(logs.records.faults.report(), None);
}

#[derive(Debug, Clone)]
enum Step {
    Run(String),
    Open,
    Close,
    Gap(u8),
    Flush,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let error = prop_oneof![
        Just(String::new()),
        "[ -~]{0,60}",
        any::<String>(),
        (0usize..60_000).prop_map(|n| "\n\"x".repeat(n / 3)),
    ];
    prop_oneof![
        5 => error.prop_map(Step::Run),
        1 => Just(Step::Open),
        1 => Just(Step::Close),
        2 => (0u8..3).prop_map(Step::Gap),
        1 => Just(Step::Flush),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rotation_of_records_loses_and_splits_no_line_and_a_restart_knows_all(
        steps in proptest::collection::vec(step(), 1..40),
        max_size in 1u64..20_000,
    ) {
        let mut logs = Logs::new(Settings { max_size, max_files: 1_000, synced: Synced::Nothing });
        let (mut n, mut open, mut ended, mut gaps) = (0, Vec::new(), Vec::new(), 0u64);
        for step in steps {
            n += 1;
            match step {
                Step::Run(error) => {
                    logs.start(n, TriggeredBy::Cron);
                    logs.end(n, TriggeredBy::Cron, Outcome::failed(error));
                    ended.push(run_id(n));
                }
                Step::Open => {
                    logs.start(n, TriggeredBy::Interval);
                    open.push(n);
                }
                Step::Close => {
                    if let Some(n) = open.pop() {
                        logs.end(n, TriggeredBy::Interval, success());
                        ended.push(run_id(n));
                    }
                }
                Step::Gap(reason) => {
                    logs.log().gap(&gap(GapKind::Skipped, &format!("reason {reason}"), TriggeredBy::Cron, second(n as i64), second(n as i64), 1));
                    gaps += 1;
                }
                Step::Flush => logs.records.flush(true),
                Step::Restart => {
                    logs.records.flush(true);
                    if logs.runs().exists() {
                        logs.restart();
                    }
                }
            }
        }
        logs.records.flush(true);
        prop_assert_eq!(logs.records.faults.report(), None);
        let text = String::from_utf8(logs.everything(logs.runs())).unwrap();
        prop_assert!(text.is_empty() || text.ends_with('\n'));
        let lines = lines_of(&text);
        let found: Vec<_> = lines.iter().filter_map(|line| if let Line::End(end) = line { Some(end.run) } else { None }).collect();
        prop_assert_eq!(&found, &ended);
        let starts = lines.iter().filter(|line| matches!(line, Line::Start(start) if !start.copy)).count();
        prop_assert_eq!(starts, ended.len() + open.len());
        let counted: u64 = lines.iter().map(|line| if let Line::Skipped(gap) = line { gap.count } else { 0 }).sum();
        prop_assert_eq!(counted, gaps);
        if !lines.is_empty() {
            let restored = logs.restored();
            prop_assert_eq!(restored.runs, ended.len() as u64);
            prop_assert_eq!(restored.last.map(|end| end.run), ended.last().copied());
            let unfinished: Vec<_> = restored.unfinished.iter().map(|start| start.run).collect();
            let open: Vec<_> = open.iter().map(|n| run_id(*n)).collect();
            prop_assert_eq!(unfinished, open);
        }
        let mut newest_first = logs.ends();
        newest_first.sort();
        ended.sort();
        prop_assert_eq!(newest_first, ended);
    }
}

#[test]
fn a_due_time_that_is_caught_up_moves_the_grid_of_its_own_trigger() {
    let logs = Logs::new(LARGE);
    let caught = |of, at| {
        let mut facts = logs.facts(1, TriggeredBy::CatchUp);
        (facts.firing.due_of, facts.firing.due, facts.started) = (of, second(at), second(at));
        logs.log().prepare_start(&facts).settle();
        logs.log().end(&facts, success(), second(at + 1));
        logs.records.due_state("group/job")
    };
    assert_eq!(caught(TriggeredBy::Interval, 60).interval_due, Some(second(60)));
    let due = caught(TriggeredBy::Cron, 120);
    assert_eq!((due.last_due, due.interval_due), (Some(second(120)), Some(second(60))));
}

/// Each open log makes each start of a process dearer, and there are only so many descriptors.
#[test]
fn the_logs_of_many_jobs_are_not_kept_open() {
    let sandbox = crate::sandbox::Sandbox::new();
    for n in 0..60 {
        sandbox.write(&format!("jobs/j{n}.yaml"), "on_start: true\ncommand: [echo, x]\n");
    }
    let runner = sandbox.start();
    for n in 0..60 {
        sandbox.wait_for_ends(&format!("j{n}"), 1);
    }
    let open = || {
        let all = std::fs::read_dir(format!("/proc/{}/fd", runner.pid())).unwrap().flatten();
        let logs = all.filter_map(|fd| std::fs::read_link(fd.path()).ok());
        logs.filter(|path| path.starts_with(sandbox.path("logs/jobs"))).count()
    };
    // Two for each of sixteen jobs, and a few whose end is being written.
    crate::sandbox::wait_for("few are open", || open() <= 40);
    // They are opened again, and nothing of what is in them is lost.
    for n in 0..60 {
        sandbox.run(&["run", &format!("j{n}"), "--wait"]).code(0);
        assert_eq!(sandbox.wait_for_ends(&format!("j{n}"), 2)[1]["n"], 2);
        assert_eq!(sandbox.read(&format!("logs/jobs/j{n}/output.log")).matches(" out x\n").count(), 2);
    }
    assert!(open() <= 40, "{} logs are open", open());
    runner.stop();
}
