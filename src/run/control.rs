use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustix::event::{EventfdFlags, eventfd};

use crate::model::lock;
use crate::os::spawn;

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
    event: Arc<OwnedFd>,
    stop: Mutex<Option<Stop>>,
    making: Mutex<Making>,
    /// The process's number once it is its program, else 0.
    pid: AtomicI32,
}

/// A process that has not become its program yet. Nobody else can end it then: its thread stands still until it has.
#[derive(Debug, Default)]
struct Making {
    /// Since when, and the process once there is one.
    under_way: Option<(Instant, Arc<AtomicI32>)>,
    /// It was ended in that state.
    is_ended: bool,
}

/// Events of runs that are over, which nobody has told of anything since: one costs more to make than to keep.
static QUIET: Mutex<Vec<Arc<OwnedFd>>> = Mutex::new(Vec::new());
const MOST_QUIET: usize = 16;

impl Drop for Control {
    fn drop(&mut self) {
        let mut quiet = lock(&QUIET);
        if quiet.len() < MOST_QUIET {
            let was_told = lock(&self.stop).is_some();
            if was_told {
                let _ = rustix::io::read(&self.event, &mut [0u8; 8]);
            }
            quiet.push(self.event.clone());
        }
    }
}

impl Control {
    /// # Errors
    /// There is no file descriptor left.
    pub fn new() -> io::Result<Self> {
        let event = match lock(&QUIET).pop() {
            Some(event) => event,
            None => Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?),
        };
        Ok(Self { event, stop: Mutex::new(None), making: Mutex::default(), pid: AtomicI32::new(0) })
    }

    /// Tells the run to end. A second call counts only if it is more urgent.
    pub fn stop(&self, stop: Stop) {
        let mut held = lock(&self.stop);
        match &mut *held {
            None => *held = Some(stop),
            Some(earlier) => earlier.at_once |= stop.at_once,
        }
        drop(held);
        let mut making = lock(&self.making);
        if let Some((_, pidfd)) = &making.under_way {
            // It has done nothing yet, so it needs no grace.
            making.is_ended |= spawn::kill(pidfd);
        }
        drop(making);
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }

    /// The process's number, once it is its program.
    pub fn pid(&self) -> Option<i32> {
        Some(self.pid.load(Ordering::Relaxed)).filter(|pid| *pid > 0)
    }

    /// The process is its program, by this number.
    pub fn runs_as(&self, pid: i32) {
        self.pid.store(pid, Ordering::Relaxed);
    }

    /// A process is made from now on; its descriptor stands in what is given back, for the time until [`Control::is_made`].
    pub(super) fn makes(&self) -> Arc<AtomicI32> {
        let pidfd = Arc::new(AtomicI32::new(-1));
        lock(&self.making).under_way = Some((Instant::now(), pidfd.clone()));
        pidfd
    }

    /// It is its program now, or there is none.
    pub(super) fn is_made(&self) {
        lock(&self.making).under_way = None;
    }

    /// Whether the process was ended before it became its program.
    pub(super) fn was_ended_in_making(&self) -> bool {
        lock(&self.making).is_ended
    }

    /// Since when a process is being made that has not become its program.
    pub fn making_since(&self) -> Option<Instant> {
        lock(&self.making).under_way.as_ref().map(|(since, _)| *since)
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
