//! A child that sees less of the machine: namespaces and mounts before it changes its user, Landlock as the last thing before
//! its program (namespaces(7), mount_setattr(2), landlock(7)).
//!
//! All that can be done beforehand is done in the runner: paths are opened and the rules made, so that a mistake has a clear
//! error. What the child does itself are plain system calls.

use std::ffi::{CStr, CString, c_int, c_uint};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::rulesets::Rulesets;
use super::spawn::errno;

/// What a child may do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Walls {
    /// `Some`: nothing can be written but below these paths.
    pub write: Option<Vec<PathBuf>>,
    /// Mounts are made read-only for that as well: where the runner may have mounts of its own.
    pub with_mounts: bool,
    /// The network cannot be reached; there is a loopback interface of its own.
    pub no_network: bool,
    /// `/tmp` and `/var/tmp` are empty ones of its own, in memory.
    pub private_tmp: bool,
}

/// Walls that are ready to be raised.
#[derive(Debug)]
pub struct Sandbox {
    /// For unshare(2).
    namespaces: c_int,
    /// What maps the runner's own user into a user namespace; where that is needed.
    maps: Option<Maps>,
    /// Private directories in memory.
    private: &'static [&'static CStr],
    /// All mounts are made read-only but these.
    writable: Option<Writable>,
    ruleset: Option<Arc<OwnedFd>>,
    /// Where no wall depends on the rules, a kernel that refuses them is no error.
    must_seal: bool,
}

/// What stays writable.
#[derive(Debug)]
struct Writable {
    /// Paths that become mounts of their own.
    paths: Vec<CString>,
    /// The mounts at and below them that can be written to now.
    mounts: Vec<CString>,
}

#[derive(Debug)]
struct Maps {
    user: CString,
    group: CString,
}

/// Why a sandbox cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("`sandbox.write`: {} cannot be opened: {error}", .path.display())]
    Path { path: PathBuf, error: io::Error },
    #[error("the rules of the sandbox cannot be made: {0}")]
    Rules(io::Error),
}

static RULESETS: Rulesets = Rulesets::new();

const PRIVATE: [&CStr; 2] = [c"/tmp", c"/var/tmp"];
/// Devices that everybody writes to.
const DEVICES: [&str; 8] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/pts"];

impl Sandbox {
    /// Makes ready what holds of a child. `is_root`: whether the runner may make namespaces by itself; else a user namespace is
    /// needed for it.
    ///
    /// # Errors
    /// A path that may be written to is not there, or the kernel refuses the rules.
    pub fn prepare(walls: &Walls, is_root: bool) -> Result<Self, SandboxError> {
        let mounts = walls.private_tmp || walls.write.is_some() && walls.with_mounts;
        let mut namespaces = 0;
        if mounts {
            namespaces |= libc::CLONE_NEWNS;
        }
        if walls.no_network {
            namespaces |= libc::CLONE_NEWNET;
        }
        let mut maps = None;
        if namespaces != 0 && !is_root {
            namespaces |= libc::CLONE_NEWUSER;
            maps = Some(Maps::of_this_user());
        }
        let ruleset = match &walls.write {
            // The child adds a rule of its own to those.
            Some(paths) if walls.private_tmp => Some(Arc::new(ruleset(paths)?)),
            Some(paths) => Some(RULESETS.get(paths, &DEVICES, || ruleset(paths))?),
            // It forbids next to nothing, but who is under rules cannot undo mounts, nor enter others' namespaces.
            None if namespaces != 0 => empty_ruleset().map(Arc::new),
            None => None,
        };
        let paths = walls.write.as_ref().filter(|_| walls.with_mounts);
        let writable = paths.map(|paths| {
            // Long on some machines, and of no use where nothing is writable.
            let mounts = match paths.is_empty() {
                true => String::new(),
                false => std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default(),
            };
            let mounts = paths.iter().flat_map(|path| writable_mounts(&mounts, path)).map(|path| text(&path)).collect();
            Writable { paths: paths.iter().map(|path| text(path)).collect(), mounts }
        });
        let private: &[&CStr] = if walls.private_tmp { &PRIVATE } else { &[] };
        Ok(Self { namespaces, maps, private, writable, ruleset, must_seal: walls.write.is_some() })
    }

    /// Namespaces and mounts. Async-signal-safe; for a child alone.
    pub(super) unsafe fn enter(&self) -> Result<(), (&'static str, c_int)> {
        let check = |what: &'static str, result: c_int| if result < 0 { Err((what, errno())) } else { Ok(()) };
        // SAFETY: system calls with texts that the parent keeps alive.
        unsafe {
            if self.namespaces != 0 {
                check("its namespaces cannot be made", libc::unshare(self.namespaces))?;
            }
            if let Some(maps) = &self.maps {
                let what = "its user namespace cannot be set up";
                write_file(c"/proc/self/setgroups", c"deny").map_err(|errno| (what, errno))?;
                write_file(c"/proc/self/uid_map", &maps.user).map_err(|errno| (what, errno))?;
                write_file(c"/proc/self/gid_map", &maps.group).map_err(|errno| (what, errno))?;
            }
            if self.namespaces & libc::CLONE_NEWNS != 0 {
                let propagation = libc::MS_REC | libc::MS_PRIVATE;
                let made =
                    libc::mount(c"none".as_ptr(), c"/".as_ptr(), std::ptr::null(), propagation, std::ptr::null());
                check("its mounts cannot be made its own", made)?;
            }
            if let Some(writable) = &self.writable {
                let what = "its file systems cannot be made read-only";
                for path in &writable.paths {
                    let path = path.as_ptr();
                    let bind = libc::MS_BIND | libc::MS_REC;
                    check(what, libc::mount(path, path, std::ptr::null(), bind, std::ptr::null()))?;
                }
                set_attributes(c"/", libc::AT_RECURSIVE as c_uint, READ_ONLY, 0).map_err(|errno| (what, errno))?;
                for mount in &writable.mounts {
                    // Devices there would be a way around the rules.
                    set_attributes(mount, 0, NO_DEVICES, READ_ONLY).map_err(|errno| (what, errno))?;
                }
            }
            for path in self.private {
                let flags = libc::MS_NOSUID | libc::MS_NODEV;
                let mode = c"mode=1777".as_ptr().cast();
                let made = libc::mount(c"tmpfs".as_ptr(), path.as_ptr(), c"tmpfs".as_ptr(), flags, mode);
                // A machine need not have both.
                if made < 0 && errno() == libc::ENOENT {
                    continue;
                }
                check("its private /tmp cannot be made", made)?;
                // Before any limit on open files holds.
                if let (Some(ruleset), true) = (&self.ruleset, self.must_seal) {
                    let what = "its private /tmp cannot be made writable";
                    let fd = libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC);
                    check(what, fd)?;
                    let added = add_rule(ruleset.as_raw_fd(), fd, ALLOWED);
                    libc::close(fd);
                    added.map_err(|errno| (what, errno))?;
                }
            }
            if self.namespaces & libc::CLONE_NEWNET != 0 {
                raise_loopback();
            }
        }
        Ok(())
    }

    /// Landlock, after which no wall can be taken down again. Async-signal-safe; for a child alone.
    pub(super) unsafe fn seal(&self) -> Result<(), (&'static str, c_int)> {
        let Some(ruleset) = &self.ruleset else { return Ok(()) };
        let what = "its sandbox cannot be closed (Landlock)";
        // SAFETY: a system call without pointers.
        match unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) } {
            0 => Ok(()),
            _ if !self.must_seal => Ok(()),
            _ => Err((what, errno())),
        }
    }
}

impl Maps {
    fn of_this_user() -> Self {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let line = |id: u32| CString::new(format!("{id} {id} 1\n")).unwrap_or_default();
        Self { user: line(uid), group: line(gid) }
    }
}

fn text(path: &Path) -> CString {
    // A path that was opened has no NUL in it.
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}

unsafe fn write_file(path: &CStr, text: &CStr) -> Result<(), c_int> {
    // SAFETY: the texts are alive.
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return Err(errno());
        }
        let length = text.to_bytes().len();
        let written = libc::write(fd, text.as_ptr().cast(), length);
        let failed = if written < 0 { Err(errno()) } else { Ok(()) };
        libc::close(fd);
        failed
    }
}

const READ_ONLY: u64 = 1;
const NO_DEVICES: u64 = 4;

/// Of a mount, or with `AT_RECURSIVE` of all below it too (mount_setattr(2), Linux 5.12).
unsafe fn set_attributes(path: &CStr, flags: c_uint, set: u64, clear: u64) -> Result<(), c_int> {
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        userns_fd: u64,
    }
    let attributes = Attributes { set, clear, propagation: 0, userns_fd: 0 };
    // SAFETY: the structure is the call's own, and alive.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(errno()) }
}

/// The path, where what it lies on can be written to, and the mounts below it that can (proc_pid_mountinfo(5)).
fn writable_mounts(mountinfo: &str, path: &Path) -> Vec<PathBuf> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let mount = |line: &str| {
        let mut fields = line.split(' ').skip(4);
        let point = super::cgroup::unescaped(fields.next()?);
        let is_writable = fields.next()?.split(',').all(|option| option != "ro");
        Some((PathBuf::from(point), is_writable))
    };
    let mounts: Vec<(PathBuf, bool)> = mountinfo.lines().filter_map(mount).collect();
    // The last one at a place is the one that is seen.
    let on = mounts
        .iter()
        .rev()
        .filter(|(point, _)| path.starts_with(point))
        .max_by_key(|(point, _)| point.components().count());
    let own = on.filter(|(_, is_writable)| *is_writable).map(|_| path.clone());
    let below = mounts.iter().filter(|(point, is_writable)| *is_writable && *point != path && point.starts_with(&path));
    own.into_iter().chain(below.map(|(point, _)| point.clone())).collect()
}

/// Of a new network namespace, whose own interface is down (netdevice(7)). Programs that talk to themselves need it; one that
/// does without is not held up.
unsafe fn raise_loopback() {
    // SAFETY: the structure is the call's own, and alive.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if socket >= 0 {
            let mut request: libc::ifreq = std::mem::zeroed();
            request.ifr_name[0] = b'l' as libc::c_char;
            request.ifr_name[1] = b'o' as libc::c_char;
            request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
            libc::ioctl(socket, libc::SIOCSIFFLAGS, &raw mut request);
            libc::close(socket);
        }
    }
}

/// The ways to write of Landlock's first version: files, and directories' entries.
const WRITES_1: u64 = 1 << 1 | 0x1ff0;
/// Linking and renaming from one directory to another (2), cutting files short (3).
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;
const WRITES: u64 = WRITES_1 | REFER | TRUNCATE;
/// Making devices of characters and blocks.
const DEVICE_NODES: u64 = 1 << 6 | 1 << 11;
/// What is allowed where may be written.
const ALLOWED: u64 = WRITES & !DEVICE_NODES;
/// What can be allowed of something that is not a directory.
const OF_FILES: u64 = 1 << 1 | TRUNCATE;

/// The version of Landlock that the kernel has; `None` where it has none or it is turned off.
pub fn landlock_version() -> Option<u32> {
    const ASK_VERSION: c_uint = 1;
    // SAFETY: with this flag nothing is read.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0usize, ASK_VERSION) };
    u32::try_from(version).ok().filter(|version| *version > 0)
}

/// The writes that a kernel of this version can forbid.
fn known(version: u32) -> u64 {
    match version {
        0 | 1 => WRITES_1,
        2 => WRITES_1 | REFER,
        _ => WRITES,
    }
}

/// Rules that forbid making devices, which nobody does; absent where there are none to be had.
fn empty_ruleset() -> Option<OwnedFd> {
    let writes = DEVICE_NODES;
    // SAFETY: the structure is one number, and alive; a new descriptor is nobody else's.
    unsafe {
        let fd = libc::syscall(libc::SYS_landlock_create_ruleset, &raw const writes, size_of::<u64>(), 0);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// Rules that forbid all writing but below these paths.
fn ruleset(write: &[PathBuf]) -> Result<OwnedFd, SandboxError> {
    let writes = known(landlock_version().unwrap_or(0));
    // SAFETY: the structure is one number, and alive; a new descriptor is nobody else's.
    let ruleset = unsafe {
        let fd = libc::syscall(libc::SYS_landlock_create_ruleset, &raw const writes, size_of::<u64>(), 0);
        if fd < 0 {
            return Err(SandboxError::Rules(io::Error::last_os_error()));
        }
        OwnedFd::from_raw_fd(fd as RawFd)
    };
    let allow = |path: &Path| -> io::Result<()> {
        let file =
            rustix::fs::open(path, rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC, rustix::fs::Mode::empty())?;
        let is_directory = path.is_dir();
        let allowed = if is_directory { writes & !DEVICE_NODES } else { writes & OF_FILES };
        // SAFETY: both descriptors are open.
        unsafe { add_rule(ruleset.as_raw_fd(), file.as_raw_fd(), allowed) }.map_err(io::Error::from_raw_os_error)
    };
    for path in write {
        allow(path).map_err(|error| SandboxError::Path { path: path.clone(), error })?;
    }
    for device in DEVICES.iter().map(Path::new).filter(|device| device.exists()) {
        allow(device).map_err(SandboxError::Rules)?;
    }
    Ok(ruleset)
}

/// Allows ways to write below what the descriptor stands for. What the ruleset does not forbid cannot be allowed.
unsafe fn add_rule(ruleset: RawFd, beneath: RawFd, mut allowed: u64) -> Result<(), c_int> {
    #[repr(C, packed)]
    struct PathBeneath {
        allowed: u64,
        parent: RawFd,
    }
    const PATH_BENEATH: c_int = 1;
    loop {
        let rule = PathBeneath { allowed, parent: beneath };
        // SAFETY: the structure is the call's own, and alive.
        let result = unsafe { libc::syscall(libc::SYS_landlock_add_rule, ruleset, PATH_BENEATH, &raw const rule, 0) };
        if result == 0 {
            return Ok(());
        }
        // An older version knows fewer ways.
        allowed = match (errno(), allowed) {
            (libc::EINVAL, allowed) if allowed & TRUNCATE != 0 => allowed & !TRUNCATE,
            (libc::EINVAL, allowed) if allowed & REFER != 0 => allowed & !REFER,
            (errno, _) => return Err(errno),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_only_stays_so() {
        let mounts = "1 0 8:1 / / rw,relatime - ext4 x rw\n\
                      2 1 8:2 / /srv/out/a\\040b rw - ext4 x rw\n\
                      3 1 8:3 / /srv/out/kept ro,nosuid - ext4 x rw\n\
                      4 1 8:4 / /srv/outside rw - ext4 x rw\n\
                      5 1 8:5 / /srv/ro ro - ext4 x rw\n\
                      6 5 8:6 / /srv/ro/rw rw - ext4 x rw\n";
        let writable = |path: &str| writable_mounts(mounts, Path::new(path));
        assert_eq!(writable("/srv/out"), [PathBuf::from("/srv/out"), PathBuf::from("/srv/out/a b")]);
        assert_eq!(writable("/srv/ro"), [PathBuf::from("/srv/ro/rw")]);
        assert_eq!(writable("/srv/ro/x"), Vec::<PathBuf>::new());
        assert_eq!(writable("/srv/ro/rw"), [PathBuf::from("/srv/ro/rw")]);
    }
}
