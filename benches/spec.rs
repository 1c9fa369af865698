//! What it costs to read and check one job's file; 10,000 of them have to take less than 0.6 s.

use criterion::{Criterion, criterion_group, criterion_main};
use runner::spec::{Defaults, MissingVariable, ReadContext, Source, read_job};

const YAML: &str = "\
# yaml-language-server: $schema=../schema/job.schema.json
description: Summary of yesterday, at nine
schedule: \"0 9 * * mon-fri\"
command: ./bin/summary --day yesterday
timeout: 10m
env: { LANG: C.UTF-8 }
";
const JSON: &str = r#"{"name": "backup", "schedule": "0 2 * * *", "command": "./backup.sh", "working_directory": "/srv", "enabled": true, "timeout": "1h", "labels": {"team": "finance", "tier": "two"}}"#;

fn one_file(c: &mut Criterion) {
    let cx = ReadContext {
        env: &|_| None,
        missing: MissingVariable::Error,
        timezone: "UTC",
        means: &runner::os::means::Means::ALL,
    };
    let defaults = Defaults::default();
    let zoned = format!("{YAML}timezone: Europe/London\n");
    for (path, text) in [("jobs/a.yaml", YAML), ("jobs/zoned.yaml", zoned.as_str()), ("jobs/a.json", JSON)] {
        let source = Source { path, bytes: text.as_bytes() };
        c.bench_function(path, |b| b.iter(|| read_job(source, "a", &defaults, &cx)));
    }
}

/// A file of 1 MiB: a hundred times the parts must not cost much more than a hundred times as much.
fn large_file(c: &mut Criterion) {
    let cx = ReadContext {
        env: &|_| None,
        missing: MissingVariable::Error,
        timezone: "UTC",
        means: &runner::os::means::Means::ALL,
    };
    let defaults = Defaults::default();
    for lines in [400, 40_000] {
        let env: String = (0..lines).map(|n| format!("  NAME_{n:05}: value {n}\n")).collect();
        let text = format!("every: 1m\ncommand: env\nenv:\n{env}");
        let source = Source { path: "jobs/large.yaml", bytes: text.as_bytes() };
        c.bench_function(&format!("env of {lines}"), |b| b.iter(|| read_job(source, "large", &defaults, &cx)));
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = one_file, large_file
}
criterion_main!(benches);
