use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::rfc3339;

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileEvent {
    /// It was not there before: made, or moved in.
    Created,
    /// Its content is another one.
    Modified,
    /// It is gone.
    Deleted,
    /// It has another name, and the same content.
    Renamed,
}

impl FileEvent {
    /// The word in `RUNNER_EVENT` and in ledgers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Modified => "modified",
            Self::Deleted => "deleted",
            Self::Renamed => "renamed",
        }
    }
}

/// One thing that arrived for a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Absolute.
    pub path: PathBuf,
    pub event: FileEvent,
    /// In bytes; 0 of a file that is gone.
    pub size: u64,
    /// When its content was changed last, where it is there.
    pub modified: Option<Timestamp>,
    /// Its name before, where it was renamed.
    pub from: Option<PathBuf>,
}

impl Item {
    /// As one line of the file that `RUNNER_ITEMS` names, with its line feed. A name that is no UTF-8 stands in `path` with
    /// replacement characters, and whole in `path_base64` (RFC 4648, with padding).
    pub fn line(&self) -> String {
        let mut map = serde_json::Map::new();
        put_path(&mut map, "path", &self.path);
        map.insert("event".into(), self.event.as_str().into());
        map.insert("size".into(), self.size.into());
        map.insert("modified".into(), self.modified.map(rfc3339).into());
        if let Some(from) = &self.from {
            put_path(&mut map, "from", from);
        }
        format!("{}\n", serde_json::Value::from(map))
    }

    /// The last part of its path.
    pub fn name(&self) -> &OsStr {
        self.path.file_name().unwrap_or(self.path.as_os_str())
    }
}

/// What a run was handed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    pub items: Vec<Item>,
    /// The run is for one of them alone, so that its path and event may stand in the command.
    pub is_each: bool,
}

impl Input {
    /// The one that the run is for.
    pub fn one(&self) -> Option<&Item> {
        self.items.first().filter(|_| self.is_each)
    }
}

/// Puts a path into a JSON object: readable, and exact in `<key>_base64` where it is no UTF-8.
pub fn put_path(map: &mut serde_json::Map<String, serde_json::Value>, key: &str, path: &Path) {
    map.insert(key.into(), json!(path.to_string_lossy()));
    if path.to_str().is_none() {
        map.insert(format!("{key}_base64"), STANDARD.encode(path.as_os_str().as_bytes()).into());
    }
}

/// The path that such a pair of values means; `None` where the second is no base64.
pub fn path_of(text: &str, base64: Option<&str>) -> Option<PathBuf> {
    match base64 {
        Some(base64) => Some(OsStr::from_bytes(&STANDARD.decode(base64).ok()?).into()),
        None => Some(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_comes_back_whole() {
        for name in [&b"a b.pdf"[..], b"new\nline", b"\"quoted\"", b"\xff\xfe.txt", "h\u{e9}.txt".as_bytes()] {
            let path = Path::new("/in").join(OsStr::from_bytes(name));
            let item = Item { path: path.clone(), event: FileEvent::Created, size: 3, modified: None, from: None };
            let line = item.line();
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            let base64 = value["path_base64"].as_str();
            assert_eq!(base64.is_some(), path.to_str().is_none());
            assert_eq!(path_of(value["path"].as_str().unwrap(), base64), Some(path));
            assert_eq!((&value["event"], &value["size"]), (&json!("created"), &json!(3)));
        }
        assert_eq!(path_of("x", Some("*")), None);
    }
}
