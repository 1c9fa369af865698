//! Defaults, the environment and what is kept of it.

use runner::model::Problem;
use runner::spec::{self, Defaults, MissingVariable, ReadContext, ReadJob, RunnerSpec, Source};
use serde_json::json;

fn environment(name: &str) -> Option<String> {
    match name {
        "DIR" => Some("/srv".into()),
        "GRACE" => Some("10s".into()),
        "TOKEN" => Some("hunter2".into()),
        _ => None,
    }
}

fn context(missing: MissingVariable) -> ReadContext<'static> {
    ReadContext { env: &environment, missing, timezone: "Europe/Paris", means: &runner::os::means::Means::ALL }
}

#[track_caller]
fn defaults(text: &str, parent: &Defaults) -> Defaults {
    let source = Source { path: "jobs/_defaults.yaml", bytes: text.as_bytes() };
    let (defaults, problems) = spec::read_defaults(source, parent, &context(MissingVariable::Error));
    assert_eq!(problems, []);
    defaults.unwrap()
}

fn job(text: &str, defaults: &Defaults) -> ReadJob {
    let source = Source { path: "jobs/a.yaml", bytes: text.as_bytes() };
    spec::read_job(source, "a", defaults, &context(MissingVariable::Error))
}

fn runner(text: &str) -> (Option<(RunnerSpec, Defaults)>, Vec<Problem>) {
    let source = Source { path: "runner.yaml", bytes: text.as_bytes() };
    spec::read_runner(source, &context(MissingVariable::Error))
}

fn said(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn the_nearest_defaults_win_maps_merge_and_null_unsets() {
    let (settings, problems) = runner("defaults: { timeout: 1h, env: { A: far, B: far }, labels: { a: b } }\n");
    assert_eq!(problems, []);
    let (settings, far) = settings.unwrap();
    assert_eq!(settings.defaults.timeout.unwrap().to_string(), "1h");
    let near = defaults("timeout: 2h\nenv: { B: near, C: near }\nlabels: null\n", &far);
    let read = job("every: 1m\ncommand: env\nenv: { C: own, A: null }\n", &near);
    assert_eq!(read.problems, []);
    assert_eq!(
        serde_json::to_value(read.spec.unwrap()).unwrap(),
        json!({ "every": "1m", "command": "env", "timeout": "2h", "env": { "B": "near", "C": "own" } })
    );
    let read = job("every: 1m\ncommand: env\nenv: null\ntimeout: null\n", &near);
    assert_eq!(serde_json::to_value(read.spec.unwrap()).unwrap(), json!({ "every": "1m", "command": "env" }));
    assert!(!near.is_empty() && Defaults::default().is_empty());
}

#[test]
fn a_fault_that_arises_only_with_the_defaults_says_so_at_the_job() {
    let above = defaults("max_instances: 3\n", &Defaults::default());
    let read = job("# note\nevery: 1m\ncommand: env\noverlap: allow\n", &above);
    assert_eq!(
        said(&read.problems),
        ["jobs/a.yaml:2:1: `max_instances` means nothing beside `overlap: allow`, which sets no limit (from defaults)"]
    );
    assert!(read.spec.is_some());
}

#[test]
fn a_broken_defaults_file_gives_none_and_every_fault_its_place() {
    let source = Source { path: "jobs/_defaults.yaml", bytes: b"schedule: '@daily'\ntimeout: 5\nenv: { 'A=': x }\n" };
    let (none, problems) = spec::read_defaults(source, &Defaults::default(), &context(MissingVariable::Error));
    assert!(none.is_none());
    let places: Vec<(usize, usize)> = problems.iter().map(|problem| (problem.line, problem.column)).collect();
    assert_eq!(places, [(1, 1), (2, 10), (3, 8)], "{problems:#?}");
}

#[test]
fn what_is_kept_has_the_text_before_the_environment() {
    let above = defaults("env: { TOKEN: '${TOKEN}' }\n", &Defaults::default());
    let read = job("every: 1m\ncommand: echo ${DIR}\nworking_directory: ${DIR}/x\nkill_grace: ${GRACE}\n", &above);
    let spec = read.spec.unwrap();
    assert_eq!(spec.policies.working_directory.as_deref(), Some("/srv/x"));
    assert_eq!(spec.policies.env.get("TOKEN"), Some("hunter2"));
    assert_eq!(
        serde_json::Value::Object(read.written.unwrap()),
        json!({ "every": "1m", "command": "echo ${DIR}", "working_directory": "${DIR}/x", "kill_grace": "${GRACE}",
            "env": { "TOKEN": "${TOKEN}" } })
    );
    assert_eq!(job("every: 1m\ncommand: echo ${DIR}\n", &Defaults::default()).written, None);
}

#[test]
fn where_files_are_only_checked_a_missing_variable_leaves_its_value_out() {
    let text = "schedule: ${NONE}\ntimeout: ${NONE}\nenv: { A: 'x${NONE}', B: b }\ncommand: date\n";
    let source = Source { path: "jobs/a.yaml", bytes: text.as_bytes() };
    let read = spec::read_job(source, "a", &Defaults::default(), &context(MissingVariable::Warning));
    assert_eq!(read.problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [1, 2, 3]);
    let spec = read.spec.unwrap();
    assert_eq!(serde_json::to_value(&spec).unwrap(), json!({ "command": "date", "env": { "B": "b" } }));
    assert_eq!(read.written.unwrap()["timeout"], "${NONE}");
}

#[test]
fn the_zone_is_the_jobs_own_else_the_runners() {
    let own = job("every: 1m\ncommand: date\ntimezone: asia/tokyo\n", &Defaults::default()).spec.unwrap();
    assert_eq!(own.zone("Europe/Paris").iana_name(), Some("Asia/Tokyo"));
    let none = job("every: 1m\ncommand: date\n", &Defaults::default()).spec.unwrap();
    assert_eq!(none.zone("Europe/Paris").iana_name(), Some("Europe/Paris"));
}

#[test]
fn the_name_is_the_files_own_else_that_of_its_path() {
    let name = |text: &str| job(text, &Defaults::default()).name.map(|name| name.to_string());
    assert_eq!(name("command: date\n").as_deref(), Some("a"));
    assert_eq!(name("command: date\nname: etl/load\n").as_deref(), Some("etl/load"));
    assert_eq!(name("command: date\nname: a b\n"), None);
    assert_eq!(name("command: [\n").as_deref(), Some("a"), "of a file that does not read the path is known");
}

#[test]
fn an_empty_runner_file_is_refused_and_a_note_alone_is_enough() {
    assert!(runner("").0.is_none());
    assert_eq!(runner("x-note: all defaults\n").0.unwrap().0, RunnerSpec::default());
}
