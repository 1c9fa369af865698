//! Promises that hold for any directory, tried on many: each case is a file, and one runner takes hundreds of them at once.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use crate::sandbox::Sandbox;

/// `count` values of a strategy, the same ones every time.
pub fn samples<T: std::fmt::Debug>(count: usize, strategy: &impl Strategy<Value = T>) -> Vec<T> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

/// A job's file: its text, and whether it is good.
#[derive(Debug, Clone)]
struct JobText {
    text: String,
    is_good: bool,
}

fn good_text() -> impl Strategy<Value = String> {
    let trigger = prop_oneof![
        Just("manual: true\n".to_string()),
        (0..60u32, 0..24u32).prop_map(|(m, h)| format!("schedule: '{m} {h} 1 1 *'\n")),
        (60..600u32).prop_map(|m| format!("every: {m}m\n")),
        Just("at: 2999-01-01T00:00:00\n".to_string()),
        Just("enabled: false\nschedule: '* * * * * *'\n".to_string()),
    ];
    let command = prop_oneof![Just("command: 'true'\n"), Just("command: [echo, a b]\n"), Just("command: exit 3\n")];
    (trigger, command, "[a-z ]{0,20}").prop_map(|(t, c, words)| format!("{t}{c}description: '{words}'\n"))
}

fn bad_text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("manual: true\n".to_string()),
        (60..999u32).prop_map(|m| format!("schedule: '{m} * * * *'\ncommand: x\n")),
        (24..999u32).prop_map(|h| format!("schedule: '0 {h} * * *'\ncommand: x\n")),
        "[g-z]{3,9}".prop_map(|word| format!("schedule: '{word} * * * *'\ncommand: x\n")),
        Just("schedule: '0 0 30 2 *'\ncommand: x\n".to_string()),
        "[a-z]{2,8}_x".prop_map(|key| format!("manual: true\ncommand: x\n{key}: 1\n")),
        (0..9u32).prop_map(|n| format!("manual: true\ncommand: {n}\n")),
        Just("manual: true\ncommand: a\ncommand: b\n".to_string()),
        Just("manual: true\ncommand: [\n".to_string()),
        Just("manual: true\ncommand: x\ntimeout: soon\n".to_string()),
        Just("{\"manual\": true, \"command\": \"x\"".to_string()),
        Just("- a list\n".to_string()),
    ]
}

fn job_text() -> impl Strategy<Value = JobText> {
    prop_oneof![
        good_text().prop_map(|text| JobText { text, is_good: true }),
        bad_text().prop_map(|text| JobText { text, is_good: false }),
    ]
}

/// What `validate` and the catalog make of a folder, in this process.
fn loaded(sandbox: &Sandbox) -> (BTreeSet<String>, BTreeSet<String>) {
    let options = runner::catalog::Options {
        directory: sandbox.dir.clone(),
        jobs: sandbox.path("jobs"),
        timezone: None,
        allow_insecure: false,
        last_good: None,
        use_last_good: false,
        keeps_last_good: false,
        missing: runner::spec::MissingVariable::Error,
        means: &runner::os::means::Means::ALL,
        tolerates_broken_settings: false,
    };
    let (_, generation, _) = runner::catalog::Catalog::open(options, jiff::Timestamp::now()).unwrap();
    (
        generation.jobs.iter().map(|job| job.name.to_string()).collect(),
        generation.invalid.iter().map(|invalid| invalid.name.clone()).collect(),
    )
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::with_cases(150) })]

    #[test]
    fn any_mix_of_good_and_bad_files_loads_exactly_the_good_ones(
        files in prop::collection::vec((job_text(), prop::sample::select(vec!["", "g/", "g/h/"])), 0..14),
    ) {
        let sandbox = Sandbox::new();
        let (mut good, mut bad) = (BTreeSet::new(), BTreeSet::new());
        for (n, (job, folder)) in files.iter().enumerate() {
            let name = format!("{folder}j{n}");
            sandbox.write(&format!("jobs/{name}.yaml"), &job.text);
            if job.is_good { good.insert(name) } else { bad.insert(name) };
        }
        prop_assert_eq!(loaded(&sandbox), (good, bad));
    }

    #[test]
    fn files_that_become_good_or_bad_while_loaded_are_what_they_last_were(
        steps in prop::collection::vec((0..4usize, prop::option::of(job_text())), 1..12),
    ) {
        let sandbox = Sandbox::new();
        let options = runner::catalog::Options {
            directory: sandbox.dir.clone(),
            jobs: sandbox.path("jobs"),
            timezone: None,
            allow_insecure: false,
            last_good: Some(sandbox.path("last-good.jsonl")),
            use_last_good: true,
            keeps_last_good: true,
            missing: runner::spec::MissingVariable::Error,
            means: &runner::os::means::Means::ALL,
            tolerates_broken_settings: false,
        };
        let now = jiff::Timestamp::now();
        let (mut catalog, ..) = runner::catalog::Catalog::open(options.clone(), now).unwrap();
        // The text that is good last, and whether it is what stands there now.
        let mut model: BTreeMap<String, (Option<String>, bool)> = BTreeMap::new();
        for (n, change) in steps {
            let name = format!("j{n}");
            let path = format!("jobs/{name}.yaml");
            match change {
                None if sandbox.path(&path).exists() => {
                    sandbox.remove(&path);
                    model.remove(&name);
                }
                None => {}
                Some(job) => {
                    // Another size or another file: the stamps of two writes within one tick of the clock may be equal.
                    sandbox.replace_or_write(&path, &job.text);
                    let entry = model.entry(name).or_insert((None, false));
                    if job.is_good {
                        entry.0 = Some(job.text);
                    }
                    entry.1 = job.is_good;
                }
            }
            let (generation, _) = catalog.refresh(now);
            check(&generation, &model)?;
            // Without a change nothing is new.
            prop_assert!(!catalog.refresh(now).1.is_new);
        }
        // And so it is after a restart.
        drop(catalog);
        let (_, generation, _) = runner::catalog::Catalog::open(options, now).unwrap();
        check(&generation, &model)?;
    }
}

fn check(
    generation: &runner::catalog::Generation,
    model: &BTreeMap<String, (Option<String>, bool)>,
) -> Result<(), TestCaseError> {
    let shown: BTreeMap<String, (bool, String)> = generation
        .jobs
        .iter()
        .map(|job| (job.name.to_string(), (job.is_stale(), serde_json::Value::Object(job.written()).to_string())))
        .collect();
    let mut expected = BTreeMap::new();
    for (name, (good, is_good)) in model {
        if let Some(text) = good {
            let cx = runner::spec::ReadContext {
                env: &|_| None,
                missing: runner::spec::MissingVariable::Error,
                timezone: "UTC",
                means: &runner::os::means::Means::ALL,
            };
            let source = runner::spec::Source { path: "x.yaml", bytes: text.as_bytes() };
            let read = runner::spec::read_job(source, name, &runner::spec::Defaults::default(), &cx);
            let spec = serde_json::Value::Object(read.spec.unwrap().to_map()).to_string();
            expected.insert(name.clone(), (!is_good, spec));
        }
    }
    prop_assert_eq!(shown, expected);
    let invalid: BTreeSet<&str> = generation.invalid.iter().map(|invalid| invalid.name.as_str()).collect();
    let never_good: BTreeSet<&str> =
        model.iter().filter(|(_, (good, _))| good.is_none()).map(|(name, _)| name.as_str()).collect();
    prop_assert_eq!(invalid, never_good);
    Ok(())
}

#[test]
fn invalid_cron_expressions_are_logged_and_not_scheduled_and_the_others_run() {
    let sandbox = Sandbox::new();
    let wrong =
        samples(120, &"[0-9a-z*/,-]{1,12}( [0-9a-z*/,-]{1,6}){0,3}|6[0-9] \\* \\* \\* \\*|\\* 2[4-9] \\* \\* \\*");
    for (n, expression) in wrong.iter().enumerate() {
        sandbox
            .write(&format!("jobs/wrong/w{n}.yaml"), &format!("schedule: '{expression}'\ncommand: touch wrong-ran\n"));
    }
    let every_second = ["* * * * * *", "*/1 * * * * *", "0-59 * * * * 0-7", "0-58/2,1-59/2 * * JAN-DEC *"];
    let is_right = |expression: &str| expression.split(' ').count() == 6;
    for (n, expression) in every_second.into_iter().filter(|e| is_right(e)).enumerate() {
        sandbox.write(&format!("jobs/right/r{n}.yaml"), &format!("schedule: '{expression}'\ncommand: echo ran\n"));
    }
    let runner = sandbox.start();
    for n in 0..3 {
        sandbox.wait_for_ends(&format!("right/r{n}"), 1);
    }
    let log = sandbox.read("logs/runner.log");
    let list = sandbox.json(&["list", "--json"]);
    for entry in list.as_array().unwrap().iter().filter(|entry| entry["name"].as_str().unwrap().starts_with("wrong/")) {
        assert_eq!((&entry["state"], &entry["next_run"]), (&"invalid".into(), &serde_json::Value::Null), "{entry}");
        let error = entry["error"].as_str().unwrap();
        assert!(error.contains(": schedule: "), "{error}");
    }
    assert!(
        log.contains("ERROR catalog: jobs/wrong/w0.yaml:1:")
            && log.contains(" more findings; `runner validate` shows all")
    );
    assert!(!sandbox.path("wrong-ran").exists() && !sandbox.path("logs/jobs/wrong").exists());
    runner.stop();
}

#[test]
fn disabled_jobs_never_run_by_themselves() {
    let sandbox = Sandbox::new().file("jobs/on.yaml", "every: 1s\ncommand: 'true'\n");
    let trigger = prop_oneof![
        Just("schedule: '* * * * * *'".to_string()),
        Just("every: 1s".to_string()),
        Just("on_start: true".to_string()),
        (1..3u32).prop_map(|s| format!("schedule: '*/{s} * * * * *'\non_start: true\nevery: 1s")),
    ];
    for (n, trigger) in samples(120, &trigger).into_iter().enumerate() {
        sandbox.write(&format!("jobs/off/o{n}.yaml"), &format!("enabled: false\n{trigger}\ncommand: touch off-ran\n"));
    }
    let runner = sandbox.start();
    sandbox.wait_for_ends("on", 3);
    let list = sandbox.json(&["list", "--json"]);
    let off: Vec<_> = list.as_array().unwrap().iter().filter(|entry| entry["state"] == "disabled").collect();
    assert_eq!(off.len(), 120);
    assert!(off.iter().all(|entry| entry["runs"] == 0 && entry["next_run"].is_null()));
    assert!(!sandbox.path("off-ran").exists() && !sandbox.path("logs/jobs/off").exists());
    runner.stop();
}

#[test]
fn the_working_directory_is_the_one_given_and_the_exit_code_is_recorded() {
    let sandbox = Sandbox::new().file("runner.yaml", "max_concurrent_runs: 16\n");
    let segment = "[a-zA-Z0-9 äß$'&;*()\\[\\]-]{1,20}";
    let cases = samples(130, &(segment, segment, any::<bool>(), 0..=255u8));
    let mut expected = Vec::new();
    for (n, (first, second, is_absolute, code)) in cases.into_iter().enumerate() {
        let below = format!("w{n} {}/{}", first.trim(), second.trim().replace('.', "d"));
        let below = below.trim_end_matches([' ', '/']).to_string();
        std::fs::create_dir_all(sandbox.path(&below)).unwrap();
        let given = if is_absolute { sandbox.path(&below).display().to_string() } else { below.clone() };
        let job = serde_json::json!({
            "on_start": true,
            "working_directory": given.replace('$', "$$"),
            "command": format!("pwd; exit {code}"),
        });
        sandbox.write(&format!("jobs/j{n}.json"), &job.to_string());
        expected.push((format!("j{n}"), sandbox.path(&below).canonicalize().unwrap(), code));
    }
    let runner = sandbox.start();
    for (job, directory, code) in &expected {
        let end = sandbox.wait_for_ends(job, 1).remove(0);
        assert_eq!(end["exit_code"], *code, "{end}");
        assert_eq!(end["status"], if *code == 0 { "success" } else { "failed" });
        let output = sandbox.read(&format!("logs/jobs/{job}/output.log"));
        assert!(output.contains(&format!(" out {}\n", directory.display())), "{}: {output}", directory.display());
    }
    runner.stop();
}

#[test]
fn captured_output_equals_what_was_printed() {
    let sandbox = Sandbox::new().file("runner.yaml", "max_concurrent_runs: 16\n");
    // What a carriage return does to a line has tests of its own.
    let byte = any::<u8>().prop_map(|byte| if byte == b'\r' { b' ' } else { byte });
    let bytes = prop::collection::vec(prop_oneof![3 => byte, 1 => Just(b'\n'), 1 => Just(0x1b)], 0..3_000);
    let cases = samples(110, &(bytes.clone(), bytes));
    for (n, (out, err)) in cases.iter().enumerate() {
        std::fs::write(sandbox.path(&format!("out{n}")), out).unwrap();
        std::fs::write(sandbox.path(&format!("err{n}")), err).unwrap();
        sandbox.write(&format!("jobs/j{n}.yaml"), &format!("on_start: true\ncommand: cat out{n}; cat err{n} >&2\n"));
    }
    let runner = sandbox.start();
    for (n, (out, err)) in cases.iter().enumerate() {
        let job = format!("j{n}");
        let end = sandbox.wait_for_ends(&job, 1).remove(0);
        assert_eq!(end["output"]["bytes"], out.len() + err.len());
        for (stream, printed) in [("out", out), ("err", err)] {
            let shown = sandbox.run(&["logs", &job, "--plain", "--stream", stream]).code(0);
            assert!(shown.output.stdout == *printed, "{job} {stream}");
        }
    }
    runner.stop();
}

#[test]
fn a_manual_run_has_the_same_result_as_a_scheduled_one() {
    let sandbox = Sandbox::new();
    let cases = samples(100, &(0..4u8, "[a-z ]{0,12}", any::<bool>()));
    for (n, (code, words, to_err)) in cases.iter().enumerate() {
        let redirect = if *to_err { " >&2" } else { "" };
        let text = format!("on_start: true\ncommand: \"echo '{words}'{redirect}; exit {code}\"\n");
        sandbox.write(&format!("jobs/j{n}.yaml"), &text);
    }
    let runner = sandbox.start();
    for (n, (code, ..)) in cases.iter().enumerate() {
        let job = format!("j{n}");
        let scheduled = sandbox.wait_for_ends(&job, 1).remove(0);
        sandbox.run(&["run", &job, "--wait"]).code(i32::from(*code));
        let manual = sandbox.wait_for_ends(&job, 2).remove(1);
        for key in ["status", "exit_code", "signal", "error", "output", "spec", "attempt"] {
            assert_eq!(scheduled[key], manual[key], "{key} of {job}");
        }
        assert_eq!((&scheduled["triggered_by"], &manual["triggered_by"]), (&"START".into(), &"MANUAL".into()));
    }
    runner.stop();
}
