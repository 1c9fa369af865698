//! What the records' tests stand on: a logs directory of their own, and runs that never had a process.

use std::path::PathBuf;
use std::sync::Arc;

use runner::model::{Firing, Gap, GapKind, JobName, Outcome, Output, RunId, Status, Timestamp, TriggeredBy, Usage};
use runner::record::{
    JobLog, Layout, Line, Records, Restored, RunFacts, Settings, Synced, TornTail, history_of, restore_all,
};

/// One job's logs in a directory that goes with the test.
pub struct Logs {
    pub directory: tempfile::TempDir,
    pub records: Arc<Records>,
    pub job: JobName,
}

pub const LARGE: Settings = Settings { max_size: 10_000_000, max_files: 5, synced: Synced::Nothing };

/// So many seconds into the tests' own time.
pub fn second(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_705_309_200 + seconds).unwrap()
}

pub fn run_id(n: u64) -> RunId {
    RunId::from_u128(0x018d_0c90_0000_7000_8000_0000_0000_0000 + u128::from(n))
}

impl Logs {
    pub fn new(settings: Settings) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::new(Layout::new(directory.path()), settings);
        Self { directory, records, job: JobName::new("group/job").unwrap() }
    }

    pub fn log(&self) -> Arc<JobLog> {
        self.records.job(&self.job)
    }

    pub fn runs(&self) -> PathBuf {
        self.records.layout.runs(&self.job)
    }

    pub fn output(&self) -> PathBuf {
        self.records.layout.output(&self.job)
    }

    /// The lines of the current runs.log.
    #[track_caller]
    pub fn lines(&self) -> Vec<Line> {
        lines_of(&std::fs::read_to_string(self.runs()).unwrap())
    }

    /// What a runner that starts now would know of the job.
    #[track_caller]
    pub fn restored(&self) -> Restored {
        let mut all = restore_all(&self.records.layout, TornTail::Cut);
        assert_eq!(all.len(), 1);
        all.pop().unwrap().1.unwrap()
    }

    /// A runner that starts on the same logs.
    pub fn restart(&mut self) -> Arc<JobLog> {
        let restored = self.restored();
        self.records = Records::new(self.records.layout.clone(), self.records.settings());
        self.records.restored(&self.job, restored)
    }

    /// Everything in a log's files, the oldest first.
    pub fn everything(&self, path: PathBuf) -> Vec<u8> {
        let mut all = Vec::new();
        for n in (1..100).rev() {
            let mut rotated = path.clone().into_os_string();
            rotated.push(format!(".{n}"));
            all.extend(std::fs::read(rotated).unwrap_or_default());
        }
        all.extend(std::fs::read(path).unwrap_or_default());
        all
    }

    pub fn ends(&self) -> Vec<RunId> {
        let query = runner::record::HistoryQuery { limit: 100_000, ..Default::default() };
        let lines = history_of(&self.records.layout, &self.job, &query).unwrap();
        lines.into_iter().map(|line| if let Line::End(end) = line { end.run } else { panic!("{line:?}") }).collect()
    }

    pub fn facts(&self, n: u64, by: TriggeredBy) -> RunFacts {
        let due = second(n as i64 * 60);
        RunFacts {
            run: run_id(n),
            firing: Firing::new(self.job.clone(), by, due),
            attempt: 1,
            started: due + jiff::SignedDuration::from_millis(3),
            spec: Some("sha256:1".into()),
            commit: None,
        }
    }

    pub fn start(&self, n: u64, by: TriggeredBy) {
        self.log().prepare_start(&self.facts(n, by)).settle();
    }

    pub fn end(&self, n: u64, by: TriggeredBy, outcome: Outcome) {
        let facts = self.facts(n, by);
        self.log().end(&facts, outcome, facts.started + jiff::SignedDuration::from_millis(234));
    }

    /// A run from its start to its end.
    pub fn run(&self, n: u64) {
        self.start(n, TriggeredBy::Cron);
        self.end(n, TriggeredBy::Cron, success());
    }
}

pub fn lines_of(text: &str) -> Vec<Line> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

pub fn success() -> Outcome {
    Outcome {
        status: Status::Success,
        exit_code: Some(0),
        signal: None,
        error: None,
        output: Output { bytes: 1834, lines: 27, truncated: false, lost: 0 },
        usage: Some(Usage { user_ms: 31, system_ms: 8, max_rss_kb: None, ..Usage::default() }),
    }
}

/// Due times of these tests' job that did not become runs.
pub fn gap(
    kind: GapKind,
    reason: &str,
    triggered_by: TriggeredBy,
    due: Timestamp,
    until: Timestamp,
    count: u64,
) -> Gap {
    Gap { kind, job: JobName::new("group/job").unwrap(), triggered_by, reason: reason.into(), due, until, count }
}
