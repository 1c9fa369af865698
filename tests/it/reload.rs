//! Files are taken up while the runner runs, and a broken one never takes its job with it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::sandbox::{Sandbox, is_root, link, skip, wait_for};

const NEVER: &str = "schedule: \"0 0 1 1 *\"\ncommand: \"true\"\n";

fn says(text: &str) -> String {
    format!("manual: true\ncommand: echo {text}\n")
}

/// A change that is surely taken up after all that went before it: whoever waits for it has waited for those.
#[track_caller]
fn mark(sandbox: &Sandbox, name: &str) {
    sandbox.write(&format!("jobs/{name}.yaml"), NEVER);
    sandbox.wait_for_state(name, "active");
    // The log is written a moment after what it tells of.
    let generation = sandbox.json(&["status", "--json"])["generation"].to_string();
    sandbox.wait_for_log(&format!(", generation {generation} "));
}

#[test]
fn an_edit_is_taken_up_whether_it_is_written_in_place_or_swapped_in() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", &says("one"));
    let _runner = sandbox.start();
    sandbox.run(&["run", "a", "--wait"]).code(0).stdout("one\n");
    sandbox.write("jobs/a.yaml", &says("two"));
    sandbox.wait_for_log("reload: 1 job (1 changed), generation 2 ");
    sandbox.run(&["run", "a", "--wait"]).code(0).stdout("two\n");
    sandbox.replace("jobs/a.yaml", &says("three"));
    sandbox.wait_for_log("reload: 1 job (1 changed), generation 3 ");
    sandbox.run(&["run", "a", "--wait"]).code(0).stdout("three\n");
    sandbox.write("jobs/new/b.json", r#"{"manual": true, "command": "true"}"#);
    sandbox.wait_for_log("reload: 2 jobs (1 added), generation 4 ");
    // The new folder is watched as well.
    sandbox.write("jobs/new/c.yml", &says("c"));
    sandbox.wait_for_log("reload: 3 jobs (1 added), generation 5 ");
    sandbox.remove("jobs/new/b.json");
    sandbox.wait_for_log("reload: 2 jobs (1 removed), generation 6 ");
    sandbox.run(&["run", "new/b"]).code(1).says("there is no job `new/b`");
    assert_eq!(sandbox.json(&["status", "--json"])["generation"], 6);
}

#[test]
fn a_broken_edit_keeps_the_last_good_version_running_and_is_announced_once() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", "every: 1s\ncommand: echo good\n").file("jobs/b.yaml", NEVER);
    let _runner = sandbox.start();
    sandbox.wait_for_ends("a", 1);
    sandbox.write("jobs/a.yaml", "every: 1s\ncomand: echo bad\n");
    sandbox.wait_for_log("jobs/a.yaml is broken: its last good version goes on");
    let before = sandbox.events("a", "end").len();
    let ends = sandbox.wait_for_ends("a", before + 2);
    assert!(ends.iter().all(|end| end["status"] == "success"));
    let entry = sandbox.entry("a");
    assert_eq!((&entry["state"], &entry["command"]), (&"stale".into(), &"echo good".into()));
    assert_eq!(entry["error"], "jobs/a.yaml:2:1: unknown field `comand`");
    assert!(entry["next_run"].is_string());
    sandbox.run(&["list"]).code(0).says("a is stale:\n  jobs/a.yaml:2:1: unknown field `comand`\n");
    sandbox.run(&["status"]).code(0).says("jobs: 2 (1 stale, 0 invalid, 0 paused)");
    assert_eq!(sandbox.json(&["status", "--json"])["stale"], 1);
    sandbox
        .run(&["show", "a"])
        .code(0)
        .says("# a (jobs/a.yaml), stale")
        .says("# error: jobs/a.yaml:2:1: unknown field `comand`\n")
        .says("command: echo good\n");
    sandbox.run(&["validate"]).code(3).says(" --> jobs/a.yaml:2:1\n");
    // Other changes do not announce it again.
    mark(&sandbox, "m1");
    mark(&sandbox, "m2");
    assert_eq!(sandbox.logged("unknown field `comand`"), 1);
    assert_eq!(sandbox.logged("jobs/a.yaml is broken"), 1);
    // The very same good text is clean again, and the job's timers never noticed.
    sandbox.write("jobs/a.yaml", "every: 1s\ncommand: echo good\n");
    sandbox.wait_for_log("(1 mended)");
    sandbox.wait_for_log("jobs/a.yaml is good again");
    assert_eq!((sandbox.state("a"), &sandbox.entry("a")["error"]), ("active".into(), &serde_json::Value::Null));
    sandbox.run(&["validate"]).code(0);
}

#[test]
fn the_last_good_version_outlives_a_restart_unless_it_is_not_wanted() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", &says("good")).file("jobs/b.yaml", &says("gone"));
    let runner = sandbox.start();
    runner.stop();
    sandbox.write("jobs/a.yaml", "command: [\n");
    sandbox.remove("jobs/b.yaml");
    let runner = sandbox.start();
    sandbox.wait_for_log("jobs/a.yaml is broken: its last good version goes on");
    assert_eq!((sandbox.state("a"), sandbox.state("b")), ("stale".into(), String::new()));
    sandbox.run(&["run", "a", "--wait"]).code(0).stdout("good\n");
    runner.stop();
    // The files alone tell the same without a running runner, and a run by itself too.
    assert_eq!(sandbox.state("a"), "stale");
    sandbox.run(&["run", "a", "--wait"]).code(0).stdout("good\n");
    let runner = sandbox.start_with(&["--no-last-good"]);
    assert_eq!(sandbox.state("a"), "invalid");
    runner.stop();
    // It was not forgotten by that.
    let runner = sandbox.start();
    assert_eq!(sandbox.state("a"), "stale");
    sandbox.write("jobs/a.yaml", &says("better"));
    sandbox.wait_for_state("a", "active");
    sandbox.run(&["run", "a", "--wait"]).code(0).stdout("better\n");
    runner.stop();
}

#[test]
fn a_new_broken_file_is_invalid_and_a_mended_one_runs() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", &says("a"));
    let _runner = sandbox.start();
    sandbox.write("jobs/b.yaml", "schedule: 0 25 * * *\ncommand: echo b\n");
    sandbox.wait_for_log("jobs/b.yaml is broken: its job is not scheduled");
    let entry = sandbox.entry("b");
    assert_eq!((&entry["state"], &entry["next_run"]), (&"invalid".into(), &serde_json::Value::Null));
    assert_eq!(entry["error"].as_str().unwrap(), "jobs/b.yaml:1:13: schedule: hour 25 is outside 0-23");
    sandbox.run(&["run", "b"]).code(1).says("jobs/b.yaml");
    sandbox.write("jobs/b.yaml", &says("b"));
    sandbox.wait_for_state("b", "active");
    sandbox.run(&["run", "b", "--wait"]).code(0).stdout("b\n");
    assert_eq!(sandbox.state("a"), "active");
}

#[test]
fn changed_defaults_reach_the_jobs_below_and_broken_ones_make_them_stale() {
    let sandbox = Sandbox::new()
        .file("jobs/g/_defaults.yaml", "env: { WHO: one }\n")
        .file("jobs/g/a.yaml", "manual: true\ncommand: echo $WHO\n")
        .file("jobs/b.yaml", "manual: true\ncommand: echo ${WHO:-nobody}\n");
    let runner = sandbox.start();
    sandbox.run(&["run", "g/a", "--wait"]).code(0).stdout("one\n");
    sandbox.write("jobs/g/_defaults.yaml", "env: { WHO: two }\n");
    sandbox.wait_for_log("reload: 2 jobs (1 changed)");
    sandbox.run(&["run", "g/a", "--wait"]).code(0).stdout("two\n");
    sandbox.write("jobs/g/_defaults.yaml", "env: { WHO: three }\ncommand: x\n");
    sandbox.wait_for_state("g/a", "stale");
    let error = sandbox.entry("g/a")["error"].as_str().unwrap().to_string();
    assert!(error.contains("the folder's defaults are broken: jobs/g/_defaults.yaml:2:1: "), "{error}");
    assert_eq!(sandbox.state("b"), "active");
    sandbox.run(&["run", "g/a", "--wait"]).code(0).stdout("two\n");
    sandbox.run(&["run", "b", "--wait"]).code(0).stdout("nobody\n");
    runner.stop();
    // Also after a restart the job has the defaults that were good.
    let runner = sandbox.start();
    assert_eq!(sandbox.state("g/a"), "stale");
    sandbox.run(&["run", "g/a", "--wait"]).code(0).stdout("two\n");
    sandbox.write("jobs/g/_defaults.yaml", "env: { WHO: four }\n");
    sandbox.wait_for_state("g/a", "active");
    sandbox.run(&["run", "g/a", "--wait"]).code(0).stdout("four\n");
    sandbox.remove("jobs/g/_defaults.yaml");
    sandbox.wait_for_log("reload: 2 jobs (1 changed), generation 3 ");
    sandbox.run(&["run", "g/a", "--wait"]).code(0).stdout("\n");
    runner.stop();
}

#[test]
fn many_writes_in_a_row_are_one_reload() {
    let sandbox = Sandbox::new()
        .file("jobs/a.yaml", &says("0"))
        .file("runner.yaml", "reload: { debounce: 500ms, max_wait: 20s }\n");
    let _runner = sandbox.start();
    for n in 1..=200 {
        sandbox.write("jobs/a.yaml", &says(&n.to_string()));
    }
    sandbox.wait_for_log("reload: ");
    sandbox.run(&["run", "a", "--wait"]).code(0).stdout("200\n");
    mark(&sandbox, "m");
    assert_eq!(sandbox.reloads(), 2, "one for the writes, one for the mark");
}

#[test]
fn a_checkout_of_a_thousand_files_is_one_reload() {
    let sandbox =
        Sandbox::new().file("jobs/a.yaml", NEVER).file("runner.yaml", "reload: { debounce: 1s, max_wait: 30s }\n");
    let _runner = sandbox.start();
    for n in 0..1000 {
        let path = sandbox.path(&format!("jobs/g{}", n % 20));
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join(format!("j{n}.yaml")), NEVER).unwrap();
    }
    sandbox.wait_for_log("reload: 1001 jobs (1000 added), generation 2 ");
    assert_eq!(sandbox.reloads(), 1);
    fs::remove_dir_all(sandbox.path("jobs/g7")).unwrap();
    sandbox.wait_for_log("reload: 951 jobs (50 removed), generation 3 ");
    assert_eq!(sandbox.reloads(), 2);
    assert_eq!(sandbox.json(&["list", "--json"]).as_array().unwrap().len(), 951);
}

#[test]
fn a_swapped_link_is_one_reload_and_later_edits_behind_it_are_seen() {
    // As git-sync does it: every revision in a folder of its own, a link is swapped to the newest.
    let sandbox = Sandbox::bare();
    for rev in ["rev1", "rev2", "rev3"] {
        sandbox.write(&format!("{rev}/jobs/a.yaml"), &says(if rev == "rev3" { "rev2" } else { rev }));
        sandbox.write(&format!("{rev}/jobs/same.yaml"), &says("same"));
    }
    link("rev1/jobs", sandbox.path("jobs"));
    let runner = sandbox.start();
    sandbox.run(&["run", "a", "--wait"]).code(0).stdout("rev1\n");
    link("rev2/jobs", sandbox.path("jobs"));
    sandbox.wait_for_log("reload: 2 jobs (1 changed), generation 2 ");
    sandbox.run(&["run", "a", "--wait"]).code(0).stdout("rev2\n");
    fs::remove_dir_all(sandbox.path("rev1")).unwrap();
    // A swap to the very same texts changes nothing, but it is there that the next edit happens.
    link("rev3/jobs", sandbox.path("jobs"));
    let catalog = CatalogThread::of(&runner);
    wait_for("the swap is noticed", || catalog.watches(&sandbox.path("rev3/jobs")));
    sandbox.write("rev3/jobs/a.yaml", &says("edited"));
    sandbox.wait_for_log("reload: 2 jobs (1 changed), generation 3 ");
    sandbox.run(&["run", "a", "--wait"]).code(0).stdout("edited\n");
    assert_eq!(sandbox.reloads(), 2);
}

#[test]
fn a_config_map_swap_is_one_reload() {
    // As Kubernetes mounts it: each file is a link through `..data`, which is swapped.
    let sandbox = Sandbox::new();
    let revision = |name: &str, text: &str| {
        for job in ["a", "b"] {
            sandbox.write(&format!("jobs/{name}/{job}.yaml"), &says(&format!("{text}-{job}")));
        }
        link(name, sandbox.path("jobs/..data"));
    };
    revision("..2024_01", "one");
    for job in ["a", "b"] {
        link(format!("..data/{job}.yaml"), sandbox.path(&format!("jobs/{job}.yaml")));
    }
    let _runner = sandbox.start();
    sandbox.run(&["run", "a", "--wait"]).code(0).stdout("one-a\n");
    revision("..2024_02", "two");
    fs::remove_dir_all(sandbox.path("jobs/..2024_01")).unwrap();
    sandbox.wait_for_log("reload: 2 jobs (2 changed), generation 2 ");
    sandbox.run(&["run", "b", "--wait"]).code(0).stdout("two-b\n");
    revision("..2024_03", "three");
    sandbox.wait_for_log("reload: 2 jobs (2 changed), generation 3 ");
    assert_eq!(sandbox.reloads(), 2);
}

#[test]
fn a_link_to_a_file_elsewhere_is_followed() {
    let sandbox = Sandbox::new();
    let far = sandbox.outside("far");
    fs::create_dir_all(far.join("team")).unwrap();
    fs::write(far.join("job.yaml"), says("one")).unwrap();
    fs::write(far.join("team/x.yaml"), says("x")).unwrap();
    link(far.join("job.yaml"), sandbox.path("jobs/a.yaml"));
    link(far.join("team"), sandbox.path("jobs/team"));
    let _runner = sandbox.start();
    sandbox.run(&["run", "a", "--wait"]).code(0).stdout("one\n");
    fs::write(far.join("job.yaml"), says("two")).unwrap();
    sandbox.wait_for_log("reload: 2 jobs (1 changed), generation 2 ");
    sandbox.run(&["run", "a", "--wait"]).code(0).stdout("two\n");
    fs::write(far.join("team/y.yaml"), says("y")).unwrap();
    sandbox.wait_for_log("reload: 3 jobs (1 added), generation 3 ");
    // What lies beside the file that is meant is nobody's affair.
    fs::write(far.join("other.yaml"), says("other")).unwrap();
    mark(&sandbox, "m");
    assert_eq!(sandbox.reloads(), 3);
}

#[test]
fn a_vanished_jobs_folder_keeps_what_is_loaded_until_it_is_back() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", "every: 1s\ncommand: echo a\n");
    let _runner = sandbox.start();
    fs::rename(sandbox.path("jobs"), sandbox.path("away")).unwrap();
    sandbox.wait_for_log("ERROR catalog: jobs: ");
    let before = sandbox.events("a", "end").len();
    sandbox.wait_for_ends("a", before + 2);
    sandbox.run(&["status"]).code(0).says("jobs: 1 (").says("what was loaded goes on");
    assert_eq!(sandbox.logged("ERROR catalog: jobs: "), 1);
    sandbox.write("away/b.yaml", NEVER);
    fs::rename(sandbox.path("away"), sandbox.path("jobs")).unwrap();
    sandbox.wait_for_log("reload: 2 jobs (1 added)");
    sandbox.run(&["status"]).code(0).never_says("what was loaded goes on");
    // It is watched again.
    sandbox.write("jobs/c.yaml", NEVER);
    sandbox.wait_for_log("reload: 3 jobs (1 added)");
}

#[test]
fn a_person_can_ask_for_a_comparison() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", &says("one"));
    let runner = sandbox.start_with(&["--no-reload"]);
    let pid = runner.pid();
    let generation = |n: u32, changes: &str| {
        let ran = sandbox.run(&["reload"]).code(0).stderr("");
        let out = ran.out();
        let begin = format!("the runner with PID {pid} has 1 job, generation {n} ");
        assert!(out.starts_with(&begin) && out.ends_with(&format!(": {changes}\n")), "{ran}");
    };
    sandbox.write("jobs/a.yaml", &says("two"));
    generation(2, "1 changed");
    generation(2, "nothing changed");
    // What was asked for is said in the log, also if there was nothing to do.
    sandbox.wait_for_logs(" catalog: asked to compare the files: nothing changed", 1);
    sandbox.write("jobs/a.yaml", &says("three"));
    runner.signal(libc::SIGHUP);
    sandbox.wait_for_log("SIGHUP");
    sandbox.wait_for_log("reload: 1 job (1 changed), generation 3 ");
    sandbox.run(&["run", "a", "--wait"]).code(0).stdout("three\n");
    // Settings that are read anew on request do not bring the periodic look back.
    sandbox.write("runner.yaml", "reload: { scan: 1s }\n");
    sandbox.write("jobs/tick.yaml", "every: 1s\ncommand: \"true\"\n");
    sandbox.run(&["reload"]).code(0).says("1 added, settings changed");
    sandbox.write("jobs/b.yaml", "command: [\n");
    sandbox.wait_for_ends("tick", 3);
    assert_eq!(sandbox.logged("jobs/b.yaml"), 0);
    sandbox.run(&["reload"]).code(3).says("jobs/b.yaml:");
    let answer = sandbox.json(&["reload", "--json"]);
    assert_eq!((&answer["jobs"], &answer["changes"]), (&2.into(), &"nothing changed".into()));
    assert_eq!(answer["errors"].as_array().unwrap().len(), 1);
}

#[test]
fn the_periodic_look_finds_what_no_event_tells_of() {
    // A file of another file system, reached through two links whose folder is a mount that was there before: its hard link is
    // written to under a name that nobody watches.
    let sandbox = Sandbox::new().file("runner.yaml", "reload: { scan: 1s }\n").file("jobs/a.yaml", &says("one"));
    let hidden = sandbox.outside("hidden");
    fs::create_dir(&hidden).unwrap();
    fs::hard_link(sandbox.path("jobs/a.yaml"), hidden.join("other-name")).unwrap();
    let _runner = sandbox.start();
    fs::write(hidden.join("other-name"), says("two")).unwrap();
    sandbox.wait_for_log("reload: 1 job (1 changed)");
    sandbox.run(&["run", "a", "--wait"]).code(0).stdout("two\n");
}

#[test]
fn broken_settings_leave_the_settings_as_they_are() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", NEVER).file("runner.yaml", "timezone: Asia/Tokyo\n");
    let _runner = sandbox.start();
    sandbox.write("runner.yaml", "timezone: Asia/Tokyo\nmax_concurrent_run: 3\n");
    sandbox.wait_for_log("ERROR catalog: runner.yaml:2:1: unknown field `max_concurrent_run`");
    assert_eq!((sandbox.state("a"), &sandbox.entry("a")["timezone"]), ("active".into(), &"Asia/Tokyo".into()));
    // A link that leads to nothing is broken as well, not absent.
    fs::remove_file(sandbox.path("runner.yaml")).unwrap();
    link("nowhere", sandbox.path("runner.yaml"));
    sandbox.wait_for_log("ERROR catalog: runner.yaml: this link leads to nothing: nowhere");
    assert_eq!(sandbox.entry("a")["timezone"], "Asia/Tokyo");
    fs::remove_file(sandbox.path("runner.yaml")).unwrap();
    sandbox.write("runner.yaml", "timezone: Asia/Seoul\nlogs: { level: warn }\n");
    wait_for("the zone is the new one", || sandbox.entry("a")["timezone"] == "Asia/Seoul");
    assert_eq!(sandbox.logged("max_concurrent_run"), 1);
    // The level holds at once.
    sandbox.wait_for_log("settings changed");
    let before = sandbox.logged(" INFO ");
    sandbox.write("jobs/b.yaml", NEVER);
    sandbox.wait_for_state("b", "active");
    sandbox.write("runner.yaml", "logs: { directory: elsewhere }\n");
    sandbox.wait_for_log("logs.directory and logs.format take effect at the next start");
    assert_eq!(sandbox.logged(" INFO "), before);
}

/// The thread that compares the files, as the kernel sees it.
struct CatalogThread {
    pid: u32,
    status: std::path::PathBuf,
}

impl CatalogThread {
    fn of(runner: &crate::sandbox::Runner<'_>) -> Self {
        let pid = runner.pid();
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let task = tasks
            .map(|task| task.unwrap().path())
            .find(|task| fs::read_to_string(task.join("comm")).is_ok_and(|name| name == "catalog\n"))
            .expect("there is a thread of this name");
        Self { pid, status: task.join("status") }
    }

    /// How often it was woken.
    fn wake_ups(&self) -> u64 {
        let status = fs::read_to_string(&self.status).unwrap();
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Whether the runner has the folder under watch.
    fn watches(&self, folder: &std::path::Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        let inode = format!("ino:{:x} ", fs::metadata(folder).unwrap().ino());
        let infos = fs::read_dir(format!("/proc/{}/fdinfo", self.pid)).unwrap();
        infos.flatten().any(|info| {
            fs::read_to_string(info.path())
                .unwrap_or_default()
                .lines()
                .any(|l| l.contains("inotify") && l.contains(&inode))
        })
    }
}

#[test]
fn reading_the_files_causes_no_reload_and_wakes_nobody() {
    let sandbox = Sandbox::new();
    for n in 0..50 {
        sandbox.write(&format!("jobs/j{n}.yaml"), NEVER);
    }
    let runner = sandbox.start();
    mark(&sandbox, "m");
    let thread = CatalogThread::of(&runner);
    let reads = || {
        for _ in 0..20 {
            for entry in fs::read_dir(sandbox.path("jobs")).unwrap() {
                fs::read(entry.unwrap().path()).unwrap();
            }
        }
        sandbox.run(&["list"]).code(0);
        sandbox.run(&["validate"]).code(0);
    };
    // What the mark caused may still be under way.
    let mut before = thread.wake_ups();
    wait_for("it is quiet", || {
        reads();
        before == std::mem::replace(&mut before, thread.wake_ups())
    });
    reads();
    assert_eq!(thread.wake_ups(), before);
    assert_eq!(sandbox.reloads(), 1);
}

#[test]
fn files_that_others_may_write_to_are_refused_with_the_mend() {
    let chmod = |sandbox: &Sandbox, path: &str, mode: u32| {
        fs::set_permissions(sandbox.path(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    let sandbox = Sandbox::new().file("jobs/a.yaml", &says("a")).file("jobs/g/b.yaml", &says("b"));
    let runner = sandbox.start();
    chmod(&sandbox, "jobs/a.yaml", 0o666);
    sandbox.wait_for_state("a", "stale");
    let error = "jobs/a.yaml: this file is refused: everybody may write to it";
    assert_eq!(sandbox.entry("a")["error"], error);
    sandbox.run(&["validate"]).code(3).says("`chmod o-w jobs/a.yaml`, or start with --allow-insecure");
    sandbox.run(&["validate", "--allow-insecure"]).code(0);
    chmod(&sandbox, "jobs/a.yaml", 0o644);
    sandbox.wait_for_state("a", "active");
    // A folder that everybody may write to: what is in it goes on as it was.
    chmod(&sandbox, "jobs/g", 0o777);
    sandbox.wait_for_state("g/b", "stale");
    sandbox.write("jobs/g/c.yaml", &says("intruder"));
    sandbox.run(&["reload"]).code(3).says("jobs/g: this folder is refused: everybody may write to it");
    sandbox.run(&["run", "g/b", "--wait"]).code(0).stdout("b\n");
    sandbox.run(&["run", "g/c"]).code(1);
    chmod(&sandbox, "jobs", 0o777);
    sandbox.wait_for_state("a", "stale");
    runner.stop();
    let runner = sandbox.start();
    assert_eq!((sandbox.state("a"), sandbox.state("g/b")), ("stale".into(), "stale".into()));
    runner.stop();
    let runner = sandbox.start_with(&["--no-last-good"]);
    assert_eq!((sandbox.state("a"), sandbox.state("g/b")), (String::new(), String::new()));
    runner.stop();
    let runner = sandbox.start_with(&["--allow-insecure"]);
    assert_eq!((sandbox.state("a"), sandbox.state("g/c")), ("active".into(), "active".into()));
    runner.stop();
    chmod(&sandbox, "jobs", 0o1777);
    chmod(&sandbox, "jobs/g", 0o755);
    sandbox.write("runner.yaml", "timezone: Asia/Tokyo\n");
    chmod(&sandbox, "runner.yaml", 0o646);
    sandbox.run(&["validate"]).code(3).says("`chmod o-w runner.yaml`");
    sandbox.run(&["start", "--no-last-good"]).code(3).says("`chmod o-w runner.yaml`");
    sandbox.start_with(&["--allow-insecure"]).stop();
    if is_root() {
        chmod(&sandbox, "runner.yaml", 0o644);
        std::os::unix::fs::chown(sandbox.path("jobs/a.yaml"), None, Some(54321)).unwrap();
        chmod(&sandbox, "jobs/a.yaml", 0o664);
        sandbox.run(&["validate"]).code(3).says("the group 54321 may write to it").says("`chmod g-w jobs/a.yaml`");
    } else {
        skip("a file of another group needs root to be made");
    }
}

#[test]
fn last_good_versions_that_others_may_have_written_are_refused() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", &says("good"));
    sandbox.start().stop();
    sandbox.write("jobs/a.yaml", "command: [\n");
    let path = sandbox.path("logs/last-good.jsonl");
    let is_refused = |why: &str| {
        let runner = sandbox.start();
        assert_eq!(sandbox.state("a"), "invalid");
        assert_eq!(sandbox.logged(&format!("ERROR catalog: last-good.jsonl cannot be read: it is refused: {why}")), 1);
        runner.stop();
        let runner = sandbox.start_with(&["--allow-insecure"]);
        assert_eq!(sandbox.state("a"), "stale");
        runner.stop();
    };
    fs::set_permissions(&path, fs::Permissions::from_mode(0o602)).unwrap();
    is_refused("everybody may write to it; `chmod o-w ");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let runner = sandbox.start();
    assert_eq!(sandbox.state("a"), "stale");
    runner.stop();
    if is_root() {
        std::os::unix::fs::chown(&path, Some(54321), Some(54321)).unwrap();
        is_refused("it belongs to the user 54321, neither the runner's own nor root; `chown 0 ");
    } else {
        skip("a file of another user needs root to be made");
    }
}

#[test]
fn more_runs_at_once_get_more_open_files_also_while_the_runner_runs() {
    let sandbox = Sandbox::new().file("runner.yaml", "max_concurrent_runs: 1\n");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -Sn 128; exec \"$1\" start", "sh", env!("CARGO_BIN_EXE_runner")]);
    sandbox.clean(&mut command);
    let runner = sandbox.start_command(command);
    let open_files = || {
        let limits = fs::read_to_string(format!("/proc/{}/limits", runner.pid())).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        let number = |column| line.split_whitespace().nth(column).unwrap().parse().unwrap_or(u64::MAX);
        (number(3), number(4))
    };
    let (at_first, most) = open_files();
    assert_eq!(at_first, 265.min(most));
    sandbox.write("runner.yaml", "max_concurrent_runs: 50\n");
    wait_for("the limit is raised", || open_files().0 == 706.min(most));
    runner.stop();
}

#[test]
fn the_fingerprint_is_that_of_what_is_loaded() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", &says("one"));
    let runner = sandbox.start();
    let fingerprint = || sandbox.json(&["status", "--json"])["fingerprint"].as_str().unwrap().to_string();
    let one = fingerprint();
    assert!(!one.is_empty());
    sandbox.write("jobs/a.yaml", &says("two"));
    sandbox.wait_for_log("reload: 1 job (1 changed), generation 2 ");
    let two = fingerprint();
    assert_ne!(two, one);
    // What goes on is the last good text.
    sandbox.write("jobs/a.yaml", "command: [\n");
    sandbox.wait_for_state("a", "stale");
    assert_eq!(fingerprint(), two);
    sandbox.write("jobs/a.yaml", &says("one"));
    sandbox.wait_for_state("a", "active");
    assert_eq!(fingerprint(), one);
    runner.stop();
}

#[test]
fn of_two_files_with_one_name_the_newcomer_is_refused_and_at_a_start_both() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", &says("first"));
    let runner = sandbox.start();
    sandbox.write("jobs/b.yaml", &format!("name: a\n{}", says("second")));
    sandbox.wait_for_log("jobs/b.yaml is broken: its job is not scheduled");
    assert_eq!(sandbox.logged("jobs/b.yaml: name: the job's name `a` is also that of jobs/a.yaml"), 1);
    sandbox.run(&["run", "a", "--wait"]).code(0).stdout("first\n");
    // Names that differ only in case are one name as well.
    sandbox.write("jobs/A.yaml", &says("third"));
    sandbox.wait_for_log("the job's name `A` differs only in case from `a` in jobs/a.yaml");
    sandbox.remove("jobs/A.yaml");
    sandbox.run(&["validate"]).code(3).says("is also that of jobs/a.yaml").says("is also that of jobs/b.yaml");
    runner.stop();
    let runner = sandbox.start_with(&["--no-last-good"]);
    let list = sandbox.json(&["list", "--json"]);
    assert!(list.as_array().unwrap().iter().all(|entry| entry["state"] == "invalid"), "{list}");
    // The name is free again once one of them has another.
    sandbox.write("jobs/b.yaml", &format!("name: c\n{}", says("second")));
    sandbox.wait_for_state("a", "active");
    sandbox.run(&["run", "a", "--wait"]).code(0).stdout("first\n");
    sandbox.run(&["run", "c", "--wait"]).code(0).stdout("second\n");
    // A file that is renamed is the same job in another place.
    fs::rename(sandbox.path("jobs/b.yaml"), sandbox.path("jobs/d.yaml")).unwrap();
    wait_for("it is in its new place", || sandbox.entry("c")["file"] == "jobs/d.yaml");
    sandbox.run(&["run", "c", "--wait"]).code(0).stdout("second\n");
    runner.stop();
}

#[test]
fn a_name_that_a_broken_files_last_good_version_holds_is_taken() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", &says("a")).file("jobs/b.yaml", &says("b"));
    let runner = sandbox.start();
    // `a` wants a name that is taken, so it stays what it was; a newcomer cannot have that name meanwhile.
    sandbox.write("jobs/a.yaml", &format!("name: b\n{}", says("a2")));
    sandbox.wait_for_state("a", "stale");
    sandbox.write("jobs/c.yaml", &format!("name: a\n{}", says("c")));
    sandbox.wait_for_log("jobs/c.yaml: name: the job's name `a` is also that of jobs/a.yaml");
    sandbox.run(&["run", "a", "--wait"]).code(0).stdout("a\n");
    sandbox.run(&["run", "b", "--wait"]).code(0).stdout("b\n");
    sandbox.remove("jobs/c.yaml");
    sandbox.write("jobs/a.yaml", &says("a"));
    sandbox.wait_for_state("a", "active");
    // A version that was refused for its name never runs, also not after a restart.
    sandbox.write("jobs/z.yaml", &format!("name: a\n{}", says("refused")));
    sandbox.wait_for_log("jobs/z.yaml is broken");
    runner.stop();
    sandbox.write("jobs/z.yaml", "command: [\n");
    let runner = sandbox.start();
    sandbox.run(&["run", "a", "--wait"]).code(0).stdout("a\n");
    runner.stop();
}

#[test]
fn a_mount_that_goes_away_under_jobs_keeps_what_is_loaded() {
    let within = |sandbox: &Sandbox, script: &str| {
        let mut command = std::process::Command::new("unshare");
        command.args(["-m", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_runner")]);
        sandbox.clean(&mut command);
        command
    };
    let sandbox = Sandbox::new().file("a.yaml", &says("a")).file("runner.yaml", "reload: { scan: 1s }\n");
    if !is_root() || within(&sandbox, "mount -t tmpfs none jobs").status().is_ok_and(|status| !status.success()) {
        return skip("a mount of its own needs root and unshare");
    }
    let runner =
        sandbox.start_command(within(&sandbox, "mount -t tmpfs none jobs && cp a.yaml jobs && exec \"$1\" start"));
    let umount = |args: &[&str]| {
        let mut command = std::process::Command::new("nsenter");
        command.args(["-t", &runner.pid().to_string(), "-m"]).args(args).arg(sandbox.path("jobs"));
        sandbox.finish(command).code(0);
    };
    umount(&["umount", "-l"]);
    sandbox.wait_for_log("ERROR catalog: jobs: jobs is empty and on another device than before: a mount is gone");
    sandbox.run(&["run", "a", "--wait"]).code(0).stdout("a\n");
    umount(&["mount", "-t", "tmpfs", "none"]);
    let root = format!("/proc/{}/root{}", runner.pid(), sandbox.path("jobs/b.yaml").display());
    fs::write(root, says("b")).unwrap();
    sandbox.wait_for_log("reload: 1 job (1 added, 1 removed)");
    runner.stop();
}

#[test]
fn modes_do_not_matter_on_a_read_only_mount_but_do_where_a_link_leads_out_of_it() {
    let within = |sandbox: &Sandbox, script: &str| {
        let mut command = std::process::Command::new("unshare");
        command.args(["-m", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_runner")]);
        sandbox.clean(&mut command);
        sandbox.finish(command)
    };
    let sandbox = Sandbox::new().file("a.yaml", &says("a")).file("elsewhere/b.yaml", &says("b")).file("jobs/x", "");
    for path in ["a.yaml", "elsewhere/b.yaml"] {
        fs::set_permissions(sandbox.path(path), fs::Permissions::from_mode(0o666)).unwrap();
    }
    if !is_root() || within(&sandbox, "mount -t tmpfs none jobs").exit() != 0 {
        return skip("a mount of its own needs root and unshare");
    }
    let mounted = "mount -t tmpfs none jobs && cp -p a.yaml jobs && chmod 777 jobs && mount -o remount,ro jobs && exec \"$1\" validate";
    within(&sandbox, mounted).code(0).says("1 job: 0 errors");
    let linked = mounted.replace("&& chmod", "&& ln -s ../elsewhere/b.yaml jobs/b.yaml && chmod");
    within(&sandbox, &linked).code(3).says("this file is refused: everybody may write to it\n--> jobs/b.yaml");
}
