//! Watches over time: who writes slowly, what no event tells of, what a watch costs while nothing happens.

use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::sandbox::{Runner, Sandbox, wait_for};
use crate::watch_support::{ledger, noted, states, watching};

/// A job that writes down the size and the name of each file.
fn noting(watch: &str) -> Sandbox {
    let text = format!(
        "watch:\n  paths: [in]\n{watch}command: [sh, -c, 'printf \"%s %s\\n\" \"$(wc -c < \"$1\")\" \"$2\" >> \"$RUNNER_LOG_DIR/../noted\"', sh, '{{path}}', '{{name}}']\n"
    );
    Sandbox::new().file("jobs/w.yaml", &text)
}

/// Half-written files: a write every half second for a minute.
#[test]
fn a_writer_that_writes_every_half_second_for_a_minute_makes_one_run_for_all_of_it() {
    let sandbox = noting("  settle: 2s\n");
    let runner = watching(&sandbox);
    let mut file = fs::File::create(sandbox.path("in/slow")).unwrap();
    let (begun, mut writes) = (Instant::now(), 0_u32);
    while begun.elapsed() < Duration::from_secs(60) {
        file.write_all(b"a line\n").unwrap();
        writes += 1;
        // The pace of the writer is what this is about. It is kept whatever else the machine does: what is late is not waited for.
        let next = begun + Duration::from_millis(500) * writes;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    assert_eq!(noted(&sandbox), [""; 0], "it is written to still");
    drop(file);
    wait_for("it is run for", || !noted(&sandbox).is_empty());
    sandbox.wait_for_log("✓ Added slow");
    sandbox.write("in/mark", "x");
    wait_for("so is the next one", || noted(&sandbox).len() >= 2);
    let whole = format!("{} slow", writes * 7);
    assert_eq!(noted(&sandbox), [whole, "1 mark".to_string()], "one run, for all of it");
    assert_eq!(sandbox.wait_for_ends("w", 2).len(), 2);
    runner.stop();
}

/// Half-written files, as rsync has them: closed under a hidden name before they get their own.
#[test]
fn a_hidden_file_that_is_closed_waits_for_its_name() {
    let sandbox = noting("  settle: close\n");
    let runner = watching(&sandbox);
    let is_in_time = (0..20).any(|n| {
        let (hidden, name) = (format!("in/.{n}.Xy12ab"), format!("in/{n}"));
        let begun = Instant::now();
        sandbox.write(&hidden, "x");
        wait_for("it is noticed", || sandbox.logged(&format!("Detected new file: .{n}.Xy12ab")) == 1);
        fs::rename(sandbox.path(&hidden), sandbox.path(&name)).unwrap();
        // A machine that stood still for longer says nothing.
        let is_in_time = begun.elapsed() < Duration::from_millis(1_900);
        if is_in_time {
            sandbox.wait_for_log(&format!("✓ Added {n} "));
            assert_eq!(noted(&sandbox).last(), Some(&format!("1 {n}")), "{:?}", noted(&sandbox));
            assert_eq!(sandbox.logged(&format!("Processing .{n}.")), 0);
        }
        is_in_time
    });
    assert!(is_in_time);
    // Under a hidden name that it keeps it is complete a little later.
    sandbox.write("in/.kept", "xy");
    wait_for("it is run for", || noted(&sandbox).last() == Some(&"2 .kept".to_string()));
    runner.stop();
}

#[test]
fn sighup_finds_a_change_that_no_event_told_of() {
    // Nothing but the start's scan and SIGHUP's looks here for an hour.
    let sandbox = noting("  settle: 100ms\n  backend: poll\n  poll: 1h\n");
    let runner = watching(&sandbox);
    for n in 1..=2 {
        sandbox.write("in/a", &"x".repeat(n));
        assert_eq!(noted(&sandbox).len(), n - 1, "nobody has told of it");
        runner.signal(libc::SIGHUP);
        wait_for("the scan has found it", || noted(&sandbox).len() == n);
        wait_for("it is done", || ledger(&sandbox, "w").iter().filter(|line| line["state"] == "done").count() == n);
    }
    assert_eq!(noted(&sandbox), ["1 a", "2 a"]);
    runner.stop();
}

/// Clock ticks of the runner's threads so far, in user mode and in the kernel.
fn ticks(runner: &Runner<'_>) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", runner.pid())).unwrap();
    let after_name = stat.rsplit_once(") ").unwrap().1;
    let field = |n: usize| after_name.split(' ').nth(n - 3).unwrap().parse::<u64>().unwrap();
    field(14) + field(15)
}

/// What both have used over the same few seconds.
fn ticks_of_both(one: &Runner<'_>, other: &Runner<'_>) -> (u64, u64) {
    let before = (ticks(one), ticks(other));
    // The interval is what is measured.
    std::thread::sleep(Duration::from_secs(8));
    (ticks(one) - before.0, ticks(other) - before.1)
}

#[test]
fn a_watch_of_thousands_of_files_costs_no_time_while_nothing_happens() {
    let with = noting("  settle: close\n");
    for n in 0..5_000 {
        with.write(&format!("in/{}/{n}", n % 50), "x");
    }
    let without = Sandbox::new().file("jobs/j.yaml", "manual: true\ncommand: x\n");
    let runner = watching(&with);
    let other = without.start();
    wait_for("all files are known", || states(&with).len() == 5_000);
    let (ticks, without) = ticks_of_both(&runner, &other);
    // A hundredth of a second each, in 8 seconds; one tick can fall either way.
    assert!(ticks <= without + 3, "{ticks} ticks with a watch, {without} without");
    // It watches all the same.
    with.write("in/7/new", "x");
    wait_for("it is run for", || noted(&with) == ["1 new"]);
    runner.stop();
    other.stop();
}

/// What a runner keeps in memory, in KiB.
fn resident(runner: &Runner<'_>) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", runner.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A fifth of the million entries that a ledger has to bear in 2 s and 300 MB, with room for a build that is not made for speed.
#[test]
fn a_ledger_of_many_entries_is_read_in_bounded_time_and_memory() {
    const ENTRIES: u64 = 200_000;
    let (large, small) = (noting("  settle: close\n"), noting("  settle: close\n"));
    let mut lines = String::new();
    for n in 0..ENTRIES {
        // Not below the watched path: nobody looks for them.
        lines += &format!(
            "{{\"at\":\"2026-01-15T09:00:00.123Z\",\"state\":\"done\",\"path\":\"/srv/files/folder{}/file number {n}.pdf\",\"event\":\"created\",\
             \"dev\":65024,\"inode\":{},\"size\":{n},\"mtime\":1768467600123456789,\"run\":\"019bc0f0-5c00-7000-8000-{n:012x}\"}}\n",
            n / 1_000,
            1_000_000 + n
        );
    }
    large.write("logs/jobs/w/ledger.log", &lines);
    let (with, without) = (watching(&large), watching(&small));
    let (ticks, least) = (ticks(&with), ticks(&without));
    assert!(ticks < least + 500, "{ticks} hundredths of a second, {least} without");
    let (kept, least) = (resident(&with), resident(&without));
    assert!(kept < least + 60 * 1024, "{kept} KiB, {least} without");
    assert_eq!(large.logged("could not be read"), 0);
    large.write("in/a", "x");
    wait_for("a new one is run for", || noted(&large) == ["1 a"]);
    let rows = large.run(&["watch", "ls", "w", "--all", "--limit", "1"]).code(0).err();
    assert!(rows.contains(&format!("{} more files are not shown", ENTRIES)), "{rows}");
    with.stop();
    without.stop();
}
