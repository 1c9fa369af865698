use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use crate::model::{JobName, Status};
use crate::spec::Breaker;

/// Failed runs in a row, of the jobs that have any. The circuit breaker is derived from them: closed below `after`, open
/// until `cooldown` after the last failure, then half open: one run is let through.
#[derive(Debug, Clone, Default)]
pub(super) struct Breakers(HashMap<JobName, Failures>);

/// Failed runs of one job since its last success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failures {
    pub in_row: u32,
    /// When the last of them ended.
    pub last: Timestamp,
}

/// What a job's breaker says to a run that would begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    Closed,
    /// The job rests until then.
    Open {
        failed_in_row: u32,
        until: Timestamp,
    },
    /// It has rested: one run is let through to see whether it works again.
    HalfOpen {
        failed_in_row: u32,
    },
}

impl Failures {
    /// When a breaker that these open lets a run through again.
    fn until(&self, breaker: &Breaker) -> Timestamp {
        let cooldown = SignedDuration::try_from(breaker.cooldown.0).unwrap_or(SignedDuration::MAX);
        self.last.saturating_add(cooldown).unwrap_or(Timestamp::MAX)
    }

    /// What a breaker makes of these failures.
    pub fn state(&self, breaker: &Breaker, now: Timestamp) -> BreakerState {
        let until = self.until(breaker);
        match self.in_row {
            few if few < breaker.after => BreakerState::Closed,
            failed_in_row if now < until => BreakerState::Open { failed_in_row, until },
            failed_in_row => BreakerState::HalfOpen { failed_in_row },
        }
    }
}

impl Breakers {
    pub fn restore(&mut self, job: &JobName, in_row: u32, last: Timestamp) {
        self.0.insert(job.clone(), Failures { in_row, last });
    }

    pub fn forget(&mut self, job: &JobName) {
        self.0.remove(job);
    }

    /// What the job's breaker says now; closed where it has none.
    pub fn state(&self, job: &str, breaker: Option<&Breaker>, now: Timestamp) -> BreakerState {
        match (self.0.get(job), breaker) {
            (Some(failures), Some(breaker)) => failures.state(breaker, now),
            _ => BreakerState::Closed,
        }
    }

    /// A run ended so. Says what that changed.
    pub fn note(&mut self, job: &JobName, breaker: Option<&Breaker>, status: Status, now: Timestamp) -> Change {
        if status == Status::Success {
            let before = self.0.remove(job);
            let was_open = before.zip(breaker).is_some_and(|(failures, breaker)| failures.in_row >= breaker.after);
            return if was_open { Change::Closed } else { Change::None };
        }
        if !status.is_failure() {
            return Change::None;
        }
        let failures = self.0.entry(job.clone()).or_insert(Failures { in_row: 0, last: now });
        failures.in_row = failures.in_row.saturating_add(1);
        failures.last = now;
        match breaker {
            Some(breaker) if failures.in_row >= breaker.after => {
                Change::Opened { failed_in_row: failures.in_row, until: failures.until(breaker) }
            }
            _ => Change::None,
        }
    }

    /// The clock went back by so much: what is a length of time stays one.
    pub fn shift_back(&mut self, by: SignedDuration) {
        for failures in self.0.values_mut() {
            failures.last = failures.last.checked_sub(by).unwrap_or(failures.last);
        }
    }
}

/// What the end of a run changed about a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    None,
    Opened { failed_in_row: u32, until: Timestamp },
    Closed,
}
