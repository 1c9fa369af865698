use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// How many names are tried beside one that is taken.
const MOST_NAMES: u32 = 10_000;

/// Moves a processed file below `root` to `folder`, which is made if it is missing, with the folders between. Nothing is overwritten: where the
/// name is taken, a number goes before its ending. Says where it is now.
///
/// # Errors
/// It could not be moved, and stands where it was. From one file system to another nothing is moved: half a file could be seen there.
pub fn move_file(path: &Path, root: &Path, folder: &str) -> io::Result<PathBuf> {
    let below = path.strip_prefix(root).map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
    let target = root.join(folder.trim_end_matches('/')).join(below);
    let directory = target.parent().unwrap_or(root);
    fs::create_dir_all(directory)?;
    for number in 0..MOST_NAMES {
        let target = match number {
            0 => target.clone(),
            number => numbered(&target, number),
        };
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
        assert!(move_file(Path::new("/elsewhere/a"), root, "done").is_err());
    }
}
