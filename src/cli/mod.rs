//! One file for each verb; the only place that prints and picks an exit code.
//!
//! To add a verb: one new file with a type that implements [`Verb`], and one line in `verbs!` below,
//! with what the help says of it.

mod ask;
mod asked;
mod became;
mod clock_change;
mod context;
mod course;
mod error;
mod files;
mod idle;
mod moment;
mod next_start;
mod output;
pub mod picture;
pub mod problems;
mod recorded;
mod resting;
mod secret_files;

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
    ($($(#[$doc:meta])* $file:ident :: $verb:ident),+ $(,)?) => {
        $(mod $file;)+

        #[derive(Debug, Subcommand)]
        enum Verbs { $($(#[$doc])* $verb($file::$verb)),+ }

        impl Verbs {
            fn run(self, context: &Context) -> Result<ExitCode, CliError> {
                match self { $(Self::$verb(verb) => verb.run(context)),+ }
            }
        }
    };
}

// The one list of verbs: what the help says of each, its file, and its type.
verbs! {
    /// Run in the foreground: jobs become runs at their due times
    start::Start,
    /// End the running runner, after the runs that are active
    stop::Stop,
    /// Make the running runner compare the files of its jobs and settings now
    reload::Reload,
    /// What the running runner is doing
    status::Status,
    /// Check files and say everything that is wrong with them; starts nothing
    validate::Validate,
    /// Print the JSON Schemas of the files, or write them to schema/
    schema::Schema,
    /// All jobs: state, schedule, last and next run
    list::List,
    /// One job as it is in force, as YAML
    show::Show,
    /// The due times that come
    next::Next,
    /// What would run when, overlap, wait or be skipped: the same engine on a virtual clock
    simulate::Simulate,
    /// Why a job ran, or did not, or does not yet
    why::Why,
    /// Run a job now
    run::Run,
    /// End an active run
    cancel::Cancel,
    /// Let a job's triggers rest, without touching its file
    pause::Pause,
    /// End a pause
    resume::Resume,
    /// What a watch knows of its files, why, and once more
    watch::Watch,
    /// What has run, and how it ended
    history::History,
    /// What runs printed
    logs::Logs,
    /// What is wrong with this set-up, and how to mend it
    doctor::Doctor,
    /// Print a completion script for a shell
    completions::Completions,
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
