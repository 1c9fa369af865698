//! Control groups that are used again: to make one and to take it away costs as much as a third of a run.
//!
//! Only where no controller counts or limits anything in them: peaks and limits are never another run's. At one time a group is
//! one attempt's alone, and it comes back only when nobody is left in it and it is as it was made.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{Mode, OFlags, openat};

use crate::model::lock;

/// Groups that nobody is in.
#[derive(Debug, Default)]
pub(super) struct Spares {
    free: Mutex<Vec<Spare>>,
    made: AtomicU32,
}

/// As many as run at once on most machines; more go when they come back.
const MOST: usize = 16;

/// A group that can be used again.
#[derive(Debug)]
pub(super) struct Spare {
    pub path: PathBuf,
    pub directory: OwnedFd,
    pub files: Files,
    /// What all that were in it have used.
    pub used: CpuTime,
}

/// What is looked at at the beginning and end of each use, held open.
#[derive(Debug)]
pub(super) struct Files {
    cpu: File,
    events: File,
    kind: File,
}

/// CPU time that the processes of a group have used, microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct CpuTime {
    pub user: u64,
    pub system: u64,
}

/// How a group is found after its use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Empty,
    /// Somebody is in it.
    Populated,
    /// Nobody is in it, but somebody has changed it: it is frozen, of another kind, or has groups below it.
    Changed,
}

impl Spares {
    pub fn take(&self) -> Option<Spare> {
        lock(&self.free).pop()
    }

    /// A name that no group of this runner has had.
    pub fn next_name(&self) -> String {
        format!("g{}", self.made.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Keeps it, or gives it back where there are enough.
    pub fn put(&self, spare: Spare) -> Option<Spare> {
        let mut free = lock(&self.free);
        if free.len() < MOST {
            free.push(spare);
            return None;
        }
        Some(spare)
    }
}

impl Files {
    pub fn open(directory: &OwnedFd) -> io::Result<Self> {
        let open = |name: &str| {
            let file = openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
            Ok::<_, io::Error>(File::from(file))
        };
        Ok(Self { cpu: open("cpu.stat")?, events: open("cgroup.events")?, kind: open("cgroup.type")? })
    }

    /// What all that were ever in it have used together.
    pub fn cpu(&self) -> Option<CpuTime> {
        let mut text = [0u8; 1024];
        let length = self.cpu.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(&text[..length]).ok()?;
        let number = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
        Some(CpuTime { user: number("user_usec ")?, system: number("system_usec ")? })
    }

    /// Whether the group is there still, and nobody else has used it since it was kept: others may take away what is empty.
    pub fn is_free(&self) -> bool {
        let mut text = [0u8; 256];
        let length = self.events.read_at(&mut text, 0).unwrap_or(0);
        is_line(&text[..length], b"populated 0") && !is_line(&text[..length], b"frozen 1")
    }

    pub fn state(&self, directory: impl AsFd) -> State {
        let mut text = [0u8; 256];
        let mut read = |file: &File, is_so: &mut dyn FnMut(&[u8]) -> bool| {
            file.read_at(&mut text, 0).is_ok_and(|length| is_so(&text[..length]))
        };
        let mut is_frozen = false;
        let mut is_empty = |text: &[u8]| {
            is_frozen = is_line(text, b"frozen 1");
            is_line(text, b"populated 0")
        };
        if !read(&self.events, &mut is_empty) {
            return State::Populated;
        }
        // A directory has two names of its own, and one for each below it.
        let has_none_below = rustix::fs::fstat(directory).is_ok_and(|stat| stat.st_nlink == 2);
        let is_as_made = has_none_below && !is_frozen && read(&self.kind, &mut |text: &[u8]| text == b"domain\n");
        if is_as_made { State::Empty } else { State::Changed }
    }
}

fn is_line(text: &[u8], line: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n').any(|one| one == line)
}

/// How a start's record names the group at `path`: the place of its runner's groups, and its own name.
pub(super) fn recorded_name(path: &Path) -> Option<String> {
    let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
    Some(format!("{}/{}", name(path.parent()?)?, name(path)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that looks like a group, all of it plain files.
    fn fake() -> (tempfile::TempDir, OwnedFd, Files) {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("cpu.stat", "usage_usec 30\nuser_usec 10\nsystem_usec 20\nnice_usec 0\n");
        write("cgroup.events", "populated 0\nfrozen 0\n");
        write("cgroup.type", "domain\n");
        let directory = OwnedFd::from(File::open(dir.path()).unwrap());
        let files = Files::open(&directory).unwrap();
        (dir, directory, files)
    }

    #[test]
    fn only_a_group_that_is_empty_and_as_it_was_made_is_used_again() {
        let (dir, directory, files) = fake();
        assert_eq!(files.cpu(), Some(CpuTime { user: 10, system: 20 }));
        assert_eq!(files.state(&directory), State::Empty);
        let changes = [
            ("cgroup.events", "populated 1\nfrozen 0\n", "populated 0\nfrozen 0\n", State::Populated),
            ("cgroup.events", "populated 0\nfrozen 1\n", "populated 0\nfrozen 0\n", State::Changed),
            ("cgroup.type", "threaded\n", "domain\n", State::Changed),
        ];
        for (name, changed, as_made, state) in changes {
            std::fs::write(dir.path().join(name), changed).unwrap();
            assert_eq!(files.state(&directory), state, "{name}: {changed}");
            assert_eq!(files.is_free(), name != "cgroup.events", "{name}: {changed}");
            std::fs::write(dir.path().join(name), as_made).unwrap();
            assert_eq!((files.state(&directory), files.is_free()), (State::Empty, true));
        }
        // As the kernel says nothing of one that was taken away.
        std::fs::write(dir.path().join("cgroup.events"), "").unwrap();
        assert!(!files.is_free());
        std::fs::write(dir.path().join("cgroup.events"), "populated 0\nfrozen 0\n").unwrap();
        std::fs::create_dir(dir.path().join("below")).unwrap();
        assert_eq!(files.state(&directory), State::Changed);
    }

    #[test]
    fn so_many_are_kept_and_no_name_is_given_twice() {
        let spares = Spares::default();
        assert_eq!((spares.next_name(), spares.next_name()), ("g1".into(), "g2".into()));
        for number in 0..=MOST {
            let (dir, directory, files) = fake();
            let back = spares.put(Spare { path: dir.path().into(), directory, files, used: CpuTime::default() });
            assert_eq!(back.is_some(), number == MOST);
        }
        assert!((0..MOST).all(|_| spares.take().is_some()) && spares.take().is_none());
        assert_eq!(recorded_name(Path::new("/sys/a/runner-1-2/g7")).as_deref(), Some("runner-1-2/g7"));
    }
}
