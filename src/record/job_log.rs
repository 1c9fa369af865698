use std::collections::VecDeque;
use std::os::fd::{AsRawFd, RawFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, TryLockError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::appender::Appender;
use super::commit::Commit;
use super::common::{About, Common};
use super::encode::encode;
use super::line::{End, GapLine, Line, LineOf, Start, State, WaitingRun};
use super::restore::Restored;
use super::streak::{Rest, Streak};
use crate::model::{Firing, Gap, GapKind, JobName, Outcome, RunId, Status, TriggeredBy, lock, serde_rfc3339};

/// A job's totals and last run.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Runs that have ended.
    pub runs: u64,
    pub failures: u64,
    pub last: Option<Arc<End>>,
}

/// What the engine has to know of a job's past: up to when its due times are accounted for, and how it has fared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct DueState {
    #[serde(with = "serde_rfc3339::option")]
    pub last_due: Option<Timestamp>,
    #[serde(with = "serde_rfc3339::option")]
    pub interval_due: Option<Timestamp>,
    /// When the last firing of its chain was due.
    #[serde(with = "serde_rfc3339::option")]
    pub after_due: Option<Timestamp>,
    /// Failed runs since the last success.
    pub failed_in_row: u32,
    /// When the last of them ended.
    #[serde(with = "serde_rfc3339::option")]
    pub failed_at: Option<Timestamp>,
}

/// What a run is known by in its records.
#[derive(Debug, Clone)]
pub struct RunFacts {
    pub run: RunId,
    pub firing: Firing,
    pub attempt: u32,
    /// When the first attempt started.
    pub started: Timestamp,
    pub spec: Option<String>,
    pub commit: Option<String>,
}

/// One job's `runs.log`.
#[derive(Debug)]
pub struct JobLog {
    pub(super) records: Arc<Common>,
    pub(super) job: JobName,
    pub(super) inner: Mutex<Inner>,
    /// What is shown of it, for those who must not wait while a process is made.
    shown: Mutex<Shown>,
    /// The runs that wait, told by the loop, which must not wait either.
    waiting: Mutex<Vec<WaitingRun>>,
    /// Guards `output.log` against two runs that rotate it at once.
    pub(super) output: Mutex<Appender>,
    /// What brings lines of `runs.log` and `output.log` to the disk, while others write.
    commit: Arc<Commit>,
    output_commit: Arc<Commit>,
}

/// Lines that wait for the log to become writable, at most: beyond it the oldest are lost, and counted.
const MOST_WAITING: usize = 256;
/// How many waiting runs a line tells of: it stays well below 64 KiB.
const MOST_WAITING_SHOWN: usize = 200;

#[derive(Debug, Clone, Default)]
struct Shown {
    summary: Summary,
    due: DueState,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub file: Appender,
    pub runs: u64,
    pub failures: u64,
    pub due: DueState,
    pub last: Option<Arc<End>>,
    /// Started and not ended: the id and the start line, for rotation to copy.
    pub unfinished: Vec<(RunId, Start)>,
    /// Of one reason, one for each trigger.
    streaks: Vec<Streak>,
    waiting: VecDeque<Vec<u8>>,
}

impl JobLog {
    pub(super) fn new(records: Arc<Common>, job: JobName, restored: Restored) -> Self {
        let runs: PathBuf = records.layout.runs(&job);
        let output = records.layout.output(&job);
        let last = restored.last.map(Arc::new);
        let due = DueState {
            last_due: restored.last_due,
            interval_due: restored.interval_due,
            after_due: restored.after_due,
            failed_in_row: restored.failed_in_row,
            failed_at: restored.failed_at,
        };
        let summary = Summary { runs: restored.runs, failures: restored.failures, last: last.clone() };
        let (file, output) = (Appender::new(runs), Appender::new(output));
        Self {
            commit: file.commit().clone(),
            output_commit: output.commit().clone(),
            shown: Mutex::new(Shown { summary, due }),
            waiting: Mutex::new(restored.waiting),
            inner: Mutex::new(Inner {
                file,
                runs: restored.runs,
                failures: restored.failures,
                due,
                last,
                unfinished: restored.unfinished.into_iter().map(|start| (start.run, start)).collect(),
                streaks: Vec::new(),
                waiting: VecDeque::new(),
            }),
            output: Mutex::new(output),
            records,
            job,
        }
    }

    /// The clock was wrong and was corrected: what is known of due times after `now` counts no more.
    pub(super) fn clock_corrected(&self, now: Timestamp) {
        let mut inner = lock(&self.inner);
        let due = &mut inner.due;
        for time in [&mut due.last_due, &mut due.interval_due, &mut due.after_due, &mut due.failed_at] {
            *time = (*time).min(Some(now));
        }
        self.show(&inner);
    }

    pub fn job(&self) -> &JobName {
        &self.job
    }

    pub fn summary(&self) -> Summary {
        lock(&self.shown).summary.clone()
    }

    /// What changed is shown from now on.
    pub(super) fn show(&self, inner: &Inner) {
        let summary = Summary { runs: inner.runs, failures: inner.failures, last: inner.last.clone() };
        *lock(&self.shown) = Shown { summary, due: inner.due };
    }

    pub(super) fn due_state(&self) -> DueState {
        lock(&self.shown).due
    }

    /// A run waits from now on: each line says so until one tells what became of it.
    pub fn waits(&self, run: WaitingRun) {
        let mut waiting = lock(&self.waiting);
        if waiting.iter().all(|other| other.run != run.run) {
            waiting.push(run);
        }
    }

    pub(super) fn waits_no_more(&self, run: RunId) {
        lock(&self.waiting).retain(|other| other.run != run);
    }

    /// The runs that waited, as a crash left them; from now on they are the caller's affair.
    pub fn take_waiting(&self) -> Vec<WaitingRun> {
        std::mem::take(&mut *lock(&self.waiting))
    }

    /// Runs that were started and not ended, as a crash left them.
    pub fn unfinished(&self) -> Vec<Start> {
        lock(&self.inner).unfinished.iter().map(|(_, start)| start.clone()).collect()
    }

    /// Waits until the lines that were written so far, and have to be on the disk, are there. Where it was not asked for, none
    /// have to. Nothing that follows from a line may happen before.
    pub fn commit(&self) {
        if let Err(error) = self.commit.commit() {
            self.records.faults.not_synced(&self.records.layout.runs(&self.job), &error);
        }
    }

    /// The same for what runs have printed.
    pub(super) fn commit_output(&self) {
        if let Err(error) = self.output_commit.commit() {
            self.records.faults.not_synced(&self.records.layout.output(&self.job), &error);
        }
    }

    /// A run ended. Returns its record, which [`JobLog::commit`] brings to the disk.
    pub fn end(&self, facts: &RunFacts, outcome: Outcome, ended: Timestamp) -> Arc<End> {
        let mut inner = lock(&self.inner);
        let end = self.note_end(&mut inner, facts, outcome, ended);
        self.write(&mut inner, LineOf::End(&end));
        end
    }

    /// Takes note of the end of a run. Returns its record, which is still to be written.
    fn note_end(&self, inner: &mut Inner, facts: &RunFacts, outcome: Outcome, ended: Timestamp) -> Arc<End> {
        inner.runs += 1;
        inner.failures += u64::from(outcome.status.is_failure());
        inner.due.note_end(outcome.status, ended);
        inner.unfinished.retain(|(run, _)| *run != facts.run);
        let end = Arc::new(self.end_line(inner, facts, outcome, ended));
        inner.last = Some(end.clone());
        self.show(inner);
        end
    }

    /// An attempt ended that will be retried. Returns its record, which [`JobLog::commit`] brings to the disk.
    pub fn attempt(&self, facts: &RunFacts, outcome: Outcome, ended: Timestamp) -> Arc<End> {
        let mut inner = lock(&self.inner);
        let end = Arc::new(self.end_line(&inner, facts, outcome, ended));
        self.write(&mut inner, LineOf::Attempt(&end));
        end
    }

    fn end_line(&self, inner: &Inner, facts: &RunFacts, outcome: Outcome, ended: Timestamp) -> End {
        // A run that a crash cut short ends by the clock of the next start, which may have gone back.
        let ended = ended.max(facts.started);
        End {
            run: facts.run,
            job: self.job.clone(),
            n: inner.runs,
            failures: inner.failures,
            triggered_by: facts.firing.triggered_by,
            due: facts.firing.due,
            started: facts.started,
            ended,
            duration_ms: milliseconds(ended) - milliseconds(facts.started),
            late_ms: milliseconds(facts.started) - milliseconds(facts.firing.due),
            attempt: facts.attempt,
            status: outcome.status,
            exit_code: outcome.exit_code,
            signal: outcome.signal,
            error: outcome.error.map(|error| shortened(error, LONGEST_ERROR)),
            output: outcome.output,
            usage: outcome.usage,
            parents: facts.firing.parents.clone(),
            spec: facts.spec.clone(),
            commit: facts.commit.clone(),
            state: self.state(inner),
        }
    }

    /// Due times did not become runs. Says whether that is news: the rest of a streak is not.
    pub fn gap(&self, gap: &Gap) -> bool {
        let Gap { kind, triggered_by, reason, due, until, count, .. } = gap;
        let mut inner = lock(&self.inner);
        let before = inner.due;
        inner.due.account(*triggered_by, *until);
        self.show(&inner);
        if inner.streaks.iter().any(|streak| !streak.is_of(*kind, reason)) {
            self.end_streaks(&mut inner);
        }
        if let Some(streak) = inner.streaks.iter_mut().find(|streak| streak.triggered_by == *triggered_by) {
            streak.add(*due, *until, *count, before);
            return false;
        }
        // What is only counted comes before a line that says that everything up to it is accounted for.
        self.write_rests(&mut inner);
        inner.streaks.push(Streak::begin(*kind, reason, *triggered_by));
        let line = self.gap_line(&inner, *kind, reason, *triggered_by, (*due, *until, *count), None);
        self.write(&mut inner, LineOf::from(&line));
        true
    }

    /// A run that waited never began. By itself, never part of a streak: it has an id that people were told.
    pub fn dropped(&self, run: RunId, gap: &Gap) {
        let mut inner = lock(&self.inner);
        self.waits_no_more(run);
        inner.due.account(gap.triggered_by, gap.until);
        self.show(&inner);
        self.end_streaks(&mut inner);
        let times = (gap.due, gap.until, gap.count);
        let line = self.gap_line(&inner, gap.kind, &gap.reason, gap.triggered_by, times, Some(run));
        self.write(&mut inner, LineOf::from(&line));
    }

    /// A run that waited was cancelled before it began: its start, with no process, and its end. In one piece, so that nobody
    /// ever sees it running.
    pub fn cancelled(&self, facts: &RunFacts, outcome: Outcome, ended: Timestamp) -> Arc<End> {
        let mut inner = lock(&self.inner);
        self.end_streaks(&mut inner);
        self.waits_no_more(facts.run);
        inner.due.account(facts.firing.due_of, facts.firing.due);
        let mut state = self.state(&inner);
        state.running.push(facts.run);
        let mut lines = encode(LineOf::Start(&self.start_line(&inner, facts, state)));
        let end = self.note_end(&mut inner, facts, outcome, ended);
        lines.extend(encode(LineOf::End(&end)));
        self.append(&mut inner, lines, About::Runs);
        end
    }

    /// Whether the log is held for as long as that, as it is while a process of the job is made.
    pub fn is_held(&self, patience: Duration) -> bool {
        is_held(&self.inner, patience)
    }

    /// Whether `output.log` is held for as long as that, as it is where a disk takes what a run prints slowly or not at all.
    pub fn output_is_held(&self, patience: Duration) -> bool {
        is_held(&self.output, patience)
    }

    pub(super) fn counted(&self) -> Vec<Gap> {
        let inner = lock(&self.inner);
        let of_streak = |streak: &Streak| {
            let Rest { first: due, last: until, count, .. } = streak.rest?;
            let (kind, reason, triggered_by) = (streak.kind, streak.reason.clone(), streak.triggered_by);
            Some(Gap { kind, job: self.job.clone(), triggered_by, reason, due, until, count })
        };
        inner.streaks.iter().filter_map(of_streak).collect()
    }

    /// Writes what is only counted; the streaks go on.
    fn write_rests(&self, inner: &mut Inner) {
        let going_on = inner.streaks.iter().map(|s| Streak::begin(s.kind, &s.reason, s.triggered_by)).collect();
        self.end_streaks(inner);
        inner.streaks = going_on;
    }

    pub(super) fn end_streaks(&self, inner: &mut Inner) {
        // In one piece: each line says that all of them are accounted for.
        let mut lines = Vec::new();
        for streak in std::mem::take(&mut inner.streaks) {
            if let Some(Rest { first, last, count, .. }) = streak.rest {
                let times = (first, last, count);
                let line = self.gap_line(inner, streak.kind, &streak.reason, streak.triggered_by, times, None);
                lines.extend(encode(LineOf::from(&line)));
            }
        }
        if !lines.is_empty() {
            self.append(inner, lines, About::Gaps);
        }
    }

    fn gap_line(
        &self,
        inner: &Inner,
        kind: GapKind,
        reason: &str,
        triggered_by: TriggeredBy,
        (due, until, count): (Timestamp, Timestamp, u64),
        run: Option<RunId>,
    ) -> Line {
        let gap = GapLine {
            job: self.job.clone(),
            n: inner.runs,
            failures: inner.failures,
            triggered_by,
            reason: shortened(reason.into(), LONGEST_ERROR),
            due,
            until,
            count,
            run,
            state: self.state(inner),
            last: inner.last_for_line(),
        };
        match kind {
            GapKind::Skipped => Line::Skipped(gap),
            GapKind::Missed => Line::Missed(gap),
        }
    }

    /// The job's state as a line says it.
    pub(super) fn state(&self, inner: &Inner) -> State {
        let waiting = lock(&self.waiting).iter().take(MOST_WAITING_SHOWN).copied().collect();
        State { waiting, ..inner.state() }
    }

    pub(super) fn flush(&self, streaks: bool) {
        let mut inner = lock(&self.inner);
        if streaks {
            self.write_rests(&mut inner);
        }
        // Still unwritable: that was said when the line began to wait, and is again while it does.
        let _ = self.append_waiting(&mut inner);
    }

    fn write(&self, inner: &mut Inner, line: LineOf<'_>) {
        let about = match line {
            LineOf::Start(_) | LineOf::Attempt(_) | LineOf::End(_) => About::Runs,
            LineOf::Skipped(_) | LineOf::Missed(_) => About::Gaps,
        };
        self.append(inner, encode(line), about);
    }

    /// Appends what waits and then `line`: the last line of the file is the state. What cannot be written waits.
    pub(super) fn append(&self, inner: &mut Inner, line: Vec<u8>, about: About) {
        if let Err(error) = self.append_waiting(inner).and_then(|()| self.append_now(inner, &line, about)) {
            self.wait_with(inner, line, &error);
        }
        if inner.unfinished.is_empty() {
            inner.file.close_if_many();
            // Whoever has it writes, and is followed by another line here.
            if let Ok(mut output) = self.output.try_lock() {
                output.close_if_many();
            }
        }
    }

    pub(super) fn append_waiting(&self, inner: &mut Inner) -> std::io::Result<()> {
        while let Some(first) = inner.waiting.pop_front() {
            // What it tells of is not looked at: there may be runs among them.
            if let Err(error) = self.append_now(inner, &first, About::Runs) {
                inner.waiting.push_front(first);
                return Err(error);
            }
            self.records.faults.record_written_late();
        }
        Ok(())
    }

    pub(super) fn wait_with(&self, inner: &mut Inner, line: Vec<u8>, error: &std::io::Error) {
        inner.waiting.push_back(line);
        self.records.faults.record_waits(inner.file.path(), error);
        if inner.waiting.len() > MOST_WAITING {
            inner.waiting.pop_front();
            self.records.faults.record_lost();
        }
    }

    fn append_now(&self, inner: &mut Inner, line: &[u8], about: About) -> std::io::Result<()> {
        let synced_below = self.records.synced_below(about);
        match self.room(inner, line.len() as u64)? {
            Room::Behind(before) => inner.file.append_behind(before, line, synced_below),
            Room::AtTheBeginning => {
                // In one piece: a new file never ends with the copies alone.
                let mut lines = inner.copies(&self.state(inner), line);
                lines.extend_from_slice(line);
                inner.file.append(&lines, synced_below)
            }
        }
    }

    /// Makes room for `length` more bytes, in a new file if need be; that begins with the starts of the unfinished runs. Says
    /// where they go: the file, and how long it is.
    pub(super) fn make_room(&self, inner: &mut Inner, length: u64) -> std::io::Result<(RawFd, u64)> {
        if let Room::Behind(before) = self.room(inner, length)? {
            return Ok((inner.file.raw_fd()?, before));
        }
        let copies = inner.copies(&self.state(inner), &[]);
        if !copies.is_empty() {
            inner.file.append(&copies, self.records.synced_below(About::Runs))?;
        }
        let (file, before) = inner.file.current()?;
        Ok((file.as_raw_fd(), before))
    }

    /// Where `length` more bytes go. It may be the beginning of a file because the one before is full, and is moved out of the
    /// way here; because a write failed after that had been done; or because others took the file away.
    fn room(&self, inner: &mut Inner, length: u64) -> std::io::Result<Room> {
        let settings = self.records.settings();
        let before = inner.file.current()?.1;
        if inner.file.was_taken_away() {
            self.records.faults.taken_away(inner.file.path());
        }
        if before > 0 && before + length > settings.max_size {
            // Its last lines are on the disk before those that follow.
            self.commit();
            inner.file.rotate(settings.max_files)?;
            return Ok(Room::AtTheBeginning);
        }
        Ok(if before == 0 { Room::AtTheBeginning } else { Room::Behind(before) })
    }
}

/// Where bytes go that are about to be written.
enum Room {
    AtTheBeginning,
    /// Behind so many.
    Behind(u64),
}

fn is_held<T>(mutex: &Mutex<T>, patience: Duration) -> bool {
    let until = Instant::now() + patience;
    loop {
        match mutex.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() >= until => return true,
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_micros(200)),
            Ok(_) | Err(TryLockError::Poisoned(_)) => return false,
        }
    }
}

impl Inner {
    /// The starts of the unfinished runs, as a new file begins with them; each says the state as it is now. Those that are
    /// still to come are none: `line`, and what waits.
    fn copies(&self, state: &State, line: &[u8]) -> Vec<u8> {
        let is_to_come = |run: &RunId| {
            let begin = format!("{{\"event\":\"start\",\"run\":\"{run}\"");
            self.waiting.iter().map(Vec::as_slice).chain([line]).any(|line| line.starts_with(begin.as_bytes()))
        };
        let copy = |(_, start): &(RunId, Start)| Start {
            n: self.runs,
            failures: self.failures,
            state: state.clone(),
            last: self.last_for_line(),
            copy: true,
            ..start.clone()
        };
        let written = self.unfinished.iter().filter(|(run, _)| !is_to_come(run));
        written.flat_map(|unfinished| encode(LineOf::Start(&copy(unfinished)))).collect()
    }

    /// The last end for a line that is not one itself. Its own state is old.
    pub fn last_for_line(&self) -> Option<Box<End>> {
        self.last.as_ref().map(|end| Box::new(End { state: State::default(), ..End::clone(end) }))
    }

    fn state(&self) -> State {
        // What is only counted is in no line yet: a line does not say that it is accounted for.
        let rests = self.streaks.iter().filter_map(|streak| streak.rest.map(|rest| rest.before));
        let known = rests.min_by_key(|before| before.last_due).unwrap_or(self.due);
        State {
            waiting: Vec::new(),
            last_due: known.last_due,
            interval_due: known.interval_due,
            after_due: known.after_due,
            failed_in_row: self.due.failed_in_row,
            failed_at: self.due.failed_at,
            running: self.unfinished.iter().map(|(run, _)| *run).collect(),
        }
    }
}

impl DueState {
    /// Takes note of a due time that became a run or a gap.
    pub(super) fn account(&mut self, triggered_by: TriggeredBy, due: Timestamp) {
        match triggered_by {
            TriggeredBy::Interval => self.interval_due = self.interval_due.max(Some(due)),
            TriggeredBy::After => {
                self.after_due = self.after_due.max(Some(due));
                return;
            }
            TriggeredBy::Cron | TriggeredBy::At | TriggeredBy::CatchUp => {}
            _ => return,
        }
        self.last_due = self.last_due.max(Some(due));
    }

    /// Takes note of how a run ended.
    fn note_end(&mut self, status: Status, ended: Timestamp) {
        if status == Status::Success {
            (self.failed_in_row, self.failed_at) = (0, None);
        } else if status.is_failure() {
            (self.failed_in_row, self.failed_at) = (self.failed_in_row.saturating_add(1), Some(ended));
        }
    }
}

/// Records say times in whole milliseconds, so durations are differences of those.
fn milliseconds(time: Timestamp) -> i64 {
    time.as_millisecond()
}

const LONGEST_ERROR: usize = 8 * 1024;

/// A text cut so that it takes at most `most` bytes in a record, escapes included: the line stays below 64 KiB.
fn shortened(mut text: String, most: usize) -> String {
    let mut room = most;
    let cut = text.char_indices().find_map(|(at, c)| {
        let takes = match c {
            '"' | '\\' => 2,
            '\0'..='\x1f' => 6,
            c => c.len_utf8(),
        };
        match room.checked_sub(takes) {
            Some(left) => {
                room = left;
                None
            }
            None => Some(at),
        }
    });
    if let Some(at) = cut {
        text.truncate(at);
        text.push('…');
    }
    text
}
