//! Files of holidays that jobs name: read when they change.

use std::collections::{BTreeMap, BTreeSet};

use rustix::fs::stat;

use super::Catalog;
use crate::catalog::last_good::read_bounded;
use crate::catalog::scan::{LARGEST_FILE, Stamp};
use crate::spec::Target;
use crate::trigger::{Holidays, read_holidays};

/// What each file holds, by its path as job files have it; or why it cannot be read.
pub(super) type Files = BTreeMap<String, Result<Holidays, String>>;

impl Catalog {
    /// Reads the files that are named, if one of them has changed. Says whether what they hold is another thing now.
    pub(super) fn read_all_holidays(&mut self) -> bool {
        let named: BTreeSet<String> = self
            .files
            .values()
            .flat_map(|file| file.references())
            .filter_map(|reference| match &reference.to {
                Target::Holidays(file) => Some(file.clone()),
                _ => None,
            })
            .collect();
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
        let read: Files = named.into_iter().map(|file| (file.clone(), self.read_holidays_of(&file))).collect();
        let differs = self.holidays != read;
        self.holidays = read;
        differs
    }

    fn read_holidays_of(&self, file: &str) -> Result<Holidays, String> {
        let path = self.options.directory.join(file);
        let (_, bytes) = read_bounded(&path, LARGEST_FILE).map_err(|error| error.to_string())?;
        if bytes.len() as u64 > LARGEST_FILE {
            return Err("it has more than 1 MiB".into());
        }
        let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_string())?;
        read_holidays(&text).map_err(|(line, text)| {
            let shown: String = text.chars().take(40).collect();
            format!("line {line}: `{shown}` is not a date such as 2026-12-24, 12-24, or a range of them with `..`")
        })
    }

    /// The dates of a file; none where it cannot be read, which its jobs' errors tell.
    pub(super) fn holidays_of(&self, file: &str) -> Holidays {
        self.holidays.get(file).and_then(|read| read.as_ref().ok()).cloned().unwrap_or_default()
    }
}
