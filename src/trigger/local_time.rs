use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, Zoned};
use serde::{Deserialize, Serialize};

/// A moment as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Moment {
    /// What the clock shows in the zone of whoever asks.
    Local(DateTime),
    /// The text says itself where it is meant.
    Exact(Timestamp),
}

impl Moment {
    /// Reads `2026-12-24T18:00:00`; the seconds may be left out, and the time of the day. What says in which zone it is meant
    /// stands behind it: `Z`, an offset such as `+01:00`, a zone such as `[Asia/Tokyo]`, or an offset and the zone that has it
    /// then. Anything else is `None`: no part of the text is passed over.
    pub fn parse(text: &str) -> Option<Self> {
        let Some((time, zone)) = text.split_once('[') else {
            return local(text).map(Self::Local).or_else(|| text.parse().ok().map(Self::Exact));
        };
        let zone = TimeZone::get(zone.strip_suffix(']')?).ok().filter(|zone| !zone.is_unknown())?;
        match local(time) {
            Some(local) => first_instant(&zone, local).ok().map(Self::Exact),
            None => text.parse::<Zoned>().ok().map(|zoned| Self::Exact(zoned.timestamp())),
        }
    }

    /// The instant, where a local time is meant in this zone.
    ///
    /// # Errors
    /// It lies outside the years that can be told.
    pub fn instant(self, zone: &TimeZone) -> Result<Timestamp, jiff::Error> {
        match self {
            Self::Local(local) => first_instant(zone, local),
            Self::Exact(time) => Ok(time),
        }
    }
}

/// A date and time of the day, or the midnight of a date alone.
fn local(text: &str) -> Option<DateTime> {
    let date = date(text.get(..10)?)?;
    let time = match text.get(10..)? {
        "" => Time::midnight(),
        rest => time_of_day(rest.strip_prefix(['T', 't', ' '])?)?,
    };
    Some(date.to_datetime(time))
}

/// `2026-12-24` and nothing else.
pub(super) fn date(text: &str) -> Option<Date> {
    let has_shape = text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() });
    text.parse().ok().filter(|_| has_shape)
}

/// `18:00`, `18:00:00` or `18:00:00.5`, and nothing else.
pub(super) fn time_of_day(text: &str) -> Option<Time> {
    let is_part = |(at, byte): (usize, u8)| match at {
        2 | 5 => byte == b':',
        8 => byte == b'.',
        _ => byte.is_ascii_digit(),
    };
    let has_shape = (text.len() == 5 || text.len() >= 8) && text.bytes().enumerate().all(is_part);
    text.parse().ok().filter(|_| has_shape)
}

/// The instant of a wall-clock time: of one that the clock skips the first one after the gap, of one that it shows twice the
/// first pass.
///
/// # Errors
/// It lies outside the years that can be told.
pub(super) fn first_instant(zone: &TimeZone, local: DateTime) -> Result<Timestamp, jiff::Error> {
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Gap { before, .. } => {
            let late = before.to_timestamp(local)?;
            Ok(zone.preceding(late + SignedDuration::from_nanos(1)).next().map_or(late, |t| t.timestamp()))
        }
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local),
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_written_of_a_moment_is_passed_over() {
        let read = |text: &str| {
            let tokyo = TimeZone::get("Asia/Tokyo").unwrap();
            Moment::parse(text).map(|moment| moment.instant(&tokyo).unwrap().to_string())
        };
        let nine = Some("2027-12-24T09:00:00Z".to_string());
        for text in [
            "2027-12-24T18:00:00",
            "2027-12-24 18:00",
            "2027-12-24T18:00:00.000",
            "2027-12-24T09:00:00Z",
            "2027-12-24T10:00+01:00",
            "2027-12-24T09:00[Europe/London]",
            "2027-12-24T10:00:00+01:00[Europe/Paris]",
            "2027-12-24T09:00:00Z[Asia/Tokyo]",
        ] {
            assert_eq!(read(text), nine, "{text}");
        }
        assert_eq!(read("2027-12-24").as_deref(), Some("2027-12-23T15:00:00Z"));
        assert_eq!(read("2027-03-28T01:20[Europe/London]").as_deref(), Some("2027-03-28T01:00:00Z"), "in a gap");
        for text in [
            "",
            "2027-12-24T18",
            "2027-12-24T18:00:00+09:00[Europe/London]",
            "2027-12-24T18:00[Nowhere/Else]",
            "2027-12-24T18:00[Asia/Tokyo",
            "2027-12-24T18:00[u-ca=iso8601]",
            "2027-12-24+09:00",
            "2027-12-24[Asia/Tokyo]x",
            "20271224",
            "2027-12-24T18:00:00 tomorrow",
            "äöü",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_date_and_a_time_of_the_day_stand_alone() {
        for text in ["22:00", "22:00:30", "22:00:30.5"] {
            assert!(time_of_day(text).is_some(), "{text}");
        }
        for text in
            ["22:00+02:00", "22:00Z", "22", "2200", "T22:00", "22:00:", "22:00[UTC]", "25:00", "2027-12-24T22:00"]
        {
            assert!(time_of_day(text).is_none(), "{text}");
        }
        assert!(date("2027-12-24").is_some());
        for text in ["2027-12-24T18:00", "2027-12-24Z", "20271224", "2027-13-01", "+02027-12-24", "2027-358"] {
            assert!(date(text).is_none(), "{text}");
        }
    }
}
