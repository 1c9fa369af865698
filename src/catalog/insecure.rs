//! Who may change a job decides what runs: files that others may write are refused.

use std::os::fd::AsFd;
use std::sync::OnceLock;

use rustix::fs::{FileType, Mode, OFlags, Stat, StatVfsMountFlags, fstatvfs, openat};
use rustix::path::Arg;

/// Why a file or folder is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    World,
    Group(u32),
    /// It belongs to somebody else than the runner's user or root.
    Owner(u32),
}

impl Reason {
    pub fn words(self) -> String {
        match self {
            Self::World => "everybody may write to it".into(),
            Self::Group(gid) => {
                format!("the group {gid} may write to it, which is neither its owner's own nor one of the runner's")
            }
            Self::Owner(uid) => format!("it belongs to the user {uid}, neither the runner's own nor root"),
        }
    }

    pub fn mend(self, shown: &str) -> String {
        let command = match self {
            Self::World => "chmod o-w".to_string(),
            Self::Group(_) => "chmod g-w".to_string(),
            Self::Owner(_) => format!("chown {}", rustix::process::geteuid().as_raw()),
        };
        format!("`{command} {shown}`, or start with --allow-insecure")
    }
}

/// Why what `stat` describes is not trusted, if it is not. Sticky folders are: others can add to them, which is why
/// the files in them are looked at. `is_read_only` is asked only where the modes alone would refuse it.
pub(super) fn why(stat: &Stat, is_read_only: impl FnOnce() -> bool) -> Option<Reason> {
    by_modes(stat).filter(|_| !is_read_only())
}

fn by_modes(stat: &Stat) -> Option<Reason> {
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory && stat.st_mode & 0o1000 != 0 {
        return None;
    }
    if stat.st_mode & 0o002 != 0 {
        return Some(Reason::World);
    }
    // A group with its owner's number is the owner's own, as distributions make them.
    let is_trusted = stat.st_gid == stat.st_uid || own_groups().contains(&stat.st_gid);
    (stat.st_mode & 0o020 != 0 && !is_trusted).then_some(Reason::Group(stat.st_gid))
}

/// Why a file that only the runner itself writes is not trusted: by the rule of [`why`], and where it is not the runner's own.
pub(super) fn why_own(stat: &Stat, is_read_only: impl FnOnce() -> bool) -> Option<Reason> {
    let is_own = [0, rustix::process::geteuid().as_raw()].contains(&stat.st_uid);
    let strange = (!is_own).then_some(Reason::Owner(stat.st_uid));
    strange.or_else(|| by_modes(stat)).filter(|_| !is_read_only())
}

/// Whether its file system is mounted read-only: then its modes do not matter.
pub(super) fn is_read_only(fd: impl AsFd) -> bool {
    fstatvfs(fd).is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// The same of what stands at a path in a folder, where links lead to: that may be another file system than the folder's own.
pub(super) fn is_read_only_at(folder: impl AsFd, path: impl Arg) -> bool {
    openat(folder, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).is_ok_and(is_read_only)
}

fn own_groups() -> &'static [u32] {
    static GROUPS: OnceLock<Vec<u32>> = OnceLock::new();
    GROUPS.get_or_init(|| {
        let mut groups: Vec<u32> =
            rustix::process::getgroups().unwrap_or_default().into_iter().map(|gid| gid.as_raw()).collect();
        groups.push(rustix::process::getegid().as_raw());
        groups
    })
}
