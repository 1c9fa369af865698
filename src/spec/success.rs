use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What counts as a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Success {
    /// Exit codes of a command that has done what it should.
    #[schemars(inner(range(min = 0, max = 255)), extend("minItems" = 1, "x-expects" = "a list of exit codes from 0 to 255"))]
    pub exit_codes: Vec<i32>,
}

impl Default for Success {
    fn default() -> Self {
        Self { exit_codes: vec![0] }
    }
}
