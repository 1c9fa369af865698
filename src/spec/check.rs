//! One field against its schema, each fault in words at its own place.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind as Kind;
use serde_json::Value;

use super::fields::Field;
use super::findings::{Findings, MOST};
use super::page::Page;
use super::schema::value_words;
use super::suggest;
use super::syntax::shown;
use super::tree::{Entry, Keep, Node, Tree, segments};
use crate::model::Problem;

/// Whether what stands behind a field is as its schema says. `prefix` goes before the field's name in findings.
pub(super) fn check(page: Page<'_>, field: &Field, prefix: &str, entry: &Entry, findings: &mut Findings) -> bool {
    let value = entry.node.to_value(Keep::Filled);
    if field.validator.is_valid(&value) {
        return true;
    }
    let before = findings.count();
    for error in field.validator.iter_errors(&value).take(MOST) {
        explain(page, field, prefix, entry, &error, findings);
    }
    findings.count() == before
}

fn explain(
    page: Page<'_>,
    field: &Field,
    prefix: &str,
    entry: &Entry,
    error: &ValidationError<'_>,
    findings: &mut Findings,
) {
    let mut node = &entry.node;
    let mut key = Some(entry.key);
    let mut path = format!("{prefix}{}", field.name);
    for segment in segments(error.instance_path().as_str()) {
        push_segment(&mut path, node, &segment);
        match node.child(&segment) {
            Some(child) => (key, node) = child,
            None => break,
        }
    }
    let keyword = error.schema_path().as_str();
    let parent = keyword.rsplit_once('/').map_or("", |(parent, _)| parent);
    let schema = field.schema.pointer(parent).unwrap_or(&field.schema);
    if let (Kind::AdditionalProperties { .. }, Tree::Map(entries)) = (error.kind(), &node.tree) {
        let known = || schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
        for entry in entries.iter().filter(|entry| schema["properties"].get(&entry.name).is_none()) {
            findings.error(|| unknown(page, &format!("{path}.{}", entry.name), entry, known()));
        }
        return;
    }
    let (message, help) = match node.written() {
        Some(written) if matches!(error.kind(), Kind::Type { .. }) => {
            (format!("`{}` gives text, expected {}", shown(written), value_words(schema)), None)
        }
        Some(written) => (from_environment(written, &value_words(schema)), None),
        None => words(page, error, schema, node, &path),
    };
    // Where there is no value to point at, the key is meant.
    let place = match (page.length(node.place), key) {
        (0, Some(key)) => key,
        _ => node.place,
    };
    let problem = || page.problem(place, page.length(place), message);
    findings.error(|| Problem { help, field: path, ..problem() });
}

/// Adds a segment to a path such as `limits.output` or `schedule[1]`.
pub(super) fn push_segment(path: &mut String, parent: &Node, segment: &str) {
    match &parent.tree {
        Tree::List(_) => *path += &format!("[{segment}]"),
        _ if path.is_empty() => path.push_str(segment),
        _ => *path += &format!(".{segment}"),
    }
}

/// Words for a value that the environment gave; they never hold the value itself, it may be a secret.
pub(super) fn from_environment(written: &str, expected: &str) -> String {
    format!("what the environment gives for `{}` is not {expected}", shown(written))
}

/// The problem of a key that no field has; `path` is its dotted path.
pub(super) fn unknown<'k>(page: Page<'_>, path: &str, entry: &Entry, known: impl Iterator<Item = &'k str>) -> Problem {
    let name = shown(&entry.name);
    let later = suggest::is_later(path);
    let message = match later {
        true => format!("`{name}` is not supported by this version"),
        false => format!("unknown field `{name}`"),
    };
    let mut problem = page.problem(entry.key, page.length(entry.key), message);
    problem.field = path.chars().take(200).collect();
    let known: Vec<&str> = known.collect();
    problem.help = match suggest::nearest(&entry.name, known.iter().copied()) {
        _ if later => None,
        Some(meant) => Some(format!("did you mean `{meant}`?")),
        None if path.contains('.') => {
            let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
            Some(format!("known here: {}", known.join(", ")))
        }
        None => Some("begin the key with `x-` if it is a note or a place for anchors".into()),
    };
    problem
}

fn words(
    page: Page<'_>,
    error: &ValidationError<'_>,
    schema: &Value,
    node: &Node,
    path: &str,
) -> (String, Option<String>) {
    let expected = value_words(schema);
    let found = found(page, node);
    match error.kind() {
        Kind::Type { .. } => (format!("expected {expected}, found {found}"), type_help(page, schema, node)),
        Kind::Enum { .. } => match &node.tree {
            Tree::Text { text, .. } if suggest::is_later_word(path, text) => {
                (format!("`{}` is not supported by this version, expected {expected}", shown(text)), None)
            }
            Tree::Text { text, .. } => {
                let known = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let meant = suggest::nearest(text, known).map(|meant| format!("did you mean `{meant}`?"));
                (format!("expected {expected}, found {found}"), meant)
            }
            _ => (format!("expected {expected}, found {found}"), None),
        },
        Kind::Pattern { .. } => (format!("expected {expected}, found {found}"), text_help(&expected, node)),
        Kind::MinLength { .. } => (format!("expected {expected}, found an empty text"), None),
        Kind::MinItems { .. } => (format!("expected {expected}, found an empty list"), None),
        Kind::Minimum { .. } | Kind::Maximum { .. } => {
            let range = match (schema["minimum"].as_f64(), schema["maximum"].as_f64()) {
                (Some(least), Some(most)) => format!("outside {least} to {most}"),
                (Some(least), None) => format!("less than {least}"),
                _ => "too large".to_string(),
            };
            (format!("{} is {range}", source(page, node)), None)
        }
        _ => (error.masked_with("the value").to_string(), None),
    }
}

fn found(page: Page<'_>, node: &Node) -> String {
    match &node.tree {
        Tree::Null => "nothing".to_string(),
        Tree::Bool(value) => format!("`{value}`"),
        Tree::Number(_) => format!("the number {}", source(page, node)),
        Tree::Text { text, .. } => format!("the text `{}`", shown(text)),
        Tree::List(_) => "a list".to_string(),
        Tree::Map(_) => "a map".to_string(),
    }
}

/// A scalar as the file has it; what an alias stands for as JSON has it.
fn source(page: Page<'_>, node: &Node) -> String {
    match page.slice(node.place) {
        alias if alias.starts_with('*') => node.to_value(Keep::All).to_string(),
        source => shown(source),
    }
}

fn type_help(page: Page<'_>, schema: &Value, node: &Node) -> Option<String> {
    let takes = |kind: &str| match &schema["type"] {
        Value::Array(kinds) => kinds.iter().any(|known| known == kind),
        known => known == kind,
    };
    let source = source(page, node);
    match &node.tree {
        Tree::Number(number) if takes("string") => {
            let expected = schema["x-expects"].as_str().unwrap_or_default();
            match (number.as_u64(), expected) {
                (Some(number), expected) if expected.starts_with("a duration") => {
                    Some(format!("write \"{number}s\" for seconds"))
                }
                (Some(number), expected) if expected.starts_with("a size") => {
                    Some(format!("write \"{number}B\" for bytes"))
                }
                _ => Some(format!("quote it: {source} is a number")),
            }
        }
        Tree::Bool(_) if takes("string") => Some(format!("quote it: {source} is a boolean")),
        Tree::Null if !page.slice(node.place).is_empty() && takes("string") => {
            Some(format!("quote it: {source} is nothing"))
        }
        Tree::Null => Some("give it a value, or remove the line".into()),
        Tree::Text { text, .. } if takes("boolean") => match text.to_lowercase().as_str() {
            "yes" | "on" | "y" | "true" => Some("write `true`".into()),
            "no" | "off" | "n" | "false" => Some("write `false`".into()),
            _ => None,
        },
        Tree::Text { text, .. } if takes("integer") && text.parse::<u64>().is_ok() => {
            Some(format!("write {text} without quotes"))
        }
        _ => None,
    }
}

fn text_help(expected: &str, node: &Node) -> Option<String> {
    let Tree::Text { text, .. } = &node.tree else { return None };
    let digits = !text.is_empty() && text.len() < 20 && text.bytes().all(|b| b.is_ascii_digit());
    match expected {
        expected if digits && expected.starts_with("a duration") => Some(format!("write \"{text}s\" for seconds")),
        expected if digits && expected.starts_with("a size") => Some(format!("write \"{text}B\" for bytes")),
        expected if expected.starts_with("a duration") => {
            Some("whole numbers with the units w, d, h, m, s, ms, the larger ones first".into())
        }
        expected if expected.starts_with("a size") => {
            Some("a whole number with one of B, K, KB, KiB, M, MB, MiB, G, GB, GiB, T, TB, TiB".into())
        }
        _ => None,
    }
}
