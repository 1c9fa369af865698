//! What a job's `runs.log` says when the runner starts: the last line restores the state, a torn tail is cut off.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;

use super::layout::Layout;
use super::line::{End, Line, Start};
use super::rotate::{find, open};
use crate::model::{JobName, RunId};

/// A job's state as its last line says it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Restored {
    pub runs: u64,
    pub failures: u64,
    pub last_due: Option<Timestamp>,
    pub interval_due: Option<Timestamp>,
    pub after_due: Option<Timestamp>,
    pub failed_in_row: u32,
    pub failed_at: Option<Timestamp>,
    pub last: Option<End>,
    /// Runs that were started and not ended: a crash cut them short.
    pub unfinished: Vec<Start>,
    /// Bytes of a half-written line that were cut off.
    pub torn: u64,
    /// Lines at the end that are not records and were passed over.
    pub unreadable: u64,
}

/// What is done about a half-written line at the end of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TornTail {
    /// Cut it off: for the one that writes the logs.
    Cut,
    /// Pass it over: for those that only look, and whom somebody may be writing for at this moment.
    Leave,
}

/// Reads back every job that has logs, on a few threads, since each is a file to open.
pub fn restore_all(layout: &Layout, torn_tail: TornTail) -> Vec<(JobName, io::Result<Restored>)> {
    let names = layout.job_directories();
    let next = AtomicUsize::new(0);
    let threads = if names.len() < 64 { 1 } else { 4 };
    let mut all: Vec<(JobName, io::Result<Restored>)> = std::thread::scope(|scope| {
        let work = || {
            let mut found = Vec::new();
            while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                found.push((name.clone(), restore(&layout.runs(name), torn_tail)));
            }
            found
        };
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        handles.into_iter().flat_map(|handle| handle.join().unwrap_or_default()).collect()
    });
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// Reads one job's state. The newest file counts, and the one before where the newest holds no record.
fn restore(runs: &Path, torn_tail: TornTail) -> io::Result<Restored> {
    let torn = match torn_tail {
        TornTail::Cut if runs.exists() => cut_torn_tail(runs)?,
        _ => 0,
    };
    let mut unreadable = 0;
    for file in find(runs)? {
        let Some(file) = open(runs, file.identity)? else { continue };
        let (restored, passed_over) = from_last_line(runs, file)?;
        unreadable += passed_over;
        if let Some(restored) = restored {
            return Ok(Restored { torn, unreadable, ..restored });
        }
    }
    Ok(Restored { torn, unreadable, ..Restored::default() })
}

const BLOCK: u64 = 128 * 1024;

/// Cuts off what follows the last line break: a line is one append, so that can only be half of one.
fn cut_torn_tail(path: &Path) -> io::Result<u64> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let length = file.seek(SeekFrom::End(0))?;
    let mut end = length;
    let mut block = Vec::new();
    while end > 0 {
        let begin = end.saturating_sub(BLOCK);
        block.resize((end - begin) as usize, 0);
        file.seek(SeekFrom::Start(begin))?;
        file.read_exact(&mut block)?;
        if let Some(at) = memchr::memrchr(b'\n', &block) {
            let keep = begin + at as u64 + 1;
            if keep < length {
                file.set_len(keep)?;
            }
            return Ok(length - keep);
        }
        end = begin;
    }
    if length > 0 {
        file.set_len(0)?;
    }
    Ok(length)
}

/// The state that the last record of a file says, and how many lines behind it are no records.
fn from_last_line(runs: &Path, file: File) -> io::Result<(Option<Restored>, u64)> {
    let mut unreadable = 0;
    let mut lines = super::read::lines_backwards(file)?;
    while let Some(line) = lines.next_line()? {
        let Ok(line) = serde_json::from_slice::<Line>(&line) else {
            unreadable += 1;
            continue;
        };
        let (total, failures) = line.totals();
        let state = line.state().clone();
        let last = match line {
            // An attempt line says nothing of the run before: the line above does.
            Line::Attempt(_) => last_end_above(&mut lines)?,
            other => other.last_end(),
        };
        let restored = Restored {
            runs: total,
            failures,
            last_due: state.last_due,
            interval_due: state.interval_due,
            after_due: state.after_due,
            failed_in_row: state.failed_in_row,
            failed_at: state.failed_at,
            last,
            unfinished: starts_of(runs, &state.running)?,
            torn: 0,
            unreadable: 0,
        };
        return Ok((Some(restored), unreadable));
    }
    Ok((None, unreadable))
}

fn last_end_above(lines: &mut super::read::LinesBackwards) -> io::Result<Option<End>> {
    while let Some(line) = lines.next_line()? {
        match serde_json::from_slice::<Line>(&line) {
            Ok(Line::Attempt(_)) | Err(_) => {}
            Ok(other) => return Ok(other.last_end()),
        }
    }
    Ok(None)
}

/// The start lines of the given runs. Rotation copies them, so mostly they stand in the newest file; not where that one was
/// taken away by others.
fn starts_of(runs: &Path, ids: &[RunId]) -> io::Result<Vec<Start>> {
    let mut found: Vec<Start> = Vec::new();
    if ids.is_empty() {
        return Ok(found);
    }
    for file in find(runs)? {
        let Some(file) = open(runs, file.identity)? else { continue };
        let mut here: Vec<Start> = Vec::new();
        for line in BufReader::new(file).split(b'\n') {
            if let Ok(Line::Start(start)) = serde_json::from_slice::<Line>(&line?)
                && ids.contains(&start.run)
                && found.iter().all(|other| other.run != start.run)
            {
                here.retain(|other| other.run != start.run);
                here.push(start);
            }
        }
        found.append(&mut here);
        if found.len() == ids.len() {
            break;
        }
    }
    found.sort_by_key(|start| start.run);
    Ok(found)
}
