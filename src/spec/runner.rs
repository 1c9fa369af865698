use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::policies::Policies;
use super::pool::Pool;
use crate::model::{ByteSize, HumanDuration, OrNone};

/// runner.yaml: settings of the whole runner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RunnerSpec {
    /// The time zone of jobs that name none, by its IANA name.
    #[schemars(example = &"Europe/London", extend("minLength" = 1, "x-expects" = "the IANA name of a time zone such as `Europe/London`"))]
    pub timezone: String,

    /// How long a stopping runner waits for its runs before it ends them; `none` waits until they end.
    pub shutdown_timeout: OrNone<HumanDuration>,

    /// How many runs may be active at once, all jobs together; further ones wait for their turn.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_concurrent_runs: u32,

    /// Named limits that jobs share by `pool: NAME`.
    #[schemars(extend("x-expects" = "a map of names to pools such as `{ downloads: 3 }`", "examples" = [{ "downloads": 3 }, { "api": { "max": 3, "rate": "10/1m" } }]))]
    pub pools: BTreeMap<String, Pool>,

    /// Defaults for every job, below those of `_defaults.yaml`.
    pub defaults: Policies,

    /// How changes of the files are taken up.
    pub reload: Reload,

    /// Where and how the runner writes what it remembers.
    pub logs: Logs,

    /// How the runner reports its own condition.
    pub health: Health,
}

impl Default for RunnerSpec {
    fn default() -> Self {
        Self {
            timezone: "UTC".into(),
            shutdown_timeout: OrNone::Some(HumanDuration::from_secs(30)),
            max_concurrent_runs: 64,
            pools: BTreeMap::new(),
            defaults: Policies::default(),
            reload: Reload::default(),
            logs: Logs::default(),
            health: Health::default(),
        }
    }
}

/// How changes of the files are taken up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reload {
    /// How long the files must have been quiet before they are read again.
    pub debounce: HumanDuration,
    /// How long a reload waits for quiet at the most.
    pub max_wait: HumanDuration,
    /// How often the files are compared even if nothing told of a change.
    pub scan: HumanDuration,
}

impl Default for Reload {
    fn default() -> Self {
        Self {
            debounce: HumanDuration::from_millis(200),
            max_wait: HumanDuration::from_secs(2),
            scan: HumanDuration::from_secs(60),
        }
    }
}

/// Where and how the runner writes what it remembers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Logs {
    /// The logs directory; a relative path counts from the configuration directory. A change needs a restart.
    #[schemars(extend("minLength" = 1))]
    pub directory: String,
    /// The least severe lines that runner.log gets.
    pub level: Level,
    /// How runner.log's lines are written.
    pub format: Format,
    /// A log file that would grow beyond this is rotated.
    pub max_size: ByteSize,
    /// How many rotated files are kept beside the current one.
    #[schemars(range(min = 1, max = 1_000))]
    pub max_files: u32,
    /// How old a rotated file may get, and the newest entry of a job that is gone.
    pub max_age: OrNone<HumanDuration>,
    /// How large all logs may get together; the oldest rotated files go first, then the logs of jobs that are gone.
    pub max_total: OrNone<ByteSize>,
    /// What is on the disk, also if the power goes, before the runner goes on: `none`, the kernel writes when it likes; `run`, a
    /// run's start before its program begins, its attempts and its end before anything that follows; `always`, every line.
    pub sync: SyncLogs,
}

impl Default for Logs {
    fn default() -> Self {
        Self {
            directory: "logs".into(),
            level: Level::Info,
            format: Format::Text,
            max_size: ByteSize(10_000_000),
            max_files: 5,
            max_age: OrNone::None,
            max_total: OrNone::Some(ByteSize(5_000_000_000)),
            sync: SyncLogs::None,
        }
    }
}

/// How severe a line of runner.log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// How runner.log's lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Text,
    Json,
}

/// What is on the disk before the runner goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SyncLogs {
    None,
    Run,
    Always,
}

/// How the runner reports its own condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Health {
    /// How often runner.log gets a health line.
    pub interval: HumanDuration,
}

impl Default for Health {
    fn default() -> Self {
        Self { interval: HumanDuration::from_secs(300) }
    }
}
