//! Files are moved after their runs, also where the runner was killed in between.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::Value;

use crate::sandbox::{Sandbox, wait_for};
use crate::watch_support::watching;

const JOB: &str = "watch: { paths: [in], settle: close, events: [created, modified, deleted], on_success: { move: done/ }, on_failure: { move: failed/ } }\n\
                   command: [sh, -c, 'echo \"$2 $1\" >> \"$RUNNER_LOG_DIR/../noted\"; [ \"$1\" != bad ]', sh, '{name}', '{event}']\n";
const LEDGER: &str = "logs/jobs/w/ledger.log";

/// The last line of each file.
fn last_line(sandbox: &Sandbox, name: &str) -> Value {
    let end = format!("/in/{name}");
    let lines = sandbox.read(LEDGER);
    let mut of_file = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    of_file.rfind(|line| line["path"].as_str().unwrap().ends_with(&end)).unwrap()
}

/// As if the runner had been killed before it wrote down what became of the files: their last lines say `running`.
fn forget_ends(sandbox: &Sandbox) {
    let text = sandbox.read(LEDGER);
    let is_end = |line: &&str| line.contains("\"state\":\"done\"") || line.contains("\"state\":\"failed\"");
    let kept: String = text.lines().filter(|line| !is_end(line)).map(|line| format!("{line}\n")).collect();
    assert_ne!(text, kept);
    fs::write(sandbox.path(LEDGER), kept).unwrap();
}

/// A sandbox in which a good and a bad file were run for and moved, and the runner is gone.
fn after_two_runs() -> Sandbox {
    let sandbox = Sandbox::new().file("jobs/w.yaml", JOB);
    let runner = watching(&sandbox);
    sandbox.write("in/good", "x");
    sandbox.wait_for_log("✓ Added good");
    sandbox.write("in/bad", "x");
    sandbox.wait_for_log("✗ Failed bad");
    runner.stop();
    forget_ends(&sandbox);
    assert_eq!(
        (last_line(&sandbox, "good")["state"].as_str(), last_line(&sandbox, "bad")["state"].as_str()),
        (Some("running"), Some("running"))
    );
    sandbox
}

/// What the next runner does, up to another file that it runs for.
fn next_runner(sandbox: &Sandbox) {
    let runner = sandbox.start();
    sandbox.write("in/mark", "x");
    sandbox.wait_for_log("✓ Added mark");
    runner.stop();
    assert_eq!(
        sandbox.read("noted"),
        "created good\ncreated bad\ncreated mark\n",
        "nothing was run for again, or told as deleted"
    );
}

#[test]
fn a_file_whose_runner_was_killed_before_it_was_moved_is_moved_at_the_next_start() {
    let sandbox = after_two_runs();
    fs::rename(sandbox.path("in/done/good"), sandbox.path("in/good")).unwrap();
    fs::rename(sandbox.path("in/failed/bad"), sandbox.path("in/bad")).unwrap();
    next_runner(&sandbox);
    assert!(sandbox.path("in/done/good").exists() && sandbox.path("in/failed/bad").exists());
    for (name, state) in [("good", "done"), ("bad", "failed")] {
        let line = last_line(&sandbox, name);
        assert_eq!((line["state"].as_str(), line["gone"].as_bool()), (Some(state), Some(true)), "{line}");
    }
}

#[test]
fn a_file_whose_runner_was_killed_after_it_was_moved_is_not_told_as_deleted() {
    let sandbox = after_two_runs();
    next_runner(&sandbox);
    assert_eq!(last_line(&sandbox, "good")["gone"], true);
}

#[test]
fn a_file_that_cannot_be_moved_says_why_in_the_ledger_whenever_that_is_tried() {
    let sandbox = after_two_runs();
    fs::rename(sandbox.path("in/done/good"), sandbox.path("in/good")).unwrap();
    // A link that leads nowhere stands in the folder's place.
    fs::rename(sandbox.path("in/done"), sandbox.path("away")).unwrap();
    symlink("nowhere", sandbox.path("in/done")).unwrap();
    next_runner(&sandbox);
    for name in ["good", "mark"] {
        let line = last_line(&sandbox, name);
        assert_eq!((line["state"].as_str(), line["gone"].as_bool()), (Some("done"), None), "{line}");
        assert!(line["why"].as_str().unwrap().starts_with("it cannot be moved to done/: "), "{line}");
        assert!(sandbox.path(&format!("in/{name}")).exists());
    }
    let explained = sandbox.run(&["watch", "explain", "w", "in/good"]).code(0).out();
    assert!(explained.contains("It stays here: it cannot be moved to done/"), "{explained}");
}

#[test]
fn a_file_that_was_written_to_since_stays_for_its_further_run() {
    let sandbox = after_two_runs();
    sandbox.write("in/good", "another one");
    let runner = sandbox.start();
    sandbox.wait_for_log("Detected modified file: good");
    sandbox.wait_for_log("✓ Updated good");
    runner.stop();
    assert!(sandbox.path("in/done/good.1").exists(), "{}", sandbox.read("logs/runner.log"));
}

#[test]
fn a_file_that_took_the_place_of_one_during_its_run_is_not_put_away_with_it() {
    // On most disks it gets the inode of the removed one; it has its size and its time as well.
    let job = "watch: { paths: [in], settle: close, on_success: { move: done } }\n\
               command: [sh, -c, 'cat \"$1\" >> \"$RUNNER_LOG_DIR/../contents\"; while [ ! -e go ]; do sleep 0.05; done', sh, '{path}']\n";
    let sandbox = Sandbox::new().file("jobs/w.yaml", job);
    fs::create_dir(sandbox.path("in")).unwrap();
    let runner = sandbox.start();
    sandbox.wait_for_log("w: watches");
    let write = |text: &str| {
        let mut file = fs::File::create(sandbox.path("in/a")).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000)).unwrap();
    };
    write("one ");
    wait_for("the first one is read", || sandbox.read("contents") == "one ");
    fs::remove_file(sandbox.path("in/a")).unwrap();
    write("two ");
    sandbox.wait_for_log("w: Detected new file: a");
    sandbox.write("go", "");
    wait_for("the second one is read", || sandbox.read("contents") == "one two ");
    wait_for("it is put away", || sandbox.path("in/done/a").exists());
    assert_eq!(sandbox.read("in/done/a"), "two ");
    runner.stop();
}

#[test]
fn a_file_that_gets_another_name_during_its_run_is_put_away_under_that_one() {
    let job = "watch: { paths: [in], settle: close, on_success: { move: done } }\n\
               command: [sh, -c, 'while [ ! -e go ]; do sleep 0.05; done', sh, '{path}']\n";
    let sandbox = Sandbox::new().file("jobs/w.yaml", job);
    fs::create_dir(sandbox.path("in")).unwrap();
    let runner = sandbox.start();
    sandbox.wait_for_log("w: watches");
    sandbox.write("in/a", "x");
    sandbox.wait_for_log("Processing a");
    fs::rename(sandbox.path("in/a"), sandbox.path("in/b")).unwrap();
    wait_for("the ledger knows", || sandbox.read("logs/jobs/w/ledger.log").contains("\"moved\""));
    sandbox.write("go", "");
    wait_for("it is put away", || sandbox.path("in/done/b").exists());
    runner.stop();
}

#[test]
fn a_further_attempt_gets_the_name_that_its_file_has_by_then() {
    let job = "watch: { paths: [in], settle: close }\nretry: { max: 3, delay: 100ms }\n\
               command: [sh, -c, 'echo \"$RUNNER_ATTEMPT $1\" >> \"$RUNNER_LOG_DIR/../noted\"; while [ ! -e \"$RUNNER_LOG_DIR/../go\" ]; do sleep 0.02; done; [ -e \"$2\" ]', sh, '{name}', '{path}']\n";
    let sandbox = Sandbox::new().file("jobs/w.yaml", job);
    let runner = watching(&sandbox);
    sandbox.write("in/first", "x");
    wait_for("it has begun", || sandbox.read("noted") == "1 first\n");
    fs::rename(sandbox.path("in/first"), sandbox.path("in/last")).unwrap();
    wait_for("that is noticed", || sandbox.read(LEDGER).contains("\"moved\""));
    sandbox.write("go", "");
    sandbox.wait_for_log("✓ Added last");
    assert_eq!(sandbox.read("noted"), "1 first\n2 last\n");
    let ends = sandbox.wait_for_ends("w", 1);
    assert_eq!((ends.len(), ends[0]["attempt"].as_u64()), (1, Some(2)), "it is one run");
    sandbox.write("in/mark", "x");
    sandbox.wait_for_log("✓ Added mark");
    assert_eq!(sandbox.read("noted"), "1 first\n2 last\n1 mark\n");
    runner.stop();
}
