//! The runner's own limits, and those that its children get back.

use std::sync::OnceLock;

static ORIGINAL: OnceLock<libc::rlimit> = OnceLock::new();

/// Raises how many files this process may have open to `needed`, as far as the hard limit goes. Children get the original.
///
/// Returns the limit that now holds.
pub fn raise_open_files(needed: u64) -> u64 {
    // SAFETY: plain memory, filled by the kernel.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) != 0 {
            return 0;
        }
        if limit.rlim_cur >= needed {
            return limit.rlim_cur;
        }
        let raised = libc::rlimit { rlim_cur: needed.min(limit.rlim_max), rlim_max: limit.rlim_max };
        let _ = ORIGINAL.set(limit);
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raised) == 0 { raised.rlim_cur } else { limit.rlim_cur }
    }
}

/// The limit from before [`raise_open_files`], if it was raised.
pub(super) fn original_open_files() -> Option<libc::rlimit> {
    ORIGINAL.get().copied()
}

/// Sets soft and hard limit of this process alone. Async-signal-safe.
pub(super) unsafe fn set(resource: libc::__rlimit_resource_t, most: u64) -> Result<(), libc::c_int> {
    // SAFETY: plain memory of this frame.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(resource, &mut limit) != 0 {
            return Err(super::spawn::errno());
        }
        // What the runner may not do itself it cannot give; less is not what was asked for, but never more.
        let most = if is_root() { most } else { most.min(limit.rlim_max) };
        limit = libc::rlimit { rlim_cur: most, rlim_max: most };
        if libc::setrlimit(resource, &limit) == 0 { Ok(()) } else { Err(super::spawn::errno()) }
    }
}

/// Makes this process so much nicer than it is; below nothing needs root. Async-signal-safe.
pub(super) unsafe fn add_niceness(by: i32) -> Result<(), libc::c_int> {
    // SAFETY: system calls without pointers; the raw one tells 20 minus the niceness.
    unsafe {
        let now = 20 - libc::syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, 0) as i32;
        let then = (now + by).clamp(-20, 19);
        if libc::syscall(libc::SYS_setpriority, libc::PRIO_PROCESS, 0, then) != 0 {
            return Err(super::spawn::errno());
        }
        // A session of its own is weighed as a whole against others (sched(7), "The autogroup feature"). Not everywhere there.
        let file = libc::open(c"/proc/self/autogroup".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if file >= 0 {
            let tens = b'0' + (then.unsigned_abs() / 10) as u8;
            let ones = b'0' + (then.unsigned_abs() % 10) as u8;
            let text = [if then < 0 { b'-' } else { b' ' }, tens, ones];
            let text = if then < 0 { &text[..] } else { &text[1..] };
            libc::write(file, text.as_ptr().cast(), text.len());
            libc::close(file);
        }
        Ok(())
    }
}

/// Whether this process may do everything.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
