//! The two day fields, and whether a date satisfies them.
//!
//! `L`, `W` and `#` depend on the month at hand, so they cannot be a list of numbers. Their meaning is Quartz's:
//! `15W` is the weekday nearest to the 15th inside the same month, `L-3` three days before the last day.

use jiff::civil::Date;

use super::field::{Field, values};

/// The day-of-month field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct MonthDays {
    /// Bit `d`: day `d`.
    pub days: u64,
    /// Bit `k`: `L-k`, the day that is `k` days before the last.
    pub before_last: u64,
    /// Bit `d`: `dW`.
    pub nearest: u64,
    /// `LW`.
    pub last_weekday: bool,
    /// The field begins with `*` (or is `?`).
    pub star: bool,
}

/// The day-of-week field; bit 0 is Sunday.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct WeekDays {
    pub days: u64,
    /// Bit `d`: `dL`, the last such day of the month.
    pub last: u64,
    /// Bit `d` of entry `n - 1`: `d#n`.
    pub nth: [u64; 5],
    /// The field begins with `*` (or is `?`).
    pub star: bool,
}

impl MonthDays {
    pub(super) fn any() -> Self {
        Self { days: Field::MonthDay.full(), star: true, ..Self::default() }
    }

    pub(super) fn is_full(&self) -> bool {
        self.days == Field::MonthDay.full()
    }

    /// Needs the date, not only its number.
    pub(super) fn is_special(&self) -> bool {
        self.before_last != 0 || self.nearest != 0 || self.last_weekday
    }

    /// Every day number that can satisfy the field in some month.
    pub(super) fn candidates(&self) -> u64 {
        let mut bits = self.days;
        for back in values(self.before_last) {
            bits |= Field::bits(28_u32.saturating_sub(back).max(1), 31 - back);
        }
        for day in values(self.nearest) {
            bits |= Field::bits(day.saturating_sub(2).max(1), (day + 2).min(31));
        }
        if self.last_weekday {
            bits |= Field::bits(26, 31);
        }
        bits
    }

    pub(super) fn includes(&self, date: Date) -> bool {
        let (day, last) = (number(date.day()), number(date.days_in_month()));
        self.days >> day & 1 == 1
            || self.before_last >> (last - day) & 1 == 1
            || values(self.nearest).any(|near| near <= last && nearest(near, last, date) == day)
            || (self.last_weekday && nearest(last, last, date) == day)
    }
}

impl WeekDays {
    pub(super) fn any() -> Self {
        Self { days: Field::WeekDay.full(), star: true, ..Self::default() }
    }

    pub(super) fn is_full(&self) -> bool {
        self.days == Field::WeekDay.full()
    }

    /// Needs the date, not only its day of the week.
    pub(super) fn is_special(&self) -> bool {
        self.last != 0 || self.nth != [0; 5]
    }

    /// Every day of the week that can satisfy the field in some week.
    pub(super) fn candidates(&self) -> u64 {
        self.nth.iter().fold(self.days | self.last, |all, nth| all | nth)
    }

    /// Every day of the month on which the field can be satisfied.
    pub(super) fn month_days(&self) -> u64 {
        if self.days != 0 {
            return Field::MonthDay.full();
        }
        let last = if self.last == 0 { 0 } else { Field::bits(22, 31) };
        (1..)
            .zip(self.nth)
            .filter(|(_, days)| *days != 0)
            .fold(last, |bits, (n, _)| bits | Field::bits(n * 7 - 6, (n * 7).min(31)))
    }

    pub(super) fn includes(&self, date: Date) -> bool {
        let weekday = date.weekday().to_sunday_zero_offset();
        let (day, last) = (date.day(), date.days_in_month());
        let nth = self.nth.get(usize::from((day - 1).unsigned_abs() / 7)).copied().unwrap_or(0);
        let mut bits = self.days | nth;
        if day + 7 > last {
            bits |= self.last;
        }
        bits >> weekday & 1 == 1
    }
}

/// The weekday nearest to `wanted` in the month of `date`, which has `last` days; never in another month.
fn nearest(wanted: u32, last: u32, date: Date) -> u32 {
    // Counted from the weekday of `date`: no second date has to be built.
    let weekday =
        (i64::from(date.weekday().to_sunday_zero_offset()) + i64::from(wanted) - i64::from(date.day())).rem_euclid(7);
    match weekday {
        6 if wanted == 1 => 3,
        6 => wanted - 1,
        0 if wanted == last => wanted - 2,
        0 => wanted + 1,
        _ => wanted,
    }
}

fn number(value: i8) -> u32 {
    u32::from(value.unsigned_abs())
}
