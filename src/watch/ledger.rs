//! What a watch remembers, on disk: `logs/jobs/<job>/ledger.log`.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use jiff::Timestamp;

use super::entries::Entries;
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
}

impl Ledger {
    pub fn new(path: PathBuf) -> Self {
        Self { journal: Mutex::new(Journal::new(path)) }
    }

    /// Writes what `take` hands out. Whoever comes later writes what was made later: `take` is called once this one may write.
    ///
    /// # Errors
    /// They could not be written; what was taken is handed back.
    pub fn flush(&self, take: impl FnOnce() -> Vec<u8>) -> Result<bool, (io::Error, Vec<u8>)> {
        let mut journal = lock(&self.journal);
        let lines = take();
        if lines.is_empty() {
            return Ok(false);
        }
        match journal.append(&lines) {
            Ok(()) => Ok(journal.was_taken_away()),
            Err(error) => Err((error, lines)),
        }
    }

    /// Writes the file anew from what `write` puts.
    ///
    /// # Errors
    /// It could not be written; the file is as it was then.
    pub fn rewrite(&self, write: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) -> io::Result<()> {
        lock(&self.journal).replace(write)
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
    let torn = Journal::read(path, |line| loaded.take(line))?;
    loaded.torn = torn;
    Ok(loaded)
}

impl Loaded {
    fn take(&mut self, line: &[u8]) {
        self.lines += 1;
        let is_taken = Line::parse(line).ok().and_then(|line| self.apply(&line)).is_some();
        self.odd += u64::from(!is_taken);
    }

    fn apply(&mut self, line: &Line<'_>) -> Option<()> {
        match line.what {
            What::Root => {
                let known = self.roots.entry(line.path()?).or_insert((line.at, false));
                known.1 |= line.whole;
            }
            What::Moved => {
                let (from, to) = (line.from()?, line.path()?);
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
            What::Forgotten => {
                if let Some(id) = self.entries.by_path(&line.path()?) {
                    self.entries.remove(id);
                }
            }
            _ => {
                let entry = line.entry()?;
                match self.entries.by_path(entry.path()) {
                    Some(id) => {
                        self.entries.set_stat(id, entry.stat);
                        if let Some(hash) = &entry.hash {
                            self.entries.set_hash(id, **hash);
                        }
                        if let Some(old) = self.entries.get_mut(id) {
                            let hash = old.hash.take();
                            *old = entry;
                            old.hash = hash;
                        }
                    }
                    None => {
                        self.entries.add(entry);
                    }
                }
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::model::FileEvent;
    use crate::watch::entry::{Entry, State};

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
        let put = |lines: Vec<u8>| ledger.flush(|| lines).unwrap();
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
        ledger.rewrite(|file| file.write_all(&line("/z", State::Failed))).unwrap();
        assert_eq!(load(&path).unwrap().entries.len(), 1);
        assert_eq!(load(&dir.path().join("none")).unwrap().lines, 0);
    }

    #[test]
    fn what_cannot_be_written_is_handed_back() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let ledger = Ledger::new(dir.path().join("file/ledger.log"));
        let (_, lines) = ledger.flush(|| b"x\n".to_vec()).unwrap_err();
        assert_eq!(lines, b"x\n");
        assert!(!ledger.flush(Vec::new).unwrap());
    }
}
