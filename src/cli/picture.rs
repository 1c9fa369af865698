//! A simulation as a picture: one row a job, a bar a run. SVG without scripts and without fonts from elsewhere.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

use super::output::{duration, local_with_zone};
use crate::engine::simulate::{Course, SimulatedGap, SimulatedRun, Tally};
use crate::model::{JobName, count};

/// What is drawn.
#[derive(Debug)]
pub struct Picture<'a> {
    pub course: &'a Course,
    pub from: Timestamp,
    pub until: Timestamp,
    /// In which times are told, and days begin.
    pub zone: &'a TimeZone,
}

/// More rows than that nobody reads.
const MOST_ROWS: usize = 60;
const WIDTH: f64 = 1_000.0;
const ROW: f64 = 22.0;
const TOP: f64 = 64.0;
/// Room for half of a label at the end of the axis.
const RIGHT: f64 = 40.0;
/// How many characters of a name are shown.
const MOST_NAME: usize = 32;
const MOST_TICKS: usize = 12;

/// The picture as a whole file.
pub fn picture(of: &Picture<'_>) -> String {
    let rows = rows(of.course);
    let longest = rows.iter().map(|job| job.chars().count()).max().unwrap_or(0).min(MOST_NAME);
    let left = 24.0 + 7.2 * longest as f64;
    let bottom = TOP + ROW * rows.len().max(1) as f64;
    let axis = Axis { from: of.from, until: of.until.max(of.from + SignedDuration::from_millis(1)), left };
    let (width, height) = (left + WIDTH + RIGHT, bottom + 52.0);
    let mut svg = String::new();
    let title = format!("{} to {}", local_with_zone(of.from, of.zone), local_with_zone(of.until, of.zone));
    let _ = write!(
        svg,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>{title}</title>\n\
         <style>.run,.early{{stroke:#fff;stroke-width:.5}}.run{{fill:#2f6fbf}}.wait{{fill:#b7d0ee;stroke:#2f6fbf;stroke-width:.5}}.early{{fill:#8a6fbf}}.skip{{stroke:#c0392b;stroke-width:1.5;fill:none}}\
         .day{{stroke:#999}}.tick{{stroke:#ddd}}.row{{fill:#f4f6f8}}.name{{text-anchor:end}}.label{{text-anchor:middle;fill:#555}}</style>\n\
         <rect width=\"{width:.0}\" height=\"{height:.0}\" fill=\"#fff\"/>\n\
         <text x=\"16\" y=\"22\" font-size=\"14\">{title}{}</text>\n",
        heading(of.course, rows.len()),
        title = escaped(&title),
    );
    for (n, _) in rows.iter().enumerate().filter(|(n, _)| n % 2 == 0) {
        let y = TOP + ROW * n as f64;
        let _ = writeln!(svg, "<rect class=\"row\" x=\"{left:.1}\" y=\"{y:.1}\" width=\"{WIDTH}\" height=\"{ROW}\"/>");
    }
    draw_axis(&mut svg, &axis, of.zone, bottom);
    let mut runs: BTreeMap<&JobName, Vec<&SimulatedRun>> = BTreeMap::new();
    for run in &of.course.runs {
        runs.entry(&run.job).or_default().push(run);
    }
    let mut skipped: BTreeMap<&JobName, Vec<&SimulatedGap>> = BTreeMap::new();
    // Where the list of runs ends early, so does the picture.
    for gap in of.course.skipped.iter().filter(|gap| gap.due < axis.until) {
        skipped.entry(&gap.job).or_default().push(gap);
    }
    for (n, job) in rows.iter().enumerate() {
        let row = Row { axis: &axis, zone: of.zone, y: TOP + ROW * n as f64 };
        row.name(&mut svg, job, of.course.jobs.get(*job));
        row.runs(&mut svg, runs.get(job).map(Vec::as_slice).unwrap_or_default());
        row.skipped(&mut svg, skipped.get(job).map(Vec::as_slice).unwrap_or_default());
    }
    if rows.is_empty() {
        let y = TOP + ROW * 0.7;
        let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{y:.1}\">nothing is due</text>", left + 8.0);
    }
    legend(&mut svg, left, bottom + 26.0);
    svg.push_str("</svg>\n");
    svg
}

/// The jobs that are drawn, by name: all, or the busiest.
fn rows(course: &Course) -> Vec<&JobName> {
    let mut jobs: Vec<(&JobName, &Tally)> = course.jobs.iter().collect();
    if jobs.len() > MOST_ROWS {
        jobs.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.runs + tally.skipped));
        jobs.truncate(MOST_ROWS);
        jobs.sort_by_key(|(job, _)| *job);
    }
    jobs.into_iter().map(|(job, _)| job).collect()
}

fn heading(course: &Course, rows: usize) -> String {
    let mut text = String::new();
    if course.jobs.len() > rows {
        let _ = write!(text, "; the busiest {rows} of {}", count(course.jobs.len(), "job"));
    }
    let all: u64 = course.jobs.values().map(|tally| tally.runs + tally.waiting).sum();
    if (course.runs.len() as u64) < all {
        let _ = write!(text, "; the first {} of {}", course.runs.len(), count(all, "run"));
    }
    text
}

/// Where a time lies from left to right.
struct Axis {
    from: Timestamp,
    until: Timestamp,
    left: f64,
}

impl Axis {
    fn x(&self, time: Timestamp) -> f64 {
        let time = time.clamp(self.from, self.until);
        let part = time.duration_since(self.from).as_secs_f64() / self.until.duration_since(self.from).as_secs_f64();
        self.left + WIDTH * part
    }
}

struct Row<'a> {
    axis: &'a Axis,
    zone: &'a TimeZone,
    y: f64,
}

/// A bar, which may stand for several that lie too close together to be told apart.
struct Bar {
    class: &'static str,
    from: f64,
    to: f64,
    first: Timestamp,
    last: Timestamp,
    count: u64,
    words: String,
    /// Not all that it stands for has these words.
    is_mixed: bool,
}

impl Row<'_> {
    fn name(&self, svg: &mut String, job: &JobName, tally: Option<&Tally>) {
        let mut name: String = job.chars().take(MOST_NAME).collect();
        if job.chars().count() > MOST_NAME {
            name.pop();
            name.push('…');
        }
        let tally = tally.copied().unwrap_or_default();
        let words = format!("{job}: {}, {} skipped", count(tally.runs, "run"), tally.skipped);
        let (x, y) = (self.axis.left - 8.0, self.y + ROW * 0.68);
        let (name, words) = (escaped(&name), escaped(&words));
        let _ = writeln!(svg, "<text class=\"name\" x=\"{x:.1}\" y=\"{y:.1}\">{name}<title>{words}</title></text>");
    }

    fn runs(&self, svg: &mut String, runs: &[&SimulatedRun]) {
        let mut waits = Vec::new();
        let mut bars = Vec::new();
        for run in runs {
            let started = run.times.map_or(self.axis.until, |(started, _)| started);
            if run.waited().is_positive() {
                let words = format!("waits {}", duration(run.waited().as_millis() as i64));
                waits.push(self.bar("wait", run.due, started, words));
            }
            if let Some((started, ended)) = run.times {
                let class = if run.replaced { "early" } else { "run" };
                let took = duration(ended.duration_since(started).as_millis() as i64);
                let end = if run.replaced { ", replaced by a newer run" } else { "" };
                bars.push(self.bar(class, started, ended, format!("{}, {took}{end}", run.triggered_by.as_str())));
            }
        }
        // A run may wait while an earlier one of its job goes on: its wait lies over that.
        for bar in joined(bars).into_iter().chain(joined(waits)) {
            let (y, height) = if bar.class == "wait" { (self.y + ROW - 8.0, 5.0) } else { (self.y + 4.0, ROW - 8.0) };
            let (x, width) = (bar.from, (bar.to - bar.from).max(1.5));
            let class = bar.class;
            let title = self.title(&bar);
            let _ = writeln!(
                svg,
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"><title>{title}</title></rect>"
            );
        }
    }

    fn bar(&self, class: &'static str, from: Timestamp, to: Timestamp, words: String) -> Bar {
        Bar {
            class,
            from: self.axis.x(from),
            to: self.axis.x(to),
            first: from,
            last: to,
            count: 1,
            words,
            is_mixed: false,
        }
    }

    fn skipped(&self, svg: &mut String, gaps: &[&SimulatedGap]) {
        let marks = gaps.iter().map(|gap| Bar {
            count: gap.count,
            ..self.bar("skip", gap.due, gap.until, super::output::times_in(&gap.reason, self.zone))
        });
        for mark in joined(marks.collect()) {
            let (middle, half) = (self.y + ROW / 2.0, 3.5);
            let (x, to) = (mark.from, mark.to);
            let title = self.title(&mark);
            let line = if to - x > 1.0 { format!("M{x:.1} {middle:.1}H{to:.1}") } else { String::new() };
            let _ = writeln!(
                svg,
                "<path class=\"skip\" d=\"M{:.1} {:.1}L{:.1} {:.1}M{:.1} {:.1}L{:.1} {:.1}{line}\"><title>skipped: {title}</title></path>",
                x - half,
                middle - half,
                x + half,
                middle + half,
                x - half,
                middle + half,
                x + half,
                middle - half,
            );
        }
    }

    fn title(&self, bar: &Bar) -> String {
        let time = |time: Timestamp| local_with_zone(time, self.zone);
        escaped(&match bar.count {
            1 => format!("{}: {}", time(bar.first), bar.words),
            many => {
                let such_as = if bar.is_mixed { "several kinds, such as " } else { "" };
                format!("{many} from {} to {}: {such_as}{}", time(bar.first), time(bar.last), bar.words)
            }
        })
    }
}

/// Bars of one row, in order; those become one that overlap, or are less than half a point apart and too narrow to be told apart.
fn joined(mut bars: Vec<Bar>) -> Vec<Bar> {
    bars.sort_by(|a, b| a.from.total_cmp(&b.from));
    let mut found: Vec<Bar> = Vec::new();
    for bar in bars {
        match found.last_mut() {
            Some(last) if last.class == bar.class && are_one(last, &bar) => {
                last.to = last.to.max(bar.to);
                last.last = last.last.max(bar.last);
                last.count += bar.count;
                last.is_mixed |= bar.is_mixed || last.words != bar.words;
            }
            _ => found.push(bar),
        }
    }
    found
}

fn are_one(left: &Bar, right: &Bar) -> bool {
    let apart = right.from - left.to.max(left.from + 1.5);
    let is_narrow = |bar: &Bar| bar.to - bar.from < 3.0;
    apart < -0.1 || apart < 0.5 && (is_narrow(left) || is_narrow(right))
}

/// How far apart the marks of the axis are.
#[derive(Debug, Clone, Copy)]
enum Step {
    Minutes(i64),
    Days(i64),
    Months(i64),
}

const STEPS: [(Step, i64); 20] = [
    (Step::Minutes(1), 1),
    (Step::Minutes(5), 5),
    (Step::Minutes(15), 15),
    (Step::Minutes(30), 30),
    (Step::Minutes(60), 60),
    (Step::Minutes(120), 120),
    (Step::Minutes(180), 180),
    (Step::Minutes(360), 360),
    (Step::Minutes(720), 720),
    (Step::Days(1), DAY),
    (Step::Days(2), 2 * DAY),
    (Step::Days(7), 7 * DAY),
    (Step::Days(14), 14 * DAY),
    (Step::Months(1), 30 * DAY),
    (Step::Months(3), 91 * DAY),
    (Step::Months(6), 182 * DAY),
    (Step::Months(12), 365 * DAY),
    (Step::Months(60), 5 * 365 * DAY),
    (Step::Months(120), 10 * 365 * DAY),
    (Step::Months(1_200), 100 * 365 * DAY),
];
const DAY: i64 = 24 * 60;

fn draw_axis(svg: &mut String, axis: &Axis, zone: &TimeZone, bottom: f64) {
    let minutes = axis.until.duration_since(axis.from).as_secs() / 60;
    let fits = |(_, length): &&(Step, i64)| minutes / length <= MOST_TICKS as i64;
    let step = STEPS.iter().find(fits).map_or(Step::Months(12_000), |(step, _)| *step);
    for at in ticks(axis, zone, step) {
        let local = at.to_zoned(zone.clone());
        let is_day = local.time() == local.start_of_day().map_or(local.time(), |day| day.time());
        let words = match step {
            Step::Minutes(_) if is_day => local.strftime("%a %-d %b").to_string(),
            Step::Minutes(_) => local.strftime("%H:%M").to_string(),
            Step::Days(_) => local.strftime("%a %-d %b").to_string(),
            Step::Months(_) => local.strftime("%b %Y").to_string(),
        };
        let (x, class) = (axis.x(at), if is_day { "day" } else { "tick" });
        let _ = writeln!(
            svg,
            "<line class=\"{class}\" x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\"/>\
             <text class=\"label\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
            TOP - 8.0,
            TOP - 14.0,
            escaped(&words),
        );
    }
    // Days stand out also where the marks are further apart than that.
    if matches!(step, Step::Days(_)) {
        for at in ticks(axis, zone, Step::Days(1)) {
            let x = axis.x(at);
            let _ = writeln!(svg, "<line class=\"tick\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\"/>");
        }
    }
}

/// The times at which the axis has marks: round ones by the clock of the zone.
fn ticks(axis: &Axis, zone: &TimeZone, step: Step) -> Vec<Timestamp> {
    let first = axis.from.to_zoned(zone.clone()).date();
    let mut found: Vec<Timestamp> = Vec::new();
    let mut take = |date: Date, minute: i64| {
        let time = date.at((minute / 60) as i8, (minute % 60) as i8, 0, 0).to_zoned(zone.clone());
        let Ok(at) = time.map(|time| time.timestamp()) else { return false };
        if at >= axis.from && at <= axis.until && found.last().is_none_or(|last| *last < at) {
            found.push(at);
        }
        at <= axis.until
    };
    let mut date = if matches!(step, Step::Months(_)) { first.first_of_month() } else { first };
    if let Step::Months(months @ 12..) = step {
        let years = i16::try_from(months / 12).unwrap_or(1);
        date = Date::new(date.year() - date.year().rem_euclid(years), 1, 1).unwrap_or(date);
    }
    loop {
        let (goes_on, next) = match step {
            Step::Minutes(minutes) => {
                let all = (0..DAY / minutes).map(|n| n * minutes);
                (all.map(|minute| take(date, minute)).fold(true, |_, last| last), date.tomorrow())
            }
            Step::Days(days) => (take(date, 0), date.checked_add(days.days())),
            Step::Months(months) => (take(date, 0), date.checked_add(months.months())),
        };
        match next {
            Ok(next) if goes_on => date = next,
            _ => return found,
        }
    }
}

fn legend(svg: &mut String, left: f64, y: f64) {
    let _ = write!(
        svg,
        "<rect class=\"run\" x=\"{left:.1}\" y=\"{:.1}\" width=\"24\" height=\"12\"/><text x=\"{:.1}\" y=\"{y:.1}\">runs</text>\n\
         <rect class=\"wait\" x=\"{:.1}\" y=\"{:.1}\" width=\"24\" height=\"8\"/><text x=\"{:.1}\" y=\"{y:.1}\">waits</text>\n\
         <rect class=\"early\" x=\"{:.1}\" y=\"{:.1}\" width=\"24\" height=\"12\"/><text x=\"{:.1}\" y=\"{y:.1}\">replaced</text>\n\
         <path class=\"skip\" d=\"M{:.1} {:.1}l7 7m0 -7l-7 7\"/><text x=\"{:.1}\" y=\"{y:.1}\">skipped</text>\n",
        y - 10.0,
        left + 30.0,
        left + 90.0,
        y - 8.0,
        left + 120.0,
        left + 180.0,
        y - 10.0,
        left + 210.0,
        left + 290.0,
        y - 8.0,
        left + 304.0,
    );
}

/// Text as XML has it. Characters that XML cannot hold are shown as such.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' => out.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
