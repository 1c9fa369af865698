use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;

use super::machine::Engine;
use crate::model::{Firing, JobName, Parent, TriggeredBy};
use crate::trigger::{Chain, Parents};

/// Which job waits for which, and which ends have come that a job has not fired for.
#[derive(Debug, Clone, Default)]
pub(super) struct Chains {
    by_parent: HashMap<JobName, BTreeSet<JobName>>,
    parents_of: HashMap<JobName, Vec<JobName>>,
    /// Jobs that wait for any that matches.
    patterns: BTreeSet<JobName>,
    arrived: HashMap<JobName, BTreeMap<JobName, Arrival>>,
}

/// The end of a run that a chain waited for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Arrival {
    pub parent: Parent,
    /// The jobs through which it came, the parent being the last.
    pub path: Vec<JobName>,
    pub at: Timestamp,
}

impl Arrival {
    /// The end of a run that was fired so.
    pub fn new(parent: Parent, path: &[JobName], at: Timestamp) -> Self {
        let path = path.iter().chain([&parent.job]).cloned().collect();
        Self { parent, path, at }
    }
}

impl Chains {
    /// A job's chain is in force from now on; what has arrived for it stays as far as it still waits for it.
    pub fn put(&mut self, job: &JobName, chain: Option<&Chain>) {
        self.unlink(job);
        match chain.map(|chain| &chain.parents) {
            Some(Parents::All(parents)) => {
                for parent in parents {
                    self.by_parent.entry(parent.clone()).or_default().insert(job.clone());
                }
                self.parents_of.insert(job.clone(), parents.clone());
                if let Some(arrived) = self.arrived.get_mut(job) {
                    arrived.retain(|parent, _| parents.contains(parent));
                }
            }
            Some(Parents::Any(_)) => {
                self.patterns.insert(job.clone());
                self.arrived.remove(job);
            }
            None => {
                self.arrived.remove(job);
            }
        }
    }

    pub fn remove(&mut self, job: &JobName) {
        self.unlink(job);
        self.arrived.remove(job);
    }

    fn unlink(&mut self, job: &JobName) {
        self.patterns.remove(job);
        for parent in self.parents_of.remove(job).into_iter().flatten() {
            if let Some(children) = self.by_parent.get_mut(&parent) {
                children.remove(job);
                if children.is_empty() {
                    self.by_parent.remove(&parent);
                }
            }
        }
    }

    /// The jobs that may wait for this one.
    pub fn children_of(&self, parent: &JobName) -> Vec<JobName> {
        let by_name = self.by_parent.get(parent).into_iter().flatten();
        by_name.chain(&self.patterns).cloned().collect()
    }

    /// An end has come that `job` waits for. Returns those that make it due, once all are there.
    pub fn arrive(&mut self, job: &JobName, chain: &Chain, arrival: Arrival) -> Option<Vec<Arrival>> {
        let Parents::All(parents) = &chain.parents else { return Some(vec![arrival]) };
        let arrived = self.arrived.entry(job.clone()).or_default();
        arrived.insert(arrival.parent.job.clone(), arrival);
        if !parents.iter().all(|parent| arrived.contains_key(parent)) {
            return None;
        }
        let mut arrived = self.arrived.remove(job)?;
        Some(parents.iter().filter_map(|parent| arrived.remove(parent)).collect())
    }

    /// What has come for a job, the earliest first, while others are awaited.
    pub fn arrived(&self, job: &str) -> Vec<(Parent, Timestamp)> {
        let arrived = self.arrived.get(job).into_iter().flat_map(BTreeMap::values);
        let mut found: Vec<_> = arrived.map(|arrival| (arrival.parent.clone(), arrival.at)).collect();
        found.sort_by_key(|(_, at)| *at);
        found
    }

    /// The clock was wrong: nothing has arrived after now.
    pub fn correct(&mut self, now: Timestamp) {
        for arrival in self.arrived.values_mut().flat_map(BTreeMap::values_mut) {
            arrival.at = arrival.at.min(now);
        }
    }
}

impl Engine {
    /// The ends that have come for a job's chain, the earliest first, while it awaits others.
    pub fn arrived(&self, job: &str) -> Vec<(Parent, Timestamp)> {
        self.chains.arrived(job)
    }

    /// These ends came before the engine was there. None of them makes the job due by itself.
    pub(super) fn note_arrived(&mut self, job: &JobName, arrived: Vec<(Parent, Timestamp)>) {
        let Some(chain) = self.job(job).and_then(|job| job.after.clone()) else { return };
        for (parent, at) in arrived {
            if chain.waits_for(&parent.job, job) {
                self.chains.arrive(job, &chain, Arrival::new(parent, &[], at));
            }
        }
    }
}

/// The firing that these ends make, due when the last of them came.
pub(super) fn firing(job: &JobName, arrivals: Vec<Arrival>) -> Option<Firing> {
    let due = arrivals.iter().map(|arrival| arrival.at).max()?;
    let mut path: Vec<JobName> = Vec::new();
    for name in arrivals.iter().flat_map(|arrival| &arrival.path) {
        if !path.contains(name) {
            path.push(name.clone());
        }
    }
    let parents = arrivals.into_iter().map(|arrival| arrival.parent).collect();
    Some(Firing { parents, path, ..Firing::new(job.clone(), TriggeredBy::After, due) })
}

/// Why a chain does not go on, where it has come back to the job.
pub(super) fn comes_back(firing: &Firing) -> Option<String> {
    let first = firing.path.iter().position(|name| *name == firing.job)?;
    let names: Vec<&str> = firing.path[first..].iter().chain([&firing.job]).map(JobName::as_str).collect();
    Some(format!("the chain came back to it: {}", names.join(" -> ")))
}
