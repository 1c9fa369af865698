use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;

use rustix::event::{EventfdFlags, eventfd};

use crate::model::lock;

/// Why and how a run has to end before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// For the record, such as "cancelled by `runner cancel`".
    pub reason: String,
    /// Without the grace between SIGTERM and SIGKILL.
    pub at_once: bool,
}

/// How a run that is under way is told to end. Shared by whoever runs it and whoever may end it.
#[derive(Debug)]
pub struct Control {
    event: OwnedFd,
    stop: Mutex<Option<Stop>>,
}

impl Control {
    /// # Errors
    /// There is no file descriptor left.
    pub fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { event, stop: Mutex::new(None) })
    }

    /// Tells the run to end. A second call counts only if it is more urgent.
    pub fn stop(&self, stop: Stop) {
        let mut held = lock(&self.stop);
        match &mut *held {
            None => *held = Some(stop),
            Some(earlier) => earlier.at_once |= stop.at_once,
        }
        drop(held);
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }

    /// What was asked for so far.
    pub fn asked(&self) -> Option<Stop> {
        lock(&self.stop).clone()
    }

    /// Readable once something was asked for that has not been looked at.
    pub(super) fn event(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// Looks at what was asked for; the event is quiet until something new is.
    pub(super) fn take_event(&self) -> Option<Stop> {
        let _ = rustix::io::read(&self.event, &mut [0u8; 8]);
        self.asked()
    }
}
