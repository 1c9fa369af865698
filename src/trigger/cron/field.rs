//! The six fields: their names, ranges and the words that stand for numbers.

/// One place in an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Second,
    Minute,
    Hour,
    MonthDay,
    Month,
    WeekDay,
}

pub(super) const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

impl Field {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::MonthDay => "day of month",
            Self::Month => "month",
            Self::WeekDay => "day of week",
        }
    }

    pub(super) fn min(self) -> u32 {
        match self {
            Self::MonthDay | Self::Month => 1,
            Self::Second | Self::Minute | Self::Hour | Self::WeekDay => 0,
        }
    }

    /// The largest number that may be written; 7 is a second name of Sunday.
    pub(super) fn max(self) -> u32 {
        match self {
            Self::WeekDay => 7,
            _ => self.last(),
        }
    }

    /// The largest of the values that differ.
    pub(super) fn last(self) -> u32 {
        match self {
            Self::Second | Self::Minute => 59,
            Self::Hour => 23,
            Self::MonthDay => 31,
            Self::Month => 12,
            Self::WeekDay => 6,
        }
    }

    /// The words that stand for `min()`, `min() + 1` and so on.
    pub(super) fn words(self) -> &'static [&'static str] {
        match self {
            Self::Month => &MONTHS,
            Self::WeekDay => &DAYS,
            Self::Second | Self::Minute | Self::Hour | Self::MonthDay => &[],
        }
    }

    /// Bits `from..=to`; none where the range is empty.
    pub(super) fn bits(from: u32, to: u32) -> u64 {
        (from..=to).fold(0, |bits, value| bits | 1 << value)
    }

    /// All values of this field as bits.
    pub(super) fn full(self) -> u64 {
        Self::bits(self.min(), self.last())
    }
}

/// The numbers of the bits that are set, smallest first.
pub(super) fn values(mut bits: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let value = (bits != 0).then(|| bits.trailing_zeros())?;
        bits &= bits - 1;
        Some(value)
    })
}

/// The runs of neighbouring bits, as first and last number.
pub(super) fn runs(bits: u64) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for value in values(bits) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == value => *last = value,
            _ => runs.push((value, value)),
        }
    }
    runs
}
