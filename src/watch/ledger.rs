//! What a watch remembers, on disk: `logs/jobs/<job>/ledger.log`.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, MutexGuard};

use jiff::Timestamp;

use super::entries::Entries;
use super::entry::Entry;
use super::line::{Line, What};
use crate::model::lock;
use crate::record::Journal;

/// Writes the lines of a book to its file, in the order in which they were made.
#[derive(Debug)]
pub struct Ledger {
    journal: Mutex<Journal>,
}

/// What a file remembers.
#[derive(Debug, Default)]
pub struct Loaded {
    pub entries: Entries,
    /// Since when each root is watched, and whether all of it was seen once.
    pub roots: HashMap<PathBuf, (Timestamp, bool)>,
    pub lines: u64,
    /// Lines that are none of ours.
    pub odd: u64,
    /// Half a line at the end has so many bytes.
    pub torn: u64,
    /// So many bytes the whole lines have.
    pub bytes: u64,
}

impl Ledger {
    pub fn new(path: PathBuf) -> Self {
        Self { journal: Mutex::new(Journal::new(path)) }
    }

    /// What was read of it has so many bytes: should it have less, somebody has taken it away.
    pub fn was_read(&self, bytes: u64) {
        lock(&self.journal).was_read(bytes);
    }

    /// Whoever has this writes, and others wait: what was made first is written first, also where it has to be tried again.
    pub fn writer(&self) -> Writer<'_> {
        Writer { journal: lock(&self.journal) }
    }
}

/// The one who writes.
#[derive(Debug)]
pub struct Writer<'a> {
    journal: MutexGuard<'a, Journal>,
}

impl Writer<'_> {
    /// Appends whole lines. Says whether somebody had taken the file away, or emptied it.
    ///
    /// # Errors
    /// They could not be written; nothing of them is there then.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<bool> {
        self.journal.append(lines)?;
        Ok(self.journal.was_taken_away())
    }

    /// Writes the file anew from what `write` puts.
    ///
    /// # Errors
    /// It could not be written; the file is as it was then.
    pub fn rewrite(&mut self, write: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) -> io::Result<()> {
        self.journal.replace(write)
    }
}

/// About so many bytes a line has.
const USUAL_LINE: u64 = 200;

/// Reads a ledger. Half a line at its end, of a crash, and lines that are none are passed over and counted.
///
/// # Errors
/// The file cannot be read.
pub fn load(path: &Path) -> io::Result<Loaded> {
    let mut loaded = Loaded::default();
    let length = std::fs::metadata(path).map_or(0, |meta| meta.len());
    // Made in one piece: growing would need the room twice.
    loaded.entries.reserve(usize::try_from(length / USUAL_LINE).unwrap_or_default().min(4_000_000));
    loaded.torn = match length >= MUCH {
        true => read_by_two(path, &mut loaded)?,
        false => Journal::read(path, |line| loaded.apply(Step::of(line)))?,
    };
    loaded.bytes = length.saturating_sub(loaded.torn);
    Ok(loaded)
}

/// From so many bytes on one thread reads the lines while another takes them in.
const MUCH: u64 = 1 << 20;
/// So many lines are handed on at once, and so many such heaps wait at most.
const HEAP: usize = 1_024;
const MOST_HEAPS: usize = 4;

fn read_by_two(path: &Path, loaded: &mut Loaded) -> io::Result<u64> {
    let (sender, heaps) = sync_channel(MOST_HEAPS);
    let read = move || {
        let mut heap = Vec::with_capacity(HEAP);
        let torn = Journal::read(path, |line| {
            heap.push(Step::of(line));
            if heap.len() == HEAP {
                // Who takes them in is there to the end.
                let _ = sender.send(std::mem::replace(&mut heap, Vec::with_capacity(HEAP)));
            }
        });
        let _ = sender.send(heap);
        torn
    };
    std::thread::scope(|scope| match std::thread::Builder::new().name("ledger".into()).spawn_scoped(scope, read) {
        Ok(reader) => {
            heaps.iter().flatten().for_each(|step| loaded.apply(step));
            reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        }
        // The system has no thread left: it takes longer then.
        Err(_) => Journal::read(path, |line| loaded.apply(Step::of(line))),
    })
}

/// What a line does to what the lines before it have said.
enum Step {
    Root {
        path: PathBuf,
        at: Timestamp,
        whole: bool,
    },
    Moved {
        from: PathBuf,
        to: PathBuf,
    },
    Forgotten(PathBuf),
    Is(Entry),
    /// It is none.
    Odd,
}

impl Step {
    fn of(line: &[u8]) -> Self {
        Line::parse(line).ok().and_then(|line| Self::said(&line)).unwrap_or(Self::Odd)
    }

    fn said(line: &Line<'_>) -> Option<Self> {
        Some(match line.what {
            What::Root => Self::Root { path: line.path()?, at: line.at, whole: line.whole },
            What::Moved => Self::Moved { from: line.from()?, to: line.path()? },
            What::Forgotten => Self::Forgotten(line.path()?),
            _ => Self::Is(line.entry()?),
        })
    }
}

impl Loaded {
    fn apply(&mut self, step: Step) {
        self.lines += 1;
        match step {
            Step::Root { path, at, whole } => {
                let known = self.roots.entry(path).or_insert((at, false));
                known.1 |= whole;
            }
            Step::Moved { from, to } => {
                // One that nothing is known of takes nothing's place.
                if let Some(id) = self.entries.by_path(&from) {
                    if let Some(other) = self.entries.by_path(&to) {
                        self.entries.remove(other);
                    }
                    self.entries.rename(id, &to);
                    if let Some(entry) = self.entries.get_mut(id) {
                        entry.gone = false;
                    }
                }
            }
            Step::Forgotten(path) => {
                if let Some(id) = self.entries.by_path(&path) {
                    self.entries.remove(id);
                }
            }
            Step::Is(entry) => {
                self.entries.add(entry);
            }
            Step::Odd => self.odd += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::model::FileEvent;
    use crate::watch::entry::State;

    fn line(path: &str, state: State) -> Vec<u8> {
        let mut entry = Entry::new(Path::new(path), FileEvent::Created, 5);
        entry.state = state;
        let mut lines = Vec::new();
        Line::of(&entry).put(&mut lines);
        lines
    }

    #[test]
    fn the_last_line_of_a_file_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.log");
        let ledger = Ledger::new(path.clone());
        let put = |lines: Vec<u8>| assert!(!ledger.writer().append(&lines).unwrap());
        put(line("/a", State::Seen));
        put([line("/b", State::Done), line("/a", State::Done), b"no line\n".to_vec()].concat());
        let mut more = Vec::new();
        Line::moved(Timestamp::UNIX_EPOCH, Path::new("/a"), Path::new("/c")).put(&mut more);
        Line::forgotten(Timestamp::UNIX_EPOCH, Path::new("/b")).put(&mut more);
        Line::root(Timestamp::UNIX_EPOCH, Path::new("/"), false).put(&mut more);
        Line::root(Timestamp::MAX, Path::new("/"), true).put(&mut more);
        put(more);
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"half").unwrap();
        let loaded = load(&path).unwrap();
        assert_eq!((loaded.lines, loaded.odd, loaded.torn, loaded.entries.len()), (8, 1, 6, 1));
        let id = loaded.entries.by_path(Path::new("/c")).unwrap();
        assert_eq!(loaded.entries.get(id).unwrap().state, State::Done);
        assert_eq!(loaded.roots[Path::new("/")], (Timestamp::UNIX_EPOCH, true));
        ledger.writer().rewrite(|file| file.write_all(&line("/z", State::Failed))).unwrap();
        assert_eq!(load(&path).unwrap().entries.len(), 1);
        assert_eq!(load(&dir.path().join("none")).unwrap().lines, 0);
    }

    #[test]
    fn a_large_file_is_read_as_a_small_one_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.log");
        let mut lines = Vec::new();
        for n in 0..20_000 {
            lines.extend(line(&format!("/in/{n}"), if n % 7 == 0 { State::Failed } else { State::Done }));
            if n % 10 == 3 {
                let (from, to) = (format!("/in/{}", n - 1), format!("/out/{n}"));
                Line::moved(Timestamp::UNIX_EPOCH, Path::new(&from), Path::new(&to)).put(&mut lines);
                Line::forgotten(Timestamp::UNIX_EPOCH, Path::new(&format!("/in/{}", n - 2))).put(&mut lines);
                lines.extend(b"no line\n");
            }
        }
        lines.extend(b"{\"half");
        assert!(lines.len() as u64 > MUCH);
        std::fs::write(&path, &lines).unwrap();
        let large = load(&path).unwrap();
        let mut small = Loaded::default();
        let torn = Journal::read(&path, |line| small.apply(Step::of(line))).unwrap();
        assert_eq!((large.lines, large.odd, large.torn), (small.lines, small.odd, torn));
        assert_eq!((large.odd, large.torn, large.entries.len()), (2_000, 6, 18_000));
        let all = |loaded: &Loaded| loaded.entries.iter().map(|(id, entry)| (id, entry.clone())).collect::<Vec<_>>();
        assert_eq!(all(&large), all(&small));
    }
}
