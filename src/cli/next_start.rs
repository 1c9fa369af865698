//! What a start would make of due times that pass while no runner runs.

use jiff::Timestamp;
use serde_json::json;

use super::asked::{Asked, Reason};
use crate::daemon::view::{may_be_late, owed};
use crate::model::rfc3339;
use crate::spec::CatchUpPolicy;

impl Asked<'_> {
    /// Says what the next start makes of the newest due time of the down time. The due time, where a start now would run it.
    pub fn at_next_start(&self, reasons: &mut Vec<Reason>) -> Option<Timestamp> {
        let job = self.job.as_ref().filter(|job| job.spec.about.enabled && self.status.is_none())?;
        let facts = self.known.facts(&self.name);
        if facts.paused.is_some_and(|until| until.is_none_or(|until| until > self.now)) {
            return None;
        }
        let (due, by) = owed(job, &facts, self.now)?;
        let (policy, allowed) = may_be_late(&job.spec.policies, by);
        let when = self.time(due);
        let until = due.saturating_add(allowed).unwrap_or(Timestamp::MAX);
        let runs = self.now <= until;
        let policies = &job.spec.policies;
        let field = match policy {
            CatchUpPolicy::None => format!("misfire_grace is {}", policies.misfire_grace),
            _ => format!("catch_up.within is {}", policies.catch_up.within),
        };
        let last = self.time(until);
        let text = match (policy, runs) {
            (_, false) => format!("The next start records it as missed: {when} is too long ago, {field}."),
            (CatchUpPolicy::None, true) => {
                format!(
                    "Up to {last} a start makes a run of the due time {when}, a later one records it as missed: {field}."
                )
            }
            (CatchUpPolicy::Last, true) => format!(
                "Up to {last} a start catches up the due time {when}, the newest one, and a later one records it as missed: \
                 catch_up.policy is `last`, {field}."
            ),
            (CatchUpPolicy::All, true) => format!(
                "Up to {last} a start catches up the newest due times, at most {}, up to {when}: catch_up.policy is `all`, {field}.",
                policies.catch_up.max
            ),
        };
        let data = json!({ "due": rfc3339(due), "runs": runs, "until": rfc3339(until), "policy": policy });
        reasons.push(Reason::new("at_start", text, data));
        runs.then_some(due)
    }
}
