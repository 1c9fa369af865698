use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::confine::Limits;
use super::control::Control;
use super::explain;
use super::pipe::{BUFFER, Read, Reader, pipe};
use super::tree::Tree;
use crate::model::{Clock, HumanDuration, Outcome, Output, Status, Stream, Usage};
use crate::os::buffers::READING;
use crate::os::cgroup::{Group, Groups, Used};
use crate::os::clock::{Stopwatch, SystemClock};
use crate::os::exec::{Exec, Text};
use crate::os::limits::is_root;
use crate::os::sandbox::{Sandbox, Walls};
use crate::os::spawn::{Child, Confinement, Newborn, spawn};
use crate::os::users::Identity;
use crate::os::wait::{self, Exit};
use crate::os::{memory, stack};

/// What one attempt carries out.
#[derive(Clone)]
pub struct Plan {
    pub argv: Vec<OsString>,
    /// Whether the runner itself put a shell in front.
    pub through_shell: bool,
    /// The same command without that shell, where nobody can tell the difference.
    pub direct: Option<Vec<OsString>>,
    /// The whole environment.
    pub env: Vec<(Text, Text)>,
    pub directory: PathBuf,
    /// How paths are named in errors, where not as they are: the environment may have been filled in.
    pub shown_paths: Vec<(PathBuf, String)>,
    pub timeout: Option<HumanDuration>,
    /// What a command that has to end is sent first.
    pub stop_signal: i32,
    pub kill_grace: HumanDuration,
    /// The exit codes of a command that has done what it should.
    pub success: Vec<i32>,
    /// The run's id, as its processes have it in their environment.
    pub run: String,
    pub attempt: u32,
    /// Not the run's own command but one that has to do something for it first: which of them.
    pub helper: Option<usize>,
    /// Where a control group for it can be made.
    pub groups: Option<Arc<Groups>>,
    pub limits: Limits,
    pub nice: i32,
    pub umask: Option<u32>,
    pub identity: Option<Identity>,
    pub walls: Option<Walls>,
    pub no_new_privs: bool,
}

impl Plan {
    /// A command with nothing that holds of it alone: no environment, no limit, no end but its own.
    pub fn new<S: Into<OsString>>(argv: Vec<S>, directory: PathBuf) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            through_shell: false,
            direct: None,
            env: Vec::new(),
            directory,
            shown_paths: Vec::new(),
            timeout: None,
            stop_signal: libc::SIGTERM,
            kill_grace: HumanDuration::from_secs(10),
            success: vec![0],
            run: String::new(),
            attempt: 1,
            helper: None,
            groups: None,
            limits: Limits::default(),
            nice: 0,
            umask: None,
            identity: None,
            walls: None,
            no_new_privs: false,
        }
    }

    /// A path as it may be named in an error.
    pub(super) fn shown(&self, path: &Path) -> String {
        let shown = self.shown_paths.iter().find(|(other, _)| other == path).map(|(_, shown)| shown.clone());
        shown.unwrap_or_else(|| path.display().to_string())
    }
}

impl fmt::Debug for Plan {
    /// Without the values in the environment: some are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("argv", &self.argv)
            .field("env", &self.env.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("directory", &self.directory)
            .field("run", &self.run)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

/// Who is told what happens during an attempt.
pub trait Observer {
    /// The process will begin in this control group, which does not have the run's id in its name. Called before it is made.
    fn is_in_group(&mut self, _name: &str) {}

    /// The process is there and has not become its program yet. Called in that process, which shares the runner's memory while
    /// the calling thread stands still: nothing may be allocated or locked, only async-signal-safe calls may be made.
    fn newborn(&mut self, newborn: Newborn);

    /// The program runs, or could not be run. Called once, directly after the process was made or not.
    fn settled(&mut self, pid: Option<i32>);

    /// A stream delivered bytes.
    fn output(&mut self, stream: Stream, bytes: &[u8]);

    /// Something that somebody should know before the attempt ends.
    fn warning(&mut self, text: &str);
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
    /// Without the environment, which the command has now.
    plan: Box<Plan>,
    control: &'a Control,
    child: Child,
    tree: Tree,
    streams: [Option<Reader>; 2],
    /// When the process was about to be made.
    begun: Instant,
    deadline: Option<Instant>,
    /// When most of the time will be over, until that was said.
    most_of_time: Option<Instant>,
    /// When to look how much memory is used, while nothing was said of it.
    look_at_memory: Option<Instant>,
    /// When it is one that takes its time, until that was seen.
    rest_at: Option<Instant>,
    phase: Phase,
    is_reaped: bool,
}

impl Drop for Attempt<'_> {
    /// Only where the observer panicked: nothing of a run outlives it, not even then.
    fn drop(&mut self) {
        if !self.is_reaped {
            self.tree.kill();
            let child = &self.child;
            let _ = self.tree.finish(libc::SIGKILL, Duration::ZERO, || true, || (), || wait::reap(child));
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
    /// The stop signal was sent; SIGKILL follows at the given time.
    Ending {
        why: Why,
        kill_at: Instant,
    },
    Killed {
        why: Why,
    },
}

/// Of its time or memory so much may be used before somebody is told, in hundredths.
const MOST: u32 = 80;
/// How often it is looked how much memory is used: the kernel tells of nothing before the limit.
const LOOK_AT_MEMORY: Duration = Duration::from_secs(1);
/// A run that takes longer than this may take much longer: until it ends its thread needs little.
const LONG: Duration = Duration::from_secs(1);
/// What a stream may still deliver after the command has ended: more than a pipe can hold.
const MOST_AFTER_END: usize = 4 * BUFFER;

impl<'a> Attempt<'a> {
    /// Carries out the plan from beginning to end; the calling thread waits that long.
    pub fn carry_out(plan: Box<Plan>, control: &'a Control, observer: &mut dyn Observer) -> Ended {
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

    /// Out of line, like all that is done before and after: none of it stands on the stack while the command is waited for.
    #[inline(never)]
    fn begin(mut plan: Box<Plan>, control: &'a Control, observer: &mut dyn Observer) -> Result<Box<Self>, String> {
        let env = std::mem::take(&mut plan.env);
        let (identity, walls) = (plan.identity.as_ref(), plan.walls.as_ref());
        let sandbox = walls.map(|walls| Sandbox::prepare(walls, is_root())).transpose();
        let sandbox = sandbox.map_err(|error| explain::sandbox_failure(&plan, &error))?;
        let exec = match &plan.direct {
            None => Exec::new(&plan.argv, &env, &plan.directory),
            Some(direct) => Exec::new(direct, &env, &plan.directory).and_then(|exec| exec.or_else(&plan.argv)),
        };
        let exec = exec.map_err(|error| error.to_string())?;
        drop(env);
        let no_pipe = |error: std::io::Error| format!("no pipe could be made for the command's output: {error}");
        let (out, out_end) = pipe().map_err(no_pipe)?;
        let (err, err_end) = pipe().map_err(no_pipe)?;
        let stdin = dev_null().ok_or("/dev/null cannot be opened")?;
        let group = Self::group(&plan)?;
        if let Some(name) = group.as_ref().and_then(Group::recorded_name) {
            observer.is_in_group(name);
        }
        let begun = Instant::now();
        let making = control.makes();
        let confinement = Confinement {
            group: group.as_ref().map(Group::directory),
            limits: plan.limits.resources.clone(),
            nice: plan.nice,
            umask: plan.umask,
            identity,
            sandbox: sandbox.as_ref(),
            no_new_privs: plan.no_new_privs,
            pidfd: Some(&making),
            ends_with_its_maker: plan.helper.is_some(),
        };
        let newborn = |newborn| observer.newborn(newborn);
        let made = spawn(&exec, stdin.as_fd(), out_end.as_fd(), err_end.as_fd(), &confinement, newborn);
        control.is_made();
        let child = match made {
            Ok(child) => child,
            Err(failed) => {
                if let Some(group) = group {
                    let _ = group.remove();
                }
                return Err(explain::spawn_failure(&plan, &failed.error));
            }
        };
        drop(exec);
        drop(sandbox);
        let now = Instant::now();
        let watches_memory = group.is_some() && plan.limits.in_group.memory.is_some();
        Ok(Box::new(Self {
            control,
            tree: Tree::new(child.pid, group, plan.run.clone()),
            child,
            streams: [Some(out), Some(err)],
            begun,
            deadline: plan.timeout.map(|timeout| now + timeout.0),
            most_of_time: plan.timeout.map(|timeout| now + timeout.0 * MOST / 100),
            look_at_memory: watches_memory.then(|| now + LOOK_AT_MEMORY),
            rest_at: Some(now + LONG),
            phase: Phase::Running,
            is_reaped: false,
            plan,
        }))
    }

    /// A control group of its own. Where none can be made that is an error only if a limit depends on it.
    fn group(plan: &Plan) -> Result<Option<Group>, String> {
        let Some(groups) = &plan.groups else { return Ok(None) };
        // Up to the first dot it is the run's id, by which the next start finds it.
        let name = plan.helper.map_or_else(|| plan.run.clone(), |number| format!("{}.s{number}", plan.run));
        match groups.create(&name, plan.attempt, &plan.limits.in_group) {
            Ok(group) => Ok(Some(group)),
            Err(_) if plan.limits.in_group.is_nothing() => Ok(None),
            Err(error) => Err(format!("its limits cannot be set: {error}")),
        }
    }

    fn see_through(mut self: Box<Self>, observer: &mut dyn Observer, watch: Stopwatch) -> Ended {
        while !self.wait(observer) {}
        let ended = watch.now();
        self.drain(observer);
        let (exit, used, left_behind) = self.end_the_rest(observer);
        Ended { outcome: self.outcome(exit, used), ended, left_behind }
    }

    /// Waits for whatever comes first and takes it up; true once the command has ended.
    fn wait(&mut self, observer: &mut dyn Observer) -> bool {
        let timeout = match &self.phase {
            Phase::Running => {
                [self.deadline, self.most_of_time, self.look_at_memory, self.rest_at].into_iter().flatten().min()
            }
            Phase::Ending { kill_at, .. } => Some(*kill_at),
            Phase::Killed { .. } => None,
        };
        let [child, told, out, err] = {
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
            [Some(0), Some(1), places[0], places[1]]
                .map(|place| place.map_or(PollFlags::empty(), |place| fds[place].revents()))
        };
        let (has_ended, is_told) = (!child.is_empty(), !told.is_empty());
        for (stream, events) in [(Stream::Out, out), (Stream::Err, err)] {
            if events == PollFlags::HUP {
                // Nothing stands in it, and nobody is left to write.
                self.streams[stream as usize] = None;
            } else if !events.is_empty() {
                read(&mut self.streams, stream, observer, &mut READING.lend_filled());
            }
        }
        if self.phase == Phase::Running {
            self.warn(observer);
        }
        let until = match &self.phase {
            Phase::Running => self.deadline,
            Phase::Ending { kill_at, .. } => Some(*kill_at),
            Phase::Killed { .. } => None,
        };
        let is_late = until.is_some_and(|at| Instant::now() >= at);
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

    /// Says once that most of the time, or of the memory, is used.
    #[inline(never)]
    fn warn(&mut self, observer: &mut dyn Observer) {
        let now = Instant::now();
        if self.rest_at.is_some_and(|at| now >= at) {
            self.rest_at = None;
            stack::give_back_unused();
            memory::give_back_now_and_then();
        }
        if self.most_of_time.is_some_and(|at| now >= at) {
            self.most_of_time = None;
            if let Some(timeout) = self.plan.timeout {
                observer.warning(&format!("{MOST} % of its timeout of {timeout} is over"));
            }
        }
        if self.look_at_memory.is_some_and(|at| now >= at) {
            self.look_at_memory = Some(now + LOOK_AT_MEMORY);
            let (most, used) = (self.plan.limits.in_group.memory, self.tree.memory_now());
            if let Some(warning) = explain::most_of_memory(most, used, MOST) {
                self.look_at_memory = None;
                observer.warning(&warning);
            }
        }
    }

    fn child_has_ended(&self) -> bool {
        poll(&mut [PollFd::new(&self.child.pidfd, PollFlags::IN)], Some(&as_timespec(Duration::ZERO))) == Ok(1)
    }

    #[inline(never)]
    fn drain(&mut self, observer: &mut dyn Observer) {
        drain(&mut self.streams, observer);
    }

    /// Begins the end: the stop signal to the process group, or SIGKILL at once.
    fn end(&mut self, why: Why, at_once: bool) {
        let first = match &self.phase {
            Phase::Running => why,
            Phase::Ending { why, .. } if at_once => why.clone(),
            Phase::Ending { .. } | Phase::Killed { .. } => return,
        };
        if at_once || self.plan.kill_grace.is_zero() {
            self.kill(first);
        } else {
            self.tree.signal(self.plan.stop_signal);
            self.phase = Phase::Ending { why: first, kill_at: Instant::now() + self.plan.kill_grace.0 };
        }
    }

    fn kill(&mut self, why: Why) {
        self.tree.kill();
        self.phase = Phase::Killed { why };
    }

    /// The command has ended: what is left of its processes is ended as well.
    #[inline(never)]
    fn end_the_rest(&mut self, observer: &mut dyn Observer) -> (Option<Exit>, Option<Used>, bool) {
        // Before its group goes.
        let mut used = self.tree.used();
        // Of a run that was told to end, the rest was told as well.
        let was_running = self.phase == Phase::Running;
        let tree = std::mem::replace(&mut self.tree, Tree::new(self.child.pid, None, String::new()));
        let control = self.control;
        let is_hurried = || control.asked().is_some_and(|stop| stop.at_once);
        let pid = &self.child;
        let reaped = || {
            let exit = wait::reap(pid).ok();
            // Perhaps by its group, and perhaps from within.
            if exit.as_ref().is_none_or(|exit| exit.signal == Some(libc::SIGKILL)) {
                tree.spend();
            }
            exit
        };
        let grace = self.plan.kill_grace.0;
        let (exit, rest) = {
            let streams = &mut self.streams;
            let meanwhile = || drain(streams, observer);
            tree.finish(self.plan.stop_signal, grace, is_hurried, meanwhile, reaped)
        };
        self.is_reaped = true;
        self.drain(observer);
        if rest && let Some(late) = tree.used().filter(|late| late.user_ms.is_some()) {
            used = Some(late);
        }
        (exit, used, rest && was_running)
    }

    #[inline(never)]
    fn outcome(&self, exit: Option<Exit>, used: Option<Used>) -> Outcome {
        let (mut code, mut signal) = exit.map_or((None, None), |exit| (exit.code, exit.signal));
        if self.plan.direct.is_some()
            && self.phase == Phase::Running
            && let Some(number) = signal.take()
        {
            // As the shell would have told it.
            code = Some(128 + number);
        }
        // Whichever of the two was seen first, that it has ended or that it is to end.
        let is_late = || self.plan.timeout.is_some_and(|timeout| self.begun.elapsed() >= timeout.0);
        let stopped = match self.control.was_ended_in_making() && is_late() {
            true => Status::Timeout,
            false => Status::Cancelled,
        };
        let (status, error) = match &self.phase {
            Phase::Ending { why, .. } | Phase::Killed { why } => match why {
                Why::Timeout => {
                    let after = self.plan.timeout.map(|t| t.to_string()).unwrap_or_default();
                    (Status::Timeout, Some(format!("timed out after {after}")))
                }
                Why::Stopped(reason) => (stopped, Some(reason.clone())),
            },
            Phase::Running if self.control.was_ended_in_making() => {
                (stopped, self.control.asked().map(|stop| stop.reason))
            }
            Phase::Running if code.is_some_and(|code| self.plan.success.contains(&code)) => (Status::Success, None),
            Phase::Running => {
                let no_memory = explain::out_of_memory(&self.plan, used);
                (Status::Failed, Some(no_memory.unwrap_or_else(|| explain::bad_exit(&self.plan, code, signal))))
            }
        };
        Outcome {
            status,
            exit_code: code,
            signal,
            error,
            output: Output::default(),
            usage: exit.map(|exit| usage(exit.usage, used)),
        }
    }
}

/// What the command and those it waited for have used, or where a control group knows it, all processes of the attempt.
fn usage(own: Usage, used: Option<Used>) -> Usage {
    let Some(used) = used else { return own };
    let (read_bytes, written_bytes) = used.io.unzip();
    Usage {
        user_ms: used.user_ms.unwrap_or(own.user_ms),
        system_ms: used.system_ms.unwrap_or(own.system_ms),
        peak_memory_kb: used.peak_kb,
        read_bytes,
        written_bytes,
        ..own
    }
}

/// Reads once. Returns how much, 0 if there is nothing now.
fn read(streams: &mut [Option<Reader>; 2], stream: Stream, observer: &mut dyn Observer, buffer: &mut [u8]) -> usize {
    let place = &mut streams[stream as usize];
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
fn drain(streams: &mut [Option<Reader>; 2], observer: &mut dyn Observer) {
    if streams.iter().all(Option::is_none) {
        return;
    }
    let mut buffer = READING.lend_filled();
    for stream in [Stream::Out, Stream::Err] {
        let mut total = 0;
        while total < MOST_AFTER_END {
            match read(streams, stream, observer, &mut buffer) {
                0 => break,
                count => total += count,
            }
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
