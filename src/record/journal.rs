use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::appender::{Appender, make_directory};
use crate::os::file::beside;

/// A file of lines that is appended to, and now and then written anew with what still counts: what a watch knows of its files.
///
/// An append is whole or not at all, and goes to the file that stands at the path then. A reader sees the old file or the new one,
/// never half of one.
#[derive(Debug)]
pub struct Journal {
    appender: Appender,
    /// How long the file was after the last append, in bytes.
    length: u64,
    /// Since then it has become shorter.
    was_emptied: bool,
}

/// A line may be this long, in bytes: three paths of which each byte is written as six, and their base64, fit.
const LONGEST_LINE: u64 = 256 << 10;

impl Journal {
    pub fn new(path: PathBuf) -> Self {
        Self { appender: Appender::new(path), length: 0, was_emptied: false }
    }

    pub fn path(&self) -> &Path {
        self.appender.path()
    }

    /// Whether others have moved, deleted or emptied the file since this was asked last: what it held is gone.
    pub fn was_taken_away(&mut self) -> bool {
        self.appender.was_taken_away() | std::mem::take(&mut self.was_emptied)
    }

    /// What was read of the file, in bytes: with less than that somebody has taken it away, or emptied it.
    pub fn was_read(&mut self, length: u64) {
        self.length = length;
    }

    /// Appends whole lines in one piece.
    ///
    /// # Errors
    /// They could not be written; nothing of them is there then.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let before = self.appender.current().map_or(0, |(_, length)| length);
        self.was_emptied |= before < self.length;
        self.length = 0;
        self.appender.append(lines, None)?;
        self.length = before + lines.len() as u64;
        Ok(())
    }

    /// Puts what `write` writes in the place of the file.
    ///
    /// # Errors
    /// It could not be written; the file is as it was then.
    pub fn replace(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let path = self.appender.path().to_path_buf();
        if let Some(directory) = path.parent() {
            make_directory(directory)?;
        }
        let temporary = beside(&path, ".tmp");
        let written = || -> io::Result<u64> {
            let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&temporary)?;
            let mut file = BufWriter::with_capacity(256 << 10, file);
            write(&mut file)?;
            let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.sync_all()?;
            std::fs::rename(&temporary, &path)?;
            Ok(file.metadata().map_or(0, |meta| meta.len()))
        };
        let length = written().inspect_err(|_| {
            let _ = std::fs::remove_file(&temporary);
        })?;
        // The one that was open is another file now, and nobody took it away.
        (self.appender, self.length, self.was_emptied) = (Appender::new(path), length, false);
        Ok(())
    }

    /// Reads all lines, each without its line feed, in their order. Half a line at the end is passed over; says how many bytes it has.
    ///
    /// # Errors
    /// The file cannot be read; that there is none is no error.
    pub fn read(path: &Path, mut line: impl FnMut(&[u8])) -> io::Result<u64> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        let mut reader = BufReader::with_capacity(256 << 10, file);
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            let read = io::Read::take(&mut reader, LONGEST_LINE).read_until(b'\n', &mut buffer)?;
            match buffer.last() {
                None => return Ok(0),
                Some(b'\n') => line(&buffer[..read - 1]),
                // Longer than any of ours: not one of them, up to its end.
                Some(_) if read as u64 == LONGEST_LINE => {
                    line(&buffer);
                    reader.skip_until(b'\n')?;
                }
                Some(_) => return Ok(read as u64),
            }
        }
    }

    /// Cuts half a line at the end off.
    ///
    /// # Errors
    /// The file cannot be changed.
    pub fn cut(path: &Path, bytes: u64) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(path)?;
        let length = file.seek(SeekFrom::End(0))?;
        file.set_len(length.saturating_sub(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> (Vec<String>, u64) {
        let mut lines = Vec::new();
        let torn = Journal::read(path, |line| lines.push(String::from_utf8_lossy(line).into_owned())).unwrap();
        (lines, torn)
    }

    #[test]
    fn lines_are_appended_read_and_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/ledger.log");
        assert_eq!(read(&path), (vec![], 0));
        let mut journal = Journal::new(path.clone());
        journal.append(b"1\n2\n").unwrap();
        journal.append(b"3\n").unwrap();
        assert_eq!(read(&path), (vec!["1".into(), "2".into(), "3".into()], 0));
        journal.replace(|file| file.write_all(b"9\n")).unwrap();
        journal.append(b"10\n").unwrap();
        assert_eq!(read(&path), (vec!["9".into(), "10".into()], 0));
        assert!(!journal.was_taken_away());
        journal.replace(|file| file.write_all(b"10\n")).unwrap();
        std::fs::remove_file(&path).unwrap();
        journal.append(b"11\n").unwrap();
        assert!(journal.was_taken_away(), "it was not open");
        let mut journal = Journal::new(path.clone());
        journal.was_read(3);
        std::fs::remove_file(&path).unwrap();
        journal.append(b"12\n").unwrap();
        assert!(journal.was_taken_away(), "what was read is gone");
        std::fs::write(&path, "").unwrap();
        journal.append(b"11\n").unwrap();
        assert!(journal.was_taken_away(), "it was emptied");
        journal.append(b"12\n").unwrap();
        assert!(!journal.was_taken_away());
        std::fs::remove_file(&path).unwrap();
        journal.append(b"13\n").unwrap();
        assert!(journal.was_taken_away() && !journal.was_taken_away());
        assert!(journal.replace(|_| Err(io::ErrorKind::StorageFull.into())).is_err());
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        std::fs::write(&path, "9\n1").unwrap();
        assert_eq!(read(&path), (vec!["9".into()], 1));
        Journal::cut(&path, 1).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "9\n");
        // A line that cannot be one of ours costs that line alone.
        let long = "x".repeat(3 * LONGEST_LINE as usize);
        std::fs::write(&path, format!("1\n{long}\n2\n")).unwrap();
        let (lines, torn) = read(&path);
        assert_eq!((lines.len(), lines[0].as_str(), lines[2].as_str(), torn), (3, "1", "2", 0));
    }
}
