//! Times that people name on the command line.

use jiff::Timestamp;
use jiff::tz::{AmbiguousOffset, TimeZone};

use super::context::Context;
use super::error::CliError;
use super::output::local_with_zone;
use crate::trigger::Moment;

/// A time from the command line: with an offset or a zone, or in the runner's zone; a date alone is its midnight.
pub(super) struct Named {
    pub at: Timestamp,
    /// No clock of the zone shows the time that was named: it is the first instant after the gap.
    pub is_in_gap: bool,
}

impl Named {
    /// Says on standard error how it is read, where the clock skips it.
    pub fn read(text: &str, context: &Context) -> Result<Self, CliError> {
        let not_a_time = || {
            CliError::usage(format!("`{text}` is not a time"))
                .help("write 2026-12-24T18:00:00, 2026-12-24, or with a zone 2026-12-24T17:00:00Z or 2026-12-24T18:00:00[Asia/Tokyo]")
        };
        let moment = Moment::parse(text).ok_or_else(not_a_time)?;
        let zone = super::ask::zone(context);
        let at = moment.instant(&zone).map_err(|_| not_a_time())?;
        let is_in_gap = match moment {
            Moment::Local(local) => {
                matches!(zone.to_ambiguous_timestamp(local).offset(), AmbiguousOffset::Gap { .. })
            }
            Moment::Exact(_) => false,
        };
        if is_in_gap {
            anstream::eprintln!("note: {}", words(text, at, &zone));
        }
        Ok(Self { at, is_in_gap })
    }
}

/// The same where it does not matter whether the clock skips it.
pub(super) fn time(text: &str, context: &Context) -> Result<Timestamp, CliError> {
    Named::read(text, context).map(|named| named.at)
}

fn words(text: &str, at: Timestamp, zone: &TimeZone) -> String {
    let name = zone.iana_name().unwrap_or("UTC");
    format!("{text} does not exist in {name}, whose clock skips it: it is read as {}", local_with_zone(at, zone))
}
