use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::model::{HumanDuration, written_schema};

/// When a file counts as complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settle {
    /// Once its size and its time of change have held still that long.
    After(HumanDuration),
    /// Once whoever wrote it has closed it, or it was renamed or linked into its place. Local disks only.
    Close,
}

impl Default for Settle {
    fn default() -> Self {
        Self::After(HumanDuration::from_secs(2))
    }
}

impl fmt::Display for Settle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(length) => length.fmt(f),
            Self::Close => f.write_str("close"),
        }
    }
}

impl Serialize for Settle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Settle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match &*Cow::<str>::deserialize(deserializer)? {
            "close" => Ok(Self::Close),
            text => text.parse().map(Self::After).map_err(D::Error::custom),
        }
    }
}

impl JsonSchema for Settle {
    fn schema_name() -> Cow<'static, str> {
        "Settle".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = written_schema::<HumanDuration>(Some("close"));
        schema.insert("examples".into(), serde_json::json!(["2s", "close"]));
        schema
    }
}
