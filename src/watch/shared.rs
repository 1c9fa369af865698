use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use jiff::Timestamp;

use super::book::{Book, Noticed, Now};
use super::entries::Id;
use super::ledger::Ledger;
use super::root::{Health, Root};
use crate::model::{Clock, FileEvent, JobName, count, lock};
use crate::os::clock::SystemClock;

/// What the watch's thread, the loop and the threads of runs know together of one watch.
#[derive(Debug)]
pub struct Shared {
    pub job: JobName,
    pub book: Mutex<Book>,
    pub ledger: Ledger,
    /// How each root is watched.
    pub health: Mutex<Vec<(Root, Health)>>,
    /// Since when it is watched.
    pub started: Timestamp,
    /// The book has what the ledger remembers.
    is_loaded: AtomicBool,
    /// The loop was told that the backlog may be another one, and has not looked yet.
    is_told: AtomicBool,
    /// Lines could not be written when it was tried last.
    is_failing: AtomicBool,
    /// What people have not been told of yet.
    noticed: Mutex<Untold>,
}

/// What people have not been told of: the first ones, and how many more there are.
#[derive(Debug, Default)]
struct Untold {
    first: Vec<Noticed>,
    more: usize,
}

/// So many noticed files are told one by one each time.
const MOST_TOLD: usize = 10;

/// So many entries are turned into lines while the book is locked.
const LINES_AT_ONCE: u32 = 4_096;

/// The time, by both clocks.
pub fn now() -> Now {
    Now { time: SystemClock.now(), instant: Instant::now() }
}

impl Shared {
    pub fn new(job: JobName, book: Book, ledger: Ledger) -> Self {
        Self {
            job,
            book: Mutex::new(book),
            ledger,
            health: Mutex::default(),
            started: SystemClock.now(),
            is_loaded: AtomicBool::new(false),
            is_told: AtomicBool::new(false),
            is_failing: AtomicBool::new(false),
            noticed: Mutex::default(),
        }
    }

    /// Has the ledger read, unless it was: a watch that comes back while somebody still has its book goes on with that. For its thread
    /// alone.
    ///
    /// # Errors
    /// As of `load`: it is tried again the next time.
    pub(super) fn load_once(&self, load: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
        if !self.is_loaded.load(Ordering::Acquire) {
            load()?;
            self.is_loaded.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Takes note of what people are to be told.
    pub(super) fn noticed(&self, more: &mut Vec<Noticed>) {
        let mut untold = lock(&self.noticed);
        let room = MOST_TOLD - untold.first.len().min(MOST_TOLD);
        untold.more += more.iter().skip(room).filter(|noticed| noticed.passed_over.is_none()).count();
        more.truncate(room);
        untold.first.append(more);
    }

    /// Tells people what was noticed. Called by whoever has more to say of these files, so that this comes first.
    pub fn say_noticed(&self) {
        let mut waiting = lock(&self.noticed);
        let Untold { first, more } = std::mem::take(&mut *waiting);
        let job = &self.job;
        for Noticed { event, path, from, passed_over } in &first {
            let name = self.name(path);
            if let Some(why) = passed_over {
                tracing::info!(target: "watch", "{job}: Passed over {name}: {why}");
                continue;
            }
            match (event, from) {
                (FileEvent::Created, _) => tracing::info!(target: "watch", "{job}: Detected new file: {name}"),
                (FileEvent::Modified, _) => tracing::info!(target: "watch", "{job}: Detected modified file: {name}"),
                (FileEvent::Deleted, _) => tracing::info!(target: "watch", "{job}: Detected deleted file: {name}"),
                (FileEvent::Renamed, from) => {
                    let from = from.as_deref().map(|from| self.name(from)).unwrap_or_default();
                    tracing::info!(target: "watch", "{job}: Detected renamed file: {from} -> {name}");
                }
            }
        }
        if more > 0 {
            let more = count(more, "more file");
            tracing::info!(target: "watch", "{job}: Detected {more}");
        }
        // Held up to here: what follows from these is said after them.
        drop(waiting);
    }

    /// Whether the loop has to be told of another backlog: not, if it was told and has not looked since.
    pub fn has_to_tell(&self) -> bool {
        !self.is_told.swap(true, Ordering::AcqRel)
    }

    /// The loop looks now.
    pub fn looks(&self) {
        self.is_told.store(false, Ordering::Release);
    }

    /// Writes what the book has for the ledger. What cannot be written waits, which is said once.
    pub fn flush(&self) {
        match self.ledger.flush(|| lock(&self.book).take_lines()) {
            Ok(was_taken_away) => {
                if self.is_failing.swap(false, Ordering::AcqRel) {
                    tracing::info!(target: "watch", "{}: the ledger is written again", self.job);
                }
                if was_taken_away {
                    tracing::warn!(target: "watch", "{}: somebody took the ledger away, it is written anew", self.job);
                    self.rewrite();
                }
            }
            Err((error, lines)) => {
                lock(&self.book).put_back(lines);
                self.failed(&error);
            }
        }
    }

    fn failed(&self, error: &io::Error) {
        if !self.is_failing.swap(true, Ordering::AcqRel) {
            let job = &self.job;
            tracing::error!(target: "watch", "{job}: the ledger cannot be written, its lines wait in memory: {error}");
        }
    }

    /// Writes the ledger anew, with what counts. The book is locked for a moment at a time only.
    pub fn rewrite(&self) {
        // What waited to be written is part of what is written anew.
        let mut waited = Vec::new();
        let written = self.ledger.rewrite(|file| {
            let roots = {
                let mut book = lock(&self.book);
                waited = book.take_lines();
                book.rewriting(&now())
            };
            file.write_all(&roots)?;
            let mut place: Id = 0;
            loop {
                let lines = lock(&self.book).lines_from(place, LINES_AT_ONCE);
                let Some(lines) = lines else { return Ok(()) };
                file.write_all(&lines)?;
                place += LINES_AT_ONCE;
            }
        });
        let mut book = lock(&self.book);
        book.is_rewritten();
        if let Err(error) = written {
            book.put_back(waited);
            drop(book);
            self.failed(&error);
        }
    }

    /// How a path is shown: from the watched one that it is below.
    pub fn name(&self, path: &Path) -> String {
        let health = lock(&self.health);
        let below = health.iter().find_map(|(root, _)| path.strip_prefix(&root.path).ok());
        let below = below.filter(|below| !below.as_os_str().is_empty());
        let name = below.unwrap_or_else(|| path.file_name().map_or(path, Path::new));
        in_logs(&name.to_string_lossy())
    }
}

/// A name as logs show it: it may hold anything, also what would steer a terminal or begin a line.
pub fn in_logs(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
