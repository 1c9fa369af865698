//! Faults of values get their place in the file.

use super::check::{from_environment, push_segment};
use super::fields::Fields;
use super::findings::Findings;
use super::page::Page;
use super::tree::{Entry, Node, Place, Tree, segments};
use crate::model::{Fault, Problem, Severity};

/// The value that a file makes, with what it needs to give each fault its place.
pub(super) struct Placed<'a> {
    pub page: Page<'a>,
    /// The map of all fields, those from the defaults too.
    pub root: Node,
    pub fields: &'static Fields,
}

impl<'a> Placed<'a> {
    pub fn new(page: Page<'a>, place: Place, entries: Vec<Entry>, fields: &'static Fields) -> Self {
        Self { page, root: Node { place, tree: Tree::Map(entries) }, fields }
    }

    /// Tells the faults; words about a text that the environment gave never hold the text.
    pub fn tell(&self, faults: Vec<Fault>, prefix: &str, findings: &mut Findings) {
        for fault in faults {
            findings.add(fault.severity, || self.problem(fault, prefix));
        }
    }

    pub fn entries(&self) -> &[Entry] {
        match &self.root.tree {
            Tree::Map(entries) => entries,
            _ => &[],
        }
    }

    pub fn into_entries(self) -> Vec<Entry> {
        match self.root.tree {
            Tree::Map(entries) => entries,
            _ => Vec::new(),
        }
    }

    pub fn problem(&self, mut fault: Fault, prefix: &str) -> Problem {
        let mut node = &self.root;
        let mut key = None;
        let mut path = prefix.trim_end_matches('.').to_string();
        for segment in segments(&fault.pointer) {
            push_segment(&mut path, node, &segment);
            match node.child(&segment) {
                Some(child) => (key, node) = child,
                None => break,
            }
        }
        if let Some(written) = node.written() {
            let top = segments(&fault.pointer).next().unwrap_or_default();
            let expects = self.fields.get(&top).and_then(|field| field.schema["x-expects"].as_str());
            fault.message = match fault.severity {
                Severity::Error => from_environment(written, expects.unwrap_or("what can stand here")),
                Severity::Warning => format!("what the environment gives for `{written}` is worth a second look"),
            };
            fault.help = None;
        }
        if node.place.line == 0 {
            node = &self.root;
            fault.span = None;
            fault.message += " (from defaults)";
        }
        let whole = std::ptr::eq(node, &self.root);
        let of_key = key.filter(|key: &Place| fault.of_key && key.line > 0);
        let mut problem = self.page.fault(node, fault);
        if let Some(key) = of_key {
            let at_key = self.page.problem(key, self.page.length(key), String::new());
            problem = Problem { message: problem.message, help: problem.help, severity: problem.severity, ..at_key };
        } else if whole {
            problem.length = 1;
        }
        problem.field = path;
        problem
    }
}
