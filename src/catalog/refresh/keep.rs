//! What is kept for the next start, and taken up again at it.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Catalog, JobFile};
use crate::catalog::generation::Job;
use crate::catalog::last_good::Entry;
use crate::catalog::load::{TextHash, hash, hex, parse};
use crate::catalog::scan::stem;
use crate::model::Problem;
use crate::spec::ReadContext;

impl Catalog {
    /// At a start: files that are broken get the version that was good when the runner ran last.
    pub(super) fn revive(&mut self, now: Timestamp) {
        let is_broken = |path: &str, file: &JobFile| file.good.is_none() || self.lacks_defaults(path);
        let broken = self.files.iter().filter(|(path, file)| is_broken(path, file));
        self.revive_these(broken.map(|(path, _)| path.clone()).collect(), now);
    }

    /// At a start: likewise those that name what is not there any more.
    pub(super) fn revive_dangling(&mut self, now: Timestamp) {
        let dangling = self.files.iter().filter(|(_, file)| !file.dangling.is_empty() && file.in_force.is_none());
        self.revive_these(dangling.map(|(path, _)| path.clone()).collect(), now);
    }

    fn revive_these(&mut self, broken: Vec<String>, now: Timestamp) {
        if !self.options.use_last_good {
            return;
        }
        let mut taken: HashSet<String> =
            self.files.values().filter_map(|file| Some(file.good.as_ref()?.name.to_lowercase())).collect();
        for path in &broken {
            taken.remove(&self.files[path].good.as_ref().map_or(String::new(), |good| good.name.to_lowercase()));
        }
        for path in broken {
            let shown = self.shown_path(&path);
            let Some(entry) = self.revived_text(&shown) else { continue };
            let defaults = match entry.whole {
                true => Arc::default(),
                false if self.lacks_defaults(&path) => continue,
                false => self.defaults_for(&path).0,
            };
            let env = |name: &str| std::env::var(name).ok();
            let cx = ReadContext {
                env: &env,
                missing: self.options.missing,
                timezone: &self.timezone,
                means: self.options.means,
            };
            let default_name = stem(&path).unwrap_or(&path).to_string();
            let parsed = parse(&shown, &default_name, entry.text.into_bytes(), &defaults, &cx);
            // What a file says now comes before what another one said once.
            if let Some(good) = parsed.good
                && taken.insert(good.name.to_lowercase())
            {
                self.read_holidays_for(&good.spec, now);
                let job = self.job(&good, &shown, now);
                if let Some(file) = self.files.get_mut(&path) {
                    file.name = job.name.to_string();
                    file.in_force = Some(Arc::new(job));
                }
            }
        }
    }

    pub(super) fn revived_text(&self, shown: &str) -> Option<Entry> {
        if self.started || !self.options.use_last_good {
            return None;
        }
        self.last_good.as_ref()?.get(shown)
    }

    /// A job that becomes stale, kept with its defaults in it: those of its folder may be what changed.
    pub(super) fn whole(&self, job: &Job) -> Entry {
        let text = serde_json::Value::Object(job.written()).to_string();
        Entry {
            path: job.file.to_string(),
            hash: hex(&hash(text.as_bytes())),
            since: job.first_loaded,
            text,
            whole: true,
            stale_since: None,
        }
    }

    /// Since when a job is stale that has these errors now: since it had none, also over a restart.
    pub(super) fn stale_since(
        &self,
        before: Option<&Job>,
        errors: &[Problem],
        shown: &str,
        now: Timestamp,
    ) -> Option<Timestamp> {
        if errors.is_empty() {
            return None;
        }
        match before.filter(|before| before.is_stale()) {
            Some(before) => before.stale_since,
            None if self.started => Some(now),
            // Who only looks does not know since when; a runner runs it as it was good last from now on.
            None => self.kept_stale_since(shown).or(self.options.keeps_last_good.then_some(now)),
        }
    }

    pub(super) fn kept_stale_since(&self, shown: &str) -> Option<Timestamp> {
        self.last_good.as_ref()?.stale_since(shown)
    }

    /// Keeps since when these are stale, or that they are not any more; what is to be kept of them anyway says so itself.
    pub(super) fn keep_stale(&self, jobs: &[(Arc<str>, Option<Timestamp>)], to_keep: &mut Vec<Entry>) {
        let Some(last_good) = self.last_good.as_ref().filter(|_| self.options.keeps_last_good) else { return };
        let kept: HashSet<String> = to_keep.iter().map(|entry| entry.path.clone()).collect();
        let changed = |(shown, since): &(Arc<str>, Option<Timestamp>)| {
            let is_news = !kept.contains(&**shown) && last_good.stale_since(shown) != *since;
            Some(Entry { stale_since: *since, ..is_news.then(|| last_good.get(shown))?? })
        };
        to_keep.extend(jobs.iter().filter_map(changed));
    }

    pub(super) fn keep_text(
        &self,
        shown: &str,
        text: &TextHash,
        bytes: Vec<u8>,
        now: Timestamp,
        to_keep: &mut Vec<Entry>,
    ) {
        let Some(last_good) = &self.last_good else { return };
        if last_good.hash(shown) != Some(*text) || last_good.stale_since(shown).is_some() {
            let since = last_good.since(shown).unwrap_or(now);
            // What was read as a file is UTF-8.
            let hash = hex(text);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            to_keep.push(Entry { path: shown.into(), hash, since, text, whole: false, stale_since: None });
        }
    }

    pub(super) fn forget_gone_files(&self, seen: &HashSet<String>, now: Timestamp) -> Vec<Entry> {
        let Some(last_good) = &self.last_good else { return Vec::new() };
        let prefix = format!("{}/", self.shown());
        last_good
            .paths()
            .filter(|path| {
                path.strip_prefix(&prefix).is_some_and(|path| !seen.contains(path) && !path.contains("_defaults."))
            })
            .map(|path| tombstone(path, now))
            .collect()
    }

    pub(super) fn keep(&mut self, entries: &[Entry]) {
        if self.options.keeps_last_good
            && let Some(last_good) = &mut self.last_good
            && let Err(error) = last_good.put(entries)
        {
            self.last_good_error = Some(format!("last-good.jsonl cannot be written: {error}"));
        }
    }
}

pub(super) fn tombstone(shown: &str, now: Timestamp) -> Entry {
    Entry { path: shown.into(), hash: String::new(), since: now, text: String::new(), whole: false, stale_since: None }
}
