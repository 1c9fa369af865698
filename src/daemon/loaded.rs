//! What a running runner has in force, for those who work out more from it than one answer: `why` and `simulate`. They ask once
//! and work on their own, so that a long simulation holds up nobody.
//!
//! Armed triggers cannot be handed out. What they are made of can: the specs with the environment filled in, the zones, and the
//! dates of the blackouts. Of `env` and the action, which decide about no time, the text as written goes out; of `secrets` and
//! `redact` nothing does.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::pauses::Pause;
use super::view::Facts;
use crate::catalog::{Generation, Invalid, Job};
use crate::model::{Gap, JobName, Parent, Problem, RunId, TriggeredBy, serde_rfc3339};
use crate::record::DueState;
use crate::spec::{JobSpec, Pool, RunnerSpec};
use crate::trigger::Blackout;

/// What is in force, and what is under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Loaded {
    /// The zone of jobs that name none.
    pub timezone: String,
    pub max_concurrent_runs: u32,
    pub pools: BTreeMap<String, Pool>,
    pub jobs: Vec<LoadedJob>,
    /// Files without a version that could run.
    pub invalid: Vec<LoadedFile>,
    pub runs: Vec<LoadedRun>,
    /// Due times that are counted and stand in no record yet.
    pub counted: Vec<Gap>,
}

/// A job that is in force, and what is known of it. Times are in whole milliseconds, as records and answers have them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoadedJob {
    name: JobName,
    file: String,
    spec: Map<String, Value>,
    hash: String,
    timezone: String,
    blackout: Option<Blackout>,
    #[serde(with = "serde_rfc3339")]
    first_loaded: Timestamp,
    errors: Vec<Problem>,
    #[serde(with = "serde_rfc3339::option")]
    stale_since: Option<Timestamp>,
    pause: Option<Pause>,
    memory: DueState,
    #[serde(with = "serde_rfc3339::option")]
    anchor: Option<Timestamp>,
    arrived: Vec<(Parent, Timestamp)>,
}

/// A file that is broken and has no good version.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoadedFile {
    name: String,
    file: String,
    errors: Vec<Problem>,
}

/// A run that has not come to its end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoadedRun {
    pub run: RunId,
    pub job: JobName,
    pub triggered_by: TriggeredBy,
    #[serde(with = "serde_rfc3339")]
    pub due: Timestamp,
    /// When it started; absent while it waits for its turn.
    #[serde(with = "serde_rfc3339::option")]
    pub started: Option<Timestamp>,
    /// When its next attempt begins, where it is between two.
    #[serde(with = "serde_rfc3339::option")]
    pub next_attempt: Option<Timestamp>,
}

/// What is in force as the loop hands it out: cheap to make. The rest is done elsewhere.
pub(super) struct Snapshot {
    pub generation: Arc<Generation>,
    pub settings: RunnerSpec,
    pub jobs: Vec<(Arc<Job>, Facts)>,
    pub runs: Vec<LoadedRun>,
    pub counted: Vec<Gap>,
}

impl Snapshot {
    pub fn loaded(self) -> Loaded {
        let file = |invalid: &Invalid| LoadedFile {
            name: invalid.name.clone(),
            file: invalid.file.to_string(),
            errors: invalid.errors.to_vec(),
        };
        Loaded {
            timezone: self.settings.timezone,
            max_concurrent_runs: self.settings.max_concurrent_runs,
            pools: self.settings.pools,
            jobs: self.jobs.iter().map(|(job, facts)| LoadedJob::of(job, facts)).collect(),
            invalid: self.generation.invalid.iter().map(file).collect(),
            runs: self.runs,
            counted: self.counted,
        }
    }
}

impl LoadedJob {
    fn of(job: &Job, facts: &Facts) -> Self {
        let mut spec = job.spec.to_map();
        // Where secrets come from, and what the environment says to a command, is nobody's business here.
        spec.remove("secrets");
        spec.remove("redact");
        if let Some(written) = &job.written {
            for key in ["env", job.spec.action.key()] {
                if let Some(value) = written.get(key) {
                    spec.insert(key.to_string(), value.clone());
                }
            }
        }
        Self {
            name: job.name.clone(),
            file: job.file.to_string(),
            spec,
            hash: job.hash.to_string(),
            timezone: job.zone.iana_name().unwrap_or("UTC").to_string(),
            blackout: job.blackout.as_deref().cloned(),
            first_loaded: job.first_loaded,
            errors: job.errors.to_vec(),
            stale_since: job.stale_since,
            pause: facts.paused.map(|until| Pause { until, since: facts.paused_since }),
            memory: facts.memory,
            anchor: facts.anchor,
            arrived: facts.arrived.clone(),
        }
    }

    /// The job as it is in force over there.
    fn job(&self) -> serde_json::Result<Job> {
        let spec = JobSpec::from_map(self.spec.clone())?;
        let zone = TimeZone::get(&self.timezone).unwrap_or(TimeZone::UTC);
        let armed = if spec.about.enabled { spec.arm(&self.name, &zone) } else { Vec::new() };
        Ok(Job {
            name: self.name.clone(),
            file: self.file.as_str().into(),
            spec: Arc::new(spec),
            written: None,
            hash: self.hash.parse().map_err(serde::de::Error::custom)?,
            armed: armed.into(),
            zone,
            blackout: self.blackout.clone().map(Arc::new),
            first_loaded: self.first_loaded,
            errors: self.errors.clone().into(),
            stale_since: self.stale_since,
        })
    }

    fn facts(&self) -> Facts {
        Facts {
            paused: self.pause.map(|pause| pause.until),
            paused_since: self.pause.and_then(|pause| pause.since),
            memory: self.memory,
            anchor: self.anchor,
            arrived: self.arrived.clone(),
            ..Facts::default()
        }
    }
}

impl Loaded {
    /// What is in force, as the files would give it; and what is known of each job.
    ///
    /// # Errors
    /// It is from another version of the runner, and says what this one does not know.
    pub fn generation(&self) -> serde_json::Result<(Generation, BTreeMap<JobName, Facts>)> {
        let settings = RunnerSpec {
            timezone: self.timezone.clone(),
            max_concurrent_runs: self.max_concurrent_runs,
            pools: self.pools.clone(),
            ..RunnerSpec::default()
        };
        let invalid = |file: &LoadedFile| Invalid {
            name: file.name.clone(),
            file: file.file.as_str().into(),
            errors: file.errors.clone().into(),
        };
        let jobs: serde_json::Result<Vec<Arc<Job>>> = self.jobs.iter().map(|job| job.job().map(Arc::new)).collect();
        let generation = Generation {
            number: 0,
            fingerprint: String::new(),
            commit: None,
            settings: Arc::new(settings),
            jobs: jobs?,
            invalid: self.invalid.iter().map(invalid).collect(),
            problems: Vec::new(),
            files: self.jobs.len() + self.invalid.len(),
            vanished: None,
        };
        Ok((generation, self.jobs.iter().map(|job| (job.name.clone(), job.facts())).collect()))
    }
}
