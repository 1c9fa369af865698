use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::layout::Layout;
use crate::model::JobName;

/// What a sweep took away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    pub files: u64,
    pub bytes: u64,
    /// What all logs have together afterwards.
    pub total: u64,
}

struct Log {
    path: PathBuf,
    modified: SystemTime,
    bytes: u64,
}

/// Takes away rotated files that are older than `max_age`, and then the oldest until all logs together have at most
/// `max_total` bytes; after them, by the same rules, the current files of jobs that are not in `jobs`, which are gone. The
/// current files of the runner and of `jobs` stay, whatever they have.
pub fn sweep(
    layout: &Layout,
    max_age: Option<Duration>,
    max_total: Option<u64>,
    jobs: &HashSet<JobName>,
    now: SystemTime,
) -> Swept {
    let mut rotated = Vec::new();
    let mut swept = Swept::default();
    look(layout.root(), &mut rotated, &mut swept.total);
    rotated.sort_by_key(|file| file.modified);
    let too_old = |modified| max_age.is_some_and(|age| now.duration_since(modified).is_ok_and(|old| old > age));
    let too_much = |total| max_total.is_some_and(|most| total > most);
    for file in rotated {
        if too_old(file.modified) || too_much(swept.total) {
            swept.take(&file);
        }
    }
    let mut gone: Vec<(JobName, Vec<Log>)> = layout
        .job_directories()
        .into_iter()
        .filter(|job| !jobs.contains(job))
        .map(|job| ([layout.runs(&job), layout.output(&job), layout.ledger(&job)], job))
        .map(|(files, job)| (job, files.into_iter().filter_map(Log::at).collect()))
        .collect();
    // A job's newest entry tells how old its logs are.
    let newest = |logs: &[Log]| logs.iter().map(|log| log.modified).max();
    gone.sort_by_key(|(_, logs)| newest(logs));
    for (job, logs) in gone {
        // Written to meanwhile: then it is there again.
        let is_as_it_was = |log: &Log| Log::at(log.path.clone()).is_some_and(|now| now.modified == log.modified);
        let must_go = newest(&logs).is_some_and(too_old) || too_much(swept.total);
        if must_go && logs.iter().all(is_as_it_was) {
            logs.iter().for_each(|log| swept.take(log));
            remove_empty_directories(&layout.job(&job), &layout.jobs());
        }
    }
    swept
}

impl Swept {
    fn take(&mut self, log: &Log) {
        if fs::remove_file(&log.path).is_ok() {
            self.files += 1;
            self.bytes += log.bytes;
            self.total = self.total.saturating_sub(log.bytes);
        }
    }
}

impl Log {
    fn at(path: PathBuf) -> Option<Self> {
        let meta = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?;
        Some(Self { path, modified: meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), bytes: meta.len() })
    }
}

/// Takes away a job's directory and the groups above it, as far as nothing is in them.
fn remove_empty_directories(directory: &Path, end: &Path) {
    for directory in directory.ancestors().take_while(|directory| *directory != end) {
        if fs::remove_dir(directory).is_err() {
            return;
        }
    }
}

fn look(directory: &Path, rotated: &mut Vec<Log>, total: &mut u64) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            look(&entry.path(), rotated, total);
        } else if kind.is_file()
            && let Ok(meta) = entry.metadata()
        {
            *total += meta.len();
            if is_rotated(&entry.file_name().to_string_lossy()) {
                rotated.extend(Log::at(entry.path()));
            }
        }
    }
}

/// `x.log.N`: no other file of the logs directory has such a name.
fn is_rotated(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(stem, number)| stem.ends_with(".log") && number.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs(files: &[(&str, usize, u64)]) -> (tempfile::TempDir, Layout, SystemTime) {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        for (name, bytes, age) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, vec![b'x'; *bytes]).unwrap();
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(now - Duration::from_secs(*age)).unwrap();
        }
        let layout = Layout::new(dir.path());
        (dir, layout, now)
    }

    #[test]
    fn the_oldest_rotated_files_go_first_and_current_ones_stay() {
        let (dir, layout, now) = logs(&[
            ("jobs/a/output.log", 100, 9_000),
            ("jobs/a/output.log.1", 100, 50),
            ("jobs/a/output.log.2", 100, 60),
            ("jobs/b/c/runs.log.1", 100, 70),
            ("runner.log.12", 100, 10),
            ("jobs/a/notes.1", 100, 9_000),
        ]);
        let swept = sweep(&layout, None, Some(400), &jobs(&["a"]), now);
        assert_eq!(swept, Swept { files: 2, bytes: 200, total: 400 });
        assert!(!dir.path().join("jobs/b/c/runs.log.1").exists());
        assert!(!dir.path().join("jobs/a/output.log.2").exists());
        assert!(dir.path().join("jobs/a/output.log").exists() && dir.path().join("jobs/a/notes.1").exists());
    }

    #[test]
    fn old_rotated_files_go_whatever_the_total() {
        let (dir, layout, now) = logs(&[("runner.log", 10, 900), ("runner.log.1", 10, 900), ("runner.log.2", 10, 100)]);
        let swept = sweep(&layout, Some(Duration::from_secs(500)), None, &jobs(&[]), now);
        assert_eq!(swept, Swept { files: 1, bytes: 10, total: 20 });
        assert!(dir.path().join("runner.log.2").exists());
    }

    fn jobs(names: &[&str]) -> HashSet<JobName> {
        names.iter().map(|name| JobName::new(name).unwrap()).collect()
    }

    const OF_THREE: [(&str, usize, u64); 8] = [
        ("jobs/old/gone/runs.log", 100, 9_000),
        ("jobs/old/gone/output.log", 50, 8_000),
        ("jobs/old/gone/ledger.log", 50, 8_500),
        ("jobs/late/runs.log", 100, 9_500),
        ("jobs/late/output.log", 100, 50),
        ("jobs/there/runs.log", 100, 9_900),
        ("jobs/there/output.log.1", 100, 60),
        ("runner.log", 100, 9_999),
    ];

    #[test]
    fn a_removed_jobs_logs_go_when_its_newest_entry_is_too_old() {
        let (dir, layout, now) = logs(&OF_THREE);
        let swept = sweep(&layout, Some(Duration::from_secs(7_000)), None, &jobs(&["there"]), now);
        assert_eq!(swept, Swept { files: 3, bytes: 200, total: 500 });
        // Its folder and its group's as well.
        assert!(!dir.path().join("jobs/old").exists());
        assert!(dir.path().join("jobs/late/runs.log").exists() && dir.path().join("jobs/there/runs.log").exists());
    }

    #[test]
    fn removed_jobs_logs_go_oldest_first_after_the_rotated_files_until_the_total_holds() {
        let take = |max_total| {
            let (dir, layout, now) = logs(&OF_THREE);
            let swept = sweep(&layout, None, Some(max_total), &jobs(&["there"]), now);
            let left = |job: &str| dir.path().join("jobs").join(job).join("runs.log").exists();
            (swept.files, swept.total, left("old/gone"), left("late"), left("there"))
        };
        assert_eq!(take(700), (0, 700, true, true, true));
        assert_eq!(take(600), (1, 600, true, true, true));
        assert_eq!(take(599), (4, 400, false, true, true));
        assert_eq!(take(300), (6, 200, false, false, true));
        // Above the total with what has to stay.
        assert_eq!(take(1), (6, 200, false, false, true));
    }
}
