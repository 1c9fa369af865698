use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::HumanDuration;

/// What becomes of due times that passed while nobody could handle them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CatchUp {
    /// `none` records them as missed (the newest still runs within `misfire_grace`), `last` runs the newest, `all` the newest
    /// `max`, the oldest first. Default: `last` for `at`, else `none`.
    pub policy: Option<CatchUpPolicy>,
    /// How many runs `all` makes at the most.
    #[schemars(range(min = 1, max = 1_000))]
    pub max: u32,
    /// How old a due time may be that is still caught up.
    pub within: HumanDuration,
}

impl Default for CatchUp {
    fn default() -> Self {
        Self { policy: None, max: 10, within: HumanDuration::from_secs(86_400) }
    }
}

/// Which of the due times that passed still run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CatchUpPolicy {
    None,
    Last,
    All,
}
