//! Bytes to text: UTF-8 or a clear refusal.

use super::page::Page;
use crate::model::Problem;

/// How many bytes a file may have.
pub const LARGEST: usize = 1 << 20;

/// The text of a file, without a byte order mark.
pub(super) fn decode<'a>(path: &str, bytes: &'a [u8]) -> Result<&'a str, Box<Problem>> {
    if bytes.len() > LARGEST {
        let message = format!("the file has {} bytes, at most 1 MiB is read", bytes.len());
        return Err(Problem::of_file(path, message).into());
    }
    let utf16 = matches!(bytes, [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..]);
    let utf16_unmarked = matches!(bytes, [0, first, ..] | [first, 0, ..] if first.is_ascii() && *first != 0);
    if utf16 || utf16_unmarked {
        return Err(Problem::of_file(path, "the file is UTF-16, only UTF-8 is read")
            .help("save it as UTF-8, for example with `iconv -f UTF-16 -t UTF-8`")
            .into());
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => Err(not_utf8(path, bytes, error.valid_up_to()).into()),
    }
}

fn not_utf8(path: &str, bytes: &[u8], bad: usize) -> Problem {
    let end = bytes[bad..].iter().position(|b| *b == b'\n').map_or(bytes.len(), |length| bad + length);
    let text = String::from_utf8_lossy(&bytes[..end]);
    let page = Page { path, text: text.strip_prefix('\u{feff}').unwrap_or(&text) };
    let start = bad - (text.len() - page.text.len());
    let mut problem = page.problem(page.place_of_byte(start), 1, format!("byte 0x{:02X} is not UTF-8", bytes[bad]));
    problem.help = Some("save the file as UTF-8".into());
    problem
}
