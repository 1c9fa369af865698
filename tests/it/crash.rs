//! A runner that is killed loses nothing that it had recorded, and leaves nothing running.

use crate::sandbox::{Sandbox, is_alive, wait_for};

#[test]
fn a_run_that_a_crash_cuts_short_is_interrupted_and_its_processes_are_ended() {
    let sandbox = Sandbox::new().file(
        "jobs/long.yaml",
        "manual: true\nkill_grace: 1s\ncommand: [sh, -c, \"setsid sleep 300 & echo child $!; sleep 300\"]\n",
    );
    let bystander = std::process::Command::new("sleep").arg("300").spawn();
    let mut bystander = bystander.unwrap();
    let runner = sandbox.start();
    sandbox.run(&["run", "long"]).code(0);
    wait_for("both processes are there", || sandbox.read("logs/jobs/long/output.log").contains(" out child "));
    let start = sandbox.events("long", "start")[0].clone();
    let pid = start["pid"].as_i64().unwrap();
    let output = sandbox.read("logs/jobs/long/output.log");
    let child: i64 = output.split(" out child ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
    runner.kill();
    assert!(is_alive(pid) && is_alive(child));

    let runner = sandbox.start();
    assert!(!is_alive(pid) && !is_alive(child), "ended before the new runner was ready");
    assert!(bystander.try_wait().unwrap().is_none(), "no other process is touched");
    bystander.kill().unwrap();
    bystander.wait().unwrap();
    let ends = sandbox.events("long", "end");
    assert_eq!((ends.len(), sandbox.events("long", "start").len()), (1, 1));
    assert_eq!((&ends[0]["status"], &ends[0]["run"]), (&"interrupted".into(), &start["run"]));
    sandbox.wait_for_log("long: interrupted, the runner had ended while it was active");
    sandbox.wait_for_log(" that interrupted runs had left behind");
    sandbox
        .run(&["history", "long"])
        .code(0)
        .says(" ✗ Interrupted (")
        .says(": the runner ended while the run was active");
    // Nothing is in the way of the next run.
    sandbox.run(&["run", "long"]).code(0);
    runner.stop_at_once();
    assert_eq!(sandbox.events("long", "end").len(), 2);
    sandbox.start().stop();
    assert_eq!(sandbox.events("long", "end").len(), 2);
}

#[test]
fn a_restart_restores_the_totals_and_the_last_run_from_the_last_line_alone() {
    let sandbox = Sandbox::new()
        .file("jobs/good.yaml", "manual: true\ncommand: echo good\n")
        .file("jobs/bad.yaml", "manual: true\ncommand: exit 3\n");
    let runner = sandbox.start();
    for _ in 0..3 {
        sandbox.run(&["run", "good", "--wait"]).code(0);
        sandbox.run(&["run", "bad", "--wait"]).code(3);
    }
    let before = (sandbox.entry("good"), sandbox.entry("bad"));
    assert_eq!((&before.1["runs"], &before.1["failures"]), (&3.into(), &3.into()));
    runner.stop();
    // Without a running runner the same is known.
    assert_eq!((sandbox.entry("good"), sandbox.entry("bad")), before);
    let log = sandbox.read("logs/jobs/bad/runs.log");
    sandbox.write("logs/jobs/bad/runs.log", log.lines().last().unwrap());
    let text = sandbox.read("logs/jobs/bad/runs.log") + "\n{\"event\":\"sta";
    sandbox.write("logs/jobs/bad/runs.log", &text);
    let runner = sandbox.start();
    sandbox.wait_for_log("bad: a half-written record of 13 bytes was cut off");
    assert_eq!((sandbox.entry("good"), sandbox.entry("bad")), before);
    sandbox.run(&["run", "bad", "--wait"]).code(3);
    assert_eq!((&sandbox.entry("bad")["runs"], &sandbox.events("bad", "end")[1]["n"]), (&4.into(), &4.into()));
    runner.stop();
}

#[test]
fn due_times_of_the_down_time_are_recorded_as_missed() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", "every: 1s\nmisfire_grace: 100ms\ncommand: \"true\"\n");
    let runner = sandbox.start();
    sandbox.wait_for_ends("a", 1);
    runner.kill();
    let since = std::time::Instant::now();
    wait_for("some intervals pass", || since.elapsed().as_millis() > 3_200);
    let runner = sandbox.start();
    wait_for("they are accounted for", || !sandbox.events("a", "missed").is_empty());
    let missed = &sandbox.events("a", "missed")[0];
    assert!(missed["reason"].as_str().unwrap().starts_with("the runner was down from "), "{missed}");
    assert!(missed["count"].as_u64().unwrap() >= 2, "{missed}");
    runner.stop();
    sandbox.run(&["history", "a", "--all"]).code(0).says(" - Missed (");
}
