//! logs/: written, rotated, read back. The log is the memory; the last line of a job's `runs.log` alone restores its state.
//!
//! | file | what | written by |
//! |---|---|---|
//! | `jobs/<job>/runs.log` | one JSON line for each start, attempt, end, skipped and missed due time | [`JobLog`] |
//! | `jobs/<job>/output.log` | what the runs printed, line by line | [`OutputLog`] |
//! | `runner.log` | what the runner itself did | [`runner_log`] |
//!
//! A writing that fails costs a count in [`Faults`], never a job. See `docs/design/record.md`.

mod appender;
mod commit;
mod common;
mod encode;
mod faults;
mod janitor;
mod job_log;
mod journal;
mod layout;
mod line;
mod mask;
mod output;
mod output_line;
mod read;
mod records;
mod restore;
mod ring;
mod rotate;
pub mod runner_log;
mod start;
mod streak;

pub use appender::make_directory;
pub use common::{Settings, Synced};
pub use faults::{FaultReport, Faults};
pub use janitor::{Swept, sweep};
pub use job_log::{DueState, JobLog, RunFacts, Summary};
pub use journal::Journal;
pub use layout::Layout;
pub use line::{End, GapLine, Line, Start, State, WaitingRun};
pub use mask::{Mask, TooLarge};
pub use output::OutputLog;
pub use output_line::{OutputLine, Tag};
pub use read::{
    Follow, HistoryQuery, OutputLines, each_backwards, ends_after, history, history_of, mentions_gap, mentions_run,
    tail_of_output,
};
pub use records::Records;
pub use restore::{Restored, TornTail, restore_all};
pub use start::PreparedStart;
