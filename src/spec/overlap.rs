use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens to a firing while `max_instances` runs of the job are active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// It is recorded as skipped.
    #[default]
    Skip,
    /// It runs as well, without a limit.
    Allow,
}
