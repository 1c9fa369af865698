//! Waiting for a child and ending its group.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};

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
            ..Usage::default()
        },
    })
}

/// The kernel's peak counts the memory that the child shared with the runner until it executed its program. Only a figure
/// above the runner's own peak is surely the command's.
///
/// The runner's own peak only grows: what is below one that was seen before is below it now.
fn true_peak(max_rss_kb: u64) -> Option<u64> {
    static SEEN: AtomicU64 = AtomicU64::new(0);
    if max_rss_kb <= SEEN.load(Ordering::Relaxed) {
        return None;
    }
    let own = super::memory::own_peak_kb();
    SEEN.store(own, Ordering::Relaxed);
    (max_rss_kb > own).then_some(max_rss_kb)
}

/// Sends a signal to every process of the child's group. Says whether there was one.
pub fn signal_group(pid: i32, signal: i32) -> bool {
    // SAFETY: a plain system call; a group id of 1 or less would mean other processes and is never sent to.
    pid > 1 && unsafe { libc::kill(-pid, signal) } == 0
}

/// Whether any process is in the group, be it one that has ended and is not reaped.
pub fn group_exists(pid: i32) -> bool {
    signal_group(pid, 0)
}

/// The processes of the group that run.
///
/// One that has ended and that its parent does not reap counts no more: where the runner or some other program that takes no
/// notice of orphans is the first process of a container, it would stand there for ever.
pub fn running_in_group(group: i32) -> Vec<i32> {
    boot::members_of(group).into_iter().filter(|member| member.is_running).map(|member| member.pid).collect()
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

const NAMES: [(i32, &str); 28] = [
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
    (libc::SIGSTOP, "SIGSTOP"),
    (libc::SIGTSTP, "SIGTSTP"),
    (libc::SIGTTIN, "SIGTTIN"),
    (libc::SIGTTOU, "SIGTTOU"),
    (libc::SIGURG, "SIGURG"),
    (libc::SIGXCPU, "SIGXCPU"),
    (libc::SIGXFSZ, "SIGXFSZ"),
    (libc::SIGVTALRM, "SIGVTALRM"),
    (libc::SIGPROF, "SIGPROF"),
    (libc::SIGWINCH, "SIGWINCH"),
    (libc::SIGIO, "SIGIO"),
    (libc::SIGSYS, "SIGSYS"),
];

/// A signal's name, such as `SIGKILL` or `SIGRTMIN+3`.
pub fn signal_name(signal: i32) -> String {
    if let Some((_, name)) = NAMES.iter().find(|(number, _)| *number == signal) {
        return (*name).into();
    }
    match signal - libc::SIGRTMIN() {
        0 => "SIGRTMIN".into(),
        above if above > 0 && signal <= libc::SIGRTMAX() => format!("SIGRTMIN+{above}"),
        _ => format!("signal {signal}"),
    }
}

/// The number of a signal that is called `name`, with or without `SIG`, or that is that number.
pub fn signal_number(name: &str) -> Option<i32> {
    let name = name.to_ascii_uppercase();
    if let Ok(number) = name.parse::<i32>() {
        return (1..=libc::SIGRTMAX()).contains(&number).then_some(number);
    }
    let short = name.strip_prefix("SIG").unwrap_or(&name);
    if let Some(rest) = short.strip_prefix("RTMIN") {
        let above = if rest.is_empty() { 0 } else { rest.strip_prefix('+')?.parse().ok()? };
        let number = libc::SIGRTMIN().checked_add(above)?;
        return (number <= libc::SIGRTMAX()).then_some(number);
    }
    NAMES.iter().find(|(_, known)| known.strip_prefix("SIG") == Some(short)).map(|(number, _)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_known_by_name_and_number() {
        for (text, name) in [("term", "SIGTERM"), ("SIGINT", "SIGINT"), ("9", "SIGKILL"), ("sigrtmin+3", "SIGRTMIN+3")]
        {
            assert_eq!(signal_number(text).map(signal_name).as_deref(), Some(name), "{text}");
        }
        for text in ["", "0", "65", "-1", "SIGFOO", "RTMIN+99", "RTMIN-1", "RTMIN+"] {
            assert_eq!(signal_number(text), None, "{text}");
        }
    }
}
