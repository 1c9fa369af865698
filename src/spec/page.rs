//! One file as it is shown: gives findings their line, column and source line.

use super::tree::{Node, Place, Tree};
use crate::model::{Fault, Problem};

/// Lines longer than this are cut around the place that is meant.
const LONGEST_LINE: usize = 400;
const BEFORE: usize = 100;

/// A file's path and text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page<'a> {
    /// As shown, from the configuration directory.
    pub path: &'a str,
    pub text: &'a str,
}

impl Page<'_> {
    /// A problem at a place; `length` in characters.
    pub fn problem(&self, place: Place, length: usize, message: impl Into<String>) -> Problem {
        let (source_line, source_column) = self.line_around(place);
        let column = place.column as usize;
        let rest = (source_column + source_line.chars().count()).saturating_sub(column);
        Problem {
            line: place.line as usize,
            column,
            length: length.clamp(1, rest.max(1)),
            source_line,
            source_column,
            ..Problem::of_file(self.path, message)
        }
    }

    /// How many characters a place covers: a scalar to its end, or to the end of its first line.
    pub fn length(&self, place: Place) -> usize {
        self.slice(place).lines().next().map_or(0, |line| line.chars().count())
    }

    /// The text of a place as the file has it.
    pub fn slice(&self, place: Place) -> &str {
        let start = place.start as usize;
        self.text.get(start..start + place.bytes as usize).unwrap_or_default()
    }

    /// The place of a byte; a walk through the text, for the one error of a file that could not be read.
    pub fn place_of_byte(&self, byte: usize) -> Place {
        let before = self.text.get(..byte).unwrap_or(self.text);
        let line_start = before.rfind(['\n', '\r']).map_or(0, |at| at + 1);
        Place {
            line: before.replace("\r\n", "\n").matches(['\n', '\r']).count() as u32 + 1,
            column: before[line_start..].chars().count() as u32 + 1,
            start: before.len() as u32,
            bytes: 0,
        }
    }

    /// The place of a line and a column in characters, both from 1.
    pub fn place_of(&self, line: usize, column: usize) -> Place {
        let bytes = self.text.as_bytes();
        let breaks = |at: &usize| bytes[*at] == b'\n' || bytes[*at] == b'\r' && bytes.get(at + 1) != Some(&b'\n');
        let start = match line {
            0 | 1 => 0,
            line => (0..bytes.len()).filter(breaks).nth(line - 2).map_or(bytes.len(), |at| at + 1),
        };
        let text = self.text[start..].split(['\n', '\r']).next().unwrap_or_default();
        let inside = text.char_indices().nth(column.saturating_sub(1)).map_or(text.len(), |(at, _)| at);
        Place { line: line as u32, column: column as u32, start: (start + inside) as u32, bytes: 0 }
    }

    /// The bytes of a node's text that are meant, as a place of their own and a length in characters.
    ///
    /// Exact inside a scalar on one line without escapes; the whole value otherwise.
    pub fn within(&self, node: &Node, span: &std::ops::Range<usize>) -> (Place, usize) {
        let whole = (node.place, self.length(node.place));
        let Tree::Text { text, filled: None } = &node.tree else { return whole };
        let source = self.slice(node.place);
        let inner = match source.as_bytes() {
            [b'"', .., b'"'] | [b'\'', .., b'\''] => &source[1..source.len() - 1],
            _ => source,
        };
        let (Some(before), Some(meant)) = (text.get(..span.start), text.get(span.clone())) else { return whole };
        if inner != text || text.contains(['\n', '\r']) {
            return whole;
        }
        let quote = (source.len() != inner.len()) as usize;
        let place = Place {
            column: node.place.column + (quote + before.chars().count()) as u32,
            start: node.place.start + (quote + span.start) as u32,
            bytes: meant.len() as u32,
            ..node.place
        };
        (place, meant.chars().count())
    }

    /// A fault of a node that stands in this file.
    pub fn fault(&self, node: &Node, fault: Fault) -> Problem {
        let (place, length) = match &fault.span {
            Some(span) => self.within(node, span),
            None => (node.place, self.length(node.place)),
        };
        let problem = self.problem(place, length, fault.message);
        Problem { severity: fault.severity, help: fault.help, ..problem }
    }

    /// The whole line of a place.
    pub fn line(&self, place: Place) -> &str {
        let (before, after) = self.text.split_at_checked(place.start as usize).unwrap_or((self.text, ""));
        let start = before.rfind(['\n', '\r']).map_or(0, |newline| newline + 1);
        let end = before.len() + after.find(['\n', '\r']).unwrap_or(after.len());
        &self.text[start..end]
    }

    fn line_around(&self, place: Place) -> (String, usize) {
        let at = (place.start as usize).min(self.text.len());
        let (Some(before), Some(after)) = (self.text.get(..at), self.text.get(at..)) else { return (String::new(), 1) };
        let start = before.rfind(['\n', '\r']).map_or(0, |newline| newline + 1);
        let end = after.find(['\n', '\r']).map_or(self.text.len(), |newline| at + newline);
        let line = &self.text[start..end];
        if line.len() <= LONGEST_LINE {
            return (line.to_string(), 1);
        }
        let head = self.text[start..at].char_indices().rev().take(BEFORE).last().map_or(at, |(i, _)| start + i);
        let cut = self.text[head..end].chars().take(LONGEST_LINE).collect::<String>();
        let skipped = self.text[head..at].chars().count();
        (cut, (place.column as usize).saturating_sub(skipped).max(1))
    }
}
