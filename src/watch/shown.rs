use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::entry::{Entry, State};
use super::root::Health;
use super::shared::Shared;
use crate::model::{FileEvent, RunId, lock, put_path, rfc3339, serde_rfc3339};
use crate::trigger::Files;

/// A watch as `status` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WatchStatus {
    pub job: String,
    pub paths: Vec<PathBuf>,
    pub patterns: Vec<String>,
    /// How each path is watched: `events`, `poll`, or both; the reason is in `state`.
    pub backend: String,
    /// `watching`, or what is wrong.
    pub state: String,
    #[serde(with = "serde_rfc3339")]
    pub started: Timestamp,
    /// Files whose run has succeeded since then.
    pub processed: u64,
    /// Files whose run has failed since then.
    pub errors: u64,
    /// Files whose run is still to come, or under way.
    pub pending: u64,
    #[serde(with = "serde_rfc3339::option")]
    pub last_activity: Option<Timestamp>,
}

impl WatchStatus {
    pub fn of(shared: &Shared, files: &Files) -> Self {
        let health = lock(&shared.health).clone();
        let book = lock(&shared.book);
        let polls = health.iter().any(|(_, health)| matches!(health, Health::Polling(_)));
        let has_events = health.iter().any(|(_, health)| *health == Health::Events);
        let backend = match (has_events, polls) {
            (true, true) => "events, poll",
            (true, false) => "events",
            (false, true) => "poll",
            (false, false) => "none",
        };
        let mut wrong: Vec<String> = book.why_stopped().map(|why| format!("stopped: {why}")).into_iter().collect();
        for (root, health) in &health {
            match health {
                Health::Events => {}
                Health::Missing(why) => wrong.push(format!("unhealthy: {}: {why}", root.path.display())),
                Health::Polling(why) => wrong.push(format!("polls {}: {why}", root.path.display())),
            }
        }
        if let Some(why) = shared.why_failing() {
            wrong.push(format!("its ledger cannot be written, and is kept in memory alone: {why}"));
        }
        let is_bad =
            book.why_stopped().is_some() || health.iter().any(|(_, health)| matches!(health, Health::Missing(_)));
        let state = match (is_bad, wrong.is_empty()) {
            (_, true) => "watching".to_string(),
            (true, false) => wrong.join("; "),
            (false, false) => format!("watching; {}", wrong.join("; ")),
        };
        Self {
            job: shared.job.to_string(),
            paths: health.iter().map(|(root, _)| root.path.clone()).collect(),
            patterns: files.patterns.iter().map(|pattern| pattern.text.clone()).collect(),
            backend: backend.into(),
            state,
            started: shared.started,
            processed: book.counts().processed,
            errors: book.counts().errors,
            pending: book.pending(),
            last_activity: book.last_activity(),
        }
    }
}

/// A file as `watch ls` shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct FileRow {
    pub path: PathBuf,
    pub state: State,
    pub event: FileEvent,
    pub gone: bool,
    pub replay: bool,
    pub size: u64,
    pub modified: Option<Timestamp>,
    pub at: Timestamp,
    pub run: Option<RunId>,
    pub why: Option<String>,
}

impl FileRow {
    /// `None` of content that is known and stands at no path.
    pub fn of(entry: &Entry) -> Option<Self> {
        if entry.path.contains(&0) {
            return None;
        }
        Some(Self {
            path: entry.path().to_path_buf(),
            state: entry.state,
            event: entry.event,
            gone: entry.gone,
            replay: entry.replay,
            size: entry.stat.size,
            modified: entry.stat.modified().filter(|_| entry.stat.mtime != 0),
            at: Timestamp::from_millisecond(entry.at).unwrap_or_default(),
            run: entry.run,
            why: entry.shown_why().map(str::to_string),
        })
    }

    /// Whether its run is still to come, or under way. None comes of what has gone, unless that is to be told.
    pub fn is_pending(&self) -> bool {
        let is_to_come = !self.gone || self.event == FileEvent::Deleted;
        self.state == State::Running || (self.state.is_pending() && is_to_come)
    }

    pub fn json(&self) -> Value {
        let mut map = Map::new();
        put_path(&mut map, "path", &self.path);
        map.insert("state".into(), self.state.as_str().into());
        map.insert("event".into(), self.event.as_str().into());
        map.insert("gone".into(), self.gone.into());
        map.insert("size".into(), self.size.into());
        map.insert("modified".into(), self.modified.map(rfc3339).into());
        map.insert("since".into(), rfc3339(self.at).into());
        map.insert("run".into(), self.run.map(|run| run.to_string()).into());
        map.insert("why".into(), self.why.clone().into());
        Value::Object(map)
    }
}
