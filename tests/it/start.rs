//! `runner start` on a directory does what the directory says, and says clearly when it cannot.

use std::fs;

use crate::sandbox::{Sandbox, link, wait_for};

const GREETER: &str = "on_start: true\ncommand: echo hello\n";
const NEVER: &str = "schedule: \"0 0 1 1 *\"\ncommand: \"true\"\n";

#[test]
fn jobs_run_and_the_first_lines_say_what_is_where_and_what_comes_next() {
    let sandbox = Sandbox::new()
        .file("jobs/greet.yaml", GREETER)
        .file("jobs/etl/load.json", r#"{"schedule": "30 4 24 12 *", "command": "true"}"#)
        .file("jobs/paris.yaml", "schedule: \"30 3 24 12 *\"\ntimezone: Europe/Paris\ncommand: \"true\"\n");
    let runner = sandbox.start();
    let ends = sandbox.wait_for_ends("greet", 1);
    assert_eq!((&ends[0]["status"], &ends[0]["triggered_by"]), (&"success".into(), &"START".into()));
    let dir = sandbox.dir.display();
    let out = runner.stdout();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], format!("3 jobs in {dir}/jobs, logs in {dir}/logs"));
    assert!(lines[1].starts_with("next: ") && lines[1].ends_with("-12-24 03:30:00 CET  paris"), "{out}");
    assert!(lines[2].starts_with("next: ") && lines[2].ends_with("-12-24 04:30:00 UTC  etl/load"), "{out}");
    assert_eq!(lines[3..], ["Press Ctrl+C to stop"]);
    assert!(sandbox.read("logs/jobs/greet/output.log").contains(" out hello\n"));
    runner.stop();
}

#[test]
fn the_plain_old_form_loads_as_it_is() {
    let sandbox = Sandbox::new().file(
        "jobs/old.json",
        r#"{"name": "backup", "schedule": "* * * * * *", "command": "pwd", "working_directory": "/", "enabled": true}"#,
    );
    let _runner = sandbox.start();
    sandbox.wait_for_ends("backup", 1);
    assert!(sandbox.read("logs/jobs/backup/output.log").contains(" out /\n"));
}

#[test]
fn an_empty_jobs_folder_is_fine_and_no_jobs_folder_is_not() {
    let sandbox = Sandbox::new();
    let runner = sandbox.start();
    assert!(runner.stdout().starts_with("0 jobs in "), "{}", runner.stdout());
    runner.stop();
    let bare = Sandbox::bare();
    bare.run(&["start"]).code(3).stdout("").says("error: there is no [DIR]/jobs: No such file or directory");
    let nowhere = bare.outside("nowhere");
    bare.run(&["-C", nowhere.to_str().unwrap(), "start"]).code(3).says("there is no configuration directory");
}

#[test]
fn broken_settings_stop_the_first_start_and_show_the_place() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", GREETER).file("runner.yaml", "timezone: Mars/Olympus\n");
    let ran = sandbox.run(&["start"]).code(3).stdout("");
    assert!(ran.err().contains(" --> runner.yaml:1:11\n"), "{ran}");
    assert!(ran.err().contains("1 | timezone: Mars/Olympus\n"), "{ran}");
    assert!(ran.err().contains("error: runner.yaml is broken\n"), "{ran}");
    // It ended because of an error, which was logged before it ended.
    assert_eq!(sandbox.logged("ERROR daemon: not started: runner.yaml is broken"), 1);
    assert_eq!(sandbox.logged("ERROR catalog: runner.yaml:1:11: "), 1);
}

#[test]
fn broken_settings_with_a_last_good_version_start() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", GREETER).file("runner.yaml", "timezone: Europe/Rome\n");
    sandbox.start().stop();
    sandbox.write("runner.yaml", "timezone: [\n");
    let runner = sandbox.start();
    sandbox.wait_for_log("ERROR catalog: runner.yaml:");
    assert_eq!(sandbox.entry("a")["timezone"], "Europe/Rome");
    runner.stop();
    sandbox.run(&["start", "--no-last-good"]).code(3).says("runner.yaml is broken");
}

#[test]
fn broken_job_files_never_stop_a_start_but_with_strict() {
    let sandbox = Sandbox::new()
        .file("jobs/good.yaml", GREETER)
        .file("jobs/bad.yaml", "schedule: 61 * * * *\ncommand: x\n")
        .file("jobs/worse.json", "{");
    let runner = sandbox.start();
    sandbox.wait_for_ends("good", 1);
    assert_eq!((sandbox.state("bad"), sandbox.state("worse")), ("invalid".into(), "invalid".into()));
    runner.stop();
    let ran = sandbox.run(&["start", "--strict"]).code(3).says("2 errors in the files, and --strict was asked for");
    assert!(ran.err().contains(" --> jobs/bad.yaml:1:11\n") && ran.err().contains(" --> jobs/worse.json:1:"), "{ran}");
    fs::remove_file(sandbox.path("jobs/bad.yaml")).unwrap();
    fs::remove_file(sandbox.path("jobs/worse.json")).unwrap();
    sandbox.start_with(&["--strict"]).stop();
}

#[test]
fn a_second_runner_on_the_same_logs_is_refused_and_told_who_has_them() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", NEVER);
    let runner = sandbox.start();
    let words =
        format!("another runner has the logs directory [DIR]/logs: held by the runner with PID {}", runner.pid());
    sandbox.run(&["start"]).code(1).stdout("").says(&words).says("`runner stop` ends it");
    // Another logs directory is another runner's.
    let mut other = sandbox.command(&["start", "--logs", "other"]);
    other.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut other = other.spawn().unwrap();
    wait_for("the other one starts", || sandbox.read("other/runner.log").contains(" daemon: start: "));
    crate::sandbox::signal(other.id(), libc::SIGTERM);
    assert!(other.wait().unwrap().success());
    runner.stop();
    sandbox.start().stop();
}

#[test]
fn the_environment_stands_above_the_settings_and_flags_above_both() {
    let sandbox = Sandbox::bare()
        .file("elsewhere/a.yaml", NEVER)
        .file("more/b.yaml", NEVER)
        .file("runner.yaml", "timezone: Europe/Rome\nlogs: { directory: l1, level: error, format: text }\n");
    let environment = [
        ("RUNNER_DIR", sandbox.dir.to_str().unwrap()),
        ("RUNNER_JOBS", "elsewhere"),
        ("RUNNER_LOGS", "l2"),
        ("RUNNER_LOG_LEVEL", "info"),
        ("RUNNER_LOG_FORMAT", "json"),
        ("RUNNER_TIMEZONE", "Asia/Tokyo"),
    ];
    let mut command = sandbox.command(&["start"]);
    command.envs(environment).current_dir("/");
    let runner = sandbox.start_command(command);
    assert!(runner.stdout().contains(" JST  a\n"), "{}", runner.stdout());
    wait_for("the log has its first line", || sandbox.read("l2/runner.log").contains('\n'));
    let first = sandbox.read("l2/runner.log");
    let line: serde_json::Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    assert_eq!((&line["level"], &line["component"]), (&"info".into(), &"daemon".into()));
    runner.stop();

    let mut command = sandbox.command(&["start", "--jobs", "more", "--logs", "l3", "--log-level", "debug"]);
    command.args(["--log-format", "text", "--timezone", "Europe/Athens"]).envs(environment);
    let runner = sandbox.start_command(command);
    assert!(runner.stdout().contains(" EET  b\n"), "{}", runner.stdout());
    wait_for("the log is text", || sandbox.read("l3/runner.log").contains(" INFO  daemon: start: "));
    runner.stop();
    assert!(!sandbox.path("l1").exists());

    // The settings alone, where nothing stands above them.
    let mut command = sandbox.command(&["start"]);
    command.env("RUNNER_JOBS", "more");
    let runner = sandbox.start_command(command);
    assert!(runner.stdout().contains(" CET  b\n"), "{}", runner.stdout());
    runner.stop();
    assert_eq!(sandbox.read("l1/runner.log"), "");

    let mut command = sandbox.command(&["list"]);
    command.env("RUNNER_LOG_LEVEL", "loud");
    sandbox.finish(command).code(2).says("RUNNER_LOG_LEVEL=loud");
    sandbox.run(&["list", "--timezone", "Mars"]).code(2).says("`Mars` is not a time zone");
}

#[test]
fn logs_inside_a_directory_that_is_reached_through_a_link_are_refused() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", GREETER);
    let current = sandbox.outside("current");
    link(&sandbox.dir, &current);
    let current = current.to_str().unwrap();
    sandbox.run(&["-C", current, "start"]).code(3).says("put the logs elsewhere with --logs");
    assert!(!sandbox.path("logs").exists());
    let logs = sandbox.outside("logs");
    let runner = sandbox.start_with(&["-C", current, "--logs", logs.to_str().unwrap()]);
    wait_for("it runs", || {
        fs::read_to_string(logs.join("runner.log")).is_ok_and(|log| log.contains("greet") || log.contains("a: success"))
    });
    runner.stop();
}

#[test]
fn log_files_come_to_be_where_they_should_and_only_the_group_reads_them() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::new().file("jobs/group/a.b.yaml", GREETER);
    let runner = sandbox.start();
    sandbox.wait_for_ends("group/a.b", 1);
    runner.stop();
    let mode = |path: &str| fs::metadata(sandbox.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("logs"), mode("logs/jobs/group/a.b")), (0o750, 0o750));
    assert_eq!((mode("logs/runner.log"), mode("logs/jobs/group/a.b/runs.log")), (0o640, 0o640));
    assert_eq!((mode("logs/jobs/group/a.b/output.log"), mode("logs/last-good.jsonl")), (0o640, 0o600));
    assert_eq!(sandbox.read("logs/.gitignore"), "*\n");
    assert!(!sandbox.path("logs/runner.sock").exists());
}

#[test]
fn the_first_lines_leave_out_what_rests_as_next_does() {
    let sandbox = Sandbox::new()
        .file("jobs/closed.yaml", "schedule: '0 12 * * *'\ncommand: x\nblackout: [{ days: [mon-sun] }]\n")
        .file("jobs/night.yaml", "schedule: '0 * * * *'\ncommand: x\nblackout: [{ from: '00:00', to: '23:00' }]\n")
        .file("jobs/paused.yaml", "schedule: '0 12 * * *'\ncommand: x\n")
        .file("jobs/later.yaml", "schedule: '0 12 * * *'\ncommand: x\n");
    sandbox.run(&["pause", "paused"]).code(0);
    sandbox.run(&["pause", "later", "--until", "2090-01-01"]).code(0);
    let runner = sandbox.start();
    let out = runner.stdout();
    let said: Vec<&str> = out.lines().filter_map(|line| line.strip_prefix("next: ")).collect();
    let next = |job: &str| sandbox.run(&["next", job, "-n", "1"]).code(0).out();
    assert_eq!(said, [next("night").trim_end(), next("later").trim_end()]);
    assert!(said[0].ends_with(" 23:00:00 UTC  night") && said[1] == "Sun 2090-01-01 12:00:00 UTC  later", "{said:?}");
    runner.stop();
}
