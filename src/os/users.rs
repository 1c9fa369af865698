//! Users and groups of this machine, and becoming one of them.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;

use super::spawn::errno;

/// Whom a child runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// The supplementary groups, `gid` among them.
    pub groups: Vec<u32>,
    /// The user's name, home directory and shell, where the user has an entry.
    pub about: Option<About>,
}

/// What the user database says of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    pub name: String,
    pub home: String,
    pub shell: String,
}

/// Why somebody is not known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    #[error("there is no user `{0}` on this machine")]
    User(String),
    #[error("there is no group `{0}` on this machine")]
    Group(String),
    #[error("{0} is no number of a user or group, the kernel takes it for \"as before\"")]
    NoId(u32),
    #[error("the user {0} has no entry on this machine, so its group is not known")]
    NoGroup(u32),
}

impl Identity {
    /// Looks up a user by name or number; `group` replaces the user's own first group. The supplementary groups are those that
    /// the group database gives the user (getgrouplist(3)).
    ///
    /// # Errors
    /// There is no such user or group.
    pub fn find(user: &str, group: Option<&str>) -> Result<Self, Unknown> {
        let entry = match user.parse::<u32>() {
            Ok(uid) => by_uid(uid),
            Err(_) => Some(by_name(user).ok_or_else(|| Unknown::User(user.to_string()))?),
        };
        let uid = entry.as_ref().map_or_else(|| user.parse().unwrap_or(u32::MAX), |entry| entry.uid);
        let gid = match (group, &entry) {
            (Some(group), _) => group_id(group)?,
            (None, Some(entry)) => entry.gid,
            (None, None) => return Err(Unknown::NoGroup(uid)),
        };
        if let Some(none) = [uid, gid].into_iter().find(|id| *id == u32::MAX) {
            return Err(Unknown::NoId(none));
        }
        let groups = match &entry {
            Some(entry) => groups_of(&entry.about.name, gid),
            None => vec![gid],
        };
        Ok(Self { uid, gid, groups, about: entry.map(|entry| entry.about) })
    }

    /// Becomes this user for good. Only for a process that shares no thread group with others: the system calls go around the
    /// C library. Async-signal-safe.
    pub(super) unsafe fn take_on(&self) -> Result<(), libc::c_int> {
        // SAFETY: the groups are alive; the calls change this process alone.
        unsafe {
            let (uid, gid) = (self.uid, self.gid);
            let (mut is, mut effective, mut saved) = (0u32, 0u32, 0u32);
            let done = libc::syscall(libc::SYS_setgroups, self.groups.len(), self.groups.as_ptr()) == 0
                && libc::syscall(libc::SYS_setresgid, gid, gid, gid) == 0
                && libc::syscall(libc::SYS_setresuid, uid, uid, uid) == 0
                && libc::syscall(libc::SYS_getresuid, &raw mut is, &raw mut effective, &raw mut saved) == 0;
            if !done {
                return Err(errno());
            }
            // What was asked for is looked at, not believed.
            if [is, effective, saved] == [uid; 3] { Ok(()) } else { Err(libc::EPERM) }
        }
    }
}

struct Entry {
    uid: u32,
    gid: u32,
    about: About,
}

/// Where the entries of a database may be long.
const LARGEST: usize = 1 << 20;

fn by_name(name: &str) -> Option<Entry> {
    let name = CString::new(name).ok()?;
    // SAFETY: as getpwnam_r(3) asks; the texts are copied while the buffer is alive.
    entry(|entry, buffer, length, found| unsafe { libc::getpwnam_r(name.as_ptr(), entry, buffer, length, found) })
}

fn by_uid(uid: u32) -> Option<Entry> {
    // SAFETY: as getpwuid_r(3) asks; the texts are copied while the buffer is alive.
    entry(|entry, buffer, length, found| unsafe { libc::getpwuid_r(uid, entry, buffer, length, found) })
}

fn entry(
    ask: impl Fn(*mut libc::passwd, *mut libc::c_char, usize, *mut *mut libc::passwd) -> libc::c_int,
) -> Option<Entry> {
    let mut size = 1024;
    loop {
        let mut buffer = vec![0; size];
        let mut entry = MaybeUninit::<libc::passwd>::uninit();
        let mut found = std::ptr::null_mut();
        let result = ask(entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &mut found);
        if result == libc::ERANGE && size < LARGEST {
            size *= 2;
            continue;
        }
        if result != 0 || found.is_null() {
            return None;
        }
        // SAFETY: the call has found an entry, whose texts stand in the buffer.
        return unsafe {
            let entry = entry.assume_init();
            let text = |text: *const libc::c_char| CStr::from_ptr(text).to_string_lossy().into_owned();
            let about = About { name: text(entry.pw_name), home: text(entry.pw_dir), shell: text(entry.pw_shell) };
            Some(Entry { uid: entry.pw_uid, gid: entry.pw_gid, about })
        };
    }
}

fn group_id(name: &str) -> Result<u32, Unknown> {
    if let Ok(gid) = name.parse() {
        return Ok(gid);
    }
    let unknown = || Unknown::Group(name.to_string());
    let text = CString::new(name).map_err(|_| unknown())?;
    let mut size = 1024;
    loop {
        let mut buffer = vec![0; size];
        let mut entry = MaybeUninit::<libc::group>::uninit();
        let mut found = std::ptr::null_mut();
        // SAFETY: as getgrnam_r(3) asks.
        let result = unsafe {
            libc::getgrnam_r(text.as_ptr(), entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &mut found)
        };
        if result == libc::ERANGE && size < LARGEST {
            size *= 2;
            continue;
        }
        // SAFETY: the call has found an entry.
        return if result == 0 && !found.is_null() {
            Ok(unsafe { entry.assume_init() }.gr_gid)
        } else {
            Err(unknown())
        };
    }
}

fn groups_of(user: &str, gid: u32) -> Vec<u32> {
    let Ok(user) = CString::new(user) else { return vec![gid] };
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let mut count = groups.len() as libc::c_int;
        // SAFETY: at most `count` numbers are written.
        let result = unsafe { libc::getgrouplist(user.as_ptr(), gid, groups.as_mut_ptr(), &mut count) };
        let count = count.max(0) as usize;
        if result >= 0 {
            groups.truncate(count);
            return groups;
        }
        if count <= groups.len() || count > 1 << 16 {
            return vec![gid];
        }
        groups.resize(count, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_known_by_name_and_number_and_a_group_may_be_named() {
        let root = Identity::find("root", None).unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(root.about.as_ref().map(|about| about.name.as_str()), Some("root"));
        assert!(root.groups.contains(&0));
        assert_eq!(Identity::find("0", None).unwrap(), root);
        assert_eq!(Identity::find("root", Some("12345")).unwrap().gid, 12345);
    }

    #[test]
    fn who_has_no_entry_needs_a_group() {
        assert_eq!(Identity::find("no-such-user", None), Err(Unknown::User("no-such-user".into())));
        assert_eq!(Identity::find("4000000", None), Err(Unknown::NoGroup(4_000_000)));
        assert_eq!(Identity::find("root", Some("no-such-group")), Err(Unknown::Group("no-such-group".into())));
        assert_eq!(Identity::find("4294967295", Some("100")), Err(Unknown::NoId(u32::MAX)));
        assert_eq!(Identity::find("root", Some("4294967295")), Err(Unknown::NoId(u32::MAX)));
        let nobody_known = Identity::find("4000000", Some("4000000")).unwrap();
        assert_eq!((nobody_known.uid, nobody_known.groups, nobody_known.about), (4_000_000, vec![4_000_000], None));
    }
}
