use std::collections::HashMap;
use std::sync::Arc;

use super::main_loop::ActiveRun;
use crate::model::{HumanDuration, OrNone, RunId, count};
use crate::run::Stop;

/// How far a shutdown has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Runs may end by themselves.
    Waiting,
    /// They were told to end.
    Ending,
    /// They are killed.
    Killing,
}

const REASON: &str = "the runner was stopped";

/// Says what is waited for, and how long.
pub(super) fn say_waiting(runs: &HashMap<RunId, ActiveRun>, timeout: OrNone<HumanDuration>) {
    if runs.is_empty() {
        return;
    }
    let mut names: Vec<&str> = runs.values().map(|run| run.job.as_str()).collect();
    names.sort_unstable();
    let shown = match names.len() {
        0..=10 => names.join(", "),
        more => format!("{} and {} more", names[..10].join(", "), more - 10),
    };
    let how_long = match timeout {
        OrNone::None => "until they end".to_string(),
        OrNone::Some(timeout) => format!("for up to {timeout}"),
    };
    tracing::info!(
        target: "daemon",
        "waiting {how_long} for {}: {shown}; a second signal ends them at once",
        count(names.len(), "active run"),
    );
}

/// Tells all runs to end.
pub(super) fn end_runs(runs: &HashMap<RunId, ActiveRun>, at_once: bool) {
    for run in runs.values() {
        Arc::clone(&run.control).stop(Stop { reason: REASON.into(), at_once });
    }
}
