//! Watches in odd places: mounts that come and go, file systems that tell of nothing, paths that come later, ledgers that somebody
//! takes away, moves to another disk.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::sandbox::{Runner, Sandbox, is_root, skip, wait_for};
use crate::watch_support::{noted, watching};

/// A job that writes down what happened to which file.
fn noting(watch: &str) -> String {
    format!(
        "watch:\n  paths: [in]\n{watch}command: [sh, -c, 'printf \"%s %s\\n\" \"$2\" \"$1\" >> \"$RUNNER_LOG_DIR/../noted\"', sh, '{{name}}', '{{event}}']\n"
    )
}

#[track_caller]
fn wait_for_noted(sandbox: &Sandbox, expected: &[&str]) {
    let sorted = || {
        let mut found = noted(sandbox);
        found.sort();
        found
    };
    let mut expected: Vec<String> = expected.iter().map(|line| line.to_string()).collect();
    expected.sort();
    let deadline = Instant::now() + Duration::from_secs(40);
    while sorted() != expected {
        assert!(Instant::now() < deadline, "{:?}, not {expected:?}\n{}", sorted(), sandbox.read("logs/runner.log"));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A command in a mount namespace of its own, which sees the binary as `$1`.
fn within(sandbox: &Sandbox, script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_runner")]);
    sandbox.clean(&mut command);
    command
}

/// Runs a command in the namespace of a runner.
#[track_caller]
fn beside(sandbox: &Sandbox, runner: &Runner<'_>, args: &[&str]) {
    let mut command = Command::new("nsenter");
    command.args(["-t", &runner.pid().to_string(), "-m"]).args(args);
    sandbox.clean(&mut command);
    sandbox.finish(command).code(0);
}

fn can_mount(sandbox: &Sandbox) -> bool {
    is_root() && within(sandbox, "mount -t tmpfs none in").status().is_ok_and(|status| status.success())
}

#[test]
fn a_mount_that_comes_and_goes_over_a_watched_path_deletes_nothing() {
    let watch = "  settle: close\n  events: [created, modified, deleted]\n";
    let sandbox = Sandbox::new().file("jobs/w.yaml", &noting(watch));
    sandbox.write("in/sub/old", "x");
    if !can_mount(&sandbox) {
        return skip("a mount of its own needs root and unshare");
    }
    let runner = sandbox.start_command(within(&sandbox, "exec \"$1\" start"));
    sandbox.wait_for_log("w: watches");
    sandbox.write("in/a", "x");
    sandbox.write("in/sub/b", "x");
    wait_for_noted(&sandbox, &["created a", "created b"]);
    sandbox.wait_for_logs("✓ Added", 2);
    let inside = |path: &str| format!("/proc/{}/root{}", runner.pid(), sandbox.path(path).display());
    let place = sandbox.path("in").display().to_string();
    // One that is empty at first: what is put there later is found at once, not after a wait that grows.
    beside(&sandbox, &runner, &["mount", "-t", "tmpfs", "none", &place]);
    sandbox.wait_for_log("another file system stands in its place, and it is empty");
    wait_for("it is shown", || {
        sandbox.json(&["status", "--json"])["watches"][0]["state"].as_str().unwrap().contains("unhealthy")
    });
    fs::write(inside("in/m"), "x").unwrap();
    wait_for_noted(&sandbox, &["created a", "created b", "created m"]);
    sandbox.wait_for_logs("✓ Added", 3);
    fs::write(inside("in/n"), "x").unwrap();
    wait_for_noted(&sandbox, &["created a", "created b", "created m", "created n"]);
    sandbox.wait_for_logs("✓ Added", 4);
    // It goes, and what was beneath is known.
    beside(&sandbox, &runner, &["umount", "-l", &place]);
    sandbox.write("in/c", "x");
    wait_for_noted(&sandbox, &["created a", "created b", "created c", "created m", "created n"]);
    // One over a folder below.
    let below = sandbox.path("in/sub").display().to_string();
    beside(&sandbox, &runner, &["mount", "-t", "tmpfs", "none", &below]);
    fs::write(inside("in/sub/s"), "x").unwrap();
    wait_for_noted(&sandbox, &["created a", "created b", "created c", "created m", "created n", "created s"]);
    beside(&sandbox, &runner, &["umount", "-l", &below]);
    sandbox.write("in/sub/d", "x");
    let all = ["created a", "created b", "created c", "created d", "created m", "created n", "created s"];
    wait_for_noted(&sandbox, &all);
    // What is deleted is told of still.
    sandbox.remove("in/a");
    wait_for_noted(&sandbox, &[&all[..], &["deleted a"]].concat());
    runner.stop();
}

/// As containers have single files: each is a mount of its own, and what stands there follows the file that was bound.
#[test]
fn a_watch_below_a_file_that_is_a_mount_of_its_own_sees_it_and_its_neighbours() {
    let sandbox = Sandbox::new().file("jobs/w.yaml", &noting("  settle: close\n  rescan: 1s\n"));
    sandbox.write("in/bound", "");
    sandbox.write("source", "first");
    if !can_mount(&sandbox) {
        return skip("a mount of its own needs root and unshare");
    }
    let script = "mount --bind source in/bound && exec \"$1\" start";
    let runner = sandbox.start_command(within(&sandbox, script));
    sandbox.wait_for_log("w: watches");
    sandbox.write("in/beside", "x");
    wait_for_noted(&sandbox, &["created beside"]);
    // Written through its other name: the directory's watch is not told of that, the next scan finds it.
    sandbox.write("source", "second, and longer");
    wait_for_noted(&sandbox, &["created beside", "modified bound"]);
    // Through the mount itself.
    let inside = format!("/proc/{}/root{}", runner.pid(), sandbox.path("in/bound").display());
    fs::write(&inside, "third, and longer than that").unwrap();
    wait_for_noted(&sandbox, &["created beside", "modified bound", "modified bound"]);
    sandbox.wait_for_logs("✓ Updated bound", 2);
    // It goes: the empty file beneath is another one. Nothing has vanished.
    beside(&sandbox, &runner, &["umount", "-l", &sandbox.path("in/bound").display().to_string()]);
    wait_for("the mount is gone", || fs::read_to_string(&inside).is_ok_and(|text| text.is_empty()));
    sandbox.write("in/last", "x");
    wait_for("events are told of still", || noted(&sandbox).contains(&"created last".to_string()));
    assert_eq!(sandbox.logged("cannot be watched"), 0);
    assert_eq!(sandbox.json(&["status", "--json"])["watches"][0]["state"], "watching");
    runner.stop();
}

/// The kernel has one watch for it, whichever path it was asked by.
#[test]
fn two_jobs_that_watch_one_folder_under_two_paths_both_get_each_file() {
    let job = |name: &str, path: &str| {
        noting("  settle: close\n").replace("[in]", &format!("[{path}]")).replace("%s %s", &format!("{name} %s %s"))
    };
    let sandbox = Sandbox::new().file("jobs/w.yaml", &job("w", "in")).file("jobs/v.yaml", &job("v", "bound"));
    fs::create_dir_all(sandbox.path("in/sub")).unwrap();
    fs::create_dir(sandbox.path("bound")).unwrap();
    if !can_mount(&sandbox) {
        return skip("a mount of its own needs root and unshare");
    }
    let runner = sandbox.start_command(within(&sandbox, "mount --bind in bound && exec \"$1\" start"));
    sandbox.wait_for_log("w: watches");
    sandbox.wait_for_log("v: watches");
    let mut expected = Vec::new();
    for path in ["a", "sub/b", "new/deep/c"] {
        fs::create_dir_all(sandbox.path("in").join(path).parent().unwrap()).unwrap();
        sandbox.write(&format!("in/{path}"), "x");
        let name = path.rsplit('/').next().unwrap();
        expected.extend([format!("v created {name}"), format!("w created {name}")]);
        wait_for_noted(&sandbox, &expected.iter().map(String::as_str).collect::<Vec<_>>());
    }
    // One of the jobs goes, and takes nothing from the other.
    sandbox.remove("jobs/v.yaml");
    sandbox.wait_for_log("(1 removed)");
    sandbox.write("in/sub/d", "x");
    wait_for("the other one gets it", || noted(&sandbox).contains(&"w created d".to_string()));
    assert_eq!(sandbox.logged("no event told of"), 0);
    runner.stop();
}

/// Overlay file systems are local ones: they are not polled, and what comes through them is told of, also what is copied up.
#[test]
fn an_overlay_is_watched_by_events_and_what_is_copied_up_is_seen() {
    let sandbox =
        Sandbox::new().file("jobs/w.yaml", &noting("  settle: close\n  events: [created, modified, deleted]\n"));
    for folder in ["in", "lower/sub", "disk"] {
        fs::create_dir_all(sandbox.path(folder)).unwrap();
    }
    sandbox.write("lower/old", "x");
    sandbox.write("lower/sub/older", "x");
    // The layers that are written to stand on a disk in memory: not every file system bears them.
    let mount = "mount -t tmpfs none disk && mkdir disk/upper disk/work && \
                 mount -t overlay overlay -o lowerdir=lower,upperdir=disk/upper,workdir=disk/work in";
    if !is_root() || !within(&sandbox, mount).status().is_ok_and(|status| status.success()) {
        return skip("an overlay file system needs root, unshare and a kernel that has it");
    }
    let runner = sandbox.start_command(within(&sandbox, &format!("{mount} && exec \"$1\" start")));
    assert!(runner.stdout().contains("/in for all files by events\n"), "{}", runner.stdout());
    sandbox.wait_for_log("in by events");
    let inside = |path: &str| format!("/proc/{}/root{}", runner.pid(), sandbox.path(path).display());
    fs::create_dir_all(inside("in/new/deep")).unwrap();
    fs::write(inside("in/new/deep/a"), "x").unwrap();
    wait_for_noted(&sandbox, &["created a"]);
    // What is written to is copied up first: other inodes stand in its place.
    fs::write(inside("in/old"), "more").unwrap();
    wait_for_noted(&sandbox, &["created a", "modified old"]);
    fs::remove_file(inside("in/sub/older")).unwrap();
    wait_for_noted(&sandbox, &["created a", "deleted older", "modified old"]);
    fs::rename(inside("in/new/deep/a"), inside("in/sub/b")).unwrap();
    fs::write(inside("in/sub/c"), "x").unwrap();
    wait_for("the new one is run for, and what was renamed is not new", || {
        noted(&sandbox).last().is_some_and(|last| last == "created c")
    });
    assert!(!noted(&sandbox).contains(&"created b".to_string()), "{:?}", noted(&sandbox));
    assert_eq!(sandbox.json(&["status", "--json"])["watches"][0]["backend"], "events");
    runner.stop();
}

/// Silent network shares: a real file system of which the kernel tells nothing that happens behind its back.
#[test]
fn a_fuse_file_system_is_polled_by_itself_and_what_comes_behind_its_back_is_found() {
    let sandbox = Sandbox::new().file("jobs/w.yaml", &noting("  settle: 100ms\n  poll: 200ms\n"));
    fs::create_dir(sandbox.path("in")).unwrap();
    fs::create_dir(sandbox.path("source")).unwrap();
    if !can_mount(&sandbox) || !Path::new("/dev/fuse").exists() {
        return skip("a FUSE file system needs root, unshare and /dev/fuse");
    }
    if !has("bindfs") && std::env::var_os("RUNNER_TESTS_INSTALL").is_some_and(|it| it == "1") {
        let lock = std::env::temp_dir().join("runner-tests-install.lock");
        let mut install = Command::new("flock");
        install.arg(lock).args(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "bindfs"]);
        let _ = install.env("DEBIAN_FRONTEND", "noninteractive").stdin(std::process::Stdio::null()).output();
    }
    if !has("bindfs") {
        return skip("a FUSE file system needs bindfs; RUNNER_TESTS_INSTALL=1 installs it");
    }
    // It goes with the runner, however that ends.
    let script = "setpriv --pdeathsig KILL bindfs -f source in & \
                  until mountpoint -q in; do kill -0 $! || exit 9; sleep 0.02; done; exec \"$1\" start";
    if within(&sandbox, &script.replace("exec \"$1\" start", "umount in"))
        .status()
        .is_ok_and(|status| !status.success())
    {
        return skip("bindfs cannot mount here");
    }
    let runner = sandbox.start_command(within(&sandbox, script));
    assert!(runner.stdout().contains("by polling (FUSE tells of no changes"), "{}", runner.stdout());
    sandbox.wait_for_log("by polling every 200ms: FUSE tells of no changes that are made elsewhere");
    fs::write(sandbox.path("source/a"), "x").unwrap();
    wait_for_noted(&sandbox, &["created a"]);
    fs::create_dir(sandbox.path("source/deep")).unwrap();
    fs::write(sandbox.path("source/deep/b"), "x").unwrap();
    wait_for_noted(&sandbox, &["created a", "created b"]);
    fs::write(sandbox.path("source/a"), "more").unwrap();
    wait_for_noted(&sandbox, &["created a", "created b", "modified a"]);
    assert_eq!(sandbox.json(&["status", "--json"])["watches"][0]["backend"], "poll");
    runner.stop();
}

fn has(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", "command -v \"$1\"", "sh", program]).output();
    found.is_ok_and(|found| found.status.success())
}

/// A file that is mapped into memory, and open no more: no event tells of what is written there.
struct Mapped(*mut libc::c_void);

impl Mapped {
    fn new(path: &Path) -> Self {
        use std::os::fd::AsRawFd;
        let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, at a place that the kernel chooses.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), 4, access, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        assert_ne!(at, libc::MAP_FAILED);
        Self(at)
    }

    fn write(&self) {
        // SAFETY: the file is longer than what is written, and nobody else's.
        unsafe {
            *self.0.cast::<u8>() = b'Y';
            assert_eq!(libc::msync(self.0, 4, libc::MS_SYNC), 0);
        }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: it was mapped, and is used no more.
        unsafe { libc::munmap(self.0, 4) };
    }
}

#[test]
fn changes_that_no_event_tells_of_are_found_by_scans_and_make_the_path_polled() {
    let sandbox = Sandbox::new()
        .file("jobs/w.yaml", &noting("  settle: 100ms\n  rescan: 2s\n  poll: 300ms\n  gitignore: false\n"));
    let mapped: Vec<Mapped> = (0..400)
        .map(|n| {
            sandbox.write(&format!("in/f{n}"), "xxxx");
            Mapped::new(&sandbox.path(&format!("in/f{n}")))
        })
        .collect();
    let before = fs::metadata(sandbox.path("in/f399")).unwrap().modified().unwrap();
    std::thread::sleep(Duration::from_millis(20));
    mapped[399].write();
    if fs::metadata(sandbox.path("in/f399")).unwrap().modified().unwrap() == before {
        return skip("this file system takes no note of changes through mappings");
    }
    let runner = watching(&sandbox);
    let mut n = 0;
    let begun = Instant::now();
    while sandbox.logged("in is looked at every 300ms: 2 scans found changes that no event told of") == 0 {
        assert!(begun.elapsed() < Duration::from_secs(40) && n < 399, "{}", sandbox.read("logs/runner.log"));
        mapped[n].write();
        n += 1;
        // So that whenever a scan comes, some changes are older than an event could be.
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(sandbox.logged("a scan found changes that no event told of") >= 2);
    wait_for("each was run for once", || noted(&sandbox).len() == n);
    mapped[398].write();
    wait_for("so is one that polling finds", || noted(&sandbox).last().is_some_and(|last| last == "modified f398"));
    let watch = &sandbox.json(&["status", "--json"])["watches"][0];
    assert_eq!(watch["backend"], "poll");
    assert!(watch["state"].as_str().unwrap().contains("no event told of"), "{watch}");
    runner.stop();
}

/// Files that are told of all the time are never taken for such, however soon a scan comes.
#[test]
fn changes_that_events_tell_of_are_no_reason_to_poll() {
    let sandbox = Sandbox::new().file("jobs/w.yaml", &noting("  settle: close\n  rescan: 1s\n"));
    let runner = watching(&sandbox);
    let begun = Instant::now();
    let mut n = 0;
    while begun.elapsed() < Duration::from_secs(5) {
        sandbox.write(&format!("in/f{n}"), "x");
        n += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    wait_for("all are run for", || noted(&sandbox).len() == n);
    assert_eq!(sandbox.logged("no event told of"), 0);
    assert_eq!(sandbox.json(&["status", "--json"])["watches"][0]["backend"], "events");
    runner.stop();
}

#[test]
fn what_was_there_before_the_first_start_is_so_also_where_its_path_comes_later() {
    for (existing, expected) in [("ignore", &["created new"][..]), ("process", &["created new", "created old"])] {
        let sandbox =
            Sandbox::new().file("jobs/w.yaml", &noting(&format!("  settle: close\n  existing: {existing}\n")));
        sandbox.write("away/old", "x");
        let before = fs::metadata(sandbox.path("away/old")).unwrap();
        wait_for("the clock of files has moved on", || {
            fs::write(sandbox.path("clock"), "x").unwrap();
            fs::metadata(sandbox.path("clock")).unwrap().modified().unwrap() > before.modified().unwrap()
        });
        let runner = sandbox.start();
        sandbox.wait_for_log("cannot be watched: it is not there");
        sandbox.write("away/new", "x");
        fs::rename(sandbox.path("away"), sandbox.path("in")).unwrap();
        wait_for_noted(&sandbox, expected);
        sandbox.wait_for_logs("✓ Added", expected.len());
        sandbox.write("in/later", "x");
        wait_for_noted(&sandbox, &[expected, &["created later"]].concat());
        runner.stop();
    }
}

#[test]
fn a_path_that_goes_up_is_remembered_over_a_restart() {
    let job = noting("  settle: close\n").replace("[in]", "[jobs/../in]");
    let sandbox = Sandbox::new().file("jobs/w.yaml", &job);
    let runner = watching(&sandbox);
    sandbox.write("in/a", "x");
    wait_for_noted(&sandbox, &["created a"]);
    sandbox.wait_for_log("✓ Added a");
    let paths = &sandbox.json(&["status", "--json"])["watches"][0]["paths"];
    assert!(paths[0].as_str().unwrap().ends_with("/in") && !paths[0].as_str().unwrap().contains(".."), "{paths}");
    runner.kill();
    // As the default is that what was there before the first start is ignored.
    sandbox.write("in/b", "x");
    let runner = sandbox.start();
    wait_for_noted(&sandbox, &["created a", "created b"]);
    assert_eq!(sandbox.logged("could not be read"), 0);
    runner.stop();
}

#[test]
fn a_path_that_vanishes_while_a_file_settles_deletes_nothing() {
    let watch = "  settle: 700ms\n  events: [created, modified, deleted]\n";
    let beside = noting("  settle: 700ms\n").replace("[in]", "[beside]");
    let sandbox = Sandbox::new().file("jobs/w.yaml", &noting(watch)).file("jobs/beside.yaml", &beside);
    fs::create_dir(sandbox.path("beside")).unwrap();
    let runner = watching(&sandbox);
    sandbox.wait_for_log("beside: watches");
    sandbox.write("in/a", "x");
    sandbox.wait_for_log("✓ Added a");
    sandbox.write("in/a", "more");
    sandbox.wait_for_log("Detected modified file: a");
    fs::rename(sandbox.path("in"), sandbox.path("away")).unwrap();
    sandbox.wait_for_log("cannot be watched: it is not there");
    // By then it has held still for long, and would have been told of as deleted.
    for name in ["1", "2"] {
        sandbox.write(&format!("beside/{name}"), "x");
        sandbox.wait_for_log(&format!("✓ Added {name}"));
    }
    fs::rename(sandbox.path("away"), sandbox.path("in")).unwrap();
    wait_for_noted(&sandbox, &["created a", "created 1", "created 2", "modified a"]);
    assert_eq!(sandbox.logged("Detected deleted"), 0);
    runner.stop();
}

#[test]
fn a_folder_that_takes_the_place_of_another_one_has_its_own_gitignore() {
    let sandbox = Sandbox::new().file("jobs/w.yaml", &noting("  settle: close\n"));
    sandbox.write("in/sub/.gitignore", "*.log");
    sandbox.write("in/sub/old.log", "x");
    let runner = watching(&sandbox);
    // Nothing tells of what is in it.
    fs::rename(sandbox.path("in/sub"), sandbox.path("away")).unwrap();
    sandbox.write("in/sub/new.log", "x");
    wait_for_noted(&sandbox, &["created new.log"]);
    runner.stop();
}

#[test]
fn a_gitignore_of_a_polled_path_that_changes_is_taken_up_by_the_next_look() {
    let watch = "  settle: 50ms\n  backend: poll\n  poll: 100ms\n";
    let sandbox = Sandbox::new().file("jobs/w.yaml", &noting(watch));
    sandbox.write("in/.gitignore", "*.log");
    let runner = watching(&sandbox);
    sandbox.write("in/a.log", "x");
    sandbox.write("in/b", "x");
    wait_for_noted(&sandbox, &["created b"]);
    fs::remove_file(sandbox.path("in/.gitignore")).unwrap();
    wait_for_noted(&sandbox, &["created b", "created a.log"]);
    runner.stop();
}

#[test]
fn a_gitignore_that_comes_to_a_polled_path_counts_for_what_is_pending_there() {
    let watch = "  settle: 1h\n  backend: poll\n  poll: 100ms\n";
    let sandbox = Sandbox::new().file("jobs/w.yaml", &noting(watch));
    let runner = watching(&sandbox);
    let pending = || sandbox.json(&["watch", "ls", "w", "--pending", "--json"]).as_array().unwrap().len();
    sandbox.write("in/a.log", "x");
    sandbox.write("in/b", "x");
    wait_for("both are noticed", || pending() == 2);
    sandbox.write("in/.gitignore", "*.log");
    wait_for("the one is left out", || pending() == 1);
    sandbox.run(&["watch", "explain", "w", "in/a.log"]).code(0).says("`*.log` in");
    sandbox
        .run(&["watch", "explain", "w", "in/.gitignore"])
        .code(0)
        .says("It is left out: it says itself what is left out");
    runner.stop();
}

#[test]
fn a_ledger_that_is_taken_away_or_emptied_is_written_anew() {
    let sandbox = Sandbox::new().file("jobs/w.yaml", &noting("  settle: close\n"));
    fs::create_dir(sandbox.path("in")).unwrap();
    let ledger = "logs/jobs/w/ledger.log";
    let runner = watching(&sandbox);
    for (n, name) in ["a", "b", "c"].into_iter().enumerate() {
        sandbox.write(&format!("in/{name}"), "x");
        sandbox.wait_for_logs("✓ Added", n + 1);
        wait_for("it is remembered", || {
            sandbox.read(ledger).contains(&format!("\"done\",\"path\":\"{}/in/{name}\"", sandbox.dir.display()))
        });
        match n {
            0 => fs::write(sandbox.path(ledger), "").unwrap(),
            1 => sandbox.remove(ledger),
            _ => {}
        }
    }
    sandbox.wait_for_logs("somebody took the ledger away, it is written anew", 2);
    wait_for("all are remembered", || {
        ["a", "b", "c"].iter().all(|name| sandbox.read(ledger).contains(&format!("/in/{name}\"")))
    });
    runner.kill();
    sandbox.write("in/d", "x");
    let runner = sandbox.start();
    wait_for_noted(&sandbox, &["created a", "created b", "created c", "created d"]);
    runner.stop();
}

#[test]
fn a_ledger_full_of_garbage_costs_the_garbage_alone() {
    let sandbox = Sandbox::new().file("jobs/w.yaml", &noting("  settle: close\n"));
    fs::create_dir(sandbox.path("in")).unwrap();
    let ledger = sandbox.path("logs/jobs/w/ledger.log");
    let runner = watching(&sandbox);
    sandbox.write("in/a", "x");
    sandbox.wait_for_log("✓ Added a");
    runner.stop();
    let whole = fs::read(&ledger).unwrap();
    let garbage = b"\n\0\xff\x1b[31m\n{}\n[1]\n{\"at\":\"2024-01-15T09:00:00Z\",\"state\":\"moved\",\"path\":\"/x\"}\n{\"at\":5}\n";
    fs::write(&ledger, [garbage, &whole[..], garbage, b"{\"at\":\"2024-01"].concat()).unwrap();
    let runner = sandbox.start();
    sandbox.wait_for_log("w: half a line at the end of the ledger was cut off");
    sandbox.wait_for_log("of the ledger that could not be read");
    sandbox.write("in/b", "x");
    wait_for_noted(&sandbox, &["created a", "created b"]);
    runner.stop();
    // One that has nothing in it is a first start.
    fs::write(&ledger, "").unwrap();
    let runner = sandbox.start();
    sandbox.wait_for_logs("w: watches", 3);
    sandbox.write("in/c", "x");
    wait_for_noted(&sandbox, &["created a", "created b", "created c"]);
    runner.stop();
}

#[test]
fn lines_wait_where_the_ledger_cannot_be_written_and_come_there_later() {
    let sandbox = Sandbox::new().file("jobs/w.yaml", &noting("  settle: close\n"));
    fs::create_dir(sandbox.path("in")).unwrap();
    let ledger = sandbox.path("logs/jobs/w/ledger.log");
    let runner = watching(&sandbox);
    wait_for("it is there", || ledger.exists());
    // A directory in its place.
    fs::remove_file(&ledger).unwrap();
    fs::create_dir(&ledger).unwrap();
    sandbox.write("in/a", "x");
    sandbox.wait_for_log("the ledger cannot be written");
    wait_for_noted(&sandbox, &["created a"]);
    sandbox.wait_for_log("✓ Added a");
    let state = || sandbox.json(&["status", "--json"])["watches"][0]["state"].as_str().unwrap().to_string();
    assert!(
        state().starts_with("watching; its ledger cannot be written, and is kept in memory alone: "),
        "{}",
        state()
    );
    fs::remove_dir(&ledger).unwrap();
    sandbox.wait_for_log("the ledger is written again");
    assert_eq!(sandbox.logged("the ledger cannot be written"), 1, "it is said once");
    assert_eq!(state(), "watching");
    runner.kill();
    let runner = sandbox.start();
    sandbox.wait_for_logs("w: watches", 2);
    sandbox.write("in/b", "x");
    wait_for_noted(&sandbox, &["created a", "created b"]);
    runner.stop();
}

#[test]
fn a_ledger_that_cannot_be_read_is_waited_for_and_is_no_first_start() {
    let sandbox = Sandbox::new().file("jobs/w.yaml", &noting("  settle: close\n"));
    let ledger = sandbox.path("logs/jobs/w/ledger.log");
    let runner = watching(&sandbox);
    sandbox.write("in/a", "x");
    sandbox.wait_for_log("✓ Added a");
    runner.stop();
    sandbox.write("in/b", "x");
    fs::rename(&ledger, sandbox.path("kept")).unwrap();
    fs::create_dir(&ledger).unwrap();
    let runner = sandbox.start();
    sandbox.wait_for_log("w: the ledger cannot be read: ");
    let state = || sandbox.json(&["status", "--json"])["watches"][0]["state"].as_str().unwrap().to_string();
    wait_for("it is shown", || state().contains("the ledger cannot be read"));
    fs::remove_dir(&ledger).unwrap();
    fs::rename(sandbox.path("kept"), &ledger).unwrap();
    wait_for_noted(&sandbox, &["created a", "created b"]);
    runner.stop();
}

#[test]
fn a_job_that_comes_back_while_its_run_is_active_has_the_rules_that_it_came_back_with() {
    let text = |mode: &str| {
        format!(
            "watch: {{ paths: [in], settle: close, batch: {{ {mode} }} }}\n\
             command: 'cat \"$RUNNER_ITEMS\" >> \"$RUNNER_LOG_DIR/../noted\"; echo run >> \"$RUNNER_LOG_DIR/../runs\"; \
             while [ ! -e \"$RUNNER_LOG_DIR/../go\" ]; do sleep 0.02; done'\n"
        )
    };
    let sandbox = Sandbox::new().file("jobs/w.yaml", &text("mode: each"));
    let runner = watching(&sandbox);
    sandbox.write("in/a", "x");
    wait_for("its run is active", || noted(&sandbox).len() == 1);
    sandbox.remove("jobs/w.yaml");
    sandbox.wait_for_log("(1 removed)");
    for name in ["b", "c", "d"] {
        sandbox.write(&format!("in/{name}"), "x");
    }
    sandbox.replace_or_write("jobs/w.yaml", &text("mode: all, wait: 100ms"));
    sandbox.wait_for_logs("w: watches", 2);
    wait_for("they are complete", || sandbox.read("logs/jobs/w/ledger.log").matches("\"stable\"").count() >= 4);
    sandbox.write("go", "");
    wait_for("all are run for", || noted(&sandbox).len() == 4);
    let ends = sandbox.wait_for_ends("w", 2);
    assert_eq!((ends.len(), sandbox.read("runs").lines().count()), (2, 2), "one run for all three");
    runner.stop();
}

#[test]
fn what_cannot_be_moved_to_another_disk_stays_and_is_done() {
    let watch = "  settle: close\n  events: [created, deleted]\n  on_success: { move: done/ }\n  on_failure: { move: failed/ }\n";
    let text = format!(
        "watch:\n  paths: [in]\n{watch}command: [sh, -c, 'printf \"%s %s\\n\" \"$3\" \"$2\" >> \"$RUNNER_LOG_DIR/../noted\"; \
         case \"$2\" in own*) mv \"$1\" ../own ;; gone*) rm \"$1\" ;; esac', sh, '{{path}}', '{{name}}', '{{event}}']\n\
         working_directory: in\n"
    );
    let sandbox = Sandbox::new().file("jobs/w.yaml", &text);
    fs::create_dir_all(sandbox.path("in/done")).unwrap();
    if !can_mount(&sandbox) {
        return skip("a mount of its own needs root and unshare");
    }
    let runner = sandbox.start_command(within(&sandbox, "mount -t tmpfs none in/done && exec \"$1\" start"));
    sandbox.wait_for_log("w: watches");
    sandbox.write("in/stays", "x");
    sandbox.wait_for_log("✓ Added stays");
    sandbox.wait_for_log("in/stays cannot be moved to done/: ");
    sandbox.wait_for_log("is on another file system");
    assert_eq!(sandbox.read("in/stays"), "x");
    // Where the command itself moves or removes its file there is nothing to move, and that is no fault.
    let faults = sandbox.logged("cannot be moved");
    sandbox.write("in/own", "x");
    sandbox.wait_for_log("✓ Added own");
    sandbox.write("in/gone", "x");
    sandbox.wait_for_log("✓ Added gone");
    wait_for("that they are gone is told", || {
        noted(&sandbox).iter().filter(|line| line.starts_with("deleted")).count() == 2
    });
    assert_eq!(sandbox.logged("cannot be moved"), faults);
    assert!(sandbox.path("own").exists());
    runner.stop();
}

#[test]
fn a_folder_that_becomes_readable_is_read_at_once() {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = Sandbox::new().file("jobs/w.yaml", &noting("  settle: close\n"));
    let mode = |path: &str, mode: u32| {
        fs::set_permissions(sandbox.path(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    sandbox.write("in/shut/deep/old", "x");
    sandbox.write("in/blind/old", "x");
    mode("in/shut", 0);
    // Its names can be read, and nothing else.
    mode("in/blind", 0o444);
    // Root reads everything: then the runner has to do without those rights.
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-dac_override,-dac_read_search", "ls"]).arg(sandbox.path("in/shut"));
    let can_read = command.output().is_ok_and(|output| output.status.success());
    let can_drop = Command::new("setpriv").args(["--bounding-set=-dac_override", "true"]).status();
    let can_drop = can_drop.is_ok_and(|status| status.success());
    if is_root() && (can_read || !can_drop) {
        return skip("root reads every folder, and setpriv is not there or takes no rights away");
    }
    let runner = match is_root() {
        true => {
            let mut command = Command::new("setpriv");
            command.args(["--bounding-set=-dac_override,-dac_read_search", env!("CARGO_BIN_EXE_runner"), "start"]);
            sandbox.clean(&mut command);
            sandbox.start_command(command)
        }
        false => sandbox.start(),
    };
    sandbox.wait_for_log("w: watches");
    sandbox.wait_for_log("in/shut cannot be looked at");
    sandbox.wait_for_log("in/blind cannot be looked at");
    fs::write(sandbox.path("in/new"), "x").unwrap();
    wait_for_noted(&sandbox, &["created new"]);
    mode("in/shut", 0o755);
    wait_for_noted(&sandbox, &["created new", "created old"]);
    sandbox.write("in/shut/deep/later", "x");
    wait_for_noted(&sandbox, &["created later", "created new", "created old"]);
    mode("in/blind", 0o755);
    wait_for_noted(&sandbox, &["created later", "created new", "created old", "created old"]);
    if is_root() {
        // One that is watched already, and that others may go through meanwhile.
        mode("in/shut", 0o600);
        sandbox.write("in/shut/last", "x");
        sandbox.wait_for_log("in/shut/last cannot be looked at");
        mode("in/shut", 0o755);
        wait_for("it is found", || noted(&sandbox).contains(&"created last".to_string()));
    }
    assert_eq!(sandbox.logged("no event told of"), 0);
    runner.stop();
}

#[test]
fn odd_names_steer_no_terminal_wherever_they_are_shown() {
    let sandbox = Sandbox::new().file("jobs/w.yaml", &noting("  settle: close\n  ignore: ['*.no']\n"));
    let runner = watching(&sandbox);
    let name = "e\u{1b}[31m\n2026 ERROR x: forged\u{202e}";
    let mut file = fs::File::create(sandbox.path("in").join(name)).unwrap();
    file.write_all(b"x").unwrap();
    drop(file);
    sandbox.wait_for_log("✓ Added");
    fs::hard_link(sandbox.path("in").join(name), sandbox.path("in/link")).unwrap();
    wait_for("the link is known", || sandbox.read("logs/jobs/w/ledger.log").contains("the same file as"));
    let odd = format!("in/{name}");
    let shown = [
        sandbox.run(&["watch", "ls", "w", "--all"]).code(0).out(),
        sandbox.run(&["watch", "explain", "w", &odd]).code(0).out(),
        sandbox.run(&["watch", "explain", "w", "in/link"]).code(0).out(),
        sandbox.run(&["watch", "replay", "w", &odd, "--dry-run"]).code(0).out(),
        sandbox.run(&["status"]).code(0).out(),
        sandbox.read("logs/runner.log"),
    ];
    for text in shown {
        assert!(!text.contains('\u{1b}'), "{text}");
        assert!(!text.lines().any(|line| line.starts_with("2026 ERROR x: forged")), "{text}");
    }
    let rows = sandbox.json(&["watch", "ls", "w", "--json"]);
    assert!(rows.as_array().unwrap().iter().any(|row| row["path"].as_str().unwrap().ends_with(name)), "{rows}");
    // A name as it is shown means the file.
    let log = sandbox.read("logs/runner.log");
    let in_log = log.lines().find_map(|line| line.split_once("Detected new file: ")).unwrap().1.to_string();
    let list = sandbox.run(&["watch", "ls", "w"]).code(0).out();
    let row = list.lines().find(|line| line.contains("forged")).unwrap();
    let in_list = &row[row.find("e\\u{1b}").unwrap()..];
    for shown in [in_log.as_str(), in_list.trim_end()] {
        sandbox.run(&["watch", "explain", "w", shown]).code(0).says("It was run for: run ");
    }
    runner.stop();
}

#[test]
fn a_deletion_whose_path_vanishes_before_it_is_told_is_told_once_that_is_back() {
    let watch = "  settle: 2s\n  events: [created, modified, deleted]\n";
    let sandbox = Sandbox::new().file("jobs/w.yaml", &noting(watch));
    let runner = watching(&sandbox);
    sandbox.write("in/a", "x");
    wait_for_noted(&sandbox, &["created a"]);
    sandbox.wait_for_log("✓ Added a");
    fs::remove_file(sandbox.path("in/a")).unwrap();
    sandbox.wait_for_log("Detected deleted file: a");
    fs::rename(sandbox.path("in"), sandbox.path("away")).unwrap();
    sandbox.wait_for_log("in cannot be watched");
    // Its time is over while the path is not there.
    let pending = || sandbox.json(&["watch", "ls", "w", "--pending", "--json"]).as_array().unwrap().len();
    let until = Instant::now() + Duration::from_secs(3);
    wait_for("it waits", || pending() == 1 && Instant::now() > until);
    fs::rename(sandbox.path("away"), sandbox.path("in")).unwrap();
    wait_for_noted(&sandbox, &["created a", "deleted a"]);
    runner.stop();
}

#[test]
fn a_path_below_another_one_that_is_not_there_hides_nothing_of_that_one() {
    let watch = "  settle: close\n  events: [created, deleted]\n";
    let job = noting(watch).replace("paths: [in]", "paths: [in, in/disk]");
    assert!(job.contains("in/disk"));
    let sandbox = Sandbox::new().file("jobs/w.yaml", &job);
    fs::create_dir_all(sandbox.path("in/disk")).unwrap();
    let runner = watching(&sandbox);
    for name in ["in/disk/a", "in/b", "in/z"] {
        sandbox.write(name, "x");
    }
    sandbox.wait_for_log("✓ Added in/z");
    sandbox.wait_for_log("✓ Added in/b");
    wait_for("all are run for", || sandbox.read("noted").lines().count() == 3);
    runner.stop();
    fs::rename(sandbox.path("in/disk"), sandbox.path("away")).unwrap();
    fs::remove_file(sandbox.path("in/b")).unwrap();
    fs::remove_file(sandbox.path("in/z")).unwrap();
    let runner = sandbox.start();
    let deleted = |name: &str| sandbox.read("noted").lines().any(|line| line == format!("deleted {name}"));
    wait_for("both are told", || deleted("b") && deleted("z"));
    assert!(!deleted("a"));
    runner.stop();
}
