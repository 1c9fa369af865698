use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Verb;
use super::context::Context;
use super::error::CliError;
use super::files::Known;
use super::output::{duration, local_with_zone, print, print_json};
use super::picture::{Picture, picture};
use crate::engine::simulate::{Course, Plan, SimulatedGap, SimulatedRun, simulate};
use crate::engine::{Settings, WaitsFor};
use crate::model::{Clock, GapKind, HumanDuration, JobName, Status, count, rfc3339};
use crate::os::clock::SystemClock;
use crate::record::{Layout, Line, each_backwards};

/// After so many due times it stops: a job that is due each second gets that far in eight weeks.
const MOST_DUE_TIMES: u64 = 5_000_000;
/// How many runs are listed at the most.
const MOST_LISTED: u32 = 100_000;
/// Of how many successful runs the median is taken, and among how many records they are looked for.
const MEDIAN_OF: usize = 20;
const LOOK_BACK: usize = 2_000;
const ASSUMED_MS: i64 = 1_000;
/// How many streaks of skipped due times are shown of each job; the others are counted.
const STREAKS_SHOWN: usize = 3;

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
        let known = Known::read(context)?;
        let from = match &self.from {
            Some(text) => super::next::time(text, context)?,
            None => SystemClock.now(),
        };
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
            pauses: known.pauses.iter().map(|(job, until)| (job.clone(), *until)).collect(),
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
        let shown = Shown { course: &course, from, until, zone: context.zone() };
        if let Some(path) = &self.svg {
            let text = picture(&Picture { course: &course, from, until: shown.end(), zone: &shown.zone });
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

struct Shown<'a> {
    course: &'a Course,
    from: Timestamp,
    until: Timestamp,
    zone: TimeZone,
}

/// Sums over all jobs.
struct Totals {
    runs: u64,
    skipped: u64,
    waiting: u64,
}

impl Shown<'_> {
    fn end(&self) -> Timestamp {
        self.course.stopped.unwrap_or(self.until)
    }

    fn totals(&self) -> Totals {
        let sum = |of: fn(&crate::engine::simulate::Tally) -> u64| self.course.jobs.values().map(of).sum();
        Totals {
            runs: sum(|tally| tally.runs),
            skipped: sum(|tally| tally.skipped),
            waiting: sum(|tally| tally.waiting),
        }
    }

    fn document(&self, assumed: &[&JobName]) -> Value {
        let course = self.course;
        let totals = self.totals();
        let run = |run: &SimulatedRun| {
            let waits: Vec<Value> = run
                .waits
                .iter()
                .map(|(reason, waited)| json!({ "for": waits_for(reason), "ms": ms(*waited) }))
                .collect();
            json!({
                "job": run.job,
                "triggered_by": run.triggered_by,
                "due": rfc3339(run.due),
                "started": run.times.map(|(started, _)| rfc3339(started)),
                "ended": run.times.map(|(_, ended)| rfc3339(ended)),
                "waited_ms": ms(run.waited()),
                "waits": waits,
                "overlaps": run.overlaps,
                "overlaps_more": run.overlaps_more,
                "replaced": run.replaced,
            })
        };
        let gap = |gap: &SimulatedGap| {
            json!({
                "job": gap.job,
                "triggered_by": gap.triggered_by,
                "reason": gap.reason,
                "due": rfc3339(gap.due),
                "until": rfc3339(gap.until),
                "count": gap.count,
            })
        };
        let jobs: Vec<Value> = course
            .jobs
            .iter()
            .map(|(job, tally)| {
                json!({
                    "job": job,
                    "runs": tally.runs,
                    "skipped": tally.skipped,
                    "waiting": tally.waiting,
                    "longest_wait_ms": ms(tally.longest_wait),
                })
            })
            .collect();
        json!({
            "from": rfc3339(self.from),
            "until": rfc3339(self.until),
            "stopped": course.stopped.map(rfc3339),
            "runs": course.runs.iter().map(run).collect::<Vec<_>>(),
            "skipped": course.skipped.iter().map(gap).collect::<Vec<_>>(),
            "assumed": assumed,
            "most_at_once": course.most_at_once.map_or(0, |(most, _)| most),
            "longest_wait": course.longest_wait.as_ref().map(
                |(waited, job, due)| json!({ "job": job, "due": rfc3339(*due), "waited_ms": ms(*waited) })
            ),
            "busiest_minute": course.busiest_minute.map(
                |(minute, runs)| json!({ "minute": rfc3339(minute), "runs": runs })
            ),
            "totals": { "runs": totals.runs, "skipped": totals.skipped, "waiting": totals.waiting },
            "jobs": jobs,
        })
    }

    fn text(&self) -> String {
        let course = self.course;
        let names = course.runs.iter().map(|run| run.job.len()).chain(course.skipped.iter().map(|gap| gap.job.len()));
        let width = names.max().unwrap_or(0).min(40);
        let time = |time: Timestamp| local_with_zone(time, &self.zone);
        let begin = |due: Timestamp, job: &JobName, by: &str, how_long: &str| {
            format!("{}  {job:width$}  {by:<8}  {how_long:>7}", time(due))
        };
        let mut lines: Vec<(Timestamp, String)> = Vec::new();
        for run in &course.runs {
            let how_long = run.times.map(|(started, ended)| duration(ms(ended.duration_since(started))));
            let by = run.triggered_by.as_str();
            let line = begin(run.due, &run.job, by, how_long.as_deref().unwrap_or("-"));
            lines.push((run.due, format!("{line}  {}", notes(run)).trim_end().into()));
        }
        let mut streaks: BTreeMap<&JobName, usize> = BTreeMap::new();
        let mut more: BTreeMap<&JobName, (u64, &str)> = BTreeMap::new();
        for gap in &course.skipped {
            let shown = streaks.entry(&gap.job).or_default();
            *shown += 1;
            if *shown > STREAKS_SHOWN {
                more.entry(&gap.job).or_insert((0, &gap.reason)).0 += gap.count;
                continue;
            }
            let line = begin(gap.due, &gap.job, gap.triggered_by.as_str(), "-");
            let times = match gap.count {
                1 => String::new(),
                many => format!(" ({many} times until {})", time(gap.until)),
            };
            let word = if gap.kind == GapKind::Skipped { "skipped" } else { "missed" };
            let reason = super::output::times_in(&gap.reason, &self.zone);
            lines.push((gap.due, format!("{line}  {word}: {reason}{times}")));
        }
        lines.sort_by_key(|(due, _)| *due);
        let mut text = String::new();
        for (_, line) in lines {
            text.push_str(&line);
            text.push('\n');
        }
        for (job, (times, reason)) in more {
            let reason = super::output::times_in(reason, &self.zone);
            text.push_str(&format!(
                "{job}: {} skipped, for such reasons as: {reason}\n",
                count(times, "further due time")
            ));
        }
        text.push_str(&self.summary());
        text
    }

    fn summary(&self) -> String {
        let course = self.course;
        let time = |time: Timestamp| local_with_zone(time, &self.zone);
        let Totals { runs, skipped, waiting } = self.totals();
        let mut text = format!("{} to {}: {}", time(self.from), time(self.end()), count(runs, "run"));
        if skipped > 0 {
            text.push_str(&format!(", {} skipped", count(skipped, "due time")));
        }
        if waiting > 0 {
            text.push_str(&format!(", {} still waiting at the end", count(waiting, "run")));
        }
        let listed = course.runs.len() as u64;
        if listed < runs + waiting {
            text.push_str(&format!("; the first {listed} are listed"));
        }
        text.push('\n');
        if let Some((most, at)) = course.most_at_once {
            text.push_str(&format!("at most {} at once, first at {}\n", count(most, "run"), time(at)));
        }
        match &course.longest_wait {
            Some((waited, job, due)) => {
                text.push_str(&format!("the longest wait is {} ({job}, due {})\n", duration(ms(*waited)), time(*due)))
            }
            None if runs > 0 => text.push_str("no run waits\n"),
            None => {}
        }
        if let Some((minute, runs)) = course.busiest_minute.filter(|(_, runs)| *runs > 1) {
            text.push_str(&format!("the busiest minute is {}, with {}\n", time(minute), count(runs, "start")));
        }
        text
    }
}

fn ms(time: SignedDuration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn waits_for(reason: &WaitsFor) -> String {
    match reason {
        WaitsFor::EarlierRun => "an earlier run".into(),
        WaitsFor::Place => "a place".into(),
        WaitsFor::Pool(pool) => format!("pool {pool}"),
    }
}

fn notes(run: &SimulatedRun) -> String {
    let mut notes: Vec<String> = Vec::new();
    for (reason, waited) in &run.waits {
        let word = if run.times.is_some() { "waited" } else { "waits for more than" };
        notes.push(format!("{word} {} for {}", duration(ms(*waited)), waits_for(reason)));
    }
    if run.times.is_none() && notes.is_empty() {
        notes.push("still waits at the end".into());
    }
    if !run.overlaps.is_empty() {
        let names: Vec<&str> = run.overlaps.iter().map(|job| job.as_str()).collect();
        let more = if run.overlaps_more > 0 { format!(" and {} more", run.overlaps_more) } else { String::new() };
        notes.push(format!("overlaps {}{more}", names.join(", ")));
    }
    if run.replaced {
        notes.push("replaced by a newer run".into());
    }
    notes.join("; ")
}
