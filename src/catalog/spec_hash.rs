use std::fmt;
use std::str::FromStr;

use super::load::{TextHash, hash, hex, unhex};

/// The hash of a spec as records and people see it: `sha256:` and 64 hexadecimal digits.
///
/// Kept as its bytes: there is one for each job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpecHash(TextHash);

const BEGIN: &str = "sha256:";

impl SpecHash {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(hash(bytes))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for SpecHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{BEGIN}{}", hex(&self.0))
    }
}

/// A text that is no hash of a spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not `sha256:` and 64 hexadecimal digits")]
pub struct NoHash;

impl FromStr for SpecHash {
    type Err = NoHash;

    fn from_str(text: &str) -> Result<Self, NoHash> {
        text.strip_prefix(BEGIN).and_then(unhex).map(Self).ok_or(NoHash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_reads_back_as_it_is_shown() {
        let shown = SpecHash::of(b"").to_string();
        assert_eq!(shown, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(shown.parse(), Ok(SpecHash::of(b"")));
        for text in ["", "sha256:", "e3b0", &shown[..70], &format!("{shown}0"), &shown.replace("e3", "xy")] {
            assert_eq!(text.parse::<SpecHash>(), Err(NoHash), "{text}");
        }
    }
}
