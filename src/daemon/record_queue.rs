//! Records that the loop makes are written on a thread of their own: a job's log is locked while its process is made, and that
//! can take as long as a file system hangs, and so can what one of its runs prints. The loop never waits for it, and no other job.
//!
//! All that waits is written before the disk is waited for, and then each file that was touched is synced once.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;

use super::event::Event;
use super::pending::Pending;
use super::runs::Ended;
use crate::model::{Gap, GapKind, JobName, Outcome, RunId, Status};
use crate::record::{End, JobLog, OutputLog, Records, RunFacts};
use crate::spec::JobSpec;

/// What is to be written.
#[derive(Debug)]
pub(super) enum Entry {
    /// Due times that did not become runs.
    Gap(Gap),
    /// A run that waited and never began.
    Dropped { run: RunId, gap: Gap },
    /// The end of a run that is not tried again; told to the loop when it is written.
    End { facts: Box<RunFacts>, outcome: Box<Outcome>, ended: Timestamp, events: UnboundedSender<Event> },
    /// A run that waited was cancelled before it began; told to the loop when it is written.
    Cancelled { facts: Box<RunFacts>, reason: String, at: Timestamp, events: UnboundedSender<Event> },
    /// An attempt for which there was no thread or descriptor; told to the loop when it is written.
    NotStarted {
        facts: Box<RunFacts>,
        spec: Arc<JobSpec>,
        reason: String,
        at: Timestamp,
        events: UnboundedSender<Event>,
    },
    /// The clock was corrected: due times count from then.
    ClockCorrected(Timestamp),
    /// What waits in memory; counted streaks as well, if asked for.
    Flush { streaks: bool },
    /// What waits in memory of one job, counted streaks as well.
    FlushJob(JobName),
    /// What the next start has to know; with what is counted. The loop is told when it is written.
    Pending(Pending, UnboundedSender<Event>),
    /// Everything before this is written.
    Mark(Sender<()>),
}

/// The way to the thread that writes.
#[derive(Debug, Clone)]
pub(super) struct RecordQueue {
    sender: Sender<Entry>,
}

impl RecordQueue {
    pub fn start(records: Arc<Records>) -> io::Result<Self> {
        let (sender, entries) = channel();
        std::thread::Builder::new().name("records".into()).spawn(move || {
            // What an earlier runner left is not known here: the first time it is always written, or taken away.
            let mut kept = None;
            let mut held = Held::default();
            while let Some(batch) = next_batch(&entries, held.is_empty()) {
                let mut written = Written::default();
                held.write_free(&records, &mut written);
                for entry in batch {
                    match entry {
                        Entry::Pending(known, events) => {
                            keep_pending(&records, known, &mut kept);
                            let _ = events.send(Event::PendingKept);
                        }
                        Entry::Mark(done) => held.marks.push(done),
                        entry => {
                            if let Some(entry) = held.back(&records, entry) {
                                write(&records, entry, &mut written);
                            }
                        }
                    }
                }
                if held.is_empty() {
                    written.marks.append(&mut held.marks);
                }
                written.commit(&records);
            }
        })?;
        Ok(Self { sender })
    }

    pub fn put(&self, entry: Entry) {
        // The thread ends only with the last sender.
        let _ = self.sender.send(entry);
    }

    /// Waits until everything is written, and no longer than `patience`.
    pub fn finish(&self, patience: Duration) {
        let (done, wait) = channel();
        self.put(Entry::Mark(done));
        let _ = wait.recv_timeout(patience);
    }
}

/// No more entries than these are written before the disk is waited for.
const MOST_AT_ONCE: usize = 1_000;

/// Waits for an entry, and takes those that stand behind it; `None` when nobody is left who could put one. Where entries are
/// held back, it does not wait for long.
fn next_batch(entries: &Receiver<Entry>, is_all_written: bool) -> Option<Vec<Entry>> {
    let first = match is_all_written {
        true => entries.recv().ok()?,
        false => match entries.recv_timeout(LOOK_AGAIN) {
            Ok(first) => first,
            Err(RecvTimeoutError::Timeout) => return Some(Vec::new()),
            Err(RecvTimeoutError::Disconnected) => return None,
        },
    };
    Some(std::iter::once(first).chain(entries.try_iter().take(MOST_AT_ONCE - 1)).collect())
}

/// How long a job's log is waited for before other jobs go first, and how often it is looked at after that. A process that is
/// made holds it for less than a millisecond, one that hangs before it is its program for as long as it hangs.
const PATIENCE: Duration = Duration::from_millis(50);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Entries of jobs whose log is held, in their order, and who waits for everything.
#[derive(Default)]
struct Held {
    entries: HashMap<JobName, Vec<Entry>>,
    marks: Vec<Sender<()>>,
}

impl Held {
    fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Gives the entry back, if its job's log is free.
    fn back(&mut self, records: &Arc<Records>, entry: Entry) -> Option<Entry> {
        let job = match &entry {
            Entry::Gap(gap) | Entry::Dropped { gap, .. } => gap.job.clone(),
            Entry::End { facts, .. } | Entry::Cancelled { facts, .. } | Entry::NotStarted { facts, .. } => {
                facts.firing.job.clone()
            }
            Entry::FlushJob(job) => job.clone(),
            Entry::ClockCorrected(_) | Entry::Flush { .. } | Entry::Pending(..) | Entry::Mark(_) => return Some(entry),
        };
        if let Some(before) = self.entries.get_mut(&job) {
            before.push(entry);
            return None;
        }
        if is_held(&records.job(&job), &entry, PATIENCE) {
            self.entries.insert(job, vec![entry]);
            return None;
        }
        Some(entry)
    }

    /// Writes what is held back of jobs whose logs are free again.
    fn write_free(&mut self, records: &Arc<Records>, written: &mut Written) {
        let is_free = |job: &JobName, entries: &[Entry]| {
            let log = records.job(job);
            !entries.iter().any(|entry| is_held(&log, entry, Duration::ZERO))
        };
        let free = self.entries.iter().filter(|(job, entries)| is_free(job, entries));
        let free: Vec<JobName> = free.map(|(job, _)| job.clone()).collect();
        for entry in free.iter().filter_map(|job| self.entries.remove(job)).flatten() {
            write(records, entry, written);
        }
    }
}

/// Whether a log that the entry is for is held: its job's records, or its job's output where the entry has words for that too.
fn is_held(log: &JobLog, entry: &Entry, patience: Duration) -> bool {
    let speaks = matches!(entry, Entry::End { .. } | Entry::Cancelled { .. });
    log.is_held(patience) || speaks && log.output_is_held(patience)
}

/// What a batch has written, and who is told when it is on the disk.
#[derive(Default)]
struct Written {
    jobs: HashMap<JobName, Arc<JobLog>>,
    /// Lines of any job.
    everywhere: bool,
    ends: Vec<(Arc<End>, UnboundedSender<Event>)>,
    marks: Vec<Sender<()>>,
}

impl Written {
    fn job(&mut self, records: &Arc<Records>, job: &JobName) -> Arc<JobLog> {
        self.jobs.entry(job.clone()).or_insert_with(|| records.job(job)).clone()
    }

    fn commit(self, records: &Records) {
        if self.everywhere {
            records.commit();
        } else {
            self.jobs.values().for_each(|log| log.commit());
        }
        for (end, events) in self.ends {
            let _ = events.send(Event::Settled(end));
        }
        for mark in self.marks {
            let _ = mark.send(());
        }
    }
}

fn write(records: &Arc<Records>, entry: Entry, written: &mut Written) {
    match entry {
        Entry::Gap(gap) => {
            if written.job(records, &gap.job).gap(&gap) {
                let times = if gap.count == 1 { "a due time".to_string() } else { format!("{} due times", gap.count) };
                say(&gap, &times);
            }
        }
        Entry::Dropped { run, gap } => {
            written.job(records, &gap.job).dropped(run, &gap);
            say(&gap, &format!("run {run}"));
        }
        Entry::End { facts, outcome, ended, events } => {
            let log = written.job(records, &facts.firing.job);
            let words = format!("end {}: {}", outcome.status, outcome.error.as_deref().unwrap_or_default());
            OutputLog::new(log.clone(), facts.run, None).marker(&words, ended);
            written.ends.push((log.end(&facts, *outcome, ended), events));
        }
        Entry::Cancelled { facts, reason, at, events } => {
            let log = written.job(records, &facts.firing.job);
            let outcome = Outcome { status: Status::Cancelled, ..Outcome::failed(reason) };
            let words = format!("end {}: {}", outcome.status, outcome.error.as_deref().unwrap_or_default());
            OutputLog::new(log.clone(), facts.run, None).marker(&words, at);
            written.ends.push((log.cancelled(&facts, outcome, at), events));
        }
        Entry::NotStarted { facts, spec, reason, at, events } => {
            let log = written.job(records, &facts.firing.job);
            log.prepare_start(&facts).settle();
            let ended = Ended::record(&log, *facts, &spec, Outcome::failed(reason), (at, at));
            let _ = events.send(Event::Ended(ended));
        }
        Entry::ClockCorrected(to) => records.clock_corrected(to),
        Entry::Flush { streaks } => {
            records.flush(streaks);
            written.everywhere = true;
        }
        Entry::FlushJob(job) => {
            records.flush_job(&job);
            written.everywhere = true;
        }
        Entry::Pending(..) => {}
        Entry::Mark(done) => written.marks.push(done),
    }
}

/// Writes what is pending, where that differs from what is written.
fn keep_pending(records: &Records, known: Pending, kept: &mut Option<Pending>) {
    let (mut counted, held) = records.counted();
    // Of a job whose log is held what was known before.
    let before = kept.iter().flat_map(|kept| &kept.counted).filter(|gap| held.contains(&gap.job));
    counted.extend(before.cloned());
    counted.sort_by(|a, b| (&a.job, a.due).cmp(&(&b.job, b.due)));
    let pending = Pending { counted, ..known };
    if kept.as_ref() != Some(&pending) {
        match pending.save(&records.layout.pending()) {
            Ok(()) => *kept = Some(pending),
            Err(error) => tracing::error!(target: "record", "pending.json cannot be written: {error}"),
        }
    }
}

fn say(gap: &Gap, what: &str) {
    let kind = match gap.kind {
        GapKind::Skipped => "skipped",
        GapKind::Missed => "missed",
    };
    tracing::info!(target: "engine", "{}: {kind} {what} ({}): {}", gap.job, gap.triggered_by.as_str(), gap.reason);
}
