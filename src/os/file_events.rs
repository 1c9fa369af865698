//! What the kernel tells of changed files: one watcher for everybody who wants to know.
//!
//! Events are hints. Each names a path at which something may have changed; whoever gets it looks there. Directories are watched one
//! by one, never whole trees, so that who needs to know which ones are watched does.
//!
//! The kernel has one watch for each directory, however many paths lead to it, and its events have one of them: the one that was asked
//! for last. All who want to know of it are told, each by its own path.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RemoveKind, RenameMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

pub use super::file_routes::{Hint, What};
use super::file_routes::{Inode, Left, Routes};
use crate::model::lock;

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
        let id = write(&self.routes).listen(Arc::new(listener));
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

    /// Nobody wants to know of a directory under that path any more, or another one stands there. The kernel's watch may be another
    /// path's as well: it is asked for again, and who wants to know is told that there was a gap.
    fn let_go(&self, directory: &Path, left: &Left) {
        self.unwatch(directory);
        let stands = |path: &&Arc<Path>| inode_of(path).is_ok_and(|inode| inode == left.inode);
        let watched = left
            .paths
            .iter()
            .filter(stands)
            .map(|path| self.watch(path))
            .find(|done| *done != Err(WatchError::Missing));
        let routes = read(&self.routes);
        for path in &left.paths {
            match &watched {
                // What does not stand there any more is found to be gone.
                Some(Ok(())) | None => routes.tell_of_gap(path),
                Some(Err(_)) => routes.tell_of_end(path),
            }
        }
    }
}

fn read(routes: &RwLock<Routes>) -> RwLockReadGuard<'_, Routes> {
    routes.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn write(routes: &RwLock<Routes>) -> RwLockWriteGuard<'_, Routes> {
    routes.write().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn inode_of(directory: &Path) -> std::io::Result<Inode> {
    std::fs::metadata(directory).map(|meta| (meta.dev(), meta.ino()))
}

impl Subscription {
    /// Tells of what happens in that directory, and to it, from now on. An absolute path without links on the way to it.
    ///
    /// # Errors
    /// The directory cannot be watched: nothing is told of it then.
    pub fn add(&self, directory: &Path) -> Result<(), WatchError> {
        let _changing = lock(&self.hub.changing);
        // Known before the kernel is asked: its events may have that path from then on.
        let entered = inode_of(directory).map(|inode| write(&self.hub.routes).enter(directory, self.id, inode));
        let watched = entered.map_err(|error| in_words(&notify::Error::io(error))).and_then(|another| {
            if let Some(left) = another {
                self.hub.let_go(directory, &left);
            }
            self.hub.watch(directory)
        });
        watched.inspect_err(|_| self.leave(directory))
    }

    /// Tells no more of that directory.
    pub fn remove(&self, directory: &Path) {
        let _changing = lock(&self.hub.changing);
        self.leave(directory);
    }

    fn leave(&self, directory: &Path) {
        let left = write(&self.hub.routes).leave(directory, self.id);
        if let Some(left) = left {
            self.hub.let_go(directory, &left);
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let changing = self.hub.changing.clone();
        let _changing = lock(&changing);
        let left: Vec<(Arc<Path>, Left)> = {
            let mut routes = write(&self.hub.routes);
            let own = routes.forget(self.id);
            own.into_iter().filter_map(|path| routes.leave(&path, self.id).map(|left| (path, left))).collect()
        };
        for (directory, left) in left {
            self.hub.let_go(&directory, &left);
        }
    }
}

fn dispatch(routes: &RwLock<Routes>, event: notify::Result<notify::Event>) {
    let lost = || read(routes).tell_of_loss();
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
    let routes = read(routes);
    event.paths.into_iter().for_each(|path| routes.tell(path, what));
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

    /// As if one who has a directory under another path let go of it, and something happened before the kernel tells of it again.
    pub fn has_gap(&self, directory: &Path, happens: impl FnOnce()) {
        let _changing = lock(&self.changing);
        self.unwatch(directory);
        happens();
        let inode = inode_of(directory).unwrap();
        self.let_go(directory, &Left { inode, paths: vec![directory.into()] });
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
    fn a_directory_that_was_moved_is_told_of_where_it_is_once_it_is_let_go_of_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (before, after) = (root.join("before"), root.join("after"));
        std::fs::create_dir(&before).unwrap();
        let hub = Hub::default();
        let ((one, of_one), (two, of_two)) = (listener(&hub), listener(&hub));
        one.add(&before).unwrap();
        std::fs::rename(&before, &after).unwrap();
        two.add(&after).unwrap();
        std::fs::write(after.join("a"), "1").unwrap();
        expect(&of_two, &after.join("a"), What::Closed);
        expect(&of_one, &before.join("a"), What::Closed);
        one.remove(&before);
        expect(&of_two, &after, What::Gap);
        std::fs::write(after.join("b"), "1").unwrap();
        expect(&of_two, &after.join("b"), What::Closed);
        assert!(of_one.try_iter().all(|hint| !matches!(hint, Hint::At(path, _) if path.ends_with("b"))));
        // So it is where another one stands there instead.
        one.add(&after).unwrap();
        std::fs::rename(&after, &before).unwrap();
        two.add(&before).unwrap();
        std::fs::create_dir(&after).unwrap();
        one.add(&after).unwrap();
        expect(&of_two, &before, What::Gap);
        std::fs::write(before.join("c"), "1").unwrap();
        std::fs::write(after.join("d"), "1").unwrap();
        expect(&of_two, &before.join("c"), What::Closed);
        expect(&of_one, &after.join("d"), What::Closed);
        assert!(of_one.try_iter().all(|hint| !matches!(hint, Hint::At(path, _) if path.ends_with("c"))));
        // And where who has it goes.
        drop(two);
        let (two, of_two) = listener(&hub);
        two.add(&after).unwrap();
        one.remove(&after);
        std::fs::rename(&after, root.join("last")).unwrap();
        one.add(&root.join("last")).unwrap();
        drop(two);
        expect(&of_one, &root.join("last"), What::Gap);
        std::fs::write(root.join("last/e"), "1").unwrap();
        expect(&of_one, &root.join("last/e"), What::Closed);
        assert!(of_two.iter().all(|hint| hint != Hint::Lost));
    }

    /// Runs `test` where it may mount what it likes; `false`: it cannot here.
    fn with_own_mounts(test: impl FnOnce() + Send) -> bool {
        let mount = |source: &std::ffi::CStr, target: &std::ffi::CStr, flags| {
            // SAFETY: both are strings that end in a zero byte; the others may be missing.
            unsafe { libc::mount(source.as_ptr(), target.as_ptr(), std::ptr::null(), flags, std::ptr::null()) == 0 }
        };
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                // SAFETY: concerns this thread, and those that it starts.
                let has_own = unsafe { libc::unshare(libc::CLONE_NEWNS) } == 0
                    && mount(c"none", c"/", libc::MS_REC | libc::MS_PRIVATE);
                if has_own {
                    test();
                }
                has_own
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    #[track_caller]
    fn bind(source: &Path, target: &Path) {
        let status = std::process::Command::new("mount").arg("--bind").args([source, target]).status();
        assert!(status.unwrap().success());
    }

    #[test]
    fn a_directory_that_is_mounted_twice_is_told_of_under_both_paths() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (a, b) = (root.join("a"), root.join("b"));
        std::fs::create_dir_all(a.join("sub")).unwrap();
        std::fs::create_dir(&b).unwrap();
        let done = with_own_mounts(|| {
            bind(&a, &b);
            let hub = Hub::default();
            let ((one, of_one), (two, of_two)) = (listener(&hub), listener(&hub));
            for (who, path) in [(&one, &a), (&two, &b)] {
                who.add(path).unwrap();
                who.add(&path.join("sub")).unwrap();
            }
            let both = |name: &str, what: What| {
                expect(&of_one, &a.join(name), what);
                expect(&of_two, &b.join(name), what);
            };
            std::fs::write(a.join("x"), "1").unwrap();
            both("x", What::Closed);
            std::fs::write(b.join("sub/y"), "1").unwrap();
            both("sub/y", What::Closed);
            std::fs::create_dir(b.join("new")).unwrap();
            both("new", What::Directory);
            std::fs::remove_file(a.join("x")).unwrap();
            both("x", What::Gone);
            // Each lets go of some of it, whoever came last.
            two.remove(&b.join("sub"));
            expect(&of_one, &a.join("sub"), What::Gap);
            std::fs::write(a.join("sub/z"), "1").unwrap();
            expect(&of_one, &a.join("sub/z"), What::Closed);
            assert!(of_two.try_iter().all(|hint| hint != Hint::At(b.join("sub/z"), What::Closed)));
            one.remove(&a);
            expect(&of_two, &b, What::Gap);
            std::fs::write(a.join("v"), "1").unwrap();
            expect(&of_two, &b.join("v"), What::Closed);
            // It goes from where the one has it, and who reads the events takes its watch away.
            one.add(&root).unwrap();
            one.add(&a).unwrap();
            std::fs::rename(&a, root.join("c")).unwrap();
            expect(&of_one, &a, What::Gone);
            expect(&of_two, &b, What::Gap);
            two.add(&b).unwrap();
            std::fs::write(b.join("w"), "1").unwrap();
            expect(&of_two, &b.join("w"), What::Closed);
        });
        if !done {
            eprintln!("skipped: a mount of its own needs root");
        }
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
