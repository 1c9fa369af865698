//! SIGTERM and SIGINT: nothing new starts, what is active gets its time, everything is said and recorded.

use crate::sandbox::{Sandbox, is_alive, skip, wait_for};
use serde_json::{Value, json};

/// Runs that do not end by themselves, and whether they listen to SIGTERM.
fn endless(listens: bool) -> String {
    let trap = if listens { "" } else { "trap '' TERM; " };
    format!("on_start: true\nkill_grace: 1s\ncommand: \"{trap}echo up; while :; do sleep 0.05; done\"\n")
}

#[track_caller]
fn wait_for_output(sandbox: &Sandbox, job: &str, text: &str) {
    let path = format!("logs/jobs/{job}/output.log");
    wait_for(&format!("{job} printed {text}"), || sandbox.read(&path).contains(text));
}

#[test]
fn a_run_that_ends_in_time_is_waited_for_and_nothing_new_starts() {
    for (signal, name) in [(libc::SIGTERM, "SIGTERM"), (libc::SIGINT, "SIGINT")] {
        let sandbox = Sandbox::new()
            .file(
                "jobs/slow.yaml",
                "on_start: true\ncommand: [sh, -c, \"echo up; while [ ! -e go ]; do sleep 0.02; done\"]\n",
            )
            .file("jobs/often.yaml", "every: 1s\ncommand: echo often\n");
        let mut runner = sandbox.start();
        wait_for_output(&sandbox, "slow", " out up\n");
        sandbox.wait_for_ends("often", 1);
        runner.signal(signal);
        sandbox.wait_for_log(&format!("stopping ({name}): no new runs are started"));
        sandbox.wait_for_log("waiting for up to 30s for 1 active run: slow; a second signal ends them at once");
        let runs = sandbox.events("often", "start").len();
        // It still answers, and refuses.
        sandbox.run(&["run", "often"]).code(1).says("the runner is stopping");
        sandbox.run(&["status"]).code(0).says("runs: 1 under way");
        let since = std::time::Instant::now();
        wait_for("two of its intervals pass", || since.elapsed().as_millis() > 2_100);
        assert!(!runner.has_ended());
        assert_eq!(sandbox.events("often", "start").len(), runs);
        sandbox.write("go", "");
        assert_eq!(runner.wait(), 0);
        assert_eq!(sandbox.events("slow", "end")[0]["status"], "success");
        assert!(sandbox.read("logs/runner.log").ends_with(&format!("daemon: stopped ({name})\n")));
    }
}

#[test]
fn after_the_shutdown_timeout_runs_are_told_to_end_and_then_killed() {
    let sandbox = Sandbox::new()
        .file("runner.yaml", "shutdown_timeout: 1s\n")
        .file("jobs/polite.yaml", &endless(true))
        .file("jobs/deaf.yaml", &endless(false));
    let runner = sandbox.start();
    wait_for_output(&sandbox, "polite", " out up\n");
    wait_for_output(&sandbox, "deaf", " out up\n");
    let pid = sandbox.events("deaf", "start")[0]["pid"].as_i64().unwrap();
    assert!(is_alive(pid));
    runner.stop();
    assert!(!is_alive(pid));
    assert_eq!(sandbox.logged("waiting for up to 1s for 2 active runs: deaf, polite"), 1);
    assert_eq!(sandbox.logged("2 active runs did not end in time and will be ended now"), 1);
    let (polite, deaf) = (sandbox.events("polite", "end"), sandbox.events("deaf", "end"));
    assert_eq!((polite.len(), deaf.len()), (1, 1));
    assert_eq!((&polite[0]["status"], &polite[0]["signal"]), (&"cancelled".into(), &libc::SIGTERM.into()));
    assert_eq!((&deaf[0]["status"], &deaf[0]["signal"]), (&"cancelled".into(), &libc::SIGKILL.into()));
    assert_eq!(deaf[0]["error"], "the runner was stopped");
    assert_eq!((sandbox.logged("polite: cancelled after"), sandbox.logged("deaf: cancelled after")), (1, 1));
}

#[test]
fn without_a_shutdown_timeout_the_run_is_waited_for_until_it_ends() {
    let sandbox = Sandbox::new().file("runner.yaml", "shutdown_timeout: none\n").file(
        "jobs/slow.yaml",
        "on_start: true\ncommand: [sh, -c, \"echo up; while [ ! -e go ]; do sleep 0.02; done\"]\n",
    );
    let mut runner = sandbox.start();
    wait_for_output(&sandbox, "slow", " out up\n");
    runner.signal(libc::SIGTERM);
    sandbox.wait_for_log("stopping (SIGTERM)");
    let since = std::time::Instant::now();
    wait_for("a while passes", || since.elapsed().as_millis() > 1_500);
    assert!(!runner.has_ended());
    assert_eq!(sandbox.logged("ended now"), 0);
    sandbox.write("go", "");
    assert_eq!(runner.wait(), 0);
    assert_eq!(sandbox.events("slow", "end")[0]["status"], "success");
}

#[test]
fn a_second_signal_ends_at_once_what_would_take_its_time() {
    let sandbox = Sandbox::new().file("jobs/deaf.yaml", &endless(false).replace("kill_grace: 1s", "kill_grace: 1h"));
    let runner = sandbox.start();
    wait_for_output(&sandbox, "deaf", " out up\n");
    runner.signal(libc::SIGINT);
    sandbox.wait_for_log("stopping (SIGINT)");
    runner.signal(libc::SIGINT);
    assert_eq!(runner.wait(), 0);
    assert_eq!(sandbox.logged("SIGINT again: 1 active run will be ended at once"), 1);
    assert_eq!(sandbox.events("deaf", "end")[0]["signal"], libc::SIGKILL);
    assert_eq!(sandbox.logged("stopped (SIGINT)"), 1);
}

#[test]
fn stop_names_the_runner_and_waits_for_it() {
    let sandbox = Sandbox::new().file("jobs/polite.yaml", &endless(true)).file("runner.yaml", "shutdown_timeout: 1s\n");
    sandbox.run(&["stop"]).code(1).says("no runner is running with the logs directory [DIR]/logs");
    let mut runner = sandbox.start();
    wait_for_output(&sandbox, "polite", " out up\n");
    let pid = runner.pid();
    let words = format!("stopping the runner with PID {pid}; it waits for 1 active run\nstopped\n");
    sandbox.run(&["stop"]).code(0).stdout(&words).stderr("");
    wait_for("it has ended", || runner.has_ended());
    assert_eq!(runner.wait(), 0);
    assert_eq!(sandbox.logged("stopping (asked by `runner stop`)"), 1);
    let runner = sandbox.start();
    let words = format!("stopping the runner with PID {}; it waits for 1 active run\n", runner.pid());
    sandbox.run(&["stop", "--no-wait"]).code(0).stdout(&words);
    assert_eq!(runner.wait(), 0);
}

#[test]
fn stop_waits_for_the_right_runner_where_its_pid_is_another_process_here() {
    let in_a_container = |program: &str| {
        let mut command = std::process::Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", program]);
        command
    };
    if !in_a_container("true").status().is_ok_and(|status| status.success()) {
        return skip("a PID namespace of its own needs root and unshare");
    }
    let sandbox = Sandbox::new().file(
        "jobs/slow.yaml",
        "on_start: true\ncommand: [sh, -c, \"echo up; while [ ! -e go ]; do sleep 0.02; done\"]\n",
    );
    let mut command = in_a_container(env!("CARGO_BIN_EXE_runner"));
    command.arg("start");
    sandbox.clean(&mut command);
    let runner = sandbox.start_command(command);
    wait_for_output(&sandbox, "slow", " out up\n");
    // Here that is init, which never ends.
    assert_eq!(sandbox.read("logs/runner.lock").trim(), "1");
    std::thread::scope(|scope| {
        let stop = scope.spawn(|| sandbox.run(&["stop"]));
        sandbox.wait_for_log("stopping (asked by `runner stop`)");
        assert!(!stop.is_finished());
        sandbox.write("go", "");
        let words = "stopping the runner with PID 1; it waits for 1 active run\nstopped\n";
        stop.join().unwrap().code(0).stdout(words).stderr("");
    });
    // The logs are free for the next one.
    sandbox.start().stop();
    assert_eq!(runner.wait(), 0);
}

#[test]
fn runs_that_wait_for_their_turn_at_a_stop_end_as_cancelled_and_their_askers_are_told() {
    let sandbox = Sandbox::new()
        .file("runner.yaml", "max_concurrent_runs: 1\nshutdown_timeout: 1s\n")
        .file("jobs/long.yaml", &endless(true))
        .file("jobs/queued.yaml", "manual: true\ncommand: echo never\n")
        .file("jobs/removed.yaml", "manual: true\ncommand: echo never\n");
    let runner = sandbox.start();
    wait_for_output(&sandbox, "long", " out up\n");
    std::thread::scope(|scope| {
        let ask = |job: &'static str| scope.spawn(|| sandbox.run(&["run", job, "--wait"]));
        let (queued, removed) = (ask("queued"), ask("removed"));
        wait_for("both wait", || sandbox.json(&["status", "--json"])["queued"] == 2);
        sandbox.remove("jobs/removed.yaml");
        let removed = removed.join().unwrap();
        removed.code(1).says("it waits for its turn").says("the job was removed while the run waited for its turn");
        runner.signal(libc::SIGTERM);
        let told = queued.join().unwrap().code(1);
        told.says("queued: cancelled (never began)").says("the runner stopped while the run waited for its turn");
    });
    assert_eq!(runner.wait(), 0);
    // A record of its own, as of any run that has an id: it is found by that, and counts.
    let (starts, ends) = (sandbox.events("queued", "start"), sandbox.events("queued", "end"));
    assert_eq!((starts.len(), ends.len()), (1, 1), "{starts:?} {ends:?}");
    assert_eq!(
        (&starts[0]["pid"], &starts[0]["n"], &starts[0]["state"]["running"][0]),
        (&Value::Null, &json!(0), &starts[0]["run"])
    );
    assert_eq!((&ends[0]["run"], &ends[0]["status"]), (&starts[0]["run"], &json!("cancelled")));
    assert_eq!(ends[0]["error"], "the runner stopped while the run waited for its turn");
    assert_eq!((&ends[0]["n"], &ends[0]["failures"], &ends[0]["exit_code"]), (&json!(1), &json!(0), &Value::Null));
    assert_eq!((&ends[0]["state"]["running"], &ends[0]["state"]["waiting"]), (&Value::Null, &Value::Null));
    assert!(sandbox.events("queued", "skipped").is_empty());
    let history = sandbox.json(&["history", "queued", "--json"]);
    assert_eq!(history[0]["run"], ends[0]["run"]);
    sandbox
        .run(&["logs", "queued"])
        .code(0)
        .says("end cancelled: the runner stopped while the run waited for its turn");
    assert_eq!(
        sandbox.events("removed", "skipped")[0]["reason"],
        "the job was removed while the run waited for its turn"
    );
}

#[test]
fn whoever_asks_while_the_runner_ends_gets_an_answer() {
    let sandbox = Sandbox::new();
    for _ in 0..15 {
        let runner = sandbox.start();
        let words = format!("stopping the runner with PID {}\nstopped\n", runner.pid());
        sandbox.run(&["stop"]).code(0).stdout(&words).stderr("");
        assert_eq!(runner.wait(), 0);
    }
}

#[test]
fn a_signal_that_comes_as_soon_as_the_runner_is_ready_is_a_clean_stop() {
    let sandbox = Sandbox::new();
    for n in 1..=40 {
        sandbox.start().stop();
        assert_eq!(sandbox.logged("daemon: stopped (SIGTERM)"), n);
    }
}

#[test]
fn a_second_stop_request_is_no_second_signal() {
    let sandbox = Sandbox::new().file(
        "jobs/slow.yaml",
        "on_start: true\ncommand: [sh, -c, \"echo up; while [ ! -e go ]; do sleep 0.02; done\"]\n",
    );
    let runner = sandbox.start();
    wait_for_output(&sandbox, "slow", " out up\n");
    for _ in 0..2 {
        sandbox.run(&["stop", "--no-wait"]).code(0).says("it waits for 1 active run");
    }
    sandbox.run(&["status"]).code(0).says("runs: 1 under way");
    sandbox.write("go", "");
    assert_eq!(runner.wait(), 0);
    assert_eq!(sandbox.events("slow", "end")[0]["status"], "success");
    assert_eq!(sandbox.logged("will be ended at once"), 0);
}
