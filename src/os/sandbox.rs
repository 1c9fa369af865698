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
    /// Mounts are made read-only but at these paths.
    writable: Option<Vec<CString>>,
    ruleset: Option<OwnedFd>,
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
        let ruleset = walls.write.as_deref().map(ruleset).transpose()?;
        let writable =
            walls.write.as_ref().filter(|_| mounts).map(|paths| paths.iter().map(|path| text(path)).collect());
        Ok(Self { namespaces, maps, private: if walls.private_tmp { &PRIVATE } else { &[] }, writable, ruleset })
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
            if let Some(paths) = &self.writable {
                let what = "its file systems cannot be made read-only";
                for path in paths {
                    let path = path.as_ptr();
                    let bind = libc::MS_BIND | libc::MS_REC;
                    check(what, libc::mount(path, path, std::ptr::null(), bind, std::ptr::null()))?;
                }
                set_read_only(c"/", true).map_err(|errno| (what, errno))?;
                for path in paths {
                    set_read_only(path, false).map_err(|errno| (what, errno))?;
                }
            }
            for path in self.private {
                let flags = libc::MS_NOSUID | libc::MS_NODEV;
                let mode = c"mode=1777".as_ptr().cast();
                let made = libc::mount(c"tmpfs".as_ptr(), path.as_ptr(), c"tmpfs".as_ptr(), flags, mode);
                // A machine need not have both.
                if made < 0 && errno() != libc::ENOENT {
                    return Err(("its private /tmp cannot be made", errno()));
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
        // SAFETY: system calls with constant texts.
        unsafe {
            for path in self.private {
                let fd = libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC);
                if fd >= 0 {
                    let added = add_rule(ruleset.as_raw_fd(), fd, WRITES);
                    libc::close(fd);
                    added.map_err(|errno| (what, errno))?;
                }
            }
            match libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) {
                0 => Ok(()),
                _ => Err((what, errno())),
            }
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

/// Of a mount and all below it (mount_setattr(2), Linux 5.12).
unsafe fn set_read_only(path: &CStr, is_so: bool) -> Result<(), c_int> {
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        userns_fd: u64,
    }
    const READ_ONLY: u64 = 1;
    let (set, clear) = if is_so { (READ_ONLY, 0) } else { (0, READ_ONLY) };
    let attributes = Attributes { set, clear, propagation: 0, userns_fd: 0 };
    // SAFETY: the structure is the call's own, and alive.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_RECURSIVE as c_uint,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(errno()) }
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
        let allowed = if is_directory { writes } else { writes & OF_FILES };
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
