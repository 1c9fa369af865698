//! `logs/paused.json`: which jobs are paused, kept over a restart.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{JobName, serde_rfc3339};

/// A job's pause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Pause {
    /// When it ends by itself.
    #[serde(with = "serde_rfc3339::option", default)]
    pub until: Option<Timestamp>,
    /// When it was begun, where that is known.
    #[serde(with = "serde_rfc3339::option", default)]
    pub since: Option<Timestamp>,
}

/// As the file may have it: the end alone is how it was written once.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Pause(Pause),
    Until(#[serde(with = "serde_rfc3339::option")] Option<Timestamp>),
}

/// The pauses that were in force when the runner ran last.
///
/// # Errors
/// The file is there and cannot be read or understood.
pub fn load(path: &Path) -> io::Result<BTreeMap<JobName, Pause>> {
    let text = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        other => other?,
    };
    let map: BTreeMap<JobName, Written> = serde_json::from_slice(&text)?;
    let pause = |written| match written {
        Written::Pause(pause) => pause,
        Written::Until(until) => Pause { until, since: None },
    };
    Ok(map.into_iter().map(|(job, written)| (job, pause(written))).collect())
}

/// Keeps the pauses that are in force now.
pub fn save(path: &Path, pauses: &BTreeMap<JobName, Pause>) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(pauses)?;
    text.push(b'\n');
    crate::os::file::replace(path, &text, 0o640)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_comes_back_also_as_it_was_written_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("paused.json");
        assert_eq!(load(&path).unwrap(), BTreeMap::new());
        std::fs::write(&path, r#"{"a": null, "b": "2100-01-01T00:00:00Z", "c": {"since": "2026-01-01T00:00:00Z"}}"#)
            .unwrap();
        let pauses = load(&path).unwrap();
        let told: Vec<_> = pauses.values().map(|pause| (pause.until.is_some(), pause.since.is_some())).collect();
        assert_eq!(told, [(false, false), (true, false), (false, true)]);
        save(&path, &pauses).unwrap();
        assert_eq!(load(&path).unwrap(), pauses);
        std::fs::write(&path, r#"{"a": 7}"#).unwrap();
        assert!(load(&path).is_err());
    }
}
