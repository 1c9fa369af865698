use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A value that people write as a string of a known shape.
pub trait Written: std::str::FromStr<Err: fmt::Display> + fmt::Display {
    /// The shape, as the schema says it to editors: a regular expression from `^` to `$`.
    const PATTERN: &'static str;
    /// The shape in words, for messages.
    const EXPECTS: &'static str;
}

/// A value, or the word `none` for "no such limit".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OrNone<T> {
    None,
    Some(T),
}

impl<T> OrNone<T> {
    pub fn into_option(self) -> Option<T> {
        match self {
            Self::None => None,
            Self::Some(value) => Some(value),
        }
    }
}

impl<T: Written> fmt::Display for OrNone<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Some(value) => value.fmt(f),
        }
    }
}

impl<T: Written> Serialize for OrNone<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, T: Written> Deserialize<'de> for OrNone<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match &*Cow::<str>::deserialize(deserializer)? {
            "none" => Ok(Self::None),
            text => text.parse().map(Self::Some).map_err(D::Error::custom),
        }
    }
}

impl<T: Written> JsonSchema for OrNone<T> {
    fn schema_name() -> Cow<'static, str> {
        "OrNone".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        written_schema::<T>(Some("none"))
    }
}

/// The schema of such a value; `word`: what may be written instead.
pub fn written_schema<T: Written>(word: Option<&str>) -> Schema {
    let (pattern, expects) = match word {
        Some(word) => (format!("^{word}$|{}", T::PATTERN), format!("{} or `{word}`", T::EXPECTS)),
        None => (T::PATTERN.to_string(), T::EXPECTS.to_string()),
    };
    json_schema!({ "type": "string", "minLength": 1, "pattern": pattern, "x-expects": expects })
}
