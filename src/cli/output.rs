//! What verbs print with: tables, times, JSON, and a last line that survives a closed pipe.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;

use super::error::CliError;
use crate::model::safe_json;

/// Prints text to standard output; colours are left out where nobody sees them.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Prints one JSON document, in which nothing steers a terminal.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
    print(&format!("{}\n", safe_json(&text)))
}

/// A table without lines, as wide as it needs to be, or as the terminal is.
pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().copied());
    table
}

/// A table as text: no trailing blanks, no leading one.
pub(super) fn table_text(table: &Table) -> String {
    let mut text = String::new();
    for line in table.to_string().lines() {
        text.push_str(line.trim_end().strip_prefix(' ').unwrap_or(line.trim_end()));
        text.push('\n');
    }
    text
}

/// A time as people read it, in the zone that they are told.
pub(super) fn local(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A time with its zone's short name.
pub(super) fn local_with_zone(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%a %Y-%m-%d %H:%M:%S %Z").to_string()
}

/// A length of time in one or two units: `234ms`, `1.5s`, `3m12s`.
pub(super) fn duration(ms: i64) -> String {
    match ms {
        ..1_000 => format!("{ms}ms"),
        1_000..60_000 => format!("{}.{}s", ms / 1_000, ms % 1_000 / 100),
        60_000..3_600_000 => format!("{}m{}s", ms / 60_000, ms % 60_000 / 1_000),
        _ => format!("{}h{}m", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

/// The text with the times that stand in it, as records have them, told in that zone; and nothing that steers a terminal.
pub(super) fn times_in(text: &str, zone: &TimeZone) -> String {
    let told = |word: &str| {
        let bare = word.trim_end_matches([',', ';', ':', '.', ')']);
        match bare.parse::<Timestamp>() {
            Ok(time) => format!("{}{}", local_with_zone(time, zone), &word[bare.len()..]),
            Err(_) => word.to_string(),
        }
    };
    safe(&text.split(' ').map(told).collect::<Vec<_>>().join(" "))
}

/// What a job printed, as a terminal may be shown it. What is not UTF-8 is `\u{fffd}`, the sign for that; a carriage return
/// before the line break belongs to that.
pub(super) fn safe_bytes(text: &[u8]) -> String {
    safe(&String::from_utf8_lossy(text.strip_suffix(b"\r").unwrap_or(text)))
}

/// A text that cannot steer a terminal: control characters are shown as escapes. A tab stays.
pub(super) fn safe(text: &str) -> String {
    crate::model::safe(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_records_are_told_in_the_zone() {
        let zone = TimeZone::get("Asia/Tokyo").unwrap();
        let told = times_in("down from 2026-11-22T01:10:10.804Z to 2026-11-22T04:10:10.810Z; \u{1b}[1m 5", &zone);
        assert_eq!(told, "down from Sun 2026-11-22 10:10:10 JST to Sun 2026-11-22 13:10:10 JST; \\u{1b}[1m 5");
    }

    #[test]
    fn nothing_that_is_shown_steers_a_terminal() {
        let wild = "\u{1b}[31mred\tx\r\u{9b}2J\u{202e}\u{2066}\u{7f}é";
        assert_eq!(safe(wild), "\\u{1b}[31mred\tx\\r\\u{9b}2J\\u{202e}\\u{2066}\\u{7f}é");
        assert_eq!(safe_bytes(b"a\xffb\0\r"), "a\u{fffd}b\\u{0}");
    }

    #[test]
    fn lengths_of_time_are_short() {
        let all: Vec<String> = [0, 234, 1_000, 1_559, 61_000, 3_599_999, 3_660_000].map(duration).to_vec();
        assert_eq!(all, ["0ms", "234ms", "1.0s", "1.5s", "1m1s", "59m59s", "1h1m"]);
    }
}
