//! How long the engine takes to decide: with 100,000 jobs, each firing by itself.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::{SignedDuration, Timestamp};
use runner::engine::{Change, Decision, Engine, Entry, Event, Memory, Settings, Starting};
use runner::model::{JobName, Status};
use runner::spec::{Defaults, JobSpec, MissingVariable, ReadContext, Source, read_job};
use runner::trigger::TriggerContext;

const JOBS: i64 = 100_000;

/// Counts the bytes that are in use: what a job costs is told beside the times.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: hands everything on to the system's allocator, and counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are the same.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn spec() -> Arc<JobSpec> {
    let env = |_: &str| None;
    let cx = ReadContext {
        env: &env,
        missing: MissingVariable::Error,
        timezone: "UTC",
        means: &runner::os::means::Means::ALL,
    };
    let bytes = b"schedule: \"7 */6 * * *\"\ncommand: [\"true\"]\n";
    let read = read_job(Source { path: "jobs/x.yaml", bytes }, "x", &Defaults::default(), &cx);
    Arc::new(read.spec.expect("the file is fine"))
}

fn engine(now: Timestamp) -> Engine {
    let spec = spec();
    let zone = jiff::tz::TimeZone::UTC;
    let changes = (0..JOBS)
        .map(|n| {
            let name = JobName::new(&format!("job{n}")).expect("a good name");
            let every = format!("\"{}s\"", 14_400 + n % 14_400);
            let trigger = runner::trigger::Trigger::from_value("every", serde_json::from_str(&every).expect("JSON"));
            let trigger = trigger.and_then(Result::ok).expect("a good interval");
            let armed = trigger.arm(TriggerContext::of(&name, &zone)).expect("an interval fires");
            Change::Put(Box::new(Entry {
                name,
                spec: spec.clone(),
                armed: vec![(trigger.triggered_by(), armed)],
                closed: None,
                first_loaded: now,
                memory: Memory::default(),
            }))
        })
        .collect();
    let mut engine = Engine::new(Settings::new(64), 1);
    let mut decisions = Vec::new();
    engine.handle(Event::Load { changes, starting: Some(Starting { down_since: None }) }, now, &mut decisions);
    engine
}

fn decide(c: &mut Criterion) {
    let mut now = Timestamp::from_second(1_800_000_000).expect("in range");
    let before = IN_USE.load(Ordering::Relaxed);
    let mut engine = engine(now);
    // The names and the armed triggers are in it, the spec, which all share here, is not.
    println!("the engine takes {} bytes a job", (IN_USE.load(Ordering::Relaxed) - before) / JOBS as usize);
    let mut decisions = Vec::new();
    c.bench_function("decide one firing and its end, 100,000 jobs", |b| {
        b.iter(|| {
            now = engine.wake_at().expect("something is due");
            engine.handle(Event::Wake, now, &mut decisions);
            now += SignedDuration::from_millis(1);
            for decision in std::mem::take(&mut decisions) {
                if let Decision::Start { run, .. } = black_box(decision) {
                    engine.handle(
                        Event::Ended { run, status: Status::Success, exit_code: Some(0) },
                        now,
                        &mut decisions,
                    );
                }
            }
            decisions.clear();
        });
    });
    c.bench_function("ask when to wake, 100,000 jobs", |b| b.iter(|| black_box(engine.wake_at())));
}

criterion_group! { name = engine_benches; config = Criterion::default().sample_size(50); targets = decide }
criterion_main!(engine_benches);
