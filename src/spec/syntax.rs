//! What is wrong with a text that is not YAML or not JSON, in our words and with the cure where it is known.

use serde::de::IgnoredAny;
use serde_saphyr::Error;

use super::page::Page;
use super::parse::{DEEPEST, MOST_REPLAYED};
use super::tree::{Entry, Node, Place, Tree};
use crate::model::Problem;

/// Whether a text is JSON.
pub(super) fn check_json(page: Page<'_>) -> Result<(), Problem> {
    if page.text.trim().is_empty() {
        return Ok(()); // an empty file gets its own words
    }
    let Err(error) = serde_json::from_str::<IgnoredAny>(page.text) else { return Ok(()) };
    let said = error.to_string();
    let said = said.split(" at line ").next().unwrap_or(&said);
    if said.starts_with("recursion limit") {
        return Err(page.problem(page.place_of(error.line(), 1), 1, too_deep()));
    }
    // serde_json counts bytes, and the byte that it has read last.
    let line = page.text.split('\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let byte = error.column().saturating_sub(1).min(line.len());
    let column = line.char_indices().take_while(|(at, _)| *at < byte).count() + 1;
    let place = page.place_of(error.line(), column);
    let rest = line.get(byte..).unwrap_or_default();
    let before = page.text[..place.start as usize].trim_end();
    let comma = rest.starts_with(['}', ']']) && before.ends_with(',');
    let said = if comma { "trailing comma" } else { said };
    let help = if comma {
        "JSON has no comma after the last item, remove it"
    } else if rest.starts_with(['/', '#']) {
        "JSON has no comments; remove them, or rename the file to end in .yaml"
    } else if rest.starts_with('\'') {
        "JSON strings stand in double quotes"
    } else {
        "rename the file to end in .yaml if it is meant to be YAML"
    };
    Err(page.problem(place, 1, format!("this is not JSON: {said}")).help(help))
}

fn too_deep() -> String {
    format!("lists and maps are nested deeper than {DEEPEST}")
}

/// The problem that a reader's error stands for. `again` reads the text once more, duplicate keys allowed.
pub(super) fn problem(page: Page<'_>, error: &Error, again: impl FnOnce() -> Option<Node>) -> Problem {
    let at = error.location();
    let mut place = match at {
        Some(at) => page.place_of(at.line() as usize, at.column() as usize),
        None => page.place_of(1, 1),
    };
    let mut length = at.map_or(1, |at| at.span().len() as usize).max(1);
    let (message, help) = match inner(error) {
        Error::DuplicateMappingKey { key, .. } => {
            let name = key.clone().unwrap_or_default();
            place.bytes = length as u32;
            let first = again().and_then(|root| first_of(&root, &name, place));
            let message = match first {
                Some(first) => {
                    format!("the key `{}` stands here a second time, first in line {}", shown(&name), first.line)
                }
                None => format!("the key `{}` stands here a second time", shown(&name)),
            };
            (message, Some("remove one of the two".into()))
        }
        Error::MultipleDocuments { .. } => {
            if let Some(rule) = page.text[..place.start as usize].rfind("\n---") {
                place = page.place_of_byte(rule + 1);
                length = 3;
            }
            ("a second document begins here".into(), Some("a file holds one document, remove this `---` line".into()))
        }
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => (
            format!("the aliases bring in more than {MOST_REPLAYED} parts"),
            Some("write out less with aliases".into()),
        ),
        Error::RecursiveReferencesRequireWeakTypes { .. } => ("the alias stands inside of what it means".into(), None),
        Error::Budget { breach: serde_saphyr::budget::BudgetBreach::Depth { .. }, .. } => (too_deep(), None),
        Error::Budget { .. } => ("the file holds too much".into(), None),
        Error::NonFiniteFloat { value, .. } => {
            (format!("`{}` is not a number that can be used here", shown(value)), None)
        }
        Error::UnknownAnchor { .. } => mend(page, &mut place, "the alias has no anchor"),
        Error::MergeValueNotMapOrSeqOfMaps { .. } => ("`<<` takes a map or a list of maps".into(), None),
        other => {
            let said = other.without_snippet().to_string();
            let said = said.split(" at line ").next().unwrap_or(&said).to_string();
            if said.contains("recursion limit") { (too_deep(), None) } else { mend(page, &mut place, &said) }
        }
    };
    let mut problem = page.problem(place, length, message);
    problem.help = help;
    problem
}

fn inner(mut error: &Error) -> &Error {
    while let Error::AliasError { error: below, .. } | Error::WithSnippet { error: below, .. } = error {
        error = below;
    }
    error
}

/// Where a key stands for the first time: the nearest one before its second place, in the same column if there is one.
fn first_of(root: &Node, name: &str, second: Place) -> Option<Place> {
    fn visit(node: &Node, see: &mut impl FnMut(&Entry)) {
        match &node.tree {
            Tree::Map(entries) => entries.iter().for_each(|entry| {
                see(entry);
                visit(&entry.node, see);
            }),
            Tree::List(items) => items.iter().for_each(|item| visit(item, see)),
            _ => {}
        }
    }
    let mut best: Option<Place> = None;
    visit(root, &mut |entry| {
        let same_column = |place: Place| place.column == second.column;
        let before = (entry.key.line, entry.key.column) < (second.line, second.column);
        let better = best.is_none_or(|best| same_column(entry.key) || !same_column(best));
        if entry.name == name && before && better {
            best = Some(entry.key);
        }
    });
    best
}

/// Words and help for a line that does not read, from what stands in it; the place moves to the value if that is at fault.
fn mend(page: Page<'_>, place: &mut Place, said: &str) -> (String, Option<String>) {
    let line = page.text.split('\n').nth(place.line.saturating_sub(1) as usize).unwrap_or_default();
    let line = line.trim_end_matches('\r');
    let (key, value) = key_and_value(line);
    let what = if key.is_empty() { "value".to_string() } else { shown(key) };
    let quoted = format!("write {}", quote(value));
    let (message, help) = match value.chars().next() {
        Some('*') => {
            let message = format!("`{}` is an alias, and no anchor has its name", shown(first_word(value)));
            (message, format!("quote the {what}: `*` starts an alias; {quoted}"))
        }
        Some(c @ ('@' | '`' | '%')) => {
            (format!("a value cannot begin with `{c}` unless it is quoted"), format!("quote the {what}: {quoted}"))
        }
        Some(first) if said.contains("mapping values") && value.contains(": ") && !"\"'[{|>".contains(first) => {
            (format!("`: ` inside the {what} starts a map"), format!("quote the {what}: {quoted}"))
        }
        _ if said.contains("multiline quoted scalar") || said.contains("unexpected end of stream") => {
            if let Some(quote) = open_quote(page.text, place.start as usize) {
                *place = page.place_of_byte(quote);
            }
            return ("the quote is not closed".into(), Some("close it, or indent the lines of the text".into()));
        }
        _ => return (reworded(said).to_string(), help_for(line, value, said)),
    };
    let start = value.as_ptr() as usize - line.as_ptr() as usize;
    *place = page.place_of(place.line as usize, line[..start].chars().count() + 1);
    (message, Some(help))
}

/// The last quote before a byte that can have begun a text.
fn open_quote(text: &str, before: usize) -> Option<usize> {
    let text = text.get(..before)?;
    let begins = |at: &usize| *at == 0 || b" \t\n[{,:".contains(&text.as_bytes()[at - 1]);
    text.rmatch_indices(['"', '\'']).map(|(at, _)| at).find(begins)
}

/// The parser's words, in ours where they are hard to read.
fn reworded(said: &str) -> &str {
    const WORDS: &[(&str, &str)] = &[
        ("mapping values are not allowed", "`key: value` cannot stand here"),
        ("tabs disallowed", "a tab indents this line"),
        ("invalid trailing content", "there is more text after the closing quote"),
        ("unknown escape character", "the quoted text has an escape that does not exist"),
        ("high surrogate", "the text has half of a surrogate pair"),
        ("low surrogate", "the text has half of a surrogate pair"),
        ("simple key expected", "the line has no `: ` after its key"),
        ("did not find expected key", "a key was expected here"),
    ];
    WORDS.iter().find(|(part, _)| said.contains(part)).map_or(said, |(_, words)| words)
}

fn help_for(line: &str, value: &str, said: &str) -> Option<String> {
    let help = match value.chars().next() {
        Some('"' | '\'') if said.contains("trailing content") => {
            "quote the whole value: text after the closing quote is not part of it"
        }
        Some('"') if said.contains("escape") => "write `\\\\` for a backslash, or put the value in single quotes",
        Some('[' | '{') if said.contains("expected key") => "quote the value if it is meant as text",
        Some('[' | '{') if said.contains("bracket") => "close the bracket, or quote the value if it is meant as text",
        _ if leading(line).contains('\t') => "indent with spaces: tabs are not allowed there",
        _ if said.contains("mapping values") => "check the indentation, and that the lines above are `key: value`",
        _ if said.contains("unsupported tag") => "tags such as `!x` mean nothing here, remove it",
        _ if said.contains("simple key expected") => "a line is `key: value`",
        _ => return None,
    };
    Some(help.into())
}

fn first_word(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or(text)
}

fn leading(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

/// The key and the value on a line such as `  - key: value`.
fn key_and_value(line: &str) -> (&str, &str) {
    let text = line.trim().trim_start_matches("- ").trim_start();
    match text.split_once(": ") {
        Some((key, value)) if key.chars().all(|c| c.is_alphanumeric() || "_-.$".contains(c)) => (key, value.trim()),
        _ => ("", text),
    }
}

/// A text in the quotes that need no escapes.
fn quote(text: &str) -> String {
    let text = shown(text.split(" #").next().unwrap_or(text).trim());
    if text.contains(['"', '\\']) { format!("'{}'", text.replace('\'', "''")) } else { format!("\"{text}\"") }
}

/// A text of the file on its way into a message: short, and without control characters.
pub(super) fn shown(text: &str) -> String {
    let mut out: String = text
        .chars()
        .take(60)
        .flat_map(|c| {
            let escape = c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
            if escape { c.escape_debug().collect::<Vec<_>>() } else { vec![c] }
        })
        .collect();
    if text.chars().nth(60).is_some() {
        out.push('…');
    }
    out
}
