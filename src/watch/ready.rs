use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use jiff::Timestamp;

use super::entries::Id;
use super::entry::Entry;
use crate::trigger::Order;

/// By time of change or nothing, by path or nothing, by arrival.
type Key = (i64, Box<[u8]>, u64);

/// When a file became complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    pub at: Instant,
    pub time: Timestamp,
}

/// Files that are complete, in the order in which they are taken.
#[derive(Debug, Default)]
pub struct Ready {
    queue: BTreeMap<Key, Id>,
    keys: HashMap<Id, (Key, Arrived)>,
    /// By arrival, whatever the order.
    arrivals: BTreeMap<u64, Id>,
    next: u64,
}

impl Ready {
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn has(&self, id: Id) -> bool {
        self.keys.contains_key(&id)
    }

    pub fn put(&mut self, id: Id, entry: &Entry, order: Order, arrived: Arrived) {
        self.remove(id);
        let arrival = self.next;
        self.next += 1;
        let key: Key = match order {
            Order::Arrival => (0, Box::default(), arrival),
            Order::Name => (0, entry.path.clone(), arrival),
            Order::Mtime => (entry.stat.mtime, Box::default(), arrival),
        };
        self.arrivals.insert(arrival, id);
        self.queue.insert(key.clone(), id);
        self.keys.insert(id, (key, arrived));
    }

    pub fn remove(&mut self, id: Id) -> Option<Arrived> {
        let (key, arrived) = self.keys.remove(&id)?;
        self.arrivals.remove(&key.2);
        self.queue.remove(&key);
        Some(arrived)
    }

    /// When the one came that has waited longest.
    pub fn oldest(&self) -> Option<Arrived> {
        let id = self.arrivals.values().next()?;
        self.keys.get(id).map(|(_, arrived)| *arrived)
    }

    /// All of them, as they came.
    pub fn by_arrival(&self) -> Vec<Id> {
        self.arrivals.values().copied().collect()
    }

    /// Those that are taken next, at most so many.
    pub fn first(&self, most: usize) -> impl Iterator<Item = Id> {
        self.queue.values().take(most).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::FileEvent;

    #[test]
    fn files_are_taken_in_the_order_that_is_asked_for() {
        let now = Arrived { at: Instant::now(), time: Timestamp::UNIX_EPOCH };
        let order = |order| {
            let mut ready = Ready::default();
            for (id, (path, mtime)) in [("/c", 2), ("/a", 3), ("/b", 1), ("/d", 1)].into_iter().enumerate() {
                let mut entry = Entry::new(Path::new(path), FileEvent::Created, 0);
                entry.stat.mtime = mtime;
                ready.put(id as Id, &entry, order, now);
            }
            ready.remove(3);
            (ready.first(9).collect::<Vec<_>>(), ready.first(1).count(), ready.len())
        };
        assert_eq!(order(Order::Arrival), (vec![0, 1, 2], 1, 3));
        assert_eq!(order(Order::Name), (vec![1, 2, 0], 1, 3));
        assert_eq!(order(Order::Mtime), (vec![2, 0, 1], 1, 3));
    }
}
