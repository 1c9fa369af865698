//! Control groups that runs use one after the other.

use serde_json::Value;

use crate::sandbox::{Sandbox, is_alive, skip, wait_for};

/// Whether runs here have groups without controllers, which are the ones that are used again.
fn are_used_again() -> bool {
    let is_so = runner::os::cgroup::Home::find().is_ok_and(|home| home.controllers == Default::default());
    if !is_so {
        skip("no cgroup v2 that may be written to, or one with controllers");
    }
    is_so
}

/// The directory of the group that a process is in.
const OWN: &str =
    "cd /sys/fs/cgroup/unified 2>/dev/null || cd /sys/fs/cgroup; cd .$(sed -n 's/^0:://p' /proc/self/cgroup)";

fn group(start: &Value) -> String {
    start["group"].as_str().expect("the start names the group").to_string()
}

#[test]
fn a_group_is_used_again_by_one_run_at_a_time_and_tells_of_each_run_its_own_use() {
    if !are_used_again() {
        return;
    }
    let busy = "i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done";
    let sandbox = Sandbox::new()
        .file("jobs/where.yaml", "manual: true\ncommand: sed -n 's/^0:://p' /proc/self/cgroup; true\n")
        .file("jobs/busy.yaml", &format!("manual: true\ncommand: '{busy}'\n"))
        .file("jobs/long.yaml", "manual: true\noverlap: allow\ncommand: 'until [ -e go ]; do sleep 0.02; done'\n");
    let runner = sandbox.start();
    for _ in 0..2 {
        sandbox.run(&["run", "where", "--wait"]).code(0);
    }
    let starts = sandbox.events("where", "start");
    let (first, second) = (group(&starts[0]), group(&starts[1]));
    assert_eq!(first, second);
    let printed = sandbox.read("logs/jobs/where/output.log");
    assert_eq!(printed.lines().filter(|line| line.contains(" out ") && line.ends_with(&first)).count(), 2, "{printed}");

    sandbox.run(&["run", "busy", "--wait"]).code(0);
    sandbox.run(&["run", "where", "--wait"]).code(0);
    assert_eq!(group(&sandbox.events("busy", "start")[0]), group(&sandbox.events("where", "start")[2]));
    let used = |end: &Value| end["usage"]["user_ms"].as_u64().unwrap() + end["usage"]["system_ms"].as_u64().unwrap();
    let (busy, idle) = (used(&sandbox.events("busy", "end")[0]), used(&sandbox.events("where", "end")[2]));
    assert!(busy > 20 && idle < busy, "{busy} ms, {idle} ms");

    for _ in 0..2 {
        sandbox.run(&["run", "long"]).code(0);
    }
    wait_for("both run", || sandbox.events("long", "start").len() == 2);
    let starts = sandbox.events("long", "start");
    assert_ne!(group(&starts[0]), group(&starts[1]));
    sandbox.write("go", "");
    sandbox.wait_for_ends("long", 2);
    let place = runner::os::cgroup::place_name(&sandbox.path("logs"));
    runner.stop();
    assert!(runner::os::cgroup::Home::leftovers(|name| name == place).is_empty(), "they go with the runner");
}

#[test]
fn a_group_that_a_run_has_changed_is_nobody_elses() {
    if !are_used_again() {
        return;
    }
    let sandbox = Sandbox::new()
        .file("jobs/where.yaml", "manual: true\ncommand: 'true'\n")
        .file("jobs/below.yaml", &format!("manual: true\ncommand: \"{OWN}; mkdir below\"\n"))
        .file(
            "jobs/frozen.yaml",
            &format!(
                "manual: true\ntimeout: 300ms\nkill_grace: 0s\ncommand: \"{OWN}; echo 1 > cgroup.freeze; sleep 300\"\n"
            ),
        );
    let runner = sandbox.start();
    for job in ["below", "frozen"] {
        sandbox.run(&["run", job, "--wait"]);
        sandbox.run(&["run", "where", "--wait"]).code(0);
        let changed = group(&sandbox.events(job, "start")[0]);
        let next = group(sandbox.events("where", "start").last().unwrap());
        assert_ne!(changed, next, "{job}");
    }
    assert!(sandbox.events("where", "end").iter().all(|end| end["status"] == "success"));
    runner.stop();
}

#[test]
fn after_a_crash_who_hides_is_found_by_the_group_that_the_start_names() {
    if !are_used_again() {
        return;
    }
    let hides = "env -i setsid sh -c 'echo hidden $$; exec sleep 300' & sleep 300";
    let sandbox = Sandbox::new()
        .file("jobs/before.yaml", "manual: true\ncommand: 'true'\n")
        .file("jobs/hides.yaml", &format!("manual: true\ncommand: {}\n", serde_json::to_string(hides).unwrap()));
    let runner = sandbox.start();
    // In a group that was another run's before.
    sandbox.run(&["run", "before", "--wait"]).code(0);
    sandbox.run(&["run", "hides"]).code(0);
    let pid = || {
        let text = std::fs::read_to_string(sandbox.path("logs/jobs/hides/output.log")).unwrap_or_default();
        text.lines().find_map(|line| line.split(" out hidden ").nth(1)?.parse::<i64>().ok())
    };
    wait_for("it hides", || pid().is_some());
    let hidden = pid().unwrap();
    assert_eq!(group(&sandbox.events("before", "start")[0]), group(&sandbox.events("hides", "start")[0]));
    runner.kill();
    assert!(is_alive(hidden));
    let runner = sandbox.start();
    assert_eq!(sandbox.wait_for_ends("hides", 1)[0]["status"], "interrupted");
    assert!(!is_alive(hidden));
    assert_eq!(sandbox.events("before", "end").len(), 1);
    runner.stop();
}

/// A kernel that was told to kill a group kills whoever is born into it later.
#[test]
fn a_group_that_was_killed_is_never_used_again_whoever_killed_it() {
    if !are_used_again() {
        return;
    }
    let within = format!("manual: true\ncommand: '{OWN}; echo 1 > cgroup.kill; sleep 100'\n");
    let behind = format!(
        "manual: true\ncommand: '(sleep 0.2; {OWN}; echo 1 > cgroup.kill; sleep 100) & exit 0'\nkill_grace: 1s\nstop_signal: SIGWINCH\n"
    );
    let sandbox = Sandbox::new()
        .file("jobs/long.yaml", "manual: true\nkill_grace: 0s\ncommand: sleep 100\n")
        .file("jobs/within.yaml", &within.replace("'s/^0:://p'", "''s/^0:://p''"))
        .file("jobs/behind.yaml", &behind.replace("'s/^0:://p'", "''s/^0:://p''"))
        .file("jobs/fine.yaml", "manual: true\ncommand: ['true']\n");
    let runner = sandbox.start();
    for n in 0..3 {
        let run = sandbox.run(&["run", "long"]).code(0).out().trim().to_string();
        wait_for("it runs", || sandbox.events("long", "start").len() > n);
        sandbox.run(&["cancel", &run]).code(0);
        sandbox.wait_for_ends("long", n + 1);
        sandbox.run(&["run", "fine", "--wait"]).code(0);
        sandbox.run(&["run", "within", "--wait"]);
        assert_eq!(sandbox.events("within", "end")[n]["error"], "ended by SIGKILL");
        sandbox.run(&["run", "fine", "--wait"]).code(0);
        sandbox.run(&["run", "behind", "--wait"]).code(0);
        sandbox.run(&["run", "fine", "--wait"]).code(0);
    }
    runner.stop();
}

/// Somebody copies a configuration with its logs while a run is active, and starts a runner on the copy later.
#[test]
fn a_copy_of_the_logs_ends_nothing_of_the_runner_that_they_were_copied_from() {
    if !are_used_again() {
        return;
    }
    let sandbox = Sandbox::new()
        .file("jobs/first.yaml", "manual: true\ncommand: 'until [ -e go ]; do sleep 0.02; done'\n")
        .file("jobs/second.yaml", "manual: true\ncommand: 'until [ -e on ]; do sleep 0.02; done'\n");
    let copy = Sandbox::new().file("jobs/first.yaml", "manual: true\ncommand: 'true'\n");
    let runner = sandbox.start();
    sandbox.run(&["run", "first"]).code(0);
    wait_for("it runs", || sandbox.events("first", "start").len() == 1);
    let begun = sandbox.read("logs/jobs/first/runs.log");
    sandbox.write("go", "");
    sandbox.wait_for_ends("first", 1);
    // It has the group now that the copy says was the first one's.
    sandbox.run(&["run", "second"]).code(0);
    wait_for("it runs", || sandbox.events("second", "start").len() == 1);
    assert_eq!(group(&sandbox.events("second", "start")[0]), group(&sandbox.events("first", "start")[0]));
    copy.write("logs/jobs/first/runs.log", &begun);
    let other = copy.start();
    assert_eq!(copy.wait_for_ends("first", 1)[0]["status"], "interrupted");
    sandbox.write("on", "");
    assert_eq!(sandbox.wait_for_ends("second", 1)[0]["status"], "success");
    other.stop();
    runner.stop();
}

#[test]
fn a_group_that_others_have_taken_away_meanwhile_costs_no_run() {
    if !are_used_again() {
        return;
    }
    let sandbox = Sandbox::new().file("jobs/fine.yaml", "manual: true\ncommand: ['true']\n");
    let runner = sandbox.start();
    sandbox.run(&["run", "fine", "--wait"]).code(0);
    let name = group(&sandbox.events("fine", "start")[0]);
    let found = runner::os::cgroup::Home::leftovers(|other| other == name);
    assert!(found.len() == 1 && found[0].remove());
    sandbox.run(&["run", "fine", "--wait"]).code(0);
    assert_ne!(group(&sandbox.events("fine", "start")[1]), name);
    runner.stop();
}
