//! A new trigger, action or verb is one new file and one line. Reads `src/`, and fails where a second place knows one kind.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::layers::sources;

/// A list of kinds: what it is called, the folder of it and of its files, and what its kinds implement.
struct List {
    macro_name: &'static str,
    folder: &'static str,
    of: &'static str,
    implements: &'static str,
}

const LISTS: [List; 3] = [
    List { macro_name: "kinds! {", folder: "trigger", of: "Trigger", implements: "TriggerKind" },
    List { macro_name: "kinds! {", folder: "action", of: "Action", implements: "ActionKind" },
    List { macro_name: "verbs! {", folder: "cli", of: "Verbs", implements: "Verb" },
];

/// One line of a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    file: String,
    name: String,
    /// In job files; verbs have none.
    key: Option<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The lines of a list that begins and ends at the margin, with their numbers.
fn entries(list: &List, text: &str) -> Vec<(usize, Entry)> {
    let lines = text.lines().enumerate().skip_while(|(_, line)| *line != list.macro_name);
    let within = lines.skip(1).take_while(|(_, line)| *line != "}");
    within.filter_map(|(number, line)| Some((number + 1, entry(line)?))).collect()
}

/// `file::Type = "key",`
fn entry(line: &str) -> Option<Entry> {
    let line = line.trim().strip_suffix(',')?;
    let (path, key) = line.split_once(" = ").map_or((line, None), |(path, key)| (path, Some(key)));
    let (file, name) = path.split_once("::")?;
    let is_word = |text: &str| text.chars().all(|c| c.is_alphanumeric() || c == '_');
    (is_word(file) && is_word(name)).then(|| Entry {
        file: file.into(),
        name: name.into(),
        key: key.map(|key| key.trim_matches('"').into()),
    })
}

/// Whether a text has this word, as a whole one.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part))
}

/// Whether a line of code outside of the kind's own file knows that very kind.
fn knows(line: &str, list: &List, entry: &Entry, beside_the_list: bool) -> bool {
    let of_the_enum = has_word(line, &format!("{}::{}", list.of, entry.name));
    let imported = line.match_indices(&format!("{}::", list.folder)).any(|(at, _)| {
        let rest = &line[at + list.folder.len() + 2..];
        rest.starts_with('{') && has_word(rest, &entry.name)
            || rest.split(|c: char| !c.is_alphanumeric() && c != '_').next() == Some(&entry.name)
            || rest.starts_with(&format!("{}::", entry.file))
    });
    let by_key = entry.key.as_ref().is_some_and(|key| {
        let quoted = format!("\"{key}\"");
        [format!("== {quoted}"), format!("{quoted} =>"), format!("{quoted} |"), format!("| {quoted}")]
            .iter()
            .any(|form| line.contains(form))
    });
    let beside = beside_the_list
        && (has_word(line, &entry.name)
            || has_word(line, &format!("mod {}", entry.file))
            || line.contains(&format!("{}::", entry.file)));
    of_the_enum || imported || by_key || beside
}

#[test]
fn every_trigger_action_and_verb_is_one_file_and_one_line() {
    let sources = sources();
    let mut wrong = Vec::new();
    for list in &LISTS {
        let folder = root().join(list.folder);
        let text = fs::read_to_string(folder.join("mod.rs")).unwrap();
        let entries = entries(list, &text);
        let listed: BTreeSet<(String, String)> =
            entries.iter().map(|(_, entry)| (entry.file.clone(), entry.name.clone())).collect();
        assert_eq!(listed.len(), entries.len(), "a kind stands twice in the list of {}", list.folder);
        // What implements the trait is what stands in the list.
        let mut files = BTreeSet::new();
        for source in sources.iter().filter(|source| source.folder == list.folder) {
            for (_, line) in &source.lines {
                if let Some(name) = line.strip_prefix(&format!("impl {} for ", list.implements)) {
                    let file = source.path.file_stem().unwrap().to_str().unwrap().to_string();
                    files.insert((file, name.trim_end_matches([' ', '{', '}']).to_string()));
                }
            }
        }
        assert_eq!(files, listed, "the files of {} are not its list", list.folder);
        // And nothing else knows a kind.
        for source in &sources {
            let text = fs::read_to_string(root().join(&source.path)).unwrap();
            let is_beside = source.path == Path::new(list.folder).join("mod.rs");
            let raw: Vec<&str> = text.lines().collect();
            for (number, code) in &source.lines {
                let line = raw[number - 1];
                for (own, entry) in &entries {
                    let own_file = Path::new(list.folder).join(format!("{}.rs", entry.file));
                    let is_own = source.path == own_file || is_beside && number == own;
                    if !is_own && !code.trim().is_empty() && knows(line, list, entry, is_beside) {
                        let path = source.path.display();
                        wrong.push(format!("src/{path}:{number}: knows `{}`: {}", entry.name, line.trim()));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "a new kind would have to be added here as well:\n{}", wrong.join("\n"));
}

#[test]
fn this_test_sees_second_places() {
    let list = &LISTS[0];
    let text =
        "kinds! {\n    /// Words.\n    Trigger: TriggerKind {\n        at::At = \"at\",\n    }\n}\nb::C = \"d\",\n";
    let found = entries(list, text);
    let at = Entry { file: "at".into(), name: "At".into(), key: Some("at".into()) };
    assert_eq!(found, [(4, at.clone())]);
    for line in [
        "Trigger::At(at) => 1,",
        "use crate::trigger::{Armed, At};",
        "use crate::trigger::At;",
        "let x = crate::trigger::at::resolve();",
        "if trigger.key() == \"at\" {",
        "\"every\" | \"at\" => true,",
    ] {
        assert!(knows(line, list, &at, false), "{line}");
    }
    for line in ["mod at;", "pub use at::At;", "Self::At(at) => at.words(),"] {
        assert!(knows(line, list, &at, true), "{line}");
        assert!(!knows(line, list, &at, false), "{line}");
    }
    for line in ["let mut at = after;", "Trigger::AtStart", "use crate::trigger::{Armed, Attic};", "(\"at\", value)"] {
        assert!(!knows(line, list, &at, true), "{line}");
    }
}
