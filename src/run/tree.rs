//! All processes of one attempt, however they have spread.

use std::time::{Duration, Instant};

use crate::os::cgroup::{Group, Used};
use crate::os::process::Handle;
use crate::os::{boot, orphans, wait};

/// The processes of an attempt: its process group, its control group where it has one, and else those who carry its run's id
/// in their environment.
#[derive(Debug)]
pub(super) struct Tree {
    /// The leader's process number, which is also that of its session and process group.
    leader: i32,
    group: Option<Group>,
    run: String,
}

/// Where nothing can be waited on, how often it is looked whether processes are gone.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Killed processes are gone as soon as the kernel comes to it; one that waits for a file system that hangs never is.
const PATIENCE: Duration = Duration::from_secs(5);

impl Tree {
    pub fn new(leader: i32, group: Option<Group>, run: String) -> Self {
        Self { leader, group, run }
    }

    /// Sends a signal to the process group. A stopped process would not see it, so it goes on.
    pub fn signal(&self, signal: i32) {
        wait::signal_group(self.leader, signal);
        wait::signal_group(self.leader, libc::SIGCONT);
    }

    /// Kills everything that can be found at once.
    pub fn kill(&self) {
        match &self.group {
            Some(group) => group.kill(),
            None => {
                wait::signal_group(self.leader, libc::SIGKILL);
            }
        }
    }

    /// What its processes have used together, where that is known.
    pub fn used(&self) -> Option<Used> {
        self.group.as_ref().map(Group::used)
    }

    /// The bytes of memory that its processes use now, where that is known.
    pub fn memory_now(&self) -> Option<u64> {
        self.group.as_ref()?.memory_now()
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
        // Its number cannot go to another group while the leader is not reaped.
        wait::signal_group(self.leader, signal);
        let reaped = reap();
        if self.group.as_ref().is_some_and(Group::remove) {
            return (reaped, false);
        }
        let in_group = wait::group_was_told(self.leader, signal);
        let mut was_told: Vec<Handle> = Vec::new();
        // Those who left the process group are told one by one, also those who are started meanwhile.
        let tell = |was_told: &mut Vec<Handle>| {
            for handle in self.elsewhere() {
                if was_told.iter().all(|told| told.pid != handle.pid) {
                    handle.signal(signal);
                    handle.signal(libc::SIGCONT);
                    was_told.push(handle);
                }
            }
        };
        tell(&mut was_told);
        if !in_group && was_told.is_empty() {
            self.clear();
            return (reaped, false);
        }
        wait::signal_group(self.leader, libc::SIGCONT);
        let kill_at = Instant::now() + grace;
        while self.is_alive() && Instant::now() < kill_at && !is_hurried() {
            self.wait(kill_at.min(Instant::now() + LOOK_AGAIN));
            meanwhile();
            tell(&mut was_told);
        }
        let gone_by = Instant::now() + PATIENCE;
        while self.is_alive() && Instant::now() < gone_by {
            wait::signal_group(self.leader, libc::SIGKILL);
            self.kill();
            for handle in self.elsewhere() {
                handle.signal(libc::SIGKILL);
            }
            self.wait(Instant::now() + LOOK_AGAIN);
        }
        if self.is_alive() {
            let pids: Vec<i32> = self.elsewhere().iter().map(|handle| handle.pid).collect();
            tracing::error!(target: "run", run = %self.run, "processes that cannot be killed are left: PIDs {pids:?}");
        }
        self.clear();
        (reaped, true)
    }

    /// Those who are not in the process group any more.
    fn elsewhere(&self) -> Vec<Handle> {
        let pids = match &self.group {
            Some(group) => group.pids(),
            None => orphans::strangers(),
        };
        let handles = pids.into_iter().filter_map(Handle::open);
        let is_ours = |handle: &Handle| match &self.group {
            // It is held now, so the number is still its own if it stands there.
            Some(group) => group.pids().contains(&handle.pid),
            None => boot::run_id_of(handle.pid).is_some_and(|run| run == self.run),
        };
        handles.filter(|handle| !handle.has_ended() && is_ours(handle)).collect()
    }

    fn is_alive(&self) -> bool {
        match &self.group {
            Some(group) => !group.wait_until_empty(Instant::now()),
            None => wait::group_is_alive(self.leader) || !self.elsewhere().is_empty(),
        }
    }

    fn wait(&self, until: Instant) {
        match &self.group {
            Some(group) => {
                group.wait_until_empty(until);
            }
            None => std::thread::sleep(until.saturating_duration_since(Instant::now())),
        }
    }

    /// What is left are the dead.
    fn clear(&self) {
        orphans::reap_group(self.leader);
        if let Some(group) = &self.group {
            group.remove();
        }
    }
}
