use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A run's id: a UUIDv7 (RFC 9562), so that ids sort by the time at which they were made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(Uuid);

impl RunId {
    pub fn from_u128(value: u128) -> Self {
        Self(Uuid::from_u128(value))
    }

    /// As it is displayed, without allocating.
    pub fn digits(self) -> [u8; 36] {
        let mut digits = [0; 36];
        self.0.as_hyphenated().encode_lower(&mut digits);
        digits
    }

    pub fn as_u128(self) -> u128 {
        self.0.as_u128()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0.as_hyphenated(), f)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RunId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::parse_str(text).map(Self)
    }
}

/// Makes run ids without asking a clock or the system for randomness: both come in from outside,
/// so that a simulated history is the same each time.
///
/// Ids of one maker rise strictly: within a millisecond, and when the clock goes back, the 74 random bits count up.
#[derive(Debug, Clone)]
pub struct RunIds {
    state: u64,
    last_ms: u64,
    last_low: u128,
}

const LOW_BITS: u32 = 74;

impl RunIds {
    pub fn new(seed: u64) -> Self {
        Self { state: seed, last_ms: 0, last_low: 0 }
    }

    /// The next id, stamped with `now`.
    pub fn next(&mut self, now: Timestamp) -> RunId {
        let ms = now.as_millisecond().max(0) as u64;
        if ms > self.last_ms {
            self.last_ms = ms;
            // The top bit stays free, so that counting up has room.
            self.last_low =
                (u128::from(self.random()) << 9 | u128::from(self.random() >> 55)) & ((1 << (LOW_BITS - 1)) - 1);
        } else {
            self.last_low += 1 + u128::from(self.random() >> 32);
            if self.last_low >> LOW_BITS != 0 {
                self.last_ms += 1;
                self.last_low = 0;
            }
        }
        let (a, b) = (self.last_low >> 62, self.last_low & ((1 << 62) - 1));
        RunId::from_u128(u128::from(self.last_ms & 0xffff_ffff_ffff) << 80 | 7 << 76 | a << 64 | 2 << 62 | b)
    }

    /// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_7_and_rise_also_when_the_clock_goes_back() {
        let mut ids = RunIds::new(1);
        let base = Timestamp::from_millisecond(1_700_000_000_123).unwrap();
        let mut last = ids.next(base);
        assert_eq!(last.0.get_version_num(), 7);
        assert_eq!(last.0.get_variant(), uuid::Variant::RFC4122);
        assert_eq!(last.0.get_timestamp().map(|t| t.to_unix().0), Some(1_700_000_000));
        for step in 0..10_000i64 {
            let id = ids.next(base + jiff::SignedDuration::from_millis(step % 7 - 3));
            assert!(id > last);
            last = id;
        }
        assert_eq!(last.to_string().parse::<RunId>().unwrap(), last);
    }
}
