//! Retries, breakers, chains and queues as a user sees them: through the real binary, its records and its log.

use crate::sandbox::{Sandbox, wait_for};
use serde_json::{Value, json};

/// Fails until it has been called so often.
fn works_at_last(times: u32) -> String {
    format!("command: 'echo try >> tries; echo attempt $RUNNER_ATTEMPT; [ $(wc -l < tries) -ge {times} ] || exit 75'\n")
}

#[test]
fn attempts_are_numbered_recorded_and_said_and_the_run_is_one() {
    let text = format!("manual: true\nretry: {{ max: 3, delay: 100ms, backoff: constant }}\n{}", works_at_last(3));
    let sandbox = Sandbox::new().file("jobs/a.yaml", &text);
    let runner = sandbox.start();
    sandbox
        .run(&["run", "a", "--wait"])
        .code(0)
        .stdout("attempt 1\nattempt 2\nattempt 3\n")
        .says("note: attempt 1 of 4 failed: exit code 75; next in 100ms")
        .says("a: success (");
    let (starts, ends) = (sandbox.events("a", "start"), sandbox.events("a", "end"));
    let attempts = sandbox.events("a", "attempt");
    assert_eq!(ends.len(), 1, "a run has one end");
    assert_eq!(starts.iter().filter(|start| start["copy"] != true).count(), 1, "and one start");
    let numbers = |lines: &[serde_json::Value]| -> Vec<u64> {
        lines.iter().map(|line| line["attempt"].as_u64().unwrap()).collect()
    };
    assert_eq!((numbers(&starts), numbers(&attempts), numbers(&ends)), (vec![1, 2, 3], vec![1, 2], vec![3]));
    assert!(attempts.iter().all(|line| line["status"] == "failed" && line["exit_code"] == 75), "{attempts:?}");
    assert_eq!((&ends[0]["status"], &ends[0]["exit_code"], &ends[0]["n"]), (&"success".into(), &0.into(), &1.into()));
    assert_eq!(ends[0]["failures"], 0, "a failed attempt is no failed run");
    assert_eq!(ends[0]["started"], starts[0]["started"], "the end holds the first attempt's start");
    assert!(ends[0]["duration_ms"].as_i64().unwrap() >= 200, "the waits are part of it: {}", ends[0]);
    sandbox.wait_for_log("a: attempt 1 of 4: failed after ");
    sandbox.wait_for_log("a: attempt 2 of 4, next in 100ms");
    sandbox.wait_for_log("a: attempt 3 started");
    sandbox.run(&["history", "a"]).code(0).says("✓ Success");
    runner.stop();
}

#[test]
fn only_the_exit_codes_that_are_named_are_tried_again_and_the_others_count_as_they_are_told() {
    let sandbox = Sandbox::new()
        .file("jobs/one.yaml", "manual: true\nretry: { max: 5, delay: 100ms, exit_codes: [75] }\ncommand: exit 1\n")
        .file("jobs/fine.yaml", "manual: true\nsuccess: { exit_codes: [0, 3] }\ncommand: exit 3\n")
        .file("jobs/strict.yaml", "manual: true\nsuccess: { exit_codes: [3] }\ncommand: exit 0\n");
    let runner = sandbox.start();
    sandbox.run(&["run", "one", "--wait"]).code(1);
    assert_eq!(sandbox.events("one", "attempt").len(), 0);
    sandbox.run(&["run", "fine", "--wait"]).code(3).says("fine: success");
    let end = &sandbox.events("fine", "end")[0];
    assert_eq!((&end["status"], &end["exit_code"], &end["error"]), (&"success".into(), &3.into(), &().into()));
    sandbox.run(&["run", "strict", "--wait"]).says("strict: failed");
    assert_eq!(sandbox.events("strict", "end")[0]["status"], "failed");
    runner.stop();
}

#[test]
fn a_wait_between_attempts_is_shown_and_ended_by_cancel_and_by_a_stop() {
    let text = "manual: true\nretry: { max: 3, delay: 1h }\ncommand: exit 9\n";
    let sandbox = Sandbox::new().file("jobs/a.yaml", text).file("jobs/b.yaml", text);
    let runner = sandbox.start();
    sandbox.run(&["run", "a"]).code(0);
    wait_for("the wait has begun", || sandbox.entry("a")["next_attempt"]["attempt"] == 2);
    let status = sandbox.json(&["status", "--json"]);
    let retrying = &status["retrying"][0];
    assert_eq!((&retrying["job"], &retrying["attempt"]), (&"a".into(), &2.into()));
    assert_eq!(status["running"], serde_json::json!([]));
    let run = retrying["run"].as_str().unwrap().to_string();
    sandbox.run(&["run", "a"]).code(1).says(&format!("run {run} is still active"));
    sandbox.run(&["cancel", &run]).code(0);
    let end = sandbox.wait_for_ends("a", 1).remove(0);
    assert_eq!((&end["status"], &end["exit_code"], &end["attempt"]), (&"cancelled".into(), &9.into(), &1.into()));
    assert_eq!(end["error"], "cancelled by `runner cancel`; attempt 1: exit code 9");
    assert_eq!(end["failures"], 0, "who cancels a run does not make it fail");
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| sandbox.run(&["run", "b", "--wait"]));
        wait_for("the wait has begun", || sandbox.entry("b")["next_attempt"]["attempt"] == 2);
        runner.signal(libc::SIGTERM);
        asked.join().unwrap().code(1).says("b: cancelled").says("the runner stopped while the run waited");
    });
    assert_eq!(runner.wait(), 0);
    let end = &sandbox.events("b", "end")[0];
    assert_eq!(end["status"], "cancelled");
    assert!(sandbox.read("logs/jobs/b/output.log").contains(" --- end cancelled: the runner stopped"));
    // Nothing of it comes back.
    sandbox.start().stop();
    assert_eq!(sandbox.events("b", "end").len(), 1);
}

#[test]
fn a_run_that_waits_and_is_cancelled_by_a_person_or_a_stop_has_a_record_and_its_due_time_is_accounted_for() {
    let long = "command: while [ ! -e go ]; do sleep 0.02; done\n";
    let sandbox = Sandbox::new()
        .file("runner.yaml", "shutdown_timeout: 0s\n")
        .file("jobs/busy.yaml", &format!("every: 1s\noverlap: queue\nmax_queued: 1\nmisfire_grace: 0s\n{long}"))
        .file(
            "jobs/heir.yaml",
            "after: { jobs: [busy], when: always }\ncommand: echo \"$RUNNER_PARENT_RUN $RUNNER_PARENT_STATUS\"\n",
        );
    let waiting = || {
        wait_for("one waits", || sandbox.json(&["status", "--json"])["waiting"][0]["run"].is_string());
        sandbox.json(&["status", "--json"])["waiting"][0]["run"].as_str().unwrap().to_string()
    };
    let runner = sandbox.start();
    let run = waiting();
    sandbox.run(&["cancel", &run]).code(0);
    let end = sandbox.wait_for_ends("busy", 1).remove(0);
    assert_eq!((&end["run"], &end["status"]), (&json!(run), &json!("cancelled")));
    assert_eq!((&end["error"], &end["duration_ms"]), (&json!("cancelled by `runner cancel`"), &json!(0)));
    assert_eq!((&end["n"], &end["failures"]), (&json!(1), &json!(0)));
    sandbox.wait_for_ends("heir", 1);
    assert!(sandbox.read("logs/jobs/heir/output.log").contains(&format!("{run} cancelled")));
    let due = end["due"].as_str().unwrap();
    sandbox.run(&["why", "busy", "--at", due]).code(0).says("It never began").says("cancelled by `runner cancel`");
    assert_eq!(sandbox.json(&["why", "busy", "--at", due, "--json"])["verdict"], "cancelled");
    sandbox.run(&["history", "busy"]).code(0).says("Cancelled (never began)");
    let run = waiting();
    runner.signal(libc::SIGTERM);
    assert_eq!(runner.wait(), 0);
    let ends = sandbox.events("busy", "end");
    let end = ends.iter().find(|end| end["run"] == run).expect("it has an end");
    assert_eq!(end["error"], "the runner stopped while the run waited for its turn");
    let start = sandbox.events("busy", "start").into_iter().find(|start| start["run"] == run).expect("it has a start");
    assert_eq!(start["pid"], Value::Null);
    // Nothing of it comes back, neither as a run nor as missed.
    sandbox.start().stop();
    let is_its = |line: &Value| line["due"] == end["due"];
    assert_eq!(sandbox.events("busy", "end").iter().filter(|line| is_its(line)).count(), 1);
    assert!(!sandbox.events("busy", "missed").iter().any(is_its));
    assert!(!sandbox.events("busy", "skipped").iter().any(is_its));
}

#[test]
fn a_crash_between_attempts_interrupts_the_run_once() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", "manual: true\nretry: { max: 3, delay: 1h }\ncommand: exit 9\n");
    let runner = sandbox.start();
    sandbox.run(&["run", "a"]).code(0);
    wait_for("the wait has begun", || sandbox.events("a", "attempt").len() == 1);
    runner.kill();
    let runner = sandbox.start();
    let ends = sandbox.events("a", "end");
    assert_eq!(ends.len(), 1);
    assert_eq!((&ends[0]["status"], &ends[0]["run"]), (&"interrupted".into(), &sandbox.events("a", "start")[0]["run"]));
    sandbox.run(&["run", "a"]).code(0);
    runner.stop();
}

#[test]
fn an_open_breaker_is_shown_said_and_kept_over_a_restart_and_a_success_closes_it() {
    let text = |command: &str| {
        format!("every: 1s\nbreaker: {{ after: 2, cooldown: 1h }}\nmisfire_grace: 0s\ncommand: {command}\n")
    };
    let sandbox = Sandbox::new().file("jobs/a.yaml", &text("exit 1"));
    let runner = sandbox.start();
    sandbox.wait_for_state("a", "resting");
    let breaker = sandbox.entry("a")["breaker"].clone();
    assert_eq!((&breaker["state"], &breaker["failed_in_row"]), (&"open".into(), &2.into()));
    sandbox.wait_for_log("a: the breaker is open after 2 failed runs in a row: its triggers rest until ");
    sandbox.run(&["list"]).code(0).says("resting, breaker open until ");
    wait_for("a due time is skipped", || !sandbox.events("a", "skipped").is_empty());
    assert!(sandbox.events("a", "skipped")[0]["reason"].as_str().unwrap().starts_with("breaker open until "));
    runner.kill();
    // From the records alone, with a runner and without.
    assert_eq!(sandbox.entry("a")["breaker"], breaker);
    let runner = sandbox.start();
    assert_eq!(sandbox.entry("a")["breaker"], breaker);
    assert_eq!(sandbox.events("a", "end").len(), 2);
    sandbox.write("jobs/a.yaml", &text("exit 0"));
    sandbox.wait_for_log("reload: ");
    assert_eq!(sandbox.entry("a")["breaker"], breaker, "a reload keeps it");
    sandbox.run(&["run", "a", "--wait"]).code(0).says("the job's breaker is open: only its triggers rest");
    sandbox.wait_for_log("a: the breaker is closed, the job works again");
    sandbox.wait_for_ends("a", 4);
    assert_eq!(sandbox.state("a"), "active");
    runner.stop();
}

#[test]
fn a_chain_runs_after_its_parents_and_knows_them() {
    let env = "echo $RUNNER_TRIGGER $RUNNER_PARENT_JOB, $RUNNER_PARENT_RUN, $RUNNER_PARENT_STATUS";
    let sandbox = Sandbox::new()
        .file("jobs/etl/load.yaml", "manual: true\ncommand: \"true\"\n")
        .file("jobs/etl/check.yaml", "manual: true\ncommand: exit 4\n")
        .file("jobs/report.yaml", &format!("after: {{ jobs: [etl/load] }}\ncommand: {env}\n"))
        .file("jobs/both.yaml", &format!("after: {{ jobs: [etl/load, etl/check], when: always }}\ncommand: {env}\n"))
        .file("jobs/alarm.yaml", &format!("after: {{ jobs: ['*'], when: failure }}\ncommand: {env}\n"));
    let runner = sandbox.start();
    sandbox.run(&["run", "etl/load", "--wait"]).code(0);
    let report = sandbox.wait_for_ends("report", 1).remove(0);
    let load = sandbox.events("etl/load", "end").remove(0);
    assert_eq!((&report["triggered_by"], &report["parents"][0]["run"]), (&"AFTER".into(), &load["run"]));
    let words = format!(" out AFTER etl/load, {}, success\n", load["run"].as_str().unwrap());
    assert!(sandbox.read("logs/jobs/report/output.log").contains(&words));
    sandbox.run(&["run", "etl/check", "--wait"]).code(4);
    let (both, alarm) = (sandbox.wait_for_ends("both", 1).remove(0), sandbox.wait_for_ends("alarm", 1).remove(0));
    let parents: Vec<&str> = both["parents"].as_array().unwrap().iter().map(|p| p["job"].as_str().unwrap()).collect();
    assert_eq!(parents, ["etl/load", "etl/check"]);
    assert!(sandbox.read("logs/jobs/both/output.log").contains(", success failed\n"));
    assert_eq!((&alarm["parents"][0]["job"], &alarm["parents"][0]["status"]), (&"etl/check".into(), &"failed".into()));
    sandbox.run(&["list"]).code(0).says("after etl/load has succeeded").says("after any job that matches * has failed");
    runner.stop();
    // The records say what has been fired for: nothing fires again.
    sandbox.start().stop();
    for job in ["report", "both", "alarm"] {
        assert_eq!(sandbox.events(job, "start").len(), 1, "{job}");
    }
}

#[test]
fn a_run_that_a_crash_cut_short_is_a_failure_that_the_alarm_hears_of() {
    let sandbox = Sandbox::new()
        .file("jobs/long.yaml", "manual: true\ncommand: [sleep, '300']\n")
        .file("jobs/alarm.yaml", "after: { jobs: ['*'], when: failure }\ncommand: echo $RUNNER_PARENT_STATUS\n");
    let runner = sandbox.start();
    sandbox.run(&["run", "long"]).code(0);
    wait_for("it runs", || sandbox.events("long", "start").len() == 1);
    runner.kill();
    let runner = sandbox.start();
    sandbox.wait_for_ends("alarm", 1);
    assert!(sandbox.read("logs/jobs/alarm/output.log").contains(" out interrupted\n"));
    runner.stop();
}

#[test]
fn what_waits_when_the_runner_is_killed_is_accounted_for_at_the_next_start() {
    let sandbox = Sandbox::new().file(
        "jobs/a.yaml",
        "every: 1s\noverlap: queue\nmax_queued: 2\ncatch_up: { policy: all }\ncommand: '[ -e go ] || sleep 300'\n",
    );
    let runner = sandbox.start();
    wait_for("the queue is full", || !sandbox.events("a", "skipped").is_empty());
    let skipped = sandbox.events("a", "skipped")[0].clone();
    let waiting = skipped["state"]["waiting"].as_array().unwrap().clone();
    assert_eq!(waiting.len(), 2, "{skipped}");
    sandbox.write("go", "");
    runner.kill();
    let runner = sandbox.start();
    wait_for("both have run", || {
        let ends = sandbox.events("a", "end");
        waiting.iter().all(|waited| ends.iter().any(|end| end["due"] == waited["due"]))
    });
    let caught: Vec<_> =
        sandbox.events("a", "end").into_iter().filter(|end| end["triggered_by"] == "CATCH_UP").collect();
    for waited in &waiting {
        assert_eq!(caught.iter().filter(|end| end["due"] == waited["due"]).count(), 1);
    }
    runner.stop_at_once();
}

#[test]
fn replace_ends_the_run_before_and_says_for_which() {
    let sandbox =
        Sandbox::new().file("jobs/a.yaml", "manual: true\noverlap: replace\nkill_grace: 1s\ncommand: [sleep, '300']\n");
    let runner = sandbox.start();
    sandbox.run(&["run", "a"]).code(0);
    wait_for("it runs", || sandbox.events("a", "start").len() == 1);
    sandbox.run(&["run", "a"]).code(0);
    let end = sandbox.wait_for_ends("a", 1).remove(0);
    wait_for("the other one runs", || sandbox.events("a", "start").len() == 2);
    let second = sandbox.events("a", "start")[1]["run"].as_str().unwrap().to_string();
    assert_eq!((&end["status"], &end["error"]), (&"cancelled".into(), &format!("replaced by run {second}").into()));
    runner.stop_at_once();
}

#[test]
fn pools_share_their_places_and_a_changed_pool_holds_at_once() {
    let job = "manual: true\npool: small\noverlap: allow\ncommand: '[ -e go ] || sleep 300'\n";
    let sandbox =
        Sandbox::new().file("runner.yaml", "pools: { small: 1 }\n").file("jobs/a.yaml", job).file("jobs/b.yaml", job);
    let runner = sandbox.start();
    for job in ["a", "b", "a"] {
        sandbox.run(&["run", job]).code(0);
    }
    let counts = || {
        let status = sandbox.json(&["status", "--json"]);
        (status["running"].as_array().unwrap().len(), status["queued"].as_u64().unwrap())
    };
    assert_eq!(counts(), (1, 2));
    sandbox.write("runner.yaml", "pools: { small: 2 }\n");
    wait_for("one more runs", || counts() == (2, 1));
    runner.stop_at_once();
}

#[test]
fn names_that_are_not_there_and_circles_are_errors_at_their_place_and_cost_nobody_anything() {
    let sandbox = Sandbox::new()
        .file("jobs/etl/load.yaml", "manual: true\ncommand: echo loaded\n")
        .file("jobs/a.yaml", "after: { jobs: [etl/lod] }\ncommand: \"true\"\n")
        .file("jobs/b.yaml", "manual: true\npool: dwnloads\ncommand: \"true\"\n")
        .file("jobs/c.yaml", "after: { jobs: [d] }\ncommand: \"true\"\n")
        .file("jobs/d.yaml", "after: { jobs: [etl/load, c] }\ncommand: \"true\"\n")
        .file("runner.yaml", "pools: { downloads: 3 }\n");
    let said = sandbox.run(&["validate"]).code(3);
    said.says("error: after.jobs[0]: there is no job `etl/lod`\n --> jobs/a.yaml:1:17\n")
        .says("help: did you mean `etl/load`?")
        .says("error: pool: there is no pool `dwnloads`\n --> jobs/b.yaml:2:7\n")
        .says("help: did you mean `downloads`?")
        .says("error: after.jobs[0]: the chain goes in a circle: c waits for d waits for c\n --> jobs/c.yaml:1:17\n")
        .says("error: after.jobs[1]: the chain goes in a circle: d waits for c waits for d\n --> jobs/d.yaml:1:27\n");
    let runner = sandbox.start();
    sandbox.run(&["run", "etl/load", "--wait"]).code(0);
    assert_eq!([sandbox.state("a"), sandbox.state("c")], ["invalid", "invalid"]);
    // Of a circle that is open again, all is well.
    sandbox.write("jobs/d.yaml", "after: { jobs: [etl/load] }\ncommand: \"true\"\n");
    sandbox.wait_for_state("c", "active");
    sandbox.run(&["run", "etl/load", "--wait"]).code(0);
    sandbox.wait_for_ends("c", 1);
    // Who closes it is to blame, and goes on as before.
    sandbox.write("jobs/d.yaml", "after: { jobs: [c] }\ncommand: \"true\"\n");
    sandbox.wait_for_state("d", "stale");
    assert_eq!(sandbox.state("c"), "active");
    sandbox.run(&["run", "etl/load", "--wait"]).code(0);
    sandbox.wait_for_ends("c", 2);
    // A job that others wait for goes: they say so, keep what else they do, and keep it over a restart.
    sandbox.remove("jobs/d.yaml");
    sandbox.wait_for_state("c", "stale");
    assert_eq!(sandbox.entry("c")["error"], "jobs/c.yaml:1:17: after.jobs[0]: there is no job `d`");
    sandbox.run(&["run", "c", "--wait"]).code(0);
    runner.stop();
    let runner = sandbox.start();
    assert_eq!(sandbox.state("c"), "stale");
    sandbox.write("jobs/d.yaml", "manual: true\ncommand: \"true\"\n");
    sandbox.wait_for_state("c", "active");
    // A pool that goes makes the jobs in it stale, and it alone.
    sandbox.write("jobs/b.yaml", "manual: true\npool: downloads\ncommand: \"true\"\n");
    sandbox.wait_for_state("b", "active");
    sandbox.write("runner.yaml", "pools: { uploads: 3 }\n");
    sandbox.wait_for_state("b", "stale");
    sandbox.run(&["run", "b", "--wait"]).code(0);
    runner.stop();
}

#[test]
fn each_of_the_ends_that_a_crash_made_raises_the_alarm_and_a_stale_file_raises_none() {
    let long = "manual: true\noverlap: allow\ncommand: [sleep, '300']\n";
    let sandbox = Sandbox::new().file("jobs/a.yaml", long).file("jobs/b.yaml", long).file(
        "jobs/alarm.yaml",
        "after: { jobs: ['*'], when: failure }\noverlap: allow\ncommand: echo $RUNNER_PARENT_JOB\n",
    );
    let runner = sandbox.start();
    for job in ["a", "a", "b"] {
        sandbox.run(&["run", job]).code(0);
    }
    wait_for("they run", || sandbox.events("a", "start").len() == 2 && sandbox.events("b", "start").len() == 1);
    runner.kill();
    let runner = sandbox.start();
    sandbox.wait_for_ends("alarm", 3);
    let output = sandbox.read("logs/jobs/alarm/output.log");
    assert_eq!((output.matches(" out a\n").count(), output.matches(" out b\n").count()), (2, 1), "{output}");
    runner.stop();
    for _ in 0..2 {
        sandbox.start().stop();
    }
    assert_eq!(sandbox.events("alarm", "start").len(), 3, "each end is heard of once");
}

#[test]
fn what_a_killed_runner_left_is_accounted_for_by_the_first_start_alone() {
    let sandbox = Sandbox::new()
        .file("runner.yaml", "max_concurrent_runs: 1\n")
        .file("jobs/long.yaml", "manual: true\ncommand: [sleep, '300']\n")
        .file("jobs/waits.yaml", "manual: true\ncommand: \"true\"\n");
    let runner = sandbox.start();
    sandbox.run(&["run", "long"]).code(0);
    let said = sandbox.run(&["run", "waits"]).code(0).out();
    wait_for("what waits is kept", || sandbox.read("logs/pending.json").contains("waits"));
    runner.kill();
    for _ in 0..3 {
        sandbox.start().stop();
    }
    let missed = sandbox.events("waits", "missed");
    assert_eq!(missed.len(), 1, "{missed:?}");
    assert_eq!(missed[0]["reason"], "the runner was killed while the run waited");
    assert!(said.contains(missed[0]["run"].as_str().unwrap()), "the id that was told: {said}");
    assert!(!sandbox.path("logs/pending.json").exists());
}

#[test]
fn a_chain_does_not_fire_for_ends_from_before_it_was_there_or_while_it_was_disabled() {
    let sandbox = Sandbox::new()
        .file("jobs/parent.yaml", "manual: true\ncommand: \"true\"\n")
        .file("jobs/fails.yaml", "manual: true\ncommand: exit 1\n")
        .file("jobs/new.yaml", "manual: true\ncommand: \"true\"\n")
        .file("jobs/when.yaml", "after: { jobs: [fails] }\ncommand: \"true\"\n")
        .file("jobs/rests.yaml", "enabled: false\nafter: { jobs: [parent] }\ncommand: \"true\"\n");
    let runner = sandbox.start();
    sandbox.run(&["run", "parent", "--wait"]).code(0);
    sandbox.run(&["run", "fails", "--wait"]).code(1);
    sandbox.write("jobs/new.yaml", "after: { jobs: [parent] }\ncommand: \"true\"\n");
    sandbox.write("jobs/when.yaml", "after: { jobs: [fails], when: failure }\ncommand: \"true\"\n");
    wait_for("both are taken up", || {
        let is_after = |job| sandbox.entry(job)["schedule_text"].as_str().unwrap().contains("after ");
        is_after("new") && sandbox.entry("when")["schedule_text"] == "after fails has failed"
    });
    runner.stop();
    sandbox.write("jobs/rests.yaml", "after: { jobs: [parent] }\ncommand: \"true\"\n");
    let runner = sandbox.start();
    for job in ["new", "when", "rests"] {
        assert_eq!(sandbox.read(&format!("logs/jobs/{job}/runs.log")), "", "{job} heard of nothing");
    }
    sandbox.run(&["run", "parent", "--wait"]).code(0);
    sandbox.wait_for_ends("new", 1);
    sandbox.wait_for_ends("rests", 1);
    runner.stop();
}

#[test]
fn due_times_in_a_blackout_are_skipped_with_the_reason_and_a_file_of_holidays_is_read_when_it_changes() {
    let now = runner::model::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let (today, long_ago) = (now.date().to_string(), "2001-01-01");
    // The day may turn meanwhile.
    let tomorrow = now.date().tomorrow().unwrap().to_string();
    let sandbox = Sandbox::new()
        .file("holidays.txt", &format!("# days off\n{long_ago}\n"))
        .file("jobs/a.yaml", "every: 1s\nblackout: [{ holidays: holidays.txt }]\ncommand: \"true\"\n");
    let runner = sandbox.start();
    sandbox.wait_for_ends("a", 1);
    sandbox.write("holidays.txt", &format!("{long_ago}\n{today}..{tomorrow}  # now\n"));
    wait_for("it rests", || !sandbox.events("a", "skipped").is_empty());
    assert_eq!(sandbox.events("a", "skipped")[0]["reason"], "blackout: holidays of holidays.txt");
    sandbox.run(&["run", "a", "--wait"]).code(0);
    let next = sandbox.entry("a")["next_run"].as_str().unwrap_or("later").to_string();
    assert!(!next.starts_with(&today), "nothing comes before the holidays are over: {next}");
    // A broken one costs nobody anything: the job goes on, and says what is wrong.
    sandbox.write("holidays.txt", "someday\n");
    sandbox.wait_for_state("a", "stale");
    let error = "jobs/a.yaml:2:24: blackout[0].holidays: the holidays in `holidays.txt` cannot be read: line 1: `someday` is not a \
                 date such as 2026-12-24, 12-24, or a range of them with `..`";
    assert_eq!(sandbox.entry("a")["error"], error);
    sandbox.write("holidays.txt", "");
    sandbox.wait_for_state("a", "active");
    let ends = sandbox.events("a", "end").len();
    sandbox.wait_for_ends("a", ends + 1);
    runner.stop();
    sandbox.remove("holidays.txt");
    sandbox.run(&["validate"]).code(3).says("the holidays in `holidays.txt` cannot be read: No such file or directory");
}

/// Days off from yesterday to tomorrow: the day may turn meanwhile.
fn around_today() -> String {
    let now = runner::model::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    format!("{}..{}\n", now.yesterday().unwrap(), now.tomorrow().unwrap())
}

#[test]
fn the_last_good_version_of_a_job_keeps_its_holidays_over_a_restart_whatever_is_broken() {
    let text = "every: 1s\nblackout: [{ holidays: hol.txt }]\ncommand: \"true\"\n";
    let sandbox = Sandbox::new().file("hol.txt", &around_today()).file("jobs/a.yaml", text);
    let day_after = around_today().trim().split_once("..").unwrap().1.to_string() + "T23";
    // With a runner, and from the files alone.
    let is_said_to_rest = || assert!(sandbox.entry("a")["next_run"].as_str().unwrap() > day_after.as_str());
    let runner = sandbox.start();
    wait_for("it rests", || !sandbox.events("a", "skipped").is_empty());
    is_said_to_rest();
    runner.stop();
    // The job's file is broken, the holidays are there.
    sandbox.write("jobs/a.yaml", &text.replace("1s", "1x"));
    let skipped = sandbox.events("a", "skipped").len();
    let runner = sandbox.start();
    wait_for("it rests", || sandbox.events("a", "skipped").len() > skipped);
    assert_eq!(sandbox.state("a"), "stale");
    is_said_to_rest();
    // They still count while it is stale: none are left, and it runs.
    sandbox.write("hol.txt", "2001-01-01\n");
    sandbox.wait_for_ends("a", 1);
    let skipped = sandbox.events("a", "skipped").len();
    sandbox.write("hol.txt", &around_today());
    wait_for("it rests again", || sandbox.events("a", "skipped").len() > skipped);
    runner.stop();
    is_said_to_rest();
    // The job's file is good again, the holidays are gone: what was known of them holds.
    sandbox.write("jobs/a.yaml", text);
    sandbox.remove("hol.txt");
    let ends = sandbox.events("a", "end").len();
    let skipped = sandbox.events("a", "skipped").len();
    let runner = sandbox.start();
    wait_for("it rests", || sandbox.events("a", "skipped").len() > skipped);
    assert_eq!(sandbox.state("a"), "stale");
    assert_eq!(sandbox.events("a", "end").len(), ends, "nothing has run");
    is_said_to_rest();
    runner.stop();
    is_said_to_rest();
}

#[test]
fn where_nothing_is_known_of_the_holidays_the_job_rests_each_day() {
    let text = "every: 1s\nblackout: [{ holidays: hol.txt }]\ncommand: \"true\"\n";
    let sandbox = Sandbox::new().file("hol.txt", "2001-01-01\n").file("jobs/a.yaml", text);
    let runner = sandbox.start();
    sandbox.wait_for_ends("a", 1);
    runner.stop();
    sandbox.remove("hol.txt");
    let kept: String = sandbox
        .read("logs/last-good.jsonl")
        .lines()
        .filter(|line| !line.contains("\"path\":\"holidays:"))
        .map(|line| format!("{line}\n"))
        .collect();
    sandbox.write("logs/last-good.jsonl", &kept);
    let ends = sandbox.events("a", "end").len();
    let runner = sandbox.start();
    wait_for("it rests", || !sandbox.events("a", "skipped").is_empty());
    let reason = &sandbox.events("a", "skipped")[0]["reason"];
    assert_eq!(reason, "blackout: holidays of hol.txt, which are not known");
    assert_eq!(sandbox.entry("a")["next_run"], Value::Null, "there is no end in sight");
    assert_eq!(sandbox.events("a", "end").len(), ends, "nothing has run");
    runner.stop();
}

#[test]
fn a_file_of_holidays_is_a_regular_one_and_says_some() {
    let text = "every: 1s\nblackout: [{ holidays: hol.txt }]\ncommand: \"true\"\n";
    let sandbox = Sandbox::new().file("jobs/a.yaml", text);
    assert!(std::process::Command::new("mkfifo").arg(sandbox.path("hol.txt")).status().unwrap().success());
    sandbox.run(&["validate"]).code(3).says("the holidays in `hol.txt` cannot be read: it is not a regular file");
    sandbox.remove("hol.txt");
    sandbox.write("hol.txt", "# none yet\n");
    sandbox
        .run(&["validate"])
        .code(0)
        .says("warning: blackout[0].holidays: `hol.txt` holds no date\n --> jobs/a.yaml:2:24");
}

#[test]
fn a_pool_that_is_renamed_lets_nobody_through_who_waits_for_it() {
    let job = "manual: true\npool: small\noverlap: allow\ncommand: '[ -e go ] || sleep 300'\n";
    let sandbox = Sandbox::new().file("runner.yaml", "pools: { small: 1 }\n").file("jobs/a.yaml", job);
    let runner = sandbox.start();
    for _ in 0..3 {
        sandbox.run(&["run", "a"]).code(0);
    }
    let counts = || {
        let status = sandbox.json(&["status", "--json"]);
        (status["running"].as_array().unwrap().len(), status["queued"].as_u64().unwrap())
    };
    assert_eq!(counts(), (1, 2));
    sandbox.write("runner.yaml", "pools: { tiny: 1 }\n");
    sandbox.wait_for_state("a", "stale");
    assert_eq!(counts(), (1, 2));
    runner.stop_at_once();
    // The next start does not know how many it let through.
    let runner = sandbox.start();
    for _ in 0..2 {
        sandbox.run(&["run", "a"]).code(0);
    }
    assert_eq!(counts(), (1, 1));
    runner.stop_at_once();
}

#[test]
fn next_finds_what_lies_behind_very_many_due_times_in_a_blackout() {
    let sandbox = Sandbox::new()
        .file("jobs/seconds.yaml", "schedule: '* * * * * *'\nblackout: [{ from: '00:00', to: '23:00' }]\ncommand: x\n")
        .file(
            "jobs/months.yaml",
            "schedule: '* * * * *'\nblackout: [{ dates: ['11-01..12-31'] }, { dates: ['01-01..02-28'] }]\ncommand: x\n",
        )
        .file("jobs/never.yaml", "schedule: '* * * * * *'\nblackout: [{ dates: ['01-01..12-31'] }]\ncommand: x\n");
    let next = |job: &str| sandbox.run(&["next", job, "-n", "2", "--from", "2026-11-01T00:00:00Z"]).code(0);
    next("seconds").stdout("Sun 2026-11-01 23:00:00 UTC  seconds\nSun 2026-11-01 23:00:01 UTC  seconds\n");
    next("months").stdout("Mon 2027-03-01 00:00:00 UTC  months\nMon 2027-03-01 00:01:00 UTC  months\n");
    next("never").stdout("nothing comes due\n");
}

#[test]
fn a_time_with_a_zone_is_meant_in_that_zone_and_what_else_stands_in_it_is_refused() {
    let sandbox = Sandbox::new()
        .file("jobs/a.yaml", "at: '2027-12-24T18:00:00[Asia/Tokyo]'\ncommand: x\n")
        .file("jobs/h.yaml", "schedule: '0 * * * *'\ncommand: x\n");
    sandbox.run(&["validate"]).code(0);
    sandbox.run(&["next", "a", "--from", "2027-01-01"]).code(0).stdout("Fri 2027-12-24 09:00:00 UTC  a\n");
    for from in ["2027-12-24T18:30:00[Asia/Tokyo]", "2027-12-24T18:30+09:00", "2027-12-24T18:30:00+09:00[Asia/Tokyo]"] {
        sandbox.run(&["next", "h", "-n", "1", "--from", from]).code(0).stdout("Fri 2027-12-24 10:00:00 UTC  h\n");
    }
    for from in ["2027-12-24T18:30:00+01:00[Asia/Tokyo]", "2027-12-24T18:30:00[Nowhere/Else]", "2027-12-24+09:00"] {
        sandbox.run(&["next", "h", "-n", "1", "--from", from]).code(2).says("is not a time");
    }
}

#[test]
fn the_rate_of_a_pool_holds_over_a_restart() {
    let sandbox = Sandbox::new()
        .file("runner.yaml", "pools: { api: { rate: 3/1h } }\n")
        .file("jobs/a.yaml", "manual: true\npool: api\ncommand: \"true\"\n")
        .file("jobs/b.yaml", "manual: true\npool: api\nretry: { max: 1, delay: 100ms }\ncommand: exit 1\n");
    let runner = sandbox.start();
    sandbox.run(&["run", "b", "--wait"]).code(1);
    runner.kill();
    let runner = sandbox.start();
    // Two attempts have begun, so one more may.
    sandbox.run(&["run", "a", "--wait"]).code(0);
    sandbox.run(&["run", "a"]).code(0);
    sandbox.run(&["status"]).code(0).says("the rate of pool api until ");
    runner.kill();
    let runner = sandbox.start();
    sandbox.run(&["run", "a"]).code(0);
    sandbox.run(&["status"]).code(0).says("the rate of pool api until ");
    assert_eq!(sandbox.events("a", "end").len(), 1);
    runner.stop();
}
