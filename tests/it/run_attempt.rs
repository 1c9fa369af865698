//! How attempts end: by themselves, at their timeout, told to, and with what they leave behind.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use runner::model::Status;
use runner::os::limits::raise_open_files;
use runner::run::{Pool, Stop};

use crate::run_support::{Bench, is_running, is_within};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn the_exit_code_decides_between_success_and_failure() {
    let (ended, told) = Bench::shell("echo out; echo err >&2").run();
    assert_eq!((ended.outcome.status, ended.outcome.exit_code, ended.outcome.error), (Status::Success, Some(0), None));
    assert_eq!((&told.out[..], &told.err[..]), (&b"out\n"[..], &b"err\n"[..]));
    assert!(told.settled.unwrap().is_some() && !ended.left_behind);
    for (text, code, error) in [
        ("exit 3", 3, "exit code 3"),
        ("exit 127", 127, "exit code 127: the shell did not find a command"),
        ("exit 126", 126, "exit code 126: the shell found a command that is not executable"),
        ("exit 143", 143, "exit code 143: a command of the shell was ended by SIGTERM"),
        ("exit 255", 255, "exit code 255"),
    ] {
        let (ended, _) = Bench::shell(text).run();
        assert_eq!((ended.outcome.status, ended.outcome.exit_code), (Status::Failed, Some(code)));
        assert_eq!(ended.outcome.error.as_deref(), Some(error));
    }
    let (ended, _) = Bench::program(&["sh", "-c", "exit 127"]).run();
    assert_eq!(ended.outcome.error.as_deref(), Some("exit code 127"));
}

#[test]
fn the_signal_that_ends_a_command_is_recorded() {
    for (name, number) in [("KILL", libc::SIGKILL), ("SEGV", libc::SIGSEGV), ("USR1", libc::SIGUSR1)] {
        let (ended, _) = Bench::shell(&format!("kill -{name} $$")).run();
        assert_eq!((ended.outcome.status, ended.outcome.exit_code), (Status::Failed, None));
        assert_eq!(ended.outcome.signal, Some(number));
        assert_eq!(ended.outcome.error, Some(format!("ended by SIG{name}")));
    }
    let (ended, _) = Bench::shell("kill -40 $$").run();
    assert_eq!(ended.outcome.error.as_deref(), Some("ended by SIGRTMIN+6"));
}

#[test]
fn the_timeout_sends_sigterm() {
    let begun = Instant::now();
    let (ended, _) = Bench::program(&["sleep", "300"]).timeout(100).run();
    assert_eq!((ended.outcome.status, ended.outcome.signal), (Status::Timeout, Some(libc::SIGTERM)));
    assert_eq!(ended.outcome.error.as_deref(), Some("timed out after 100ms"));
    assert!(begun.elapsed() >= Duration::from_millis(100));
    is_within(begun, SOON);
}

#[test]
fn what_ignores_sigterm_is_killed_after_the_grace() {
    let bench = Bench::shell("trap '' TERM; echo ready; while :; do sleep 0.05; done").timeout(1_000).grace(200);
    let begun = Instant::now();
    let (ended, told) = bench.run();
    assert_eq!(told.out(), "ready\n");
    assert_eq!((ended.outcome.status, ended.outcome.signal), (Status::Timeout, Some(libc::SIGKILL)));
    assert!(begun.elapsed() >= Duration::from_millis(1_200));
    is_within(begun, SOON);
}

#[test]
fn a_command_that_ends_in_its_grace_keeps_its_exit_code_and_is_a_timeout_all_the_same() {
    let bench = Bench::shell("trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done").timeout(1_000);
    let (ended, told) = bench.run();
    assert_eq!(told.out(), "ready\nbye\n");
    assert_eq!((ended.outcome.status, ended.outcome.exit_code), (Status::Timeout, Some(7)));
}

#[test]
fn without_a_grace_the_kill_comes_at_once() {
    let bench = Bench::shell("trap '' TERM; echo ready; while :; do sleep 0.05; done").grace(0);
    let (ended, _) = bench.run_and(|_, _| bench.stop("enough", false));
    assert_eq!((ended.outcome.status, ended.outcome.signal), (Status::Cancelled, Some(libc::SIGKILL)));
}

#[test]
fn a_stopped_process_is_continued_so_that_it_sees_its_sigterm() {
    let begun = Instant::now();
    let (ended, _) = Bench::shell("kill -STOP $$").timeout(300).run();
    assert_eq!((ended.outcome.status, ended.outcome.signal), (Status::Timeout, Some(libc::SIGTERM)));
    is_within(begun, SOON);
}

#[test]
fn a_run_is_stopped_with_the_reason_that_was_given_first() {
    let bench = Bench::shell("trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done");
    let (ended, _) = bench.run_and(|_, _| {
        bench.stop("cancelled by `runner cancel`", false);
        bench.stop("another reason", false);
    });
    assert_eq!((ended.outcome.status, ended.outcome.exit_code), (Status::Cancelled, Some(0)));
    assert_eq!(ended.outcome.error.as_deref(), Some("cancelled by `runner cancel`"));
}

#[test]
fn a_second_more_urgent_stop_does_not_wait_for_the_grace() {
    let bench = Bench::shell("trap 'echo got it' TERM; echo ready; while :; do sleep 0.05; done");
    let begun = Instant::now();
    let (ended, _) = bench.run_and(|text, _| match text {
        "ready\n" => bench.stop("first", false),
        _ => bench.stop("second", true),
    });
    assert_eq!((ended.outcome.status, ended.outcome.signal), (Status::Cancelled, Some(libc::SIGKILL)));
    assert_eq!(ended.outcome.error.as_deref(), Some("first"));
    is_within(begun, SOON);
}

#[test]
fn a_stop_at_once_kills() {
    let bench = Bench::shell("trap '' TERM; echo ready; while :; do sleep 0.05; done");
    let begun = Instant::now();
    let (ended, _) = bench.run_and(|_, _| bench.stop("now", true));
    assert_eq!((ended.outcome.status, ended.outcome.signal), (Status::Cancelled, Some(libc::SIGKILL)));
    is_within(begun, SOON);
}

#[test]
fn a_run_that_is_stopped_before_it_begins_never_has_a_process() {
    let bench = Bench::shell("touch ran");
    bench.stop("too late", false);
    let (ended, told) = bench.run();
    assert_eq!((ended.outcome.status, ended.outcome.error.as_deref()), (Status::Cancelled, Some("too late")));
    assert!(told.newborn.is_none() && told.settled == Some(None));
    assert!(!bench.path("ran").exists());
}

#[test]
fn a_stop_after_the_end_changes_nothing() {
    let bench = Bench::shell("exit 0");
    let (ended, _) = bench.run();
    bench.stop("too late", true);
    assert_eq!(ended.outcome.status, Status::Success);
    assert_eq!(bench.control.asked(), Some(Stop { reason: "too late".into(), at_once: true }));
}

#[test]
fn a_command_that_has_ended_is_no_timeout_though_its_output_was_slow_to_take() {
    let bench = Bench::shell("echo done").timeout(200);
    let (ended, _) = bench.run_and(|_, told| {
        // The taker is held up until the command has ended and its time is over.
        let pid = told.settled.unwrap().unwrap();
        let begun = Instant::now();
        while is_running(pid) || begun.elapsed() < Duration::from_millis(300) {
            assert!(begun.elapsed() < SOON);
            std::thread::yield_now();
        }
    });
    assert_eq!((ended.outcome.status, ended.outcome.error), (Status::Success, None));
}

/// Runs a text that prints the number of a process which it leaves behind, and shows that it is gone.
#[track_caller]
fn leaves_nothing(bench: Bench) -> Duration {
    let begun = Instant::now();
    let (ended, told) = bench.run();
    assert_eq!((ended.outcome.status, ended.left_behind), (Status::Success, true), "{ended:?}");
    let pid: i32 = told.out().trim().parse().unwrap();
    assert!(!is_running(pid));
    begun.elapsed()
}

#[test]
fn the_run_ends_with_its_command_though_a_grandchild_holds_its_output_open_and_the_grandchild_is_ended() {
    assert!(leaves_nothing(Bench::shell("sleep 300 & echo $!")) < SOON);
}

#[test]
fn a_grandchild_in_the_background_is_ended_though_its_output_goes_elsewhere() {
    assert!(leaves_nothing(Bench::shell("sleep 300 >/dev/null 2>&1 & echo $!")) < SOON);
}

const DEAF: &str = "(trap '' TERM; touch ready; exec sleep 300) & echo $!; while [ ! -e ready ]; do sleep 0.01; done";

#[test]
fn a_grandchild_that_ignores_sigterm_is_killed_after_the_grace() {
    let took = leaves_nothing(Bench::shell(DEAF).grace(300));
    assert!(took >= Duration::from_millis(300) && took < SOON, "{took:?}");
}

#[test]
fn a_stop_at_once_also_ends_what_was_left_behind_at_once() {
    let bench = Bench::shell(DEAF).grace(60_000);
    let begun = Instant::now();
    let (ended, told) = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !bench.path("ready").exists() {
                std::thread::yield_now();
            }
            // The command ends by itself now or has ended.
            bench.stop("now", true);
        });
        bench.run()
    });
    assert!(ended.left_behind || ended.outcome.signal == Some(libc::SIGKILL), "{ended:?}");
    assert!(!is_running(told.out().trim().parse().unwrap()));
    is_within(begun, SOON);
}

#[test]
fn what_a_grandchild_prints_in_its_grace_is_taken() {
    let text = "(trap 'echo bye; exit' TERM; touch ready; while :; do sleep 0.01; done) & while [ ! -e ready ]; do sleep 0.01; done";
    let (_, told) = Bench::shell(text).run();
    assert_eq!(told.out(), "bye\n");
}

#[test]
fn children_that_have_ended_are_not_left_behind() {
    for text in ["sleep 0.01 & wait", "true | true", "echo a | cat >/dev/null", "(true &) ; sleep 0.05"] {
        let (ended, _) = Bench::shell(text).run();
        assert_eq!((ended.left_behind, ended.outcome.status), (false, Status::Success), "{text}");
    }
}

#[test]
fn two_hundred_attempts_at_once_all_come_to_their_end() {
    raise_open_files(8_192);
    let pool = Pool::default();
    let (sender, receiver) = channel();
    let begun = Instant::now();
    for n in 0..200 {
        let sender = sender.clone();
        pool.run(move || {
            let (ended, told) = Bench::shell(&format!("echo {n}; sleep 0.2; exit {}", n % 100)).run();
            sender.send((n, ended.outcome.exit_code, told.out())).unwrap();
        })
        .unwrap();
    }
    drop(sender);
    let mut all: Vec<_> = receiver.iter().collect();
    all.sort();
    let expected: Vec<_> = (0..200).map(|n| (n, Some(n % 100), format!("{n}\n"))).collect();
    assert_eq!(all, expected);
    is_within(begun, Duration::from_secs(20));
}

#[test]
fn a_pool_goes_on_after_a_panic_and_uses_its_threads_again() {
    let pool = Pool::default();
    let (sender, receiver) = channel();
    pool.run(|| std::panic::resume_unwind(Box::new("on purpose"))).unwrap();
    let mut threads = std::collections::HashSet::new();
    for n in 0..50 {
        let sender = sender.clone();
        pool.run(move || sender.send((n, std::thread::current().id())).unwrap()).unwrap();
        let (done, thread) = receiver.recv_timeout(SOON).unwrap();
        assert_eq!(done, n);
        threads.insert(thread);
    }
    assert!(threads.len() < 50, "{}", threads.len());
}
