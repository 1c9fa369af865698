use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// How long git may take: a file system that hangs must not hold up the runner.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of these, git would take the commit of another repository than the one that it is asked about.
const NAMES_OF_OTHERS: [&str; 4] = ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR"];

/// The commit of the repository that holds `directory`; `None` if there is no repository, or no `git`.
pub(super) fn commit_of(directory: &Path) -> Option<String> {
    let directory = directory.canonicalize().ok()?;
    // Most directories that are in no repository are told without starting a program.
    directory.ancestors().find(|above| above.join(".git").exists())?;
    ask("git".as_ref(), &directory, PATIENCE)
}

fn ask(git: &OsStr, directory: &Path, patience: Duration) -> Option<String> {
    let _own = crate::os::orphans::keep_off();
    let mut command = Command::new(git);
    command.arg("-C").arg(directory).args(["rev-parse", "--verify", "--quiet", "HEAD"]);
    for name in NAMES_OF_OTHERS {
        command.env_remove(name);
    }
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::piped()).spawn().ok()?;
    if !ends_within(&child, patience) {
        tracing::warn!(target: "catalog", "git was ended, it did not tell the commit of {} within {patience:?}", directory.display());
        let _ = child.kill();
        // One that hangs in the kernel goes later, and is reaped like any orphan.
        if ends_within(&child, Duration::from_millis(100)) {
            let _ = child.wait();
        }
        return None;
    }
    let status = child.wait().ok()?;
    let text = first_bytes(&mut child)?;
    let commit = text.trim();
    (status.success() && !commit.is_empty()).then(|| commit.to_string())
}

/// Waits for the child's end, and leaves it to be reaped.
fn ends_within(child: &Child, patience: Duration) -> bool {
    let Ok(pidfd) = pidfd_open(Pid::from_child(child), PidfdFlags::empty()) else { return false };
    let end = Instant::now() + patience;
    loop {
        let left = Timespec::try_from(end.saturating_duration_since(Instant::now())).ok();
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], left.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            ended => return ended.is_ok_and(|count| count > 0),
        }
    }
}

/// What a child that has ended left in its pipe: a commit fits. Never waits for others that have the pipe as well.
fn first_bytes(child: &mut Child) -> Option<String> {
    let mut pipe = child.stdout.take()?;
    let ready = poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&Timespec::default())).ok()?;
    let mut bytes = [0; 256];
    let count = if ready > 0 { pipe.read(&mut bytes).ok()? } else { 0 };
    String::from_utf8(bytes.get(..count)?.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn ask_script(text: &str, patience: Duration) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("git");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        ask(path.as_os_str(), dir.path(), patience)
    }

    #[test]
    fn a_git_that_hangs_is_given_up() {
        let since = Instant::now();
        assert_eq!(ask_script("echo abc; exec sleep 60", Duration::from_millis(200)), None);
        assert!(since.elapsed() < Duration::from_secs(8));
    }

    #[test]
    fn what_git_prints_counts_if_it_succeeds_whoever_else_has_its_pipe() {
        let since = Instant::now();
        assert_eq!(ask_script("echo abc; sleep 9 & exit 0", PATIENCE), Some("abc".into()));
        assert_eq!(ask_script("echo abc; exit 1", PATIENCE), None);
        assert_eq!(ask_script("sleep 9 & exit 0", PATIENCE), None);
        assert!(since.elapsed() < Duration::from_secs(8));
    }
}
