use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Input, JobName, RunId, Status, serde_rfc3339};

/// What made a run due, as records say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TriggeredBy {
    Cron,
    Interval,
    At,
    Start,
    Watch,
    After,
    Webhook,
    Manual,
    CatchUp,
    Replay,
    Rerun,
}

impl TriggeredBy {
    /// The word in records and in `RUNNER_TRIGGER`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cron => "CRON",
            Self::Interval => "INTERVAL",
            Self::At => "AT",
            Self::Start => "START",
            Self::Watch => "WATCH",
            Self::After => "AFTER",
            Self::Webhook => "WEBHOOK",
            Self::Manual => "MANUAL",
            Self::CatchUp => "CATCH_UP",
            Self::Replay => "REPLAY",
            Self::Rerun => "RERUN",
        }
    }
}

/// One occasion on which a trigger went off: which job, why, due when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firing {
    pub job: JobName,
    pub triggered_by: TriggeredBy,
    /// The trigger whose due time it is: not the same where it is caught up. Of several it is the interval.
    pub due_of: TriggeredBy,
    /// When the run was due; for a person's firing, when it was asked for.
    pub due: Timestamp,
    /// What a person added to the command line (`run JOB -- ARGS`); empty for all other firings.
    pub args: Vec<String>,
    /// The runs whose ends made it due, in a chain.
    pub parents: Vec<Parent>,
    /// The jobs through which a chain came here, the first one first.
    pub path: Vec<JobName>,
    /// The files that it is for; decided when the run starts.
    pub input: Option<Arc<Input>>,
}

impl Firing {
    /// A firing without arguments and parents.
    pub fn new(job: JobName, triggered_by: TriggeredBy, due: Timestamp) -> Self {
        Self {
            job,
            triggered_by,
            due_of: triggered_by,
            due,
            args: Vec::new(),
            parents: Vec::new(),
            path: Vec::new(),
            input: None,
        }
    }
}

/// A run whose end made another job due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    pub job: JobName,
    pub run: RunId,
    pub status: Status,
}

/// Due times of a job that did not become runs, for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    pub kind: GapKind,
    pub job: JobName,
    pub triggered_by: TriggeredBy,
    pub reason: String,
    /// The first of them.
    #[serde(with = "serde_rfc3339")]
    pub due: Timestamp,
    /// The last of them.
    #[serde(with = "serde_rfc3339")]
    pub until: Timestamp,
    pub count: u64,
}

/// Why due times did not become runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GapKind {
    /// The runner was there and passed them over.
    Skipped,
    /// Nobody was there, or too late.
    Missed,
}

/// One of a command's two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Out,
    Err,
}
