//! Random changes of a directory that stands in memory, told as the kernel tells them, while runs begin and end, the runner is killed and
//! the job is edited: no content is missed, none is run for twice.
//!
//! `RUNNER_SEED=17 cargo test watch::transitions::random` lives one seed again; RUNNER_BOOK_SEEDS says how many are lived.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::*;
use crate::os::file_events::{Hint, What};
use crate::trigger::Files;
use crate::watch::hints::Hints;
use crate::watch::renames::real_path;

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}

/// Which edits there are, and so what may be asked of what came of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Each content is run for, none twice.
    Plain,
    /// The same, beside runs for other names.
    Renamed,
    /// What comes back after its deletion was told is new, and rightly run for twice.
    Deleted,
    /// What happens while it makes no run is missed, and rightly so.
    Narrow,
    /// Each content is run for under one of the names that it has; what was forgotten for another content is run for again.
    Hash,
}

/// What stands in the directory that is watched, `/in`, and beside it, `/out`.
#[derive(Default)]
struct Disk {
    paths: BTreeMap<PathBuf, u64>,
    inodes: HashMap<u64, (Stat, i64)>,
    free: Vec<u64>,
    last: u64,
    told: Vec<(PathBuf, What)>,
}

impl Disk {
    fn at(&self, path: &Path) -> Option<Found> {
        let inode = self.paths.get(path)?;
        let (stat, ctime) = self.inodes.get(inode)?;
        let is_linked = self.paths.values().filter(|other| *other == inode).count() > 1;
        Some(Found { stat: *stat, ctime: *ctime, is_linked })
    }

    fn tell(&mut self, path: &Path, what: &[What]) {
        if path.starts_with("/in") {
            self.told.extend(what.iter().map(|what| (path.to_path_buf(), *what)));
        }
    }

    fn leave(&mut self, inode: u64, time: i64) {
        if self.paths.values().any(|other| *other == inode) {
            self.inodes.get_mut(&inode).unwrap().1 = time;
        } else {
            self.inodes.remove(&inode);
            self.free.push(inode);
        }
    }

    fn write(&mut self, path: &Path, size: u64, time: i64) {
        if let Some(inode) = self.paths.get(path) {
            let (stat, ctime) = self.inodes.get_mut(inode).unwrap();
            (stat.size, stat.mtime, *ctime) = (size, time, time);
            return self.tell(path, &[What::Written, What::Closed]);
        }
        // As ext4 does, the number of the one that was removed last is given to the next one.
        let inode = self.free.pop().unwrap_or_else(|| {
            self.last += 1;
            self.last
        });
        self.inodes.insert(inode, (Stat { dev: 1, inode, size, mtime: time, born: time }, time));
        self.paths.insert(path.to_path_buf(), inode);
        self.tell(path, &[What::Made, What::Written, What::Closed]);
    }

    fn rename(&mut self, from: &Path, to: &Path, time: i64) {
        let Some(inode) = self.paths.get(from).copied() else { return };
        let other = self.paths.get(to).copied();
        if other == Some(inode) {
            // As rename(2) has it, two names of one file stay.
            return;
        }
        self.paths.remove(from);
        self.paths.insert(to.to_path_buf(), inode);
        self.inodes.get_mut(&inode).unwrap().1 = time;
        if let Some(other) = other {
            self.leave(other, time);
        }
        self.tell(from, &[What::Gone]);
        self.tell(to, &[What::MovedIn]);
    }

    fn remove(&mut self, path: &Path, time: i64) {
        if let Some(inode) = self.paths.remove(path) {
            self.leave(inode, time);
            self.tell(path, &[What::Gone]);
        }
    }

    fn link(&mut self, from: &Path, to: &Path, time: i64) {
        if let Some(inode) = self.paths.get(from).copied()
            && !self.paths.contains_key(to)
        {
            self.paths.insert(to.to_path_buf(), inode);
            self.inodes.get_mut(&inode).unwrap().1 = time;
            self.tell(to, &[What::Made]);
        }
    }
}

/// The desk of a watch at a disk, and who keeps the books of what it did.
struct World {
    desk: Desk,
    disk: Disk,
    dice: Dice,
    kind: Kind,
    /// Files whose number has this rest are left out.
    leaves_out: Option<u64>,
    /// With the contents that each run has, and whether because they were new.
    active: Vec<(RunId, Vec<(Stat, bool)>)>,
    ended: HashMap<RunId, Result<(), String>>,
    /// The runs that succeeded, by what was new to them.
    processed: HashMap<Stat, Vec<RunId>>,
    /// What runs have had that came to their end.
    ended_for: HashSet<Stat>,
    /// Nobody changes anything any more.
    is_at_rest: bool,
    /// What happened, for whoever has to find out why.
    story: Vec<String>,
}

fn number(path: &Path) -> u64 {
    real_path(path).file_name().unwrap().to_str().unwrap().parse().unwrap()
}

impl World {
    fn new(seed: u64, kind: Kind) -> Self {
        let mut desk = Desk::new(rules(kind, &["created", "modified"], "close"));
        desk.pass_ms(1_000);
        Self {
            desk,
            disk: Disk::default(),
            dice: Dice(seed),
            kind,
            leaves_out: None,
            active: Vec::new(),
            ended: HashMap::new(),
            processed: HashMap::new(),
            ended_for: HashSet::new(),
            is_at_rest: false,
            story: Vec::new(),
        }
    }

    fn path(&mut self) -> PathBuf {
        let folder = if self.dice.below(5) == 0 { "/out" } else { "/in" };
        format!("{folder}/{}", self.dice.below(6)).into()
    }

    fn there(&mut self) -> PathBuf {
        let all: Vec<PathBuf> = self.disk.paths.keys().cloned().collect();
        if all.is_empty() { self.path() } else { self.dice.one(&all).clone() }
    }

    fn is_meant(&self, path: &Path) -> bool {
        path.starts_with("/in") && self.leaves_out.is_none_or(|rest| number(path) % 3 != rest)
    }

    fn change(&mut self) {
        self.desk.pass_ms(1);
        let time = self.desk.now.time.as_nanosecond() as i64;
        let sizes = if self.kind == Kind::Hash { 12 } else { 3 };
        let (one, other, size) = (self.there(), self.path(), 1 + self.dice.below(sizes));
        let what = self.dice.below(9);
        self.story.push(format!("{time} change {what} {} {}", one.display(), other.display()));
        match what {
            0..=2 => self.disk.write(&other, size, time),
            3 => self.disk.write(&one, size, time),
            4 | 5 => self.disk.rename(&one, &other, time),
            6 => self.disk.remove(&one, time),
            7 => self.disk.link(&one, &other, time),
            _ => {
                // As editors save.
                let new = Path::new("/out/9");
                self.disk.write(new, size, time);
                self.disk.rename(new, &one, time);
            }
        }
    }

    fn tell(&mut self, path: &Path, found: &Found, sight: Sight) {
        let book = &mut self.desk.book;
        let twin = book.twin_of(path, &found.stat).map(|(other, is_gone)| {
            let inode = |stat: &Stat| (stat.dev, stat.inode);
            let is_there =
                !is_gone && self.disk.at(&other).is_some_and(|there| inode(&there.stat) == inode(&found.stat));
            (other, if is_there { Twin::There } else { Twin::Gone })
        });
        let twin = twin.as_ref().map(|(path, twin)| (path.as_path(), *twin));
        book.found(path, found, sight, twin, &self.desk.now);
    }

    /// Some of what the kernel has told of is taken up.
    fn follow(&mut self, most: usize) {
        self.desk.pass_ms(1);
        let mut hints = Hints::default();
        let told = most.min(self.disk.told.len());
        self.story.push(format!("follow {:?}", &self.disk.told[..told]));
        self.disk.told.drain(..told).for_each(|(path, what)| hints.add(Hint::At(path, what)));
        let replaced = std::mem::take(&mut hints.replaced);
        let (gone, there): (Vec<_>, Vec<_>) = hints.into_paths().partition(|(_, what)| *what == What::Gone);
        let asks_for = |event| self.desk.book.asks_for(event);
        if !asks_for(FileEvent::Modified) && asks_for(FileEvent::Created) {
            for path in gone.iter().map(|(path, _)| path).chain(&replaced) {
                if self.disk.at(path).is_some_and(|found| self.desk.book.is_another(path, &found)) {
                    self.desk.book.missing(path, &self.desk.now);
                }
            }
        }
        for (path, what) in there.into_iter().chain(gone) {
            match (self.disk.at(&path), what) {
                (None, _) => drop(self.desk.book.missing(&path, &self.desk.now)),
                (Some(_), _) if !self.is_meant(&path) => {}
                (Some(found), What::Made) => self.tell(&path, &found, Sight::Made),
                (Some(found), What::Written) => self.tell(&path, &found, Sight::Written),
                (Some(found), What::Closed) => self.tell(&path, &found, Sight::Closed),
                (Some(found), What::MovedIn) => self.tell(&path, &found, Sight::MovedIn),
                (Some(found), _) => self.tell(&path, &found, Sight::Touched),
            }
        }
    }

    fn scan(&mut self) {
        self.story.push(format!("scan {}", self.desk.now.time.as_nanosecond()));
        self.desk.book.begin_scan();
        let paths: Vec<PathBuf> = self.disk.paths.keys().filter(|path| self.is_meant(path)).cloned().collect();
        for path in paths {
            let found = self.disk.at(&path).unwrap();
            if !self.desk.book.is_unchanged(&path, &found) {
                self.tell(&path, &found, Sight::Scan { first: None });
            }
        }
        for path in self.desk.book.not_found(Path::new("/in")) {
            if self.disk.at(&path).is_none() {
                self.desk.book.missing(&path, &self.desk.now);
            }
        }
    }

    fn look(&mut self) {
        self.story.push(format!("look {}", self.desk.now.time.as_nanosecond()));
        for due in self.desk.book.due(&self.desk.now, 99) {
            let found = self.disk.at(&due.path);
            match found.filter(|found| self.desk.book.is_known_elsewhere(due.id, found)) {
                Some(found) => self.tell(&due.path, &found, Sight::Scan { first: None }),
                None => {
                    // All files of one size hold the same.
                    let hash = found.filter(|_| due.hash).map(|found| [found.stat.size as u8; 32]);
                    let looked = Looked { found, hash, ..Looked::default() };
                    self.desk.book.looked(due.id, looked, &self.desk.now);
                }
            }
        }
    }

    fn flush(&mut self) {
        let lines = self.desk.book.take_lines();
        self.desk.ledger.extend(lines);
    }

    fn begin(&mut self) -> bool {
        self.desk.runs += 1;
        let run = RunId::from_u128(self.desk.runs);
        let Some(taken) = self.desk.book.take(run, &self.desk.now) else { return false };
        if !self.is_at_rest && self.dice.below(4) == 0 {
            self.change();
            self.follow(9);
        }
        let looks: Vec<LastLook> = taken
            .input
            .items
            .iter()
            .map(|item| match (item.event, self.disk.at(&item.path)) {
                (FileEvent::Deleted, _) => LastLook::Skipped,
                (_, Some(found)) => LastLook::Found(found),
                (_, None) => LastLook::Gone,
            })
            .collect();
        let looked: Vec<(&Path, LastLook)> =
            taken.input.items.iter().map(|item| item.path.as_path()).zip(looks.iter().copied()).collect();
        let kept = self.desk.book.keep(run, &looked, &self.desk.now);
        self.flush();
        let mut contents = Vec::new();
        for ((item, look), is_kept) in taken.input.items.iter().zip(&looks).zip(kept) {
            if let (true, LastLook::Found(found)) = (is_kept, look) {
                contents.push((found.stat, item.event != FileEvent::Renamed));
            }
        }
        self.story.push(format!("run {} has {contents:?} of {:?}", self.desk.runs, taken.input.items));
        self.active.push((run, contents));
        true
    }

    fn end(&mut self, how: Ended) {
        if self.active.is_empty() {
            return;
        }
        let at = self.dice.below(self.active.len() as u64) as usize;
        let (run, contents) = self.active.swap_remove(at);
        self.story.push(format!("end of {run}: {how:?}"));
        if how != Ended::Again {
            self.ended_for.extend(contents.iter().map(|(content, _)| content));
        }
        if how == Ended::Done {
            let new = contents.into_iter().filter(|(_, is_new)| *is_new);
            new.for_each(|(content, _)| self.processed.entry(content).or_default().push(run));
        }
        match &how {
            Ended::Done => drop(self.ended.insert(run, Ok(()))),
            Ended::Failed(why) => drop(self.ended.insert(run, Err(why.clone()))),
            Ended::Again => {}
        }
        self.desk.book.ended(run, &how, &self.desk.now);
    }

    /// The runner is killed, with what was not written down yet, and starts again.
    fn crash(&mut self) {
        self.story.push("crash".into());
        self.disk.told.clear();
        self.active.clear();
        drop(self.desk.book.take_lines());
        let files = self.desk.book.files().clone();
        let loaded = self.desk.remembered();
        self.desk.book = Book::new(files.clone(), loaded, |run| self.ended.get(&run).cloned(), &self.desk.now);
        self.scan();
        self.comes_in_force(files);
    }

    fn comes_in_force(&mut self, files: Arc<Files>) {
        let meant: HashSet<PathBuf> =
            self.desk.book.pending_paths().into_iter().filter(|path| self.is_meant(path)).collect();
        self.desk.book.set_files(files, |path| meant.contains(path), &self.desk.now);
        self.desk.book.events_were_lost(Path::new("/"), &self.desk.now);
    }

    fn edit(&mut self, events: &[&str], settle: &str, leaves_out: Option<u64>) {
        self.story.push(format!("edit {events:?} {settle} {leaves_out:?}"));
        self.leaves_out = leaves_out;
        let mut all = json!({ "paths": ["/in"] });
        all.as_object_mut().unwrap().extend(rules(self.kind, events, settle).as_object().unwrap().clone());
        let files = files(all);
        self.scan();
        self.comes_in_force(files);
    }

    fn edit_somehow(&mut self) {
        let events: &[&[&str]] = match self.kind {
            Kind::Plain | Kind::Hash => &[&["created", "modified"]],
            Kind::Renamed => &[&["created", "modified"], &["created", "modified", "renamed"]],
            Kind::Deleted => &[
                &["created", "modified", "deleted"],
                &["created", "modified"],
                &["created", "modified", "renamed", "deleted"],
            ],
            Kind::Narrow => &[&["created", "modified"], &["created"], &["modified"], &["created", "renamed"]],
        };
        let events = *self.dice.one(events);
        let settle = *self.dice.one(&["close", "0s", "50ms", "2s"]);
        let leaves_out = [None, None, Some(0), Some(1)][self.dice.below(4) as usize];
        self.edit(events, settle, leaves_out);
    }

    fn step(&mut self) {
        match self.dice.below(40) {
            0..=13 => self.change(),
            14..=20 => {
                let most = 1 + self.dice.below(6) as usize;
                self.follow(most);
            }
            21..=23 => self.look(),
            24..=27 => drop(self.begin()),
            28..=30 => self.end(Ended::Done),
            31 => {
                let how = if self.dice.below(2) == 0 { Ended::Again } else { Ended::Failed("exit code 1".into()) };
                self.end(how);
            }
            32 => self.scan(),
            33 => self.crash(),
            34 | 35 => self.edit_somehow(),
            _ => {
                let ms = *self.dice.one(&[1, 20, 60, 150, 2_000, 2_500]);
                self.desk.pass_ms(ms);
            }
        }
        if self.dice.below(3) > 0 {
            self.flush();
        }
    }

    /// Nobody changes anything any more: whatever is to come comes.
    fn comes_to_rest(&mut self) {
        self.is_at_rest = true;
        self.follow(usize::MAX);
        for _ in 0..9 {
            self.desk.pass(SILENT_WRITER);
            self.look();
            while self.begin() {}
            while !self.active.is_empty() {
                self.end(Ended::Done);
            }
        }
        self.is_at_rest = false;
    }

    /// What happened since nobody changed anything last, and what the ledger has of a content.
    fn told(&self, stat: &Stat) -> String {
        let inode = format!("\"inode\":{},", stat.inode);
        let ledger = String::from_utf8_lossy(&self.desk.ledger);
        let lines: Vec<&str> = ledger.lines().filter(|line| line.contains(&inode)).collect();
        format!("{}\n{}", self.story.join("\n"), lines.join("\n"))
    }
}

fn rules(kind: Kind, events: &[&str], settle: &str) -> Value {
    let identity = if kind == Kind::Hash { "hash" } else { "stat" };
    json!({
        "settle": settle, "events": events, "identity": identity, "existing": "process",
        "batch": { "mode": "all", "max": 2, "wait": "0s" }
    })
}

fn live(seed: u64, kind: Kind) {
    let mut world = World::new(seed, kind);
    // Short lives say best what is wrong.
    let (rounds, steps) = (1 + seed / 400 % 4, 8 + seed / 8 % 53);
    for _ in 0..rounds {
        for _ in 0..steps {
            world.step();
        }
        world.edit(&["created", "modified"], "close", None);
        world.comes_to_rest();
        world.flush();
        assert_eq!(
            world.desk.book.pending(),
            0,
            "seed {seed}, {kind:?}: something waits\n{}",
            world.told(&Stat::default())
        );
        for (path, inode) in world.disk.paths.iter().filter(|(path, _)| path.starts_with("/in")) {
            let (stat, _) = &world.disk.inodes[inode];
            let is_same = |other: &Stat| other == stat || (kind == Kind::Hash && other.size == stat.size);
            let is_missed = kind != Kind::Narrow && !world.ended_for.iter().any(is_same);
            assert!(!is_missed, "seed {seed}, {kind:?}: nobody ran for {path:?}, {stat:?}\n{}", world.told(stat));
        }
        for (stat, runs) in world.processed.iter().filter(|_| !matches!(kind, Kind::Deleted | Kind::Hash)) {
            assert!(runs.len() <= 1, "seed {seed}, {kind:?}: {stat:?} was run for by {runs:?}\n{}", world.told(stat));
        }
        // Nor does a start change any of that.
        world.crash();
        world.comes_to_rest();
        world.story.clear();
        for (stat, runs) in world.processed.iter().filter(|_| !matches!(kind, Kind::Deleted | Kind::Hash)) {
            assert!(runs.len() <= 1, "seed {seed}, {kind:?}: {stat:?} was run for by {runs:?}\n{}", world.told(stat));
        }
    }
}

#[test]
fn no_content_is_missed_and_none_is_run_for_twice_whatever_the_order() {
    let kinds = [Kind::Plain, Kind::Renamed, Kind::Deleted, Kind::Narrow, Kind::Hash];
    if let Ok(seed) = std::env::var("RUNNER_SEED") {
        let seed = seed.parse().unwrap();
        return kinds.into_iter().for_each(|kind| live(seed, kind));
    }
    let count: u64 = std::env::var("RUNNER_BOOK_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(1_500);
    for seed in 1..=count {
        live(seed, kinds[seed as usize % kinds.len()]);
    }
}
