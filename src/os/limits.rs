//! The runner's own limits, and those that its children get back.

use std::sync::OnceLock;

static ORIGINAL: OnceLock<libc::rlimit> = OnceLock::new();

/// Raises how many files this process may have open to `needed`, as far as the hard limit goes. Children get the original.
///
/// Returns the limit that now holds.
pub fn raise_open_files(needed: u64) -> u64 {
    // SAFETY: plain memory, filled by the kernel.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) != 0 {
            return 0;
        }
        if limit.rlim_cur >= needed {
            return limit.rlim_cur;
        }
        let raised = libc::rlimit { rlim_cur: needed.min(limit.rlim_max), rlim_max: limit.rlim_max };
        let _ = ORIGINAL.set(limit);
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raised) == 0 { raised.rlim_cur } else { limit.rlim_cur }
    }
}

/// The limit from before [`raise_open_files`], if it was raised.
pub(super) fn original_open_files() -> Option<libc::rlimit> {
    ORIGINAL.get().copied()
}
