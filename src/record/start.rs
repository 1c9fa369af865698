use std::io;
use std::os::fd::RawFd;
use std::sync::MutexGuard;

use super::common::About;
use super::encode::encode;
use super::job_log::{Inner, JobLog, RunFacts};
use super::line::{LineOf, Start, State};
use crate::model::{decimal, lock};

/// A `start` line that is complete but for the process that it names.
///
/// The newborn process itself writes it, just before it becomes its program: nothing ever runs that has no `start`, however
/// the runner dies. Until [`PreparedStart::settle`] the job's log is locked.
pub struct PreparedStart<'a> {
    log: &'a JobLog,
    inner: MutexGuard<'a, Inner>,
    start: Start,
    /// Everything up to the boot id's comma; room for the rest is there, so that nothing is allocated in the child.
    bytes: Vec<u8>,
    /// How long that is without the process.
    unnamed: usize,
    /// Where the process writes, and how long the file is before; or why it must not.
    target: io::Result<(RawFd, u64)>,
    /// Whether the line has to be on the disk before the process becomes its program.
    is_to_be_synced: bool,
    written: Written,
    /// Why the line is perhaps not on the disk, though it was written.
    not_synced: Option<i32>,
}

#[derive(Clone, Copy, PartialEq)]
enum Written {
    /// No process came so far.
    Not,
    /// The process wrote it.
    Yes,
    /// The process was not to write it.
    Later,
    /// The process could not, or only a part of it, and went on: the error, 0 for a part.
    Failed(i32),
}

const ROOM_FOR_NUMBERS: usize = 96;
const ROOM_FOR_GROUP: usize = 96;

impl JobLog {
    /// Makes the `start` of a run ready.
    #[inline(never)]
    pub fn prepare_start(&self, facts: &RunFacts) -> PreparedStart<'_> {
        let mut inner = lock(&self.inner);
        self.end_streaks(&mut inner);
        // Earlier lines first, and room for this one: the child can only append.
        let ready = self.append_waiting(&mut inner);
        let before = inner.due;
        inner.due.account(facts.firing.due_of, facts.firing.due);
        self.show(&inner);
        self.waits_no_more(facts.run);
        let mut state = self.state(&inner);
        if !state.running.contains(&facts.run) {
            state.running.push(facts.run);
        }
        let start = self.start_line(&inner, facts, state);
        let mut bytes = encode(LineOf::Start(&start));
        bytes.truncate(bytes.len().saturating_sub(NO_PROCESS.len()));
        bytes.reserve(ROOM_FOR_NUMBERS + ROOM_FOR_GROUP);
        let unnamed = bytes.len();
        let room = (bytes.len() + ROOM_FOR_NUMBERS + ROOM_FOR_GROUP) as u64;
        // What a rotation copies does not know of this run yet.
        let after = std::mem::replace(&mut inner.due, before);
        let target = ready.and_then(|()| self.make_room(&mut inner, room));
        inner.due = after;
        let is_to_be_synced = self.records.settings().syncs(About::Runs);
        // The process syncs what it writes; that there is such a file at all is for its parent to see to.
        if is_to_be_synced {
            self.commit();
            if let Err(error) = inner.file.sync_entries(self.records.layout.root()) {
                self.records.faults.not_synced(inner.file.path(), &error);
            }
        }
        PreparedStart {
            log: self,
            inner,
            start,
            bytes,
            unnamed,
            target,
            is_to_be_synced,
            written: Written::Not,
            not_synced: None,
        }
    }

    /// The line of an attempt that has no process so far.
    pub(super) fn start_line(&self, inner: &Inner, facts: &RunFacts, state: State) -> Start {
        Start {
            run: facts.run,
            job: self.job.clone(),
            n: inner.runs,
            failures: inner.failures,
            triggered_by: facts.firing.triggered_by,
            due: facts.firing.due,
            started: facts.started,
            attempt: facts.attempt,
            parents: facts.firing.parents.clone(),
            state,
            last: inner.last_for_line(),
            spec: facts.spec.clone(),
            commit: facts.commit.clone(),
            copy: facts.attempt > 1,
            boot: crate::os::boot::boot_id().into(),
            group: None,
            pid: None,
            pid_started: None,
        }
    }
}

/// How a start without a process ends.
const NO_PROCESS: &[u8] = b",\"pid\":null,\"pid_started\":null}\n";

impl PreparedStart<'_> {
    /// The process will be in this control group. Called before it is made.
    pub fn is_in_group(&mut self, name: &str) {
        // Room for the process's numbers is there in any case.
        push(&mut self.bytes, b",\"group\":");
        push(&mut self.bytes, &serde_json::to_vec(name).unwrap_or_default());
        self.bytes.reserve(ROOM_FOR_NUMBERS);
        self.unnamed = self.bytes.len();
        self.start.group = Some(name.to_owned());
    }

    /// Called in the newborn process: appends its numbers, writes the line, and brings it to the disk if that was asked for.
    /// Allocates nothing, locks nothing.
    pub fn write_in_child(&mut self, pid: i32, start_time: u64) {
        push(&mut self.bytes, b",\"pid\":");
        push_number(&mut self.bytes, pid.unsigned_abs().into());
        push(&mut self.bytes, b",\"pid_started\":");
        push_number(&mut self.bytes, start_time);
        push(&mut self.bytes, b"}\n");
        self.start.pid = Some(pid);
        self.start.pid_started = Some(start_time);
        let Ok((fd, _)) = &self.target else {
            self.written = Written::Later;
            return;
        };
        // SAFETY: async-signal-safe calls on a descriptor and memory that the parent keeps while it stands still.
        let (count, errno) = unsafe {
            let count = libc::write(*fd, self.bytes.as_ptr().cast(), self.bytes.len());
            (count, *libc::__errno_location())
        };
        self.written = match usize::try_from(count) {
            Ok(count) if count == self.bytes.len() => {
                // SAFETY: as above.
                if self.is_to_be_synced && unsafe { libc::fdatasync(*fd) } != 0 {
                    self.not_synced = Some(unsafe { *libc::__errno_location() });
                }
                Written::Yes
            }
            Ok(_) => Written::Failed(0),
            Err(_) => Written::Failed(errno),
        };
    }

    /// Called when the process runs, or could not be made: from now on the run is unfinished until its `end`.
    pub fn settle(mut self) {
        let run = self.start.run;
        if self.written == Written::Not {
            self.look_what_it_wrote();
        }
        if self.written == Written::Not {
            (self.start.pid, self.start.pid_started) = (None, None);
            self.bytes.truncate(self.unnamed);
            push(&mut self.bytes, NO_PROCESS);
        }
        self.inner.unfinished.retain(|(other, _)| *other != run);
        self.inner.unfinished.push((run, self.start));
        if let Some(errno) = self.not_synced {
            let error = io::Error::from_raw_os_error(errno);
            self.log.records.faults.not_synced(self.inner.file.path(), &error);
        }
        let line = std::mem::take(&mut self.bytes);
        let error = match (self.written, self.target) {
            (Written::Yes, _) => return,
            (_, Err(error)) => error,
            (Written::Not | Written::Later, Ok(_)) => {
                return self.log.append(&mut self.inner, line, About::Runs);
            }
            (Written::Failed(errno), Ok((_, length))) => {
                // Perhaps half a line: cut it off, and keep the whole one for later.
                self.inner.file.cut_back(length);
                match errno {
                    0 => io::Error::from(io::ErrorKind::StorageFull),
                    errno => io::Error::from_raw_os_error(errno),
                }
            }
        };
        self.log.wait_with(&mut self.inner, line, &error);
    }

    /// The process said nothing of its line: there was none, or it was ended before it could say so. Nobody else writes to the log
    /// meanwhile, so what came to it is its: the whole line, or a part of it, which is cut off.
    fn look_what_it_wrote(&mut self) {
        let Ok((_, before)) = &self.target else { return };
        let grown = self.inner.file.open_length().saturating_sub(*before);
        // One that has to be on the disk, and perhaps is not, is written again.
        if grown > 0 && grown == self.bytes.len() as u64 && !self.is_to_be_synced {
            self.written = Written::Yes;
        } else if grown > 0 {
            self.inner.file.cut_back(*before);
        }
    }
}

/// Appends within the room that is there; what does not fit is left out rather than allocated for.
fn push(bytes: &mut Vec<u8>, more: &[u8]) {
    if bytes.capacity() - bytes.len() >= more.len() {
        bytes.extend_from_slice(more);
    }
}

fn push_number(bytes: &mut Vec<u8>, number: u64) {
    push(bytes, decimal(number, &mut [0; 20]));
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::{Firing, JobName, RunId, TriggeredBy};
    use crate::record::{Layout, Line, Records, Settings, Synced};

    /// A stop ends a process that is being made at whatever it is at: also while it writes its line, and right after it.
    #[test]
    fn a_process_that_is_ended_while_it_writes_its_line_leaves_one_whole_line() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { max_size: 1_000_000, max_files: 2, synced: Synced::Nothing };
        let records = Records::new(Layout::new(dir.path()), settings);
        let job = JobName::new("a").unwrap();
        let log = records.job(&job);
        for n in 0..4 {
            let firing = Firing::new(job.clone(), TriggeredBy::Watch, Timestamp::UNIX_EPOCH);
            let run = RunId::from_u128(n + 1);
            let started = Timestamp::UNIX_EPOCH;
            let facts = RunFacts { run, firing, attempt: 1, started, spec: None, commit: None };
            let mut start = log.prepare_start(&facts);
            let before = *start.target.as_ref().map(|(_, before)| before).unwrap();
            match n {
                // It came to nothing.
                0 => {}
                // It had put its numbers, and nothing was written.
                1 => {
                    start.write_in_child(7, 8);
                    start.inner.file.cut_back(before);
                }
                // Half of it was.
                2 => {
                    start.write_in_child(7, 8);
                    start.inner.file.cut_back(before + 40);
                }
                // All of it was, and nothing was said.
                _ => start.write_in_child(7, 8),
            }
            start.written = Written::Not;
            start.settle();
        }
        let text = std::fs::read_to_string(records.layout.runs(&job)).unwrap();
        let starts: Vec<Line> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let pids = starts.iter().map(|line| match line {
            Line::Start(start) => (start.run.as_u128(), start.pid, start.pid_started),
            other => panic!("{other:?}"),
        });
        assert_eq!(
            pids.collect::<Vec<_>>(),
            [(1, None, None), (2, None, None), (3, None, None), (4, Some(7), Some(8))]
        );
    }
}
