//! Lines of `runs.log` as bytes, written straight: a start and an end are written for each run, and their cost is the pieces
//! that they are made of. What comes out is what the same values give through serde, by which lines are read back.

use jiff::Timestamp;
use serde::Serialize;

use super::line::{End, LineOf, Start, State, WaitingRun};
use crate::model::{Output, RunId, Usage, digits, rfc3339};

/// Room that most lines are content with.
const MOSTLY: usize = 2 * 1024;

/// A line with its line break.
pub(super) fn encode(line: LineOf<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(MOSTLY);
    match line {
        LineOf::Start(start) => write_start(&mut out, start),
        LineOf::Attempt(end) => write_end(&mut out, "{\"event\":\"attempt\",", end),
        LineOf::End(end) => write_end(&mut out, "{\"event\":\"end\",", end),
        LineOf::Skipped(_) | LineOf::Missed(_) => value(&mut out, &line),
    }
    out.push(b'\n');
    out
}

fn write_start(out: &mut Vec<u8>, start: &Start) {
    let Start {
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
        last,
        spec,
        commit,
        copy,
        boot,
        group,
        pid,
        pid_started,
    } = start;
    put(out, "{\"event\":\"start\",\"run\":");
    id(out, *run);
    put(out, ",\"job\":");
    text(out, job.as_str());
    totals(out, *n, *failures);
    put(out, ",\"triggered_by\":");
    text(out, triggered_by.as_str());
    put(out, ",\"due\":");
    time(out, *due);
    put(out, ",\"started\":");
    time(out, *started);
    put(out, ",\"attempt\":");
    number(out, (*attempt).into());
    if !parents.is_empty() {
        put(out, ",\"parents\":");
        value(out, parents);
    }
    put(out, ",\"state\":");
    write_state(out, state);
    if let Some(last) = last {
        put(out, ",\"last\":");
        write_end(out, "{", last);
    }
    put(out, ",\"spec\":");
    optional(out, spec.as_deref(), text);
    put(out, ",\"commit\":");
    optional(out, commit.as_deref(), text);
    if *copy {
        put(out, ",\"copy\":true");
    }
    put(out, ",\"boot\":");
    text(out, boot);
    if let Some(group) = group {
        put(out, ",\"group\":");
        text(out, group);
    }
    put(out, ",\"pid\":");
    optional(out, pid.map(i64::from), signed);
    put(out, ",\"pid_started\":");
    optional(out, *pid_started, number);
    put(out, "}");
}

fn write_end(out: &mut Vec<u8>, begin: &str, end: &End) {
    let End {
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
        output,
        usage,
        parents,
        spec,
        commit,
        state,
    } = end;
    put(out, begin);
    put(out, "\"run\":");
    id(out, *run);
    put(out, ",\"job\":");
    text(out, job.as_str());
    totals(out, *n, *failures);
    put(out, ",\"triggered_by\":");
    text(out, triggered_by.as_str());
    put(out, ",\"due\":");
    time(out, *due);
    put(out, ",\"started\":");
    time(out, *started);
    put(out, ",\"ended\":");
    time(out, *ended);
    put(out, ",\"duration_ms\":");
    signed(out, *duration_ms);
    put(out, ",\"late_ms\":");
    signed(out, *late_ms);
    put(out, ",\"attempt\":");
    number(out, (*attempt).into());
    put(out, ",\"status\":");
    text(out, status.as_str());
    put(out, ",\"exit_code\":");
    optional(out, exit_code.map(i64::from), signed);
    put(out, ",\"signal\":");
    optional(out, signal.map(i64::from), signed);
    put(out, ",\"error\":");
    optional(out, error.as_deref(), text);
    put(out, ",\"output\":");
    write_output(out, *output);
    put(out, ",\"usage\":");
    optional(out, *usage, write_usage);
    if !parents.is_empty() {
        put(out, ",\"parents\":");
        value(out, parents);
    }
    put(out, ",\"spec\":");
    optional(out, spec.as_deref(), text);
    put(out, ",\"commit\":");
    optional(out, commit.as_deref(), text);
    put(out, ",\"state\":");
    write_state(out, state);
    put(out, "}");
}

fn write_state(out: &mut Vec<u8>, state: &State) {
    let State { last_due, interval_due, after_due, failed_in_row, failed_at, running, waiting } = state;
    put(out, "{\"last_due\":");
    optional(out, *last_due, time);
    for (key, at) in [(",\"interval_due\":", interval_due), (",\"after_due\":", after_due)] {
        if let Some(at) = at {
            put(out, key);
            time(out, *at);
        }
    }
    if *failed_in_row != 0 {
        put(out, ",\"failed_in_row\":");
        number(out, (*failed_in_row).into());
    }
    if let Some(at) = failed_at {
        put(out, ",\"failed_at\":");
        time(out, *at);
    }
    list(out, ",\"running\":[", running, |out, run| id(out, *run));
    list(out, ",\"waiting\":[", waiting, |out, WaitingRun { run, triggered_by, due }| {
        put(out, "{\"run\":");
        id(out, *run);
        put(out, ",\"triggered_by\":");
        text(out, triggered_by.as_str());
        put(out, ",\"due\":");
        time(out, *due);
        put(out, "}");
    });
    put(out, "}");
}

fn write_output(out: &mut Vec<u8>, Output { bytes, lines, truncated, lost }: Output) {
    put(out, "{\"bytes\":");
    number(out, bytes);
    put(out, ",\"lines\":");
    number(out, lines);
    put(out, if truncated { ",\"truncated\":true" } else { ",\"truncated\":false" });
    if lost != 0 {
        put(out, ",\"lost\":");
        number(out, lost);
    }
    put(out, "}");
}

fn write_usage(out: &mut Vec<u8>, usage: Usage) {
    let Usage { user_ms, system_ms, max_rss_kb, peak_memory_kb, read_bytes, written_bytes } = usage;
    put(out, "{\"user_ms\":");
    number(out, user_ms);
    put(out, ",\"system_ms\":");
    number(out, system_ms);
    put(out, ",\"max_rss_kb\":");
    optional(out, max_rss_kb, number);
    let rest = [
        (",\"peak_memory_kb\":", peak_memory_kb),
        (",\"read_bytes\":", read_bytes),
        (",\"written_bytes\":", written_bytes),
    ];
    for (key, figure) in rest {
        if let Some(figure) = figure {
            put(out, key);
            number(out, figure);
        }
    }
    put(out, "}");
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn totals(out: &mut Vec<u8>, n: u64, failures: u64) {
    put(out, ",\"n\":");
    number(out, n);
    put(out, ",\"failures\":");
    number(out, failures);
}

fn optional<T>(out: &mut Vec<u8>, value: Option<T>, write: impl Fn(&mut Vec<u8>, T)) {
    match value {
        Some(value) => write(out, value),
        None => put(out, "null"),
    }
}

/// Nothing at all where the list is empty.
fn list<T>(out: &mut Vec<u8>, begin: &str, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    if items.is_empty() {
        return;
    }
    put(out, begin);
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

fn id(out: &mut Vec<u8>, run: RunId) {
    out.push(b'"');
    out.extend_from_slice(&run.digits());
    out.push(b'"');
}

fn time(out: &mut Vec<u8>, time: Timestamp) {
    out.push(b'"');
    match digits(time) {
        Some(digits) => out.extend_from_slice(&digits),
        None => put(out, &rfc3339(time)),
    }
    out.push(b'"');
}

fn text(out: &mut Vec<u8>, text: &str) {
    // As JSON has it; all else stands for itself.
    if text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        return value(out, text);
    }
    out.push(b'"');
    put(out, text);
    out.push(b'"');
}

fn signed(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    number(out, value.unsigned_abs());
}

fn number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
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
    use crate::model::{JobName, Parent, Status, TriggeredBy};

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
