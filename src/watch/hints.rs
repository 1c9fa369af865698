use std::collections::HashMap;
use std::path::PathBuf;

use crate::os::file_events::{Hint, What};

/// What was told since the thread looked last: one word for each path, in the order in which the paths were first told of.
#[derive(Debug, Default)]
pub struct Hints {
    order: Vec<PathBuf>,
    what: HashMap<PathBuf, What>,
    /// Where something went and something else was told of after that.
    pub replaced: Vec<PathBuf>,
    /// The kernel lost count.
    pub lost: bool,
    pub mounts: bool,
    /// Somebody asks for a scan.
    pub scan: Option<&'static str>,
    last: Option<What>,
}

impl Hints {
    pub fn add(&mut self, hint: Hint) {
        let (path, what) = match hint {
            Hint::Lost => {
                self.lost = true;
                return;
            }
            Hint::At(path, what) => (path, what),
        };
        self.last = Some(what);
        match self.what.get_mut(&path) {
            Some(before) => {
                if *before == What::Gone && !matches!(what, What::Gone | What::Touched) {
                    self.replaced.push(path);
                }
                *before = after(*before, what);
            }
            None => {
                self.order.push(path.clone());
                self.what.insert(path, what);
            }
        }
    }

    /// Whether what was told last is mostly followed by more of the same file.
    pub fn is_in_progress(&self) -> bool {
        matches!(self.last, Some(What::Made | What::Written))
    }

    pub fn into_paths(self) -> impl Iterator<Item = (PathBuf, What)> {
        let Self { order, mut what, .. } = self;
        order.into_iter().filter_map(move |path| what.remove_entry(&path))
    }
}

/// What is known of a path after one more thing was told of it.
fn after(before: What, told: What) -> What {
    match (before, told) {
        // Attributes say nothing about whether somebody writes to it.
        (before, What::Touched) => before,
        // Whatever came after, what was missed is unknown still; where the directory is gone, so is what was in it.
        (What::Gap, told) if told != What::Gone => What::Gap,
        // Setting a directory's time, as tar does, is told of as a write to it.
        (What::Directory, What::Written) => What::Directory,
        // Written to in its place, it is in progress: who made it has not closed it.
        (What::Made, What::Written) => What::Written,
        (_, told) => told,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_was_told_last_counts_for_each_path() {
        let mut hints = Hints::default();
        let told = [
            ("/f", What::Directory),
            ("/f", What::Written),
            ("/b", What::Made),
            ("/a", What::Made),
            ("/b", What::Written),
            ("/b", What::Closed),
            ("/b", What::Touched),
            ("/a", What::Written),
            ("/c", What::Gone),
            ("/c", What::MovedIn),
            ("/d", What::Gap),
            ("/d", What::Directory),
            ("/e", What::Gap),
            ("/e", What::Gone),
        ];
        for (path, what) in told {
            hints.add(Hint::At(path.into(), what));
        }
        assert!(!hints.is_in_progress());
        hints.add(Hint::Lost);
        assert!(hints.lost);
        assert_eq!(hints.replaced, [Path::new("/c")]);
        let paths: Vec<_> = hints.into_paths().map(|(path, what)| (path.display().to_string(), what)).collect();
        let expected = [
            ("/f", What::Directory),
            ("/b", What::Closed),
            ("/a", What::Written),
            ("/c", What::MovedIn),
            ("/d", What::Gap),
            ("/e", What::Gone),
        ];
        assert_eq!(paths, expected.map(|(path, what)| (path.to_string(), what)));
    }
}
