//! Files that hold secrets for as long as one attempt lasts: in memory where the system has a place for that, for one user
//! alone, and gone with the attempt.
//!
//! They lie in `<shelf>/<run>/`. The shelf is one runner's own directory: `runner-<uid>-<hash>` on a file system in memory, with
//! the hash of the logs directory's device and inode, so that no two runners meet on one, not even in two containers that
//! share `/dev/shm`. Where there is no such file system, or it is full, the shelf is `secrets` in the logs directory, but for
//! files of another user: that one comes through no logs directory.
//!
//! Others may write to `/dev/shm`. So what is found in the place of a shelf is taken only if it is a directory, no link, of
//! this user, and nobody else may write to it; everything below is made through its descriptor.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::fs::{CWD, Gid, Mode, OFlags, Uid, fchmod, fchown, fstat, fstatfs, mkdirat, openat};
use rustix::io::Errno;
use rustix::process::geteuid;
use sha2::{Digest, Sha256};

use crate::model::lock;

/// The user and group that files are given to, where these are not the runner's own.
pub type Owner = (u32, u32);

/// Where one runner puts such files.
#[derive(Debug, Clone)]
pub struct Shelves {
    /// The best place first. What is not in memory is not used, but for the last.
    candidates: Vec<Shelf>,
}

#[derive(Debug, Clone)]
struct Shelf {
    base: PathBuf,
    name: String,
    in_memory: bool,
}

/// The files of one attempt; dropping it takes them away.
#[derive(Debug)]
pub struct PrivateFiles {
    shelf: PathBuf,
    path: PathBuf,
    in_memory: bool,
}

/// A shelf goes with its last files, while another thread may be about to put some there.
static CHANGING: Mutex<()> = Mutex::new(());

const TMPFS: i128 = 0x0102_1994;
const RAMFS: i128 = 0x8584_58f6;

impl Shelves {
    /// The places of the runner that has this logs directory.
    ///
    /// # Errors
    /// There is no such directory.
    pub fn of(logs: &Path) -> io::Result<Self> {
        let meta = fs::metadata(logs)?;
        let hash = Sha256::digest(format!("{}:{}", meta.dev(), meta.ino()));
        let hash: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let user = geteuid();
        let name = format!("runner-{}-{hash}", user.as_raw());
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
        // Root's own runtime directory lets nobody else through, to whom a file may have to be given.
        let bases = match user.is_root() {
            true => vec!["/run".into(), "/dev/shm".into()],
            false => {
                let usual = PathBuf::from(format!("/run/user/{}", user.as_raw()));
                runtime.into_iter().chain([usual, "/dev/shm".into()]).collect()
            }
        };
        let mut candidates: Vec<Shelf> =
            bases.into_iter().map(|base| Shelf { base, name: name.clone(), in_memory: true }).collect();
        candidates.push(Shelf { base: logs.to_path_buf(), name: "secrets".into(), in_memory: false });
        Ok(Self { candidates })
    }

    /// Takes away what an earlier runner left behind. Only for whoever holds the lock of the logs directory. Says how many
    /// attempts' files there were.
    ///
    /// # Errors
    /// The first that could not be taken away; the others are.
    pub fn clear(&self) -> io::Result<usize> {
        let _alone = lock(&CHANGING);
        let mut result = Ok(());
        let mut found = 0;
        for shelf in &self.candidates {
            let path = shelf.base.join(&shelf.name);
            // What is somebody else's, or a link, is none of ours.
            let is_ours = |meta: &fs::Metadata| meta.is_dir() && meta.uid() == geteuid().as_raw();
            if fs::symlink_metadata(&path).is_ok_and(|meta| is_ours(&meta)) {
                found += fs::read_dir(&path).map_or(0, Iterator::count);
                result = result.and(fs::remove_dir_all(&path));
            }
        }
        result.map(|()| found)
    }

    /// Puts files there, in a directory of the run's own, and gives all of it to `owner`.
    ///
    /// # Errors
    /// Why the last place cannot be used, where none of them can; of files for another user, why none of those in memory can.
    pub fn put(&self, run: &str, files: &[(&str, &[u8])], owner: Option<Owner>) -> io::Result<PrivateFiles> {
        let is_for_another = owner.is_some_and(|(user, _)| user != geteuid().as_raw());
        let mut result = Err(io::ErrorKind::NotFound.into());
        let mut refused = Vec::new();
        for shelf in self.candidates.iter().filter(|shelf| shelf.in_memory || !is_for_another) {
            result = shelf.put(run, files, owner);
            match &result {
                Ok(_) => return result,
                Err(error) => refused.push(format!("{}: {error}", shelf.base.display())),
            }
        }
        if is_for_another {
            let message = format!(
                "another user could not read it below the logs directory, and no place in memory can be used ({}); mount a \
                 tmpfs at one of them, or leave out `as: file`",
                refused.join("; ")
            );
            return Err(io::Error::other(message));
        }
        result
    }
}

impl Shelf {
    fn put(&self, run: &str, files: &[(&str, &[u8])], owner: Option<Owner>) -> io::Result<PrivateFiles> {
        let base = openat(CWD, &self.base, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        if self.in_memory && !is_in_memory(&base)? {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "it is no file system in memory"));
        }
        let alone = lock(&CHANGING);
        let shelf = open_shelf(&base, &self.name)?;
        let path = self.base.join(&self.name);
        mkdirat(&shelf, run, Mode::RWXU).inspect_err(|_| {
            let _ = fs::remove_dir(&path);
        })?;
        // From here on what was made goes with `place`.
        let place = PrivateFiles { path: path.join(run), shelf: path, in_memory: self.in_memory };
        let filled = fill(&shelf, run, files, owner);
        // Which its own end waits for.
        drop(alone);
        filled.map(|()| place)
    }
}

fn is_in_memory(directory: &OwnedFd) -> io::Result<bool> {
    let kind = i128::from(fstatfs(directory)?.f_type) & 0xffff_ffff;
    Ok([TMPFS, RAMFS].contains(&kind))
}

/// The runner's own directory, made where it is not there. One that others have a hand in is refused.
fn open_shelf(base: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    match mkdirat(base, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    let shelf = openat(base, name, flags, Mode::empty())?;
    let stat = fstat(&shelf)?;
    let others_write = Mode::from_raw_mode(stat.st_mode).intersects(Mode::WGRP | Mode::WOTH);
    if stat.st_uid != geteuid().as_raw() || others_write {
        let message = format!("{name} is there already, and is not this user's alone; somebody else made it");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    // Only root can give files away, and who gets them has to come through.
    let mode = if geteuid().is_root() { Mode::RWXU | Mode::XGRP | Mode::XOTH } else { Mode::RWXU };
    fchmod(&shelf, mode)?;
    Ok(shelf)
}

fn fill(shelf: &OwnedFd, run: &str, files: &[(&str, &[u8])], owner: Option<Owner>) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    let folder = openat(shelf, run, flags, Mode::empty())?;
    for (name, bytes) in files {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&folder, *name, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(bytes)?;
        settle(&file, Mode::RUSR, owner)?;
    }
    settle(&folder, Mode::RWXU, owner)
}

fn settle(fd: impl AsFd, mode: Mode, owner: Option<Owner>) -> io::Result<()> {
    // The umask may have taken bits away.
    fchmod(&fd, mode)?;
    if let Some((user, group)) = owner {
        fchown(&fd, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
    }
    Ok(())
}

impl PrivateFiles {
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Whether they lie in memory, not on a disk.
    pub fn are_in_memory(&self) -> bool {
        self.in_memory
    }
}

impl Drop for PrivateFiles {
    fn drop(&mut self) {
        let _alone = lock(&CHANGING);
        if let Err(error) = fs::remove_dir_all(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!(target: "run", "{} holds secrets and cannot be taken away: {error}", self.path.display());
        }
        // Stays while another attempt has files there.
        let _ = fs::remove_dir(&self.shelf);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// One shelf in a directory of the test's own, whatever file system that is.
    fn shelf(base: &Path) -> Shelf {
        Shelf { base: base.to_path_buf(), name: "shelf".into(), in_memory: false }
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn files_are_private_and_go_with_the_attempt() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = shelf(dir.path());
        let one = shelf.put("one", &[("A", b"alpha"), ("B", b"")], None).unwrap();
        let two = shelf.put("two", &[("A", b"other")], None).unwrap();
        assert_eq!(fs::read(one.path_of("A")).unwrap(), b"alpha");
        assert_eq!((mode(&one.path_of("A")), mode(&one.path)), (0o400, 0o700));
        assert_eq!(mode(&one.shelf) & 0o066, 0, "nobody else may look into it");
        // What the command itself put there goes as well.
        fs::write(one.path_of("more"), "x").unwrap();
        drop(one);
        assert_eq!(fs::read(two.path_of("A")).unwrap(), b"other");
        let panicked = std::panic::catch_unwind(move || {
            let _two = two;
            panic!("as a bug would");
        });
        assert!(panicked.is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_failure_half_way_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let error = shelf(dir.path()).put("one", &[("A", b"alpha"), ("A", b"again")], None).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_somebody_else_put_in_the_place_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let (base, elsewhere) = (dir.path().join("base"), dir.path().join("elsewhere"));
        fs::create_dir(&base).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        let put = || shelf(&base).put("run", &[("A", b"alpha")], None);
        symlink(&elsewhere, base.join("shelf")).unwrap();
        assert!(put().is_err(), "a link");
        let shelves = Shelves { candidates: vec![shelf(&base)] };
        assert_eq!(shelves.clear().unwrap(), 0);
        assert!(fs::symlink_metadata(base.join("shelf")).is_ok(), "a link is none of ours");
        fs::remove_file(base.join("shelf")).unwrap();
        fs::write(base.join("shelf"), "").unwrap();
        assert!(put().is_err(), "a file");
        fs::remove_file(base.join("shelf")).unwrap();
        fs::create_dir(base.join("shelf")).unwrap();
        fs::set_permissions(base.join("shelf"), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(put().unwrap_err().to_string().contains("not this user's alone"), "a directory that others write to");
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
        if geteuid().is_root() {
            fs::set_permissions(base.join("shelf"), fs::Permissions::from_mode(0o700)).unwrap();
            std::os::unix::fs::chown(base.join("shelf"), Some(12_345), None).unwrap();
            assert!(put().unwrap_err().to_string().contains("not this user's alone"), "another user's");
        }
    }

    #[test]
    fn what_a_crash_left_is_cleared_and_where_one_place_fails_the_next_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let good = shelf(dir.path());
        let shelves = Shelves { candidates: vec![shelf(&dir.path().join("missing")), good] };
        let left = shelves.put("left", &[("A", b"alpha")], None).unwrap();
        let path = left.path_of("A");
        std::mem::forget(left);
        assert!(path.exists());
        assert_eq!(shelves.clear().unwrap(), 1);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(shelves.clear().unwrap(), 0);
    }

    #[test]
    fn root_can_give_them_to_another_user() {
        if !geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let files = shelf(dir.path()).put("run", &[("A", b"alpha")], Some((12_345, 23_456))).unwrap();
        for path in [files.path_of("A"), files.path.clone()] {
            let meta = fs::symlink_metadata(path).unwrap();
            assert_eq!((meta.uid(), meta.gid()), (12_345, 23_456));
        }
        assert_eq!(mode(&files.shelf), 0o711, "the other user comes through, and sees nothing");
    }

    #[test]
    fn another_user_is_given_none_that_it_could_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let missing = Shelf { in_memory: true, ..shelf(&dir.path().join("missing")) };
        let shelves = Shelves { candidates: vec![missing, shelf(dir.path())] };
        let another = geteuid().as_raw() + 12_345;
        let error = shelves.put("run", &[("A", b"alpha")], Some((another, 1))).unwrap_err().to_string();
        assert!(error.contains("/missing: No such file or directory"), "{error}");
        assert!(error.contains("mount a tmpfs at one of them, or leave out `as: file`"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(shelves.put("run", &[("A", b"alpha")], None).is_ok());
    }

    #[test]
    fn two_runners_never_share_a_shelf_and_memory_comes_first() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let names = |dir: &Path| Shelves::of(dir).unwrap().candidates;
        let (one, two) = (names(one.path()), names(two.path()));
        assert_ne!(one[0].name, two[0].name);
        assert!(one[0].in_memory && !one.last().unwrap().in_memory);
        assert!(one.iter().rev().skip(1).all(|shelf| shelf.in_memory && shelf.name == one[0].name));
    }
}
