//! What a child executes, made ready before it exists: after that point nothing may be allocated.

use std::borrow::Cow;
use std::ffi::{CString, OsStr, OsString, c_char};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// A name or a value in an environment. What comes from the runner's own is there for good, and not copied for each run.
pub type Text = Cow<'static, OsStr>;

/// A program with its arguments, environment and working directory.
pub struct Exec {
    pub(super) argv: Vec<CString>,
    pub(super) envp: Texts,
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

/// An environment as a program is given it, all of it in one piece: there are dozens of variables, and a run each time.
#[derive(Default)]
pub(super) struct Texts {
    bytes: Vec<u8>,
    begins: Vec<usize>,
}

impl Texts {
    fn with_room_for(env: &[(Text, Text)]) -> Self {
        let room = env.iter().map(|(key, value)| key.len() + value.len() + 2).sum();
        Self { bytes: Vec::with_capacity(room), begins: Vec::with_capacity(env.len()) }
    }

    fn push(&mut self, key: &OsStr, value: &OsStr) -> Result<(), NulError> {
        self.begins.push(self.bytes.len());
        for part in [key.as_bytes(), b"=", value.as_bytes()] {
            if memchr::memchr(0, part).is_some() {
                return Err(NulError { what: format!("the environment variable {}", key.to_string_lossy()) });
            }
            self.bytes.extend_from_slice(part);
        }
        self.bytes.push(0);
        Ok(())
    }

    /// The beginnings of all, with the null pointer that comes after the last one. As long as nothing is added.
    pub fn pointers(&self) -> Vec<*const c_char> {
        let begins = self.begins.iter().map(|begin| self.bytes[*begin..].as_ptr().cast());
        begins.chain([std::ptr::null()]).collect()
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
    pub fn new(argv: &[OsString], env: &[(Text, Text)], directory: &Path) -> Result<Self, NulError> {
        let c = |bytes: Vec<u8>, what: &dyn Fn() -> String| CString::new(bytes).map_err(|_| NulError { what: what() });
        let mut envp = Texts::with_room_for(env);
        for (key, value) in env {
            envp.push(key, value)?;
        }
        let argv_c = argv
            .iter()
            .map(|arg| c(arg.as_bytes().to_vec(), &|| "the command".into()))
            .collect::<Result<Vec<_>, _>>()?;
        let program = argv.first().map_or(&b""[..], |program| program.as_bytes());
        let candidates = if program.contains(&b'/') {
            vec![c(program.to_vec(), &|| "the command".into())?]
        } else {
            let path = env.iter().rev().find(|(key, _)| **key == *"PATH").map(|(_, value)| &**value);
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
