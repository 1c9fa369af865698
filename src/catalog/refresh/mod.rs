//! Compares the files with what is loaded.
//!
//! [`Catalog`] owns what every file was when it was last looked at; the steps of a comparison stand beside this file.

mod build;
mod defaults;
mod holidays;
mod keep;
mod references;
mod settings;
mod settle;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use rustix::fs::stat;

use super::generation::{Delta, Generation, Job};
use super::last_good::{Entry, LastGood};
use super::links::on_the_way_to;
use super::load::{Good, Loaded, Task, TextHash, load};
use super::scan::{Found, Purpose, Scan, Stamp, scan, stem};
use crate::model::Problem;
use crate::os::means::Means;
use crate::spec::{Defaults, MissingVariable, ReadContext};
use crate::trigger::Holidays;
use defaults::FolderDefaults;
use keep::tombstone;
use settings::Settings;

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
    /// What this machine can do.
    pub means: &'static Means,
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

impl StartError {
    /// What to do where there is no `jobs/`.
    pub const NO_JOBS_HELP: &str =
        "make the folder, and put one file in it for each job; -C and --jobs say where to look";
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
    /// All folders below `jobs/`, that itself being the empty path.
    folders: Vec<String>,
    holidays: holidays::Files,
    /// What each of them held when it could be read last.
    known_holidays: BTreeMap<String, Holidays>,
    holiday_stamps: BTreeMap<String, Option<Stamp>>,
    /// What is wrong with folders that cannot be looked into.
    closed: Vec<Problem>,
    /// Something was read or is gone since the last generation.
    dirty: bool,
    timezone: String,
    started: bool,
    /// What could not be kept for the next start, said once.
    pub last_good_error: Option<String>,
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
    /// It names what is not there, or closes a circle.
    dangling: Vec<Problem>,
    /// Whether the good text is kept for the next start: not while the file is refused for its name.
    is_kept: bool,
    /// The version that runs.
    in_force: Option<Arc<Job>>,
}

impl JobFile {
    /// What is wrong with the file itself, with its name, or with what it names.
    fn own_errors(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(|problem| problem.is_error()).chain(&self.clash).chain(&self.dangling)
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
        let last_good = options.last_good.clone().map(|path| LastGood::open(path, options.allow_insecure)).transpose();
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
            folders: vec![String::new()],
            holidays: holidays::Files::new(),
            known_holidays: BTreeMap::new(),
            holiday_stamps: BTreeMap::new(),
            closed: Vec::new(),
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
    pub fn watched(&self) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let jobs = &self.options.jobs;
        let mut paths: Vec<PathBuf> = SETTINGS_FILES.iter().map(|name| self.options.directory.join(name)).collect();
        // One that is not there (any more) may come back.
        paths.push(jobs.clone());
        paths.extend(on_the_way_to(jobs));
        if let Some(name) = self.settings.path {
            paths.extend(on_the_way_to(&self.options.directory.join(name)));
        }
        paths.extend(self.links.iter().flat_map(|link| on_the_way_to(&jobs.join(link))));
        paths.extend(self.holidays.keys().map(|file| self.options.directory.join(file)));
        paths.sort();
        paths.dedup();
        let folder = |below: &String| if below.is_empty() { jobs.clone() } else { jobs.join(below) };
        (self.folders.iter().map(folder).collect(), paths)
    }

    /// What stands at the watched paths now. If it differs from before, what is watched is not what is read.
    pub fn watched_identities(&self) -> Vec<(PathBuf, Option<(u64, u64)>)> {
        let (folders, paths) = self.watched();
        let identity = |path: &PathBuf| stat(path).ok().map(|stat| (stat.st_dev, stat.st_ino));
        paths.into_iter().chain(folders).map(|path| (path.clone(), identity(&path))).collect()
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
        self.folders = scan.folders;
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
            let cx = ReadContext {
                env: &env,
                missing: self.options.missing,
                timezone: &self.timezone,
                means: self.options.means,
            };
            load(&tasks, &self.options.jobs, &cx)
        };
        let defaults_of: HashMap<String, Arc<Defaults>> =
            tasks.into_iter().map(|task| (task.path, task.defaults)).collect();
        for one in loaded {
            if let Some(defaults) = defaults_of.get(&one.path) {
                self.note_loaded(one, defaults.clone(), now, &mut to_keep);
            }
        }
        let closed: Vec<Problem> = scan.closed.iter().map(|(_, problem)| Problem::clone(problem)).collect();
        self.dirty |= self.closed != closed;
        self.closed = closed;
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
        self.dirty |= self.read_all_holidays(now, &mut to_keep);
        // Most looks find nothing: then nothing is gone through.
        if !std::mem::take(&mut self.dirty) {
            self.keep(&to_keep);
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
                dangling: Vec::new(),
                is_kept: true,
                in_force: before,
            },
        );
    }

    fn note_refused(&mut self, path: &str, problem: &Problem) {
        let (defaults, _) = self.defaults_for(path);
        let shown = self.shown_path(path);
        let name = stem(path).unwrap_or(path).to_string();
        let file = self.files.entry(path.to_string()).or_insert_with(|| JobFile {
            shown,
            stamp: None,
            text: [0; 32],
            defaults,
            good: None,
            name,
            problems: Vec::new(),
            clash: None,
            dangling: Vec::new(),
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
}
