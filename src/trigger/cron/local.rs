//! The local times of an expression, without any zone.
//!
//! The `cron` crate enumerates them. It is given explicit lists, day names instead of numbers (it counts 1 as Sunday),
//! and one schedule for each way in which a date can suffice (it joins the day fields by AND alone). For `L`, `W` and
//! `#` it is given every day that may match in some month, and the date itself is checked here.

use std::fmt::Write as _;

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};
use cron::Schedule;
use jiff::civil::Date;

use super::days::{MonthDays, WeekDays};
use super::field::{DAYS, Field, runs};
use super::fields::Fields;

/// Local times are seconds since 1970-01-01T00:00:00 on the clock that is looked at.
pub(super) type Local = i64;

const DAY: i64 = 86_400;

/// 2100-01-01: there is no due time from here on.
const END: Local = 4_102_444_800;

/// The local times of one expression: the union of one or two rules.
#[derive(Debug)]
pub(super) struct LocalTimes(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    schedule: Schedule,
    /// What a date must satisfy besides, where the schedule allows too many.
    dates: Option<(MonthDays, WeekDays)>,
}

impl LocalTimes {
    pub(super) fn new(fields: &Fields) -> Self {
        let (month, week) = (fields.month_days, fields.week_days);
        let pairs = if fields.every_day() {
            vec![(MonthDays::any(), WeekDays::any())]
        } else if fields.either_day() {
            vec![(month, WeekDays::any()), (MonthDays::any(), week)]
        } else {
            vec![(month, week)]
        };
        Self(pairs.into_iter().filter_map(|(month, week)| Rule::new(fields, month, week)).collect())
    }

    /// The first time that is not before `from`.
    pub(super) fn first(&self, from: Local) -> Option<Local> {
        self.0.iter().filter_map(|rule| rule.first(from)).min()
    }
}

impl Rule {
    /// None where no day is left, which the crate could not write.
    fn new(fields: &Fields, month: MonthDays, week: WeekDays) -> Option<Self> {
        let days = month.candidates() & week.month_days();
        let mut text = String::with_capacity(64);
        write_list(&mut text, fields.seconds, Field::Second);
        write_list(&mut text, fields.minutes, Field::Minute);
        write_list(&mut text, fields.hours, Field::Hour);
        write_list(&mut text, days, Field::MonthDay);
        write_list(&mut text, fields.months, Field::Month);
        write_list(&mut text, week.candidates(), Field::WeekDay);
        Some(Self {
            schedule: text.parse().ok()?,
            dates: (month.is_special() || week.is_special()).then_some((month, week)),
        })
    }

    fn first(&self, from: Local) -> Option<Local> {
        let mut from = from.max(0);
        loop {
            // The crate looks strictly after the time that it is given.
            let before: DateTime<Utc> = DateTime::from_timestamp(from - 1, 0)?;
            let found = self.schedule.after(&before).next()?;
            let time = found.timestamp();
            if time >= END {
                return None;
            }
            if self.accepts(&found) {
                return Some(time);
            }
            from = time - i64::from(found.num_seconds_from_midnight()) + DAY;
        }
    }

    fn accepts(&self, time: &DateTime<Utc>) -> bool {
        let Some((month, week)) = &self.dates else {
            return true;
        };
        date(time).is_some_and(|date| month.includes(date) && week.includes(date))
    }
}

fn date(time: &DateTime<Utc>) -> Option<Date> {
    let year = i16::try_from(time.year()).ok()?;
    Date::new(year, i8::try_from(time.month()).ok()?, i8::try_from(time.day()).ok()?).ok()
}

/// One field as the crate reads it: `*`, or numbers and ranges, with days of the week by name.
fn write_list(text: &mut String, bits: u64, field: Field) {
    if bits == field.full() {
        text.push_str("* ");
        return;
    }
    let name = |value: u32| match DAYS.get(value as usize) {
        Some(day) if field == Field::WeekDay => (*day).to_owned(),
        _ => value.to_string(),
    };
    for (index, (first, last)) in runs(bits).into_iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        // Writing into a String cannot fail.
        let _ = if first == last {
            write!(text, "{comma}{}", name(first))
        } else {
            write!(text, "{comma}{}-{}", name(first), name(last))
        };
    }
    text.push(' ');
}
