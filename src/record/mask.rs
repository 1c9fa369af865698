//! Masks secrets in what a run prints, before any of it is kept.
//!
//! ```text
//! a stream's bytes ─▶ values (across reads) ─▶ lines ─▶ expressions (within a line) ─▶ output.log
//! ```
//!
//! All matches of all values count, also those that overlap; what lies in any of them, or between two that touch, becomes one
//! `***`. Of a stream only those last bytes are held back that may be the beginning of a value, so at most the longest
//! value's length, and only until more comes or the stream ends.

use std::fmt;
use std::ops::Range;

use aho_corasick::automaton::Automaton;
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, MatchKind};
use regex::bytes::Regex;

use crate::model::{SecretValue, Stream};

/// A value with fewer bytes is not masked: it would blank out half of what is printed, and tell by that what it is.
const SHORTEST: usize = 4;
/// A longer line is looked through in pieces of this size.
const LONGEST_LINE: usize = 64 * 1024;
/// How many bytes of values, their lines included, one mask takes: it takes some 50 times as much memory while it is made.
const MOST: usize = 4 << 20;
const STARS: &[u8] = b"***";

/// What is masked in the output of one attempt, and in words about it.
pub struct Mask {
    values: Option<Values>,
    patterns: Vec<Regex>,
}

impl fmt::Debug for Mask {
    /// The automaton is made of the values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mask(***)")
    }
}

/// Finds values in bytes that come piece by piece.
struct Values {
    automaton: NFA,
    start: StateId,
    /// For each state: how many of the bytes that led to it may be the beginning of a value that is not complete. Sorted.
    open: Vec<(StateId, u32)>,
}

type StateId = aho_corasick::automaton::StateID;

impl Mask {
    /// Masks these values, each line of those that have several, and what the expressions match; `None` if there is nothing.
    ///
    /// # Errors
    /// The values are too much for one mask, so that nothing may be printed.
    pub fn new<'a>(
        values: impl IntoIterator<Item = &'a SecretValue>,
        patterns: Vec<Regex>,
    ) -> Result<Option<Self>, TooLarge> {
        let mut parts: Vec<&[u8]> = Vec::new();
        for value in values {
            let value = value.reveal();
            parts.push(value);
            parts.extend(value.split(|byte| *byte == b'\n').filter_map(telling));
        }
        parts.retain(|part| part.len() >= SHORTEST);
        parts.sort_unstable_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        parts.dedup();
        if parts.iter().map(|part| part.len()).sum::<usize>() > MOST {
            return Err(TooLarge);
        }
        let values = if parts.is_empty() { None } else { Some(Values::new(&parts).ok_or(TooLarge)?) };
        Ok((values.is_some() || !patterns.is_empty()).then_some(Self { values, patterns }))
    }

    /// Bytes without the values and what the expressions match, as a text. A value need not be one: what is no UTF-8 is
    /// replaced after that.
    pub fn text(&self, bytes: &[u8]) -> String {
        self.rest_of_text(bytes, 0)
    }

    /// The same of all but the first `hidden` bytes, which only tell where values begin: what may be the beginning of one belongs
    /// to the rest.
    pub fn rest_of_text(&self, bytes: &[u8], hidden: usize) -> String {
        let (before, rest) = bytes.split_at(hidden.min(bytes.len()));
        let mut masker = Masker::default();
        let mut out = Vec::with_capacity(rest.len());
        masker.push(self, before, &mut out);
        out.clear();
        masker.push(self, rest, &mut out);
        masker.finish(self, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }
}

/// Values that are too much for one mask.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secrets are too much to be masked: together, with each of their lines once more, they have over 4 MiB")]
pub struct TooLarge;

/// What is looked for of one line of a value: without what stands around it, such as an indentation or a `\r`. A line of
/// nothing else tells nothing, and would blank out much.
fn telling(line: &[u8]) -> Option<&[u8]> {
    let inner = line.trim_ascii();
    match inner.len() {
        0 => None,
        length if length < SHORTEST => Some(line.strip_suffix(b"\r").unwrap_or(line)),
        _ => Some(inner),
    }
}

impl Values {
    /// `parts`: the shorter ones first, none of them empty. Fails only beyond the largest automaton that can be.
    fn new(parts: &[&[u8]]) -> Option<Self> {
        let automaton = NFA::builder().match_kind(MatchKind::Standard).build(parts).ok()?;
        let start = automaton.start_state(Anchored::No).ok()?;
        let step = |state, byte: &u8| automaton.next_state(Anchored::No, state, *byte);
        // The state after the first n bytes of a value stands for exactly these: no other state has a longer beginning.
        let mut open: Vec<(StateId, u32)> = vec![(start, 0)];
        let mut ends = Vec::with_capacity(parts.len());
        for part in parts {
            let mut state = start;
            for (at, byte) in part.iter().enumerate() {
                state = step(state, byte);
                open.push((state, at as u32 + 1));
            }
            ends.push(state);
        }
        open.sort_unstable();
        open.dedup();
        let mut this = Self { automaton, start, open };
        // A complete value that no longer one begins with is not open any more: only what it ends with may be a beginning.
        // Shorter ones are settled first, since what a value ends with may be one of them.
        let mut by_bytes: Vec<&[u8]> = parts.to_vec();
        by_bytes.sort_unstable();
        for (part, end) in parts.iter().zip(ends) {
            let next = by_bytes.partition_point(|other| other <= part);
            if by_bytes.get(next).is_some_and(|other| other.starts_with(part)) {
                continue;
            }
            let inner =
                part[1..].iter().fold(start, |state, byte| this.automaton.next_state(Anchored::No, state, *byte));
            let rest = this.open_at(inner) as u32;
            if let Ok(at) = this.open.binary_search_by_key(&end, |(state, _)| *state) {
                this.open[at].1 = rest;
            }
        }
        Some(this)
    }

    fn open_at(&self, state: StateId) -> usize {
        self.open.binary_search_by_key(&state, |(state, _)| *state).map_or(0, |at| self.open[at].1 as usize)
    }

    /// The longest value that ends at this state; 0 if none does.
    fn longest_match(&self, state: StateId) -> usize {
        if !self.automaton.is_match(state) {
            return 0;
        }
        let length = |at| self.automaton.pattern_len(self.automaton.match_pattern(state, at));
        (0..self.automaton.match_len(state)).map(length).max().unwrap_or(0)
    }
}

/// One stream on its way through the mask.
#[derive(Default)]
struct Masker {
    state: Option<StateId>,
    /// What was not handed on yet.
    held: Vec<u8>,
    /// What is to be masked of it, in order. The first may be empty: it ended just before what is held.
    ranges: Vec<Range<usize>>,
    /// Whether the stars of the first range stand already.
    has_stars: bool,
    /// The beginning of a line, where there are expressions.
    line: Vec<u8>,
}

impl Masker {
    fn push(&mut self, mask: &Mask, bytes: &[u8], out: &mut Vec<u8>) {
        let Some(values) = &mask.values else { return self.lines(mask, bytes, out) };
        if mask.patterns.is_empty() {
            return self.values(values, bytes, out);
        }
        let mut between = Vec::with_capacity(bytes.len());
        self.values(values, bytes, &mut between);
        self.lines(mask, &between, out);
    }

    fn finish(&mut self, mask: &Mask, out: &mut Vec<u8>) {
        let mut rest = Vec::new();
        self.hand_on(self.held.len(), &mut rest);
        match mask.patterns.is_empty() {
            true => out.append(&mut rest),
            false => self.lines(mask, &rest, out),
        }
        redact(&mask.patterns, &self.line, out);
        *self = Self::default();
    }

    fn values(&mut self, values: &Values, bytes: &[u8], out: &mut Vec<u8>) {
        let before = self.held.len();
        self.held.extend_from_slice(bytes);
        let mut state = self.state.unwrap_or(values.start);
        for (at, byte) in bytes.iter().enumerate() {
            state = values.automaton.next_state(Anchored::No, state, *byte);
            // Few states are special, and those that match are.
            if values.automaton.is_special(state) {
                let length = values.longest_match(state);
                if length > 0 {
                    let end = before + at + 1;
                    self.cover(end.saturating_sub(length)..end);
                }
            }
        }
        self.state = Some(state);
        self.hand_on(self.held.len().saturating_sub(values.open_at(state)), out);
    }

    /// Adds a range that ends behind all others, and makes one of those that it overlaps or touches.
    fn cover(&mut self, mut range: Range<usize>) {
        while let Some(last) = self.ranges.last()
            && range.start <= last.end
        {
            range.start = range.start.min(last.start);
            self.ranges.pop();
        }
        self.ranges.push(range);
    }

    /// Hands on what is held up to `end`, which no value that is still to come can cover.
    fn hand_on(&mut self, end: usize, out: &mut Vec<u8>) {
        let mut at = 0;
        for (number, range) in self.ranges.iter().enumerate() {
            let has_its_stars = number == 0 && self.has_stars;
            if range.start >= end && !has_its_stars {
                break;
            }
            if !has_its_stars {
                out.extend_from_slice(&self.held[at..range.start]);
                out.extend_from_slice(STARS);
            }
            at = range.end.min(end);
        }
        out.extend_from_slice(&self.held[at..end]);
        // One that goes on, or ends just here, stays: what comes may be a part of it.
        let kept = self.ranges.iter().position(|range| range.end >= end).unwrap_or(self.ranges.len());
        let is_handed_on = self.ranges.get(kept).is_some_and(|range| range.start < end);
        self.has_stars = is_handed_on || kept == 0 && self.has_stars;
        self.ranges.drain(..kept);
        for range in &mut self.ranges {
            *range = range.start.saturating_sub(end)..range.end - end;
        }
        self.held.drain(..end);
    }

    /// Puts whole lines together, and hands them on without what the expressions match.
    fn lines(&mut self, mask: &Mask, bytes: &[u8], out: &mut Vec<u8>) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest);
            let room = LONGEST_LINE - self.line.len();
            let take = end.unwrap_or(rest.len()).min(room);
            let is_whole = end == Some(take);
            match (self.line.is_empty(), is_whole || take == room) {
                (true, true) => redact(&mask.patterns, &rest[..take], out),
                (false, true) => {
                    self.line.extend_from_slice(&rest[..take]);
                    redact(&mask.patterns, &self.line, out);
                    self.line.clear();
                }
                (_, false) => self.line.extend_from_slice(&rest[..take]),
            }
            rest = &rest[take..];
            if is_whole {
                out.push(b'\n');
                rest = &rest[1..];
            }
        }
    }
}

/// Hands on a line without what the expressions match.
fn redact(patterns: &[Regex], line: &[u8], out: &mut Vec<u8>) {
    let text = line.strip_suffix(b"\r").unwrap_or(line);
    let found = |pattern: &Regex| pattern.find_iter(text).map(|found| found.range()).collect::<Vec<_>>();
    let mut ranges: Vec<Range<usize>> = patterns.iter().flat_map(found).filter(|range| !range.is_empty()).collect();
    ranges.sort_unstable_by_key(|range| range.start);
    let mut at = 0;
    let mut is_first = true;
    for range in ranges {
        if is_first || range.start > at {
            out.extend_from_slice(&line[at..range.start]);
            out.extend_from_slice(STARS);
        }
        is_first = false;
        at = at.max(range.end);
    }
    out.extend_from_slice(&line[at..]);
}

/// Both streams of a run on their way through its mask.
pub(super) struct Masking {
    mask: std::sync::Arc<Mask>,
    streams: [Masker; 2],
}

impl fmt::Debug for Masking {
    /// What is held back may be most of a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Masking(***)")
    }
}

impl Masking {
    pub fn new(mask: std::sync::Arc<Mask>) -> Self {
        Self { mask, streams: Default::default() }
    }

    /// What can be kept now that these bytes came.
    pub fn push(&mut self, stream: Stream, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        self.streams[stream as usize].push(&self.mask, bytes, &mut out);
        out
    }

    /// What was held back of a stream that has ended.
    pub fn finish(&mut self, stream: Stream) -> Vec<u8> {
        let mut out = Vec::new();
        self.streams[stream as usize].finish(&self.mask, &mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mask(values: &[&str], patterns: &[&str]) -> Mask {
        let values: Vec<SecretValue> = values.iter().map(|value| SecretValue::new(value.as_bytes().to_vec())).collect();
        let patterns = patterns.iter().map(|text| Regex::new(text).unwrap()).collect();
        Mask::new(&values, patterns).unwrap().unwrap()
    }

    /// What comes out when the pieces are pushed one by one, and how many bytes were held at most.
    fn pushed(mask: &Mask, pieces: &[&[u8]]) -> (Vec<u8>, usize) {
        let (mut masker, mut out, mut most) = (Masker::default(), Vec::new(), 0);
        for piece in pieces {
            masker.push(mask, piece, &mut out);
            most = most.max(masker.held.len());
        }
        masker.finish(mask, &mut out);
        (out, most)
    }

    /// The same by the simplest of means: every value at every place, then what is covered or touches becomes stars.
    fn plainly(values: &[Vec<u8>], text: &[u8]) -> Vec<u8> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for value in values.iter().filter(|value| value.len() >= SHORTEST) {
            let ends_here = |at: &usize| text[*at..].starts_with(value);
            ranges.extend((0..text.len()).filter(ends_here).map(|at| at..at + value.len()));
        }
        ranges.sort_by_key(|range| (range.start, range.end));
        let mut merged: Vec<Range<usize>> = Vec::new();
        for range in ranges {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        let (mut out, mut at) = (Vec::new(), 0);
        for range in merged {
            out.extend_from_slice(&text[at..range.start]);
            out.extend_from_slice(STARS);
            at = range.end;
        }
        out.extend_from_slice(&text[at..]);
        out
    }

    #[test]
    fn overlapping_values_leave_no_rest_and_only_a_beginning_is_held_back() {
        for (values, text, expected) in [
            (&["hunter2"][..], "a hunter2 b", "a *** b"),
            (&["hunter2"], "hunter", "hunter"),
            (&["abcdef", "defghi"], "-abcdefghi-", "-***-"),
            (&["abcd", "abcdefgh"], "abcdefgx abcdefgh", "***efgx ***"),
            (&["bcde", "abcdef"], "abcdeX", "a***X"),
            (&["aaaa"], "aaaaaaaaaa aaa", "*** aaa"),
            (&["one-", "-two"], "one--two", "***"),
            (&["abc"], "abc abcd", "abc abcd"),
            (&["first line\nsecond line"], "x second line\nfirst line\nsecond line", "x ***\n***"),
            (&["begin\r\nmiddle\r\nend"], "begin, middle, end", "***, ***, end"),
            (&["{\n    \n    key: value\n    a\n}"], "{     ; key: value;    a; a }", "{     ; ***;***; a }"),
        ] {
            // A value that is too short makes no mask.
            let Some(mask) = Mask::new(
                &values.iter().map(|value| SecretValue::new(value.as_bytes().to_vec())).collect::<Vec<_>>(),
                Vec::new(),
            )
            .unwrap() else {
                assert_eq!(text, expected);
                continue;
            };
            assert_eq!(mask.text(text.as_bytes()), expected, "{values:?}");
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            let (out, most) = pushed(&mask, &bytes);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{values:?} byte by byte");
            assert!(most < values.iter().map(|value| value.len()).max().unwrap(), "{values:?}: {most} bytes were held");
        }
    }

    #[test]
    fn a_complete_value_is_not_waited_behind() {
        let mask = mask(&["hunter2", "abab"], &[]);
        let (mut masker, mut out) = (Masker::default(), Vec::new());
        masker.push(&mask, b"x hunter2", &mut out);
        assert_eq!(out, b"x ***");
        masker.push(&mask, b" abab", &mut out);
        assert_eq!((out.as_slice(), masker.held.as_slice()), (&b"x *** ***"[..], &b"ab"[..]));
        masker.push(&mask, b"ab", &mut out);
        masker.push(&mask, b"!", &mut out);
        assert_eq!(out, b"x *** ***!");
    }

    #[test]
    fn expressions_mask_within_lines_whatever_the_pieces() {
        let mask = mask(&["hunter2"], &["pass=\\S+", "[0-9]{4}", "x*", "end$"]);
        let text = "a pass=word\r\npass=\nhunter2 12345678\nab12\n34 xx the end\r\nlast pass=open";
        let expected = "a ***\r\npass=\n*** ***\nab12\n34 *** the ***\r\nlast ***";
        assert_eq!(mask.text(text.as_bytes()), expected);
        for size in 1..20 {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            assert_eq!(String::from_utf8(pushed(&mask, &pieces).0).unwrap(), expected, "pieces of {size}");
        }
    }

    #[test]
    fn a_line_longer_than_a_piece_is_looked_through_in_pieces_and_comes_whole() {
        let mask = mask(&[], &["secret"]);
        let line = "-".repeat(LONGEST_LINE);
        for (text, expected) in [
            (format!("{line}secret\nsecret"), format!("{line}***\n***")),
            // Documented: a match over the seam of two pieces is not seen.
            (format!("{}secret", &line[3..]), format!("{}secret", &line[3..])),
            (line.clone() + "\n", line.clone() + "\n"),
        ] {
            assert_eq!(mask.text(text.as_bytes()), expected);
        }
    }

    #[test]
    fn nothing_of_a_mask_is_printed() {
        let mask = std::sync::Arc::new(mask(&["hunter2"], &["word"]));
        let mut masking = Masking::new(mask.clone());
        masking.push(Stream::Out, b"hunt");
        assert_eq!(format!("{mask:?} {masking:?}"), "Mask(***) Masking(***)");
        let short = [SecretValue::new(b"abc".to_vec()), SecretValue::new(b"a\nb\nc".to_vec())];
        assert!(Mask::new(&short[..1], Vec::new()).unwrap().is_none(), "there is nothing to mask");
        assert_eq!(Mask::new(&short, Vec::new()).unwrap().unwrap().text(b"a b a\nb\nc abc"), "a b *** abc");
    }

    #[test]
    fn what_is_too_much_is_refused_not_left_unmasked() {
        let large = |length: usize| SecretValue::new((0..length).map(|at| (at % 251) as u8).collect());
        assert_eq!(Mask::new(&[large(MOST + 1)], Vec::new()).err(), Some(TooLarge));
        let mask = Mask::new(&[large(1 << 20)], Vec::new()).unwrap().unwrap();
        let printed = [b"<", large(1 << 20).reveal(), b">"].concat();
        let pieces: Vec<&[u8]> = printed.chunks(65_536).collect();
        assert_eq!(pushed(&mask, &pieces).0, b"<***>");
    }

    /// Values over three letters, so that they overlap, begin and end one another all the time.
    fn cases() -> impl Strategy<Value = (Vec<Vec<u8>>, Vec<Vec<u8>>)> {
        let value = proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), Just(0xff)], 1..9);
        proptest::collection::vec(value, 1..6).prop_flat_map(|values| {
            let letter = prop_oneof![Just(b'a'), Just(b'b'), Just(0xff), Just(b'\n')].prop_map(|byte| vec![byte]);
            let piece = prop_oneof![2 => letter, 1 => proptest::sample::select(values.clone())];
            let pieces = proptest::collection::vec(piece, 0..60);
            let cuts = proptest::collection::vec(0usize..200, 0..20);
            (Just(values), pieces, cuts).prop_map(|(values, pieces, mut cuts)| {
                let text = pieces.concat();
                cuts.iter_mut().for_each(|cut| *cut = (*cut).min(text.len()));
                cuts.extend([0, text.len()]);
                cuts.sort_unstable();
                let pieces = cuts.windows(2).map(|cut| text[cut[0]..cut[1]].to_vec()).collect();
                (values, pieces)
            })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3_000) })]

        #[test]
        fn masked_piece_by_piece_is_masked_at_once_and_no_value_is_left((values, pieces) in cases()) {
            let text = pieces.concat();
            let expected = plainly(&values, &text);
            let secrets: Vec<SecretValue> = values.iter().cloned().map(SecretValue::new).collect();
            let Some(mask) = Mask::new(&secrets, Vec::new()).unwrap() else {
                prop_assert_eq!(&expected, &text);
                return Ok(());
            };
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let (out, most) = pushed(&mask, &pieces);
            // The same as at once; so all that no value covers is there, in its order and unchanged.
            prop_assert_eq!(&out, &expected);
            for value in values.iter().filter(|value| value.len() >= SHORTEST) {
                prop_assert!(!out.windows(value.len()).any(|window| window == value.as_slice()));
            }
            prop_assert!(most < values.iter().map(Vec::len).max().unwrap_or(0));
            // With an expression that never matches, lines are put together on the way and come out the same.
            let lined = Mask::new(&secrets, vec![Regex::new("zzz").unwrap()]).unwrap().unwrap();
            prop_assert_eq!(pushed(&lined, &pieces).0, expected);
        }
    }

    #[test]
    fn a_value_of_any_bytes_is_masked_before_it_becomes_a_text() {
        let value = SecretValue::new(b"kn\xf6wn-secret".to_vec());
        let mask = Mask::new([&value], Vec::new()).unwrap().unwrap();
        assert_eq!(mask.text(b"is kn\xf6wn-secret, not kn\xf6wn"), "is ***, not kn\u{fffd}wn");
    }

    #[test]
    fn of_a_text_whose_beginning_is_hidden_no_rest_of_a_value_is_left() {
        let mask = mask(&["abcabcabd"], &[]);
        for hidden in 0..6 {
            assert_eq!(mask.rest_of_text(b"abcabcabd, more", 9 + hidden), ", more"[hidden..]);
            assert!(mask.rest_of_text(b"-abcabcabd-", 1 + hidden).trim_start_matches('*').starts_with('-'));
        }
        assert_eq!(mask.rest_of_text(b"short", 100), "");
    }
}
