//! The dates of an expression in words.

use super::days::{MonthDays, WeekDays};
use super::field::values;
use super::fields::Fields;
use super::words::{join, listed, ranges};

const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const ORDINALS: [&str; 5] = ["first", "second", "third", "fourth", "fifth"];

/// Which dates, e.g. "on day 1 of the month in July"; empty where every date is meant.
pub(super) fn dates(fields: &Fields) -> String {
    let (month, week) = (&fields.month_days, &fields.week_days);
    let months = join(&ranges(fields.months, |value| nth(&MONTHS, value.wrapping_sub(1)).to_owned()));
    let days = if fields.every_day() {
        String::new()
    } else if week.is_full() && !fields.either_day() {
        if let Some(day) = only_day(month)
            && fields.months.count_ones() == 1
        {
            return format!("on {day} {months}");
        }
        month_days(month)
    } else if month.is_full() && !fields.either_day() {
        let on = if week.is_special() { "on " } else { "" };
        format!("{on}{}", week_days(week))
    } else if fields.either_day() {
        format!("{} as well as {}", month_days(month), week_days(week))
    } else {
        format!("{} falling on {}", month_days(month), week_days(week))
    };
    match (fields.every_month(), days.is_empty()) {
        (true, _) => days,
        (false, true) => format!("in {months}"),
        (false, false) => format!("{days} in {months}"),
    }
}

/// The day, where it is a single number.
fn only_day(days: &MonthDays) -> Option<u32> {
    (!days.is_special() && days.days.count_ones() == 1).then(|| days.days.trailing_zeros())
}

fn month_days(days: &MonthDays) -> String {
    let mut words = Vec::new();
    if days.days != 0 {
        words.push(listed(days.days, "day"));
    }
    words.extend(values(days.nearest).map(|day| format!("the weekday nearest to day {day}")));
    words.extend(values(days.before_last).map(|back| match back {
        0 => "the last day".to_owned(),
        1 => "the day before the last".to_owned(),
        _ => format!("the day {back} days before the last"),
    }));
    if days.last_weekday {
        words.push("the last weekday".to_owned());
    }
    format!("on {} of the month", join(&words))
}

fn week_days(days: &WeekDays) -> String {
    // Weeks begin on Monday here, so that a weekend stays together.
    let monday_first = days.days >> 1 | (days.days & 1) << 6;
    let mut words = ranges(monday_first, |value| nth(&DAYS, value).to_owned());
    let name = |day: u32| nth(&DAYS, (day + 6) % 7);
    for (ordinal, bits) in ORDINALS.iter().zip(days.nth) {
        words.extend(values(bits).map(|day| format!("the {ordinal} {} of the month", name(day))));
    }
    words.extend(values(days.last).map(|day| format!("the last {} of the month", name(day))));
    join(&words)
}

fn nth(names: &[&'static str], index: u32) -> &'static str {
    names.get(index as usize).copied().unwrap_or("?")
}
