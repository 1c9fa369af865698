//! What a service manager is told at its socket (sd_notify(3)). Without `NOTIFY_SOCKET` nothing is said.

use std::time::Duration;

use sd_notify::NotifyState;

/// The way to the service manager.
#[derive(Debug, Default)]
pub(super) struct ServiceManager {
    is_silent: bool,
    is_reloading: bool,
    /// From here on nothing is ready any more: that would take back what was said of the stop.
    is_stopping: bool,
    status: String,
    /// What it was that could not be said, so that it is told once.
    is_deaf: bool,
}

/// How much longer a shutdown may take, told again with every tick: a run may take as long as its job lets it.
const LONGER: Duration = Duration::from_secs(60);

impl ServiceManager {
    /// `is_silent`: for one run alone, which is nobody's service.
    pub fn new(is_silent: bool) -> Self {
        Self { is_silent: is_silent || std::env::var_os("NOTIFY_SOCKET").is_none(), ..Self::default() }
    }

    /// How often the loop has to show that it lives: twice in the time that the service manager waits (sd_watchdog_enabled(3)).
    pub fn watchdog(&self) -> Option<Duration> {
        if self.is_silent { None } else { sd_notify::watchdog_enabled().map(|wait| wait / 2) }
    }

    pub fn ready(&mut self, status: String) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
        self.status = status;
    }

    /// The files are compared. The service manager waits for [`ServiceManager::reloaded`], but not in a stop.
    pub fn reloading(&mut self) {
        if self.is_stopping {
            return;
        }
        self.is_reloading = true;
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(_) => self.tell(&[NotifyState::Reloading]),
        }
    }

    pub fn reloaded(&mut self, status: String) {
        if std::mem::take(&mut self.is_reloading) && !self.is_stopping {
            self.ready(status);
        } else {
            self.status(status);
        }
    }

    /// One line about what is going on; said if it is another one than before.
    pub fn status(&mut self, status: String) {
        if status != self.status {
            self.tell(&[NotifyState::Status(&status)]);
            self.status = status;
        }
    }

    pub fn stopping(&mut self, status: String) {
        self.is_stopping = true;
        self.tell(&[NotifyState::Stopping, NotifyState::Status(&status)]);
        self.status = status;
        self.not_yet();
    }

    /// The shutdown goes on.
    pub fn not_yet(&mut self) {
        self.tell(&[NotifyState::ExtendTimeoutUsec(LONGER.as_micros() as u32)]);
    }

    /// The loop lives.
    pub fn alive(&mut self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    fn tell(&mut self, states: &[NotifyState<'_>]) {
        if self.is_silent {
            return;
        }
        match sd_notify::notify(states) {
            Ok(()) => self.is_deaf = false,
            Err(error) if !self.is_deaf => {
                self.is_deaf = true;
                tracing::warn!(target: "daemon", "the service manager cannot be told anything (NOTIFY_SOCKET): {error}");
            }
            Err(_) => {}
        }
    }
}
