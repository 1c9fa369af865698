//! The fields of a job's file, split by what they are for.

use super::check;
use super::fields::{self, Part};
use super::findings::{Findings, MOST};
use super::page::Page;
use super::shown::shown;
use super::suggest::{LATER_ACTIONS, LATER_TRIGGERS, nearest};
use super::tree::{Entry, Keep, Place};
use crate::action::Action;
use crate::model::Problem;
use crate::trigger::Trigger;

/// The fields of a file by what they are for; only those that are as their schema says.
#[derive(Default)]
pub(super) struct Parts {
    pub about: Vec<Entry>,
    pub triggers: Vec<Entry>,
    pub actions: Vec<Entry>,
    pub policies: Vec<Entry>,
    /// Whether the file has, or seems to mean, a trigger or an action, be it a bad one.
    pub any_trigger: bool,
    pub any_action: bool,
}

impl Parts {
    /// Splits the fields by what they are for, and checks each against its schema.
    pub fn split(page: Page<'_>, entries: Vec<Entry>, findings: &mut Findings) -> Parts {
        let fields = fields::job();
        let mut parts = Parts::default();
        let mut first_action: Option<(String, Place)> = None;
        for entry in entries {
            let field = fields.get(&entry.name);
            let meant = match field {
                Some(field) => field.name.as_str(),
                None if findings.count() >= MOST => &entry.name,
                None => nearest(&entry.name, fields.names()).unwrap_or(&entry.name),
            };
            if Trigger::KEYS.contains(&meant) || LATER_TRIGGERS.contains(&meant) {
                let absent = field.is_some_and(|field| field.is_default(&entry.node.to_value(Keep::All)));
                parts.any_trigger |= !absent;
            }
            if Action::KEYS.contains(&meant) || LATER_ACTIONS.contains(&meant) {
                parts.any_action = true;
                match &first_action {
                    Some((first, place)) if meant == entry.name => second_action(page, &entry, first, *place, findings),
                    Some(_) => {} // a slip, told as an unknown field
                    None => first_action = Some((entry.name.clone(), entry.key)),
                }
            }
            match field {
                Some(field) if check::check(page, field, "", &entry, findings) => parts.take(field.part, entry),
                Some(_) => {}
                None => findings.error(|| check::unknown(page, &entry.name, &entry, fields.names())),
            }
        }
        parts
    }

    fn take(&mut self, part: Part, entry: Entry) {
        match part {
            Part::Trigger => self.triggers.push(entry),
            Part::Action => self.actions.push(entry),
            Part::Policy => self.policies.push(entry),
            Part::About | Part::Setting => self.about.push(entry),
        }
    }
}

fn second_action(page: Page<'_>, entry: &Entry, first: &str, place: Place, findings: &mut Findings) {
    let name = shown(&entry.name);
    let message = format!("a job has one action, this one has `{name}` beside `{first}` in line {}", place.line);
    findings.error(|| {
        let problem = page.problem(entry.key, page.length(entry.key), message);
        Problem { field: name, ..problem.help("remove one of the two, or make two jobs of them") }
    });
}
