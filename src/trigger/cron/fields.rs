//! An expression after parsing: which values each field takes, as bits.
//!
//! A small value that holds everything the meaning depends on, so that equal meanings are equal values.

use jiff::civil::Date;

use super::days::{MonthDays, WeekDays};
use super::field::{Field, values};

/// The meaning of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Fields {
    pub seconds: u64,
    pub minutes: u64,
    pub hours: u64,
    pub month_days: MonthDays,
    pub months: u64,
    pub week_days: WeekDays,
    /// The hour field begins with `*`: due times follow the clock as it shows.
    pub every_hour: bool,
    /// Six fields were written.
    pub with_seconds: bool,
}

impl Fields {
    /// Neither day field begins with `*`: either of them suffices.
    pub(super) fn either_day(&self) -> bool {
        !self.month_days.star && !self.week_days.star
    }

    /// No date is left out by the day fields.
    pub(super) fn every_day(&self) -> bool {
        let (month, week) = (self.month_days.is_full(), self.week_days.is_full());
        if self.either_day() { month || week } else { month && week }
    }

    /// Some date of the Gregorian calendar satisfies the day fields and the month.
    ///
    /// Weekdays and leap years repeat every 28 years between 1901 and 2099, so these decide for all.
    pub(super) fn comes_due(&self) -> bool {
        if self.every_day() {
            return true;
        }
        let months = || values(self.months).filter_map(|month| i8::try_from(month).ok());
        (2000..2028).any(|year| {
            let firsts = months().filter_map(move |month| Date::new(year, month, 1).ok());
            firsts.into_iter().any(|first| self.comes_due_in(first))
        })
    }

    /// Some day of the month that begins at `first` satisfies the day fields.
    fn comes_due_in(&self, first: Date) -> bool {
        (1..=first.days_in_month()).filter_map(|day| first.with().day(day).build().ok()).any(|date| {
            let (month, week) = (self.month_days.includes(date), self.week_days.includes(date));
            if self.either_day() { month || week } else { month && week }
        })
    }

    pub(super) fn every_month(&self) -> bool {
        self.months == Field::Month.full()
    }
}
