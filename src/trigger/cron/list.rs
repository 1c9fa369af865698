//! One field: a list of values, ranges and steps, as bits.

use super::error::CronError;
use super::field::Field;
use super::hash::{HashKey, hash_last};
use super::part::Part;
use super::value::{number, value};

/// The bits of one part of a field's list; `index` is its place in the list.
pub(super) fn term(part: Part<'_>, field: Field, key: HashKey, index: usize) -> Result<u64, CronError> {
    let (body, step) = match part.cut('/') {
        Some((body, step)) => (body, Some(self::step(step, field)?)),
        None => (part, None),
    };
    if let Some(rest) = body.without_start("h")
        && (rest.text.is_empty() || rest.text.starts_with('('))
    {
        let (first, last) = hash_range(rest, field)?;
        return hashed(part, field, first, last, step, key, index);
    }
    let (first, last) = match body.cut('-') {
        _ if body.text == "*" => (field.min(), field.last()),
        Some((from, to)) => range(body, from, to, field)?,
        None => {
            let first = value(body, field)?;
            // A number with a step runs to the end of the range, as in Quartz; Vixie's cron refuses it.
            (first, if step.is_some() { field.last().max(first) } else { first })
        }
    };
    Ok(spread(field, first, last, step.unwrap_or(1)))
}

/// Every `step`-th value; Sunday's 7 becomes 0.
fn spread(field: Field, first: u32, last: u32, step: u32) -> u64 {
    let size = field.last() + u32::from(field.min() == 0);
    let place = |value| {
        if field == Field::WeekDay { value % size } else { value }
    };
    (first..=last).step_by(usize::try_from(step).unwrap_or(1)).fold(0, |bits, value| bits | 1 << place(value))
}

fn range(whole: Part<'_>, from: Part<'_>, to: Part<'_>, field: Field) -> Result<(u32, u32), CronError> {
    let name = field.name();
    if from.text.is_empty() || to.text.is_empty() {
        let message = format!("{name} range \"{}\" lacks a value on one side", whole.shown());
        return Err(CronError::new(message, whole.span()).help("ranges look like 1-5"));
    }
    let (first, mut last) = (value(from, field)?, value(to, field)?);
    if field == Field::WeekDay && last == 0 && first > 0 && !to.text.starts_with('0') {
        last = 7; // "fri-sun"
    }
    if first <= last {
        return Ok((first, last));
    }
    let message = format!("{name} range {} runs backwards", whole.shown());
    let end = field.words().get(6).filter(|_| field == Field::WeekDay);
    let (from, to) = (from.text.to_lowercase(), to.text.to_lowercase());
    let worded = from.bytes().any(|byte| byte.is_ascii_alphabetic());
    let help = match (field, end) {
        (Field::WeekDay, _) if first == 7 => format!("write \"0-{to}\""),
        (Field::WeekDay, _) if last == 0 => format!("write \"{from}-7\""),
        (Field::WeekDay, Some(end)) if worded => format!("write \"{from}-{end},sun-{to}\""),
        (Field::Month, _) if worded => format!("write \"{from}-dec,jan-{to}\""),
        _ => format!("write \"{first}-{},{}-{last}\"", field.last(), field.min()),
    };
    Err(CronError::new(message, whole.span()).help(help))
}

fn step(part: Part<'_>, field: Field) -> Result<u32, CronError> {
    let top = if field == Field::WeekDay { 7 } else { field.last() };
    number(part, &format!("{} step", field.name()), 1, top).map_err(|error| match field {
        Field::Second | Field::Minute | Field::Hour if part.text.parse::<u32>().is_ok_and(|step| step > top) => {
            error.help("a step starts anew with the range; for a longer interval use `every:`")
        }
        _ => error,
    })
}

/// The range of `H` or `H(a-b)`; `rest` is what follows the letter.
fn hash_range(rest: Part<'_>, field: Field) -> Result<(u32, u32), CronError> {
    if rest.text.is_empty() {
        return Ok((field.min(), hash_last(field)));
    }
    let inside = rest.without_start("(").and_then(|rest| rest.without_end(")"));
    let Some((whole, (from, to))) = inside.and_then(|inside| Some((inside, inside.cut('-')?))) else {
        let message = format!("{} \"H{}\" is not a hash range", field.name(), rest.shown());
        return Err(CronError::new(message, rest.span()).help("write H, H(0-29), H/15 or H(0-29)/10"));
    };
    range(whole, from, to, field)
}

fn hashed(
    part: Part<'_>,
    field: Field,
    first: u32,
    last: u32,
    step: Option<u32>,
    key: HashKey,
    index: usize,
) -> Result<u64, CronError> {
    let width = last + 1 - first;
    match step {
        None => {
            let chosen = first + key.below(width, field, index);
            Ok(spread(field, chosen, chosen, 1))
        }
        Some(1) => {
            let message = format!("{} step 1 after H has two meanings", field.name());
            Err(CronError::new(message, part.span()).help("write H for one value, * for every value"))
        }
        Some(step) if step > width => {
            let message = format!("{} step {step} is wider than the range {first}-{last}", field.name());
            Err(CronError::new(message, part.span()).help("write H for one value of the range"))
        }
        Some(step) => Ok(spread(field, first + key.below(step, field, index), last, step)),
    }
}
