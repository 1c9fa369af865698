//! `logs/last-good.jsonl`: the last good text of every file, so that a file that is broken at a start does not take its job
//! with it. Append-only; the newest line of a path counts; written anew when more than half of it is outdated.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{FileType, Stat, fstat};
use serde::{Deserialize, Serialize};

use super::insecure;
use super::load::{TextHash, unhex};
use crate::model::serde_rfc3339;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// From the configuration directory.
    pub path: String,
    /// Of the text; empty where the file is gone.
    pub hash: String,
    /// When a job of this path was first loaded: where its interval's grid begins.
    #[serde(with = "serde_rfc3339")]
    pub since: Timestamp,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// The text is the job with its defaults already in it: it was good with others than those that are there now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole: bool,
    /// Since when the job is stale, if it is.
    #[serde(with = "serde_rfc3339::option", default, skip_serializing_if = "Option::is_none")]
    pub stale_since: Option<Timestamp>,
}

#[derive(Debug, Clone)]
struct Place {
    hash: TextHash,
    since: Timestamp,
    stale_since: Option<Timestamp>,
    at: u64,
    length: u64,
}

/// The file, and what it holds.
#[derive(Debug)]
pub(super) struct LastGood {
    path: PathBuf,
    file: Option<File>,
    places: HashMap<Box<str>, Place>,
    /// Bytes of the file.
    length: u64,
    /// Those of them that lines in force have.
    live: u64,
}

impl LastGood {
    /// Reads the file if it is there. Lines that are not understood are passed over.
    ///
    /// # Errors
    /// It cannot be read, or others may have written it: what stands in it would run.
    pub fn open(path: PathBuf, allow_insecure: bool) -> io::Result<Self> {
        let mut this = Self { path, file: None, places: HashMap::new(), length: 0, live: 0 };
        // Never waits, should it be a FIFO.
        let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&this.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(this),
            other => other?,
        };
        if !allow_insecure && let Some(reason) = insecure::why_own(&fstat(&file)?, || insecure::is_read_only(&file)) {
            let mend = reason.mend(&this.path.to_string_lossy());
            return Err(io::Error::other(format!("it is refused: {}; {mend}", reason.words())));
        }
        let mut reader = BufReader::with_capacity(256 * 1024, file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let count = reader.read_until(b'\n', &mut line)? as u64;
            if count == 0 {
                break;
            }
            if line.last() == Some(&b'\n')
                && let Ok(entry) = serde_json::from_slice::<Entry>(&line)
            {
                this.note(&entry, this.length, count);
            }
            this.length += count;
        }
        Ok(this)
    }

    fn note(&mut self, entry: &Entry, at: u64, length: u64) {
        let gone = match unhex(&entry.hash) {
            None => self.places.remove(&*entry.path),
            Some(hash) => {
                self.live += length;
                let Entry { since, stale_since, .. } = *entry;
                self.places.insert(entry.path.as_str().into(), Place { hash, since, stale_since, at, length })
            }
        };
        self.live -= gone.map_or(0, |place| place.length);
    }

    /// When the path was first loaded, if it is known.
    pub fn since(&self, path: &str) -> Option<Timestamp> {
        self.places.get(path).map(|place| place.since)
    }

    /// Since when the path's job was stale, as it was kept last.
    pub fn stale_since(&self, path: &str) -> Option<Timestamp> {
        self.places.get(path)?.stale_since
    }

    /// The hash of the path's good text.
    pub fn hash(&self, path: &str) -> Option<TextHash> {
        self.places.get(path).map(|place| place.hash)
    }

    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(|path| &**path)
    }

    /// The whole entry of a path.
    pub fn get(&self, path: &str) -> Option<Entry> {
        let place = self.places.get(path)?;
        let mut line = vec![0; place.length as usize];
        File::open(&self.path).ok()?.read_exact_at(&mut line, place.at).ok()?;
        serde_json::from_slice(&line).ok()
    }

    /// Takes entries in, in one write.
    pub fn put(&mut self, entries: &[Entry]) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        let mut places = Vec::new();
        for entry in entries {
            let begin = bytes.len();
            serde_json::to_writer(&mut bytes, entry)?;
            bytes.push(b'\n');
            places.push((begin as u64, (bytes.len() - begin) as u64));
        }
        let mut file = match self.file.take() {
            Some(file) if self.path.exists() => file,
            _ => OpenOptions::new().append(true).read(true).create(true).mode(0o600).open(&self.path)?,
        };
        // Also where others cut it or a line was left half written.
        let mut at = file.seek(SeekFrom::End(0))?;
        if at > 0 && !ends_with_line_break(&file, at)? {
            file.write_all(b"\n")?;
            at += 1;
        }
        if let Err(error) = file.write_all(&bytes) {
            let _ = file.set_len(at);
            return Err(error);
        }
        for (entry, (begin, length)) in entries.iter().zip(places) {
            self.note(entry, at + begin, length);
        }
        self.length = at + bytes.len() as u64;
        self.file = Some(file);
        if self.length > 64 * 1024 && self.live < self.length / 2 {
            self.compact()?;
        }
        Ok(())
    }

    /// Writes the file anew with the lines in force alone.
    fn compact(&mut self) -> io::Result<()> {
        let old = File::open(&self.path)?;
        let mut order: Vec<(Box<str>, Place)> =
            self.places.iter().map(|(path, place)| (path.clone(), place.clone())).collect();
        order.sort_by_key(|(_, place)| place.at);
        let mut bytes = Vec::with_capacity(self.live as usize);
        for (_, place) in &mut order {
            let begin = bytes.len();
            bytes.resize(begin + place.length as usize, 0);
            old.read_exact_at(&mut bytes[begin..], place.at)?;
            place.at = begin as u64;
        }
        crate::os::file::replace(&self.path, &bytes, 0o600)?;
        self.file = None;
        self.length = bytes.len() as u64;
        self.live = self.length;
        self.places = order.into_iter().collect();
        Ok(())
    }
}

fn ends_with_line_break(file: &File, length: u64) -> io::Result<bool> {
    let mut last = [0u8];
    file.read_exact_at(&mut last, length - 1)?;
    Ok(last == [b'\n'])
}

/// A regular file's whole text, if it is not larger than a job's file may be; and its stat from before the reading, so that what
/// changes meanwhile differs from it.
pub(super) fn read_bounded(path: &Path, most: u64) -> io::Result<(Stat, Vec<u8>)> {
    // Never waits, should it have become a FIFO since it was looked at.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let stat = fstat(&file)?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    Ok((stat, bytes))
}

#[cfg(test)]
mod tests {
    use super::super::load::{hash, hex};
    use super::*;

    fn entry(path: &str, text: &str) -> Entry {
        Entry {
            path: path.into(),
            hash: hex(&hash(text.as_bytes())),
            since: Timestamp::UNIX_EPOCH,
            text: text.into(),
            whole: false,
            stale_since: None,
        }
    }

    #[test]
    fn the_newest_line_counts_also_after_a_restart_and_a_torn_tail() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("last-good.jsonl");
        let mut good = LastGood::open(path.clone(), false).unwrap();
        good.put(&[entry("a", "1"), entry("b", "1")]).unwrap();
        good.put(&[entry("a", "2")]).unwrap();
        good.put(&[Entry { hash: String::new(), ..entry("b", "") }]).unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"path\":\"a\",\"ha").unwrap();
        let mut again = LastGood::open(path.clone(), false).unwrap();
        assert_eq!((again.get("a").unwrap().text.as_str(), again.hash("b")), ("2", None));
        again.put(&[entry("c", "3")]).unwrap();
        assert_eq!(LastGood::open(path, false).unwrap().get("c").unwrap().text, "3");
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("last-good.jsonl");
        let mut good = LastGood::open(path.clone(), false).unwrap();
        good.put(&[entry("kept", "k")]).unwrap();
        for n in 0..400 {
            good.put(&[entry("a", &format!("{n}{}", "x".repeat(1000)))]).unwrap();
        }
        assert!(std::fs::metadata(&path).unwrap().len() < 130_000);
        assert_eq!(good.get("kept").unwrap().text, "k");
        assert!(good.get("a").unwrap().text.starts_with("399x"));
        assert_eq!(LastGood::open(path, false).unwrap().get("kept").unwrap().text, "k");
    }
}
