//! Runs that a crash of the runner cut short: what is left of them is ended before anything new runs, and they get the end
//! that is missing.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::model::{Clock, Firing, Outcome, Status};
use crate::os::boot;
use crate::os::clock::SystemClock;
use crate::os::wait::signal_process;
use crate::record::{JobLog, OutputLog, RunFacts, Start};

/// A process that is surely one of a run that was cut short: held by a descriptor, so that its number cannot become another's.
struct Survivor {
    pid: i32,
    handle: OwnedFd,
}

const WHY: &str = "the runner ended while the run was active";
/// How often it is looked again for processes that others started meanwhile.
const MOST_ROUNDS: usize = 5;
const GRACE: Duration = Duration::from_secs(10);

/// Ends what is left of these runs, and records them as interrupted. Returns how many processes had to be ended.
pub(super) fn settle(unfinished: &[(Arc<JobLog>, Start)]) -> usize {
    if unfinished.is_empty() {
        return 0;
    }
    let mut count = 0;
    for round in 0..MOST_ROUNDS {
        let mut survivors = find(unfinished);
        if survivors.is_empty() {
            break;
        }
        count += survivors.len();
        // Those that come up later were started by those that were told to end.
        if round == 0 {
            end(&mut survivors, libc::SIGTERM, GRACE);
        }
        end(&mut survivors, libc::SIGKILL, GRACE);
        for survivor in &survivors {
            tracing::error!(target: "run", pid = survivor.pid, "a process of an interrupted run could not be ended");
        }
    }
    for (log, start) in unfinished {
        let facts = RunFacts {
            run: start.run,
            firing: Firing {
                job: start.job.clone(),
                triggered_by: start.triggered_by,
                due: start.due,
                args: Vec::new(),
            },
            attempt: start.attempt,
            started: start.started,
            spec: start.spec.clone(),
            commit: start.commit.clone(),
        };
        let now = SystemClock.now();
        OutputLog::new(log.clone(), start.run, None).marker(&format!("end {}: {WHY}", Status::Interrupted), now);
        log.end(&facts, Outcome { status: Status::Interrupted, ..Outcome::failed(WHY) }, now);
        tracing::warn!(target: "run", run = %start.run, "{}: interrupted, the runner had ended while it was active", start.job);
    }
    count
}

fn find(unfinished: &[(Arc<JobLog>, Start)]) -> Vec<Survivor> {
    let same_boot = |start: &Start| start.boot == boot::boot_id();
    let mut survivors = Vec::new();
    for pid in boot::all_pids() {
        if pid == std::process::id() as i32 {
            continue;
        }
        // The command itself by what its record says of it, its children by what it gave them.
        let is_command = unfinished.iter().any(|(_, start)| {
            same_boot(start)
                && start.pid == Some(pid)
                && start.pid_started.is_some_and(|ticks| boot::start_time(pid) == Some(ticks))
        });
        let run = boot::run_id_of(pid);
        let is_child = run.is_some_and(|run| unfinished.iter().any(|(_, start)| start.run.to_string() == run));
        if !is_command && !is_child {
            continue;
        }
        let Some(raw) = Pid::from_raw(pid) else { continue };
        let before = boot::start_time(pid);
        let Ok(handle) = pidfd_open(raw, PidfdFlags::empty()) else { continue };
        if boot::start_time(pid) == before {
            survivors.push(Survivor { pid, handle });
        }
    }
    survivors
}

/// Sends the signal to all and waits until they are gone; leaves those that are not.
fn end(survivors: &mut Vec<Survivor>, signal: i32, grace: Duration) {
    for survivor in survivors.iter() {
        signal_process(survivor.pid, signal);
        signal_process(survivor.pid, libc::SIGCONT);
    }
    let deadline = Instant::now() + grace;
    while !survivors.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        let gone: Vec<bool> = {
            let mut fds: Vec<PollFd<'_>> = survivors.iter().map(|s| PollFd::new(&s.handle, PollFlags::IN)).collect();
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) as _ };
            if poll(&mut fds, Some(&timeout)).is_err() {
                continue;
            }
            fds.iter().map(|fd| !fd.revents().is_empty()).collect()
        };
        let mut gone = gone.into_iter();
        survivors.retain(|_| !gone.next().unwrap_or(false));
    }
}
