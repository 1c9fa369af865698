//! Large buffers that are lent for a moment, so that memory does not grow with the number of threads that need one now and then.

use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

use crate::model::lock;

/// Buffers of one size. Of the large ones there are so many and no more; who comes when all are lent gets a small one, and waits
/// for nobody.
#[derive(Debug)]
pub struct Buffers {
    large: usize,
    small: usize,
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: Vec<Vec<u8>>,
    lent: usize,
}

/// What a stream is read into: large ones hold as much as the largest pipe.
pub static READING: Buffers = Buffers::new(256 * 1024, 16 * 1024, 16);

impl Buffers {
    pub const fn new(large: usize, small: usize, most: usize) -> Self {
        Self { large, small, most, state: Mutex::new(State { free: Vec::new(), lent: 0 }) }
    }

    /// An empty buffer, with room for as much as its size.
    pub fn lend(&'static self) -> Lent {
        self.take(Vec::with_capacity, Vec::clear)
    }

    /// A buffer that is full of whatever stood in it: to be read into.
    pub fn lend_filled(&'static self) -> Lent {
        self.take(|size| vec![0; size], |bytes| bytes.resize(bytes.capacity(), 0))
    }

    fn take(&'static self, new: fn(usize) -> Vec<u8>, ready: fn(&mut Vec<u8>)) -> Lent {
        let mut state = lock(&self.state);
        if state.lent >= self.most {
            drop(state);
            return Lent { bytes: new(self.small), size: self.small, of: None };
        }
        state.lent += 1;
        let free = state.free.pop();
        drop(state);
        let bytes = match free {
            None => new(self.large),
            Some(mut bytes) => {
                ready(&mut bytes);
                bytes
            }
        };
        Lent { bytes, size: self.large, of: Some(self) }
    }
}

/// A buffer that goes back when it is dropped. By default: none.
#[derive(Debug, Default)]
pub struct Lent {
    bytes: Vec<u8>,
    size: usize,
    of: Option<&'static Buffers>,
}

impl Lent {
    /// How much it is meant for; 0 of none.
    pub fn size(&self) -> usize {
        self.size
    }
}

impl Deref for Lent {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(of) = self.of else { return };
        let bytes = std::mem::take(&mut self.bytes);
        let mut state = lock(&of.state);
        state.lent -= 1;
        // One that has grown beyond its size is not kept that large.
        if bytes.capacity() <= 2 * of.large {
            state.free.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_large_and_who_comes_then_gets_a_small_one_at_once() {
        static FEW: Buffers = Buffers::new(100, 10, 2);
        let (a, b, c) = (FEW.lend_filled(), FEW.lend(), FEW.lend_filled());
        assert_eq!((a.len(), b.len(), b.size(), c.len()), (100, 0, 100, 10));
        let place = a.as_ptr();
        drop(a);
        let again = FEW.lend();
        assert_eq!((again.size(), again.as_ptr()), (100, place), "what came back is lent again");
        drop((again, b, c));
        let mut grown = FEW.lend();
        grown.resize(1_000, 0);
        drop(grown);
        assert!(lock(&FEW.state).free.iter().all(|bytes| bytes.capacity() <= 200));
        assert_eq!(lock(&FEW.state).lent, 0);
        assert_eq!(Lent::default().size(), 0);
    }
}
