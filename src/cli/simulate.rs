use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use jiff::{SignedDuration, Timestamp};

use super::Verb;
use super::context::Context;
use super::course::Shown;
use super::error::CliError;
use super::files::Known;
use super::output::{print, print_json};
use super::picture::{Picture, picture};
use crate::daemon::loaded::LoadedRun;
use crate::engine::Settings;
use crate::engine::simulate::{Begun, Course, Plan, simulate};
use crate::model::{Clock, HumanDuration, JobName, Status, TriggeredBy, count, rfc3339};
use crate::os::clock::SystemClock;
use crate::record::{Layout, Line, each_backwards};
use crate::trigger::TriggerContext;

/// After so many due times it stops: a job that is due each second gets that far in eight weeks.
const MOST_DUE_TIMES: u64 = 5_000_000;
/// How many runs are listed at the most.
const MOST_LISTED: u32 = 100_000;
/// Of how many successful runs the median is taken, and among how many records they are looked for.
const MEDIAN_OF: usize = 20;
const LOOK_BACK: usize = 2_000;
const ASSUMED_MS: i64 = 1_000;

#[derive(Debug, Args)]
pub(super) struct Simulate {
    /// The jobs to tell of; all where none is named. The others run as well: who waits depends on them
    #[arg(value_name = "JOB")]
    named: Vec<String>,
    /// When it begins, such as 2026-12-24T18:00:00 (in the runner's zone) or 2026-12-24T17:00:00Z; default: now
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// How much time goes by
    #[arg(long = "for", value_name = "DURATION", default_value = "1d")]
    span: HumanDuration,
    /// The runner starts at the beginning, so that jobs with `on_start` run
    #[arg(long)]
    on_start: bool,
    /// How many runs to list; the rest is counted
    #[arg(long, value_name = "N", default_value_t = MOST_LISTED, value_parser = clap::value_parser!(u32).range(0..=i64::from(MOST_LISTED)))]
    limit: u32,
    /// Also draw it into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

impl Verb for Simulate {
    fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let known = Known::in_force(context, None)?;
        let from = match &self.from {
            Some(text) => super::moment::time(text, context)?,
            None => SystemClock.now(),
        };
        // A runner that starts has no runs, and of those that are active now nobody knows whether they are so at another time.
        let takes_in = self.from.is_none() && !self.on_start;
        if self.span.is_zero() {
            return Err(CliError::usage("--for is no time at all"));
        }
        let span = SignedDuration::try_from(self.span.0).unwrap_or(SignedDuration::MAX);
        let until = from.saturating_add(span).unwrap_or(Timestamp::MAX);
        let only = self.only(&known)?;
        let medians: BTreeMap<&JobName, Option<i64>> =
            known.generation.jobs.iter().map(|job| (&job.name, median(&known.layout, &job.name))).collect();
        let settings = &known.generation.settings;
        let plan = Plan {
            settings: Settings { max_concurrent_runs: settings.max_concurrent_runs, pools: settings.pools.clone() },
            entries: known.engine_entries(),
            pauses: known.pauses(),
            begun: if takes_in { known.runs.iter().map(begun).collect() } else { Vec::new() },
            from,
            until,
            starts: self.on_start,
            only,
            listed: self.limit as usize,
            most: MOST_DUE_TIMES,
        };
        let lasts = |job: &JobName| {
            SignedDuration::from_millis(medians.get(job).copied().flatten().unwrap_or(ASSUMED_MS).max(0))
        };
        let course = simulate(plan, lasts);
        let runs = |job: &JobName| course.jobs.get(job).is_some_and(|tally| tally.runs + tally.waiting > 0);
        let assumed: Vec<&JobName> =
            medians.iter().filter(|(job, known)| known.is_none() && runs(job)).map(|(job, _)| *job).collect();
        let shown = Shown { course: &course, from, until, zone: known.zone.clone() };
        if let Some(path) = &self.svg {
            let text = picture(&Picture { course: &course, from, until: shown.drawn_until(), zone: &shown.zone });
            std::fs::write(path, text)
                .map_err(|error| CliError::failed(format!("{} cannot be written: {error}", path.display())))?;
        }
        say_notes(&known, &assumed, &self, &course);
        if self.json {
            print_json(&shown.document(&assumed))?;
        } else {
            print(&shown.text())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Simulate {
    fn only(&self, known: &Known) -> Result<Option<BTreeSet<JobName>>, CliError> {
        let job = |name: &String| match known.generation.job(name) {
            Some(job) => Ok(job.name.clone()),
            None if known.generation.has_file_for(name) => {
                Err(CliError::failed(format!("the file of the job `{name}` is invalid, so it would not run"))
                    .help("`runner validate` shows what is wrong with it"))
            }
            None => Err(known.no_such_job(name)),
        };
        let only: BTreeSet<JobName> = self.named.iter().map(job).collect::<Result<_, _>>()?;
        Ok((!only.is_empty()).then_some(only))
    }
}

/// A run that is there already, as the engine takes it in.
fn begun(run: &LoadedRun) -> Begun {
    let LoadedRun { job, triggered_by, due, started, next_attempt, .. } = run.clone();
    Begun { job, triggered_by, due, started, lasts_from: next_attempt.or(started) }
}

/// How long a job's runs mostly take: the median of its last successful ones.
fn median(layout: &Layout, job: &JobName) -> Option<i64> {
    let mut found = Vec::new();
    let mut seen = 0;
    let _ = each_backwards(layout, job, |line| {
        seen += 1;
        if let Line::End(end) = line
            && end.status == Status::Success
        {
            found.push(end.duration_ms);
        }
        found.len() < MEDIAN_OF && seen < LOOK_BACK
    });
    found.sort_unstable();
    found.get(found.len().checked_sub(1)? / 2).copied()
}

/// What one has to know besides: on standard error, each once.
fn say_notes(known: &Known, assumed: &[&JobName], asked: &Simulate, course: &Course) {
    if !assumed.is_empty() {
        let names: Vec<&str> = assumed.iter().take(5).map(|job| job.as_str()).collect();
        let more = assumed.len() - names.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        anstream::eprintln!("note: no successful run is recorded of {}{more}: 1s is assumed", names.join(", "));
    }
    // Who asks for one job and sees no run of it wants to know why.
    for name in &asked.named {
        let Some(job) = known.generation.job(name) else { continue };
        if course.jobs.contains_key(&job.name) {
            continue;
        }
        let after = job.spec.triggers.iter().find(|trigger| trigger.triggered_by() == TriggeredBy::After);
        let words = match after {
            _ if !job.spec.about.enabled => "is disabled".to_string(),
            _ if job.spec.is_manual() => "has no trigger: it runs by hand".to_string(),
            Some(after) => format!(
                "runs {}, which does not come about here: simulated runs succeed",
                after.words(TriggerContext::of(&job.name, &job.zone))
            ),
            None => continue,
        };
        anstream::eprintln!("note: {} {words}", super::output::safe(name));
    }
    let invalid = known.generation.invalid.len();
    if invalid > 0 {
        anstream::eprintln!("note: {} left out; `runner validate` shows why", count(invalid, "invalid file"));
    }
    let told_of = |name: &JobName| asked.named.is_empty() || asked.named.iter().any(|job| job == name.as_str());
    let starts = |job: &&std::sync::Arc<crate::catalog::Job>| {
        told_of(&job.name) && job.armed.iter().any(|(_, armed)| matches!(armed, crate::trigger::Armed::AtStart))
    };
    let at_start = known.generation.jobs.iter().filter(starts).count();
    if at_start > 0 && !asked.on_start {
        let (jobs, verb) = (count(at_start, "job"), if at_start == 1 { "runs" } else { "run" });
        anstream::eprintln!("note: {jobs} also {verb} when the runner starts: --on-start shows it");
    }
    if let Some(stopped) = course.stopped {
        anstream::eprintln!("note: it stopped at {} after {MOST_DUE_TIMES} due times", rfc3339(stopped));
    }
}
