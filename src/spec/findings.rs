//! The findings of one file, of very many only the first.

use crate::model::{Problem, Severity, count};

/// How many findings of one file are told.
pub(super) const MOST: usize = 100;

/// Collects what is found in one file.
#[derive(Debug, Default)]
pub(super) struct Findings {
    told: Vec<Problem>,
    more: usize,
    failed: bool,
}

impl Findings {
    /// Adds a finding, unless there are very many already.
    pub fn add(&mut self, severity: Severity, problem: impl FnOnce() -> Problem) {
        self.failed |= severity == Severity::Error;
        if self.told.len() < MOST {
            self.told.push(Problem { severity, ..problem() });
        } else {
            self.more += 1;
        }
    }

    pub fn error(&mut self, problem: impl FnOnce() -> Problem) {
        self.add(Severity::Error, problem);
    }

    pub fn warning(&mut self, problem: impl FnOnce() -> Problem) {
        self.add(Severity::Warning, problem);
    }

    /// How many have been found.
    pub fn count(&self) -> usize {
        self.told.len() + self.more
    }

    /// Whether one of them is an error.
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// All findings in the order of the file.
    pub fn into_problems(mut self, path: &str) -> Vec<Problem> {
        self.told.sort_by_key(|problem| (problem.line, problem.column));
        if self.more > 0 {
            let severity = if self.failed { Severity::Error } else { Severity::Warning };
            let message = format!("{} in this file", count(self.more, "more problem"));
            self.told.push(Problem { severity, ..Problem::of_file(path, message) });
        }
        self.told
    }
}
