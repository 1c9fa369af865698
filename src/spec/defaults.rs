//! Defaults for jobs: `defaults:` of runner.yaml and the chain of `_defaults.yaml`, merged.

use std::collections::{HashMap, HashSet};

use super::check;
use super::cross;
use super::document;
use super::fields::{self, Part};
use super::findings::Findings;
use super::page::Page;
use super::place::Placed;
use super::policies::Policies;
use super::tree::{Entry, Keep, Node, Place, Tree, to_map};
use super::{ReadContext, Source, types};
use crate::model::Problem;

/// What the jobs at and below a folder get where they say nothing themselves.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Defaults {
    entries: Vec<Entry>,
}

impl Defaults {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A folder's own defaults over those of its parent.
    pub(super) fn over(parent: &Defaults, own: Vec<Entry>) -> Self {
        Self { entries: merge(&parent.entries, own.into_iter().map(without_place).collect()) }
    }

    /// A job's own policies over these; what `null` unsets is gone.
    pub(super) fn under(&self, own: Vec<Entry>) -> Vec<Entry> {
        merge(&self.entries, own)
    }
}

/// Policies whose parts are each one whole: a secret with another source is another one, not one with two.
const OF_WHOLE_PARTS: &[&str] = &["secrets"];

/// Maps merge key by key, scalars and lists replace, `null` unsets.
fn merge(parent: &[Entry], own: Vec<Entry>) -> Vec<Entry> {
    let above: HashMap<&str, &Entry> = parent.iter().map(|entry| (entry.name.as_str(), entry)).collect();
    let replaced: HashSet<&str> = match parent {
        [] => HashSet::new(),
        _ => own.iter().map(|entry| entry.name.as_str()).collect(),
    };
    let mut merged: Vec<Entry> =
        parent.iter().filter(|entry| !replaced.contains(entry.name.as_str())).cloned().collect();
    for mut entry in own {
        if let Tree::Map(children) = entry.node.tree {
            let above = match above.get(entry.name.as_str()).map(|above| &above.node.tree) {
                Some(Tree::Map(above)) => above.as_slice(),
                _ => &[],
            };
            let own = |above: &&Entry| children.iter().any(|child| child.name == above.name);
            entry.node.tree = Tree::Map(match OF_WHOLE_PARTS.contains(&entry.name.as_str()) {
                true => merge(&above.iter().filter(|above| !own(above)).cloned().collect::<Vec<_>>(), children),
                false => merge(above, children),
            });
        }
        if entry.node.tree != Tree::Null {
            merged.push(entry);
        }
    }
    merged
}

fn without_place(entry: Entry) -> Entry {
    Entry { key: Place::default(), node: bare(entry.node), ..entry }
}

fn bare(node: Node) -> Node {
    let tree = match node.tree {
        Tree::Map(entries) => Tree::Map(entries.into_iter().map(without_place).collect()),
        Tree::List(items) => Tree::List(items.into_iter().map(bare).collect()),
        scalar => scalar,
    };
    Node { place: Place::default(), tree }
}

/// Reads a `_defaults.yaml`; `None` iff one of the problems is an error.
pub fn read_defaults(source: Source<'_>, parent: &Defaults, cx: &ReadContext<'_>) -> (Option<Defaults>, Vec<Problem>) {
    let mut document = match document::open(&source, "a defaults file", cx, |_| true) {
        Ok(document) => document,
        Err(problem) => return (None, vec![*problem]),
    };
    let entries = std::mem::take(&mut document.entries);
    let own = check_policies(document.page, document.place, entries, "", &mut document.findings);
    let defaults = (!document.findings.failed()).then(|| Defaults::over(parent, own));
    (defaults, document.into_problems())
}

/// Checks policies that stand by themselves; what it gives back is fine. `prefix` is empty, or `defaults.`
pub(super) fn check_policies(
    page: Page<'_>,
    place: Place,
    entries: Vec<Entry>,
    prefix: &str,
    findings: &mut Findings,
) -> Vec<Entry> {
    let fields = fields::job();
    let is_policy = |name: &&str| fields.get(name).is_some_and(|field| field.part == Part::Policy);
    let mut good = Vec::new();
    for entry in entries {
        match fields.get(&entry.name) {
            Some(field) if field.part == Part::Policy => {
                if check::check(page, field, prefix, &entry, findings) {
                    good.push(entry);
                }
            }
            Some(field) => findings.error(|| out_of_place(page, &entry, field.part, prefix)),
            None => findings.error(|| {
                let path = format!("{prefix}{}", entry.name);
                check::unknown(page, &path, &entry, fields.names().filter(is_policy))
            }),
        }
    }
    let faults = match types::read::<Policies>(to_map(&good, Keep::Set)) {
        Ok(policies) => cross::policies(&policies),
        Err(faults) => faults,
    };
    let placed = Placed::new(page, place, good, fields);
    placed.tell(faults, prefix, findings);
    placed.into_entries()
}

/// The problem of a job's own field in defaults.
fn out_of_place(page: Page<'_>, entry: &Entry, part: Part, prefix: &str) -> Problem {
    let name = &entry.name;
    let message = match part {
        Part::Trigger => format!("`{name}` is a trigger, defaults hold policies only"),
        Part::Action => format!("`{name}` is an action, defaults hold policies only"),
        _ => format!("`{name}` belongs to one job, defaults hold policies only"),
    };
    let problem = page.problem(entry.key, page.length(entry.key), message).help("write it in the jobs' own files");
    Problem { field: format!("{prefix}{name}"), ..problem }
}
