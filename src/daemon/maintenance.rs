//! What the runner looks after now and then: the files that stand for its lock and its socket, and the size of the logs.

use std::collections::HashSet;
use std::time::SystemTime;

use super::main_loop::Daemon;
use crate::model::{JobName, count};
use crate::os::lock::{Lock, LockError};
use crate::os::socket;
use crate::record::{make_directory, sweep};
use crate::spec::RunnerSpec;

impl Daemon {
    /// Puts the lock file and the socket back if they are gone. Another runner that took the lock meanwhile has the logs:
    /// then this one stops.
    pub(super) fn restore_lock_and_socket(&mut self) {
        let layout = self.records.layout.clone();
        if !self.lock.is_at(&layout.lock()) {
            let taken =
                make_directory(layout.root()).map_err(LockError::from).and_then(|()| Lock::take(&layout.lock()));
            match taken {
                Ok((lock, _)) => {
                    tracing::warn!(target: "daemon", "{} was taken away by somebody; it is there again", layout.lock().display());
                    self.lock = lock;
                    let _ = self.lock.sign_life();
                }
                Err(error @ LockError::Held { .. }) => {
                    tracing::error!(target: "daemon", "the lock of the logs directory was taken away and is {error}: this runner ends");
                    self.lock_is_lost = true;
                    self.request_stop("another runner has the logs");
                }
                Err(LockError::Io(error)) => {
                    tracing::error!(target: "daemon", "{} cannot be put back: {error}", layout.lock().display());
                }
            }
        }
        if !layout.socket().exists() {
            let listening = socket::listen(&layout.socket()).and_then(|listener| {
                listener.set_nonblocking(true)?;
                tokio::net::UnixListener::from_std(listener)
            });
            match listening {
                Ok(listener) => {
                    tracing::warn!(target: "daemon", "the control socket was taken away by somebody; it is there again");
                    self.listen_at(listener);
                }
                Err(error) => tracing::error!(target: "daemon", "the control socket cannot be put back: {error}"),
            }
        }
    }

    /// Takes old logs away, off the loop: a large directory takes its time.
    pub(super) fn sweep(&self, settings: &RunnerSpec) {
        let records = self.records.clone();
        let jobs = self.jobs_with_logs_to_keep();
        let max_age = settings.logs.max_age.into_option().map(|age| age.0);
        let max_total = settings.logs.max_total.into_option().map(|size| size.0);
        let _ = self.pool.run(move || {
            let swept = sweep(&records.layout, max_age, max_total, &jobs, SystemTime::now());
            let total = count(swept.total, "byte");
            if swept.files > 0 {
                let (files, bytes) = (count(swept.files, "old log file"), count(swept.bytes, "byte"));
                tracing::info!(target: "record", "took away {files} with {bytes}; {total} of logs left");
            }
            let above = max_total.filter(|most| swept.total > *most);
            match (records.faults.note_above_total(above.is_some()), above) {
                (true, Some(most)) => tracing::warn!(
                    target: "record",
                    "the logs have {total}, logs.max_total allows {most}: what is left is current files of the runner and of jobs \
                     that are there; a smaller logs.max_size keeps them smaller",
                ),
                (true, None) => tracing::info!(target: "record", "the logs are within logs.max_total again"),
                (false, _) => {}
            }
        });
    }

    /// Jobs that are loaded, whose file is there and broken, or that have a run under way.
    fn jobs_with_logs_to_keep(&self) -> HashSet<JobName> {
        let loaded = self.generation.jobs.iter().map(|job| job.name.clone());
        let broken = self.generation.invalid.iter().filter_map(|invalid| JobName::new(invalid.name.as_str()).ok());
        let running = self.runs.values().map(|run| run.job.clone());
        // Between two attempts a run has no process.
        let retrying = self.engine.retrying().map(|(_, job, ..)| job.clone());
        loaded.chain(broken).chain(running).chain(retrying).collect()
    }
}
