use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A job's name: parts of `[A-Za-z0-9][A-Za-z0-9._-]*` joined by `/`, 100 characters in all.
///
/// A part never ends in `.log` or `.log.N`, so that no job's log directory looks like a log file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobName(Arc<str>);

/// Why a text is not a job's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a job's name is empty")]
    Empty,
    #[error("the name has {0} characters, at most 100 are allowed")]
    TooLong(usize),
    #[error("the name `{name}` has an empty part, write parts joined by single `/`")]
    EmptyPart { name: String },
    #[error("the name `{name}` has `{found}`, allowed are letters, digits, `.`, `_` and `-`, and `/` between parts")]
    Character { name: String, found: char },
    #[error("the name's part `{part}` begins with `{found}`, it must begin with a letter or a digit")]
    Start { part: String, found: char },
    #[error("the name's part `{part}` ends like a log file, choose one that does not end in `.log` or `.log.N`")]
    LogFile { part: String },
}

impl JobName {
    /// Checks and takes a name.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        let length = text.chars().count();
        if length > 100 {
            return Err(NameError::TooLong(length));
        }
        for part in text.split('/') {
            let Some(first) = part.chars().next() else {
                return Err(NameError::EmptyPart { name: text.into() });
            };
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            if let Some(found) = part.chars().find(|c| !allowed(*c)) {
                return Err(NameError::Character { name: text.escape_debug().to_string(), found });
            }
            if !first.is_ascii_alphanumeric() {
                return Err(NameError::Start { part: part.into(), found: first });
            }
            let stem = part.trim_end_matches(|c: char| c.is_ascii_digit());
            if part.ends_with(".log") || (stem.len() < part.len() && stem.ends_with(".log.")) {
                return Err(NameError::LogFile { part: part.into() });
            }
        }
        Ok(Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::ops::Deref for JobName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for JobName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for JobName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for JobName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        JobName::new(&std::borrow::Cow::<str>::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_groups_and_refuses_what_would_hurt_a_path() {
        for name in ["a", "etl/load", "A-1_b.c", "x/y/z", "9lives", "log", "a.log.b", "catalog.1"] {
            assert_eq!(JobName::new(name).map(|n| n.to_string()), Ok(name.to_string()));
        }
        for name in [
            "",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "a/../b",
            ".hidden",
            "_x",
            "-x",
            "a b",
            "é",
            "a.log",
            "runs.log.1",
            "x/output.log/y",
            "a\nb",
        ] {
            assert!(JobName::new(name).is_err(), "{name:?}");
        }
        assert!(JobName::new(&"x".repeat(100)).is_ok());
        assert_eq!(JobName::new(&"x".repeat(101)), Err(NameError::TooLong(101)));
    }
}
