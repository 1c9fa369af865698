use std::sync::Arc;

use jiff::Timestamp;

use crate::model::{JobName, RunId, TriggeredBy};
use crate::spec::JobSpec;
use crate::trigger::Armed;

/// What the engine is told.
#[derive(Debug, Clone)]
pub enum Event {
    /// The catalog has a new generation.
    Load {
        changes: Vec<Change>,
        /// Whether the runner starts: then `on_start` fires, and due times of the down time are accounted for.
        starting: Option<Starting>,
    },
    /// The time has come that [`super::Engine::wake_at`] named, or the clock was set.
    Wake,
    /// A person asks for a run.
    Ask {
        ask: u64,
        job: JobName,
        args: Vec<String>,
    },
    /// A run that the engine started has ended.
    Ended {
        run: RunId,
    },
    /// The job's triggers rest until then, or until they are resumed.
    Pause {
        job: JobName,
        until: Option<Timestamp>,
    },
    Resume {
        job: JobName,
    },
    Configure(super::Settings),
    /// The runner stops: nothing new is started.
    Stop,
}

/// When the runner was away before it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Starting {
    /// The last sign of life; absent where this is the first start.
    pub down_since: Option<Timestamp>,
}

/// One job of a new generation.
#[derive(Debug, Clone)]
pub enum Change {
    /// Added, or changed in any way that the engine can see.
    Put(Box<Entry>),
    Removed(JobName),
}

/// A job as the engine needs it.
#[derive(Debug, Clone)]
pub struct Entry {
    pub name: JobName,
    pub spec: Arc<JobSpec>,
    /// Its triggers, in force; none where the job is disabled.
    pub armed: Vec<(TriggeredBy, Armed)>,
    /// When the job was first loaded: where the grid of its interval begins.
    pub first_loaded: Timestamp,
    /// The last interval due that the records know.
    pub interval_due: Option<Timestamp>,
    /// The last due time that the records know to be accounted for.
    pub last_due: Option<Timestamp>,
}
