//! The lock and the socket, where others take away the files that stand for them while the runner runs.

use super::main_loop::Daemon;
use crate::os::lock::{Lock, LockError};
use crate::os::socket;
use crate::record::make_directory;

impl Daemon {
    /// Puts the lock file and the socket back if they are gone. Another runner that took the lock meanwhile has the logs:
    /// then this one stops.
    pub(super) fn mind_the_house(&mut self) {
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
}
