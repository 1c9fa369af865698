//! Why a command did not run, or ended badly, in words that carry the cure.

use std::io;
use std::path::Path;

use super::attempt::Plan;
use crate::model::ByteSize;
use crate::os::cgroup::Used;
use crate::os::sandbox::SandboxError;
use crate::os::spawn::SpawnError;
use crate::os::wait::signal_name;

/// Why no sandbox could be made.
pub(super) fn sandbox_failure(plan: &Plan, error: &SandboxError) -> String {
    match error {
        SandboxError::Path { path, error } => {
            format!("`sandbox.write`: {} cannot be opened: {error}", plan.shown(path))
        }
        SandboxError::Rules(_) => error.to_string(),
    }
}

/// Why no command ran.
pub(super) fn spawn_failure(plan: &Plan, error: &SpawnError) -> String {
    let directory = plan.shown(&plan.directory);
    match error {
        SpawnError::Process(error) if error.raw_os_error() == Some(libc::EAGAIN) => {
            format!("no process could be made: the limit on processes is reached ({error})")
        }
        SpawnError::Process(error) => format!("no process could be made: {error}"),
        SpawnError::Confine(what, error) => format!("the command was not started: {what}: {error}"),
        SpawnError::Setup(error) => format!("the process could not be made ready: {error}"),
        SpawnError::Directory(error) => match error.kind() {
            io::ErrorKind::NotFound => format!("the working directory {directory} does not exist"),
            io::ErrorKind::NotADirectory => format!("the working directory {directory} is not a directory"),
            io::ErrorKind::PermissionDenied => format!("the working directory {directory} may not be entered"),
            _ => format!("the working directory {directory} cannot be entered: {error}"),
        },
        SpawnError::Program(error) => program_failure(plan, error),
    }
}

fn program_failure(plan: &Plan, error: &io::Error) -> String {
    let program = &*plan.argv.first().map(|program| program.to_string_lossy()).unwrap_or_default();
    let at = plan.directory.join(program);
    match error.raw_os_error() {
        Some(libc::ENOENT) if plan.through_shell => {
            format!("the shell {program} was not found; write the command as a list to run it without a shell")
        }
        Some(libc::ENOENT | libc::ENOTDIR) if !program.contains('/') => {
            format!("command not found: `{program}` is in no directory of PATH")
        }
        Some(libc::ENOENT) if at.exists() => match interpreter(&at) {
            Some(name) => format!("`{program}` cannot be run: its interpreter `{name}` was not found"),
            None => format!("`{program}` cannot be run: its interpreter or loader was not found"),
        },
        Some(libc::ENOENT | libc::ENOTDIR) if program.starts_with('/') => {
            format!("command not found: `{program}` does not exist")
        }
        Some(libc::ENOENT | libc::ENOTDIR) => {
            format!("command not found: `{program}` does not exist, as seen from {}", plan.shown(&plan.directory))
        }
        Some(libc::EACCES) if at.is_dir() && program.contains('/') => {
            format!("`{program}` is a directory, not a program")
        }
        Some(libc::EACCES) if program.contains('/') => {
            format!("`{program}` is not executable; `chmod +x {program}` makes it so")
        }
        Some(libc::EACCES) => format!("`{program}` was found along PATH but is not executable"),
        Some(libc::ENOEXEC) => {
            format!("`{program}` is not a program: a script needs a first line such as `#!/bin/sh`")
        }
        Some(libc::E2BIG) => "the arguments and the environment together are too long for the system".into(),
        Some(libc::ETXTBSY) => format!("`{program}` is still being written to"),
        _ => format!("`{program}` cannot be run: {error}"),
    }
}

/// The interpreter that a script's first line names.
fn interpreter(script: &Path) -> Option<String> {
    let mut start = [0u8; 256];
    let count = io::Read::read(&mut std::fs::File::open(script).ok()?, &mut start).ok()?;
    let line = start[..count].strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?;
    let name = String::from_utf8_lossy(line);
    name.split_whitespace().next().map(str::to_string)
}

/// What an exit that is no success means.
pub(super) fn bad_exit(plan: &Plan, code: Option<i32>, signal: Option<i32>) -> String {
    match (code, signal) {
        (_, Some(signal)) => format!("ended by {}", signal_name(signal)),
        (Some(127), _) if plan.through_shell => "exit code 127: the shell did not find a command".into(),
        (Some(126), _) if plan.through_shell => {
            "exit code 126: the shell found a command that is not executable".into()
        }
        (Some(code), _) if plan.through_shell && code > 128 && code <= 128 + 64 => {
            format!("exit code {code}: a command of the shell was ended by {}", signal_name(code - 128))
        }
        (Some(code), _) => format!("exit code {code}"),
        (None, None) => "ended in a way that the system does not tell".into(),
    }
}

/// That the kernel killed processes of the attempt because it had no memory left, if that was so.
pub(super) fn out_of_memory(plan: &Plan, used: Option<Used>) -> Option<String> {
    let most = plan.limits.in_group.memory?;
    used.is_some_and(|used| used.killed_for_memory > 0).then(|| format!("killed: memory limit {}", ByteSize(most)))
}

/// That so many hundredths of the memory limit are used, if they are.
pub(super) fn most_of_memory(most: Option<u64>, used: Option<u64>, hundredths: u32) -> Option<String> {
    let (most, used) = (most?, used?);
    let is_so = u128::from(used) * 100 >= u128::from(most) * u128::from(hundredths);
    is_so.then(|| format!("{hundredths} % of its memory limit of {} is used", ByteSize(most)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_group_tells_of_memory_is_said() {
        let mut limited = plan();
        limited.limits.in_group.memory = Some(512 << 20);
        let killed = |count| Some(Used { killed_for_memory: count, ..Used::default() });
        assert_eq!(out_of_memory(&limited, killed(1)).as_deref(), Some("killed: memory limit 512MiB"));
        assert_eq!((out_of_memory(&limited, killed(0)), out_of_memory(&limited, None)), (None, None));
        assert_eq!(out_of_memory(&plan(), killed(1)), None, "somebody else's limit");
        let most = |used| most_of_memory(Some(1 << 30), used, 80);
        assert_eq!(most(Some(858_993_460)).as_deref(), Some("80 % of its memory limit of 1GiB is used"));
        assert_eq!((most(Some(858_993_459)), most(None), most_of_memory(None, Some(1), 80)), (None, None, None));
    }

    fn plan() -> Plan {
        Plan::new(vec!["./job"], "/srv/x".into())
    }

    #[test]
    fn what_the_system_refuses_is_said_with_its_cause() {
        let said = |error: SpawnError| spawn_failure(&plan(), &error);
        let os = io::Error::from_raw_os_error;
        for (error, expected) in [
            (SpawnError::Process(os(libc::EAGAIN)), "no process could be made: the limit on processes is reached ("),
            (SpawnError::Process(os(libc::ENOMEM)), "no process could be made: Cannot allocate memory"),
            (SpawnError::Setup(os(libc::EMFILE)), "the process could not be made ready: Too many open files"),
            (SpawnError::Directory(os(libc::EACCES)), "the working directory /srv/x may not be entered"),
            (SpawnError::Program(os(libc::EIO)), "`./job` cannot be run: Input/output error"),
        ] {
            let text = said(error);
            assert!(text.starts_with(expected), "{text}");
        }
    }

    #[test]
    fn a_program_whose_loader_is_missing_is_not_called_missing() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("job"), "\x7fELF").unwrap();
        let plan = Plan { directory: directory.path().into(), ..plan() };
        let text = spawn_failure(&plan, &SpawnError::Program(io::Error::from_raw_os_error(libc::ENOENT)));
        assert_eq!(text, "`./job` cannot be run: its interpreter or loader was not found");
    }

    #[test]
    fn an_end_that_the_system_does_not_tell_is_said_to_be_one() {
        assert_eq!(bad_exit(&plan(), None, None), "ended in a way that the system does not tell");
    }
}
