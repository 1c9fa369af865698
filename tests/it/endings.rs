//! Whatever ends the runner is told before it ends: on standard error, and in `runner.log` once there is one.

use std::fs;
use std::process::Command;

use proptest::prelude::*;
use proptest::test_runner::Config;

use crate::sandbox::{Sandbox, wait_for};

fn cases(count: u32) -> Config {
    Config { failure_persistence: None, ..Config::with_cases(count) }
}

/// `runner start` that may have so many descriptors open.
fn start_with_descriptors(sandbox: &Sandbox, most: u32) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n \"$1\"; exec \"$2\" start", "sh", &most.to_string(), env!("CARGO_BIN_EXE_runner")]);
    sandbox.clean(&mut command);
    command
}

/// How a runner with few descriptors came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    NotStarted,
    WhileRunning,
    Stopped,
}

/// Starts it, stops it if it runs, and looks whether its end is told as it has to be.
fn end_of(sandbox: &Sandbox, most: u32, level: &str) -> Result<End, TestCaseError> {
    let (out, err) = (sandbox.outside("stdout"), sandbox.outside("stderr"));
    let mut command = start_with_descriptors(sandbox, most);
    command.stdout(fs::File::create(&out).unwrap()).stderr(fs::File::create(&err).unwrap());
    let mut child = command.spawn().unwrap();
    let is_up = || fs::read_to_string(&out).unwrap().contains("Press Ctrl+C to stop\n");
    let mut status = None;
    wait_for("it is up or has ended", || {
        status = child.try_wait().unwrap();
        status.is_some() || is_up()
    });
    // One that is up may be about to end by itself: then the signal changes nothing.
    crate::sandbox::signal(child.id(), libc::SIGTERM);
    wait_for("it has ended", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    let code = status.unwrap().code();
    let (said, log) = (fs::read_to_string(&err).unwrap(), sandbox.read("logs/runner.log"));
    let last = log.lines().last().unwrap_or_default();
    prop_assert!(log.is_empty() || log.ends_with('\n'), "{}", log);
    if code == Some(0) {
        // A clean stop is no error.
        let is_told = last.ends_with(" INFO  daemon: stopped (SIGTERM)");
        prop_assert_eq!(is_told, level == "info" || level == "debug", "{}", log);
        return Ok(End::Stopped);
    }
    // Findings in files come before it.
    let error = said.lines().filter_map(|line| line.strip_prefix("error: ")).next_back();
    let Some(error) = error else { return Err(TestCaseError::fail(format!("{code:?}, nothing said: {said}\n{log}"))) };
    if is_up() {
        prop_assert!(last.ends_with(&format!(" ERROR daemon: the runner ends: {error}")), "{said}\n{log}");
        return Ok(End::WhileRunning);
    }
    if log.contains(" daemon: ") {
        prop_assert!(log.contains(&format!(" ERROR daemon: not started: {error}")), "{said}\n{log}");
    }
    Ok(End::NotStarted)
}

#[test]
fn an_error_that_ends_a_runner_is_logged_before_it_ends_while_it_starts_and_while_it_runs() {
    // Descriptors run out at another place for each number: some while it starts, some when its loop wants its timer.
    let mut ends = Vec::new();
    let sandbox = Sandbox::new().file("jobs/a.yaml", "manual: true\ncommand: 'true'\n");
    for most in 9..=25 {
        let _ = fs::remove_dir_all(sandbox.path("logs"));
        ends.push(end_of(&sandbox, most, "info").unwrap());
    }
    for end in [End::NotStarted, End::WhileRunning, End::Stopped] {
        assert!(ends.contains(&end), "{end:?} was not seen: {ends:?}");
    }
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn an_error_that_ends_a_runner_is_logged_before_it_ends(
        most in 10..20u32,
        jobs in 0..4usize,
        error_in_job in any::<bool>(),
        level in prop::sample::select(vec!["error", "warn", "info", "debug"]),
    ) {
        let sandbox = Sandbox::new();
        sandbox.write("runner.yaml", &format!("logs: {{ level: {level} }}\n"));
        for n in 0..jobs {
            sandbox.write(&format!("jobs/j{n}.yaml"), "manual: true\ncommand: 'true'\n");
        }
        if error_in_job {
            sandbox.write("jobs/broken.yaml", "manual: true\n");
        }
        end_of(&sandbox, most, level)?;
    }
}

/// What can keep a runner from starting, made in a directory.
#[derive(Debug, Clone)]
enum Obstacle {
    NoJobs,
    JobsIsAFile,
    Settings(String),
    Strict(String),
    LogsIsAFile,
    LogsBelowAFile,
    LogsBehindLink,
    LockHeld,
    SocketIsAFolder,
}

fn obstacle() -> impl Strategy<Value = Obstacle> {
    // Always wrong: an unknown field, or a map that is not closed, with whatever behind it.
    let settings = prop_oneof![
        "[a-z]{1,12}_no: [a-zA-Z0-9 äß€\\]\\[{}:,*&!|>%@`#-]{0,40}",
        "\\{[^\\}\\x00]{0,60}",
        "timezone: [A-Z][a-z]{2,9}/[A-Z][a-z]{2,9}xx",
    ];
    let job = prop_oneof![
        "[a-z]{3,12}_no: [a-zA-Z0-9 äß€]{0,40}\n".prop_map(|line| format!("command: x\nmanual: true\n{line}")),
        "schedule: '[6-9][0-9] [a-z*]{1,5} \\* \\* \\*'\ncommand: x\n",
    ];
    prop_oneof![
        1 => Just(Obstacle::NoJobs),
        1 => Just(Obstacle::JobsIsAFile),
        4 => settings.prop_map(Obstacle::Settings),
        3 => job.prop_map(Obstacle::Strict),
        1 => Just(Obstacle::LogsIsAFile),
        1 => Just(Obstacle::LogsBelowAFile),
        1 => Just(Obstacle::LogsBehindLink),
        1 => Just(Obstacle::LockHeld),
        1 => Just(Obstacle::SocketIsAFolder),
    ]
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn an_error_that_ends_a_start_is_told_before_it_ends(obstacle in obstacle(), format in 0..2usize) {
        let sandbox = Sandbox::new().file("jobs/a.yaml", "on_start: true\ncommand: touch ran\n");
        let mut args = vec!["start", "--strict", "--log-format", ["text", "json"][format]];
        let mut lock = None;
        // Whether it goes wrong when the log is open already.
        let is_late = match &obstacle {
            Obstacle::NoJobs | Obstacle::JobsIsAFile => {
                fs::remove_dir_all(sandbox.path("jobs")).unwrap();
                if matches!(obstacle, Obstacle::JobsIsAFile) {
                    sandbox.write("jobs", "");
                }
                false
            }
            Obstacle::Settings(text) => {
                sandbox.write("runner.yaml", text);
                true
            }
            Obstacle::Strict(text) => {
                sandbox.write("jobs/b.yaml", text);
                true
            }
            Obstacle::LogsIsAFile => {
                sandbox.write("logs", "");
                false
            }
            Obstacle::LogsBelowAFile => {
                args.extend(["--logs", "jobs/a.yaml/logs"]);
                false
            }
            Obstacle::LogsBehindLink => {
                crate::sandbox::link(&sandbox.dir, sandbox.outside("link"));
                args.splice(0..0, ["-C", "../link"]);
                false
            }
            Obstacle::LockHeld => {
                fs::create_dir(sandbox.path("logs")).unwrap();
                lock = Some(runner::os::lock::Lock::take(&sandbox.path("logs/runner.lock")).unwrap());
                false
            }
            Obstacle::SocketIsAFolder => {
                fs::create_dir_all(sandbox.path("logs/runner.sock/x")).unwrap();
                true
            }
        };
        let ran = sandbox.run(&args);
        drop(lock);
        prop_assert!((1..=3).contains(&ran.exit()), "{}", ran);
        prop_assert_eq!(ran.out(), "");
        let said = ran.err();
        let errors: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("error: ")).collect();
        prop_assert!(!errors.is_empty() && errors.iter().all(|error| !error.is_empty()), "{}", ran);
        prop_assert!(!said.contains("panicked"), "{}", ran);
        let log = sandbox.read("logs/runner.log");
        if is_late {
            // The words of standard error's last, on one whole line of their own.
            let error = errors[errors.len() - 1];
            let whole = |line: &str| match format {
                0 => line.replace(&sandbox.dir.display().to_string(), "[DIR]").ends_with(&format!(" ERROR daemon: not started: {error}")),
                _ => {
                    let value: serde_json::Value = serde_json::from_str(line).unwrap();
                    let message = value["message"].as_str().unwrap().replace(&sandbox.dir.display().to_string(), "[DIR]");
                    value["level"] == "error" && message == format!("not started: {error}")
                }
            };
            prop_assert_eq!(log.lines().filter(|line| whole(line)).count(), 1, "{}\n{}", ran, log);
            prop_assert!(log.ends_with('\n'));
        }
        // Nothing ran.
        prop_assert!(!sandbox.path("ran").exists() && !sandbox.path("logs/jobs").exists());
    }
}
