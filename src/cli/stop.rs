use std::io::ErrorKind;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use super::Verb;
use super::ask::{connect, first_reply, running};
use super::context::Context;
use super::error::CliError;
use super::output::print;
use crate::daemon::control::Request;
use crate::model::count;

#[derive(Debug, Args)]
pub(super) struct Stop {
    /// Do not wait until it has ended
    #[arg(long)]
    no_wait: bool,
}

/// How long its runs may take to end: `shutdown_timeout` can be `none`.
const PATIENCE_WITH_RUNS: Duration = Duration::from_secs(7 * 86_400);
/// How long a process whose loop has ended may take to let go of the logs.
const PATIENCE_WITH_THE_LOCK: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

impl Verb for Stop {
    fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let (pid, mut client) = connect(context, &Request::Stop)?;
        let answer = first_reply(&mut client)?;
        match answer["running"].as_u64().unwrap_or(0) {
            0 => print(&format!("stopping the runner with PID {pid}\n"))?,
            n => print(&format!("stopping the runner with PID {pid}; it waits for {}\n", count(n, "active run")))?,
        }
        if self.no_wait {
            return Ok(ExitCode::SUCCESS);
        }
        // The connection stands until its loop has ended, or the process. Its PID may be another's here, where one of the two
        // is in a container.
        client.set_patience(PATIENCE_WITH_RUNS)?;
        loop {
            match client.next_reply() {
                Ok(Some(_)) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err(CliError::failed(format!("the runner with PID {pid} has not ended for a week")));
                }
                Ok(None) | Err(_) => break,
            }
        }
        wait_for_the_lock(PATIENCE_WITH_THE_LOCK, || running(context) == Some(pid)).map_err(|after| {
            CliError::failed(format!(
                "the runner with PID {pid} has stopped its work, and still has the lock of {} after {} s",
                context.paths.logs.display(),
                after.as_secs()
            ))
            .help("a disk that hangs can hold it up; `runner stop` again tells whether it has gone")
        })?;
        print("stopped\n")?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Waits until the lock is free, or another's. The error is how long that was not so.
fn wait_for_the_lock(patience: Duration, is_held: impl Fn() -> bool) -> Result<(), Duration> {
    let begun = Instant::now();
    while is_held() {
        if begun.elapsed() > patience {
            return Err(patience);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn the_wait_for_the_lock_has_an_end() {
        let looks = Cell::new(0);
        let is_held = || looks.replace(looks.get() + 1) < 3;
        assert_eq!(wait_for_the_lock(Duration::from_secs(30), is_held), Ok(()));
        assert_eq!(looks.get(), 4);
        let short = Duration::from_millis(20);
        assert_eq!(wait_for_the_lock(short, || true), Err(short));
    }
}
