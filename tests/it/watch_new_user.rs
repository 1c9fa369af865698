//! What a new user ran into.

use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use crate::sandbox::{Sandbox, wait_for};

/// A job that writes down how long each file is that it gets.
fn measuring(watch: &str) -> String {
    format!(
        "watch: {{ {watch} }}\n\
         command: [sh, -c, 'wc -c < \"$1\" >> \"$RUNNER_LOG_DIR/../sizes\"; echo \"$2\" >> \"$RUNNER_LOG_DIR/../names\"', sh, '{{path}}', '{{name}}']\n"
    )
}

fn sandbox(watch: &str) -> Sandbox {
    let sandbox = Sandbox::new().file("jobs/w.yaml", &measuring(watch));
    fs::create_dir(sandbox.path("in")).unwrap();
    sandbox
}

fn lines(sandbox: &Sandbox, name: &str) -> Vec<String> {
    sandbox.read(name).lines().map(|line| line.trim().to_string()).collect()
}

/// Writes a byte every 200 ms, at least so often and until `is_enough`; says how many there are.
fn write_slowly(sandbox: &Sandbox, name: &str, least: usize, mut is_enough: impl FnMut() -> bool) -> usize {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(sandbox.path(name)).unwrap();
    let mut written = 0;
    let deadline = Instant::now() + Duration::from_secs(60);
    while written < least || !is_enough() {
        assert!(Instant::now() < deadline, "it was never enough");
        file.write_all(b"x").unwrap();
        written += 1;
        // The writer's own pace.
        std::thread::sleep(Duration::from_millis(200));
    }
    written
}

#[test]
fn a_file_that_grows_over_a_start_and_over_edits_of_its_job_makes_one_run_for_all_of_it() {
    let watch = "paths: [in], settle: 2s, existing: process";
    let sandbox = sandbox(watch);
    sandbox.write("in/first", "");
    let runner = std::cell::Cell::new(None);
    let mut edits = 0;
    let mut before = 0;
    // It grows before the first start, over it, and over three edits.
    let written = write_slowly(&sandbox, "in/growing", 5, || {
        if let Some(started) = runner.take() {
            runner.set(Some(started));
        } else {
            runner.set(Some(sandbox.start()));
        }
        let reloads = sandbox.reloads();
        if reloads > before || edits == 0 {
            before = reloads;
            edits += 1;
            sandbox.write("jobs/w.yaml", &format!("timeout: {edits}m\n{}", measuring(watch)));
        }
        edits > 3
    });
    wait_for("it was run for", || lines(&sandbox, "names").contains(&"growing".to_string()));
    runner.take().unwrap().stop();
    let at = lines(&sandbox, "names").iter().position(|name| name == "growing").unwrap();
    assert_eq!(lines(&sandbox, "sizes")[at], written.to_string());
    assert_eq!(lines(&sandbox, "names").iter().filter(|name| *name == "growing").count(), 1);
}

#[test]
fn a_path_that_comes_below_another_one_or_goes_leaves_that_one_watched() {
    let sandbox = sandbox("paths: [in, in/later, single], settle: close");
    let runner = sandbox.start();
    sandbox.wait_for_log("w: watches");
    sandbox.write("in/one", "1");
    wait_for("the first one is run for", || lines(&sandbox, "names") == ["one"]);
    fs::create_dir(sandbox.path("in/later")).unwrap();
    sandbox.wait_for_log("in/later is there now");
    sandbox.write("single", "1");
    sandbox.wait_for_log("single is there now");
    sandbox.write("in/two", "2");
    wait_for("events tell of the one above", || lines(&sandbox, "names").contains(&"two".to_string()));
    sandbox.write("in/later/three", "3");
    wait_for("events tell of the new one", || lines(&sandbox, "names").contains(&"three".to_string()));
    // Of several paths each name says which.
    sandbox.wait_for_log("✓ Added in/later/three");
    sandbox.wait_for_log("✓ Added single");
    fs::rename(sandbox.path("in/later"), sandbox.path("elsewhere")).unwrap();
    sandbox.wait_for_log("in/later cannot be watched");
    let singles = || lines(&sandbox, "names").iter().filter(|name| *name == "single").count();
    wait_for("the single file was run for", || singles() == 1);
    sandbox.write("in/four", "4");
    wait_for("they do after it has gone", || lines(&sandbox, "names").contains(&"four".to_string()));
    sandbox.write("single", "another");
    wait_for("and of the single file", || singles() == 2);
    let watch = &sandbox.json(&["status", "--json"])["watches"][0];
    assert!(watch["backend"].to_string().contains("events"), "nothing was found by polling: {watch}");
    runner.stop();
}

#[test]
fn a_gitignore_that_comes_counts_for_what_was_noticed_already() {
    let sandbox = sandbox("paths: [in], settle: 2s");
    let runner = sandbox.start();
    sandbox.wait_for_log("w: watches");
    fs::create_dir(sandbox.path("in/out")).unwrap();
    for name in ["in/a.log", "in/out/b", "in/kept"] {
        sandbox.write(name, "1");
    }
    sandbox.wait_for_log("Detected new file: kept");
    sandbox.wait_for_log("Detected new file: out/b");
    sandbox.write("in/.gitignore", "*.log\nout/\n.gitignore\n");
    wait_for("the one that is left was run for", || lines(&sandbox, "names") == ["kept"]);
    sandbox.write("in/last", "1");
    wait_for("so is what comes after", || lines(&sandbox, "names").len() >= 2);
    assert_eq!(lines(&sandbox, "names"), ["kept", "last"]);
    runner.stop();
}

#[test]
fn a_ledger_that_goes_before_its_first_line_since_the_start_is_written_anew() {
    let sandbox = sandbox("paths: [in], settle: close");
    let runner = sandbox.start();
    sandbox.wait_for_log("w: watches");
    for name in ["in/a", "in/b"] {
        sandbox.write(name, "1");
    }
    sandbox.wait_for_ends("w", 2);
    runner.stop();
    let runner = sandbox.start();
    wait_for("it watches", || sandbox.logged("w: watches") == 2);
    fs::remove_file(sandbox.path("logs/jobs/w/ledger.log")).unwrap();
    sandbox.write("in/c", "1");
    sandbox.wait_for_ends("w", 3);
    sandbox.wait_for_log("somebody took the ledger away, it is written anew");
    wait_for("it knows all of them", || sandbox.read("logs/jobs/w/ledger.log").lines().count() >= 4);
    runner.stop();
    let runner = sandbox.start();
    wait_for("it watches", || sandbox.logged("w: watches") == 3);
    sandbox.write("in/d", "1");
    sandbox.wait_for_ends("w", 4);
    assert_eq!(lines(&sandbox, "names").len(), 4);
    runner.stop();
}

#[test]
fn files_that_come_at_once_are_run_for_in_their_order() {
    let sandbox = sandbox("paths: [in], settle: 300ms");
    let runner = sandbox.start();
    sandbox.wait_for_log("w: watches");
    let names: Vec<String> = (0..40).map(|n| format!("f{}", (n * 17) % 40)).collect();
    for name in &names {
        sandbox.write(&format!("in/{name}"), "1");
    }
    sandbox.wait_for_ends("w", 40);
    assert_eq!(lines(&sandbox, "names"), names);
    runner.stop();
}

#[test]
fn a_watch_that_is_paused_or_waits_for_its_path_says_so() {
    let sandbox = sandbox("paths: [in, nowhere], settle: close");
    let runner = sandbox.start();
    assert!(runner.stdout().contains("/in for all files by events\n"), "{}", runner.stdout());
    assert!(
        runner.stdout().contains("/nowhere for all files, which is waited for: it is not there\n"),
        "{}",
        runner.stdout()
    );
    sandbox.run(&["doctor"]).says("/nowhere cannot be watched: it is not there");
    sandbox.run(&["pause", "w"]).code(0).says("w is paused until it is resumed; files that come wait until then");
    let state = || sandbox.json(&["status", "--json"])["watches"][0]["state"].as_str().unwrap().to_string();
    assert!(state().starts_with("paused; unhealthy"), "{}", state());
    sandbox.write("in/a", "1");
    wait_for("it waits", || sandbox.json(&["status", "--json"])["watches"][0]["pending"] == 1);
    sandbox.run(&["resume", "w"]).code(0);
    sandbox.wait_for_ends("w", 1);
    assert!(!state().contains("paused"), "{}", state());
    runner.stop();
}

#[test]
fn what_is_no_file_or_behind_a_link_is_explained_as_that() {
    let sandbox = sandbox("paths: [in], settle: close");
    fs::create_dir_all(sandbox.path("in/folder")).unwrap();
    fs::create_dir(sandbox.path("behind")).unwrap();
    sandbox.write("behind/file", "1");
    std::os::unix::fs::symlink("../behind", sandbox.path("in/link")).unwrap();
    std::os::unix::fs::symlink("nothing", sandbox.path("in/broken")).unwrap();
    for (path, words) in [
        ("in/folder", "It is a folder, not a file"),
        ("in/broken", "It is a link that leads to no file, not a file"),
        ("in/link", "It is a link to a folder, not a file"),
        ("in/link/file", "in/link, a link to a folder: such links are not followed."),
    ] {
        let path = sandbox.path(path).display().to_string();
        sandbox.run(&["watch", "explain", "w", &path]).code(0).says(words);
    }
}

#[test]
fn a_job_is_paused_by_its_runner_though_its_files_are_not_there() {
    let sandbox = sandbox("paths: [in], settle: close");
    let runner = sandbox.start();
    fs::rename(sandbox.path("jobs"), sandbox.path("elsewhere")).unwrap();
    sandbox.run(&["pause", "w"]).code(0).says("w is paused until it is resumed");
    fs::rename(sandbox.path("elsewhere"), sandbox.path("jobs")).unwrap();
    runner.stop();
}

#[test]
fn the_verbs_of_a_watch_say_numbers_in_words_and_names_in_json() {
    let sandbox = sandbox("paths: [in], settle: close");
    let runner = sandbox.start();
    sandbox.wait_for_log("w: watches");
    sandbox.write("in/a", "1");
    sandbox.wait_for_log("✓ Added a");
    sandbox.run(&["status"]).code(0).says("1 processed, 0 errors, 0 pending");
    let json = sandbox.run(&["watch", "replay", "w", "in/none", "--json"]).code(1).out();
    let answer: serde_json::Value = serde_json::from_str(&json).unwrap();
    let refused = serde_json::json!([{ "path": "[DIR]/in/none", "why": "the watch does not know this file" }]);
    assert_eq!((&answer["files"], &answer["refused"]), (&serde_json::json!([]), &refused));
    runner.stop();
    let json = sandbox.run(&["watch", "replay", "w", "in/none", "--json"]).code(1).out();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), answer);
    let rows = sandbox.json(&["watch", "ls", "w", "--json"]);
    let run = rows[0]["run"].as_str().unwrap();
    let of_run = sandbox.json(&["watch", "ls", "w", "--run", run, "--json"]);
    assert_eq!((of_run.as_array().unwrap().len(), &of_run[0]["path"]), (1, &rows[0]["path"]));
    let other = "01a22871-9141-749f-b353-000000000000";
    sandbox.run(&["watch", "ls", "w", "--run", other]).code(0).stdout("no files are of that run\n").stderr("");
    let note = "note: w runs when a file arrives or changes in in, which has no time\n";
    sandbox.run(&["next", "w"]).code(0).stdout("nothing comes due\n").stderr(note);
    sandbox.run(&["watch", "ls", "w", "--limit", "0"]).code(2).says("0 is not in 1..");
    for name in ["in/b", "in/c"] {
        sandbox.write(name, "2");
    }
    let runner = sandbox.start();
    sandbox.wait_for_log("✓ Added c");
    runner.stop();
    sandbox.run(&["watch", "ls", "w", "--limit", "1"]).code(0).says("note: 2 more files are not shown");
    sandbox.run(&["watch", "ls", "w", "--limit", "2"]).code(0).says("note: 1 more file is not shown");
}

#[test]
fn each_of_many_files_of_one_size_and_time_is_run_for_though_they_share_an_inode() {
    // The file system gives the inode of the file before, which the command has removed.
    let job = "watch: { paths: [in], settle: close }\n\
               command: [sh, -c, 'echo \"$2\" >> \"$RUNNER_LOG_DIR/../names\"; rm \"$1\"', sh, '{path}', '{name}']\n";
    let sandbox = Sandbox::new().file("jobs/w.yaml", job);
    fs::create_dir(sandbox.path("in")).unwrap();
    let runner = sandbox.start();
    sandbox.wait_for_log("w: watches");
    let time = std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let mut inodes = std::collections::HashSet::new();
    for number in 1..=6 {
        let name = format!("record{number}");
        let file = fs::File::create(sandbox.path("in").join(&name)).unwrap();
        (&file).write_all(b"0123456789").unwrap();
        file.set_modified(time).unwrap();
        inodes.insert(std::os::unix::fs::MetadataExt::ino(&file.metadata().unwrap()));
        drop(file);
        wait_for("it is run for", || lines(&sandbox, "names").len() == number);
        assert_eq!(lines(&sandbox, "names")[number - 1], name);
        wait_for("the command has removed it", || fs::read_dir(sandbox.path("in")).unwrap().count() == 0);
    }
    println!("{} inodes for 6 files", inodes.len());
    runner.stop();
}

#[test]
fn what_is_passed_over_while_a_run_is_active_is_said() {
    let job = "watch: { paths: [in], settle: close }\noverlap: skip\n\
               command: [sh, -c, 'echo \"$1\" >> \"$RUNNER_LOG_DIR/../names\"; while [ ! -e go ]; do sleep 0.05; done', sh, '{name}']\n";
    let sandbox = Sandbox::new().file("jobs/w.yaml", job);
    fs::create_dir(sandbox.path("in")).unwrap();
    let runner = sandbox.start();
    sandbox.wait_for_log("w: watches");
    sandbox.write("in/a", "1");
    wait_for("the first one is run for", || lines(&sandbox, "names") == ["a"]);
    sandbox.write("in/b", "1");
    sandbox.wait_for_log("w: Passed over 1 file: a run was active, and `overlap` is `skip`");
    sandbox.run(&["watch", "explain", "w", "in/b"]).code(0).says("a run was active, and `overlap` is `skip`");
    sandbox.write("go", "");
    sandbox.wait_for_log("✓ Added a");
    runner.stop();
    assert_eq!(lines(&sandbox, "names"), ["a"]);
}
