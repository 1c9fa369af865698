//! One file of `jobs/` as a value, and runner.yaml likewise.
//!
//! Text becomes a tree in which every node knows its place; the tree is checked against the schema part by part, then
//! becomes types, then is checked across fields. All findings come out together. See `docs/design/spec.md`.

mod about;
mod job;
mod limits;
mod overlap;
mod policies;
mod runner;

pub use about::{About, Labels};
pub use job::JobSpec;
pub use limits::Limits;
pub use overlap::Overlap;
pub use policies::Policies;
pub use runner::{Format, Health, Level, Logs, Reload, RunnerSpec};
