//! What the logs know of a job that the engine needs when it takes the job in.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::engine::{Memory, Owed};
use crate::model::{JobName, Parent, TriggeredBy};
use crate::record::{End, Records, WaitingRun, ends_after};
use crate::trigger::{Armed, Chain, Parents};

/// How far back a parent's records are gone through at a start.
const MOST_ENDS: usize = 1_000;

/// What the records say of the job by themselves.
pub fn of_job(records: &Records, job: &JobName) -> Memory {
    let due = records.due_state(job);
    Memory {
        interval_due: due.interval_due,
        last_due: due.last_due,
        failed_in_row: due.failed_in_row,
        failed_at: due.failed_at,
        ..Memory::default()
    }
}

/// A job that is taken in at a start.
#[derive(Debug, Clone)]
pub struct Taken<'a> {
    pub name: &'a JobName,
    /// Since when its chain is in force; absent where it is new at this start.
    pub chain_since: Option<Timestamp>,
    pub armed: &'a [(TriggeredBy, Armed)],
    /// When its runs were due that the crash cut short, and their parents.
    pub cut_short: Vec<(Timestamp, Vec<Parent>)>,
}

/// At a start also: runs that waited, and ends of parents that the job's chain has not fired for. `all`: the jobs that are
/// there.
pub fn at_start<'a>(
    records: &Records,
    job: Taken<'_>,
    waiting: impl IntoIterator<Item = WaitingRun>,
    all: impl Iterator<Item = &'a JobName>,
) -> Memory {
    let owed = |WaitingRun { run, triggered_by, due }| Owed { run, triggered_by, due };
    let mut owed: Vec<Owed> = waiting.into_iter().map(owed).collect();
    owed.sort_by_key(|owed| (owed.due, owed.run));
    let chain = chain_of(job.armed);
    let arrived = chain.map(|chain| arrived(records, &job, chain, all)).unwrap_or_default();
    // A waiting run of the chain that no record tells of is among the ends that it has not fired for.
    let fired = records.due_state(job.name).after_due;
    if chain.is_some() {
        owed.retain(|owed| owed.triggered_by != TriggeredBy::After || fired.is_some_and(|fired| owed.due <= fired));
    }
    Memory { owed, arrived, cut_short: job.cut_short, ..of_job(records, job.name) }
}

/// The ends that have come for a job's chain, while it awaits others, by the records alone.
pub fn still_there<'a>(
    records: &Records,
    job: &Taken<'_>,
    all: impl Iterator<Item = &'a JobName>,
) -> Vec<(Parent, Timestamp)> {
    let Some(chain) = chain_of(job.armed) else { return Vec::new() };
    let Parents::All(parents) = &chain.parents else { return Vec::new() };
    let mut there: BTreeMap<JobName, (Parent, Timestamp)> = BTreeMap::new();
    for (parent, at) in arrived(records, job, chain, all) {
        there.insert(parent.job.clone(), (parent, at));
        if parents.iter().all(|parent| there.contains_key(parent)) {
            there.clear();
        }
    }
    let mut there: Vec<(Parent, Timestamp)> = there.into_values().collect();
    there.sort_by_key(|(_, at)| *at);
    there
}

fn chain_of(armed: &[(TriggeredBy, Armed)]) -> Option<&Chain> {
    armed.iter().find_map(|(_, armed)| match armed {
        Armed::AtEnds(chain) => Some(&**chain),
        _ => None,
    })
}

fn arrived<'a>(
    records: &Records,
    job: &Taken<'_>,
    chain: &Chain,
    all: impl Iterator<Item = &'a JobName>,
) -> Vec<(Parent, Timestamp)> {
    let Some(in_force) = job.chain_since else { return Vec::new() };
    let since = records.due_state(job.name).after_due.unwrap_or(in_force).max(in_force);
    let is_news = |end: &End| end.ended > since && chain.when.is_met_by(end.status);
    let parents: Vec<&JobName> = match &chain.parents {
        Parents::All(names) => names.iter().collect(),
        Parents::Any(_) => all.filter(|name| chain.waits_for(name, job.name)).collect(),
    };
    let mut found = Vec::new();
    for parent in parents {
        if records.summary(parent).last.is_none_or(|last| last.ended <= since) {
            continue;
        }
        let ends = match ends_after(&records.layout, parent, since, MOST_ENDS) {
            Ok(ends) => ends,
            Err(error) => {
                tracing::error!(target: "record", "{parent}: the records cannot be searched: {error}");
                continue;
            }
        };
        found.extend(ends.into_iter().filter(is_news).map(|end| {
            let parent = Parent { job: parent.clone(), run: end.run, status: end.status };
            (parent, end.ended)
        }));
    }
    found.sort_by_key(|(_, ended)| *ended);
    found
}
