//! The end of the loop: what is waited for, what is told to end, what is killed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::control::Reply;
use super::event::Event;
use super::main_loop::{ActiveRun, Daemon};
use super::record_queue::Entry;
use crate::catalog::watch::Message;
use crate::engine::Event as EngineEvent;
use crate::model::{HumanDuration, OrNone, RunId, count};
use crate::run::Stop;
use crate::watch::watcher::Message as WatchMessage;

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

/// How long the end waits for those who were answered and do not read it.
const PATIENCE_WITH_READERS: Duration = Duration::from_secs(1);
/// How long killed processes may take to go.
const PATIENCE_WITH_KILLED: Duration = Duration::from_secs(10);
/// How long the last records may take to be written.
const PATIENCE_WITH_LOGS: Duration = Duration::from_secs(5);

/// When those that are killed have to be gone: counted from the first time, however often it is asked for again.
fn end_of_killing(stage: Option<Stage>, until: Option<Instant>, now: Instant) -> Instant {
    let first = until.filter(|_| stage == Some(Stage::Killing));
    first.unwrap_or(now + PATIENCE_WITH_KILLED)
}

impl Daemon {
    /// Begins the shutdown, or makes it more urgent. Says when the patience ends, which was to end at `until` so far.
    pub(super) fn stop(&mut self, why: &'static str, until: Option<Instant>) -> Option<Instant> {
        match self.stage {
            None => {
                self.stage = Some(Stage::Waiting);
                self.stopping.store(true, Ordering::Release);
                self.watches.wake_all(|| WatchMessage::Stop);
                tracing::info!(target: "daemon", "stopping ({why}): no new runs are started");
                self.tell(EngineEvent::Stop);
                self.manager.stopping(self.status_line());
                if self.once {
                    // Whoever asked for the run takes it back.
                    self.stage = Some(Stage::Ending);
                    end_runs(&self.runs, false);
                    return None;
                }
                // The last sign of life: from here on due times belong to the down time, and the next start accounts for them.
                let _ = self.lock.sign_life();
                let timeout = self.generation.settings.shutdown_timeout;
                say_waiting(&self.runs, timeout);
                match timeout {
                    OrNone::None => None,
                    OrNone::Some(timeout) => Some(Instant::now() + timeout.0),
                }
            }
            Some(_) => {
                tracing::warn!(target: "daemon", "{why} again: {} will be ended at once", count(self.runs.len(), "active run"));
                Some(self.kill_runs(until))
            }
        }
    }

    /// The time for this stage of the shutdown is over. Says how long the next one may take.
    pub(super) fn end_after_timeout(&mut self) -> Option<Instant> {
        match self.stage {
            Some(Stage::Waiting) => {
                self.stage = Some(Stage::Ending);
                tracing::warn!(
                    target: "daemon",
                    "{} did not end in time and will be ended now",
                    count(self.runs.len(), "active run")
                );
                end_runs(&self.runs, false);
                let grace = self.runs.values().map(|run| run.kill_grace).max().unwrap_or_default();
                Some(Instant::now() + grace + PATIENCE_WITH_KILLED)
            }
            Some(Stage::Ending) => Some(self.kill_runs(None)),
            // What cannot even be killed, such as a process that waits for a file system that hangs, is left to the next start.
            Some(Stage::Killing) => {
                for (run, active) in &self.runs {
                    tracing::error!(
                        target: "daemon",
                        "{}: run {run} with PID {} cannot be ended; the next start looks for it",
                        active.job,
                        active.control.pid().map_or("unknown".into(), |pid| pid.to_string()),
                    );
                }
                self.runs.clear();
                self.between.clear();
                self.never_began.clear();
                None
            }
            None => None,
        }
    }

    fn kill_runs(&mut self, until: Option<Instant>) -> Instant {
        let patience_ends = end_of_killing(self.stage, until, Instant::now());
        self.stage = Some(Stage::Killing);
        end_runs(&self.runs, true);
        patience_ends
    }

    pub(super) fn finish(&mut self, reason: &'static str) {
        let _ = self.catalog.send(Message::Stop);
        // Whoever took the lock meanwhile writes these logs now.
        if !self.lock_is_lost {
            self.watches.flush();
            self.queue.put(Entry::Flush { streaks: true });
            if !self.once {
                self.put_pending();
            }
            self.queue.finish(PATIENCE_WITH_LOGS);
        }
        // What could not be written until now never will be.
        self.faults.tick(&self.records, &self.log_control);
        if let Some(groups) = &self.run_context.groups {
            groups.remove();
        }
        if !self.once {
            tracing::info!(target: "daemon", "stopped ({reason})");
        }
    }

    /// Whoever has asked is answered before the process ends.
    pub(super) async fn answer_the_last(&mut self) {
        self.events.close();
        while let Ok(event) = self.events.try_recv() {
            if let Event::Request { reply, .. } = event {
                let _ = reply.send(Reply::Error("the runner has stopped".into()));
            }
        }
        self.asks.clear();
        self.waiters.clear();
        if let Some(server) = self.server.take() {
            server.finish(PATIENCE_WITH_READERS).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_again_waits_no_longer() {
        let now = Instant::now();
        let until = now + Duration::from_secs(3);
        assert_eq!(end_of_killing(Some(Stage::Waiting), Some(until), now), now + PATIENCE_WITH_KILLED);
        assert_eq!(end_of_killing(Some(Stage::Ending), None, now), now + PATIENCE_WITH_KILLED);
        assert_eq!(end_of_killing(Some(Stage::Killing), Some(until), now), until);
    }
}
