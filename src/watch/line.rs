//! The lines of a ledger: one JSON object each, the later one counts.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::entry::{Entry, Hash, State};
use super::stat::Stat;
use crate::model::{FileEvent, RunId, path_of, serde_rfc3339};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    Seen,
    Stable,
    Running,
    Done,
    Failed,
    Ignored,
    /// The file has another name from now on.
    Moved,
    /// The entry is forgotten.
    Forgotten,
    /// A watched path was looked at for the first time from then on.
    Root,
}

/// One line. Fields that are absent have their usual value.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line<'a> {
    #[serde(with = "serde_rfc3339")]
    pub at: Timestamp,
    #[serde(rename = "state")]
    pub what: What,
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub path_base64: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<FileEvent>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dev: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub inode: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub size: u64,
    /// Nanoseconds since 1970.
    #[serde(default, skip_serializing_if = "is_none")]
    pub mtime: i64,
    /// When the file was made, in nanoseconds since 1970, where the file system knows.
    #[serde(default, skip_serializing_if = "is_none")]
    pub born: i64,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub gone: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub replay: bool,
    /// Of what is pending: what became of the content that the line tells of, where what is to come is for something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<State>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub from_base64: Option<Cow<'a, str>>,
    /// Of a root: all of it was seen once.
    #[serde(default, skip_serializing_if = "is_false")]
    pub whole: bool,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_none(number: &i64) -> bool {
    *number == 0
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl From<State> for What {
    fn from(state: State) -> Self {
        match state {
            State::Seen => Self::Seen,
            State::Stable => Self::Stable,
            State::Running => Self::Running,
            State::Done => Self::Done,
            State::Failed => Self::Failed,
            State::Ignored => Self::Ignored,
        }
    }
}

impl What {
    /// The state of a file, where it is one.
    pub fn state(self) -> Option<State> {
        Some(match self {
            Self::Seen => State::Seen,
            Self::Stable => State::Stable,
            Self::Running => State::Running,
            Self::Done => State::Done,
            Self::Failed => State::Failed,
            Self::Ignored => State::Ignored,
            Self::Moved | Self::Forgotten | Self::Root => return None,
        })
    }
}

/// A path as text, and exactly where that is not the same.
fn texts(path: &Path) -> (Cow<'_, str>, Option<Cow<'_, str>>) {
    let exact = path.to_str().is_none().then(|| STANDARD.encode(path.as_os_str().as_bytes()).into());
    (path.to_string_lossy(), exact)
}

impl<'a> Line<'a> {
    fn about(at: Timestamp, what: What, path: &'a Path) -> Self {
        let (path, path_base64) = texts(path);
        Self {
            at,
            what,
            path,
            path_base64,
            event: None,
            dev: 0,
            inode: 0,
            size: 0,
            mtime: 0,
            born: 0,
            sha256: None,
            run: None,
            why: None,
            gone: false,
            replay: false,
            before: None,
            from: None,
            from_base64: None,
            whole: false,
        }
    }

    /// What is known of a file.
    pub fn of(entry: &'a Entry) -> Self {
        let from = entry.from.as_deref().map(texts);
        let (from, from_base64) = from.map_or((None, None), |(from, base64)| (Some(from), base64));
        let Stat { dev, inode, size, mtime, born } = entry.stat;
        let at = Timestamp::from_millisecond(entry.at).unwrap_or_default();
        Self {
            event: Some(entry.event),
            dev,
            inode,
            size,
            mtime,
            born,
            sha256: entry.hash.as_deref().map(|hash| hex(hash).into()),
            run: entry.run,
            why: entry.why.as_deref().map(Cow::Borrowed),
            gone: entry.gone,
            replay: entry.replay,
            before: entry.before.filter(|_| entry.state.is_pending()),
            from,
            from_base64,
            ..Self::about(at, entry.state.into(), entry.path())
        }
    }

    pub fn moved(at: Timestamp, from: &'a Path, to: &'a Path) -> Self {
        let (from, from_base64) = texts(from);
        Self { from: Some(from), from_base64, ..Self::about(at, What::Moved, to) }
    }

    pub fn forgotten(at: Timestamp, path: &'a Path) -> Self {
        Self::about(at, What::Forgotten, path)
    }

    pub fn root(at: Timestamp, path: &'a Path, whole: bool) -> Self {
        Self { whole, ..Self::about(at, What::Root, path) }
    }

    /// # Errors
    /// It is no line of a ledger.
    pub fn parse(line: &'a [u8]) -> serde_json::Result<Self> {
        match std::str::from_utf8(line) {
            // Each text in it is known to be one then.
            Ok(line) => serde_json::from_str(line),
            Err(_) => serde_json::from_slice(line),
        }
    }

    /// Adds it to others, with its line feed.
    pub fn put(&self, lines: &mut Vec<u8>) {
        // Nothing in it can fail to be JSON.
        if serde_json::to_writer(&mut *lines, self).is_ok() {
            lines.push(b'\n');
        }
    }

    /// The path that is meant; `None` where its base64 is none, or it is no path as this runner writes them.
    pub fn path(&self) -> Option<PathBuf> {
        path_of(&self.path, self.path_base64.as_deref()).filter(|path| is_plain(path))
    }

    pub fn from(&self) -> Option<PathBuf> {
        path_of(self.from.as_deref()?, self.from_base64.as_deref()).filter(|path| is_plain(path))
    }

    /// What it says of a file, where it does.
    pub fn entry(&self) -> Option<Entry> {
        let path = self.path()?.into_os_string().into_vec().into();
        let entry = Entry::at_path(path, self.event.unwrap_or(FileEvent::Created), self.at.as_millisecond());
        Some(Entry {
            state: self.what.state()?,
            gone: self.gone,
            replay: self.replay,
            before: self.before.filter(|before| !before.is_pending()),
            stat: Stat { dev: self.dev, inode: self.inode, size: self.size, mtime: self.mtime, born: self.born },
            hash: self.sha256.as_deref().and_then(unhex).map(Box::new),
            run: self.run,
            why: self.why.as_deref().map(Into::into),
            from: self.from().map(Into::into),
            ..entry
        })
    }
}

/// Whether a path is absolute, and stays below whatever it begins with.
fn is_plain(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    let leads_up =
        |at: usize| bytes[..at].ends_with(b"/") && matches!(bytes[at..], [b'.', b'.'] | [b'.', b'.', b'/', ..]);
    path.is_absolute() && !memchr::memchr_iter(b'.', bytes).any(leads_up)
}

/// As it is usually written.
pub fn hex(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for (name, why) in [(&b"/in/a b\n\"c\".pdf"[..], None), (b"/in/\xff\x00x", Some("too \"odd\"\n"))] {
            let mut entry = Entry::new(Path::new(OsStr::from_bytes(name)), FileEvent::Modified, 1_700_000_000_123);
            entry.state = State::Failed;
            entry.stat = Stat { dev: 1, inode: u64::MAX, size: 3, mtime: -5, born: 9 };
            entry.run = Some(RunId::from_u128(77));
            entry.why = why.map(Into::into);
            entry.hash = why.map(|_| Box::new([0xab; 32]));
            (entry.gone, entry.replay) = (why.is_some(), why.is_none());
            let mut text = Vec::new();
            Line::of(&entry).put(&mut text);
            assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 1);
            assert_eq!(Line::parse(&text).unwrap().entry(), Some(entry));
        }
        let mut text = Vec::new();
        let (old, new) = (Path::new(OsStr::from_bytes(b"/\xff")), Path::new("/b"));
        Line::moved(Timestamp::UNIX_EPOCH, old, new).put(&mut text);
        let line = Line::parse(&text).unwrap();
        assert_eq!((line.from(), line.path(), line.entry()), (Some(old.into()), Some(new.into()), None));
        for path in ["in/a", "", "/in/../etc/passwd", "/in/.."] {
            let text = format!("{{\"at\":\"2024-01-15T09:00:00Z\",\"state\":\"running\",\"path\":\"{path}\"}}");
            assert_eq!(Line::parse(text.as_bytes()).unwrap().entry(), None, "{path}");
        }
        for path in ["/in/..a", "/in/a..", "/in/a../b", "/in/.../b", "/in/.", "/..a/..b"] {
            let text = format!("{{\"at\":\"2024-01-15T09:00:00Z\",\"state\":\"running\",\"path\":\"{path}\"}}");
            assert!(Line::parse(text.as_bytes()).unwrap().entry().is_some(), "{path}");
        }
        for text in ["", "{}", "[]", "{\"at\":\"2024-01-15T09:00:00Z\",\"state\":\"odd\",\"path\":\"x\"}", "\u{0}"] {
            assert!(Line::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
