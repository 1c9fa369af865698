use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::layout::Layout;

/// What a sweep took away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    pub files: u64,
    pub bytes: u64,
    /// What all logs have together afterwards.
    pub total: u64,
}

struct Rotated {
    path: PathBuf,
    modified: SystemTime,
    bytes: u64,
}

/// Takes away rotated files that are older than `max_age`, and then the oldest until all logs together have at most
/// `max_total` bytes. Current files stay, whatever they have.
pub fn sweep(layout: &Layout, max_age: Option<Duration>, max_total: Option<u64>, now: SystemTime) -> Swept {
    let mut rotated = Vec::new();
    let mut swept = Swept::default();
    look(layout.root(), &mut rotated, &mut swept.total);
    rotated.sort_by_key(|file| file.modified);
    for file in rotated {
        let too_old = max_age.is_some_and(|age| now.duration_since(file.modified).is_ok_and(|old| old > age));
        let too_much = max_total.is_some_and(|total| swept.total > total);
        if (too_old || too_much) && fs::remove_file(&file.path).is_ok() {
            swept.files += 1;
            swept.bytes += file.bytes;
            swept.total = swept.total.saturating_sub(file.bytes);
        }
    }
    swept
}

fn look(directory: &Path, rotated: &mut Vec<Rotated>, total: &mut u64) {
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
                let modified = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                rotated.push(Rotated { path: entry.path(), modified, bytes: meta.len() });
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
        let swept = sweep(&layout, None, Some(400), now);
        assert_eq!(swept, Swept { files: 2, bytes: 200, total: 400 });
        assert!(!dir.path().join("jobs/b/c/runs.log.1").exists());
        assert!(!dir.path().join("jobs/a/output.log.2").exists());
        assert!(dir.path().join("jobs/a/output.log").exists() && dir.path().join("jobs/a/notes.1").exists());
    }

    #[test]
    fn old_rotated_files_go_whatever_the_total() {
        let (dir, layout, now) = logs(&[("runner.log", 10, 900), ("runner.log.1", 10, 900), ("runner.log.2", 10, 100)]);
        let swept = sweep(&layout, Some(Duration::from_secs(500)), None, now);
        assert_eq!(swept, Swept { files: 1, bytes: 10, total: 20 });
        assert!(dir.path().join("runner.log.2").exists());
    }
}
