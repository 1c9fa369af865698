//! `runner why`: the reason in plain sentences, from records, engine and files, with and without a running runner.

use serde_json::{Value, json};

use crate::sandbox::{Sandbox, wait_for};

#[track_caller]
fn why(sandbox: &Sandbox, args: &[&str]) -> Value {
    sandbox.json(&[&["why", "--json"], args].concat())
}

/// The kinds of the reasons, in order.
fn kinds(answer: &Value) -> Vec<&str> {
    answer["reasons"].as_array().unwrap().iter().map(|reason| reason["kind"].as_str().unwrap()).collect()
}

/// The text of the first reason of a kind.
#[track_caller]
fn text<'a>(answer: &'a Value, kind: &str) -> &'a str {
    let found = answer["reasons"].as_array().unwrap().iter().find(|reason| reason["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind} in {answer}"))["text"].as_str().unwrap()
}

/// Lines of a job's log as a runner would have left them on a day of 2024. `End`s are made from a real one.
struct Past {
    sandbox: Sandbox,
    end: Value,
    lines: String,
}

const RUN: [&str; 3] = [
    "018d0c90-0000-7000-8000-000000000001",
    "018d0c90-0000-7000-8000-000000000002",
    "018d0c90-0000-7000-8000-000000000003",
];

fn day(time: &str) -> String {
    format!("2024-01-15T{time}.000Z")
}

impl Past {
    fn new() -> Self {
        let sandbox = Sandbox::new().file("jobs/a.yaml", "manual: true\ncommand: 'true'\n");
        sandbox.run(&["run", "a", "--wait"]).code(0);
        let end = sandbox.events("a", "end")[0].clone();
        Self { sandbox, end, lines: String::new() }
    }

    fn end(mut self, run: usize, due: &str, started: &str, ended: &str, more: Value) -> Self {
        let mut line = self.end.clone();
        let times = [("due", due), ("started", started), ("ended", ended)];
        times.iter().for_each(|(key, time)| line[*key] = day(time).into());
        (line["run"], line["triggered_by"]) = (RUN[run].into(), "CRON".into());
        let seconds = |text: &str| text.split(':').fold(0, |sum, part| sum * 60 + part.parse::<i64>().unwrap());
        line["late_ms"] = ((seconds(started) - seconds(due)) * 1_000).into();
        line["duration_ms"] = ((seconds(ended) - seconds(started)) * 1_000).into();
        for (key, value) in more.as_object().unwrap() {
            line[key] = value.clone();
        }
        self.lines += &format!("{line}\n");
        self
    }

    fn gap(mut self, event: &str, reason: &str, due: &str, until: &str, count: u64) -> Self {
        let line = json!({
            "event": event, "job": "a", "n": 0, "failures": 0, "triggered_by": "CRON", "reason": reason,
            "due": day(due), "until": day(until), "count": count, "state": {},
        });
        self.lines += &format!("{line}\n");
        self
    }

    fn written(self) -> Sandbox {
        self.sandbox.write("logs/jobs/a/runs.log", &self.lines);
        self.sandbox
    }
}

#[test]
fn a_run_is_told_with_its_due_time_lateness_attempts_error_and_parents() {
    let parents = json!([{ "job": "load", "run": RUN[2], "status": "success" }]);
    let sandbox = Past::new()
        .end(0, "09:00:00", "09:00:12", "09:01:12", json!({}))
        .end(
            1,
            "10:00:00",
            "10:00:00",
            "10:05:00",
            json!({
                "status": "failed", "attempt": 3, "error": "exit code 7", "triggered_by": "AFTER", "parents": parents,
            }),
        )
        .written();
    let answer = why(&sandbox, &["a", "--at", "2024-01-15T10:03:00"]);
    assert_eq!(
        (&answer["verdict"], &answer["job"], &answer["at"]),
        (&"ran".into(), &"a".into(), &day("10:03:00").into())
    );
    assert_eq!(kinds(&answer)[..2], ["run", "parent"]);
    assert_eq!(
        text(&answer, "run"),
        format!(
            "It ran: due Mon 2024-01-15 10:00:00 UTC, made due by the end of other jobs, started Mon 2024-01-15 10:00:00 UTC, and \
             ended at attempt 3 as failed after 5m0s: exit code 7. It is run {}.",
            RUN[1]
        )
    );
    assert_eq!(text(&answer, "parent"), format!("It followed load, whose run {} ended as success.", RUN[2]));
    let run = &answer["reasons"][0];
    assert_eq!((&run["run"], &run["status"], &run["attempt"]), (&RUN[1].into(), &"failed".into(), &3.into()));
    // The second that a person names is meant as a whole, and between runs the one before counts.
    for at in ["2024-01-15T09:00:00", "2024-01-15T09:00:30Z", "2024-01-15T09:30:00"] {
        let answer = why(&sandbox, &["a", "--at", at]);
        assert_eq!(
            (&answer["reasons"][0]["run"], &answer["reasons"][0]["late_ms"]),
            (&RUN[0].into(), &12_000.into()),
            "{at}"
        );
        assert_eq!(kinds(&answer).contains(&"before"), at.contains("09:30:00"), "{at}: {answer}");
    }
    sandbox
        .run(&["why", "a", "--at", "2024-01-15T09:00:00"])
        .code(0)
        .stderr("")
        .says(", 12.0s late, and ended as success");
    assert_eq!(why(&sandbox, &["a", "--at", "2024-01-14"])["verdict"], "not_known");
}

#[test]
fn what_did_not_run_is_told_with_its_reason_in_words() {
    let overlap = format!("run {} is still active", RUN[0]);
    let sandbox = Past::new()
        .gap(
            "missed",
            "the runner was down from 2024-01-15T06:00:00.000Z to 2024-01-15T08:30:00.000Z",
            "07:00:00",
            "08:00:00",
            2,
        )
        .gap("skipped", &overlap, "09:01:00", "09:01:00", 1)
        .gap("skipped", &overlap, "09:02:00", "09:06:00", 5)
        .end(0, "09:00:00", "09:00:00", "09:07:00", json!({}))
        .gap(
            "skipped",
            "breaker open until 2024-01-15T11:00:00.000Z after 2 failed runs in a row",
            "10:00:00",
            "10:00:00",
            1,
        )
        .gap("skipped", "blackout: christmas", "12:00:00", "12:00:00", 1)
        .gap("skipped", "paused", "13:00:00", "14:00:00", 2)
        .gap("missed", "handled later than the misfire_grace of 1m", "15:00:00", "15:00:00", 1)
        .gap("skipped", "queue full: 2 runs waiting, max_queued is 2", "16:00:00", "16:00:00", 1)
        .written();
    for (at, verdict, kind) in [
        ("07:30:00", "missed", "down"),
        ("08:15:00", "missed", "down"),
        ("10:00:00", "skipped", "breaker"),
        ("12:01:00", "skipped", "blackout"),
        ("13:30:00", "skipped", "paused"),
        ("15:00:00", "missed", "late"),
        ("23:00:00", "skipped", "queue_full"),
    ] {
        let answer = why(&sandbox, &["a", "--at", &format!("2024-01-15T{at}")]);
        assert_eq!((answer["verdict"].as_str().unwrap(), kinds(&answer)[0]), (verdict, kind), "{at}: {answer}");
    }
    let down = why(&sandbox, &["a", "--at", "2024-01-15T07:30:00"]);
    assert_eq!(
        text(&down, "down"),
        "Its 2 due times from Mon 2024-01-15 07:00:00 UTC to Mon 2024-01-15 08:00:00 UTC (its schedule) were missed: the runner was \
         down from Mon 2024-01-15 06:00:00 UTC to Mon 2024-01-15 08:30:00 UTC."
    );
    // While a run is under way, it is the answer; what it kept from running is told as well.
    let covered = why(&sandbox, &["a", "--at", "2024-01-15T09:03:00"]);
    assert_eq!((covered["verdict"].as_str().unwrap(), kinds(&covered)[0]), ("ran", "run"));
}

#[test]
fn a_due_time_that_ran_within_a_streak_of_others_that_did_not_is_told_as_run() {
    let sandbox = Past::new()
        .end(0, "10:02:00", "10:06:00", "10:07:00", json!({}))
        .gap("skipped", "queue full: 2 runs waiting, max_queued is 2", "10:00:00", "10:04:00", 4)
        .written();
    // A job that names these due times and was known then.
    sandbox.write("jobs/a.yaml", "schedule: '* * * * *'\ncommand: 'true'\n");
    let runner = sandbox.start();
    runner.stop();
    let text = sandbox.read("logs/last-good.jsonl");
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let since = first["since"].as_str().unwrap();
    sandbox.write("logs/last-good.jsonl", &text.replace(since, "2019-01-01T00:00:00.000Z"));
    let verdict = |at: &str| why(&sandbox, &["a", "--at", at])["verdict"].as_str().unwrap().to_string();
    assert_eq!(verdict("2024-01-15T10:02:00"), "ran");
    assert_eq!(verdict("2024-01-15T10:03:00"), "skipped");
}

#[test]
fn what_overlapped_names_the_run_that_was_in_the_way() {
    let sandbox = Sandbox::new()
        .file("jobs/a.yaml", "every: 1s\ncommand: sleep 60\n")
        .file("jobs/b.yaml", "on_start: true\ncommand: 'true'\n");
    let runner = sandbox.start();
    wait_for("a due time is skipped", || !sandbox.events("a", "skipped").is_empty());
    let gap = sandbox.events("a", "skipped")[0].clone();
    let run = sandbox.events("a", "start")[0]["run"].as_str().unwrap().to_string();
    let answer = why(&sandbox, &["a", "--at", gap["due"].as_str().unwrap()]);
    assert_eq!((answer["verdict"].as_str().unwrap(), &kinds(&answer)[..2]), ("skipped", &["overlap", "other_run"][..]));
    assert!(text(&answer, "other_run").starts_with(&format!("Run {run} has been active since ")), "{answer}");
    // A later one that stands in no line yet.
    wait_for("a later one is told of", || {
        let answer = why(&sandbox, &["a"]);
        let texts = answer["reasons"].to_string();
        kinds(&answer).contains(&"overlap") && texts.contains("counted") && texts.contains(&run)
    });
    assert_eq!(why(&sandbox, &["b"])["verdict"], "ran");
    runner.stop_at_once();
    let answer = why(&sandbox, &["a"]);
    assert!(kinds(&answer).contains(&"no_runner"), "{answer}");
}

fn all_states() -> Sandbox {
    Sandbox::new()
        .file("jobs/daily.yaml", "schedule: '30 1 * * *'\ntimezone: Europe/London\ncommand: x\n")
        .file("jobs/hourly.yaml", "schedule: '0,30 * * * *'\ntimezone: Europe/London\ncommand: x\n")
        .file("jobs/merged.yaml", "schedule: '*/30 1-2 * * *'\ntimezone: Europe/London\ncommand: x\n")
        .file("jobs/once.yaml", "at: 2001-01-01T00:00:00\ncommand: x\n")
        .file("jobs/hand.yaml", "manual: true\ncommand: 'true'\n")
        .file("jobs/child.yaml", "after: { jobs: [hand] }\ncommand: 'true'\n")
        .file("jobs/first.yaml", "on_start: true\ncommand: 'true'\n")
        .file("jobs/off.yaml", "enabled: false\nevery: 1h\ncommand: x\n")
        .file("jobs/bad.yaml", "evry: 1h\ncommand: x\n")
}

#[test]
fn what_never_runs_by_itself_says_why() {
    let sandbox = all_states();
    sandbox.run(&["pause", "hourly", "--until", "2100-01-01"]).code(0);
    sandbox.run(&["pause", "daily"]).code(0);
    let check = || {
        for (job, verdict, words) in [
            ("once", "done", "It is done: its one due time was Mon 2001-01-01 00:00:00 UTC."),
            ("hand", "by_hand", "It has no trigger: it runs by hand only."),
            ("child", "not_by_the_clock", "it runs after hand has succeeded"),
            ("off", "disabled", "jobs/off.yaml says `enabled: false`"),
            ("bad", "invalid", "jobs/bad.yaml:1:1: unknown field `evry`"),
            ("daily", "paused", "It is paused until it is resumed."),
            ("hourly", "paused", "It is paused until Fri 2100-01-01 00:00:00 GMT."),
            ("merged", "not_yet", "It is due next "),
        ] {
            let answer = why(&sandbox, &[job]);
            assert_eq!(answer["verdict"], verdict, "{answer}");
            assert!(answer["reasons"][0]["text"].as_str().unwrap().contains(words) || verdict == "not_yet", "{answer}");
            assert!(answer["reasons"].to_string().contains(words), "{answer}");
        }
        sandbox
            .run(&["why", "daly"])
            .code(1)
            .stdout("")
            .stderr("error: there is no job `daly`\nhelp: did you mean `daily`? `runner list` shows the jobs\n");
        sandbox.run(&["why", "daily", "--at", "soon"]).code(2);
    };
    check();
    assert_eq!(why(&sandbox, &["first"])["verdict"], "not_by_the_clock");
    assert!(!sandbox.path("logs/jobs").exists(), "nothing is written");
    let runner = sandbox.start();
    check();
    sandbox.wait_for_ends("first", 1);
    assert_eq!(why(&sandbox, &["first"])["verdict"], "ran");
    runner.stop();
    // The file is gone, the records are not.
    sandbox.remove("jobs/first.yaml");
    let gone = why(&sandbox, &["first"]);
    assert!(kinds(&gone).contains(&"gone") && kinds(&gone).contains(&"run"), "{gone}");
}

#[test]
fn a_moment_that_comes_is_due_or_lies_between_two_due_times() {
    let sandbox = all_states();
    let at = |time: &'static str| why(&sandbox, &["daily", "--at", time]);
    let due = at("2027-06-01T00:30:00Z");
    assert_eq!((&due["verdict"], text(&due, "due")), (&"due".into(), "It is due Tue 2027-06-01 01:30:00 BST."));
    let between = at("2027-06-01T12:00:00Z");
    assert_eq!(
        (between["verdict"].as_str().unwrap(), &kinds(&between)[..3]),
        ("not_due", &["not_due", "before", "after"][..])
    );
    assert_eq!(text(&between, "before"), "The due time before is Tue 2027-06-01 01:30:00 BST.");
    assert_eq!(text(&between, "after"), "The due time after is Wed 2027-06-02 01:30:00 BST.");
    sandbox.run(&["pause", "daily", "--until", "2027-06-02"]).code(0);
    assert_eq!(at("2027-06-01T00:30:00Z")["verdict"], "paused");
    assert_eq!(at("2027-06-03T00:30:00Z")["verdict"], "due", "the pause is over by then");
    assert_eq!(why(&sandbox, &["off", "--at", "2027-06-01"])["verdict"], "disabled");
    assert_eq!(why(&sandbox, &["hand", "--at", "2027-06-01"])["verdict"], "by_hand");
}

#[test]
fn a_moved_clock_is_told_with_the_rule_that_holds() {
    let sandbox = all_states();
    let told = |job: &str, at: &str| {
        let answer = why(&sandbox, &[job, "--at", at]);
        let found =
            answer["reasons"].as_array().unwrap().iter().find(|reason| reason["kind"] == "clock_change").cloned();
        found.map(|reason| reason["text"].as_str().unwrap().to_string())
    };
    let gap = "On Sun 2027-03-28 the clock in Europe/London went from 01:00 to 02:00, so";
    let end = "Sun 2027-03-28 02:00:00 BST.";
    let spring = "2027-03-28T12:00:00Z";
    assert_eq!(
        told("daily", spring),
        Some(format!(
            "{gap} 01:30:00 did not exist: all that is due in the gap becomes one due time at its end, {end}"
        ))
    );
    let adds_nothing =
        format!("{gap} 01:00:00 did not exist: what is due in the gap adds nothing to the due time at its end, {end}");
    assert_eq!((told("merged", spring), told("hourly", spring)), (Some(adds_nothing.clone()), Some(adds_nothing)));
    let twice = "On Sun 2027-10-31 the clock in Europe/London went back from 02:00 to 01:00, so";
    let autumn = "2027-10-31T12:00:00Z";
    assert_eq!(told("daily", autumn), Some(format!("{twice} 01:30:00 came twice: only the first pass is due.")));
    assert_eq!(
        told("hourly", autumn),
        Some(format!("{twice} 01:00:00 came twice: the hour field begins with `*`, so both passes are due."))
    );
    assert_eq!((told("daily", "2027-06-01"), told("off", spring), told("child", spring)), (None, None, None));
    // Nothing of its own in the hours concerned.
    sandbox.write("jobs/noon.yaml", "schedule: '0 12 * * *'\ntimezone: Europe/London\ncommand: x\n");
    assert_eq!((told("noon", spring), told("noon", autumn)), (None, None));
    sandbox.write("jobs/late.yaml", "schedule: '45 * * * *'\ntimezone: Europe/London\ncommand: x\n");
    assert_eq!(
        told("late", spring),
        Some(format!(
            "{gap} 01:45:00 did not exist: the hour field begins with `*`, so the schedule follows the clock, and nothing was due for it."
        ))
    );
}

#[test]
fn what_runs_waits_or_is_tried_again_now_says_so() {
    let sandbox = Sandbox::new()
        .file("runner.yaml", "pools: { p: 1 }\n")
        .file("jobs/busy.yaml", "on_start: true\ncommand: sleep 60\npool: p\n")
        .file("jobs/later.yaml", "manual: true\ncommand: 'true'\npool: p\n")
        .file("jobs/flaky.yaml", "on_start: true\ncommand: 'exit 3'\nretry: { max: 1, delay: 1h }\n")
        .file("jobs/rests.yaml", "every: 1h\non_start: true\ncommand: 'exit 3'\nbreaker: { after: 1, cooldown: 1h }\n");
    let runner = sandbox.start();
    wait_for("all have begun", || {
        !sandbox.events("busy", "start").is_empty()
            && !sandbox.events("flaky", "attempt").is_empty()
            && !sandbox.events("rests", "end").is_empty()
    });
    sandbox.run(&["run", "later"]).code(0);
    let busy = why(&sandbox, &["busy"]);
    assert_eq!((busy["verdict"].as_str().unwrap(), kinds(&busy)[0]), ("running", "running"), "{busy}");
    let later = why(&sandbox, &["later"]);
    assert_eq!((later["verdict"].as_str().unwrap(), kinds(&later)[0]), ("waiting", "waiting"), "{later}");
    assert!(text(&later, "waiting").ends_with(" waits for pool p."), "{later}");
    let flaky = why(&sandbox, &["flaky"]);
    assert_eq!((flaky["verdict"].as_str().unwrap(), kinds(&flaky)[0]), ("waiting", "retrying"), "{flaky}");
    assert!(
        text(&flaky, "retrying").starts_with("A run waits for its next attempt, number 2, which begins "),
        "{flaky}"
    );
    let rests = why(&sandbox, &["rests"]);
    assert_eq!(rests["verdict"], "breaker");
    assert!(text(&rests, "breaker").contains("after 1 failed run in a row"), "{rests}");
    // A file that breaks: its last good version is in force.
    sandbox.write("jobs/rests.yaml", "every: 1h\ncommand: 'true'\nbreak: 1\n");
    sandbox.wait_for_state("rests", "stale");
    let stale = why(&sandbox, &["rests"]);
    assert!(text(&stale, "stale").starts_with("Its file is broken since "), "{stale}");
    assert!(text(&stale, "stale").contains("jobs/rests.yaml:3:1: unknown field `break`"), "{stale}");
    runner.stop_at_once();
}

/// A command with this in its environment.
fn with_env(sandbox: &Sandbox, args: &[&str], name: &str, value: &str) -> std::process::Command {
    let mut command = sandbox.command(args);
    command.env(name, value);
    command
}

#[test]
fn what_is_told_is_what_the_running_runner_has_in_force() {
    let sandbox = Sandbox::new()
        .file("jobs/daily.yaml", "schedule: '0 3 * * *'\ncommand: x\n")
        .file("jobs/token.yaml", "schedule: '0 4 * * *'\ncommand: x\nenv: { T: '${OF_THE_RUNNER}' }\nsecrets: { K: { file: /no/such/place } }\n")
        .file(
            "jobs/rests.yaml",
            "schedule: '0 5 * * *'\ncommand: x\nblackout: [{ days: [mon-sun], holidays: days.txt }]\n",
        )
        .file("days.txt", "12-25\n");
    let args = ["start", "--timezone", "Asia/Tokyo", "--no-reload"];
    let runner = sandbox.start_command(with_env(&sandbox, &args, "OF_THE_RUNNER", "secret-of-the-runner"));
    let agree = || {
        // In Tokyo it is three at 18:00 UTC.
        let next = sandbox.json(&["next", "daily", "-n", "1", "--from", "2027-06-01", "--json"]);
        assert_eq!(next[0]["due"], "2027-06-01T18:00:00.000Z".replace("06-01T", "05-31T"), "{next}");
        let daily = why(&sandbox, &["daily", "--at", "2027-06-01T03:00"]);
        assert_eq!((&daily["verdict"], &daily["at"]), (&"due".into(), &"2027-05-31T18:00:00.000Z".into()), "{daily}");
        assert_eq!(text(&daily, "due"), "It is due Tue 2027-06-01 03:00:00 JST.");
        let token = why(&sandbox, &["token", "--at", "2027-06-01T04:00"]);
        assert_eq!(token["verdict"], "due", "{token}");
        let rests = why(&sandbox, &["rests", "--at", "2027-06-01T05:00"]);
        assert_eq!((&rests["verdict"], kinds(&rests).contains(&"blackout")), (&"skipped".into(), true), "{rests}");
        let course = sandbox.json(&["simulate", "--from", "2027-06-01", "--for", "1d", "--json"]);
        let runs = course["runs"].as_array().unwrap();
        let jobs: Vec<(&str, &str)> =
            runs.iter().map(|run| (run["job"].as_str().unwrap(), run["due"].as_str().unwrap())).collect();
        assert_eq!(jobs, [("daily", "2027-05-31T18:00:00.000Z"), ("token", "2027-05-31T19:00:00.000Z")]);
        assert_eq!((&course["skipped"][0]["job"], &course["totals"]["skipped"]), (&"rests".into(), &1.into()));
    };
    agree();
    // What the files say by now is not in force.
    sandbox.write("jobs/daily.yaml", "schedule: '0 7 * * *'\ncommand: x\n");
    sandbox.write("jobs/rests.yaml", "schedule: '0 5 * * *'\ncommand: x\n");
    sandbox.remove("days.txt");
    agree();
    // What the environment says to commands is not handed out.
    let mut client = std::os::unix::net::UnixStream::connect(sandbox.path("logs/runner.sock")).unwrap();
    std::io::Write::write_all(&mut client, b"{\"verb\":\"loaded\"}\n").unwrap();
    let answer = std::io::read_to_string(client).unwrap();
    assert!(answer.contains("${OF_THE_RUNNER}") && !answer.contains("secret-of-the-runner"), "{answer}");
    assert!(!answer.contains("/no/such/place"), "{answer}");
    runner.stop();
    let daily = why(&sandbox, &["daily", "--at", "2027-06-01T07:00"]);
    assert_eq!(text(&daily, "due"), "It is due Tue 2027-06-01 07:00:00 UTC.", "without one the files count");
}

#[test]
fn a_skip_is_claimed_only_where_one_was_counted() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", "every: 1s\ncommand: sleep 600\n");
    let runner = sandbox.start();
    wait_for("a streak is counted", || text_or_none(&why(&sandbox, &["a"]), "overlap").contains("counted"));
    let off = |is_off: bool| format!("every: 1s\ncommand: sleep 600\nenabled: {}\n", !is_off);
    sandbox.replace("jobs/a.yaml", &off(true));
    sandbox.wait_for_state("a", "disabled");
    let disabled = runner::model::Timestamp::now();
    let passed = |seconds: i64| runner::model::Timestamp::now().duration_since(disabled).as_secs() >= seconds;
    wait_for("due times have passed that were none", || passed(4));
    let told = why(&sandbox, &["a", "--at", &rfc3339(disabled, 2)]);
    // The run is under way; what it did not keep from running is not told as if it had.
    assert!(!kinds(&told).contains(&"overlap"), "{told}");
    sandbox.replace("jobs/a.yaml", &off(false));
    sandbox.wait_for_state("a", "active");
    wait_for("a due time is skipped again", || kinds(&why(&sandbox, &["a"])).contains(&"overlap"));
    let told = why(&sandbox, &["a", "--at", &rfc3339(disabled, 2)]);
    assert!(!kinds(&told).contains(&"overlap"), "{told}");
    runner.stop_at_once();
}

fn rfc3339(time: runner::model::Timestamp, seconds_later: i64) -> String {
    let time = time + jiff::SignedDuration::from_secs(seconds_later);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn text_or_none(answer: &Value, kind: &str) -> String {
    let found = answer["reasons"].as_array().unwrap().iter().find(|reason| reason["kind"] == kind);
    found.map_or(String::new(), |reason| reason["text"].as_str().unwrap().to_string())
}

#[test]
fn a_job_that_was_disabled_then_says_so_and_what_rests_now_did_not_rest_before() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", "schedule: '* * * * * *'\ncommand: 'true'\n");
    let runner = sandbox.start();
    sandbox.wait_for_ends("a", 1);
    sandbox.replace("jobs/a.yaml", "enabled: false\nschedule: '* * * * * *'\ncommand: 'true'\n");
    sandbox.wait_for_state("a", "disabled");
    let disabled = runner::model::Timestamp::now();
    let at = rfc3339(disabled, 2);
    wait_for("that moment has passed", || runner::model::Timestamp::now().duration_since(disabled).as_secs() >= 3);
    let check = || {
        let told = why(&sandbox, &["a", "--at", &at]);
        assert_eq!((told["verdict"].as_str().unwrap(), kinds(&told)[0]), ("disabled", "disabled"), "{told}");
        assert!(text(&told, "disabled").starts_with("It was disabled at "), "{told}");
        assert!(text(&told, "disabled").contains(": jobs/a.yaml, changed last "), "{told}");
        assert_eq!(why(&sandbox, &["a"])["verdict"], "disabled");
    };
    check();
    runner.stop();
    check();
    // Long before the file was changed nobody knows.
    let long_ago = "2020-01-01T00:00:00Z";
    assert_eq!(why(&sandbox, &["a", "--at", long_ago])["verdict"], "not_known");
    // A pause of today says nothing about a time before it.
    let text = sandbox.read("logs/last-good.jsonl");
    let since = |line: &str| serde_json::from_str::<Value>(line).unwrap()["since"].as_str().unwrap().to_string();
    let since = since(text.lines().next().unwrap());
    sandbox.write("logs/last-good.jsonl", &text.replace(&since, "2019-01-01T00:00:00.000Z"));
    sandbox.write("jobs/a.yaml", "schedule: '* * * * * *'\ncommand: 'true'\n");
    sandbox.run(&["pause", "a"]).code(0);
    let told = why(&sandbox, &["a", "--at", long_ago]);
    assert_eq!((told["verdict"].as_str().unwrap(), kinds(&told)[0]), ("unknown", "no_record"), "{told}");
    let now = why(&sandbox, &["a"]);
    assert_eq!((now["verdict"].as_str().unwrap(), kinds(&now)[0]), ("paused", "paused"), "{now}");
    assert!(now["reasons"][0]["since"].is_string(), "{now}");
}

#[test]
fn one_time_that_is_still_to_come_is_not_done_also_where_it_lies_in_a_blackout() {
    let sandbox = Sandbox::new()
        .file("jobs/once.yaml", "at: 2090-01-01T12:00:00\ncommand: x\n")
        .file("jobs/closed.yaml", "at: 2090-01-01T12:00:00\ncommand: x\nblackout: [{ dates: [01-01] }]\n");
    let check = || {
        let due = why(&sandbox, &["once", "--at", "2090-01-01T12:00:00"]);
        assert_eq!((due["verdict"].as_str().unwrap(), kinds(&due)[0]), ("due", "due"), "{due}");
        assert!(!kinds(&due).contains(&"done"), "{due}");
        let after = why(&sandbox, &["once", "--at", "2091-01-01"]);
        assert_eq!(
            (after["verdict"].as_str().unwrap(), kinds(&after).contains(&"done")),
            ("not_due", false),
            "{after}"
        );
        let closed = why(&sandbox, &["closed"]);
        assert_eq!(closed["verdict"], "not_yet", "{closed}");
        assert_eq!(
            text(&closed, "blackout"),
            "Its due time Sun 2090-01-01 12:00:00 UTC, which comes next, will be skipped: blackout: 01-01."
        );
        assert_eq!((sandbox.state("once"), sandbox.state("closed")), ("active".into(), "active".into()));
        sandbox
            .run(&["next", "closed"])
            .code(0)
            .stdout("nothing comes due\n")
            .stderr("note: closed is due Sun 2090-01-01 12:00:00 UTC, which will be skipped: blackout: 01-01\n");
    };
    check();
    let runner = sandbox.start();
    check();
    runner.stop();
}

#[test]
fn each_expression_follows_the_moved_clock_by_its_own_rule() {
    let sandbox = Sandbox::new()
        .file("runner.yaml", "timezone: Europe/London\n")
        .file("jobs/two.yaml", "schedule: ['30 1 * * *', '15 */1 * * *']\ncommand: x\n")
        .file("jobs/spread.yaml", "schedule: '30 1 * * *'\ncommand: x\njitter: 40m\n")
        .file("jobs/zoned.yaml", "at: 2027-03-28T01:30:00Z\ncommand: x\n")
        .file("jobs/both.yaml", "schedule: ['30 1 * * *', '0 2 * * *']\ncommand: x\n");
    let told = |job: &str, at: &str| -> Vec<String> {
        let answer = why(&sandbox, &[job, "--at", at]);
        let reasons = answer["reasons"].as_array().unwrap().iter().filter(|reason| reason["kind"] == "clock_change");
        reasons.map(|reason| reason["text"].as_str().unwrap().to_string()).collect()
    };
    let gap = "On Sun 2027-03-28 the clock in Europe/London went from 01:00 to 02:00, so";
    let (spring, autumn) = ("2027-03-28T12:00:00Z", "2027-10-31T12:00:00Z");
    assert_eq!(
        told("two", spring),
        [
            format!(
                "{gap} 01:30:00 (`30 1 * * *`) did not exist: all that is due in the gap becomes one due time at its end, \
                 Sun 2027-03-28 02:00:00 BST."
            ),
            format!(
                "{gap} 01:15:00 (`15 */1 * * *`) did not exist: the hour field begins with `*`, so the schedule follows the clock, \
                 and nothing was due for it."
            ),
        ]
    );
    assert_eq!(
        told("both", spring),
        [format!(
            "{gap} 01:30:00 (`30 1 * * *`) did not exist: all that is due in the gap is made up for at its end, \
             Sun 2027-03-28 02:00:00 BST, when another expression is due as well."
        )]
    );
    let twice = "On Sun 2027-10-31 the clock in Europe/London went back from 02:00 to 01:00, so";
    assert_eq!(
        told("two", autumn),
        [
            format!("{twice} 01:30:00 (`30 1 * * *`) came twice: only the first pass is due."),
            format!(
                "{twice} 01:15:00 (`15 */1 * * *`) came twice: the hour field begins with `*`, so both passes are due."
            ),
        ]
    );
    let before = why(&sandbox, &["spread", "--at", spring]);
    let due = before["reasons"].as_array().unwrap().iter().find(|reason| reason["kind"] == "before").unwrap();
    let due: runner::model::Timestamp = due["due"].as_str().unwrap().parse().unwrap();
    let shown = due.to_zoned(jiff::tz::TimeZone::get("Europe/London").unwrap()).strftime("%H:%M:%S").to_string();
    let spread = told("spread", spring);
    assert!(spread[0].ends_with(&format!("which its jitter makes Sun 2027-03-28 {shown} BST.")), "{spread:?}, {shown}");
    assert_eq!(told("zoned", spring), [""; 0], "a time with an offset is the same by any clock");
}

#[test]
fn a_chain_names_the_ends_that_came_and_those_that_it_awaits() {
    let sandbox = Sandbox::new()
        .file("jobs/a.yaml", "manual: true\ncommand: 'true'\n")
        .file("jobs/b.yaml", "schedule: '0 9 * * *'\ncommand: 'true'\n")
        .file("jobs/c.yaml", "after: { jobs: [a, b] }\ncommand: 'true'\n");
    let runner = sandbox.start();
    assert_eq!(
        text(&why(&sandbox, &["c"]), "awaits"),
        "None of these ends has come since it ran last: a, b are awaited."
    );
    sandbox.run(&["run", "a", "--wait"]).code(0);
    let run = sandbox.events("a", "end")[0]["run"].as_str().unwrap().to_string();
    let check = || {
        let told = why(&sandbox, &["c"]);
        assert!(text(&told, "awaits").starts_with(&format!("Of these ends a (run {run}, success, ")), "{told}");
        assert!(text(&told, "awaits").ends_with(") has come, b is awaited."), "{told}");
        // So b makes it due.
        let course = sandbox.json(&["simulate", "--for", "25h", "--json"]);
        let jobs: Vec<&str> =
            course["runs"].as_array().unwrap().iter().map(|run| run["job"].as_str().unwrap()).collect();
        assert!(jobs.starts_with(&["b", "c"]), "{course}");
    };
    check();
    runner.stop();
    check();
}

#[test]
fn a_run_that_only_waits_is_not_told_to_be_under_way() {
    let sandbox = Sandbox::new()
        .file("runner.yaml", "pools: { p: 1 }\n")
        .file("jobs/busy.yaml", "on_start: true\ncommand: sleep 600\npool: p\n")
        .file("jobs/a.yaml", "every: 1s\ncommand: 'true'\npool: p\n");
    let runner = sandbox.start();
    wait_for("a due time is skipped", || !sandbox.events("a", "skipped").is_empty());
    let gap = sandbox.events("a", "skipped")[0].clone();
    let told = why(&sandbox, &["a", "--at", gap["due"].as_str().unwrap()]);
    let words = text(&told, "other_run");
    assert!(words.ends_with(" has not begun: it waits for pool p, and counts as active meanwhile."), "{told}");
    runner.stop_at_once();
}

#[test]
fn since_when_a_job_is_stale_does_not_depend_on_its_files_age_and_outlives_a_restart() {
    let sandbox = Sandbox::new()
        .file("runner.yaml", "pools: { p: 1 }\n")
        .file("jobs/a.yaml", "every: 1h\ncommand: 'true'\npool: p\n")
        .file("jobs/b.yaml", "every: 1h\ncommand: 'true'\n");
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    std::fs::File::options().write(true).open(sandbox.path("jobs/a.yaml")).unwrap().set_modified(old).unwrap();
    let since = |job: &str| {
        let told = why(&sandbox, &[job]);
        let found = told["reasons"].as_array().unwrap().iter().find(|reason| reason["kind"] == "stale").cloned();
        let since = found.unwrap_or_else(|| panic!("{told}"))["since"].as_str().unwrap().to_string();
        assert_eq!(sandbox.entry(job)["stale_since"], since.as_str());
        since.parse::<runner::model::Timestamp>().unwrap()
    };
    let now = runner::model::Timestamp::now;
    let moment = || jiff::SignedDuration::from_millis(1);
    let begun = now();
    let runner = sandbox.start();
    assert!(sandbox.entry("a")["stale_since"].is_null());
    sandbox.replace("runner.yaml", "pools: { q: 1 }\n");
    sandbox.wait_for_state("a", "stale");
    let first = since("a");
    assert!((begun - moment()..=now()).contains(&first), "{first}");
    runner.stop();
    assert_eq!(since("a"), first, "without a runner");
    // Broken while no runner ran: the start finds it so.
    sandbox.write("jobs/b.yaml", "every: 1h\ncomand: 'true'\n");
    let begun = now();
    let runner = sandbox.start();
    let found = since("b");
    assert!(since("a") == first && (begun - moment()..=now()).contains(&found), "{found}");
    runner.stop();
    let runner = sandbox.start();
    assert_eq!((since("a"), since("b")), (first, found), "once more");
    // Good again, and what it was before is forgotten.
    sandbox.replace("runner.yaml", "pools: { p: 1 }\n");
    sandbox.replace("jobs/b.yaml", "every: 1h\ncommand: 'true'\n");
    sandbox.wait_for_state("a", "active");
    sandbox.wait_for_state("b", "active");
    runner.stop();
    sandbox.replace("runner.yaml", "pools: { q: 1 }\n");
    sandbox.write("jobs/b.yaml", "every: 1h\ncomand: 'true'\n");
    let begun = now();
    let runner = sandbox.start();
    assert!(since("a") >= begun - moment() && since("b") >= begun - moment());
    runner.stop();
}

#[test]
fn a_time_that_the_clock_skips_is_read_as_the_first_one_after_it() {
    let sandbox = Sandbox::new()
        .file("runner.yaml", "timezone: Europe/Berlin\n")
        .file("jobs/db.yaml", "schedule: '30 2 * * *'\ncommand: x\n");
    let answer = why(&sandbox, &["db", "--at", "2027-03-28T02:30"]);
    assert_eq!((&answer["verdict"], text(&answer, "due")), (&"due".into(), "It is due Sun 2027-03-28 03:00:00 CEST."));
    let note = "note: 2027-03-28T02:15 does not exist in Europe/Berlin, whose clock skips it: it is read as Sun 2027-03-28 03:00:00 CEST\n";
    sandbox
        .run(&["next", "db", "-n", "2", "--from", "2027-03-28T02:15"])
        .code(0)
        .stdout("Sun 2027-03-28 03:00:00 CEST  db\nMon 2027-03-29 02:30:00 CEST  db\n")
        .stderr(note);
    sandbox
        .run(&["simulate", "--from", "2027-03-28T02:15", "--for", "20h"])
        .code(0)
        .says("Sun 2027-03-28 03:00:00 CEST  db  CRON")
        .says(note);
    sandbox.run(&["pause", "db", "--until", "2027-03-28T02:15"]).code(0).says("until Sun 2027-03-28 03:00:00 CEST");
}

#[test]
fn all_that_was_due_in_the_second_is_told() {
    let failed = |due_of: &str| json!({ "status": "failed", "error": "exit code 7", "triggered_by": due_of });
    let sandbox = Past::new()
        .end(0, "09:00:00", "09:00:00", "09:00:05", json!({}))
        .gap("skipped", "the chain came back to it: a -> b -> a", "10:00:00", "10:00:00", 1)
        .end(1, "10:00:00", "10:00:00", "10:00:04", failed("CRON"))
        .end(2, "10:00:00", "10:00:01", "10:00:09", failed("AFTER"))
        .written();
    let answer = why(&sandbox, &["a", "--at", "2024-01-15T10:00:00"]);
    let told: Vec<&Value> = answer["reasons"].as_array().unwrap().iter().map(|reason| &reason["run"]).collect();
    for run in &RUN[1..] {
        assert_eq!(told.iter().filter(|told| **told == run).count(), 1, "{answer}");
    }
    assert!(kinds(&answer).contains(&"chain") && !told.contains(&&RUN[0].into()), "{answer}");
    let answer = why(&sandbox, &["a", "--at", "2024-01-15T09:00:00"]);
    assert_eq!(kinds(&answer).iter().filter(|kind| **kind == "run").count(), 1, "{answer}");
}

#[test]
fn what_the_next_start_makes_of_down_time_is_told() {
    let moment = |ago: i64| {
        let time = runner::model::Timestamp::now() - jiff::SignedDuration::from_secs(ago);
        time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    };
    let text_of = |at: &str, more: &str| format!("at: {at}\ncommand: 'true'\n{more}");
    let strict = "catch_up: { policy: none }\nmisfire_grace: 0s\n";
    let sandbox = Sandbox::new()
        .file("jobs/once.yaml", &text_of("2099-01-01", ""))
        .file("jobs/strict.yaml", &text_of("2099-01-01", strict));
    sandbox.start().stop();
    let soon = moment(-2);
    sandbox.write("jobs/once.yaml", &text_of(&soon, ""));
    sandbox.write("jobs/strict.yaml", &text_of(&soon, strict));
    wait_for("both are past", || {
        ["once", "strict"].iter().all(|job| why(&sandbox, &[job])["reasons"][0]["kind"] == "down")
    });
    let once = why(&sandbox, &["once"]);
    assert_eq!(once["verdict"], "awaits_start");
    assert!(text(&once, "at_start").contains("catches up the due time"), "{once}");
    assert_eq!(sandbox.state("once"), "active", "the next start runs it");
    wait_for("it is too late", || why(&sandbox, &["strict"])["verdict"] == "missed");
    let strict = why(&sandbox, &["strict"]);
    assert!(text(&strict, "at_start").contains("The next start records it as missed"), "{strict}");
    assert_eq!(sandbox.state("strict"), "done");
    let runner = sandbox.start();
    sandbox.wait_for_ends("once", 1);
    assert_eq!((sandbox.state("once").as_str(), sandbox.events("strict", "missed").len()), ("done", 1));
    runner.stop();
}

#[test]
fn an_open_breaker_is_passed_over_like_a_pause() {
    let sandbox = Sandbox::new()
        .file("jobs/a.yaml", "schedule: '* * * * *'\ncommand: 'false'\nbreaker: { after: 1, cooldown: 1h }\n");
    sandbox.run(&["run", "a", "--wait"]).code(1);
    let entry = sandbox.entry("a");
    let until: runner::model::Timestamp = entry["breaker"]["until"].as_str().unwrap().parse().unwrap();
    let is_after = |due: &Value| due.as_str().unwrap().parse::<runner::model::Timestamp>().unwrap() >= until;
    assert!(is_after(&entry["next_run"]), "{entry}");
    let next = sandbox.json(&["next", "a", "--json"]);
    assert!(next.as_array().unwrap().iter().all(|due| is_after(&due["due"])), "{next}");
    let answer = why(&sandbox, &["a"]);
    let next = answer["reasons"].as_array().unwrap().iter().find(|reason| reason["kind"] == "next").unwrap();
    assert!(is_after(&next["due"]), "{answer}");
}

#[test]
fn due_times_around_a_moment_in_a_blackout_or_a_pause_say_that_they_are_skipped() {
    let sandbox = all_states().file(
        "jobs/weekdays.yaml",
        "schedule: '0 9 * * *'\ntimezone: Europe/London\nblackout: [{ days: [sat, sun] }]\ncommand: x\n",
    );
    let answer = why(&sandbox, &["weekdays", "--at", "2027-06-05T12:00:00Z"]);
    let skipped = ", which will be skipped: blackout: sat, sun.";
    assert!(text(&answer, "before").ends_with(skipped) && text(&answer, "after").ends_with(skipped), "{answer}");
    assert!(text(&answer, "blackout").starts_with("What is due at that time is skipped"), "{answer}");
    sandbox.run(&["pause", "daily", "--until", "2027-06-07"]).code(0);
    let answer = why(&sandbox, &["daily", "--at", "2027-06-05T12:00:00Z"]);
    assert!(text(&answer, "before").ends_with("skipped: paused.") && text(&answer, "after").ends_with("paused."));
}

#[test]
fn what_a_run_waits_for_is_told_by_status_and_why_also_where_it_is_a_rate_or_the_runner_stops() {
    let sandbox = Sandbox::new()
        .file("runner.yaml", "pools: { api: { rate: 1/1h } }\nshutdown_timeout: 1m\n")
        .file("jobs/busy.yaml", "on_start: true\ncommand: sleep 60\n")
        .file("jobs/a.yaml", "manual: true\ncommand: 'true'\npool: api\n")
        .file("jobs/flaky.yaml", "on_start: true\ncommand: 'exit 3'\nretry: { max: 1, delay: 1h }\n");
    let mut runner = sandbox.start();
    sandbox.run(&["run", "a", "--wait"]).code(0);
    sandbox.run(&["run", "a"]).code(0);
    let answer = why(&sandbox, &["a"]);
    assert!(text(&answer, "waiting").contains(" waits for the rate of pool api until "), "{answer}");
    sandbox.run(&["status"]).code(0).says("  a  waits for the rate of pool api until ");
    wait_for("it is between two attempts", || !sandbox.entry("flaky")["next_attempt"].is_null());
    sandbox.run(&["status"]).code(0).says("runs: 1 under way, 1 waiting, 1 between two attempts\n");
    assert!(text(&why(&sandbox, &["flaky"]), "running").contains(" is active, between two attempts: due "));
    runner.signal(libc::SIGTERM);
    wait_for("it is stopping", || sandbox.json(&["status", "--json"])["stopping"] == true);
    sandbox.run(&["status"]).code(0).says("it is stopping: no other run begins\n");
    assert!(text(&why(&sandbox, &["busy"]), "stopping").starts_with("The runner is stopping"));
    assert!(!runner.has_ended());
    runner.stop_at_once();
}
