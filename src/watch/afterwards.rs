use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::root::Root;
use super::shared::Shared;
use super::stat::{Stat, file_at};
use crate::model::lock;

/// How many names are tried beside one that is taken.
const MOST_NAMES: u32 = 10_000;

impl Shared {
    /// Moves a file whose run has ended to `folder`, counted from the one of `roots` that it is below. What has changed since its run
    /// stays: it is for another one. What was moved already, by a runner that was killed after that, is taken note of.
    ///
    /// # Errors
    /// Why it stays where it is, in words. That it is not there any more is no error.
    pub fn put_away(&self, path: &Path, roots: &[Root], folder: &str) -> Result<(), String> {
        let (stat, by_inode) = {
            let book = lock(&self.book);
            let stat = book.entries().by_path(path).and_then(|id| book.entries().get(id)).map(|entry| entry.stat);
            (stat, book.tells_by_inode(path))
        };
        let Some(stat) = stat else { return Ok(()) };
        let in_words = |error: io::Error| format!("cannot be moved to {folder}: {error}");
        let root = root_of(path, roots)
            .ok_or_else(|| format!("cannot be moved to {folder}: it is below none of the watched paths"))?;
        let is_gone = match file_at(path).map_err(in_words)? {
            // Over a boot the device's number may have become another one.
            Some(there) if stat.is_same_here(&there.stat, by_inode) => {
                move_file(path, root, folder).map_err(in_words)?;
                true
            }
            Some(_) => false,
            None if std::fs::metadata(root).is_err() => {
                return Err(format!("cannot be moved to {folder}: {} is not there", root.display()));
            }
            None => was_moved(path, root, folder, &stat).map_err(in_words)?,
        };
        if is_gone {
            lock(&self.book).moved_away(path);
        }
        Ok(())
    }
}

/// The watched directory that a path is below.
fn root_of<'a>(path: &Path, roots: &'a [Root]) -> Option<&'a Path> {
    let root = roots.iter().map(|root| root.path.as_path()).find(|root| path.starts_with(root))?;
    // A single file's is the one that it is in.
    if root == path { root.parent() } else { Some(root) }
}

/// Moves a processed file below `root` to `folder`, which is made if it is missing, with the folders between. Nothing is overwritten: where the
/// name is taken, a number goes before its ending. Says where it is now.
///
/// # Errors
/// It could not be moved, and stands where it was. From one file system to another nothing is moved: half a file could be seen there.
pub fn move_file(path: &Path, root: &Path, folder: &str) -> io::Result<PathBuf> {
    let target = target_of(path, root, folder)?;
    let directory = target.parent().unwrap_or(root);
    let made: Vec<&Path> = directory.ancestors().take_while(|folder| !folder.exists()).collect();
    let moved = make(directory).and_then(|()| move_into(path, directory, &target));
    if moved.is_err() {
        // What was made for it alone does not stay behind; a folder that somebody uses by now does.
        made.into_iter().all(|folder| fs::remove_dir(folder).is_ok());
    }
    moved
}

fn make(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            let what = directory.ancestors().find(|folder| folder.exists()).unwrap_or(directory);
            io::Error::new(error.kind(), format!("{} is no folder", what.display()))
        }
        kind => io::Error::new(kind, format!("{} cannot be made: {error}", directory.display())),
    })
}

fn move_into(path: &Path, directory: &Path, target: &Path) -> io::Result<PathBuf> {
    for target in names(target) {
        match renameat_with(CWD, path, CWD, &target, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(target),
            Err(Errno::EXIST) => {}
            // A file system that cannot be asked so.
            Err(Errno::INVAL | Errno::NOSYS) => {
                // The name is taken by a link to the file, if it is free; then the old name goes.
                match fs::hard_link(path, &target) {
                    Ok(()) => return fs::remove_file(path).map(|()| target),
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(error),
                }
            }
            Err(Errno::XDEV) => {
                return Err(io::Error::other(format!("{} is on another file system", directory.display())));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Whether the content that stood at `path` stands where [`move_file`] would have put it.
///
/// # Errors
/// It cannot be looked at.
fn was_moved(path: &Path, root: &Path, folder: &str, stat: &Stat) -> io::Result<bool> {
    for target in names(&target_of(path, root, folder)?) {
        match file_at(&target)? {
            Some(there) if stat.is_same_here(&there.stat, true) => return Ok(true),
            Some(_) => {}
            None => return Ok(false),
        }
    }
    Ok(false)
}

fn target_of(path: &Path, root: &Path, folder: &str) -> io::Result<PathBuf> {
    let below = path.strip_prefix(root).map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
    Ok(root.join(folder.trim_end_matches('/')).join(below))
}

/// The names that are tried, one after the other.
fn names(target: &Path) -> impl Iterator<Item = PathBuf> + use<'_> {
    std::iter::once(target.to_path_buf()).chain((1..MOST_NAMES).map(|number| numbered(target, number)))
}

/// `report.pdf` as `report.1.pdf`.
fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name: OsString = path.file_stem().unwrap_or_default().into();
    name.push(format!(".{number}"));
    if let Some(ending) = path.extension() {
        name.push(".");
        name.push(ending);
    }
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_folders_and_overwrites_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir(root.join("sub")).unwrap();
        for text in ["1", "2", "3"] {
            fs::write(root.join("sub/a.pdf"), text).unwrap();
            move_file(&root.join("sub/a.pdf"), root, "done/").unwrap();
        }
        let read = |name: &str| fs::read_to_string(root.join("done/sub").join(name)).unwrap();
        assert_eq!([read("a.pdf"), read("a.1.pdf"), read("a.2.pdf")], ["1", "2", "3"]);
        assert!(move_file(&root.join("sub/a.pdf"), root, "done").is_err(), "it is gone");
        assert!(move_file(&root.join("sub/a.pdf"), root, "other/deep").is_err() && !root.join("other").exists());
        fs::write(root.join("sub/a.pdf"), "4").unwrap();
        let error = move_file(&root.join("sub/a.pdf"), root, "done/sub/a.pdf/x").unwrap_err();
        assert_eq!(error.to_string(), format!("{} is no folder", root.join("done/sub/a.pdf").display()));
        fs::remove_file(root.join("sub/a.pdf")).unwrap();
        assert!(move_file(Path::new("/elsewhere/a"), root, "done").is_err());
    }
}
