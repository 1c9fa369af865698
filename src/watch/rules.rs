use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use globset::{Glob, GlobSet, GlobSetBuilder};

use super::gitignore::{GitIgnores, IgnoredBy, NAMES};
use super::root::plain;
use crate::trigger::{Files, Pattern};

/// What the rules of a watch say of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It counts, by this pattern; by none, where all do.
    Matched(Option<String>),
    /// It is none of the files that are meant.
    NotMatched,
    /// It says that another file is complete.
    DoneFile,
    Ignored(Why),
}

/// What leaves a path out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// A pattern of `ignore`.
    Pattern(String),
    /// A name that stands for something that is not complete, or an editor's own.
    Temporary(&'static str),
    /// A line of a .gitignore or .ignore file.
    Line(IgnoredBy),
    /// It is such a file itself.
    RulesFile,
    /// The repository's own folder.
    Repository,
    /// The runner's own logs.
    Logs,
    /// Where processed files are moved to.
    Afterwards(PathBuf),
    /// It is in a folder below, and only the files of the folder itself are watched.
    Below,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pattern(pattern) => write!(f, "`{pattern}` in `ignore`"),
            Self::Temporary(pattern) => {
                write!(f, "names like `{pattern}` are those of incomplete files or of copies that an editor keeps")
            }
            Self::Line(by @ IgnoredBy { file, pattern }) => match by.line() {
                Some(line) => write!(f, "`{pattern}` in {}:{line}", file.display()),
                None => write!(f, "`{pattern}` in {}", file.display()),
            },
            Self::RulesFile => f.write_str("it says itself what is left out (`gitignore`)"),
            Self::Repository => f.write_str("a repository's own folder"),
            Self::Logs => f.write_str("the runner's own logs"),
            Self::Afterwards(folder) => write!(f, "processed files are moved to {}", folder.display()),
            Self::Below => f.write_str("`recursive: false`"),
        }
    }
}

/// Names of files that are not complete, and leftovers of editors and file systems.
const TEMPORARY: [&str; 12] = [
    "*.part",
    "*.tmp",
    ".~*",
    "*.crdownload",
    "*.filepart",
    "*.partial",
    "*~",
    ".*.sw[a-p]",
    ".#*",
    "#*#",
    ".nfs[0-9a-f]*",
    ".DS_Store",
];

/// Whether a name may be one of them.
static TEMPORARY_NAMES: LazyLock<GlobSet> = LazyLock::new(|| {
    let globs = TEMPORARY.iter().filter_map(|text| Glob::new(text).ok());
    globs
        .fold(GlobSetBuilder::new(), |mut all, glob| {
            all.add(glob);
            all
        })
        .build()
        .unwrap_or_default()
});

static TEMPORARY_PATTERNS: LazyLock<Vec<(&'static str, Pattern)>> =
    LazyLock::new(|| TEMPORARY.iter().filter_map(|text| Some((*text, Pattern::new(text).ok()?))).collect());

/// The rules of a watch for one of its paths.
#[derive(Debug)]
pub struct Rules {
    files: Arc<Files>,
    /// The watched directory, as it is shown.
    root: PathBuf,
    /// Where the runner writes; nothing, where that is neither below the watched directory nor above it.
    logs: Option<PathBuf>,
    afterwards: Vec<PathBuf>,
    /// Of a single file: its name.
    only: Option<std::ffi::OsString>,
    ignores: GitIgnores,
}

impl Rules {
    /// `root` is the directory; `only`: the one file in it that is meant.
    pub fn new(files: Arc<Files>, root: PathBuf, only: Option<std::ffi::OsString>, logs: PathBuf) -> Self {
        let moved = [&files.on_success, &files.on_failure];
        let afterwards = moved.into_iter().flatten().map(|folder| root.join(folder.trim_end_matches('/'))).collect();
        let logs = plain(&logs);
        let logs = (logs.starts_with(&root) || root.starts_with(&logs)).then_some(logs);
        Self { files, root, logs, afterwards, only, ignores: GitIgnores::default() }
    }

    /// A path from the watched directory on.
    fn below<'a>(&self, path: &'a Path) -> Option<&'a Path> {
        let rest = path.as_os_str().as_bytes().strip_prefix(self.root.as_os_str().as_bytes());
        match rest.and_then(|rest| rest.strip_prefix(b"/")) {
            // As nearly all are written: a comparison part by part takes much longer.
            Some(rest) if !rest.starts_with(b"/") => Some(Path::new(OsStr::from_bytes(rest))),
            _ => path.strip_prefix(&self.root).ok(),
        }
    }

    fn is_in_logs(&self, path: &Path) -> bool {
        self.logs.as_ref().is_some_and(|logs| path.starts_with(logs))
    }

    /// The rules' own files have changed.
    pub fn forget(&mut self) {
        self.ignores.forget();
    }

    /// A folder is about to be read, and what its own files say with it.
    pub fn reads(&mut self, folder: &Path) {
        if self.files.gitignore {
            self.ignores.reads(folder);
        }
    }

    /// So many folders were found: what is known of many more is of some that are gone.
    pub fn has_folders(&mut self, count: usize) {
        self.ignores.forget_beyond(2 * count + 1_000);
    }

    /// Whether a file of this name is part of the rules.
    pub fn are_in(&self, name: &OsStr) -> bool {
        self.files.gitignore && NAMES.iter().any(|own| name == *own)
    }

    /// What is said of a file, and of the folders on the way to it.
    pub fn judge(&mut self, path: &Path) -> Verdict {
        let Ok(below) = path.strip_prefix(&self.root) else { return Verdict::NotMatched };
        let folders: Vec<&Path> = below.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()).collect();
        for folder in folders.into_iter().rev() {
            let folder = self.root.join(folder);
            if let Some(why) = self.leaves_folder_out(&folder) {
                return Verdict::Ignored(why);
            }
        }
        self.judge_here(path)
    }

    /// The same, where no folder on the way is left out.
    pub fn judge_here(&mut self, path: &Path) -> Verdict {
        let Some(below) = self.below(path) else { return Verdict::NotMatched };
        let Some(name) = path.file_name() else { return Verdict::NotMatched };
        if let Some(only) = &self.only {
            return if below == Path::new(only) { Verdict::Matched(None) } else { Verdict::NotMatched };
        }
        if self.is_in_logs(path) {
            return Verdict::Ignored(Why::Logs);
        }
        if self.files.done_file.as_ref().is_some_and(|done| done.is_one(name)) {
            return Verdict::DoneFile;
        }
        if let Some(pattern) = self.files.ignore.iter().find(|pattern| pattern.covers(below)) {
            return Verdict::Ignored(Why::Pattern(pattern.text.clone()));
        }
        // Most names are none of them, and that is asked of all of these at once.
        if TEMPORARY_NAMES.is_match(name) {
            let temporary = TEMPORARY_PATTERNS.iter().find(|(_, pattern)| pattern.matches(below));
            if let Some((text, _)) = temporary.filter(|(text, _)| !self.names(text)) {
                return Verdict::Ignored(Why::Temporary(text));
            }
        }
        let by = self.files.patterns.iter().find(|pattern| pattern.matches(below));
        if by.is_none() && !self.files.patterns.is_empty() {
            return Verdict::NotMatched;
        }
        if by.is_none() && self.are_in(name) {
            return Verdict::Ignored(Why::RulesFile);
        }
        if self.files.gitignore
            && let Some(line) = self.ignores.matched(&self.root, path, false)
        {
            return Verdict::Ignored(Why::Line(line));
        }
        Verdict::Matched(by.map(|pattern| pattern.text.clone()))
    }

    /// Whether the watch's own patterns ask for such names.
    fn names(&self, temporary: &str) -> bool {
        let ending = temporary.trim_start_matches('*');
        self.files.patterns.iter().any(|pattern| {
            pattern.text.ends_with(ending) || (temporary.starts_with('.') && pattern.text.starts_with(&temporary[..2]))
        })
    }

    /// Why the files in a folder are left out, where the folders above are not.
    pub fn leaves_folder_out(&mut self, folder: &Path) -> Option<Why> {
        let below = folder.strip_prefix(&self.root).ok()?;
        if below.as_os_str().is_empty() {
            return None;
        }
        if !self.files.recursive || self.only.is_some() {
            return Some(Why::Below);
        }
        if self.is_in_logs(folder) {
            return Some(Why::Logs);
        }
        if let Some(moved) = self.afterwards.iter().find(|moved| folder.starts_with(moved)) {
            return Some(Why::Afterwards(moved.clone()));
        }
        if let Some(pattern) = self.files.ignore.iter().find(|pattern| pattern.covers_folder(below)) {
            return Some(Why::Pattern(pattern.text.clone()));
        }
        if self.files.gitignore {
            if folder.file_name().is_some_and(|name| [".git", ".hg", ".svn", ".jj"].iter().any(|own| name == *own)) {
                return Some(Why::Repository);
            }
            return self.ignores.matched(&self.root, folder, true).map(Why::Line);
        }
        None
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::trigger::{Armed, Trigger, TriggerContext};

    /// A watch in force, from what stands behind `watch:`.
    pub fn files(json: serde_json::Value) -> Arc<Files> {
        let trigger = Trigger::from_value("watch", json).unwrap().unwrap();
        match trigger.arm(TriggerContext::of("job", &jiff::tz::TimeZone::UTC)) {
            Some(Armed::AtFiles(files)) => files,
            other => panic!("{other:?}: {:?}", trigger.problems(TriggerContext::of("job", &jiff::tz::TimeZone::UTC))),
        }
    }

    fn rules(root: &Path, more: serde_json::Value) -> Rules {
        let mut map = serde_json::json!({ "paths": ["in"] });
        map.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Rules::new(files(map), root.into(), None, root.join("logs"))
    }

    #[test]
    fn each_rule_says_that_it_was_the_one() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(".gitignore"), "*.log\n").unwrap();
        let json = serde_json::json!({
            "patterns": ["*.{pdf,log}", "sub/*.txt"], "ignore": ["drafts/**"], "done_file": "{name}.done",
            "on_success": { "move": "done/" },
        });
        let mut rules = rules(dir.path(), json);
        let mut judge = |below: &str| rules.judge(&dir.path().join(below));
        assert_eq!(judge("a.pdf"), Verdict::Matched(Some("*.{pdf,log}".into())));
        assert_eq!(judge("sub/a.txt"), Verdict::Matched(Some("sub/*.txt".into())));
        assert_eq!(judge("a.txt"), Verdict::NotMatched);
        assert_eq!(judge("a.pdf.done"), Verdict::DoneFile);
        for (below, words) in [
            ("drafts/deep/a.pdf", "`drafts/**` in `ignore`"),
            ("a.log", "`*.log` in "),
            (".git/a.pdf", "a repository's own folder"),
            ("logs/a.pdf", "the runner's own logs"),
            ("done/a.pdf", "processed files are moved to"),
            (".~lock.a.pdf", "`.~*`"),
        ] {
            match judge(below) {
                Verdict::Ignored(why) => assert!(why.to_string().contains(words), "{below}: {why}"),
                other => panic!("{below}: {other:?}"),
            }
        }
    }

    #[test]
    fn names_of_incomplete_files_are_left_out_unless_they_are_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut all = rules(dir.path(), serde_json::json!({}));
        for name in ["a.part", "a.tmp", ".~a", "a.crdownload", "a~", ".a.swp", ".#a", "#a#", ".nfs01"] {
            assert!(matches!(all.judge(&dir.path().join(name)), Verdict::Ignored(Why::Temporary(_))), "{name}");
        }
        assert_eq!(all.judge(&dir.path().join(".hidden")), Verdict::Matched(None));
        let mut asked = rules(dir.path(), serde_json::json!({ "patterns": ["*.tmp"] }));
        assert_eq!(asked.judge(&dir.path().join("a.tmp")), Verdict::Matched(Some("*.tmp".into())));
        assert_eq!(all.judge(&dir.path().join("sub/.gitignore")), Verdict::Ignored(Why::RulesFile));
        let mut asked = rules(dir.path(), serde_json::json!({ "patterns": [".*"] }));
        assert_eq!(asked.judge(&dir.path().join(".gitignore")), Verdict::Matched(Some(".*".into())));
        let mut without = rules(dir.path(), serde_json::json!({ "gitignore": false }));
        assert_eq!(without.judge(&dir.path().join(".gitignore")), Verdict::Matched(None));
        let mut flat = rules(dir.path(), serde_json::json!({ "recursive": false }));
        assert_eq!(flat.judge(&dir.path().join("sub/a")), Verdict::Ignored(Why::Below));
        assert_eq!(flat.judge(&dir.path().join("a")), Verdict::Matched(None));
    }
}
