//! Whatever a command prints is taken to the end, in bounded memory.

use std::time::{Duration, Instant};

use runner::model::{Clock, Status, Stream};
use runner::os::clock::SystemClock;
use runner::os::memory::own_peak_kb;
use runner::os::spawn::Newborn;
use runner::record::OutputLog;
use runner::run::{Attempt, Observer};

use crate::record_support::{LARGE, Logs, run_id};
use crate::run_support::{Bench, is_within};

#[test]
fn a_command_that_prints_nothing_is_a_success_without_output() {
    let (ended, told) = Bench::program(&["true"]).run();
    assert_eq!(ended.outcome.status, Status::Success);
    assert!(told.out.is_empty() && told.err.is_empty());
}

#[test]
fn binary_output_comes_through_as_it_is() {
    let all: String = (0..=255u8).map(|b| format!("\\{b:03o}")).collect();
    let (_, told) = Bench::shell(&format!("printf '{all}'; printf '{all}' >&2")).run();
    let expected: Vec<u8> = (0..=255).collect();
    assert_eq!((&told.out, &told.err), (&expected, &expected));
}

#[test]
fn a_stream_that_the_command_closes_early_does_not_end_the_run() {
    let (ended, told) = Bench::shell("exec 1>&-; echo err >&2; exec 2>&-; sleep 0.1; exit 4").run();
    assert_eq!((ended.outcome.exit_code, told.err), (Some(4), b"err\n".to_vec()));
}

#[test]
fn all_that_was_printed_before_the_end_is_taken_also_by_a_taker_that_is_slow() {
    let bench = Bench::shell("head -c 3000000 /dev/zero; head -c 1000000 /dev/zero >&2");
    let (_, told) = bench.run_and(|_, _| std::thread::yield_now());
    assert_eq!((told.out.len(), told.err.len()), (3_000_000, 1_000_000));
}

struct Keep(OutputLog);

impl Observer for Keep {
    fn newborn(&mut self, _: Newborn) {}

    fn settled(&mut self, _: Option<i32>) {}

    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        self.0.write(stream, bytes, SystemClock.now());
    }

    fn warning(&mut self, _: &str) {}
}

/// Runs a text into an output.log; how much memory this process took for it is bounded.
fn kept(text: &str, limit: Option<u64>) -> (Logs, runner::model::Output) {
    let logs = Logs::new(LARGE);
    let bench = Bench::shell(text);
    let before = own_peak_kb();
    let mut keep = Keep(OutputLog::new(logs.log(), run_id(1), limit));
    let begun = Instant::now();
    let ended = Attempt::carry_out(Box::new(bench.plan.clone()), &bench.control, &mut keep);
    let output = keep.0.finish(SystemClock.now());
    assert_eq!(ended.outcome.status, Status::Success);
    assert!(own_peak_kb() < before + 16_000, "{before} to {} KiB", own_peak_kb());
    is_within(begun, Duration::from_secs(30));
    (logs, output)
}

#[test]
fn a_gigabyte_of_output_is_counted_and_kept_up_to_the_limit_in_bounded_memory() {
    let (logs, output) = kept("head -c 1000000000 /dev/zero", Some(10_000_000));
    assert_eq!((output.bytes, output.lines, output.truncated), (1_000_000_000, 1, true));
    assert_eq!(output.lost, 990_000_000);
    assert!(logs.everything(logs.output()).len() < 11_000_000);
}

#[test]
fn a_line_of_fifty_megabytes_is_cut_into_pieces_in_bounded_memory() {
    let (logs, output) = kept("head -c 50000000 /dev/zero | tr '\\0' x; echo", None);
    assert_eq!((output.bytes, output.lines, output.lost), (50_000_001, 1, 0));
    let all = logs.everything(logs.output());
    assert_eq!(all.iter().filter(|b| **b == b'x').count(), 50_000_000);
    assert!(all.split(|b| *b == b'\n').all(|line| line.len() < 64 * 1024));
}
