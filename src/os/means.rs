//! What this machine lets the runner do to the runs of others: found out once, by trying where nothing else tells.

use std::ffi::c_int;
use std::sync::OnceLock;

use super::cgroup::{Controllers, Groups, Home, NoGroups};
use super::{limits, sandbox};

/// What can be had here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Means {
    pub is_root: bool,
    /// The controllers that the control group of a run has; or why there is no group for each run.
    pub groups: Result<Controllers, NoGroups>,
    /// Mounts of its own for a run.
    pub mounts: bool,
    /// A network of its own for a run.
    pub networks: bool,
    /// The version of Landlock.
    pub landlock: Option<u32>,
}

impl Means {
    /// Those of a machine that can do everything: for files that are to be read the same everywhere.
    pub const ALL: Self =
        Self { is_root: true, groups: Ok(Controllers::ALL), mounts: true, networks: true, landlock: Some(u32::MAX) };

    /// What this process can do once it has settled in its control group: asked before anybody else asks.
    pub fn settled(groups: &Result<Groups, NoGroups>) -> &'static Self {
        let groups = groups.as_ref().map(|groups| groups.controllers).map_err(Clone::clone);
        MEANS.get_or_init(|| Self::tried(groups))
    }

    /// What this process can do where it is.
    pub fn of_this_process() -> &'static Self {
        MEANS.get_or_init(|| Self::tried(Home::find().map(|home| home.controllers)))
    }

    fn tried(groups: Result<Controllers, NoGroups>) -> Self {
        Self {
            is_root: limits::is_root(),
            groups,
            mounts: can_have(libc::CLONE_NEWNS),
            networks: can_have(libc::CLONE_NEWNET),
            landlock: sandbox::landlock_version(),
        }
    }
}

static MEANS: OnceLock<Means> = OnceLock::new();

/// Tries it in a child that does nothing else.
fn can_have(namespace: c_int) -> bool {
    let user = if limits::is_root() { 0 } else { libc::CLONE_NEWUSER };
    let _starting = super::orphans::keep_off();
    // SAFETY: the child makes one system call and ends, on a copy of the memory.
    unsafe {
        match libc::fork() {
            0 => libc::_exit(if libc::unshare(namespace | user) == 0 { 0 } else { 1 }),
            pid if pid < 0 => false,
            pid => {
                let mut status = 0;
                libc::waitpid(pid, &mut status, 0) == pid && status == 0
            }
        }
    }
}
