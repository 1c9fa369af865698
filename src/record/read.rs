//! Reading the logs back: what `history` and `logs` show.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::layout::Layout;
use super::line::Line;
use super::rotate::existing;
use crate::model::{JobName, Status};

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
    'files: for path in existing(&layout.runs(job)).iter().rev() {
        let mut lines = match lines_backwards(path) {
            // Rotated away under our hands.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        while let Some(line) = lines.next_line()? {
            let Ok(line) = serde_json::from_slice::<Line>(&line) else { continue };
            if query.matches(&line) {
                found.push(line);
                if found.len() >= query.limit {
                    break 'files;
                }
            }
        }
    }
    newest_first(&mut found);
    Ok(found)
}

fn newest_first(lines: &mut [Line]) {
    lines.sort_by_key(|line| std::cmp::Reverse(time_of(line)));
}

/// A job's output, line by line, the oldest first, without line breaks.
#[derive(Debug)]
pub struct OutputLines {
    /// The files that have not been begun, the newest first.
    files: Vec<PathBuf>,
    reader: Option<BufReader<File>>,
    seen: HashSet<u64>,
}

impl OutputLines {
    pub fn of(layout: &Layout, job: &JobName) -> Self {
        let mut files = existing(&layout.output(job));
        files.reverse();
        Self { files, reader: None, seen: HashSet::new() }
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
            let Some(path) = self.files.pop() else { return Ok(None) };
            let file = match File::open(&path) {
                // Rotated away under our hands.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            // Rotated under our hands: read already.
            if self.seen.insert(file.metadata()?.ino()) {
                self.reader = Some(BufReader::with_capacity(256 * 1024, file));
            }
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
    'files: for path in existing(&layout.output(job)).iter().rev() {
        let mut lines = match lines_backwards(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
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
    inode: Option<u64>,
    at: u64,
}

impl Follow {
    /// From the beginning of the file that stands at `path`, or will.
    pub fn new(path: PathBuf) -> Self {
        Self { path, inode: None, at: 0 }
    }

    /// From the end of the file that stands at `path` now.
    pub fn from_end(path: PathBuf) -> Self {
        let meta = std::fs::metadata(&path).ok();
        Self { inode: meta.as_ref().map(MetadataExt::ino), at: meta.map_or(0, |meta| meta.len()), path }
    }

    /// Calls `take` with each whole line that has come since the last call, across rotations.
    pub fn more(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        for file in existing(&self.path) {
            let opened = match File::open(&file) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            let meta = opened.metadata()?;
            match self.inode {
                // A file that was read to here: its rest. Older ones come before it and were read.
                Some(inode) if inode == meta.ino() => {
                    // Truncated by others: from its beginning.
                    if meta.len() < self.at {
                        self.at = 0;
                    }
                    self.rest_of(opened, &mut take)?;
                }
                Some(_) if self.is_behind(&file)? => {}
                _ => {
                    self.inode = Some(meta.ino());
                    self.at = 0;
                    self.rest_of(opened, &mut take)?;
                }
            }
        }
        Ok(())
    }

    /// Whether the file that was read last is newer than `file`.
    fn is_behind(&self, file: &Path) -> io::Result<bool> {
        let newer = existing(&self.path).into_iter().skip_while(|other| other != file).skip(1);
        Ok(newer.into_iter().any(|path| std::fs::metadata(path).is_ok_and(|meta| Some(meta.ino()) == self.inode)))
    }

    fn rest_of(&mut self, mut file: File, take: &mut impl FnMut(&[u8])) -> io::Result<()> {
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
pub(super) fn lines_backwards(path: &Path) -> io::Result<LinesBackwards> {
    let mut file = File::open(path)?;
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
        let mut lines = lines_backwards(&path).unwrap();
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
