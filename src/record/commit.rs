//! When what was appended to a file is on the disk.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::model::lock;

/// Brings appended lines to the disk, many with one call: who comes while another is at it waits, and then one call does
/// for all that came meanwhile. Each file has its own, so that no file's disk is waited for by another's writers.
#[derive(Debug, Default)]
pub(super) struct Commit {
    state: Mutex<State>,
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Appends that have to be on the disk, and how many of them are.
    written: u64,
    synced: u64,
    is_syncing: bool,
    file: Option<Arc<File>>,
    /// Where entries of new files and directories stand.
    directories: Vec<PathBuf>,
    #[cfg(test)]
    calls: u64,
}

impl Commit {
    /// Lines were appended that have to be on the disk before somebody goes on.
    pub fn wrote(&self, file: &Arc<File>, directories: Vec<PathBuf>) {
        let mut state = lock(&self.state);
        state.written += 1;
        state.file = Some(file.clone());
        state.directories.extend(directories);
    }

    /// Waits until all that was appended before this call is on the disk.
    ///
    /// # Errors
    /// The disk refused. It is told to one of those who wait, and not tried again: the kernel tells of it once.
    pub fn commit(&self) -> io::Result<()> {
        let mut state = lock(&self.state);
        let wanted = state.written;
        loop {
            if state.synced >= wanted {
                return Ok(());
            }
            if !state.is_syncing {
                break;
            }
            state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.is_syncing = true;
        let (all, file) = (state.written, state.file.take());
        let directories = std::mem::take(&mut state.directories);
        drop(state);
        let result = file.map_or(Ok(()), |file| file.sync_data()).and(sync_directories(&directories));
        let mut state = lock(&self.state);
        state.is_syncing = false;
        state.synced = all;
        #[cfg(test)]
        {
            state.calls += 1;
        }
        drop(state);
        self.done.notify_all();
        result
    }
}

/// Brings the entries of directories to the disk. One that is gone has none.
pub(super) fn sync_directories(directories: &[PathBuf]) -> io::Result<()> {
    let sync = |directory: &PathBuf| match File::open(directory) {
        Ok(file) => file.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    directories.iter().map(sync).fold(Ok(()), io::Result::and)
}

/// The directory in which a path's entry stands.
pub(super) fn parent(path: &Path) -> PathBuf {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_path_buf()
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn who_comes_while_another_syncs_shares_the_next_call_and_all_of_it_is_synced() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let commit = Commit::default();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        commit.wrote(&file, Vec::new());
                        commit.commit().unwrap();
                    }
                });
            }
        });
        let state = lock(&commit.state);
        assert_eq!((state.written, state.synced), (400, 400));
        assert!(state.calls <= 400);
        drop(state);
        // Many lines, one call.
        let commit = Commit::default();
        (0..100).for_each(|_| commit.wrote(&file, Vec::new()));
        commit.commit().unwrap();
        commit.commit().unwrap();
        assert_eq!(lock(&commit.state).calls, 1);
    }

    #[test]
    fn a_disk_that_refuses_is_told_of_once_and_holds_nobody_up() {
        // A pipe cannot be synced.
        let (_read, write) = std::io::pipe().unwrap();
        let file = Arc::new(File::from(OwnedFd::from(write)));
        let commit = Commit::default();
        commit.wrote(&file, Vec::new());
        assert!(commit.commit().is_err());
        assert!(commit.commit().is_ok());
    }

    #[test]
    fn directories_are_synced_as_well_and_one_that_is_gone_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let gone = dir.path().join("gone");
        assert!(sync_directories(&[dir.path().to_path_buf(), gone.clone()]).is_ok());
        std::fs::write(&gone, "a file").unwrap();
        assert!(sync_directories(&[gone.join("below")]).is_err());
        assert_eq!(parent(Path::new("x")), Path::new("."));
    }
}
