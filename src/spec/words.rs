//! Words and help for a value that is not as its schema says.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind as Kind;
use serde_json::Value;

use super::page::Page;
use super::schema::value_words;
use super::shown::shown;
use super::suggest;
use super::tree::{Keep, Node, Tree};

/// What is said of a value, and how it is mended if that is known.
pub(super) fn words(
    page: Page<'_>,
    error: &ValidationError<'_>,
    schema: &Value,
    node: &Node,
) -> (String, Option<String>) {
    let expected = value_words(schema);
    let found = found(page, node);
    match error.kind() {
        // Perhaps the value itself, which no message may hold.
        Kind::Type { .. } if schema["x-private"] == true => (
            format!("expected {expected}, found a value"),
            Some("say where it is read from: the secret itself never stands in these files".into()),
        ),
        Kind::Type { .. } => (format!("expected {expected}, found {found}"), type_help(page, schema, node)),
        Kind::Enum { .. } => match &node.tree {
            Tree::Text { text, .. } => {
                let known = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let meant = suggest::nearest(text, known).map(|meant| format!("did you mean `{meant}`?"));
                (format!("expected {expected}, found {found}"), meant)
            }
            _ => (format!("expected {expected}, found {found}"), None),
        },
        Kind::Pattern { .. } => (format!("expected {expected}, found {found}"), text_help(&expected, node)),
        Kind::MinLength { .. } => (format!("expected {expected}, found an empty text"), None),
        Kind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            (
                format!("`{name}` is missing"),
                Some(format!("add `{name}:`, {}", value_words(&schema["properties"][name]))),
            )
        }
        Kind::MinProperties { .. } => (format!("expected {expected}, found an empty map"), None),
        Kind::MinItems { .. } => (format!("expected {expected}, found an empty list"), None),
        Kind::UniqueItems => {
            let items = node.to_value(Keep::All);
            let items = items.as_array().map(Vec::as_slice).unwrap_or_default();
            let twice = items.iter().enumerate().find(|(at, item)| items[..*at].contains(item));
            let twice = twice.map(|(_, item)| item.as_str().map_or_else(|| item.to_string(), str::to_string));
            let message = format!("`{}` is there twice", shown(&twice.unwrap_or_default()));
            (message, Some("remove one of the two".into()))
        }
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

/// Whether a value is as that part of a schema says.
fn fits(schema: &Value, node: &Node) -> bool {
    let validator = schema.is_object().then(|| jsonschema::validator_for(schema).ok()).flatten();
    validator.is_some_and(|validator| validator.is_valid(&node.to_value(Keep::All)))
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
    let takes_any_text = ["pattern", "enum", "oneOf", "anyOf"].iter().all(|word| schema[*word].is_null());
    let source = source(page, node);
    // A map of which one field is so usual that people write its value alone.
    if let Some(field) = schema["x-short"].as_str()
        && !matches!(node.tree, Tree::Null)
    {
        let value = match node.tree {
            Tree::List(_) => shown(&node.to_value(Keep::All).to_string()),
            _ => source,
        };
        let of_field = &schema["properties"][field];
        let fits = |schema: &Value| fits(schema, node);
        return Some(if fits(of_field) {
            format!("write it as a map: `{{ {field}: {value} }}`")
        } else if fits(&of_field["items"]) {
            format!("write it as a map: `{{ {field}: [{value}] }}`")
        } else {
            format!("write it as a map: `{{ {field}: … }}` with {}", value_words(of_field))
        });
    }
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
                (Some(number), expected) if expected.starts_with("a rate") => {
                    Some(format!("write \"{number}/1m\" for so many in each minute"))
                }
                _ => Some(format!("quote it: {source} is a number")),
            }
        }
        // Where only some texts will do, a quoted one is no better.
        Tree::Bool(_) | Tree::Null if takes("string") && !takes_any_text => None,
        Tree::Bool(_) if takes("string") => Some(format!("quote it: {source} is a boolean")),
        Tree::Null if !page.slice(node.place).is_empty() && takes("string") => {
            Some(format!("quote it: {source} is nothing"))
        }
        Tree::Null => Some("give it a value, or remove the line".into()),
        Tree::Text { .. } | Tree::List(_) if schema["additionalProperties"]["properties"].is_object() => {
            Some("write it as a map of names to maps".into())
        }
        Tree::Text { .. } | Tree::List(_) if schema["additionalProperties"].is_object() => {
            Some("write it as a map: `{ NAME: value }`, or lines of `NAME: value`".into())
        }
        Tree::Text { .. } if takes("array") && fits(&schema["items"], node) => {
            Some(format!("write it as a list: `[{source}]`"))
        }
        Tree::Text { text, .. } if takes("boolean") => match text.to_lowercase().as_str() {
            word @ ("true" | "false") => Some(format!("write {word} without quotes")),
            "yes" | "on" | "y" => Some("write `true`".into()),
            "no" | "off" | "n" => Some("write `false`".into()),
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
        expected if digits && expected.starts_with("a rate") => {
            Some(format!("write \"{text}/1m\" for so many in each minute"))
        }
        expected if expected.starts_with("a duration") && text.starts_with('-') => {
            Some("a length of time is never negative".into())
        }
        expected if expected.starts_with("a duration") => {
            Some("whole numbers with the units w, d, h, m, s, ms, the larger ones first".into())
        }
        expected if expected.starts_with("a size") => {
            Some("a whole number with one of B, K, KB, KiB, M, MB, MiB, G, GB, GiB, T, TB, TiB".into())
        }
        _ => None,
    }
}
