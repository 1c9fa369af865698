//! Watches as a user sees them: through the real binary, its log, its ledger and its records.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::sandbox::{Sandbox, wait_for};
use crate::watch_support::{ledger, noted, states, watching};

/// A job that writes down each path that it gets, and what happened to it.
fn noting(more: &str) -> String {
    format!(
        "watch:\n  paths: [in]\n  settle: close\n{more}command: [sh, -c, 'printf \"%s %s\\n\" \"$2\" \"$1\" >> \"$RUNNER_LOG_DIR/../noted\"', sh, '{{name}}', '{{event}}']\n"
    )
}

fn sandbox(more: &str) -> Sandbox {
    let sandbox = Sandbox::new().file("jobs/w.yaml", &noting(more));
    fs::create_dir(sandbox.path("in")).unwrap();
    sandbox
}

#[track_caller]
fn wait_for_noted(sandbox: &Sandbox, count: usize) -> Vec<String> {
    wait_for(&format!("{count} files were run for"), || noted(sandbox).len() >= count);
    noted(sandbox)
}

#[test]
fn a_file_that_arrives_is_run_for_once_and_one_that_changes_again() {
    let sandbox = sandbox("");
    let runner = sandbox.start();
    assert!(runner.stdout().contains("/in for all files by events\n"), "{}", runner.stdout());
    sandbox.wait_for_log("w: watches");
    sandbox.write("in/paper.pdf", "one");
    assert_eq!(wait_for_noted(&sandbox, 1), ["created paper.pdf"]);
    sandbox.wait_for_log("w: Detected new file: paper.pdf");
    sandbox.wait_for_log("w: Processing paper.pdf...");
    sandbox.wait_for_log("w: ✓ Added paper.pdf (");
    sandbox.write("in/paper.pdf", "one and more");
    assert_eq!(wait_for_noted(&sandbox, 2)[1..], ["modified paper.pdf"]);
    sandbox.wait_for_log("w: Detected modified file: paper.pdf");
    sandbox.wait_for_log("w: Reprocessing paper.pdf...");
    sandbox.wait_for_log("w: ✓ Updated paper.pdf (");
    let ends = sandbox.wait_for_ends("w", 2);
    assert!(ends.iter().all(|end| end["triggered_by"] == "WATCH" && end["status"] == "success"), "{ends:?}");
    let status = sandbox.json(&["status", "--json"]);
    let watch = &status["watches"][0];
    assert_eq!(
        (&watch["job"], &watch["backend"], &watch["state"]),
        (&"w".into(), &"events".into(), &"watching".into())
    );
    wait_for("the counts are those of the runs", || {
        let watch = &sandbox.json(&["status", "--json"])["watches"][0];
        watch["processed"] == 2 && watch["errors"] == 0 && watch["pending"] == 0 && watch["last_activity"].is_string()
    });
    runner.stop();
}

#[test]
fn any_name_reaches_the_command_whole() {
    let sandbox = Sandbox::new().file(
        "jobs/w.yaml",
        "watch: { paths: [in], settle: close }\n\
         command: [sh, -c, 'printf \"%s\" \"$1\" > \"$RUNNER_LOG_DIR/../got\"; printf \"%s\" \"$RUNNER_PATH\" > \"$RUNNER_LOG_DIR/../env\"; cat \"$RUNNER_ITEMS\" > \"$RUNNER_LOG_DIR/../items\"', sh, '{path}']\n",
    );
    let runner = watching(&sandbox);
    let names = [
        &b"with space"[..],
        b"new\nline",
        b"quo'te\"s",
        b"-rf",
        b"$(touch pwned)",
        b"\xff\xfe",
        "é".as_bytes(),
        b"*",
        b"{path}",
    ];
    for (n, name) in names.iter().enumerate() {
        let path = sandbox.path("in").join(OsStr::from_bytes(name));
        fs::write(&path, "x").unwrap();
        sandbox.wait_for_ends("w", n + 1);
        assert_eq!(fs::read(sandbox.path("got")).unwrap(), path.as_os_str().as_bytes(), "{path:?}");
        assert_eq!(fs::read(sandbox.path("env")).unwrap(), path.as_os_str().as_bytes(), "{path:?}");
        let items: Value = serde_json::from_str(&sandbox.read("items")).unwrap();
        assert_eq!((&items["event"], &items["size"]), (&"created".into(), &1.into()));
        assert_eq!(items["path_base64"].is_string(), path.to_str().is_none());
    }
    assert!(!sandbox.path("pwned").exists());
    runner.stop();
}

#[test]
fn a_file_in_a_new_deep_directory_is_never_missed() {
    let sandbox = sandbox("");
    let runner = watching(&sandbox);
    for n in 0..30 {
        let folder = sandbox.path(&format!("in/{n}/a/b/c"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("f{n}")), "x").unwrap();
    }
    let mut found = wait_for_noted(&sandbox, 30);
    found.sort();
    let mut expected: Vec<String> = (0..30).map(|n| format!("created f{n}")).collect();
    expected.sort();
    assert_eq!(found, expected);
    runner.stop();
}

/// Nobody knows what arrived while it was down: the ledger does.
#[test]
fn what_arrived_while_no_runner_was_there_is_run_for_and_what_was_done_is_not() {
    let sandbox = sandbox("");
    sandbox.write("in/old", "there at the first start");
    let runner = watching(&sandbox);
    sandbox.write("in/a", "1");
    wait_for_noted(&sandbox, 1);
    sandbox.wait_for_log("✓ Added a");
    runner.stop();
    sandbox.write("in/b", "2");
    fs::rename(sandbox.path("in/a"), sandbox.path("in/renamed")).unwrap();
    let runner = sandbox.start();
    assert_eq!(wait_for_noted(&sandbox, 2), ["created a", "created b"]);
    sandbox.wait_for_log("✓ Added b");
    assert_eq!(states(&sandbox)["old"], "ignored");
    runner.kill();
    let runner = sandbox.start();
    sandbox.write("in/c", "3");
    assert_eq!(wait_for_noted(&sandbox, 3)[2..], ["created c"]);
    runner.stop();
}

#[test]
fn files_that_are_there_at_the_first_start_are_run_for_if_that_is_asked_for() {
    let sandbox = sandbox("  existing: process\n  order: name\n");
    for name in ["b", "a", "c"] {
        sandbox.write(&format!("in/{name}"), name);
    }
    let runner = sandbox.start();
    let mut found = wait_for_noted(&sandbox, 3);
    found.sort();
    assert_eq!(found, ["created a", "created b", "created c"]);
    runner.stop();
    let runner = sandbox.start();
    sandbox.write("in/d", "d");
    assert_eq!(wait_for_noted(&sandbox, 4)[3], "created d");
    runner.stop();
}

/// Half-written files: each write begins the wait anew.
#[test]
fn a_slow_writer_makes_one_run() {
    let sandbox = Sandbox::new()
        .file("jobs/w.yaml", &noting("").replace("settle: close", "settle: 700ms"))
        .file("jobs/c.yaml", &noting("").replace("noted", "closed"));
    fs::create_dir(sandbox.path("in")).unwrap();
    let runner = sandbox.start();
    sandbox.wait_for_logs("watches", 2);
    let mut file = fs::File::create(sandbox.path("in/slow")).unwrap();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2_500) {
        std::io::Write::write_all(&mut file, b"a line\n").unwrap();
        // The pace of the writer is what this is about.
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(noted(&sandbox), [""; 0], "it is written to still");
    }
    assert_eq!(sandbox.read("closed"), "", "it is open still");
    drop(file);
    wait_for_noted(&sandbox, 1);
    wait_for("the other one took it when it was closed", || sandbox.read("closed") == "created slow\n");
    sandbox.write("in/mark", "x");
    wait_for_noted(&sandbox, 2);
    assert_eq!(noted(&sandbox), ["created slow", "created mark"]);
    runner.stop();
}

#[test]
fn names_of_incomplete_files_and_what_is_ignored_make_no_runs() {
    let sandbox = sandbox("  ignore: [\"drafts/**\"]\n  patterns: [\"*.{pdf,log}\", \"sub/*.txt\"]\n");
    sandbox.write("in/.gitignore", "*.log\n");
    let runner = watching(&sandbox);
    for path in ["drafts/x.pdf", "a.part", "a.txt", "deep/sub/a.txt", "x.log", ".git/x.pdf", ".~lock.pdf"] {
        sandbox.write(&format!("in/{path}"), "x");
    }
    sandbox.write("in/sub/b.txt", "x");
    sandbox.write("in/a.pdf", "x");
    let mut found = wait_for_noted(&sandbox, 2);
    found.sort();
    assert_eq!(found, ["created a.pdf", "created b.txt"]);
    // A download that is renamed into its place.
    sandbox.write("in/movie.pdf.part", "x");
    fs::rename(sandbox.path("in/movie.pdf.part"), sandbox.path("in/movie.pdf")).unwrap();
    assert_eq!(wait_for_noted(&sandbox, 3)[2], "created movie.pdf");
    // What is not left out any more is found.
    sandbox.write("in/.gitignore", "");
    assert_eq!(wait_for_noted(&sandbox, 4)[3], "created x.log");
    runner.stop();
}

#[test]
fn a_done_file_says_that_another_one_is_complete() {
    let sandbox = sandbox("  done_file: \"{name}.done\"\n");
    let runner = watching(&sandbox);
    sandbox.write("in/a.csv", "1");
    sandbox.write("in/b.csv", "1");
    sandbox.write("in/b.csv.done", "");
    assert_eq!(wait_for_noted(&sandbox, 1), ["created b.csv"]);
    let explained = sandbox.run(&["watch", "explain", "w", "in/a.csv"]).code(0);
    assert!(explained.out().contains("it waits until [DIR]/in/a.csv.done stands beside it."), "{explained}");
    sandbox.write("in/a.csv.done", "");
    assert_eq!(wait_for_noted(&sandbox, 2)[1], "created a.csv");
    runner.stop();
}

/// Changes lost while the command runs: they are in the next run, all of them.
#[test]
fn one_run_for_all_has_everything_that_came_meanwhile() {
    let text = "watch: { paths: [in], settle: close, batch: { mode: all, max: 100, wait: 50ms } }\n\
                command: 'cat \"$RUNNER_ITEMS\" >> \"$RUNNER_LOG_DIR/../noted\"; echo run >> \"$RUNNER_LOG_DIR/../runs\"; while [ ! -e \"$RUNNER_LOG_DIR/../go\" ]; do sleep 0.02; done'\n";
    let sandbox = Sandbox::new().file("jobs/w.yaml", text);
    let runner = watching(&sandbox);
    sandbox.write("in/first", "x");
    wait_for("the first run has it", || noted(&sandbox).len() == 1);
    for n in 0..20 {
        sandbox.write(&format!("in/{n:02}"), "x");
    }
    wait_for("all others are complete", || states(&sandbox).values().filter(|state| *state == "stable").count() == 20);
    sandbox.write("go", "");
    wait_for("the second run has all others", || noted(&sandbox).len() == 21);
    let ends = sandbox.wait_for_ends("w", 2);
    assert_eq!((ends.len(), sandbox.read("runs").lines().count()), (2, 2));
    sandbox.wait_for_log("✓ Processed 20 files (");
    runner.stop();
}

#[test]
fn a_failed_file_is_tried_again_marked_and_blocks_nobody() {
    let text = "watch: { paths: [in], settle: close, on_success: { move: done/ }, on_failure: { move: failed/ } }\n\
                retry: { max: 1, delay: 100ms }\n\
                command: [sh, -c, 'echo \"$2\" >> \"$RUNNER_LOG_DIR/../noted\"; [ \"$2\" != bad ]', sh, '{path}', '{name}']\n";
    let sandbox = Sandbox::new().file("jobs/w.yaml", text);
    let runner = watching(&sandbox);
    sandbox.write("in/bad", "x");
    sandbox.wait_for_log("Processing bad");
    sandbox.write("in/sub/good", "x");
    sandbox.wait_for_log("✓ Added sub/good");
    sandbox.wait_for_log("✗ Failed bad");
    wait_for("both are moved", || sandbox.path("in/failed/bad").exists() && sandbox.path("in/done/sub/good").exists());
    let mut found = noted(&sandbox);
    found.sort();
    assert_eq!(found, ["bad", "bad", "good"], "two attempts of the one, one of the other");
    let rows = sandbox.json(&["watch", "ls", "w", "--failed", "--all", "--json"]);
    assert_eq!((rows.as_array().unwrap().len(), &rows[0]["why"]), (1, &"exit code 1".into()));
    runner.stop();
}

#[test]
fn files_are_run_for_again_if_somebody_asks() {
    let sandbox = sandbox("");
    let runner = watching(&sandbox);
    sandbox.write("in/a", "x");
    sandbox.write("in/b", "x");
    wait_for_noted(&sandbox, 2);
    sandbox.wait_for_logs("✓ Added", 2);
    sandbox.run(&["watch", "replay", "w", "a", "--dry-run"]).code(0).says("1 file would be run for again");
    sandbox.run(&["watch", "replay", "w", "in/a"]).code(0).says("1 file will be run for again");
    assert_eq!(wait_for_noted(&sandbox, 3)[2], "created a");
    let ends = sandbox.wait_for_ends("w", 3);
    assert_eq!(ends[2]["triggered_by"], "REPLAY");
    sandbox.run(&["watch", "replay", "w", "in/none"]).code(1).says("the watch does not know this file");
    sandbox.run(&["watch", "replay", "w"]).code(2);
    sandbox.wait_for_logs("✓ Added", 3);
    runner.stop();
    sandbox
        .run(&["watch", "replay", "w", "--since", "1h"])
        .code(0)
        .says("2 files will be run for again once a runner runs");
    let runner = sandbox.start();
    let mut found = wait_for_noted(&sandbox, 5)[3..].to_vec();
    found.sort();
    assert_eq!(found, ["created a", "created b"]);
    assert!(sandbox.wait_for_ends("w", 5)[3..].iter().all(|end| end["triggered_by"] == "REPLAY"));
    runner.stop();
}

#[test]
fn explain_says_for_each_file_what_became_of_it_and_why() {
    let sandbox = sandbox("  patterns: [\"*.pdf\"]\n  ignore: [\"drafts/**\"]\n");
    sandbox.write("in/.gitignore", "# words\nsecret*\n");
    sandbox.write("in/old.pdf", "x");
    let runner = watching(&sandbox);
    sandbox.wait_for_log("1 file in ");
    sandbox.wait_for_log("was there before the first start: no run is made for it (`existing: ignore`)");
    sandbox.write("in/a.pdf", "x");
    sandbox.wait_for_log("✓ Added a.pdf");
    for path in ["drafts/b.pdf", "c.txt", "secret.pdf", "d.pdf.part"] {
        sandbox.write(&format!("in/{path}"), "x");
    }
    let explain = |path: &str| sandbox.run(&["watch", "explain", "w", path]).code(0).out();
    let run = sandbox.events("w", "end")[0]["run"].as_str().unwrap().to_string();
    for (path, outcome, words) in [
        ("in/a.pdf", "done", format!("run {run} succeeded")),
        ("a.pdf", "done", "It matches `*.pdf`.".into()),
        ("in/drafts/b.pdf", "ignored", "`drafts/**` in `ignore`".into()),
        ("in/c.txt", "not matched", "It matches none of the patterns: `*.pdf`.".into()),
        ("in/secret.pdf", "ignored", "`secret*` in [DIR]/in/.gitignore:2".into()),
        ("in/d.pdf.part", "ignored", "`*.part`".into()),
        ("in/old.pdf", "ignored", "it was there at the first start".into()),
        ("in/none.pdf", "gone", "the ledger does not know it".into()),
        ("/etc/passwd", "elsewhere", "below none of the watched paths: [DIR]/in".into()),
    ] {
        let said = explain(path);
        assert!(said.contains(&format!(": {outcome}\n")) && said.contains(&words), "{path}: {said}");
    }
    let json = sandbox.json(&["watch", "explain", "w", "in/a.pdf", "--json"]);
    assert_eq!(
        (&json["outcome"], &json["matched_by"], &json["file"]["run"]),
        (&"done".into(), &"*.pdf".into(), &run.into())
    );
    sandbox.run(&["watch", "explain", "nobody", "x"]).code(1);
    runner.stop();
}

#[test]
fn deleted_and_renamed_files_are_told_where_that_is_asked_for() {
    let sandbox = sandbox("  events: [created, modified, deleted, renamed]\n");
    let runner = watching(&sandbox);
    sandbox.write("in/a", "x");
    wait_for_noted(&sandbox, 1);
    sandbox.wait_for_log("✓ Added a");
    fs::rename(sandbox.path("in/a"), sandbox.path("in/b")).unwrap();
    assert_eq!(wait_for_noted(&sandbox, 2)[1], "renamed b");
    sandbox.wait_for_log("Detected renamed file: a -> b");
    sandbox.wait_for_log("✓ Renamed b");
    sandbox.remove("in/b");
    assert_eq!(wait_for_noted(&sandbox, 3)[2], "deleted b");
    sandbox.wait_for_log("✓ Removed b");
    runner.stop();
}

#[test]
fn the_same_content_is_not_new_under_another_name_or_time_where_the_hash_counts() {
    let sandbox = sandbox("  identity: hash\n");
    let runner = watching(&sandbox);
    sandbox.write("in/a", "same");
    wait_for_noted(&sandbox, 1);
    sandbox.wait_for_log("✓ Added a");
    sandbox.write("in/copy", "same");
    sandbox.write("in/a", "same");
    sandbox.write("in/other", "other");
    assert_eq!(wait_for_noted(&sandbox, 2), ["created a", "created other"]);
    wait_for("the copy is told as one", || states(&sandbox).get("copy").is_some_and(|state| state == "ignored"));
    sandbox.wait_for_log("w: Passed over copy: it has the same content as ");
    sandbox.wait_for_log("w: Passed over a: its content is the same as before");
    runner.stop();
}

/// Silent network shares: nothing tells of changes there.
#[test]
fn a_share_is_looked_at_every_now_and_then() {
    let sandbox = Sandbox::new()
        .file("jobs/w.yaml", &noting("  backend: poll\n  poll: 100ms\n").replace("settle: close", "settle: 200ms"));
    fs::create_dir(sandbox.path("in")).unwrap();
    let runner = sandbox.start();
    assert!(runner.stdout().contains("by polling (`backend: poll`)"), "{}", runner.stdout());
    sandbox.wait_for_log("by polling every 100ms");
    sandbox.write("in/deep/a", "x");
    wait_for_noted(&sandbox, 1);
    sandbox.wait_for_log("✓ Added deep/a");
    sandbox.write("in/deep/a", "longer");
    fs::write(sandbox.path("in/b"), "x").unwrap();
    let mut found = wait_for_noted(&sandbox, 3)[1..].to_vec();
    found.sort();
    assert_eq!(found, ["created b", "modified a"]);
    assert_eq!(sandbox.json(&["status", "--json"])["watches"][0]["backend"], "poll");
    runner.stop();
}

#[test]
fn a_path_that_vanishes_is_shown_and_reconciled_when_it_returns() {
    let sandbox = sandbox("  events: [created, modified, deleted]\n");
    let runner = watching(&sandbox);
    sandbox.write("in/a", "x");
    sandbox.wait_for_log("✓ Added a");
    fs::rename(sandbox.path("in"), sandbox.path("away")).unwrap();
    sandbox.wait_for_log("cannot be watched: it is not there; what is known of it stays");
    let state = || sandbox.json(&["status", "--json"])["watches"][0]["state"].as_str().unwrap().to_string();
    wait_for("it is shown", || state().contains("unhealthy: "));
    fs::write(sandbox.path("away/b"), "x").unwrap();
    fs::rename(sandbox.path("away"), sandbox.path("in")).unwrap();
    assert_eq!(wait_for_noted(&sandbox, 2)[1], "created b", "and nothing was taken for deleted");
    sandbox.wait_for_log("is there again");
    wait_for("it is shown", || state() == "watching");
    sandbox.write("in/c", "x");
    assert_eq!(wait_for_noted(&sandbox, 3)[2], "created c", "events are told of again");
    runner.stop();
}

#[test]
fn a_changed_job_keeps_its_ledger_and_a_removed_one_stops() {
    let sandbox = sandbox("");
    let runner = watching(&sandbox);
    sandbox.write("in/a.txt", "x");
    sandbox.wait_for_log("✓ Added a.txt");
    sandbox.replace("jobs/w.yaml", &noting("  patterns: ['*.pdf']\n"));
    sandbox.wait_for_logs("w: watches", 2);
    sandbox.write("in/b.txt", "x");
    sandbox.write("in/c.pdf", "x");
    assert_eq!(wait_for_noted(&sandbox, 2), ["created a.txt", "created c.pdf"]);
    sandbox.wait_for_log("✓ Added c.pdf");
    sandbox.remove("jobs/w.yaml");
    sandbox.wait_for_log("(1 removed)");
    sandbox.write("in/d.pdf", "x");
    sandbox.write("jobs/w.yaml", &noting(""));
    let mut found = wait_for_noted(&sandbox, 4)[2..].to_vec();
    found.sort();
    assert_eq!(found, ["created b.txt", "created d.pdf"], "what came meanwhile is found, nothing twice");
    runner.stop();
}

#[test]
fn files_of_a_run_that_a_kill_cut_short_are_run_for_again_and_named_in_the_ledger() {
    let text = "watch: { paths: [in], settle: close }\n\
                command: [sh, -c, 'echo \"$2\" >> \"$RUNNER_LOG_DIR/../noted\"; [ -e \"$RUNNER_LOG_DIR/../go\" ] || exec sleep 100', sh, '{path}', '{name}']\n";
    let sandbox = Sandbox::new().file("jobs/w.yaml", text);
    let runner = watching(&sandbox);
    sandbox.write("in/a", "x");
    wait_for("the run has it", || noted(&sandbox).len() == 1);
    runner.kill();
    assert_eq!(states(&sandbox)["a"], "running");
    sandbox.write("go", "");
    let runner = sandbox.start();
    wait_for("another run has it", || noted(&sandbox) == ["a", "a"]);
    sandbox.wait_for_log("✓ Added a");
    let status: Vec<Value> = sandbox.wait_for_ends("w", 2).iter().map(|end| end["status"].clone()).collect();
    assert_eq!(status, ["interrupted", "success"]);
    runner.stop();
    let runner = sandbox.start();
    sandbox.write("in/b", "x");
    wait_for("only the new one is run for", || noted(&sandbox) == ["a", "a", "b"]);
    runner.stop();
}

#[test]
fn what_a_stop_cuts_short_is_run_for_at_the_next_start() {
    let text = "watch: { paths: [in], settle: close }\nkill_grace: 0s\n\
                command: [sh, -c, 'echo \"$2\" >> \"$RUNNER_LOG_DIR/../noted\"; [ -e \"$RUNNER_LOG_DIR/../go\" ] || exec sleep 100', sh, '{path}', '{name}']\n";
    let sandbox = Sandbox::new().file("jobs/w.yaml", text).file("runner.yaml", "shutdown_timeout: 0s\n");
    let runner = watching(&sandbox);
    sandbox.write("in/a", "x");
    sandbox.write("in/b", "x");
    wait_for("the run has one", || noted(&sandbox).len() == 1);
    wait_for("the other one waits", || states(&sandbox).values().any(|state| state == "stable"));
    runner.stop();
    sandbox.write("go", "");
    let runner = sandbox.start();
    wait_for("both are done", || noted(&sandbox).len() == 3);
    sandbox.wait_for_logs("✓ Added", 2);
    assert_eq!(states(&sandbox).into_values().collect::<Vec<_>>(), ["done", "done"]);
    assert!(sandbox.events("w", "skipped").is_empty(), "nothing was skipped");
    runner.stop();
}

#[test]
fn a_link_to_a_file_that_is_gone_before_its_run_is_run_for() {
    let sandbox = Sandbox::new().file("jobs/w.yaml", &noting("").replace("settle: close", "settle: 600ms"));
    let runner = watching(&sandbox);
    sandbox.write("in/t", "x");
    sandbox.wait_for_log("Detected new file: t");
    fs::hard_link(sandbox.path("in/t"), sandbox.path("in/final")).unwrap();
    wait_for("the link is told as one", || states(&sandbox).get("final").is_some_and(|state| state == "ignored"));
    sandbox.remove("in/t");
    assert_eq!(wait_for_noted(&sandbox, 1), ["created final"]);
    runner.stop();
}

#[test]
fn a_done_file_is_noticed_without_events() {
    let more = "  backend: poll\n  poll: 100ms\n  done_file: \"{name}.done\"\n";
    let sandbox = Sandbox::new().file("jobs/w.yaml", &noting(more).replace("settle: close", "settle: 100ms"));
    let runner = watching(&sandbox);
    sandbox.write("in/a", "x");
    wait_for("it waits", || states(&sandbox).get("a").is_some_and(|state| state == "seen"));
    sandbox.write("in/a.done", "");
    assert_eq!(wait_for_noted(&sandbox, 1), ["created a"]);
    runner.stop();
}

#[test]
fn what_happens_beside_a_watched_file_does_not_complete_it() {
    let sandbox = Sandbox::new().file("jobs/w.yaml", &noting("").replace("[in]", "[in/one.cfg]"));
    fs::create_dir(sandbox.path("in")).unwrap();
    sandbox.write("in/one.cfg", "first");
    let runner = watching(&sandbox);
    let mut file = fs::File::create(sandbox.path("in/one.cfg")).unwrap();
    std::io::Write::write_all(&mut file, b"half").unwrap();
    sandbox.wait_for_log("Detected modified file: one.cfg");
    // As many as are told of in several looks.
    for n in 0..50 {
        sandbox.write(&format!("in/neighbour{n}"), "x");
    }
    assert_eq!(noted(&sandbox), [""; 0], "it is open still");
    std::io::Write::write_all(&mut file, b" and whole").unwrap();
    drop(file);
    assert_eq!(wait_for_noted(&sandbox, 1), ["modified one.cfg"]);
    sandbox.replace("in/one.cfg", "another");
    assert_eq!(wait_for_noted(&sandbox, 2)[1], "modified one.cfg");
    runner.stop();
}

#[test]
fn what_happens_to_a_file_during_its_run_is_told_after_it() {
    let text = "watch: { paths: [in], settle: close, events: [created, modified, deleted, renamed] }\n\
                command: [sh, -c, 'echo \"$2 $1\" >> \"$RUNNER_LOG_DIR/../noted\"; while [ ! -e \"$RUNNER_LOG_DIR/../go\" ]; do sleep 0.02; done', sh, '{name}', '{event}']\n";
    let sandbox = Sandbox::new().file("jobs/w.yaml", &format!("{text}max_instances: 2\n"));
    let runner = watching(&sandbox);
    sandbox.write("in/a", "x");
    sandbox.write("in/b", "x");
    wait_for_noted(&sandbox, 2);
    sandbox.remove("in/a");
    fs::rename(sandbox.path("in/b"), sandbox.path("in/c")).unwrap();
    sandbox.wait_for_log("Detected deleted file: a");
    sandbox.wait_for_log("Detected renamed file: b -> c");
    assert_eq!(noted(&sandbox).len(), 2, "nobody has the same file twice at once");
    sandbox.write("go", "");
    let mut found = wait_for_noted(&sandbox, 4)[2..].to_vec();
    found.sort();
    assert_eq!(found, ["deleted a", "renamed c"]);
    runner.stop();
}

#[test]
fn renames_are_told_each_and_a_swap_as_two() {
    let sandbox = sandbox("  events: [created, modified, renamed]\n");
    let runner = watching(&sandbox);
    sandbox.write("in/a", "a");
    sandbox.write("in/b", "bb");
    wait_for_noted(&sandbox, 2);
    sandbox.wait_for_logs("✓ Added", 2);
    let rename = |from: &str, to: &str| fs::rename(sandbox.path(from), sandbox.path(to)).unwrap();
    for n in 0..20 {
        rename(&format!("in/{}", if n == 0 { "a".into() } else { format!("r{n}") }), &format!("in/r{}", n + 1));
        wait_for_noted(&sandbox, 3 + n);
        sandbox.wait_for_logs("✓ Renamed", 1 + n);
    }
    rename("in/r20", "in/.swap.tmp");
    rename("in/b", "in/r20");
    rename("in/.swap.tmp", "in/b");
    let mut found = wait_for_noted(&sandbox, 24)[22..].to_vec();
    found.sort();
    assert_eq!(found, ["renamed b", "renamed r20"]);
    runner.stop();
}

#[test]
fn a_touch_makes_nothing_new_where_the_hash_counts() {
    let sandbox = sandbox("  identity: hash\n");
    let runner = watching(&sandbox);
    sandbox.write("in/a", "same");
    wait_for_noted(&sandbox, 1);
    sandbox.wait_for_log("✓ Added a");
    sandbox.write("in/a", "same");
    sandbox.wait_for_log("Detected modified file: a");
    wait_for("it is known as it is", || {
        ledger(&sandbox, "w").iter().filter(|line| line["state"] == "done").count() == 2
    });
    sandbox.write("in/a", "other");
    assert_eq!(wait_for_noted(&sandbox, 2), ["created a", "modified a"]);
    runner.stop();
}

/// The output of a run below the watched path makes the next run due, without an end.
#[test]
fn a_watch_that_fires_itself_is_stopped_with_its_cause_and_goes_on_if_asked_to() {
    let text = "watch: { paths: [in], settle: close }\n\
                command: [sh, -c, 'date +%s%N > \"$1\"; echo x >> \"$RUNNER_LOG_DIR/../noted\"', sh, '{path}']\n";
    let sandbox = Sandbox::new().file("jobs/w.yaml", text);
    let runner = watching(&sandbox);
    sandbox.write("in/a", "x");
    sandbox.wait_for_log("w: the watch is stopped: it fired itself 20 times in a row");
    let count = noted(&sandbox).len();
    assert!((20..=22).contains(&count), "it ran {count} times");
    let state = sandbox.json(&["status", "--json"])["watches"][0]["state"].as_str().unwrap().to_string();
    assert!(state.starts_with("stopped: it fired itself") && state.contains("in/a"), "{state}");
    let said = sandbox.run(&["watch", "explain", "w", "in/a"]).code(0).out();
    assert!(said.contains("The watch does nothing now: stopped: it fired itself"), "{said}");
    sandbox.run(&["resume", "w"]).code(0);
    sandbox.wait_for_logs("w: the watch is stopped", 2);
    runner.stop();
}

/// Whoever else changes files while runs are active is told apart: the watch holds still for a moment and goes on.
#[test]
fn a_file_that_somebody_else_changes_all_the_time_stops_nothing() {
    let text = "watch: { paths: [in], settle: close }\n\
                command: [sh, -c, 'echo x >> \"$RUNNER_LOG_DIR/../noted\"; sleep 0.05']\n";
    let sandbox = Sandbox::new().file("jobs/w.yaml", text);
    let runner = watching(&sandbox);
    let begun = Instant::now();
    let mut n = 0;
    while noted(&sandbox).len() < 60 {
        assert!(begun.elapsed() < Duration::from_secs(40), "{} runs", noted(&sandbox).len());
        n += 1;
        sandbox.write("in/metrics", &n.to_string());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(sandbox.logged("the watch is stopped"), 0);
    runner.stop();
}

#[test]
fn a_batch_that_is_replaced_is_part_of_the_next_one() {
    let text = "watch: { paths: [in], settle: close, batch: { mode: all, wait: 0s } }\noverlap: replace\nkill_grace: 0s\n\
                command: 'cat \"$RUNNER_ITEMS\" >> \"$RUNNER_LOG_DIR/../noted\"; [ -e \"$RUNNER_LOG_DIR/../go\" ] || { echo x >> \"$RUNNER_LOG_DIR/../waits\"; exec sleep 100; }'\n";
    let sandbox = Sandbox::new().file("jobs/w.yaml", text);
    let runner = watching(&sandbox);
    sandbox.write("in/a", "x");
    wait_for_noted(&sandbox, 1);
    let waits = |count: usize| fs::read_to_string(sandbox.path("waits")).unwrap_or_default().lines().count() == count;
    wait_for("the first one does not look for it any more", || waits(1));
    sandbox.write("in/b", "x");
    wait_for_noted(&sandbox, 3);
    wait_for("the second one does not look for it any more", || waits(2));
    sandbox.write("go", "");
    sandbox.write("in/c", "x");
    wait_for_noted(&sandbox, 6);
    wait_for("all are done", || states(&sandbox).values().filter(|state| *state == "done").count() == 3);
    assert_eq!(sandbox.wait_for_ends("w", 3).len(), 3, "one run for each change");
    runner.stop();
}
