//! All processes of a run, wherever they have gone: none is left when it has ended, and nobody else is touched. Limits, users and
//! sandboxes as the kernel keeps them. What needs root says so where it is not had.

use std::process::Command;

use serde_json::Value;

use crate::sandbox::{Sandbox, is_alive, skip, wait_for};

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        skip("needs root");
    }
    is_root
}

/// A binary that sees no control groups: a private mount namespace hides them.
fn without_groups(sandbox: &Sandbox) -> Command {
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs none /sys/fs/cgroup && exec \"$0\" start";
    command.args(["-m", "--propagation", "private", "sh", "-c", script, env!("CARGO_BIN_EXE_runner")]);
    command.current_dir(sandbox.path(""));
    sandbox.clean(&mut command);
    command
}

fn has_groups() -> bool {
    let there = runner::os::cgroup::Home::find().is_ok();
    if !there {
        skip("no cgroup v2 that may be written to");
    }
    there
}

fn output(sandbox: &Sandbox, job: &str) -> String {
    sandbox.read(&format!("logs/jobs/{job}/output.log"))
}

/// The numbers that a job has printed behind `name `.
fn pids(sandbox: &Sandbox, job: &str, name: &str) -> Vec<i64> {
    let text = output(sandbox, job);
    let word = format!(" out {name} ");
    text.lines().filter_map(|line| line.split(&word).nth(1)?.parse().ok()).collect()
}

/// Starts processes that leave their parents, their session, and one of them its environment; prints their numbers.
const SPREAD: &str = "sh -c 'setsid sh -c \"echo away \\$\\$; exec sleep 300\" &'; \
                      sh -c 'sh -c \"echo forked \\$\\$; exec sleep 300\" &'";
const SPREAD_BARE: &str = "env -i setsid sh -c 'echo bare $$; exec sleep 300' &";

fn spread_out(sandbox: &Sandbox, job: &str, names: &[&str]) -> Vec<i64> {
    wait_for("all processes are there", || names.iter().all(|name| !pids(sandbox, job, name).is_empty()));
    let found: Vec<i64> = names.iter().flat_map(|name| pids(sandbox, job, name)).collect();
    assert!(found.iter().all(|pid| is_alive(*pid)));
    found
}

fn quoted(script: &str) -> String {
    serde_json::to_string(script).unwrap()
}

#[test]
fn no_process_outlives_its_run_however_it_ends() {
    for groups in [true, false] {
        if (groups && !has_groups()) || (!groups && !is_root()) {
            continue;
        }
        let spread = if groups { format!("{SPREAD}\n{SPREAD_BARE}") } else { SPREAD.to_string() };
        let names: &[&str] = if groups { &["away", "forked", "bare"] } else { &["away", "forked"] };
        let stays = quoted(&format!("{spread}\nwhile :; do sleep 300; done"));
        let told = "read line < go; exit 0";
        let sandbox = Sandbox::new()
            .file("jobs/ends.yaml", &format!("manual: true\ncommand: {}\n", quoted(&format!("{spread}\n{told}"))))
            .file("jobs/cancelled.yaml", &format!("manual: true\ncommand: {stays}\n"))
            .file("jobs/late.yaml", &format!("manual: true\ntimeout: 1s\ncommand: {stays}\n"))
            .file("jobs/replaced.yaml", &format!("manual: true\noverlap: replace\ncommand: {stays}\n"))
            .file("jobs/stopped.yaml", &format!("manual: true\ncommand: {stays}\n"));
        rustix::fs::mknodat(
            rustix::fs::CWD,
            sandbox.path("go"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let runner = if groups { sandbox.start() } else { sandbox.start_command(without_groups(&sandbox)) };

        sandbox.run(&["run", "ends"]).code(0);
        let left = spread_out(&sandbox, "ends", names);
        sandbox.write("go", "\n");
        assert_eq!(sandbox.wait_for_ends("ends", 1)[0]["status"], "success");
        assert!(left.iter().all(|pid| !is_alive(*pid)), "groups: {groups}");
        assert!(output(&sandbox, "ends").contains("processes that the command left behind were ended"));

        sandbox.run(&["run", "cancelled"]).code(0);
        let left = spread_out(&sandbox, "cancelled", names);
        let run = sandbox.events("cancelled", "start")[0]["run"].as_str().unwrap().to_string();
        sandbox.run(&["cancel", &run]).code(0);
        assert_eq!(sandbox.wait_for_ends("cancelled", 1)[0]["status"], "cancelled");
        assert!(left.iter().all(|pid| !is_alive(*pid)), "groups: {groups}");

        sandbox.run(&["run", "late"]).code(0);
        let left = spread_out(&sandbox, "late", names);
        assert_eq!(sandbox.wait_for_ends("late", 1)[0]["status"], "timeout");
        assert!(left.iter().all(|pid| !is_alive(*pid)), "groups: {groups}");
        assert!(output(&sandbox, "late").contains("80 % of its timeout of 1s is over"));

        sandbox.run(&["run", "replaced"]).code(0);
        let left = spread_out(&sandbox, "replaced", names);
        sandbox.run(&["run", "replaced"]).code(0);
        sandbox.wait_for_ends("replaced", 1);
        assert!(left.iter().all(|pid| !is_alive(*pid)), "groups: {groups}");

        sandbox.run(&["run", "stopped"]).code(0);
        let left = spread_out(&sandbox, "stopped", names);
        runner.stop_at_once();
        assert_eq!(sandbox.wait_for_ends("stopped", 1)[0]["status"], "cancelled");
        assert!(left.iter().all(|pid| !is_alive(*pid)), "groups: {groups}");
    }
}

#[test]
fn after_a_crash_the_next_start_finds_those_too_that_have_cleared_their_environment() {
    if !has_groups() {
        return;
    }
    let script = quoted(&format!("{SPREAD}; {SPREAD_BARE} while :; do sleep 300; done"));
    let sandbox = Sandbox::new().file("jobs/a.yaml", &format!("manual: true\ncommand: {script}\n"));
    let runner = sandbox.start();
    sandbox.run(&["run", "a"]).code(0);
    let left = spread_out(&sandbox, "a", &["away", "forked", "bare"]);
    runner.kill();
    assert!(left.iter().all(|pid| is_alive(*pid)));
    let runner = sandbox.start();
    assert!(left.iter().all(|pid| !is_alive(*pid)), "ended before the new runner was ready");
    assert_eq!(sandbox.wait_for_ends("a", 1)[0]["status"], "interrupted");
    runner.stop();
}

#[test]
fn without_groups_who_does_not_carry_the_runs_id_is_reaped_and_never_killed() {
    if !is_root() {
        return;
    }
    let script = quoted(&format!("{SPREAD_BARE} read line < go"));
    let sandbox = Sandbox::new().file("jobs/a.yaml", &format!("manual: true\ncommand: {script}\n"));
    assert!(Command::new("mkfifo").arg(sandbox.path("go")).status().unwrap().success());
    let runner = sandbox.start_command(without_groups(&sandbox));
    sandbox.run(&["run", "a"]).code(0);
    let left = spread_out(&sandbox, "a", &["bare"]);
    sandbox.write("go", "\n");
    sandbox.wait_for_ends("a", 1);
    assert!(is_alive(left[0]), "it cannot be told from anybody else's");
    let child = rustix::process::Pid::from_raw(left[0] as i32).unwrap();
    rustix::process::kill_process(child, rustix::process::Signal::KILL).unwrap();
    let is_zombie = || std::fs::metadata(format!("/proc/{}", left[0])).is_ok();
    wait_for("its number is free again", || !is_zombie());
    runner.stop();
}

#[test]
fn the_stop_signal_is_the_jobs_own() {
    let script = quoted(
        "trap 'echo told by INT; exit 0' INT; trap 'echo told by TERM; exit 1' TERM; echo up; while :; do sleep 0.05; done",
    );
    let sandbox =
        Sandbox::new().file("jobs/a.yaml", &format!("manual: true\nstop_signal: SIGINT\ncommand: {script}\n"));
    let runner = sandbox.start();
    sandbox.run(&["run", "a"]).code(0);
    wait_for("it listens", || output(&sandbox, "a").contains(" out up"));
    let run = sandbox.events("a", "start")[0]["run"].as_str().unwrap().to_string();
    sandbox.run(&["cancel", &run]).code(0);
    let end = &sandbox.wait_for_ends("a", 1)[0];
    assert_eq!((&end["status"], &end["exit_code"]), (&"cancelled".into(), &0.into()));
    assert!(output(&sandbox, "a").contains("told by INT") && !output(&sandbox, "a").contains("told by TERM"));
    runner.stop();
}

#[test]
fn a_job_that_asks_for_it_is_run_again_after_a_crash() {
    let sandbox = Sandbox::new()
        .file("jobs/again.yaml", "manual: true\nrerun_interrupted: true\ncommand: \"[ -e done ] || sleep 300\"\n")
        .file("jobs/once.yaml", "manual: true\ncommand: sleep 300\n");
    let runner = sandbox.start();
    sandbox.run(&["run", "again"]).code(0);
    sandbox.run(&["run", "once"]).code(0);
    for job in ["again", "once"] {
        wait_for("it runs", || !sandbox.events(job, "start").is_empty());
    }
    runner.kill();
    sandbox.write("done", "");
    let runner = sandbox.start();
    let ends = sandbox.wait_for_ends("again", 2);
    let words = |end: &Value| (end["status"].clone(), end["triggered_by"].clone(), end["due"].clone());
    let due = sandbox.events("again", "start")[0]["due"].clone();
    assert_eq!(words(&ends[0]), ("interrupted".into(), "MANUAL".into(), due.clone()));
    assert_eq!(words(&ends[1]), ("success".into(), "RERUN".into(), due));
    assert_eq!(sandbox.wait_for_ends("once", 1).len(), 1);
    runner.stop();
    sandbox.start().stop();
    assert_eq!((sandbox.events("again", "end").len(), sandbox.events("once", "end").len()), (2, 1));
}

#[test]
fn limits_of_each_process_hold() {
    let sandbox = Sandbox::new()
        .file(
            "jobs/files.yaml",
            "manual: true\nlimits: { open_files: 99 }\nnice: 3\numask: \"027\"\ncommand: ulimit -n; nice; umask\n",
        )
        .file(
            "jobs/hog.yaml",
            "manual: true\nlimits: { memory: 64M }\ncommand: [dd, if=/dev/zero, of=/dev/null, bs=256M, count=1]\n",
        );
    let runner = sandbox.start();
    sandbox.run(&["show", "files"]).code(0).says("# limits.open_files: each process (rlimit)\n");
    let ran = sandbox.run(&["run", "files", "--wait"]).code(0).out();
    let niceness = rustix::process::getpriority_process(None).unwrap() + 3;
    assert!(ran.contains(&format!("99\n{niceness}\n0027\n")), "{ran}");
    assert_ne!(sandbox.run(&["run", "hog", "--wait"]).exit(), 0);
    let end = &sandbox.wait_for_ends("hog", 1)[0];
    let text = output(&sandbox, "hog");
    // By the group it is killed, by the limit of each process it gets no memory.
    assert!(end["error"] == "killed: memory limit 64MiB" || text.contains("memory exhausted"), "{end} {text}");
    runner.stop();
}

#[test]
fn a_limit_that_cannot_be_kept_is_an_error_unless_best_effort_is_enough() {
    if !is_root() {
        return;
    }
    let sandbox = Sandbox::new()
        .file("jobs/strict.yaml", "every: 1h\nlimits: { cpu: 50% }\ncommand: date\n")
        .file("jobs/forks.yaml", "every: 1h\nlimits: { processes: 9 }\ncommand: date\n")
        .file("jobs/hog.yaml", "manual: true\nlimits: { memory: 64M }\ncommand: date\n")
        .file("jobs/nobody.yaml", "every: 1h\nrun_as: { user: no-such-user }\ncommand: date\n")
        .file("jobs/lax.yaml", "every: 1h\non_start: true\nlimits: { cpu: 50%, best_effort: true }\ncommand: date\n");
    let runner = sandbox.start_command(without_groups(&sandbox));
    sandbox.wait_for_log("ERROR catalog: jobs/strict.yaml:2:16: `limits.cpu` cannot be kept here: ");
    sandbox.wait_for_log(
        "ERROR catalog: jobs/nobody.yaml:2:9: `run_as` cannot be kept here: there is no user `no-such-user`",
    );
    sandbox.wait_for_log("ERROR catalog: jobs/forks.yaml:2:22: `limits.processes` cannot be kept here: ");
    sandbox.run(&["show", "hog"]).code(0).says("# limits.memory: each process (rlimit)\n");
    sandbox.wait_for_log("WARN  catalog: jobs/lax.yaml:3:16: `limits.cpu` is left out here: ");
    sandbox.wait_for_ends("lax", 1);
    assert_eq!((sandbox.state("strict").as_str(), sandbox.state("lax").as_str()), ("invalid", "active"));
    // As the running runner can keep it.
    let shown = sandbox.json(&["show", "lax", "--json"])["limits"][0].clone();
    assert_eq!((&shown["limit"], &shown["kept"]), (&"limits.cpu".into(), &false.into()));
    sandbox.run(&["show", "lax"]).code(0).says("# limits.cpu: not kept here: ");
    runner.stop();
    // Where files are only checked they may be another machine's.
    let checked = sandbox.run(&["validate"]);
    assert!(checked.err().contains("warning") || checked.out().contains("warning"), "{checked}");
}

#[test]
fn another_user_has_its_own_groups_home_and_nothing_of_the_runners_rights() {
    if !is_root() {
        return;
    }
    let sandbox = Sandbox::new().file(
        "jobs/a.yaml",
        "manual: true\nworking_directory: /\nrun_as: { user: nobody }\ninherit_env: [PATH]\nenv: { A: b }\n\
         command: \"id -u; id -G; echo $HOME $A [$LANG]; grep NoNewPrivs /proc/self/status; touch /root/x\"\n",
    );
    let runner = sandbox.start();
    let ran = sandbox.run(&["run", "a", "--wait"]);
    assert_eq!(ran.exit(), 1, "root's directory is closed to it");
    let identity = runner::os::users::Identity::find("nobody", None).unwrap();
    let groups: Vec<String> = identity.groups.iter().map(ToString::to_string).collect();
    let home = identity.about.unwrap().home;
    let expected = format!("{}\n{}\n{home} b []\nNoNewPrivs:\t1\n", identity.uid, groups.join(" "));
    assert!(ran.out().contains(&expected), "{ran}");
    runner.stop();
}

#[test]
fn what_a_command_inherits_and_whether_it_may_gain_rights_is_settable() {
    if !is_root() {
        return;
    }
    let rights = "working_directory: /\ncommand: [grep, NoNewPrivs, /proc/self/status]\n";
    let sandbox = Sandbox::new()
        .file("jobs/bare.yaml", "manual: true\ninherit_env: false\nenv: { A: b }\ncommand: [/usr/bin/env]\n")
        .file("jobs/keeps.yaml", &format!("manual: true\nno_new_privs: true\n{rights}"))
        .file("jobs/root.yaml", &format!("manual: true\n{rights}"))
        .file("jobs/gains.yaml", &format!("manual: true\nrun_as: {{ user: nobody }}\nno_new_privs: false\n{rights}"));
    let runner = sandbox.start();
    let ran = sandbox.run(&["run", "bare", "--wait"]).code(0);
    let ran = ran.out();
    let others: Vec<&str> = ran.lines().filter(|line| !line.starts_with("RUNNER_")).collect();
    assert_eq!(others, ["A=b", "PWD=[DIR]"]);
    for (job, privileges) in [("keeps", "1"), ("root", "0"), ("gains", "0")] {
        sandbox.run(&["run", job, "--wait"]).code(0).stdout(&format!("NoNewPrivs:\t{privileges}\n"));
    }
    runner.stop();
}

#[test]
fn a_fork_bomb_stays_within_its_limit_of_processes() {
    if !is_root() {
        return;
    }
    // Gives up by itself after 200, and all of them end by themselves.
    let bomb = "i=0; while [ $i -lt 200 ]; do sleep 20 & i=$((i+1)); done; echo all $i";
    let user = "run_as: { user: \"3999917\", group: \"3999917\" }";
    let job =
        format!("manual: true\nworking_directory: /\n{user}\nlimits: {{ processes: 32 }}\ncommand: {}\n", quoted(bomb));
    let sandbox =
        Sandbox::new().file("jobs/bomb.yaml", &job).file("jobs/good.yaml", "manual: true\ncommand: echo fine\n");
    let runner = sandbox.start();
    let ran = sandbox.run(&["run", "bomb", "--wait"]);
    assert_ne!(ran.exit(), 0);
    assert!(!ran.out().contains("all 200"), "{ran}");
    sandbox.run(&["run", "good", "--wait"]).code(0).says("fine");
    runner.stop();
}

#[test]
fn a_sandbox_writes_where_it_may_and_reaches_nobody() {
    let means = runner::os::means::Means::of_this_process();
    if !(means.landlock.is_some() && means.mounts() && means.networks()) {
        skip("no Landlock or no namespaces");
        return;
    }
    // Not below /tmp, which the sandbox does not see.
    let directory =
        tempfile::tempdir_in("/var").or_else(|_| tempfile::tempdir_in(std::env::var("HOME").unwrap())).unwrap();
    for name in ["out", "kept"] {
        std::fs::create_dir(directory.path().join(name)).unwrap();
    }
    let at = directory.path().display();
    let script = format!(
        "cd {at}; echo 1 > out/new && mv out/new out/moved; echo 2 > kept/new; rm -f kept/old; chmod 777 kept; \
         echo mine > /tmp/runner-sandbox-test && ls -A /tmp; grep -c : /proc/net/dev; echo hi > /dev/null && echo end"
    );
    std::fs::write(directory.path().join("kept/old"), "old").unwrap();
    let job = format!(
        "manual: true\nworking_directory: {at}\nsandbox: {{ read_only: true, write: [{at}/out], network: false, tmp: private }}\n\
         command: {}\n",
        quoted(&script)
    );
    let sandbox = Sandbox::new().file("jobs/a.yaml", &job);
    let runner = sandbox.start();
    let ran = sandbox.run(&["run", "a", "--wait"]).code(0);
    assert!(ran.out().contains("runner-sandbox-test\n1\nend\n"), "a /tmp of its own, one interface: {ran}");
    assert!(directory.path().join("out/moved").exists());
    assert!(!directory.path().join("kept/new").exists() && directory.path().join("kept/old").exists());
    assert!(!std::path::Path::new("/tmp/runner-sandbox-test").exists());
    if is_root() {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(directory.path().join("kept")).unwrap().permissions().mode();
        assert_eq!(mode & 0o002, 0, "the mount is read-only as well");
    }
    runner.stop();
}

#[test]
fn a_path_that_is_not_there_fails_the_run_with_its_name() {
    if runner::os::means::Means::of_this_process().landlock.is_none() {
        skip("no Landlock");
        return;
    }
    let sandbox = Sandbox::new()
        .file("jobs/a.yaml", "manual: true\nsandbox: { read_only: true, write: [/no/such] }\ncommand: date\n");
    let runner = sandbox.start();
    assert_eq!(sandbox.run(&["run", "a", "--wait"]).exit(), 1);
    let end = &sandbox.wait_for_ends("a", 1)[0];
    assert!(end["error"].as_str().unwrap().starts_with("`sandbox.write`: /no/such cannot be opened: "), "{end}");
    runner.stop();
}

#[test]
fn a_simple_command_runs_without_the_shell_and_nothing_else_changes() {
    let sandbox = Sandbox::new()
        .file("bin/parent", "#!/bin/sh\ncat /proc/$PPID/comm\n")
        .file("bin/dies", "#!/bin/sh\nkill -SEGV $$\n")
        .file("bin/script", "echo no first line\n")
        .file("jobs/direct.yaml", "manual: true\ncommand: ./bin/parent\n")
        .file("jobs/shell.yaml", "manual: true\ncommand: ./bin/parent; true\n")
        .file("jobs/dies.yaml", "manual: true\ncommand: ./bin/dies\n")
        .file("jobs/dies-in-shell.yaml", "manual: true\ncommand: ./bin/dies; exit $?\n")
        .file("jobs/script.yaml", "manual: true\ncommand: ./bin/script\n")
        .file("jobs/missing.yaml", "manual: true\ncommand: no-such-program --now\n")
        .file("jobs/args.yaml", "manual: true\ncommand: printenv RUNNER_JOB\n");
    for name in ["parent", "dies", "script"] {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(sandbox.path(&format!("bin/{name}")), PermissionsExt::from_mode(0o755)).unwrap();
    }
    let runner = sandbox.start();
    sandbox.run(&["run", "direct", "--wait"]).code(0).says("runner\n");
    sandbox.run(&["run", "shell", "--wait"]).code(0).says("sh\n");
    sandbox.run(&["run", "script", "--wait"]).code(0).says("no first line");
    sandbox.run(&["run", "args", "--wait"]).code(0).says("args\n");
    sandbox.run(&["run", "missing", "--wait"]).code(127).says("not found");
    for job in ["dies", "dies-in-shell"] {
        assert_eq!(sandbox.run(&["run", job, "--wait"]).exit(), 139, "{job}");
        let end = &sandbox.wait_for_ends(job, 1)[0];
        assert_eq!((&end["exit_code"], &end["signal"]), (&139.into(), &Value::Null), "{job}");
    }
    assert_eq!(sandbox.events("missing", "start").len(), 1);
    runner.stop();
}

#[test]
fn a_runner_without_root_has_sandboxes_too_where_user_namespaces_are_allowed() {
    if !is_root() {
        return;
    }
    const SOMEBODY: u32 = 3_999_918;
    let sandbox = Sandbox::new().file(
        "jobs/a.yaml",
        "manual: true\nworking_directory: /\nsandbox: { read_only: true, network: false, tmp: private }\n\
         command: \"id -u; ls -A /tmp; echo x > /tmp/mine && ls -A /tmp; grep -c : /proc/net/dev; touch $RUNNER_LOG_DIR/no; echo end\"\n",
    );
    let binary = sandbox.outside("runner");
    std::fs::copy(env!("CARGO_BIN_EXE_runner"), &binary).unwrap();
    let all = Command::new("chown").args(["-R", &SOMEBODY.to_string()]).arg(sandbox.outside("")).status();
    assert!(all.unwrap().success());
    let mut command = Command::new("setpriv");
    let id = format!("--reuid={SOMEBODY}");
    command.args([id.as_str(), &format!("--regid={SOMEBODY}"), "--clear-groups"]).arg(&binary).arg("start");
    command.current_dir(sandbox.path(""));
    sandbox.clean(&mut command);
    let runner = sandbox.start_command(command);
    if sandbox.state("a") == "invalid" {
        skip("no user namespaces or no Landlock for users other than root");
        return runner.stop();
    }
    sandbox.run(&["run", "a", "--wait"]).code(0).says(&format!("{SOMEBODY}\nmine\n1\n")).says("end\n");
    assert!(!sandbox.path("logs/no").exists());
    sandbox.run(&["show", "a"]).code(0).says("# sandbox.network: kept by the kernel");
    runner.stop();
}

#[test]
fn as_process_1_of_a_container_it_reaps_and_stops_in_order() {
    if !is_root() {
        return;
    }
    let script = quoted(
        "trap 'echo told; exit 0' TERM; (sh -c 'exit 0' &); (setsid sleep 0.1 &); echo up; while :; do sleep 0.05; done",
    );
    let sandbox = Sandbox::new()
        .file("runner.yaml", "shutdown_timeout: 0s\n")
        .file("jobs/a.yaml", &format!("on_start: true\ncommand: {script}\n"));
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child", env!("CARGO_BIN_EXE_runner"), "start"]);
    command.current_dir(sandbox.path(""));
    sandbox.clean(&mut command);
    let mut unshare = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    wait_for("it runs", || output(&sandbox, "a").contains(" out up"));
    sandbox.wait_for_log("start: runner ");
    assert!(sandbox.read("logs/runner.log").contains(" with PID 1,"));
    let children = || std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", unshare.id())).unwrap_or_default();
    let runner: i32 = children().trim().parse().unwrap();
    let of_runner = || {
        let pids = std::fs::read_to_string(format!("/proc/{runner}/task/{runner}/children")).unwrap_or_default();
        pids.split_whitespace().count()
    };
    // The job is another thread's child: whoever is here has lost its parent.
    wait_for("orphans are reaped", || of_runner() == 0);
    // SAFETY: a process of this test.
    unsafe { libc::kill(runner, libc::SIGTERM) };
    wait_for("all of it has ended", || unshare.try_wait().unwrap().is_some());
    let end = &sandbox.wait_for_ends("a", 1)[0];
    assert_eq!((&end["status"], &end["exit_code"]), (&"cancelled".into(), &0.into()));
    assert!(output(&sandbox, "a").contains(" out told"));
    sandbox.wait_for_log("stopped (SIGTERM)");
}

/// A script that starts itself anew in a session of its own and ends, a few hundred times; the last one leaves a file.
const CHAIN: &str = "#!/bin/sh\n[ $1 -gt 0 ] || exec touch reached\nsetsid ./chain $(($1 - 1)) > /dev/null 2>&1 &\n";

#[test]
fn whoever_starts_another_and_ends_again_and_again_is_caught() {
    use std::os::unix::fs::PermissionsExt;
    for groups in [true, false] {
        if (groups && !has_groups()) || (!groups && !is_root()) {
            continue;
        }
        let sandbox = Sandbox::new()
            .file("chain", CHAIN)
            .file("jobs/ends.yaml", "manual: true\nkill_grace: 2s\ncommand: ./chain 4000 & echo up; sleep 0.1\n")
            .file("jobs/crash.yaml", "manual: true\ncommand: ./chain 4000 & echo up; sleep 0.1\n");
        std::fs::set_permissions(sandbox.path("chain"), PermissionsExt::from_mode(0o755)).unwrap();
        let start = || if groups { sandbox.start() } else { sandbox.start_command(without_groups(&sandbox)) };
        let runner = start();
        sandbox.run(&["run", "ends", "--wait"]).code(0);
        let logs = format!("RUNNER_LOG_DIR={}", sandbox.path("logs").display());
        let left = || {
            let is_ours = |pid: &i32| {
                let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                environ.split(|b| *b == 0).any(|entry| entry == logs.as_bytes())
            };
            runner::os::boot::all_pids().into_iter().filter(is_ours).count()
        };
        assert_eq!(left(), 0, "groups: {groups}");
        if groups {
            sandbox.run(&["run", "crash"]).code(0);
            wait_for("it runs", || output(&sandbox, "crash").contains(" out up"));
            runner.kill();
            let runner = start();
            assert_eq!(left(), 0, "after a crash");
            runner.stop();
        } else {
            runner.stop();
        }
        assert!(!sandbox.path("reached").exists());
    }
}

#[test]
fn who_moves_to_another_group_is_still_ended() {
    if !is_root() || !has_groups() {
        return;
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let root = mounts.lines().find(|line| line.contains(" - cgroup2 ")).unwrap().split(' ').nth(4).unwrap().to_string();
    let away = format!("echo 0 > {root}/cgroup.procs");
    let ends = quoted(&format!(
        "{away}; trap '' TERM; sh -c 'echo in $$; exec sleep 300' & setsid sh -c 'echo out $$; exec sleep 300' & sleep 0.3"
    ));
    let deaf = quoted(&format!("{away}; trap '' TERM; echo in $$; while :; do sleep 0.05; done"));
    let sandbox = Sandbox::new()
        .file("jobs/ends.yaml", &format!("manual: true\nkill_grace: 100ms\ncommand: {ends}\n"))
        .file("jobs/deaf.yaml", &format!("manual: true\nkill_grace: 100ms\ntimeout: 300ms\ncommand: {deaf}\n"));
    let runner = sandbox.start();
    sandbox.run(&["run", "ends", "--wait"]).code(0);
    for name in ["in", "out"] {
        let left = pids(&sandbox, "ends", name);
        assert!(left.len() == 1 && !is_alive(left[0]), "{name}");
    }
    assert_eq!(sandbox.run(&["run", "deaf", "--wait"]).exit(), 124);
    assert!(pids(&sandbox, "deaf", "in").iter().all(|pid| !is_alive(*pid)));
    runner.stop();
}

#[test]
fn groups_within_groups_end_with_their_run() {
    if !is_root() || !has_groups() {
        return;
    }
    let script = quoted(
        "cd /sys/fs/cgroup/unified 2>/dev/null || cd /sys/fs/cgroup; cd .$(sed -n 's/^0:://p' /proc/self/cgroup) || exit 3; \
                         i=0; while [ $i -lt 500 ]; do mkdir a && cd a || exit 4; i=$((i+1)); done; echo 0 > cgroup.procs; setsid sh -c 'echo deep $$; exec sleep 300' & sleep 0.2",
    );
    let sandbox = Sandbox::new().file("jobs/a.yaml", &format!("manual: true\ncommand: {script}\n"));
    let runner = sandbox.start();
    sandbox.run(&["run", "a", "--wait"]).code(0);
    let left = pids(&sandbox, "a", "deep");
    assert!(left.len() == 1 && !is_alive(left[0]));
    runner.stop();
}

#[test]
fn a_start_from_within_a_run_that_a_crash_cut_short_is_refused() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", "manual: true\ncommand: sleep 300\n");
    let runner = sandbox.start();
    sandbox.run(&["run", "a"]).code(0);
    wait_for("it runs", || !sandbox.events("a", "start").is_empty());
    let run = sandbox.events("a", "start")[0]["run"].as_str().unwrap().to_string();
    runner.kill();
    let mut command = sandbox.command(&["start"]);
    command.env("RUNNER_RUN_ID", &run);
    let ran = sandbox.finish(command).code(1);
    assert!(ran.err().contains(&format!("this process belongs to run {run} (RUNNER_RUN_ID)")), "{ran}");
    let runner = sandbox.start();
    assert_eq!(sandbox.wait_for_ends("a", 1)[0]["status"], "interrupted");
    runner.stop();
}

#[test]
fn a_sandbox_cannot_be_left_by_root_either() {
    let means = runner::os::means::Means::of_this_process();
    if !is_root() || means.landlock.is_none() || !means.networks() {
        return;
    }
    let script = quoted(
        "umount /tmp && echo unmounted; nsenter -t $PPID -n true && echo entered; mount -t tmpfs none /mnt && echo mounted; echo end",
    );
    let sandbox = Sandbox::new().file(
        "jobs/a.yaml",
        &format!(
            "manual: true\nworking_directory: /\nsandbox: {{ network: false, tmp: private }}\ncommand: {script}\n"
        ),
    );
    let runner = sandbox.start();
    let ran = sandbox.run(&["run", "a", "--wait"]).code(0).says("end");
    for word in ["unmounted", "entered", "mounted"] {
        assert!(!ran.out().contains(word), "{ran}");
    }
    runner.stop();
}

/// Lines such as `NAME=value` that a run has printed, in order.
fn variables(printed: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = printed.lines().filter(|line| line.contains('=') && !line.starts_with("_=")).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_simple_command_gets_the_environment_that_the_shell_would_give_it() {
    let job = |command: &str| {
        format!("manual: true\nname: same\nenv: {{ my.var: x, A-B: y, GOOD: z }}\ncommand: {command}\n")
    };
    let sandbox = Sandbox::new();
    let ran = |command: &str| {
        sandbox.write("jobs/same.yaml", &job(command));
        sandbox.run(&["run", "same", "--wait"]).code(0).out()
    };
    let is_of_the_run = |line: &&str| !line.starts_with("RUNNER_RUN_ID=") && !line.starts_with("RUNNER_DUE=");
    let (direct, through_shell) = (ran("env"), ran("env; true"));
    let lines = |text| variables(text).into_iter().filter(is_of_the_run).map(str::to_string).collect::<Vec<_>>();
    assert_eq!(lines(&direct), lines(&through_shell));
    assert!(lines(&direct).contains(&"GOOD=z".to_string()));
}

#[test]
fn what_the_runner_was_told_by_another_one_reaches_no_job() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", "manual: true\ncommand: env\n");
    let mut command = sandbox.command(&["run", "a", "--wait"]);
    for name in
        ["RUNNER_PARENT_JOB", "RUNNER_PARENT_OTHER", "RUNNER_PATH", "RUNNER_EVENT", "RUNNER_ITEMS", "RUNNER_JOB"]
    {
        command.env(name, "stale");
    }
    command.env("RUNNER_OF_OURS", "kept");
    let ran = sandbox.finish(command).code(0);
    ran.says("RUNNER_JOB=a\n").says("RUNNER_OF_OURS=kept\n").never_says("stale");
}

#[test]
fn a_user_without_an_entry_is_nobody_and_has_nothing_of_roots() {
    if !is_root() {
        return;
    }
    let job = "manual: true\nworking_directory: /\nrun_as: { user: \"3999919\", group: \"3999919\" }\ncommand: env\n";
    let sandbox = Sandbox::new().file("jobs/a.yaml", job);
    let mut command = sandbox.command(&["run", "a", "--wait"]);
    for name in
        ["USER", "LOGNAME", "HOME", "SHELL", "XDG_RUNTIME_DIR", "CREDENTIALS_DIRECTORY", "DBUS_SESSION_BUS_ADDRESS"]
    {
        command.env(name, "/of/root");
    }
    sandbox.finish(command).code(0).says("HOME=/\n").never_says("/of/root");
}

#[test]
fn a_start_that_fails_leaves_no_place_for_groups() {
    if !has_groups() {
        return;
    }
    let sandbox = Sandbox::new().file("jobs/broken.yaml", "comand: date\n");
    let places = || {
        let name = runner::os::cgroup::place_name(&sandbox.path("logs"));
        runner::os::cgroup::Home::leftovers(|other| other == name).len()
    };
    assert_ne!(sandbox.run(&["start", "--strict"]).exit(), 0);
    assert!(sandbox.read("logs/runner.log").contains("not started: "), "{}", sandbox.read("logs/runner.log"));
    assert_eq!(places(), 0);
    let runner = sandbox.start();
    assert_eq!(places(), 1);
    runner.stop();
    assert_eq!(places(), 0);
}

/// A process of this test with a number of its choice, in a session of its own (clone3(2), `set_tid`); `None` where that is not to be had.
fn stranger_with_number(pid: i32) -> Option<i32> {
    let numbers = [pid];
    // SAFETY: all zeros is the structure's default; the child makes async-signal-safe calls alone, on a copy of the memory.
    unsafe {
        let mut args: libc::clone_args = std::mem::zeroed();
        args.exit_signal = libc::SIGCHLD as u64;
        args.set_tid = numbers.as_ptr() as u64;
        args.set_tid_size = 1;
        match libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) {
            0 => {
                libc::setsid();
                loop {
                    libc::pause();
                }
            }
            made => i32::try_from(made).ok().filter(|made| *made > 0),
        }
    }
}

#[test]
fn a_stranger_that_gets_a_leaders_number_is_not_signalled() {
    if !is_root() {
        return;
    }
    let script = quoted("(trap '' TERM; exec setsid sleep 63) & echo leader $$; sleep 0.1");
    let sandbox = Sandbox::new().file("jobs/a.yaml", &format!("manual: true\nkill_grace: 2s\ncommand: {script}\n"));
    let runner = sandbox.start();
    sandbox.run(&["run", "a"]).code(0);
    wait_for("it runs", || !pids(&sandbox, "a", "leader").is_empty());
    let leader = pids(&sandbox, "a", "leader")[0];
    wait_for("the leader is reaped", || !std::path::Path::new(&format!("/proc/{leader}")).exists());
    let Some(stranger) = stranger_with_number(leader as i32) else {
        skip("no process can be given a number here");
        return runner.stop_at_once();
    };
    assert_eq!(i64::from(stranger), leader);
    assert!(sandbox.events("a", "end").is_empty(), "what is left has its grace");
    sandbox.wait_for_ends("a", 1);
    let mut status = 0;
    // SAFETY: a child of this test.
    let ended = unsafe { libc::waitpid(stranger, &mut status, libc::WNOHANG) };
    unsafe {
        libc::kill(stranger, libc::SIGKILL);
        libc::waitpid(stranger, &mut status, 0);
    }
    assert_eq!(ended, 0, "it lives: {status}");
    runner.stop();
}

/// The rules for the same paths are kept from run to run; a file system that is unmounted takes them along.
#[test]
fn a_sandbox_lets_write_where_something_else_is_mounted_now() {
    let mut can_mount = Command::new("unshare");
    can_mount.args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"]);
    if !is_root() || !can_mount.output().is_ok_and(|output| output.status.success()) {
        return skip("mounting needs root and unshare");
    }
    let sandbox = Sandbox::new()
        .file("out/.keep", "")
        .file(
            "jobs/write.yaml",
            "manual: true\nsandbox: { read_only: true, write: [out] }\ncommand: echo x > out/file\n",
        )
        // The same numbers again: its root is the first file of the first free device.
        .file("jobs/mount.yaml", "manual: true\ncommand: umount out; mount -t tmpfs none out\n");
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs none out && exec \"$0\" start";
    command.args(["-m", "--propagation", "private", "sh", "-c", script, env!("CARGO_BIN_EXE_runner")]);
    command.current_dir(sandbox.path(""));
    sandbox.clean(&mut command);
    let runner = sandbox.start_command(command);
    for _ in 0..3 {
        sandbox.run(&["run", "write", "--wait"]).code(0);
        sandbox.run(&["run", "mount", "--wait"]).code(0);
    }
    runner.stop();
}
