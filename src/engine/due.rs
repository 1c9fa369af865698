use std::cmp::Reverse;
use std::collections::BinaryHeap;

use jiff::Timestamp;

/// Who is due next. Entries are not taken out when a job changes: one that no longer agrees with its job is passed over
/// when it comes up.
#[derive(Debug, Clone, Default)]
pub(super) struct DueQueue {
    heap: BinaryHeap<Reverse<(Timestamp, u32)>>,
}

impl DueQueue {
    pub fn push(&mut self, due: Timestamp, slot: u32) {
        self.heap.push(Reverse((due, slot)));
    }

    /// The earliest entry that `is_current` vouches for, left in the queue.
    pub fn peek(&mut self, is_current: impl Fn(Timestamp, u32) -> bool) -> Option<(Timestamp, u32)> {
        while let Some(Reverse((due, slot))) = self.heap.peek().copied() {
            if is_current(due, slot) {
                return Some((due, slot));
            }
            self.heap.pop();
        }
        None
    }

    pub fn pop(&mut self) {
        self.heap.pop();
    }

    /// Throws outdated entries away once there are many more entries than jobs.
    pub fn tidy(&mut self, jobs: usize, is_current: impl Fn(Timestamp, u32) -> bool) {
        if self.heap.len() > 2 * jobs + 64 {
            self.heap.retain(|Reverse((due, slot))| is_current(*due, *slot));
        }
    }
}
