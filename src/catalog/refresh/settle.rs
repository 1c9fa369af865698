//! Which version of each file runs: the one that was read, the last good one, or none.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::{Catalog, JobFile};
use crate::catalog::generation::Job;
use crate::catalog::last_good::Entry;
use crate::catalog::load::Good;
use crate::catalog::names::{Claim, refused};
use crate::model::Problem;
use crate::spec::JobSpec;
use crate::trigger::{Blackout, TriggerContext};

impl Catalog {
    /// Finds out which files have a name that another one has.
    pub(super) fn find_clashes(&mut self) {
        let mut clashes: HashMap<String, Problem> = HashMap::new();
        // A file that is refused goes on as what it was, and holds that name: so it is looked again until nothing changes.
        loop {
            let claims: Vec<Claim<'_>> = self
                .files
                .iter()
                .filter_map(|(path, file)| self.claim(path, file, clashes.contains_key(&*file.shown)))
                .collect();
            let before = clashes.len();
            for (shown, problem) in refused(&claims) {
                clashes.entry(shown).or_insert(problem);
            }
            if clashes.len() == before {
                break;
            }
        }
        for file in self.files.values_mut() {
            file.clash = clashes.remove(&*file.shown);
        }
    }

    /// The name that a file will have in force, if it is to have one.
    pub(super) fn claim<'f>(&self, path: &str, file: &'f JobFile, is_refused: bool) -> Option<Claim<'f>> {
        let has_good_defaults = self.defaults_for(path).1.is_none()
            || (file.in_force.is_none() && !self.started && !self.lacks_defaults(path));
        match (&file.good, &file.in_force) {
            (Some(good), loaded) if !is_refused && has_good_defaults => {
                let is_loaded = self.started && loaded.as_ref().is_some_and(|job| job.name == good.name);
                Some(Claim { shown: &file.shown, name: &good.name, is_loaded })
            }
            // A name that a stale version holds is taken as well.
            (_, Some(job)) => Some(Claim { shown: &file.shown, name: &job.name, is_loaded: true }),
            (_, None) => None,
        }
    }

    /// Decides for each file which version runs, and what is wrong with it.
    pub(super) fn settle(&mut self, now: Timestamp, to_keep: &mut Vec<Entry>) {
        self.find_clashes();
        self.find_dangling();
        if !self.started {
            self.revive_dangling(now);
        }
        let mut not_to_keep = HashSet::new();
        for file in self.files.values_mut().filter(|file| file.is_refused() && file.good.is_some()) {
            file.is_kept = false;
            not_to_keep.insert(file.shown.clone());
        }
        // A version that never ran is not the last good one.
        to_keep.retain(|entry| entry.hash.is_empty() || !not_to_keep.contains(entry.path.as_str()));
        let mut decided = Vec::new();
        let mut turned = Vec::new();
        for (path, file) in &self.files {
            let mut errors: Vec<Problem> = file.own_errors().cloned().collect();
            let has_own_errors = !errors.is_empty();
            if let Some(defaults) = self.defaults_for(path).1 {
                errors.extend(defaults.problems.iter().filter(|problem| problem.is_error()).map(|problem| {
                    Problem::of_file(&*file.shown, format!("the folder's defaults are broken: {problem}"))
                        .help("mend them; until then the job's last good version runs")
                }));
            }
            // At a start a job whose defaults alone are broken runs with the last good ones.
            let is_usable = errors.is_empty()
                || (!has_own_errors && file.in_force.is_none() && !self.started && !self.lacks_defaults(path));
            let next = match (&file.good, &file.in_force) {
                (Some(good), Some(before)) if is_usable && before.is_of(good) && before.errors[..] == errors[..] => {
                    // The zone may be another one, where runner.yaml's counts.
                    let same_zone =
                        good.spec.policies.timezone.is_some() || before.zone.iana_name() == Some(&self.timezone);
                    let same_holidays = before.blackout == self.blackout(&good.spec, &before.zone);
                    if same_zone && same_holidays { continue } else { Some(Arc::new(self.job(good, &file.shown, now))) }
                }
                (Some(good), _) if is_usable => {
                    let before = file.in_force.as_deref();
                    let stale_since = self.stale_since(before, &errors, &file.shown, now);
                    if before.is_some_and(Job::is_stale) || stale_since.is_some() {
                        turned.push((file.shown.clone(), stale_since));
                    }
                    let job = Job { errors: errors.into(), stale_since, ..self.job(good, &file.shown, now) };
                    if !file.is_kept {
                        to_keep.push(self.whole(&job));
                    }
                    Some(Arc::new(job))
                }
                (_, Some(before)) => {
                    // What is loaded goes on, and its holidays are read when they change.
                    let blackout = self.blackout(&before.spec, &before.zone);
                    if before.errors[..] == errors[..] && before.blackout == blackout {
                        continue;
                    }
                    let stale_since = self.stale_since(Some(before), &errors, &file.shown, now);
                    if !before.is_stale() && self.started {
                        to_keep.push(Entry { stale_since, ..self.whole(before) });
                    } else {
                        turned.push((file.shown.clone(), stale_since));
                    }
                    Some(Arc::new(Job { errors: errors.into(), stale_since, blackout, ..Job::clone(before) }))
                }
                (_, None) => continue,
            };
            decided.push((path.clone(), next));
        }
        self.keep_stale(&turned, to_keep);
        for (path, next) in decided {
            if let Some(file) = self.files.get_mut(&path) {
                file.in_force = next;
                file.is_kept |= !file.is_refused();
            }
        }
    }

    pub(super) fn job(&self, good: &Good, shown: &Arc<str>, now: Timestamp) -> Job {
        let zone = good.spec.zone(&self.timezone);
        let context = TriggerContext::with_jitter(&good.name, &zone, good.spec.policies.jitter);
        let blackout = self.blackout(&good.spec, &zone);
        let armed: Vec<_> = match good.spec.about.enabled {
            true => good.spec.triggers.iter().filter_map(|t| Some((t.triggered_by(), t.arm(context)?))).collect(),
            false => Vec::new(),
        };
        Job {
            name: good.name.clone(),
            file: shown.clone(),
            spec: good.spec.clone(),
            written: good.written.clone(),
            hash: good.hash,
            armed: armed.into(),
            zone,
            blackout,
            first_loaded: self.last_good.as_ref().and_then(|kept| kept.since(shown)).unwrap_or(now),
            // The empty one that all share: this is there once for each job.
            errors: Arc::default(),
            stale_since: None,
        }
    }

    /// When the job's due times are passed over.
    fn blackout(&self, spec: &JobSpec, zone: &jiff::tz::TimeZone) -> Option<Arc<Blackout>> {
        let windows = &spec.policies.blackout;
        if windows.is_empty() {
            return None;
        }
        Blackout::new(windows, zone, |file| self.holidays_of(file)).map(Arc::new)
    }
}
