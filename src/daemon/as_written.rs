//! How a job's texts are shown where the environment was filled in: as they stand in its file.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::catalog::Job;

/// The texts of one version of a job before anything was filled in.
#[derive(Debug, Clone)]
pub(super) enum AsWritten {
    /// They are what the spec has.
    InSpec,
    InMap(Arc<Map<String, Value>>),
    /// That version is not in force any more.
    Unknown,
}

impl AsWritten {
    /// Of the version that is in force, if it is that one.
    pub fn of(job: Option<&Arc<Job>>) -> Self {
        match job.map(|job| &job.written) {
            Some(Some(map)) => Self::InMap(map.clone()),
            Some(None) => Self::InSpec,
            None => Self::Unknown,
        }
    }

    /// What was written at these keys, where the spec has `text`.
    pub fn text(&self, keys: &[&str], text: &str) -> String {
        let found = match self {
            Self::InSpec => Some(text),
            Self::InMap(map) => find(map, keys),
            Self::Unknown => None,
        };
        // A place tells less than a name, but nothing that should not be told.
        found.map_or_else(|| format!("(what `{}` says)", keys.join(".")), str::to_string)
    }

    /// The same of a path that counts from `directory`.
    pub fn path(&self, keys: &[&str], path: &Path, directory: &Path) -> String {
        let written = self.text(keys, &path.to_string_lossy());
        match Path::new(&written) == path {
            true => directory.join(path).display().to_string(),
            // What it is seen from depends on what stands for its beginning.
            false => written,
        }
    }
}

fn find<'a>(map: &'a Map<String, Value>, keys: &[&str]) -> Option<&'a str> {
    let (first, rest) = keys.split_first()?;
    let mut value = map.get(*first)?;
    for key in rest {
        value = match value {
            Value::Array(items) => items.get(key.parse::<usize>().ok()?)?,
            other => other.get(*key)?,
        };
    }
    value.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_shown_as_it_was_written_and_where_that_is_not_known_by_its_place() {
        let map =
            serde_json::json!({ "working_directory": "${D}/x", "sandbox": { "write": ["a", "/${D}"] }, "run_as": 1 });
        let written = AsWritten::InMap(Arc::new(map.as_object().unwrap().clone()));
        let path =
            |keys: &[&str], path: &str, written: &AsWritten| written.path(keys, Path::new(path), Path::new("/c"));
        assert_eq!(path(&["working_directory"], "/srv/x", &written), "${D}/x");
        assert_eq!(path(&["sandbox", "write", "0"], "a", &written), "/c/a");
        assert_eq!(path(&["sandbox", "write", "1"], "/srv", &written), "/${D}");
        assert_eq!(written.text(&["run_as", "user"], "x"), "(what `run_as.user` says)");
        assert_eq!(path(&["working_directory"], "x", &AsWritten::InSpec), "/c/x");
        assert_eq!(path(&["working_directory"], "x", &AsWritten::Unknown), "(what `working_directory` says)");
    }
}
