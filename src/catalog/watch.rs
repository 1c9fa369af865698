//! Says when the files may have changed.
//!
//! The kernel gives hints only; any of them sets a flag. After `debounce` of quiet, at most `max_wait`, and every `scan` in
//! any case, the owner is told to compare.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::model::lock;
use crate::os::file_events::{Hint, Hub, Subscription, WatchError, What};

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
    /// The same, and it is a folder perhaps: what is in it is to be told of as well.
    Came(PathBuf),
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
    subscription: Subscription,
    ours: Arc<Mutex<Ours>>,
    /// What the kernel tells of.
    directories: HashSet<PathBuf>,
    timing: Timing,
    /// When the files are compared in any case; `None`: only on request.
    next_scan: Option<Instant>,
    /// Why events cannot be had, for now; said once by the owner.
    pub trouble: Option<String>,
    /// The files are compared once more before long.
    pub compares_again: bool,
}

/// Which of what the kernel tells concerns the catalog; all with links followed.
#[derive(Debug, Default)]
struct Ours {
    /// All that is in these.
    folders: HashSet<PathBuf>,
    /// These alone: other files beside them change as they like.
    paths: HashSet<PathBuf>,
    /// A folder went or came: another one may stand in its place, which nobody watches.
    is_stale: bool,
}

impl Ours {
    /// Whether what came there is in one of the folders.
    fn is_below(&self, path: &Path) -> bool {
        path.parent().is_some_and(|folder| self.folders.contains(folder))
    }

    fn concerns(&mut self, hint: &Hint) -> bool {
        match hint {
            Hint::Lost => {
                self.is_stale = true;
                true
            }
            Hint::At(path, what) => {
                let is_another = matches!(what, What::Gone | What::Directory | What::MovedIn | What::Gap);
                self.is_stale |= is_another && (self.folders.contains(path) || self.paths.contains(path));
                self.paths.contains(path)
                    || self.folders.contains(path)
                    || path.parent().is_some_and(|folder| self.folders.contains(folder))
            }
        }
    }
}

/// Of what comes in one piece so many folders are watched before it is compared; the others are after that.
const MOST_NEW_FOLDERS: usize = 10_000;

impl<R: Send + 'static> Watcher<R> {
    /// `looks_by_itself`: whether the files are compared every `scan`.
    pub fn new(timing: Timing, looks_by_itself: bool, hub: &Hub) -> (Self, Sender<Message<R>>) {
        let (sender, messages) = channel();
        let ours = Arc::new(Mutex::new(Ours::default()));
        let subscription = {
            let (ours, sender) = (ours.clone(), sender.clone());
            hub.subscribe(move |hint| {
                let mut ours = lock(&ours);
                if !ours.concerns(&hint) {
                    return;
                }
                let _ = sender.send(match hint {
                    Hint::At(path, What::Directory | What::MovedIn | What::Gap) if ours.is_below(&path) => {
                        Message::Came(path)
                    }
                    Hint::At(..) | Hint::Lost => Message::Changed,
                });
            })
        };
        let watcher = Self {
            messages,
            subscription,
            ours,
            directories: HashSet::new(),
            timing,
            next_scan: looks_by_itself.then(|| Instant::now() + timing.scan),
            trouble: None,
            compares_again: false,
        };
        (watcher, sender)
    }

    /// Watches what is in the folders, and the given paths themselves. Called again after each change: links and new folders may lead
    /// elsewhere now.
    pub fn watch(&mut self, folders: &[PathBuf], paths: &[PathBuf]) {
        self.trouble = None;
        let real = |path: &Path| path.canonicalize().ok();
        let folders: HashSet<PathBuf> = folders.iter().filter_map(|folder| real(folder)).collect();
        let paths: HashSet<PathBuf> =
            paths.iter().filter_map(|path| Some(real(path.parent()?)?.join(path.file_name()?))).collect();
        let parents = paths.iter().filter_map(|path| path.parent()).map(Path::to_path_buf);
        let wanted: HashSet<PathBuf> = folders.iter().cloned().chain(parents).collect();
        *lock(&self.ours) = Ours { folders, paths, is_stale: false };
        for directory in &wanted {
            match self.subscription.add(directory) {
                Ok(()) | Err(WatchError::Missing) => {}
                Err(error @ (WatchError::Limit(_) | WatchError::Other(_))) => self.trouble = Some(error.to_string()),
            }
        }
        // Only now: nothing in between goes unnoticed.
        for directory in self.directories.difference(&wanted) {
            self.subscription.remove(directory);
        }
        self.directories = wanted;
    }

    /// A folder has come: it is watched with those in it, so that it is not taken for quiet while files are written there. What is in
    /// it is found by the comparison that follows.
    fn watch_what_came(&mut self, path: PathBuf) {
        let mut folders = vec![path];
        let mut left = MOST_NEW_FOLDERS;
        while let Some(folder) = folders.pop().filter(|_| left > 0) {
            left -= 1;
            // What is in these are no jobs.
            let is_none =
                folder.file_name().is_none_or(|name| matches!(name.as_encoded_bytes().first(), Some(b'.' | b'_')));
            if is_none || !folder.is_dir() || self.subscription.add(&folder).is_err() {
                continue;
            }
            lock(&self.ours).folders.insert(folder.clone());
            self.directories.insert(folder.clone());
            let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            folders.extend(
                entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()),
            );
        }
    }

    /// Whether what is watched may not be what stands at its path any more.
    pub fn is_stale(&self) -> bool {
        lock(&self.ours).is_stale
    }

    /// Waits until there is a reason to compare.
    pub fn wait(&mut self) -> Wake<R> {
        let begin = Instant::now();
        let mut changed = std::mem::take(&mut self.compares_again).then_some((begin, begin));
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
                Ok(message @ (Message::Changed | Message::Came(_))) => {
                    if let Message::Came(path) = message {
                        self.watch_what_came(path);
                    }
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

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    fn watcher(debounce: u64, max_wait: u64, scan: Duration) -> (Watcher<u32>, Sender<Message<u32>>) {
        let timing =
            Timing { debounce: Duration::from_millis(debounce), max_wait: Duration::from_millis(max_wait), scan };
        Watcher::new(timing, true, &Hub::default())
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
    fn what_may_have_come_unseen_is_compared_for_once_more_and_not_for_ever() {
        let (mut watcher, sender) = watcher(50, 60_000, LONG);
        watcher.compares_again = true;
        let begun = Instant::now();
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
        let (mut watcher, sender) = Watcher::new(timing, false, &Hub::default());
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
