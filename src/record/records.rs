//! The logs of all jobs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

use super::common::{Common, Settings};
use super::job_log::{DueState, JobLog, Summary};
use super::layout::Layout;
use super::line::WaitingRun;
use super::restore::Restored;
use crate::model::{Gap, JobName, lock};

/// All jobs' logs.
#[derive(Debug)]
pub struct Records {
    common: Arc<Common>,
    jobs: Mutex<HashMap<JobName, Arc<JobLog>>>,
}

impl std::ops::Deref for Records {
    type Target = Common;

    fn deref(&self) -> &Common {
        &self.common
    }
}

impl Records {
    pub fn new(layout: Layout, settings: Settings) -> Arc<Self> {
        Arc::new(Self { common: Arc::new(Common::new(layout, settings)), jobs: Mutex::default() })
    }

    /// A job's log, made when it is first asked for.
    pub fn job(self: &Arc<Self>, job: &JobName) -> Arc<JobLog> {
        lock(&self.jobs)
            .entry(job.clone())
            .or_insert_with(|| Arc::new(JobLog::new(self.common.clone(), job.clone(), Restored::default())))
            .clone()
    }

    /// Puts in force what was read back of a job.
    pub fn restored(self: &Arc<Self>, job: &JobName, restored: Restored) -> Arc<JobLog> {
        let log = Arc::new(JobLog::new(self.common.clone(), job.clone(), restored));
        lock(&self.jobs).insert(job.clone(), log.clone());
        log
    }

    /// Up to when a job's due times are accounted for.
    pub fn due_state(&self, job: &str) -> DueState {
        let log = lock(&self.jobs).get(job).cloned();
        log.map(|log| log.due_state()).unwrap_or_default()
    }

    /// A job's totals and last run, without making a log for a job that has none.
    pub fn summary(&self, job: &str) -> Summary {
        let log = lock(&self.jobs).get(job).cloned();
        log.map(|log| log.summary()).unwrap_or_default()
    }

    /// The clock was wrong and was corrected: what the records know of due times after `now` counts no more.
    pub fn clock_corrected(&self, now: Timestamp) {
        let logs: Vec<_> = lock(&self.jobs).values().cloned().collect();
        for log in logs {
            log.clock_corrected(now);
        }
    }

    /// Writes what waits of one job, counted streaks as well.
    pub fn flush_job(&self, job: &str) {
        let log = lock(&self.jobs).get(job).cloned();
        if let Some(log) = log {
            log.flush(true);
        }
    }

    /// The runs that waited when the logs were read back, of all jobs.
    pub fn take_waiting(&self) -> Vec<(JobName, WaitingRun)> {
        let logs: Vec<_> = lock(&self.jobs).values().cloned().collect();
        logs.iter().flat_map(|log| log.take_waiting().into_iter().map(|run| (log.job.clone(), run))).collect()
    }

    /// The due times that are counted in memory and stand in no record yet.
    ///
    /// Also which jobs' logs are held, so that it cannot be told of them.
    pub fn counted(&self) -> (Vec<Gap>, Vec<JobName>) {
        let logs: Vec<_> = lock(&self.jobs).values().cloned().collect();
        let (held, free): (Vec<_>, Vec<_>) = logs.into_iter().partition(|log| log.is_held(Duration::ZERO));
        let counted = free.iter().flat_map(|log| log.counted()).collect();
        (counted, held.iter().map(|log| log.job.clone()).collect())
    }

    /// Waits until all that was written so far and has to be on the disk is there.
    pub fn commit(&self) {
        let logs: Vec<_> = lock(&self.jobs).values().cloned().collect();
        for log in logs {
            log.commit();
        }
    }

    /// Writes what waits: streaks that are counted in memory, and lines that could not be written before.
    pub fn flush(&self, streaks: bool) {
        if !streaks && !self.faults.is_anything_waiting() {
            return;
        }
        let logs: Vec<_> = lock(&self.jobs).values().cloned().collect();
        // One that is held comes next time.
        for log in logs.iter().filter(|log| !log.is_held(Duration::ZERO)) {
            log.flush(streaks);
        }
    }
}
