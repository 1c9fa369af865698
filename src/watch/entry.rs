use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::stat::Stat;
use crate::model::{FileEvent, RunId};

/// How far a file has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It may still be written to.
    Seen,
    /// It is complete, and waits for its run.
    Stable,
    /// A run has it.
    Running,
    /// Its run has succeeded.
    Done,
    /// Its run has failed, after all attempts.
    Failed,
    /// No run is made for it.
    Ignored,
}

impl State {
    /// The word in ledgers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Stable => "stable",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Ignored => "ignored",
        }
    }

    /// Whether a run is still to come, or under way.
    pub fn is_pending(self) -> bool {
        matches!(self, Self::Seen | Self::Stable | Self::Running)
    }
}

/// SHA-256 of a file's content.
pub type Hash = [u8; 32];

/// One file as its watch knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Absolute.
    pub path: Box<[u8]>,
    pub state: State,
    /// What a run is for, or was.
    pub event: FileEvent,
    /// It is not there any more.
    pub gone: bool,
    /// Somebody asked for it again.
    pub replay: bool,
    /// What became of the content that `stat` is about, where what is to come is for something else: another content, another name, or
    /// that it is gone. `None`: nobody has run for it. Means something only of what is pending.
    pub before: Option<State>,
    /// A further run is made for it, as its run has failed and may have looked for it at the name before. Nobody remembers that.
    pub is_given_again: bool,
    /// In which full scan it was found last.
    pub mark: u32,
    /// The content that the state is about.
    pub stat: Stat,
    pub hash: Option<Box<Hash>>,
    /// When it came to this state, in milliseconds since 1970.
    pub at: i64,
    /// The run that has it, or had it last.
    pub run: Option<RunId>,
    /// Why it is ignored or has failed.
    pub why: Option<Box<str>>,
    /// Its name before, where the event is that it was renamed.
    pub from: Option<Box<Path>>,
}

impl Entry {
    pub fn new(path: &Path, event: FileEvent, at: i64) -> Self {
        Self::at_path(path.as_os_str().as_bytes().into(), event, at)
    }

    /// The same with a path that nobody else needs.
    pub(super) fn at_path(path: Box<[u8]>, event: FileEvent, at: i64) -> Self {
        Self {
            path,
            state: State::Seen,
            event,
            gone: false,
            replay: false,
            before: None,
            is_given_again: false,
            mark: 0,
            stat: Stat::default(),
            hash: None,
            at,
            run: None,
            why: None,
            from: None,
        }
    }

    pub fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }

    /// Why it is ignored or has failed, for people: a path of content that stands nowhere is named as the one at which it stood.
    pub fn shown_why(&self) -> Option<&str> {
        self.why.as_deref().and_then(|why| why.split('\0').next())
    }

    /// What became of the content that it is about; [`State::Seen`]: nobody has run for it.
    pub fn content(&self) -> State {
        match self.state {
            State::Seen | State::Stable => self.before.unwrap_or(State::Seen),
            state => state,
        }
    }
}
