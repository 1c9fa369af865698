use std::borrow::Cow;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::local_time::Moment;
use super::{Armed, DueTimes, TriggerContext, TriggerKind};
use crate::model::{Fault, TriggeredBy};

/// One moment; afterwards the job is done.
///
/// Without an offset or zone of its own the time is meant in the job's zone: one that the clock skips is due at the first instant after the
/// gap, one that it shows twice at the first pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct At(pub String);

impl At {
    /// The moment, in whole milliseconds as the records hold it: else a restart would take it for one that is still to come.
    fn resolve(&self, zone: &TimeZone) -> Result<Timestamp, Fault> {
        let time = self.resolve_exactly(zone)?;
        Ok(Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time))
    }

    fn resolve_exactly(&self, zone: &TimeZone) -> Result<Timestamp, Fault> {
        let moment = Moment::parse(&self.0).ok_or_else(|| {
            Fault::error("", format!("`{}` is not a date and time", self.0)).help(
                "write it as `2026-12-24T18:00:00`; if another zone than the job's is meant, with `Z`, an offset such as `+01:00`, \
                 or a zone such as `[Asia/Tokyo]` behind it",
            )
        })?;
        moment
            .instant(zone)
            .map_err(|_| Fault::error("", format!("`{}` is outside the years that can be scheduled", self.0)))
    }
}

impl TriggerKind for At {
    fn triggered_by(&self) -> TriggeredBy {
        TriggeredBy::At
    }

    fn problems(&self, context: TriggerContext<'_>) -> Vec<Fault> {
        self.resolve(context.zone).err().into_iter().collect()
    }

    fn arm(&self, context: TriggerContext<'_>) -> Option<Armed> {
        self.resolve(context.zone).ok().map(|time| Armed::times(Once(time), context.shift))
    }

    fn has_an_end(&self) -> bool {
        true
    }

    fn words(&self, context: TriggerContext<'_>) -> String {
        match self.resolve(context.zone) {
            Ok(time) => {
                format!("once, {}", time.to_zoned(context.zone.clone()).strftime("%A %-d %B %Y at %H:%M:%S, %Q"))
            }
            Err(_) => String::new(),
        }
    }

    fn written(&self) -> Vec<String> {
        vec![format!("at {}", self.0)]
    }
}

#[derive(Debug)]
struct Once(Timestamp);

impl DueTimes for Once {
    fn next_after(&self, after: Timestamp, _anchor: Timestamp) -> Option<Timestamp> {
        (self.0 > after).then_some(self.0)
    }
}

impl JsonSchema for At {
    fn schema_name() -> Cow<'static, str> {
        "At".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "One moment, in the job's zone unless an offset or a zone stands behind it. Afterwards the job is done.",
            "type": "string",
            "minLength": 1,
            "x-expects": "a date and time such as \"2026-12-24T18:00:00\"",
            "examples": ["2026-12-24T18:00:00", "2026-12-24T18:00:00+01:00"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str, zone: &str) -> String {
        let zone = TimeZone::get(zone).unwrap();
        At(text.into()).resolve(&zone).map_or_else(|f| f.message, |t| t.to_string())
    }

    #[test]
    fn a_local_time_is_meant_in_the_zone_and_an_offset_wins() {
        assert_eq!(resolve("2026-07-01T12:00:00", "Europe/London"), "2026-07-01T11:00:00Z");
        assert_eq!(resolve("2026-07-01T12:00:00+02:00", "Europe/London"), "2026-07-01T10:00:00Z");
        assert_eq!(resolve("2026-07-01 12:00", "UTC"), "2026-07-01T12:00:00Z");
        assert_eq!(resolve("2026-07-01T12:00:00[Asia/Tokyo]", "UTC"), "2026-07-01T03:00:00Z");
        assert_eq!(
            resolve("2026-07-01T12:00:00+01:00[Asia/Tokyo]", "UTC"),
            "`2026-07-01T12:00:00+01:00[Asia/Tokyo]` is not a date and time"
        );
        assert_eq!(resolve("tomorrow", "UTC"), "`tomorrow` is not a date and time");
    }

    #[test]
    fn a_skipped_time_is_due_at_the_end_of_the_gap_and_a_repeated_one_at_the_first_pass() {
        assert_eq!(resolve("2026-03-29T01:20:00", "Europe/London"), "2026-03-29T01:00:00Z");
        assert_eq!(resolve("2026-10-25T01:30:00", "Europe/London"), "2026-10-25T00:30:00Z");
        assert_eq!(resolve("2011-12-30T08:00:00", "Pacific/Apia"), "2011-12-30T10:00:00Z");
    }
}
