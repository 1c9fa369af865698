//! A line of `output.log`: `TIME RUN TAG TEXT`.
//!
//! Tags are `out` and `err` for the streams and `---` for the runner's own markers. `out+` and `err+` say that the text goes on in
//! this run's next piece of the same stream without a line break: a line longer than a piece, or a last one that had no
//! line break. So what a job printed can be given back exactly.

use jiff::Timestamp;

use crate::model::{RunId, Stream};

/// What a line of `output.log` holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// A line of a stream.
    Line(Stream),
    /// A piece of a line: the rest follows.
    Piece(Stream),
    /// The runner's own words.
    Marker,
}

/// One line of `output.log`, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputLine<'a> {
    /// RFC 3339 in UTC with milliseconds; sorts as it stands.
    pub time: &'a str,
    pub run: &'a str,
    pub tag: Tag,
    /// As printed: any bytes but a line feed.
    pub text: &'a [u8],
}

const TIME_LENGTH: usize = 24;
const RUN_LENGTH: usize = 36;
/// Time, run and tag with a space behind each.
pub(super) const PREFIX_LENGTH: usize = TIME_LENGTH + 1 + RUN_LENGTH + 1 + 4 + 1;

impl<'a> OutputLine<'a> {
    /// Takes a line apart, without its line break; `None` if it is not one that the runner wrote.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let time = std::str::from_utf8(line.get(..TIME_LENGTH)?).ok()?;
        let run = std::str::from_utf8(line.get(TIME_LENGTH + 1..TIME_LENGTH + 1 + RUN_LENGTH)?).ok()?;
        let rest = line.get(TIME_LENGTH + 1 + RUN_LENGTH + 1..)?;
        if !time.ends_with('Z') || line[TIME_LENGTH] != b' ' || line[TIME_LENGTH + 1 + RUN_LENGTH] != b' ' {
            return None;
        }
        let tags: [(&[u8], Tag); 5] = [
            (b"out ", Tag::Line(Stream::Out)),
            (b"err ", Tag::Line(Stream::Err)),
            (b"out+ ", Tag::Piece(Stream::Out)),
            (b"err+ ", Tag::Piece(Stream::Err)),
            (b"--- ", Tag::Marker),
        ];
        let (tag, text) = tags.iter().find_map(|(word, tag)| Some((*tag, rest.strip_prefix(*word)?)))?;
        Some(Self { time, run, tag, text })
    }
}

/// Writes lines of one run at one time: the part before the tag is made once.
#[derive(Debug)]
pub(super) struct Prefix {
    bytes: [u8; TIME_LENGTH + 1 + RUN_LENGTH + 1],
    time: Option<i64>,
}

impl Prefix {
    pub fn new(run: RunId) -> Self {
        let mut bytes = [b' '; TIME_LENGTH + 1 + RUN_LENGTH + 1];
        bytes[TIME_LENGTH + 1..TIME_LENGTH + 1 + RUN_LENGTH].copy_from_slice(run.to_string().as_bytes());
        Self { bytes, time: None }
    }

    /// The lines that follow are stamped with this time.
    pub fn at(&mut self, time: Timestamp) {
        let ms = time.as_millisecond();
        if self.time != Some(ms) {
            self.time = Some(ms);
            let text = crate::model::rfc3339(time);
            if text.len() == TIME_LENGTH {
                self.bytes[..TIME_LENGTH].copy_from_slice(text.as_bytes());
            }
        }
    }

    pub fn write(&self, tag: Tag, text: &[u8], into: &mut Vec<u8>) {
        let word: &[u8] = match tag {
            Tag::Line(Stream::Out) => b"out ",
            Tag::Line(Stream::Err) => b"err ",
            Tag::Piece(Stream::Out) => b"out+ ",
            Tag::Piece(Stream::Err) => b"err+ ",
            Tag::Marker => b"--- ",
        };
        into.reserve(self.bytes.len() + word.len() + text.len() + 1);
        into.extend_from_slice(&self.bytes);
        into.extend_from_slice(word);
        into.extend_from_slice(text);
        into.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_as_it_was_written() {
        let mut prefix = Prefix::new(RunId::from_u128(7));
        prefix.at(Timestamp::from_millisecond(1_705_309_205_123).unwrap());
        for tag in [
            Tag::Line(Stream::Out),
            Tag::Line(Stream::Err),
            Tag::Piece(Stream::Out),
            Tag::Piece(Stream::Err),
            Tag::Marker,
        ] {
            let mut bytes = Vec::new();
            prefix.write(tag, b" a\xffb\r ", &mut bytes);
            let line = OutputLine::parse(bytes.strip_suffix(b"\n").unwrap()).unwrap();
            assert_eq!((line.tag, line.text), (tag, &b" a\xffb\r "[..]));
            assert_eq!(line.time, "2024-01-15T09:00:05.123Z");
            assert_eq!(line.run.parse::<RunId>().unwrap(), RunId::from_u128(7));
        }
        assert_eq!(OutputLine::parse(b"something else"), None);
    }
}
