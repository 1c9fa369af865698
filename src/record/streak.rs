use jiff::Timestamp;

use super::job_log::DueState;
use crate::model::{GapKind, TriggeredBy};

/// Due times of one job that did not become runs for one reason, one after another.
///
/// The first is written at once; the rest are counted here, and written as one line when the streak ends.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Streak {
    pub kind: GapKind,
    pub reason: String,
    pub triggered_by: TriggeredBy,
    pub rest: Option<Rest>,
}

/// Those of a streak that are not written yet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rest {
    pub first: Timestamp,
    pub last: Timestamp,
    pub count: u64,
    /// What was accounted for before the first of them: a line that does not tell of them says no more than that.
    pub before: DueState,
}

impl Streak {
    pub fn begin(kind: GapKind, reason: &str, triggered_by: TriggeredBy) -> Self {
        Self { kind, reason: reason.into(), triggered_by, rest: None }
    }

    pub fn is_of(&self, kind: GapKind, reason: &str) -> bool {
        self.kind == kind && self.reason == reason
    }

    pub fn add(&mut self, due: Timestamp, until: Timestamp, count: u64, before: DueState) {
        self.rest = Some(match self.rest {
            None => Rest { first: due, last: until, count, before },
            Some(rest) => {
                Rest { first: rest.first.min(due), last: rest.last.max(until), count: rest.count + count, ..rest }
            }
        });
    }
}
