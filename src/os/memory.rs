//! The runner's own memory.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The most memory that this process has had resident, KiB (getrusage(2)).
pub fn own_peak_kb() -> u64 {
    // SAFETY: plain memory that the kernel fills.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage.ru_maxrss as u64
    }
}

/// The memory that this process has resident now, KiB; 0 where the system does not tell.
pub fn own_resident_kb() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok())
        .unwrap_or(0);
    // SAFETY: asks for a constant of the system.
    pages * (unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(0) as u64) / 1024
}

/// Gives memory that is free but still held back to the system, after a large load.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: only returns free pages.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The same after a burst of small ones, at most once in ten seconds for all threads together: it takes about a millisecond.
pub fn give_back_now_and_then() {
    const AT_MOST_EVERY: Duration = Duration::from_secs(10);
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);
    // Who comes while another one is at it leaves it to that one.
    let Ok(mut last) = LAST.try_lock() else { return };
    if last.is_none_or(|last| last.elapsed() >= AT_MOST_EVERY) {
        *last = Some(Instant::now());
        give_back();
    }
}

/// Keeps the allocator to few arenas: the threads that runs live on come and go and allocate little.
pub fn use_few_arenas() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a setting of the allocator, made before there are other threads.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 * 1024);
        // A run's small buffers come and go: that is no reason to ask the kernel each time.
        libc::mallopt(libc::M_TRIM_THRESHOLD, 1024 * 1024);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_resident_is_never_more_than_the_peak() {
        let resident = super::own_resident_kb();
        assert!(resident > 500 && resident <= super::own_peak_kb() + 1_024, "{resident}");
    }
}
