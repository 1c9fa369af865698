//! Who is told of which directory, under whichever of its paths.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Something that may have happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// At this path.
    At(PathBuf, What),
    /// The kernel lost count: anything may have happened.
    Lost,
}

/// What may have happened at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    /// Something was made there, not yet filled perhaps.
    Made,
    /// A directory was made there, or moved there.
    Directory,
    /// It was written to.
    Written,
    /// Its attributes changed.
    Touched,
    /// Who had it open for writing has closed it.
    Closed,
    /// It was moved there.
    MovedIn,
    /// It is not there any more.
    Gone,
    /// A directory, of which nothing was told for a moment, nor of what is in it: what came, changed or was closed then is unknown.
    Gap,
}

/// Who is told.
pub(super) type Listener = Arc<dyn Fn(Hint) + Send + Sync>;

/// Device and number of a directory: for each the kernel has one watch, and whoever reads its events one path.
pub(super) type Inode = (u64, u64);

#[derive(Default)]
pub(super) struct Routes {
    next: u64,
    listeners: HashMap<u64, Listener>,
    /// Who wants to know of what is in each directory, and of itself.
    directories: HashMap<Arc<Path>, Directory>,
    /// The paths of each of them: more than one where it is mounted twice, or was moved and is not let go of yet.
    paths: HashMap<Inode, Vec<Arc<Path>>>,
    /// How many have more than one.
    with_others: usize,
}

struct Directory {
    who: Vec<u64>,
    inode: Inode,
}

/// What a directory has left that has one path less.
pub(super) struct Left {
    pub inode: Inode,
    pub paths: Vec<Arc<Path>>,
}

impl Routes {
    pub fn listen(&mut self, listener: Listener) -> u64 {
        self.next += 1;
        self.listeners.insert(self.next, listener);
        self.next
    }

    /// That one wants to know of the directory at a path. Where another one stood there: what that one has left.
    pub fn enter(&mut self, directory: &Path, id: u64, inode: Inode) -> Option<Left> {
        let (path, before) = match self.directories.get_mut(directory) {
            Some(known) => {
                if !known.who.contains(&id) {
                    known.who.push(id);
                }
                if known.inode == inode {
                    return None;
                }
                let before = std::mem::replace(&mut known.inode, inode);
                let known = self.directories.get_key_value(directory).map(|(path, _)| path.clone());
                (known.unwrap_or_else(|| directory.into()), Some(before))
            }
            None => {
                let path: Arc<Path> = directory.into();
                self.directories.insert(path.clone(), Directory { who: vec![id], inode });
                (path, None)
            }
        };
        match self.paths.get_mut(&inode) {
            Some(paths) => {
                self.with_others += usize::from(paths.len() == 1);
                paths.push(path);
            }
            None => drop(self.paths.insert(inode, vec![path])),
        }
        before.map(|before| self.forget_path(directory, before))
    }

    /// The directory has that path no more.
    fn forget_path(&mut self, directory: &Path, inode: Inode) -> Left {
        let Some(paths) = self.paths.get_mut(&inode) else { return Left { inode, paths: Vec::new() } };
        let count = paths.len();
        paths.retain(|path| **path != *directory);
        self.with_others -= usize::from(count > 1 && paths.len() == 1);
        let paths = paths.clone();
        if paths.is_empty() {
            self.paths.remove(&inode);
        }
        Left { inode, paths }
    }

    /// That one wants to know of a directory no more. Where nobody does under that path: what it has left.
    pub fn leave(&mut self, directory: &Path, id: u64) -> Option<Left> {
        let known = self.directories.get_mut(directory)?;
        known.who.retain(|other| *other != id);
        if !known.who.is_empty() {
            return None;
        }
        let inode = known.inode;
        self.directories.remove(directory);
        Some(self.forget_path(directory, inode))
    }

    /// That one is told nothing any more. Which directories it wanted to know of.
    pub fn forget(&mut self, id: u64) -> Vec<Arc<Path>> {
        self.listeners.remove(&id);
        let own = self.directories.iter().filter(|(_, directory)| directory.who.contains(&id));
        own.map(|(path, _)| path.clone()).collect()
    }

    /// Something may have happened at a path, as whoever reads the events calls it.
    pub fn tell(&self, path: PathBuf, what: What) {
        if self.with_others > 0 {
            self.tell_of_others(&path, what);
        }
        self.of(&path).for_each(|listener| listener(Hint::At(path.clone(), what)));
    }

    /// The kernel lost count.
    pub fn tell_of_loss(&self) {
        self.listeners.values().for_each(|listener| listener(Hint::Lost));
    }

    /// Nothing was told of a directory for a moment.
    pub fn tell_of_gap(&self, directory: &Path) {
        self.of_directory(directory).for_each(|listener| listener(Hint::At(directory.into(), What::Gap)));
    }

    /// Nothing is told of a directory any more, and its listeners do not know.
    pub fn tell_of_end(&self, directory: &Path) {
        self.of_directory(directory).for_each(|listener| listener(Hint::Lost));
    }

    fn of_directory(&self, directory: &Path) -> impl Iterator<Item = &Listener> {
        self.who(directory).iter().filter_map(|id| self.listeners.get(id))
    }

    fn who(&self, directory: &Path) -> &[u64] {
        self.directories.get(directory).map(|directory| directory.who.as_slice()).unwrap_or_default()
    }

    fn of<'a>(&'a self, path: &Path) -> impl Iterator<Item = &'a Listener> + use<'a> {
        let own = self.who(path);
        let above = path.parent().map(|parent| self.who(parent)).unwrap_or_default();
        let twice = move |id: &&u64| !above.contains(id);
        own.iter().filter(twice).chain(above).filter_map(|id| self.listeners.get(id))
    }

    /// The other paths of the directory that stands at one.
    fn others<'a>(&'a self, directory: &'a Path) -> impl Iterator<Item = &'a Arc<Path>> {
        let known = self.directories.get(directory);
        let paths = known.and_then(|known| self.paths.get(&known.inode)).map(Vec::as_slice).unwrap_or_default();
        paths.iter().filter(move |path| ***path != *directory)
    }

    fn tell_of_others(&self, path: &Path, what: What) {
        let mut told = Vec::new();
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
            for other in self.others(parent) {
                let path = other.join(name);
                self.of(&path).for_each(|listener| listener(Hint::At(path.clone(), what)));
                told.push(path);
            }
        }
        for other in self.others(path).filter(|other| !told.iter().any(|told| **told == ***other)) {
            // It is gone from one of its places; whoever reads the events lets go of its watch then.
            let what = if what == What::Gone { What::Gap } else { what };
            self.of_directory(other).for_each(|listener| listener(Hint::At(other.to_path_buf(), what)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_of_a_directory_are_known_as_they_come_and_go() {
        let mut routes = Routes::default();
        let (a, b, c) = (Path::new("/a"), Path::new("/b"), Path::new("/c"));
        let paths =
            |left: Option<Left>| left.map(|left| left.paths.iter().map(|path| path.to_path_buf()).collect::<Vec<_>>());
        assert!(routes.enter(a, 1, (1, 1)).is_none() && routes.enter(a, 1, (1, 1)).is_none());
        assert_eq!(routes.with_others, 0);
        assert!(routes.enter(b, 1, (1, 1)).is_none() && routes.enter(b, 2, (1, 1)).is_none());
        assert!(routes.enter(c, 2, (1, 1)).is_none());
        assert_eq!(routes.with_others, 1);
        assert_eq!(paths(routes.leave(a, 2)), None, "who never wanted to know of it");
        // Another one stands there now.
        assert_eq!(paths(routes.enter(c, 2, (1, 2))), Some(vec!["/a".into(), "/b".into()]));
        assert_eq!(paths(routes.leave(b, 1)), None, "somebody else wants to know of it");
        assert_eq!(paths(routes.leave(b, 2)), Some(vec!["/a".into()]));
        assert_eq!(routes.with_others, 0);
        assert_eq!(paths(routes.enter(c, 2, (1, 1))), Some(vec![]));
        assert_eq!(routes.with_others, 1);
        assert_eq!(paths(routes.leave(a, 1)), Some(vec!["/c".into()]));
        assert_eq!(paths(routes.leave(c, 2)), Some(vec![]));
        assert_eq!((routes.with_others, routes.paths.len(), routes.directories.len()), (0, 0, 0));
    }
}
