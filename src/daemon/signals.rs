use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the system tells the runner. Made before the runner says that it is ready: a signal that comes early waits for the
/// loop instead of ending the process.
#[derive(Debug)]
pub(super) struct Signals {
    pub terminate: Signal,
    pub interrupt: Signal,
    pub hangup: Signal,
}

impl Signals {
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}
