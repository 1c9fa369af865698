//! Files that hold secrets for as long as one attempt lasts: in memory where the system has a place for that, for one user
//! alone, and gone with the attempt.
//!
//! They lie in `<shelf>/<run>/`. The shelf is one runner's own directory: `runner-<uid>-<hash>` on a file system in memory, with
//! the hash of the logs directory's device and inode, so that no two runners meet on one, not even in two containers that
//! share `/dev/shm`. Made with the first files, it stays as long as the runner runs: for each run of a watch some are put there.
//! Where there is no such file system, or it is full, the shelf is `secrets` in the logs directory, but for files of another
//! user: that one comes through no logs directory.
//!
//! Others may write to `/dev/shm`. So what is found in the place of a shelf is taken only if it is a directory, no link, of
//! this user, and nobody else may write to it; everything below is made through its descriptor.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, Uid, fchmod, fchown, fstat, fstatfs, mkdirat, openat, stat, unlinkat,
};
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
    candidates: Arc<[Shelf]>,
}

#[derive(Debug)]
struct Shelf {
    base: PathBuf,
    name: String,
    in_memory: bool,
    /// Once files were put there.
    open: Mutex<Option<Arc<OpenShelf>>>,
}

/// A shelf that is there. It goes with whoever has it open last, if nothing is in it.
#[derive(Debug)]
struct OpenShelf {
    path: PathBuf,
    fd: OwnedFd,
    device: u64,
    inode: u64,
}

/// The files of one attempt; dropping it takes them away.
#[derive(Debug)]
pub struct PrivateFiles {
    shelf: Arc<OpenShelf>,
    path: PathBuf,
    run: String,
    names: Vec<String>,
    in_memory: bool,
}

/// A shelf that goes may be one that another thread is about to open.
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
        let in_memory = bases.into_iter().map(|base| Shelf::new(base, name.clone(), true));
        let on_disk = Shelf::new(logs.to_path_buf(), "secrets".into(), false);
        Ok(Self { candidates: in_memory.chain([on_disk]).collect() })
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
        for shelf in &*self.candidates {
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
        // Where the last ones found a place in memory there mostly is one.
        let used = self.candidates.iter().find(|shelf| shelf.in_memory && lock(&shelf.open).is_some());
        if let Some(Ok(put)) = used.map(|shelf| shelf.put(run, files, owner)) {
            return Ok(put);
        }
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
    fn new(base: PathBuf, name: String, in_memory: bool) -> Self {
        Self { base, name, in_memory, open: Mutex::default() }
    }

    fn put(&self, run: &str, files: &[(&str, &[u8])], owner: Option<Owner>) -> io::Result<PrivateFiles> {
        let shelf = self.open()?;
        mkdirat(&shelf.fd, run, Mode::RWXU)?;
        // From here on what was made goes with `place`.
        let names = files.iter().map(|(name, _)| name.to_string()).collect();
        let path = shelf.path.join(run);
        let place = PrivateFiles { shelf, path, run: run.to_string(), names, in_memory: self.in_memory };
        fill(&place.shelf.fd, run, files, owner).map(|()| place)
    }

    /// The one that is open, if it is what stands there still: others may have taken it away.
    fn open(&self) -> io::Result<Arc<OpenShelf>> {
        let mut open = lock(&self.open);
        if let Some(shelf) = open.as_ref().filter(|shelf| shelf.stands_there()) {
            return Ok(shelf.clone());
        }
        let base = openat(CWD, &self.base, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        if self.in_memory && !is_in_memory(&base)? {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "it is no file system in memory"));
        }
        // Dropped behind the lock below.
        let before = open.take();
        let shelf = {
            let _alone = lock(&CHANGING);
            let fd = open_shelf(&base, &self.name)?;
            let found = fstat(&fd)?;
            Arc::new(OpenShelf { path: self.base.join(&self.name), fd, device: found.st_dev, inode: found.st_ino })
        };
        drop(before);
        *open = Some(shelf.clone());
        Ok(shelf)
    }
}

impl OpenShelf {
    fn stands_there(&self) -> bool {
        stat(&self.path).is_ok_and(|found| (found.st_dev, found.st_ino) == (self.device, self.inode))
    }
}

impl Drop for OpenShelf {
    fn drop(&mut self) {
        let _alone = lock(&CHANGING);
        // Not what stands in its place by now.
        if self.stands_there() {
            let _ = fs::remove_dir(&self.path);
        }
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
        for name in &self.names {
            let _ = unlinkat(&self.shelf.fd, Path::new(&self.run).join(name), AtFlags::empty());
        }
        if unlinkat(&self.shelf.fd, &self.run, AtFlags::REMOVEDIR).is_ok() {
            return;
        }
        // The command may have put more there.
        if let Err(error) = fs::remove_dir_all(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!(target: "run", "{} holds secrets and cannot be taken away: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// One shelf in a directory of the test's own, whatever file system that is.
    fn shelf(base: &Path) -> Shelf {
        Shelf::new(base.to_path_buf(), "shelf".into(), false)
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
        assert_eq!(mode(&one.shelf.path) & 0o066, 0, "nobody else may look into it");
        // What the command itself put there goes as well.
        fs::write(one.path_of("more"), "x").unwrap();
        drop(one);
        assert_eq!(fs::read(two.path_of("A")).unwrap(), b"other");
        let panicked = std::panic::catch_unwind(move || {
            let _two = two;
            panic!("as a bug would");
        });
        assert!(panicked.is_err());
        assert_eq!(fs::read_dir(dir.path().join("shelf")).unwrap().count(), 0);
        let last = shelf.put("last", &[("A", b"omega")], None).unwrap();
        drop(shelf);
        assert!(last.path_of("A").exists(), "it stays with the last files");
        drop(last);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn one_that_others_took_away_or_replaced_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = shelf(dir.path());
        let place = dir.path().join("shelf");
        let one = shelf.put("one", &[("A", b"alpha")], None).unwrap();
        fs::rename(&place, dir.path().join("away")).unwrap();
        let two = shelf.put("two", &[("A", b"beta")], None).unwrap();
        assert_eq!(fs::read(two.path_of("A")).unwrap(), b"beta");
        // Wherever it is now, what is in it goes.
        drop(one);
        assert_eq!(fs::read_dir(dir.path().join("away")).unwrap().count(), 0);
        assert!(two.path_of("A").exists());
        fs::remove_dir_all(&place).unwrap();
        drop(two);
        fs::create_dir(&place).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o700)).unwrap();
        let three = shelf.put("three", &[("A", b"gamma")], None).unwrap();
        assert_eq!(fs::read(three.path_of("A")).unwrap(), b"gamma");
        drop((three, shelf));
        assert!(!place.exists());
    }

    #[test]
    fn a_failure_half_way_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = shelf(dir.path());
        let error = shelf.put("one", &[("A", b"alpha"), ("A", b"again")], None).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        drop(shelf);
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
        let shelves = Shelves { candidates: [shelf(&base)].into() };
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
        let shelves = Shelves { candidates: [shelf(&dir.path().join("missing")), good].into() };
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
        assert_eq!(mode(&files.shelf.path), 0o711, "the other user comes through, and sees nothing");
    }

    #[test]
    fn another_user_is_given_none_that_it_could_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let missing = Shelf::new(dir.path().join("missing"), "shelf".into(), true);
        let shelves = Shelves { candidates: [missing, shelf(dir.path())].into() };
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
        let places = |dir: &Path| Shelves::of(dir).unwrap().candidates;
        let (one, two) = (places(one.path()), places(two.path()));
        assert_ne!(one[0].name, two[0].name);
        assert!(one[0].in_memory && !one.last().unwrap().in_memory);
        assert!(one.iter().rev().skip(1).all(|shelf| shelf.in_memory && shelf.name == one[0].name));
    }
}
