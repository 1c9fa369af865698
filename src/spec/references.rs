//! What a job's file says about things outside of it: other jobs, pools. Whether they are there only the catalog can tell.

use super::job::JobSpec;
use super::place::Placed;
use crate::model::{Fault, Problem, Severity};
use crate::trigger::Trigger;

/// Something that a job's file names and that has to be there.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    pub to: Target,
    /// A problem at the place where it is named, with no words yet.
    place: Box<Problem>,
}

/// What is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A job, in `after`.
    Job(String),
    /// A pool in runner.yaml.
    Pool(String),
    /// A file of holidays, as the job's file has its path.
    Holidays(String),
}

impl Reference {
    /// An error at the place where it is named.
    pub fn error(&self, message: impl Into<String>) -> Problem {
        let place = Problem::clone(&self.place);
        // What came from the defaults says so.
        let suffix = place.message.clone();
        Problem { message: message.into() + &suffix, ..place }
    }

    /// The same, of what costs nobody anything.
    pub fn warning(&self, message: impl Into<String>) -> Problem {
        Problem { severity: Severity::Warning, ..self.error(message) }
    }
}

/// All that a job names.
pub(super) fn of(spec: &JobSpec, placed: &Placed<'_>) -> Vec<Reference> {
    let place = |pointer: String| Box::new(placed.problem(Fault::error(pointer, ""), ""));
    let mut found = Vec::new();
    for (pointer, name) in spec.triggers.iter().flat_map(Trigger::named_jobs) {
        found.push(Reference { to: Target::Job(name.to_string()), place: place(pointer) });
    }
    for (at, window) in spec.policies.blackout.iter().enumerate() {
        if let Some(file) = &window.holidays {
            found.push(Reference {
                to: Target::Holidays(file.clone()),
                place: place(format!("/blackout/{at}/holidays")),
            });
        }
    }
    if let Some(pool) = &spec.policies.pool {
        found.push(Reference { to: Target::Pool(pool.clone()), place: place("/pool".into()) });
    }
    found
}
