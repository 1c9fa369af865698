//! One file for each verb; the only place that prints and picks an exit code.
//!
//! To add a verb: one new file with a type that implements [`Verb`], and one line in `verbs!` below.

mod ask;
mod cancel;
mod completions;
mod context;
mod doctor;
mod error;
mod files;
mod history;
mod list;
mod logs;
mod next;
mod output;
mod pause;
pub mod problems;
mod reload;
mod resume;
mod run;
mod schema;
mod show;
mod start;
mod status;
mod stop;
mod validate;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use context::{Context, Global};
use error::CliError;

/// One verb of the command line.
trait Verb: clap::Args {
    /// Does what is asked for. The result is the exit code.
    fn run(self, context: &Context) -> Result<ExitCode, CliError>;
}

macro_rules! verbs {
    ($($(#[$doc:meta])* $variant:ident = $module:ident),+ $(,)?) => {
        #[derive(Debug, Subcommand)]
        enum Verbs { $($(#[$doc])* $variant($module::$variant)),+ }

        impl Verbs {
            fn run(self, context: &Context) -> Result<ExitCode, CliError> {
                match self { $(Self::$variant(verb) => verb.run(context)),+ }
            }
        }
    };
}

// The one list of verbs: what the help says of each, its type, and its file.
verbs! {
    /// Run in the foreground: jobs become runs at their due times
    Start = start,
    /// End the running runner, after the runs that are active
    Stop = stop,
    /// Make the running runner compare the files now
    Reload = reload,
    /// What the running runner is doing
    Status = status,
    /// Check files and say everything that is wrong with them; starts nothing
    Validate = validate,
    /// Print the JSON Schemas of the files, or write them to schema/
    Schema = schema,
    /// All jobs: state, schedule, last and next run
    List = list,
    /// One job as it is in force, as YAML
    Show = show,
    /// The due times that come
    Next = next,
    /// Run a job now
    Run = run,
    /// End an active run
    Cancel = cancel,
    /// Let a job's triggers rest, without touching its file
    Pause = pause,
    /// End a pause
    Resume = resume,
    /// What has run, and how it ended
    History = history,
    /// What runs printed
    Logs = logs,
    /// What is wrong with this set-up, and how to mend it
    Doctor = doctor,
    /// Print a completion script for a shell
    Completions = completions,
}

/// A job runner whose whole configuration is a directory of files and whole memory plain log files.
#[derive(Debug, Parser)]
#[command(name = "runner", version, max_term_width = 110, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verbs,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 the thing asked for failed; 2 usage; 3 invalid configuration. \
                          `run --wait` gives the job's own code, 128+N for signal N, 124 for a timeout, 1 for all else.";

/// The program from its arguments to its exit code.
pub fn main() -> ExitCode {
    crate::os::memory::use_few_arenas();
    let matches = match Cli::command().try_get_matches() {
        Ok(matches) => matches,
        // Help and version are data; everything else is wrong usage.
        Err(error) => {
            let code = error.exit_code();
            let _ = error.print();
            return ExitCode::from(u8::try_from(code).unwrap_or(2));
        }
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(2);
        }
    };
    let result = Context::new(cli.global).and_then(|context| cli.verb.run(&context));
    result.unwrap_or_else(|error| error.report())
}

/// The whole command line, for completions.
fn command() -> clap::Command {
    Cli::command()
}
