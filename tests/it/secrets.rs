//! Secrets reach the command and nothing else: no file, no list of processes, no answer to anybody.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use runner::model::{HumanDuration, Stream};
use runner::os::exec::Exec;
use runner::record::{Mask, OutputLog};
use runner::run::{Answer, Control, ask};
use runner::spec::{Defaults, MissingVariable, ReadContext, Source, pattern, read_defaults, read_job};

use crate::record_support::{LARGE, Logs, run_id, second};
use crate::run_support::Bench;
use crate::sandbox::{Runner, Sandbox, is_alive, signal, wait_for};

/// The values that are looked for; none of them stands in a job's file.
const VALUES: [&str; 4] = ["Xk93-from-a-file", "Qw27-from-the-env", "Vb55-a-credential", "Zm81-by-a-command"];

/// Every file below a directory that can be read, with its bytes. Sockets and fifos are passed over.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let kind = entry.file_type().unwrap();
        match kind.is_dir() {
            true => found.extend(contents(&entry.path())),
            false if kind.is_socket() || kind.is_fifo() => {}
            false => found.push((entry.path(), fs::read(entry.path()).unwrap_or_default())),
        }
    }
    found
}

fn holds(bytes: &[u8], value: &str) -> bool {
    bytes.windows(value.len()).any(|window| window == value.as_bytes())
}

/// No value stands in any file of the logs, on the runner's own streams, or in a list of processes.
#[track_caller]
fn nothing_holds_a_value(sandbox: &Sandbox, pids: &[i64]) {
    let mut looked_at = contents(&sandbox.path("logs"));
    assert!(looked_at.len() >= 4, "only {} files in logs/", looked_at.len());
    for name in ["stdout", "stderr"] {
        looked_at.push((sandbox.outside(name), fs::read(sandbox.outside(name)).unwrap_or_default()));
    }
    for pid in pids {
        let path = PathBuf::from(format!("/proc/{pid}/cmdline"));
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.is_empty(), "{pid} is not there");
        looked_at.push((path, bytes));
    }
    for (path, bytes) in looked_at {
        for value in VALUES {
            assert!(!holds(&bytes, value), "{} holds {value}", path.display());
        }
    }
}

/// A job with a secret of each kind, which waits for the file `go` in the middle of printing one.
fn all_kinds() -> Sandbox {
    let sandbox = Sandbox::new();
    fs::write(sandbox.outside("api"), format!("{}\n", VALUES[0])).unwrap();
    fs::create_dir(sandbox.outside("credentials")).unwrap();
    fs::write(sandbox.outside("credentials/db"), VALUES[2]).unwrap();
    fs::write(sandbox.outside("vault"), format!("{}\r\n", VALUES[3])).unwrap();
    let job = format!(
        r#"manual: true
overlap: queue
secrets:
  API_KEY: {{ file: {api} }}
  TOKEN: {{ env: CI_TOKEN }}
  DB: {{ credential: db }}
  VAULT: {{ command: [cat, {vault}] }}
command: |
  echo "all: $API_KEY,$TOKEN,$DB,$VAULT."
  echo "$API_KEY$TOKEN" >&2
  printf %s "half: ${{API_KEY%file}}"
  echo half is out >&2
  while [ ! -e go ]; do sleep 0.02; done
  echo "file, and $VAULT"
"#,
        api = sandbox.outside("api").display(),
        vault = sandbox.outside("vault").display(),
    );
    sandbox.write("jobs/all.yaml", &job);
    sandbox
}

fn start(sandbox: &Sandbox) -> Runner<'_> {
    let mut command = sandbox.command(&["start"]);
    command.env("CI_TOKEN", VALUES[1]).env("CREDENTIALS_DIRECTORY", sandbox.outside("credentials"));
    sandbox.start_command(command)
}

#[test]
fn a_value_reaches_the_command_and_nothing_that_is_kept_or_shown() {
    let sandbox = all_kinds();
    let runner = start(&sandbox);
    let followed = sandbox.outside("followed");
    let mut command = sandbox.command(&["logs", "all", "-f", "--plain"]);
    let mut follow = command.stdout(fs::File::create(&followed).unwrap()).spawn().unwrap();
    let waited = std::thread::scope(|scope| {
        let waits = scope.spawn(|| sandbox.run(&["run", "all", "--wait"]));
        wait_for("half of a value is out", || sandbox.read("logs/jobs/all/output.log").contains(" err half is out\n"));
        // One more waits for its turn, so that it is pending.
        sandbox.run(&["run", "all"]).code(0);
        let pid = sandbox.events("all", "start")[0]["pid"].as_i64().unwrap();
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
        VALUES.iter().for_each(|value| assert!(holds(&environment, value), "the command has {value}"));
        nothing_holds_a_value(&sandbox, &[pid, runner.pid().into()]);
        // The first half of a value, whose rest has not come, is not in the log.
        assert!(!sandbox.read("logs/jobs/all/output.log").contains("Xk93"));
        for ask in [
            &["show", "all"][..],
            &["show", "all", "--json"],
            &["list"],
            &["list", "--json"],
            &["status", "--json"],
            &["why", "all"],
            &["simulate", "--for", "1h"],
            &["logs", "all"],
            &["doctor"],
        ] {
            let ran = sandbox.run(ask);
            VALUES.iter().for_each(|value| assert!(!ran.out().contains(value) && !ran.err().contains(value), "{ran}"));
        }
        sandbox.write("go", "");
        waits.join().unwrap()
    });
    let waited = waited.code(0).stdout("all: ***,***,***,***.\nhalf: ***, and ***\n");
    assert!(waited.err().starts_with("***\nhalf is out\n✓ all: success"), "{waited}");
    let text = || fs::read_to_string(&followed).unwrap();
    wait_for("it is followed to its end", || text().matches(", and ***\n").count() == 2);
    VALUES.iter().for_each(|value| assert!(!text().contains(value)));
    signal(follow.id(), libc::SIGINT);
    follow.wait().unwrap();
    // What is counted is what was printed.
    let ends = sandbox.wait_for_ends("all", 2);
    let printed = VALUES.iter().map(|value| value.len()).sum::<usize>() + "all: ,,,.\n".len();
    let printed = printed + VALUES[0].len() + VALUES[1].len() + 1 + "half is out\n".len();
    let printed = printed + "half: ".len() + VALUES[0].len() + ", and \n".len() + VALUES[3].len();
    assert_eq!((&ends[0]["output"]["bytes"], &ends[0]["output"]["lines"]), (&printed.into(), &4.into()));
    let ran = sandbox.run(&["history", "all", "--json"]);
    VALUES.iter().for_each(|value| assert!(!ran.out().contains(value), "{ran}"));
    runner.stop();
    nothing_holds_a_value(&sandbox, &[]);
}

#[test]
fn show_tells_secrets_by_name_alone() {
    let sandbox = all_kinds();
    let ran = sandbox.run(&["show", "all"]).code(0).says("secrets:\n  API_KEY: '***'\n  DB: '***'\n");
    ran.never_says("CI_TOKEN").never_says("credentials").never_says("vault");
    let spec = &sandbox.json(&["show", "all", "--json"])["spec"];
    let stars = serde_json::json!({ "API_KEY": "***", "DB": "***", "TOKEN": "***", "VAULT": "***" });
    assert_eq!(spec["secrets"], stars);
    sandbox.run(&["list", "--json"]).code(0).never_says("credential").never_says("CI_TOKEN");
}

#[test]
fn what_is_kept_aside_of_a_long_output_is_masked_already() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.outside("api"), VALUES[0]).unwrap();
    sandbox.write(
        "jobs/a.yaml",
        &format!(
            "manual: true\nlimits: {{ output: 200B }}\nsecrets: {{ K: {{ file: {} }} }}\ncommand: |\n  {}",
            sandbox.outside("api").display(),
            "for i in $(seq 100); do echo \"$i $K\"; done; echo all out >&2\n  while [ ! -e go ]; do sleep 0.02; done\n"
        ),
    );
    let runner = sandbox.start();
    sandbox.run(&["run", "a"]).code(0);
    // The tail of the output lies in a file without a name, which the runner alone has open.
    let kept = || {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", runner.pid())).unwrap().flatten();
        let nameless = |path: &Path| fs::read_link(path).is_ok_and(|to| to.to_string_lossy().ends_with("(deleted)"));
        let files = descriptors.map(|entry| entry.path()).filter(|path| nameless(path));
        files.flat_map(|path| fs::read(path).unwrap_or_default()).collect::<Vec<u8>>()
    };
    wait_for("the end is kept aside", || holds(&kept(), "all out"));
    assert!(holds(&kept(), "***") && !holds(&kept(), VALUES[0]));
    sandbox.write("go", "");
    sandbox.wait_for_ends("a", 1);
    let log = sandbox.read("logs/jobs/a/output.log");
    assert!(log.contains(" out 1 ***\n") && log.contains("***\n") && !log.contains(VALUES[0]), "{log}");
    runner.stop();
}

#[test]
fn a_secret_as_a_file_is_private_and_there_only_while_the_attempt_lasts() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.outside("key"), format!("{}\n", VALUES[0])).unwrap();
    let job = |rest: &str| {
        let file = sandbox.outside("key");
        format!("manual: true\nsecrets: {{ KEY: {{ file: {}, as: file }} }}\n{rest}", file.display())
    };
    let waits = "command: 'echo \"at=$KEY\"; while [ ! -e go ]; do sleep 0.02; done; cat \"$KEY\"'\n";
    sandbox.write("jobs/a.yaml", &job(waits));
    sandbox.write("jobs/lost.yaml", &job("command: [no-such-program-anywhere]\n"));
    sandbox.write("jobs/killed.yaml", &job(waits).replace("go ]", "never ]"));
    let path_of = |job: &str| {
        let log = sandbox.read(&format!("logs/jobs/{job}/output.log"));
        let path = log.split(" out at=").nth(1)?.lines().next()?.to_string();
        Some(PathBuf::from(path))
    };
    let runner = sandbox.start();
    sandbox.run(&["run", "a"]).code(0);
    wait_for("it says where", || path_of("a").is_some());
    let path = path_of("a").unwrap();
    assert_eq!(path.file_name().unwrap(), "KEY");
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o400, 0o700));
    // Every byte of it, since some readers of keys need the last line break.
    assert_eq!(fs::read(&path).unwrap(), format!("{}\n", VALUES[0]).as_bytes());
    let start = sandbox.events("a", "start").remove(0);
    assert!(path.parent().unwrap().file_name().unwrap().to_str().unwrap().starts_with(start["run"].as_str().unwrap()));
    let environment = fs::read(format!("/proc/{}/environ", start["pid"])).unwrap();
    assert!(!holds(&environment, VALUES[0]), "only the path is in the environment");
    sandbox.write("go", "");
    assert_eq!(sandbox.wait_for_ends("a", 1)[0]["status"], "success");
    assert!(!path.exists() && !path.parent().unwrap().exists());
    assert!(sandbox.read("logs/jobs/a/output.log").contains(" out ***\n"));
    // Also where the command could not be run.
    sandbox.run(&["run", "lost", "--wait"]).code(1);
    let shelf = path.parent().unwrap().parent().unwrap();
    assert_eq!(fs::read_dir(shelf).unwrap().count(), 0, "nothing is left of the last one");
    // And a crash leaves it only until the next start.
    sandbox.run(&["run", "killed"]).code(0);
    wait_for("it says where", || path_of("killed").is_some());
    let left = path_of("killed").unwrap();
    runner.kill();
    assert!(left.exists());
    let runner = sandbox.start();
    assert!(!left.exists());
    sandbox.wait_for_log("took away the private files of 1 run that a crash had left behind");
    sandbox.run(&["run", "a", "--wait"]).code(0);
    assert!(shelf.exists());
    runner.stop();
    assert!(!shelf.exists(), "it goes with the runner");
    assert!(!holds(
        &contents(&sandbox.path("logs")).into_iter().flat_map(|(_, bytes)| bytes).collect::<Vec<_>>(),
        VALUES[0]
    ));
}

#[test]
fn each_attempt_reads_its_secrets_anew_and_one_that_is_missing_fails_it_before_it_starts() {
    let sandbox = Sandbox::new().file("next", "Second-value\n").file("current", "First-value\n").file(
        "jobs/rotated.yaml",
        "manual: true\nretry: { max: 2, delay: 100ms }\nsecrets: { T: { file: current } }\n\
         command: 'echo \"has $T\"; cmp -s current next || { cp next current; exit 1; }'\n",
    );
    let missing = "manual: true\nretry: { max: 1000, delay: 100ms, backoff: constant }\n\
                   secrets: { T: { file: later/secret } }\ncommand: 'echo $T; touch started'\n";
    sandbox.write("jobs/missing.yaml", missing);
    let runner = sandbox.start();
    sandbox.run(&["run", "rotated", "--wait"]).code(0).stdout("has ***\nhas ***\n");
    assert_eq!(sandbox.wait_for_ends("rotated", 1)[0]["attempt"], 2);
    let all = contents(&sandbox.path("logs"));
    for value in ["First-value", "Second-value"] {
        assert!(all.iter().all(|(_, bytes)| !holds(bytes, value)), "{value}");
    }
    sandbox.run(&["run", "missing"]).code(0);
    wait_for("two attempts fail", || sandbox.events("missing", "attempt").len() >= 2);
    let failed = &sandbox.events("missing", "attempt")[0];
    let error = "secret `T`: the file [DIR]/later/secret does not exist; write it there, or mend the path in `file`";
    assert_eq!(failed["error"].as_str().unwrap().replace(sandbox.dir.to_str().unwrap(), "[DIR]"), error);
    assert_eq!((&failed["status"], &failed["exit_code"]), (&"failed".into(), &serde_json::Value::Null));
    assert!(!sandbox.path("started").exists());
    sandbox.write("later/secret.new", "There-at-last");
    fs::rename(sandbox.path("later/secret.new"), sandbox.path("later/secret")).unwrap();
    assert_eq!(sandbox.wait_for_ends("missing", 1)[0]["status"], "success");
    assert!(sandbox.path("started").exists());
    runner.stop();
}

#[test]
fn the_variable_that_a_secret_comes_from_is_not_passed_on_under_its_old_name() {
    let sandbox = Sandbox::new()
        .file("jobs/a.yaml", "manual: true\nsecrets: { T: { env: CI_TOKEN }, KEPT: { env: KEPT } }\ncommand: env\n")
        .file("jobs/b.yaml", "manual: true\ncommand: 'echo $CI_TOKEN'\n")
        .file("jobs/c.yaml", "manual: true\nsecrets: { T: { env: UNSET } }\ncommand: env\n");
    let run = |job: &str| {
        let mut command = sandbox.command(&["run", job]);
        command.args(["--wait"]).env("CI_TOKEN", VALUES[1]).env("KEPT", "kept-value");
        sandbox.finish(command)
    };
    let ran = run("a").code(0);
    let lines = ran.out();
    let has = |line: &str| lines.lines().any(|other| other == line);
    assert!(has("T=***") && has("KEPT=***") && !lines.contains("CI_TOKEN"), "{ran}");
    // A job that has no such secret inherits what the runner has, as ever.
    run("b").code(0).stdout(&format!("{}\n", VALUES[1]));
    run("c").code(1).says("secret `T`: the runner's environment has no variable `UNSET`");
}

#[test]
fn a_secret_that_cannot_be_had_is_told_with_its_cure_and_without_its_value() {
    let sandbox = Sandbox::new().file("empty", "\n").file("jobs/x.yaml", "manual: true\ncommand: 'true'\n");
    fs::write(sandbox.path("nul"), "abc\0defg").unwrap();
    fs::write(sandbox.path("large"), vec![b'x'; (1 << 20) + 1]).unwrap();
    fs::write(sandbox.path("long"), vec![b'x'; 200_000]).unwrap();
    assert!(Command::new("mkfifo").arg(sandbox.path("fifo")).status().unwrap().success());
    let cases = [
        ("{ file: empty }", "the file [DIR]/empty is empty"),
        ("{ file: jobs }", "the file [DIR]/jobs is not a regular file"),
        ("{ file: fifo }", "the file [DIR]/fifo is not a regular file"),
        ("{ file: large }", "the file [DIR]/large has more than 1 MiB"),
        ("{ file: nul }", "it holds a NUL, which no variable can; write `as: file`"),
        ("{ file: long }", "it is too long for a variable; write `as: file`"),
        (
            "{ credential: db }",
            "the runner has no $CREDENTIALS_DIRECTORY; start it from a unit with `LoadCredential=db:PATH`",
        ),
        ("{ command: 'echo no such key >&2; exit 3' }", "its command failed: exit code 3: no such key"),
        ("{ command: 'cat shown; echo got $(cat shown) >&2; exit 4' }", "its command failed: exit code 4: got ***"),
        (
            "{ command: [./no-such-program] }",
            "its command failed: command not found: `./no-such-program` does not exist",
        ),
        ("{ command: 'true' }", "what its command prints is empty"),
        ("{ command: 'head -c 2000000 /dev/zero' }", "its command prints more than 1 MiB"),
    ];
    sandbox.write("shown", VALUES[3]);
    for (at, (source, _)) in cases.iter().enumerate() {
        let text = format!("manual: true\nsecrets: {{ BAD: {source} }}\ncommand: touch started\n");
        sandbox.write(&format!("jobs/job{at}.yaml"), &text);
    }
    let runner = sandbox.start();
    for (at, (source, words)) in cases.iter().enumerate() {
        let job = format!("job{at}");
        let ran = sandbox.run(&["run", &job, "--wait"]).code(1);
        assert!(ran.err().contains(&format!("secret `BAD`: {words}")), "{source}: {ran}");
    }
    assert!(!sandbox.path("started").exists());
    nothing_holds_a_value(&sandbox, &[]);
    runner.stop();
    // As files, bytes of any kind and number are fine.
    sandbox.write(
        "jobs/x.yaml",
        "manual: true\nsecrets: { N: { file: nul, as: file }, L: { file: long, as: file } }\n\
         command: 'cat \"$N\" | wc -c; cat \"$L\" | wc -c'\n",
    );
    sandbox.run(&["run", "x", "--wait"]).code(0).stdout("8\n200000\n");
}

#[test]
fn doctor_says_which_files_of_secrets_are_missing_or_open_to_all() {
    let sandbox = Sandbox::new().file("good", VALUES[0]).file("open", VALUES[0]);
    let set_mode = |name: &str, mode: u32| {
        fs::set_permissions(sandbox.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode("good", 0o640);
    set_mode("open", 0o644);
    let job = |sources: &str| format!("manual: true\ncommand: 'true'\nsecrets: {{ {sources} }}\n");
    sandbox.write("jobs/a.yaml", &job("A: { file: good }, B: { env: NOT_SET_HERE }"));
    sandbox.run(&["doctor"]).says("✓ secrets: 1 file with secrets can be read, by this user and not by all\n");
    sandbox.write("jobs/b.yaml", &job("A: { file: open }, B: { file: gone }, C: { file: jobs }"));
    sandbox
        .run(&["doctor"])
        .says("! secrets: b: secret `A`: the file [DIR]/open can be read by every user\n    `chmod o-rwx [DIR]/open`\n")
        .says("! secrets: b: secret `B`: the file [DIR]/gone does not exist\n    write it there, or mend the path;")
        .says("! secrets: b: secret `C`: the file [DIR]/jobs is not a regular file\n")
        .never_says(VALUES[0])
        .never_says("✓ secrets");
}

#[test]
fn a_run_that_waits_for_a_secret_can_be_cancelled() {
    let sandbox = Sandbox::new().file(
        "jobs/a.yaml",
        "manual: true\nsecrets: { S: { command: 'echo $$ > asked; exec sleep 300' } }\ncommand: touch started\n",
    );
    let runner = sandbox.start();
    let id = sandbox.run(&["run", "a"]).code(0).out().trim().to_string();
    wait_for("the secret is asked for", || sandbox.read("asked").ends_with('\n'));
    let pid: i64 = sandbox.read("asked").trim().parse().unwrap();
    assert!(is_alive(pid));
    sandbox.run(&["cancel", &id]).code(0);
    let end = sandbox.wait_for_ends("a", 1).remove(0);
    assert_eq!((&end["status"], &end["error"]), (&"cancelled".into(), &"cancelled by `runner cancel`".into()));
    assert!(!is_alive(pid) && !sandbox.path("started").exists());
    // A stop of the runner ends it as well.
    sandbox.remove("asked");
    sandbox.run(&["run", "a"]).code(0);
    wait_for("the secret is asked for", || sandbox.read("asked").ends_with('\n'));
    let pid: i64 = sandbox.read("asked").trim().parse().unwrap();
    runner.stop_at_once();
    assert!(!is_alive(pid) && !sandbox.path("started").exists());
}

#[test]
fn a_command_that_prints_a_secret_ends_with_a_runner_that_is_killed() {
    let text = "manual: true\nsecrets: { S: { command: 'echo $$ > asked; exec sleep 300' } }\ncommand: touch started\n";
    let sandbox = Sandbox::new().file("jobs/a.yaml", text);
    let runner = sandbox.start();
    sandbox.run(&["run", "a"]).code(0);
    wait_for("the secret is asked for", || sandbox.read("asked").ends_with('\n'));
    let pid: i64 = sandbox.read("asked").trim().parse().unwrap();
    assert!(is_alive(pid));
    runner.kill();
    // No record names it, so no start would look for it.
    wait_for("it is gone", || !is_alive(pid));
    assert!(!sandbox.path("started").exists() && sandbox.events("a", "start").is_empty());
}

#[test]
fn a_helper_has_an_end_and_answers_within_its_bounds() {
    let control = Control::new().unwrap();
    let slow = Bench::shell("echo Half-a-secret; echo why >&2; sleep 300").timeout(200).grace(0);
    match ask(slow.plan.clone(), &control, 100) {
        Answer::Failed { why, printed, said } => {
            assert_eq!((why.as_str(), said.text.reveal()), ("timed out after 200ms", &b"why\n"[..]));
            assert_eq!(said.to_be_hidden, 0);
            assert_eq!((printed.reveal(), format!("{printed:?}").as_str()), (&b"Half-a-secret\n"[..], "***"));
        }
        other => panic!("{other:?}"),
    }
    let exact = Bench::shell("printf 12345");
    assert!(matches!(ask(exact.plan.clone(), &control, 5), Answer::Printed(Some(value)) if value.reveal() == b"12345"));
    assert!(matches!(ask(exact.plan.clone(), &control, 4), Answer::Printed(None)));
}

#[test]
fn expressions_mask_what_a_job_prints_also_without_secrets() {
    let sandbox = Sandbox::new().file(
        "jobs/a.yaml",
        "manual: true\nredact: ['pass=\\S+', '[0-9]{4}-[0-9]{4}']\n\
         command: 'printf \"pass=wo\"; echo half >&2; while [ ! -e go ]; do sleep 0.02; done; echo \"rd ok\"; printf \"card 1234-5678\"'\n",
    );
    let runner = sandbox.start();
    sandbox.run(&["run", "a"]).code(0);
    wait_for("half is out", || sandbox.read("logs/jobs/a/output.log").contains(" err half\n"));
    sandbox.write("go", "");
    let end = sandbox.wait_for_ends("a", 1).remove(0);
    assert_eq!(end["output"]["bytes"], "pass=word ok\ncard 1234-5678half\n".len());
    sandbox.run(&["logs", "a", "--plain", "--stream", "out"]).code(0).stdout("*** ok\ncard ***");
    runner.stop();
}

#[test]
fn streams_are_masked_each_by_itself_however_they_come() {
    let logs = Logs::new(LARGE);
    let value = runner::model::SecretValue::new(VALUES[0].as_bytes().to_vec());
    let mask = Mask::new([&value], vec![pattern("[0-9]{6}").unwrap()]).unwrap().map(std::sync::Arc::new);
    let mut output = OutputLog::new(logs.log(), run_id(1), None).masked(mask);
    // Byte by byte, both streams in turn.
    let text = format!("a {} b 123456\n", VALUES[0]);
    for byte in text.bytes() {
        output.write(Stream::Out, &[byte], second(0));
        output.write(Stream::Err, &[byte], second(0));
    }
    // A beginning that never becomes the whole value comes in the end.
    output.write(Stream::Out, &VALUES[0].as_bytes()[..6], second(0));
    let counted = output.finish(second(1));
    assert_eq!((counted.bytes, counted.lines, counted.lost), (2 * text.len() as u64 + 6, 3, 0));
    let log = String::from_utf8(logs.everything(logs.output())).unwrap();
    let mut lines: Vec<&str> = log.lines().map(|line| line.splitn(3, ' ').nth(2).unwrap()).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["err a *** b ***", "out a *** b ***", "out+ Xk93-f"]);
    assert!(!format!("{output:?}").contains("Xk93"));
}

#[test]
fn nothing_that_is_printed_for_debugging_holds_a_value() {
    let mut bench = Bench::shell("true");
    bench.plan.env.push((crate::run_support::text("API_KEY"), crate::run_support::text(VALUES[0])));
    bench.plan.kill_grace = HumanDuration::from_secs(1);
    let exec = Exec::new(&bench.plan.argv, &bench.plan.env, &bench.plan.directory).unwrap();
    let said = format!("{:?} {exec:#?}", bench.plan);
    assert!(said.contains("API_KEY") && !said.contains(VALUES[0]), "{said}");
}

#[test]
fn a_jobs_own_source_takes_the_place_of_that_of_the_defaults() {
    let cx = ReadContext {
        env: &|_| None,
        missing: MissingVariable::Error,
        timezone: "UTC",
        means: &runner::os::means::Means::ALL,
    };
    let bytes = b"secrets: { A: { file: /a, as: file }, B: { env: B }, C: { env: C } }\nredact: [one]\n";
    let source = Source { path: "jobs/_defaults.yaml", bytes };
    let (defaults, problems) = read_defaults(source, &Defaults::default(), &cx);
    assert_eq!(problems, []);
    let text = "manual: true\ncommand: x\nsecrets: { A: { command: ['${NOT_FILLED}'] }, C: null, D: { env: D } }\n";
    let source = Source { path: "jobs/x.yaml", bytes: text.as_bytes() };
    let read = read_job(source, "x", &defaults.unwrap(), &cx);
    assert_eq!(read.problems, []);
    let map = read.spec.unwrap().to_map();
    let expected = serde_json::json!({
        "A": { "command": ["${NOT_FILLED}"], "as": "env" },
        "B": { "env": "B", "as": "env" },
        "D": { "env": "D", "as": "env" },
    });
    assert_eq!((&map["secrets"], &map["redact"]), (&expected, &serde_json::json!(["one"])));
}

#[test]
fn what_a_helper_says_is_kept_so_that_a_cut_tells_nothing() {
    let control = Control::new().unwrap();
    let failed = |script: &str, most: usize| match ask(Bench::shell(script).plan.clone(), &control, most) {
        Answer::Failed { said, .. } => said,
        other => panic!("{other:?}"),
    };
    let said = failed("head -c 100000 /dev/zero >&2; echo end >&2; exit 1", 100);
    assert_eq!((said.text.reveal().len(), said.to_be_hidden), (2_200, 200));
    assert!(said.text.reveal().ends_with(b"end\n"));
    // What was printed beyond what is taken cannot be masked, so nothing is told.
    let said = failed("echo 12345; echo 12345 >&2; exit 1", 5);
    assert_eq!((said.text.reveal(), said.to_be_hidden), (&b""[..], 0));
}

#[test]
fn what_a_failed_command_said_is_masked_whatever_its_length_and_its_bytes() {
    let long: String = (0..300).map(|n| format!("{n:04}-token")).collect();
    let sandbox = Sandbox::new().file("long", &long);
    fs::write(sandbox.path("bytes"), b"kn\xf6wn-secret-2").unwrap();
    let twice = "cat long; for i in $(seq 1000); do echo some more words >&2; done; cat long long >&2; exit 1";
    for (job, secrets, end) in [
        ("once", "A: { command: 'cat long; cat long >&2; exit 1' }", "***"),
        ("twice", &*format!("A: {{ command: '{twice}' }}"), "some more words ***"),
        ("bytes", "A: { file: bytes }, B: { command: 'cat bytes >&2; exit 3' }", "***"),
    ] {
        sandbox.write(&format!("jobs/{job}.yaml"), &format!("manual: true\nsecrets: {{ {secrets} }}\ncommand: date\n"));
        let ran = sandbox.run(&["run", job, "--wait"]).code(1);
        let error = sandbox.wait_for_ends(job, 1)[0]["error"].as_str().unwrap().to_string();
        assert!(error.ends_with(end), "{error}");
        let logs: Vec<u8> = contents(&sandbox.path("logs")).into_iter().flat_map(|(_, bytes)| bytes).collect();
        let shown = format!("{}{ran}{error}", String::from_utf8_lossy(&logs));
        assert!(!shown.contains("-token") && !shown.contains("wn-secret-2"), "{shown}");
    }
}

#[test]
fn what_a_command_that_prints_a_secret_leaves_behind_is_ended() {
    if runner::os::cgroup::Home::find().is_err() {
        crate::sandbox::skip("no cgroup v2 that may be written to");
        return;
    }
    let helper = "setsid env -i sh -c \"echo \\$\\$ > pid; exec sleep 300\" > /dev/null 2>&1 & \
                  while [ ! -s pid ]; do sleep 0.02; done; echo a-value";
    let sandbox = Sandbox::new().file(
        "jobs/a.yaml",
        &format!("manual: true\nsecrets: {{ S: {{ command: {} }} }}\ncommand: echo ran\n", serde_json::json!(helper)),
    );
    let runner = sandbox.start();
    sandbox.run(&["run", "a", "--wait"]).code(0).stdout("ran\n");
    let left: i64 = sandbox.read("pid").trim().parse().unwrap();
    assert!(!is_alive(left));
    runner.stop();
}

#[test]
fn what_the_environment_fills_in_stands_in_no_error_of_a_run() {
    let jobs = [
        (
            "directory",
            "working_directory: '/srv/${FILLED}'\ncommand: date\n",
            "directory /srv/${FILLED} does not exist",
        ),
        ("program", "working_directory: '${PLACE}'\ncommand: ./none\n", "as seen from ${PLACE}"),
        ("file", "secrets: { A: { file: 'x/${FILLED}' } }\ncommand: date\n", "the file x/${FILLED} does not exist"),
        ("env", "secrets: { A: { env: 'A_${FILLED}' } }\ncommand: date\n", "has no variable `A_${FILLED}`"),
        (
            "retried",
            "retry: { max: 1, delay: 100ms }\nworking_directory: '${FILLED}'\ncommand: date\n",
            "directory ${FILLED} does",
        ),
    ];
    let sandbox = Sandbox::new();
    for (name, text, _) in jobs {
        sandbox.write(&format!("jobs/{name}.yaml"), &format!("manual: true\n{}", text.replace("./none", "[./none]")));
    }
    let mut command = sandbox.command(&["start"]);
    command.env("FILLED", VALUES[0]).env("PLACE", sandbox.outside(VALUES[1]));
    fs::create_dir(sandbox.outside(VALUES[1])).unwrap();
    let runner = sandbox.start_command(command);
    for (name, _, expected) in jobs {
        let ran = sandbox.run(&["run", name, "--wait"]);
        assert_ne!(ran.exit(), 0);
        VALUES.iter().for_each(|value| assert!(!ran.err().contains(value) && !ran.out().contains(value), "{ran}"));
        let error = sandbox.wait_for_ends(name, 1)[0]["error"].as_str().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
    nothing_holds_a_value(&sandbox, &[]);
    runner.stop();
}
