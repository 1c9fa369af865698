//! `runner`: a job runner whose whole configuration is a directory of files and whole memory plain log files.
//!
//! In reading order, which is also the order of the rows: a module imports only from rows above its own
//! (`tests/it/layers.rs` holds that).
//!
//! 1. [`model`]: the words that all stages share. No I/O.
//! 2. [`os`]: sessions, signals, timers, file locks: one face over the platform.
//! 3. [`trigger`], [`action`]: when a job is due, and what it does; one file for each kind.
//! 4. [`spec`]: one file of `jobs/` as a value, and runner.yaml likewise.
//! 5. [`catalog`]: the folder. [`engine`]: decides; pure. [`run`]: does one attempt. [`record`]: the logs.
//! 6. [`daemon`]: the one loop that joins the stages.
//! 7. [`cli`]: one file for each verb; the only place that prints and picks an exit code.

pub mod action;
pub mod catalog;
pub mod cli;
pub mod daemon;
pub mod engine;
pub mod model;
pub mod os;
pub mod record;
pub mod run;
pub mod spec;
pub mod trigger;
pub mod watch;
