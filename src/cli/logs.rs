use std::collections::{BTreeMap, VecDeque};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde_json::json;

use super::Verb;
use super::context::{Context, job_name, run_id};
use super::error::CliError;
use super::output::safe_bytes;
use crate::model::{JobName, RunId, Stream, safe_json};
use crate::record::{Follow, Layout, OutputLine, OutputLines, Tag, tail_of_output};

#[derive(Debug, Args)]
pub(super) struct Logs {
    /// The job; all jobs, merged by time, where none is named
    #[arg(value_parser = job_name)]
    job: Option<JobName>,
    /// Only the last so many lines
    #[arg(long, value_name = "N")]
    tail: Option<usize>,
    /// Go on with what comes, until Ctrl+C
    #[arg(short, long)]
    follow: bool,
    /// Only this run
    #[arg(long, value_name = "ID", value_parser = run_id)]
    run: Option<RunId>,
    /// Only this stream
    #[arg(long, value_enum)]
    stream: Option<StreamName>,
    /// What was printed, without times and markers; to a file or a pipe byte by byte
    #[arg(long)]
    plain: bool,
    /// JSON Lines: one document for each line
    #[arg(long, conflicts_with = "plain")]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StreamName {
    #[value(alias = "stdout")]
    Out,
    #[value(alias = "stderr")]
    Err,
}

impl Verb for Logs {
    fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let layout = context.layout();
        let jobs = match &self.job {
            Some(job) => {
                super::files::expect_job(context, job)?;
                vec![job.clone()]
            }
            None => layout.job_directories(),
        };
        let mut printer = Printer {
            out: std::io::BufWriter::new(std::io::stdout().lock()),
            run: self.run.map(|run| run.to_string()),
            stream: self.stream.map(|stream| match stream {
                StreamName::Out => Stream::Out,
                StreamName::Err => Stream::Err,
            }),
            style: match (self.plain, self.json) {
                (true, _) => Style::Plain,
                (_, true) => Style::Json,
                _ => Style::People { zone: context.zone() },
            },
            to_terminal: std::io::stdout().is_terminal(),
            shows_job: self.job.is_none(),
        };
        // Followed from where the reading began: what comes meanwhile is shown once it is followed.
        let mut follows: BTreeMap<JobName, Follow> =
            jobs.iter().map(|job| (job.clone(), Follow::from_end(layout.output(job)))).collect();
        match self.tail {
            Some(count) => printer.tail(&layout, &jobs, count)?,
            None => printer.all(&layout, &jobs)?,
        }
        printer.out.flush()?;
        if self.follow {
            self.follow(&layout, &mut follows, &mut printer)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

const LOOK: Duration = Duration::from_millis(100);
/// Jobs that have never run may begin to; their folders are looked for less often.
const LOOKS_A_FOLDER_WALK: u32 = 20;

impl Logs {
    fn follow(
        &self,
        layout: &Layout,
        follows: &mut BTreeMap<JobName, Follow>,
        printer: &mut Printer<'_>,
    ) -> Result<(), CliError> {
        let (_stop, wait) = std::sync::mpsc::channel::<()>();
        for look in 0u32.. {
            if self.job.is_none() && look % LOOKS_A_FOLDER_WALK == 0 {
                for job in layout.job_directories() {
                    let path = layout.output(&job);
                    follows.entry(job).or_insert_with(|| Follow::new(path));
                }
            }
            let mut lines = Vec::new();
            for (job, follow) in follows.iter_mut() {
                follow.more(|line| lines.push((job.clone(), line.to_vec())))?;
            }
            // Each line begins with its time.
            lines.sort_by(|a, b| a.1.get(..24).cmp(&b.1.get(..24)));
            for (job, line) in &lines {
                printer.line(job, line)?;
            }
            printer.out.flush()?;
            let _ = wait.recv_timeout(LOOK);
        }
        Ok(())
    }
}

struct Printer<'a> {
    out: std::io::BufWriter<std::io::StdoutLock<'a>>,
    run: Option<String>,
    stream: Option<Stream>,
    style: Style,
    /// Then nothing that a job printed is obeyed.
    to_terminal: bool,
    shows_job: bool,
}

enum Style {
    Plain,
    Json,
    People { zone: jiff::tz::TimeZone },
}

impl Printer<'_> {
    fn wants(&self, line: &OutputLine<'_>) -> bool {
        let stream = match line.tag {
            Tag::Line(stream) | Tag::Piece(stream) => Some(stream),
            Tag::Marker if matches!(self.style, Style::Plain) => return false,
            Tag::Marker => None,
        };
        self.run.as_deref().is_none_or(|run| run == line.run) && (self.stream.is_none() || stream == self.stream)
    }

    /// Everything, merged by time: of each job the next line is held.
    fn all(&mut self, layout: &Layout, jobs: &[JobName]) -> Result<(), CliError> {
        let mut sources: Vec<(JobName, OutputLines, Option<Vec<u8>>)> = Vec::new();
        for job in jobs {
            let mut lines = OutputLines::of(layout, job);
            let first = lines.next_line()?;
            if first.is_some() {
                sources.push((job.clone(), lines, first));
            }
        }
        loop {
            let next = sources
                .iter_mut()
                .filter(|(.., held)| held.is_some())
                .min_by(|a, b| a.2.as_deref().and_then(|l| l.get(..24)).cmp(&b.2.as_deref().and_then(|l| l.get(..24))));
            let Some((job, lines, held)) = next else { return Ok(()) };
            if let Some(line) = held.take() {
                *held = lines.next_line()?;
                let job = job.clone();
                self.line(&job, &line)?;
            }
        }
    }

    fn tail(&mut self, layout: &Layout, jobs: &[JobName], count: usize) -> Result<(), CliError> {
        let mut last: Vec<(JobName, Vec<u8>)> = Vec::new();
        for job in jobs {
            let lines = tail_of_output(layout, job, count, |line| {
                OutputLine::parse(line).is_some_and(|line| self.wants(&line))
            })?;
            last.extend(lines.into_iter().map(|line| (job.clone(), line)));
        }
        last.sort_by(|a, b| a.1.get(..24).cmp(&b.1.get(..24)));
        let mut last: VecDeque<_> = last.into();
        while last.len() > count {
            last.pop_front();
        }
        for (job, line) in last {
            self.line(&job, &line)?;
        }
        Ok(())
    }

    fn line(&mut self, job: &JobName, line: &[u8]) -> Result<(), CliError> {
        let Some(line) = OutputLine::parse(line).filter(|line| self.wants(line)) else { return Ok(()) };
        let (stream, whole) = match line.tag {
            Tag::Line(Stream::Out) => ("out", true),
            Tag::Line(Stream::Err) => ("err", true),
            Tag::Piece(Stream::Out) => ("out", false),
            Tag::Piece(Stream::Err) => ("err", false),
            Tag::Marker => ("---", true),
        };
        match &self.style {
            Style::Plain => {
                write_text(&mut self.out, line.text, self.to_terminal)?;
                if whole {
                    self.out.write_all(b"\n")?;
                }
            }
            Style::Json => {
                let document = json!({
                    "time": line.time, "job": job, "run": line.run, "stream": stream, "whole": whole,
                    "text": String::from_utf8_lossy(line.text),
                });
                let document = document.to_string();
                writeln!(self.out, "{}", if self.to_terminal { safe_json(&document).into_owned() } else { document })?;
            }
            Style::People { zone } => {
                let time = line.time.parse::<Timestamp>().map_or_else(
                    |_| line.time.to_string(),
                    |time| time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string(),
                );
                write!(self.out, "{time} ")?;
                if self.shows_job {
                    write!(self.out, "{job} ")?;
                }
                write!(self.out, "{stream} ")?;
                write_text(&mut self.out, line.text, self.to_terminal)?;
                self.out.write_all(b"\n")?;
            }
        }
        Ok(())
    }
}

/// As it was printed; on a terminal so that nothing of it is obeyed.
fn write_text(out: &mut impl Write, text: &[u8], to_terminal: bool) -> std::io::Result<()> {
    if to_terminal { out.write_all(safe_bytes(text).as_bytes()) } else { out.write_all(text) }
}
