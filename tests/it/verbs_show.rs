//! What people and programs are shown: `list`, `show`, `next`, `history`, `logs`, `status`, and their `--json`.

use serde_json::Value;

use crate::sandbox::{Sandbox, wait_for};

#[track_caller]
fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// The keys that the design promises; more may be added.
#[track_caller]
fn has_keys(value: &Value, promised: &[&str]) {
    let keys = keys(value);
    let missing: Vec<&&str> = promised.iter().filter(|key| !keys.contains(key)).collect();
    assert!(missing.is_empty(), "without {missing:?}: {value}");
}

const LIST: [&str; 17] = [
    "name",
    "file",
    "enabled",
    "paused",
    "state",
    "running",
    "kind",
    "command",
    "schedule",
    "schedule_text",
    "timezone",
    "next_run",
    "last_run",
    "runs",
    "failures",
    "error",
    "description",
];
const END: [&str; 20] = [
    "event",
    "run",
    "job",
    "n",
    "failures",
    "triggered_by",
    "due",
    "started",
    "ended",
    "duration_ms",
    "attempt",
    "status",
    "exit_code",
    "signal",
    "error",
    "output",
    "usage",
    "spec",
    "commit",
    "state",
];

fn some_jobs() -> Sandbox {
    Sandbox::new()
        .file("jobs/a.yaml", "description: Says it\nschedule: '0 9 * * mon-fri'\ntimezone: Europe/London\ncommand: echo one; echo two >&2\n")
        .file("jobs/b.json", r#"{"manual": true, "command": ["sh", "-c", "printf 'half'; exit 7"]}"#)
        .file("jobs/bad.yaml", "schedule: 'x'\ncommand: y\n")
        .file("jobs/off.yaml", "enabled: false\nevery: 1m\ncommand: x\n")
        .file("jobs/done.yaml", "at: 2001-01-01T00:00:00\ncommand: x\n")
}

#[test]
fn list_has_every_job_with_its_state_also_as_json() {
    let sandbox = some_jobs();
    let check = || {
        let list = sandbox.json(&["list", "--json"]);
        let names: Vec<&str> = list.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["a", "b", "bad", "done", "off"]);
        for entry in list.as_array().unwrap() {
            has_keys(entry, &LIST);
        }
        let states: Vec<&str> = list.as_array().unwrap().iter().map(|entry| entry["state"].as_str().unwrap()).collect();
        assert_eq!(states, ["active", "active", "invalid", "done", "disabled"]);
        let a = &list[0];
        assert_eq!((&a["schedule"][0], &a["timezone"]), (&"0 9 * * mon-fri".into(), &"Europe/London".into()));
        assert_eq!(a["schedule_text"], "Monday to Friday at 09:00, Europe/London");
        assert!(list[1]["next_run"].is_null() && list[3]["next_run"].is_null() && list[4]["next_run"].is_null());
    };
    check();
    let runner = sandbox.start();
    check();
    sandbox.run(&["run", "b", "--wait"]).code(7);
    let entry = sandbox.entry("b");
    has_keys(&entry["last_run"], &END);
    assert_eq!(
        (&entry["last_run"]["exit_code"], &entry["runs"], &entry["failures"]),
        (&7.into(), &1.into(), &1.into())
    );
    let ran = sandbox.run(&["list"]).code(0).stderr("");
    let out = ran.out();
    let rows: Vec<Vec<&str>> =
        out.lines().map(|line| line.split("  ").map(str::trim).filter(|c| !c.is_empty()).collect()).collect();
    assert_eq!(rows[0], ["JOB", "STATE", "SCHEDULE", "NEXT RUN", "LAST RUN", "RUNS", "FAILED"]);
    assert_eq!(rows[1][..3], ["a", "active", "Monday to Friday at 09:00, Europe/London"]);
    assert!(rows[2][..4] == ["b", "active", "by hand", "-"] && rows[2][4].ends_with(" failed"), "{ran}");
    assert_eq!(rows[3], ["bad", "invalid", "-", "-", "-", "0", "0"]);
    assert!(out.ends_with("\n5 jobs, times in UTC\n"), "{ran}");
    runner.stop();
}

#[test]
fn show_is_yaml_that_reads_back_as_the_same_job() {
    let sandbox = some_jobs().file(
        "jobs/g/rich.yaml",
        "schedule: ['@daily', '*/7 3 * * *']\nevery: 90s\non_start: true\ncommand: [\"a b\", \"it's\", \"1.10\", \"#no\", \"${HOME}\"]\n\
         env: { A: \"yes\", HOME2: \"${HOME}\", MULTI: \"x\\ny: z\" }\ntimeout: 1h30m\nlimits: { output: 1MB }\nlabels: { n: \"007\" }\n",
    );
    let shown = sandbox.run(&["show", "g/rich"]).code(0).stderr("");
    assert!(shown.out().starts_with("# g/rich (jobs/g/rich.yaml), active\n# "), "{shown}");
    assert!(shown.out().contains("${HOME}"), "what is written is shown: {shown}");
    assert_eq!(shown.out().matches("\n# next: ").count(), 5);
    sandbox.write("jobs/h.yaml", &shown.out());
    sandbox.run(&["validate", "jobs/h.yaml"]).code(0).stdout("1 file, 1 job: 0 errors, 0 warnings\n");
    let (original, copy) = (sandbox.json(&["show", "g/rich", "--json"]), sandbox.json(&["show", "h", "--json"]));
    assert_eq!(original["spec"], copy["spec"]);
    has_keys(&original, &LIST);
    assert_eq!(original["next"].as_array().unwrap().len(), 5);
    sandbox.run(&["show", "bad"]).code(0).says("# bad (jobs/bad.yaml), invalid\n# error: jobs/bad.yaml:1:");
    sandbox
        .run(&["show", "nope"])
        .code(1)
        .stdout("")
        .stderr("error: there is no job `nope`\nhelp: `runner list` shows the jobs\n");
}

#[test]
fn next_tells_due_times_in_order_of_time() {
    let sandbox = some_jobs().file("jobs/c.yaml", "schedule: '30 8,12 * * *'\ncommand: x\n");
    let from = "2024-01-12T08:00:00Z";
    sandbox.run(&["next", "--from", from, "-n", "4"]).code(0).stderr("").stdout(
        "Fri 2024-01-12 08:30:00 UTC  c\nFri 2024-01-12 09:00:00 GMT  a\nFri 2024-01-12 12:30:00 UTC  c\nSat 2024-01-13 08:30:00 UTC  c\n",
    );
    let json = sandbox.json(&["next", "a", "--from", from, "-n", "2", "--json"]);
    assert_eq!(
        json,
        serde_json::json!([
            {"job": "a", "due": "2024-01-12T09:00:00.000Z"},
            {"job": "a", "due": "2024-01-15T09:00:00.000Z"},
        ])
    );
    sandbox.run(&["next", "off"]).code(0).stdout("nothing comes due\n").stderr("note: off is disabled\n");
    sandbox.run(&["next", "nope"]).code(1).says("there is no job `nope`");
    sandbox.run(&["next", "-n", "0"]).code(2);
    let _runner = sandbox.start();
    assert_eq!(sandbox.json(&["next", "a", "--from", from, "-n", "2", "--json"]), json);
}

#[test]
fn next_says_what_has_no_time_and_what_rests() {
    let sandbox = some_jobs()
        .file("jobs/child.yaml", "after: { jobs: [b] }\ncommand: x\n")
        .file("jobs/both.yaml", "schedule: '0 9 * * *'\nafter: { jobs: [b] }\ncommand: x\n")
        .file("jobs/spread.yaml", "schedule: '0 9 * * *'\njitter: 1h\ncommand: x\n");
    let check = || {
        for (job, note) in [
            ("child", "child runs after b has succeeded, which has no time"),
            ("b", "b has no trigger: it runs by hand"),
            ("bad", "bad is invalid: `runner validate` shows why"),
            ("done", "done is done"),
            ("a", "a is paused until it is resumed"),
        ] {
            let ran = sandbox.run(&["next", job]).code(0).stdout("nothing comes due\n");
            ran.stderr(&format!("note: {note}\n"));
        }
        let ran = sandbox.run(&["next", "both", "--from", "2027-06-01", "-n", "1"]).code(0);
        ran.stdout("Tue 2027-06-01 09:00:00 UTC  both\n")
            .stderr("note: both also runs after b has succeeded, which has no time\n");
        sandbox
            .run(&["next", "-n", "1", "--from", "2027-06-01"])
            .code(0)
            .stderr("note: paused: a\nnote: run after other jobs, which has no time: both, child\n");
        sandbox.run(&["next", "chidl"]).code(1).says("did you mean `child`?");
        // The due time is the shifted one, the same each time.
        let spread = sandbox.json(&["next", "spread", "--from", "2027-06-01", "-n", "2", "--json"]);
        let of_day = |at: usize| spread[at]["due"].as_str().unwrap()[11..].to_string();
        assert!(of_day(0) == of_day(1) && ("09:00:00.001Z".."10:00:00.001Z").contains(&of_day(0).as_str()), "{spread}");
    };
    sandbox.run(&["pause", "a"]).code(0);
    check();
    let runner = sandbox.start();
    check();
    // A pause that has an end: due times begin there.
    sandbox.run(&["pause", "both", "--until", "2090-01-01T09:00:00"]).code(0);
    let ran = sandbox.run(&["next", "both", "-n", "1"]).code(0).stdout("Sun 2090-01-01 09:00:00 UTC  both\n");
    ran.says("note: both is paused until Sun 2090-01-01 09:00:00 UTC\n");
    runner.stop();
}

#[test]
fn history_shows_runs_newest_first_and_filters() {
    let sandbox = some_jobs().file("runner.yaml", "timezone: Asia/Tokyo\n");
    sandbox.run(&["history"]).code(0).stdout("nothing has run yet\n");
    assert_eq!(sandbox.json(&["history", "--json"]), serde_json::json!([]));
    let runner = sandbox.start();
    sandbox.run(&["run", "a", "--wait"]).code(0);
    sandbox.run(&["run", "b", "--wait"]).code(7);
    sandbox.run(&["run", "a", "--wait"]).code(0);
    // Records as another year left them are shown in exactly this form.
    let mut old = sandbox.events("b", "end")[0].clone();
    for (key, value) in
        [("started", "2024-01-15T00:00:05.000Z"), ("ended", "2024-01-15T00:00:05.234Z"), ("status", "success")]
    {
        old[key] = value.into();
    }
    (old["duration_ms"], old["error"], old["job"]) = (234.into(), Value::Null, "old".into());
    sandbox.write("logs/jobs/old/runs.log", &format!("{old}\n"));
    sandbox.run(&["history", "old"]).code(0).stderr("").stdout("2024-01-15 09:00:05 ✓ Success (234ms)\n");
    let out = sandbox.run(&["history"]).code(0).out();
    let ends: Vec<&str> = out.lines().map(|line| line.rsplit("  ").next().unwrap()).collect();
    assert_eq!(ends, ["a", "b", "a", "old"]);
    assert!(out.lines().nth(1).unwrap().contains(" ✗ Failed ("), "{out}");
    assert!(out.lines().nth(1).unwrap().ends_with("): exit code 7  b"), "{out}");
    let count = |args: &[&str]| sandbox.json(&[&["history", "--json"], args].concat()).as_array().unwrap().len();
    assert_eq!((count(&[]), count(&["--limit", "2"]), count(&["--status", "failed"])), (4, 2, 1));
    assert_eq!((count(&["--since", "2024-02-01"]), count(&["--until", "2024-02-01"])), (3, 1));
    assert_eq!((count(&["old", "--since", "2024-01-15T09:00:06"]), count(&["a"])), (0, 2));
    for end in sandbox.json(&["history", "--json"]).as_array().unwrap() {
        has_keys(end, &END);
        has_keys(&end["output"], &["bytes", "lines", "truncated"]);
        assert_eq!(end["event"], "end");
    }
    sandbox
        .run(&["history", "--status", "great"])
        .code(2)
        .says("expected success, failed, timeout, cancelled or interrupted");
    sandbox.run(&["history", "--since", "soon"]).code(2);
    runner.stop();
}

#[test]
fn logs_show_what_runs_printed_by_run_stream_and_tail() {
    let sandbox = some_jobs();
    let runner = sandbox.start();
    sandbox.run(&["run", "a", "--wait"]).code(0);
    sandbox.run(&["run", "b", "--wait"]).code(7);
    sandbox.run(&["run", "a", "--wait"]).code(0);
    let words = |ran: crate::sandbox::Ran| -> Vec<String> {
        ran.code(0).out().lines().map(|line| line.splitn(3, ' ').nth(2).unwrap_or(line).to_string()).collect()
    };
    let all = words(sandbox.run(&["logs"]));
    assert_eq!(all.len(), 11);
    assert!(all[0].starts_with("a --- start a MANUAL due ") && all[3] == "a --- end success", "{all:?}");
    assert!(all[4].starts_with("b --- start b MANUAL due ") && all[5] == "b out half", "{all:?}");
    assert_eq!(all[6], "b --- end failed: exit code 7");
    sandbox.run(&["logs", "a", "--plain"]).code(0).stdout("one\ntwo\none\ntwo\n");
    sandbox.run(&["logs", "a", "--plain", "--stream", "err"]).code(0).stdout("two\ntwo\n");
    sandbox.run(&["logs", "a", "--plain", "--stream", "stdout", "--tail", "1"]).code(0).stdout("one\n");
    sandbox.run(&["logs", "b", "--plain"]).code(0).stdout("half");
    sandbox.run(&["logs", "--plain"]).code(0).stdout("one\ntwo\nhalfone\ntwo\n");
    let first = sandbox.events("a", "end")[0]["run"].as_str().unwrap().to_string();
    let of_first = words(sandbox.run(&["logs", "a", "--run", &first]));
    assert_eq!(of_first[1..], ["out one", "err two", "--- end success"]);
    assert_eq!(words(sandbox.run(&["logs", "--tail", "1"])), ["a --- end success"]);
    let json = sandbox.run(&["logs", "b", "--json"]).code(0).out();
    let line: Value = serde_json::from_str(json.lines().nth(1).unwrap()).unwrap();
    assert_eq!((&line["job"], &line["stream"], &line["text"]), (&"b".into(), &"out".into(), &"half".into()));
    assert_eq!((&line["whole"], keys(&line)), (&false.into(), vec!["job", "run", "stream", "text", "time", "whole"]));
    sandbox.run(&["logs", "nope"]).code(1).says("there is no job `nope`");
    runner.stop();
    sandbox.run(&["logs", "a", "--plain", "--tail", "1"]).code(0).stdout("two\n");
}

#[test]
fn logs_can_be_followed() {
    let sandbox = some_jobs();
    let _runner = sandbox.start();
    sandbox.run(&["run", "a", "--wait"]).code(0);
    let followed = sandbox.outside("followed");
    let text = || std::fs::read_to_string(&followed).unwrap_or_default();
    let mut command = sandbox.command(&["logs", "-f", "--plain"]);
    let mut follow = command.stdout(std::fs::File::create(&followed).unwrap()).spawn().unwrap();
    wait_for("what was there is shown", || text() == "one\ntwo\n");
    sandbox.run(&["run", "a", "--wait"]).code(0);
    wait_for("what comes is shown", || text() == "one\ntwo\none\ntwo\n");
    // Also of a job that had never run, and in a file that took the place of another.
    sandbox.run(&["run", "b", "--wait"]).code(7);
    wait_for("the new job is shown", || text().ends_with("two\nhalf"));
    std::fs::rename(sandbox.path("logs/jobs/a/output.log"), sandbox.path("logs/jobs/a/output.log.1")).unwrap();
    sandbox.run(&["run", "a", "--wait"]).code(0);
    wait_for("the new file is shown", || text().ends_with("halfone\ntwo\n"));
    crate::sandbox::signal(follow.id(), libc::SIGINT);
    follow.wait().unwrap();
}

#[test]
fn status_says_what_the_runner_does() {
    let sandbox = some_jobs();
    sandbox.run(&["status"]).code(1).stdout("").says("no runner is running with the logs directory [DIR]/logs");
    sandbox.run(&["reload"]).code(1).says("no runner is running");
    let runner = sandbox.start();
    let status = sandbox.json(&["status", "--json"]);
    has_keys(
        &status,
        &[
            "pid",
            "started",
            "version",
            "generation",
            "fingerprint",
            "commit",
            "jobs",
            "stale",
            "invalid",
            "running",
            "queued",
            "watches",
        ],
    );
    assert_eq!((&status["pid"], &status["jobs"], &status["invalid"]), (&runner.pid().into(), &4.into(), &1.into()));
    assert_eq!((&status["version"], &status["running"]), (&env!("CARGO_PKG_VERSION").into(), &serde_json::json!([])));
    let words = format!("runner {} with PID {}, since ", env!("CARGO_PKG_VERSION"), runner.pid());
    let ran = sandbox.run(&["status"]).code(0).stderr("");
    assert!(ran.out().starts_with(&words), "{ran}");
    ran.says("jobs: 4 (0 stale, 1 invalid, 0 paused), generation 1 ").says("\nruns: 0 under way, 0 waiting\n");
    runner.stop();
}

#[test]
fn the_commit_of_the_jobs_repository_is_recorded() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", "manual: true\ncommand: echo a\n");
    let git = |args: &[&str]| {
        let mut command = std::process::Command::new("git");
        command.args(["-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "init.defaultBranch=main"]);
        command.args(args).current_dir(&sandbox.dir).stdout(std::process::Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !(git(&["init", "-q"]) && git(&["add", "jobs"]) && git(&["commit", "-qm", "one"])) {
        return crate::sandbox::skip("there is no git here");
    }
    let head = std::fs::read_to_string(sandbox.path(".git/refs/heads/main")).unwrap();
    // What names another repository, as a hook of git's has it in its environment, has no say.
    let mut command = sandbox.command(&["start"]);
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR"] {
        command.env(name, sandbox.outside("other"));
    }
    let runner = sandbox.start_command(command);
    sandbox.run(&["run", "a", "--wait"]).code(0);
    assert_eq!(sandbox.events("a", "end")[0]["commit"], head.trim());
    assert_eq!(sandbox.json(&["status", "--json"])["commit"], head.trim());
    assert_eq!(sandbox.entry("a")["state"], "active");
    runner.stop();
}
