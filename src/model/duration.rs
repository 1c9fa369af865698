use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{Written, written_schema};

/// A length of time as people write it: `90s`, `10m`, `1h30m`.
///
/// Whole numbers with the units `ms`, `s`, `m`, `h`, `d` (24 hours) and `w` (7 days), the larger ones first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct HumanDuration(pub Duration);

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    #[error("a duration is empty, expected one such as `90s` or `1h30m`")]
    Empty,
    #[error("`{0}` has no unit, write `{0}s` for seconds (or ms, m, h, d, w)")]
    NoUnit(String),
    #[error("`{0}` is not a unit of time, expected ms, s, m, h, d or w")]
    Unit(String),
    #[error("`{0}` is not a duration, expected one such as `90s` or `1h30m`")]
    Shape(String),
    #[error("`{0}` is too long for a duration, at most 100 years")]
    TooLong(String),
}

/// Milliseconds of each unit, the largest first.
const UNITS: [(&str, u64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const LONGEST_MS: u64 = 100 * 366 * 86_400_000;

impl HumanDuration {
    pub const fn from_millis(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl Written for HumanDuration {
    const PATTERN: &'static str = r"^([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";
    const EXPECTS: &'static str = "a duration such as `90s`, `10m` or `1h30m`";
}

impl FromStr for HumanDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        if text.is_empty() {
            return Err(DurationError::Empty);
        }
        let mut total: u64 = 0;
        let mut rest = text;
        let mut next_unit = 0;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = rest.split_at(digits);
            let letters = tail.chars().take_while(|c| !c.is_ascii_digit()).map(char::len_utf8).sum();
            let (unit, tail) = tail.split_at(letters);
            if number.is_empty() {
                return Err(DurationError::Shape(text.into()));
            }
            if unit.is_empty() {
                return Err(DurationError::NoUnit(text.into()));
            }
            let Some(place) = UNITS.iter().position(|(name, _)| *name == unit) else {
                return Err(match unit.trim().is_empty() || unit.starts_with(['.', ',', ' ']) {
                    true => DurationError::Shape(text.into()),
                    false => DurationError::Unit(unit.trim().into()),
                });
            };
            if place < next_unit {
                return Err(DurationError::Shape(text.into()));
            }
            next_unit = place + 1;
            total = number
                .parse::<u64>()
                .ok()
                .and_then(|n| n.checked_mul(UNITS[place].1))
                .and_then(|ms| total.checked_add(ms))
                .filter(|ms| *ms <= LONGEST_MS)
                .ok_or_else(|| DurationError::TooLong(text.into()))?;
            rest = tail;
        }
        Ok(Self::from_millis(total))
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ms = self.0.as_millis() as u64;
        if ms == 0 {
            return f.write_str("0s");
        }
        for (unit, size) in UNITS {
            // A week is said in days: people count 30d, not 4w2d.
            if unit != "w" && ms >= size {
                write!(f, "{}{unit}", ms / size)?;
                ms %= size;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for HumanDuration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        written_schema::<Self>(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, ms) in
            [("90s", 90_000), ("10m", 600_000), ("1h30m", 5_400_000), ("200ms", 200), ("1w2d", 777_600_000), ("0s", 0)]
        {
            assert_eq!(text.parse(), Ok(HumanDuration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn refuses_with_the_cure() {
        for (text, message) in [
            ("", "a duration is empty, expected one such as `90s` or `1h30m`"),
            ("90", "`90` has no unit, write `90s` for seconds (or ms, m, h, d, w)"),
            ("1y", "`y` is not a unit of time, expected ms, s, m, h, d or w"),
            ("1.5h", "`1.5h` is not a duration, expected one such as `90s` or `1h30m`"),
            ("30m1h", "`30m1h` is not a duration, expected one such as `90s` or `1h30m`"),
            ("-1s", "`-1s` is not a duration, expected one such as `90s` or `1h30m`"),
            ("99999999999999999999s", "`99999999999999999999s` is too long for a duration, at most 100 years"),
        ] {
            assert_eq!(text.parse::<HumanDuration>().unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn says_itself_so_that_it_reads_back() {
        for text in ["0s", "1ms", "90s", "1h30m", "30d", "1d1h1m1s1ms"] {
            let value: HumanDuration = text.parse().unwrap();
            assert_eq!(value.to_string().parse(), Ok(value));
        }
        assert_eq!(HumanDuration::from_secs(90).to_string(), "1m30s");
        assert_eq!(HumanDuration::from_secs(14 * 86_400).to_string(), "14d");
    }
}
