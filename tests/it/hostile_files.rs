//! Whatever lies in `jobs/`: one clear finding for it, nothing else touched, no crash, no hang.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::sandbox::{Sandbox, is_root, link, skip, wait_for};

const GOOD: &str = "manual: true\ncommand: echo good\n";

fn fifo(path: &std::path::Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// A job of its own beside each bad thing, and the one finding that is to be made of it.
fn bad_things(sandbox: &Sandbox) -> Vec<(&'static str, String)> {
    let path = |name: &str| sandbox.path(&format!("jobs/{name}"));
    fifo(&path("fifo.yaml"));
    fs::create_dir(path("folder.yaml")).unwrap();
    fs::write(path("folder.yaml/inner.yaml"), GOOD).unwrap();
    link("loop.yaml", path("loop.yaml"));
    link("..", path("back"));
    link("nowhere/at/all", path("dangling.yaml"));
    let sparse = fs::File::create(path("sparse.yaml")).unwrap();
    sparse.set_len(100 * 1024 * 1024).unwrap();
    fs::write(path("empty.yaml"), "").unwrap();
    fs::write(path("latin.yaml"), b"command: caf\xe9\n").unwrap();
    fs::write(path("utf16.yaml"), b"\xff\xfec\0o\0m\0").unwrap();
    fs::write(path("nul.yaml"), b"command: a\0b\n").unwrap();
    fs::write(path("deep.yaml"), "[".repeat(10_000)).unwrap();
    fs::write(path("deep.json"), "[".repeat(10_000)).unwrap();
    fs::write(path("with space.yaml"), GOOD).unwrap();
    fs::write(path("x.log.yaml"), GOOD).unwrap();
    fs::write(path(&format!("{}.yaml", "n".repeat(101))), GOOD).unwrap();
    fs::write(path("star.yaml"), "schedule: */5 * * * *\ncommand: x\n").unwrap();
    fs::write(path("twice.yaml"), "command: a\ncommand: b\n").unwrap();
    fs::write(sandbox.path("jobs").join(OsStr::from_bytes(b"caf\xe9.yaml")), GOOD).unwrap();
    vec![
        ("jobs/fifo.yaml", "this is a FIFO, not a regular file".into()),
        ("jobs/folder.yaml", "this is a folder with the name of a job's file".into()),
        ("jobs/loop.yaml", "this link leads back to itself".into()),
        ("jobs/back", "".into()),
        ("jobs/dangling.yaml", "this link leads to nothing: nowhere/at/all".into()),
        ("jobs/sparse.yaml", "the file has 104857600 bytes, at most 1 MiB is allowed".into()),
        ("jobs/caf\u{fffd}.yaml", "the file's name is not UTF-8".into()),
    ]
}

#[test]
fn every_bad_thing_is_one_finding_and_the_rest_runs() {
    let sandbox = Sandbox::new().file("jobs/good.yaml", GOOD).file("jobs/g/also.yaml", GOOD);
    let expected = bad_things(&sandbox);
    let ran = sandbox.run(&["validate", "--json"]).code(3).stderr("");
    let found: Value = serde_json::from_slice(&ran.output.stdout).unwrap();
    let problems = found["problems"].as_array().unwrap();
    for (path, message) in &expected {
        let of_path: Vec<&Value> = problems.iter().filter(|problem| problem["path"] == *path).collect();
        if *path == "jobs/back" {
            // The link leads to the configuration directory, which leads to `jobs/` again.
            let around: Vec<&Value> =
                problems.iter().filter(|p| p["path"].as_str().unwrap().starts_with("jobs/back")).collect();
            assert!(around.iter().any(|p| p["message"] == "this link leads back to a folder above it"), "{around:?}");
            continue;
        }
        assert_eq!(of_path.len(), 1, "{path}: {of_path:?}");
        assert_eq!(of_path[0]["message"], message.as_str());
    }
    for path in ["empty", "latin", "utf16", "nul", "deep", "with space", "x.log", "star", "twice"] {
        let path = format!("jobs/{path}.yaml");
        let errors = problems.iter().filter(|p| p["path"] == path.as_str() && p["severity"] == "error").count();
        assert_eq!(errors, 1, "{path}: {problems:?}");
    }
    for problem in problems {
        let keys = ["path", "line", "column", "field", "severity", "message", "help"];
        assert!(keys.iter().all(|key| !problem[key].is_null() || *key == "help"), "{problem}");
    }
    // Every form of output bears it.
    sandbox.run(&["validate"]).code(3).stderr("");
    let github = sandbox.run(&["validate", "--format", "github"]).code(3).out();
    assert!(github.contains("::error file=jobs/fifo.yaml::this is a FIFO, not a regular file\n"), "{github}");
    // One by one as well.
    for name in ["fifo.yaml", "sparse.yaml", "dangling.yaml", "loop.yaml", "folder.yaml"] {
        sandbox.run(&["validate", &format!("jobs/{name}")]).code(3);
    }
    let runner = sandbox.start();
    sandbox.run(&["run", "good", "--wait"]).code(0).stdout("good\n");
    sandbox.run(&["run", "g/also", "--wait"]).code(0).stdout("good\n");
    let list = sandbox.json(&["list", "--json"]);
    assert!(list.as_array().unwrap().iter().all(|entry| entry["state"] == "active" || !entry["error"].is_null()));
    sandbox.run(&["list"]).code(0);
    sandbox.run(&["doctor"]).code(1);
    runner.stop();
}

#[test]
fn good_jobs_survive_bad_things_that_take_their_place() {
    let sandbox = Sandbox::new();
    for name in ["a", "b", "c", "d"] {
        sandbox.write(&format!("jobs/{name}.yaml"), GOOD);
    }
    let runner = sandbox.start();
    let path = |name: &str| sandbox.path(&format!("jobs/{name}.yaml"));
    for name in ["a", "b", "c", "d"] {
        fs::remove_file(path(name)).unwrap();
    }
    fifo(&path("a"));
    fs::create_dir(path("b")).unwrap();
    link("c.yaml", path("c"));
    fs::File::create(path("d")).unwrap().set_len(100 << 20).unwrap();
    for name in ["a", "b", "c", "d"] {
        sandbox.wait_for_state(name, "stale");
        sandbox.run(&["run", name, "--wait"]).code(0).stdout("good\n");
    }
    runner.stop();
}

#[test]
fn single_files_that_are_none_are_said_to_be_so() {
    let sandbox =
        Sandbox::new().file("jobs/a.yaml", GOOD).file("jobs/notes.txt", "hello").file("jobs/_draft.yaml", "[");
    sandbox.run(&["validate", "jobs/notes.txt"]).code(0).says("warning: no job is loaded from this file");
    sandbox.run(&["validate", "jobs/_draft.yaml"]).code(0).says("warning: no job is loaded from this file");
    sandbox.run(&["validate", "jobs/a.yaml"]).code(0).stdout("1 file, 1 job: 0 errors, 0 warnings\n");
    sandbox
        .run(&["validate", "jobs/none.yaml"])
        .code(1)
        .says("jobs/none.yaml cannot be checked: No such file or directory");
    // Files elsewhere are checked by themselves, whatever they are.
    fifo(&sandbox.path("elsewhere.yaml"));
    sandbox.run(&["validate", "elsewhere.yaml"]).code(3).says("this is a FIFO, not a regular file");
    fs::File::create(sandbox.path("large.yaml")).unwrap().set_len(100 << 20).unwrap();
    sandbox.run(&["validate", "large.yaml"]).code(3).says("at most 1 MiB is allowed");
    sandbox.write("far/b.yaml", "schedule: 99 * * * *\ncommand: x\n");
    sandbox.run(&["validate", "far/b.yaml"]).code(3).says(" --> far/b.yaml:1:11");
    sandbox.run(&["validate", "far"]).code(3).says(" --> far/b.yaml:1:11");
}

#[test]
fn broken_settings_are_reported_together_with_the_jobs() {
    let sandbox = Sandbox::new()
        .file("jobs/bad.yaml", "schedule: 99 * * * *\ncommand: x\n")
        .file("runner.yaml", "timezon: UTC\n");
    let found = sandbox.json(&["validate", "--json"]);
    let paths: Vec<&str> = found["problems"].as_array().unwrap().iter().map(|p| p["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["jobs/bad.yaml", "runner.yaml"]);
    let none = Sandbox::bare();
    let found = none.json(&["validate", "--json"]);
    assert_eq!(found["problems"][0]["path"], "jobs");
    none.run(&["validate"]).code(3).says("this folder cannot be read: No such file or directory");
}

#[test]
fn a_fifo_in_the_place_of_the_settings_hangs_nothing() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", GOOD);
    fifo(&sandbox.path("runner.yaml"));
    sandbox.run(&["validate"]).code(3).says("this is a FIFO, not a regular file");
    sandbox.run(&["start"]).code(3).says("this is a FIFO, not a regular file");
    sandbox.run(&["history"]).code(0);
}

#[test]
fn an_unreadable_file_and_folder_keep_what_ran() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", GOOD).file("jobs/g/b.yaml", GOOD).file("jobs/c.yaml", GOOD);
    let mode = |path: &str, mode: u32| {
        fs::set_permissions(sandbox.path(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    // Root reads everything: then the runner is started as somebody else.
    let nobody = 65_534;
    let can_drop = !is_root()
        || std::process::Command::new("setpriv").args(["--reuid=65534", "true"]).status().is_ok_and(|s| s.success());
    if !can_drop {
        return skip("root reads every file, and setpriv is not there");
    }
    let command = |args: &[&str]| {
        if !is_root() {
            return sandbox.command(args);
        }
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", env!("CARGO_BIN_EXE_runner")]).args(args);
        sandbox.clean(&mut command);
        command
    };
    if is_root() {
        let own = |path: &str| std::os::unix::fs::chown(sandbox.path(path), Some(nobody), Some(nobody)).unwrap();
        ["", "jobs", "jobs/a.yaml", "jobs/g", "jobs/g/b.yaml", "jobs/c.yaml"].into_iter().for_each(own);
        fs::set_permissions(sandbox.outside(""), fs::Permissions::from_mode(0o755)).unwrap();
        let reachable = sandbox.finish(command(&["validate"]));
        if reachable.exit() != 0 {
            return skip("the binary cannot be run by another user here");
        }
    }
    let runner = sandbox.start_command(command(&["start"]));
    let state = |job: &str| {
        let ran = sandbox.finish(command(&["list", "--json"]));
        let list: Value = serde_json::from_slice(&ran.output.stdout).unwrap();
        let found = list.as_array().unwrap().iter().find(|entry| entry["name"] == job).cloned();
        found.map_or(String::new(), |entry| format!("{} {}", entry["state"].as_str().unwrap(), entry["error"]))
    };
    mode("jobs/a.yaml", 0);
    wait_for("a is stale", || state("a") == "stale \"jobs/a.yaml: this file may not be read: permission denied\"");
    mode("jobs/g", 0);
    wait_for("b is stale", || state("g/b").starts_with("stale \"jobs/g: this folder cannot be read: "));
    assert!(state("c").starts_with("active"));
    let ran = sandbox.finish(command(&["run", "g/b", "--wait"])).code(0).stdout("good\n");
    drop(ran);
    mode("jobs/g", 0o755);
    mode("jobs/a.yaml", 0o644);
    wait_for("all is well", || state("a").starts_with("active") && state("g/b").starts_with("active"));
    mode("jobs", 0);
    sandbox.wait_for_log("ERROR catalog: jobs: ");
    assert!(state("a").starts_with("active") || state("a").starts_with("stale"));
    mode("jobs", 0o755);
    wait_for("it is back", || state("a").starts_with("active"));
    runner.stop();
}

#[test]
fn odd_names_run_and_are_found_again() {
    let long = format!("{}/{}", "g".repeat(49), "n".repeat(50));
    let sandbox = Sandbox::new()
        .file("jobs/a.b-c_d.1.yaml", GOOD)
        .file("jobs/g1/g2/g3/deep.json", r#"{"manual": true, "command": ["echo", "good"]}"#)
        .file(&format!("jobs/{long}.yaml"), GOOD)
        .file("jobs/1.yml", GOOD)
        .file("jobs/runs.yaml", GOOD)
        .file("jobs/.hidden.yaml", "[")
        .file("jobs/_draft.yaml", "[")
        .file("jobs/_old/x.yaml", "[")
        .file("jobs/x.yaml~", "[")
        .file("jobs/.x.yaml.swp", "[")
        .file("jobs/#x.yaml#", "[")
        .file("jobs/README.md", "[");
    sandbox.run(&["validate"]).code(0).says("5 files, 5 jobs: 0 errors");
    let runner = sandbox.start();
    for name in ["a.b-c_d.1", "g1/g2/g3/deep", &long, "1", "runs"] {
        sandbox.run(&["run", name, "--wait"]).code(0).stdout("good\n");
        sandbox.run(&["history", name]).code(0).says(" ✓ Success (");
        sandbox.run(&["logs", name, "--plain"]).code(0).stdout("good\n");
    }
    runner.stop();
    let history = sandbox.json(&["history", "--json"]);
    assert_eq!(history.as_array().unwrap().len(), 5);
}

#[test]
fn a_directory_longer_than_a_sockets_address_works() {
    let sandbox = Sandbox::bare();
    let deep = format!("{}/{}", "d".repeat(100), "e".repeat(100));
    sandbox.write(&format!("{deep}/jobs/a.yaml"), GOOD);
    let runner = sandbox.start_with(&["-C", &deep]);
    sandbox.run(&["-C", &deep, "run", "a", "--wait"]).code(0).stdout("good\n");
    sandbox.run(&["-C", &deep, "status"]).code(0).says(&format!("with PID {}", runner.pid()));
    sandbox.run(&["-C", &deep, "stop"]).code(0);
    assert_eq!(runner.wait(), 0);
}

#[test]
fn a_missing_variable_is_a_warning_for_who_checks_and_an_error_for_who_runs() {
    let sandbox =
        Sandbox::new().file("jobs/a.yaml", "manual: true\ncommand: echo $TOKEN\nenv: { TOKEN: \"${MY_TOKEN}\" }\n");
    sandbox.run(&["validate"]).code(0).says("warning: ").says("MY_TOKEN").says(" --> jobs/a.yaml:3:");
    sandbox.run(&["validate", "--strict-env"]).code(3).says("MY_TOKEN");
    sandbox.write("env", "# of this machine\nexport MY_TOKEN='t o'\n\n");
    sandbox.run(&["validate", "--strict-env", "--env-file", "env"]).code(0).says("0 errors, 0 warnings");
    sandbox.write("env", "MY_TOKEN\n");
    sandbox.run(&["validate", "--env-file", "env"]).code(2).says("env:1: expected NAME=VALUE");
    sandbox.run(&["run", "a"]).code(1).says("MY_TOKEN");
    let mut command = sandbox.command(&["run", "a"]);
    sandbox
        .finish({
            command.env("MY_TOKEN", "t o");
            command
        })
        .code(0)
        .stdout("t o\n");
    // What is shown and kept is what was written.
    let mut command = sandbox.command(&["show", "a"]);
    sandbox
        .finish({
            command.env("MY_TOKEN", "t o");
            command
        })
        .code(0)
        .says("${MY_TOKEN}")
        .never_says("t o");
}
