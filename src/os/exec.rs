//! What a child executes, made ready before it exists: after that point nothing may be allocated.

use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// A program with its arguments, environment and working directory.
pub struct Exec {
    pub(super) argv: Vec<CString>,
    pub(super) envp: Vec<CString>,
    /// Paths to try in turn; the first that can be executed is.
    pub(super) candidates: Vec<CString>,
    pub(super) directory: CString,
    /// What is executed where no candidate can be: a program by its path, with its arguments.
    pub(super) instead: Option<(CString, Vec<CString>)>,
}

impl fmt::Debug for Exec {
    /// Without the environment: some of its values are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { argv, envp: _, candidates, directory, instead } = self;
        f.debug_struct("Exec")
            .field("argv", argv)
            .field("candidates", candidates)
            .field("directory", directory)
            .field("instead", instead)
            .finish_non_exhaustive()
    }
}

/// A text that no program can be given.
#[derive(Debug, thiserror::Error)]
#[error("{what} holds a NUL character")]
pub struct NulError {
    what: String,
}

/// Where programs are looked for if nothing names a `PATH` (as `execvp(3)` does).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

impl Exec {
    /// Makes ready to execute `argv` in `directory` with exactly the environment `env`.
    ///
    /// A program without a slash is looked for along the environment's own `PATH`, one with a slash is meant as seen
    /// from `directory`.
    ///
    /// # Errors
    /// A NUL character anywhere.
    pub fn new(argv: &[OsString], env: &[(OsString, OsString)], directory: &Path) -> Result<Self, NulError> {
        let c = |bytes: Vec<u8>, what: &dyn Fn() -> String| CString::new(bytes).map_err(|_| NulError { what: what() });
        let mut envp = Vec::with_capacity(env.len());
        for (key, value) in env {
            let entry = [key.as_bytes(), b"=", value.as_bytes()].concat();
            envp.push(c(entry, &|| format!("the environment variable {}", key.to_string_lossy()))?);
        }
        let argv_c = argv
            .iter()
            .map(|arg| c(arg.as_bytes().to_vec(), &|| "the command".into()))
            .collect::<Result<Vec<_>, _>>()?;
        let program = argv.first().map_or(&b""[..], |program| program.as_bytes());
        let candidates = if program.contains(&b'/') {
            vec![c(program.to_vec(), &|| "the command".into())?]
        } else {
            let path = env.iter().rev().find(|(key, _)| key == "PATH").map(|(_, value)| value.as_os_str());
            path.unwrap_or(OsStr::new(DEFAULT_PATH))
                .as_bytes()
                .split(|b| *b == b':')
                .map(|dir| if dir.is_empty() { &b"."[..] } else { dir })
                .map(|dir| c([dir, b"/", program].concat(), &|| "PATH".into()))
                .collect::<Result<Vec<_>, _>>()?
        };
        let directory = c(directory.to_path_buf().into_os_string().into_vec(), &|| "the working directory".into())?;
        Ok(Self { argv: argv_c, envp, candidates, directory, instead: None })
    }

    /// The same, with another program that is executed where this one cannot be: `argv[0]` is its path.
    ///
    /// # Errors
    /// A NUL character anywhere.
    pub fn or_else(self, argv: &[OsString]) -> Result<Self, NulError> {
        let c = |text: &OsString| CString::new(text.as_bytes()).map_err(|_| NulError { what: "the command".into() });
        let argv = argv.iter().map(c).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { instead: argv.first().cloned().map(|program| (program, argv)), ..self })
    }
}
