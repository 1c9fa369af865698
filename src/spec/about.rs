use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What one job's file says about itself; none of it comes from `_defaults.yaml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct About {
    /// The job's name, where it is not the file's path below `jobs/` without the ending.
    #[schemars(example = &"daily-summary", extend("minLength" = 1))]
    pub name: Option<String>,

    /// What the job is for, in a sentence.
    #[schemars(example = &"Summary of yesterday, at nine")]
    pub description: Option<String>,

    /// Whether the job's triggers fire. A disabled job can still be run by hand.
    pub enabled: bool,

    /// Says that a job without a trigger is meant to be run by hand.
    pub manual: bool,
}

impl Default for About {
    fn default() -> Self {
        Self { name: None, description: None, enabled: true, manual: false }
    }
}
