use std::sync::Arc;

use jiff::Timestamp;

use crate::model::{JobName, Parent, RunId, Status, TriggeredBy};
use crate::spec::JobSpec;
use crate::trigger::{Armed, Closed};

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
    /// An attempt of a run that the engine started has ended.
    Ended {
        run: RunId,
        status: Status,
        exit_code: Option<i32>,
    },
    /// A run is to end, whether it waits or is under way; why, in words.
    Cancel {
        run: RunId,
        reason: String,
    },
    /// The job's triggers rest until then, or until they are resumed.
    Pause {
        job: JobName,
        until: Option<Timestamp>,
    },
    Resume {
        job: JobName,
    },
    /// A run of a pool began before the runner started.
    Began {
        pool: String,
        at: Timestamp,
    },
    /// How many runs could be had of a watch now.
    Backlog {
        job: JobName,
        backlog: super::Backlog,
    },
    /// The files that a run was to be for are gone: it never was.
    Withdraw {
        run: RunId,
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
    /// When its due times are passed over.
    pub closed: Option<Arc<dyn Closed>>,
    /// When the job was first loaded: where the grid of its interval begins.
    pub first_loaded: Timestamp,
    pub memory: Memory,
}

/// A due time that was handled and whose run waited when the runner was killed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Owed {
    pub run: RunId,
    pub triggered_by: TriggeredBy,
    pub due: Timestamp,
}

/// What the records know of a job.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    /// The last interval due.
    pub interval_due: Option<Timestamp>,
    /// The last due time that is accounted for.
    pub last_due: Option<Timestamp>,
    /// Failed runs since the last success.
    pub failed_in_row: u32,
    /// When the last of them ended.
    pub failed_at: Option<Timestamp>,
    /// Runs that waited when the runner was killed, the one that was due first before the others.
    pub owed: Vec<Owed>,
    /// When the runs were due that a crash of the runner cut short, each with the runs whose ends had made it due.
    pub cut_short: Vec<(Timestamp, Vec<Parent>)>,
    /// Ends of other jobs' runs that its chain has not fired for, the earliest first.
    pub arrived: Vec<(Parent, Timestamp)>,
}
