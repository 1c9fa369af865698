//! One file of `jobs/` as a value, and runner.yaml likewise.
//!
//! Text becomes a tree in which every node knows its place; the tree is checked against the schema part by part, then
//! becomes types, then is checked across fields. All findings come out together. See `docs/design/spec.md`.

mod about;
mod breaker;
mod catch_up;
mod check;
mod cross;
mod defaults;
mod document;
mod enforce;
mod expand;
mod fields;
mod findings;
mod identity;
mod job;
mod json;
mod limits;
mod mend;
mod overlap;
mod page;
mod parse;
mod parts;
mod place;
mod policies;
mod pool;
mod read_job;
mod read_runner;
mod redact;
mod references;
mod retry;
mod runner;
pub mod schema;
mod secrets;
mod shown;
mod success;
mod suggest;
mod syntax;
mod text;
mod tree;
mod types;
mod words;
mod written;

pub use about::About;
pub use breaker::Breaker;
pub use catch_up::{CatchUp, CatchUpPolicy};
pub use defaults::{Defaults, read_defaults};
pub use enforce::{How, Kept, kept};
pub use identity::{InheritEnv, RunAs, Sandbox, StopSignal, Tmp, Umask};
pub use job::JobSpec;
pub use limits::{CpuShare, Limits};
pub use overlap::Overlap;
pub use policies::Policies;
pub use pool::{Pool, Rate};
pub use read_job::{ReadJob, read_job};
pub use read_runner::{logs_directory, read_runner};
pub use redact::pattern;
pub use references::{Reference, Target};
pub use retry::{Backoff, Retry, RetryWhen};
pub use runner::{Format, Health, Level, Logs, Reload, RunnerSpec, SyncLogs};
pub use secrets::{Given, Secret, SecretCommand, SecretSource};
pub use success::Success;
pub use suggest::nearest;
pub use text::LARGEST;

/// The bytes of one file, and how the file is called in messages.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// As seen from the configuration directory. One that ends in `.json` has to hold JSON.
    pub path: &'a str,
    pub bytes: &'a [u8],
}

use crate::os::means::Means;

/// What a missing variable in `${NAME}` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingVariable {
    /// An error: the job is to run.
    Error,
    /// A warning: the files are only checked, and the value is left out.
    Warning,
}

/// What the reading of a file needs to know besides the file.
#[derive(Clone, Copy)]
pub struct ReadContext<'a> {
    /// The value of an environment variable.
    pub env: &'a (dyn Fn(&str) -> Option<String> + Sync),
    pub missing: MissingVariable,
    /// The zone of jobs that name none: runner.yaml's.
    pub timezone: &'a str,
    /// What this machine can do. What it cannot is what a missing variable is: an error where the job is to run.
    pub means: &'a Means,
}
