//! Reads a job's secrets for one attempt: each anew, so that a changed one is taken up, and all of them before anything starts.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Once};

use super::as_written::AsWritten;
use crate::model::{HumanDuration, SecretValue};
use crate::os::cgroup::Groups;
use crate::os::private::{Owner, PrivateFiles, Shelves};
use crate::record::{Mask, RunFacts};
use crate::run::{Answer, Control, Plan, ask};
use crate::spec::{Given, Policies, SecretCommand, SecretSource, pattern};

/// What reading the secrets of an attempt takes.
pub(super) struct Ask<'a> {
    pub policies: &'a Policies,
    pub control: &'a Control,
    /// The configuration directory.
    pub directory: &'a Path,
    /// How its sources are named in errors.
    pub written: &'a AsWritten,
    /// The environment that commands inherit.
    pub inherited: &'a BTreeMap<OsString, OsString>,
    pub shelves: &'a Shelves,
    /// Where commands that print a secret get a control group each.
    pub groups: Option<&'a Arc<Groups>>,
    /// To whom files are given; the runner's own user where it is absent.
    pub owner: Option<Owner>,
    pub facts: &'a RunFacts,
}

/// What came of it.
pub(super) struct Fetched {
    /// Or why one could not be had.
    pub secrets: Result<Secrets, String>,
    /// Masks what was read in all that the attempt prints, and what the job wants masked. There also after a failure.
    pub mask: Option<Arc<Mask>>,
}

/// The secrets of one attempt, as its command gets them. Files go when this is dropped.
#[derive(Default)]
pub(super) struct Secrets {
    /// Variables for the command.
    pub env: Vec<(OsString, OsString)>,
    /// Variables of the runner that the command does not inherit.
    pub withheld: Vec<OsString>,
    _files: Option<PrivateFiles>,
}

/// How many bytes a secret may have.
const LARGEST: usize = 1 << 20;
/// A variable with its name may have less than this: Linux takes no longer one (execve(2), `MAX_ARG_STRLEN`).
const LONGEST_VARIABLE: usize = 128 * 1024;
/// How long a command that prints a secret may take, and how long it then has to end.
const PATIENCE: HumanDuration = HumanDuration::from_secs(30);
const GRACE: HumanDuration = HumanDuration::from_secs(1);

/// Reads all secrets of a job, which takes no time where there are none.
#[inline(never)]
pub(super) fn fetch(ask: &Ask<'_>) -> Fetched {
    let patterns: Vec<_> = ask.policies.redact.iter().filter_map(|text| pattern(text).ok()).collect();
    let mut read = Vec::with_capacity(ask.policies.secrets.len());
    let mut secrets = Ok(Secrets::default());
    for (name, secret) in &ask.policies.secrets {
        let Some(source) = secret.source() else { continue };
        match ask.read(name, source, &read) {
            Ok(value) => read.push((name.as_str(), secret.given, value)),
            Err(Refusal::Because(why)) => {
                secrets = Err(format!("secret `{name}`: {why}"));
                break;
            }
            // The attempt hears of it as well, before it begins.
            Err(Refusal::Stopped) => break,
        }
    }
    let is_stopped = ask.control.asked().is_some();
    if secrets.is_ok() && !is_stopped && !read.is_empty() {
        secrets = ask.give(&read);
    }
    let values: Vec<SecretValue> = read.into_iter().map(|(_, _, value)| without_line_break(value)).collect();
    match Mask::new(&values, patterns) {
        Ok(mask) => Fetched { secrets, mask: mask.map(Arc::new) },
        Err(error) => Fetched { secrets: Err(error.to_string()), mask: None },
    }
}

enum Refusal {
    Because(String),
    Stopped,
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self::Because(why)
    }
}

/// One that was read: its name, how the command gets it, and the bytes as the source has them.
type One<'a> = (&'a str, Given, SecretValue);

impl Ask<'_> {
    /// The bytes of one secret, as the source has them. `known`: those read so far.
    fn read(&self, secret: &str, source: SecretSource<'_>, known: &[One<'_>]) -> Result<SecretValue, Refusal> {
        let (value, of) = match source {
            SecretSource::File(path) => {
                let shown = self.written.path(&["secrets", secret, "file"], Path::new(path), self.directory);
                let of = format!("the file {shown}");
                let value = read_file(&self.directory.join(path), &of, "write it there, or mend the path in `file`")?;
                (value, of)
            }
            SecretSource::Credential(credential) => {
                let name = self.written.text(&["secrets", secret, "credential"], credential);
                let directory = self.inherited.get(OsStr::new("CREDENTIALS_DIRECTORY")).ok_or_else(|| {
                    format!("the runner has no $CREDENTIALS_DIRECTORY; start it from a unit with `LoadCredential={name}:PATH`")
                })?;
                let of = format!("the credential `{name}`");
                let cure = format!("the runner's unit needs `LoadCredential={name}:PATH`");
                let value = read_file(&Path::new(directory).join(credential), &of, &cure)?;
                (value, of)
            }
            SecretSource::Env(variable) => {
                let name = self.written.text(&["secrets", secret, "env"], variable);
                let value = std::env::var_os(variable).ok_or_else(|| {
                    format!("the runner's environment has no variable `{name}`; set it where the runner is started")
                })?;
                (SecretValue::new(value.into_vec()), format!("the variable `{name}` in the runner's environment"))
            }
            SecretSource::Command(command) => (self.run(command, known)?, "what its command prints".to_string()),
        };
        let length = value.reveal().len();
        if length > LARGEST {
            return Err(format!("{of} has more than 1 MiB; a secret that large is given as a path in `env`").into());
        }
        if strip(value.reveal()).is_empty() {
            return Err(format!("{of} is empty; a secret that is missing must not pass for one").into());
        }
        Ok(value)
    }

    /// Runs a command that prints a secret: in the configuration directory, with the runner's environment and the job's.
    fn run(&self, command: &SecretCommand, known: &[One<'_>]) -> Result<SecretValue, Refusal> {
        let mut env = self.inherited.clone();
        env.extend(self.policies.env.iter().map(|(key, value)| (key.into(), value.into())));
        env.insert("RUNNER_JOB".into(), self.facts.firing.job.as_str().into());
        env.insert("RUNNER_RUN_ID".into(), self.facts.run.to_string().into());
        env.insert("PWD".into(), self.directory.into());
        let plan = Plan {
            through_shell: matches!(command, SecretCommand::Shell(_)),
            env: env.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
            timeout: Some(PATIENCE),
            kill_grace: GRACE,
            run: self.facts.run.to_string(),
            attempt: self.facts.attempt,
            groups: self.groups.cloned(),
            // Its group has another name than the run's, which it may outlive for a moment.
            helper: Some(known.len()),
            ..Plan::new(command.argv(), self.directory.to_path_buf())
        };
        match ask(plan, self.control, LARGEST + 1) {
            Answer::Stopped => Err(Refusal::Stopped),
            Answer::Printed(Some(value)) => Ok(value),
            Answer::Printed(None) => Err("its command prints more than 1 MiB".to_string().into()),
            Answer::Failed { why, printed, said } => {
                // It may have told the secret itself, or another one.
                let printed = without_line_break(printed);
                let values = known.iter().map(|(_, _, value)| value).chain([&printed]);
                let text = said.text.reveal();
                let said = match Mask::new(values, Vec::new()) {
                    Ok(None) => String::from_utf8_lossy(&text[said.to_be_hidden..]).into_owned(),
                    Ok(Some(mask)) => mask.rest_of_text(text, said.to_be_hidden),
                    // What cannot be masked is not shown.
                    Err(_) => String::new(),
                };
                let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
                let start = words.char_indices().rev().nth(MOST_WORDS).map_or(0, |(at, _)| at);
                Err(match &words[start..] {
                    "" => format!("its command failed: {why}").into(),
                    words => format!("its command failed: {why}: {words}").into(),
                })
            }
        }
    }

    /// Makes variables and files of what was read.
    fn give(&self, read: &[One<'_>]) -> Result<Secrets, String> {
        let mut secrets = Secrets::default();
        let mut files = Vec::new();
        for (name, given, value) in read {
            match given {
                // A file has every byte: keys in the PEM format are none without their last line break.
                Given::File => files.push((*name, value.reveal())),
                Given::Env => {
                    let value = strip(value.reveal());
                    if value.contains(&0) {
                        return Err(format!(
                            "secret `{name}`: it holds a NUL, which no variable can; write `as: file`"
                        ));
                    }
                    if name.len() + value.len() + 2 > LONGEST_VARIABLE {
                        return Err(format!("secret `{name}`: it is too long for a variable; write `as: file`"));
                    }
                    secrets.env.push(((*name).into(), OsStr::from_bytes(value).into()));
                }
            }
        }
        if !files.is_empty() {
            let run = format!("{}-{}", self.facts.run, self.facts.attempt);
            let put = self
                .shelves
                .put(&run, &files, self.owner)
                .map_err(|error| format!("secret `{}`: no private file could be made for it: {error}", files[0].0))?;
            if !put.are_in_memory() {
                say_once_that_they_are_on_disk(&put.path_of(""));
            }
            secrets.env.extend(files.iter().map(|(name, _)| ((*name).into(), put.path_of(name).into())));
            secrets._files = Some(put);
        }
        let sources = self.policies.secrets.values().filter_map(|secret| match secret.source() {
            Some(SecretSource::Env(name)) => Some(OsString::from(name)),
            _ => None,
        });
        secrets.withheld = sources.collect();
        Ok(secrets)
    }
}

/// How many characters of a command's standard error are shown: the last.
const MOST_WORDS: usize = 300;

fn say_once_that_they_are_on_disk(path: &Path) {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        tracing::warn!(target: "run", "secrets that are given as files lie on a disk, in {}: there is no file system in memory to be used", path.display());
    });
}

/// The bytes of a file, one more than a secret may have at the most.
fn read_file(path: &Path, of: &str, cure: &str) -> Result<SecretValue, String> {
    let read = || -> io::Result<Option<Vec<u8>>> {
        // A fifo would be waited for without end.
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        if !file.metadata()?.is_file() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        file.take(LARGEST as u64 + 1).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    };
    match read() {
        Ok(Some(bytes)) => Ok(SecretValue::new(bytes)),
        Ok(None) => Err(format!("{of} is not a regular file; {cure}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!("{of} does not exist; {cure}")),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(format!(
            "{of} may not be read by the user that the runner runs as; let that user read it, and nobody else"
        )),
        Err(error) => Err(format!("{of} cannot be read: {error}")),
    }
}

/// Without one line break at the end: editors and `echo` put it there.
fn strip(value: &[u8]) -> &[u8] {
    value.strip_suffix(b"\r\n").or_else(|| value.strip_suffix(b"\n")).unwrap_or(value)
}

fn without_line_break(value: SecretValue) -> SecretValue {
    SecretValue::new(strip(value.reveal()).to_vec())
}
