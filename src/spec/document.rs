//! A file's bytes to the map at its top: the steps that jobs, defaults and runner.yaml share.

use std::fmt::Write;

use super::expand::{self, FlawKind};
use super::findings::Findings;
use super::page::Page;
use super::parse::parse;
use super::shown::shown;
use super::tree::{Entry, Node, Place, Tree};
use super::{MissingVariable, ReadContext, Source, text};
use crate::model::{Problem, Severity};

/// The top of a file: its fields, without `$schema` and `x-…`.
pub(super) struct Document<'a> {
    pub page: Page<'a>,
    pub place: Place,
    pub entries: Vec<Entry>,
    pub findings: Findings,
}

/// Reads the file and fills in the environment, except below the keys that `expands` refuses.
///
/// `what` names the kind of file in messages.
pub(super) fn open<'a>(
    source: &Source<'a>,
    what: &str,
    cx: &ReadContext<'_>,
    expands: fn(&str) -> bool,
) -> Result<Document<'a>, Box<Problem>> {
    let page = Page { path: source.path, text: text::decode(source.path, source.bytes)? };
    let root = parse(page)?;
    let entries = match root.tree {
        Tree::Map(entries) => entries,
        Tree::Null => {
            let empty = page.text.trim().is_empty();
            let says = if empty { "the file is empty" } else { "the file has no fields, only comments" };
            return Err(Problem::of_file(page.path, format!("{says}; {what} is a map of fields")).into());
        }
        Tree::Text { .. } | Tree::Bool(_) | Tree::Number(_) | Tree::List(_) => {
            let found = if matches!(root.tree, Tree::List(_)) { "a list" } else { "a single value" };
            let problem =
                page.problem(root.place, page.length(root.place), format!("{what} is a map of fields, found {found}"));
            return Err(problem.help("write lines such as `command: ./backup.sh`").into());
        }
    };
    let mut document = Document { page, place: root.place, entries, findings: Findings::default() };
    document.entries.retain(|entry| entry.name != "$schema" && !entry.name.starts_with("x-"));
    let mut entries = std::mem::take(&mut document.entries);
    let mut path = String::new();
    for entry in &mut entries {
        let expand = expands(&entry.name);
        document.tidy(entry, &mut path, expand, cx);
    }
    document.entries = entries;
    Ok(document)
}

impl Document<'_> {
    /// Checks the keys and fills in the texts of an entry and of what is below it. `path` is the path of its map.
    fn tidy(&mut self, entry: &mut Entry, path: &mut String, expand: bool, cx: &ReadContext<'_>) {
        let length = path.len();
        if length > 0 {
            path.push('.');
        }
        path.push_str(&entry.name);
        if entry.odd {
            let page = self.page;
            self.findings.error(|| odd_key(page, entry, path));
        }
        let expand = expand && !is_command_of_a_secret(path);
        self.tidy_node(&mut entry.node, path, expand, cx);
        path.truncate(length);
    }

    fn tidy_node(&mut self, node: &mut Node, path: &mut String, expand: bool, cx: &ReadContext<'_>) {
        match &mut node.tree {
            Tree::Map(entries) => {
                for entry in entries {
                    self.tidy(entry, path, expand, cx);
                }
            }
            Tree::List(items) => {
                let length = path.len();
                for (i, item) in items.iter_mut().enumerate() {
                    let _ = write!(path, "[{i}]");
                    self.tidy_node(item, path, expand, cx);
                    path.truncate(length);
                }
            }
            Tree::Text { text, .. } if expand && text.contains('$') => self.fill(node, path, cx),
            _ => {}
        }
    }

    fn fill(&mut self, node: &mut Node, path: &str, cx: &ReadContext<'_>) {
        let as_written = node.clone();
        let page = self.page;
        for flaw in expand::fill(node, cx.env) {
            let lenient = cx.missing == MissingVariable::Warning && matches!(flaw.kind, FlawKind::Missing(_));
            let severity = if lenient { Severity::Warning } else { Severity::Error };
            self.findings.add(severity, || {
                let (place, length) = page.within(&as_written, &flaw.span);
                let (message, help) = words(&flaw.kind);
                Problem { field: path.to_string(), ..page.problem(place, length, message).help(help) }
            });
        }
    }

    /// All findings in the order of the file.
    pub fn into_problems(self) -> Vec<Problem> {
        self.findings.into_problems(self.page.path)
    }
}

/// The shell sees such a command as it is written, like that of the job.
fn is_command_of_a_secret(path: &str) -> bool {
    let path = path.strip_prefix("defaults.").unwrap_or(path);
    path.strip_prefix("secrets.").is_some_and(|rest| rest.ends_with(".command"))
}

fn odd_key(page: Page<'_>, entry: &Entry, path: &str) -> Problem {
    let message = match entry.name.is_empty() {
        true => "a key is text, found a list or a map".to_string(),
        false => format!("a key is text, found `{}`", shown(&entry.name)),
    };
    let problem = page.problem(entry.key, page.length(entry.key), message);
    let help = (!entry.name.is_empty()).then(|| format!("quote it: \"{}\"", shown(page.slice(entry.key))));
    Problem { help, field: path.to_string(), ..problem }
}

fn words(flaw: &FlawKind) -> (String, &'static str) {
    match flaw {
        FlawKind::Unclosed => ("`${` has no closing `}`".to_string(), "write `$${` for these two characters"),
        FlawKind::Name(name) => (
            format!("`{}` is not the name of a variable", shown(name)),
            "write `${NAME}` or `${NAME:-default}`, and `$$` for a dollar",
        ),
        FlawKind::Missing(name) => (
            format!("the environment has no variable `{}`", shown(name)),
            "set it, or give a default with `${NAME:-default}`",
        ),
    }
}
