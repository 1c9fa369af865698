//! runner.yaml to a [`RunnerSpec`] and the defaults that it gives to all jobs.

use super::check;
use super::cross;
use super::defaults::{Defaults, check_policies};
use super::document;
use super::fields;
use super::place::Placed;
use super::runner::RunnerSpec;
use super::tree::{Entry, Keep, Node, Tree, to_map};
use super::{ReadContext, Source, types};
use crate::model::Problem;

/// What runner.yaml says of where the logs are, also where something else in it is wrong: a runner that is to be found must
/// be looked for there. `None` if it says nothing, or is no YAML at all.
pub fn logs_directory(source: Source<'_>, cx: &ReadContext<'_>) -> Option<String> {
    let document = document::open(&source, "runner.yaml", cx, |_| true).ok()?;
    let below = |entries: &[Entry], name: &str| {
        entries.iter().find(|entry| entry.name == name).map(|entry| entry.node.tree.clone())
    };
    let Tree::Map(logs) = below(&document.entries, "logs")? else { return None };
    match below(&logs, "directory")? {
        Tree::Text { text, .. } if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// Reads and checks runner.yaml; `None` iff one of the problems is an error. `cx.timezone` is not asked.
pub fn read_runner(source: Source<'_>, cx: &ReadContext<'_>) -> (Option<(RunnerSpec, Defaults)>, Vec<Problem>) {
    let mut document = match document::open(&source, "runner.yaml", cx, |_| true) {
        Ok(document) => document,
        Err(problem) => return (None, vec![*problem]),
    };
    let page = document.page;
    let fields = fields::runner();
    let findings = &mut document.findings;
    let mut good: Vec<Entry> = Vec::new();
    let mut defaults = Defaults::default();
    for entry in std::mem::take(&mut document.entries) {
        match (fields.get(&entry.name), &entry.node.tree) {
            (Some(_), Tree::Map(_)) if entry.name == "defaults" => {
                let Tree::Map(own) = entry.node.tree else { continue };
                let own = check_policies(page, entry.node.place, own, "defaults.", findings);
                defaults = Defaults::over(&Defaults::default(), own.clone());
                let merged = defaults.under(Vec::new());
                good.push(Entry { node: Node { tree: Tree::Map(merged), ..entry.node }, ..entry });
            }
            (Some(field), _) => {
                if check::check(page, field, "", &entry, findings) {
                    good.push(entry);
                }
            }
            (None, _) => findings.error(|| check::unknown(page, &entry.name, &entry, fields.names())),
        }
    }
    let (spec, faults) = match types::read::<RunnerSpec>(to_map(&good, Keep::Filled)) {
        Ok(spec) => (Some(spec.clone()), cross::runner(&spec)),
        Err(faults) => (None, faults),
    };
    Placed::new(page, document.place, good, fields).tell(faults, "", findings);
    let spec = spec.filter(|_| !document.findings.failed());
    (spec.map(|spec| (spec, defaults)), document.into_problems())
}
