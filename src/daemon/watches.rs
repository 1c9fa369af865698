//! Watches in force: one thread for each, and which run has which files.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;

use super::control::Reply;
use super::event::Event;
use super::main_loop::Daemon;
use super::record_queue::Entry;
use super::run_files::how_recorded;
use crate::catalog::{Generation, Job};
use crate::engine::{Backlog, Event as EngineEvent};
use crate::model::{Firing, Gap, GapKind, JobName, RunId, TriggeredBy, lock};
use crate::os::file_events::Hub;
use crate::record::{Layout, Line, each_backwards};
use crate::trigger::{Armed, Files};
use crate::watch::thread::{self, NoThread, Thread};
use crate::watch::watcher::{Answer, Message, Past, Setup, Start};
use crate::watch::{Book, Ended, Ledger, Loaded, Replayed, Selection, Shared, now, roots};

/// The watches of this runner.
pub(super) struct Watches {
    pub hub: Hub,
    of: HashMap<JobName, Handle>,
    /// What relative paths count from.
    directory: PathBuf,
    layout: Layout,
    events: UnboundedSender<Event>,
    follows_mounts: bool,
    /// How a thread is had.
    start: fn(Start) -> Result<Thread, NoThread>,
}

struct Handle {
    shared: Arc<Shared>,
    /// Wakes its thread; none, once the job is gone or is no watch any more.
    sender: Option<Sender<Message>>,
    /// Its thread, also while that comes to its end.
    thread: Option<JoinHandle<()>>,
    /// It is meant, and no thread could be had for it.
    has_none: bool,
    files: Arc<Files>,
}

impl Handle {
    fn is_meant(&self) -> bool {
        self.sender.is_some() || self.has_none
    }
}

/// Of a job's records no more than these are gone through for the ends of runs that had files.
const MOST_LINES: usize = 100_000;

/// The files of a job, where they make it due.
fn files_of(job: &Job) -> Option<&Arc<Files>> {
    job.armed.iter().find_map(|(_, armed)| match armed {
        Armed::AtFiles(files) => Some(files),
        Armed::Times(_) | Armed::AtStart | Armed::AtEnds(_) => None,
    })
}

/// The home of the runner's user, which `~` stands for.
pub fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
}

impl Watches {
    pub fn new(hub: Hub, directory: PathBuf, layout: Layout, events: UnboundedSender<Event>) -> Self {
        Self { hub, of: HashMap::new(), directory, layout, events, follows_mounts: false, start: thread::start }
    }

    pub fn get(&self, job: &str) -> Option<&Arc<Shared>> {
        self.of.get(job).map(|handle| &handle.shared)
    }

    /// Those that watch, or are to, by name.
    pub fn active(&self) -> impl Iterator<Item = (&Arc<Shared>, &Arc<Files>)> {
        let mut active: Vec<&Handle> = self.of.values().filter(|handle| handle.is_meant()).collect();
        active.sort_by_key(|handle| &handle.shared.job);
        active.into_iter().map(|handle| (&handle.shared, &handle.files))
    }

    /// Makes the watches those of the generation.
    fn put_in_force(&mut self, generation: &Generation) {
        self.put(&generation.jobs.iter().filter_map(|job| Some((&job.name, files_of(job)?))).collect());
    }

    fn put(&mut self, meant: &HashMap<&JobName, &Arc<Files>>) {
        for (job, handle) in &mut self.of {
            if meant.contains_key(job) {
                continue;
            }
            handle.has_none = false;
            if let Some(sender) = handle.sender.take() {
                let _ = sender.send(Message::Stop);
            }
        }
        // Should the job come back, nobody else may write its ledger: its thread may be in the middle of a scan, and what runs have is
        // written down when these end.
        let is_in_use = |shared: &Arc<Shared>| Arc::strong_count(shared) > 1 || lock(&shared.book).has_runs();
        self.of.retain(|_, handle| handle.is_meant() || is_in_use(&handle.shared));
        for (job, files) in meant {
            self.watch(job, files);
        }
    }

    /// Tries again what no thread could be had for.
    pub fn try_again(&mut self) {
        let without = self.of.iter().filter(|(_, handle)| handle.has_none);
        let without: Vec<_> = without.map(|(job, handle)| (job.clone(), handle.files.clone())).collect();
        for (job, files) in without {
            self.watch(&job, &files);
        }
    }

    fn watch(&mut self, job: &JobName, files: &Arc<Files>) {
        let roots = roots(files, &self.directory, home().as_deref());
        let setup = Setup { files: files.clone(), roots, logs: self.layout.root().to_path_buf() };
        let before = self.of.get_mut(job);
        let is_same = |handle: &Handle| handle.sender.is_some() && Arc::ptr_eq(&handle.files, files);
        if before.as_ref().is_some_and(|handle| is_same(handle)) {
            return;
        }
        if let Some(handle) = before
            && let Some(sender) = &handle.sender
        {
            handle.files = files.clone();
            let _ = sender.send(Message::Changed(Box::new(setup)));
            return;
        }
        self.follow_mounts();
        let ledger = self.layout.ledger(job);
        let before = self.of.remove(job);
        let had_none = before.as_ref().is_some_and(|handle| handle.has_none);
        let (known, after) = before.map(|handle| (handle.shared, handle.thread)).unzip();
        let shared = known.unwrap_or_else(|| {
            let book = Book::new(files.clone(), Loaded::default(), |_| None, &now());
            Arc::new(Shared::new(job.clone(), book, Ledger::new(ledger.clone())))
        });
        let (layout, of_job, events) = (self.layout.clone(), job.clone(), self.events.clone());
        let of_files = files.clone();
        let started = (self.start)(Start {
            shared: shared.clone(),
            setup,
            hub: self.hub.clone(),
            ledger,
            after: after.flatten(),
            past: Box::new(move |runs| past(&layout, &of_job, &of_files, runs)),
            tell: Box::new(move |job| {
                let _ = events.send(Event::Backlog(job.clone()));
            }),
        });
        let (sender, thread, has_none) = match started {
            Ok(Thread { sender, handle }) => {
                if had_none {
                    tracing::info!(target: "watch", "{job}: there is a thread for it again");
                }
                (Some(sender), Some(handle), false)
            }
            Err(none) => {
                if !had_none {
                    tracing::error!(target: "watch", "{job}: not watched, and tried again every few seconds: {none}");
                }
                (None, none.after, true)
            }
        };
        self.of.insert(job.clone(), Handle { shared, sender, thread, has_none, files: files.clone() });
    }

    /// From the first watch on, mounts concern somebody.
    fn follow_mounts(&mut self) {
        if std::mem::replace(&mut self.follows_mounts, true) {
            return;
        }
        let events = self.events.clone();
        let followed = crate::os::mounts::follow(move || events.send(Event::Mounts).is_ok());
        if let Err(error) = followed {
            tracing::warn!(target: "watch", "mounts cannot be followed, what they change is found by the next scan: {error}");
        }
    }

    pub fn wake(&self, job: &str, message: Message) {
        if let Some(sender) = self.of.get(job).and_then(|handle| handle.sender.as_ref()) {
            let _ = sender.send(message);
        }
    }

    /// Wakes the thread of a watch whose run has ended, if that may have something to do now.
    pub fn wake_if_due(&self, job: &str) {
        let is_due = self.get(job).is_some_and(|shared| lock(&shared.book).is_due_after_run());
        if is_due {
            self.wake(job, Message::Look);
        }
    }

    /// Wakes all.
    pub fn wake_all(&self, message: impl Fn() -> Message) {
        for sender in self.of.values().filter_map(|handle| handle.sender.as_ref()) {
            let _ = sender.send(message());
        }
    }

    /// Writes what is left of all ledgers.
    pub fn flush(&self) {
        self.of.values().for_each(|handle| handle.shared.flush_at_end());
    }
}

/// How runs ended, as the records tell.
fn past(layout: &Layout, job: &JobName, files: &Files, runs: &[RunId]) -> HashMap<RunId, Past> {
    let mut found = HashMap::new();
    let mut lines = 0;
    let read = each_backwards(layout, job, |line| {
        lines += 1;
        if let Line::End(end) = line
            && runs.contains(&end.run)
        {
            let how = match how_recorded(&end, files) {
                Ended::Done => Past::Ended(Ok(())),
                Ended::Failed(why) => Past::Ended(Err(why)),
                Ended::Again => Past::CutShort,
            };
            found.insert(end.run, how);
        }
        found.len() < runs.len() && lines < MOST_LINES
    });
    if let Err(error) = read {
        tracing::error!(target: "watch", "{job}: the records cannot be searched, files may be processed again: {error}");
    }
    found
}

/// Why a run's files have failed.
pub(super) fn why_failed(end: &crate::record::End) -> String {
    end.error.clone().unwrap_or_else(|| end.status.to_string())
}

impl Daemon {
    /// The watches of the generation that is in force now. For the one run that a person asked for, files rest.
    pub(super) fn put_watches_in_force(&mut self) {
        if !self.once && self.stage.is_none() {
            let generation = self.generation.clone();
            self.watches.put_in_force(&generation);
        }
    }

    /// The engine hears how many runs could be had of a watch.
    pub(super) fn take_backlog(&mut self, job: &JobName) {
        let Some(shared) = self.watches.get(job) else { return };
        shared.looks();
        let backlog = lock(&shared.book).backlog(&now());
        let backlog = Backlog {
            runs: backlog.runs,
            since: backlog.since.unwrap_or(Timestamp::UNIX_EPOCH),
            replaces: backlog.replaces,
        };
        self.tell(EngineEvent::Backlog { job: job.clone(), backlog });
    }

    /// The backlog may be another one: the engine hears of it once what it has decided is carried out.
    pub(super) fn look_at_backlog(&self, job: &JobName) {
        if let Some(shared) = self.watches.get(job)
            && shared.has_to_tell()
        {
            let _ = self.sender.send(Event::Backlog(job.clone()));
        }
    }

    /// A run of a watch begins: it gets its files. `None`: there are none any more, and it never was.
    pub(super) fn hand_files(&mut self, run: RunId, firing: Firing) -> Option<(Firing, Option<Arc<Shared>>)> {
        if firing.triggered_by != TriggeredBy::Watch {
            return Some((firing, None));
        }
        let shared = self.watches.get(&firing.job).cloned();
        let taken = shared.as_ref().and_then(|shared| lock(&shared.book).take(run, &now()));
        self.look_at_backlog(&firing.job);
        let Some(taken) = taken else {
            self.tell(EngineEvent::Withdraw { run });
            return None;
        };
        let firing = Firing { due: taken.due, triggered_by: taken.triggered_by, input: Some(taken.input), ..firing };
        Some((firing, shared))
    }

    /// Files were not there any more when their run was about to begin.
    pub(super) fn files_given_back(&mut self, job: &JobName, withdrawn: Option<RunId>) {
        if let Some(run) = withdrawn {
            self.runs.remove(&run);
            self.tell(EngineEvent::Withdraw { run });
        }
        self.watches.wake(job, Message::Look);
        self.look_at_backlog(job);
    }

    /// A run that had files ended without a thread of its own.
    pub(super) fn files_ended(&mut self, job: &JobName, run: RunId, how: &Ended) {
        if let Some(shared) = self.watches.get(job) {
            lock(&shared.book).ended(run, how, &now());
            self.watches.wake(job, Message::Look);
            self.look_at_backlog(job);
        }
    }

    /// Whether the job is a watch that was stopped because it fired itself.
    pub(super) fn is_stopped_watch(&self, job: &str) -> bool {
        self.watches.get(job).is_some_and(|shared| lock(&shared.book).why_stopped().is_some())
    }

    /// Lets such a watch go on.
    pub(super) fn resume_watch(&mut self, job: &JobName) {
        if let Some(shared) = self.watches.get(job) {
            lock(&shared.book).resume();
            self.watches.wake(job, Message::Look);
            tracing::info!(target: "watch", "{job}: the watch goes on");
        }
    }

    /// Somebody asks for files to be run for again: the watch's thread looks at them, and answers.
    pub(super) fn replay(&self, job: &JobName, selection: Selection, dry_run: bool, reply: UnboundedSender<Reply>) {
        let answer = {
            let reply = reply.clone();
            Answer(Box::new(move |replayed: Replayed| {
                let answer = serde_json::to_value(replayed).map_err(|error| error.to_string());
                let _ = reply.send(answer.map_or_else(Reply::Error, Reply::Ok));
            }))
        };
        let message = Message::Replay { selection: Box::new(selection), dry_run, answer };
        let is_told = match self.watches.of.get(job).and_then(|handle| handle.sender.as_ref()) {
            Some(sender) => sender.send(message).is_ok(),
            None => false,
        };
        if !is_told {
            let why = match self.generation.job(job) {
                Some(_) => format!("the job `{job}` watches no files now"),
                None => format!("there is no job `{job}`"),
            };
            let _ = reply.send(Reply::Error(why));
        }
    }

    /// `overlap: skip`: what waits is passed over.
    pub(super) fn pass_files_over(&mut self, job: &JobName, due: Timestamp) {
        const WHY: &str = "a run was active, and `overlap` is `skip`";
        let Some(shared) = self.watches.get(job) else { return };
        let count = lock(&shared.book).pass_over(WHY, &now());
        self.watches.wake(job, Message::Look);
        if count > 0 {
            let files = crate::model::count(count, "file");
            tracing::info!(target: "watch", "{job}: Passed over {files}: {WHY}");
            let until = now().time;
            let (kind, job, reason) = (GapKind::Skipped, job.clone(), WHY.to_string());
            self.queue.put(Entry::Gap(Gap { kind, job, triggered_by: TriggeredBy::Watch, reason, due, until, count }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::eventually::wait_for;
    use crate::trigger::{Trigger, TriggerContext};
    use crate::watch::{Health, WatchStatus};

    fn watches_of(dir: &std::path::Path) -> (Watches, Arc<Files>) {
        std::fs::create_dir(dir.join("in")).unwrap();
        let trigger = Trigger::from_value("watch", serde_json::json!({ "paths": ["in"] })).unwrap().unwrap();
        let armed = trigger.arm(TriggerContext::of("w", &jiff::tz::TimeZone::UTC));
        let Some(Armed::AtFiles(files)) = armed else { panic!("{armed:?}") };
        let (sender, _events) = tokio::sync::mpsc::unbounded_channel();
        let layout = Layout::new(dir.join("logs"));
        (Watches::new(Hub::default(), dir.to_path_buf(), layout, sender), files)
    }

    #[test]
    fn a_watch_that_gets_no_thread_is_shown_and_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let (mut watches, files) = watches_of(dir.path());
        let job = JobName::new("w").unwrap();
        let (with, without) = (HashMap::from([(&job, &files)]), HashMap::new());
        watches.start = |start| thread::without_room(start);
        watches.put(&with);
        let state =
            |watches: &Watches| watches.active().map(|(shared, files)| WatchStatus::of(shared, files).state).next();
        let is_shown = |state: Option<String>| state.is_some_and(|state| state.contains("no thread is left for it"));
        assert!(is_shown(state(&watches)));
        watches.try_again();
        assert!(is_shown(state(&watches)));
        watches.put(&without);
        assert_eq!(state(&watches), None, "it is not meant any more");
        watches.put(&with);
        watches.start = thread::start;
        watches.try_again();
        wait_for("it watches", || state(&watches).is_some_and(|state| state == "watching"));
        watches.put(&without);
    }

    #[test]
    fn a_job_that_comes_back_while_its_thread_is_busy_has_one_book_and_one_ledger() {
        let dir = tempfile::tempdir().unwrap();
        let (mut watches, files) = watches_of(dir.path());
        let job = JobName::new("w").unwrap();
        let (with, without) = (HashMap::from([(&job, &files)]), HashMap::new());
        watches.put(&with);
        let shared = watches.get("w").unwrap().clone();
        let health = |is_meant: fn(&Health) -> bool| lock(&shared.health).iter().any(|(_, health)| is_meant(health));
        wait_for("it watches", || health(|health| *health == Health::Events));
        // Its thread cannot come to its end.
        let book = lock(&shared.book);
        watches.put(&without);
        watches.put(&with);
        assert!(Arc::ptr_eq(watches.get("w").unwrap(), &shared), "nobody else writes its ledger");
        wait_for("it waits", || {
            health(|health| matches!(health, Health::Missing(why) if why.contains("has not ended")))
        });
        drop(book);
        wait_for("it watches again", || health(|health| *health == Health::Events));
        watches.put(&without);
        let threads: Vec<_> = watches.of.values_mut().filter_map(|handle| handle.thread.take()).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        drop(shared);
        watches.put(&without);
        assert!(watches.of.is_empty(), "what nobody has any more is let go of");
    }
}
