//! runner.yaml as the catalog sees it: the version in force, and what is wrong with the file now.

use std::sync::Arc;

use jiff::Timestamp;
use rustix::fs::{lstat, stat};

use super::{Catalog, SETTINGS_FILES};
use crate::catalog::load::hash;
use crate::catalog::read_file::read_file;
use crate::catalog::scan::Stamp;
use crate::model::Problem;
use crate::spec::{Defaults, ReadContext, RunnerSpec, Source, read_runner};

/// runner.yaml.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) path: Option<&'static str>,
    pub(super) stamp: Option<Stamp>,
    pub(super) in_force: Arc<RunnerSpec>,
    pub(super) defaults: Arc<Defaults>,
    pub(super) problems: Vec<Problem>,
}

impl Catalog {
    pub(super) fn read_settings(&mut self, now: Timestamp) {
        let mut present = SETTINGS_FILES.into_iter().filter_map(|name| {
            let path = self.options.directory.join(name);
            // A link that leads to nothing is there, and broken.
            stat(&path).or_else(|_| lstat(&path)).ok().map(|stat| (name, stat))
        });
        let first = present.next();
        let second = present.next();
        let Some((name, stat)) = first else {
            // Gone: the defaults hold again.
            if self.settings.path.is_some() {
                self.dirty = true;
                self.settings = Settings::default();
            }
            return;
        };
        if second.is_none() && self.settings.path == Some(name) && self.settings.stamp == Some(Stamp::of(&stat)) {
            return;
        }
        self.dirty = true;
        self.settings.path = Some(name);
        self.settings.stamp = Stamp::if_settled(&stat);
        let bytes = match read_file(&self.options.directory.join(name), name, self.options.allow_insecure) {
            Ok(bytes) => bytes,
            Err(problem) => {
                self.settings.problems = vec![*problem];
                return;
            }
        };
        let env = |name: &str| std::env::var(name).ok();
        let cx = ReadContext { env: &env, missing: self.options.missing, timezone: "UTC", means: self.options.means };
        let (read, mut problems) = read_runner(Source { path: name, bytes: &bytes }, &cx);
        if let Some((other, _)) = second {
            self.settings.stamp = None;
            problems
                .push(Problem::of_file(other, format!("the settings are also in {name}")).help("keep one of the two"));
        }
        let failed = problems.iter().any(Problem::is_error);
        self.settings.problems = problems;
        if let Some((spec, defaults)) = read.filter(|_| !failed) {
            let mut to_keep = Vec::new();
            self.keep_text(name, &hash(&bytes), bytes, now, &mut to_keep);
            self.keep(&to_keep);
            self.settings.in_force = Arc::new(spec);
            self.settings.defaults = Arc::new(defaults);
        }
    }

    /// At a start: a broken runner.yaml is replaced by the one that was good last.
    pub(super) fn revive_settings(&mut self) -> bool {
        let Some(name) = self.settings.path else { return false };
        let Some(entry) = self.revived_text(name) else { return false };
        let env = |name: &str| std::env::var(name).ok();
        let cx = ReadContext { env: &env, missing: self.options.missing, timezone: "UTC", means: self.options.means };
        match read_runner(Source { path: name, bytes: entry.text.as_bytes() }, &cx).0 {
            Some((spec, defaults)) => {
                self.settings.in_force = Arc::new(spec);
                self.settings.defaults = Arc::new(defaults);
                true
            }
            None => false,
        }
    }
}
