//! A log that cannot be written costs no job: records wait, lost output is counted, and the fault tells of itself and recovers.

use std::fs;

use runner::model::{GapKind, Stream, TriggeredBy};
use runner::record::{FaultReport, Line, OutputLog, Settings, Synced};

use crate::record_support::{LARGE, Logs, gap, run_id, second, success};

/// A file stands where the job's directory has to be: nothing can be written, also by root.
fn block(logs: &Logs) {
    let directory = logs.records.layout.job(&logs.job);
    fs::create_dir_all(directory.parent().unwrap()).unwrap();
    let aside = directory.with_extension("aside");
    if directory.exists() {
        fs::rename(&directory, &aside).unwrap();
    }
    fs::write(&directory, "in the way").unwrap();
}

fn unblock(logs: &Logs) {
    let directory = logs.records.layout.job(&logs.job);
    fs::remove_file(&directory).unwrap();
    let aside = directory.with_extension("aside");
    if aside.exists() {
        fs::rename(&aside, &directory).unwrap();
    }
}

#[test]
fn records_wait_are_told_of_and_are_written_late_in_their_order() {
    let logs = Logs::new(LARGE);
    logs.run(1);
    block(&logs);
    logs.run(2);
    logs.log().gap(&gap(GapKind::Skipped, "paused", TriggeredBy::Cron, second(180), second(180), 1));
    let report = logs.records.faults.report().unwrap();
    assert_eq!((report.records, report.output_bytes, report.waiting), (0, 0, 3));
    let error = report.error.unwrap();
    assert!(error.contains("group/job/runs.log: ") && error.contains("Not a directory"), "{error}");
    logs.records.flush(false);
    assert_eq!(
        logs.records.faults.report().unwrap(),
        FaultReport { records: 0, output_bytes: 0, waiting: 3, error: None }
    );
    assert_eq!(logs.records.summary("group/job").runs, 2, "what is known does not wait");
    unblock(&logs);
    logs.records.flush(false);
    assert_eq!(logs.records.faults.report(), None);
    let kinds: Vec<&str> = logs.lines().iter().map(kind).collect();
    assert_eq!(kinds, ["start", "end", "start", "end", "skipped"]);
    assert_eq!(logs.restored().runs, 2);
}

fn kind(line: &Line) -> &'static str {
    match line {
        Line::Start(_) => "start",
        Line::Attempt(_) => "attempt",
        Line::End(_) => "end",
        Line::Skipped(_) => "skipped",
        Line::Missed(_) => "missed",
    }
}

#[test]
fn what_waits_is_written_before_the_next_record_without_being_asked() {
    let logs = Logs::new(LARGE);
    block(&logs);
    logs.run(1);
    unblock(&logs);
    logs.run(2);
    let kinds: Vec<&str> = logs.lines().iter().map(kind).collect();
    assert_eq!(kinds, ["start", "end", "start", "end"]);
    assert_eq!(logs.restored().last.unwrap().run, run_id(2));
}

#[test]
fn beyond_what_memory_holds_the_oldest_records_are_lost_and_counted_and_the_totals_stay_true() {
    let logs = Logs::new(LARGE);
    block(&logs);
    for n in 1..=200 {
        logs.run(n);
    }
    let report = logs.records.faults.report().unwrap();
    assert_eq!((report.records, report.waiting), (400 - 256, 256));
    unblock(&logs);
    logs.records.flush(false);
    assert_eq!(logs.records.faults.report(), None);
    assert_eq!(logs.lines().len(), 256);
    let restored = logs.restored();
    assert_eq!((restored.runs, restored.last.unwrap().run), (200, run_id(200)));
}

#[test]
fn a_start_waits_behind_earlier_records_so_that_the_last_line_is_the_state() {
    let logs = Logs::new(LARGE);
    logs.start(1, TriggeredBy::Cron);
    block(&logs);
    logs.end(1, TriggeredBy::Cron, success());
    let facts = logs.facts(2, TriggeredBy::Cron);
    let log = logs.log();
    let mut start = log.prepare_start(&facts);
    // The log becomes writable between: the process must not write before what waits.
    unblock(&logs);
    start.write_in_child(4_242, 77);
    start.settle();
    logs.records.flush(false);
    let lines = logs.lines();
    assert_eq!(lines.iter().map(kind).collect::<Vec<_>>(), ["start", "end", "start"]);
    let Line::Start(last) = &lines[2] else { panic!() };
    assert_eq!((last.pid, last.pid_started), (Some(4_242), Some(77)));
    assert_eq!(logs.restored().unfinished.len(), 1);
    assert_eq!(logs.records.faults.report().unwrap().waiting, 0);
}

#[test]
fn output_that_cannot_be_written_is_counted_and_told_of() {
    let logs = Logs::new(LARGE);
    block(&logs);
    let mut output = OutputLog::new(logs.log(), run_id(1), None);
    output.marker("start", second(0));
    output.write(Stream::Out, b"12345\n678", second(0));
    output.write(Stream::Err, b"x\n", second(0));
    unblock(&logs);
    output.write(Stream::Out, b"9\nkept\n", second(1));
    let printed = output.finish(second(1));
    assert_eq!((printed.bytes, printed.lost, printed.truncated), (18, 8, true));
    let report = logs.records.faults.report().unwrap();
    assert_eq!((report.output_bytes, report.waiting), (8, 0));
    assert!(report.error.unwrap().contains("output.log: "));
    assert_eq!(logs.records.faults.report(), None);
    let text = fs::read_to_string(logs.output()).unwrap();
    assert!(text.contains(" out 6789\n") && text.contains(" out kept\n"), "{text}");
}

#[test]
fn output_beyond_the_first_half_is_counted_where_there_is_no_place_to_keep_it() {
    let logs = Logs::new(LARGE);
    block(&logs);
    let mut output = OutputLog::new(logs.log(), run_id(1), Some(10));
    output.write(Stream::Out, b"0123456789abc\n", second(0));
    output.write(Stream::Out, b"def", second(0));
    let printed = output.finish(second(1));
    assert_eq!((printed.bytes, printed.lost, printed.truncated), (17, 17, true));
    assert_eq!(logs.records.faults.report().unwrap().output_bytes, 17);
}

#[test]
fn a_log_that_was_moved_between_a_start_and_its_process_is_left_as_it_is() {
    let logs = Logs::new(LARGE);
    logs.run(1);
    let facts = logs.facts(2, TriggeredBy::Cron);
    let log = logs.log();
    let mut start = log.prepare_start(&facts);
    fs::rename(logs.runs(), logs.directory.path().join("moved")).unwrap();
    start.write_in_child(4_242, 77);
    start.settle();
    // It went to the file that was moved; the next one goes to the new file, without holes.
    logs.end(2, TriggeredBy::Cron, success());
    assert_eq!(logs.lines().iter().map(kind).collect::<Vec<_>>(), ["end"]);
    let moved = fs::read_to_string(logs.directory.path().join("moved")).unwrap();
    assert_eq!(moved.lines().count(), 3);
}

/// A file system of a few pages, seen by this process alone.
fn with_a_tiny_file_system(test: impl FnOnce(&std::path::Path) + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let directory = tempfile::tempdir().unwrap();
            let path = std::ffi::CString::new(directory.path().to_str().unwrap()).unwrap();
            // SAFETY: plain system calls; the mount is in a namespace of this thread alone.
            let is_mounted = unsafe {
                libc::unshare(libc::CLONE_NEWNS) == 0
                    && libc::mount(
                        c"none".as_ptr(),
                        c"/".as_ptr(),
                        std::ptr::null(),
                        libc::MS_REC | libc::MS_PRIVATE,
                        std::ptr::null(),
                    ) == 0
                    && libc::mount(c"tmpfs".as_ptr(), path.as_ptr(), c"tmpfs".as_ptr(), 0, c"size=16k".as_ptr().cast())
                        == 0
            };
            if is_mounted {
                test(directory.path());
                // SAFETY: as above.
                unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
            } else {
                eprintln!("not shown here: only root can mount a full file system");
            }
        });
        thread.join().unwrap();
    });
}

#[test]
fn a_full_disk_leaves_no_half_lines_and_loses_no_record_once_there_is_room() {
    with_a_tiny_file_system(|root| {
        let mut logs = Logs::new(Settings { max_size: 1_000_000, max_files: 3, synced: Synced::Nothing });
        logs.records = runner::record::Records::new(runner::record::Layout::new(root), LARGE);
        logs.run(1);
        fs::write(root.join("filler"), vec![b'x'; 64 * 1024]).unwrap_err();
        let mut n = 1;
        while logs.records.faults.report().is_none() {
            n += 1;
            assert!(n < 1_000, "the disk fills");
            let facts = logs.facts(n, TriggeredBy::Cron);
            let log = logs.log();
            let mut start = log.prepare_start(&facts);
            start.write_in_child(4_242, n);
            start.settle();
            logs.end(n, TriggeredBy::Cron, success());
        }
        logs.run(n + 1);
        logs.lines();
        let mut output = OutputLog::new(logs.log(), run_id(1), None);
        output.write(Stream::Out, &b"0123456\n".repeat(1_000), second(0));
        assert_eq!(output.finish(second(0)).lost, 8_000);
        // What has to be kept aside for the end of a limited output finds no room either.
        let mut output = OutputLog::new(logs.log(), run_id(1), Some(100_000));
        for _ in 0..15 {
            output.write(Stream::Out, &b"0123456\n".repeat(1_000), second(0));
        }
        assert_eq!(output.finish(second(0)).lost, 120_000);
        fs::remove_file(root.join("filler")).unwrap();
        logs.records.flush(false);
        assert_eq!(logs.records.faults.report().unwrap().output_bytes, 128_000);
        assert_eq!(logs.records.faults.report(), None);
        assert_eq!(logs.ends().len() as u64, n + 1);
        assert_eq!(logs.lines().len() as u64, 2 * (n + 1));
    });
}

#[test]
fn a_rotation_that_is_followed_by_a_write_that_fails_keeps_the_starts_of_unfinished_runs() {
    with_a_tiny_file_system(|root| {
        let mut logs = Logs::new(LARGE);
        let small = Settings { max_size: 3_000, max_files: 9, synced: Synced::Nothing };
        logs.records = runner::record::Records::new(runner::record::Layout::new(root), small);
        logs.start(1, TriggeredBy::Manual);
        fs::write(root.join("filler"), vec![b'x'; 64 * 1024]).unwrap_err();
        let mut n = 1;
        // There is room in the page of the file, until it is rotated.
        while logs.records.faults.report().is_none() {
            n += 1;
            logs.run(n);
        }
        assert!(n > 1 && logs.runs().with_extension("log.1").exists());
        fs::remove_file(root.join("filler")).unwrap();
        logs.records.flush(false);
        let lines = logs.lines();
        let Line::Start(first) = &lines[0] else { panic!("{lines:?}") };
        assert_eq!((first.run, first.copy), (run_id(1), true));
        // Others may take the files before away: the newest one alone tells of it.
        for n in 1..9 {
            let _ = fs::remove_file(logs.runs().with_extension(format!("log.{n}")));
        }
        let restored = logs.restored();
        assert_eq!(restored.unfinished.iter().map(|start| start.run).collect::<Vec<_>>(), [run_id(1)]);
        assert_eq!(restored.runs, n - 1);
    });
}

#[test]
fn a_log_that_is_begun_anew_because_others_took_it_away_begins_with_the_starts_of_unfinished_runs() {
    for by_a_start in [true, false] {
        let mut logs = Logs::new(LARGE);
        logs.start(1, TriggeredBy::Manual);
        fs::remove_dir_all(logs.records.layout.job(&logs.job)).unwrap();
        match by_a_start {
            true => logs.start(2, TriggeredBy::Manual),
            false => drop(logs.log().gap(&gap(GapKind::Skipped, "busy", TriggeredBy::Cron, second(60), second(60), 1))),
        }
        let lines = logs.lines();
        assert!(matches!(&lines[0], Line::Start(start) if start.run == run_id(1) && start.copy), "{lines:?}");
        assert_eq!(lines.len(), 2, "no start stands twice: {lines:?}");
        assert_eq!(logs.records.faults.take_taken_away(), [logs.runs()]);
        assert_eq!(logs.restart().unfinished().len(), 1 + usize::from(by_a_start));
    }
}

#[test]
fn lines_that_have_to_be_on_the_disk_are_synced_and_a_disk_that_refuses_is_told_of() {
    for (synced, runs, gaps) in
        [(Synced::Nothing, false, false), (Synced::Runs, true, false), (Synced::Everything, true, true)]
    {
        let logs = Logs::new(Settings { synced, ..LARGE });
        let directory = logs.records.layout.job(&logs.job);
        fs::create_dir_all(&directory).unwrap();
        // It can be written to, and not be synced.
        std::os::unix::fs::symlink("/dev/null", logs.runs()).unwrap();
        std::os::unix::fs::symlink("/dev/null", logs.output()).unwrap();
        let is_refused = |logs: &Logs| {
            let error = logs.records.faults.report().and_then(|report| report.error);
            assert!(error.iter().all(|error| error.contains(" cannot be synced to the disk: ")), "{error:?}");
            error.is_some()
        };
        // In the process itself.
        let facts = logs.facts(1, TriggeredBy::Manual);
        let log = logs.log();
        let mut start = log.prepare_start(&facts);
        start.write_in_child(4_242, 77);
        start.settle();
        assert_eq!(is_refused(&logs), runs, "{synced:?}: start");
        logs.end(1, TriggeredBy::Manual, success());
        assert!(!is_refused(&logs), "it is synced when it is asked for, with others");
        log.commit();
        assert_eq!(is_refused(&logs), runs, "{synced:?}: end");
        log.gap(&gap(GapKind::Skipped, "busy", TriggeredBy::Cron, second(60), second(60), 1));
        log.commit();
        assert_eq!(is_refused(&logs), gaps, "{synced:?}: skipped");
        let mut output = OutputLog::new(log.clone(), run_id(1), None);
        output.write(Stream::Out, b"printed\n", second(0));
        assert_eq!(output.finish(second(0)).lost, 0);
        assert_eq!(is_refused(&logs), gaps, "{synced:?}: output");
        logs.records.set_settings(LARGE);
        logs.end(1, TriggeredBy::Manual, success());
        log.commit();
        assert!(!is_refused(&logs), "a setting holds from when it is made");
    }
}
