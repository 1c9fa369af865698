//! Files that mean harm, or are just very large, are answered quickly.

use std::time::{Duration, Instant};

use runner::cli::problems::human;
use runner::spec::{self, Defaults, LARGEST, MissingVariable, ReadContext, ReadJob, Source};

/// Reads in a thread with a stack as small as threads have, and in a time that nothing quadratic could keep.
#[track_caller]
fn read(path: &'static str, bytes: Vec<u8>) -> ReadJob {
    let size = bytes.len();
    let started = Instant::now();
    let read = std::thread::Builder::new().stack_size(1 << 20).spawn(move || {
        let cx = ReadContext {
            env: &|_| None,
            missing: MissingVariable::Error,
            timezone: "UTC",
            means: &runner::os::means::Means::ALL,
        };
        let read = spec::read_job(Source { path, bytes: &bytes }, "a", &Defaults::default(), &cx);
        human(&read.problems, true);
        read
    });
    let read = read.unwrap().join().unwrap();
    let limit = Duration::from_secs(10); // on a busy machine; quadratic would be minutes
    assert!(started.elapsed() < limit, "{size} bytes took {:?}", started.elapsed());
    read
}

/// As large as a file may be; smaller in a debug build, which is slow.
const SIZE: usize = if cfg!(debug_assertions) { LARGEST / 8 } else { LARGEST };

fn filled(start: &str, piece: impl Fn(usize) -> String, end: &str) -> Vec<u8> {
    let mut text = start.to_string();
    for n in 0.. {
        let piece = piece(n);
        if text.len() + piece.len() + end.len() > SIZE {
            break;
        }
        text += &piece;
    }
    (text + end).into_bytes()
}

#[test]
fn a_file_beyond_the_limit_is_refused_unread() {
    let read = read("a.yaml", vec![b' '; LARGEST + 1]);
    assert_eq!(read.problems[0].message, "the file has 1048577 bytes, at most 1 MiB is read");
}

#[test]
fn a_large_good_file_loads() {
    let yaml = filled("every: 1m\ncommand: env\nenv:\n", |n| format!("  N{n}: v\n"), "");
    assert!(read("a.yaml", yaml).spec.is_some());
    let json = filled(r#"{"every":"1m","command":"env","env":{"A":"b""#, |n| format!(r#","N{n}":"v""#), "}}");
    assert!(read("a.json", json).spec.is_some());
}

#[test]
fn very_many_faults_are_counted_not_told() {
    for (path, bytes) in [
        ("a.yaml", filled("command: env\n", |n| format!("k{n}: 1\n"), "")),
        ("a.json", filled(r#"{"command":"env""#, |n| format!(r#","k{n}":1"#), "}")),
        ("a.yaml", filled("command: env\nlimits:\n", |n| format!("  k{n}: 1\n"), "")),
        ("a.json", filled(r#"{"command":"env","env":{"A":"b""#, |n| format!(r#","N{n}":1"#), "}}")),
        ("a.json", filled(r#"{"command":"env","env":{"A":"b""#, |n| format!(r#","N={n}":"v""#), "}}")),
        ("a.json", filled(r#"{"command":["env""#, |_| ",1".into(), "]}")),
        ("a.json", filled(r#"{"command":"env","env":{"A":"b""#, |n| format!(r#","N{n}":"${{X}}""#), "}}")),
    ] {
        let read = read(path, bytes);
        assert!(read.spec.is_none());
        assert!((100..=102).contains(&read.problems.len()), "{}", read.problems.len());
    }
}

#[test]
fn text_that_never_ends_and_nests_without_end_is_an_error() {
    for piece in [
        "[", "{", "- ", "a: ", "? ", "&a ", "*a ", "!a ", "\"", "'", "|", "${", "{\"a\":", "[{", "\n-", "%", "#", "\t",
        "a:\n ",
    ] {
        for (path, start) in [("a.yaml", ""), ("a.yaml", "command: "), ("a.json", ""), ("a.json", "{\"command\": ")] {
            let read = read(path, filled(start, |_| piece.into(), ""));
            assert!(read.spec.is_none() || piece == "#" || piece == "${" || piece == "|", "{start}{piece}");
        }
    }
    let deep = filled("x-a:\n", |n| format!("{}a:\n", " ".repeat(n + 1)), "");
    assert_eq!(read("a.yaml", deep).problems[0].message, "lists and maps are nested deeper than 24");
}

#[test]
fn variables_cannot_make_a_text_explode() {
    let text = filled("command: env\nevery: 1m\nenv: { A: \"", |_| "${N:-x}$$".into(), "\" }\n");
    assert!(read("a.yaml", text).spec.is_some());
}
