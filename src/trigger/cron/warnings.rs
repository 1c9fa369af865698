//! What is right but often meant otherwise.

use super::error::CronWarning;
use super::fields::Fields;
use super::words::words;
use super::words_days::dates;

/// All warnings about one expression.
pub(super) fn warnings(fields: &Fields) -> Vec<CronWarning> {
    let mut warnings = Vec::new();
    if fields.with_seconds {
        warnings.push(CronWarning {
            message: format!("six fields put seconds first; this means: {}", words(fields)),
            help: Some("for minutes first write five fields".to_owned()),
        });
    }
    let (month, week) = (&fields.month_days, &fields.week_days);
    if !month.is_full() && !week.is_full() && !fields.either_day() {
        let starred = match (month.star, week.star) {
            (true, true) => "both day fields begin",
            (true, false) => "the day-of-month field begins",
            (false, _) => "the day-of-week field begins",
        };
        let instead = match (month.star, week.star) {
            (true, true) => "begin them with numbers, such as `1-31/2` and `0-6/2`",
            (true, false) => "begin it with a number, such as `1-31/2` for `*/2`",
            (false, _) => "begin it with a number, such as `0-6/2` for `*/2`",
        };
        warnings.push(CronWarning {
            message: format!("{starred} with `*`, so a date must satisfy both: {}", dates(fields)),
            help: Some(format!("if either should suffice, {instead}")),
        });
    }
    warnings
}
