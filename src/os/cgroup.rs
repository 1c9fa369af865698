//! Control groups, version 2: all processes of a run in one place that none of them can leave by itself (cgroups(7)).
//!
//! Nothing is remembered of them. A group carries the id of its run in its name, or the run's `start` names it, which is how the
//! next start finds what a crash has left.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};

use super::spare_groups::{CpuTime, Files, Spare, Spares, State, recorded_name};

/// What a controller can do for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    Memory,
    Pids,
    Cpu,
    Io,
}

impl Controller {
    const ALL: [Self; 4] = [Self::Memory, Self::Pids, Self::Cpu, Self::Io];

    /// Its name in `cgroup.controllers`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
            Self::Io => "io",
        }
    }
}

/// The controllers that a run's group has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Controllers(u8);

impl Controllers {
    pub const ALL: Self = Self(0b1111);

    /// Those that a text such as `cpu memory pids` names.
    fn parse(text: &str) -> Self {
        let is_named = |controller: &Controller| text.split_whitespace().any(|word| word == controller.name());
        Controller::ALL.into_iter().filter(is_named).collect()
    }

    pub fn has(self, controller: Controller) -> bool {
        self.0 & 1 << controller as u8 != 0
    }

    fn iter(self) -> impl Iterator<Item = Controller> {
        Controller::ALL.into_iter().filter(move |controller| self.has(*controller))
    }
}

impl FromIterator<Controller> for Controllers {
    fn from_iter<T: IntoIterator<Item = Controller>>(iter: T) -> Self {
        Self(iter.into_iter().fold(0, |bits, controller| bits | 1 << controller as u8))
    }
}

/// Where this process is among the groups, and what may be done there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// The group's directory.
    path: PathBuf,
    /// The root of all groups: it alone may have processes beside groups with controllers.
    is_root: bool,
    /// What groups below it can be given.
    pub controllers: Controllers,
}

/// Why no group can be made, or one without controllers only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoGroups {
    #[error("this system has no cgroup v2")]
    NotThere,
    #[error("the runner's own cgroup {} cannot be written to: {why}", .path.display())]
    NotWritable { path: PathBuf, why: String },
}

impl Home {
    /// Finds this process's own group.
    ///
    /// # Errors
    /// There is no such file system, or it may not be written to.
    pub fn find() -> Result<Self, NoGroups> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::among(&mounts, &own)
    }

    /// `mounts`: `/proc/self/mountinfo`; `own`: `/proc/self/cgroup`.
    fn among(mounts: &str, own: &str) -> Result<Self, NoGroups> {
        let own = own.lines().find_map(|line| line.strip_prefix("0::")).ok_or(NoGroups::NotThere)?;
        let path = mounts.lines().find_map(|line| place_below(line, own)).ok_or(NoGroups::NotThere)?;
        let not_writable = |error: io::Error| NoGroups::NotWritable { path: path.clone(), why: error.to_string() };
        let controllers = fs::read_to_string(path.join("cgroup.controllers")).map_err(not_writable)?;
        rustix::fs::access(&path, rustix::fs::Access::WRITE_OK).map_err(|error| not_writable(error.into()))?;
        // The root of the hierarchy alone has no `cgroup.type` (cgroups(7)).
        let is_root = !path.join("cgroup.type").exists();
        let home = Self { controllers: Controllers::parse(&controllers), is_root, path };
        // A service manager takes no notice of controllers that it did not hand over, and undoes them.
        if home.is_root || home.is_handed_over() {
            Ok(home)
        } else {
            Ok(Self { controllers: Controllers::default(), ..home })
        }
    }

    /// Whether the service manager leaves this group to us (`Delegate=yes`), or has no part in it.
    fn is_handed_over(&self) -> bool {
        let is_service = std::env::var_os("INVOCATION_ID").is_some();
        let says_yes = |name: &str| {
            let mut value = [0u8; 8];
            let length = rustix::fs::getxattr(&self.path, name, &mut value).unwrap_or(0);
            value[..length] == *b"1"
        };
        !is_service || ["trusted.delegate", "user.delegate"].into_iter().any(says_yes)
    }

    /// Makes a place for groups of runs below this one, called `name`.
    ///
    /// Where controllers are to be had and this process stands in the way (a group with controllers below it has no processes
    /// of its own, cgroups(7)), it moves into a group beside them. Controllers that cannot be had are left out.
    ///
    /// # Errors
    /// No group can be made.
    pub fn settle(&self, name: &str) -> Result<Groups, NoGroups> {
        let path = self.path.join(name);
        make_directory(&path)
            .map_err(|error| NoGroups::NotWritable { path: self.path.clone(), why: error.to_string() })?;
        let mut controllers = self.controllers;
        if controllers != Controllers::default() && enable(&self.path, controllers).is_err() {
            let moved = !self.is_root && self.step_aside(name).is_ok();
            if !moved || enable(&self.path, controllers).is_err() {
                controllers =
                    controllers.iter().filter(|one| enable(&self.path, [*one].into_iter().collect()).is_ok()).collect();
            }
        }
        controllers = controllers.iter().filter(|one| enable(&path, [*one].into_iter().collect()).is_ok()).collect();
        Ok(Groups { path, controllers, spares: Arc::default() })
    }

    fn step_aside(&self, name: &str) -> io::Result<()> {
        let aside = self.path.join(format!("{name}.runner"));
        make_directory(&aside)?;
        fs::write(aside.join("cgroup.procs"), "0")
    }

    /// All groups of runs that can be seen, wherever a runner has made them: each with what is left of a run that `is_meant`, by
    /// its id or by how its start's record names its group.
    pub fn leftovers(is_meant: impl Fn(&str) -> bool) -> Vec<Leftover> {
        let is_recorded = |path: &Path| recorded_name(path).is_some_and(|name| is_meant(&name));
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let Some(root) = mounts.lines().find_map(mount_point) else { return Vec::new() };
        let mut found = Vec::new();
        let mut open = vec![root];
        while let Some(path) = open.pop() {
            for child in children(&path) {
                let run = child.file_name().and_then(OsStr::to_str).map(|name| name.split('.').next().unwrap_or(name));
                match run {
                    Some(run) if is_meant(run) || is_recorded(&child) => found.push(Leftover { path: child }),
                    _ => open.push(child),
                }
            }
        }
        found
    }
}

/// A line of mountinfo: the directory of the group `own` below a mount of cgroup2 (proc_pid_mountinfo(5)).
fn place_below(line: &str, own: &str) -> Option<PathBuf> {
    let mount = mount_point(line)?;
    let root = line.split(' ').nth(3)?;
    let below = Path::new(own).strip_prefix(root).ok()?;
    Some(mount.join(below))
}

/// The mount point of a line of mountinfo, if it is one of cgroup2.
fn mount_point(line: &str) -> Option<PathBuf> {
    let (before, after) = line.split_once(" - ")?;
    let kind = after.split(' ').next()?;
    let point = before.split(' ').nth(4)?;
    (kind == "cgroup2").then(|| PathBuf::from(unescaped(point)))
}

/// A path of mountinfo: a space and three others stand as octal numbers there.
pub(super) fn unescaped(path: &str) -> String {
    path.replace(r"\040", " ").replace(r"\011", "\t").replace(r"\012", "\n").replace(r"\134", "\\")
}

fn make_directory(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Gives all groups below `path` these controllers.
fn enable(path: &Path, controllers: Controllers) -> io::Result<()> {
    let words: Vec<String> = controllers.iter().map(|controller| format!("+{}", controller.name())).collect();
    if words.is_empty() { Ok(()) } else { fs::write(path.join("cgroup.subtree_control"), words.join(" ")) }
}

fn children(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Where the groups of a runner's runs are made.
#[derive(Debug, Clone)]
pub struct Groups {
    path: PathBuf,
    /// What each of them has.
    pub controllers: Controllers,
    /// Those that were a run's and can be another's.
    spares: Arc<Spares>,
}

/// What a group may use. Absent: as much as there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Most {
    /// Bytes, swap included.
    pub memory: Option<u64>,
    /// Processes and threads at one time.
    pub processes: Option<u64>,
    /// Thousandths of one core.
    pub cpu: Option<u32>,
    /// 1 to 10,000, where others have 100.
    pub io_weight: Option<u32>,
    /// What cannot be set is left out.
    pub is_best_effort: bool,
}

impl Most {
    /// Whether there is a limit in it.
    fn has_any(&self) -> bool {
        *self != Self { is_best_effort: self.is_best_effort, ..Self::default() }
    }

    /// Whether there is no limit in it that has to be kept.
    pub fn is_nothing(&self) -> bool {
        self.is_best_effort || *self == Self::default()
    }
}

/// The span over which CPU time is counted, microseconds: the kernel's own default.
const PERIOD: u64 = 100_000;

impl Groups {
    /// A group for an attempt of a run: one that nobody else is in, and where something is counted or limited in it, a new one.
    ///
    /// # Errors
    /// It cannot be made, or a limit cannot be set; none is left then.
    pub fn create(&self, run: &str, attempt: u32, most: &Most) -> io::Result<Group> {
        let is_bare = self.controllers == Controllers::default() && !most.has_any();
        if is_bare && let Some(group) = self.reusable() {
            return Ok(group);
        }
        let path = self.path.join(format!("{run}.{attempt}"));
        fs::DirBuilder::new().mode(0o755).create(&path)?;
        let opened = rustix::fs::open(&path, OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let group = match opened {
            Ok(directory) => Group {
                place: Leftover { path },
                directory,
                controllers: self.controllers,
                reused: None,
                is_spent: Cell::new(false),
            },
            Err(error) => {
                let _ = fs::remove_dir(&path);
                return Err(error.into());
            }
        };
        match group.set(most) {
            Err(error) if !most.is_best_effort => {
                let _ = group.remove();
                Err(error)
            }
            _ => Ok(group),
        }
    }

    /// One that was used before, or a new one that can be used again. `None` where this system has no such groups.
    fn reusable(&self) -> Option<Group> {
        // One that others have taken away meanwhile, or put somebody into, is let go of.
        let kept = std::iter::from_fn(|| self.spares.take()).find(|spare| spare.files.is_free());
        let spare = kept.or_else(|| self.new_spare())?;
        let Spare { path, directory, files, used } = spare;
        let name = recorded_name(&path)?;
        let reused = Some(Reused { files, before: used, seen: Cell::new(None), name, spares: self.spares.clone() });
        Some(Group {
            place: Leftover { path },
            directory,
            controllers: self.controllers,
            reused,
            is_spent: Cell::new(false),
        })
    }

    fn new_spare(&self) -> Option<Spare> {
        let path = loop {
            let path = self.path.join(self.spares.next_name());
            match fs::DirBuilder::new().mode(0o755).create(&path) {
                Ok(()) => break path,
                // An earlier runner's, with a process that cannot be ended.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(_) => return None,
            }
        };
        let opened = rustix::fs::open(&path, OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let opened = opened.map_err(io::Error::from);
        match opened.and_then(|directory| Files::open(&directory).map(|files| (directory, files))) {
            Ok((directory, files)) => Some(Spare { path, directory, files, used: CpuTime::default() }),
            Err(_) => {
                let _ = fs::remove_dir(&path);
                None
            }
        }
    }

    /// Ends what an earlier runner of the same logs has left here, and takes it away. Says how many processes that were: of runs
    /// that are recorded as unfinished none is left by now, so they had not become their program yet.
    pub fn clear(&self, patience: Duration) -> usize {
        let groups = children(&self.path);
        let count = groups.iter().map(|group| pids_below(group).len()).sum();
        groups.iter().filter(|group| is_populated(group)).for_each(|group| kill_below(group));
        let until = Instant::now() + patience;
        for group in &groups {
            wait_until_empty(group, until);
            remove_tree(group);
        }
        count
    }

    /// Takes the place itself away, where nothing is left in it.
    pub fn remove(&self) {
        while let Some(spare) = self.spares.take() {
            let _ = fs::remove_dir(&spare.path);
        }
        let _ = fs::remove_dir(&self.path);
    }
}

/// The group of one attempt.
#[derive(Debug)]
pub struct Group {
    place: Leftover,
    directory: OwnedFd,
    controllers: Controllers,
    /// One that is used by one attempt after the other.
    reused: Option<Reused>,
    /// It is not used again.
    is_spent: Cell<bool>,
}

#[derive(Debug)]
struct Reused {
    files: Files,
    /// What those before this attempt have used.
    before: CpuTime,
    /// What stood there when it was asked last, if nobody has used more since.
    seen: Cell<Option<CpuTime>>,
    /// How the start's record names it.
    name: String,
    spares: Arc<Spares>,
}

/// What the processes of a group have used together, those that have ended included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used {
    pub user_ms: Option<u64>,
    pub system_ms: Option<u64>,
    /// Peak memory, KiB; absent without the memory controller, and on kernels before 5.19.
    pub peak_kb: Option<u64>,
    /// Bytes read from and written to disks; absent without the io controller.
    pub io: Option<(u64, u64)>,
    /// How many processes the kernel killed because the group had no memory left.
    pub killed_for_memory: u64,
}

impl Group {
    /// For `CLONE_INTO_CGROUP`.
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// How the start's record has to name it, where the run's id does not stand in its name.
    pub fn recorded_name(&self) -> Option<&str> {
        self.reused.as_ref().map(|reused| reused.name.as_str())
    }

    /// Lets it go if no process is left in it: takes it away, or keeps it for another attempt.
    ///
    /// # Errors
    /// Somebody is left; the group is handed back.
    pub fn remove(self) -> Result<(), Self> {
        let Some(reused) = &self.reused else { return if self.place.remove() { Ok(()) } else { Err(self) } };
        match reused.files.state(&self.directory) {
            State::Populated => {
                reused.seen.set(None);
                // Whoever is left may kill it from within.
                self.spend();
                return Err(self);
            }
            State::Empty if self.is_spent.get() => return if self.place.remove() { Ok(()) } else { Err(self) },
            State::Changed => return if self.place.remove() { Ok(()) } else { Err(self) },
            State::Empty => {}
        }
        let Self { place, directory, reused, .. } = self;
        let Some(Reused { files, seen, spares, .. }) = reused else { return Ok(()) };
        let path = place.path;
        let back = match seen.get().or_else(|| files.cpu()) {
            Some(used) => spares.put(Spare { path, directory, files, used }).map(|spare| spare.path),
            None => Some(path),
        };
        if let Some(path) = back {
            let _ = fs::remove_dir(path);
        }
        Ok(())
    }

    /// It is not used again. One that was killed (`cgroup.kill`) kills whoever is born in it later: `CLONE_INTO_CGROUP` compares its count
    /// of kills with that of the parent's own group (Linux 6.18).
    pub fn spend(&self) {
        self.is_spent.set(true);
    }

    /// Kills all that is in it, also what is started meanwhile.
    pub fn kill(&self) {
        self.spend();
        self.place.kill();
    }

    fn set(&self, most: &Most) -> io::Result<()> {
        if let Some(bytes) = most.memory {
            self.write("memory.max", &bytes.to_string())?;
            // Else the limit would only move the memory to the disk. Not there without swap.
            let _ = self.write("memory.swap.max", "0");
            // All of them or none: what is left of a run that lost one of its processes is of no use.
            let _ = self.write("memory.oom.group", "1");
        }
        if let Some(processes) = most.processes {
            self.write("pids.max", &processes.to_string())?;
        }
        if let Some(cpu) = most.cpu {
            self.write("cpu.max", &format!("{} {PERIOD}", u64::from(cpu) * PERIOD / 1_000))?;
        }
        if let Some(weight) = most.io_weight {
            self.write("io.weight", &format!("default {weight}"))?;
        }
        Ok(())
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", self.path.join(file).display()));
        fs::write(self.path.join(file), text).map_err(named)
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.path.join(file)).ok()
    }

    /// The bytes that its processes use now; absent without the memory controller.
    pub fn memory_now(&self) -> Option<u64> {
        if self.controllers.has(Controller::Memory) { self.read("memory.current")?.trim().parse().ok() } else { None }
    }

    pub fn used(&self) -> Used {
        if let Some(reused) = &self.reused {
            let now = reused.files.cpu();
            reused.seen.set(now);
            let ms = |of: fn(CpuTime) -> u64| now.map(|now| of(now).saturating_sub(of(reused.before)) / 1_000);
            return Used { user_ms: ms(|cpu| cpu.user), system_ms: ms(|cpu| cpu.system), ..Used::default() };
        }
        let number = |text: &str, key: &str| -> Option<u64> {
            text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
        };
        let cpu = self.read("cpu.stat").unwrap_or_default();
        let ms = |key: &str| number(&cpu, key).map(|us| us / 1_000);
        let of = |controller: Controller, file: &str| {
            if self.controllers.has(controller) { self.read(file) } else { None }
        };
        let events = of(Controller::Memory, "memory.events").unwrap_or_default();
        let io = of(Controller::Io, "io.stat").map(|text| {
            let sum = |key: &str| {
                let words = text.split_whitespace().filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok());
                words.sum::<u64>()
            };
            (sum("rbytes="), sum("wbytes="))
        });
        Used {
            user_ms: ms("user_usec"),
            system_ms: ms("system_usec"),
            peak_kb: of(Controller::Memory, "memory.peak")
                .and_then(|text| Some(text.trim().parse::<u64>().ok()? / 1024)),
            io,
            killed_for_memory: number(&events, "oom_kill").unwrap_or(0),
        }
    }
}

impl Deref for Group {
    type Target = Leftover;

    fn deref(&self) -> &Leftover {
        &self.place
    }
}

/// A group of a run, such as one that a runner that was killed has left.
#[derive(Debug)]
pub struct Leftover {
    path: PathBuf,
}

impl Leftover {
    /// The processes in it and in the groups that they have made below it. Those that have ended are not among them.
    pub fn pids(&self) -> Vec<i32> {
        pids_below(&self.path)
    }

    /// Kills all that is in it, also what is started meanwhile (`cgroup.kill`, Linux 5.14; else one by one).
    pub fn kill(&self) {
        kill_below(&self.path);
    }

    /// Waits until no process is left in it or the time is over. Says whether it is empty.
    pub fn wait_until_empty(&self, until: Instant) -> bool {
        wait_until_empty(&self.path, until)
    }

    /// Takes it away if no process is left in it; says whether that was so.
    pub fn remove(&self) -> bool {
        unlinkat(rustix::fs::CWD, &self.path, AtFlags::REMOVEDIR).is_ok() || remove_tree(&self.path)
    }
}

/// A job may make groups below its own, and groups below these: so many are looked at.
const MOST_GROUPS: usize = 100_000;

/// The group and all below it, those above before those below.
fn tree(path: &Path) -> Vec<PathBuf> {
    let mut all = vec![path.to_path_buf()];
    let mut at = 0;
    while at < all.len() && all.len() < MOST_GROUPS {
        let below = children(&all[at]);
        all.extend(below);
        at += 1;
    }
    all
}

fn pids_below(path: &Path) -> Vec<i32> {
    let of = |path: PathBuf| {
        let text = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<i32>>()
    };
    tree(path).into_iter().flat_map(of).collect()
}

fn kill_below(path: &Path) {
    if fs::write(path.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    for pid in pids_below(path) {
        // Of a number that was taken over by another process meanwhile: it is held first, and looked at again then.
        let Some(handle) = super::process::Handle::open(pid) else { continue };
        if pids_below(path).contains(&pid) {
            handle.signal(libc::SIGKILL);
        }
    }
}

fn is_populated(path: &Path) -> bool {
    fs::read_to_string(path.join("cgroup.events")).is_ok_and(|text| text.lines().any(|line| line == "populated 1"))
}

/// The kernel tells a change of `cgroup.events` as `POLLPRI`.
fn wait_until_empty(path: &Path, until: Instant) -> bool {
    let Ok(events) =
        openat(rustix::fs::CWD, path.join("cgroup.events"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
    else {
        return true;
    };
    loop {
        // Read through this descriptor, so that a later change is told of.
        let mut text = [0u8; 256];
        let length = rustix::io::pread(&events, &mut text, 0).unwrap_or(0);
        if !String::from_utf8_lossy(&text[..length]).lines().any(|line| line == "populated 1") {
            return true;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) as _ };
        let _ = poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&left));
    }
}

/// From the bottom up; says whether all of it is gone. One that has a process stays.
fn remove_tree(path: &Path) -> bool {
    if is_populated(path) {
        return false;
    }
    for group in tree(path).iter().rev() {
        let _ = fs::remove_dir(group);
    }
    !path.exists()
}

/// A name for the place of a runner's groups: of a logs directory there is one runner.
pub fn place_name(logs: &Path) -> String {
    let identity = fs::metadata(logs).map(|meta| (meta.dev(), meta.ino())).unwrap_or_default();
    format!("runner-{:x}-{:x}", identity.0, identity.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "25 30 0:23 / /proc rw - proc proc rw\n\
                          31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                          40 30 0:29 / ROOT rw,nosuid - cgroup2 cgroup2 rw\n";

    /// A directory that looks like a control group which a service manager has handed over, all of it plain files.
    fn fake() -> (tempfile::TempDir, Home) {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("own group");
        fs::create_dir(&own).unwrap();
        fs::write(own.join("cgroup.controllers"), "cpuset cpu io memory pids\n").unwrap();
        fs::write(own.join("cgroup.type"), "domain\n").unwrap();
        let point = root.path().to_str().unwrap().replace(' ', r"\040");
        let home = Home::among(&MOUNTS.replace("ROOT", &point), "5:memory:/x\n0::/own group\n").unwrap();
        (root, home)
    }

    #[test]
    fn the_own_group_is_found_below_the_right_mount() {
        let (root, home) = fake();
        assert_eq!(home.path, root.path().join("own group"));
        assert_eq!((home.controllers, home.is_root), (Controllers::ALL, false));
        assert_eq!(Home::among(MOUNTS, "5:memory:/x\n"), Err(NoGroups::NotThere));
        assert_eq!(Home::among("", "0::/\n"), Err(NoGroups::NotThere));
        let nowhere = Home::among(&MOUNTS.replace("ROOT", "/no/such"), "0::/a\n").unwrap_err();
        assert_eq!(
            nowhere.to_string(),
            "the runner's own cgroup /no/such/a cannot be written to: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn a_mount_of_a_part_of_the_groups_has_the_own_one_below_it() {
        let line = "40 30 0:29 /machine/a /cg rw - cgroup2 cgroup2 rw";
        assert_eq!(place_below(line, "/machine/a/b"), Some("/cg/b".into()));
        assert_eq!(place_below(line, "/machine/other"), None);
    }

    #[test]
    fn limits_are_written_as_the_kernel_reads_them_and_the_group_goes_with_its_run() {
        let (_root, home) = fake();
        let groups = home.settle("runner-1-2").unwrap();
        assert_eq!(groups.controllers, Controllers::ALL);
        assert_eq!(fs::read_to_string(home.path.join("cgroup.subtree_control")).unwrap(), "+memory +pids +cpu +io");
        let most = Most {
            memory: Some(512 << 20),
            processes: Some(64),
            cpu: Some(500),
            io_weight: Some(50),
            is_best_effort: false,
        };
        let group = groups.create("run", 2, &most).unwrap();
        let has = |file: &str| group.read(file).unwrap();
        assert_eq!(
            ["memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cpu.max", "io.weight"].map(has),
            ["536870912", "0", "1", "64", "50000 100000", "default 50"]
        );
        assert!(group.path.ends_with("run.2"));
        assert!(groups.create("run", 2, &most).is_err(), "there is one of that name");
    }

    #[test]
    fn what_was_used_is_read_back_and_absent_where_no_controller_counts_it() {
        let (_root, home) = fake();
        let groups = home.settle("runner-1-2").unwrap();
        let group = groups.create("run", 1, &Most::default()).unwrap();
        group.write("cpu.stat", "usage_usec 1500000\nuser_usec 1200000\nsystem_usec 300000\n").unwrap();
        group.write("memory.peak", "1048576\n").unwrap();
        group.write("memory.current", "4096\n").unwrap();
        group.write("memory.events", "low 0\nhigh 0\nmax 9\noom 1\noom_kill 3\noom_group_kill 1\n").unwrap();
        group.write("io.stat", "8:0 rbytes=100 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2 rios=1\n").unwrap();
        let all = Used {
            user_ms: Some(1200),
            system_ms: Some(300),
            peak_kb: Some(1024),
            io: Some((101, 22)),
            killed_for_memory: 3,
        };
        assert_eq!((group.used(), group.memory_now()), (all, Some(4096)));
        let bare = Groups { controllers: Controllers::default(), ..groups };
        let group = bare.create("other", 1, &Most::default()).unwrap();
        group.write("cpu.stat", "user_usec 5000\nsystem_usec 6000\n").unwrap();
        group.write("memory.peak", "1048576\n").unwrap();
        assert_eq!(group.used(), Used { user_ms: Some(5), system_ms: Some(6), ..Used::default() });
        assert_eq!(group.memory_now(), None);
    }

    #[test]
    fn a_limit_that_cannot_be_written_leaves_no_group_behind_unless_best_effort_is_enough() {
        let (_root, home) = fake();
        let groups = home.settle("runner-1-2").unwrap();
        let lost = Groups { path: groups.path.join("gone"), ..groups.clone() };
        assert!(lost.create("run", 1, &Most::default()).is_err());
        // A directory stands where the file should be: nothing can be written there.
        let most = Most { io_weight: Some(50), ..Most::default() };
        let is_stuck = |most: &Most| {
            let group = groups.create("stuck", 1, &Most::default()).unwrap();
            fs::create_dir(group.path.join("io.weight")).unwrap();
            group.set(most).is_err()
        };
        assert!(is_stuck(&most));
        assert!(
            !most.is_nothing() && Most { is_best_effort: true, ..most }.is_nothing() && Most::default().is_nothing()
        );
    }
}
