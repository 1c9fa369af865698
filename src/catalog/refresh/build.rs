//! From files to a generation, and what differs from the one before.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Catalog, JobFile};
use crate::catalog::commit::commit_of;
use crate::catalog::generation::{Delta, Generation, Invalid, Job};
use crate::catalog::load::{hash, hex};
use crate::model::{Problem, Severity};

impl Catalog {
    /// Swaps in the new generation if it differs from the one before.
    pub(super) fn commit(&mut self) -> (Arc<Generation>, Delta) {
        let mut jobs: Vec<Arc<Job>> = self.files.values().filter_map(|file| file.in_force.clone()).collect();
        jobs.sort_by(|a, b| a.name.cmp(&b.name));
        let invalid: Vec<Invalid> = self
            .files
            .iter()
            .filter(|(_, file)| file.in_force.is_none())
            .map(|(path, file)| Invalid {
                name: file.name.clone(),
                file: file.shown.clone(),
                errors: self.errors_of(path, file).into(),
            })
            .collect();
        let mut problems = self.settings.problems.clone();
        problems.extend(self.defaults.values().flat_map(|defaults| defaults.problems.iter().cloned()));
        problems.extend(self.closed.iter().cloned());
        for file in self.files.values() {
            problems.extend(file.problems.iter().filter(|problem| problem.severity == Severity::Warning).cloned());
            problems.extend(self.holiday_warnings(file));
        }
        problems.extend(jobs.iter().flat_map(|job| job.errors.iter().cloned()));
        problems.extend(invalid.iter().flat_map(|invalid| invalid.errors.iter().cloned()));
        problems.sort_by(|a, b| (&a.path, a.line, a.column).cmp(&(&b.path, b.line, b.column)));
        problems.dedup();

        let before = self.generation.clone();
        let delta = self.delta(&before, &jobs, &invalid, &problems);
        if !delta.is_new && self.started {
            return (before, delta);
        }
        let mut text = Vec::with_capacity(jobs.len() * 64);
        for job in &jobs {
            text.extend_from_slice(job.name.as_str().as_bytes());
            text.push(0);
            text.extend_from_slice(job.hash.as_bytes());
        }
        self.generation = Arc::new(Generation {
            number: before.number + 1,
            fingerprint: hex(&hash(&text)[..8]),
            commit: commit_of(&self.options.jobs),
            settings: self.settings.in_force.clone(),
            files: self.files.len() + self.defaults.len() + usize::from(self.settings.path.is_some()),
            jobs,
            invalid,
            problems,
            vanished: None,
        });
        (self.generation.clone(), delta)
    }

    pub(super) fn errors_of(&self, path: &str, file: &JobFile) -> Vec<Problem> {
        let mut errors: Vec<Problem> = file.own_errors().cloned().collect();
        if errors.is_empty() && self.defaults_for(path).1.is_some() {
            let message = "the folder's defaults are broken, and there is no earlier version of the job";
            errors.push(Problem::of_file(&*file.shown, message));
        }
        errors
    }

    pub(super) fn delta(
        &self,
        before: &Generation,
        jobs: &[Arc<Job>],
        invalid: &[Invalid],
        problems: &[Problem],
    ) -> Delta {
        let mut delta = Delta { settings_changed: before.settings != self.settings.in_force, ..Delta::default() };
        // Both are sorted by name.
        let mut old = before.jobs.iter().peekable();
        for job in jobs {
            while let Some(gone) = old.next_if(|old| old.name < job.name) {
                delta.removed.push(gone.name.clone());
            }
            match old.next_if(|old| old.name == job.name) {
                None => delta.added.push(job.clone()),
                Some(old) if Arc::ptr_eq(old, job) => {}
                Some(old) if !old.is_same(job) => delta.changed.push(job.clone()),
                Some(_) => {}
            }
        }
        delta.removed.extend(old.map(|gone| gone.name.clone()));
        let broken_files = |jobs: &[Arc<Job>], invalid: &[Invalid]| -> HashSet<Arc<str>> {
            let stale = jobs.iter().filter(|job| job.is_stale()).map(|job| job.file.clone());
            stale.chain(invalid.iter().map(|invalid| invalid.file.clone())).collect()
        };
        let (was, is) = (broken_files(&before.jobs, &before.invalid), broken_files(jobs, invalid));
        delta.broken = is.difference(&was).cloned().collect();
        delta.mended = was.difference(&is).filter(|file| jobs.iter().any(|job| job.file == **file)).cloned().collect();
        delta.broken.sort();
        delta.mended.sort();
        let old: HashSet<String> = before.problems.iter().map(ToString::to_string).collect();
        delta.new_problems = problems.iter().filter(|problem| !old.contains(&problem.to_string())).cloned().collect();
        delta.is_new = !(delta.added.is_empty()
            && delta.changed.is_empty()
            && delta.removed.is_empty()
            && !delta.settings_changed
            && before.vanished.is_none()
            && before.problems == problems)
            || jobs.iter().zip(&before.jobs).any(|(a, b)| !Arc::ptr_eq(a, b));
        delta
    }
}
