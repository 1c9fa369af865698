use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::{Firing, Gap, JobName, RunId};
use crate::spec::JobSpec;

/// What the engine wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Carry out an attempt of a run, the first one being 1. The engine counts it as active until it hears
    /// [`super::Event::Ended`].
    Start { run: RunId, firing: Firing, spec: Arc<JobSpec>, attempt: u32 },
    /// The run waits: for an active run of its job to end, or for a place.
    Wait { run: RunId, firing: Firing },
    /// A run that waited never begins; what was due is recorded so.
    Drop { run: RunId, gap: Gap },
    /// A run that waited never begins, because a person or a stop wanted it so: it ends as cancelled.
    Cancel { run: RunId, firing: Firing, reason: String },
    /// Record due times that do not become runs.
    Gap(Gap),
    /// The files that wait in a watch's ledger are passed over: as many runs are active as may be, and `overlap` is `skip`.
    PassOver { job: JobName, due: Timestamp },
    /// An attempt failed and another one follows after the wait.
    Retry { run: RunId, job: JobName, next: Next },
    /// A run whose last attempt is recorded as to be retried is not: it ends as cancelled.
    Abandon { run: RunId, job: JobName, attempt: u32, reason: String },
    /// End a run that is under way.
    End { run: RunId, reason: String },
    /// The answer to a person who asked for a run.
    Answer { ask: u64, answer: Result<Accepted, String> },
    /// A pause has come to its end.
    Resumed { job: JobName },
    /// So many runs failed in a row that the job rests until then.
    BreakerOpened { job: JobName, failed_in_row: u32, until: Timestamp },
    /// A run succeeded again.
    BreakerClosed { job: JobName },
    /// The clock went back so far that it must have been wrong: due times count from now.
    ClockCorrected { from: Timestamp, to: Timestamp },
}

/// The attempt that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// Its number.
    pub attempt: u32,
    /// How many there are at the most, the first one included.
    pub of: u32,
    /// How long after the one before.
    pub wait: Duration,
    pub at: Timestamp,
}

/// What becomes of a run that a person asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    pub run: RunId,
    /// It waits, because as many runs are active as may be.
    pub waits: bool,
    /// The job's triggers rest, so it runs all the same.
    pub notice: Option<&'static str>,
}
