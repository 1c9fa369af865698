use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::Written;

/// A number of bytes as people write it: `512K`, `10MB`, `2GiB`.
///
/// `K`, `M`, `G`, `T` and `KiB` … count in 1024s, `KB`, `MB`, `GB` and `TB` in 1000s, `B` in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(pub u64);

/// Why a text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    #[error("`{0}` has no unit, write `{0}B` for bytes (or K, KB, KiB, M, MB, MiB, G, GB, GiB, T, TB, TiB)")]
    NoUnit(String),
    #[error("`{0}` is not a size, expected one such as `512K`, `10MB` or `2GiB`")]
    Shape(String),
    #[error("`{0}` is too large for a size, at most 8EiB")]
    TooLarge(String),
}

/// Largest first within each family, so that a value is said in the largest unit that fits it exactly.
const UNITS: [(&str, u64); 13] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("T", 1 << 40),
    ("G", 1 << 30),
    ("M", 1 << 20),
    ("K", 1 << 10),
    ("B", 1),
];

impl Written for ByteSize {
    const PATTERN: &'static str = "^[0-9]+(B|[KMGT](i?B)?)$";
    const EXPECTS: &'static str = "a size such as `512K`, `10MB` or `2GiB`";
}

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        if number.is_empty() {
            return Err(SizeError::Shape(text.into()));
        }
        if unit.is_empty() {
            return Err(SizeError::NoUnit(text.into()));
        }
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(|| SizeError::Shape(text.into()))?;
        number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(*factor))
            .filter(|bytes| *bytes <= i64::MAX as u64)
            .map(ByteSize)
            .ok_or_else(|| SizeError::TooLarge(text.into()))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, size) =
            UNITS.iter().find(|(_, size)| self.0 >= *size && self.0.is_multiple_of(*size)).unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / size)
    }
}

impl fmt::Debug for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": Self::PATTERN,
            "x-expects": Self::EXPECTS,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_families() {
        for (text, bytes) in [("512K", 524_288), ("10MB", 10_000_000), ("2GiB", 2_147_483_648), ("7B", 7), ("0B", 0)] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "K", "10", "10 MB", "1.5M", "-1K", "10mb", "99999999999T"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn says_itself_exactly() {
        for bytes in [0, 1, 1_000, 1_024, 10_000_000, 5_000_000_000, 2_147_483_648, 1_000_001] {
            assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
        }
        assert_eq!(ByteSize(10_000_000).to_string(), "10MB");
        assert_eq!(ByteSize(512 << 20).to_string(), "512MiB");
    }
}
