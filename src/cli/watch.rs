use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Verb;
use super::context::Context;
use super::error::CliError;

mod about;
mod explain;
mod ls;
mod replay;

#[derive(Debug, Args)]
pub(super) struct Watch {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The files that a watch knows, and what became of each
    Ls(ls::Ls),
    /// Why a file was run for, or was not, or will be
    Explain(explain::Explain),
    /// Run for files again
    Replay(replay::Replay),
}

impl Verb for Watch {
    fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        match self.what {
            What::Ls(ls) => ls.run(context),
            What::Explain(explain) => explain.run(context),
            What::Replay(replay) => replay.run(context),
        }
    }
}
