//! What the logs promise, for whatever stands in jobs and directories: each case is drawn, none is made up by hand.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::Config;

use crate::properties::samples;
use crate::sandbox::{Sandbox, wait_for};

fn cases(count: u32) -> Config {
    Config { failure_persistence: None, ..Config::with_cases(count) }
}

/// Text with all that could break a line or a format. A command can hold no NUL.
fn wild() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => "[a-zA-Z0-9 ]{1,12}",
        2 => "[\"'\\\\{}\\[\\]:,=#%&*|<>;`~!?@^+/-]{1,6}",
        2 => "[\n\r\t\x0b\x0c\x1b\x07\x08\x7f\u{85}\u{2028}\u{2029}\u{feff}\u{202e}]{1,4}",
        2 => "[äßéλ日本語🦀]{1,5}",
        1 => Just("2024-01-15T09:00:05.000Z INFO  run: fake: success in 1 ms run=0\n".to_string()),
        1 => Just("{\"event\":\"end\"}\n".to_string()),
        1 => "[a-z]{1000,3000}",
    ];
    prop::collection::vec(part, 1..7).prop_map(|parts| parts.concat())
}

/// A name of any allowed characters, in groups of any depth.
fn name() -> impl Strategy<Value = String> {
    prop::collection::vec("[A-Za-z0-9][A-Za-z0-9._-]{0,7}[A-Za-z0-9]", 1..5).prop_map(|parts| parts.join("/"))
}

/// Where a wild text gets into a run.
#[derive(Debug, Clone, Copy)]
enum Place {
    Output,
    Errors,
    Argument,
    /// What a person adds: `run JOB -- ARGS`.
    AddedArgument,
    Environment,
    Program,
    Directory,
}

#[test]
fn every_runs_start_and_end_are_logged_whole_whatever_it_holds() {
    let places = [
        Place::Output,
        Place::Errors,
        Place::Argument,
        Place::AddedArgument,
        Place::Environment,
        Place::Program,
        Place::Directory,
    ];
    let drawn = samples(140, &(name(), wild(), prop::sample::select(places.to_vec()), 0..3u8));
    let sandbox = Sandbox::new().file("runner.yaml", "max_concurrent_runs: 16\n");
    let mut jobs = Vec::new();
    for (n, (name, text, place, code)) in drawn.into_iter().enumerate() {
        let name = format!("n{n}/{name}");
        // Filled in from the environment, where it is not a command.
        let plain = text.replace('$', "$$");
        let exit = format!("exit {code}");
        let mut job = match place {
            Place::Output => {
                serde_json::json!({ "command": ["sh", "-c", format!("printf %s \"$1\"; {exit}"), "sh", text] })
            }
            Place::Errors => {
                serde_json::json!({ "command": ["sh", "-c", format!("printf %s \"$1\" >&2; {exit}"), "sh", text] })
            }
            Place::AddedArgument => serde_json::json!({ "command": ["sh", "-c", exit, "sh"] }),
            Place::Argument => serde_json::json!({ "command": ["sh", "-c", exit, text] }),
            Place::Environment => {
                serde_json::json!({ "env": { "X": plain }, "command": format!("printf %s \"$X\"; {exit}") })
            }
            Place::Program => serde_json::json!({ "command": [format!("no-{text}")] }),
            Place::Directory => serde_json::json!({ "working_directory": format!("no-{plain}"), "command": exit }),
        };
        let by_hand = matches!(place, Place::AddedArgument);
        job[if by_hand { "manual" } else { "on_start" }] = true.into();
        job["name"] = name.clone().into();
        job["description"] = plain.into();
        // Written as an escape: a file may not hold it as it is.
        sandbox.write(&format!("jobs/j{n}.json"), &job.to_string().replace('\u{7f}', "\\u007f"));
        let status = match (place, code) {
            (Place::Program | Place::Directory, _) => "failed",
            (_, 0) => "success",
            _ => "failed",
        };
        jobs.push((name, status, by_hand.then_some(text)));
    }
    let runner = sandbox.start();
    for (name, _, added) in &jobs {
        if let Some(text) = added {
            sandbox.run(&["run", name, "--wait", "--", text]);
        }
        sandbox.wait_for_ends(name, 1);
    }
    runner.stop();
    let log = sandbox.read("logs/runner.log");
    assert!(log.ends_with('\n'));
    for line in log.lines() {
        // Nothing of a job begins a line of its own, or steers a terminal.
        assert!(line.is_char_boundary(24) && line[..24].parse::<jiff::Timestamp>().is_ok(), "{line:?}");
        assert!(["DEBUG", "INFO ", "WARN ", "ERROR"].contains(&&line[25..30]), "{line:?}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
    for (name, status, added) in jobs {
        let text = fs::read_to_string(sandbox.path(&format!("logs/jobs/{name}/runs.log"))).unwrap();
        assert!(text.ends_with('\n') && text.lines().all(|line| line.len() < 64 * 1024), "{text}");
        assert!(
            !text.trim_end_matches('\n').chars().any(|c| c.is_control() && c != '\n' && c != '\u{7f}' && c < '\u{80}')
        );
        let records: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect();
        let [start, end] = &records[..] else { panic!("not two lines: {text}") };
        assert_eq!((&start["event"], &end["event"]), (&"start".into(), &"end".into()));
        assert_eq!((&start["job"], &end["job"]), (&name.as_str().into(), &name.as_str().into()));
        assert_eq!((&start["run"], &end["status"]), (&end["run"], &status.into()), "{text}");
        let run = end["run"].as_str().unwrap();
        let of_run = |words: String| log.lines().filter(|line| line.contains(&words) && line.contains(run)).count();
        let by = if added.is_some() { "MANUAL" } else { "START" };
        assert_eq!(of_run(format!(" INFO  run: {name}: started by {by} run={run}")), 1);
        let words = if status == "success" { "INFO  run: X: success in " } else { "WARN  run: X: failed after " };
        assert_eq!(of_run(format!(" {}", words.replace('X', &name))), 1, "{name} in {log}");
    }
}

/// How a case says where the logs go.
#[derive(Debug, Clone)]
enum Told {
    Nothing,
    Settings(String),
    AbsoluteSettings(String),
    Environment(String),
    Flag(String),
    AbsoluteFlag(String),
}

fn told() -> impl Strategy<Value = Told> {
    let path = || prop::collection::vec("[a-z][a-zA-Z0-9 ._äλ-]{0,9}[a-z]", 1..4).prop_map(|parts| parts.join("/"));
    prop_oneof![
        Just(Told::Nothing),
        path().prop_map(Told::Settings),
        path().prop_map(Told::AbsoluteSettings),
        path().prop_map(Told::Environment),
        path().prop_map(Told::Flag),
        path().prop_map(Told::AbsoluteFlag),
    ]
}

/// All files below a directory, as paths from there.
fn files(directory: &Path) -> BTreeSet<String> {
    fn walk(directory: &Path, top: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, top, found);
            } else {
                found.insert(path.strip_prefix(top).unwrap().to_str().unwrap().to_string());
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(directory, directory, &mut found);
    found
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn log_files_come_to_be_where_they_should_and_nowhere_else(
        told in told(),
        names in prop::collection::btree_set(name(), 1..4),
    ) {
        let sandbox = Sandbox::new();
        let top = sandbox.outside("");
        let absolute = |path: &str| sandbox.outside("elsewhere").join(path).to_str().unwrap().to_string();
        let mut command = sandbox.command(&["start"]);
        let logs = match &told {
            Told::Nothing => sandbox.path("logs"),
            Told::Settings(path) | Told::AbsoluteSettings(path) => {
                let path = if matches!(told, Told::Settings(_)) { path.clone() } else { absolute(path) };
                sandbox.write("runner.yaml", &format!("logs: {{ directory: '{path}' }}\n"));
                sandbox.path(&path)
            }
            Told::Environment(path) => {
                command.env("RUNNER_LOGS", path);
                sandbox.write("runner.yaml", "logs: { directory: not-here }\n");
                sandbox.path(path)
            }
            Told::Flag(path) | Told::AbsoluteFlag(path) => {
                let path = if matches!(told, Told::Flag(_)) { path.clone() } else { absolute(path) };
                command.args(["--logs", &path]).env("RUNNER_LOGS", "not-here-either");
                sandbox.path(&path)
            }
        };
        for (n, name) in names.iter().enumerate() {
            // A file's name may not be the job's: then it says its own.
            sandbox.write(&format!("jobs/{n}.yaml"), &format!("name: '{name}'\non_start: true\ncommand: echo x\n"));
        }
        let before = files(&top);
        let runner = sandbox.start_command(command);
        let ended = |name: &String| {
            fs::read_to_string(logs.join("jobs").join(name).join("runs.log")).unwrap_or_default().contains("\"event\":\"end\"")
        };
        // Two names that differ only in case are refused, and names may not be each other's folders' logs.
        let listed = sandbox.json(&["list", "--json"]);
        let runs: Vec<&String> = names
            .iter()
            .filter(|name| listed.as_array().unwrap().iter().any(|e| e["name"] == name.as_str() && e["state"] == "active"))
            .collect();
        prop_assume!(!runs.is_empty());
        wait_for("all have run", || runs.iter().all(|name| ended(name)));
        let (out, err) = ("stdout".to_string(), "stderr".to_string());
        runner.stop();
        let logs = logs.strip_prefix(&top).unwrap().to_str().unwrap();
        let mut expected: BTreeSet<String> = ["runner.log", "runner.lock", ".gitignore", "last-good.jsonl"]
            .iter()
            .map(|file| format!("{logs}/{file}"))
            .collect();
        for name in runs {
            expected.extend(["runs.log", "output.log"].map(|file| format!("{logs}/jobs/{name}/{file}")));
        }
        expected.extend([out, err]);
        let new: BTreeSet<String> = files(&top).difference(&before).cloned().collect();
        prop_assert_eq!(new, expected);
    }

    #[test]
    fn start_reload_and_stop_are_logged_with_what_they_concern(
        jobs in 0..6usize,
        edits in prop::collection::vec((0..4u8, 0..6usize), 0..4),
        stop in 0..3usize,
    ) {
        let sandbox = Sandbox::new();
        let path = |n: usize| format!("jobs/j{n}.yaml");
        for n in 0..jobs {
            sandbox.write(&path(n), "manual: true\ncommand: echo 0\n");
        }
        // Only what is asked for is taken up, so that each edit is a reload of its own.
        let runner = sandbox.start_with(&["--no-reload"]);
        let pid = runner.pid();
        let count = |n: usize| format!("{n} job{}", if n == 1 { "" } else { "s" });
        let mut expected = vec![format!(
            " INFO  daemon: start: runner {} with PID {pid}, {} (0 stale, 0 invalid) in ", env!("CARGO_PKG_VERSION"), count(jobs)
        )];
        let mut there: BTreeSet<usize> = (0..jobs).collect();
        let mut generation = 1;
        for (step, (edit, n)) in edits.iter().enumerate() {
            let good = format!("manual: true\ncommand: echo {}\n", "x".repeat(step + 1));
            let changes = match (edit, there.contains(n)) {
                (0 | 1, false) => {
                    sandbox.replace_or_write(&path(*n), &good);
                    there.insert(*n);
                    "1 added"
                }
                (0, true) => {
                    sandbox.replace_or_write(&path(*n), &good);
                    "1 changed"
                }
                (1 | 2, true) => {
                    sandbox.remove(&path(*n));
                    there.remove(n);
                    "1 removed"
                }
                _ => "",
            };
            sandbox.run(&["reload"]).code(0);
            if changes.is_empty() {
                expected.push(" INFO  catalog: asked to compare the files: nothing changed".into());
            } else {
                generation += 1;
                expected.push(format!(" INFO  catalog: reload: {} ({changes}), generation {generation} ", count(there.len())));
            }
        }
        let why = match stop {
            0 => { runner.signal(libc::SIGTERM); "SIGTERM" }
            1 => { runner.signal(libc::SIGINT); "SIGINT" }
            _ => { sandbox.run(&["stop"]).code(0); "asked by `runner stop`" }
        };
        prop_assert_eq!(runner.wait(), 0);
        expected.push(format!(" INFO  daemon: stopping ({why}): no new runs are started"));
        expected.push(format!(" INFO  daemon: stopped ({why})"));
        let log = sandbox.read("logs/runner.log");
        let lines: Vec<&str> = log.lines().map(|line| &line[24..]).collect();
        prop_assert_eq!(lines.len(), expected.len(), "{}", log);
        for (line, expected) in lines.iter().zip(&expected) {
            prop_assert!(line.starts_with(expected.as_str()), "{:?} is not {:?} in\n{}", line, expected, log);
        }
    }
}
