//! The thread of a watch: takes hints, looks at files, scans, and fills the book.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::book::{Noticed, Now, Sight, Twin};
use super::hints::Hints;
use super::live::{Live, Scanned};
use super::replay::{Refused, Replayed, Selection};
use super::root::{Health, Root};
use super::rules::Verdict;
use super::shared::{Shared, now};
use super::stat::{At, Found, file_at, look};
use super::taking::Backlog;
use super::thread::Taken;
use crate::model::{HumanDuration, JobName, RunId, count, lock};
use crate::os::file_events::{Hint, Hub, Subscription};
use crate::trigger::Files;

/// What wakes the thread.
#[derive(Debug)]
pub enum Message {
    Hint(Hint),
    /// Everything is to be looked at, for this reason.
    Scan(&'static str),
    /// Something was mounted or unmounted.
    Mounts,
    /// Something in the book is due, or lines have to be written.
    Look,
    /// The watch says something else now.
    Changed(Box<Setup>),
    /// Somebody asks for files to be run for again.
    Replay {
        selection: Box<Selection>,
        dry_run: bool,
        answer: Answer,
    },
    Stop,
}

/// Who is told what became of a request.
pub struct Answer(pub Box<dyn FnOnce(Replayed) + Send>);

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer")
    }
}

/// What is watched.
#[derive(Debug, Clone)]
pub struct Setup {
    pub files: Arc<Files>,
    pub roots: Vec<Root>,
    /// Where the runner writes.
    pub logs: PathBuf,
}

/// How a run ended that had files when the runner was there last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Past {
    Ended(Result<(), String>),
    /// It was cut short, or nobody knows.
    CutShort,
}

/// Says how runs ended.
pub type AskPast = Box<dyn Fn(&[RunId]) -> HashMap<RunId, Past> + Send>;

/// What the thread is given to begin with.
pub struct Start {
    pub shared: Arc<Shared>,
    pub setup: Setup,
    pub hub: Hub,
    pub ledger: PathBuf,
    /// The thread that had this watch before: nothing is done until it has ended.
    pub after: Option<JoinHandle<()>>,
    pub past: AskPast,
    /// Told when the backlog may be another one.
    pub tell: Box<dyn Fn(&JobName) + Send>,
}

/// What the thread does, from one beginning to the next.
pub(super) struct Watcher<'a> {
    pub shared: &'a Arc<Shared>,
    pub setup: &'a mut Setup,
    /// Whoever has one is told by messages.
    subscribe: &'a dyn Fn() -> Subscription,
    pub lives: Vec<Live>,
    messages: &'a Receiver<Message>,
    taken: Arc<Taken>,
    tell: &'a (dyn Fn(&JobName) + Send),
    told: Backlog,
    /// What cannot be looked at, each said once.
    said: HashSet<PathBuf>,
    /// Folders that could not be read, or gone through: they are walked once they are touched.
    unread: HashSet<PathBuf>,
    pub noticed: Vec<Noticed>,
    begun: Instant,
    /// All that was told has been looked at.
    is_up_to_date: bool,
}

/// So many hints are taken at once.
const MOST_HINTS: usize = 4_096;
/// What follows on the making of a file, and on a write, is waited for as long as this before anything is looked at.
const MOMENT: Duration = Duration::from_micros(300);
/// Of files that cannot be looked at so many are named.
const MOST_SAID: usize = 100;
/// So many folders that cannot be read are remembered; what is in others is found by the next scan.
const MOST_UNREAD: usize = 10_000;

impl<'a> Watcher<'a> {
    pub fn new(
        shared: &'a Arc<Shared>,
        setup: &'a mut Setup,
        subscribe: &'a dyn Fn() -> Subscription,
        (messages, taken): (&'a Receiver<Message>, Arc<Taken>),
        tell: &'a (dyn Fn(&JobName) + Send),
    ) -> Self {
        Self {
            shared,
            setup,
            subscribe,
            lives: Vec::new(),
            messages,
            taken,
            tell,
            told: Backlog::default(),
            said: HashSet::new(),
            unread: HashSet::new(),
            noticed: Vec::new(),
            begun: Instant::now(),
            is_up_to_date: true,
        }
    }

    /// Watches until it is told to end.
    pub fn run(mut self) {
        // What comes from here on is not what was there at the first start, also if the runner is killed at once.
        let since = Now { time: self.shared.started, ..now() };
        for root in &self.setup.roots {
            lock(&self.shared.book).root(&root.path, &since);
        }
        self.shared.flush();
        self.open_roots();
        // What the ledger remembers, and what a watch that was there before has, may not be meant by these rules.
        self.put_rules_in_force();
        self.say_roots();
        loop {
            let at = now();
            self.open_missing(&at);
            self.scan_what_is_due(&at);
            self.look_at_due();
            self.tidy();
            let deadline = self.deadline();
            let Some(hints) = self.wait(deadline) else { return };
            self.follow(hints);
        }
    }

    /// When something has to be done, whatever is told.
    fn deadline(&self) -> Option<Instant> {
        let writes_at = self.shared.writes_at();
        let book = lock(&self.shared.book);
        let roots = self.lives.iter().filter_map(Live::deadline);
        roots.chain(book.next_look()).chain(self.told.changes_at).chain(writes_at).min()
    }

    /// Waits for something to do; `None`: the thread is to end.
    fn wait(&mut self, deadline: Option<Instant>) -> Option<Hints> {
        let mut hints = Hints::default();
        self.is_up_to_date = true;
        let first = match deadline {
            Some(at) => self.messages.recv_timeout(at.saturating_duration_since(Instant::now())),
            None => self.messages.recv().map_err(RecvTimeoutError::from),
        };
        let mut message = match first {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => return Some(hints),
            Err(RecvTimeoutError::Disconnected) => return None,
        };
        let mut begun = None;
        self.is_up_to_date = false;
        for _ in 0..MOST_HINTS {
            match message {
                Message::Hint(hint) => {
                    self.taken.take(&hint);
                    hints.add(hint);
                }
                Message::Scan(why) => hints.scan = Some(why),
                Message::Mounts => hints.mounts = true,
                Message::Look => {}
                Message::Replay { selection, dry_run, answer } => {
                    (answer.0)(replay(self.shared, &selection, dry_run));
                }
                Message::Changed(setup) => self.change(*setup),
                Message::Stop => {
                    self.shared.flush_at_end();
                    return None;
                }
            }
            let next = match self.messages.try_recv() {
                Ok(next) => Some(next),
                // Who makes a small file has mostly written and closed it by then: one look does for all of that.
                Err(_) if hints.is_in_progress() => {
                    let begun = *begun.get_or_insert_with(Instant::now);
                    self.messages.recv_timeout(MOMENT.saturating_sub(begun.elapsed())).ok()
                }
                Err(_) => None,
            };
            match next {
                Some(next) => message = next,
                None => {
                    self.is_up_to_date = true;
                    break;
                }
            }
        }
        Some(hints)
    }

    /// Other rules, other roots.
    fn change(&mut self, setup: Setup) {
        self.lives.clear();
        *self.setup = setup;
        self.begun = Instant::now();
        self.open_roots();
        self.put_rules_in_force();
        self.told = Backlog::default();
        self.say_roots();
    }

    /// The book hears of the rules, and that nobody was told of anything until they came.
    fn put_rules_in_force(&mut self) {
        let left_out = self.left_out();
        let mut book = lock(&self.shared.book);
        book.set_files(self.setup.files.clone(), |path| !left_out.contains(path), &now());
        book.events_were_lost(Path::new("/"), &now());
    }

    /// Files of the rules, as they stand beside what is watched, may say something else now.
    pub(super) fn judge_anew(&mut self) {
        let left_out = self.left_out();
        lock(&self.shared.book).judge_anew(|path| !left_out.contains(path), &now());
    }

    /// What is pending and not meant. Nobody waits for the files of the rules to be read while the book is locked.
    fn left_out(&mut self) -> HashSet<PathBuf> {
        let pending = lock(&self.shared.book).pending_paths();
        pending.into_iter().filter(|path| !is_meant(&mut self.lives, path)).collect()
    }

    /// Whether the rules are read from a file of that name, as the kernel names it.
    pub(super) fn are_rules(&mut self, real: &Path) -> bool {
        self.lives.iter_mut().any(|live| live.are_rules(real) && live.shown(real).is_some())
    }

    fn open_roots(&mut self) {
        let at = now();
        for root in &self.setup.roots {
            lock(&self.shared.book).root(&root.path, &at);
            self.lives.push(Live::new(root.clone(), (self.subscribe)(), &at));
        }
        self.open_missing(&at);
        let at = now();
        self.scan_what_is_due(&at);
    }

    fn open_missing(&mut self, at: &Now) {
        for live in &mut self.lives {
            live.open_if_due(self.setup, self.shared, at);
        }
        self.show_health();
    }

    fn show_health(&self) {
        let health = self.lives.iter().map(|live| (live.root.clone(), live.health())).collect();
        *lock(&self.shared.health) = health;
    }

    /// Says what is watched, and how.
    fn say_roots(&self) {
        let job = &self.shared.job;
        for (root, health) in lock(&self.shared.health).iter() {
            let took = self.begun.elapsed().as_millis();
            match health {
                Health::Events => {
                    tracing::info!(target: "watch", "{job}: watches {} by events, ready after {took} ms", root.path.display())
                }
                Health::Polling(why) => {
                    let every = HumanDuration(self.setup.files.poll);
                    let words = format!("{job}: watches {} by polling every {every}: {why}", root.path.display());
                    // What the kernel has no room for can be mended.
                    match why.contains("sysctl") {
                        true => tracing::warn!(target: "watch", "{words}"),
                        false => tracing::info!(target: "watch", "{words}"),
                    }
                }
                // Said where it was found.
                Health::Missing(_) => {}
            }
        }
    }

    fn scan_what_is_due(&mut self, at: &Now) {
        for place in 0..self.lives.len() {
            if self.lives[place].is_scan_due(at.instant) {
                self.scan(place);
            }
        }
    }

    /// Looks at everything below a root.
    fn scan(&mut self, place: usize) {
        let Some(live) = self.lives.get_mut(place) else { return };
        let is_up_to_date = self.is_up_to_date;
        let Scanned { missing, is_other_disk, failed } =
            live.scan(self.setup, self.shared, is_up_to_date, &mut self.noticed);
        for path in missing {
            if !is_other_disk && self.has_vanished(&path) {
                if self.lives.get(place).is_none_or(Live::has_vanished) {
                    // In the middle of the scan.
                    break;
                }
                // It is below another watched path, which is not there.
                continue;
            }
            self.look_whether_missing(&path, is_other_disk);
        }
        for (path, error) in failed {
            self.cannot_look(&path, &error);
        }
        let were_there = lock(&self.shared.book).take_were_there();
        if were_there > 0 {
            let root = self.lives.get(place).map(|live| live.root.path.display().to_string()).unwrap_or_default();
            let (job, files) = (&self.shared.job, count(were_there, "file"));
            tracing::info!(
                target: "watch",
                "{job}: {files} in {root} {} there before the first start: no run is made for {} (`existing: ignore`)",
                if were_there == 1 { "was" } else { "were" },
                if were_there == 1 { "it" } else { "them" },
            );
        }
        if self.setup.files.gitignore && lock(&self.shared.book).is_polled() {
            // Nothing told of a change of these files.
            self.judge_anew();
        }
        self.show_health();
    }

    /// A file was not found where it was. `is_other_disk`: another one stands there, and nothing is deleted.
    pub(super) fn look_whether_missing(&mut self, path: &Path, is_other_disk: bool) {
        match look(path) {
            Ok(At::Nothing | At::Directory) if is_other_disk => lock(&self.shared.book).is_elsewhere(path, &now()),
            Ok(At::Nothing | At::Directory) => self.is_missing(path),
            Ok(At::File(_)) | Err(_) => {}
        }
    }

    /// Whether the watched path that a file is below has vanished: that it is not there says nothing then. All is compared once it is back.
    pub(super) fn has_vanished(&mut self, path: &Path) -> bool {
        let live =
            self.lives.iter_mut().filter(|live| path.starts_with(&live.root.path)).find(|live| live.has_vanished());
        if let Some(live) = live {
            live.look_again_now();
            return true;
        }
        false
    }

    pub(super) fn is_missing(&mut self, path: &Path) {
        let noticed = lock(&self.shared.book).missing(path, &now());
        self.noticed.extend(noticed);
    }

    pub(super) fn cannot_look(&mut self, path: &Path, error: &io::Error) {
        let is_limit = self.said.len() >= MOST_SAID;
        if !is_limit && self.said.insert(path.to_path_buf()) {
            tracing::warn!(target: "watch", "{}: {} cannot be looked at: {error}", self.shared.job, path.display());
        }
        if error.kind() == io::ErrorKind::PermissionDenied && self.unread.len() < MOST_UNREAD {
            // A file that cannot be looked at is in a folder that may not be gone through.
            let folder = if matches!(look(path), Ok(At::Directory)) { Some(path) } else { path.parent() };
            self.unread.extend(folder.map(Path::to_path_buf));
        }
    }

    /// Whether that folder, or one below it, could not be read when it was looked at last.
    pub(super) fn takes_up_unread(&mut self, folder: &Path) -> bool {
        let before = self.unread.len();
        if before > 0 {
            self.unread.retain(|unread| !unread.starts_with(folder));
        }
        self.unread.len() < before
    }

    /// Tells of the backlog, says what was noticed, and writes what has to be kept.
    fn tidy(&mut self) {
        self.shared.noticed(&mut self.noticed);
        let (backlog, has_lines, is_worth) = {
            let mut book = lock(&self.shared.book);
            (book.backlog(&now()), book.has_lines(), book.is_worth_rewriting(false))
        };
        // First of all: before it begins a run says what was noticed, and writes down what it is for, with all that came before.
        if (backlog.runs > 0 || self.told.runs > 0) && self.shared.has_to_tell() {
            (self.tell)(&self.shared.job);
        }
        self.told = backlog;
        self.shared.say_noticed();
        if has_lines || self.shared.is_failing() {
            self.shared.flush();
        }
        if is_worth {
            self.shared.rewrite();
        }
        self.say_if_stopped();
    }

    fn say_if_stopped(&mut self) {
        let why = lock(&self.shared.book).says_why_stopped();
        if let Some(why) = why {
            tracing::error!(target: "watch", "{}: the watch is stopped: {why}", self.shared.job);
        }
    }
}

/// Runs for files again. Nobody waits for a disk while the book is locked.
pub(super) fn replay(shared: &Shared, selection: &Selection, dry_run: bool) -> Replayed {
    let mut replayed = Replayed::default();
    let meant = lock(&shared.book).meant(selection);
    for path in meant {
        let found = file_at(&path).map_err(|error| format!("it cannot be looked at: {error}"));
        let name = path.to_string_lossy().into_owned();
        let done = found.and_then(|found| {
            let mut book = lock(&shared.book);
            match dry_run {
                true => book.may_replay(&path, found.as_ref()),
                false => book.replay(&path, found.as_ref(), &now()),
            }
            .map_err(str::to_string)
        });
        match done {
            Ok(()) => replayed.files.push(name),
            Err(why) => replayed.refused.push(Refused { path: name, why }),
        }
    }
    replayed
}

/// Whether a path is among those that are watched, by rules that leave it in. What belongs to a root that is not there now is left as it
/// is.
fn is_meant(lives: &mut [Live], path: &Path) -> bool {
    let mut verdicts = lives.iter_mut().filter_map(|live| live.judge(path));
    verdicts.any(|verdict| matches!(verdict, Some(Verdict::Matched(_)) | None))
}

/// Tells the book of a file, after a look at the one that it may have been before.
pub(super) fn tell_book(shared: &Shared, path: &Path, found: &Found, sight: Sight) -> Option<Noticed> {
    let mut book = lock(&shared.book);
    let Some((other, is_gone)) = book.twin_of(path, &found.stat) else {
        return book.found(path, found, sight, None, &now());
    };
    let twin = if is_gone {
        Twin::Gone
    } else {
        drop(book);
        let is_there = file_at(&other)
            .ok()
            .flatten()
            .is_some_and(|there| (there.stat.dev, there.stat.inode) == (found.stat.dev, found.stat.inode));
        book = lock(&shared.book);
        if is_there { Twin::There } else { Twin::Gone }
    };
    book.found(path, found, sight, Some((&other, twin)), &now())
}

#[cfg(test)]
mod tests {
    use super::super::book::Book;
    use super::super::ledger::{Ledger, Loaded};
    use super::*;
    use crate::os::eventually::wait_for;
    use crate::watch::rules::tests::files;
    use crate::watch::thread;

    #[test]
    fn where_the_kernel_has_no_room_that_path_is_polled_until_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("in");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        let files = files(serde_json::json!({ "paths": [root], "settle": "close", "poll": "100ms" }));
        let book = Book::new(files.clone(), Loaded::default(), |_| None, &now());
        let ledger = dir.path().join("ledger.log");
        let shared = Arc::new(Shared::new(JobName::new("w").unwrap(), book, Ledger::new(ledger.clone())));
        let hub = Hub::default();
        hub.has_room_for(Some(1));
        let roots = vec![Root { written: "in".into(), path: root.clone() }];
        let thread = thread::start(Start {
            shared: shared.clone(),
            setup: Setup { files, roots, logs: dir.path().join("logs") },
            hub: hub.clone(),
            ledger,
            after: None,
            past: Box::new(|_| HashMap::new()),
            tell: Box::new(|_| {}),
        })
        .unwrap();
        let health = || lock(&shared.health).first().map(|(_, health)| health.clone());
        let is_limited = |health: Option<Health>| matches!(health, Some(Health::Polling(why)) if why.contains("fs.inotify.max_user_watches = ") && why.contains("`sysctl "));
        wait_for("it says why it polls", || is_limited(health()));
        let runs = || lock(&shared.book).backlog(&now()).runs;
        std::fs::write(root.join("sub/a"), "x").unwrap();
        wait_for("what no event tells of is found", || runs() == 1);
        assert!(is_limited(health()), "there is no room still");
        hub.has_room_for(None);
        wait_for("there is room again", || health() == Some(Health::Events));
        std::fs::write(root.join("sub/b"), "x").unwrap();
        wait_for("events tell of it", || runs() == 2);
        thread.sender.send(Message::Stop).unwrap();
    }
}
