use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::breaker::Breaker;
use super::catch_up::CatchUp;
use super::identity::{InheritEnv, RunAs, Sandbox, StopSignal, Umask};
use super::limits::Limits;
use super::overlap::Overlap;
use super::retry::Retry;
use super::secrets::Secret;
use super::success::Success;
use crate::model::{HumanDuration, TextMap};
use crate::trigger::Window;

/// How a job is done. All of it may also stand in `_defaults.yaml` and in `defaults:` of runner.yaml.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policies {
    /// The time zone of the job's wall-clock times, by its IANA name. Default: runner.yaml's `timezone`, else UTC.
    #[schemars(example = &"Europe/London", extend("minLength" = 1, "x-expects" = "the IANA name of a time zone such as `Europe/London`"))]
    pub timezone: Option<String>,

    /// Each job's due times are shifted by a part of this length that is always the same for the job, so that jobs with one
    /// schedule do not all begin at one instant.
    pub jitter: HumanDuration,

    /// How late a due time may still be started after the runner was down or held up.
    pub misfire_grace: HumanDuration,

    /// What becomes of due times that passed while the runner was down, suspended or held up.
    #[schemars(extend("x-short" = "policy"))]
    pub catch_up: CatchUp,

    /// Spans of time in which due times are passed over, and recorded as skipped.
    #[schemars(example = &[serde_json::json!({ "days": ["sat", "sun"] })], extend("x-expects" = "a list of spans such as `[{ days: [sat, sun] }]`"))]
    pub blackout: Vec<Window>,

    /// Where the command runs; a relative path counts from the configuration directory, which is also the default.
    #[schemars(example = &"/srv/reports", extend("minLength" = 1))]
    pub working_directory: Option<String>,

    /// Environment variables for the command, above the runner's own.
    pub env: TextMap,

    /// Secrets for the command, each from one source. They are read anew for each attempt, and their values are masked in all
    /// that the job prints.
    #[schemars(example = &serde_json::json!({ "API_KEY": { "file": "/run/secrets/api" } }), extend("x-expects" = "a map of names to sources such as `{ API_KEY: { file: /run/secrets/api } }`"))]
    pub secrets: BTreeMap<String, Secret>,

    /// Regular expressions: what they match within a line that the job prints is masked in the log. Bytes are matched, so `\w`
    /// and the like mean ASCII.
    #[schemars(example = &["password=\\S+"], extend("x-expects" = "a list of regular expressions such as `['password=\\S+']`"))]
    pub redact: Vec<String>,

    /// How long a run may take before it is ended. Default: no limit.
    #[schemars(example = &"10m")]
    pub timeout: Option<HumanDuration>,

    /// What a run that has to end is sent first.
    pub stop_signal: StopSignal,

    /// How long a run that has to end may take between that and SIGKILL.
    pub kill_grace: HumanDuration,

    /// Whether a run that a crash of the runner cut short is run again at the next start.
    pub rerun_interrupted: bool,

    /// Whether and when an attempt that failed is followed by another one.
    #[schemars(extend("x-short" = "max"))]
    pub retry: Retry,

    /// After so many failed runs in a row the job rests. Default: it never does.
    #[schemars(extend("x-short" = "after"))]
    pub breaker: Option<Breaker>,

    /// What happens to a firing while `max_instances` runs of the job are active. Default: `skip`; of watches `queue`.
    pub overlap: Option<Overlap>,

    /// How many runs of the job may be active at once.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_instances: u32,

    /// How many runs of the job may wait; further firings are skipped.
    #[schemars(range(max = 100_000))]
    pub max_queued: u32,

    /// The named limit in runner.yaml that the job's runs share with those of other jobs.
    #[schemars(example = &"downloads", extend("minLength" = 1))]
    pub pool: Option<String>,

    /// Which of the runs that wait for a place goes first: 10 before 1. Each minute of waiting counts like one step.
    #[schemars(range(min = 1, max = 10))]
    pub priority: u8,

    /// What a run may use.
    #[schemars(extend("x-short" = "output"))]
    pub limits: Limits,

    /// How nice the command is to others when CPU time is short: 19 gives way to all, below 0 goes before others and needs root.
    #[schemars(range(min = -20, max = 19))]
    pub nice: i32,

    /// The command's part of disk time where others have 100. Needs the io controller of cgroup v2.
    #[schemars(range(min = 1, max = 10_000))]
    pub io_weight: Option<u32>,

    /// Whom the command runs as. Default: as the runner does.
    #[schemars(extend("x-short" = "user"))]
    pub run_as: Option<RunAs>,

    /// The mode bits that files of the command do not get. Default: the runner's.
    pub umask: Option<Umask>,

    /// What of the runner's own environment the command gets: `true` all of it, `false` nothing, or a list of names.
    pub inherit_env: InheritEnv,

    /// What the command sees and reaches of the machine. Default: what its user may.
    pub sandbox: Option<Sandbox>,

    /// Whether programs can give the command more rights than it has, as `sudo` does. Default: not with `run_as` and `sandbox`.
    pub no_new_privs: Option<bool>,

    /// What counts as a success.
    #[schemars(extend("x-short" = "exit_codes"))]
    pub success: Success,

    /// Free words for people and pages to sort jobs by.
    pub labels: TextMap,
}

const MISFIRE_GRACE: HumanDuration = HumanDuration::from_secs(60);
const KILL_GRACE: HumanDuration = HumanDuration::from_secs(10);

impl Default for Policies {
    fn default() -> Self {
        Self {
            timezone: None,
            jitter: HumanDuration::default(),
            misfire_grace: MISFIRE_GRACE,
            catch_up: CatchUp::default(),
            blackout: Vec::new(),
            working_directory: None,
            env: TextMap::default(),
            secrets: BTreeMap::new(),
            redact: Vec::new(),
            timeout: None,
            stop_signal: StopSignal::default(),
            kill_grace: KILL_GRACE,
            rerun_interrupted: false,
            retry: Retry::default(),
            breaker: None,
            overlap: None,
            max_instances: 1,
            max_queued: 100,
            pool: None,
            priority: 5,
            limits: Limits::default(),
            nice: 0,
            io_weight: None,
            run_as: None,
            umask: None,
            inherit_env: InheritEnv::default(),
            sandbox: None,
            no_new_privs: None,
            success: Success::default(),
            labels: TextMap::default(),
        }
    }
}
