use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::HumanDuration;

/// After so many failed runs in a row the job rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// How many failed runs in a row open it.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub after: u32,
    /// How long the job then rests before one run is let through to see whether it works again.
    pub cooldown: HumanDuration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { after: 5, cooldown: HumanDuration::from_secs(600) }
    }
}
