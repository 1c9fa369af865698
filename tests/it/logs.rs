//! The log is the memory: whole, in order, and never a reason for a job to stop.

use std::fs;
use std::process::Command;

use crate::sandbox::{Sandbox, is_root, skip, wait_for};

const TICK: &str = "every: 1s\ncommand: echo tick\n";

#[test]
fn the_runners_log_tells_the_whole_story() {
    let sandbox = Sandbox::new()
        .file("jobs/a.yaml", "manual: true\ncommand: exit 3\n")
        .file("jobs/b.yaml", "schedule: x\ncommand: y\n");
    let runner = sandbox.start();
    let pid = runner.pid();
    sandbox.run(&["run", "a", "--wait"]).code(3);
    sandbox.write("jobs/c.yaml", TICK);
    sandbox.wait_for_log("reload: ");
    sandbox.wait_for_ends("c", 1);
    runner.stop();
    let log = sandbox.read("logs/runner.log");
    let mut at = 0;
    for expected in [
        format!(
            " INFO  daemon: start: runner {} with PID {pid}, 1 job (0 stale, 1 invalid) in ",
            env!("CARGO_PKG_VERSION")
        ),
        " ERROR catalog: jobs/b.yaml:1:11: schedule: ".into(),
        " INFO  run: a: started by MANUAL run=".into(),
        " WARN  run: a: failed after ".into(),
        " INFO  catalog: reload: 2 jobs (1 added), generation 2 ".into(),
        " INFO  run: c: started by INTERVAL run=".into(),
        " INFO  run: c: success in ".into(),
        " INFO  daemon: stopping (SIGTERM): no new runs are started".into(),
        " INFO  daemon: stopped (SIGTERM)".into(),
    ] {
        at += log[at..].find(&expected).unwrap_or_else(|| panic!("{expected:?} is not next in\n{log}"));
    }
    for line in log.lines() {
        let time: Result<jiff::Timestamp, _> = line[..24].parse();
        assert!(time.is_ok() && &line[24..25] == " ", "{line}");
    }
}

#[test]
fn what_stands_in_an_error_steers_no_terminal() {
    if Command::new("script").arg("--version").output().is_err() {
        return skip("`script` is not there to give a terminal");
    }
    let sandbox = Sandbox::new()
        .file("wild", "\x1b[2Jsly")
        .file("jobs/sly.yaml", "manual: true\nsecrets: { S: { command: \"cat wild >&2; exit 1\" } }\ncommand: date\n");
    let runner = sandbox.start();
    let verbs = [("run sly --wait", 1), ("history sly", 0), ("history --json", 0), ("why sly", 0), ("logs sly", 0)];
    for (verb, code) in verbs.into_iter().chain([("show \"$(printf '\\033[2Jsly')\"", 1)]) {
        let mut script = Command::new("script");
        script.args(["-qec", &format!("{} {verb} 2>&1", env!("CARGO_BIN_EXE_runner")), "/dev/null"]);
        sandbox.clean(&mut script);
        let shown = sandbox.finish(script);
        let expected = if verb.contains("json") { "\\u001b[2Jsly" } else { "\\u{1b}[2Jsly" };
        assert!(shown.out().contains(expected) && !shown.out().contains('\x1b'), "{verb}: {shown}");
        assert!(shown.exit() == code || verb.starts_with("show"), "{verb}: {shown}");
    }
    runner.stop();
}

#[test]
fn what_a_job_prints_is_recorded_whole_and_steers_no_terminal() {
    let sandbox = Sandbox::new().file("jobs/wild.yaml", "manual: true\ncommand: [cat, wild]\n");
    let mut wild: Vec<u8> =
        b"\x1b[2J\x1b]0;title\x07\x9b\x08bell\x07\n\xff\xfe\x00\n2024-01-15T09:00:05.000Z fake\n".to_vec();
    wild.extend((0..=255u8).cycle().take(70_000));
    fs::write(sandbox.path("wild"), &wild).unwrap();
    let runner = sandbox.start();
    sandbox.run(&["run", "wild", "--wait"]).code(0);
    runner.stop();
    let end = &sandbox.events("wild", "end")[0];
    assert_eq!((&end["output"]["bytes"], &end["output"]["truncated"]), (&wild.len().into(), &false.into()));
    let ran = sandbox.run(&["logs", "wild", "--plain"]).code(0);
    assert!(ran.output.stdout == wild, "it came back as something else");
    // On a terminal nothing of it is obeyed; `script` gives the verbs one.
    if Command::new("script").arg("--version").output().is_err() {
        return skip("`script` is not there to give a terminal");
    }
    for verb in ["logs wild", "logs wild --plain", "logs wild --json", "logs wild --tail 900", "run wild --wait"] {
        let mut script = Command::new("script");
        let line = format!("{} {verb} 2>&1", env!("CARGO_BIN_EXE_runner"));
        script.args(["-qec", &line, "/dev/null"]);
        sandbox.clean(&mut script);
        let shown = sandbox.finish(script).code(0);
        let out = &shown.output.stdout;
        let expected = match verb.contains("json") {
            false => "\\u{1b}[2J\\u{1b}]0;title\\u{7}\u{fffd}\\u{8}bell\\u{7}",
            true => "\\u001b[2J\\u001b]0;title\\u0007\u{fffd}\\bbell\\u0007",
        };
        assert!(shown.out().contains(expected), "{verb}: {shown}");
        let text = std::str::from_utf8(out).expect("what is shown is UTF-8");
        let obeyed = text.chars().filter(|c| c.is_control() && !"\r\n\t".contains(*c)).count();
        assert_eq!(obeyed, 0, "control characters came through: {verb}");
    }
}

#[test]
fn every_runs_start_and_end_are_whole_lines_also_across_rotations() {
    let sandbox = Sandbox::new()
        .file("runner.yaml", "logs: { max_size: 64KiB, max_files: 1000 }\n")
        .file("jobs/a.yaml", "manual: true\noverlap: allow\ncommand: \"echo out; exit 1\"\n");
    let runner = sandbox.start();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..15).for_each(|_| drop(sandbox.run(&["run", "a", "--wait"]).code(1))));
        }
    });
    runner.stop();
    let mut starts = std::collections::HashSet::new();
    let mut ends = std::collections::HashSet::new();
    let mut text = String::new();
    for entry in fs::read_dir(sandbox.path("logs/jobs/a")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("runs.log") {
            let part = fs::read_to_string(&path).unwrap();
            assert!(part.ends_with('\n') && part.len() <= 65_536, "{}", path.display());
            text += &part;
        }
    }
    for line in text.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let run = record["run"].as_str().unwrap().to_string();
        match record["event"].as_str().unwrap() {
            "start" if record["copy"] == true => {}
            "start" => assert!(starts.insert(run), "two starts: {line}"),
            "end" => assert!(ends.insert(run), "two ends: {line}"),
            other => panic!("{other}"),
        }
    }
    assert_eq!((starts.len(), &starts), (60, &ends));
    assert_eq!((&sandbox.entry("a")["runs"], &sandbox.entry("a")["failures"]), (&60.into(), &60.into()));
}

#[test]
fn logs_that_others_delete_move_or_truncate_are_opened_again() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", "manual: true\ncommand: echo a\n");
    let runner = sandbox.start();
    sandbox.run(&["run", "a", "--wait"]).code(0);
    fs::rename(sandbox.path("logs/runner.log"), sandbox.path("logs/runner.log.moved")).unwrap();
    fs::remove_dir_all(sandbox.path("logs/jobs")).unwrap();
    sandbox.run(&["run", "a", "--wait"]).code(0).stdout("a\n");
    sandbox.wait_for_log("run: a: success");
    let end = sandbox.wait_for_ends("a", 1).remove(0);
    assert_eq!(end["n"], 2);
    sandbox.write("logs/runner.log", "");
    sandbox.write("logs/jobs/a/runs.log", "");
    sandbox.write("logs/jobs/a/output.log", "");
    sandbox.run(&["run", "a", "--wait"]).code(0).stdout("a\n");
    assert_eq!(sandbox.wait_for_ends("a", 1)[0]["n"], 3);
    sandbox.wait_for_log("run: a: success");
    sandbox.run(&["logs", "a", "--plain"]).code(0).stdout("a\n");
    runner.stop();
    assert_eq!(sandbox.entry("a")["runs"], 3);
    // Also where the newest file is lost altogether, the counts begin anew and nothing fails.
    fs::remove_dir_all(sandbox.path("logs/jobs")).unwrap();
    sandbox.start().stop();
}

#[test]
fn an_unwritable_logs_directory_is_a_clear_error_at_the_start() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", TICK).file("logs", "a file");
    sandbox.run(&["start"]).code(1).stdout("").says("error: the logs directory [DIR]/logs cannot be ").says("--logs");
    sandbox.run(&["start", "--logs", "/proc/nothing"]).code(1).says("the logs directory /proc/nothing cannot be made");
    sandbox.run(&["start", "--logs", "/dev/null/x"]).code(1).says("cannot be made: Not a directory");
    sandbox.run(&["doctor"]).code(1).says("✗ logs: ");
}

#[test]
fn a_log_that_cannot_be_written_at_run_time_is_a_loud_fault_that_heals() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", "every: 1s\ncommand: echo a >> ran; echo out\n");
    let runner = sandbox.start();
    sandbox.wait_for_ends("a", 1);
    // A file where the job's folder was: nothing can be written below it, whoever tries.
    fs::rename(sandbox.path("logs/jobs"), sandbox.path("logs/away")).unwrap();
    sandbox.write("logs/jobs", "");
    let runs = || sandbox.read("ran").lines().count();
    let before = runs();
    sandbox.wait_for_log("ERROR record: the logs cannot be written, jobs go on: ");
    assert!(runs() > before + 2, "the job goes on");
    let said = sandbox.read("logs/runner.log");
    let line = said.lines().find(|line| line.contains("the logs cannot be written")).unwrap();
    assert!(line.contains("Not a directory") && line.contains("; waiting: "), "{line}");
    assert!(line.contains("bytes of output; ") && !line.contains(" 0 bytes of output"), "{line}");
    fs::remove_file(sandbox.path("logs/jobs")).unwrap();
    fs::rename(sandbox.path("logs/away"), sandbox.path("logs/jobs")).unwrap();
    sandbox.wait_for_log("WARN  record: the logs can be written again; lost meanwhile: 0 records, ");
    runner.stop();
    // What waited was written: every run that was has its start and its end.
    let starts = sandbox.events("a", "start");
    let ends = sandbox.events("a", "end");
    assert_eq!((starts.len(), ends.len()), (runs(), runs()));
}

#[test]
fn a_full_disk_is_a_clear_error_at_the_start_and_heals_at_run_time() {
    let can_mount = is_root()
        && Command::new("unshare")
            .args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"])
            .status()
            .is_ok_and(|s| s.success());
    if !can_mount {
        return skip("a small file system of its own needs root and unshare");
    }
    let sandbox = Sandbox::new().file("jobs/a.yaml", "every: 1s\ncommand: echo a >> ran; echo out\n");
    fs::create_dir(sandbox.path("logs")).unwrap();
    // The mount is there for the processes of this namespace alone.
    let within = |script: &str| {
        let mut command = Command::new("unshare");
        let script = format!("mount -t tmpfs -o size=256k none logs && {script}");
        command.args(["-m", "sh", "-c", &script, "sh", env!("CARGO_BIN_EXE_runner")]);
        sandbox.clean(&mut command);
        command
    };
    let fill = "dd if=/dev/zero of=logs/fill bs=4k 2>/dev/null";
    let ran = sandbox.finish(within(&format!("{fill}; exec \"$1\" start"))).code(1);
    ran.says("the logs directory [DIR]/logs cannot be written to: No space left on device");

    let runner = sandbox.start_command(within("exec \"$1\" start"));
    let root = format!("/proc/{}/root{}/logs", runner.pid(), sandbox.dir.display());
    let logs = std::path::Path::new(&root);
    let read = |path: &str| fs::read_to_string(logs.join(path)).unwrap_or_default();
    wait_for("it runs", || read("jobs/a/runs.log").contains("\"event\":\"end\""));
    let bytes = vec![0u8; 4096];
    let mut filler = fs::File::create(logs.join("fill")).unwrap();
    while std::io::Write::write_all(&mut filler, &bytes).is_ok() {}
    drop(filler);
    let count = sandbox.read("ran").lines().count();
    wait_for("it is said", || runner.stderr().contains("the logs cannot be written, jobs go on: "));
    assert!(sandbox.read("ran").lines().count() > count, "the job goes on");
    fs::remove_file(logs.join("fill")).unwrap();
    wait_for("it heals", || runner.stderr().contains("the logs can be written again"));
    wait_for("the records are whole", || {
        let text = read("jobs/a/runs.log");
        let ends = text.lines().filter(|line| line.contains("\"event\":\"end\"")).count();
        text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()) && ends > count
    });
    runner.stop();
}
