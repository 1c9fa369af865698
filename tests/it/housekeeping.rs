//! What the runner looks after now and then: orphans of its jobs, and logs that have grown too large.

use crate::sandbox::{Sandbox, is_alive, wait_for};

/// The parent of a process, as /proc tells it.
fn parent_of(pid: i64) -> Option<i64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn orphans_come_to_the_runner_and_none_stays_a_zombie() {
    let sandbox = Sandbox::new().file(
        "jobs/forks.yaml",
        "on_start: true\ncommand: >-\n  sh -c 'setsid sh -c \"echo \\$\\$ > pid; mv pid orphan; while [ ! -e go ]; do sleep 0.02; done\" &';\n  while [ ! -e end ]; do sleep 0.02; done\n",
    );
    let runner = sandbox.start();
    wait_for("the orphan is there", || sandbox.path("orphan").exists());
    let pid: i64 = sandbox.read("orphan").trim().parse().unwrap();
    assert!(is_alive(pid));
    wait_for("the runner is its parent", || parent_of(pid) == Some(i64::from(runner.pid())));
    sandbox.write("go", "");
    wait_for("it is reaped", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert!(sandbox.events("forks", "end").is_empty(), "while its run goes on");
    sandbox.write("end", "");
    sandbox.wait_for_ends("forks", 1);
    runner.stop();
}

#[test]
fn a_running_runner_takes_the_oldest_logs_away_beyond_the_total() {
    let sandbox = Sandbox::new()
        .file("runner.yaml", "logs: { max_size: 100K, max_total: 1MB }\n")
        .file("logs/jobs/a/output.log.2", &"old\n".repeat(200_000))
        .file("logs/jobs/a/output.log.1", &"new\n".repeat(100_000))
        .file("logs/jobs/a/output.log", "now\n");
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(9_000);
    let old = std::fs::File::options().write(true).open(sandbox.path("logs/jobs/a/output.log.2")).unwrap();
    old.set_modified(long_ago).unwrap();
    let runner = sandbox.start();
    sandbox.wait_for_log("took away 1 old log file with 800000 bytes; ");
    assert_eq!(sandbox.read("logs/jobs/a/output.log.1").len(), 400_000);
    assert_eq!(sandbox.read("logs/jobs/a/output.log"), "now\n");
    runner.stop();
}

#[test]
fn a_running_runner_takes_removed_jobs_logs_away_beyond_the_total_and_says_what_it_cannot() {
    let sandbox = Sandbox::new()
        .file("runner.yaml", "logs: { max_size: 1MB, max_total: 1MB }\n")
        .file("jobs/a.yaml", "manual: true\ncommand: echo a\n")
        .file("jobs/broken.yaml", "manual: true\n")
        .file("logs/jobs/a/output.log", &"large\n".repeat(200_000))
        .file("logs/jobs/broken/output.log", "broken\n")
        .file("logs/jobs/gone/b/output.log", &"gone\n".repeat(100));
    let runner = sandbox.start();
    sandbox.wait_for_log("record: took away 1 old log file with 500 bytes; ");
    sandbox.wait_for_log("WARN  record: the logs have ");
    assert!(!sandbox.path("logs/jobs/gone").exists());
    assert_eq!(sandbox.read("logs/jobs/a/output.log").len(), 1_200_000);
    assert_eq!(sandbox.read("logs/jobs/broken/output.log"), "broken\n");
    runner.stop();
}
