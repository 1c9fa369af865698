use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, openat};

use super::rules::{Rules, Verdict};
use super::stat::{At, Found, look_at};

/// Who is told what a walk finds.
pub trait Visitor {
    /// A directory is about to be read, here with all links followed.
    fn directory(&mut self, real: &Path);
    /// Files that count were found in one directory.
    fn files(&mut self, found: &mut Vec<(PathBuf, Found)>);
    /// Something cannot be looked at.
    fn failed(&mut self, path: &Path, error: io::Error);
}

/// So many files are handed on at once.
const BATCH: usize = 512;

/// Walks through a directory and those below, as far as the rules leave them in. `shown` and `real` are the same directory, as it is
/// shown and with links followed.
pub fn walk(rules: &mut Rules, shown: &Path, real: &Path, visitor: &mut dyn Visitor) {
    let mut stack = vec![(shown.to_path_buf(), real.to_path_buf())];
    let mut found = Vec::new();
    while let Some((shown, real)) = stack.pop() {
        visitor.directory(&real);
        rules.reads(&shown);
        if let Err(error) = read(rules, &shown, &real, &mut stack, &mut found, visitor) {
            // It may be gone by now.
            if error.kind() != io::ErrorKind::NotFound {
                visitor.failed(&shown, error);
            }
        }
        visitor.files(&mut found);
        found.clear();
    }
}

fn read(
    rules: &mut Rules,
    shown: &Path,
    real: &Path,
    stack: &mut Vec<(PathBuf, PathBuf)>,
    found: &mut Vec<(PathBuf, Found)>,
    visitor: &mut dyn Visitor,
) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let directory = openat(CWD, real, flags, Mode::empty())?;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let path = shown.join(name);
        let kind = match entry.file_type() {
            FileType::Unknown => match look_at(&directory, name) {
                Ok(At::Directory) => FileType::Directory,
                Ok(At::File(_)) => FileType::RegularFile,
                _ => continue,
            },
            kind => kind,
        };
        match kind {
            FileType::Directory if rules.leaves_folder_out(&path).is_none() => stack.push((path, real.join(name))),
            FileType::RegularFile | FileType::Symlink => {
                if !matches!(rules.judge_here(&path), Verdict::Matched(_)) {
                    continue;
                }
                match look_at(&directory, name) {
                    Ok(At::File(file)) => found.push((path, file)),
                    Ok(At::Directory | At::Nothing) => {}
                    Err(error) => visitor.failed(&path, error),
                }
                if found.len() >= BATCH {
                    visitor.files(found);
                    found.clear();
                }
            }
            _ => {}
        }
    }
    Ok(())
}
