//! Many runs and many reloads leave memory and file descriptors as they were. `RUNNER_SOAK=1` makes it long.

use std::fs;

use crate::sandbox::{Runner, Sandbox};

/// Resident memory in KiB, and open descriptors.
fn figures(runner: &Runner<'_>) -> (u64, usize) {
    let status = fs::read_to_string(format!("/proc/{}/status", runner.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let resident = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    let descriptors = fs::read_dir(format!("/proc/{}/fd", runner.pid())).unwrap().count();
    (resident, descriptors)
}

#[test]
fn runs_and_reloads_leave_memory_and_descriptors_as_they_were() {
    let is_long = std::env::var_os("RUNNER_SOAK").is_some_and(|value| value == "1");
    let (reloads, runs_a_reload) = if is_long { (500, 40) } else { (20, 25) };
    let sandbox = Sandbox::new().file(
        "runner.yaml",
        "max_concurrent_runs: 8\nlogs: { max_size: 1MB, max_files: 2 }\nreload: { debounce: 10ms }\n",
    );
    // Each reload changes every one of these; a changed job with `at` just ahead runs once.
    let jobs = 25;
    let write = |round: usize| {
        for n in 0..jobs {
            let text = format!("manual: true\nlabels: {{ round: '{round}' }}\ncommand: [echo, '{n} {round}']\n");
            sandbox.write(&format!("jobs/g{}/j{n}.yaml", n % 5), &text);
        }
        sandbox.write("jobs/broken.yaml", if round.is_multiple_of(2) { "[" } else { "manual: true\ncommand: x\n" });
    };
    write(0);
    let runner = sandbox.start();
    let round = |round: usize| {
        write(round);
        sandbox.run(&["reload"]);
        std::thread::scope(|scope| {
            for half in 0..2 {
                let sandbox = &sandbox;
                scope.spawn(move || {
                    // No job is asked for by both.
                    for n in (0..runs_a_reload).filter(|n| n % jobs % 2 == half) {
                        let n = n % jobs;
                        sandbox
                            .run(&["run", &format!("g{}/j{n}", n % 5), "--wait"])
                            .code(0)
                            .stdout(&format!("{n} {round}\n"));
                    }
                });
            }
        });
    };
    // What is made once is made by then.
    let warm = if is_long { 50 } else { 6 };
    (1..=warm).for_each(round);
    let before = figures(&runner);
    (warm + 1..=reloads).for_each(round);
    let after = figures(&runner);
    let total: u64 =
        sandbox.json(&["list", "--json"]).as_array().unwrap().iter().map(|e| e["runs"].as_u64().unwrap()).sum();
    assert_eq!(total as usize, reloads * runs_a_reload);
    assert!(sandbox.json(&["status", "--json"])["generation"].as_u64().unwrap() > reloads as u64);
    eprintln!(
        "{total} runs, {reloads} reloads: {} KiB and {} descriptors, before {} and {}",
        after.0, after.1, before.0, before.1
    );
    let allowed = if is_long { 2_048 } else { 4_096 };
    assert!(after.0 <= before.0 + allowed, "resident memory grew from {} to {} KiB", before.0, after.0);
    assert!(after.1 <= before.1 + 2, "descriptors grew from {} to {}", before.1, after.1);
    runner.stop();
}
