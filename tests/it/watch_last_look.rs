//! With polling the last look at a file may be a while ago when its run begins: it is looked at once more.

use std::fs;

use crate::sandbox::{Sandbox, wait_for};

#[test]
fn a_file_that_has_gone_or_changed_since_the_last_look_is_not_run_for_as_it_was() {
    // Each run waits for its `go`; nothing but the last look can tell of what happens meanwhile.
    let text = "watch: { paths: [in], settle: 200ms, backend: poll, poll: 10m, existing: process, order: name }\n\
                command: [sh, -c, 'echo \"$2 $(cat \"$1\")\" >> \"$RUNNER_LOG_DIR/../noted\"; while [ ! -e \"$RUNNER_LOG_DIR/../go\" ]; do sleep 0.02; done', sh, '{path}', '{name}']\n";
    let sandbox = Sandbox::new().file("jobs/w.yaml", text);
    for name in ["a", "b", "c", "d"] {
        sandbox.write(&format!("in/{name}"), "old");
    }
    let runner = sandbox.start();
    wait_for("the first one is run for", || sandbox.read("noted") == "a old\n");
    let stable = || sandbox.read("logs/jobs/w/ledger.log").matches("\"stable\"").count();
    wait_for("the others are complete", || stable() == 4);
    sandbox.remove("in/b");
    sandbox.write("in/c", "another one");
    sandbox.write("go", "");
    wait_for("the others are run for as they are", || sandbox.read("noted").lines().count() == 3);
    let noted = sandbox.read("noted");
    let mut noted: Vec<&str> = noted.lines().collect();
    noted.sort_unstable();
    assert_eq!(noted, ["a old", "c another one", "d old"]);
    sandbox.wait_for_log("w: b is not run for now: it is gone since it was looked at last");
    sandbox.wait_for_log("w: c is not run for now: it has changed since it was looked at last");
    sandbox.wait_for_logs("✓ Added", 3);
    let is_known = |name: &str| {
        let lines = sandbox.read("logs/jobs/w/ledger.log");
        let mut of_file = lines.lines().filter(|line| line.contains(&format!("/in/{name}\"")));
        of_file.next_back().is_some_and(|line| line.contains("\"forgotten\""))
    };
    wait_for("the ledger says that it is gone", || is_known("b"));
    assert_eq!(
        (sandbox.events("w", "start").len(), sandbox.wait_for_ends("w", 3).len()),
        (3, 3),
        "a run that never was is in no record"
    );
    assert_eq!(sandbox.json(&["status", "--json"])["watches"][0]["pending"], 0);
    runner.stop();
    assert!(fs::metadata(sandbox.path("in/c")).is_ok());
}

#[test]
fn a_batch_is_for_those_that_are_there() {
    let text = "watch: { paths: [in], settle: 200ms, backend: poll, poll: 10m, existing: process, order: name, batch: { mode: all, wait: 0s } }\n\
                command: 'cat \"$RUNNER_ITEMS\" >> \"$RUNNER_LOG_DIR/../noted\"'\n";
    let sandbox = Sandbox::new().file("jobs/w.yaml", text);
    for name in ["a", "b", "c"] {
        sandbox.write(&format!("in/{name}"), "old");
    }
    sandbox.run(&["pause", "w"]).code(0);
    let runner = sandbox.start();
    let stable = || sandbox.read("logs/jobs/w/ledger.log").matches("\"stable\"").count();
    wait_for("all are complete", || stable() == 3);
    sandbox.remove("in/b");
    sandbox.run(&["resume", "w"]).code(0);
    wait_for("there is one batch", || sandbox.read("noted").lines().count() == 2);
    sandbox.wait_for_log("✓ Processed 2 files (");
    assert!(!sandbox.read("noted").contains("/in/b"));
    runner.stop();
}
