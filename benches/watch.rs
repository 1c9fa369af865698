//! What a watch costs inside one process: a ledger of a million entries read, ten thousand new files told to a book and handed to
//! runs. Says also how much memory an entry keeps.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use runner::model::RunIds;
use runner::trigger::{Armed, Files, Trigger, TriggerContext};
use runner::watch::{Book, Ended, Found, Loaded, Looked, Now, Sight, Stat, load, now};

const ENTRIES: u64 = 1_000_000;
const NEW: u64 = 10_000;

fn path(n: u64) -> String {
    format!("/srv/files/folder{}/file number {n}.pdf", n / 1000)
}

fn ledger(directory: &Path) -> PathBuf {
    let mut lines = String::new();
    for n in 0..ENTRIES {
        let _ = writeln!(
            lines,
            r#"{{"at":"2026-01-15T09:00:00.123Z","state":"done","path":"{}","event":"created","dev":65024,"inode":{},"size":{},"mtime":{},"born":{},"run":"019bc0f0-5c00-7000-8000-{n:012x}"}}"#,
            path(n),
            1_000_000 + n,
            1_000 + n % 5_000,
            1_768_467_600_123_456_789 + n * 1_000_003,
            1_768_467_600_000_456_789 + n * 1_000_003,
        );
    }
    let path = directory.join("ledger.log");
    std::fs::write(&path, lines).expect("room for a ledger");
    path
}

/// Resident memory, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = status.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    pages * 4096
}

fn loading(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = ledger(dir.path());
    let before = resident();
    let loaded = load(&path).expect("a ledger");
    let grown = resident().saturating_sub(before);
    assert_eq!((loaded.entries.len() as u64, loaded.odd), (ENTRIES, 0));
    println!("a ledger of {ENTRIES} entries keeps {} bytes an entry", grown / ENTRIES as usize);
    drop(loaded);
    let mut group = c.benchmark_group("ledger");
    group.sample_size(10).measurement_time(Duration::from_secs(20)).throughput(Throughput::Elements(ENTRIES));
    group.bench_function("1,000,000 entries read", |b| {
        b.iter_with_large_drop(|| load(black_box(&path)).expect("a ledger"));
    });
    group.finish();
}

/// A watch in force with `settle: close`.
fn files() -> Arc<Files> {
    let json = serde_json::json!({ "paths": ["/srv/files"], "settle": "close" });
    let trigger = Trigger::from_value("watch", json).expect("a trigger").expect("a watch");
    match trigger.arm(TriggerContext::of("job", &jiff::tz::TimeZone::UTC)) {
        Some(Armed::AtFiles(files)) => files,
        other => panic!("{other:?}"),
    }
}

fn new_files(now: &Now) -> Vec<(PathBuf, Found)> {
    let at = i64::try_from(now.time.as_nanosecond()).expect("a time of today");
    (0..NEW)
        .map(|n| {
            let stat = Stat { dev: 1, inode: 1_000 + n, size: 7, mtime: at, born: 0 };
            (path(n).into(), Found { stat, ctime: at, is_linked: false })
        })
        .collect()
}

/// As a watch's thread tells of files: seen, looked at, complete.
fn tell(book: &mut Book, files: &[(PathBuf, Found)], of: &HashMap<&Path, Found>) {
    for (path, found) in files {
        black_box(book.twin_of(path, &found.stat));
        black_box(book.found(path, found, Sight::Closed, None, &now()));
    }
    loop {
        let due = book.due(&now(), 1_024);
        if due.is_empty() {
            return;
        }
        for due in due {
            let found = of.get(due.path.as_path()).copied();
            book.looked(due.id, Looked { found, ..Default::default() }, &now());
        }
    }
}

fn telling(c: &mut Criterion) {
    let (files, at) = (files(), now());
    let new = new_files(&at);
    let of: HashMap<&Path, Found> = new.iter().map(|(path, found)| (path.as_path(), *found)).collect();
    let empty = || Book::new(files.clone(), Loaded::default(), |_| None, &at);
    let mut group = c.benchmark_group("book");
    group.throughput(Throughput::Elements(NEW)).sample_size(20);
    group.bench_function("10,000 new files told", |b| {
        b.iter_batched_ref(empty, |book| tell(book, &new, &of), BatchSize::PerIteration);
    });
    group.bench_function("10,000 files known, told again", |b| {
        let mut book = empty();
        tell(&mut book, &new, &of);
        b.iter(|| tell(&mut book, &new, &of));
    });
    let full = || {
        let mut book = empty();
        tell(&mut book, &new, &of);
        book.take_lines();
        book
    };
    let mut ids = RunIds::new(1);
    group.bench_function("10,000 files taken by runs, and done", |b| {
        b.iter_batched_ref(
            full,
            |book| {
                for _ in 0..NEW {
                    let run = ids.next(Timestamp::now());
                    black_box(book.take(run, &now()));
                    book.ended(run, &Ended::Done, &now());
                    black_box(book.backlog(&now()));
                    black_box(book.take_lines());
                }
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(watch_benches, loading, telling);
criterion_main!(watch_benches);
