use std::sync::Arc;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Closed;
use super::local_time::{self, Moment, first_instant, time_of_day};
use crate::model::Fault;

/// A span of time in which a job's due times are passed over.
///
/// `days`, `dates` and `holidays` say on which days it begins, any of them; without one of these it begins each day. `from` and
/// `to` are times of the day, by default the whole of it; a `to` that is not after `from` lies on the next day. Or both are
/// moments, and the span is there once. All of it is meant in the job's zone, moments with an offset or a zone of their own in that.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("minProperties" = 1, "x-expects" = "a span such as `{ days: [sat, sun] }`"))]
pub struct Window {
    /// Days of the week, by name or as ranges such as `mon-fri`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &["sat", "sun"], extend("minItems" = 1))]
    pub days: Option<Vec<String>>,
    /// Dates such as `2026-12-24`, each year's `12-24`, and ranges such as `2026-12-24..2027-01-02`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &["12-24..12-26"], extend("minItems" = 1))]
    pub dates: Option<Vec<String>>,
    /// A file with one such date or range on each line; what follows a `#` is a note. A relative path counts from the
    /// configuration directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"holidays.txt", extend("minLength" = 1))]
    pub holidays: Option<String>,
    /// When it begins: a time of the day such as `22:00`, or a moment such as `2026-12-24T18:00`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"22:00", extend("minLength" = 1))]
    pub from: Option<String>,
    /// When it ends; that instant itself is not in it. `24:00` is the end of the day.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"06:00", extend("minLength" = 1))]
    pub to: Option<String>,
}

/// Dates, once or each year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Dates {
    Once {
        first: Date,
        last: Date,
    },
    /// Month and day. The last may come before the first: then the turn of the year lies between.
    Yearly {
        first: (i8, i8),
        last: (i8, i8),
    },
}

impl Dates {
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let (first, last) = (first.trim(), last.trim());
        if let (Some(first), Some(last)) = (local_time::date(first), local_time::date(last)) {
            return (first <= last).then_some(Self::Once { first, last });
        }
        // A leap year, so that 29 February is a date.
        let of_year = |text: &str| {
            let date = local_time::date(&format!("2024-{text}"))?;
            Some((date.month(), date.day()))
        };
        Some(Self::Yearly { first: of_year(first)?, last: of_year(last)? })
    }

    /// Whether no day of a year is left, but for 29 February.
    fn is_whole_year(&self) -> bool {
        let days = Date::constant(2023, 1, 1).series(Span::new().days(1)).take(365);
        matches!(self, Self::Yearly { .. }) && days.into_iter().all(|date| self.holds(date))
    }

    fn holds(&self, date: Date) -> bool {
        let day = (date.month(), date.day());
        match *self {
            Self::Once { first, last } => (first..=last).contains(&date),
            Self::Yearly { first, last } if first <= last => (first..=last).contains(&day),
            Self::Yearly { first, last } => day >= first || day <= last,
        }
    }
}

/// The days of the week that a text names: one, or a range, which may go over Sunday.
fn weekdays(text: &str) -> Option<Vec<Weekday>> {
    const NAMES: [(&str, &str, Weekday); 7] = [
        ("mon", "monday", Weekday::Monday),
        ("tue", "tuesday", Weekday::Tuesday),
        ("wed", "wednesday", Weekday::Wednesday),
        ("thu", "thursday", Weekday::Thursday),
        ("fri", "friday", Weekday::Friday),
        ("sat", "saturday", Weekday::Saturday),
        ("sun", "sunday", Weekday::Sunday),
    ];
    let day = |text: &str| {
        let text = text.trim().to_lowercase();
        NAMES.iter().position(|(short, long, _)| text == *short || text == *long)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (day(first)?, day(last)?);
    let count = (last + 7 - first) % 7 + 1;
    Some((first..first + count).map(|at| NAMES[at % 7].2).collect())
}

/// From when to when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Bounds {
    /// On each of its days.
    Daily {
        from: Time,
        to: Time,
    },
    Once {
        from: Moment,
        to: Moment,
    },
}

/// The end of a span of each day; that of the day itself is the midnight after it.
fn end_of_day(text: &str) -> Option<Time> {
    time_of_day(text).or_else(|| matches!(text, "24:00" | "24:00:00").then(Time::midnight))
}

impl Window {
    /// What is wrong with it, each at its pointer below the window's own.
    pub fn problems(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (at, text) in self.days.iter().flatten().enumerate() {
            if weekdays(text).is_none() {
                let fault = Fault::error(format!("/days/{at}"), format!("`{text}` is not a day of the week"));
                faults.push(fault.help("write names such as `sat`, or ranges such as `mon-fri`"));
            }
        }
        for (at, text) in self.dates.iter().flatten().enumerate() {
            match Dates::parse(text) {
                None => {
                    let turned =
                        text.split_once("..").map(|(first, last)| format!("{}..{}", last.trim(), first.trim()));
                    if let Some(turned) = turned.filter(|turned| Dates::parse(turned).is_some()) {
                        let fault = Fault::error(format!("/dates/{at}"), format!("`{text}` runs backwards"));
                        faults.push(fault.help(format!("did you mean `{turned}`?")));
                        continue;
                    }
                    let fault = Fault::error(format!("/dates/{at}"), format!("`{text}` is not a date"));
                    let help = "write `2026-12-24`, `12-24` for each year, or a range `2026-12-24..2027-01-02`";
                    faults.push(fault.help(help));
                }
                Some(dates) if dates.is_whole_year() => {
                    let fault = Fault::warning(format!("/dates/{at}"), format!("`{text}` is every day of the year"));
                    faults.push(fault.help(
                        "the first day stands before the last one; `12-24..01-02` goes over the turn of the year",
                    ));
                }
                Some(_) => {}
            }
        }
        if let Err(fault) = self.bounds() {
            faults.push(*fault);
        }
        faults
    }

    fn bounds(&self) -> Result<Bounds, Box<Fault>> {
        let midnight = Time::midnight();
        let (from, to) = match (&self.from, &self.to) {
            (None, None) => return Ok(Bounds::Daily { from: midnight, to: midnight }),
            (Some(from), Some(to)) => (from, to),
            (Some(_), None) => return Err(Box::new(Fault::error("", "`from` without `to`").help("say when it ends"))),
            (None, Some(_)) => {
                return Err(Box::new(Fault::error("", "`to` without `from`").help("say when it begins")));
            }
        };
        let (begin, end) = (Moment::parse(from), Moment::parse(to));
        match (time_of_day(from), end_of_day(to), begin, end) {
            (Some(from), Some(to), ..) => Ok(Bounds::Daily { from, to }),
            (.., Some(begin), Some(end)) => {
                let is_in_order = match (begin, end) {
                    (Moment::Local(begin), Moment::Local(end)) => begin < end,
                    (Moment::Exact(begin), Moment::Exact(end)) => begin < end,
                    _ => {
                        let fault = Fault::error("", "of `from` and `to` one alone says in which zone it is meant");
                        return Err(Box::new(fault.help("write an offset such as `+01:00`, or none, behind both")));
                    }
                };
                if !is_in_order {
                    return Err(Box::new(Fault::error("/to", format!("{to} is not after {from}"))));
                }
                if self.days.is_some() || self.dates.is_some() || self.holidays.is_some() {
                    let fault =
                        Fault::error("", "a span between two moments is there once, and has no days of its own");
                    return Err(Box::new(fault.help("write times of the day such as `22:00`, or leave the days out")));
                }
                Ok(Bounds::Once { from: begin, to: end })
            }
            _ => {
                let is_known =
                    [time_of_day(from).is_some() || begin.is_some(), end_of_day(to).is_some() || end.is_some()];
                let wrong = [("/from", from), ("/to", to)].into_iter().zip(is_known).find(|(_, is_known)| !is_known);
                Err(Box::new(match wrong {
                    Some(((pointer, text), _)) => {
                        let fault =
                            Fault::error(pointer, format!("`{text}` is neither a time of the day nor a moment"));
                        fault.help("write `22:00`, which is meant in the job's zone, or `2026-12-24T18:00`")
                    }
                    None => Fault::error("", "`from` and `to` have to be both times of the day, or both moments"),
                }))
            }
        }
    }

    /// In words, as records and people are told; also whether its holidays are known.
    fn words(&self, is_known: bool) -> String {
        let mut words: Vec<String> = self.days.iter().chain(&self.dates).map(|list| list.join(", ")).collect();
        let unknown = if is_known { "" } else { ", which are not known" };
        words.extend(self.holidays.iter().map(|file| format!("holidays of {file}{unknown}")));
        if let (Some(from), Some(to)) = (&self.from, &self.to) {
            words.push(format!("{from} to {to}"));
        }
        words.join(", ")
    }
}

/// The spans of a job, in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Blackout {
    windows: Vec<Armed>,
    #[serde(with = "jiff::fmt::serde::tz::required")]
    zone: TimeZone,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Armed {
    #[serde(with = "serde_days")]
    days: Option<Vec<Weekday>>,
    dates: Option<Vec<Dates>>,
    bounds: Bounds,
    reason: Arc<str>,
}

/// Days of the week as numbers, Monday being 1.
mod serde_days {
    use jiff::civil::Weekday;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

    pub fn serialize<S: Serializer>(days: &Option<Vec<Weekday>>, serializer: S) -> Result<S::Ok, S::Error> {
        let number = |day: &Weekday| day.to_monday_one_offset();
        days.as_ref().map(|days| days.iter().map(number).collect::<Vec<_>>()).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Weekday>>, D::Error> {
        let days = Option::<Vec<i8>>::deserialize(deserializer)?;
        let day = |number| Weekday::from_monday_one_offset(number).map_err(D::Error::custom);
        days.map(|days| days.into_iter().map(day).collect()).transpose()
    }
}

/// The dates in a file of holidays.
///
/// # Errors
/// The first line that is no date, with its number.
pub fn read_holidays(text: &str) -> Result<Holidays, (usize, String)> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim().trim_start_matches('\u{feff}');
        if !line.is_empty() {
            found.push(Dates::parse(line).ok_or_else(|| (at + 1, line.to_string()))?);
        }
    }
    Ok(Holidays(found))
}

/// The dates of a file of holidays.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Holidays(Vec<Dates>);

impl Holidays {
    /// Whether there is no date.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Blackout {
    /// The spans in force; `None` where there are none. What has an error is left out. `holidays` gives what stands in a file;
    /// where it is not known, any day may be one: the span is there each day.
    pub fn new(windows: &[Window], zone: &TimeZone, holidays: impl Fn(&str) -> Option<Holidays>) -> Option<Self> {
        let arm = |window: &Window| {
            let days =
                window.days.as_ref().map(|days| days.iter().filter_map(|text| weekdays(text)).flatten().collect());
            let from_file = window.holidays.as_deref().map(&holidays);
            let is_known = from_file != Some(None);
            let has_dates = window.dates.is_some() || window.holidays.is_some();
            let own = window.dates.iter().flatten().filter_map(|text| Dates::parse(text));
            let dates = has_dates.then(|| own.chain(from_file.flatten().unwrap_or_default().0).collect());
            let reason = format!("blackout: {}", window.words(is_known)).into();
            let (days, dates) = if is_known { (days, dates) } else { (None, None) };
            Some(Armed { days, dates, bounds: window.bounds().ok()?, reason })
        };
        let windows: Vec<Armed> = windows.iter().filter_map(arm).collect();
        (!windows.is_empty()).then(|| Self { windows, zone: zone.clone() })
    }
}

impl Armed {
    fn begins_on(&self, date: Date) -> bool {
        let is_day = self.days.as_ref().is_some_and(|days| days.contains(&date.weekday()));
        let is_date = self.dates.as_ref().is_some_and(|dates| dates.iter().any(|dates| dates.holds(date)));
        (self.days.is_none() && self.dates.is_none()) || is_day || is_date
    }

    /// The span that begins on a day, if one does.
    fn span_of(&self, date: Date, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
        let Bounds::Daily { from, to } = self.bounds else { return None };
        if !self.begins_on(date) {
            return None;
        }
        let end = if to > from { date } else { date.checked_add(Span::new().days(1)).ok()? };
        Some((first_instant(zone, date.to_datetime(from)).ok()?, first_instant(zone, end.to_datetime(to)).ok()?))
    }

    /// The span that is there once, if it is one.
    fn only_span(&self, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
        match self.bounds {
            Bounds::Once { from, to } => Some((from.instant(zone).ok()?, to.instant(zone).ok()?)),
            Bounds::Daily { .. } => None,
        }
    }

    fn covers(&self, time: Timestamp, zone: &TimeZone) -> bool {
        let today = time.to_zoned(zone.clone()).date();
        // One that began yesterday may go on; one that begins today may, where the clock is moved, have begun already.
        let of_days = [today.yesterday().ok(), Some(today)].into_iter().flatten();
        let spans = of_days.filter_map(|date| self.span_of(date, zone)).chain(self.only_span(zone));
        spans.into_iter().any(|(from, to)| from <= time && time < to)
    }

    /// The first beginning or end after `time`; `most` at the latest. Where nothing is for a long time, a moment before it.
    fn bound_after(&self, time: Timestamp, most: Timestamp, zone: &TimeZone) -> Timestamp {
        let after = |(from, to): (Timestamp, Timestamp)| [from, to].into_iter().filter(|at| *at > time).min();
        if let Some(only) = self.only_span(zone) {
            return after(only).unwrap_or(most).min(most);
        }
        let mut date = time.to_zoned(zone.clone()).date();
        let last = most.to_zoned(zone.clone()).date().min(date.saturating_add(Span::new().days(MOST_DAYS)));
        let mut found = match date.yesterday() {
            Ok(yesterday) => self.span_of(yesterday, zone).and_then(after),
            Err(_) => None,
        };
        // A span of a later day begins later and ends later.
        while found.is_none() && date <= last {
            found = self.span_of(date, zone).and_then(after);
            match date.tomorrow() {
                Ok(next) => date = next,
                Err(_) => break,
            }
        }
        // One of today may begin before that of yesterday ends.
        let of_today = self.span_of(time.to_zoned(zone.clone()).date(), zone).and_then(after);
        let found = [found, of_today].into_iter().flatten().min();
        let looked_until = || first_instant(zone, date.to_datetime(Time::midnight())).ok().filter(|at| *at > time);
        found.or_else(looked_until).unwrap_or(most).min(most)
    }
}

/// How many days are looked at in one go for one on which a span begins.
const MOST_DAYS: i64 = 400;

/// How many bounds are gone over in one go while the job rests on, or does not rest.
const MOST_BOUNDS: usize = 1_000;

impl Closed for Blackout {
    fn reason_at(&self, time: Timestamp) -> Option<Arc<str>> {
        self.windows.iter().find(|window| window.covers(time, &self.zone)).map(|window| window.reason.clone())
    }

    fn changes_after(&self, time: Timestamp, most: Timestamp) -> Timestamp {
        let reason = self.reason_at(time);
        let mut at = time;
        for _ in 0..MOST_BOUNDS {
            // Those that it lies in end soon: of the others no more is looked at.
            let (inside, outside): (Vec<&Armed>, Vec<&Armed>) =
                self.windows.iter().partition(|window| window.covers(at, &self.zone));
            let windows = inside.into_iter().chain(outside);
            at = windows.fold(most, |most, window| window.bound_after(at, most, &self.zone));
            if at >= most || self.reason_at(at) != reason {
                break;
            }
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(json: &str) -> Window {
        serde_json::from_str(json).unwrap()
    }

    fn closed(json: &str, zone: &str, local_times: &[&str]) -> Vec<bool> {
        let zone = TimeZone::get(zone).unwrap();
        let holidays = |_: &str| read_holidays("# of the year\n2026-04-03  # Good Friday\n12-25..12-26\n").ok();
        let blackout = Blackout::new(&[window(json)], &zone, holidays).unwrap();
        let at =
            |text: &&str| text.parse::<jiff::civil::DateTime>().unwrap().to_zoned(zone.clone()).unwrap().timestamp();
        local_times.iter().map(|text| blackout.reason_at(at(text)).is_some()).collect()
    }

    #[test]
    fn days_dates_and_times_say_when_a_job_rests() {
        let days = r#"{"days": ["sat-sun"]}"#;
        let times = ["2026-11-20T23:59:59", "2026-11-21T00:00", "2026-11-22T23:59:59", "2026-11-23T00:00"];
        assert_eq!(closed(days, "Europe/London", &times), [false, true, true, false]);
        let nights = r#"{"days": ["fri"], "from": "22:00", "to": "06:00"}"#;
        let times =
            ["2026-11-20T21:59", "2026-11-20T22:00", "2026-11-21T05:59:59", "2026-11-21T06:00", "2026-11-21T22:30"];
        assert_eq!(closed(nights, "UTC", &times), [false, true, true, false, false]);
        let dates = r#"{"dates": ["12-24..01-02", "2027-03-01"]}"#;
        let times =
            ["2026-12-23T12:00", "2026-12-31T12:00", "2027-01-02T12:00", "2027-01-03T12:00", "2027-03-01T00:00"];
        assert_eq!(closed(dates, "UTC", &times), [false, true, true, false, true]);
        let once = r#"{"from": "2026-12-24T18:00", "to": "2026-12-27T06:00"}"#;
        let times = ["2026-12-24T17:59", "2026-12-24T18:00", "2026-12-27T06:00", "2027-12-25T12:00"];
        assert_eq!(closed(once, "America/New_York", &times), [false, true, false, false]);
        let holidays = r#"{"holidays": "holidays.txt", "from": "09:00", "to": "17:00"}"#;
        let times = ["2026-04-03T09:00", "2026-04-03T17:00", "2026-04-04T12:00", "2031-12-26T12:00"];
        assert_eq!(closed(holidays, "UTC", &times), [true, false, false, true]);
    }

    #[test]
    fn where_the_clock_is_moved_a_bound_in_a_gap_is_its_end_and_one_that_comes_twice_its_first_pass() {
        // 29 March 2026: 01:00 to 02:00 is skipped; 25 October: it comes twice.
        let zone = TimeZone::get("Europe/London").unwrap();
        let blackout = |json| Blackout::new(&[window(json)], &zone, |_| None).unwrap();
        let rests = |blackout: &Blackout, text: &str| blackout.reason_at(text.parse().unwrap()).is_some();
        let morning = blackout(r#"{"from": "01:30", "to": "03:00"}"#);
        assert!(!rests(&morning, "2026-03-29T00:59:59Z") && rests(&morning, "2026-03-29T01:00:00Z"));
        assert!(rests(&morning, "2026-03-29T01:59:59Z") && !rests(&morning, "2026-03-29T02:00:00Z"));
        assert!(!rests(&morning, "2026-10-25T00:29:59Z") && rests(&morning, "2026-10-25T00:30:00Z"));
        assert!(rests(&morning, "2026-10-25T02:59:59Z") && !rests(&morning, "2026-10-25T03:00:00Z"));
    }

    #[test]
    fn what_is_in_force_can_be_handed_out_and_is_the_same_there() {
        let windows = [
            window(r#"{"days": ["sat-sun"], "dates": ["12-24..01-02", "2027-03-01"]}"#),
            window(r#"{"holidays": "x", "from": "22:00:30.5", "to": "06:00"}"#),
            window(r#"{"from": "2026-12-24T18:00", "to": "2026-12-27T06:00"}"#),
        ];
        let zone = TimeZone::get("Asia/Kolkata").unwrap();
        let holidays = |_: &str| read_holidays("2026-04-03\n12-25..12-26\n").ok();
        let blackout = Blackout::new(&windows, &zone, holidays).unwrap();
        let text = serde_json::to_string(&blackout).unwrap();
        assert_eq!(serde_json::from_str::<Blackout>(&text).unwrap(), blackout, "{text}");
    }

    #[test]
    fn a_moment_with_an_offset_or_a_zone_is_meant_there_and_the_end_of_the_day_is_one() {
        let once = r#"{"from": "2026-12-24T18:00+05:00", "to": "2026-12-24T20:00[Asia/Tokyo]"}"#;
        assert_eq!(window(once).problems().len(), 1, "Tokyo's evening is over before");
        let once = r#"{"from": "2026-12-24T18:00[Asia/Tokyo]", "to": "2026-12-24T18:00+05:00"}"#;
        let times = ["2026-12-24T08:59", "2026-12-24T09:00", "2026-12-24T12:59", "2026-12-24T13:00"];
        assert_eq!(closed(once, "UTC", &times), [false, true, true, false]);
        let evening = r#"{"days": ["thu"], "from": "18:00", "to": "24:00"}"#;
        let times = ["2026-12-24T17:59", "2026-12-24T18:00", "2026-12-24T23:59:59", "2026-12-25T00:00"];
        assert_eq!(closed(evening, "UTC", &times), [false, true, true, false]);
    }

    #[test]
    fn where_the_holidays_are_not_known_any_day_may_be_one() {
        let window = window(r#"{"holidays": "hol.txt", "days": ["sat"], "from": "09:00", "to": "17:00"}"#);
        let blackout = Blackout::new(&[window], &TimeZone::UTC, |_| None).unwrap();
        let reason = |text: &str| blackout.reason_at(text.parse().unwrap());
        let words = "blackout: sat, holidays of hol.txt, which are not known, 09:00 to 17:00";
        assert_eq!(reason("2026-11-24T12:00:00Z").as_deref(), Some(words));
        assert_eq!(reason("2026-11-24T08:00:00Z"), None);
    }

    #[test]
    fn a_span_that_lies_in_a_gap_as_a_whole_is_not_there_on_that_day() {
        let zone = TimeZone::get("Europe/London").unwrap();
        let window = window(r#"{"from": "01:15", "to": "01:45"}"#);
        let blackout = Blackout::new(&[window], &zone, |_| None).unwrap();
        // 2027-03-28: what is due from 01:00 to 02:00 is due at 02:00, British summer time, which is in no span.
        assert_eq!(blackout.reason_at("2027-03-28T01:00:00Z".parse().unwrap()), None);
        assert!(blackout.reason_at("2027-03-27T01:30:00Z".parse().unwrap()).is_some());
        let next = blackout.changes_after("2027-03-27T02:00:00Z".parse().unwrap(), Timestamp::MAX);
        assert_eq!(next.to_string(), "2027-03-29T00:15:00Z");
    }

    #[test]
    fn from_one_change_to_the_next_the_answer_stays_the_same() {
        let windows = [
            r#"{"days": ["sat-sun"]}"#,
            r#"{"from": "22:00", "to": "06:00"}"#,
            r#"{"from": "23:00", "to": "23:30"}"#,
            r#"{"dates": ["02-29", "03-20..04-02"]}"#,
            r#"{"from": "2028-03-01T11:00", "to": "2028-03-04T11:30"}"#,
            r#"{"from": "01:15", "to": "01:45"}"#,
        ];
        let zone = TimeZone::get("Europe/London").unwrap();
        for first in 0..windows.len() {
            for last in first..windows.len() {
                let windows: Vec<Window> = windows[first..=last].iter().map(|json| window(json)).collect();
                let blackout = Blackout::new(&windows, &zone, |_| None).unwrap();
                let end: Timestamp = "2028-04-10T00:00:00Z".parse().unwrap();
                let mut at: Timestamp = "2028-02-20T00:00:00Z".parse().unwrap();
                let mut changes = at;
                let mut reason = None;
                while at < end {
                    if at >= changes {
                        assert_eq!(at, changes, "all bounds are whole quarters");
                        reason = blackout.reason_at(at);
                        changes = blackout.changes_after(at, end);
                        assert!(changes > at);
                    }
                    assert_eq!(blackout.reason_at(at), reason, "{first}..={last} at {at}");
                    at += jiff::SignedDuration::from_mins(15);
                }
            }
        }
        let never = Blackout::new(&[window(r#"{"dates": ["2001-01-01"]}"#)], &zone, |_| None).unwrap();
        let now: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
        let most = "2026-12-01T00:00:00Z".parse().unwrap();
        assert_eq!(never.changes_after(now, most), most);
    }

    #[test]
    fn what_makes_no_sense_is_told_at_its_place() {
        for (json, pointer, message) in [
            (r#"{"days": ["mon", "someday"]}"#, "/days/1", "`someday` is not a day of the week"),
            (r#"{"dates": ["2026-13-01"]}"#, "/dates/0", "`2026-13-01` is not a date"),
            (r#"{"dates": ["2026-12-26..2026-12-24"]}"#, "/dates/0", "`2026-12-26..2026-12-24` runs backwards"),
            (
                r#"{"dates": ["2026-12-24T18:00..2026-12-24T20:00"]}"#,
                "/dates/0",
                "`2026-12-24T18:00..2026-12-24T20:00` is not a date",
            ),
            (r#"{"dates": ["2026-12-24Z"]}"#, "/dates/0", "`2026-12-24Z` is not a date"),
            (r#"{"dates": ["02-29..02-28"]}"#, "/dates/0", "`02-29..02-28` is every day of the year"),
            (r#"{"dates": ["01-01..12-31"]}"#, "/dates/0", "`01-01..12-31` is every day of the year"),
            (
                r#"{"from": "22:00+02:00", "to": "23:00"}"#,
                "/from",
                "`22:00+02:00` is neither a time of the day nor a moment",
            ),
            (r#"{"from": "24:00", "to": "06:00"}"#, "/from", "`24:00` is neither a time of the day nor a moment"),
            (
                r#"{"from": "2026-12-24T18:00+05:00", "to": "2026-12-24T20:00"}"#,
                "",
                "of `from` and `to` one alone says in which zone it is meant",
            ),
            (
                r#"{"from": "2026-12-24T18:00Z", "to": "2026-12-24T19:00+05:00"}"#,
                "/to",
                "2026-12-24T19:00+05:00 is not after 2026-12-24T18:00Z",
            ),
            (r#"{"from": "22:00"}"#, "", "`from` without `to`"),
            (r#"{"to": "22:00"}"#, "", "`to` without `from`"),
            (r#"{"from": "22:00", "to": "noon"}"#, "/to", "`noon` is neither a time of the day nor a moment"),
            (
                r#"{"from": "2026-12-24T18:00", "to": "2026-12-24T18:00"}"#,
                "/to",
                "2026-12-24T18:00 is not after 2026-12-24T18:00",
            ),
        ] {
            let faults = window(json).problems();
            assert_eq!(faults.len(), 1, "{json}: {faults:?}");
            assert_eq!((faults[0].pointer.as_str(), faults[0].message.as_str()), (pointer, message), "{json}");
        }
        assert_eq!(read_holidays("12-25\nsome day\n").unwrap_err(), (2, "some day".to_string()));
    }
}
