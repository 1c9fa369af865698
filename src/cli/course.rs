//! How a simulation is shown: a line a run to people, one document to programs.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};

use super::output::{duration, local_with_zone, times_in};
use crate::engine::WaitsFor;
use crate::engine::simulate::{Course, SimulatedGap, SimulatedRun, Tally};
use crate::model::{GapKind, JobName, TriggeredBy, count, rfc3339, serde_rfc3339};

/// How many streaks of skipped due times are shown of each job; the others are counted.
const STREAKS_SHOWN: usize = 3;

/// What `--json` prints.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    #[serde(with = "serde_rfc3339")]
    from: Timestamp,
    #[serde(with = "serde_rfc3339")]
    until: Timestamp,
    #[serde(with = "serde_rfc3339::option")]
    stopped: Option<Timestamp>,
    runs: Vec<RunEntry<'a>>,
    skipped: Vec<GapEntry<'a>>,
    assumed: &'a [&'a JobName],
    most_at_once: usize,
    longest_wait: Option<Value>,
    busiest_minute: Option<Value>,
    totals: Value,
    jobs: Vec<Value>,
}

#[derive(Serialize)]
struct RunEntry<'a> {
    job: &'a JobName,
    triggered_by: TriggeredBy,
    #[serde(with = "serde_rfc3339")]
    due: Timestamp,
    /// Absent, as is its end, where it still waits.
    #[serde(with = "serde_rfc3339::option")]
    started: Option<Timestamp>,
    #[serde(with = "serde_rfc3339::option")]
    ended: Option<Timestamp>,
    waited_ms: i64,
    waits: Vec<WaitEntry>,
    overlaps: &'a [JobName],
    overlaps_more: usize,
    replaced: bool,
    begun: bool,
}

#[derive(Serialize)]
struct WaitEntry {
    r#for: String,
    ms: i64,
}

impl<'a> RunEntry<'a> {
    fn of(run: &'a SimulatedRun) -> Self {
        let wait =
            |(reason, waited): &(WaitsFor, SignedDuration)| WaitEntry { r#for: reason.to_string(), ms: ms(*waited) };
        Self {
            job: &run.job,
            triggered_by: run.triggered_by,
            due: run.due,
            started: run.times.map(|(started, _)| started),
            ended: run.times.map(|(_, ended)| ended),
            waited_ms: ms(run.waited()),
            waits: run.waits.iter().map(wait).collect(),
            overlaps: &run.overlaps,
            overlaps_more: run.overlaps_more,
            replaced: run.replaced,
            begun: run.begun,
        }
    }
}

#[derive(Serialize)]
struct GapEntry<'a> {
    job: &'a JobName,
    triggered_by: TriggeredBy,
    reason: &'a str,
    #[serde(with = "serde_rfc3339")]
    due: Timestamp,
    #[serde(with = "serde_rfc3339")]
    until: Timestamp,
    count: u64,
}

impl<'a> GapEntry<'a> {
    fn of(gap: &'a SimulatedGap) -> Self {
        let SimulatedGap { job, triggered_by, reason, due, until, count, .. } = gap;
        Self { job, triggered_by: *triggered_by, reason, due: *due, until: *until, count: *count }
    }
}

/// A simulation as it is shown.
pub(super) struct Shown<'a> {
    pub course: &'a Course,
    pub from: Timestamp,
    pub until: Timestamp,
    pub zone: TimeZone,
}

/// Sums over all jobs.
struct Totals {
    runs: u64,
    skipped: u64,
    waiting: u64,
}

impl Shown<'_> {
    pub fn end(&self) -> Timestamp {
        self.course.stopped.unwrap_or(self.until)
    }

    /// The picture ends where the list does.
    pub fn drawn_until(&self) -> Timestamp {
        let Totals { runs, waiting, .. } = self.totals();
        let listed = self.course.runs.len() as u64;
        let last = self.course.runs.last().filter(|_| listed < runs + waiting);
        last.map_or(self.end(), |run| run.due + SignedDuration::from_secs(1))
    }

    fn totals(&self) -> Totals {
        let sum = |of: fn(&Tally) -> u64| self.course.jobs.values().map(of).sum();
        Totals {
            runs: sum(|tally| tally.runs),
            skipped: sum(|tally| tally.skipped),
            waiting: sum(|tally| tally.waiting),
        }
    }

    pub fn document<'a>(&'a self, assumed: &'a [&JobName]) -> Document<'a> {
        let course = self.course;
        let Totals { runs, skipped, waiting } = self.totals();
        let job = |(job, tally): (&'a JobName, &Tally)| {
            json!({
                "job": job,
                "runs": tally.runs,
                "skipped": tally.skipped,
                "waiting": tally.waiting,
                "longest_wait_ms": ms(tally.longest_wait),
            })
        };
        let longest = course.longest_wait.as_ref();
        Document {
            from: self.from,
            until: self.until,
            stopped: course.stopped,
            runs: course.runs.iter().map(RunEntry::of).collect(),
            skipped: course.skipped.iter().map(GapEntry::of).collect(),
            assumed,
            most_at_once: course.most_at_once.map_or(0, |(most, _)| most),
            longest_wait: longest
                .map(|(waited, job, due)| json!({ "job": job, "due": rfc3339(*due), "waited_ms": ms(*waited) })),
            busiest_minute: course
                .busiest_minute
                .map(|(minute, runs)| json!({ "minute": rfc3339(minute), "runs": runs })),
            totals: json!({ "runs": runs, "skipped": skipped, "waiting": waiting }),
            jobs: course.jobs.iter().map(job).collect(),
        }
    }

    pub fn text(&self) -> String {
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
            let reason = times_in(&gap.reason, &self.zone);
            lines.push((gap.due, format!("{line}  {word}: {reason}{times}")));
        }
        lines.sort_by_key(|(due, _)| *due);
        let mut text = String::new();
        for (_, line) in lines {
            text.push_str(&line);
            text.push('\n');
        }
        for (job, (times, reason)) in more {
            let reason = times_in(reason, &self.zone);
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
            text.push_str(&format!("; listed: the first {listed}"));
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

fn notes(run: &SimulatedRun) -> String {
    let mut notes: Vec<String> = Vec::new();
    if run.begun {
        notes.push(if run.times.is_some() { "was there already".into() } else { "waited already".into() });
    }
    for (reason, waited) in &run.waits {
        let word = if run.times.is_some() { "waited" } else { "waits for more than" };
        notes.push(format!("{word} {} for {reason}", duration(ms(*waited))));
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
