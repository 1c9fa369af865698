use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::spec_hash::SpecHash;
use crate::model::{JobName, Problem, TriggeredBy};
use crate::spec::{JobSpec, RunnerSpec};
use crate::trigger::{Armed, Blackout, Closed};

/// A job that is in force.
#[derive(Debug, Clone)]
pub struct Job {
    pub name: JobName,
    /// The file, as seen from the configuration directory.
    pub file: Arc<str>,
    pub spec: Arc<JobSpec>,
    /// The spec as written, with `${…}` as it stands; absent where that is the spec itself.
    pub written: Option<Arc<Map<String, Value>>>,
    /// `sha256:…` of the spec as written, with the defaults of its folders.
    pub hash: SpecHash,
    /// Its triggers, in force; none where the job is disabled.
    pub armed: Arc<[(TriggeredBy, Armed)]>,
    pub zone: jiff::tz::TimeZone,
    /// When its due times are passed over.
    pub blackout: Option<Arc<Blackout>>,
    /// When the runner first saw the job.
    pub first_loaded: Timestamp,
    /// What is wrong with the file now: then the job is stale, and what runs is its last good version.
    pub errors: Arc<[Problem]>,
    /// Since when it is stale, where that is known.
    pub stale_since: Option<Timestamp>,
}

impl Job {
    /// Whether the file is broken and an earlier version is in force.
    pub fn is_stale(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Whether this version is the one that was read.
    pub(super) fn is_of(&self, good: &super::load::Good) -> bool {
        self.name == good.name && Arc::ptr_eq(&self.spec, &good.spec)
    }

    /// When its due times are passed over, as the engine asks for it.
    pub fn closed(&self) -> Option<Arc<dyn Closed>> {
        self.blackout.clone().map(|blackout| blackout as _)
    }

    /// The spec as people wrote it.
    pub fn written(&self) -> Map<String, Value> {
        self.written.as_deref().cloned().unwrap_or_else(|| self.spec.to_map())
    }

    /// Whether the two would behave alike.
    pub fn is_same(&self, other: &Job) -> bool {
        self.spec == other.spec && self.zone == other.zone && self.file == other.file && self.blackout == other.blackout
    }
}

/// A file that is broken and has no good version to fall back on.
#[derive(Debug, Clone)]
pub struct Invalid {
    /// The name that the job would have, where that can be told.
    pub name: String,
    pub file: Arc<str>,
    pub errors: Arc<[Problem]>,
}

/// The set of jobs that is loaded now. Immutable; a change makes a new one.
#[derive(Debug, Clone)]
pub struct Generation {
    pub number: u64,
    /// Hash of all jobs' names and hashes.
    pub fingerprint: String,
    /// The commit that the repository of `jobs/` is at.
    pub commit: Option<String>,
    pub settings: Arc<RunnerSpec>,
    /// By name.
    pub jobs: Vec<Arc<Job>>,
    pub invalid: Vec<Invalid>,
    /// Every finding of this reading, by file and place.
    pub problems: Vec<Problem>,
    /// Files that were looked at.
    pub files: usize,
    /// Why what is loaded may be old: `jobs/` itself is gone.
    pub vanished: Option<String>,
}

impl Generation {
    pub fn job(&self, name: &str) -> Option<&Arc<Job>> {
        let at = self.jobs.binary_search_by(|job| job.name.as_str().cmp(name)).ok()?;
        self.jobs.get(at)
    }

    /// Whether a file has this name, be it a good one or not.
    pub fn has_file_for(&self, name: &str) -> bool {
        self.job(name).is_some() || self.invalid.iter().any(|invalid| invalid.name == name)
    }

    pub fn stale(&self) -> usize {
        self.jobs.iter().filter(|job| job.is_stale()).count()
    }
}

/// What differs between two generations.
#[derive(Debug, Clone, Default)]
pub struct Delta {
    pub added: Vec<Arc<Job>>,
    pub changed: Vec<Arc<Job>>,
    pub removed: Vec<JobName>,
    /// Files that have become broken since.
    pub broken: Vec<Arc<str>>,
    /// Files that were broken and are good again.
    pub mended: Vec<Arc<str>>,
    pub settings_changed: bool,
    /// Errors that were not there before: each is announced once.
    pub new_problems: Vec<Problem>,
    /// Whether anything at all is different, states and problems included.
    pub is_new: bool,
}

impl Delta {
    /// "2 added, 1 changed" and so on; "no job changed" if only findings did, "nothing changed" if that is so.
    pub fn words(&self) -> String {
        let parts: Vec<String> = [
            (self.added.len(), "added"),
            (self.changed.len(), "changed"),
            (self.removed.len(), "removed"),
            (self.broken.len(), "broken"),
            (self.mended.len(), "mended"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .chain(self.settings_changed.then(|| "settings changed".to_string()))
        .collect();
        match (parts.is_empty(), self.is_new) {
            (false, _) => parts.join(", "),
            (true, true) => "no job changed".into(),
            (true, false) => "nothing changed".into(),
        }
    }
}
