use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

/// The instant of a wall-clock time: of one that the clock skips the first one after the gap, of one that it shows twice the
/// first pass.
///
/// # Errors
/// It lies outside the years that can be told.
pub fn first_instant(zone: &TimeZone, local: DateTime) -> Result<Timestamp, jiff::Error> {
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Gap { before, .. } => {
            let late = before.to_timestamp(local)?;
            Ok(zone.preceding(late + SignedDuration::from_nanos(1)).next().map_or(late, |t| t.timestamp()))
        }
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local),
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local),
    }
}
