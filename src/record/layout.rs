use std::path::{Path, PathBuf};

use crate::model::JobName;

/// Where everything lies below the logs directory.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// `root` is the logs directory, resolved.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory above all jobs' directories.
    pub fn jobs(&self) -> PathBuf {
        self.root.join("jobs")
    }

    pub fn job(&self, job: &JobName) -> PathBuf {
        self.root.join("jobs").join(job.as_str())
    }

    pub fn runs(&self, job: &JobName) -> PathBuf {
        self.job(job).join("runs.log")
    }

    pub fn output(&self, job: &JobName) -> PathBuf {
        self.job(job).join("output.log")
    }

    /// What a watch knows of its files.
    pub fn ledger(&self, job: &JobName) -> PathBuf {
        self.job(job).join("ledger.log")
    }

    pub fn runner_log(&self) -> PathBuf {
        self.root.join("runner.log")
    }

    pub fn lock(&self) -> PathBuf {
        self.root.join("runner.lock")
    }

    pub fn socket(&self) -> PathBuf {
        self.root.join("runner.sock")
    }

    pub fn last_good(&self) -> PathBuf {
        self.root.join("last-good.jsonl")
    }

    pub fn paused(&self) -> PathBuf {
        self.root.join("paused.json")
    }

    pub fn pending(&self) -> PathBuf {
        self.root.join("pending.json")
    }

    /// All jobs' directories that hold a log, with the names that they stand for.
    pub fn job_directories(&self) -> Vec<JobName> {
        let mut found = Vec::new();
        collect(&self.jobs(), "", &mut found);
        found.sort();
        found
    }
}

fn collect(directory: &Path, prefix: &str, found: &mut Vec<JobName>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    let mut has_log = false;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        has_log |= ["runs.log", "output.log", "ledger.log"].iter().any(|log| name.starts_with(log));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let below = if prefix.is_empty() { name.to_string() } else { format!("{prefix}/{name}") };
            collect(&entry.path(), &below, found);
        }
    }
    if has_log && let Ok(name) = JobName::new(prefix) {
        found.push(name);
    }
}
