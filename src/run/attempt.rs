use std::cell::RefCell;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::control::Control;
use super::explain;
use super::pipe::{BUFFER, Read, Reader, pipe};
use crate::model::{Clock, HumanDuration, Outcome, Output, Status, Stream};
use crate::os::clock::{Stopwatch, SystemClock};
use crate::os::exec::Exec;
use crate::os::spawn::{Child, Newborn, spawn};
use crate::os::wait::{self, Exit};

/// What one attempt carries out.
#[derive(Clone)]
pub struct Plan {
    pub argv: Vec<String>,
    /// Whether the runner itself put a shell in front.
    pub through_shell: bool,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    pub directory: PathBuf,
    pub timeout: Option<HumanDuration>,
    pub kill_grace: HumanDuration,
    /// The exit codes of a command that has done what it should.
    pub success: Vec<i32>,
}

impl fmt::Debug for Plan {
    /// Without the values in the environment: some are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { argv, through_shell, env, directory, timeout, kill_grace, success } = self;
        f.debug_struct("Plan")
            .field("argv", argv)
            .field("through_shell", through_shell)
            .field("env", &env.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("directory", directory)
            .field("timeout", timeout)
            .field("kill_grace", kill_grace)
            .field("success", success)
            .finish()
    }
}

/// Who is told what happens during an attempt.
pub trait Observer {
    /// The process is there and has not become its program yet. Called in that process, which shares the runner's memory while
    /// the calling thread stands still: nothing may be allocated or locked, only async-signal-safe calls may be made.
    fn newborn(&mut self, newborn: Newborn);

    /// The program runs, or could not be run. Called once, directly after the process was made or not.
    fn settled(&mut self, pid: Option<i32>);

    /// A stream delivered bytes.
    fn output(&mut self, stream: Stream, bytes: &[u8]);
}

/// What an attempt came to. Its `output` is the observer's to count.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    pub outcome: Outcome,
    /// When the command ended: its beginning and what it took, so that no change of the clock comes between. What it left
    /// behind may have taken longer.
    pub ended: Timestamp,
    /// Processes of its group were still there when the command ended, and were ended.
    pub left_behind: bool,
}

/// One attempt that is under way.
#[derive(Debug)]
pub struct Attempt<'a> {
    plan: &'a Plan,
    control: &'a Control,
    child: Child,
    streams: [Option<Reader>; 2],
    deadline: Option<Instant>,
    phase: Phase,
    is_reaped: bool,
}

impl Drop for Attempt<'_> {
    /// Only where the observer panicked: nothing of a run outlives it, not even then.
    fn drop(&mut self) {
        if !self.is_reaped {
            wait::signal_group(self.child.pid, libc::SIGKILL);
            let _ = wait::reap(&self.child);
        }
    }
}

/// Why a run has to end before its time.
#[derive(Debug, Clone, PartialEq)]
enum Why {
    Timeout,
    Stopped(String),
}

#[derive(Debug, Clone, PartialEq)]
enum Phase {
    Running,
    /// SIGTERM was sent; SIGKILL follows at the given time.
    Ending {
        why: Why,
        kill_at: Instant,
    },
    Killed {
        why: Why,
    },
}

/// While processes that a command left behind get their grace, how often it is looked whether they are gone: there is
/// nothing to wait on for a whole group.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// What a stream may still deliver after the command has ended: more than a pipe can hold.
const MOST_AFTER_END: usize = 4 * BUFFER;

impl<'a> Attempt<'a> {
    /// Carries out the plan from beginning to end; the calling thread waits that long.
    pub fn carry_out(plan: &'a Plan, control: &'a Control, observer: &mut dyn Observer) -> Ended {
        let watch = Stopwatch::start(SystemClock.now());
        if let Some(stop) = control.asked() {
            observer.settled(None);
            let outcome = Outcome { status: Status::Cancelled, ..Outcome::failed(stop.reason) };
            return Ended { outcome, ended: watch.now(), left_behind: false };
        }
        let begun = Self::begin(plan, control, observer);
        observer.settled(begun.as_ref().ok().map(|attempt| attempt.child.pid));
        match begun {
            Ok(attempt) => attempt.see_through(observer, watch),
            Err(error) => Ended { outcome: Outcome::failed(error), ended: watch.now(), left_behind: false },
        }
    }

    fn begin(plan: &'a Plan, control: &'a Control, observer: &mut dyn Observer) -> Result<Self, String> {
        let exec = Exec::new(&plan.argv, &plan.env, &plan.directory).map_err(|error| error.to_string())?;
        let no_pipe = |error: std::io::Error| format!("no pipe could be made for the command's output: {error}");
        let (out, out_end) = pipe().map_err(no_pipe)?;
        let (err, err_end) = pipe().map_err(no_pipe)?;
        let stdin = dev_null().ok_or("/dev/null cannot be opened")?;
        let child = spawn(&exec, stdin.as_fd(), out_end.as_fd(), err_end.as_fd(), |newborn| observer.newborn(newborn))
            .map_err(|error| explain::spawn_failure(plan, &error))?;
        Ok(Self {
            plan,
            control,
            child,
            streams: [Some(out), Some(err)],
            deadline: plan.timeout.map(|timeout| Instant::now() + timeout.0),
            phase: Phase::Running,
            is_reaped: false,
        })
    }

    fn see_through(mut self, observer: &mut dyn Observer, watch: Stopwatch) -> Ended {
        thread_local! {
            static BUFFER_OF_THREAD: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER]);
        }
        BUFFER_OF_THREAD.with_borrow_mut(|buffer| {
            while !self.wait(observer, buffer) {}
            let ended = watch.now();
            self.drain(observer, buffer);
            let (exit, left_behind) = self.end_the_rest(observer, buffer);
            Ended { outcome: self.outcome(exit), ended, left_behind }
        })
    }

    /// Waits for whatever comes first and takes it up; true once the command has ended.
    fn wait(&mut self, observer: &mut dyn Observer, buffer: &mut [u8]) -> bool {
        let timeout = match &self.phase {
            Phase::Running => self.deadline,
            Phase::Ending { kill_at, .. } => Some(*kill_at),
            Phase::Killed { .. } => None,
        };
        let [has_ended, is_told, readable_out, readable_err] = {
            let mut fds = vec![
                PollFd::new(&self.child.pidfd, PollFlags::IN),
                PollFd::from_borrowed_fd(self.control.event(), PollFlags::IN),
            ];
            let mut places = [None, None];
            for (place, stream) in places.iter_mut().zip(&self.streams) {
                if let Some(reader) = stream {
                    *place = Some(fds.len());
                    fds.push(PollFd::new(reader, PollFlags::IN));
                }
            }
            let left = timeout.map(|at| as_timespec(at.saturating_duration_since(Instant::now())));
            if poll(&mut fds, left.as_ref()).is_err() {
                return false;
            }
            let ready = |place: Option<usize>| place.is_some_and(|i| !fds[i].revents().is_empty());
            [ready(Some(0)), ready(Some(1)), ready(places[0]), ready(places[1])]
        };
        for (stream, ready) in [(Stream::Out, readable_out), (Stream::Err, readable_err)] {
            if ready {
                self.read(stream, observer, buffer);
            }
        }
        let is_late = timeout.is_some_and(|at| Instant::now() >= at);
        // What has ended by itself was neither stopped nor too slow, also if it did while its output was taken.
        if has_ended || (is_told || is_late) && self.child_has_ended() {
            return true;
        }
        if is_told && let Some(stop) = self.control.take_event() {
            self.end(Why::Stopped(stop.reason), stop.at_once);
        }
        if is_late {
            match &self.phase {
                Phase::Running => self.end(Why::Timeout, false),
                Phase::Ending { why, .. } => self.kill(why.clone()),
                Phase::Killed { .. } => {}
            }
        }
        false
    }

    fn child_has_ended(&self) -> bool {
        poll(&mut [PollFd::new(&self.child.pidfd, PollFlags::IN)], Some(&as_timespec(Duration::ZERO))) == Ok(1)
    }

    /// Reads once. Returns how much, 0 if there is nothing now.
    fn read(&mut self, stream: Stream, observer: &mut dyn Observer, buffer: &mut [u8]) -> usize {
        let place = &mut self.streams[stream as usize];
        let Some(reader) = place else { return 0 };
        match reader.read(buffer) {
            Read::Bytes(count) => {
                observer.output(stream, &buffer[..count]);
                count
            }
            Read::Empty => 0,
            Read::Closed => {
                *place = None;
                0
            }
        }
    }

    /// Takes what stands in the pipes. A process that goes on printing gets no more than its share.
    fn drain(&mut self, observer: &mut dyn Observer, buffer: &mut [u8]) {
        for stream in [Stream::Out, Stream::Err] {
            let mut total = 0;
            while total < MOST_AFTER_END {
                match self.read(stream, observer, buffer) {
                    0 => break,
                    count => total += count,
                }
            }
        }
    }

    /// Begins the end: SIGTERM to the group, or SIGKILL at once.
    fn end(&mut self, why: Why, at_once: bool) {
        let first = match &self.phase {
            Phase::Running => why,
            Phase::Ending { why, .. } if at_once => why.clone(),
            Phase::Ending { .. } | Phase::Killed { .. } => return,
        };
        if at_once || self.plan.kill_grace.is_zero() {
            self.kill(first);
        } else {
            wait::signal_group(self.child.pid, libc::SIGTERM);
            // A stopped process would not see it.
            wait::signal_group(self.child.pid, libc::SIGCONT);
            self.phase = Phase::Ending { why: first, kill_at: Instant::now() + self.plan.kill_grace.0 };
        }
    }

    fn kill(&mut self, why: Why) {
        wait::signal_group(self.child.pid, libc::SIGKILL);
        self.phase = Phase::Killed { why };
    }

    /// The command has ended: what is left of its group is ended as well.
    fn end_the_rest(&mut self, observer: &mut dyn Observer, buffer: &mut [u8]) -> (Option<Exit>, bool) {
        let pid = self.child.pid;
        // Its id cannot go to another group while the command is not reaped.
        wait::signal_group(pid, libc::SIGTERM);
        let exit = wait::reap(&self.child).ok();
        self.is_reaped = true;
        if !wait::group_was_told(pid, libc::SIGTERM) {
            self.drain(observer, buffer);
            return (exit, false);
        }
        // Of a run that was told to end, the rest was told as well.
        let left_behind = self.phase == Phase::Running;
        wait::signal_group(pid, libc::SIGCONT);
        let kill_at = Instant::now() + self.plan.kill_grace.0;
        while wait::group_is_alive(pid) && Instant::now() < kill_at && !self.control.asked().is_some_and(|s| s.at_once)
        {
            std::thread::sleep(LOOK_AGAIN);
            self.drain(observer, buffer);
        }
        if wait::signal_group(pid, libc::SIGKILL) {
            // Gone for good as soon as the kernel comes to it.
            let gone_by = Instant::now() + Duration::from_secs(5);
            while wait::group_is_alive(pid) && Instant::now() < gone_by {
                std::thread::sleep(LOOK_AGAIN);
            }
        }
        self.drain(observer, buffer);
        (exit, left_behind)
    }

    fn outcome(&self, exit: Option<Exit>) -> Outcome {
        let (code, signal) = exit.map_or((None, None), |exit| (exit.code, exit.signal));
        let (status, error) = match &self.phase {
            Phase::Ending { why, .. } | Phase::Killed { why } => match why {
                Why::Timeout => {
                    let after = self.plan.timeout.map(|t| t.to_string()).unwrap_or_default();
                    (Status::Timeout, Some(format!("timed out after {after}")))
                }
                Why::Stopped(reason) => (Status::Cancelled, Some(reason.clone())),
            },
            Phase::Running if code.is_some_and(|code| self.plan.success.contains(&code)) => (Status::Success, None),
            Phase::Running => (Status::Failed, Some(explain::bad_exit(self.plan, code, signal))),
        };
        Outcome {
            status,
            exit_code: code,
            signal,
            error,
            output: Output::default(),
            usage: exit.map(|exit| exit.usage),
        }
    }
}

fn as_timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs() as i64, tv_nsec: i64::from(duration.subsec_nanos()) as _ }
}

/// Opened once: every command's standard input.
fn dev_null() -> Option<&'static File> {
    static NULL: OnceLock<Option<File>> = OnceLock::new();
    NULL.get_or_init(|| File::open("/dev/null").ok()).as_ref()
}
