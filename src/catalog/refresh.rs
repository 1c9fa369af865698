use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use rustix::fs::{lstat, stat};

use super::commit::commit_of;
use super::generation::{Delta, Generation, Invalid, Job};
use super::last_good::{Entry, LastGood, read_bounded};
use super::links::on_the_way_to;
use super::load::{Good, Loaded, Task, TextHash, hash, hex, load, parse};
use super::names::{Claim, refused};
use super::read_file::read_file;
use super::scan::{Found, LARGEST_FILE, Purpose, Scan, Stamp, scan, stem};
use crate::model::{Problem, Severity};
use crate::spec::{Defaults, MissingVariable, ReadContext, RunnerSpec, Source, read_defaults, read_runner};
use crate::trigger::TriggerContext;

/// Where the files are, and how strictly they are taken.
#[derive(Debug, Clone)]
pub struct Options {
    /// The configuration directory.
    pub directory: PathBuf,
    /// `jobs/`, wherever it is.
    pub jobs: PathBuf,
    /// The time zone that stands above runner.yaml's.
    pub timezone: Option<String>,
    pub allow_insecure: bool,
    /// Where last good versions are kept; `None`: the files alone count.
    pub last_good: Option<PathBuf>,
    /// Whether last good versions of an earlier run of the runner are taken up.
    pub use_last_good: bool,
    /// Whether good versions are kept for the next start: the runner's own affair.
    pub keeps_last_good: bool,
    pub missing: MissingVariable,
    /// A broken runner.yaml is a finding like others, not a reason to look at nothing else.
    pub tolerates_broken_settings: bool,
}

/// Why there is nothing to start with.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("there is no {}: {error}", .path.display())]
    NoJobs { path: PathBuf, error: std::io::Error },
    #[error("runner.yaml is broken")]
    Settings(Vec<Problem>),
}

/// The state behind the generations: what every file was when it was last looked at.
#[derive(Debug)]
pub struct Catalog {
    options: Options,
    last_good: Option<LastGood>,
    settings: Settings,
    defaults: HashMap<String, FolderDefaults>,
    files: BTreeMap<String, JobFile>,
    generation: Arc<Generation>,
    device: u64,
    links: Vec<String>,
    /// Something was read or is gone since the last generation.
    dirty: bool,
    timezone: String,
    started: bool,
    /// What could not be kept for the next start, said once.
    pub last_good_error: Option<String>,
}

/// runner.yaml.
#[derive(Debug, Default)]
struct Settings {
    path: Option<&'static str>,
    stamp: Option<Stamp>,
    in_force: Arc<RunnerSpec>,
    defaults: Arc<Defaults>,
    problems: Vec<Problem>,
}

/// A folder's `_defaults.yaml`.
#[derive(Debug)]
struct FolderDefaults {
    stamp: Option<Stamp>,
    text: TextHash,
    parent: Arc<Defaults>,
    /// The last good ones, with those above.
    in_force: Arc<Defaults>,
    /// There has been a good version of this very file: else nothing is known of what its jobs should get.
    is_known: bool,
    problems: Vec<Problem>,
}

/// A job's file.
struct JobFile {
    /// From the configuration directory.
    shown: Arc<str>,
    stamp: Option<Stamp>,
    text: TextHash,
    defaults: Arc<Defaults>,
    good: Option<Good>,
    name: String,
    problems: Vec<Problem>,
    /// Another file has the job's name.
    clash: Option<Problem>,
    /// Whether the good text is kept for the next start: not while the file is refused for its name.
    is_kept: bool,
    /// The version that runs.
    in_force: Option<Arc<Job>>,
}

impl JobFile {
    /// What is wrong with the file itself, or with its name.
    fn own_errors(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(|problem| problem.is_error()).chain(&self.clash)
    }
}

impl std::fmt::Debug for JobFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobFile").field("name", &self.name).finish_non_exhaustive()
    }
}

const SETTINGS_FILES: [&str; 3] = ["runner.yaml", "runner.yml", "runner.json"];

impl Catalog {
    /// Reads everything for the first time.
    ///
    /// # Errors
    /// There is no `jobs/`, or runner.yaml is broken and has no last good version.
    pub fn open(options: Options, now: Timestamp) -> Result<(Self, Arc<Generation>, Delta), StartError> {
        let last_good = options.last_good.clone().map(LastGood::open).transpose();
        let mut catalog = Self {
            last_good_error: last_good.as_ref().err().map(|error| format!("last-good.jsonl cannot be read: {error}")),
            last_good: last_good.unwrap_or_default(),
            settings: Settings::default(),
            defaults: HashMap::new(),
            files: BTreeMap::new(),
            generation: Arc::new(Generation {
                number: 0,
                fingerprint: String::new(),
                commit: None,
                settings: Arc::default(),
                jobs: Vec::new(),
                invalid: Vec::new(),
                problems: Vec::new(),
                files: 0,
                vanished: None,
            }),
            device: 0,
            links: Vec::new(),
            dirty: true,
            timezone: String::new(),
            started: false,
            options,
        };
        catalog.read_settings(now);
        if catalog.settings.problems.iter().any(Problem::is_error)
            && !catalog.revive_settings()
            && !catalog.options.tolerates_broken_settings
        {
            return Err(StartError::Settings(std::mem::take(&mut catalog.settings.problems)));
        }
        let scan = catalog.scan().map_err(|error| StartError::NoJobs { path: catalog.options.jobs.clone(), error })?;
        let (generation, delta) = catalog.take_up(scan, now);
        catalog.started = true;
        Ok((catalog, generation, delta))
    }

    /// Compares the files with what is loaded, and makes a new generation if anything differs.
    pub fn refresh(&mut self, now: Timestamp) -> (Arc<Generation>, Delta) {
        match self.scan() {
            Ok(scan) if self.looks_unmounted(&scan) => {
                self.vanish(format!("{} is empty and on another device than before: a mount is gone", self.shown()))
            }
            Ok(scan) => {
                // What made the jobs vanish may have taken the settings with it: then they stay as well.
                self.read_settings(now);
                self.take_up(scan, now)
            }
            Err(error) => self.vanish(format!("{} cannot be read: {error}", self.options.jobs.display())),
        }
    }

    pub fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    /// What has to be watched: `jobs/` with everything below it, and these paths themselves.
    pub fn watched(&self) -> (PathBuf, Vec<PathBuf>) {
        let jobs = &self.options.jobs;
        let mut paths: Vec<PathBuf> = SETTINGS_FILES.iter().map(|name| self.options.directory.join(name)).collect();
        // One that is not there (any more) may come back.
        paths.push(jobs.clone());
        paths.extend(on_the_way_to(jobs));
        if let Some(name) = self.settings.path {
            paths.extend(on_the_way_to(&self.options.directory.join(name)));
        }
        paths.extend(self.links.iter().flat_map(|link| on_the_way_to(&jobs.join(link))));
        paths.sort();
        paths.dedup();
        (jobs.clone(), paths)
    }

    /// What stands at the watched paths now. If it differs from before, what is watched is not what is read.
    pub fn footing(&self) -> Vec<(PathBuf, Option<(u64, u64)>)> {
        let (_, paths) = self.watched();
        let identity = |path: &PathBuf| stat(path).ok().map(|stat| (stat.st_dev, stat.st_ino));
        paths.into_iter().map(|path| (path.clone(), identity(&path))).collect()
    }

    fn scan(&self) -> std::io::Result<Scan> {
        scan(&self.options.jobs, &self.shown(), self.options.allow_insecure)
    }

    /// `jobs/` as messages call it: from the configuration directory where it is in there.
    fn shown(&self) -> String {
        let jobs = &self.options.jobs;
        let shown = jobs.strip_prefix(&self.options.directory).unwrap_or(jobs);
        shown.to_string_lossy().trim_end_matches('/').to_string()
    }

    fn looks_unmounted(&self, scan: &Scan) -> bool {
        self.started && !self.files.is_empty() && scan.files.is_empty() && scan.device != self.device
    }

    /// `jobs/` is gone: what is loaded stays.
    fn vanish(&mut self, why: String) -> (Arc<Generation>, Delta) {
        if self.generation.vanished.as_ref() == Some(&why) {
            return (self.generation.clone(), Delta::default());
        }
        let problem =
            Problem::of_file(self.shown(), &why).help("what is loaded goes on; it is read again when it is back");
        let mut generation = Generation::clone(&self.generation);
        generation.number += 1;
        generation.vanished = Some(why);
        generation.problems.push(problem.clone());
        self.generation = Arc::new(generation);
        (self.generation.clone(), Delta { new_problems: vec![problem], is_new: true, ..Delta::default() })
    }

    fn take_up(&mut self, scan: Scan, now: Timestamp) -> (Arc<Generation>, Delta) {
        self.device = scan.device;
        self.links = scan.links;
        let timezone = self.options.timezone.clone().unwrap_or_else(|| self.settings.in_force.timezone.clone());
        let zone_changed = self.timezone != timezone;
        self.timezone = timezone;
        self.dirty |= zone_changed || self.generation.vanished.is_some();
        let (job_files, defaults_files): (Vec<Found>, Vec<Found>) =
            scan.files.into_iter().partition(|found| found.purpose == Purpose::Job);
        let mut to_keep = Vec::new();
        self.read_all_defaults(defaults_files, now, &mut to_keep);

        let mut refused_files: BTreeMap<String, Problem> = BTreeMap::new();
        let mut tasks = Vec::new();
        let mut seen = HashSet::new();
        for found in job_files {
            seen.insert(found.path.clone());
            match found.stamp {
                Err(problem) => {
                    refused_files.insert(found.path, *problem);
                }
                Ok(stamp) => {
                    let (defaults, _) = self.defaults_for(&found.path);
                    let known = self.files.get(&found.path);
                    let same_context = known
                        .is_some_and(|file| Arc::ptr_eq(&file.defaults, &defaults) || file.defaults == defaults)
                        && !zone_changed;
                    if same_context && known.is_some_and(|file| file.stamp == Some(stamp)) {
                        continue;
                    }
                    tasks.push(Task {
                        shown: self.shown_path(&found.path),
                        default_name: stem(&found.path).unwrap_or(&found.path).to_string(),
                        known: known.filter(|_| same_context).map(|file| file.text),
                        path: found.path,
                        defaults,
                    });
                }
            }
        }
        let loaded = {
            let env = |name: &str| std::env::var(name).ok();
            let cx = ReadContext { env: &env, missing: self.options.missing, timezone: &self.timezone };
            load(&tasks, &self.options.jobs, &cx)
        };
        let defaults_of: HashMap<String, Arc<Defaults>> =
            tasks.into_iter().map(|task| (task.path, task.defaults)).collect();
        for one in loaded {
            if let Some(defaults) = defaults_of.get(&one.path) {
                self.note_loaded(one, defaults.clone(), now, &mut to_keep);
            }
        }
        for (folder, problem) in scan.closed {
            for path in self.hidden_in(&folder, &seen) {
                seen.insert(path.clone());
                refused_files.insert(path, Problem::clone(&problem));
            }
        }
        for (path, problem) in &refused_files {
            self.note_refused(path, problem);
        }
        let gone: Vec<String> = self.files.keys().filter(|path| !seen.contains(*path)).cloned().collect();
        self.dirty |= !gone.is_empty();
        for path in gone {
            self.files.remove(&path);
            to_keep.push(tombstone(&self.shown_path(&path), now));
        }
        if !self.started {
            self.revive(now);
            to_keep.extend(self.forget_gone_files(&seen, now));
        }
        // Most looks find nothing: then nothing is gone through.
        if !std::mem::take(&mut self.dirty) {
            return (self.generation.clone(), Delta::default());
        }
        self.settle(now, &mut to_keep);
        self.keep(&to_keep);
        self.commit()
    }

    fn shown_path(&self, path: &str) -> Arc<str> {
        match path {
            "" => self.shown().into(),
            path => format!("{}/{path}", self.shown()).into(),
        }
    }

    /// The files known to be below a folder that cannot be read, or may not be: they are not gone, they go on as they were.
    fn hidden_in(&self, folder: &str, seen: &HashSet<String>) -> Vec<String> {
        let is_hidden = |path: &str| {
            let below = if folder.is_empty() { Some(path) } else { path.strip_prefix(folder) };
            below.is_some_and(|below| folder.is_empty() || below.starts_with('/')) && !seen.contains(path)
        };
        let mut hidden: Vec<String> = self.files.keys().filter(|path| is_hidden(path)).cloned().collect();
        if !self.started
            && self.options.use_last_good
            && let Some(last_good) = &self.last_good
        {
            let prefix = format!("{}/", self.shown());
            let kept = last_good.paths().filter_map(|path| path.strip_prefix(&prefix));
            hidden.extend(kept.filter(|path| is_hidden(path) && !path.contains("_defaults.")).map(str::to_string));
        }
        hidden
    }

    /// The defaults of a file, and the broken defaults file that makes it stale, if there is one.
    fn defaults_for(&self, path: &str) -> (Arc<Defaults>, Option<&FolderDefaults>) {
        let mut folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut nearest = None;
        let mut broken = None;
        loop {
            if let Some(found) = self.defaults.get(folder) {
                nearest = nearest.or(Some(found.in_force.clone()));
                if found.problems.iter().any(Problem::is_error) {
                    broken = broken.or(Some(found));
                }
            }
            if folder.is_empty() {
                break;
            }
            folder = folder.rsplit_once('/').map_or("", |(above, _)| above);
        }
        (nearest.unwrap_or_else(|| self.settings.defaults.clone()), broken)
    }

    /// Whether the file's defaults are broken and no good version of them is known: then nobody can tell what the job should be.
    fn lacks_defaults(&self, path: &str) -> bool {
        self.defaults_for(path).1.is_some_and(|defaults| !defaults.is_known)
    }

    fn read_all_defaults(&mut self, files: Vec<Found>, now: Timestamp, to_keep: &mut Vec<Entry>) {
        let folder_of = |path: &str| path.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_string());
        let present: HashSet<String> = files.iter().map(|found| folder_of(&found.path)).collect();
        let before = self.defaults.len();
        self.defaults.retain(|folder, _| present.contains(folder));
        self.dirty |= self.defaults.len() != before;
        let mut taken: HashMap<String, String> = HashMap::new();
        // By depth: those above are read first.
        let mut files = files;
        files.sort_by_key(|found| found.path.matches('/').count());
        for found in files {
            let folder = folder_of(&found.path);
            let shown = self.shown_path(&found.path);
            if let Some(first) = taken.insert(folder.clone(), shown.to_string()) {
                if let Some(known) = self.defaults.get_mut(&folder) {
                    known.stamp = None;
                    known.problems.push(
                        Problem::of_file(&*shown, format!("this folder's defaults are also in {first}"))
                            .help("keep one of the two"),
                    );
                }
                continue;
            }
            let parent = match folder.is_empty() {
                true => self.settings.defaults.clone(),
                false => self.defaults_for(&folder).0,
            };
            self.read_defaults_file(&found, folder, &shown, parent, now, to_keep);
        }
    }

    fn read_defaults_file(
        &mut self,
        found: &Found,
        folder: String,
        shown: &str,
        parent: Arc<Defaults>,
        now: Timestamp,
        to_keep: &mut Vec<Entry>,
    ) {
        let before = self.defaults.remove(&folder);
        let stamp = match &found.stamp {
            Ok(stamp) => *stamp,
            Err(problem) => {
                let problems = vec![Problem::clone(problem)];
                self.dirty |= before.as_ref().is_none_or(|before| before.problems != problems);
                let (in_force, is_known) =
                    before.map_or((parent.clone(), false), |before| (before.in_force, before.is_known));
                self.defaults.insert(
                    folder,
                    FolderDefaults { stamp: None, text: [0; 32], parent, in_force, is_known, problems },
                );
                return;
            }
        };
        if let Some(same) = before.as_ref().filter(|before| before.stamp == Some(stamp) && before.parent == parent) {
            let problems = same.problems.clone();
            self.defaults.insert(
                folder,
                FolderDefaults {
                    stamp: Some(stamp),
                    text: same.text,
                    parent,
                    in_force: same.in_force.clone(),
                    is_known: same.is_known,
                    problems,
                },
            );
            return;
        }
        self.dirty = true;
        let env = |name: &str| std::env::var(name).ok();
        let timezone = self.timezone.clone();
        let cx = ReadContext { env: &env, missing: self.options.missing, timezone: &timezone };
        let (defaults, problems, text, bytes) = match read_bounded(&self.options.jobs.join(&found.path), LARGEST_FILE) {
            Ok((_, bytes)) => {
                let (defaults, problems) = read_defaults(Source { path: shown, bytes: &bytes }, &parent, &cx);
                (defaults, problems, hash(&bytes), bytes)
            }
            Err(error) => {
                (None, vec![Problem::of_file(shown, format!("this file cannot be read: {error}"))], [0; 32], Vec::new())
            }
        };
        let (in_force, is_known) = match (defaults, before) {
            (Some(defaults), _) => {
                self.keep_text(shown, &text, bytes, now, to_keep);
                (Arc::new(defaults), true)
            }
            (None, Some(before)) => (before.in_force, before.is_known),
            (None, None) => {
                let revived = self.revived_text(shown).and_then(|entry| {
                    read_defaults(Source { path: shown, bytes: entry.text.as_bytes() }, &parent, &cx).0
                });
                let is_known = revived.is_some();
                (revived.map_or(parent.clone(), Arc::new), is_known)
            }
        };
        self.defaults.insert(folder, FolderDefaults { stamp: Some(stamp), text, parent, in_force, is_known, problems });
    }

    fn note_loaded(&mut self, loaded: Loaded, defaults: Arc<Defaults>, now: Timestamp, to_keep: &mut Vec<Entry>) {
        let Loaded { path, shown, stamp, text, parsed } = loaded;
        let Some(parsed) = parsed else {
            if let Some(file) = self.files.get_mut(&path) {
                file.stamp = stamp;
            }
            return;
        };
        self.dirty = true;
        // With defaults that are broken it is not known to be good.
        if parsed.good.is_some() && self.defaults_for(&path).1.is_none() {
            self.keep_text(&shown, &text, parsed.bytes, now, to_keep);
        }
        let default_name = stem(&path).unwrap_or(&path).to_string();
        let before = self.files.remove(&path).and_then(|file| file.in_force);
        self.files.insert(
            path,
            JobFile {
                shown: shown.clone(),
                stamp,
                text,
                defaults,
                name: parsed.name.map_or(default_name, |name| name.to_string()),
                good: parsed.good,
                problems: parsed.problems,
                clash: None,
                is_kept: true,
                in_force: before,
            },
        );
    }

    fn note_refused(&mut self, path: &str, problem: &Problem) {
        let (defaults, _) = self.defaults_for(path);
        let shown = self.shown_path(path);
        let name = if path.is_empty() { shown.to_string() } else { stem(path).unwrap_or(path).to_string() };
        let file = self.files.entry(path.to_string()).or_insert_with(|| JobFile {
            shown,
            stamp: None,
            text: [0; 32],
            defaults,
            good: None,
            name,
            problems: Vec::new(),
            clash: None,
            is_kept: true,
            in_force: None,
        });
        let problems = vec![problem.clone()];
        self.dirty |= file.problems != problems;
        // Whatever it holds is read anew when it can be.
        file.text = TextHash::default();
        file.stamp = None;
        file.good = None;
        file.problems = problems;
    }

    /// At a start: files that are broken get the version that was good when the runner ran last.
    fn revive(&mut self, now: Timestamp) {
        if !self.options.use_last_good {
            return;
        }
        let is_broken = |path: &str, file: &JobFile| file.good.is_none() || self.lacks_defaults(path);
        let broken: Vec<String> =
            self.files.iter().filter(|(path, file)| is_broken(path, file)).map(|(path, _)| path.clone()).collect();
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
            let cx = ReadContext { env: &env, missing: self.options.missing, timezone: &self.timezone };
            let default_name = stem(&path).unwrap_or(&path).to_string();
            let parsed = parse(&shown, &default_name, entry.text.into_bytes(), &defaults, &cx);
            // What a file says now comes before what another one said once.
            if let Some(good) = parsed.good
                && taken.insert(good.name.to_lowercase())
            {
                let job = self.job(&good, &shown, now);
                if let Some(file) = self.files.get_mut(&path) {
                    file.name = job.name.to_string();
                    file.in_force = Some(Arc::new(job));
                }
            }
        }
    }

    fn revived_text(&self, shown: &str) -> Option<Entry> {
        if self.started || !self.options.use_last_good {
            return None;
        }
        self.last_good.as_ref()?.get(shown)
    }

    /// Finds out which files have a name that another one has.
    fn find_clashes(&mut self) {
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
    fn claim<'f>(&self, path: &str, file: &'f JobFile, is_refused: bool) -> Option<Claim<'f>> {
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
    fn settle(&mut self, now: Timestamp, to_keep: &mut Vec<Entry>) {
        self.find_clashes();
        let mut not_to_keep = HashSet::new();
        for file in self.files.values_mut().filter(|file| file.clash.is_some() && file.good.is_some()) {
            file.is_kept = false;
            not_to_keep.insert(file.shown.clone());
        }
        // A version that never ran is not the last good one.
        to_keep.retain(|entry| entry.hash.is_empty() || !not_to_keep.contains(entry.path.as_str()));
        let mut decided = Vec::new();
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
                    if same_zone { continue } else { Some(Arc::new(self.job(good, &file.shown, now))) }
                }
                (Some(good), _) if is_usable => {
                    let job = Job { errors: errors.into(), ..self.job(good, &file.shown, now) };
                    if !file.is_kept {
                        to_keep.push(self.whole(&job));
                    }
                    Some(Arc::new(job))
                }
                (_, Some(before)) if before.errors[..] == errors[..] => continue,
                (_, Some(before)) => {
                    if !before.is_stale() && self.started {
                        to_keep.push(self.whole(before));
                    }
                    Some(Arc::new(Job { errors: errors.into(), ..Job::clone(before) }))
                }
                (_, None) => continue,
            };
            decided.push((path.clone(), next));
        }
        for (path, next) in decided {
            if let Some(file) = self.files.get_mut(&path) {
                file.in_force = next;
                file.is_kept |= file.clash.is_none();
            }
        }
    }

    fn job(&self, good: &Good, shown: &Arc<str>, now: Timestamp) -> Job {
        let zone = good.spec.zone(&self.timezone);
        let context = TriggerContext { job: &good.name, zone: &zone };
        let armed: Vec<_> = match good.spec.about.enabled {
            true => good.spec.triggers.iter().filter_map(|t| Some((t.triggered_by(), t.arm(context)?))).collect(),
            false => Vec::new(),
        };
        Job {
            name: good.name.clone(),
            file: shown.clone(),
            spec: good.spec.clone(),
            written: good.written.clone(),
            hash: good.hash.clone(),
            armed: armed.into(),
            zone,
            first_loaded: self.last_good.as_ref().and_then(|kept| kept.since(shown)).unwrap_or(now),
            errors: [].into(),
        }
    }

    /// A job that becomes stale, kept with its defaults in it: those of its folder may be what changed.
    fn whole(&self, job: &Job) -> Entry {
        let text = serde_json::Value::Object(job.written()).to_string();
        Entry {
            path: job.file.to_string(),
            hash: hex(&hash(text.as_bytes())),
            since: job.first_loaded,
            text,
            whole: true,
        }
    }

    fn keep_text(&self, shown: &str, text: &TextHash, bytes: Vec<u8>, now: Timestamp, to_keep: &mut Vec<Entry>) {
        let Some(last_good) = &self.last_good else { return };
        if last_good.hash(shown) != Some(*text) {
            let since = last_good.since(shown).unwrap_or(now);
            // What was read as a file is UTF-8.
            let hash = hex(text);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            to_keep.push(Entry { path: shown.into(), hash, since, text, whole: false });
        }
    }

    fn forget_gone_files(&self, seen: &HashSet<String>, now: Timestamp) -> Vec<Entry> {
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

    fn keep(&mut self, entries: &[Entry]) {
        if self.options.keeps_last_good
            && let Some(last_good) = &mut self.last_good
            && let Err(error) = last_good.put(entries)
        {
            self.last_good_error = Some(format!("last-good.jsonl cannot be written: {error}"));
        }
    }

    /// Swaps in the new generation if it differs from the one before.
    fn commit(&mut self) -> (Arc<Generation>, Delta) {
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
        for file in self.files.values() {
            problems.extend(file.problems.iter().filter(|problem| problem.severity == Severity::Warning).cloned());
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
        let mut text = String::new();
        for job in &jobs {
            text.extend([job.name.as_str(), " ", &*job.hash, "\n"]);
        }
        self.generation = Arc::new(Generation {
            number: before.number + 1,
            fingerprint: hex(&hash(text.as_bytes())[..8]),
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

    fn errors_of(&self, path: &str, file: &JobFile) -> Vec<Problem> {
        let mut errors: Vec<Problem> = file.own_errors().cloned().collect();
        if errors.is_empty() && self.defaults_for(path).1.is_some() {
            let message = "the folder's defaults are broken, and there is no earlier version of the job";
            errors.push(Problem::of_file(&*file.shown, message));
        }
        errors
    }

    fn delta(&self, before: &Generation, jobs: &[Arc<Job>], invalid: &[Invalid], problems: &[Problem]) -> Delta {
        let mut delta = Delta { settings_changed: before.settings != self.settings.in_force, ..Delta::default() };
        for job in jobs {
            match before.job(&job.name) {
                None => delta.added.push(job.clone()),
                Some(old) if Arc::ptr_eq(old, job) => {}
                Some(old) if !old.is_same(job) => delta.changed.push(job.clone()),
                Some(_) => {}
            }
        }
        let names: HashSet<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
        delta.removed =
            before.jobs.iter().filter(|job| !names.contains(job.name.as_str())).map(|job| job.name.clone()).collect();
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

    fn read_settings(&mut self, now: Timestamp) {
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
        let cx = ReadContext { env: &env, missing: self.options.missing, timezone: "UTC" };
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
    fn revive_settings(&mut self) -> bool {
        let Some(name) = self.settings.path else { return false };
        let Some(entry) = self.revived_text(name) else { return false };
        let env = |name: &str| std::env::var(name).ok();
        let cx = ReadContext { env: &env, missing: self.options.missing, timezone: "UTC" };
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

fn tombstone(shown: &str, now: Timestamp) -> Entry {
    Entry { path: shown.into(), hash: String::new(), since: now, text: String::new(), whole: false }
}
