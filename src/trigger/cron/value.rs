//! One number or name in a field.

use super::error::CronError;
use super::field::Field;
use super::part::Part;

/// A number or a name as the field's number; 7 stays 7 in the day-of-week field.
pub(super) fn value(part: Part<'_>, field: Field) -> Result<u32, CronError> {
    let name = field.name();
    if part.text.is_empty() {
        return Err(CronError::new(format!("{name} is missing a value"), part.span()));
    }
    if part.text.bytes().all(|byte| byte.is_ascii_digit()) {
        return number(part, field.name(), field.min(), field.max());
    }
    if let Some(index) = field.words().iter().position(|word| part.is(word)) {
        return Ok(field.min() + u32::try_from(index).unwrap_or(0));
    }
    Err(not_a_value(part, field))
}

/// A number from `min` to `max`; `what` names it in the message.
pub(super) fn number(part: Part<'_>, what: &str, min: u32, max: u32) -> Result<u32, CronError> {
    if part.text.is_empty() || !part.text.bytes().all(|byte| byte.is_ascii_digit()) {
        let message = format!("{what} \"{}\" is not a number", part.shown());
        return Err(CronError::new(message, part.span()));
    }
    // A number too long for the type is outside every range.
    let value = part.text.parse::<u32>().unwrap_or(u32::MAX);
    if value < min || value > max {
        let message = format!("{what} {} is outside {min}-{max}", part.shown());
        return Err(CronError::new(message, part.span()));
    }
    Ok(value)
}

fn not_a_value(part: Part<'_>, field: Field) -> CronError {
    let shown = part.shown();
    let wordy = part.text.chars().all(char::is_alphabetic);
    let message = match field {
        Field::WeekDay if wordy => format!("unknown day name \"{shown}\""),
        Field::Month if wordy => format!("unknown month name \"{shown}\""),
        _ => format!("{} \"{shown}\" is not a number", field.name()),
    };
    let error = CronError::new(message, part.span());
    if part.text.contains('?') {
        return error.help("`?` stands alone and in the day fields only; write `*`");
    }
    if part.text.contains('*') {
        return error.help("`*` stands alone or before a step, as in `*/5`");
    }
    if part.text.starts_with('-') {
        return error.help("negative numbers are not taken; a range has a number on both sides");
    }
    match closest(part.text, field.words()) {
        Some(word) => error.help(format!("did you mean {word}?")),
        None if wordy && !field.words().is_empty() => error.help(format!("names are {}", field.words().join(", "))),
        None => error,
    }
}

/// The name that was probably meant: the start of a longer word, else at most one letter away.
///
/// Of several equally near ones a name with the same first letter wins.
pub(super) fn closest<'a>(text: &str, words: &[&'a str]) -> Option<&'a str> {
    let text: Vec<char> = text.chars().take(12).map(|c| c.to_ascii_lowercase()).collect();
    let begins = |word: &&&str| text.len() > word.len() && text.iter().copied().zip(word.chars()).all(|(a, b)| a == b);
    if let Some(word) = words.iter().find(begins) {
        return Some(word);
    }
    words
        .iter()
        .filter(|word| one_edit(&text, word))
        .min_by_key(|word| word.chars().next() != text.first().copied())
        .copied()
}

/// One letter changed, added, left out, or two neighbours swapped.
fn one_edit(text: &[char], word: &str) -> bool {
    let word: Vec<char> = word.chars().collect();
    let same = text.iter().zip(&word).take_while(|(a, b)| a == b).count();
    let (text, word) = (text.get(same..).unwrap_or(&[]), word.get(same..).unwrap_or(&[]));
    match (text, word) {
        ([a, b, rest @ ..], [c, d, tail @ ..]) if a == d && b == c && rest == tail => true,
        ([_, rest @ ..], [_, tail @ ..]) if rest == tail => true,
        ([_, rest @ ..], tail) if rest == tail => true,
        (rest, [_, tail @ ..]) => rest == tail,
        _ => false,
    }
}
