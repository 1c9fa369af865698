use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use globset::{GlobBuilder, GlobMatcher};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::settle::Settle;
use crate::model::FileEvent;

/// The files of a watch in force: what is meant, with its patterns ready. What stands in its file is [`super::Watch`].
#[derive(Debug, Clone)]
pub struct Files {
    /// As written: `~` and relative paths are resolved where the file system is looked at.
    pub paths: Vec<String>,
    /// Which files; all, where there are none.
    pub patterns: Vec<Pattern>,
    /// Which files and folders are left out.
    pub ignore: Vec<Pattern>,
    pub recursive: bool,
    pub gitignore: bool,
    pub events: Vec<FileEvent>,
    pub settle: Settle,
    pub done_file: Option<DoneFile>,
    pub identity: Identity,
    pub backend: Backend,
    pub poll: Duration,
    pub rescan: Duration,
    pub existing: Existing,
    pub order: Order,
    pub mode: BatchMode,
    /// How many files a batch has at most.
    pub max: usize,
    /// How long the first file of a batch waits for others.
    pub wait: Duration,
    /// Where files go whose run has succeeded, as written.
    pub on_success: Option<String>,
    /// Where files go whose run has failed, as written.
    pub on_failure: Option<String>,
}

/// A pattern for files, as it is written and ready to be compared.
#[derive(Debug, Clone)]
pub struct Pattern {
    pub text: String,
    matcher: GlobMatcher,
    /// Meant for the path below the watched one, not for the name alone.
    is_path: bool,
}

impl Pattern {
    /// # Errors
    /// Why it is no pattern, in words.
    pub fn new(text: &str) -> Result<Self, String> {
        let is_path = text.trim_end_matches('/').contains('/');
        let below = text.trim_start_matches("./").trim_start_matches('/');
        // A folder's name means what is in it.
        let whole = match below.strip_suffix('/') {
            Some(folder) => format!("{folder}/**"),
            None => below.to_string(),
        };
        let glob = GlobBuilder::new(&whole).literal_separator(true).backslash_escape(true).build();
        let matcher = glob.map_err(|error| error.kind().to_string())?.compile_matcher();
        Ok(Self { text: text.into(), matcher, is_path: is_path || text.ends_with('/') })
    }

    /// Whether a file is meant whose path below the watched one is `below`.
    pub fn matches(&self, below: &std::path::Path) -> bool {
        match self.is_path {
            true => self.matcher.is_match(below),
            false => below.file_name().is_some_and(|name| self.matcher.is_match(name)),
        }
    }

    /// Whether a file is meant, or a folder on the way to it.
    pub fn covers(&self, below: &std::path::Path) -> bool {
        below.ancestors().filter(|path| !path.as_os_str().is_empty()).any(|path| self.matches(path))
    }

    /// Whether a folder is meant, or all that is in it.
    pub fn covers_folder(&self, below: &std::path::Path) -> bool {
        self.covers(below) || self.is_path && self.text.ends_with('/') && self.matches(&below.join("x"))
    }
}

/// The name of the file that says that another one is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoneFile {
    before: String,
    after: String,
    /// It stands for the name without its ending.
    is_stem: bool,
}

impl DoneFile {
    /// Of a text such as `{name}.done`; `None` unless it has exactly one of `{name}` and `{stem}`, and more than that.
    pub fn new(text: &str) -> Option<Self> {
        let (word, is_stem) = if text.contains("{stem}") { ("{stem}", true) } else { ("{name}", false) };
        let (before, after) = text.split_once(word)?;
        let is_one = ![before, after].iter().any(|part| part.contains(['{', '}', '/']));
        // `{name}` alone would be the file itself.
        (is_one && !(before.is_empty() && after.is_empty())).then(|| Self {
            before: before.into(),
            after: after.into(),
            is_stem,
        })
    }

    /// The name of the file that has to stand beside the one of this name.
    pub fn beside(&self, name: &std::ffi::OsStr) -> std::ffi::OsString {
        let name = match self.is_stem {
            true => std::path::Path::new(name).file_stem().unwrap_or(name),
            false => name,
        };
        let mut found = std::ffi::OsString::from(&self.before);
        found.push(name);
        found.push(&self.after);
        found
    }

    /// The one name that a file of this name can say so of; `None` where there may be several, which differ in their endings.
    pub fn only_one(&self, name: &std::ffi::OsStr) -> Option<std::ffi::OsString> {
        let own = name.as_bytes().strip_prefix(self.before.as_bytes())?.strip_suffix(self.after.as_bytes())?;
        (!self.is_stem).then(|| std::ffi::OsStr::from_bytes(own).to_os_string())
    }

    /// Whether a file of this name says so of another one.
    pub fn is_one(&self, name: &std::ffi::OsStr) -> bool {
        let bytes = name.as_encoded_bytes();
        bytes.len() > self.before.len() + self.after.len()
            && bytes.starts_with(self.before.as_bytes())
            && bytes.ends_with(self.after.as_bytes())
    }
}

/// What makes a file's content new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Identity {
    /// Its name: each is processed once.
    Path,
    /// Device, inode, size and time of change: a rename makes nothing new.
    #[default]
    Stat,
    /// Its bytes: what is the same under another name or time is not new.
    Hash,
}

/// How changes are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// By events where the file system has them, else by polling.
    #[default]
    Auto,
    /// By the kernel's events.
    Events,
    /// By looking at everything every `poll`.
    Poll,
}

/// What becomes of files that were there at the first start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Existing {
    /// They are not new.
    #[default]
    Ignore,
    /// They are, as if they had just arrived.
    Process,
}

/// In which order files are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// As they became stable.
    #[default]
    Arrival,
    /// By path.
    Name,
    /// By time of change, the oldest first.
    Mtime,
}

/// How many files a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BatchMode {
    /// One run a file.
    #[default]
    Each,
    /// One run for all that have come.
    All,
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::path::Path;

    use super::*;

    fn matches(pattern: &str, below: &str) -> bool {
        Pattern::new(pattern).unwrap().matches(Path::new(below))
    }

    fn covers(pattern: &str, below: &str) -> bool {
        Pattern::new(pattern).unwrap().covers(Path::new(below))
    }

    #[test]
    fn a_pattern_is_for_the_name_or_with_a_slash_for_the_path() {
        assert!(matches("*.{pdf,txt}", "deep/er/a.pdf") && !matches("*.{pdf,txt}", "a.doc"));
        assert!(matches("in/*.pdf", "in/a.pdf") && !matches("in/*.pdf", "in/deep/a.pdf"));
        assert!(matches("in/**/*.pdf", "in/deep/er/a.pdf") && matches("in/**/*.pdf", "in/a.pdf"));
        assert!(matches("/a.pdf", "a.pdf") && !matches("./sub/a.pdf", "a.pdf"));
        assert!(Pattern::new("[z").is_err() && Pattern::new("{a,b").is_err());
    }

    #[test]
    fn what_is_left_out_takes_what_is_in_it_along() {
        assert!(covers("drafts/**", "drafts/a/b.txt") && !covers("drafts/**", "other/drafts.txt"));
        assert!(covers("node_modules", "a/node_modules/b/c.js") && covers("node_modules", "node_modules"));
        assert!(covers("build/", "build/x") && !covers("build/", "built/x"));
        let build = Pattern::new("build/").unwrap();
        assert!(
            build.covers_folder(Path::new("build")) && !build.covers(Path::new("build")),
            "a file of that name is none"
        );
        assert!(covers("*.bak", "a/b.bak"));
    }

    #[test]
    fn a_done_file_has_the_name_and_something_more() {
        let done = DoneFile::new("{name}.done").unwrap();
        assert_eq!(done.beside(OsStr::new("a.csv")), "a.csv.done");
        assert!(done.is_one(OsStr::new("a.csv.done")) && !done.is_one(OsStr::new(".done")));
        assert_eq!(done.only_one(OsStr::new("a.csv.done")), Some("a.csv".into()));
        let stem = DoneFile::new("{stem}.ok").unwrap();
        assert_eq!((stem.beside(OsStr::new("a.csv")), stem.only_one(OsStr::new("a.ok"))), ("a.ok".into(), None));
        for text in ["done", "{name}", "{name}{name}.x", "x/{name}.done", "{path}.done"] {
            assert_eq!(DoneFile::new(text), None, "{text}");
        }
    }
}
