//! Says when the files may have changed.
//!
//! `notify` gives hints only; any of them sets a flag. After `debounce` of quiet, at most `max_wait`, and every `scan` in
//! any case, the owner is told to compare. Reading files makes events too (`Access`): those are passed over, or every look
//! would cause the next.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

/// How long to gather changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    pub debounce: Duration,
    pub max_wait: Duration,
    pub scan: Duration,
}

/// What wakes the owner of the catalog.
#[derive(Debug)]
pub enum Message<R> {
    /// The kernel told of a change, or of having lost count.
    Changed,
    /// Somebody asks for a comparison now.
    Asked(R),
    Timing(Timing),
    Stop,
}

/// Why the owner is to compare.
#[derive(Debug)]
pub enum Wake<R> {
    /// Changes were told of, and it has been quiet since.
    Changed,
    /// The periodic look.
    Scan,
    Asked(R),
    Stop,
}

/// Waits for reasons to compare.
pub struct Watcher<R> {
    messages: Receiver<Message<R>>,
    sender: Sender<Message<R>>,
    watching: Option<RecommendedWatcher>,
    timing: Timing,
    /// When the files are compared in any case; `None`: only on request.
    next_scan: Option<Instant>,
    /// Why events cannot be had, for now; said once by the owner.
    pub trouble: Option<String>,
}

impl<R: Send + 'static> Watcher<R> {
    /// `looks_by_itself`: whether the files are compared every `scan`.
    pub fn new(timing: Timing, looks_by_itself: bool) -> (Self, Sender<Message<R>>) {
        let (sender, messages) = channel();
        let watcher = Self {
            messages,
            sender: sender.clone(),
            watching: None,
            timing,
            next_scan: looks_by_itself.then(|| Instant::now() + timing.scan),
            trouble: None,
        };
        (watcher, sender)
    }

    /// Watches everything below `jobs`, and the given paths themselves. Called again after each change: links and new folders
    /// may lead elsewhere now.
    pub fn watch(&mut self, jobs: &Path, paths: Vec<PathBuf>) {
        self.trouble = None;
        let folders: BTreeSet<PathBuf> = paths.iter().filter_map(|path| path.parent()).map(Path::to_path_buf).collect();
        let sender = self.sender.clone();
        let below = jobs.to_path_buf();
        let resolved = jobs.canonicalize().unwrap_or_else(|_| below.clone());
        let interesting: BTreeSet<PathBuf> = paths.into_iter().collect();
        let on_event = move |event: notify::Result<notify::Event>| {
            let counts = match &event {
                // Other files beside `jobs/` change as they like.
                Ok(event) => {
                    let is_ours = |path: &PathBuf| {
                        path.starts_with(&below) || path.starts_with(&resolved) || interesting.contains(path)
                    };
                    let is_change = !matches!(event.kind, EventKind::Access(_));
                    event.need_rescan() || (is_change && (event.paths.is_empty() || event.paths.iter().any(is_ours)))
                }
                Err(_) => true,
            };
            if counts {
                let _ = sender.send(Message::Changed);
            }
        };
        let mut watching = match notify::recommended_watcher(on_event) {
            Ok(watching) => watching,
            Err(error) => {
                self.trouble = Some(in_words(&error));
                return;
            }
        };
        let flat = folders.iter().map(|path| (path.as_path(), RecursiveMode::NonRecursive));
        for (path, mode) in flat.chain([(jobs, RecursiveMode::Recursive)]) {
            if let Err(error) = watching.watch(path, mode)
                && path.exists()
            {
                self.trouble = Some(in_words(&error));
            }
        }
        // The old one ends only now: nothing in between goes unnoticed.
        self.watching = Some(watching);
    }

    /// Waits until there is a reason to compare.
    pub fn wait(&mut self) -> Wake<R> {
        let mut changed: Option<(Instant, Instant)> = None;
        loop {
            let now = Instant::now();
            let until = match changed {
                Some((first, last)) => Some((last + self.timing.debounce).min(first + self.timing.max_wait)),
                None => self.next_scan,
            };
            if until.is_some_and(|until| now >= until) {
                self.next_scan = self.next_scan.map(|_| now + self.timing.scan);
                return if changed.is_some() { Wake::Changed } else { Wake::Scan };
            }
            let message = match until {
                Some(until) => self.messages.recv_timeout(until - now),
                None => self.messages.recv().map_err(RecvTimeoutError::from),
            };
            match message {
                Ok(Message::Changed) => {
                    let now = Instant::now();
                    changed = Some((changed.map_or(now, |(first, _)| first), now));
                }
                Ok(Message::Asked(request)) => return Wake::Asked(request),
                Ok(Message::Timing(timing)) => {
                    self.timing = timing;
                    self.next_scan = self.next_scan.map(|at| at.min(Instant::now() + timing.scan));
                }
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return Wake::Stop,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

/// The limits that people meet, with their mend.
fn in_words(error: &notify::Error) -> String {
    match &error.kind {
        notify::ErrorKind::MaxFilesWatch => {
            "the kernel's limit on watched folders is reached; `sysctl fs.inotify.max_user_watches=524288` raises it"
                .into()
        }
        notify::ErrorKind::Io(error) if error.raw_os_error() == Some(libc::EMFILE) => {
            "the kernel's limit on watchers is reached; `sysctl fs.inotify.max_user_instances=1024` raises it".into()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    fn watcher(debounce: u64, max_wait: u64, scan: Duration) -> (Watcher<u32>, Sender<Message<u32>>) {
        let timing =
            Timing { debounce: Duration::from_millis(debounce), max_wait: Duration::from_millis(max_wait), scan };
        Watcher::new(timing, true)
    }

    #[test]
    fn a_burst_is_one_reason_and_comes_after_the_quiet() {
        let (mut watcher, sender) = watcher(50, 60_000, LONG);
        let begun = Instant::now();
        for _ in 0..1_000 {
            sender.send(Message::Changed).unwrap();
        }
        assert!(matches!(watcher.wait(), Wake::Changed));
        assert!(begun.elapsed() >= Duration::from_millis(50));
        sender.send(Message::Stop).unwrap();
        assert!(matches!(watcher.wait(), Wake::Stop));
    }

    #[test]
    fn a_burst_without_an_end_is_taken_up_after_the_longest_wait() {
        let (mut watcher, sender) = watcher(60_000, 50, LONG);
        std::thread::scope(|scope| {
            let (stop, stopped) = channel::<()>();
            scope.spawn(move || {
                while stopped.try_recv().is_err() && sender.send(Message::Changed).is_ok() {
                    std::thread::yield_now();
                }
            });
            assert!(matches!(watcher.wait(), Wake::Changed));
            stop.send(()).unwrap();
        });
    }

    #[test]
    fn the_periodic_look_and_requests_come_without_changes() {
        let (mut watcher, sender) = watcher(1, 1, Duration::from_millis(20));
        assert!(matches!(watcher.wait(), Wake::Scan));
        assert!(matches!(watcher.wait(), Wake::Scan));
        sender.send(Message::Timing(Timing { scan: LONG, ..watcher.timing })).unwrap();
        assert!(matches!(watcher.wait(), Wake::Scan), "the look that was due already");
        sender.send(Message::Asked(7)).unwrap();
        assert!(matches!(watcher.wait(), Wake::Asked(7)));
    }

    #[test]
    fn who_does_not_look_by_itself_does_not_begin_to_with_new_timing() {
        let timing = Timing { debounce: LONG, max_wait: LONG, scan: Duration::from_millis(1) };
        let (mut watcher, sender) = Watcher::new(timing, false);
        sender.send(Message::Timing(timing)).unwrap();
        let (done, asked) = channel::<()>();
        let later = std::thread::spawn(move || {
            // Far more than the time between two looks, had there been any.
            let _ = asked.recv_timeout(Duration::from_millis(60));
            sender.send(Message::Asked(1)).unwrap();
        });
        assert!(matches!(watcher.wait(), Wake::Asked(1)));
        drop(done);
        later.join().unwrap();
    }
}
