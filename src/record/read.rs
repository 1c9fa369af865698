//! Reading the logs back: what `history` and `logs` show.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::PathBuf;

use jiff::Timestamp;

use super::layout::Layout;
use super::line::{End, Line};
use super::rotate::{Found, find, open};
use crate::model::{Gap, JobName, RunId, Status};

/// Which records are asked for.
#[derive(Debug, Clone, Default)]
pub struct HistoryQuery {
    pub status: Option<Status>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Skipped and missed due times as well.
    pub gaps: bool,
    pub limit: usize,
}

impl HistoryQuery {
    fn matches(&self, line: &Line) -> bool {
        let wanted = match line {
            Line::End(end) => self.status.is_none_or(|status| end.status == status),
            Line::Skipped(_) | Line::Missed(_) => self.gaps && self.status.is_none(),
            Line::Start(_) | Line::Attempt(_) => false,
        };
        let time = time_of(line);
        wanted && self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time <= until)
    }
}

/// When a line was written, as far as it tells: a run's end, or the last due time of a gap.
fn time_of(line: &Line) -> Timestamp {
    match line {
        Line::Start(start) => start.started,
        Line::Attempt(end) | Line::End(end) => end.ended,
        Line::Skipped(gap) | Line::Missed(gap) => gap.until,
    }
}

/// The records of all jobs that have logs, newest first.
pub fn history(layout: &Layout, query: &HistoryQuery) -> io::Result<Vec<Line>> {
    let mut found = Vec::new();
    for job in layout.job_directories() {
        found.extend(history_of(layout, &job, query)?);
    }
    newest_first(&mut found);
    found.truncate(query.limit);
    Ok(found)
}

/// The records of one job, newest first.
pub fn history_of(layout: &Layout, job: &JobName, query: &HistoryQuery) -> io::Result<Vec<Line>> {
    let mut found = Vec::new();
    each_backwards(layout, job, |line| {
        if query.matches(&line) {
            found.push(line);
        }
        found.len() < query.limit
    })?;
    newest_first(&mut found);
    Ok(found)
}

/// The ends of a job's runs after that time, the earliest first, no more than the newest `most`.
pub fn ends_after(layout: &Layout, job: &JobName, since: Timestamp, most: usize) -> io::Result<Vec<End>> {
    let mut found = Vec::new();
    each_backwards(layout, job, |line| {
        if let Line::End(end) = line {
            if end.ended <= since || found.len() >= most {
                return false;
            }
            found.push(end);
        }
        true
    })?;
    found.reverse();
    Ok(found)
}

/// Whether any record tells what became of a run that waited.
pub fn mentions_run(layout: &Layout, job: &JobName, run: RunId) -> io::Result<bool> {
    let mut found = false;
    each_backwards(layout, job, |line| {
        found = match &line {
            Line::Start(start) => start.run == run,
            Line::Attempt(end) | Line::End(end) => end.run == run,
            Line::Skipped(gap) | Line::Missed(gap) => gap.run == Some(run),
        };
        !found
    })?;
    Ok(found)
}

/// Whether the counted rest of a streak was written: as a line that begins with the same due time and goes at least as far.
pub fn mentions_gap(layout: &Layout, gap: &Gap) -> io::Result<bool> {
    // What was counted in a minute or an hour is not far from the end.
    let (mut found, mut left) = (false, 10_000);
    each_backwards(layout, &gap.job, |line| {
        left -= 1;
        if let Line::Skipped(written) | Line::Missed(written) = &line {
            found = written.triggered_by == gap.triggered_by
                && written.due.as_millisecond() == gap.due.as_millisecond()
                && written.until.as_millisecond() >= gap.until.as_millisecond();
        }
        !found && left > 0
    })?;
    Ok(found)
}

/// Goes through a job's records, the newest first, for as long as `wants_more` says so.
pub fn each_backwards(layout: &Layout, job: &JobName, mut wants_more: impl FnMut(Line) -> bool) -> io::Result<()> {
    let path = layout.runs(job);
    for file in find(&path)? {
        // Rotated away under our hands, perhaps.
        let Some(file) = open(&path, file.identity)? else { continue };
        let mut lines = lines_backwards(file)?;
        while let Some(line) = lines.next_line()? {
            let Ok(line) = serde_json::from_slice::<Line>(&line) else { continue };
            if !wants_more(line) {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn newest_first(lines: &mut [Line]) {
    lines.sort_by_key(|line| std::cmp::Reverse(time_of(line)));
}

/// A job's output, line by line, the oldest first, without line breaks.
#[derive(Debug)]
pub struct OutputLines {
    path: PathBuf,
    /// The files that have not been begun, the newest first.
    files: Vec<Found>,
    reader: Option<BufReader<File>>,
}

impl OutputLines {
    pub fn of(layout: &Layout, job: &JobName) -> Self {
        let path = layout.output(job);
        Self { files: find(&path).unwrap_or_default(), path, reader: None }
    }

    /// The next whole line; `None` at the end. Half a line at the end of a file is passed over.
    pub fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(reader) = &mut self.reader {
                let mut line = Vec::new();
                if reader.read_until(b'\n', &mut line)? > 0 && line.pop() == Some(b'\n') {
                    return Ok(Some(line));
                }
                self.reader = None;
            }
            let Some(file) = self.files.pop() else { return Ok(None) };
            // Rotated away under our hands, perhaps.
            self.reader = open(&self.path, file.identity)?.map(|file| BufReader::with_capacity(64 * 1024, file));
        }
    }
}

/// The last `count` lines of a job's output that `wanted` takes, the oldest first.
pub fn tail_of_output(
    layout: &Layout,
    job: &JobName,
    count: usize,
    mut wanted: impl FnMut(&[u8]) -> bool,
) -> io::Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    let path = layout.output(job);
    'files: for file in find(&path)? {
        let Some(file) = open(&path, file.identity)? else { continue };
        let mut lines = lines_backwards(file)?;
        while let Some(line) = lines.next_line()? {
            if found.len() >= count {
                break 'files;
            }
            if wanted(&line) {
                found.push(line);
            }
        }
    }
    found.reverse();
    Ok(found)
}

/// A place in a log that grows and is rotated.
#[derive(Debug)]
pub struct Follow {
    path: PathBuf,
    /// The file that was read last, and up to where; none where nothing was there so far.
    file: Option<Found>,
    at: u64,
}

impl Follow {
    /// From the beginning of all that stands at `path`, or will.
    pub fn new(path: PathBuf) -> Self {
        Self { path, file: None, at: 0 }
    }

    /// From the end of what stands at `path` now.
    pub fn from_end(path: PathBuf) -> Self {
        let file = find(&path).unwrap_or_default().first().copied();
        let length = |file: Found| Some(open(&path, file.identity).ok()??.metadata().ok()?.len());
        Self { at: file.and_then(length).unwrap_or(0), file, path }
    }

    /// Calls `take` with each whole line that has come since the last call, across rotations.
    pub fn more(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let files = find(&self.path)?;
        let newer = match self.file {
            None => files.len(),
            Some(held) => match files.iter().position(|file| file.identity == held.identity) {
                Some(place) => {
                    self.rest_of(files[place], &mut take)?;
                    place
                }
                // Deleted or moved by others, or rotated away meanwhile: what was written since is new.
                None => files.iter().take_while(|file| file.is_current || file.modified > held.modified).count(),
            },
        };
        for file in files[..newer].iter().rev() {
            self.at = 0;
            self.rest_of(*file, &mut take)?;
        }
        Ok(())
    }

    fn rest_of(&mut self, found: Found, take: &mut impl FnMut(&[u8])) -> io::Result<()> {
        self.file = Some(found);
        let Some(mut file) = open(&self.path, found.identity)? else { return Ok(()) };
        // Truncated by others: from its beginning.
        if file.metadata()?.len() < self.at {
            self.at = 0;
        }
        file.seek(SeekFrom::Start(self.at))?;
        let mut reader = BufReader::with_capacity(256 * 1024, file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let count = reader.read_until(b'\n', &mut line)?;
            if count == 0 || line.last() != Some(&b'\n') {
                return Ok(());
            }
            self.at += count as u64;
            take(&line[..count - 1]);
        }
    }
}

/// A file's lines from the last to the first.
pub(super) fn lines_backwards(mut file: File) -> io::Result<LinesBackwards> {
    let end = file.seek(SeekFrom::End(0))?;
    Ok(LinesBackwards { file, end, held: Vec::new() })
}

pub(super) struct LinesBackwards {
    file: File,
    /// Bytes of the file that have not been read.
    end: u64,
    /// Bytes that have been read and not handed out.
    held: Vec<u8>,
}

const BLOCK: u64 = 64 * 1024;

impl LinesBackwards {
    /// The next line towards the beginning, without its line break. Bytes behind the last line break are passed over: they
    /// are half a line.
    pub fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.held.is_empty() && self.end > 0 {
            self.read_block()?;
            while !self.held.is_empty() && !self.held.contains(&b'\n') && self.end > 0 {
                self.read_block()?;
            }
            let whole = memchr::memrchr(b'\n', &self.held).map_or(0, |at| at + 1);
            self.held.truncate(whole);
        }
        if self.held.pop().is_none() {
            return Ok(None);
        }
        loop {
            if let Some(at) = memchr::memrchr(b'\n', &self.held) {
                let line = self.held.split_off(at + 1);
                return Ok(Some(line));
            }
            if self.end == 0 {
                return Ok(Some(std::mem::take(&mut self.held)));
            }
            self.read_block()?;
        }
    }

    fn read_block(&mut self) -> io::Result<()> {
        let begin = self.end.saturating_sub(BLOCK);
        let mut block = vec![0; (self.end - begin) as usize];
        self.file.seek(SeekFrom::Start(begin))?;
        self.file.read_exact(&mut block)?;
        block.append(&mut self.held);
        self.held = block;
        self.end = begin;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backwards(text: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, text).unwrap();
        let mut lines = lines_backwards(File::open(&path).unwrap()).unwrap();
        let mut found = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            found.push(String::from_utf8(line).unwrap());
        }
        found
    }

    #[test]
    fn lines_come_from_the_last_to_the_first_and_half_a_line_is_passed_over() {
        assert_eq!(backwards(""), [""; 0]);
        assert_eq!(backwards("half"), [""; 0]);
        assert_eq!(backwards("a\n\nb\nhalf"), ["b", "", "a"]);
        let long = "x".repeat(3 * BLOCK as usize);
        assert_eq!(backwards(&format!("1\n{long}\n2\n")), ["2", &long, "1"]);
        let many: Vec<String> = (0..30_000).map(|n| format!("line {n}")).collect();
        let mut back = backwards(&(many.join("\n") + "\n"));
        back.reverse();
        assert_eq!(back, many);
    }
}
