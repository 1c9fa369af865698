use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::file_system::FileSystem;
use crate::trigger::{Backend, Files};

/// One watched path, as it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// As the job's file has it.
    pub written: String,
    /// Absolute; links on the way to it are left as they are.
    pub path: PathBuf,
}

/// How a root is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// By the kernel's events.
    Events,
    /// By looking every now and then, for this reason.
    Polling(String),
    /// It cannot be watched, for this reason; what was known stays as it is.
    Missing(String),
}

impl std::fmt::Display for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Events => f.write_str("events"),
            Self::Polling(why) => write!(f, "polling ({why})"),
            Self::Missing(why) => write!(f, "unhealthy: {why}"),
        }
    }
}

/// The paths of a watch. Relative ones count from `directory`; `~` is `home`.
pub fn roots(files: &Files, directory: &Path, home: Option<&Path>) -> Vec<Root> {
    let path = |written: &String| {
        let below_home = written.strip_prefix('~').and_then(|rest| Some(home?.join(rest.trim_start_matches('/'))));
        // Joining takes a `/` at the end along, and the parts are compared anyway.
        let path = below_home.unwrap_or_else(|| directory.join(written));
        Root { written: written.clone(), path: plain(&path) }
    };
    files.paths.iter().map(path).collect()
}

/// A path without `..`, as ledgers have paths and as they are compared. Where one is in it, links on the way up to the last of them are
/// followed, as the system does; in a path that is not there each takes away the part before it.
pub fn plain(path: &Path) -> PathBuf {
    let parts: Vec<Component<'_>> = path.components().collect();
    let Some(last) = parts.iter().rposition(|part| *part == Component::ParentDir) else {
        return parts.iter().collect();
    };
    let (above, below) = parts.split_at(last + 1);
    let by_words = || {
        above.iter().fold(PathBuf::new(), |mut path, part| {
            match part {
                Component::ParentDir => drop(path.pop()),
                part => path.push(part),
            }
            path
        })
    };
    let above = above.iter().collect::<PathBuf>().canonicalize().unwrap_or_else(|_| by_words());
    above.iter().map(OsString::from).chain(below.iter().map(|part| part.as_os_str().to_os_string())).collect()
}

/// A root that is there.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The directory as it is shown, and the one file in it that is meant.
    pub directory: PathBuf,
    pub only: Option<OsString>,
    /// The directory with all links followed: as the kernel's events name it.
    pub real: PathBuf,
    pub device: u64,
    pub is_empty: bool,
    pub file_system: FileSystem,
}

impl Root {
    /// Looks at what stands at the path.
    ///
    /// # Errors
    /// Nothing that can be watched stands there.
    pub fn open(&self) -> io::Result<Opened> {
        let meta = std::fs::metadata(&self.path)?;
        if !meta.is_dir() && !meta.is_file() {
            return Err(io::Error::other("it is neither a folder nor a file"));
        }
        let (directory, only) = match (self.path.parent(), self.path.file_name()) {
            (Some(parent), Some(name)) if !meta.is_dir() => (parent.to_path_buf(), Some(name.to_os_string())),
            _ => (self.path.clone(), None),
        };
        let real = directory.canonicalize()?;
        let mut entries = std::fs::read_dir(&real)?;
        let device = std::fs::metadata(&real)?.dev();
        let file_system = FileSystem::of(&real)?;
        Ok(Opened { directory, only, device, is_empty: entries.next().is_none(), file_system, real })
    }

    /// How it would be watched, as far as can be seen without watching it.
    pub fn outlook(&self, files: &Files) -> Health {
        match (self.open(), files.backend) {
            (Err(error), _) => Health::Missing(missing(&error)),
            (Ok(_), Backend::Poll) => Health::Polling(as_asked()),
            (Ok(Opened { file_system: FileSystem { remote: Some(name), .. }, .. }), Backend::Auto) => {
                Health::Polling(of_kind(name))
            }
            (Ok(_), Backend::Auto | Backend::Events) => Health::Events,
        }
    }
}

/// Why a path cannot be watched.
pub fn missing(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it is not there".into(),
        io::ErrorKind::PermissionDenied => "it may not be read".into(),
        _ => error.to_string(),
    }
}

pub fn as_asked() -> String {
    "`backend: poll`".into()
}

pub fn of_kind(name: &str) -> String {
    format!("{name} tells of no changes that are made elsewhere")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::rules::tests::files;

    #[test]
    fn paths_are_meant_from_the_home_or_the_configuration() {
        let files = files(serde_json::json!({ "paths": ["~", "~/in/", "in/./x", "/srv"] }));
        let found = roots(&files, Path::new("/etc/runner"), Some(Path::new("/home/u")));
        let paths: Vec<_> = found.iter().map(|root| root.path.to_str().unwrap()).collect();
        assert_eq!(paths, ["/home/u", "/home/u/in", "/etc/runner/in/x", "/srv"]);
    }

    #[test]
    fn a_path_that_goes_up_is_the_one_that_it_leads_to() {
        let files = files(serde_json::json!({ "paths": ["../in", "/missing/a/../../b/c", "/../x"] }));
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(dir.join("else/where")).unwrap();
        std::os::unix::fs::symlink(dir.join("else/where"), dir.join("link")).unwrap();
        let paths =
            |directory: &Path| roots(&files, directory, None).into_iter().map(|root| root.path).collect::<Vec<_>>();
        let others = ["/b/c", "/x"].map(PathBuf::from);
        assert_eq!(paths(&dir.join("else"))[..1], [dir.join("in")]);
        assert_eq!(paths(&dir.join("link"))[..1], [dir.join("else/in")], "as the system takes it");
        assert_eq!(paths(&dir.join("missing/../link"))[1..], others);
    }

    #[test]
    fn a_file_is_its_folder_with_one_name() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "").unwrap();
        let root = |name: &str| Root { written: name.into(), path: dir.path().join(name) };
        let opened = root("a").open().unwrap();
        assert_eq!((opened.directory.as_path(), opened.only.as_deref()), (dir.path(), Some("a".as_ref())));
        assert_eq!(Root { written: "x".into(), path: dir.path().into() }.open().unwrap().only, None);
        let files = files(serde_json::json!({ "paths": ["x"], "backend": "poll" }));
        assert_eq!(root("b").outlook(&files), Health::Missing("it is not there".into()));
        let status = std::process::Command::new("mkfifo").arg(dir.path().join("pipe")).status().unwrap();
        assert!(status.success());
        assert_eq!(root("pipe").outlook(&files), Health::Missing("it is neither a folder nor a file".into()));
        assert_eq!(root("a").outlook(&files), Health::Polling(as_asked()));
    }
}
