//! `H`: a value that differs from job to job and stays the same for each.
//!
//! The forms mean what they mean in Jenkins: `H` one value of the whole range (days 1 to 28, so that every month has
//! it), `H(a-b)` one value of a range, `H/n` every n-th from a start below n. The value comes from FNV-1a (Fowler,
//! Noll, Vo) over the key, spread by the finalizer of SplitMix64 (Steele, Lea, Flood). Both are fixed: a job keeps its
//! times over releases and machines.

use super::field::Field;
use crate::model::stable_hash::{fnv1a, mixed};

/// Decides all `H` of one expression.
#[derive(Clone, Copy, Debug)]
pub(super) struct HashKey(u64);

impl HashKey {
    pub(super) fn new(key: &str) -> Self {
        Self(fnv1a(key))
    }

    /// A number below `count` for the `term`-th part of a field's list.
    pub(super) fn below(self, count: u32, field: Field, term: usize) -> u32 {
        let salt = (term as u64) << 3 | field as u64;
        let number = mixed(self.0.wrapping_add((salt + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        u32::try_from(number % u64::from(count.max(1))).unwrap_or(0)
    }
}

/// The last value that a bare `H` may take: every month has a 28th.
pub(super) fn hash_last(field: Field) -> u32 {
    match field {
        Field::MonthDay => 28,
        _ => field.last(),
    }
}
