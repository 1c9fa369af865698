//! A new generation comes in force.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use super::control::Reply;
use super::event::Refreshed;
use super::main_loop::Daemon;
use super::memory;
use super::record_queue::Entry;
use crate::catalog::watch::{Message, Timing};
use crate::catalog::{Delta, Generation, Job};
use crate::engine::{Change, Entry as JobEntry, Event as EngineEvent, Memory, Settings};
use crate::model::{Clock, count};
use crate::os::clock::SystemClock;
use crate::spec::RunnerSpec;

impl Daemon {
    pub(super) fn put(&self, job: &Arc<Job>, memory: Memory) -> Change {
        Change::Put(Box::new(JobEntry {
            name: job.name.clone(),
            spec: job.spec.clone(),
            // For the one run that a person asked for, triggers rest.
            armed: if self.once { Vec::new() } else { job.armed.to_vec() },
            closed: job.closed(),
            first_loaded: job.first_loaded,
            memory,
        }))
    }

    pub(super) fn reloaded(&mut self, refreshed: Refreshed) {
        let Refreshed { generation, delta, asked, trouble, last_good_error } = refreshed;
        if trouble != self.trouble {
            if let Some(trouble) = &trouble {
                tracing::warn!(target: "catalog", "changes may be taken up late: {trouble}; the files are compared every {}", generation.settings.reload.scan);
            }
            self.trouble = trouble;
        }
        if let Some(error) = last_good_error {
            tracing::error!(target: "catalog", "{error}");
        }
        if delta.is_new {
            self.put_in_force(generation, &delta);
        } else if asked.is_some() {
            tracing::info!(target: "catalog", "asked to compare the files: nothing changed");
        }
        if asked.is_some() {
            self.manager.reloaded(self.status_line());
        } else {
            self.manager.status(self.status_line());
        }
        if let Some(reply) = asked {
            let errors = self.generation.problems.iter().filter(|problem| problem.is_error()).map(ToString::to_string);
            let _ = reply.send(Reply::Ok(serde_json::json!({
                "generation": self.generation.number,
                "fingerprint": self.generation.fingerprint,
                "changes": delta.words(),
                "jobs": self.generation.jobs.len(),
                "errors": errors.collect::<Vec<_>>(),
            })));
        }
    }

    pub(super) fn put_in_force(&mut self, generation: Arc<Generation>, delta: &Delta) {
        tracing::info!(
            target: "catalog",
            "reload: {} ({}), generation {} {}",
            count(generation.jobs.len(), "job"),
            delta.words(),
            generation.number,
            generation.fingerprint,
        );
        say_findings(&generation, delta);
        let old = std::mem::replace(&mut self.generation, generation);
        if old.vanished.is_some() && self.generation.vanished.is_none() {
            tracing::info!(target: "catalog", "the job files are there again");
        }
        if delta.settings_changed {
            self.take_settings(&old.settings);
        }
        let now = SystemClock.now();
        for job in delta.added.iter().chain(&delta.changed) {
            self.note_chain(job, now);
        }
        for job in &delta.removed {
            self.chains.remove(job);
        }
        let changes = delta
            .added
            .iter()
            .chain(&delta.changed)
            .map(|job| self.put(job, memory::of_job(&self.records, &job.name)))
            .chain(delta.removed.iter().cloned().map(Change::Removed))
            .collect();
        self.tell(EngineEvent::Load { changes, starting: None });
        self.put_watches_in_force();
        // The grid of a changed interval begins at due times that may only be counted so far.
        for job in &delta.changed {
            self.queue.put(Entry::FlushJob(job.name.clone()));
        }
        // Down time, if it comes, begins under what is in force now.
        self.sign_life();
    }

    pub(super) fn take_settings(&mut self, old: &RunnerSpec) {
        let new = self.overrides.apply(&self.generation.settings);
        let old = self.overrides.apply(old);
        if new.logs.directory != old.logs.directory || new.logs.format != old.logs.format {
            tracing::warn!(target: "catalog", "logs.directory and logs.format take effect at the next start");
        }
        let rotation = super::setup::rotation(&new);
        self.records.set_settings(rotation);
        self.log_control.set(super::setup::level(new.logs.level), rotation);
        let _ = self.catalog.send(Message::Timing(timing(&new)));
        crate::os::limits::raise_open_files(u64::from(new.max_concurrent_runs) * 9 + 256);
        let settings = engine_settings(&new);
        self.tell(EngineEvent::Configure(settings));
    }

    pub(super) fn ask_catalog(&self, asked: UnboundedSender<Reply>) {
        let _ = self.catalog.send(Message::Asked(asked));
    }
}

/// Of one kind of finding at most so many are said one by one: a broken `_defaults.yaml` can be above thousands of jobs.
const MOST_SAID: usize = 50;

/// Says what is newly wrong, and what is good again.
pub(super) fn say_findings(generation: &Generation, delta: &Delta) {
    for problem in delta.new_problems.iter().take(MOST_SAID) {
        if problem.is_error() {
            tracing::error!(target: "catalog", "{problem}");
        } else {
            tracing::warn!(target: "catalog", "{problem}");
        }
    }
    say_rest(delta.new_problems.len(), "more finding");
    for file in delta.broken.iter().take(MOST_SAID) {
        let goes_on = generation.jobs.iter().any(|job| job.file == *file);
        let what = if goes_on { "its last good version goes on" } else { "its job is not scheduled" };
        tracing::warn!(target: "catalog", "{file} is broken: {what}");
    }
    say_rest(delta.broken.len(), "more broken file");
    for file in delta.mended.iter().take(MOST_SAID) {
        tracing::info!(target: "catalog", "{file} is good again");
    }
    say_rest(delta.mended.len(), "more mended file");
}

fn say_rest(found: usize, what: &str) {
    if found > MOST_SAID {
        tracing::warn!(target: "catalog", "and {}; `runner validate` shows all that is wrong", count(found - MOST_SAID, what));
    }
}

pub(super) fn engine_settings(spec: &RunnerSpec) -> Settings {
    Settings { max_concurrent_runs: spec.max_concurrent_runs, pools: spec.pools.clone() }
}

pub(super) fn timing(spec: &RunnerSpec) -> Timing {
    Timing { debounce: spec.reload.debounce.0, max_wait: spec.reload.max_wait.0, scan: spec.reload.scan.0 }
}
