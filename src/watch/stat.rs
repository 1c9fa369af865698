use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::Timestamp;
use rustix::fs::{AtFlags, FileType, Stat as RawStat, statat};

/// What tells one content of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stat {
    pub dev: u64,
    pub inode: u64,
    /// In bytes.
    pub size: u64,
    /// When the content was changed, in nanoseconds since 1970.
    pub mtime: i64,
}

/// A file as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    pub stat: Stat,
    /// When anything of it was changed last, in nanoseconds since 1970. Only the kernel sets it.
    pub ctime: i64,
    /// It came to its place whole: by a link.
    pub is_linked: bool,
}

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    File(Found),
    Directory,
    /// Nothing, or what is no file: a socket, a device.
    Nothing,
}

const SECOND: i64 = 1_000_000_000;

impl Stat {
    /// When the content was changed.
    pub fn modified(&self) -> Option<Timestamp> {
        Timestamp::from_nanosecond(i128::from(self.mtime)).ok()
    }

    /// Whether it is the same content at the same path. The device's number may be another one after a boot; `by_inode`: the file
    /// system's inodes are what they should be.
    pub fn is_same_here(&self, other: &Self, by_inode: bool) -> bool {
        self.size == other.size && self.mtime == other.mtime && (!by_inode || self.inode == other.inode)
    }
}

impl Found {
    fn of(raw: &RawStat, is_link: bool) -> Self {
        Self {
            stat: Stat {
                dev: raw.st_dev,
                inode: raw.st_ino,
                size: raw.st_size.max(0) as u64,
                mtime: raw.st_mtime.saturating_mul(SECOND).saturating_add(raw.st_mtime_nsec as i64),
            },
            ctime: raw.st_ctime.saturating_mul(SECOND).saturating_add(raw.st_ctime_nsec as i64),
            is_linked: is_link || raw.st_nlink > 1,
        }
    }

    /// Of an open file.
    pub fn of_metadata(meta: &Metadata) -> Self {
        Self {
            stat: Stat {
                dev: meta.dev(),
                inode: meta.ino(),
                size: meta.len(),
                mtime: meta.mtime().saturating_mul(SECOND).saturating_add(meta.mtime_nsec()),
            },
            ctime: meta.ctime().saturating_mul(SECOND).saturating_add(meta.ctime_nsec()),
            is_linked: meta.nlink() > 1,
        }
    }
}

/// Looks at what stands at a path, below an open directory. A link to a file counts as that file; one to a directory is nothing, as
/// it could lead in a circle.
///
/// # Errors
/// It cannot be looked at; that nothing is there is no error.
pub fn look_at(directory: impl std::os::fd::AsFd, name: impl rustix::path::Arg + Copy) -> io::Result<At> {
    let missing = |error: rustix::io::Errno| match error {
        rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR => Ok(At::Nothing),
        error => Err(error.into()),
    };
    let raw = match statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(raw) => raw,
        Err(error) => return missing(error),
    };
    Ok(match FileType::from_raw_mode(raw.st_mode) {
        FileType::RegularFile => At::File(Found::of(&raw, false)),
        FileType::Directory => At::Directory,
        FileType::Symlink => match statat(&directory, name, AtFlags::empty()) {
            Ok(raw) if FileType::from_raw_mode(raw.st_mode) == FileType::RegularFile => At::File(Found::of(&raw, true)),
            Ok(_) => At::Nothing,
            // One that leads nowhere, or round and round.
            Err(rustix::io::Errno::LOOP) => At::Nothing,
            Err(error) => return missing(error),
        },
        _ => At::Nothing,
    })
}

/// Looks at what stands at a path.
///
/// # Errors
/// As of [`look_at`].
pub fn look(path: &Path) -> io::Result<At> {
    look_at(rustix::fs::CWD, path)
}

/// The file that stands at a path, if there is one.
///
/// # Errors
/// As of [`look_at`].
pub fn file_at(path: &Path) -> io::Result<Option<Found>> {
    Ok(match look(path)? {
        At::File(found) => Some(found),
        At::Directory | At::Nothing => None,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_count_as_the_file_that_they_lead_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("a"), "abc").unwrap();
        std::fs::create_dir(path("d")).unwrap();
        symlink("a", path("link")).unwrap();
        symlink("d", path("folder")).unwrap();
        symlink("nowhere", path("broken")).unwrap();
        symlink("loop", path("loop")).unwrap();
        let At::File(a) = look(&path("a")).unwrap() else { panic!() };
        assert_eq!((a.stat.size, a.is_linked), (3, false));
        assert_eq!(look(&path("link")).unwrap(), At::File(Found { is_linked: true, ..a }));
        assert_eq!(look(&path("d")).unwrap(), At::Directory);
        for name in ["folder", "broken", "loop", "missing", "a/b"] {
            assert_eq!(look(&path(name)).unwrap(), At::Nothing, "{name}");
        }
        std::fs::hard_link(path("a"), path("hard")).unwrap();
        assert!(file_at(&path("hard")).unwrap().unwrap().is_linked);
        assert_eq!(Found::of_metadata(&std::fs::metadata(path("a")).unwrap()).stat, a.stat);
    }
}
