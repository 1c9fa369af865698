use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

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
    if !path.exists() {
        return Ok(());
    }
    if keep == 0 {
        return tolerate(std::fs::remove_file(path));
    }
    // Only as far as there are files: most logs have few.
    let mut last = 0;
    while rotated(path, last + 1).exists() {
        last += 1;
    }
    // More than one go where fewer are to be kept than before.
    while last >= keep {
        tolerate(std::fs::remove_file(rotated(path, last)))?;
        last -= 1;
    }
    for n in (1..=last).rev() {
        tolerate(std::fs::rename(rotated(path, n), rotated(path, n + 1)))?;
    }
    tolerate(std::fs::rename(path, rotated(path, 1)))
}

/// A log's file as it was found: where it stands may change by rotation, what it is does not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub identity: Identity,
    pub modified: SystemTime,
    /// Whether it stood at the log's own path.
    pub is_current: bool,
}

/// Which file it is: an inode's number goes to a new file once the old one is deleted, so its birth belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    inode: u64,
    born: Option<SystemTime>,
}

impl Identity {
    fn of(meta: &Metadata) -> Self {
        Self { inode: meta.ino(), born: meta.created().ok() }
    }
}

/// A log's files, the newest first. A rotation meanwhile neither hides one nor shows one twice.
pub(super) fn find(path: &Path) -> io::Result<Vec<Found>> {
    let mut files: Vec<Found> = Vec::new();
    for n in 0.. {
        match std::fs::metadata(place(path, n)) {
            Ok(meta) => {
                let found = Found { identity: Identity::of(&meta), modified: meta.modified()?, is_current: n == 0 };
                if files.iter().all(|other| other.identity != found.identity) {
                    files.push(found);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && n == 0 => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

/// Opens a file of the log wherever it stands now; `None` if it is gone.
pub(super) fn open(path: &Path, identity: Identity) -> io::Result<Option<File>> {
    for n in 0.. {
        match File::open(place(path, n)) {
            Ok(file) if Identity::of(&file.metadata()?) == identity => return Ok(Some(file)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound && n == 0 => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn place(path: &Path, n: u32) -> PathBuf {
    if n == 0 { path.to_path_buf() } else { rotated(path, n) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let text = std::fs::read_to_string(entry.path()).unwrap();
                format!("{}={text}", entry.file_name().to_string_lossy())
            })
            .collect();
        names.sort();
        names
    }

    #[test]
    fn rotating_keeps_so_many_files_also_when_there_were_more_before_and_when_there_are_to_be_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        for n in 0..5 {
            std::fs::write(&path, n.to_string()).unwrap();
            rotate(&path, 9).unwrap();
        }
        std::fs::write(&path, "5").unwrap();
        rotate(&path, 2).unwrap();
        assert_eq!(names(dir.path()), ["x.log.1=5", "x.log.2=4"]);
        std::fs::write(&path, "6").unwrap();
        rotate(&path, 0).unwrap();
        assert_eq!(names(dir.path()), ["x.log.1=5", "x.log.2=4"]);
        rotate(&path, 1).unwrap();
        assert_eq!(names(dir.path()), ["x.log.1=5", "x.log.2=4"], "there was nothing to rotate");
    }

    #[test]
    fn a_file_is_found_wherever_a_rotation_moved_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        assert!(find(&path).unwrap().is_empty());
        std::fs::write(&path, "old").unwrap();
        let old = find(&path).unwrap()[0];
        assert!(old.is_current);
        rotate(&path, 2).unwrap();
        std::fs::write(&path, "new").unwrap();
        let files = find(&path).unwrap();
        assert_eq!((files.len(), files[1].identity, files[1].is_current), (2, old.identity, false));
        let text = std::io::read_to_string(open(&path, old.identity).unwrap().unwrap()).unwrap();
        assert_eq!(text, "old");
        std::fs::remove_file(rotated(&path, 1)).unwrap();
        assert!(open(&path, old.identity).unwrap().is_none());
    }
}
