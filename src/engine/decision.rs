use std::sync::Arc;

use jiff::Timestamp;

use crate::model::{Firing, GapKind, JobName, RunId, TriggeredBy};
use crate::spec::JobSpec;

/// What the engine wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Carry out a run. The engine counts it as active until it hears [`super::Event::Ended`].
    Start { run: RunId, firing: Firing, spec: Arc<JobSpec> },
    /// Record due times that do not become runs.
    Gap {
        kind: GapKind,
        job: JobName,
        triggered_by: TriggeredBy,
        reason: String,
        due: Timestamp,
        until: Timestamp,
        count: u64,
    },
    /// The answer to a person who asked for a run.
    Answer { ask: u64, answer: Result<Accepted, String> },
    /// A pause has come to its end.
    Resumed { job: JobName },
    /// The clock went back so far that it must have been wrong: due times count from now.
    ClockCorrected { from: Timestamp, to: Timestamp },
}

/// What becomes of a run that a person asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    pub run: RunId,
    /// It waits, because as many runs are active as may be.
    pub waits: bool,
    /// The job is disabled or paused: only its triggers rest, so it runs all the same.
    pub notice: Option<&'static str>,
}
