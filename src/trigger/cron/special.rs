//! The forms that only the day fields know: `?`, `L`, `W` and `#`.

use super::days::{MonthDays, WeekDays};
use super::error::CronError;
use super::field::{DAYS, Field};
use super::hash::HashKey;
use super::list::term;
use super::part::Part;
use super::value::{number, value};

/// The day-of-month field.
pub(super) fn month_days(field: Part<'_>, key: HashKey) -> Result<MonthDays, CronError> {
    if field.text == "?" {
        return Ok(MonthDays::any());
    }
    let mut days = MonthDays { star: field.text.starts_with('*'), ..MonthDays::default() };
    for (index, part) in field.list().enumerate() {
        if part.is("L") {
            days.before_last |= 1;
        } else if part.is("LW") || part.is("WL") {
            days.last_weekday = true;
        } else if let Some(back) = part.without_start("L-") {
            days.before_last |= 1 << number(back, "days before the last", 1, 30)?;
        } else if part.is("W") {
            let error = CronError::new("W needs a day of month", part.span());
            return Err(error.help("write 15W for the weekday nearest to the 15th, LW for the last weekday"));
        } else if let Some(day) = part.without_end("W") {
            days.nearest |= 1 << number(day, Field::MonthDay.name(), 1, 31)?;
        } else {
            days.days |= term(part, Field::MonthDay, key, index)?;
        }
    }
    Ok(days)
}

/// The day-of-week field.
pub(super) fn week_days(field: Part<'_>, key: HashKey) -> Result<WeekDays, CronError> {
    if field.text == "?" {
        return Ok(WeekDays::any());
    }
    let mut days = WeekDays { star: field.text.starts_with('*'), ..WeekDays::default() };
    for (index, part) in field.list().enumerate() {
        if let Some((day, nth)) = part.cut('#') {
            let day = value(day, Field::WeekDay)? % 7;
            let nth = number(nth, "occurrence of a day in the month", 1, 5)
                .map_err(|error| error.help("write fri#2 for the second Friday, friL for the last"))?;
            if let Some(bits) = days.nth.get_mut(nth as usize - 1) {
                *bits |= 1 << day;
            }
        } else if part.is("L") {
            let error = CronError::new("L in the day-of-week field needs a day", part.span());
            return Err(error.help("write friL for the last Friday, 6 for every Saturday"));
        } else if let Some(day) = last_day(part) {
            days.last |= 1 << (value(day, Field::WeekDay)? % 7);
        } else {
            days.days |= term(part, Field::WeekDay, key, index)?;
        }
    }
    Ok(days)
}

/// The day of `friL` or `5L`; other words that end in l are left to be named as unknown.
fn last_day(part: Part<'_>) -> Option<Part<'_>> {
    let day = part.without_end("L")?;
    let digits = day.text.bytes().all(|byte| byte.is_ascii_digit());
    (digits || DAYS.iter().any(|name| day.is(name))).then_some(day)
}
