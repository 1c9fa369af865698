//! What is written lasts: a power cut, a full or read-only disk and logs that others take away cost no more than is said.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sandbox::{Ran, Runner, Sandbox, is_alive, is_root, signal, skip, wait_for};

/// Whether this may mount in a namespace of its own.
fn can_mount() -> bool {
    let mut command = Command::new("unshare");
    command.args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"]);
    is_root() && command.output().is_ok_and(|output| output.status.success())
}

/// A runner whose `logs/` is a file system that nobody else sees.
struct Within<'a> {
    sandbox: &'a Sandbox,
    runner: Runner<'a>,
}

impl<'a> Within<'a> {
    /// `mount` is done in the configuration directory, before the runner starts.
    fn start(sandbox: &'a Sandbox, mount: &str) -> Self {
        fs::create_dir_all(sandbox.path("logs")).unwrap();
        let script = format!("{mount} && exec \"$1\" start");
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &script, "sh", env!("CARGO_BIN_EXE_runner")]);
        sandbox.clean(&mut command);
        Self { sandbox, runner: sandbox.start_command(command) }
    }

    fn path(&self, path: &str) -> PathBuf {
        format!("/proc/{}/root{}/logs/{path}", self.runner.pid(), self.sandbox.dir.display()).into()
    }

    fn read(&self, path: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(path)).unwrap_or_default()).into_owned()
    }

    /// Runs a command where the runner is.
    fn run(&self, args: &[&str]) -> Ran {
        let mut command = Command::new("nsenter");
        command.args([
            "-t",
            &self.runner.pid().to_string(),
            "-m",
            "sh",
            "-c",
            "cd \"$1\" && shift && exec \"$@\"",
            "sh",
        ]);
        command.arg(&self.sandbox.dir).args(args);
        self.sandbox.clean(&mut command);
        self.sandbox.finish(command)
    }

    fn verb(&self, args: &[&str]) -> Ran {
        self.run(&[&[env!("CARGO_BIN_EXE_runner")], args].concat())
    }

    fn events(&self, job: &str, event: &str) -> Vec<serde_json::Value> {
        let text = self.read(&format!("jobs/{job}/runs.log"));
        let records = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a whole record"));
        records.filter(|record| record["event"] == event).collect()
    }
}

/// Takes all the room that is left.
fn fill(file: &Path) {
    let mut filler = fs::File::create(file).unwrap();
    for size in [64 * 1024, 4096, 1] {
        let bytes = vec![0u8; size];
        while std::io::Write::write_all(&mut filler, &bytes).is_ok() {}
    }
}

#[test]
fn while_the_disk_is_full_jobs_that_print_much_end_others_go_on_and_people_are_answered() {
    if !can_mount() {
        return skip("a small file system of its own needs root and unshare");
    }
    let sandbox = Sandbox::new()
        .file("jobs/tick.yaml", "every: 1s\ncommand: echo a >> ran; echo out\n")
        .file("jobs/loud.yaml", "manual: true\nlimits: { output: none }\ncommand: [head, -c, '30000000', big]\n")
        .file("jobs/long.yaml", "manual: true\ncommand: [head, -c, '30000000', big]\n")
        .file("big", &"a line that says little\n".repeat(1_300_000));
    let within = Within::start(&sandbox, "mount -t tmpfs -o size=512k none logs");
    let ran = || sandbox.read("ran").lines().count();
    wait_for("it runs", || !within.events("tick", "end").is_empty());
    fill(&within.path("fill"));
    let before = ran();
    // Both would fill the pipe if nobody took what they print.
    within.verb(&["run", "loud", "--wait"]).code(0);
    within.verb(&["run", "long", "--wait"]).code(0);
    within.verb(&["status"]).code(0).says("jobs: 3 ");
    wait_for("other jobs go on", || ran() > before + 2);
    wait_for("it is said", || within.runner.stderr().contains("the logs cannot be written, jobs go on: "));
    assert!(within.runner.stderr().contains("No space left on device"));
    fs::remove_file(within.path("fill")).unwrap();
    wait_for("it heals by itself", || within.runner.stderr().contains("the logs can be written again"));
    let lost = |job: &str| within.events(job, "end")[0]["output"]["lost"].as_u64().unwrap_or_default();
    for job in ["loud", "long"] {
        assert_eq!(within.events(job, "end")[0]["output"]["bytes"], 30_000_000);
        assert!(lost(job) > 20_000_000, "{job}: {}", lost(job));
    }
    // Every run that was has its start and its end.
    let logged = || (within.events("tick", "start").len(), within.events("tick", "end").len());
    wait_for("all records are written", || logged() == (ran(), ran()));
    within.runner.stop();
}

#[test]
fn a_disk_that_takes_nothing_holds_up_who_prints_and_nobody_else() {
    // A pipe that nobody reads stands in for it: it takes 64 KiB, then who writes waits.
    let sandbox = Sandbox::new()
        .file("jobs/loud.yaml", "manual: true\noverlap: queue\ncommand: [head, -c, '1000000', big]\n")
        .file("jobs/tick.yaml", "every: 1s\ncommand: echo out\n")
        .file("jobs/other.yaml", "manual: true\noverlap: queue\ncommand: sleep 300\n")
        .file("big", &"a line that says little\n".repeat(50_000));
    fs::create_dir_all(sandbox.path("logs/jobs/loud")).unwrap();
    let disk = sandbox.path("logs/jobs/loud/output.log");
    assert!(Command::new("mkfifo").arg(&disk).status().unwrap().success());
    let runner = sandbox.start();
    let unread = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&disk).unwrap();
    sandbox.run(&["run", "loud"]).code(0);
    wait_for("nothing more goes in", || rustix::io::ioctl_fionread(&unread).unwrap() > 60_000);
    // Also what is recorded of another run of that job, and has words for that log, holds up nobody.
    let waits = sandbox.run(&["run", "loud"]).code(0).out().trim().to_string();
    sandbox.run(&["cancel", &waits]).code(0);
    let before = sandbox.events("tick", "end").len();
    sandbox.wait_for_ends("tick", before + 3);
    sandbox.run(&["run", "other"]).code(0);
    let other = sandbox.run(&["run", "other"]).code(0).out().trim().to_string();
    sandbox.run(&["cancel", &other]).code(0);
    assert_eq!(sandbox.wait_for_ends("other", 1)[0]["run"], other);
    sandbox.run(&["status"]).code(0).says("loud");
    assert!(sandbox.events("loud", "end").is_empty());
    std::thread::scope(|scope| {
        let read = scope.spawn(|| {
            let mut text = Vec::new();
            std::io::Read::read_to_end(&mut fs::File::open(&disk).unwrap(), &mut text).unwrap();
            text
        });
        let ends = sandbox.wait_for_ends("loud", 2);
        let of = |status: &str| ends.iter().find(|end| end["status"] == status).unwrap_or_else(|| panic!("{status}"));
        assert_eq!(of("cancelled")["run"], waits);
        assert_eq!(
            of("success")["output"],
            serde_json::json!({ "bytes": 1_000_000, "lines": 41_667, "truncated": false })
        );
        runner.stop_at_once();
        drop(unread);
        assert!(read.join().unwrap().len() > 1_000_000);
    });
}

#[test]
fn a_file_system_that_becomes_read_only_is_told_of_and_writing_goes_on_when_it_is_writable_again() {
    if !can_mount() {
        return skip("a small file system of its own needs root and unshare");
    }
    let sandbox = Sandbox::new().file("jobs/a.yaml", "manual: true\ncommand: echo a >> ran; echo out\n");
    let mount = "mount -t tmpfs -o size=1m none logs && mkdir logs/jobs && mount -t tmpfs -o size=1m none logs/jobs";
    let within = Within::start(&sandbox, mount);
    within.run(&["mount", "-o", "remount,ro", "logs/jobs"]).code(0);
    within.verb(&["run", "a", "--wait"]).code(0);
    assert_eq!(sandbox.read("ran"), "a\n", "the job goes on");
    wait_for("it is said", || within.read("runner.log").contains("runs.log: Read-only file system"));
    within.run(&["mount", "-o", "remount,rw", "logs/jobs"]).code(0);
    wait_for("it heals by itself", || within.read("runner.log").contains("the logs can be written again"));
    assert_eq!((within.events("a", "start").len(), within.events("a", "end").len()), (1, 1));
    // And once its files are open: another one, read-only, lies over it for a while.
    within.verb(&["run", "a", "--wait"]).code(0).stdout("out\n");
    within.run(&["mount", "-t", "tmpfs", "-o", "ro", "none", "logs/jobs"]).code(0);
    within.verb(&["run", "a", "--wait"]).code(0);
    wait_for("it is said again", || within.read("runner.log").matches("Read-only file system").count() > 1);
    within.run(&["umount", "logs/jobs"]).code(0);
    let runs = || (within.events("a", "start").len(), within.events("a", "end").len());
    wait_for("the old files go on", || runs() == (3, 3));
    assert_eq!(within.events("a", "end")[2]["n"], 3);
    within.runner.stop();
}

#[test]
fn logs_that_others_take_away_at_run_time_are_begun_anew_and_told_of() {
    let sandbox = Sandbox::new()
        .file("jobs/a.yaml", "every: 1s\ncommand: echo out\n")
        .file("jobs/b.yaml", "every: 1s\ncommand: echo out\n");
    let runner = sandbox.start();
    sandbox.wait_for_ends("a", 2);
    sandbox.wait_for_ends("b", 2);
    sandbox.remove("logs/jobs/a/runs.log");
    sandbox.remove("logs/jobs/a/output.log");
    fs::rename(sandbox.path("logs/jobs/b"), sandbox.outside("b")).unwrap();
    sandbox.remove("logs/runner.log");
    sandbox.wait_for_log("WARN  record: moved or deleted by others while in use, begun anew: ");
    let told = || sandbox.read("logs/runner.log").lines().filter(|l| l.contains("begun anew")).collect::<String>();
    for path in ["a/runs.log", "a/output.log", "b/runs.log", "b/output.log", "logs/runner.log"] {
        wait_for(path, || told().contains(path));
    }
    for job in ["a", "b"] {
        sandbox.wait_for_ends(job, 2);
        assert!(sandbox.read(&format!("logs/jobs/{job}/output.log")).contains(" out out\n"));
    }
    let runs = sandbox.entry("a")["runs"].as_u64().unwrap();
    assert!(runs >= 4, "counts go on: {runs}");
    runner.stop();
}

/// A file system on a disk of its own whose power can be cut, and what is on that disk then.
struct Disk<'a> {
    sandbox: &'a Sandbox,
    within: Within<'a>,
}

impl<'a> Disk<'a> {
    fn is_there() -> bool {
        // A first try says whether there are loop devices and all that it needs.
        let script = "d=$(mktemp -d) && truncate -s 16M $d/i && mkfs.ext4 -qF $d/i && mount -o loop $d/i /mnt; s=$?; \
                      umount /mnt 2>/dev/null; rm -r $d; exit $s";
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script]);
        is_root() && command.output().is_ok_and(|output| output.status.success())
    }

    /// What is not synced stays in memory for as long as the test lasts.
    fn start(sandbox: &'a Sandbox) -> Self {
        let mount = "truncate -s 32M disk && mkfs.ext4 -qF disk && mount -o loop,commit=300 disk logs";
        Self { sandbox, within: Within::start(sandbox, mount) }
    }

    /// The power goes: nothing that is not on the disk comes there any more. One process is `left` of the runs.
    fn cut(self, left: u32) {
        /// `EXT4_IOC_SHUTDOWN`, and not to write what is in the journal's memory.
        const SHUTDOWN: libc::c_ulong = 0x8004_587d;
        const NO_LOG_FLUSH: u32 = 2;
        let root = fs::File::open(self.within.path("")).unwrap();
        // SAFETY: reads one number through the pointer.
        let result = unsafe { libc::ioctl(root.as_raw_fd(), SHUTDOWN, &NO_LOG_FLUSH) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
        drop(root);
        self.within.runner.kill();
        signal(left, libc::SIGKILL);
        wait_for("nobody has it any more", || {
            let loops = Command::new("losetup").arg("-j").arg(self.sandbox.path("disk")).output().unwrap();
            !is_alive(left.into()) && loops.stdout.is_empty()
        });
        // What is on the disk, as the next boot sees it.
        let mut command = Command::new("unshare");
        let script = "mkdir mnt && mount -o loop disk mnt && cp -r mnt after && umount mnt";
        command.args(["-m", "sh", "-c", script]);
        self.sandbox.clean(&mut command);
        self.sandbox.finish(command).code(0);
    }
}

fn sandbox_with_disk(sync: &str) -> Sandbox {
    Sandbox::new()
        .file("runner.yaml", &format!("logs: {{ sync: {sync} }}\n"))
        .file("jobs/group/short.yaml", "manual: true\ncommand: echo printed\n")
        .file("jobs/long.yaml", "manual: true\ncommand: echo $$ > pid~ && mv pid~ pid && exec sleep 60\n")
        .file("jobs/next.yaml", "after: { jobs: [group/short] }\ncommand: touch chained\n")
}

/// Carries out a run to its end, and another one to its beginning, and cuts the power.
fn run_and_cut(sandbox: &Sandbox, disk: Disk<'_>) {
    disk.within.verb(&["run", "group/short", "--wait"]).code(0).stdout("printed\n");
    wait_for("the chain runs", || sandbox.path("chained").exists());
    disk.within.verb(&["run", "long"]).code(0);
    wait_for("the long one runs", || sandbox.path("pid").exists());
    disk.cut(sandbox.read("pid").trim().parse().unwrap());
}

#[test]
fn after_a_power_cut_every_run_that_anybody_saw_is_on_the_disk_where_runs_are_synced() {
    if !Disk::is_there() {
        return skip("a disk whose power can be cut needs root, unshare, loop devices and mkfs.ext4");
    }
    // It begins without, and the change is taken up by a reload.
    let sandbox = sandbox_with_disk("none");
    let disk = Disk::start(&sandbox);
    sandbox.replace("runner.yaml", "logs: { sync: run }\n");
    wait_for("the setting is taken up", || disk.within.read("runner.log").contains("catalog: reload: "));
    run_and_cut(&sandbox, disk);
    let kinds = |job: &str| {
        let text = sandbox.read(&format!("after/jobs/{job}/runs.log"));
        let record = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("a whole record");
        text.lines().map(|line| record(line)["event"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(kinds("group/short"), ["start", "end"]);
    assert_eq!(kinds("next")[0], "start");
    assert_eq!(kinds("long"), ["start"]);
    assert!(sandbox.read("after/jobs/long/runs.log").contains(&format!("\"pid\":{},", sandbox.read("pid").trim())));
}

#[test]
fn a_power_cut_costs_the_last_seconds_where_nothing_is_synced_and_nothing_where_everything_is() {
    if !Disk::is_there() {
        return skip("a disk whose power can be cut needs root, unshare, loop devices and mkfs.ext4");
    }
    for sync in ["none", "always"] {
        let sandbox = sandbox_with_disk(sync);
        run_and_cut(&sandbox, Disk::start(&sandbox));
        let end = sandbox.read("after/jobs/group/short/runs.log").contains("\"event\":\"end\"");
        let output = sandbox.read("after/jobs/group/short/output.log").contains(" out printed\n");
        assert_eq!((end, output), (sync == "always", sync == "always"), "{sync}");
    }
}

#[test]
fn two_hundred_jobs_that_print_much_at_once_are_taken_in_bounded_memory() {
    const JOBS: usize = 200;
    const EACH: usize = 20_000_000;
    let sandbox = Sandbox::new()
        .file("runner.yaml", "max_concurrent_runs: 200\n")
        .file("big", &"a line that is neither short nor very long, of a job that prints much\n".repeat(EACH / 70 + 1));
    for n in 0..JOBS {
        // Each waits at the gate until all are there.
        let text = format!("on_start: true\nlimits: {{ output: 1MB }}\ncommand: cat gate; exec head -c {EACH} big\n");
        sandbox.write(&format!("jobs/j{n}.yaml"), &text);
    }
    let gate = std::ffi::CString::new(sandbox.path("gate").to_str().unwrap()).unwrap();
    // SAFETY: a plain system call.
    assert_eq!(unsafe { libc::mkfifo(gate.as_ptr(), 0o600) }, 0);
    let runner = sandbox.start();
    let running = || sandbox.json(&["status", "--json"])["running"].as_array().map_or(0, Vec::len);
    wait_for("all run at once", || running() == JOBS);
    // Who opens it for reading waits for a writer. Who comes late is let through by the next one.
    let open = || drop(fs::OpenOptions::new().read(true).write(true).open(sandbox.path("gate")).unwrap());
    let has_ended = |n: usize| sandbox.read(&format!("logs/jobs/j{n}/runs.log")).contains("\"event\":\"end\"");
    for n in 0..JOBS {
        wait_for("all end", || {
            open();
            has_ended(n)
        });
        let end = &sandbox.events(&format!("j{n}"), "end")[0];
        assert_eq!((&end["status"], &end["output"]["bytes"]), (&"success".into(), &EACH.into()), "{end}");
        assert_eq!(end["output"]["lost"], EACH - 1_000_000);
    }
    let status = fs::read_to_string(format!("/proc/{}/status", runner.pid())).unwrap();
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<u64>().ok());
    assert!(peak.unwrap() < 80_000, "{} KiB", peak.unwrap());
    runner.stop();
}

#[test]
fn a_job_that_closes_its_streams_and_lives_on_is_waited_for_at_no_cost() {
    let sandbox = Sandbox::new().file(
        "jobs/quiet.yaml",
        "manual: true\ncommand: echo last words; exec >&- 2>&-; touch closed; until [ -e go ]; do sleep 0.05; done; exit 7\n",
    );
    let runner = sandbox.start();
    sandbox.run(&["run", "quiet"]).code(0);
    wait_for("its streams are closed", || sandbox.path("closed").exists());
    let ticks = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", runner.pid())).unwrap();
        let fields: Vec<u64> =
            stat.rsplit(')').next().unwrap().split_whitespace().filter_map(|f| f.parse().ok()).collect();
        // utime and stime, after ppid, pgrp, session, tty, tpgid, flags and four counts of faults.
        fields[10] + fields[11]
    };
    let before = ticks();
    // A loop over streams that are closed would take all the time that there is.
    let begun = std::time::Instant::now();
    wait_for("a while passes", || begun.elapsed().as_millis() > 1_500);
    assert!(ticks() - before < 50, "{} ticks", ticks() - before);
    sandbox.run(&["status"]).code(0).says("quiet");
    sandbox.write("go", "");
    let end = &sandbox.wait_for_ends("quiet", 1)[0];
    assert_eq!((&end["exit_code"], &end["output"]["bytes"]), (&7.into(), &11.into()));
    runner.stop();
}
