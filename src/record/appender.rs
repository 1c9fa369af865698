use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::commit::{Commit, parent, sync_directories};
use super::rotate::rotate;

/// The modes of what the runner writes: nobody else reads it but its group.
const FILE_MODE: u32 = 0o640;
const DIRECTORY_MODE: u32 = 0o750;

/// How many logs are open.
static OPEN: AtomicUsize = AtomicUsize::new(0);
/// More than these are not kept open: two for each of sixteen jobs.
const MOST_OPEN: usize = 32;

/// One of the logs that are open.
#[derive(Debug)]
struct Counted;

impl Counted {
    fn new() -> Self {
        OPEN.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An open log that is appended to by whole lines.
///
/// Each append goes to the file that stands at the path now: one that was moved, deleted or truncated by others is opened
/// again. What is written is all of the lines or none: a failed append is cut off again.
#[derive(Debug)]
pub(super) struct Appender {
    path: PathBuf,
    open: Option<(Arc<File>, u64, u64, Counted)>,
    /// Device and number of one that was closed while it stood at the path.
    closed: Option<(u64, u64)>,
    /// The file was made, and that there is such a file, or the directory that it is in, is perhaps not on the disk.
    is_new: bool,
    commit: Arc<Commit>,
    /// The file that was open stood at its path no more.
    was_taken_away: bool,
}

impl Appender {
    pub fn new(path: PathBuf) -> Self {
        Self { path, open: None, closed: None, is_new: false, commit: Arc::default(), was_taken_away: false }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What brings its lines to the disk.
    pub fn commit(&self) -> &Arc<Commit> {
        &self.commit
    }

    /// Where it stands that there is such a file, up to `root`, if that is perhaps not on the disk.
    fn new_entries(&mut self, root: &Path) -> Vec<PathBuf> {
        if !std::mem::take(&mut self.is_new) {
            return Vec::new();
        }
        parent(&self.path).ancestors().take_while(|above| above.starts_with(root)).map(Path::to_path_buf).collect()
    }

    /// Brings to the disk that there is such a file, in directories up to `root`.
    pub fn sync_entries(&mut self, root: &Path) -> io::Result<()> {
        sync_directories(&self.new_entries(root))
    }

    /// Whether others have moved or deleted the file since this was asked last.
    pub fn was_taken_away(&mut self) -> bool {
        std::mem::take(&mut self.was_taken_away)
    }

    /// The file that stands at the path, and its length.
    pub fn current(&mut self) -> io::Result<(&Arc<File>, u64)> {
        let at_path = std::fs::metadata(&self.path).ok().map(|meta| (meta.dev(), meta.ino(), meta.len()));
        let still =
            matches!((&self.open, at_path), (Some((_, dev, ino, _)), Some((d, i, _))) if (*dev, *ino) == (d, i));
        if !still {
            let before = self.open.take().map(|(_, dev, ino, _)| (dev, ino)).or(self.closed.take());
            self.was_taken_away |= before.is_some_and(|before| at_path.map(|(dev, ino, _)| (dev, ino)) != Some(before));
            let (file, is_new) = open_for_append(&self.path)?;
            self.is_new |= is_new;
            let meta = file.metadata()?;
            self.open = Some((Arc::new(file), meta.dev(), meta.ino(), Counted::new()));
            let length = meta.len();
            return self.open.as_ref().map(|(file, ..)| (file, length)).ok_or_else(|| io::ErrorKind::NotFound.into());
        }
        let length = at_path.map_or(0, |(.., length)| length);
        self.open.as_ref().map(|(file, ..)| (file, length)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Closes the file, if many are open: the next append opens it again. Each one that is open makes each start of a process dearer,
    /// and there are only so many to be had.
    pub fn close_if_many(&mut self) {
        if OPEN.load(Ordering::Relaxed) > MOST_OPEN
            && let Some((_, dev, ino, _)) = self.open.take()
        {
            self.closed = Some((dev, ino));
        }
    }

    /// The descriptor of the file that was open last.
    pub fn raw_fd(&self) -> io::Result<RawFd> {
        self.open.as_ref().map(|(file, ..)| file.as_raw_fd()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Moves the file out of the way; the next append begins a new one.
    pub fn rotate(&mut self, keep: u32) -> io::Result<()> {
        rotate(&self.path, keep)?;
        self.open = None;
        Ok(())
    }

    /// How long the file is that was last appended to, wherever it stands.
    pub fn open_length(&self) -> u64 {
        let meta = self.open.as_ref().and_then(|(file, ..)| file.metadata().ok());
        meta.map_or(0, |meta| meta.len())
    }

    /// Cuts the file that was last appended to back to `length`: what somebody else appended through its descriptor is not
    /// whole.
    pub fn cut_back(&mut self, length: u64) {
        if let Some((file, ..)) = &self.open
            && file.metadata().is_ok_and(|meta| meta.len() > length)
        {
            let _ = file.set_len(length);
        }
    }

    /// Appends whole lines in one piece. Where they have to be on the disk before somebody goes on, `commit` brings them there,
    /// with what says that there is such a file: its directory and those above, up to the one that is given here.
    pub fn append(&mut self, lines: &[u8], synced_below: Option<&Path>) -> io::Result<()> {
        let before = self.current()?.1;
        self.append_behind(before, lines, synced_below)
    }

    /// The same directly after [`Appender::current`], which said that the file has `before` bytes.
    pub fn append_behind(&mut self, before: u64, lines: &[u8], synced_below: Option<&Path>) -> io::Result<()> {
        let Some((file, ..)) = &self.open else { return Err(io::ErrorKind::NotFound.into()) };
        append_all(file, before, lines).inspect_err(|_| self.open = None)?;
        if let Some(root) = synced_below {
            let directories = self.new_entries(root);
            if let Some((file, ..)) = &self.open {
                self.commit.wrote(file, directories);
            }
        }
        Ok(())
    }
}

/// Writes all or, if that fails, cuts the file back to where it ended.
pub(super) fn append_all(mut file: &File, before: u64, lines: &[u8]) -> io::Result<()> {
    file.write_all(lines).inspect_err(|_| {
        let _ = file.set_len(before);
    })
}

/// Opens a log for appending; it and the directories above are made if they are missing. Says whether it was.
fn open_for_append(path: &Path) -> io::Result<(File, bool)> {
    let open = |creates| OpenOptions::new().append(true).read(true).create(creates).mode(FILE_MODE).open(path);
    let is_missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    match open(false) {
        Err(error) if is_missing(&error) => {}
        other => return other.map(|file| (file, false)),
    }
    let opened = match open(true) {
        Err(error) if is_missing(&error) => {
            make_directory(&parent(path))?;
            open(true)
        }
        other => other,
    };
    opened.map(|file| (file, true))
}

/// Makes a directory of the logs, and those above it.
pub fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_was_closed_because_many_are_open_is_missed_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let open = |n: usize| {
            let mut log = Appender::new(dir.path().join(format!("{n}.log")));
            log.append(b"x\n", None).unwrap();
            log
        };
        let mut many: Vec<Appender> = (0..=MOST_OPEN).map(open).collect();
        let log = &mut many[0];
        log.close_if_many();
        assert!(log.open.is_none());
        log.append(b"y\n", None).unwrap();
        assert!(!log.was_taken_away());
        log.close_if_many();
        std::fs::remove_file(log.path.clone()).unwrap();
        log.append(b"z\n", None).unwrap();
        assert!(log.was_taken_away());
        assert_eq!(std::fs::read(&log.path).unwrap(), b"z\n");
    }

    #[test]
    fn a_log_that_others_move_delete_or_truncate_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/x.log");
        let mut log = Appender::new(path.clone());
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        log.append(b"1\n", None).unwrap();
        std::fs::rename(&path, dir.path().join("moved")).unwrap();
        log.append(b"2\n", None).unwrap();
        assert_eq!((read(&dir.path().join("moved")), read(&path)), ("1\n".into(), "2\n".into()));
        std::fs::remove_dir_all(dir.path().join("a")).unwrap();
        log.append(b"3\n", None).unwrap();
        assert_eq!(read(&path), "3\n");
        File::create(&path).unwrap();
        log.append(b"4\n", None).unwrap();
        assert_eq!(read(&path), "4\n");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777 & !0o640, 0);
    }

    #[test]
    fn rotation_keeps_the_asked_number_of_files_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Appender::new(dir.path().join("x.log"));
        for n in 0..6 {
            if log.current().unwrap().1 > 2 {
                log.rotate(2).unwrap();
            }
            log.append(format!("{n}..\n").as_bytes(), None).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).ok();
        assert_eq!(read("x.log").as_deref(), Some("5..\n"));
        assert_eq!(read("x.log.1").as_deref(), Some("4..\n"));
        assert_eq!(read("x.log.2").as_deref(), Some("3..\n"));
        assert_eq!(read("x.log.3"), None);
    }
}
