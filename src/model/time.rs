use jiff::Timestamp;

/// A time as every record, page and JSON document says it: RFC 3339 in UTC with milliseconds.
pub fn rfc3339(time: Timestamp) -> String {
    match digits(time) {
        Some(digits) => String::from_utf8_lossy(&digits).into_owned(),
        None => format!("{time:.3}"),
    }
}

/// The same without allocating, for the years 1970 to 9999: each record has dozens of times.
pub fn digits(time: Timestamp) -> Option<[u8; 24]> {
    let ms = u64::try_from(time.as_millisecond()).ok()?;
    let (days, in_day) = (ms / 86_400_000, ms % 86_400_000);
    // From days to a date, the years beginning with March so that a leap day is their last (H. Hinnant: chrono-compatible
    // low-level date algorithms).
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    if year > 9_999 {
        return None;
    }
    let mut text = *b"0000-00-00T00:00:00.000Z";
    let mut put = |end: usize, length: usize, mut number: u64| {
        for place in text[end - length..end].iter_mut().rev() {
            *place = b'0' + (number % 10) as u8;
            number /= 10;
        }
    };
    put(4, 4, year);
    put(7, 2, month);
    put(10, 2, day);
    put(13, 2, in_day / 3_600_000);
    put(16, 2, in_day / 60_000 % 60);
    put(19, 2, in_day / 1_000 % 60);
    put(23, 3, in_day % 1_000);
    Some(text)
}

/// Reads what [`digits`] writes; `None`: it is written in another way, and may be a time nevertheless.
pub fn from_digits(text: &str) -> Option<Timestamp> {
    let text: &[u8; 24] = text.as_bytes().try_into().ok()?;
    let shape = |at: usize| text[at];
    if [shape(4), shape(7), shape(10), shape(13), shape(16), shape(19), shape(23)] != *b"--T::.Z" {
        return None;
    }
    let number = |from: usize, length: usize| {
        text[from..from + length]
            .iter()
            .try_fold(0i64, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second, ms) = (number(11, 2)?, number(14, 2)?, number(17, 2)?, number(20, 3)?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year < 1970 || !(1..=length).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // The reverse of what `digits` does.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    let in_day = ((hour * 60 + minute) * 60 + second) * 1_000 + ms;
    Timestamp::from_millisecond(days * 86_400_000 + in_day).ok()
}

/// For `#[serde(with = "serde_rfc3339")]`: a time as [`rfc3339`] says it.
pub mod serde_rfc3339 {
    use std::borrow::Cow;
    use std::fmt;

    use jiff::Timestamp;
    use serde::de::{Error, Visitor};
    use serde::{Deserialize, Deserializer, Serializer};

    /// Reads the text where it stands: a ledger has a million of them.
    struct Text;

    impl Visitor<'_> for Text {
        type Value = Timestamp;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a time as of RFC 3339")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Timestamp, E> {
            match super::from_digits(text) {
                Some(time) => Ok(time),
                None => text.parse().map_err(E::custom),
            }
        }
    }

    pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        match super::digits(*time) {
            Some(digits) => serializer.serialize_str(&String::from_utf8_lossy(&digits)),
            None => serializer.collect_str(&format_args!("{time:.3}")),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        deserializer.deserialize_str(Text)
    }

    /// The same for a time that can be absent (`null`).
    pub mod option {
        use super::*;

        pub fn serialize<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
            match time {
                Some(time) => super::serialize(time, serializer),
                None => serializer.serialize_none(),
            }
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
            Option::<Cow<str>>::deserialize(deserializer)?
                .map(|text| text.parse().map_err(D::Error::custom))
                .transpose()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_have_milliseconds_always() {
        let time = jiff::Timestamp::from_millisecond(1_705_309_205_000).unwrap();
        assert_eq!(super::rfc3339(time), "2024-01-15T09:00:05.000Z");
        assert_eq!(super::rfc3339(time + jiff::SignedDuration::from_micros(1_999)), "2024-01-15T09:00:05.001Z");
    }

    proptest! {
        #[test]
        fn digits_are_what_the_calendar_says(ms in -62_135_596_800_000i64..=253_402_207_200_999, ns in 0..1_000_000i32) {
            let time = Timestamp::from_millisecond(ms).unwrap();
            let time = time.checked_add(jiff::SignedDuration::new(0, ns)).unwrap();
            prop_assert_eq!(rfc3339(time), format!("{time:.3}"));
        }

        #[test]
        fn digits_are_read_as_the_library_reads_them(ms in -86_400_000i64..=253_402_207_200_999) {
            let time = Timestamp::from_millisecond(ms).unwrap();
            let text = rfc3339(time);
            let read = from_digits(&text);
            prop_assert_eq!(read.unwrap_or_else(|| text.parse().unwrap()), time);
            prop_assert_eq!(read.is_some(), ms >= 0, "{}", text);
        }

        #[test]
        fn what_is_no_time_is_not_read_as_one(
            year in 1969..2030u32, month in 0..14u32, day in 0..33u32, hour in 0..26u32, minute in 0..62u32, second in 0..62u32,
        ) {
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.120Z");
            if let Some(time) = from_digits(&text) {
                prop_assert_eq!(text.parse::<Timestamp>().ok(), Some(time));
            } else if let Ok(time) = text.parse::<Timestamp>() {
                // A leap second is left to the library.
                prop_assert!(second == 60 || time < Timestamp::UNIX_EPOCH, "{}", text);
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_of_that_length_is_read_as_the_library_reads_it(text in "[0-9TZ:. +-]{24}") {
            if let Some(time) = from_digits(&text) {
                prop_assert_eq!(text.parse::<Timestamp>().ok(), Some(time));
            }
        }
    }

    #[test]
    fn days_that_calendars_get_wrong() {
        for text in [
            "1970-01-01T00:00:00.000Z",
            "2000-02-29T23:59:59.999Z",
            "2100-02-28T00:00:00.001Z",
            "2100-03-01T00:00:00.000Z",
            "2024-12-31T12:00:00.500Z",
            "9999-12-30T22:00:00.000Z",
        ] {
            let time: Timestamp = text.parse().unwrap();
            assert_eq!(digits(time).as_ref().map(|digits| &digits[..]), Some(text.as_bytes()));
        }
    }
}
