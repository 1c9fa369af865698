//! A job whose process cannot even be made, because its file system does not answer, holds up nobody else.
//!
//! A write lease on the program stands in for such a file system: who executes it waits until the lease is given back.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::time::Instant;

use crate::sandbox::{Sandbox, skip, wait_for};

/// Holds back whoever opens or executes the file, for as long as it lives.
struct Lease(File);

impl Lease {
    /// `None` where the file system gives no leases: said, and the test passes.
    fn take(path: &std::path::Path) -> Option<Self> {
        // The kernel tells its holder by a signal that would end the test.
        unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
        let file = OpenOptions::new().write(true).open(path).unwrap();
        if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) } != 0 {
            skip("the file system of the temporary directory gives no leases");
            return None;
        }
        Some(Self(file))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        unsafe { libc::fcntl(self.0.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) };
    }
}

fn sandbox_with_hung_job() -> Sandbox {
    let sandbox = Sandbox::new()
        .file("jobs/hung.yaml", "every: 1s\nkill_grace: 1s\ncommand: [./program]\n")
        .file("jobs/well.yaml", "every: 1s\ncommand: [\"true\"]\n");
    let program = OpenOptions::new().write(true).create(true).truncate(true).mode(0o755).open(sandbox.path("program"));
    std::io::Write::write_all(&mut program.unwrap(), b"#!/bin/sh\necho ran\n").unwrap();
    std::fs::set_permissions(sandbox.path("program"), std::fs::Permissions::from_mode(0o755)).unwrap();
    sandbox
}

#[test]
fn a_process_that_hangs_while_it_is_made_holds_up_its_own_job_alone() {
    let sandbox = sandbox_with_hung_job();
    let Some(lease) = Lease::take(&sandbox.path("program")) else { return };
    sandbox.write("jobs/busy.yaml", "every: 1s\ncommand: sleep 300\n");
    let runner = sandbox.start();
    // Its second due time comes while the first hangs; the other job goes on, and people are answered.
    sandbox.wait_for_ends("well", 4);
    // What others skip is recorded meanwhile, also after a sign of life.
    sandbox.run(&["reload"]).code(0);
    wait_for("others' gaps are recorded", || !sandbox.events("busy", "skipped").is_empty());
    assert!(sandbox.events("hung", "skipped").is_empty(), "its own wait for its start");
    assert_eq!(sandbox.entry("hung")["runs"], 0);
    sandbox.run(&["status"]).code(0).says("hung");
    sandbox.write("jobs/new.yaml", "manual: true\ncommand: echo new\n");
    wait_for("the new job is there", || {
        sandbox.run(&["reload"]).exit() == 0 && sandbox.read("logs/runner.log").contains("1 added")
    });
    sandbox.run(&["run", "new", "--wait"]).code(0).stdout("new\n");
    drop(lease);
    // The first may find its program still open for writing; the next does not.
    let runs_well = || sandbox.events("hung", "end").iter().any(|end| end["status"] == "success");
    wait_for("the job runs once its file system answers", runs_well);
    wait_for("what came meanwhile is recorded", || !sandbox.events("hung", "skipped").is_empty());
    runner.stop_at_once();
}

#[test]
fn a_process_that_hangs_while_it_is_made_is_ended_by_a_cancel_and_by_its_timeout() {
    let sandbox = sandbox_with_hung_job();
    let Some(_lease) = Lease::take(&sandbox.path("program")) else { return };
    sandbox.write("jobs/hung.yaml", "manual: true\ncommand: [./program]\n");
    sandbox.write("jobs/late.yaml", "manual: true\ntimeout: 1s\ncommand: [./program]\n");
    let runner = sandbox.start();
    let late = sandbox.run(&["run", "late"]).code(0).out();
    let asked = sandbox.json(&["status", "--json"]);
    assert_eq!(asked["running"].as_array().map(Vec::len), Some(1), "{late}");
    sandbox.run(&["run", "hung"]).code(0);
    let running = || sandbox.json(&["status", "--json"])["running"].as_array().cloned().unwrap_or_default();
    let run = running().iter().find(|run| run["job"] == "hung").unwrap()["run"].as_str().unwrap().to_string();
    sandbox.run(&["cancel", &run]).code(0);
    let end = &sandbox.wait_for_ends("hung", 1)[0];
    assert_eq!((&end["status"], &end["error"]), (&"cancelled".into(), &"cancelled by `runner cancel`".into()));
    let end = &sandbox.wait_for_ends("late", 1)[0];
    assert_eq!(end["status"], "timeout");
    assert_eq!(end["error"], "its program could not be begun within its timeout of 1s");
    assert!(!sandbox.read("logs/jobs/late/output.log").contains(" out ran"));
    runner.stop();
}

#[test]
fn a_stop_has_an_end_whatever_hangs() {
    let sandbox = sandbox_with_hung_job();
    let Some(lease) = Lease::take(&sandbox.path("program")) else { return };
    let runner = sandbox.start();
    sandbox.wait_for_ends("well", 2);
    let begun = Instant::now();
    runner.signal(libc::SIGTERM);
    sandbox.wait_for_log("waiting for up to 30s for 1 active run: hung");
    runner.signal(libc::SIGTERM);
    assert_eq!(runner.wait(), 0);
    assert!(begun.elapsed().as_secs() < 25, "{:?}", begun.elapsed());
    assert_eq!(sandbox.wait_for_ends("hung", 1)[0]["status"], "cancelled");
    drop(lease);
}
