//! The house rules of `docs/`: a module imports only from rows above its own, stages of one row never import each other, and
//! the pure rows do no I/O. Reads `src/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Every folder of `src/` and its row.
const ROWS: [(&str, u32); 15] = [
    ("model", 1),
    ("os", 2),
    ("trigger", 3),
    ("action", 3),
    ("notify", 3),
    ("spec", 4),
    ("catalog", 5),
    ("engine", 5),
    ("run", 5),
    ("record", 5),
    ("watch", 6),
    ("daemon", 7),
    ("http", 8),
    ("cli", 9),
    ("main", 10),
];

/// Folders that promise to be pure, and what they must not name.
const IO: [&str; 9] = [
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "tokio::",
    "rustix::",
    "libc::",
    "SystemTime::now",
    "Instant::now",
];
const PURE: [&str; 4] = ["model", "trigger", "action", "engine"];

pub struct Source {
    pub path: PathBuf,
    /// The top folder, or the file's stem for files directly in `src/`.
    pub folder: String,
    /// Code without comments, strings and test modules, by line.
    pub lines: Vec<(usize, String)>,
}

pub fn sources() -> Vec<Source> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "tests") {
                    walk(&path, found);
                }
            } else if path.extension().is_some_and(|ending| ending == "rs")
                && path.file_name().is_some_and(|name| name != "tests.rs")
            {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    paths.sort();
    let source = |path: PathBuf| {
        let below = path.strip_prefix(&root).unwrap();
        let first = below.components().next().unwrap().as_os_str().to_str().unwrap();
        let folder = first.trim_end_matches(".rs").to_string();
        let lines = code(&fs::read_to_string(&path).unwrap());
        Source { path: below.to_path_buf(), folder, lines }
    };
    paths.into_iter().map(source).collect()
}

/// The lines of a file that are code: no comments, nothing in quotes, no test module.
fn code(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut is_test_next = false;
    let mut test_ends_with: Option<String> = None;
    for (number, line) in text.lines().enumerate() {
        if let Some(end) = &test_ends_with {
            if line == end {
                test_ends_with = None;
            }
            continue;
        }
        let trimmed = line.trim_start();
        if trimmed.starts_with("#[cfg(test)]") {
            is_test_next = true;
            continue;
        }
        if std::mem::take(&mut is_test_next) {
            // What follows is one item: a module in braces, or a declaration.
            if line.trim_end().ends_with('{') {
                test_ends_with = Some(format!("{}}}", &line[..line.len() - trimmed.len()]));
            }
            continue;
        }
        lines.push((number + 1, without_quotes_and_comments(line)));
    }
    lines
}

fn without_quotes_and_comments(line: &str) -> String {
    let mut out = String::new();
    let mut chars = line.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted => drop(chars.next()),
            '"' => quoted = !quoted,
            '/' if !quoted && chars.peek() == Some(&'/') => break,
            c if !quoted => out.push(c),
            _ => {}
        }
    }
    out
}

/// The folders that a line names with `crate::`, also in `use crate::{a, b::c}`.
fn named(line: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => found.push(word(rest)),
            Some(group) => {
                let mut depth = 0;
                let mut item = String::new();
                for c in group.chars().chain([',']) {
                    match c {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth <= 0 => found.push(word(std::mem::take(&mut item).trim_start())),
                        c if depth == 0 => item.push(c),
                        _ => {}
                    }
                }
            }
        }
    }
    found.retain(|folder| !folder.is_empty());
    found
}

#[test]
fn imports_point_up_the_rows_only() {
    let rows: BTreeMap<&str, u32> = ROWS.into();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for source in sources() {
        if source.folder == "lib" {
            continue;
        }
        let Some(row) = rows.get(source.folder.as_str()) else {
            wrong.push(format!("src/{}: this folder has no row", source.path.display()));
            continue;
        };
        for (number, line) in &source.lines {
            for folder in named(line).into_iter().filter(|folder| *folder != source.folder) {
                seen += 1;
                match rows.get(folder.as_str()) {
                    Some(other) if other < row => {}
                    _ => wrong.push(format!(
                        "src/{}:{number}: {} imports {folder}",
                        source.path.display(),
                        source.folder
                    )),
                }
            }
            // From a file directly below its folder, two steps up lead out of it.
            let depth = source.path.components().count() - 1;
            let steps = "super::".repeat(depth + usize::from(!source.path.ends_with("mod.rs")));
            if depth > 0 && line.contains(&steps) {
                wrong.push(format!("src/{}:{number}: leads out of its folder: {}", source.path.display(), line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "imports that point the wrong way:\n{}", wrong.join("\n"));
    assert!(seen > 100, "only {seen} imports were found: this test does not see what it should");
}

#[test]
fn the_pure_rows_do_no_io_and_ask_no_clock() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| PURE.contains(&source.folder.as_str())) {
        for (number, line) in &source.lines {
            for word in IO.iter().chain(&["Timestamp::now", "Zoned::now"]).filter(|word| line.contains(**word)) {
                wrong.push(format!("src/{}:{number}: {word}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "I/O where there should be none:\n{}", wrong.join("\n"));
}

#[test]
fn only_the_command_line_prints_and_only_main_ends_the_process() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (number, line) in &source.lines {
            let prints = ["println!", "print!", "eprintln!", "eprint!", "dbg!"].iter().any(|word| line.contains(word));
            if prints && source.folder != "cli" {
                wrong.push(format!("src/{}:{number}: prints: {}", source.path.display(), line.trim()));
            }
            if line.contains("process::exit") {
                wrong.push(format!("src/{}:{number}: ends the process", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether a text puts a number in front of a plural, which is wrong for one thing: `{} jobs`.
fn counts_without_regard_to_one(line: &str) -> bool {
    let words = [
        "jobs",
        "runs",
        "errors",
        "warnings",
        "findings",
        "problems",
        "records",
        "lines",
        "bytes",
        "files",
        "processes",
    ];
    line.match_indices("} ").any(|(at, _)| {
        let mut rest = line[at + 2..].split(|c: char| !c.is_alphanumeric());
        // The word itself, or one after an adjective.
        rest.by_ref().take(2).any(|word| words.contains(&word))
    })
}

#[test]
fn one_thing_is_never_told_as_many() {
    assert!(counts_without_regard_to_one("\"{} jobs\"") && counts_without_regard_to_one("\"{n} active runs: {x}\""));
    assert!(
        !counts_without_regard_to_one("\"range {x} run\"") && !counts_without_regard_to_one("if x { lines.len() }")
    );
    // Numbers that are never one, and a verb.
    let fine = ["bytes, at most 1 MiB is", "runs are still active", "} runs backwards"];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for source in sources() {
        let text = fs::read_to_string(root.join(&source.path)).unwrap();
        let numbers: Vec<usize> = source.lines.iter().map(|(number, _)| *number).collect();
        for (number, line) in text.lines().enumerate().filter(|(number, _)| numbers.contains(&(number + 1))) {
            let is_text = line.contains('"') && !line.trim_start().starts_with("//");
            if is_text && counts_without_regard_to_one(line) && !fine.iter().any(|part| line.contains(part)) {
                wrong.push(format!(
                    "src/{}:{}: use `model::count`: {}",
                    source.path.display(),
                    number + 1,
                    line.trim()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn this_test_sees_what_it_should() {
    assert_eq!(named("use crate::{model, os::lock, spec::{a, b}};"), ["model", "os", "spec"]);
    assert_eq!(named("fn f(spec: &crate::spec::JobSpec) -> crate::model::X {"), ["spec", "model"]);
    let text = "let a = \"crate::cli\"; // crate::cli\n#[cfg(test)]\nmod tests {\n    crate::cli\n}\ncrate::os\n";
    let lines = code(text);
    assert_eq!(lines.iter().flat_map(|(_, line)| named(line)).collect::<Vec<_>>(), ["os"]);
    assert_eq!(lines.last().unwrap().0, 6);
}
