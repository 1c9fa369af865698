//! Why a file was run for, or was not, or will be.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::entries::Entries;
use super::entry::{Entry, State};
use super::file_system::FileSystem;
use super::root::{Health, Root};
use super::rules::{Rules, Verdict};
use super::settling::FOUND;
use super::shown::FileRow;
use super::stat::{Found, file_at};
use crate::model::{FileEvent, HumanDuration, rfc3339};
use crate::os::open_files::open_for_writing;
use crate::trigger::{Files, Identity, Settle};

/// What can be said of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    pub path: PathBuf,
    /// One word for what it comes to: `done`, `failed`, `running`, `waiting`, `growing`, `ignored`, `not_matched`, `elsewhere`,
    /// `gone`, `unknown`, `unhealthy`.
    pub outcome: &'static str,
    /// The pattern that it matches, where there is one.
    pub matched_by: Option<String>,
    /// What leaves it out.
    pub ignored_by: Option<String>,
    /// What the ledger has of it.
    pub row: Option<FileRow>,
    /// In sentences, the most important one first. Times in them are as records have them.
    pub lines: Vec<String>,
}

/// What a watch is made of.
pub struct Watched<'a> {
    pub job: &'a str,
    pub files: &'a std::sync::Arc<Files>,
    pub roots: &'a [Root],
    /// Where the runner writes.
    pub logs: &'a Path,
    pub entries: &'a Entries,
    /// Why it does nothing at all, where somebody knows.
    pub stopped: Option<String>,
}

/// Says what becomes of the file at that absolute path.
pub fn explain(watched: &Watched<'_>, path: &Path, now: Timestamp) -> Explanation {
    let id = watched.entries.by_path(path);
    let entry = id.and_then(|id| watched.entries.get(id));
    let mut found = Explanation {
        path: path.to_path_buf(),
        outcome: "unknown",
        matched_by: None,
        ignored_by: None,
        row: entry.and_then(FileRow::of),
        lines: Vec::new(),
    };
    let Some(root) = watched.roots.iter().find(|root| path.starts_with(&root.path)) else {
        let paths: Vec<String> = watched.roots.iter().map(|root| root.path.display().to_string()).collect();
        found.outcome = "elsewhere";
        found.lines.push(format!("It is below none of the watched paths: {}.", paths.join(", ")));
        return found;
    };
    if let Health::Missing(why) = root.outlook(watched.files) {
        found.outcome = "unhealthy";
        found.lines.push(format!("{} cannot be watched: {why}. What is known of it stays.", root.path.display()));
        found.lines.extend(entry.map(|entry| history(watched, entry)));
        return found;
    }
    if !judged(&mut found, watched, root) {
        found.lines.extend(entry.map(|entry| history(watched, entry)));
        return found;
    }
    if let Some(why) = no_file(path, &root.path) {
        found.outcome = "ignored";
        found.lines.push(why);
        found.lines.extend(entry.map(|entry| history(watched, entry)));
        return found;
    }
    let there = match file_at(path) {
        Ok(there) => there,
        Err(error) => {
            found.lines.push(format!("It cannot be looked at: {error}."));
            return found;
        }
    };
    let matched = match &found.matched_by {
        Some(pattern) => format!("It matches `{pattern}`."),
        None => "The watch means all files there.".to_string(),
    };
    (found.outcome, found.lines) = became(watched, entry, there.as_ref(), path, now);
    found.lines.push(matched);
    if let Some(why) = &watched.stopped {
        found.lines.insert(0, format!("The watch does nothing now: {why}."));
    }
    found
}

/// Why what stands there counts for no watch: it is no file, or behind a link that is not followed.
fn no_file(path: &Path, root: &Path) -> Option<String> {
    let folders = path.ancestors().skip(1).take_while(|folder| folder.starts_with(root) && *folder != root);
    if let Some(link) = folders.filter(|folder| folder.is_symlink()).last() {
        return Some(format!("It is behind {}, a link to a folder: such links are not followed.", link.display()));
    }
    let kind = path.symlink_metadata().ok()?.file_type();
    let what = match std::fs::metadata(path) {
        Err(_) if kind.is_symlink() => "a link that leads to no file".to_string(),
        Ok(to) if kind.is_symlink() && to.is_dir() => "a link to a folder".to_string(),
        Ok(to) if to.is_dir() => "a folder".to_string(),
        Ok(to) if !to.is_file() => "a pipe, a socket or a device".to_string(),
        _ => return None,
    };
    Some(format!("It is {what}, not a file: no run is made for it."))
}

/// Whether the rules leave it in.
fn judged(found: &mut Explanation, watched: &Watched<'_>, root: &Root) -> bool {
    let Ok(opened) = root.open() else { return false };
    let mut rules = Rules::new(watched.files.clone(), opened.directory, opened.only, watched.logs.to_path_buf());
    match rules.judge(&found.path) {
        Verdict::Matched(pattern) => {
            found.matched_by = pattern;
            return true;
        }
        Verdict::NotMatched => {
            let patterns: Vec<String> =
                watched.files.patterns.iter().map(|pattern| format!("`{}`", pattern.text)).collect();
            found.outcome = "not_matched";
            found.lines.push(match patterns.is_empty() {
                true => "It is not the file that is watched.".to_string(),
                false => format!("It matches none of the patterns: {}.", patterns.join(", ")),
            });
        }
        Verdict::DoneFile => {
            found.outcome = "ignored";
            found.lines.push("It says that another file is complete (`done_file`), and is none itself.".into());
        }
        Verdict::Ignored(why) => {
            found.outcome = "ignored";
            found.ignored_by = Some(why.to_string());
            found.lines.push(format!("It is left out: {why}."));
        }
    }
    false
}

/// What became of the file, or comes of it.
fn became(
    watched: &Watched<'_>,
    entry: Option<&Entry>,
    there: Option<&Found>,
    path: &Path,
    now: Timestamp,
) -> (&'static str, Vec<String>) {
    let Some(entry) = entry else {
        return match there {
            Some(found) if awaits(watched, found, path).is_some() => {
                ("growing", vec![settling(watched, found, path, now)])
            }
            Some(found) => ("growing", vec![not_noticed(watched, found, now)]),
            None => ("gone", vec!["It is not there, and the ledger does not know it.".into()]),
        };
    };
    let folder = path.parent().unwrap_or(path);
    let by_inode = FileSystem::of(folder).unwrap_or_default().tells_by_inode();
    let is_other = there.is_some_and(|found| {
        watched.files.identity != Identity::Path && !entry.stat.is_same_here(&found.stat, by_inode)
    });
    let mut lines = vec![history(watched, entry)];
    if entry.state == State::Seen
        && let Some(found) = there
    {
        return ("growing", vec![settling(watched, found, path, now)]);
    }
    if there.is_none() && entry.state == State::Seen && entry.event == FileEvent::Deleted {
        lines.push("It is gone, which is run for once it has been so for a while.".into());
        return ("waiting", lines);
    }
    if there.is_none() && entry.event != FileEvent::Deleted {
        lines.push("It is not there any more.".into());
        return ("gone", lines);
    }
    if is_other && !entry.state.is_pending() {
        let words = if watched.files.identity == Identity::Hash {
            "It was written to since"
        } else {
            "Its content is another one since"
        };
        lines.insert(
            0,
            format!(
                "{words}: {}",
                settling(watched, there.unwrap_or(&Found { stat: entry.stat, ctime: 0, is_linked: false }), path, now)
            ),
        );
        return ("growing", lines);
    }
    let outcome = match entry.state {
        State::Seen => "growing",
        State::Stable => "waiting",
        State::Running => "running",
        State::Done => "done",
        State::Failed => "failed",
        State::Ignored => "ignored",
    };
    (outcome, lines)
}

/// What the ledger says of it.
fn history(watched: &Watched<'_>, entry: &Entry) -> String {
    let at = rfc3339(Timestamp::from_millisecond(entry.at).unwrap_or_default());
    let run = entry.run.map(|run| run.to_string()).unwrap_or_default();
    let why = entry.shown_why().unwrap_or("no reason is known");
    let event = entry.event.as_str();
    let job = watched.job;
    match entry.state {
        State::Seen => format!("It was noticed ({event}) {at}."),
        State::Stable => format!("It is complete ({event}) since {at}, and waits for its run."),
        State::Running => format!("Run {run} has it ({event}) since {at}."),
        State::Done => match &entry.why {
            Some(why) => format!("It was run for: run {run} succeeded {at} ({event}). It stays here: {why}."),
            None => format!("It was run for: run {run} succeeded {at} ({event})."),
        },
        State::Failed => {
            let again = match entry.gone {
                true => String::new(),
                false => format!(" `runner watch replay {job} FILE` runs for it again."),
            };
            format!("Run {run} failed {at}: {why}.{again}")
        }
        State::Ignored => format!("No run is made for it since {at}: {why}."),
    }
}

fn not_noticed(watched: &Watched<'_>, found: &Found, now: Timestamp) -> String {
    let since = Timestamp::from_nanosecond(i128::from(found.ctime)).unwrap_or(now);
    let scan = HumanDuration(watched.files.rescan);
    format!(
        "The ledger does not know it; it was changed last {}. A running runner notices it at once by events, else by the next scan \
         (each {scan}); without one, the next start does.",
        rfc3339(since)
    )
}

/// The file that it waits for.
fn awaits(watched: &Watched<'_>, found: &Found, path: &Path) -> Option<String> {
    let done = path.with_file_name(watched.files.done_file.as_ref()?.beside(path.file_name()?));
    match file_at(&done) {
        Ok(Some(marker)) if marker.stat.mtime >= found.stat.mtime => None,
        Ok(Some(_)) => Some(format!("it waits: {} is older than it.", done.display())),
        _ => Some(format!("it waits until {} stands beside it.", done.display())),
    }
}

/// Why it is not complete.
fn settling(watched: &Watched<'_>, found: &Found, path: &Path, now: Timestamp) -> String {
    let since = Timestamp::from_nanosecond(i128::from(found.ctime)).unwrap_or(now);
    let quiet = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    let at = rfc3339(since);
    if let Some(words) = awaits(watched, found, path) {
        return words;
    }
    match watched.files.settle {
        Settle::After(length) if quiet < length.0 => {
            format!("it was changed last {at}, and has to hold still for {length}.")
        }
        Settle::Close => {
            let inode = (found.stat.dev, found.stat.inode);
            match open_for_writing(&[inode].into()).is_empty() {
                false => "somebody has it open for writing, and `settle` is `close`.".into(),
                true if quiet < FOUND => format!("it was changed last {at}, and may still be written to."),
                true => "it holds still; a running runner takes it up.".into(),
            }
        }
        Settle::After(_) => "it holds still; a running runner takes it up.".into(),
    }
}
