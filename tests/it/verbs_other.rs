//! The verbs around the jobs: `schema`, `completions`, `doctor`, `--detach`, help and wrong usage.

use std::fs;
use std::path::Path;

use crate::sandbox::{Sandbox, is_alive, wait_for};

#[test]
fn schema_writes_what_is_committed() {
    let sandbox = Sandbox::bare();
    let names = ["defaults.schema.json", "job.schema.json", "runner.schema.json"];
    let ran = sandbox.run(&["schema", "--write"]).code(0).stderr("");
    for name in names {
        let committed = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(name)).unwrap();
        assert_eq!(sandbox.read(&format!("schema/{name}")), committed);
        assert!(ran.out().contains(&format!("schema/{name}\n")), "{ran}");
        let kind = name.split('.').next().unwrap();
        sandbox.run(&["schema", kind]).code(0).stdout(&committed);
    }
    sandbox.run(&["schema", "everything"]).code(2);
}

#[test]
fn completions_are_scripts_for_shells() {
    let sandbox = Sandbox::bare();
    for shell in ["bash", "zsh", "fish"] {
        sandbox.run(&["completions", shell]).code(0).stderr("").says("runner").says("validate");
    }
    let script = sandbox.run(&["completions", "bash"]).out();
    sandbox.write("completions.bash", &script);
    if let Ok(status) = std::process::Command::new("bash").arg("-n").arg(sandbox.path("completions.bash")).status() {
        assert!(status.success());
    }
    sandbox.run(&["completions", "cobol"]).code(2);
}

#[test]
fn doctor_finds_what_is_wrong_says_the_mend_and_leaves_nothing_behind() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", "manual: true\ncommand: echo a\n");
    let files = |sandbox: &Sandbox| fs::read_dir(&sandbox.dir).unwrap().count();
    let before = files(&sandbox);
    let ran = sandbox.run(&["doctor"]);
    assert!(ran.out().contains("✓ settings: ") && ran.out().contains("✓ jobs: 1 job, no problems\n"), "{ran}");
    assert!(ran.out().contains("✓ logs: [DIR]/logs is not there yet and can be made\n"), "{ran}");
    assert!(
        ran.out().contains("! runner: not running with this logs directory\n    `runner start` starts it\n"),
        "{ran}"
    );
    assert_eq!(files(&sandbox), before);

    sandbox.write("jobs/b.yaml", "manual: true\ncommand: [no-such-program]\n");
    sandbox.write("jobs/c.yaml", "manual: true\nworking_directory: nowhere\ncommand: x\n");
    sandbox.write("jobs/d.yaml", "manual: true\n");
    sandbox.write("runner.yaml", "timezon: UTC\n");
    let ran = sandbox.run(&["doctor"]).code(1).says("✗ settings: runner.yaml:1:1: unknown field `timezon`");
    drop(ran);
    sandbox.write("runner.yaml", "timezone: UTC\n");
    sandbox
        .run(&["doctor"])
        .code(1)
        .says("✗ jobs: 1 error in the job files\n    `runner validate` shows them\n")
        .says("✗ commands: b: the program `no-such-program` was not found\n")
        .says("✗ commands: c: the working directory [DIR]/nowhere does not exist\n");
    let findings = sandbox.json(&["doctor", "--json"]);
    assert!(
        findings.as_array().unwrap().iter().any(|finding| finding["check"] == "logs" && finding["state"] == "good")
    );
    let runner = sandbox.start();
    sandbox.run(&["doctor"]).says(&format!("✓ runner: running with PID {}\n", runner.pid()));
    assert!(
        fs::read_dir(sandbox.path("logs")).unwrap().all(|e| !e
            .unwrap()
            .file_name()
            .to_string_lossy()
            .contains("probe"))
    );
    runner.stop();
    Sandbox::bare().run(&["doctor"]).code(1).says("✗ jobs: ").says("make the folder");
}

#[test]
fn a_detached_runner_says_where_everything_is_and_survives_whoever_started_it() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", "every: 1s\ncommand: echo a\n");
    let ran = sandbox.run(&["start", "--detach"]).code(0).stderr("");
    let out = ran.out();
    let lines: Vec<&str> = out.lines().collect();
    let pid: i64 = lines[0].strip_prefix("runner started in the background with PID ").unwrap().parse().unwrap();
    assert_eq!(lines[1], "1 job in [DIR]/jobs, logs in [DIR]/logs");
    assert_eq!(lines[2..4], ["log file [DIR]/logs/runner.log", "PID file [DIR]/logs/runner.lock"]);
    assert!(lines[4].starts_with("`runner stop` ends it; after a crash or a reboot nothing starts it again"), "{ran}");
    assert!(is_alive(pid));
    assert_eq!(sandbox.read("logs/runner.lock").trim(), pid.to_string());
    // Of a session of its own, with nothing of the terminal's.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert_eq!(stat.rsplit(')').next().unwrap().split_whitespace().nth(3).unwrap(), pid.to_string());
    for stream in 0..3 {
        assert_eq!(fs::read_link(format!("/proc/{pid}/fd/{stream}")).unwrap(), Path::new("/dev/null"));
    }
    sandbox.wait_for_ends("a", 2);
    sandbox.run(&["start", "--detach"]).code(1).stdout("").says(&format!("held by the runner with PID {pid}"));
    sandbox.run(&["stop"]).code(0).says(&format!("stopping the runner with PID {pid}"));
    wait_for("it has ended", || !is_alive(pid));
    // What keeps a start from succeeding is said to whoever asked for it.
    Sandbox::bare().run(&["start", "--detach"]).code(3).stdout("").says("there is no [DIR]/jobs");
}

#[test]
fn help_names_the_exit_codes_and_wrong_usage_is_two() {
    let sandbox = Sandbox::bare();
    for help in [["--help"].as_slice(), &["-h"], &["help"]] {
        let ran = sandbox.run(help).code(0).stderr("");
        let flat = ran.out().split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            flat.contains("Exit codes: 0 done; 1 the thing asked for failed; 2 usage; 3 invalid configuration."),
            "{ran}"
        );
        assert!(flat.contains("128+N for signal N, 124 for a timeout"), "{ran}");
    }
    sandbox.run(&["run", "--help"]).code(0).stderr("").says("exit with the job's own code");
    sandbox.run(&["--version"]).code(0).stdout(&format!("runner {}\n", env!("CARGO_PKG_VERSION")));
    for wrong in
        [[].as_slice(), &["launch"], &["start", "--fast"], &["run"], &["history", "--limit", "x"], &["show", "a", "b"]]
    {
        let ran = sandbox.run(wrong).code(2).stdout("");
        assert!(ran.err().contains("'--help'") || ran.err().contains("Usage: "), "{ran}");
    }
    // A slip of the finger is understood.
    sandbox.run(&["validat"]).code(2).says("'validate'");
}

#[test]
fn a_reader_that_goes_away_is_no_fault() {
    let sandbox = Sandbox::new();
    for n in 0..300 {
        sandbox.write(&format!("jobs/{n}{}.yaml", "x".repeat(60)), "every: 1h\ncommand: x\n");
    }
    let mut command = sandbox.command(&["list", "--json"]);
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(128 + libc::SIGPIPE));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn jobs_that_their_triggers_never_make_run_are_warned_of_and_programs_of_texts_are_looked_for() {
    let sandbox = Sandbox::new()
        .file("jobs/week.yaml", "every: 1m\nblackout: [{ days: [mon-sun] }]\ncommand: 'true'\n")
        .file("jobs/day.yaml", "every: 1m\nblackout: [{ from: '22:00', to: '22:00' }]\ncommand: 'true'\n")
        .file("jobs/sat.yaml", "schedule: 0 9 * * sat\nblackout: [{ days: [sat] }]\ncommand: 'true'\n")
        .file("jobs/fine.yaml", "schedule: 0 9 * * sat,sun\nblackout: [{ days: [sat] }]\ncommand: 'true'\n")
        .file("jobs/past.yaml", "at: 2024-01-01\ncommand: 'true'\n")
        .file("jobs/chain.yaml", "after: { jobs: ['zzz/*'] }\ncommand: 'true'\n")
        .file("jobs/child.yaml", "after: { jobs: ['f*'] }\ncommand: 'true'\n")
        .file("jobs/simple.yaml", "manual: true\ncommand: ./bin/rotate --all\n")
        .file("jobs/piped.yaml", "manual: true\ncommand: ./bin/pack | cat\n");
    let problems = sandbox.json(&["validate", "--json"]);
    let warned: Vec<(&str, &str)> = problems["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| (problem["path"].as_str().unwrap(), problem["field"].as_str().unwrap()))
        .collect();
    let expected = [
        ("jobs/chain.yaml", "after"),
        ("jobs/day.yaml", "blackout"),
        ("jobs/past.yaml", "at"),
        ("jobs/sat.yaml", "blackout"),
        ("jobs/week.yaml", "blackout"),
    ];
    assert_eq!(warned, expected, "{problems}");
    sandbox.run(&["validate"]).code(0);
    let doctor = sandbox.run(&["doctor"]);
    assert!(doctor.out().contains("the program `./bin/rotate` was not found"), "{doctor}");
    assert!(doctor.out().contains("the program `./bin/pack` was not found"), "{doctor}");
    sandbox.run(&["simulate", "simple"]).code(0).says("note: simple has no trigger: it runs by hand\n");
    sandbox.run(&["simulate", "chain"]).code(0).says("note: chain runs after any job that matches zzz/* has succeeded");
    sandbox.run(&["history", "--status", "timeout"]).code(0).stdout("nothing that was asked for is recorded\n");
}

#[test]
fn files_that_look_as_if_they_were_jobs_are_warned_of() {
    let sandbox = Sandbox::new().file("jobs/etl/x.YAML", "manual: true\ncommand: 'true'\n");
    let said = sandbox.run(&["validate"]).code(0);
    said.says("no job is loaded from this file: its name ends in `.YAML`\n--> jobs/etl/x.YAML\n");
}
