//! `${NAME}`, `${NAME:-default}` and `$$` in texts, filled in after parsing.

use std::ops::Range;

use super::tree::{Filled, Node, Tree};

/// A place in a text where filling in did not work.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    /// The bytes of the text as written.
    pub span: Range<usize>,
    pub kind: FlawKind,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum FlawKind {
    Unclosed,
    Name(String),
    Missing(String),
}

/// Fills in one text node; other nodes stay as they are.
pub(super) fn fill(node: &mut Node, env: &dyn Fn(&str) -> Option<String>) -> Vec<Flaw> {
    let Tree::Text { text, filled } = &mut node.tree else { return Vec::new() };
    if !text.contains("${") && !text.contains("$$") {
        return Vec::new();
    }
    let (new, flaws) = expand(text, env);
    let missing = !flaws.is_empty();
    let written = std::mem::replace(text, new);
    *filled = Some(Box::new(Filled { written, missing }));
    flaws
}

/// The text with everything filled in; what has a flaw stays as written.
fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>) -> (String, Vec<Flaw>) {
    let mut out = String::with_capacity(text.len());
    let mut flaws = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find('$') {
        let start = at + found;
        out.push_str(&text[at..start]);
        let rest = &text[start..];
        if rest.starts_with("$$") {
            out.push('$');
            at = start + 2;
        } else if let Some(inner) = rest.strip_prefix("${") {
            let Some(length) = inner.find('}') else {
                flaws.push(Flaw { span: start..text.len(), kind: FlawKind::Unclosed });
                out.push_str(rest);
                return (out, flaws);
            };
            at = start + "${".len() + length + "}".len();
            match value(&inner[..length], env) {
                Ok(value) => out.push_str(&value),
                Err(kind) => {
                    flaws.push(Flaw { span: start..at, kind });
                    out.push_str(&text[start..at]);
                }
            }
        } else {
            out.push('$');
            at = start + 1;
        }
    }
    out.push_str(&text[at..]);
    (out, flaws)
}

/// What stands for the text between the braces.
fn value(inner: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, FlawKind> {
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !is_name {
        return Err(FlawKind::Name(name.to_string()));
    }
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_string()),
        (None, None) => Err(FlawKind::Missing(name.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> (String, Vec<Flaw>) {
        expand(text, &|name| match name {
            "A" => Some("x${B}".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        })
    }

    #[test]
    fn variables_defaults_and_dollars() {
        for (text, expected) in [
            ("a ${A} b", "a x${B} b"),
            ("${N:-d:-e}/${A:-d}", "d:-e/x${B}"),
            ("${EMPTY}|${EMPTY:-d}|${N:-}", "|d|"),
            ("$$ $${A} $5 $A 5$", "$ ${A} $5 $A 5$"),
            ("é$$é", "é$é"),
        ] {
            assert_eq!(filled(text), (expected.to_string(), Vec::new()), "{text}");
        }
    }

    #[test]
    fn flaws_have_their_place() {
        assert_eq!(
            filled("a ${N} ${").1,
            [Flaw { span: 2..6, kind: FlawKind::Missing("N".into()) }, Flaw { span: 7..9, kind: FlawKind::Unclosed },]
        );
        for text in ["${}", "${a-b}", "${1}", "${ A }"] {
            let (out, flaws) = filled(text);
            assert_eq!((out.as_str(), flaws[0].span.clone()), (text, 0..text.len()));
        }
    }
}
