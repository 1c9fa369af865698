//! Waiting for a child and ending its group.

use std::io;
use std::os::fd::AsRawFd;

use super::boot;
use super::spawn::Child;
use crate::model::Usage;

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub usage: Usage,
}

/// Waits for exactly this child, through its descriptor, and takes what it used with it (waitid(2)).
///
/// # Errors
/// The child was reaped by somebody else.
pub fn reap(child: &Child) -> io::Result<Exit> {
    // SAFETY: both are plain memory that the kernel fills; the raw call has the fifth argument, the usage, that libc's leaves out.
    let (info, usage) = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let mut usage: libc::rusage = std::mem::zeroed();
        loop {
            let result = libc::syscall(
                libc::SYS_waitid,
                libc::P_PIDFD,
                child.pidfd.as_raw_fd(),
                &raw mut info,
                libc::WEXITED,
                &raw mut usage,
            );
            if result == 0 {
                super::orphans::is_reaped(child.pid);
                break;
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        (info, usage)
    };
    // SAFETY: waitid filled the fields of a SIGCHLD.
    let status = unsafe { info.si_status() };
    let ms = |time: libc::timeval| time.tv_sec as u64 * 1_000 + time.tv_usec as u64 / 1_000;
    let (code, signal) = if info.si_code == libc::CLD_EXITED { (Some(status), None) } else { (None, Some(status)) };
    Ok(Exit {
        code,
        signal,
        usage: Usage {
            user_ms: ms(usage.ru_utime),
            system_ms: ms(usage.ru_stime),
            max_rss_kb: true_peak(usage.ru_maxrss as u64),
        },
    })
}

/// The kernel's peak counts the memory that the child shared with the runner until it executed its program. Only a figure
/// above the runner's own peak is surely the command's.
fn true_peak(max_rss_kb: u64) -> Option<u64> {
    (max_rss_kb > super::memory::own_peak_kb()).then_some(max_rss_kb)
}

/// Sends a signal to every process of the child's group. Says whether there was one.
pub fn signal_group(pid: i32, signal: i32) -> bool {
    // SAFETY: a plain system call; a group id of 1 or less would mean other processes and is never sent to.
    pid > 1 && unsafe { libc::kill(-pid, signal) } == 0
}

/// Whether any process of the group is left that runs, after its leader was reaped.
///
/// One that has ended and that its parent does not reap counts no more: where the runner or some other program that takes no
/// notice of orphans is the first process of a container, it would stand there for ever.
pub fn group_is_alive(pid: i32) -> bool {
    if !signal_group(pid, 0) {
        return false;
    }
    super::orphans::reap_group(pid);
    signal_group(pid, 0) && boot::members_of(pid).iter().any(|member| member.is_running)
}

/// Whether a signal that was just sent to the group reached somebody but its leader, which was reaped since: those who still
/// run and those who ended of it, but not those who had ended before and are not reaped.
pub fn group_was_told(pid: i32, signal: i32) -> bool {
    if !signal_group(pid, 0) {
        return false;
    }
    let members = boot::members_of(pid);
    // One that was there and is not any more went just now.
    members.is_empty() || members.iter().any(|member| member.is_running || member.ended_by == signal)
}

/// A signal's name, such as `SIGKILL`.
pub fn signal_name(signal: i32) -> String {
    const NAMES: [(i32, &str); 20] = [
        (libc::SIGHUP, "SIGHUP"),
        (libc::SIGINT, "SIGINT"),
        (libc::SIGQUIT, "SIGQUIT"),
        (libc::SIGILL, "SIGILL"),
        (libc::SIGTRAP, "SIGTRAP"),
        (libc::SIGABRT, "SIGABRT"),
        (libc::SIGBUS, "SIGBUS"),
        (libc::SIGFPE, "SIGFPE"),
        (libc::SIGKILL, "SIGKILL"),
        (libc::SIGUSR1, "SIGUSR1"),
        (libc::SIGSEGV, "SIGSEGV"),
        (libc::SIGUSR2, "SIGUSR2"),
        (libc::SIGPIPE, "SIGPIPE"),
        (libc::SIGALRM, "SIGALRM"),
        (libc::SIGTERM, "SIGTERM"),
        (libc::SIGCONT, "SIGCONT"),
        (libc::SIGXCPU, "SIGXCPU"),
        (libc::SIGXFSZ, "SIGXFSZ"),
        (libc::SIGVTALRM, "SIGVTALRM"),
        (libc::SIGSYS, "SIGSYS"),
    ];
    NAMES
        .iter()
        .find(|(number, _)| *number == signal)
        .map_or_else(|| format!("signal {signal}"), |(_, name)| (*name).into())
}
