//! From local times to instants: what happens when the clock is moved.
//!
//! A zone is a row of segments: from one transition to the next the clock runs evenly, at one offset. The walk goes
//! from segment to segment and remembers how far the clock has already shown (`shown`). A segment that begins later
//! than that has jumped over a gap, one that begins earlier repeats what has been seen. So gaps and overlaps of any
//! length, and several within a day, need no case of their own.
//!
//! The rule is Vixie cron's, as section 4 of the design words it: where the hour field begins with `*`, due times follow
//! the clock as it shows (nothing for the gap, both passes of an overlap); all others come due once: those in a gap
//! together at its end, those in an overlap in the first pass.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::local::{Local, LocalTimes};

/// Offsets stay within 26 hours, so what the clock showed longer ago than this cannot come again.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(72);

/// The first due time strictly after `after`.
pub(super) fn next_after(
    times: &LocalTimes,
    follows_clock: bool,
    after: Timestamp,
    zone: &TimeZone,
) -> Option<Timestamp> {
    let first_second = floor(after) + 1;
    let look_back = if follows_clock { SignedDuration::ZERO } else { LOOK_BACK };
    let origin = after.saturating_sub(look_back).ok()?;
    let mut search = Search { times, known: None };
    let mut transitions = zone.following(origin);
    let mut start = floor(origin);
    let mut offset = i64::from(zone.to_offset(origin).seconds());
    let mut shown = start + offset;
    loop {
        let next = transitions.next();
        let end = next.as_ref().map_or(i64::MAX, |next| floor(next.timestamp()));
        if end > first_second {
            // A gap before this segment; where there is none, nothing lies between `shown` and the segment's begin.
            let gap = !follows_clock && start >= first_second;
            if gap && search.first(shown)? < start + offset {
                return Timestamp::from_second(start).ok();
            }
            let mut from = start.max(first_second) + offset;
            if !follows_clock {
                from = from.max(shown);
            }
            let due = search.first(from)? - offset;
            if due < end {
                return Timestamp::from_second(due).ok();
            }
        }
        shown = shown.max(end.saturating_add(offset));
        start = end;
        offset = i64::from(next?.offset().seconds());
    }
}

/// Asks for local times and remembers the last answer: most questions differ by a transition that changes nothing.
struct Search<'a> {
    times: &'a LocalTimes,
    /// Nothing from the first up to the second, which is a local time of the expression.
    known: Option<(Local, Local)>,
}

impl Search<'_> {
    fn first(&mut self, from: Local) -> Option<Local> {
        if let Some((asked, found)) = self.known
            && (asked..=found).contains(&from)
        {
            return Some(found);
        }
        let found = self.times.first(from)?;
        self.known = Some((from, found));
        Some(found)
    }
}

/// Whole seconds, rounded down also before 1970.
fn floor(time: Timestamp) -> i64 {
    time.as_second() - i64::from(time.subsec_nanosecond() < 0)
}
