//! All processes of one attempt, however they have spread.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use crate::os::cgroup::{Group, Used};
use crate::os::process::Handle;
use crate::os::{boot, orphans, wait};

/// The processes of an attempt: its process group, its control group where it has one, and those who carry its run's id in
/// their environment.
#[derive(Debug)]
pub(super) struct Tree {
    /// The leader's process number, which is also that of its session and process group.
    leader: i32,
    /// Until nobody is left in it: after that it may be another attempt's.
    group: RefCell<Option<Group>>,
    run: String,
    /// Nobody is in the process group any more: whoever has its number from now on is a stranger.
    process_group_is_gone: Cell<bool>,
    /// Who was seen dead already: what they had started stood in the next look.
    dead: RefCell<Vec<i32>>,
}

/// Where nothing can be waited on, how often it is looked whether processes are gone.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Killed processes are gone as soon as the kernel comes to it; one that waits for a file system that hangs never is.
const PATIENCE: Duration = Duration::from_secs(5);

impl Tree {
    pub fn new(leader: i32, group: Option<Group>, run: String) -> Self {
        Self {
            leader,
            group: RefCell::new(group),
            run,
            process_group_is_gone: Cell::new(false),
            dead: RefCell::default(),
        }
    }

    /// Sends a signal to the process group. A stopped process would not see it, so it goes on.
    pub fn signal(&self, signal: i32) {
        wait::signal_group(self.leader, signal);
        wait::signal_group(self.leader, libc::SIGCONT);
    }

    /// Kills everything that can be found at once, while the leader is not reaped.
    pub fn kill(&self) {
        // Whoever was allowed to leave the control group is still in the process group, unless it left that too.
        wait::signal_group(self.leader, libc::SIGKILL);
        if let Some(group) = &*self.group.borrow() {
            group.kill();
        }
    }

    /// Somebody may have killed the control group: it is no other attempt's after this one.
    pub fn spend(&self) {
        if let Some(group) = &*self.group.borrow() {
            group.spend();
        }
    }

    /// What its processes have used together, where that is known.
    pub fn used(&self) -> Option<Used> {
        self.group.borrow().as_ref().map(Group::used)
    }

    /// The bytes of memory that its processes use now, where that is known.
    pub fn memory_now(&self) -> Option<u64> {
        self.group.borrow().as_ref()?.memory_now()
    }

    /// The leader has ended and is not reaped yet: `reap` does that. What else is left is told by `signal`, has until
    /// `grace` is over or `is_hurried`, and is killed then. `meanwhile` is called now and then. Says whether there was anything.
    pub fn finish<T>(
        &self,
        signal: i32,
        grace: Duration,
        is_hurried: impl Fn() -> bool,
        mut meanwhile: impl FnMut(),
        reap: impl FnOnce() -> T,
    ) -> (T, bool) {
        // The number cannot go to another group while the leader is not reaped; after that nothing is sent to it.
        wait::signal_group(self.leader, signal);
        wait::signal_group(self.leader, libc::SIGCONT);
        let reaped = reap();
        let group_is_gone = self.let_group_go();
        if group_is_gone && !wait::group_exists(self.leader) && orphans::strangers().is_empty() {
            return (reaped, false);
        }
        let was_told = self.process_group_is_there() && wait::group_was_told(self.leader, signal);
        let mut told: Vec<Handle> = Vec::new();
        let mut look = self.look();
        if !was_told && look.is_over() {
            self.clear();
            return (reaped, false);
        }
        let kill_at = Instant::now() + grace;
        while !look.is_over() && Instant::now() < kill_at && !is_hurried() {
            let is_new = |handle: &Handle| told.iter().all(|one: &Handle| one.pid != handle.pid);
            let new: Vec<Handle> = look.found.into_iter().filter(is_new).collect();
            for handle in &new {
                handle.signal(signal);
                handle.signal(libc::SIGCONT);
            }
            // Whoever starts others and ends is run after; for who is told already there is time.
            if new.is_empty() && !look.has_missed {
                self.wait(kill_at.min(Instant::now() + LOOK_AGAIN));
            }
            told.extend(new);
            meanwhile();
            look = self.look();
        }
        let gone_by = Instant::now() + PATIENCE;
        while !look.is_over() && Instant::now() < gone_by {
            if let Some(group) = &*self.group.borrow() {
                group.kill();
            }
            for handle in &look.found {
                handle.signal(libc::SIGKILL);
            }
            if !look.has_missed {
                self.wait(gone_by.min(Instant::now() + LOOK_AGAIN));
            }
            look = self.look();
        }
        if !look.is_over() {
            let pids: Vec<i32> = look.found.iter().map(|handle| handle.pid).collect();
            tracing::error!(target: "run", run = %self.run, "processes that cannot be killed are left: PIDs {pids:?}");
        }
        self.clear();
        (reaped, was_told || !told.is_empty())
    }

    /// Looks who is left: in the control group, in the process group, and among those whose parents have ended.
    fn look(&self) -> Look {
        let mut look = Look { found: Vec::new(), has_missed: false };
        let dead = &mut *self.dead.borrow_mut();
        if let Some(group) = self.group.borrow().as_ref().filter(|group| !group.wait_until_empty(Instant::now())) {
            let pids = group.pids();
            look.has_missed |= pids.is_empty();
            // It is held then, so the number is still its own if it stands there.
            look.add(pids, dead, |pid| group.pids().contains(&pid));
        }
        if self.process_group_is_there() {
            orphans::reap_group(self.leader);
            let is_member = |pid| wait::running_in_group(self.leader).contains(&pid) && self.process_group_is_there();
            look.add(wait::running_in_group(self.leader), dead, is_member);
        }
        let is_ours = |pid: i32| boot::run_id_of(pid).is_some_and(|run| run == self.run);
        look.add(orphans::strangers(), dead, is_ours);
        look
    }

    /// Whether somebody is left in the process group, after the leader was reaped. Its number is taken as long as somebody is;
    /// once nobody was, or a process has the leader's number, it is somebody else's.
    fn process_group_is_there(&self) -> bool {
        let is_there = !self.process_group_is_gone.get()
            && wait::group_exists(self.leader)
            && boot::start_time(self.leader).is_none();
        self.process_group_is_gone.set(!is_there);
        is_there
    }

    fn wait(&self, until: Instant) {
        match &*self.group.borrow() {
            Some(group) if !group.wait_until_empty(Instant::now()) => {
                group.wait_until_empty(until);
            }
            _ => std::thread::sleep(until.saturating_duration_since(Instant::now())),
        }
    }

    /// What is left are the dead.
    fn clear(&self) {
        if self.process_group_is_there() {
            orphans::reap_group(self.leader);
        }
        self.let_group_go();
    }

    /// Says whether nobody is in the control group; it is nobody's concern here then.
    fn let_group_go(&self) -> bool {
        let mut group = self.group.borrow_mut();
        *group = group.take().and_then(|group| group.remove().err());
        group.is_none()
    }
}

/// Who was found at one look.
struct Look {
    found: Vec<Handle>,
    /// Somebody ended while it was looked at, and may have started others that were not there yet.
    has_missed: bool,
}

impl Look {
    fn is_over(&self) -> bool {
        self.found.is_empty() && !self.has_missed
    }

    fn add(&mut self, pids: Vec<i32>, dead: &mut Vec<i32>, is_ours: impl Fn(i32) -> bool) {
        for pid in pids {
            if self.found.iter().any(|handle| handle.pid == pid) {
                continue;
            }
            match Handle::open(pid) {
                Some(handle) if handle.has_ended() => {
                    // It may stay for long where nobody reaps it: it is run after once.
                    if !dead.contains(&pid) {
                        dead.push(pid);
                        orphans::reap_strangers();
                        self.has_missed = true;
                    }
                }
                Some(handle) => {
                    if is_ours(pid) {
                        // The number was its own while it was looked at, if it is still there now.
                        self.has_missed |= handle.has_ended();
                        self.found.push(handle);
                    } else {
                        self.has_missed |= handle.has_ended();
                    }
                }
                None => self.has_missed = true,
            }
        }
    }
}
