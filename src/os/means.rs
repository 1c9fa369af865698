//! What this machine lets the runner do to the runs of others: found out once, where nothing else tells by trying
//! when it is first asked for.

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
    /// The version of Landlock.
    pub landlock: Option<u32>,
    namespaces: Namespaces,
}

/// How it is known which namespaces can be had. What a try costs is spent only where a job asks for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Namespaces {
    /// All of them.
    All,
    /// Those that this process gets when it tries.
    Tried,
    #[cfg(test)]
    None,
}

impl Namespaces {
    fn has(self, tried: impl FnOnce() -> bool) -> bool {
        match self {
            Self::All => true,
            Self::Tried => tried(),
            #[cfg(test)]
            Self::None => false,
        }
    }
}

impl Means {
    /// Those of a machine that can do nothing.
    #[cfg(test)]
    pub const NONE: Self =
        Self { is_root: false, groups: Err(NoGroups::NotThere), landlock: None, namespaces: Namespaces::None };

    /// Those of a machine that can do everything: for files that are to be read the same everywhere.
    pub const ALL: Self =
        Self { is_root: true, groups: Ok(Controllers::ALL), landlock: Some(u32::MAX), namespaces: Namespaces::All };

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
            landlock: sandbox::landlock_version(),
            namespaces: Namespaces::Tried,
        }
    }

    /// Whether a run can have mounts of its own.
    pub fn mounts(&self) -> bool {
        static TRIED: OnceLock<bool> = OnceLock::new();
        self.namespaces.has(|| *TRIED.get_or_init(|| can_have(libc::CLONE_NEWNS)))
    }

    /// Whether a run can have a network of its own.
    pub fn networks(&self) -> bool {
        static TRIED: OnceLock<bool> = OnceLock::new();
        self.namespaces.has(|| *TRIED.get_or_init(|| can_have(libc::CLONE_NEWNET)))
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
