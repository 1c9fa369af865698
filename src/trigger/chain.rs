use globset::GlobSet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{JobName, Status};

/// How a run has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// As a success.
    #[default]
    Success,
    /// As failed, timed out or interrupted.
    Failure,
    /// In any way.
    Always,
}

impl When {
    /// Whether an end with this status is meant.
    pub fn is_met_by(self, status: Status) -> bool {
        match self {
            Self::Success => status == Status::Success,
            Self::Failure => status.is_failure(),
            Self::Always => true,
        }
    }
}

/// The chain trigger in force.
#[derive(Debug, Clone)]
pub struct Chain {
    pub parents: Parents,
    pub when: When,
}

/// Which jobs a chain waits for.
#[derive(Debug, Clone)]
pub enum Parents {
    /// Each of these.
    All(Vec<JobName>),
    /// Any that matches.
    Any(GlobSet),
}

impl Chain {
    /// Whether the chain of `own` waits for this job.
    pub fn waits_for(&self, parent: &JobName, own: &JobName) -> bool {
        parent != own
            && match &self.parents {
                Parents::All(names) => names.contains(parent),
                Parents::Any(patterns) => patterns.is_match(parent.as_str()),
            }
    }
}
