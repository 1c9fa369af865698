//! The cure for a line that is not YAML, from what stands in it.

use super::page::Page;
use super::shown::shown;
use super::tree::Place;

/// Words and help for a line that does not read, from what stands in it; the place moves to the value if that is at fault.
pub(super) fn mend(page: Page<'_>, place: &mut Place, said: &str) -> (String, Option<String>) {
    let line = page.line(*place);
    let (key, value) = key_and_value(line);
    let what = if key.is_empty() { "value".to_string() } else { shown(key) };
    let quoted = format!("write {}", quote(value));
    let here = page.text.get(place.start as usize..).and_then(|text| text.chars().next());
    if let Some(control) = here.filter(|c| said.contains("unexpected character") && c.is_control()) {
        let code = control as u32;
        let help = format!("write it as `\\u{code:04x}` in double quotes");
        return (format!("the character U+{code:04X} cannot stand in a file as it is"), Some(help));
    }
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
        _ if said.contains("mapping values") && glued(page, *place).is_some() => {
            if let Some(above) = glued(page, *place) {
                *place = above;
            }
            return ("the colon has no space after it".into(), Some("write `key: value`, with a space".into()));
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

/// The line above a place, if it is a `key:value` without a space.
fn glued(page: Page<'_>, place: Place) -> Option<Place> {
    let before = page.text.get(..place.start as usize)?;
    let above = &before[..before.rfind('\n')?];
    let start = above.rfind('\n').map_or(0, |newline| newline + 1);
    let (key, value) = above[start..].trim_end().split_once(':')?;
    let glued = !value.is_empty() && !value.starts_with(' ') && key.chars().all(|c| c.is_alphanumeric() || c == '_');
    glued.then(|| page.place_of_byte(start + key.len()))
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
        ("found a tab", "a tab indents the line after this"),
        ("illegal placement of ':'", "`: ` cannot stand here, perhaps a bracket above is not closed"),
        ("block sequence entries", "a list cannot begin on the line of its key"),
        ("did not find expected ',' or '}'", "a comma or `}` was expected here"),
        ("did not find expected ',' or ']'", "a comma or `]` was expected here"),
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
        _ if leading(line).contains('\t') || said.contains("found a tab") => {
            "indent with spaces: tabs are not allowed there"
        }
        _ if said.contains("mapping values") => "check the indentation, and that the lines above are `key: value`",
        _ if said.contains("expected ','") && line.contains("${") => {
            "quote a text with `${NAME}` here: its braces would be read as a map"
        }
        Some('{') if said.contains("expected ','") => "quote the text if it holds `: `",
        Some('-') if said.contains("block sequence") => "write the list below its key, or quote the value",
        _ if said.contains("unsupported tag") => "tags such as `!x` mean nothing here, remove it",
        _ if said.contains("simple key expected") => "a line is `key: value`; the lines of a longer text are indented",
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
