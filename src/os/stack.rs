//! The stack of a thread that waits for long.

use std::hint::black_box;
use std::mem::MaybeUninit;

/// Gives back the pages of this thread's stack that calls before this one have used and that nobody uses now. They are there again, empty,
/// when they are needed (madvise(2), `MADV_DONTNEED`).
#[inline(never)]
pub fn give_back_unused() {
    /// What this function and those that it calls use of the page that it is on.
    const OWN: usize = 512;
    let mark = 0u8;
    let here = black_box(&raw const mark) as usize;
    let Some(lowest) = lowest_address() else { return };
    // SAFETY: asks for a constant of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(0) as usize;
    if page == 0 {
        return;
    }
    let end = here.saturating_sub(OWN) / page * page;
    if end > lowest {
        // SAFETY: between the end of the stack and what this call uses of it nothing is in use: the stack grows downwards.
        unsafe { libc::madvise(lowest as *mut libc::c_void, end - lowest, libc::MADV_DONTNEED) };
    }
}

/// Where this thread's stack ends, on whole pages.
fn lowest_address() -> Option<usize> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let mut address = std::ptr::null_mut();
    let mut size = 0;
    // SAFETY: the attributes are filled before they are read, and destroyed after that.
    let result = unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return None;
        }
        let result = libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut address, &raw mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        result
    };
    (result == 0 && !address.is_null()).then_some(address as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Uses much of the stack.
    #[inline(never)]
    fn deep(depth: usize) -> u64 {
        let block = black_box([depth as u64; 512]);
        if depth == 0 { block[0] } else { deep(depth - 1) + block[depth % 512] }
    }

    /// KiB of a mapping that holds this address and are in memory.
    fn resident(address: usize) -> u64 {
        let maps = std::fs::read_to_string("/proc/thread-self/smaps").unwrap();
        let mut is_it = false;
        for line in maps.lines() {
            let bounds = line.split(' ').next().and_then(|bounds| bounds.split_once('-'));
            let bound = |text: &str| usize::from_str_radix(text, 16).ok();
            if let Some((Some(low), Some(high))) = bounds.map(|(low, high)| (bound(low), bound(high))) {
                is_it = (low..high).contains(&address);
            }
            if is_it && let Some(size) = line.strip_prefix("Rss:") {
                return size.trim().trim_end_matches(" kB").parse().unwrap();
            }
        }
        panic!("no mapping holds {address:x}");
    }

    #[test]
    fn what_a_deep_call_used_is_given_back_and_can_be_used_again() {
        let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(|| {
            let mark = 7u64;
            let on_stack = black_box(&raw const mark) as usize;
            let sum = deep(200);
            let before = resident(on_stack);
            give_back_unused();
            let after = resident(on_stack);
            assert!(before >= 800, "{before} KiB");
            assert!(after + 700 <= before, "{before} and {after} KiB");
            assert_eq!((deep(200), black_box(mark)), (sum, 7));
        });
        thread.unwrap().join().unwrap();
    }
}
