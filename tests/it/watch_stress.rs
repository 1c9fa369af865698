//! Files that come and go at random, while the runner watches, is restarted and killed, and while its job is edited: no file is missed,
//! none is done twice.
//!
//! `RUNNER_SEED=17 cargo test watch_stress` lives one seed again; RUNNER_WATCH_SEEDS says how many are lived.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::sandbox::{Sandbox, signal, wait_for};

/// A content of a file: inode, size, time of change.
type Identity = (u64, u64, i64);

fn identity(path: &Path) -> Option<Identity> {
    let meta = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some((meta.ino(), meta.len(), meta.mtime() * 1_000_000_000 + meta.mtime_nsec()))
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() { None } else { of.get(self.below(of.len())) }
    }
}

/// The tree, and what is done to it.
struct Tree {
    root: PathBuf,
    /// Beside the root: where directories and files go and come back from.
    away: PathBuf,
    dice: Dice,
    number: u64,
}

impl Tree {
    fn all(&self, top: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let (mut files, mut folders, mut stack) = (Vec::new(), Vec::new(), vec![top.to_path_buf()]);
        while let Some(folder) = stack.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    true => {
                        stack.push(entry.path());
                        folders.push(entry.path());
                    }
                    false => files.push(entry.path()),
                }
            }
        }
        files.sort();
        folders.sort();
        (files, folders)
    }

    fn name(&mut self) -> String {
        self.number += 1;
        // Mostly a new name, sometimes one that is there, never one that is left out.
        match self.dice.below(4) {
            0 => format!("often {}", self.dice.below(6)),
            _ => format!("f{}\n\"{}\"", self.number, self.dice.below(9)),
        }
    }

    fn folder(&mut self) -> PathBuf {
        let (_, folders) = self.all(&self.root);
        match self.dice.below(3) {
            0 => self.root.clone(),
            _ => self.dice.one(&folders).cloned().unwrap_or_else(|| self.root.clone()),
        }
    }

    fn text(&mut self) -> Vec<u8> {
        let length = self.dice.below(200);
        (0..length).map(|_| b'a' + self.dice.below(26) as u8).collect()
    }

    /// Does one thing. What is in its way is no fault: others may have been there first.
    fn act(&mut self) {
        let (files, folders) = self.all(&self.root);
        let file = self.dice.one(&files).cloned();
        let _ = match (self.dice.below(16), file) {
            (0..=3, _) | (_, None) => {
                let (path, text) = (self.folder().join(self.name()), self.text());
                fs::write(path, text)
            }
            (4 | 5, Some(file)) => {
                let text = self.text();
                fs::OpenOptions::new().append(true).open(file).and_then(|mut file| {
                    file.write_all(&text)?;
                    file.write_all(b".")
                })
            }
            (6 | 7, Some(file)) => {
                let (new, text) = (file.with_file_name(format!("{}.tmp", self.number)), self.text());
                self.number += 1;
                fs::write(&new, text).and_then(|()| fs::rename(new, file))
            }
            (8, Some(file)) => {
                let to = self.folder().join(self.name());
                fs::rename(file, to)
            }
            (9, Some(file)) => fs::remove_file(file),
            (10, _) => {
                let mut deep = self.folder();
                for _ in 0..1 + self.dice.below(3) {
                    deep.push(format!("d{}", self.dice.below(20)));
                }
                let (path, text) = (deep.join(self.name()), self.text());
                fs::create_dir_all(&deep).and_then(|()| fs::write(path, text))
            }
            (11, _) => match self.dice.one(&folders).cloned() {
                Some(folder) => {
                    self.number += 1;
                    fs::rename(folder, self.away.join(format!("a{}", self.number)))
                }
                None => Ok(()),
            },
            (12, _) => {
                let (_, gone) = self.all(&self.away);
                let gone: Vec<PathBuf> = gone.into_iter().filter(|path| path.parent() == Some(&self.away)).collect();
                match self.dice.one(&gone).cloned() {
                    Some(folder) => {
                        self.number += 1;
                        let to = self.folder().join(format!("b{}", self.number));
                        fs::rename(folder, to)
                    }
                    None => Ok(()),
                }
            }
            (13, Some(file)) => {
                self.number += 1;
                fs::rename(file, self.away.join(format!("x{}", self.number)))
            }
            (14, _) => {
                let (gone, _) = self.all(&self.away);
                match self.dice.one(&gone).cloned() {
                    Some(gone) => {
                        let to = self.folder().join(self.name());
                        fs::rename(gone, to)
                    }
                    None => Ok(()),
                }
            }
            (_, _) => match self.dice.one(&folders).cloned() {
                // One within the tree to another place of it.
                Some(folder) => {
                    self.number += 1;
                    let to = self.root.join(format!("c{}", self.number));
                    fs::rename(folder, to)
                }
                None => Ok(()),
            },
        };
    }
}

/// What the ledger tells, gathered before each start, which may write it anew.
#[derive(Default)]
struct Told {
    /// Which runs had which content.
    had: BTreeMap<Identity, BTreeSet<String>>,
    done: HashSet<Identity>,
    /// What has been done, and what no run was to be made for.
    known: HashSet<Identity>,
    seen: HashSet<String>,
}

impl Told {
    fn gather(&mut self, sandbox: &Sandbox) {
        for line in sandbox.read("logs/jobs/w/ledger.log").lines() {
            if !self.seen.insert(line.to_string()) {
                continue;
            }
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
            let number = |key: &str| line[key].as_u64().unwrap_or(0);
            let identity = (number("inode"), number("size"), line["mtime"].as_i64().unwrap_or(0));
            match line["state"].as_str() {
                // One more run for what is known, as it was asked for.
                Some("running") if line["event"] == "renamed" => {}
                Some("running") => {
                    self.had.entry(identity).or_default().insert(line["run"].as_str().unwrap().to_string());
                }
                Some("done") if line["run"].is_string() => {
                    self.done.insert(identity);
                    self.known.insert(identity);
                }
                Some("ignored") => drop(self.known.insert(identity)),
                _ => {}
            }
        }
    }
}

impl Told {
    /// All that the ledger had of a content, and of the paths at which it stood; and when the runner was there.
    fn about(&self, identity: &Identity, sandbox: &Sandbox) -> String {
        let inode = format!("\"inode\":{},", identity.0);
        let path = |line: &str| serde_json::from_str::<Value>(line).ok().map(|line| line["path"].to_string());
        let paths: BTreeSet<String> =
            self.seen.iter().filter(|line| line.contains(&inode)).filter_map(|line| path(line)).collect();
        let is_meant = |line: &&String| line.contains(&inode) || paths.iter().any(|path| line.contains(path.as_str()));
        let mut lines: Vec<&String> = self.seen.iter().filter(is_meant).collect();
        lines.sort();
        let log = sandbox.read("logs/runner.log");
        let times = log.lines().filter(|line| line.contains(" runner: ")).map(str::to_string);
        lines.into_iter().cloned().chain(times).collect::<Vec<_>>().join("\n")
    }
}

/// What is edited while files come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edits {
    None,
    /// All but which events make runs.
    Ways,
    /// Also that: what happened while it made no run is missed, and rightly so.
    Events,
    /// Also `deleted`: what comes back after that is new, and rightly run for twice.
    Deletions,
}

impl Edits {
    /// The job as somebody may write it.
    fn job(self, dice: &mut Dice, instances: usize) -> String {
        let events: &[&str] = match self {
            Self::None | Self::Ways => &["created, modified"],
            Self::Events => &["created, modified", "created", "modified", "created, modified, renamed"],
            Self::Deletions => &["created, modified", "created, modified, deleted"],
        };
        let mut one = |of: &[&str]| dice.one(of).map(|text| text.to_string()).unwrap_or_default();
        let settle = one(&["close", "80ms", "10ms", "0s", "300ms"]);
        let batch = one(&["{ mode: each }", "{ mode: all, max: 7, wait: 20ms }"]);
        let paths = one(&["[in]", "[in]", "[in, away]", "[away, in]", "[away]", "[in, in/d1]"]);
        let patterns = one(&["['**']", "['**']", "['f*']", "['often*']", "['**/d1*/**']"]);
        let ignore = one(&["[]", "[]", "['often*']", "['c*/']"]);
        let (order, events) = (one(&["arrival", "arrival", "name"]), one(events));
        // One that is switched off, and one that is broken, so that the one before stays.
        let rest = one(&["", "", "", "enabled: false\n", "watch: no\n"]);
        let watch = format!(
            "existing: process, paths: {paths}, settle: {settle}, batch: {batch}, order: {order}, patterns: {patterns}, \
             ignore: {ignore}, events: [{events}]"
        );
        job(&watch, instances, dice) + &rest
    }
}

fn job(watch: &str, instances: usize, dice: &mut Dice) -> String {
    format!(
        "watch: {{ {watch}, rescan: 20s }}\nmax_instances: {instances}\nkill_grace: 0s\n\
         command: [sleep, '0.00{}']\n",
        dice.below(10)
    )
}

/// As an editor saves it: mostly in one step.
fn edit(sandbox: &Sandbox, text: &str, dice: &mut Dice) {
    let path = sandbox.path("jobs/w.yaml");
    match dice.below(8) {
        0 => fs::remove_file(path).unwrap_or_default(),
        1 => fs::write(path, text).unwrap(),
        _ => {
            let new = sandbox.path("jobs/.w.yaml.new");
            fs::write(&new, text).unwrap();
            fs::rename(new, path).unwrap();
        }
    }
}

fn live(seed: u64, edits: Edits) {
    let mut dice = Dice(seed);
    let settle = ["close", "80ms"][dice.below(2)];
    let batch = ["{ mode: each }", "{ mode: all, max: 7, wait: 20ms }"][dice.below(2)];
    let instances = 1 + dice.below(4);
    let text = job(&format!("paths: [in], settle: {settle}, batch: {batch}"), instances, &mut dice);
    let sandbox = Sandbox::new().file("jobs/w.yaml", &text).file("runner.yaml", "shutdown_timeout: 0s\n");
    let (root, away) = (sandbox.path("in"), sandbox.path("away"));
    fs::create_dir(&root).unwrap();
    fs::create_dir(&away).unwrap();
    let mut tree = Tree { root: root.clone(), away, dice, number: 0 };
    let mut told = Told::default();
    let mut runner = Some(sandbox.start());
    // What is there before that is not meant.
    sandbox.wait_for_log("w: watches");
    for round in 0..6 {
        for _ in 0..60 {
            tree.act();
            match tree.dice.below(60) {
                0 => {
                    if let Some(runner) = runner.take() {
                        runner.kill();
                    }
                    told.gather(&sandbox);
                }
                1 => {
                    if let Some(runner) = runner.take() {
                        runner.stop();
                    }
                    told.gather(&sandbox);
                }
                2..=4 if runner.is_none() => runner = Some(sandbox.start()),
                // The pace of whoever changes the files is part of the dice.
                5..=20 => std::thread::sleep(Duration::from_millis(tree.dice.below(20) as u64)),
                21..=28 if edits != Edits::None => {
                    // One that comes back may write its ledger anew.
                    told.gather(&sandbox);
                    let text = edits.job(&mut tree.dice, instances);
                    edit(&sandbox, &text, &mut tree.dice);
                }
                _ => {}
            }
        }
        if edits != Edits::None {
            sandbox.replace_or_write("jobs/w.yaml", &text);
        }
        if runner.is_none() {
            runner = Some(sandbox.start());
        }
        let expected: BTreeMap<PathBuf, Identity> =
            tree.all(&root).0.into_iter().filter_map(|path| Some((path.clone(), identity(&path)?))).collect();
        let mut missed = Vec::new();
        wait_for_or(
            || {
                told.gather(&sandbox);
                let is_done = |identity: &Identity| match edits {
                    Edits::Events => told.known.contains(identity),
                    _ => told.done.contains(identity),
                };
                missed = expected.iter().filter(|(_, identity)| !is_done(identity)).collect();
                missed.is_empty()
            },
            || {
                format!(
                    "seed {seed}, {edits:?}, round {round}: run for never: {:?}\n{}",
                    missed_words(&expected, &sandbox),
                    sandbox.read("logs/runner.log")
                )
            },
        );
    }
    if let Some(runner) = runner.take() {
        runner.stop();
    }
    told.gather(&sandbox);
    // One that a kill or a stop cut short may be followed by another.
    let ends = sandbox.events("w", "end");
    let came_to_its_end = |end: &&Value| end["status"] != "interrupted" && end["status"] != "cancelled";
    let whole: HashSet<&str> = ends.iter().filter(came_to_its_end).filter_map(|end| end["run"].as_str()).collect();
    for (identity, runs) in told.had.iter().filter(|_| edits != Edits::Deletions) {
        let runs: Vec<&String> = runs.iter().filter(|run| whole.contains(run.as_str())).collect();
        let lines = || told.about(identity, &sandbox);
        assert!(runs.len() <= 1, "seed {seed}, {edits:?}: {identity:?} was run for twice, by {runs:?}\n{}", lines());
    }
    assert!(told.had.len() > 50, "seed {seed}, {edits:?}: {} contents were run for", told.had.len());
}

fn missed_words(expected: &BTreeMap<PathBuf, Identity>, sandbox: &Sandbox) -> Vec<String> {
    let mut told = Told::default();
    told.gather(sandbox);
    let missed = expected.iter().filter(|(_, identity)| !told.done.contains(identity));
    missed
        .map(|(path, identity)| {
            let now = self::identity(path);
            let file = path.to_string_lossy().into_owned();
            format!("{path:?} {identity:?} (now {now:?}): {}", sandbox.run(&["watch", "explain", "w", &file]))
        })
        .collect()
}

#[track_caller]
fn wait_for_or(mut condition: impl FnMut() -> bool, words: impl FnOnce() -> String) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !condition() {
        if std::time::Instant::now() > deadline {
            panic!("{}", words());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn live_all(edits: &[Edits]) {
    if let Ok(seed) = std::env::var("RUNNER_SEED") {
        let seed = seed.parse().unwrap();
        return edits.iter().for_each(|edits| live(seed, *edits));
    }
    let count: u64 = std::env::var("RUNNER_WATCH_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(4);
    for seed in 1..=count {
        live(seed, edits[seed as usize % edits.len()]);
    }
}

#[test]
fn no_file_is_missed_and_none_is_done_twice() {
    live_all(&[Edits::None]);
}

#[test]
fn no_file_is_missed_and_none_is_done_twice_while_the_job_is_edited() {
    live_all(&[Edits::Ways, Edits::Events, Edits::Deletions]);
}

/// Overflow that loses events: the runner stands still while more happens than the kernel's queue holds.
#[test]
fn more_events_than_the_kernel_keeps_lose_no_file() {
    let text = "watch: { paths: [in], settle: close, batch: { mode: all, max: 1000000, wait: 100ms } }\n\
                command: 'cat \"$RUNNER_ITEMS\" >> \"$RUNNER_LOG_DIR/../noted\"'\n";
    let sandbox = Sandbox::new().file("jobs/w.yaml", text);
    for n in 0..7 {
        fs::create_dir_all(sandbox.path(&format!("in/{n}"))).unwrap();
    }
    let runner = sandbox.start();
    sandbox.wait_for_log("w: watches");
    let limit: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    signal(runner.pid(), libc::SIGSTOP);
    let count = (limit / 2).min(20_000) + 100;
    for n in 0..count {
        let folder = sandbox.path(&format!("in/{}", n % 7));
        fs::write(folder.join(format!("{n}")), "x").unwrap();
    }
    signal(runner.pid(), libc::SIGCONT);
    sandbox.wait_for_log("the kernel lost count of the changes");
    wait_for("all are run for", || sandbox.read("noted").lines().count() >= count);
    let noted = sandbox.read("noted");
    let paths: HashSet<String> = noted
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["path"].as_str().unwrap().into())
        .collect();
    assert_eq!((paths.len(), noted.lines().count()), (count, count), "each once");
    runner.stop();
}
