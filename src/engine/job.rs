use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::event::Entry;
use crate::model::{JobName, TriggeredBy};
use crate::spec::JobSpec;
use crate::trigger::{Armed, DueTimes};

/// A job in the engine.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub name: JobName,
    pub spec: Arc<JobSpec>,
    pub times: Box<[(TriggeredBy, Arc<dyn DueTimes>)]>,
    /// Where the grid of the job's interval begins.
    pub anchor: Timestamp,
    /// Every due time up to here is accounted for.
    pub handled: Timestamp,
    /// The next due time, as it stands in the queue.
    pub next: Option<Timestamp>,
    pub pause: Option<Pause>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pause {
    pub until: Option<Timestamp>,
}

/// Due times that have passed and are not accounted for, of one trigger.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passed {
    pub triggered_by: TriggeredBy,
    pub first: Timestamp,
    pub newest: Timestamp,
    pub count: u64,
}

/// How many due times are counted one by one. A job that is due each second and rests for a month has more; counting them all
/// would hold up everybody else.
pub(super) const MOST_COUNTED: u64 = 10_000;

impl Job {
    /// Takes a job in, its due times accounted for up to `handled`. Also says whether it fires when the runner starts.
    pub fn new(entry: Entry, handled: Timestamp) -> (Self, bool) {
        let at_start = entry.armed.iter().any(|(_, armed)| matches!(armed, Armed::AtStart));
        let times = entry
            .armed
            .into_iter()
            .filter_map(|(by, armed)| match armed {
                Armed::Times(times) => Some((by, times)),
                Armed::AtStart => None,
            })
            .collect();
        let anchor = entry.interval_due.unwrap_or(entry.first_loaded);
        (Self { name: entry.name, spec: entry.spec, times, anchor, handled, next: None, pause: None }, at_start)
    }

    /// The next due time of all triggers after what is accounted for.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.times.iter().filter_map(|(_, times)| times.next_after(self.handled, self.anchor)).min()
    }

    /// What has passed and is not accounted for, of each trigger.
    pub fn passed(&self, now: Timestamp) -> Vec<Passed> {
        self.times
            .iter()
            .filter_map(|(by, times)| {
                let first = times.next_after(self.handled, self.anchor).filter(|first| *first <= now)?;
                // Mostly there is just the one.
                let (count, mut newest) = match times.next_after(first, self.anchor) {
                    Some(second) if second <= now => {
                        times.count_between(self.handled, now, self.anchor, MOST_COUNTED)?
                    }
                    _ => (1, first),
                };
                if count >= MOST_COUNTED {
                    // The count stopped short of now: what may still run is looked for within the grace alone.
                    let grace =
                        SignedDuration::try_from(self.spec.policies.misfire_grace.0).unwrap_or(SignedDuration::ZERO);
                    let from = now.checked_sub(grace + SignedDuration::from_nanos(1)).unwrap_or(newest).max(newest);
                    if let Some((_, later)) = times.count_between(from, now, self.anchor, MOST_COUNTED) {
                        newest = later;
                    }
                }
                Some(Passed { triggered_by: *by, first, newest, count })
            })
            .collect()
    }

    /// Takes note that everything up to `now` is accounted for.
    pub fn account(&mut self, passed: &[Passed], now: Timestamp) {
        for passed in passed {
            if passed.triggered_by == TriggeredBy::Interval {
                self.anchor = self.anchor.max(passed.newest);
            }
        }
        self.handled = self.handled.max(now);
    }

    /// The last due time of a trigger before `due`, if it lies after what is accounted for.
    pub fn last_before(&self, by: TriggeredBy, due: Timestamp) -> Option<Timestamp> {
        let (_, times) = self.times.iter().find(|(other, _)| *other == by)?;
        let until = due - SignedDuration::from_nanos(1);
        times.count_between(self.handled, until, self.anchor, MOST_COUNTED).map(|(_, last)| last)
    }
}
