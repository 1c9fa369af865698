//! What is wrong with a text that does not read, in our words and at its place.

use serde_saphyr::Error;

use super::mend::mend;
use super::page::Page;
use super::parse::{DEEPEST, MOST_REPLAYED};
use super::shown::shown;
use super::tree::{Entry, Node, Place, Tree};
use crate::model::Problem;

pub(super) fn too_deep() -> String {
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
