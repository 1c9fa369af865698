//! A piece of the expression that knows where it stands.

use std::ops::Range;

/// A slice of the text with its place, so that every finding can point at what it is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub text: &'a str,
    pub start: usize,
}

impl<'a> Part<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, start: 0 }
    }

    pub(super) fn span(self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }

    /// The rest without its first `count` bytes, which must end a character.
    pub(super) fn skip(self, count: usize) -> Self {
        Self { text: self.text.get(count..).unwrap_or(""), start: self.start + count.min(self.text.len()) }
    }

    /// The pieces before and after the first `mark`.
    pub(super) fn cut(self, mark: char) -> Option<(Self, Self)> {
        let (before, _) = self.text.split_once(mark)?;
        let after = self.skip(before.len() + mark.len_utf8());
        Some((Self { text: before, ..self }, after))
    }

    /// The piece without its last `end`, in either case, if it ends so.
    pub(super) fn without_end(self, end: &str) -> Option<Self> {
        let at = self.text.len().checked_sub(end.len())?;
        let (text, tail) = self.text.split_at_checked(at)?;
        tail.eq_ignore_ascii_case(end).then_some(Self { text, ..self })
    }

    /// The piece without `start`, in either case, if it begins so.
    pub(super) fn without_start(self, start: &str) -> Option<Self> {
        let (head, _) = self.text.split_at_checked(start.len())?;
        head.eq_ignore_ascii_case(start).then(|| self.skip(start.len()))
    }

    /// The pieces between commas.
    pub(super) fn list(self) -> impl Iterator<Item = Self> {
        let mut rest = Some(self);
        std::iter::from_fn(move || {
            let part = rest.take()?;
            match part.cut(',') {
                Some((first, after)) => {
                    rest = Some(after);
                    Some(first)
                }
                None => Some(part),
            }
        })
    }

    /// The pieces between white space.
    pub(super) fn fields(self) -> impl Iterator<Item = Self> {
        let base = self.start;
        let origin = self.text.as_ptr() as usize;
        self.text.split_whitespace().map(move |text| Self { text, start: base + (text.as_ptr() as usize - origin) })
    }

    pub(super) fn is(self, word: &str) -> bool {
        self.text.eq_ignore_ascii_case(word)
    }

    /// The text for a message, cut where it is too long to be read.
    pub(super) fn shown(self) -> String {
        const LONGEST: usize = 24;
        match self.text.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("{}…", self.text.get(..end).unwrap_or("")),
            None => self.text.to_owned(),
        }
    }
}
