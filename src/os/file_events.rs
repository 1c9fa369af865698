//! What the kernel tells of changed files: one watcher for everybody who wants to know.
//!
//! Events are hints. Each names a path at which something may have changed; whoever gets it looks there. Directories are watched one
//! by one, never whole trees, so that who needs to know which ones are watched does.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RemoveKind, RenameMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::model::lock;

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
}

/// Who is told.
type Listener = Arc<dyn Fn(Hint) + Send + Sync>;

/// The one watcher of this process.
#[derive(Clone, Default)]
pub struct Hub {
    watcher: Arc<Mutex<Option<RecommendedWatcher>>>,
    /// Held while somebody begins or ceases to want to know of a directory: what one lets go of, another may ask for at the same time.
    changing: Arc<Mutex<()>>,
    routes: Arc<RwLock<Routes>>,
    /// How many more directories the kernel has room for, where a test says so.
    #[cfg(test)]
    room: Arc<Mutex<Option<usize>>>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hub")
    }
}

#[derive(Default)]
struct Routes {
    next: u64,
    listeners: HashMap<u64, Listener>,
    /// Who wants to know of what is in each directory, and of itself.
    directories: HashMap<PathBuf, Vec<u64>>,
}

impl Routes {
    fn of<'a>(&'a self, path: &Path) -> impl Iterator<Item = &'a Listener> + use<'a> {
        let own = self.directories.get(path).map(Vec::as_slice).unwrap_or_default();
        let above =
            path.parent().and_then(|parent| self.directories.get(parent)).map(Vec::as_slice).unwrap_or_default();
        let twice = move |id: &&u64| !above.contains(id);
        own.iter().filter(twice).chain(above).filter_map(|id| self.listeners.get(id))
    }
}

/// One who is told, until it is dropped.
#[derive(Debug)]
pub struct Subscription {
    hub: Hub,
    id: u64,
}

/// Why a directory cannot be watched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// A limit of the kernel; with its value and what raises it.
    #[error("{0}")]
    Limit(String),
    #[error("it is not there")]
    Missing,
    #[error("{0}")]
    Other(String),
}

impl Hub {
    /// Tells `listener` of what happens in the directories that it names. It is called on the watcher's thread, and must not wait.
    pub fn subscribe(&self, listener: impl Fn(Hint) + Send + Sync + 'static) -> Subscription {
        let mut routes = self.routes.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        routes.next += 1;
        let id = routes.next;
        routes.listeners.insert(id, Arc::new(listener));
        Subscription { hub: self.clone(), id }
    }

    /// Has the kernel tell of a directory; also where it is told of already, as another one may stand at the path now.
    fn watch(&self, directory: &Path) -> Result<(), WatchError> {
        #[cfg(test)]
        if let Some(room) = &mut *lock(&self.room) {
            let full = || in_words(&notify::Error::new(notify::ErrorKind::MaxFilesWatch));
            *room = room.checked_sub(1).ok_or_else(full)?;
        }
        let mut watcher = lock(&self.watcher);
        let watcher = match &mut *watcher {
            Some(watcher) => watcher,
            none => {
                let routes = self.routes.clone();
                let made = notify::recommended_watcher(move |event| dispatch(&routes, event));
                none.insert(made.map_err(|error| in_words(&error))?)
            }
        };
        watcher.watch(directory, RecursiveMode::NonRecursive).map_err(|error| in_words(&error))
    }

    fn unwatch(&self, directory: &Path) {
        if let Some(watcher) = &mut *lock(&self.watcher) {
            // It may be gone, and its watch with it.
            let _ = watcher.unwatch(directory);
        }
    }
}

impl Subscription {
    /// Tells of what happens in that directory, and to it, from now on. An absolute path without links on the way to it.
    ///
    /// # Errors
    /// The directory cannot be watched: nothing is told of it then.
    pub fn add(&self, directory: &Path) -> Result<(), WatchError> {
        let _changing = lock(&self.hub.changing);
        {
            let mut routes = self.hub.routes.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            let who = routes.directories.entry(directory.to_path_buf()).or_default();
            if !who.contains(&self.id) {
                who.push(self.id);
            }
        }
        self.hub.watch(directory).inspect_err(|_| self.leave(directory))
    }

    /// Tells no more of that directory.
    pub fn remove(&self, directory: &Path) {
        let _changing = lock(&self.hub.changing);
        self.leave(directory);
    }

    fn leave(&self, directory: &Path) {
        let is_unused = {
            let mut routes = self.hub.routes.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            routes.leave(directory, self.id)
        };
        if is_unused {
            self.hub.unwatch(directory);
        }
    }
}

impl Routes {
    /// Says whether nobody wants to know of the directory any more.
    fn leave(&mut self, directory: &Path, id: u64) -> bool {
        let Some(who) = self.directories.get_mut(directory) else { return false };
        who.retain(|other| *other != id);
        let is_unused = who.is_empty();
        if is_unused {
            self.directories.remove(directory);
        }
        is_unused
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let changing = self.hub.changing.clone();
        let _changing = lock(&changing);
        let unused: Vec<PathBuf> = {
            let mut routes = self.hub.routes.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            routes.listeners.remove(&self.id);
            let own: Vec<PathBuf> = routes
                .directories
                .iter()
                .filter(|(_, who)| who.contains(&self.id))
                .map(|(path, _)| path.clone())
                .collect();
            own.into_iter().filter(|directory| routes.leave(directory, self.id)).collect()
        };
        for directory in unused {
            self.hub.unwatch(&directory);
        }
    }
}

fn dispatch(routes: &RwLock<Routes>, event: notify::Result<notify::Event>) {
    let tell = |path: &Path, hint: &Hint| {
        let routes = routes.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        routes.of(path).for_each(|listener| listener(hint.clone()));
    };
    let lost = || {
        let routes = routes.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        routes.listeners.values().for_each(|listener| listener(Hint::Lost));
    };
    let Ok(event) = event else { return lost() };
    if event.need_rescan() {
        return lost();
    }
    let what = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => What::Closed,
        // Reading makes events as well.
        EventKind::Access(_) => return,
        EventKind::Create(CreateKind::Folder) => What::Directory,
        EventKind::Create(_) => What::Made,
        // Told of by its two halves.
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => return,
        EventKind::Modify(ModifyKind::Name(RenameMode::From)) => What::Gone,
        EventKind::Modify(ModifyKind::Name(_)) => What::MovedIn,
        EventKind::Remove(RemoveKind::Any | RemoveKind::File | RemoveKind::Folder | RemoveKind::Other) => What::Gone,
        EventKind::Modify(ModifyKind::Metadata(_)) => What::Touched,
        EventKind::Modify(_) | EventKind::Any | EventKind::Other => What::Written,
    };
    for path in event.paths {
        let hint = Hint::At(path, what);
        if let Hint::At(path, _) = &hint {
            tell(path, &hint);
        }
    }
}

/// What went wrong. Limits with what they are now, and what raises them.
fn in_words(error: &notify::Error) -> WatchError {
    let now = |name: &str| {
        let value = std::fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).unwrap_or_default();
        value.trim().parse::<u64>().unwrap_or_default()
    };
    let limit = |what: &str, name: &str, most: u64| {
        let value = now(name);
        let better = (value * 2).max(most);
        WatchError::Limit(format!(
            "the kernel's limit on {what} is reached, fs.inotify.{name} = {value}; `sysctl fs.inotify.{name}={better}` raises it"
        ))
    };
    match &error.kind {
        notify::ErrorKind::MaxFilesWatch => limit("watched folders", "max_user_watches", 524_288),
        notify::ErrorKind::Io(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
            limit("watched folders", "max_user_watches", 524_288)
        }
        notify::ErrorKind::Io(error) if error.raw_os_error() == Some(libc::EMFILE) => {
            limit("watchers of a user, or on open files of this process,", "max_user_instances", 1_024)
        }
        notify::ErrorKind::PathNotFound => WatchError::Missing,
        notify::ErrorKind::Io(error) if error.kind() == std::io::ErrorKind::NotFound => WatchError::Missing,
        notify::ErrorKind::Io(error) => WatchError::Other(error.to_string()),
        _ => WatchError::Other(error.to_string()),
    }
}

#[cfg(test)]
impl Hub {
    /// As if the kernel had room for so many more directories; `None`: for as many as it has.
    pub fn has_room_for(&self, count: Option<usize>) {
        *lock(&self.room) = count;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use super::*;

    fn listener(hub: &Hub) -> (Subscription, Receiver<Hint>) {
        let (sender, hints) = channel();
        let subscription = hub.subscribe(move |hint| {
            let _ = sender.send(hint);
        });
        (subscription, hints)
    }

    #[track_caller]
    fn expect(hints: &Receiver<Hint>, path: &Path, what: What) {
        loop {
            let hint = hints.recv_timeout(Duration::from_secs(20)).expect("no such hint came");
            if hint == Hint::At(path.to_path_buf(), what) {
                return;
            }
        }
    }

    #[test]
    fn each_is_told_of_its_own_directories_alone() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (a, b) = (root.join("a"), root.join("b"));
        std::fs::create_dir(&a).unwrap();
        std::fs::create_dir(&b).unwrap();
        let hub = Hub::default();
        let ((one, of_one), (two, of_two)) = (listener(&hub), listener(&hub));
        one.add(&a).unwrap();
        two.add(&a).unwrap();
        two.add(&b).unwrap();
        std::fs::write(a.join("x"), "1").unwrap();
        expect(&of_one, &a.join("x"), What::Closed);
        expect(&of_two, &a.join("x"), What::Closed);
        std::fs::rename(a.join("x"), b.join("y")).unwrap();
        expect(&of_one, &a.join("x"), What::Gone);
        expect(&of_two, &b.join("y"), What::MovedIn);
        // One goes, and the other is told as before.
        drop(one);
        std::fs::create_dir(a.join("sub")).unwrap();
        expect(&of_two, &a.join("sub"), What::Directory);
        assert!(of_one.try_iter().all(|hint| hint != Hint::At(a.join("sub"), What::Directory)));
        assert!(of_one.recv().is_err(), "its listener is let go of");
    }

    #[test]
    fn a_directory_that_is_another_one_now_is_watched_anew() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let a = root.join("a");
        std::fs::create_dir(&a).unwrap();
        let hub = Hub::default();
        let (one, hints) = listener(&hub);
        one.add(&root).unwrap();
        one.add(&a).unwrap();
        std::fs::remove_dir(&a).unwrap();
        expect(&hints, &a, What::Gone);
        std::fs::create_dir(&a).unwrap();
        expect(&hints, &a, What::Directory);
        one.add(&a).unwrap();
        std::fs::write(a.join("x"), "1").unwrap();
        expect(&hints, &a.join("x"), What::Closed);
        assert_eq!(one.add(&root.join("missing")), Err(WatchError::Missing));
    }

    #[test]
    fn a_flag_on_an_event_without_paths_and_an_error_both_say_that_count_was_lost() {
        let hub = Hub::default();
        let (_one, hints) = listener(&hub);
        let flagged = notify::Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        dispatch(&hub.routes, Ok(flagged));
        dispatch(&hub.routes, Err(notify::Error::generic("no luck")));
        assert_eq!(hints.try_iter().collect::<Vec<_>>(), [Hint::Lost, Hint::Lost]);
    }

    #[test]
    fn limits_are_told_with_what_they_are_and_what_raises_them() {
        let error = notify::Error::new(notify::ErrorKind::MaxFilesWatch);
        let words = in_words(&error).to_string();
        let now = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").unwrap();
        assert!(words.contains(&format!("fs.inotify.max_user_watches = {};", now.trim())), "{words}");
        assert!(words.contains("`sysctl fs.inotify.max_user_watches="), "{words}");
        let now = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_instances").unwrap();
        for number in [libc::ENOSPC, libc::EMFILE] {
            let error = notify::Error::io(std::io::Error::from_raw_os_error(number));
            let WatchError::Limit(words) = in_words(&error) else { panic!("{error}") };
            assert!(words.contains("`sysctl fs.inotify.max_user_"), "{words}");
            assert!(
                number == libc::ENOSPC || words.contains(&format!("max_user_instances = {};", now.trim())),
                "{words}"
            );
        }
    }
}
