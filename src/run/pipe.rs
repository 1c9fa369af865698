use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

/// The reading end of one of a command's streams.
#[derive(Debug)]
pub(super) struct Reader {
    fd: OwnedFd,
    is_large: bool,
}

/// What a read came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    Bytes(usize),
    /// Nothing there now.
    Empty,
    /// Nobody holds the writing end any more.
    Closed,
}

const DEFAULT_PIPE: usize = 64 * 1024;
/// What a pipe of a command that prints much is made; the system's limit for a user holds 64 runs with two of these.
const LARGE_PIPE: usize = 256 * 1024;
/// As much as a pipe can hold, so that one read empties it.
pub(super) const BUFFER: usize = LARGE_PIPE;

/// A pipe whose reading end does not block.
pub(super) fn pipe() -> io::Result<(Reader, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    fcntl_setfl(&read, OFlags::NONBLOCK)?;
    Ok((Reader { fd: read, is_large: false }, write))
}

impl Reader {
    pub fn read(&mut self, buffer: &mut [u8]) -> Read {
        loop {
            match rustix::io::read(&self.fd, &mut *buffer) {
                Ok(0) => return Read::Closed,
                Ok(count) => {
                    if count >= DEFAULT_PIPE && !self.is_large {
                        self.is_large = true;
                        // Refused where the user's pipes have too many pages already: then it stays as it is.
                        let _ = fcntl_setpipe_size(&self.fd, LARGE_PIPE);
                    }
                    return Read::Bytes(count);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Read::Empty,
                Err(_) => return Read::Closed,
            }
        }
    }
}

impl AsFd for Reader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
