use jiff::Timestamp;

use crate::model::{GapKind, TriggeredBy};

/// Due times of one job that did not become runs for one reason, one after another.
///
/// The first is written at once; the rest are counted here, and written as one line when the streak ends.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Streak {
    pub kind: GapKind,
    pub reason: String,
    pub triggered_by: TriggeredBy,
    /// Those not yet written: the first, the last and how many.
    pub rest: Option<(Timestamp, Timestamp, u64)>,
}

impl Streak {
    pub fn begin(kind: GapKind, reason: &str, triggered_by: TriggeredBy) -> Self {
        Self { kind, reason: reason.into(), triggered_by, rest: None }
    }

    pub fn is_of(&self, kind: GapKind, reason: &str) -> bool {
        self.kind == kind && self.reason == reason
    }

    pub fn add(&mut self, due: Timestamp, until: Timestamp, count: u64) {
        self.rest = Some(match self.rest {
            None => (due, until, count),
            Some((first, last, n)) => (first.min(due), last.max(until), n + count),
        });
    }
}
