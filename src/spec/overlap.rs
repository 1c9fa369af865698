use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens to a firing while `max_instances` runs of the job are active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// It is recorded as skipped.
    Skip,
    /// It waits until one of them has ended; at most `max_queued` wait. Files of a watch wait in its ledger, however many.
    Queue,
    /// The oldest of them is ended, and it runs instead.
    Replace,
    /// It runs as well, without a limit.
    Allow,
}

impl Overlap {
    /// The word in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Queue => "queue",
            Self::Replace => "replace",
            Self::Allow => "allow",
        }
    }
}
