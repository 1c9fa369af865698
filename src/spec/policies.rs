use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::limits::Limits;
use super::overlap::Overlap;
use crate::model::{HumanDuration, TextMap};

/// How a job is done. All of it may also stand in `_defaults.yaml` and in `defaults:` of runner.yaml.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policies {
    /// The time zone of the job's wall-clock times, by its IANA name. Default: runner.yaml's `timezone`, else UTC.
    #[schemars(example = &"Europe/London", extend("minLength" = 1, "x-expects" = "the IANA name of a time zone such as `Europe/London`"))]
    pub timezone: Option<String>,

    /// How late a due time may still be started after the runner was down or held up.
    pub misfire_grace: HumanDuration,

    /// Where the command runs; a relative path counts from the configuration directory, which is also the default.
    #[schemars(example = &"/srv/reports", extend("minLength" = 1))]
    pub working_directory: Option<String>,

    /// Environment variables for the command, above the runner's own.
    pub env: TextMap,

    /// How long a run may take before it is ended. Default: no limit.
    #[schemars(example = &"10m")]
    pub timeout: Option<HumanDuration>,

    /// How long a run that has to end may take between SIGTERM and SIGKILL.
    pub kill_grace: HumanDuration,

    /// What happens to a firing while `max_instances` runs of the job are active.
    pub overlap: Overlap,

    /// How many runs of the job may be active at once.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_instances: u32,

    /// What a run may use.
    pub limits: Limits,

    /// Free words for people and pages to sort jobs by.
    pub labels: TextMap,
}

const MISFIRE_GRACE: HumanDuration = HumanDuration::from_secs(60);
const KILL_GRACE: HumanDuration = HumanDuration::from_secs(10);

impl Default for Policies {
    fn default() -> Self {
        Self {
            timezone: None,
            misfire_grace: MISFIRE_GRACE,
            working_directory: None,
            env: TextMap::default(),
            timeout: None,
            kill_grace: KILL_GRACE,
            overlap: Overlap::default(),
            max_instances: 1,
            limits: Limits::default(),
            labels: TextMap::default(),
        }
    }
}
