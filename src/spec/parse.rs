//! Text to tree: YAML and JSON go the same way, with the same places.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::{DuplicateKeyPolicy, Location, Options, Spanned};

use super::page::Page;
use super::tree::{Entry, Node, Place, Tree};
use super::{json, syntax};
use crate::model::Problem;

/// How deep lists and maps may be nested.
pub(super) const DEEPEST: usize = 24;
/// How much aliases may bring in, counted in nodes.
pub(super) const MOST_REPLAYED: usize = 10_000;

/// The tree of a text; a `.json` file has to be JSON.
pub(super) fn parse(page: Page<'_>) -> Result<Node, Box<Problem>> {
    if page.path.ends_with(".json") {
        json::check(page)?;
    }
    match serde_saphyr::from_str_with_options(page.text, options()) {
        Ok(Document(node)) => Ok(node),
        Err(error) => Err(Box::new(syntax::problem(page, &error, || {
            let mut options = options();
            options.duplicate_keys = DuplicateKeyPolicy::FirstWins;
            serde_saphyr::from_str_with_options(page.text, options).ok().map(|Document(node)| node)
        }))),
    }
}

fn options() -> Options {
    let mut options = Options::default();
    options.strict_booleans = true;
    options.leading_zero_numbers_as_strings = true;
    options.underscored_numbers_as_strings = true;
    options.reject_unsupported_tags = true;
    options.with_snippet = false;
    options.alias_limits.max_total_replayed_events = MOST_REPLAYED;
    if let Some(budget) = &mut options.budget {
        budget.max_depth = DEEPEST;
        budget.max_nodes = 1_000_000;
        budget.max_events = 4_000_000;
    }
    options
}

/// The node of a whole document.
struct Document(Node);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value: Bare(tree), referenced, .. } = Spanned::<Bare>::deserialize(deserializer)?;
        Ok(Document(Node { place: place(referenced), tree }))
    }
}

/// A tree before its own place is known.
struct Bare(Tree);

impl<'de> Deserialize<'de> for Bare {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor).map(Bare)
    }
}

fn place(location: Location) -> Place {
    let span = location.span();
    let number = |n: Option<u64>| n.and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    Place {
        line: number(Some(location.line())),
        column: number(Some(location.column())),
        start: number(span.byte_offset()),
        bytes: number(span.byte_len()),
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Number::from_f64(value).map_or(Tree::Null, Tree::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text { text: text.to_string(), filled: None })
    }

    fn visit_string<E>(self, text: String) -> Result<Tree, E> {
        Ok(Tree::Text { text, filled: None })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(Document(node)) = access.next_element()? {
            items.push(node);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some((Document(key), Document(node))) = access.next_entry()? {
            let (name, odd) = match key.tree {
                Tree::Text { text, .. } => (text, false),
                Tree::Number(number) => (number.to_string(), true),
                Tree::Bool(value) => (value.to_string(), true),
                Tree::Null => ("null".to_string(), true),
                Tree::List(_) | Tree::Map(_) => (String::new(), true),
            };
            entries.push(Entry { name, key: key.place, odd, node });
        }
        Ok(Tree::Map(entries))
    }
}
