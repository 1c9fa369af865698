//! Rules of Landlock that are made once: some forty system calls that are the same for each run of a job.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::model::lock;

/// Rules that were made for paths, as long as these still lead where they led then.
///
/// The rules hold what the paths led to, so that its number is nobody else's meanwhile: as long as its file system is mounted. So all
/// are forgotten whenever anything is mounted or unmounted.
#[derive(Debug)]
pub(super) struct Rulesets(Mutex<Memory>);

#[derive(Debug)]
struct Memory {
    kept: Vec<Kept>,
    /// Tells that mounts have changed (proc_pid_mountinfo(5)); absent until it is needed, and where it cannot be had.
    mounts: Option<File>,
    /// How often all were forgotten.
    forgotten: u64,
}

#[derive(Debug)]
struct Kept {
    paths: Vec<PathBuf>,
    places: Vec<Option<Place>>,
    ruleset: Arc<OwnedFd>,
}

/// Device, number and mode of what a path leads to.
type Place = (u64, u64, u32);

/// As many jobs with paths of their own are kept.
const MOST: usize = 16;

impl Memory {
    /// Forgets all if mounts have changed since the last time, or perhaps have.
    fn look_at_mounts(&mut self) {
        let is_quiet = self.mounts.as_ref().is_some_and(|mounts| {
            let mut fds = [PollFd::new(mounts, PollFlags::PRI)];
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            poll(&mut fds, Some(&now)).is_ok() && !fds[0].revents().intersects(PollFlags::PRI | PollFlags::ERR)
        });
        if !is_quiet {
            self.kept.clear();
            self.forgotten += 1;
            // It tells of what happens after it was opened, or was asked last.
            if self.mounts.is_none() {
                self.mounts = File::open("/proc/self/mountinfo").ok();
            }
        }
    }
}

impl Rulesets {
    pub const fn new() -> Self {
        Self(Mutex::new(Memory { kept: Vec::new(), mounts: None, forgotten: 0 }))
    }

    /// The rules for `paths`, made by `make` where there are none that hold. `beside`: paths that matter as well, for all rules
    /// the same.
    pub fn get<E>(
        &self,
        paths: &[PathBuf],
        beside: &[&str],
        make: impl FnOnce() -> Result<OwnedFd, E>,
    ) -> Result<Arc<OwnedFd>, E> {
        let look = || paths.iter().map(PathBuf::as_path).chain(beside.iter().map(Path::new)).map(place).collect();
        let places: Vec<Option<Place>> = look();
        let mut memory = lock(&self.0);
        memory.look_at_mounts();
        let forgotten = memory.forgotten;
        if let Some(at) = memory.kept.iter().position(|kept| kept.paths == paths) {
            if memory.kept[at].places == places {
                return Ok(memory.kept[at].ruleset.clone());
            }
            memory.kept.remove(at);
        }
        drop(memory);
        let ruleset = Arc::new(make()?);
        let is_so_still = look() == places;
        let mut memory = lock(&self.0);
        memory.look_at_mounts();
        // Nothing was exchanged while they were made.
        if is_so_still && memory.forgotten == forgotten {
            memory.kept.retain(|kept| kept.paths != paths);
            if memory.kept.len() >= MOST {
                memory.kept.remove(0);
            }
            memory.kept.push(Kept { paths: paths.to_vec(), places, ruleset: ruleset.clone() });
        }
        Ok(ruleset)
    }
}

fn place(path: &Path) -> Option<Place> {
    let meta: io::Result<_> = std::fs::metadata(path);
    meta.ok().map(|meta| (meta.dev(), meta.ino(), meta.mode()))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn rules_are_made_once_and_again_when_a_path_leads_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let (a, device) = (dir.path().join("a"), dir.path().join("device"));
        let rulesets = Rulesets::new();
        let made = Cell::new(0);
        let get = |path: &PathBuf| {
            let make = || {
                made.set(made.get() + 1);
                // Holds what is there, as rules do.
                File::open(&a).map(OwnedFd::from)
            };
            rulesets.get(std::slice::from_ref(path), &[device.to_str().unwrap()], make)
        };
        assert!(get(&a).is_err(), "what cannot be made is not kept");
        std::fs::create_dir(&a).unwrap();
        let first = get(&a).unwrap();
        assert!(Arc::ptr_eq(&first, &get(&a).unwrap()));
        assert_eq!(made.get(), 2);
        // Another directory of the same name.
        std::fs::rename(&a, dir.path().join("moved")).unwrap();
        std::fs::create_dir(&a).unwrap();
        assert!(!Arc::ptr_eq(&first, &get(&a).unwrap()));
        // A device that was not there.
        File::create(&device).unwrap();
        get(&a).unwrap();
        assert_eq!(made.get(), 4);
        for n in 0..2 * MOST {
            get(&dir.path().join(n.to_string())).unwrap();
        }
        assert_eq!(lock(&rulesets.0).kept.len(), MOST);
    }
}
