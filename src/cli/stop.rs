use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::Verb;
use super::ask;
use super::context::Context;
use super::error::CliError;
use super::output::print;
use crate::daemon::control::Request;

#[derive(Debug, Args)]
pub(super) struct Stop {
    /// Do not wait until it has ended
    #[arg(long)]
    no_wait: bool,
}

impl Verb for Stop {
    fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let handle =
            ask::running(context).and_then(Pid::from_raw).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        let (pid, answer) = ask::ask(context, &Request::Stop)?;
        match answer["running"].as_u64().unwrap_or(0) {
            0 => print(&format!("stopping the runner with PID {pid}\n"))?,
            n => print(&format!(
                "stopping the runner with PID {pid}; it waits for {}\n",
                crate::model::count(n, "active run")
            ))?,
        }
        if let (false, Some(handle)) = (self.no_wait, handle) {
            let begun = Instant::now();
            let mut fds = [PollFd::new(&handle, PollFlags::IN)];
            // Looked at again now and then, so that Ctrl+C is answered at once by the default action.
            let second = Timespec { tv_sec: 1, tv_nsec: 0 };
            while poll(&mut fds, Some(&second)).map_or(true, |ready| ready == 0) {
                if begun.elapsed() > Duration::from_secs(7 * 86_400) {
                    return Err(CliError::failed("it has not ended for a week"));
                }
            }
            print("stopped\n")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
