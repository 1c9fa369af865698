use std::path::Path;
use std::process::{Command, Stdio};

/// The commit of the repository that holds `directory`; `None` if there is no repository, or no `git`.
pub(super) fn commit_of(directory: &Path) -> Option<String> {
    let directory = directory.canonicalize().ok()?;
    // Most directories that are in no repository are told without starting a program.
    directory.ancestors().find(|above| above.join(".git").exists())?;
    let _own = crate::os::orphans::keep_off();
    let output = Command::new("git")
        .arg("-C")
        .arg(&directory)
        .args(["rev-parse", "--verify", "--quiet", "HEAD"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let commit = text.trim();
    (output.status.success() && !commit.is_empty()).then(|| commit.to_string())
}
