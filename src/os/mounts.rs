//! What is mounted where, and when that changes.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, poll};

/// One mount: its number, which is another one for each mount, and where it is.
pub type Mount = (u64, PathBuf);

/// All mounts that this process sees.
///
/// # Errors
/// /proc is not there.
pub fn mounts() -> io::Result<Vec<Mount>> {
    let text = std::fs::read("/proc/self/mountinfo")?;
    Ok(text.split(|byte| *byte == b'\n').filter_map(parse).collect())
}

/// A line of proc_pid_mountinfo(5): `36 35 98:0 /root /mount/point options …`.
fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let number = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    Some((number, unescaped(fields.nth(3)?)))
}

/// Spaces and the like stand as octal numbers.
fn unescaped(text: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let octal = (*byte == b'\\').then(|| after.get(..3)).flatten();
        let number = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match number {
            Some(number) => {
                path.push(number);
                rest = &after[3..];
            }
            None => {
                path.push(*byte);
                rest = after;
            }
        }
    }
    std::ffi::OsString::from_vec(path).into()
}

/// Calls `changed` each time that something was mounted or unmounted, on a thread of its own, until it says that nobody wants to
/// know any more.
///
/// # Errors
/// /proc is not there, or no thread can be had.
pub fn follow(mut changed: impl FnMut() -> bool + Send + 'static) -> io::Result<()> {
    let file = File::open("/proc/self/mountinfo")?;
    std::thread::Builder::new().name("mounts".into()).spawn(move || {
        loop {
            // The kernel says so as an urgent condition.
            let mut fds = [PollFd::new(&file, PollFlags::PRI)];
            match poll(&mut fds, None) {
                Ok(_) if fds[0].revents().intersects(PollFlags::PRI | PollFlags::ERR) => {
                    if !changed() {
                        return;
                    }
                }
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    tracing::warn!(target: "watch", "mounts cannot be followed any more, what they change is found by the next scan: {error}");
                    return;
                }
            }
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_with_whatever_names_they_have() {
        let line = br"36 35 98:0 /mnt1 /mnt/a\040b\134c rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        assert_eq!(parse(line), Some((36, PathBuf::from(r"/mnt/a b\c"))));
        assert_eq!(parse(b""), None);
        assert!(mounts().unwrap().iter().any(|(_, path)| path == std::path::Path::new("/")));
    }
}
