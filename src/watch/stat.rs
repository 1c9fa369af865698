use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::Timestamp;
use rustix::fs::{AtFlags, FileType, Stat as RawStat, Statx, StatxFlags, StatxTimestamp, makedev, statat, statx};
use rustix::io::Errno;

/// What tells one content of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Stat {
    pub dev: u64,
    pub inode: u64,
    /// In bytes.
    pub size: u64,
    /// When the content was changed, in nanoseconds since 1970.
    pub mtime: i64,
    /// When the file was made, in nanoseconds since 1970; 0: nobody knows. What has been removed leaves its inode to another file, and
    /// this alone tells the two from each other where size and time are the same.
    pub born: i64,
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

    /// Whether it is the same content of the same file, under whatever name.
    pub fn is_same_file(&self, other: &Self) -> bool {
        let contents = |stat: &Self| (stat.dev, stat.inode, stat.size, stat.mtime);
        contents(self) == contents(other) && self.may_be_born_with(other)
    }

    /// Whether the two may have been made at the same time: not everybody knows.
    pub fn may_be_born_with(&self, other: &Self) -> bool {
        self.born == other.born || self.born == 0 || other.born == 0
    }

    /// Whether it is the same content at the same path. The device's number may be another one after a boot; `by_inode`: the file
    /// system's inodes are what they should be.
    pub fn is_same_here(&self, other: &Self, by_inode: bool) -> bool {
        self.size == other.size && self.mtime == other.mtime && (!by_inode || self.inode == other.inode)
    }
}

fn nanoseconds(seconds: i64, rest: i64) -> i64 {
    seconds.saturating_mul(SECOND).saturating_add(rest)
}

/// What the kernel says of what stands at a path.
struct Raw {
    kind: FileType,
    found: Found,
}

impl Raw {
    fn at(
        directory: &impl std::os::fd::AsFd,
        name: impl rustix::path::Arg + Copy,
        flags: AtFlags,
    ) -> rustix::io::Result<Self> {
        // As stat(2) does by itself: looking at a link mounts nothing.
        match statx(directory, name, flags | AtFlags::NO_AUTOMOUNT, StatxFlags::BASIC_STATS | StatxFlags::BTIME) {
            Ok(raw) => Ok(Self::of_statx(&raw)),
            // Older kernels, and some that keep others in a container, have none.
            Err(Errno::NOSYS | Errno::PERM) => statat(directory, name, flags).map(|raw| Self::of_stat(&raw)),
            Err(error) => Err(error),
        }
    }

    fn of_statx(raw: &Statx) -> Self {
        let at = |time: &StatxTimestamp| nanoseconds(time.tv_sec, time.tv_nsec.into());
        let is_born_known = raw.stx_mask & StatxFlags::BTIME.bits() != 0;
        let stat = Stat {
            dev: makedev(raw.stx_dev_major, raw.stx_dev_minor),
            inode: raw.stx_ino,
            size: raw.stx_size,
            mtime: at(&raw.stx_mtime),
            born: if is_born_known { at(&raw.stx_btime) } else { 0 },
        };
        let found = Found { stat, ctime: at(&raw.stx_ctime), is_linked: raw.stx_nlink > 1 };
        Self { kind: FileType::from_raw_mode(raw.stx_mode.into()), found }
    }

    fn of_stat(raw: &RawStat) -> Self {
        let stat = Stat {
            dev: raw.st_dev,
            inode: raw.st_ino,
            size: raw.st_size.max(0) as u64,
            mtime: nanoseconds(raw.st_mtime, raw.st_mtime_nsec as i64),
            born: 0,
        };
        let ctime = nanoseconds(raw.st_ctime, raw.st_ctime_nsec as i64);
        Self { kind: FileType::from_raw_mode(raw.st_mode), found: Found { stat, ctime, is_linked: raw.st_nlink > 1 } }
    }
}

impl Found {
    /// Of an open file.
    pub fn of_metadata(meta: &Metadata) -> Self {
        let born = meta.created().ok().and_then(|born| born.duration_since(std::time::UNIX_EPOCH).ok());
        Self {
            stat: Stat {
                dev: meta.dev(),
                inode: meta.ino(),
                size: meta.len(),
                mtime: nanoseconds(meta.mtime(), meta.mtime_nsec()),
                born: born.and_then(|born| i64::try_from(born.as_nanos()).ok()).unwrap_or_default(),
            },
            ctime: nanoseconds(meta.ctime(), meta.ctime_nsec()),
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
    let missing = |error: Errno| match error {
        Errno::NOENT | Errno::NOTDIR => Ok(At::Nothing),
        error => Err(error.into()),
    };
    let raw = match Raw::at(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(raw) => raw,
        Err(error) => return missing(error),
    };
    Ok(match raw.kind {
        FileType::RegularFile => At::File(raw.found),
        FileType::Directory => At::Directory,
        FileType::Symlink => match Raw::at(&directory, name, AtFlags::empty()) {
            Ok(Raw { kind: FileType::RegularFile, found }) => At::File(Found { is_linked: true, ..found }),
            Ok(_) => At::Nothing,
            // One that leads nowhere, or round and round.
            Err(Errno::LOOP) => At::Nothing,
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

    #[test]
    fn with_and_without_statx_the_same_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "abc").unwrap();
        let by_statx = Raw::at(&rustix::fs::CWD, &path, AtFlags::empty()).unwrap().found;
        let by_stat = Raw::of_stat(&statat(rustix::fs::CWD, &path, AtFlags::empty()).unwrap()).found;
        assert_eq!(by_stat, Found { stat: Stat { born: 0, ..by_statx.stat }, ..by_statx });
        assert!(by_stat.stat.is_same_file(&by_statx.stat));
        std::fs::rename(&path, dir.path().join("b")).unwrap();
        let renamed = file_at(&dir.path().join("b")).unwrap().unwrap();
        assert!(renamed.stat.is_same_file(&by_statx.stat), "a rename is no birth");
        if by_statx.stat.born != 0 {
            assert!(!renamed.stat.is_same_file(&Stat { born: by_statx.stat.born - 1, ..by_statx.stat }));
        }
    }
}
