//! A process that is held by a descriptor, so that its number cannot become another's meanwhile (pidfd_open(2)).

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// A process that is there or was when it was opened.
#[derive(Debug)]
pub struct Handle {
    pub pid: i32,
    fd: OwnedFd,
}

impl Handle {
    /// `None` if there is no such process.
    pub fn open(pid: i32) -> Option<Self> {
        let fd = Pid::from_raw(pid).and_then(|raw| pidfd_open(raw, PidfdFlags::empty()).ok())?;
        Some(Self { pid, fd })
    }

    /// Sends a signal; one that has ended or does not exist is nobody's.
    pub fn signal(&self, signal: i32) {
        // SAFETY: a system call without pointers (pidfd_send_signal(2)); realtime signals have no name in the library.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.fd.as_raw_fd(), signal, std::ptr::null::<u8>(), 0) };
    }

    pub fn has_ended(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], Some(&now)).is_ok_and(|ready| ready > 0)
    }

    /// Readable once it has ended.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }
}
