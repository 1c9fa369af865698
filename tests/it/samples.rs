//! Every file in `tests/samples/valid`, `examples/` and every fenced job in the docs loads; every file in
//! `tests/samples/invalid` is refused with exactly the words in the file beside it.
//!
//! `RUNNER_UPDATE=1 cargo test` writes the expected words anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use runner::cli::problems::human;
use runner::model::Problem;
use runner::spec::{self, Defaults, MissingVariable, ReadContext, Source};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn environment(name: &str) -> Option<String> {
    match name {
        "HOME" => Some("/home/ops".into()),
        "LONG" => Some("1h30m".into()),
        "SECRET" => Some("hunter2".into()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn context(missing: MissingVariable) -> ReadContext<'static> {
    ReadContext { env: &environment, missing, timezone: "UTC", means: &runner::os::means::Means::ALL }
}

/// Reads a file as what its name says it is; whether it loads, and what is said about it.
fn read(name: &str, shown: &str, bytes: &[u8], missing: MissingVariable) -> (bool, Vec<Problem>) {
    let source = Source { path: shown, bytes };
    let cx = context(missing);
    if name.starts_with("_defaults") {
        let (defaults, problems) = spec::read_defaults(source, &Defaults::default(), &cx);
        (defaults.is_some(), problems)
    } else if name.starts_with("runner") {
        let (settings, problems) = spec::read_runner(source, &cx);
        (settings.is_some(), problems)
    } else {
        let stem = name.split('.').next().unwrap_or_default();
        let job = spec::read_job(source, stem, &Defaults::default(), &cx);
        assert_eq!(job.spec.is_none(), job.problems.iter().any(Problem::is_error), "{shown}");
        (job.spec.is_some(), job.problems)
    }
}

/// All configuration files below a folder, by their path from there.
fn files(folder: &str) -> BTreeMap<String, PathBuf> {
    fn walk(top: &Path, folder: &Path, found: &mut BTreeMap<String, PathBuf>) {
        for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(top, &path, found);
            } else if path.extension().is_some_and(|ending| ["yaml", "yml", "json"].contains(&ending.to_str().unwrap()))
            {
                found.insert(path.strip_prefix(top).unwrap().to_str().unwrap().to_string(), path);
            }
        }
    }
    let top = Path::new(ROOT).join(folder);
    let mut found = BTreeMap::new();
    walk(&top, &top, &mut found);
    found
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[track_caller]
fn loads_without_a_word(shown: &str, name: &str, bytes: &[u8]) {
    let (loads, problems) = read(name, shown, bytes, MissingVariable::Error);
    assert!(loads && problems.is_empty(), "{shown} should load without a word:\n{}", human(&problems, false));
}

#[test]
fn valid_samples_load_without_a_word() {
    let files = files("tests/samples/valid");
    assert!(files.len() >= 20, "only {} valid samples", files.len());
    for (shown, path) in files {
        loads_without_a_word(&shown, file_name(&shown), &fs::read(path).unwrap());
    }
}

#[test]
fn invalid_samples_are_refused_with_the_words_beside_them() {
    let files = files("tests/samples/invalid");
    assert!(files.len() >= 45, "only {} invalid samples", files.len());
    let update = std::env::var_os("RUNNER_UPDATE").is_some();
    let mut wrong = Vec::new();
    for (shown, path) in files {
        let name = file_name(&shown);
        let (loads, problems) = read(name, &format!("jobs/{shown}"), &fs::read(&path).unwrap(), MissingVariable::Error);
        let warns_only = name.starts_with("warns-");
        assert_eq!(loads, warns_only, "{shown}:\n{}", human(&problems, false));
        let words = human(&problems, false);
        let expected = path.with_file_name(format!("{name}.expected"));
        if update {
            fs::write(&expected, &words).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != words {
            wrong.push(format!("{shown} now says:\n{words}"));
        }
    }
    assert!(wrong.is_empty(), "{}\nrun with RUNNER_UPDATE=1 if that is meant", wrong.join("\n"));
}

#[test]
fn a_missing_variable_is_a_warning_where_files_are_only_checked() {
    for path in ["missing-variable.yaml", "missing-variable-in-duration.yaml"] {
        let bytes = fs::read(Path::new(ROOT).join("tests/samples/invalid").join(path)).unwrap();
        let (loads, problems) = read(path, path, &bytes, MissingVariable::Warning);
        assert!(loads, "{path}");
        assert_eq!(problems.iter().map(Problem::is_error).collect::<Vec<_>>(), [false], "{problems:#?}");
    }
}

#[test]
fn examples_load_and_name_their_schema() {
    let files = files("examples");
    assert!(!files.is_empty());
    for (shown, path) in files {
        let text = fs::read_to_string(&path).unwrap();
        let (loads, problems) =
            read(file_name(&shown), &format!("examples/{shown}"), text.as_bytes(), MissingVariable::Error);
        let six_fields = shown.contains("six-fields"); // always read back with a warning
        assert!(loads && (problems.is_empty() || six_fields), "{}", human(&problems, false));
        let kind = match file_name(&shown) {
            name if name.starts_with("_defaults") => "defaults",
            name if name.starts_with("runner") => "runner",
            _ => "job",
        };
        let schema = format!("{}schema/{kind}.schema.json", "../".repeat(shown.matches('/').count() + 1));
        let named = match path.extension().is_some_and(|ending| ending == "json") {
            true => text.contains(&format!("\"$schema\": \"{schema}\"")),
            false => text.starts_with(&format!("# yaml-language-server: $schema={schema}\n# $schema: {schema}\n")),
        };
        assert!(named, "examples/{shown} has to name {schema} at its top");
    }
}

/// The fenced blocks of a Markdown text that are marked as a whole job, with their line.
fn fenced_jobs(text: &str) -> Vec<(usize, &'static str, String)> {
    let mut jobs = Vec::new();
    let mut open: Option<(usize, &'static str, String)> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.trim()) {
            (None, "```yaml job") => open = Some((number + 1, "yaml", String::new())),
            (None, "```json job") => open = Some((number + 1, "json", String::new())),
            (Some(_), "```") => jobs.extend(open.take()),
            (Some((_, _, body)), _) => body.extend([line, "\n"]),
            (None, _) => {}
        }
    }
    jobs
}

#[test]
fn fenced_jobs_in_the_docs_load() {
    fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pages(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    pages(&Path::new(ROOT).join("docs"), &mut found);
    found.push(Path::new(ROOT).join("README.md"));
    for page in found {
        let text = fs::read_to_string(&page).unwrap_or_default();
        for (line, kind, body) in fenced_jobs(&text) {
            let shown = format!("{}:{line}.{kind}", page.display());
            let (loads, problems) = read("job.yaml", &shown, body.as_bytes(), MissingVariable::Error);
            assert!(loads, "{shown}:\n{}", human(&problems, false));
        }
    }
}
