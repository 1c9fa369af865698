//! What a command finds when it begins: its environment, streams, signals, session and descriptors, and what is known of it.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::time::Instant;

use runner::model::Stream;
use runner::os::boot;
use runner::os::limits::raise_open_files;
use runner::os::spawn::Newborn;
use runner::record::{Line, PreparedStart};
use runner::run::{Attempt, Observer};

use crate::record_support::{LARGE, Logs};
use crate::run_support::{Bench, text};
use runner::model::TriggeredBy;

fn status(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.split_once(':')).map(|(key, value)| (key, value.trim())).collect()
}

#[test]
fn the_environment_is_exactly_the_one_given() {
    let mut bench = Bench::program(&["/usr/bin/env"]);
    bench.plan.env =
        [("B", "2 = zwei"), ("A", "é\n1"), ("EMPTY", "")].map(|(key, value)| (text(key), text(value))).to_vec();
    assert_eq!(bench.run().1.out(), "B=2 = zwei\nA=é\n1\nEMPTY=\n");
    bench.plan.env = vec![];
    assert_eq!(bench.run().1.out(), "");
}

#[test]
fn the_working_directory_is_the_one_given() {
    let bench = Bench::program(&["/bin/pwd", "-P"]);
    let real = bench.directory.path().canonicalize().unwrap();
    assert_eq!(bench.run().1.out().trim(), real.to_str().unwrap());
}

#[test]
fn no_signal_is_blocked_and_sigpipe_is_not_ignored() {
    let mask = |key: &str, text: &str| u64::from_str_radix(status(text)[key], 16).unwrap();
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let text = Bench::program(&["/bin/cat", "/proc/self/status"]).run().1.out();
    let pipe = 1u64 << (libc::SIGPIPE - 1);
    assert_eq!(mask("SigBlk", &text), 0);
    assert_ne!(mask("SigIgn", &own) & pipe, 0, "the runner itself ignores it");
    assert_eq!(mask("SigIgn", &text), mask("SigIgn", &own) & !pipe);
    assert_eq!(mask("SigCgt", &text), 0);
}

#[test]
fn the_command_leads_a_session_and_a_group_of_its_own() {
    let (_, told) = Bench::program(&["/bin/cat", "/proc/self/stat"]).run();
    let text = told.out();
    let pid = text.split(' ').next().unwrap();
    let rest: Vec<&str> = text.rsplit_once(") ").unwrap().1.split(' ').collect();
    assert_eq!((rest[2], rest[3]), (pid, pid), "group and session");
    assert_eq!(rest[1], std::process::id().to_string(), "it is a child of the runner");
    assert_eq!(told.settled.unwrap().unwrap().to_string(), pid);
}

#[test]
fn a_command_has_its_three_streams_and_nothing_else_open() {
    // One that was given to the runner without close-on-exec.
    let file = std::fs::File::open("/dev/null").unwrap();
    // SAFETY: copies a descriptor; it stays open as long as the test.
    assert!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD, 77) } >= 77);
    // The fourth is the folder that is listed.
    assert_eq!(Bench::program(&["ls", "/proc/self/fd"]).run().1.out(), "0\n1\n2\n3\n");
    let stream = |n: i32| Bench::program(&["readlink", &format!("/proc/self/fd/{n}")]).run().1.out();
    assert_eq!(stream(0), "/dev/null\n");
    assert!(stream(1).starts_with("pipe:") && stream(2).starts_with("pipe:"));
}

#[test]
fn standard_input_is_at_its_end() {
    assert_eq!(Bench::program(&["/bin/cat"]).run().1.out, b"");
}

#[test]
fn the_commands_limit_on_open_files_is_the_one_from_before_the_runner_raised_its_own() {
    let before = Bench::shell("ulimit -n").run().1.out();
    let own = raise_open_files(before.trim().parse::<u64>().unwrap_or(1_024) + 64);
    assert!(own > 0);
    assert_eq!(Bench::shell("ulimit -n").run().1.out(), before);
}

#[test]
fn figures_of_use_are_the_commands_own_and_memory_is_absent_rather_than_wrong() {
    let begun = Instant::now();
    let (ended, _) = Bench::shell("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done").run();
    let took = begun.elapsed().as_millis() as u64;
    let usage = ended.outcome.usage.unwrap();
    let used = usage.user_ms + usage.system_ms;
    assert!(used >= 20 && used <= took + 20, "{usage:?} in {took} ms");
    let (ended, _) = Bench::program(&["true"]).run();
    let small = ended.outcome.usage.unwrap();
    assert!(small.user_ms + small.system_ms < 100, "{small:?}");
    assert_eq!(small.max_rss_kb, None, "`true` takes less than this process");
    let (ended, _) = Bench::program(&["dd", "if=/dev/zero", "of=/dev/null", "bs=120M", "count=1"]).run();
    let large = ended.outcome.usage.unwrap().max_rss_kb.unwrap();
    assert!((115_000..200_000).contains(&large), "{large}");
}

struct Recorder<'a>(Option<PreparedStart<'a>>, Vec<u8>);

impl Observer for Recorder<'_> {
    fn newborn(&mut self, newborn: Newborn) {
        if let Some(start) = &mut self.0 {
            start.write_in_child(newborn.pid, newborn.start_time);
        }
    }

    fn settled(&mut self, _: Option<i32>) {
        self.0.take().unwrap().settle();
    }

    fn output(&mut self, _: Stream, bytes: &[u8]) {
        self.1.extend_from_slice(bytes);
    }

    fn warning(&mut self, _: &str) {}
}

#[test]
fn the_start_is_written_by_the_process_itself_with_its_pid_and_start_time_before_it_runs() {
    let logs = Logs::new(LARGE);
    let (log, facts) = (logs.log(), logs.facts(1, TriggeredBy::Cron));
    // The command sees the record of its own start.
    let mut bench = Bench::shell("cat \"$LOG\"; cat /proc/$$/stat");
    bench.plan.env.push((text("LOG"), text(logs.runs())));
    let mut recorder = Recorder(Some(log.prepare_start(&facts)), Vec::new());
    Attempt::carry_out(Box::new(bench.plan.clone()), &bench.control, &mut recorder);
    let text = String::from_utf8(recorder.1).unwrap();
    let (line, stat) = text.split_once('\n').unwrap();
    let lines = logs.lines();
    let [Line::Start(start)] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(Line::Start(start.clone()), serde_json::from_str(line).unwrap());
    assert_eq!(start.pid.unwrap().to_string(), stat.split(' ').next().unwrap());
    let ticks = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap();
    assert_eq!(start.pid_started.unwrap().to_string(), ticks);
    assert_eq!(start.boot, boot::boot_id());
    assert_eq!(log.unfinished()[0].pid, start.pid);
}

#[test]
fn a_process_that_could_not_be_made_gives_a_start_without_pid() {
    let logs = Logs::new(LARGE);
    let (log, facts) = (logs.log(), logs.facts(1, TriggeredBy::Cron));
    let mut bench = Bench::program(&["true"]);
    bench.plan.directory = bench.path("nowhere");
    let mut recorder = Recorder(Some(log.prepare_start(&facts)), Vec::new());
    let ended = Attempt::carry_out(Box::new(bench.plan.clone()), &bench.control, &mut recorder);
    assert!(ended.outcome.error.unwrap().contains("does not exist"));
    let lines = logs.lines();
    let [Line::Start(start)] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((start.pid, start.pid_started), (None, None));
    log.end(&facts, runner::model::Outcome::failed("x"), facts.started);
    assert_eq!((logs.restored().runs, logs.restored().unfinished.len()), (1, 0));
}
