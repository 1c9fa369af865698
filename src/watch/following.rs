//! What is told to the thread of a watch is followed: it looks there, and tells the book.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::book::Sight;
use super::hints::Hints;
use super::live::Live;
use super::rules::Verdict;
use super::shared::now;
use super::stat::{At, Found, look};
use super::watcher::{Watcher, tell_book};
use crate::model::{FileEvent, lock};
use crate::os::file_events::What;

impl Watcher<'_> {
    /// Takes up what was told.
    pub(super) fn follow(&mut self, mut hints: Hints) {
        if let Some(why) = hints.scan.or(hints.lost.then_some("the kernel lost count of the changes")) {
            if hints.lost {
                tracing::warn!(target: "watch", "{}: everything is looked at: {why}", self.shared.job);
            }
            for live in &mut self.lives {
                live.scan_now(hints.lost);
            }
        }
        if hints.mounts {
            for live in &mut self.lives {
                live.mounts_changed();
            }
        }
        let (is_lost, replaced) = (hints.lost, std::mem::take(&mut hints.replaced));
        let (rules, others): (Vec<_>, Vec<_>) = hints.into_paths().partition(|(path, _)| self.are_rules(path));
        if !rules.is_empty() {
            // Before anything is judged by them. What has been noticed already may not be meant any more.
            self.lives.iter_mut().for_each(Live::forget_rules);
            self.judge_anew();
        }
        let (gone, there): (Vec<_>, Vec<_>) =
            rules.into_iter().chain(others).partition(|(_, what)| *what == What::Gone);
        // A directory that is gone is let go of before one that came is watched: they may be the same.
        let mut directories = HashSet::new();
        let went = || gone.iter().map(|(path, _)| path).chain(&replaced);
        for path in went() {
            directories.extend(self.lives.iter_mut().filter_map(|live| live.let_go(path)));
        }
        self.took_their_places(went(), &directories);
        let mut gaps: HashSet<PathBuf> = HashSet::new();
        for (path, what) in there.into_iter().chain(gone) {
            if what == What::Gap {
                gaps.extend(self.lives.iter().filter_map(|live| live.shown(&path)).map(|(path, _)| path));
            }
            self.look_at_hint(&path, what);
        }
        // Also of what was told of last: its closing may be among what is lost.
        if is_lost {
            lock(&self.shared.book).events_were_lost(Path::new("/"), &now());
        }
        for gap in &gaps {
            lock(&self.shared.book).events_were_lost(gap, &now());
        }
        // What went in a gap, nothing has told of.
        directories.extend(gaps);
        if !directories.is_empty() {
            // An unmounted disk takes its directories along, and deletes nothing.
            self.lives.iter_mut().for_each(Live::mounts_changed);
            let is_other_disk = self.lives.iter().any(Live::is_other_disk);
            let below = lock(&self.shared.book).below(&directories);
            for path in below {
                self.look_whether_missing(&path, is_other_disk);
            }
        }
    }

    /// Where files went and others have come by now these are changes of them, as most who save a file do so. Where changes do not
    /// count, and what comes does, they are what they are: new.
    fn took_their_places<'a>(&mut self, went: impl Iterator<Item = &'a PathBuf>, directories: &HashSet<PathBuf>) {
        let places: Vec<PathBuf> = {
            let book = lock(&self.shared.book);
            if book.asks_for(FileEvent::Modified) || !book.asks_for(FileEvent::Created) {
                return;
            }
            let shown =
                |path: &PathBuf| self.lives.iter().filter_map(|live| Some(live.shown(path)?.0)).collect::<Vec<_>>();
            let below = if directories.is_empty() { Vec::new() } else { book.below(directories) };
            went.flat_map(shown).chain(below).collect()
        };
        for path in places {
            if let Ok(At::File(found)) = look(&path)
                && lock(&self.shared.book).is_another(&path, &found)
            {
                self.is_missing(&path);
            }
        }
    }

    /// Something may have happened at this path, as the kernel names it.
    pub(super) fn look_at_hint(&mut self, real: &Path, what: What) {
        for place in 0..self.lives.len() {
            let Some(live) = self.lives.get_mut(place) else { continue };
            live.told_of(real, what);
            let Some((path, is_itself)) = live.shown(real) else { continue };
            // What happens beside a single file says nothing of who writes to it.
            let what = if is_itself { what } else { What::Touched };
            match look(&path) {
                Ok(At::File(found)) => self.is_file(place, &path, &found, what),
                Ok(At::Directory) => self.is_directory(place, &path, real, what),
                Ok(At::Nothing) => self.is_nothing(place, &path),
                Err(error) => self.cannot_look(&path, &error),
            }
        }
    }

    pub(super) fn is_file(&mut self, place: usize, path: &Path, found: &Found, what: What) {
        let Some(live) = self.lives.get_mut(place) else { return };
        if live.are_rules(path) {
            return;
        }
        match live.judge(path).flatten() {
            Some(Verdict::Matched(_)) => {}
            Some(Verdict::DoneFile) => return self.is_done_file(path, found),
            _ => return,
        }
        let sight = match what {
            What::Made | What::Directory => Sight::Made,
            What::Written => Sight::Written,
            // Something else stands there again: how it came is told of next.
            What::Touched | What::Gone => Sight::Touched,
            What::Closed => Sight::Closed,
            What::MovedIn => Sight::MovedIn,
            What::Gap => Sight::Scan { first: None },
        };
        let noticed = tell_book(self.shared, path, found, sight);
        self.noticed.extend(noticed);
    }

    /// It says that others are complete.
    pub(super) fn is_done_file(&mut self, done: &Path, done_found: &Found) {
        let Some(name) = done.file_name() else { return };
        let Some(directory) = done.parent() else { return };
        let files = self.setup.files.clone();
        let Some(pattern) = &files.done_file else { return };
        let mut book = lock(&self.shared.book);
        let is_meant = |entry: &super::entry::Entry| {
            entry.path().parent() == Some(directory)
                && entry.path().file_name().is_some_and(|own| pattern.beside(own) == name)
        };
        let meant: Vec<PathBuf> = match pattern.only_one(name) {
            // As there may be many that wait, and as many of these.
            Some(own) => vec![directory.join(own)],
            None => {
                let settling = book.settling().iter().filter_map(|(id, _)| book.entries().get(id));
                settling.filter(|entry| is_meant(entry)).map(|entry| entry.path().to_path_buf()).collect()
            }
        };
        for path in meant {
            let is_older = |id| {
                book.settling()
                    .get(id)
                    .and_then(|pending| pending.found)
                    .is_some_and(|found| done_found.stat.mtime < found.stat.mtime)
            };
            // Older than what it stands beside, it is about the content before.
            if !book.entries().by_path(&path).is_some_and(is_older) {
                book.hurry(&path, &now());
            }
        }
    }

    pub(super) fn is_directory(&mut self, place: usize, path: &Path, real: &Path, what: What) {
        // Where it has taken the place of a file, that one is gone.
        self.is_missing(path);
        let is_walked = match what {
            What::Made | What::Directory | What::MovedIn | What::Gone | What::Gap => true,
            // It may be readable now. What came while it was not, nothing has told of.
            What::Touched => self.takes_up_unread(path),
            What::Written | What::Closed => false,
        };
        let Some(live) = self.lives.get_mut(place) else { return };
        // It came before that, by whatever way.
        if !(is_walked || live.is_new(real)) || !live.walks(path) {
            return;
        }
        let failed = live.walk(path, real, self.setup, self.shared, &mut self.noticed);
        for (path, error) in failed {
            self.cannot_look(&path, &error);
        }
    }

    pub(super) fn is_nothing(&mut self, place: usize, path: &Path) {
        let Some(live) = self.lives.get_mut(place) else { return };
        if live.is_root(path) {
            live.look_again_now();
            return;
        }
        self.is_missing(path);
    }
}
