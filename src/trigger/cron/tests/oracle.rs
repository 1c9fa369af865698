//! The rules once more, as plainly as they can be said: look at every minute, one after the other.
//!
//! Shares nothing with the module: its fields are lists of numbers that the test made together with the text.

use std::collections::HashSet;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// One field: its text, the numbers it stands for, whether it begins with a star.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    pub text: String,
    pub list: Vec<i8>,
    pub star: bool,
}

impl Numbers {
    pub(super) fn new(text: &str, list: impl IntoIterator<Item = i8>) -> Self {
        let list = list.into_iter().collect();
        Self { text: text.to_owned(), list, star: text.starts_with('*') }
    }

    pub(super) fn all(first: i8, last: i8) -> Self {
        Self::new("*", first..=last)
    }
}

/// Five fields.
#[derive(Clone, Debug)]
pub(super) struct Plain {
    pub minute: Numbers,
    pub hour: Numbers,
    pub day: Numbers,
    pub month: Numbers,
    /// Sunday is 0.
    pub weekday: Numbers,
}

impl Plain {
    pub(super) fn text(&self) -> String {
        let fields = [&self.minute, &self.hour, &self.day, &self.month, &self.weekday];
        fields.map(|field| field.text.as_str()).join(" ")
    }

    pub(super) fn matches(&self, time: DateTime) -> bool {
        let day = self.day.list.contains(&time.day());
        let weekday = self.weekday.list.contains(&time.weekday().to_sunday_zero_offset());
        let either = !self.day.star && !self.weekday.star;
        time.second() == 0
            && self.minute.list.contains(&time.minute())
            && self.hour.list.contains(&time.hour())
            && self.month.list.contains(&time.month())
            && if either { day || weekday } else { day && weekday }
    }

    /// All due times of the clock's span.
    pub(super) fn due(&self, clock: &[Minute]) -> Vec<Timestamp> {
        let due = clock.iter().filter(|minute| {
            let shown = self.matches(minute.shown);
            if self.hour.star {
                return shown;
            }
            shown && !minute.repeated || minute.lost.iter().any(|lost| self.matches(*lost))
        });
        due.map(|minute| minute.instant).collect()
    }
}

/// A minute of real time and what the clock makes of it.
#[derive(Debug)]
pub(super) struct Minute {
    pub instant: Timestamp,
    pub shown: DateTime,
    /// The clock has shown this before.
    pub repeated: bool,
    /// What the clock would have shown before, had it not jumped.
    pub lost: Vec<DateTime>,
}

/// Every minute from `from` up to `until`, both whole minutes, on the clock of `zone`.
///
/// What the clock showed in the `lead` before `from` counts as seen. Offsets must be whole minutes.
pub(super) fn clock(zone: &TimeZone, from: Timestamp, until: Timestamp, lead: SignedDuration) -> Vec<Minute> {
    let step = SignedDuration::from_mins(1);
    let mut instant = from - lead;
    let mut newest = zone.to_datetime(instant);
    let mut seen = HashSet::new();
    let mut clock = Vec::new();
    while instant < until {
        let shown = zone.to_datetime(instant);
        let mut lost = Vec::new();
        while newest + step < shown {
            newest += step;
            lost.push(newest);
        }
        newest = newest.max(shown);
        let repeated = !seen.insert(shown);
        if instant >= from {
            clock.push(Minute { instant, shown, repeated, lost });
        }
        instant += step;
    }
    clock
}
