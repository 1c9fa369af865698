//! The value tree: what a file says, with the place of every part of it. Knows nothing of jobs.

use serde_json::{Map, Number, Value};

/// Where something stands in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    /// Counted from 1; 0 for what does not stand in this file but came from its defaults.
    pub line: u32,
    /// Counted from 1, in characters.
    pub column: u32,
    /// The byte of the text at which it begins.
    pub start: u32,
    /// How many bytes are meant: a whole scalar; 0 or 1 for lists and maps.
    pub bytes: u32,
}

/// A value and its place. A value that comes in through an alias or a merge has the place of its use.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub place: Place,
    pub tree: Tree,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree {
    Null,
    Bool(bool),
    Number(Number),
    Text { text: String, filled: Option<Box<Filled>> },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// What is remembered of a text into which the environment was filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filled {
    /// The text as the file has it.
    pub written: String,
    /// Whether a variable was missing, so that the text is not what it will be.
    pub missing: bool,
}

/// One key of a map with its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub name: String,
    pub key: Place,
    /// Whether the key is something else than text.
    pub odd: bool,
    pub node: Node,
}

impl Node {
    /// The value as JSON has it. Texts with a missing variable, and `null` where it unsets, are left out on demand.
    pub fn to_value(&self, keep: Keep) -> Value {
        match &self.tree {
            Tree::Null => Value::Null,
            Tree::Bool(value) => Value::Bool(*value),
            Tree::Number(number) => Value::Number(number.clone()),
            Tree::Text { text, .. } => Value::String(text.clone()),
            Tree::List(items) => {
                Value::Array(items.iter().filter(|node| keep.takes(node)).map(|node| node.to_value(keep)).collect())
            }
            Tree::Map(entries) => Value::Object(to_map(entries, keep)),
        }
    }

    /// Whether a variable is missing somewhere in it.
    pub fn has_missing(&self) -> bool {
        match &self.tree {
            Tree::Text { filled, .. } => filled.as_ref().is_some_and(|filled| filled.missing),
            Tree::List(items) => items.iter().any(Self::has_missing),
            Tree::Map(entries) => entries.iter().any(|entry| entry.node.has_missing()),
            Tree::Null | Tree::Bool(_) | Tree::Number(_) => false,
        }
    }

    /// The text as written, where the environment was filled in.
    pub fn written(&self) -> Option<&str> {
        match &self.tree {
            Tree::Text { filled: Some(filled), .. } => Some(&filled.written),
            _ => None,
        }
    }

    /// The node below, by a map's key or a list's index, with the place of the key.
    pub fn child(&self, segment: &str) -> Option<(Option<Place>, &Node)> {
        match &self.tree {
            Tree::Map(entries) => {
                let entry = entries.iter().find(|entry| entry.name == segment)?;
                Some((Some(entry.key), &entry.node))
            }
            Tree::List(items) => items.get(segment.parse::<usize>().ok()?).map(|node| (None, node)),
            _ => None,
        }
    }
}

/// Which nodes become part of a JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// All but texts with a missing variable.
    Filled,
    /// Also no `null`: it unsets.
    Set,
    /// All, as they stand.
    All,
}

impl Keep {
    pub fn takes(self, node: &Node) -> bool {
        match (self, &node.tree) {
            (Keep::All, _) => true,
            (Keep::Set, Tree::Null) => false,
            (_, Tree::Text { filled: Some(filled), .. }) => !filled.missing,
            _ => true,
        }
    }
}

/// The entries as a JSON object.
pub(super) fn to_map(entries: &[Entry], keep: Keep) -> Map<String, Value> {
    entries
        .iter()
        .filter(|entry| keep.takes(&entry.node))
        .map(|entry| (entry.name.clone(), entry.node.to_value(keep)))
        .collect()
}

/// The segments of a JSON pointer.
pub(super) fn segments(pointer: &str) -> impl Iterator<Item = String> {
    pointer.split('/').skip(1).map(|segment| segment.replace("~1", "/").replace("~0", "~"))
}
