//! What the records say about one moment of a job.

use std::collections::HashSet;
use std::io;

use jiff::Timestamp;

use super::asked::Reason;
use crate::model::{GapKind, JobName, RunId, rfc3339};
use crate::record::{End, GapLine, Layout, Line, Start, each_backwards};

/// What became of a due time.
#[derive(Debug, Clone)]
pub(super) enum Told {
    Ran(Box<End>),
    /// It has a start and no end.
    Started(Box<Start>),
    Passed(GapKind, Box<GapLine>),
}

impl Told {
    pub fn due(&self) -> Timestamp {
        match self {
            Self::Ran(end) => end.due,
            Self::Started(start) => start.due,
            Self::Passed(_, gap) => gap.until,
        }
    }

    /// Whether one of the reasons tells of it already.
    pub fn stands_in(&self, reasons: &[Reason]) -> bool {
        let run = match self {
            Self::Ran(end) => Some(end.run),
            Self::Started(start) => Some(start.run),
            Self::Passed(..) => None,
        };
        reasons.iter().any(|reason| match (self, run) {
            (Self::Passed(_, gap), _) => {
                let data = &reason.data;
                let is_due = data.get("due").is_some_and(|due| *due == rfc3339(gap.due));
                is_due && data.get("reason").is_some_and(|reason| *reason == gap.reason)
            }
            (_, Some(run)) => {
                matches!(reason.kind, "run" | "running" | "cut_short")
                    && reason.data.get("run").is_some_and(|there| *there == run.to_string())
            }
            (_, None) => false,
        })
    }
}

/// What was found about a moment, and about a due time.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// A run that was due or under way at the moment.
    pub covering: Option<Told>,
    /// What became of the due time.
    pub of_due: Option<Told>,
    /// What was due last at the moment, by the records.
    pub before: Option<Told>,
    /// All that was due at the moment, the newest first.
    pub due_then: Vec<Told>,
}

/// Looks through a job's records. `at` is a span: a person who names a second means all of it.
pub(super) fn look(
    layout: &Layout,
    job: &JobName,
    at: (Timestamp, Timestamp),
    due: Option<Timestamp>,
) -> io::Result<Found> {
    let mut found = Found::default();
    let mut ended: HashSet<RunId> = HashSet::new();
    let oldest = due.map_or(at.0, |due| due.min(at.0));
    let is_due = |time: Timestamp| due.is_some_and(|due| same_instant(time, due));
    // The newest line names the runs that have no end: their starts may stand far back.
    let mut active: Option<HashSet<RunId>> = None;
    each_backwards(layout, job, |line| {
        let active = active.get_or_insert_with(|| line.state().running.iter().copied().collect());
        if let Line::Start(start) = &line {
            active.remove(&start.run);
        }
        let (told, from, to) = match line {
            Line::End(end) => {
                ended.insert(end.run);
                let (from, to) = (end.due.min(end.started), end.ended);
                (Told::Ran(Box::new(end)), from, to)
            }
            Line::Start(start) if !ended.contains(&start.run) => {
                ended.insert(start.run);
                let from = start.due.min(start.started);
                (Told::Started(Box::new(start)), from, Timestamp::MAX)
            }
            Line::Skipped(gap) => in_gap(GapKind::Skipped, gap),
            Line::Missed(gap) => in_gap(GapKind::Missed, gap),
            // What ended without a line of its own yet is told by its start, further back.
            Line::Attempt(_) | Line::Start(_) => return true,
        };
        let is_gap = matches!(told, Told::Passed(..));
        let is_then = |time: Timestamp| at.0 <= time && time <= at.1;
        if is_then(told.due()) || is_gap && is_then(from) {
            found.due_then.push(told.clone());
        }
        let is_of_due = if is_gap { due.is_some_and(|due| from <= due && due <= to) } else { is_due(told.due()) };
        // A streak says from when to when; a run says of itself which due time it was.
        let is_surer = !is_gap && matches!(found.of_due, Some(Told::Passed(..)));
        if is_of_due && (found.of_due.is_none() || is_surer) {
            found.of_due = Some(told.clone());
        }
        let later = |known: &Option<Told>| known.as_ref().is_none_or(|known| known.due() < told.due());
        if !is_gap && from <= at.1 && to >= at.0 && later(&found.covering) {
            found.covering = Some(told.clone());
        }
        let wanted = found.before.is_none() || to >= oldest || !active.is_empty();
        if from <= at.1 && later(&found.before) {
            found.before = Some(told);
        }
        wanted
    })?;
    Ok(found)
}

fn in_gap(kind: GapKind, gap: GapLine) -> (Told, Timestamp, Timestamp) {
    let (from, to) = (gap.due, gap.until);
    (Told::Passed(kind, Box::new(gap)), from, to)
}

/// Records have milliseconds, due times may have more.
pub(super) fn same_instant(a: Timestamp, b: Timestamp) -> bool {
    a.as_millisecond() == b.as_millisecond()
}

/// The record of one run.
pub(super) fn of_run(layout: &Layout, job: &JobName, run: RunId) -> io::Result<Option<Told>> {
    let mut found = None;
    each_backwards(layout, job, |line| {
        found = match line {
            Line::End(end) if end.run == run => Some(Told::Ran(Box::new(end))),
            Line::Start(start) if start.run == run => Some(Told::Started(Box::new(start))),
            _ => None,
        };
        found.is_none()
    })?;
    Ok(found)
}

/// Since when a job's due times have been passed over for this reason, without another record between, as seen from that time.
pub(super) fn since(layout: &Layout, job: &JobName, reason: &str, at: Timestamp) -> Option<Timestamp> {
    let mut first = None;
    let _ = each_backwards(layout, job, |line| match line {
        Line::Skipped(gap) if gap.reason == reason => {
            if gap.due <= at {
                first = Some(gap.due);
            }
            true
        }
        // A run by hand does not end a pause.
        Line::Start(_) | Line::Attempt(_) | Line::End(_) => true,
        Line::Skipped(_) | Line::Missed(_) => first.is_none(),
    });
    first
}
