//! What is kept and shown of a job into which the environment was filled: the texts as they were written.

use serde_json::{Map, Value};

use super::job::JobSpec;
use super::tree::{Entry, Node, Tree};

/// The job's map with the texts before expansion; `None` where the environment was not used.
pub(super) fn map(spec: &JobSpec, entries: &[Entry]) -> Option<Map<String, Value>> {
    if !entries.iter().any(|entry| is_filled(&entry.node)) {
        return None;
    }
    let mut map = spec.to_map();
    lay_over(&mut map, entries);
    Some(map)
}

fn is_filled(node: &Node) -> bool {
    match &node.tree {
        Tree::Text { filled, .. } => filled.is_some(),
        Tree::List(items) => items.iter().any(is_filled),
        Tree::Map(entries) => entries.iter().any(|entry| is_filled(&entry.node)),
        Tree::Null | Tree::Bool(_) | Tree::Number(_) => false,
    }
}

fn lay_over(map: &mut Map<String, Value>, entries: &[Entry]) {
    for entry in entries.iter().filter(|entry| is_filled(&entry.node)) {
        match (&entry.node.tree, map.get_mut(&entry.name)) {
            (Tree::Map(below), Some(Value::Object(map))) => lay_over(map, below),
            (Tree::Map(below), _) => {
                let mut new = Map::new();
                lay_over(&mut new, below);
                map.insert(entry.name.clone(), Value::Object(new));
            }
            _ => {
                map.insert(entry.name.clone(), as_written(&entry.node));
            }
        }
    }
}

fn as_written(node: &Node) -> Value {
    match &node.tree {
        Tree::Text { filled: Some(filled), .. } => Value::String(filled.written.clone()),
        Tree::Text { text, .. } => Value::String(text.clone()),
        Tree::List(items) => items.iter().map(as_written).collect(),
        Tree::Map(entries) => entries.iter().map(|entry| (entry.name.clone(), as_written(&entry.node))).collect(),
        Tree::Null => Value::Null,
        Tree::Bool(value) => Value::Bool(*value),
        Tree::Number(number) => Value::Number(number.clone()),
    }
}
