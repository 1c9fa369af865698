//! What the logs know of a job that the engine needs when it takes the job in.

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
#[derive(Debug, Clone, Copy)]
pub struct Taken<'a> {
    pub name: &'a JobName,
    pub first_loaded: Timestamp,
    pub armed: &'a [(TriggeredBy, Armed)],
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
    let chain = job.armed.iter().find_map(|(_, armed)| match armed {
        Armed::AtEnds(chain) => Some(chain),
        _ => None,
    });
    let arrived = chain.map(|chain| arrived(records, job, chain, all)).unwrap_or_default();
    Memory { owed, arrived, ..of_job(records, job.name) }
}

fn arrived<'a>(
    records: &Records,
    job: Taken<'_>,
    chain: &Chain,
    all: impl Iterator<Item = &'a JobName>,
) -> Vec<(Parent, Timestamp)> {
    let fired = records.due_state(job.name).after_due;
    let since = fired.unwrap_or(job.first_loaded).max(job.first_loaded);
    let is_news = |end: &End| end.ended > since && chain.when.is_met_by(end.status);
    let parents: Vec<&JobName> = match &chain.parents {
        Parents::All(names) => names.iter().collect(),
        Parents::Any(_) => all.filter(|name| chain.waits_for(name, job.name)).collect(),
    };
    let mut found = Vec::new();
    for parent in parents {
        let Some(last) = records.summary(parent).last.filter(|last| last.ended > since) else { continue };
        // One of several parents may have ended otherwise since. Of any that match the last one is enough.
        let ends = match chain.parents {
            Parents::All(_) => ends_after(&records.layout, parent, since, MOST_ENDS).unwrap_or_default(),
            Parents::Any(_) => vec![End::clone(&last)],
        };
        found.extend(ends.into_iter().filter(is_news).map(|end| {
            let parent = Parent { job: parent.clone(), run: end.run, status: end.status };
            (parent, end.ended)
        }));
    }
    found.sort_by_key(|(_, ended)| *ended);
    found
}
