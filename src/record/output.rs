use std::sync::Arc;

use jiff::Timestamp;

use super::appender::make_directory;
use super::common::Synced;
use super::job_log::JobLog;
use super::mask::{Mask, Masking};
use super::output_line::{OutputLine, PREFIX_LENGTH, Prefix, Tag};
use super::ring::Ring;
use crate::model::{Output, RunId, Stream, count, lock};
use crate::os::buffers::{Buffers, Lent, READING};

/// What one run prints, on its way into `output.log`.
///
/// The first half of the limit is written as it comes; of what follows, the last half is kept aside and written at the
/// end, with a marker between that counts what was left out.
#[derive(Debug)]
pub struct OutputLog {
    log: Arc<JobLog>,
    prefix: Prefix,
    /// Bytes that may still be written as they come; `None`: all.
    head_left: Option<u64>,
    tail_size: u64,
    tail: Tail,
    /// The beginning of a line whose end has not come, for each stream.
    partial: [Vec<u8>; 2],
    /// Whether a stream's last byte was something else than a line break.
    open_line: [bool; 2],
    /// Whether a stream has printed a NUL: what is no text is not overwritten.
    is_binary: [bool; 2],
    /// Lines that are on their way into the file; lent only while there are some.
    batch: Lent,
    output: Output,
    /// Absent where nothing is masked, and then it costs nothing.
    masking: Option<Box<Masking>>,
}

#[derive(Debug)]
enum Tail {
    /// The first half is not full yet.
    Unused,
    Kept(Box<Ring>),
    /// There is no place for it: bytes are only counted.
    Counted {
        lost: u64,
    },
}

/// A line of `output.log` has at most 64 KiB.
const LONGEST_PIECE: usize = LONGEST_LINE - PREFIX_LENGTH - 1;
/// So many bytes of lines are written at once, and one line more.
static BATCHES: Buffers = Buffers::new(256 * 1024 + LONGEST_LINE, 32 * 1024 + LONGEST_LINE, 16);
const LONGEST_LINE: usize = 64 * 1024;

impl OutputLog {
    /// Output of `run`, of which at most `limit` bytes are kept (`None`: all).
    pub fn new(log: Arc<JobLog>, run: RunId, limit: Option<u64>) -> Self {
        Self {
            log,
            prefix: Prefix::new(run),
            head_left: limit.map(|bytes| bytes - bytes / 2),
            tail_size: limit.unwrap_or(0) / 2,
            tail: Tail::Unused,
            partial: [Vec::new(), Vec::new()],
            open_line: [false; 2],
            is_binary: [false; 2],
            batch: Lent::default(),
            output: Output::default(),
            masking: None,
        }
    }

    /// The same, with secrets masked before anything is kept. What is counted is still what was printed.
    pub fn masked(mut self, mask: Option<Arc<Mask>>) -> Self {
        self.masking = mask.map(|mask| Box::new(Masking::new(mask)));
        self
    }

    /// Writes the runner's own words, such as where a run begins.
    #[inline(never)]
    pub fn marker(&mut self, text: &str, now: Timestamp) {
        self.prefix.at(now);
        let text = text.replace('\n', " ");
        let end = (0..=LONGEST_PIECE.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        self.begin_batch();
        self.prefix.write(Tag::Marker, &text.as_bytes()[..end], &mut self.batch);
        self.flush();
    }

    /// Takes what a stream delivered.
    pub fn write(&mut self, stream: Stream, bytes: &[u8], now: Timestamp) {
        let Some(last) = bytes.last() else { return };
        self.output.bytes += bytes.len() as u64;
        self.output.lines += memchr::memchr_iter(b'\n', bytes).count() as u64;
        self.open_line[stream as usize] = *last != b'\n';
        match &mut self.masking {
            None => self.take(stream, bytes, now),
            Some(masking) => {
                let masked = masking.push(stream, bytes);
                self.take(stream, &masked, now);
            }
        }
    }

    /// Takes what may be kept.
    fn take(&mut self, stream: Stream, bytes: &[u8], now: Timestamp) {
        let head = match &mut self.head_left {
            None => bytes.len(),
            Some(left) => {
                let head = (bytes.len() as u64).min(*left);
                *left -= head;
                head as usize
            }
        };
        let (head, tail) = bytes.split_at(head);
        if !head.is_empty() {
            self.lines(stream, head, now);
            self.flush();
        }
        if !tail.is_empty() {
            self.keep(stream, tail, now);
        }
    }

    /// Writes what is still held, and says what came of the run's output.
    #[inline(never)]
    pub fn finish(&mut self, now: Timestamp) -> Output {
        for stream in [Stream::Out, Stream::Err] {
            if let Some(masking) = &mut self.masking {
                let rest = masking.finish(stream);
                self.take(stream, &rest, now);
            }
        }
        let lost = match std::mem::replace(&mut self.tail, Tail::Unused) {
            Tail::Unused => 0,
            Tail::Counted { lost } => {
                self.say_lost(lost, now);
                lost
            }
            Tail::Kept(ring) => self.write_tail(*ring, now),
        };
        self.prefix.at(now);
        self.begin_batch();
        self.end_partials();
        self.flush();
        self.output.lost += lost;
        self.output.truncated = self.output.lost > 0;
        self.output.lines += self.open_line.iter().filter(|open| **open).count() as u64;
        self.open_line = [false; 2];
        self.output
    }

    fn say_lost(&mut self, lost: u64, now: Timestamp) {
        self.prefix.at(now);
        self.begin_batch();
        self.end_partials();
        let text = format!("{} left out here (limits.output)", count(lost, "byte"));
        self.prefix.write(Tag::Marker, text.as_bytes(), &mut self.batch);
    }

    fn write_tail(&mut self, ring: Ring, now: Timestamp) -> u64 {
        let lost = ring.lost();
        if lost > 0 {
            self.say_lost(lost, now);
        }
        let mut unread = ring.kept();
        let mut buffer = READING.lend_filled();
        let drained = ring.drain(&mut buffer, |stream, bytes, time| {
            unread -= bytes.len() as u64;
            self.lines(stream, bytes, time);
            self.flush_if_full();
        });
        if let Err(error) = drained {
            self.fault(unread, &error);
        }
        lost + unread
    }

    fn keep(&mut self, stream: Stream, bytes: &[u8], now: Timestamp) {
        if matches!(self.tail, Tail::Unused) {
            self.tail = self.begin_tail();
        }
        match &mut self.tail {
            Tail::Kept(ring) => {
                let before = ring.lost() + ring.kept();
                if let Err(error) = ring.push(stream, bytes, now) {
                    // What was overwritten was lost already, by the limit and not by the error.
                    let (kept, lost) = (ring.kept(), before + bytes.len() as u64);
                    self.tail = Tail::Counted { lost };
                    self.fault(kept + bytes.len() as u64, &error);
                }
            }
            Tail::Counted { lost } => {
                *lost += bytes.len() as u64;
                if self.tail_size > 0 {
                    self.log.records.faults.more_output_lost(bytes.len() as u64);
                }
            }
            Tail::Unused => {}
        }
    }

    fn begin_tail(&self) -> Tail {
        if self.tail_size == 0 {
            return Tail::Counted { lost: 0 };
        }
        let directory = self.log.records.layout.job(self.log.job());
        match make_directory(&directory).and_then(|()| Ring::new(&directory, self.tail_size)) {
            Ok(ring) => Tail::Kept(Box::new(ring)),
            Err(error) => {
                self.fault(0, &error);
                Tail::Counted { lost: 0 }
            }
        }
    }

    fn fault(&self, lost: u64, error: &std::io::Error) {
        let directory = self.log.records.layout.job(self.log.job());
        self.log.records.faults.output_lost(lost, &directory, error);
    }

    fn begin_batch(&mut self) {
        if self.batch.size() == 0 {
            self.batch = BATCHES.lend();
        }
    }

    /// What was lent has room for one line more.
    fn flush_if_full(&mut self) {
        if self.batch.len() + LONGEST_LINE >= self.batch.size() {
            self.flush();
            self.begin_batch();
        }
    }

    /// Cuts bytes into lines and pieces of lines.
    fn lines(&mut self, stream: Stream, bytes: &[u8], now: Timestamp) {
        self.prefix.at(now);
        self.begin_batch();
        let is_binary = self.is_binary[stream as usize];
        let special = if is_binary { None } else { memchr::memchr2(b'\r', 0, bytes) };
        let nul = special.and_then(|from| Some(from + memchr::memchr(0, &bytes[from..])?));
        let (text, binary) = bytes.split_at(nul.unwrap_or(if is_binary { 0 } else { bytes.len() }));
        self.cut(stream, text, special.is_some() || self.ends_in_return(stream));
        if !binary.is_empty() {
            self.is_binary[stream as usize] = true;
            self.cut(stream, binary, false);
        }
    }

    fn cut(&mut self, stream: Stream, bytes: &[u8], has_returns: bool) {
        let mut rest = bytes;
        while let Some(at) = memchr::memchr(b'\n', rest) {
            let line = if has_returns { self.last_state(stream, &rest[..at]) } else { &rest[..at] };
            let line = self.without_overlong_begin(stream, line);
            let partial = &mut self.partial[stream as usize];
            if partial.is_empty() {
                self.prefix.write(Tag::Line(stream), line, &mut self.batch);
            } else {
                partial.extend_from_slice(line);
                self.prefix.write(Tag::Line(stream), partial, &mut self.batch);
                partial.clear();
            }
            rest = &rest[at + 1..];
            self.flush_if_full();
        }
        let rest = if has_returns { self.last_state(stream, rest) } else { rest };
        let rest = self.without_overlong_begin(stream, rest);
        self.partial[stream as usize].extend_from_slice(rest);
    }

    fn ends_in_return(&self, stream: Stream) -> bool {
        self.partial[stream as usize].last() == Some(&b'\r')
    }

    /// What still stands of a line when this part of it has come: text before a carriage return is written over by text
    /// behind it. The returns at the end stay as one: a line break, or more text, may follow.
    fn last_state<'b>(&mut self, stream: Stream, text: &'b [u8]) -> &'b [u8] {
        let Some(end) = text.iter().rposition(|b| *b != b'\r').map(|last| last + 1) else {
            return if self.ends_in_return(stream) { &[] } else { &text[..text.len().min(1)] };
        };
        let begin = memchr::memrchr(b'\r', &text[..end]).map(|at| at + 1);
        if begin.is_some() || self.ends_in_return(stream) {
            self.partial[stream as usize].clear();
        }
        &text[begin.unwrap_or(0)..text.len().min(end + 1)]
    }

    /// Writes pieces until what is held and what is given fit into one; returns the rest of what is given.
    fn without_overlong_begin<'b>(&mut self, stream: Stream, mut bytes: &'b [u8]) -> &'b [u8] {
        let held = self.partial[stream as usize].len();
        if held > 0 && held + bytes.len() > LONGEST_PIECE {
            let (fits, rest) = bytes.split_at(LONGEST_PIECE - held);
            self.partial[stream as usize].extend_from_slice(fits);
            self.write_piece(stream);
            bytes = rest;
        }
        while bytes.len() > LONGEST_PIECE {
            let (piece, rest) = bytes.split_at(LONGEST_PIECE);
            self.prefix.write(Tag::Piece(stream), piece, &mut self.batch);
            self.flush_if_full();
            bytes = rest;
        }
        bytes
    }

    fn write_piece(&mut self, stream: Stream) {
        let partial = &mut self.partial[stream as usize];
        self.prefix.write(Tag::Piece(stream), partial, &mut self.batch);
        partial.clear();
        self.flush_if_full();
    }

    fn end_partials(&mut self) {
        for stream in [Stream::Out, Stream::Err] {
            if !self.partial[stream as usize].is_empty() {
                self.write_piece(stream);
            }
        }
    }

    /// Appends the batch: whole lines, as many at once as fit the file, rotating between.
    fn flush(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return;
        }
        let settings = self.log.records.settings();
        let synced_below = (settings.synced == Synced::Everything).then(|| self.log.records.layout.root());
        let mut file = lock(&self.log.output);
        let mut rest = &batch[..];
        while !rest.is_empty() {
            let result = (|| {
                let (_, length) = file.current()?;
                let room = settings.max_size.saturating_sub(length) as usize;
                let fits = if rest.len() <= room { rest.len() } else { last_line_end(rest, room) };
                if fits == 0 && length > 0 {
                    self.log.commit_output();
                    file.rotate(settings.max_files)?;
                    return Ok(0);
                }
                let fits = if fits == 0 { first_line_end(rest) } else { fits };
                file.append_behind(length, &rest[..fits], synced_below).map(|()| fits)
            })();
            match result {
                Ok(fits) => rest = &rest[fits..],
                Err(error) => {
                    let lost = printed_bytes(rest);
                    self.log.records.faults.output_lost(lost, file.path(), &error);
                    self.output.lost += lost;
                    break;
                }
            }
        }
        if file.was_taken_away() {
            self.log.records.faults.taken_away(file.path());
        }
        drop(file);
        drop(batch);
        self.log.commit_output();
    }
}

/// How many bytes that a job printed stand in these lines.
fn printed_bytes(lines: &[u8]) -> u64 {
    let of_line = |line: &[u8]| match OutputLine::parse(line) {
        Some(OutputLine { tag: Tag::Line(_), text, .. }) => text.len() as u64 + 1,
        Some(OutputLine { tag: Tag::Piece(_), text, .. }) => text.len() as u64,
        _ => 0,
    };
    lines.split(|b| *b == b'\n').map(of_line).sum()
}

fn last_line_end(bytes: &[u8], within: usize) -> usize {
    memchr::memrchr(b'\n', &bytes[..within.min(bytes.len())]).map_or(0, |at| at + 1)
}

fn first_line_end(bytes: &[u8]) -> usize {
    memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1)
}
