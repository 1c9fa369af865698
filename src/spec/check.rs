//! One field against its schema, each fault in words at its own place.

use std::borrow::Cow;

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind as Kind;

use super::fields::Field;
use super::findings::{Findings, MOST};
use super::page::Page;
use super::schema::value_words;
use super::shown::shown;
use super::suggest;
use super::tree::{Entry, Keep, Node, Tree, segments};
use super::words::words;
use crate::model::Problem;

/// Whether what stands behind a field is as its schema says. `prefix` goes before the field's name in findings.
pub(super) fn check(page: Page<'_>, field: &Field, prefix: &str, entry: &Entry, findings: &mut Findings) -> bool {
    let value = entry.node.to_value(Keep::Filled);
    if field.validator.is_valid(&value) {
        return true;
    }
    let before = findings.count();
    let errors: Vec<ValidationError<'_>> = field.validator.iter_errors(&value).take(MOST).collect();
    for error in &errors {
        // Of the wrong kind altogether, it is none of the texts that will do either: that is one finding.
        let is_other_kind = |other: &ValidationError<'_>| {
            matches!(other.kind(), Kind::Type { .. })
                && other.instance_path().as_str() == error.instance_path().as_str()
        };
        if matches!(error.kind(), Kind::Enum { .. }) && errors.iter().any(is_other_kind) {
            continue;
        }
        if is_for_want_of_a_variable(&entry.node, error) {
            continue;
        }
        explain(page, field, prefix, entry, error, findings);
    }
    findings.count() == before
}

/// Whether something is absent only as the environment has no variable for it, which is said by itself.
fn is_for_want_of_a_variable(node: &Node, error: &ValidationError<'_>) -> bool {
    let mut at = Some(node);
    for segment in segments(error.instance_path().as_str()) {
        at = at.and_then(|node| node.child(&own_segment(node, &segment))).map(|(_, node)| node);
    }
    let Some(at) = at.filter(|node| node.has_missing()) else { return false };
    match error.kind() {
        Kind::MinItems { .. } | Kind::MinProperties { .. } | Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } => true,
        Kind::Required { property } => {
            let child = property.as_str().and_then(|name| at.child(name));
            child.is_some_and(|(_, node)| node.has_missing())
        }
        _ => false,
    }
}

/// The segment by which a node has what the value that was checked has by this one: texts with a missing variable do not count there.
fn own_segment<'s>(node: &Node, segment: &'s str) -> Cow<'s, str> {
    let place = match (&node.tree, segment.parse::<usize>()) {
        (Tree::List(items), Ok(at)) => {
            items.iter().enumerate().filter(|(_, item)| Keep::Filled.takes(item)).nth(at).map(|(place, _)| place)
        }
        _ => None,
    };
    place.map_or(Cow::Borrowed(segment), |place| Cow::Owned(place.to_string()))
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
        let segment = own_segment(node, &segment);
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
        None => words(page, error, schema, node),
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
        None if path != entry.name => {
            let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
            Some(format!("known here: {}", known.join(", ")))
        }
        None => Some("begin the key with `x-` if it is a note or a place for anchors".into()),
    };
    problem
}
