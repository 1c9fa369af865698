//! One runner a logs directory: a lock that the kernel holds and lets go when the process ends, however it ends.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens};

/// A lock file that this process holds. Its text names the holder, its time of change is the last sign of life.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// Why a lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody has it; their PID if the file says so.
    #[error("held by {}", .holder.map_or("another process".into(), |pid| format!("the runner with PID {pid}")))]
    Held { holder: Option<i32> },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// How long a lock may be held by what a runner that has ended had just begun.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

impl Lock {
    /// Takes the lock, and says when its last holder last gave a sign of life.
    ///
    /// # Errors
    /// Another process has it, or the file cannot be made.
    pub fn take(path: &Path) -> Result<(Self, Option<SystemTime>), LockError> {
        let existed = path.exists();
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o640).open(path)?;
        let patience = Instant::now() + PATIENCE;
        loop {
            match record_lock(&file, libc::F_OFD_SETLK, libc::F_WRLCK) {
                Ok(_) => break,
                Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => {
                    let holder = read_pid(&mut file);
                    // A child of a runner that was killed has a part in its lock until it has become its program.
                    let is_dead = holder.is_some_and(|pid| super::boot::start_time(pid).is_none());
                    if !is_dead || Instant::now() >= patience {
                        return Err(LockError::Held { holder });
                    }
                    std::thread::sleep(LOOK_AGAIN);
                }
                Err(error) => return Err(error.into()),
            }
        }
        let alive = if existed { file.metadata()?.modified().ok() } else { None };
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        if let Some(alive) = alive {
            // Taking the lock is no sign of life yet: only a runner that watches due times gives one.
            file.set_modified(alive)?;
        }
        Ok((Self { file }, alive))
    }

    /// Who holds the lock now, if anybody does. Looks without touching it: a runner that starts meanwhile is not in the way.
    pub fn holder(path: &Path) -> io::Result<Option<i32>> {
        let mut file = match OpenOptions::new().read(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        match record_lock(&file, libc::F_OFD_GETLK, libc::F_RDLCK)? {
            libc::F_UNLCK => Ok(None),
            _ => Ok(read_pid(&mut file)),
        }
    }

    /// Whether the file at `path` is the one that this lock is on.
    pub fn is_at(&self, path: &Path) -> bool {
        let identity = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
        match (self.file.metadata(), std::fs::metadata(path)) {
            (Ok(own), Ok(there)) => identity(own) == identity(there),
            // What cannot be told is no reason to do anything.
            (Err(_), _) => true,
            (_, Err(error)) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// Gives a sign of life.
    pub fn sign_life(&self) -> io::Result<()> {
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW as _ };
        let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT as _ };
        futimens(&self.file, &Timestamps { last_access: omit, last_modification: now }).map_err(Into::into)
    }
}

/// A lock of the whole file that belongs to the open file, not to the process (fcntl(2)). Returns the kind that it tells of.
fn record_lock(file: &File, command: i32, kind: i32) -> io::Result<i32> {
    let mut lock = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    // SAFETY: the descriptor is open, and the structure lives as long as the call.
    match unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut lock) } {
        0 => Ok(i32::from(lock.l_type)),
        _ => Err(io::Error::last_os_error()),
    }
}

fn read_pid(file: &mut File) -> Option<i32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taking_the_lock_is_no_sign_of_life() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runner.lock");
        drop(Lock::take(&path).unwrap());
        let long_ago = SystemTime::now() - std::time::Duration::from_secs(9_000);
        File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
        assert_eq!(Lock::take(&path).unwrap().1, Some(long_ago));
        let (lock, alive) = Lock::take(&path).unwrap();
        assert_eq!(alive, Some(long_ago));
        lock.sign_life().unwrap();
        drop(lock);
        assert!(Lock::take(&path).unwrap().1.is_some_and(|alive| alive > long_ago));
    }

    #[test]
    fn who_asks_for_the_holder_is_in_nobodys_way() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runner.lock");
        std::thread::scope(|scope| {
            let asks = scope.spawn(|| (0..2_000).all(|_| Lock::holder(&path).is_ok()));
            while !asks.is_finished() {
                drop(Lock::take(&path).unwrap());
            }
            assert!(asks.join().unwrap());
        });
    }

    #[test]
    fn what_a_dead_holder_had_just_begun_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runner.lock");
        let (lock, _) = Lock::take(&path).unwrap();
        // As if the lock were a child's, of a runner that was killed.
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        std::fs::write(&path, format!("{}\n", child.id())).unwrap();
        std::thread::scope(|scope| {
            let next = scope.spawn(|| Lock::take(&path).is_ok());
            let begun = Instant::now();
            while begun.elapsed() < 4 * LOOK_AGAIN && !next.is_finished() {
                std::thread::yield_now();
            }
            assert!(!next.is_finished(), "it is still held");
            drop(lock);
            assert!(next.join().unwrap());
        });
    }

    #[test]
    fn the_second_one_is_told_who_has_it_and_a_dropped_lock_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runner.lock");
        assert_eq!(Lock::holder(&path).unwrap(), None);
        let (lock, alive) = Lock::take(&path).unwrap();
        assert!(alive.is_none());
        let me = std::process::id() as i32;
        assert!(matches!(Lock::take(&path), Err(LockError::Held { holder: Some(pid) }) if pid == me));
        assert_eq!(Lock::holder(&path).unwrap(), Some(me));
        lock.sign_life().unwrap();
        drop(lock);
        assert_eq!(Lock::holder(&path).unwrap(), None);
        assert!(Lock::take(&path).unwrap().1.is_some());
    }
}
