//! Files of holidays that jobs name: read when they change.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rustix::fs::stat;

use super::keep::tombstone;
use super::{Catalog, JobFile};
use crate::catalog::last_good::{Entry, read_bounded};
use crate::catalog::load::hash;
use crate::catalog::scan::{LARGEST_FILE, Stamp};
use crate::model::Problem;
use crate::spec::{JobSpec, Reference, Target};
use crate::trigger::{Holidays, read_holidays};

/// What each file holds, by its path as job files have it; or why it cannot be read.
pub(super) type Files = BTreeMap<String, Result<Holidays, String>>;

impl Catalog {
    /// Reads the files that are named, if one of them has changed. Says whether what they hold is another thing now.
    pub(super) fn read_all_holidays(&mut self, now: Timestamp, to_keep: &mut Vec<Entry>) -> bool {
        let named: BTreeSet<String> = self.files.values().flat_map(JobFile::holidays).collect();
        if named.is_empty() && self.holidays.is_empty() {
            return false;
        }
        let stamps: BTreeMap<String, Option<Stamp>> = named
            .iter()
            .map(|file| {
                let stamp = stat(self.options.directory.join(file)).ok().and_then(|stat| Stamp::if_settled(&stat));
                (file.clone(), stamp)
            })
            .collect();
        // One whose time says nothing yet is read again.
        if self.holiday_stamps == stamps && stamps.values().all(Option::is_some) {
            return false;
        }
        self.holiday_stamps = stamps;
        let before = std::mem::take(&mut self.holidays);
        for file in named {
            self.read_holidays_of(&file, now, to_keep);
        }
        for file in before.keys().filter(|file| !self.holidays.contains_key(*file)) {
            self.known_holidays.remove(file);
            to_keep.push(tombstone(&kept_as(file), now));
        }
        self.holidays != before
    }

    /// Reads those that a version of a job names and nobody has named before.
    pub(super) fn read_holidays_for(&mut self, spec: &JobSpec, now: Timestamp) {
        for file in named_by(spec) {
            if !self.holidays.contains_key(&file) {
                // They are kept when all are read again.
                self.read_holidays_of(&file, now, &mut Vec::new());
            }
        }
    }

    /// Reads one file. What was known of it stays known where it cannot be read, also from before this start.
    fn read_holidays_of(&mut self, file: &str, now: Timestamp, to_keep: &mut Vec<Entry>) {
        let read = self.read_bytes_of(file).and_then(|bytes| {
            let text = std::str::from_utf8(&bytes).map_err(|_| "it is not UTF-8".to_string())?;
            let dates = read_holidays(text).map_err(|(line, text)| {
                let shown: String = text.chars().take(40).collect();
                format!("line {line}: `{shown}` is not a date such as 2026-12-24, 12-24, or a range of them with `..`")
            })?;
            Ok((dates, bytes))
        });
        let read = read.map(|(dates, bytes)| {
            self.keep_text(&kept_as(file), &hash(&bytes), bytes, now, to_keep);
            self.known_holidays.insert(file.to_string(), dates.clone());
            dates
        });
        if read.is_err()
            && !self.known_holidays.contains_key(file)
            && let Some(entry) = self.revived_text(&kept_as(file))
            && let Ok(dates) = read_holidays(&entry.text)
        {
            self.known_holidays.insert(file.to_string(), dates);
        }
        self.holidays.insert(file.to_string(), read);
    }

    fn read_bytes_of(&self, file: &str) -> Result<Vec<u8>, String> {
        let path = self.options.directory.join(file);
        let (_, bytes) = read_bounded(&path, LARGEST_FILE).map_err(|error| error.to_string())?;
        if bytes.len() as u64 > LARGEST_FILE {
            return Err("it has more than 1 MiB".into());
        }
        Ok(bytes)
    }

    /// The dates of a file, or those that it held when it could be read last.
    pub(super) fn holidays_of(&self, file: &str) -> Option<Holidays> {
        self.known_holidays.get(file).cloned()
    }

    /// What is to be said of the files that a job names and that can be read.
    pub(super) fn holiday_warnings(&self, file: &JobFile) -> Vec<Problem> {
        let warning = |reference: &Reference| match &reference.to {
            Target::Holidays(file) if matches!(self.holidays.get(file), Some(Ok(dates)) if dates.is_empty()) => {
                Some(reference.warning(format!("`{file}` holds no date")))
            }
            _ => None,
        };
        file.references().iter().filter_map(warning).collect()
    }
}

impl JobFile {
    /// The files of holidays that it names, as it stands there and as it is in force.
    fn holidays(&self) -> Vec<String> {
        let good = self.good.as_ref().map(|good| &good.spec);
        let in_force = self.in_force.as_ref().map(|job| &job.spec);
        good.into_iter().chain(in_force).flat_map(|spec| named_by(spec)).collect()
    }
}

fn named_by(spec: &JobSpec) -> Vec<String> {
    spec.policies.blackout.iter().filter_map(|window| window.holidays.clone()).collect()
}

/// The name of a file of holidays among the last good versions: no file below `jobs/` has it.
fn kept_as(file: &str) -> String {
    format!("holidays:{file}")
}
