//! The thread of a watch: it waits for the one before it, and begins anew if it fails.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::remembering::read_ledger;
use super::root::Health;
use super::shared::{Shared, now};
use super::watcher::{Message, Setup, Start, Watcher, replay};
use crate::model::{HumanDuration, lock};
use crate::os::file_events::Hint;

/// A thread that was started.
#[derive(Debug)]
pub struct Thread {
    /// Wakes it.
    pub sender: Sender<Message>,
    pub handle: JoinHandle<()>,
}

/// How long it rests after it has failed: twice as long each time.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// No thread could be had for a watch: it is shown as unhealthy.
#[derive(Debug, thiserror::Error)]
#[error("no thread is left for it: {error}")]
pub struct NoThread {
    error: io::Error,
    /// The one that had this watch before.
    pub after: Option<JoinHandle<()>>,
}

/// Starts the thread of a watch.
///
/// # Errors
/// No thread can be had.
pub fn start(start: Start) -> Result<Thread, NoThread> {
    start_by(std::thread::Builder::new(), start)
}

/// As if the machine had no room for one more.
#[cfg(test)]
pub fn without_room(start: Start) -> Result<Thread, NoThread> {
    start_by(Builder::new().stack_size(1 << 60), start)
}

fn start_by(builder: Builder, start: Start) -> Result<Thread, NoThread> {
    let (sender, messages) = channel();
    let own = sender.clone();
    // It is there still, where nobody takes it.
    let start = Arc::new(Mutex::new(Some(start)));
    let taken = start.clone();
    let begin = move || {
        let start = lock(&taken).take();
        if let Some(start) = start {
            live(start, &own, &messages);
        }
    };
    match builder.name("watch".into()).spawn(begin) {
        Ok(handle) => Ok(Thread { sender, handle }),
        Err(error) => {
            let start = lock(&start).take();
            let mut none = NoThread { error, after: None };
            if let Some(start) = start {
                show(&start.shared, &start.setup, &none.to_string());
                none.after = start.after;
            }
            Err(none)
        }
    }
}

fn live(mut start: Start, sender: &Sender<Message>, messages: &Receiver<Message>) {
    let shared = start.shared.clone();
    if let Some(before) = start.after.take() {
        if !before.is_finished() {
            show(&shared, &start.setup, "what was begun before its job was changed has not ended yet");
        }
        let _ = before.join();
    }
    let mut rest = FIRST_REST;
    loop {
        let begun = Instant::now();
        let why = match catch_unwind(AssertUnwindSafe(|| watch(&mut start, sender, messages))) {
            Ok(Ok(())) => return,
            Ok(Err(why)) => why,
            Err(panic) => format!("its thread has failed, which is a bug: {}", cause(&*panic)),
        };
        if begun.elapsed() > LONGEST_REST {
            rest = FIRST_REST;
        }
        let length = HumanDuration(rest);
        tracing::error!(target: "watch", "{}: {why}; it begins anew in {length}, and looks at everything", shared.job);
        show(&shared, &start.setup, &why);
        if !takes_a_rest(rest, &shared, &mut start.setup, messages) {
            return;
        }
        rest = (rest * 2).min(LONGEST_REST);
        // It may have been in the middle of something.
        lock(&shared.book).begin_anew(&now());
        shared.looks();
    }
}

/// Watches until it is told to end.
///
/// # Errors
/// What the watch remembers cannot be read, in words: without it all that is there would be taken for what was there at a first start.
fn watch(start: &mut Start, sender: &Sender<Message>, messages: &Receiver<Message>) -> Result<(), String> {
    let Start { shared, setup, hub, ledger, past, tell, .. } = start;
    let queue = Arc::new(Queue::new(sender.clone()));
    let subscribe = || {
        let queue = queue.clone();
        hub.subscribe(move |hint| queue.put(hint))
    };
    shared.load_once(|| read_ledger(shared, setup, ledger, past))?;
    Watcher::new(shared, setup, &subscribe, (messages, queue.taken.clone()), tell).run();
    Ok(())
}

/// Hints on their way to the thread. It may be busy for long, with a large file or a slow disk: beyond so many, it is told that some were
/// lost, and looks at everything.
struct Queue {
    sender: Sender<Message>,
    taken: Arc<Taken>,
}

/// How many hints wait, and whether some were lost since the thread looked last.
#[derive(Debug, Default)]
pub(super) struct Taken {
    waiting: AtomicUsize,
    is_lost: AtomicBool,
}

/// About 20 MB.
const MOST_WAITING: usize = 100_000;

impl Queue {
    fn new(sender: Sender<Message>) -> Self {
        Self { sender, taken: Arc::default() }
    }

    fn put(&self, hint: Hint) {
        let hint = if self.taken.waiting.load(Ordering::Acquire) >= MOST_WAITING {
            // Said once: what is lost until the thread hears of it is found as well.
            if self.taken.is_lost.swap(true, Ordering::AcqRel) {
                return;
            }
            Hint::Lost
        } else {
            hint
        };
        // Before the thread can have taken it: what is taken first would count as waiting for ever.
        self.taken.waiting.fetch_add(1, Ordering::AcqRel);
        let _ = self.sender.send(Message::Hint(hint));
    }
}

impl Taken {
    /// The thread has taken a hint.
    pub fn take(&self, hint: &Hint) {
        if *hint == Hint::Lost {
            self.is_lost.store(false, Ordering::Release);
        }
        let one_fewer = |waiting: usize| Some(waiting.saturating_sub(1));
        let _ = self.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_fewer);
    }
}

/// Says whether it is to go on after that.
fn takes_a_rest(rest: Duration, shared: &Shared, setup: &mut Setup, messages: &Receiver<Message>) -> bool {
    let until = Instant::now() + rest;
    loop {
        match messages.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) | Ok(Message::Stop) => {
                shared.flush_at_end();
                return false;
            }
            Ok(Message::Changed(changed)) => {
                *setup = *changed;
                return true;
            }
            Ok(Message::Replay { selection, dry_run, answer }) => (answer.0)(replay(shared, &selection, dry_run)),
            // Everything is looked at afterwards.
            Ok(Message::Hint(_) | Message::Scan(_) | Message::Mounts | Message::Look) => {}
        }
    }
}

/// Shows that nothing is watched now, and why.
fn show(shared: &Arc<Shared>, setup: &Setup, why: &str) {
    let health = setup.roots.iter().map(|root| (root.clone(), Health::Missing(why.into())));
    *lock(&shared.health) = health.collect();
}

/// What a panic says.
fn cause(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        (None, None) => "no cause was given",
    }
}

#[cfg(test)]
mod tests;
