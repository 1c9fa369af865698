//! What the logs know of a job that the engine needs when it takes the job in.

use std::collections::HashMap;

use jiff::Timestamp;

use super::pending::Waiting;
use crate::catalog::{Generation, Job};
use crate::engine::Memory;
use crate::model::{JobName, Parent, RunId, TriggeredBy};
use crate::record::{End, Records, ends_after};
use crate::trigger::{Armed, Chain, Parents};

/// How far back a parent's records are gone through at a start.
const MOST_ENDS: usize = 1_000;

/// What the records say of the job by themselves.
pub(super) fn of_job(records: &Records, job: &JobName) -> Memory {
    let due = records.due_state(job);
    Memory {
        interval_due: due.interval_due,
        last_due: due.last_due,
        failed_in_row: due.failed_in_row,
        failed_at: due.failed_at,
        ..Memory::default()
    }
}

/// At a start also: runs that waited, and ends of parents that the job's chain has not fired for.
pub(super) fn at_start(
    records: &Records,
    generation: &Generation,
    job: &Job,
    waiting: &mut HashMap<JobName, HashMap<RunId, Waiting>>,
) -> Memory {
    let mut owed: Vec<(TriggeredBy, Timestamp)> = waiting
        .remove(&job.name)
        .into_iter()
        .flat_map(HashMap::into_values)
        .map(|waiting| (waiting.triggered_by, waiting.due))
        .collect();
    owed.sort_by_key(|(_, due)| *due);
    let chain = job.armed.iter().find_map(|(_, armed)| match armed {
        Armed::AtEnds(chain) => Some(chain),
        _ => None,
    });
    let arrived = chain.map(|chain| arrived(records, generation, job, chain)).unwrap_or_default();
    Memory { owed, arrived, ..of_job(records, &job.name) }
}

fn arrived(records: &Records, generation: &Generation, job: &Job, chain: &Chain) -> Vec<(Parent, Timestamp)> {
    let fired = records.due_state(&job.name).after_due;
    let since = fired.unwrap_or(job.first_loaded).max(job.first_loaded);
    let is_news = |end: &End| end.ended > since && chain.when.is_met_by(end.status);
    let parents: Vec<&JobName> = match &chain.parents {
        Parents::All(names) => names.iter().collect(),
        Parents::Any(_) => {
            generation.jobs.iter().map(|job| &job.name).filter(|name| chain.waits_for(name, &job.name)).collect()
        }
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
