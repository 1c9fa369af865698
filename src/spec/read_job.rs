//! A job's file to a [`JobSpec`]: the stages in their order.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use serde_json::{Map, Value};

use super::about::About;
use super::check;
use super::cross;
use super::defaults::Defaults;
use super::document;
use super::enforce;
use super::fields;
use super::findings::Findings;
use super::job::JobSpec;
use super::page::Page;
use super::parts::Parts;
use super::place::Placed;
use super::policies::Policies;
use super::references::{self, Reference};
use super::tree::{Entry, Keep, Node, Place, Tree, to_map};
use super::{ReadContext, Source, types, written};
use crate::action::Action;
use crate::model::{Fault, JobName, Problem, Severity};
use crate::trigger::{Trigger, TriggerContext};

/// What came of a job's file.
#[derive(Debug)]
pub struct ReadJob {
    /// What `name:` says, else the name that the path gives; `None` where that is not a name.
    pub name: Option<JobName>,
    /// `None` iff one of the problems is an error.
    pub spec: Option<JobSpec>,
    /// The job as [`JobSpec::to_map`] has it, with the texts as they were before the environment was filled in; only
    /// where that makes a difference.
    pub written: Option<Map<String, Value>>,
    /// What the job names and only the catalog knows.
    pub references: Vec<Reference>,
    /// All findings, in the order of the file.
    pub problems: Vec<Problem>,
}

/// Reads and checks a job's file.
pub fn read_job(source: Source<'_>, default_name: &str, defaults: &Defaults, cx: &ReadContext<'_>) -> ReadJob {
    let expands =
        |key: &str| Action::expands_environment(key).or_else(|| Trigger::expands_environment(key)).unwrap_or(true);
    let document = match document::open(&source, "a job", cx, expands) {
        Ok(document) => document,
        Err(problem) => {
            return ReadJob {
                name: JobName::new(default_name).ok(),
                spec: None,
                written: None,
                references: Vec::new(),
                problems: vec![*problem],
            };
        }
    };
    let mut reader = Reader { page: document.page, place: document.place, findings: document.findings };
    let parts = Parts::split(reader.page, document.entries, &mut reader.findings);
    let name = reader.name(&parts, default_name);
    let spec = reader.build(parts, name.as_ref().map_or(default_name, JobName::as_str), defaults, cx);
    let failed = reader.findings.failed();
    let (spec, written, references) = match spec.filter(|_| !failed) {
        Some(Built { spec, written, references }) => (Some(spec), written, references),
        None => (None, None, Vec::new()),
    };
    ReadJob { name, spec, written, references, problems: reader.findings.into_problems(source.path) }
}

/// A job that could be built, if nothing else is wrong with its file.
struct Built {
    spec: JobSpec,
    written: Option<Map<String, Value>>,
    references: Vec<Reference>,
}

struct Reader<'a> {
    page: Page<'a>,
    place: Place,
    findings: Findings,
}

impl Reader<'_> {
    fn name(&mut self, parts: &Parts, default_name: &str) -> Option<JobName> {
        let page = self.page;
        let own = parts.about.iter().find(|entry| entry.name == "name");
        let (text, node) = match own.map(|entry| (&entry.node.tree, &entry.node)) {
            Some((Tree::Text { text, .. }, node)) => (text.as_str(), Some(node)),
            _ => (default_name, None),
        };
        match (JobName::new(text), node) {
            (Ok(name), _) => Some(name),
            (Err(_), Some(node)) if node.has_missing() => JobName::new(default_name).ok(),
            (Err(error), Some(node)) => {
                let message = match node.written() {
                    Some(written) => check::from_environment(written, "a job's name"),
                    None => error.to_string(),
                };
                self.findings
                    .error(|| Problem { field: "name".into(), ..page.fault(node, Fault::error("/name", message)) });
                None
            }
            (Err(error), None) => {
                let problem = Problem::of_file(page.path, error.to_string());
                self.findings.error(|| problem.help("rename the file, or give the job a `name:`"));
                None
            }
        }
    }

    /// The types, and the checks that need them.
    fn build(&mut self, parts: Parts, name: &str, defaults: &Defaults, cx: &ReadContext<'_>) -> Option<Built> {
        self.expect_kinds(&parts);
        let about = types::read::<About>(to_map(&parts.about, Keep::Filled));
        let own: Vec<String> = parts
            .policies
            .iter()
            .filter(|entry| entry.node.tree != Tree::Null)
            .map(|entry| entry.name.clone())
            .collect();
        let policies = defaults.under(parts.policies);
        let policies_read = types::read::<Policies>(to_map(&policies, Keep::Set));
        let mut faults = Vec::new();
        let triggers = read_triggers(&parts.triggers, &mut faults);
        let are_all_read = !parts.triggers.iter().any(|entry| entry.node.has_missing());
        let action = parts.actions.first().and_then(|entry| read_action(entry, &mut faults));
        let about = about.map_err(|more| faults.extend(more)).ok();
        let policies_read = policies_read.map_err(|more| faults.extend(more)).ok();

        let zone = policies_read.as_ref().and_then(|policies| policies.timezone.as_deref()).unwrap_or(cx.timezone);
        let zone = jiff::tz::TimeZone::get(zone).unwrap_or(jiff::tz::TimeZone::UTC);
        let context = TriggerContext::of(name, &zone);
        faults.extend(triggers.iter().flat_map(|trigger| trigger.problems(context)));
        faults.extend(action.iter().flat_map(Action::problems));

        let spec = match (about, action, policies_read) {
            (Some(about), Some(action), Some(policies)) => {
                let spec = JobSpec { about, triggers, action, policies: shared(policies) };
                faults.extend(cross::job(&spec));
                faults.extend(cross::idle_in_a_watch(&spec, |name| own.iter().any(|own| own == name)));
                // A watch that could not be read is one nevertheless.
                if are_all_read
                    && !faults.iter().any(|fault| fault.severity == Severity::Error)
                    && !self.findings.failed()
                    && spec.files().is_none()
                {
                    faults.extend(spec.action.fileless_problems());
                }
                faults.extend(enforce::faults(&spec.policies, cx.means, cx.missing));
                Some(spec)
            }
            (_, _, Some(policies)) => {
                faults.extend(cross::policies(&policies));
                None
            }
            _ => None,
        };
        let entries = [parts.about, parts.triggers, parts.actions, policies].into_iter().flatten().collect();
        let placed = Placed::new(self.page, self.place, entries, fields::job());
        placed.tell(faults, "", &mut self.findings);
        spec.map(|spec| {
            let written = written::map(&spec, placed.entries());
            let references = references::of(&spec, &placed);
            Built { spec, written, references }
        })
    }

    /// A job needs an action, and says so if nothing makes it run.
    fn expect_kinds(&mut self, parts: &Parts) {
        let (page, place) = (self.page, self.place);
        if !parts.any_action {
            self.findings.error(|| {
                let problem = page.problem(place, 1, "the job has no action, so there is nothing to run");
                problem.help("add a line such as `command: ./backup.sh`")
            });
        }
        let manual = |entry: &Entry| entry.name == "manual" && entry.node.tree == Tree::Bool(true);
        if !parts.any_trigger && !parts.about.iter().any(manual) {
            self.findings.warning(|| {
                let problem = page.problem(place, 1, "the job has no trigger, it only runs by hand");
                problem.help("add `schedule:`, `every:`, `at:`, `on_start:` or `after:`, or say that it is meant: `manual: true`")
            });
        }
    }
}

/// The policies, as one of those that this thread read last where they are the same: of thousands of jobs most have the
/// same ones, and they would be a large part of what a runner keeps in memory.
fn shared(policies: Policies) -> Arc<Policies> {
    const KNOWN: usize = 32;
    thread_local! {
        /// The one that was met last comes first.
        static KNOWN_POLICIES: RefCell<VecDeque<Weak<Policies>>> = const { RefCell::new(VecDeque::new()) };
    }
    KNOWN_POLICIES.with_borrow_mut(|known| {
        known.retain(|one| one.strong_count() > 0);
        let place = known.iter().position(|one| one.upgrade().is_some_and(|one| *one == policies));
        let found = place.and_then(|place| known.remove(place)?.upgrade()).unwrap_or_else(|| Arc::new(policies));
        known.push_front(Arc::downgrade(&found));
        known.truncate(KNOWN);
        found
    })
}

/// The triggers in the order of their kinds. One that has its default value is as good as absent.
fn read_triggers(entries: &[Entry], faults: &mut Vec<Fault>) -> Vec<Trigger> {
    let mut triggers = Vec::with_capacity(entries.len());
    for key in Trigger::KEYS {
        let Some(entry) = entries.iter().find(|entry| entry.name == *key) else { continue };
        let value = entry.node.to_value(Keep::All);
        let absent = fields::job().get(key).is_some_and(|field| field.is_default(&value));
        if entry.node.has_missing() || absent {
            continue;
        }
        match Trigger::from_value(key, value) {
            Some(Ok(trigger)) => triggers.push(trigger),
            Some(Err(error)) => faults.push(misfit(key, &entry.node, &error)),
            None => {}
        }
    }
    triggers
}

fn read_action(entry: &Entry, faults: &mut Vec<Fault>) -> Option<Action> {
    match Action::from_value(&entry.name, entry.node.to_value(Keep::All))? {
        Ok(action) => Some(action),
        Err(error) => {
            faults.push(misfit(&entry.name, &entry.node, &error));
            None
        }
    }
}

fn misfit(key: &str, node: &Node, error: &serde_json::Error) -> Fault {
    let value = node.to_value(Keep::All);
    let message = types::reworded(&error.to_string(), &value);
    // What is read by a type of its own is named in the message: that is its place, if it stands there once.
    let named = message.strip_prefix('`').and_then(|rest| rest.split_once('`')).map(|(text, _)| text);
    let mut places = Vec::new();
    if let Some(text) = named {
        places_of(&value, text, String::new(), &mut places);
    }
    let below = if let [one] = &places[..] { one.as_str() } else { "" };
    Fault::error(format!("/{key}{below}"), message)
}

/// Where a text stands in a value, as JSON pointers (RFC 6901). Keys that would have to be escaped are passed over.
fn places_of(value: &Value, text: &str, at: String, places: &mut Vec<String>) {
    match value {
        Value::String(own) if own == text => places.push(at),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(place, item)| places_of(item, text, format!("{at}/{place}"), places))
        }
        Value::Object(map) => {
            let plain = map.iter().filter(|(key, _)| !key.contains(['/', '~']));
            plain.for_each(|(key, item)| places_of(item, text, format!("{at}/{key}"), places))
        }
        _ => {}
    }
}
