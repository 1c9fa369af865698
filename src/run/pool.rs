use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::model::lock;

type Work = Box<dyn FnOnce() + Send>;

/// Threads that runs live on: each run has one for as long as it lasts, so that none waits for another's disk.
///
/// A thread is made when there is work and none is free, and ends when it has been idle for a while.
#[derive(Clone, Default)]
pub struct Pool {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    work: VecDeque<Work>,
    idle: usize,
}

const IDLE: Duration = Duration::from_secs(5);
/// A run's own needs are small; what it reads into is on the heap.
const STACK: usize = 256 * 1024;

impl Pool {
    /// Does the work on a thread of the pool.
    ///
    /// # Errors
    /// No thread is free and the system gives no other; the work is handed back undone in that case.
    pub fn run(&self, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        let mut state = lock(&self.shared.state);
        state.work.push_back(Box::new(work));
        if state.idle >= state.work.len() {
            drop(state);
            self.shared.wake.notify_one();
            return Ok(());
        }
        // Still under the lock: if there is no thread to be had, the work is surely nobody else's yet.
        let shared = self.shared.clone();
        let started = std::thread::Builder::new().name("run".into()).stack_size(STACK).spawn(move || shared.serve());
        match started {
            Ok(_) => Ok(()),
            Err(error) => {
                state.work.pop_back();
                Err(error)
            }
        }
    }
}

impl Shared {
    fn serve(&self) {
        let mut state = lock(&self.state);
        loop {
            if let Some(work) = state.work.pop_front() {
                drop(state);
                work();
                state = lock(&self.state);
                continue;
            }
            state.idle += 1;
            let (back, timeout) =
                self.wake.wait_timeout(state, IDLE).unwrap_or_else(std::sync::PoisonError::into_inner);
            state = back;
            state.idle -= 1;
            if timeout.timed_out() && state.work.is_empty() {
                return;
            }
        }
    }
}
