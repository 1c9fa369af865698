use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::hash::open_regular;

/// The .gitignore and .ignore files below a watched path.
///
/// Each folder's are read when the folder is first met, whenever it is walked through, and once [`GitIgnores::forget`] was called:
/// changes of these files are noticed like those of any other.
#[derive(Debug, Default)]
pub struct GitIgnores {
    of: HashMap<PathBuf, Arc<[Gitignore]>>,
    /// What counts in the folder that was asked for last, the nearest first: the next path is mostly in the same one.
    last: Option<(PathBuf, Vec<Arc<[Gitignore]>>)>,
}

/// The names of the files; the first one counts before the others.
pub const NAMES: [&str; 2] = [".ignore", ".gitignore"];
/// Such a file has no more than this, in bytes; what is larger is passed over.
const LARGEST: u64 = 1 << 20;

/// A line that leaves something out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoredBy {
    pub file: PathBuf,
    pub pattern: String,
}

impl IgnoredBy {
    /// Which line of the file it is, the first is 1; `None` where the file has changed since. Reads the file: for people who ask, not
    /// for each path.
    pub fn line(&self) -> Option<usize> {
        let text = text_of(&self.file)?;
        let found = text.lines().enumerate().filter(|(_, line)| line.trim_end() == self.pattern.trim_end());
        found.last().map(|(number, _)| number + 1)
    }
}

impl GitIgnores {
    pub fn forget(&mut self) {
        self.of.clear();
        self.last = None;
    }

    /// A folder is about to be read: another one may stand at its path, and nothing need have told of a file in it.
    pub fn reads(&mut self, folder: &Path) {
        self.of.remove(folder);
        self.last = None;
    }

    /// Folders come and go: what is known of those that are gone is forgotten, once that is more than `most`.
    pub fn forget_beyond(&mut self, most: usize) {
        if self.of.len() > most {
            self.forget();
        }
    }

    fn in_folder(&mut self, folder: &Path) -> Arc<[Gitignore]> {
        if let Some(known) = self.of.get(folder) {
            return known.clone();
        }
        let read: Arc<[Gitignore]> = NAMES.iter().filter_map(|name| read(folder, &folder.join(name))).collect();
        self.of.insert(folder.to_path_buf(), read.clone());
        read
    }

    /// Those that count in a folder, the nearest first.
    fn above(&mut self, root: &Path, folder: &Path) -> &[Arc<[Gitignore]>] {
        if self.last.as_ref().is_none_or(|(last, _)| last.as_os_str() != folder.as_os_str()) {
            let folders = folder.ancestors().take_while(|folder| folder.starts_with(root));
            let all = folders.map(|folder| self.in_folder(folder)).filter(|rules| !rules.is_empty()).collect();
            self.last = Some((folder.to_path_buf(), all));
        }
        self.last.as_ref().map(|(_, all)| all.as_slice()).unwrap_or_default()
    }

    /// What leaves `path` out, where no folder on the way to it is.
    pub fn matched(&mut self, root: &Path, path: &Path, is_folder: bool) -> Option<IgnoredBy> {
        // The nearest file that says something decides.
        for all in self.above(root, path.parent()?) {
            for rules in all.iter() {
                match rules.matched(path, is_folder) {
                    Match::None => {}
                    Match::Whitelist(_) => return None,
                    Match::Ignore(glob) => {
                        let file = glob.from().map_or_else(|| rules.path().to_path_buf(), Path::to_path_buf);
                        let pattern = glob.original().to_string();
                        return Some(IgnoredBy { file, pattern });
                    }
                }
            }
        }
        None
    }
}

fn read(folder: &Path, file: &Path) -> Option<Gitignore> {
    let text = text_of(file)?;
    let mut builder = GitignoreBuilder::new(folder);
    for line in text.lines() {
        // Lines that are no patterns are passed over, as git does.
        let _ = builder.add_line(Some(file.to_path_buf()), line);
    }
    builder.build().ok().filter(|rules| !rules.is_empty())
}

/// What such a file holds; nothing where it is none, or too large. Whatever somebody puts in its place: nobody waits for a pipe.
fn text_of(file: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    open_regular(file).ok()?.take(LARGEST + 1).read_to_end(&mut bytes).ok()?;
    let is_whole = bytes.len() as u64 <= LARGEST;
    // A mark of the order of bytes is none of the first pattern.
    let text = String::from_utf8_lossy(&bytes).trim_start_matches('\u{feff}').to_string();
    is_whole.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl GitIgnores {
        /// What leaves `path` out, or a folder on the way to it from `root`. `is_folder`: whether it is one itself.
        fn ignores(&mut self, root: &Path, path: &Path, is_folder: bool) -> Option<IgnoredBy> {
            let below = path.strip_prefix(root).ok()?;
            let mut at = root.to_path_buf();
            let mut parts = below.components().peekable();
            while let Some(part) = parts.next() {
                at.push(part);
                let is_folder = is_folder || parts.peek().is_some();
                if let Some(found) = self.matched(root, &at, is_folder) {
                    return Some(found);
                }
            }
            None
        }
    }

    #[test]
    fn the_nearest_file_decides_and_a_folder_takes_what_is_in_it_along() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir_all(root.join("sub/deep")).unwrap();
        std::fs::write(root.join(".gitignore"), "# words\n*.log\nout/\n").unwrap();
        std::fs::write(root.join("sub/.gitignore"), "!keep.log\n").unwrap();
        std::fs::write(root.join("sub/.ignore"), "*.txt\n").unwrap();
        let mut ignores = GitIgnores::default();
        let mut by = |path: &str| {
            let found = ignores.ignores(root, &root.join(path), false)?;
            let line = found.line().unwrap_or_default();
            Some((found.file.strip_prefix(root).unwrap().display().to_string(), line, found.pattern))
        };
        assert_eq!(by("a.log"), Some((".gitignore".into(), 2, "*.log".into())));
        assert_eq!(by("sub/deep/a.log"), Some((".gitignore".into(), 2, "*.log".into())));
        assert_eq!(by("sub/keep.log"), None);
        assert_eq!(by("out/any"), Some((".gitignore".into(), 3, "out/".into())));
        assert_eq!(by("sub/a.txt"), Some(("sub/.ignore".into(), 1, "*.txt".into())));
        assert_eq!((by("a.txt"), by("out")), (None, None), "a file called out is no folder");
        std::fs::write(root.join(".gitignore"), "").unwrap();
        assert_eq!(by("sub/deep/a.log").map(|(_, line, _)| line), Some(0));
        ignores.forget();
        assert_eq!(ignores.ignores(root, &root.join("a.log"), false), None);
    }

    #[test]
    fn whatever_stands_in_the_place_of_such_a_file_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let (root, file) = (dir.path().to_path_buf(), dir.path().join(".gitignore"));
        std::fs::write(&file, "*.log\n").unwrap();
        let (sender, answers) = std::sync::mpsc::channel();
        let pipe = file.clone();
        std::thread::spawn(move || {
            let mut ignores = GitIgnores::default();
            let found = ignores.ignores(&root, &root.join("a.log"), false).unwrap();
            std::fs::remove_file(&pipe).unwrap();
            rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
            // What is known already, what it is told as, and what is read anew.
            let known = ignores.ignores(&root, &root.join("b.log"), false).is_some();
            let line = found.line();
            ignores.forget();
            sender.send((known, line, ignores.ignores(&root, &root.join("c.log"), false))).unwrap();
        });
        let answer = answers.recv_timeout(std::time::Duration::from_secs(20)).expect("it waits for the pipe");
        assert_eq!(answer, (true, None, None));
        std::fs::remove_file(&file).unwrap();
        let huge = "*.log\n".repeat(LARGEST as usize / 6 + 1);
        std::fs::write(&file, huge).unwrap();
        assert_eq!(GitIgnores::default().ignores(dir.path(), &dir.path().join("a.log"), false), None, "passed over");
    }

    #[test]
    fn folders_that_come_and_go_are_not_remembered_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let mut ignores = GitIgnores::default();
        for n in 0..1_000 {
            ignores.matched(dir.path(), &dir.path().join(format!("{n}/a")), false);
        }
        ignores.forget_beyond(2_000);
        assert!(ignores.of.len() >= 1_000);
        ignores.forget_beyond(100);
        assert_eq!(ignores.of.len(), 0);
    }
}
