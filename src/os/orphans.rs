//! Processes whose parent has ended come to the runner, which reaps them: none stays behind as a zombie, also where the
//! runner is process 1 of a container.
//!
//! Only exact processes are waited for. The runner's own children are waited for by whoever started them, so they are kept
//! in a list that is complete whenever strangers are looked for.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError, RwLock, RwLockReadGuard};

use crate::model::lock;

/// Held shared while a child is made or waited for by other means, alone while strangers are reaped.
static STARTING: RwLock<()> = RwLock::new(());
static ADOPTS: AtomicBool = AtomicBool::new(false);
static OWN: LazyLock<Mutex<HashMap<i32, u32>>> = LazyLock::new(Mutex::default);

/// From now on orphans below this process come to it (prctl(2), `PR_SET_CHILD_SUBREAPER`).
pub fn adopt() -> std::io::Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    ADOPTS.store(true, Ordering::Relaxed);
    Ok(())
}

/// While this is held, no child is taken for an orphan: for children that are started by other means than `spawn`.
pub fn keep_off() -> RwLockReadGuard<'static, ()> {
    STARTING.read().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn is_own(pid: i32) {
    *lock(&OWN).entry(pid).or_default() += 1;
}

/// The number may be another child's already, which was made since this one was reaped: so they are counted.
pub(super) fn is_reaped(pid: i32) {
    let mut own = lock(&OWN);
    if let Some(count) = own.get_mut(&pid) {
        *count -= 1;
        if *count == 0 {
            own.remove(&pid);
        }
    }
}

/// Reaps what has ended of a group whose leader is reaped already.
pub fn reap_group(group: i32) {
    while wait_for(libc::P_PGID, group) {}
}

/// Reaps orphans that have ended. Returns how many.
pub fn reap_strangers() -> usize {
    // A child that is being made may take as long as its file system hangs: then another time.
    let Ok(_alone) = STARTING.try_write() else { return 0 };
    let own = lock(&OWN).clone();
    adopted().into_iter().filter(|pid| !own.contains_key(pid)).filter(|pid| wait_for(libc::P_PID, *pid)).count()
}

/// Children that others have started and left behind. Some of them may be the runner's own that are just being made.
pub fn strangers() -> Vec<i32> {
    // Who adopts nobody has no orphans.
    if !ADOPTS.load(Ordering::Relaxed) {
        return Vec::new();
    }
    let pids = adopted();
    let own = lock(&OWN);
    pids.into_iter().filter(|pid| !own.contains_key(pid)).collect()
}

/// The children of the first thread, which is the one that orphans come to (proc(5), `children`): the first of a process's
/// threads that is alive, and this one lives as long as the runner.
///
/// It is asked at the end of each run, so the file stays open.
fn adopted() -> Vec<i32> {
    static FILE: Mutex<Option<File>> = Mutex::new(None);
    let mut held = lock(&FILE);
    if held.is_none() {
        let pid = std::process::id();
        *held = File::open(format!("/proc/self/task/{pid}/children")).ok();
    }
    let Some(file) = &*held else { return Vec::new() };
    let (mut text, mut piece) = (Vec::new(), [0u8; 1024]);
    while let Ok(length @ 1..) = file.read_at(&mut piece, text.len() as u64) {
        text.extend_from_slice(&piece[..length]);
    }
    drop(held);
    String::from_utf8_lossy(&text).split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Reaps one that has ended, without waiting. Says whether there was one.
fn wait_for(kind: libc::idtype_t, id: i32) -> bool {
    let Ok(id) = libc::id_t::try_from(id) else { return false };
    // SAFETY: plain memory that the kernel fills.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        libc::waitid(kind, id, &mut info, libc::WEXITED | libc::WNOHANG) == 0 && info.si_pid() != 0
    }
}
