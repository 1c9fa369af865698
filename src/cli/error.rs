use std::io;
use std::process::ExitCode;

use crate::daemon::SetupError;
use crate::model::{Problem, safe};

/// Why a verb did not do what was asked; each kind has its exit code.
#[derive(Debug)]
pub(super) enum CliError {
    /// The thing asked for failed: 1.
    Failed { message: String, help: Option<String> },
    /// Asked for in a way that cannot be meant: 2.
    Usage { message: String, help: Option<String> },
    /// The configuration is invalid: 3. The problems, if there are any, come first.
    Config { message: String, help: Option<String>, problems: Vec<Problem> },
    /// Whoever read the output has gone.
    Closed,
}

impl CliError {
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed { message: message.into(), help: None }
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), help: None }
    }

    pub fn help(mut self, text: impl Into<String>) -> Self {
        match &mut self {
            Self::Failed { help, .. } | Self::Usage { help, .. } | Self::Config { help, .. } => {
                *help = Some(text.into())
            }
            Self::Closed => {}
        }
        self
    }

    /// Prints it, and gives its exit code.
    pub fn report(self) -> ExitCode {
        let (code, message, help) = match self {
            Self::Failed { message, help } => (1, message, help),
            Self::Usage { message, help } => (2, message, help),
            Self::Config { message, help, problems } => {
                if !problems.is_empty() {
                    anstream::eprint!("{}", super::problems::human(&problems, true));
                }
                (3, message, help)
            }
            // As if the signal had ended it, which the Rust runtime ignores.
            Self::Closed => return ExitCode::from(128 + libc::SIGPIPE as u8),
        };
        // It may hold what others have written: a name, a reason. Its own line breaks stay.
        let lines: Vec<_> = message.split('\n').map(safe).collect();
        anstream::eprintln!("\x1b[1;31merror\x1b[0m: {}", lines.join("\n"));
        if let Some(help) = help {
            anstream::eprintln!("help: {help}");
        }
        ExitCode::from(code)
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Closed } else { Self::failed(error.to_string()) }
    }
}

impl From<SetupError> for CliError {
    fn from(error: SetupError) -> Self {
        use crate::catalog::StartError;
        let message = error.to_string();
        match error {
            SetupError::Catalog(StartError::Settings(problems)) | SetupError::Strict(problems) => {
                Self::Config { message, help: None, problems }
            }
            SetupError::Catalog(StartError::NoJobs { .. }) => {
                Self::Config { message, help: Some(StartError::NO_JOBS_HELP.into()), problems: Vec::new() }
            }
            SetupError::LogsBehindLink { .. } | SetupError::LogsElsewhere { .. } => {
                Self::Config { message, help: None, problems: Vec::new() }
            }
            SetupError::Logs { .. } => Self::failed(message).help("make it writable, or name another one with --logs"),
            SetupError::Locked { .. } => Self::failed(message)
                .help("`runner status` shows it, `runner stop` ends it; --logs names another directory"),
            SetupError::PartOfRun(_) | SetupError::Socket { .. } | SetupError::System(_) => Self::failed(message),
        }
    }
}
