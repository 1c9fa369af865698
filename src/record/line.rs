//! The five kinds of line in `runs.log`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{JobName, Output, Parent, RunId, Status, TriggeredBy, Usage, serde_rfc3339};

/// One line of `runs.log`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Line {
    Start(Start),
    /// An attempt ended and will be retried.
    Attempt(End),
    End(End),
    /// A due time that came while the runner was there and was passed over.
    Skipped(GapLine),
    /// A due time that nobody was there for.
    Missed(GapLine),
}

/// A line that is about to be written: the same without owning what it tells.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(super) enum LineOf<'a> {
    Start(&'a Start),
    Attempt(&'a End),
    End(&'a End),
    Skipped(&'a GapLine),
    Missed(&'a GapLine),
}

impl<'a> From<&'a Line> for LineOf<'a> {
    fn from(line: &'a Line) -> Self {
        match line {
            Line::Start(start) => Self::Start(start),
            Line::Attempt(end) => Self::Attempt(end),
            Line::End(end) => Self::End(end),
            Line::Skipped(gap) => Self::Skipped(gap),
            Line::Missed(gap) => Self::Missed(gap),
        }
    }
}

/// What every line ends with: with it, the last line alone restores the job's state.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct State {
    /// The last due time that was accounted for: run, skipped or missed.
    #[serde(with = "serde_rfc3339::option", default)]
    pub last_due: Option<Timestamp>,
    /// The last due time of the job's interval, from which its grid goes on.
    #[serde(with = "serde_rfc3339::option", default, skip_serializing_if = "Option::is_none")]
    pub interval_due: Option<Timestamp>,
    /// When the last firing of the job's chain was due.
    #[serde(with = "serde_rfc3339::option", default, skip_serializing_if = "Option::is_none")]
    pub after_due: Option<Timestamp>,
    /// Failed runs since the last success.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed_in_row: u32,
    /// When the last of them ended.
    #[serde(with = "serde_rfc3339::option", default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<Timestamp>,
    /// The runs that have started and not ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub running: Vec<RunId>,
    /// The runs that wait for their turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<WaitingRun>,
}

/// A run that waits: its due time is handled, and no other line tells of it yet.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WaitingRun {
    pub run: RunId,
    pub triggered_by: TriggeredBy,
    #[serde(with = "serde_rfc3339")]
    pub due: Timestamp,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// A run began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Start {
    pub run: RunId,
    pub job: JobName,
    /// Runs of this job that have ended so far.
    pub n: u64,
    /// How many of them failed.
    pub failures: u64,
    pub triggered_by: TriggeredBy,
    #[serde(with = "serde_rfc3339")]
    pub due: Timestamp,
    #[serde(with = "serde_rfc3339")]
    pub started: Timestamp,
    /// Which attempt it is; the line of a later one is marked as a copy.
    pub attempt: u32,
    /// The runs whose ends made it due.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Parent>,
    pub state: State,
    /// The end of the run before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Box<End>>,
    /// Hash of the spec that the run begins with.
    #[serde(default)]
    pub spec: Option<String>,
    /// The commit of the repository that holds `jobs/`.
    #[serde(default)]
    pub commit: Option<String>,
    /// Not the first one of its run: rotation copied it into the new file, or a later attempt has begun.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub copy: bool,
    pub boot: String,
    /// The control group that the process began in, where that has not the run's id in its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Absent where no process could be made.
    #[serde(default)]
    pub pid: Option<i32>,
    /// The process's start time in clock ticks since boot.
    #[serde(default)]
    pub pid_started: Option<u64>,
}

/// A run, or one of its attempts, ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct End {
    pub run: RunId,
    pub job: JobName,
    pub n: u64,
    pub failures: u64,
    pub triggered_by: TriggeredBy,
    #[serde(with = "serde_rfc3339")]
    pub due: Timestamp,
    /// When the first attempt started.
    #[serde(with = "serde_rfc3339")]
    pub started: Timestamp,
    /// Never before `started`.
    #[serde(with = "serde_rfc3339")]
    pub ended: Timestamp,
    /// `ended` minus `started`.
    pub duration_ms: i64,
    /// `started` minus `due`.
    pub late_ms: i64,
    pub attempt: u32,
    pub status: Status,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    pub error: Option<String>,
    pub output: Output,
    pub usage: Option<Usage>,
    /// The runs whose ends made it due.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Parent>,
    /// Hash of the spec that the run began with.
    pub spec: Option<String>,
    /// The commit of the repository that holds `jobs/`.
    pub commit: Option<String>,
    #[serde(default)]
    pub state: State,
}

/// Due times that did not become runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GapLine {
    pub job: JobName,
    pub n: u64,
    pub failures: u64,
    pub triggered_by: TriggeredBy,
    pub reason: String,
    /// The first of them.
    #[serde(with = "serde_rfc3339")]
    pub due: Timestamp,
    /// The last of them.
    #[serde(with = "serde_rfc3339")]
    pub until: Timestamp,
    /// How many.
    pub count: u64,
    /// The run, where it had been let in and waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    pub state: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Box<End>>,
}

impl End {
    /// Whether the run was cancelled while it waited for its turn: it has a record like any other, but nothing ever ran.
    pub fn never_began(&self) -> bool {
        let is_without_process = self.exit_code.is_none() && self.signal.is_none();
        self.status == Status::Cancelled && self.attempt == 1 && self.duration_ms == 0 && is_without_process
    }
}

impl Line {
    pub fn state(&self) -> &State {
        match self {
            Self::Start(start) => &start.state,
            Self::Attempt(end) | Self::End(end) => &end.state,
            Self::Skipped(gap) | Self::Missed(gap) => &gap.state,
        }
    }

    /// Runs ended and failures so far.
    pub fn totals(&self) -> (u64, u64) {
        match self {
            Self::Start(start) => (start.n, start.failures),
            Self::Attempt(end) | Self::End(end) => (end.n, end.failures),
            Self::Skipped(gap) | Self::Missed(gap) => (gap.n, gap.failures),
        }
    }

    /// The last run that had ended when this line was written.
    pub fn last_end(self) -> Option<End> {
        match self {
            Self::Start(start) => start.last.map(|end| *end),
            Self::End(end) => Some(end),
            Self::Attempt(_) => None,
            Self::Skipped(gap) | Self::Missed(gap) => gap.last.map(|end| *end),
        }
    }
}
