//! Text to meaning: macros, the number of fields, then field by field.

use super::error::CronError;
use super::field::Field;
use super::fields::Fields;
use super::hash::HashKey;
use super::list::term;
use super::part::Part;
use super::special::{month_days, week_days};
use super::value::closest;

const MACROS: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// The meaning of a text, without the question whether it ever comes due.
///
/// # Errors
///
/// The first fault from the left.
pub(super) fn parse(text: &str, hash_key: &str) -> Result<Fields, CronError> {
    let trimmed = trim(text);
    if trimmed.text.starts_with('@') {
        return parse(expand(trimmed)?, hash_key);
    }
    let (parts, count) = split(trimmed);
    let [first, ..] = parts;
    if first.text.contains('=') {
        return Err(CronError::new("a cron expression sets no variable", first.span())
            .help("for a zone use `timezone: Europe/London`"));
    }
    let [second, minute, hour, day, month, weekday] = match count {
        5 => {
            let [minute, hour, day, month, weekday, _] = parts;
            [Part::new("0"), minute, hour, day, month, weekday]
        }
        6 => parts,
        _ => return Err(wrong_count(trimmed, parts, count)),
    };
    let key = HashKey::new(hash_key);
    let list = |part: Part<'_>, field| {
        let mut terms = part.list().enumerate();
        terms.try_fold(0, |bits, (index, part)| Ok(bits | term(part, field, key, index)?))
    };
    Ok(Fields {
        seconds: list(second, Field::Second)?,
        minutes: list(minute, Field::Minute)?,
        hours: list(hour, Field::Hour)?,
        month_days: month_days(day, key)?,
        months: list(month, Field::Month)?,
        week_days: week_days(weekday, key)?,
        every_hour: hour.text.starts_with('*'),
        with_seconds: count == 6,
    })
}

/// The bytes of the day fields and the month between them, for a text that `parse` has accepted.
pub(super) fn date_span(text: &str) -> std::ops::Range<usize> {
    let trimmed = trim(text);
    let (parts, count) = split(trimmed);
    let [_, _, third, fourth, fifth, sixth] = parts;
    match count {
        5 => third.start..fifth.span().end,
        6 => fourth.start..sixth.span().end,
        _ => trimmed.span(),
    }
}

fn trim(text: &str) -> Part<'_> {
    let start = text.len() - text.trim_start().len();
    Part { text: text.trim(), start }
}

/// The first six fields, and how many there are.
fn split(text: Part<'_>) -> ([Part<'_>; 6], usize) {
    let mut parts = [text; 6];
    let mut count = 0;
    for part in text.fields() {
        if let Some(place) = parts.get_mut(count) {
            *place = part;
        }
        count += 1;
    }
    (parts, count)
}

fn wrong_count(text: Part<'_>, parts: [Part<'_>; 6], count: usize) -> CronError {
    let message = format!("expected 5 or 6 fields, found {count}");
    let [.., sixth] = parts;
    if count > 6 {
        let rest = text.skip(sixth.span().end - text.start);
        let start = text.span().end - rest.text.trim_start().len();
        let help = "the fields are [second] minute hour day-of-month month day-of-week; there is no year";
        return CronError::new(message, start..text.span().end).help(help);
    }
    CronError::new(message, text.span()).help("the fields are minute hour day-of-month month day-of-week")
}

fn expand(text: Part<'_>) -> Result<&'static str, CronError> {
    let mut words = text.fields();
    let word = words.next().unwrap_or(text);
    let extra = words.next();
    if word.is("@reboot") {
        return Err(CronError::new("`@reboot` is not a time", word.span()).help("use `on_start: true`"));
    }
    if word.is("@every") {
        let error = CronError::new("`@every` is not a cron macro", word.span());
        return Err(error.help(format!("use `every: {}`", extra.map_or("10m".to_owned(), Part::shown))));
    }
    let Some((name, expression)) = MACROS.iter().find(|(name, _)| word.is(name)) else {
        let names = MACROS.map(|(name, _)| name);
        let known = format!("the macros are {}", names.join(", "));
        let help = match closest(word.text, &names) {
            Some(name) => format!("did you mean {name}? {known}"),
            None => known,
        };
        return Err(CronError::new(format!("unknown macro `{}`", word.shown()), word.span()).help(help));
    };
    match extra {
        Some(extra) => Err(CronError::new(format!("`{name}` stands alone"), extra.start..text.span().end)),
        None => Ok(expression),
    }
}
