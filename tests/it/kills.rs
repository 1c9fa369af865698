//! The runner is killed at random moments while it works: each run still has one start and one end, nothing is torn, nothing is
//! left running, and nothing ran that no record tells of.
//!
//! `RUNNER_KILLS` says how often, `RUNNER_SEED` draws the same moments again.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::sandbox::Sandbox;

/// Small, and good enough for moments (Marsaglia's xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// Processes that a run of this sandbox has started, by run id.
fn processes_of(sandbox: &Sandbox) -> BTreeMap<i32, String> {
    let logs = format!("RUNNER_LOG_DIR={}", sandbox.path("logs").display());
    let run_of = |pid: i32| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
        let entries: Vec<_> = environ.split(|b| *b == 0).map(String::from_utf8_lossy).collect();
        let run = entries.iter().find_map(|entry| entry.strip_prefix("RUNNER_RUN_ID="))?;
        entries.iter().any(|entry| *entry == logs).then(|| run.to_string())
    };
    runner::os::boot::all_pids().into_iter().filter_map(|pid| Some((pid, run_of(pid)?))).collect()
}

/// Every line of a job's records, those of rotated files first. A line that is no record fails the test.
fn lines_of(sandbox: &Sandbox, job: &str) -> Vec<Value> {
    let mut text = String::new();
    for name in ["runs.log.5", "runs.log.4", "runs.log.3", "runs.log.2", "runs.log.1", "runs.log"] {
        text += &sandbox.read(&format!("logs/jobs/{job}/{name}"));
    }
    assert!(text.is_empty() || text.ends_with('\n'), "{job}: the last record is torn");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{job}: {error}: {line}")))
        .collect()
}

#[test]
fn killed_at_hundreds_of_random_moments_nothing_is_lost_twice_or_left() {
    let number = |name: &str, usual: u64| std::env::var(name).map_or(usual, |text| text.parse().expect("a number"));
    let kills = number("RUNNER_KILLS", 500);
    let seed = number("RUNNER_SEED", u64::from(std::process::id()) + 1);
    eprintln!("RUNNER_SEED={seed}");
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let tell = "echo $RUNNER_RUN_ID >> ran;";
    let sandbox = Sandbox::new()
        .file("jobs/quick.yaml", &format!("on_start: true\noverlap: allow\ncommand: \"{tell} true\"\n"))
        .file("jobs/talks.yaml", &format!("on_start: true\ncommand: \"{tell} seq 200; sleep 0.05; seq 200\"\n"))
        .file(
            "jobs/fails.yaml",
            &format!("on_start: true\nretry: {{ max: 3, delay: 100ms }}\ncommand: \"{tell} exit 1\"\n"),
        )
        .file("jobs/stays.yaml", &format!("on_start: true\ncommand: \"{tell} sleep 300\"\n"))
        .file(
            "jobs/spreads.yaml",
            &format!("on_start: true\ncommand: \"{tell} setsid sleep 300 & (sleep 300 &) ; sleep 0.02\"\n"),
        )
        .file("jobs/ticks.yaml", &format!("schedule: \"* * * * * *\"\noverlap: queue\ncommand: \"{tell} sleep 0.1\"\n"))
        .file("jobs/after.yaml", &format!("after: {{ jobs: [quick], when: always }}\ncommand: \"{tell} true\"\n"));
    let jobs = ["quick", "talks", "fails", "stays", "spreads", "ticks", "after"];
    let mut known = BTreeSet::new();
    let mut killed_while_active = 0;
    for round in 0..kills {
        let mut command = sandbox.command(&["start"]);
        let mut runner = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Also before it is ready.
        let until = Instant::now() + Duration::from_micros(dice.below(250_000));
        while Instant::now() < until {
            std::thread::sleep(Duration::from_micros(200));
        }
        let log = sandbox.read("logs/runner.log");
        let is_ready = log.contains(&format!(" with PID {},", runner.id()));
        if is_ready {
            // What earlier runners had started is gone by the time that this one has begun.
            let now = processes_of(&sandbox);
            let left: Vec<_> = now.iter().filter(|(_, run)| known.contains(*run)).collect();
            assert!(left.is_empty(), "round {round}: {left:?} outlived the runner that started them");
        }
        let own_end = runner.try_wait().unwrap();
        assert!(
            own_end.is_none(),
            "round {round}: it ended by itself: {own_end:?}\n{}",
            sandbox.read("logs/runner.log")
        );
        // SAFETY: a child of this test that is not waited for yet.
        unsafe { libc::kill(runner.id() as i32, libc::SIGKILL) };
        runner.wait().unwrap();
        let alive: Vec<String> = processes_of(&sandbox).into_values().collect();
        killed_while_active += u64::from(!alive.is_empty());
        known.extend(alive);
    }
    assert!(killed_while_active > kills / 4, "the load was there: {killed_while_active}");

    let runner = sandbox.start();
    let now = processes_of(&sandbox);
    assert!(now.values().all(|run| !known.contains(run)), "{now:?} {known:?}");
    runner.stop_at_once();
    assert_eq!(processes_of(&sandbox), BTreeMap::new());

    let mut started = BTreeSet::new();
    let mut interrupted = 0;
    for job in jobs {
        let lines = lines_of(&sandbox, job);
        let (mut starts, mut ends) = (BTreeMap::<String, u32>::new(), BTreeMap::<String, u32>::new());
        for line in &lines {
            let Some(run) = line["run"].as_str().map(str::to_string) else { continue };
            match line["event"].as_str().unwrap() {
                "start" if line["copy"] != true => *starts.entry(run).or_default() += 1,
                "end" => {
                    interrupted += u64::from(line["status"] == "interrupted");
                    *ends.entry(run).or_default() += 1;
                }
                _ => {}
            }
        }
        assert!(starts.values().chain(ends.values()).all(|count| *count == 1), "{job}: one start and one end each");
        assert!(starts.keys().eq(ends.keys()), "{job}: who started has ended, and nobody else");
        started.extend(starts.into_keys());
    }
    let ran: BTreeSet<String> = sandbox.read("ran").lines().map(str::to_string).collect();
    let untold: Vec<_> = ran.difference(&started).collect();
    assert!(untold.is_empty(), "ran without a start: {untold:?}");
    eprintln!(
        "{kills} kills, {killed_while_active} of them with runs active: {} runs, {interrupted} interrupted",
        started.len()
    );
}
