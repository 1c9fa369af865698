//! Walks `jobs/`: which files are there, and what their stat says. Opens no file.

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};
use rustix::io::Errno;

use super::insecure;
use crate::model::Problem;

/// What tells a file from itself after a change, of the file that links lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub dev: u64,
    pub ino: u64,
    pub size: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
    mode: u32,
}

impl Stamp {
    pub fn of(stat: &Stat) -> Self {
        Self {
            dev: stat.st_dev,
            ino: stat.st_ino,
            size: stat.st_size as u64,
            mtime: (stat.st_mtime, stat.st_mtime_nsec as i64),
            ctime: (stat.st_ctime, stat.st_ctime_nsec as i64),
            mode: stat.st_mode,
        }
    }

    /// The stamp of a file that was read just after `stat`, if it tells a later change: one within the same tick of the
    /// clock that file systems stamp with would leave it as it is. Without a stamp the file is read again next time.
    pub fn if_settled(stat: &Stat) -> Option<Self> {
        let stamp = Self::of(stat);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let changed = stamp.mtime.max(stamp.ctime);
        let age_ms = now.as_millis() as i128 - (i128::from(changed.0) * 1_000 + i128::from(changed.1) / 1_000_000);
        (age_ms > TICK_MS).then_some(stamp)
    }
}

/// What a file in `jobs/` is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Job,
    Defaults,
}

/// A file of `jobs/`.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Path below `jobs/`.
    pub path: String,
    pub purpose: Purpose,
    /// Its stamp, or why it cannot be a job.
    pub stamp: Result<Stamp, Box<Problem>>,
}

/// What a walk came to.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Sorted by path.
    pub files: Vec<Found>,
    /// Folders that cannot be read or are refused, by their path below `jobs/`: what is in them is not known.
    pub closed: Vec<(String, Box<Problem>)>,
    /// The device of `jobs/` itself.
    pub device: u64,
    /// Entries that are links, below `jobs/`: what they lead to may change elsewhere.
    pub links: Vec<String>,
    /// All folders, by their path below `jobs/`; that itself is the empty one.
    pub folders: Vec<String>,
}

/// Longer than a tick of any kernel's clock.
const TICK_MS: i128 = 50;
const MOST_FOLDERS_DEEP: usize = 50;
pub(super) const LARGEST_FILE: u64 = 1024 * 1024;

struct Walk<'a> {
    /// What `jobs/` is called in messages.
    shown: &'a str,
    allow_insecure: bool,
    scan: Scan,
    /// The folders that the walk is in, to notice links that lead back.
    above: Vec<(u64, u64)>,
}

/// Walks `jobs`, which messages call `shown`.
///
/// # Errors
/// `jobs` itself cannot be read.
pub(super) fn scan(jobs: &Path, shown: &str, allow_insecure: bool) -> std::io::Result<Scan> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, jobs, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&root)?;
    let scan = Scan { device: stat.st_dev as u64, ..Scan::default() };
    let mut walk = Walk { shown, allow_insecure, scan, above: Vec::new() };
    walk.folder(root, &stat, "");
    walk.scan.files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(walk.scan)
}

impl Walk<'_> {
    fn problem(&mut self, path: String, message: impl Into<String>) -> &mut Box<Problem> {
        let problem = Problem::of_file(format!("{}/{path}", self.shown), message);
        self.scan.files.push(Found { path, purpose: Purpose::Job, stamp: Err(Box::new(problem)) });
        match self.scan.files.last_mut().map(|found| &mut found.stamp) {
            Some(Err(problem)) => problem,
            _ => unreachable!("a problem was pushed just now"),
        }
    }

    fn folder(&mut self, fd: OwnedFd, stat: &Stat, path: &str) {
        self.scan.folders.push(path.into());
        let identity = (stat.st_dev, stat.st_ino);
        if self.above.contains(&identity) {
            self.problem(path.into(), "this link leads back to a folder above it").help =
                Some("remove the link".into());
            return;
        }
        if self.above.len() >= MOST_FOLDERS_DEEP {
            self.problem(path.into(), format!("folders are nested more than {MOST_FOLDERS_DEEP} deep"));
            return;
        }
        if !self.allow_insecure
            && let Some(reason) = insecure::why(stat, || insecure::is_read_only(&fd))
            && stat.st_mode & 0o1000 == 0
        {
            let shown = if path.is_empty() { self.shown.to_string() } else { format!("{}/{path}", self.shown) };
            let message = format!("this folder is refused: {}", reason.words());
            self.close(path, Problem::of_file(&shown, message).help(reason.mend(&shown)));
            return;
        }
        self.above.push(identity);
        match Dir::read_from(&fd) {
            Ok(entries) => {
                for entry in entries {
                    match entry {
                        Ok(entry) => self.entry(&fd, entry.file_name(), entry.file_type(), path),
                        Err(errno) => {
                            self.cannot_read(path, errno);
                            break;
                        }
                    }
                }
            }
            Err(errno) => self.cannot_read(path, errno),
        }
        self.above.pop();
    }

    fn cannot_read(&mut self, folder: &str, errno: Errno) {
        let shown = format!("{}/{folder}", self.shown);
        self.close(
            folder,
            Problem::of_file(shown.trim_end_matches('/'), format!("this folder cannot be read: {errno}")),
        );
    }

    /// Nothing is known of what is in this folder.
    fn close(&mut self, folder: &str, problem: Problem) {
        self.scan.closed.push((folder.into(), Box::new(problem)));
    }

    fn entry(&mut self, folder: &OwnedFd, name: &CStr, kind: FileType, above: &str) {
        let bytes = name.to_bytes();
        if bytes.starts_with(b".") || is_leftover(bytes) {
            return;
        }
        let Ok(text) = name.to_str() else {
            if is_job_file(&String::from_utf8_lossy(bytes)) {
                let shown = String::from_utf8_lossy(bytes).into_owned();
                self.problem(join(above, &shown), "the file's name is not UTF-8").help =
                    Some("rename it: a job's name has letters, digits, `.`, `_` and `-`".into());
            }
            return;
        };
        let path = join(above, text);
        let purpose = purpose_of(text);
        // What is surely neither a folder nor a job's file needs no look.
        if purpose.is_none() && !matches!(kind, FileType::Directory | FileType::Symlink | FileType::Unknown) {
            return;
        }
        if kind == FileType::Symlink {
            self.scan.links.push(path.clone());
        }
        let stat = match statat(folder, name, AtFlags::empty()) {
            Ok(stat) => stat,
            // Gone since the folder was read.
            Err(Errno::NOENT) if kind != FileType::Symlink => return,
            Err(errno) => {
                if purpose.is_some() {
                    let message = match errno {
                        Errno::NOENT => {
                            let target = readlinkat(folder, name, Vec::new()).unwrap_or_default();
                            format!("this link leads to nothing: {}", target.to_string_lossy())
                        }
                        Errno::LOOP => "this link leads back to itself".into(),
                        Errno::ACCESS => "this file may not be looked at: permission denied".into(),
                        other => format!("this file cannot be looked at: {other}"),
                    };
                    self.problem(path, message);
                }
                return;
            }
        };
        match (FileType::from_raw_mode(stat.st_mode), purpose) {
            (FileType::Directory, Some(_)) => {
                self.problem(path, "this is a folder with the name of a job's file").help =
                    Some("rename it without the ending: folders are groups of jobs".into());
            }
            (FileType::Directory, None) => {
                // `_x` and `.x` are not jobs, and neither is what is below them.
                if text.starts_with('_') {
                    return;
                }
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                match openat(folder, name, flags, Mode::empty()) {
                    Ok(fd) => self.folder(fd, &stat, &path),
                    // Gone since it was looked at.
                    Err(Errno::NOENT) => {}
                    Err(errno) => self.cannot_read(&path, errno),
                }
            }
            (FileType::RegularFile, Some(purpose)) => self.regular(folder, name, path, purpose, &stat),
            (other, Some(_)) => {
                self.problem(path, format!("this is {}, not a regular file", kind_in_words(other)));
            }
            (_, None) => {}
        }
    }

    fn regular(&mut self, folder: &OwnedFd, name: &CStr, path: String, purpose: Purpose, stat: &Stat) {
        let shown = || format!("{}/{path}", self.shown);
        let stamp = if stat.st_size as u64 > LARGEST_FILE {
            Err(Problem::of_file(shown(), format!("the file has {} bytes, at most 1 MiB is allowed", stat.st_size)))
        } else if !self.allow_insecure
            && let Some(reason) = insecure::why(stat, || insecure::is_read_only_at(folder, name))
        {
            let shown = shown();
            Err(Problem::of_file(&shown, format!("this file is refused: {}", reason.words())).help(reason.mend(&shown)))
        } else {
            Ok(Stamp::of(stat))
        };
        self.scan.files.push(Found { path, purpose, stamp: stamp.map_err(Box::new) });
    }
}

fn join(above: &str, name: &str) -> String {
    if above.is_empty() { name.to_string() } else { format!("{above}/{name}") }
}

/// What editors leave behind.
fn is_leftover(name: &[u8]) -> bool {
    name.ends_with(b"~") || name.ends_with(b".swp") || (name.starts_with(b"#") && name.ends_with(b"#"))
}

/// A file name without the ending of a job's file.
pub(super) fn stem(name: &str) -> Option<&str> {
    [".yaml", ".yml", ".json"].iter().find_map(|ending| name.strip_suffix(ending))
}

fn is_job_file(name: &str) -> bool {
    stem(name).is_some()
}

fn purpose_of(name: &str) -> Option<Purpose> {
    match stem(name)? {
        "_defaults" => Some(Purpose::Defaults),
        stem if stem.starts_with('_') => None,
        _ => Some(Purpose::Job),
    }
}

pub(super) fn kind_in_words(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Directory => "a folder",
        _ => "something else",
    }
}
