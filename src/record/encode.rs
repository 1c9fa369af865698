//! Lines of `runs.log` as bytes, written straight: a start and an end are written for each run, and their cost is the pieces
//! that they are made of. What comes out is what the same values give through serde, by which lines are read back.

use jiff::Timestamp;
use serde::Serialize;

use super::line::{End, LineOf, Start, State, WaitingRun};
use crate::model::{Output, Parent, RunId, Usage, decimal, digits, rfc3339};

/// Room that most lines are content with.
const MOSTLY: usize = 2 * 1024;

/// A line with its line break.
pub(super) fn encode(line: LineOf<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(MOSTLY);
    match line {
        LineOf::Start(start) => write_start(&mut out, start),
        LineOf::Attempt(end) => {
            put(&mut out, "{\"event\":\"attempt\",");
            write_end(&mut out, end);
        }
        LineOf::End(end) => {
            put(&mut out, "{\"event\":\"end\",");
            write_end(&mut out, end);
        }
        LineOf::Skipped(_) | LineOf::Missed(_) => value(&mut out, &line),
    }
    out.push(b'\n');
    out
}

/// A value as JSON has it.
trait Json {
    fn put(&self, out: &mut Vec<u8>);
}

/// Adds fields to an object that has one.
macro_rules! fields {
    ($out:ident: $($key:literal = $value:expr),+ $(,)?) => {
        $(
            put($out, concat!(",\"", $key, "\":"));
            $value.put($out);
        )+
    };
}

/// The same, of those that are not there nothing.
macro_rules! fields_that_are_there {
    ($out:ident: $($key:literal = $value:expr),+ $(,)?) => {
        $(
            if let Some(value) = $value {
                put($out, concat!(",\"", $key, "\":"));
                value.put($out);
            }
        )+
    };
}

fn write_start(out: &mut Vec<u8>, start: &Start) {
    put(out, "{\"event\":\"start\"");
    fields!(out: "run" = start.run, "job" = start.job.as_str(), "n" = start.n, "failures" = start.failures,
        "triggered_by" = start.triggered_by.as_str(), "due" = start.due, "started" = start.started,
        "attempt" = start.attempt);
    fields_that_are_there!(out: "parents" = some(&start.parents));
    fields!(out: "state" = start.state);
    if let Some(last) = &start.last {
        put(out, ",\"last\":{");
        write_end(out, last);
    }
    fields!(out: "spec" = start.spec.as_deref(), "commit" = start.commit.as_deref());
    fields_that_are_there!(out: "copy" = start.copy.then_some(true));
    fields!(out: "boot" = start.boot.as_str());
    fields_that_are_there!(out: "group" = start.group.as_deref());
    fields!(out: "pid" = start.pid, "pid_started" = start.pid_started);
    put(out, "}");
}

/// What comes after the beginning of its object.
fn write_end(out: &mut Vec<u8>, end: &End) {
    put(out, "\"run\":");
    end.run.put(out);
    fields!(out: "job" = end.job.as_str(), "n" = end.n, "failures" = end.failures,
        "triggered_by" = end.triggered_by.as_str(), "due" = end.due, "started" = end.started, "ended" = end.ended,
        "duration_ms" = end.duration_ms, "late_ms" = end.late_ms, "attempt" = end.attempt,
        "status" = end.status.as_str(), "exit_code" = end.exit_code, "signal" = end.signal, "error" = end.error.as_deref(),
        "output" = end.output, "usage" = end.usage);
    fields_that_are_there!(out: "parents" = some(&end.parents));
    fields!(out: "spec" = end.spec.as_deref(), "commit" = end.commit.as_deref(), "state" = end.state);
    put(out, "}");
}

impl Json for State {
    fn put(&self, out: &mut Vec<u8>) {
        put(out, "{\"last_due\":");
        self.last_due.put(out);
        fields_that_are_there!(out: "interval_due" = self.interval_due, "after_due" = self.after_due,
            "failed_in_row" = Some(self.failed_in_row).filter(|failed| *failed != 0), "failed_at" = self.failed_at,
            "running" = some(&self.running), "waiting" = some(&self.waiting));
        put(out, "}");
    }
}

impl Json for WaitingRun {
    fn put(&self, out: &mut Vec<u8>) {
        put(out, "{\"run\":");
        self.run.put(out);
        fields!(out: "triggered_by" = self.triggered_by.as_str(), "due" = self.due);
        put(out, "}");
    }
}

impl Json for Output {
    fn put(&self, out: &mut Vec<u8>) {
        put(out, "{\"bytes\":");
        self.bytes.put(out);
        fields!(out: "lines" = self.lines, "truncated" = self.truncated);
        fields_that_are_there!(out: "lost" = Some(self.lost).filter(|lost| *lost != 0));
        put(out, "}");
    }
}

impl Json for Usage {
    fn put(&self, out: &mut Vec<u8>) {
        put(out, "{\"user_ms\":");
        self.user_ms.put(out);
        fields!(out: "system_ms" = self.system_ms, "max_rss_kb" = self.max_rss_kb);
        fields_that_are_there!(out: "peak_memory_kb" = self.peak_memory_kb, "read_bytes" = self.read_bytes,
            "written_bytes" = self.written_bytes);
        put(out, "}");
    }
}

impl Json for Parent {
    fn put(&self, out: &mut Vec<u8>) {
        value(out, self);
    }
}

impl<T: Json> Json for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Some(value) => value.put(out),
            None => put(out, "null"),
        }
    }
}

impl<T: Json> Json for &[T] {
    fn put(&self, out: &mut Vec<u8>) {
        for (at, item) in self.iter().enumerate() {
            out.push(if at == 0 { b'[' } else { b',' });
            item.put(out);
        }
        put(out, if self.is_empty() { "[]" } else { "]" });
    }
}

impl Json for RunId {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(b'"');
        out.extend_from_slice(&self.digits());
        out.push(b'"');
    }
}

impl Json for Timestamp {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(b'"');
        match digits(*self) {
            Some(digits) => out.extend_from_slice(&digits),
            None => put(out, &rfc3339(*self)),
        }
        out.push(b'"');
    }
}

impl Json for &str {
    fn put(&self, out: &mut Vec<u8>) {
        // As JSON has it; all else stands for itself.
        if self.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
            return value(out, self);
        }
        out.push(b'"');
        put(out, self);
        out.push(b'"');
    }
}

impl Json for bool {
    fn put(&self, out: &mut Vec<u8>) {
        put(out, if *self { "true" } else { "false" });
    }
}

impl Json for u64 {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(decimal(*self, &mut [0; 20]));
    }
}

impl Json for u32 {
    fn put(&self, out: &mut Vec<u8>) {
        u64::from(*self).put(out);
    }
}

impl Json for i64 {
    fn put(&self, out: &mut Vec<u8>) {
        if *self < 0 {
            out.push(b'-');
        }
        self.unsigned_abs().put(out);
    }
}

impl Json for i32 {
    fn put(&self, out: &mut Vec<u8>) {
        i64::from(*self).put(out);
    }
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// A list that is not empty.
fn some<T>(list: &[T]) -> Option<&[T]> {
    (!list.is_empty()).then_some(list)
}

/// What comes seldom.
fn value<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let before = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(before);
        put(out, "null");
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option::of;
    use proptest::prelude::*;

    use super::*;
    use crate::model::{JobName, Status, TriggeredBy};

    fn a_time() -> impl Strategy<Value = Timestamp> {
        (-2_000_000_000_000i64..250_000_000_000_000).prop_map(|ms| Timestamp::from_millisecond(ms).unwrap())
    }

    fn a_run() -> impl Strategy<Value = RunId> {
        any::<u128>().prop_map(RunId::from_u128)
    }

    fn a_job() -> impl Strategy<Value = JobName> {
        "[a-z][a-z0-9-]{0,20}(/[a-z]{1,5})?".prop_filter_map("no name", |name| JobName::new(&name).ok())
    }

    fn a_trigger() -> impl Strategy<Value = TriggeredBy> {
        use TriggeredBy as By;
        let all = [By::Cron, By::Interval, By::At, By::Start, By::Watch, By::After, By::Webhook, By::Manual];
        proptest::sample::select(all.into_iter().chain([By::CatchUp, By::Replay, By::Rerun]).collect::<Vec<_>>())
    }

    fn a_status() -> impl Strategy<Value = Status> {
        use Status as S;
        proptest::sample::select(vec![S::Success, S::Failed, S::Timeout, S::Cancelled, S::Interrupted])
    }

    fn parents() -> impl Strategy<Value = Vec<Parent>> {
        vec((a_job(), a_run(), a_status()).prop_map(|(job, run, status)| Parent { job, run, status }), 0..3)
    }

    fn a_state() -> impl Strategy<Value = State> {
        let waiting = (a_run(), a_trigger(), a_time());
        let waiting = waiting.prop_map(|(run, triggered_by, due)| WaitingRun { run, triggered_by, due });
        let times = (of(a_time()), of(a_time()), of(a_time()), of(a_time()));
        (times, 0..3u32, vec(a_run(), 0..3), vec(waiting, 0..3)).prop_map(|(times, failed_in_row, running, waiting)| {
            let (last_due, interval_due, after_due, failed_at) = times;
            State { last_due, interval_due, after_due, failed_in_row, failed_at, running, waiting }
        })
    }

    fn an_end() -> impl Strategy<Value = End> {
        let who = (a_run(), a_job(), any::<u64>(), any::<u64>(), a_trigger(), any::<u32>());
        let times = (a_time(), a_time(), a_time(), any::<i64>(), any::<i64>());
        let how = (a_status(), of(any::<i32>()), of(any::<i32>()), of(any::<String>()));
        let output = (any::<u64>(), any::<u64>(), any::<bool>(), 0..3u64);
        let usage = of((any::<u64>(), any::<u64>(), of(0..9u64), of(0..9u64), of(0..9u64), of(any::<u64>())));
        let rest = (output, usage, parents(), of(any::<String>()), of("[0-9a-f]{40}"), a_state());
        (who, times, how, rest).prop_map(|(who, times, how, rest)| {
            let (run, job, n, failures, triggered_by, attempt) = who;
            let (due, started, ended, duration_ms, late_ms) = times;
            let (status, exit_code, signal, error) = how;
            let ((bytes, lines, truncated, lost), usage, parents, spec, commit, state) = rest;
            let usage = usage.map(|(user_ms, system_ms, max_rss_kb, peak_memory_kb, read_bytes, written_bytes)| {
                Usage { user_ms, system_ms, max_rss_kb, peak_memory_kb, read_bytes, written_bytes }
            });
            End {
                run,
                job,
                n,
                failures,
                triggered_by,
                due,
                started,
                ended,
                duration_ms,
                late_ms,
                attempt,
                status,
                exit_code,
                signal,
                error,
                output: Output { bytes, lines, truncated, lost },
                usage,
                parents,
                spec,
                commit,
                state,
            }
        })
    }

    fn a_start() -> impl Strategy<Value = Start> {
        let process = (any::<bool>(), "[0-9a-f-]{0,36}", of("[a-z0-9/-]{1,30}"), of(any::<i32>()), of(any::<u64>()));
        (an_end(), of(an_end()), process).prop_map(|(end, last, (copy, boot, group, pid, pid_started))| {
            let End {
                run, job, n, failures, triggered_by, due, started, attempt, parents, spec, commit, state, ..
            } = end;
            Start {
                run,
                job,
                n,
                failures,
                triggered_by,
                due,
                started,
                attempt,
                parents,
                state,
                last: last.map(Box::new),
                spec,
                commit,
                copy,
                boot,
                group,
                pid,
                pid_started,
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_straight_is_what_serde_writes(start in a_start(), end in an_end()) {
            for line in [LineOf::Start(&start), LineOf::End(&end), LineOf::Attempt(&end)] {
                let written = String::from_utf8(encode(line)).unwrap();
                prop_assert_eq!(written, serde_json::to_string(&line).unwrap() + "\n");
            }
        }
    }
}
