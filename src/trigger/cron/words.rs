//! An expression in words: first the clock, then the dates; true to the meaning before short.

use super::field::{Field, runs, values};
use super::fields::Fields;
use super::words_days::dates;

/// Up to this many times of day are listed one by one.
const LISTED: u32 = 6;

/// The clock part, which reads differently together with dates.
enum Clock {
    /// "at 09:00"
    At(String),
    /// "every 5 minutes"
    Every(String),
}

/// The whole meaning, e.g. "Monday to Friday at 09:00".
pub(super) fn words(fields: &Fields) -> String {
    let dates = dates(fields);
    match clock(fields) {
        Clock::At(times) if dates.is_empty() => format!("every day {times}"),
        Clock::At(times) if fields.every_day() => format!("every day {dates} {times}"),
        Clock::At(times) => format!("{dates} {times}"),
        Clock::Every(rhythm) if dates.is_empty() => rhythm,
        Clock::Every(rhythm) => format!("{rhythm}, {dates}"),
    }
}

fn clock(fields: &Fields) -> Clock {
    let Fields { seconds, minutes, hours, .. } = *fields;
    let count = minutes.count_ones() * hours.count_ones();
    if seconds.count_ones() == 1 && count <= LISTED {
        let second = seconds.trailing_zeros();
        let times: Vec<String> =
            values(hours).flat_map(|hour| values(minutes).map(move |minute| time(hour, minute, second))).collect();
        return Clock::At(format!("at {}", join(&times)));
    }
    if seconds == 1 {
        return Clock::Every(minutely(minutes, hours));
    }
    let all_day = minutes == Field::Minute.full() && hours == Field::Hour.full();
    Clock::Every(match (divides_hour(seconds), all_day) {
        (Some(step), true) => every(step, "second"),
        (Some(step), false) => format!("{} of {}", every(step, "second"), hourly(minutes, hours)),
        (None, true) => format!("at {} of every minute", listed(seconds, "second")),
        (None, false) => format!("at {} of {}", listed(seconds, "second"), hourly(minutes, hours)),
    })
}

/// Once in each minute that is named, at its start.
fn minutely(minutes: u64, hours: u64) -> String {
    let all_hours = hours == Field::Hour.full();
    let (first, last) = (minutes.trailing_zeros(), minutes.ilog2());
    let span = |step: String| {
        let (begin, end) = (hours.trailing_zeros(), hours.ilog2());
        format!("{step} from {} to {}", time(begin, first, 0), time(end, last, 0))
    };
    match (divides_hour(minutes), step(hours)) {
        (Some(step), _) if all_hours => every(step, "minute"),
        (Some(step), _) if runs(hours).len() == 1 => span(every(step, "minute")),
        _ if all_hours && minutes == 1 => "every hour".to_owned(),
        (None, Some(step)) if first == last && !all_hours => span(every(step, "hour")),
        (Some(step), _) => format!("{} of {}", every(step, "minute"), listed(hours, "hour")),
        _ => format!("at {}", hourly(minutes, hours)),
    }
}

/// "minute 30 of every hour"
fn hourly(minutes: u64, hours: u64) -> String {
    let unit = |bits, field: Field| {
        if bits == field.full() { format!("every {}", field.name()) } else { listed(bits, field.name()) }
    };
    format!("{} of {}", unit(minutes, Field::Minute), unit(hours, Field::Hour))
}

/// The step of values that begin at 0 and go on evenly over the end of the minute or hour.
fn divides_hour(bits: u64) -> Option<u32> {
    step(bits).filter(|step| bits & 1 == 1 && bits.ilog2() + step == 60)
}

/// The step between at least two values, if it is always the same.
fn step(bits: u64) -> Option<u32> {
    let numbers: Vec<u32> = values(bits).collect();
    let mut steps = numbers.iter().zip(numbers.iter().skip(1)).map(|(a, b)| b - a);
    let first = steps.next()?;
    steps.all(|step| step == first).then_some(first)
}

fn every(step: u32, unit: &str) -> String {
    match step {
        1 => format!("every {unit}"),
        _ => format!("every {step} {unit}s"),
    }
}

fn time(hour: u32, minute: u32, second: u32) -> String {
    match second {
        0 => format!("{hour:02}:{minute:02}"),
        _ => format!("{hour:02}:{minute:02}:{second:02}"),
    }
}

/// "minute 30", "hours 9 to 17 and 20"
pub(super) fn listed(bits: u64, unit: &str) -> String {
    let plural = if bits.count_ones() == 1 { "" } else { "s" };
    format!("{unit}{plural} {}", join(&ranges(bits, |value| value.to_string())))
}

/// The values by name, three or more neighbours as "a to c".
pub(super) fn ranges(bits: u64, name: impl Fn(u32) -> String) -> Vec<String> {
    let mut words = Vec::new();
    for (first, last) in runs(bits) {
        if last - first >= 2 {
            words.push(format!("{} to {}", name(first), name(last)));
        } else {
            words.extend((first..=last).map(&name));
        }
    }
    words
}

/// "a, b and c"
pub(super) fn join(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
