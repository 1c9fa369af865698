use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

use super::Verb;
use super::context::Context;
use super::error::CliError;
use super::output::print;

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Verb for Completions {
    fn run(self, _: &Context) -> Result<ExitCode, CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "runner", &mut script);
        print(&String::from_utf8_lossy(&script))?;
        Ok(ExitCode::SUCCESS)
    }
}
