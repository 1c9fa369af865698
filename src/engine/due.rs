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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outdated_entries_do_not_pile_up_and_never_come_up() {
        let mut queue = DueQueue::default();
        let time = |n: i64| Timestamp::from_second(n).unwrap();
        for n in 0..10_000 {
            queue.push(time(n), 0);
            queue.tidy(1, |due, _| due == time(n));
        }
        assert!(queue.heap.len() < 100, "{}", queue.heap.len());
        assert_eq!(queue.peek(|due, _| due == time(9_999)), Some((time(9_999), 0)));
        queue.pop();
        assert_eq!(queue.peek(|_, _| true), None);
    }
}
