use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::event::{Entry, Memory};
use crate::model::{JobName, TriggeredBy};
use crate::spec::JobSpec;
use crate::trigger::{self, Armed, Chain, Closed, DueTimes};

/// A job in the engine.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub name: JobName,
    pub spec: Arc<JobSpec>,
    pub times: Box<[(TriggeredBy, Arc<dyn DueTimes>)]>,
    pub after: Option<Arc<Chain>>,
    pub closed: Option<Arc<dyn Closed>>,
    /// Where the grid of the job's interval begins: at the last due time of it, else a step before the first.
    pub anchor: Timestamp,
    /// The last due time of its interval.
    pub interval_due: Option<Timestamp>,
    /// Every due time up to here is accounted for.
    pub handled: Timestamp,
    /// The last due time that was accounted for, if there was one.
    pub last_due: Option<Timestamp>,
    /// The next due time, as it stands in the queue.
    pub next: Option<Timestamp>,
    pub pause: Option<Pause>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pause {
    pub until: Option<Timestamp>,
}

impl Pause {
    /// Whether its end has come.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// Due times that have passed and are not accounted for, of one trigger.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passed {
    pub triggered_by: TriggeredBy,
    pub first: Timestamp,
    pub newest: Timestamp,
    pub count: u64,
    /// There are more than were counted.
    pub is_capped: bool,
}

impl Passed {
    /// Takes in others that came later.
    pub fn extend(&mut self, later: Self) {
        self.newest = later.newest;
        self.count += later.count;
        self.is_capped |= later.is_capped;
    }
}

/// How many due times are counted one by one. A job that is due each second and rests for a month has more; counting them all
/// would hold up everybody else.
pub(super) const MOST_COUNTED: u64 = 10_000;

impl Job {
    /// Takes a job in, its due times accounted for up to `handled`. Also says whether it fires when the runner starts, and
    /// gives back what the records know of it.
    pub fn new(entry: Entry, handled: Timestamp) -> (Self, bool, Memory) {
        let mut at_start = false;
        let mut after = None;
        let mut times = Vec::with_capacity(entry.armed.len());
        for (by, armed) in entry.armed {
            match armed {
                Armed::Times(due) => times.push((by, due)),
                Armed::AtStart => at_start = true,
                Armed::AtEnds(chain) => after = Some(chain),
                // What has arrived is told by its backlog.
                Armed::AtFiles(_) => {}
            }
        }
        let shift = trigger::spread(&entry.name, entry.spec.policies.jitter);
        // The grid goes on from a due time whose run waited as well.
        let owed = entry.memory.owed.iter().filter(|owed| owed.triggered_by == TriggeredBy::Interval);
        let interval_due = entry.memory.interval_due.max(owed.map(|owed| owed.due).max());
        let job = Self {
            anchor: trigger::anchor(entry.first_loaded, interval_due, shift),
            interval_due,
            name: entry.name,
            spec: entry.spec,
            times: times.into(),
            after,
            closed: entry.closed,
            handled,
            last_due: None,
            next: None,
            pause: None,
        };
        (job, at_start, entry.memory)
    }

    /// The next due time of all triggers after what is accounted for.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.times.iter().filter_map(|(_, times)| times.next_after(self.handled, self.anchor)).min()
    }

    /// Whether a trigger of that kind is due at that moment.
    pub fn is_due_at(&self, by: TriggeredBy, time: Timestamp) -> bool {
        let before = time - SignedDuration::from_nanos(1);
        self.times.iter().any(|(own, times)| *own == by && times.next_after(before, self.anchor) == Some(time))
    }

    /// Why due times at that moment are passed over.
    pub fn closed_at(&self, time: Timestamp) -> Option<Arc<str>> {
        self.closed.as_ref()?.reason_at(time)
    }

    /// What has passed and is not accounted for, of each trigger.
    pub fn passed(&self, now: Timestamp) -> Vec<Passed> {
        self.times
            .iter()
            .filter_map(|(by, times)| {
                let first = times.next_after(self.handled, self.anchor).filter(|first| *first <= now)?;
                // Mostly there is just the one.
                let (count, counted_to) = match times.next_after(first, self.anchor) {
                    Some(second) if second <= now => {
                        times.count_between(self.handled, now, self.anchor, MOST_COUNTED)?
                    }
                    _ => (1, first),
                };
                let newest = newest_until(&**times, counted_to, now, self.anchor);
                Some(Passed { triggered_by: *by, first, newest, count, is_capped: newest > counted_to })
            })
            .collect()
    }

    /// The first due time of a trigger after a time.
    pub fn next_of(&self, by: TriggeredBy, after: Timestamp) -> Option<Timestamp> {
        self.times.iter().filter(|(own, _)| *own == by).find_map(|(_, times)| times.next_after(after, self.anchor))
    }

    /// The due times of a trigger from `first`, which is one, up to `until`, of which no more than `most` are counted.
    pub fn part(&self, by: TriggeredBy, first: Timestamp, until: Timestamp, most: u64) -> Passed {
        let alone = Passed { triggered_by: by, first, newest: first, count: 1, is_capped: false };
        let Some((_, times)) = self.times.iter().find(|(own, _)| *own == by) else { return alone };
        let before = first - SignedDuration::from_nanos(1);
        let Some((count, counted_to)) = times.count_between(before, until, self.anchor, most) else { return alone };
        let newest = newest_until(&**times, counted_to, until, self.anchor);
        Passed { newest, count, is_capped: newest > counted_to, ..alone }
    }

    /// Takes note that everything up to `now` is accounted for.
    pub fn account(&mut self, passed: &[Passed], now: Timestamp) {
        for passed in passed {
            if passed.triggered_by == TriggeredBy::Interval {
                self.interval_due = self.interval_due.max(Some(passed.newest));
                self.anchor = self.anchor.max(passed.newest);
            }
            self.last_due = self.last_due.max(Some(passed.newest));
        }
        self.handled = self.handled.max(now);
    }

    /// The due times of a trigger that have passed, one by one and in order, but no more than the newest `most`.
    pub fn newest_of(&self, passed: &Passed, most: u64) -> Vec<Timestamp> {
        let Some((_, times)) = self.times.iter().find(|(by, _)| *by == passed.triggered_by) else { return Vec::new() };
        if most == 1 {
            return vec![passed.newest];
        }
        let mut from = passed.first;
        if passed.count > most || passed.is_capped {
            // By halving: a time from which on there are no more than `most`, and not many fewer.
            let (mut too_early, mut late_enough) = (passed.first, passed.newest);
            while late_enough.duration_since(too_early) > SignedDuration::from_millis(1) {
                let middle = too_early + late_enough.duration_since(too_early) / 2;
                let before = middle - SignedDuration::from_nanos(1);
                let count = times.count_between(before, passed.newest, self.anchor, most + 1).map_or(0, |(n, _)| n);
                match count > most {
                    true => too_early = middle,
                    false => late_enough = middle,
                }
            }
            from = late_enough;
        }
        let mut found = Vec::new();
        let mut at = from - SignedDuration::from_nanos(1);
        while let Some(due) = times.next_after(at, self.anchor)
            && due <= passed.newest
        {
            found.push(due);
            at = due;
        }
        found
    }

    /// The last due time of a trigger before its newest one, where there are several.
    pub fn last_before(&self, passed: &Passed, time: Timestamp) -> Timestamp {
        let of_trigger = self.times.iter().find(|(by, _)| *by == passed.triggered_by);
        let before = time - SignedDuration::from_nanos(1);
        of_trigger.map_or(passed.first, |(_, times)| newest_until(&**times, passed.first, before, self.anchor))
    }
}

/// The last due time at or before `until`, of which `known` is one: found by halving, however many there are between.
pub(super) fn newest_until(times: &dyn DueTimes, known: Timestamp, until: Timestamp, anchor: Timestamp) -> Timestamp {
    let (mut newest, mut none_after) = (known, until);
    while let Some(next) = times.next_after(newest, anchor)
        && next <= none_after
    {
        newest = next;
        let middle = newest + none_after.duration_since(newest) / 2;
        match times.next_after(middle, anchor) {
            Some(due) if due <= none_after => newest = due,
            _ => none_after = middle,
        }
    }
    newest
}
