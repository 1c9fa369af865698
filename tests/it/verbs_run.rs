//! `run`, `cancel`, `pause` and `resume`: what a person asks for by hand.

use std::os::unix::process::ExitStatusExt;

use crate::sandbox::{Runner, Sandbox, is_alive, wait_for};

const MANUAL: &str = "manual: true\n";

fn job(command: &str) -> String {
    format!("{MANUAL}command: {command}\n")
}

fn endings() -> Sandbox {
    Sandbox::new()
        .file("jobs/good.yaml", &job("echo out; echo err >&2"))
        .file("jobs/bad.yaml", &job("exit 42"))
        .file("jobs/killed.yaml", &job("kill -USR1 $$"))
        .file("jobs/slow.yaml", &format!("timeout: 200ms\n{}", job("sleep 60")))
        .file("jobs/nothing.yaml", &job("[no-such-program-anywhere]"))
        .file("jobs/list.yaml", &job("[printf, '<%s>']"))
        .file("jobs/text.yaml", &job("printf '<%s>' \"$@\""))
        .file("jobs/binary.yaml", &job("[cat, bytes]"))
        .file("jobs/off.yaml", &format!("enabled: false\nschedule: '* * * * * *'\n{}", "command: echo off\n"))
}

/// Every way a run can end, as the exit code and the streams of `run --wait` say it.
fn all_ways(sandbox: &Sandbox, notes: &str) {
    let bytes: Vec<u8> = (0..=255u8).cycle().take(100_003).collect();
    std::fs::write(sandbox.path("bytes"), &bytes).unwrap();
    let closing = |ran: &crate::sandbox::Ran| ran.err().lines().last().unwrap_or_default().to_string();

    let ran = sandbox.run(&["run", "good", "--wait"]).code(0).stdout("out\n");
    assert!(ran.err().starts_with(&format!("{notes}err\n✓ good: success (")), "{ran}");
    let ran = sandbox.run(&["run", "bad", "--wait"]).code(42).stdout("");
    assert!(ran.err().starts_with(&format!("{notes}✗ bad: failed (")), "{ran}");
    assert!(ran.err().ends_with("): exit code 42\n"), "{ran}");
    let ran = sandbox.run(&["run", "killed", "--wait"]).code(128 + libc::SIGUSR1);
    assert!(closing(&ran).ends_with(": ended by SIGUSR1"), "{ran}");
    let ran = sandbox.run(&["run", "slow", "--wait"]).code(124);
    assert!(
        closing(&ran).starts_with("✗ slow: timeout (") && closing(&ran).ends_with(": timed out after 200ms"),
        "{ran}"
    );
    let ran = sandbox.run(&["run", "nothing", "--wait"]).code(1);
    assert!(
        closing(&ran).ends_with("command not found: `no-such-program-anywhere` is in no directory of PATH"),
        "{ran}"
    );
    sandbox.run(&["run", "list", "--wait", "--", "a b", "--wait", ""]).code(0).stdout("<a b><--wait><>");
    sandbox.run(&["run", "text", "--wait", "--", "a b", "$HOME", "*"]).code(0).stdout("<a b><$HOME><*>");
    let ran = sandbox.run(&["run", "binary", "--wait"]).code(0);
    assert!(ran.output.stdout == bytes, "the bytes came as others");
    sandbox
        .run(&["run", "off", "--wait"])
        .code(0)
        .stdout("off\n")
        .says("note: the job is disabled: only its triggers rest");
    sandbox.run(&["run", "no/such"]).code(1).says("there is no job `no/such`");
    sandbox.run(&["run", "../x"]).code(2);
    // The exit code in the record is the command's own.
    assert_eq!(sandbox.events("bad", "end").last().unwrap()["exit_code"], 42);
    assert_eq!(sandbox.events("killed", "end").last().unwrap()["signal"], libc::SIGUSR1);
    assert_eq!(sandbox.events("off", "end").last().unwrap()["triggered_by"], "MANUAL");
}

#[test]
fn a_waited_for_run_gives_output_and_exit_code_as_if_it_had_been_run_directly() {
    let sandbox = endings();
    let runner = sandbox.start();
    all_ways(&sandbox, "");
    // The disabled job has never run by itself.
    assert_eq!(sandbox.records("off").len(), 2);
    runner.stop();
}

#[test]
fn a_run_without_a_running_runner_is_the_same_and_leaves_nothing_open() {
    let sandbox = endings();
    all_ways(&sandbox, "note: no runner is running, this one runs the job by itself and waits for its end\n");
    assert!(!sandbox.path("logs/runner.sock").exists());
    let total = sandbox.entry("bad");
    assert_eq!((&total["runs"], &total["failures"]), (&1.into(), &1.into()));
    // Without --wait it waits all the same.
    sandbox.run(&["run", "bad"]).code(42);
}

#[test]
fn a_run_by_itself_holds_the_lock_and_ends_its_run_on_ctrl_c() {
    let sandbox = Sandbox::new().file("jobs/long.yaml", &job("echo up; exec sleep 300"));
    let mut command = sandbox.command(&["run", "long"]);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut alone = command.spawn().unwrap();
    wait_for("it runs", || sandbox.read("logs/jobs/long/output.log").contains(" out up"));
    let pid = sandbox.events("long", "start")[0]["pid"].as_i64().unwrap();
    sandbox.run(&["start"]).code(1).says(&format!("held by the runner with PID {}", alone.id()));
    crate::sandbox::signal(alone.id(), libc::SIGINT);
    let status = alone.wait().unwrap();
    assert!(!is_alive(pid));
    assert_eq!(status.code().or(status.signal()), Some(128 + libc::SIGTERM));
    assert_eq!(sandbox.events("long", "end")[0]["status"], "cancelled");
    sandbox.start().stop();
}

#[test]
fn a_run_that_is_not_waited_for_prints_its_id_which_every_verb_knows() {
    let sandbox = Sandbox::new().file("jobs/long.yaml", &job("echo up; exec sleep 300"));
    let runner = sandbox.start();
    let ran = sandbox.run(&["run", "long"]).code(0).stderr("");
    let id = ran.out().trim().to_string();
    assert_eq!(id.len(), 36);
    wait_for("it runs", || sandbox.read("logs/jobs/long/output.log").contains(" out up"));
    let status = sandbox.json(&["status", "--json"]);
    let running = &status["running"][0];
    assert_eq!((&running["run"], &running["job"]), (&id.as_str().into(), &"long".into()));
    assert!(is_alive(running["pid"].as_i64().unwrap()) && running["started"].is_string());
    sandbox.run(&["status"]).code(0).says(&format!("  {id}  long  since "));
    assert_eq!(sandbox.entry("long")["running"], 1);
    sandbox.run(&["list"]).code(0).says("active, running");
    sandbox.run(&["run", "long"]).code(1).says(&format!("run {id} is still active, and the job's overlap is skip"));
    // Who waits is told how it ended: by a signal, so 128 + 15.
    std::thread::scope(|scope| {
        let other = scope.spawn(|| sandbox.run(&["cancel", &id]));
        other.join().unwrap().code(0).stdout(&format!("run {id} of long is told to end\n"));
    });
    let end = sandbox.wait_for_ends("long", 1).remove(0);
    assert_eq!((&end["status"], &end["error"]), (&"cancelled".into(), &"cancelled by `runner cancel`".into()));
    assert_eq!(sandbox.entry("long")["failures"], 0);
    wait_for("it is over", || sandbox.run(&["cancel", &id]).exit() == 1);
    sandbox.run(&["cancel", &id]).code(1).says(&format!("no run {id} is active"));
    sandbox.run(&["cancel", "x"]).code(2);
    runner.stop();
    sandbox.run(&["cancel", &id]).code(1).says("no runner is running");
}

#[test]
fn a_run_that_is_cancelled_while_waited_for_says_so() {
    let sandbox = Sandbox::new().file("jobs/long.yaml", &job("echo up; exec sleep 300"));
    let _runner = sandbox.start();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| sandbox.run(&["run", "long", "--wait"]));
        wait_for("it runs", || sandbox.read("logs/jobs/long/output.log").contains(" out up"));
        let id = sandbox.events("long", "start")[0]["run"].as_str().unwrap().to_string();
        sandbox.run(&["cancel", &id]).code(0);
        let ran = waiting.join().unwrap().code(128 + libc::SIGTERM).stdout("up\n");
        assert!(ran.err().ends_with("): cancelled by `runner cancel`\n"), "{ran}");
    });
}

#[test]
fn who_waits_is_told_when_the_runner_is_killed() {
    let sandbox = Sandbox::new().file("jobs/long.yaml", &job("echo up; exec sleep 300"));
    let runner = sandbox.start();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| sandbox.run(&["run", "long", "--wait"]));
        wait_for("it runs", || sandbox.read("logs/jobs/long/output.log").contains(" out up"));
        runner.kill();
        waiting.join().unwrap().code(1).stdout("up\n").says("the runner ended before the run did");
    });
    sandbox.start().stop();
}

#[test]
fn a_pause_lets_triggers_rest_is_shown_everywhere_and_outlives_restarts() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", "every: 1s\ncommand: echo a\n");
    let runner = sandbox.start();
    sandbox.wait_for_ends("a", 1);
    sandbox
        .run(&["pause", "a"])
        .code(0)
        .stdout("a is paused until it is resumed; its due times are recorded as skipped\n");
    let paused = |sandbox: &Sandbox| sandbox.entry("a")["paused"] == true;
    assert!(paused(&sandbox));
    sandbox.run(&["list"]).code(0).says("active, paused");
    sandbox.run(&["show", "a"]).code(0).says("# a (jobs/a.yaml), active, paused\n");
    sandbox.run(&["status"]).code(0).says(" 1 paused)");
    let starts = sandbox.events("a", "start").len();
    wait_for("a due time is skipped", || !sandbox.events("a", "skipped").is_empty());
    assert_eq!(sandbox.events("a", "skipped")[0]["reason"], "paused");
    assert_eq!(sandbox.events("a", "start").len(), starts);
    sandbox.run(&["run", "a", "--wait"]).code(0).stdout("a\n").says("note: the job is paused: only its triggers rest");
    runner.stop();
    assert!(paused(&sandbox));
    let runner = sandbox.start();
    assert!(paused(&sandbox));
    sandbox.run(&["resume", "a"]).code(0).stdout("a is resumed\n");
    sandbox.run(&["resume", "a"]).code(1).says("the job `a` is not paused");
    let ends = sandbox.events("a", "end").len();
    sandbox.wait_for_ends("a", ends + 1);
    assert_eq!((sandbox.logged("engine: a: paused until it is resumed"), sandbox.logged("engine: a: resumed")), (1, 1));
    sandbox.run(&["pause", "nope"]).code(1).says("there is no job `nope`");
    runner.stop();
}

#[test]
fn a_pause_with_an_end_ends_by_itself_and_can_be_made_without_a_runner() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", "every: 1s\ncommand: echo a\n");
    sandbox.run(&["pause", "a", "--until", "2000-01-01"]).code(2).says("--until lies in the past");
    sandbox.run(&["pause", "a", "--until", "soon"]).code(2).says("`soon` is not a time");
    sandbox.run(&["pause", "nope"]).code(1).says("there is no job `nope`");
    sandbox.run(&["pause", "a", "--until", "2999-01-01"]).code(0).says("until Tue 2999-01-01 00:00:00 UTC");
    let entry = sandbox.entry("a");
    assert_eq!((&entry["paused"], &entry["paused_until"]), (&true.into(), &"2999-01-01T00:00:00.000Z".into()));
    sandbox.run(&["resume", "a"]).code(0).stdout("a is resumed\n");
    assert_eq!(sandbox.entry("a")["paused"], false);
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_millis(2_500);
    sandbox.run(&["pause", "a", "--until", &soon.to_string()]).code(0);
    let runner = sandbox.start();
    let ends = sandbox.wait_for_ends("a", 1);
    let due: jiff::Timestamp = ends[0]["due"].as_str().unwrap().parse().unwrap();
    assert!(due >= soon, "{due} lies before {soon}");
    assert_eq!(sandbox.logged("engine: a: the pause is over"), 1);
    assert_eq!(sandbox.entry("a")["paused"], false);
    runner.stop();
}

#[test]
fn a_running_run_ends_under_the_spec_that_it_began_with() {
    let sandbox =
        Sandbox::new().file("jobs/a.yaml", &job("echo old up; while [ ! -e go ]; do sleep 0.02; done; echo old end"));
    let _runner: Runner<'_> = sandbox.start();
    let old = sandbox.entry("a");
    sandbox.run(&["run", "a"]).code(0);
    wait_for("it runs", || sandbox.read("logs/jobs/a/output.log").contains(" out old up"));
    sandbox.write("jobs/a.yaml", &format!("timeout: 10ms\n{}", job("echo new")));
    sandbox.wait_for_log("(1 changed)");
    assert_ne!(sandbox.entry("a")["command"], old["command"]);
    sandbox.remove("jobs/a.yaml");
    sandbox.wait_for_log("(1 removed)");
    sandbox.run(&["status"]).code(0).says("runs: 1 under way");
    sandbox.write("go", "");
    let end = sandbox.wait_for_ends("a", 1).remove(0);
    assert_eq!((&end["status"], &end["exit_code"]), (&"success".into(), &0.into()));
    assert!(sandbox.read("logs/jobs/a/output.log").contains(" out old end\n"));
    // Its logs stay.
    sandbox.run(&["history", "a"]).code(0).says(" ✓ Success (");
    sandbox.run(&["logs", "a", "--plain"]).code(0).stdout("old up\nold end\n");
}

#[test]
fn a_run_by_itself_sets_off_no_trigger_of_any_job() {
    let sandbox = Sandbox::new()
        .file("jobs/asked.yaml", "every: 1s\non_start: true\ncommand: sleep 2.2\n")
        .file("jobs/other.yaml", "every: 1s\non_start: true\ncommand: touch other-ran\n");
    sandbox.run(&["run", "asked"]).code(0);
    assert!(!sandbox.path("other-ran").exists() && !sandbox.path("logs/jobs/other").exists());
    assert_eq!(sandbox.records("asked").len(), 2);
}

#[test]
fn a_pause_that_cannot_be_kept_holds_and_says_so() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", "manual: true\ncommand: echo a\n");
    let runner = sandbox.start();
    // A folder in its place: no file can be moved there.
    std::fs::create_dir_all(sandbox.path("logs/paused.json/x")).unwrap();
    let note = "note: it will not survive a restart: paused.json cannot be written: ";
    sandbox.run(&["pause", "a"]).code(0).says("a is paused until it is resumed").says(note);
    assert_eq!(sandbox.json(&["status", "--json"])["paused"], 1);
    sandbox.run(&["resume", "a"]).code(0).says("a is resumed\n").says(note);
    assert_eq!(sandbox.json(&["status", "--json"])["paused"], 0);
    std::fs::remove_dir_all(sandbox.path("logs/paused.json")).unwrap();
    sandbox.run(&["pause", "a"]).code(0).stderr("");
    runner.stop();
}

#[test]
fn every_verb_tells_of_a_job_that_is_not_there_in_the_same_words_with_and_without_a_runner() {
    let sandbox = Sandbox::new()
        .file("jobs/etl.yaml", "manual: true\ncommand: 'true'\n")
        .file("jobs/bad.yaml", "comand: 'true'\n");
    let all = || {
        for verb in ["run", "pause", "resume", "show", "next", "why", "history", "logs", "simulate"] {
            let said = sandbox.run(&[verb, "etll"]).code(1);
            said.says("error: there is no job `etll`\nhelp: did you mean `etl`? `runner list` shows the jobs\n");
        }
        for verb in ["pause", "resume"] {
            sandbox.run(&[verb, "bad"]).code(1).says("the file of the job `bad` is invalid");
        }
        sandbox.run(&["resume", "etl"]).code(1).says("the job `etl` is not paused");
    };
    all();
    let runner = sandbox.start();
    all();
    sandbox.run(&["cancel", "nope"]).code(2).says("it is no id of a run");
    runner.stop();
}

#[test]
fn a_run_by_hand_that_replaces_another_says_so() {
    let sandbox = Sandbox::new().file("jobs/rep.yaml", "on_start: true\ncommand: sleep 60\noverlap: replace\n");
    let runner = sandbox.start();
    wait_for("it runs", || sandbox.entry("rep")["running"] == 1);
    sandbox
        .run(&["run", "rep"])
        .code(0)
        .says("note: the job's overlap is replace: the run that is active is told to end");
    runner.stop_at_once();
}
