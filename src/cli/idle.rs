//! Jobs whose triggers can never make them run, though nothing is wrong with their files.

use jiff::{SignedDuration, Timestamp};

use crate::catalog::{Generation, Job};
use crate::engine::upcoming;
use crate::model::{Problem, Severity};
use crate::trigger::{Armed, Parents, Trigger};

/// How far due times are followed for one outside of the job's blackouts, and how many of them.
const YEARS: SignedDuration = SignedDuration::from_hours(10 * 366 * 24);
const MOST: usize = 5_000;

/// A warning for each trigger that comes to nothing.
pub(super) fn warnings(generation: &Generation, now: Timestamp) -> Vec<Problem> {
    let mut found = Vec::new();
    for job in generation.jobs.iter().filter(|job| job.spec.about.enabled) {
        let mut warn = |field: &str, message: &str, help: &str| {
            let problem = Problem::of_file(&*job.file, message).help(help);
            found.push(Problem { severity: Severity::Warning, field: field.into(), ..problem });
        };
        for (_, armed) in job.armed.iter() {
            if let Armed::AtEnds(chain) = armed
                && matches!(chain.parents, Parents::Any(_))
                && !generation.jobs.iter().any(|parent| chain.waits_for(&parent.name, &job.name))
            {
                warn(
                    "after",
                    "`after` matches no job that is there, so no end makes this one due",
                    "`*` stands for any part of a name",
                );
            }
        }
        let has_times = job.armed.iter().any(|(_, armed)| matches!(armed, Armed::Times(_)));
        if has_times && upcoming(&job.armed, job.first_loaded, now, 1).is_empty() {
            if job.spec.triggers.iter().all(Trigger::has_an_end) {
                warn(
                    "at",
                    "the time has passed, so the job does not run any more",
                    "name another time, or remove the file",
                );
            }
        } else if has_times && is_always_closed(job, now) {
            warn(
                "blackout",
                "no due time lies outside of it, so the triggers never make the job run",
                "leave a time at which it may run",
            );
        }
    }
    found
}

fn is_always_closed(job: &Job, now: Timestamp) -> bool {
    let Some(closed) = job.closed() else { return false };
    let end = now.saturating_add(YEARS).unwrap_or(Timestamp::MAX);
    let mut at = now;
    for _ in 0..MOST {
        let Some(due) = upcoming(&job.armed, job.first_loaded, at, 1).first().copied() else { return true };
        if closed.reason_at(due).is_none() {
            return false;
        }
        at = due.max(closed.changes_after(due, end) - SignedDuration::from_nanos(1));
        if at >= end - SignedDuration::from_secs(1) {
            return true;
        }
    }
    false
}
