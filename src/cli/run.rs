use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::Verb;
use super::ask::{connect, first_reply, running, say_notice};
use super::context::{Context, job_name};
use super::error::CliError;
use super::files::or_no_such_job;
use super::output::{duration, print, safe, safe_bytes};
use crate::daemon::control::{Reply, Request};
use crate::daemon::{StartOptions, setup};
use crate::model::{JobName, Status, Stream};
use crate::record::{End, Follow, OutputLine, Tag};
use crate::spec::MissingVariable;

#[derive(Debug, Args)]
pub(super) struct Run {
    /// The job's name
    #[arg(value_parser = job_name)]
    job: JobName,
    /// Show the output, wait for the end, and exit with the job's own code
    #[arg(long)]
    wait: bool,
    /// Arguments for the command: after those of a list, `"$@"` in a string
    #[arg(last = true)]
    args: Vec<String>,
}

impl Verb for Run {
    fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        if running(context).is_none() {
            return self.alone(context);
        }
        let request = Request::Run { job: self.job.clone(), args: self.args.clone(), wait: self.wait };
        // Who does not wait needs no log: a disk that hangs holds up nobody who asks.
        let follow = self.wait.then(|| Follow::from_end(context.layout().output(&self.job)));
        let (_, mut client) = connect(context, &request)?;
        let answer = first_reply(&mut client).map_err(|error| or_no_such_job(context, &self.job, error))?;
        say_notice(&answer);
        let run = answer["run"].as_str().unwrap_or_default().to_string();
        if answer["replaces"] == true {
            anstream::eprintln!(
                "note: the job's overlap is replace: the run that is active is told to end, and this one starts when it has gone"
            );
        } else if answer["waits"] == true {
            anstream::eprintln!(
                "note: it waits for its turn: as many runs are active as may be, of its job, its pool or all together"
            );
        }
        let Some(follow) = follow else {
            print(&format!("{run}\n"))?;
            return Ok(ExitCode::SUCCESS);
        };
        let (sender, ended) = channel();
        std::thread::spawn(move || {
            if let Ok(Some(reply)) = client.next_reply() {
                let _ = sender.send(reply);
            }
        });
        match show_until(follow, &run, &ended)? {
            Some(Reply::Ok(mut value)) => {
                let end: End = serde_json::from_value(value["ended"].take())
                    .map_err(|error| CliError::failed(error.to_string()))?;
                Ok(closing(&end))
            }
            Some(Reply::Error(reason)) => Err(CliError::failed(reason)),
            None => Err(CliError::failed("the runner ended before the run did")),
        }
    }
}

impl Run {
    /// Without a running runner: the lock is held while the run lasts, and the run is the same as any other.
    fn alone(self, context: &Context) -> Result<ExitCode, CliError> {
        setup::make_logs(&context.paths)?;
        let layout = context.layout();
        let catalog = context.catalog_options(MissingVariable::Error, true);
        let options = StartOptions {
            paths: context.paths.clone(),
            catalog,
            overrides: context.overrides.clone(),
            echo: None,
            reload: false,
            strict: false,
            once: true,
        };
        let follow = Follow::from_end(layout.output(&self.job));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let ended = runtime.block_on(async {
            let prepared = setup::prepare(options, &context.settings)?;
            let mut daemon = prepared.daemon;
            let accepted = daemon.ask_directly(&self.job, self.args.clone());
            let run = match accepted {
                Ok(accepted) => {
                    let alone = "no runner is running, this one runs the job by itself and waits for its end";
                    anstream::eprintln!("note: {alone}");
                    if let Some(notice) = accepted.notice {
                        anstream::eprintln!("note: {notice}");
                    }
                    accepted.run.to_string()
                }
                Err(reason) => return Err(CliError::failed(reason)),
            };
            let (sender, ended) = channel();
            let shown = run.clone();
            let show = std::thread::spawn(move || show_until(follow, &shown, &ended));
            let finished = daemon.run().await?;
            let _ = sender.send(Reply::Ok(Value::Null));
            drop(sender);
            let _ = show.join();
            drop(prepared.log_guard);
            match finished.end {
                Some(end) => Ok(closing(&end)),
                None => Err(CliError::failed("the run did not come to an end")),
            }
        });
        // Nobody is asked before this process lets go of the lock.
        ended.map_err(|error| or_no_such_job(context, &self.job, error))
    }
}

const LOOK: Duration = Duration::from_millis(30);

/// Shows what the run prints until its end is told, and the rest that stands in the log then.
fn show_until(mut follow: Follow, run: &str, ended: &Receiver<Reply>) -> Result<Option<Reply>, CliError> {
    loop {
        let told = match ended.recv_timeout(LOOK) {
            Ok(value) => Some(Some(value)),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(None),
        };
        let mut result = Ok(());
        follow.more(|line| {
            if let Some(line) = OutputLine::parse(line)
                && line.run == run
                && result.is_ok()
            {
                result = pass_on(&line);
            }
        })?;
        result?;
        if let Some(told) = told {
            return Ok(told);
        }
    }
}

/// Gives a line back as it was printed, to the stream that it was printed to. On a terminal nothing of it is obeyed.
fn pass_on(line: &OutputLine<'_>) -> Result<(), CliError> {
    let (stream, line_break): (Stream, &[u8]) = match line.tag {
        Tag::Line(stream) => (stream, b"\n"),
        Tag::Piece(stream) => (stream, b""),
        // Said of attempts, where there are several.
        Tag::Marker if line.text.starts_with(b"attempt ") => {
            anstream::eprintln!("note: {}", safe_bytes(line.text));
            return Ok(());
        }
        Tag::Marker => return Ok(()),
    };
    let write = |out: &mut dyn Write, to_terminal: bool| {
        let shown = to_terminal.then(|| safe_bytes(line.text));
        let text = shown.as_deref().map_or(line.text, str::as_bytes);
        out.write_all(text).and_then(|()| out.write_all(line_break)).and_then(|()| out.flush())
    };
    let (out, err) = (std::io::stdout(), std::io::stderr());
    match stream {
        Stream::Out => write(&mut out.lock(), out.is_terminal())?,
        Stream::Err => write(&mut err.lock(), err.is_terminal())?,
    }
    Ok(())
}

/// The closing line, and the exit code that says the same.
fn closing(end: &End) -> ExitCode {
    let took = if end.never_began() { "never began".into() } else { duration(end.duration_ms) };
    match (&end.error, end.status) {
        (_, Status::Success) => anstream::eprintln!("\x1b[32m✓\x1b[0m {}: success ({took})", end.job),
        (Some(error), status) => {
            anstream::eprintln!("\x1b[31m✗\x1b[0m {}: {status} ({took}): {}", end.job, safe(error))
        }
        (None, status) => anstream::eprintln!("\x1b[31m✗\x1b[0m {}: {status} ({took})", end.job),
    }
    let code = match (end.status, end.exit_code, end.signal) {
        (Status::Timeout, ..) => 124,
        (Status::Success | Status::Failed, Some(code), _) => code,
        (_, _, Some(signal)) => 128 + signal,
        _ => 1,
    };
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
