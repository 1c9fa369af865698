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

/// So often somebody else may take the name that was free a moment ago.
const MOST_TRIES: u32 = 1_000;

impl Shared {
    /// Moves a file whose run has ended to `folder`, counted from the one of `roots` that it is below. What has changed since its run
    /// stays: it is for another one. What was moved already, by a runner that was killed after that, is taken note of.
    ///
    /// # Errors
    /// Why it stays where it is, in words. That it is not there any more is no error.
    pub fn put_away(&self, path: &Path, roots: &[Root], folder: &str) -> Result<(), String> {
        let stat = {
            let book = lock(&self.book);
            book.entries().by_path(path).and_then(|id| book.entries().get(id)).map(|entry| entry.stat)
        };
        let Some(stat) = stat else { return Ok(()) };
        let is_it = |found: &Stat| lock(&self.book).is_same(path, &stat, found);
        let in_words = |error: io::Error| format!("cannot be moved to {folder}: {error}");
        let root = root_of(path, roots)
            .ok_or_else(|| format!("cannot be moved to {folder}: it is below none of the watched paths"))?;
        let is_gone = match file_at(path).map_err(in_words)? {
            Some(there) if is_it(&there.stat) => {
                move_file(path, root, folder).map_err(in_words)?;
                true
            }
            Some(_) => false,
            None if std::fs::metadata(root).is_err() => {
                return Err(format!("cannot be moved to {folder}: {} is not there", root.display()));
            }
            None => was_moved(path, root, folder, is_it).map_err(in_words)?,
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
    for _ in 0..MOST_TRIES {
        // What is free now may be taken in a moment: then it is looked for anew, and nothing is overwritten.
        let target = free_name(target, is_taken)?;
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
    Err(no_name_left(target))
}

/// Whether the content that stood at `path` stands where [`move_file`] would have put it.
///
/// # Errors
/// It cannot be looked at.
fn was_moved(path: &Path, root: &Path, folder: &str, is_it: impl Fn(&Stat) -> bool) -> io::Result<bool> {
    let mut is_there = false;
    // The names that were looked at then, up to the one that was free.
    free_name(&target_of(path, root, folder)?, |name| {
        let found = file_at(name)?;
        is_there |= found.is_some_and(|there| is_it(&there.stat));
        Ok(!is_there && is_taken(name)?)
    })?;
    Ok(is_there)
}

fn target_of(path: &Path, root: &Path, folder: &str) -> io::Result<PathBuf> {
    let below = path.strip_prefix(root).map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
    Ok(root.join(folder.trim_end_matches('/')).join(below))
}

/// The name itself where it is free, otherwise one with a number behind one that is taken: where none is missing in between, the first
/// free one. Of a million that are taken some forty are looked at, always the same ones.
fn free_name(target: &Path, mut is_taken: impl FnMut(&Path) -> io::Result<bool>) -> io::Result<PathBuf> {
    if !is_taken(target)? {
        return Ok(target.to_path_buf());
    }
    let (mut taken, mut free) = (0, 1_u32);
    while is_taken(&numbered(target, free))? {
        taken = free;
        free = free.checked_mul(2).ok_or_else(|| no_name_left(target))?;
    }
    while free - taken > 1 {
        let between = taken + (free - taken) / 2;
        match is_taken(&numbered(target, between))? {
            true => taken = between,
            false => free = between,
        }
    }
    Ok(numbered(target, free))
}

/// Whether anything stands there, be it a link that leads nowhere.
fn is_taken(name: &Path) -> io::Result<bool> {
    match name.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(error),
    }
}

fn no_name_left(target: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, format!("no name is free beside {}", target.display()))
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

    #[test]
    fn however_many_names_are_taken_the_next_one_is_found_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir(root.join("done")).unwrap();
        let target = root.join("done/a.pdf");
        fs::write(&target, "").unwrap();
        for number in 1..=10_000 {
            fs::write(numbered(&target, number), "").unwrap();
        }
        std::os::unix::fs::symlink("nowhere", numbered(&target, 10_001)).unwrap();
        fs::write(root.join("a.pdf"), "x").unwrap();
        let stat = file_at(&root.join("a.pdf")).unwrap().unwrap().stat;
        let moved = || was_moved(&root.join("a.pdf"), root, "done", |found| stat.is_same_here(found, true)).unwrap();
        assert!(!moved());
        assert_eq!(move_file(&root.join("a.pdf"), root, "done").unwrap(), numbered(&target, 10_002));
        assert!(moved(), "it is found again");
        assert_eq!(fs::read_to_string(numbered(&target, 10_002)).unwrap(), "x");
        let mut looks = 0;
        let million = |taken: u32, looks: &mut u32| {
            free_name(Path::new("a"), |name| {
                *looks += 1;
                let number = name.extension().map_or(0, |number| number.to_str().unwrap().parse().unwrap());
                Ok(number <= taken)
            })
        };
        assert_eq!(million(1_000_000, &mut looks).unwrap(), Path::new("a.1000001"));
        assert!(looks < 45, "{looks}");
        let error = million(u32::MAX, &mut looks).unwrap_err();
        assert_eq!(error.to_string(), "no name is free beside a");
    }

    #[test]
    fn what_was_moved_is_found_again_also_where_others_are_missing_in_between() {
        for gone in [vec![], vec![1], vec![2], vec![3], vec![4], vec![1, 2], vec![5, 7], vec![3, 8, 9], vec![4, 12, 16]]
        {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path();
            fs::create_dir(root.join("done")).unwrap();
            let target = root.join("done/a");
            fs::write(&target, "").unwrap();
            for number in (1..=20).filter(|number| !gone.contains(number)) {
                fs::write(numbered(&target, number), "").unwrap();
            }
            fs::write(root.join("a"), "x").unwrap();
            let stat = file_at(&root.join("a")).unwrap().unwrap().stat;
            move_file(&root.join("a"), root, "done").unwrap();
            assert!(
                was_moved(&root.join("a"), root, "done", |found| stat.is_same_here(found, true)).unwrap(),
                "{gone:?}"
            );
        }
    }
}
