use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{ByteSize, OrNone};

/// What a run may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// How much of what a run prints is kept: the first and the last half, the bytes between are counted. `none` keeps all.
    #[schemars(example = &"1MB", example = &"none")]
    pub output: OrNone<ByteSize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { output: OrNone::Some(ByteSize(10_000_000)) }
    }
}
