use std::io;
use std::path::{Path, PathBuf};

use crate::os::file::beside;

/// The n-th rotated file of a log, the newest being 1.
pub(super) fn rotated(path: &Path, n: u32) -> PathBuf {
    beside(path, &format!(".{n}"))
}

/// Moves a log out of the way: `x.log` becomes `x.log.1`, that `x.log.2`, and so on; the one after the last goes.
pub(super) fn rotate(path: &Path, keep: u32) -> io::Result<()> {
    let tolerate = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    // Only as far as there are files: most logs have few.
    let mut last = 0;
    while last < keep && rotated(path, last + 1).exists() {
        last += 1;
    }
    if last == keep {
        tolerate(std::fs::remove_file(rotated(path, keep)))?;
        last -= 1;
    }
    for n in (1..=last).rev() {
        tolerate(std::fs::rename(rotated(path, n), rotated(path, n + 1)))?;
    }
    tolerate(std::fs::rename(path, rotated(path, 1)))
}

/// A log's files that exist, the oldest first, the current one last.
pub(super) fn existing(path: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut n = 1;
    while rotated(path, n).exists() {
        files.push(rotated(path, n));
        n += 1;
    }
    files.reverse();
    if path.exists() {
        files.push(path.to_path_buf());
    }
    files
}
