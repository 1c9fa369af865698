//! How long records take: a run's start and end, and output of short and of long lines.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use runner::model::{Firing, JobName, Outcome, RunIds, Stream, TriggeredBy};
use runner::record::{Layout, OutputLog, Records, RunFacts, Settings, Synced};

fn records() -> (tempfile::TempDir, Arc<Records>) {
    let dir = tempfile::tempdir().expect("a directory");
    let records =
        Records::new(Layout::new(dir.path()), Settings { max_size: 10_000_000, max_files: 5, synced: Synced::Nothing });
    (dir, records)
}

fn runs(c: &mut Criterion) {
    let (_dir, records) = records();
    let job = JobName::new("etl/load").expect("a good name");
    let mut ids = RunIds::new(1);
    c.bench_function("a run's start and end", |b| {
        b.iter(|| {
            let now = Timestamp::now();
            let firing = Firing::new(job.clone(), TriggeredBy::Cron, now);
            let facts = RunFacts { run: ids.next(now), firing, attempt: 1, started: now, spec: None, commit: None };
            let log = records.job(&job);
            log.prepare_start(&facts).settle();
            black_box(log.end(&facts, Outcome::failed("x"), now));
        });
    });
}

fn output(c: &mut Criterion) {
    let (_dir, records) = records();
    let job = JobName::new("print").expect("a good name");
    let mut ids = RunIds::new(1);
    let mut group = c.benchmark_group("output of 1 MiB");
    for length in [8usize, 100, 1000] {
        let mut line = vec![b'x'; length - 1];
        line.push(b'\n');
        let bytes: Vec<u8> = line.iter().copied().cycle().take(256 * 1024 / length * length).collect();
        group.throughput(Throughput::Bytes(4 * bytes.len() as u64));
        for (limit, words) in [(None, "kept"), (Some(1_000), "counted")] {
            group.bench_function(format!("{length}-byte lines, {words}"), |b| {
                let mut log = OutputLog::new(records.job(&job), ids.next(Timestamp::now()), limit);
                b.iter(|| {
                    for _ in 0..4 {
                        log.write(Stream::Out, black_box(&bytes), Timestamp::now());
                    }
                });
                log.finish(Timestamp::now());
            });
        }
    }
    group.finish();
}

criterion_group! { name = record_benches; config = Criterion::default().sample_size(20); targets = runs, output }
criterion_main!(record_benches);
