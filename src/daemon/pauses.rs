//! `logs/paused.json`: which jobs are paused, kept over a restart.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use jiff::Timestamp;

use crate::model::{JobName, rfc3339};

/// The pauses that were in force when the runner ran last.
///
/// # Errors
/// The file is there and cannot be read or understood.
pub fn load(path: &Path) -> io::Result<BTreeMap<JobName, Option<Timestamp>>> {
    let text = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        other => other?,
    };
    let map: BTreeMap<JobName, Option<String>> = serde_json::from_slice(&text)?;
    map.into_iter()
        .map(|(job, until)| {
            let until = until.map(|text| text.parse()).transpose().map_err(io::Error::other)?;
            Ok((job, until))
        })
        .collect()
}

/// Keeps the pauses that are in force now.
pub fn save<'a>(path: &Path, pauses: impl Iterator<Item = (&'a JobName, Option<Timestamp>)>) -> io::Result<()> {
    let map: BTreeMap<&str, Option<String>> = pauses.map(|(job, until)| (job.as_str(), until.map(rfc3339))).collect();
    let mut text = serde_json::to_vec_pretty(&map)?;
    text.push(b'\n');
    crate::os::file::replace(path, &text, 0o640)
}
