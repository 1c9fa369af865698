//! Promises about reading files that hold for any file, tried on many.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use runner::action::{Action, Command};
use runner::model::{ByteSize, HumanDuration, OrNone, Problem};
use runner::spec::{
    self, About, Backoff, Breaker, CatchUp, CatchUpPolicy, Defaults, Given, JobSpec, Limits, MissingVariable, Overlap,
    Policies, ReadContext, Retry, RetryWhen, Secret, SecretCommand, Source, Success,
};
use runner::trigger::{After, At, Every, OnStart, Schedule, Trigger, When};

fn context() -> ReadContext<'static> {
    ReadContext {
        env: &|_| None,
        missing: MissingVariable::Error,
        timezone: "UTC",
        means: &runner::os::means::Means::ALL,
    }
}

fn read(path: &str, bytes: &[u8]) -> spec::ReadJob {
    spec::read_job(Source { path, bytes }, "job", &Defaults::default(), &context())
}

/// Text as people write it, and as they never would.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,30}",
        "[a-z0-9 :#*&!|>'\"@`%{}\\[\\],\\\\.-]{1,20}",
        "(yes|no|on|off|true|null|~|1\\.10|012|1_000|0x1F|1e3|---|\\.inf)",
        "[a-zé数🔑\t\n]{1,12}",
        // YAML takes these only as escapes, in .json files too: the refusal names the escape.
        "[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\\u{feff}\\u{fffe}\\u{ffff}]{0,8}",
    ]
}

fn duration() -> impl Strategy<Value = HumanDuration> {
    prop_oneof![1u64..10_000_000, (1u64..100_000).prop_map(|s| s * 1000)].prop_map(HumanDuration::from_millis)
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let one = prop_oneof![
        Just("0 9 * * mon-fri".to_string()),
        Just("@daily".to_string()),
        (0..60, 0..24, 1..29).prop_map(|(minute, hour, day)| format!("{minute} {hour} {day} * *")),
        (1..30).prop_map(|step| format!("*/{step} * * * *")),
    ];
    prop_oneof![one.clone().prop_map(Schedule::One), vec(one, 1..4).prop_map(Schedule::Many)]
}

fn triggers() -> impl Strategy<Value = Vec<Trigger>> {
    let every = duration().prop_map(|time| Every(HumanDuration::from_millis(time.0.as_millis() as u64 + 1000)));
    let at = (2000..2100, 1..13, 1..29).prop_map(|(y, m, d)| At(format!("{y}-{m:02}-{d:02}T18:00:00")));
    let when = prop::sample::select(vec![When::Success, When::Failure, When::Always]);
    let jobs = prop::sample::subsequence(vec!["Parent", "etl/Load", "b.C"], 1..=3);
    let after = option::of((jobs, when))
        .prop_map(|after| after.map(|(jobs, when)| After { jobs: jobs.into_iter().map(String::from).collect(), when }));
    (option::of(schedule()), option::of(every), option::of(at), any::<bool>(), after).prop_map(
        |(schedule, every, at, start, after)| {
            let start = start.then_some(OnStart(true));
            let all = [
                schedule.map(Trigger::Schedule),
                every.map(Trigger::Every),
                at.map(Trigger::At),
                start.map(Trigger::OnStart),
                after.map(Trigger::After),
            ];
            all.into_iter().flatten().collect()
        },
    )
}

fn action() -> impl Strategy<Value = Action> {
    let shell = text().prop_filter("a command is not empty", |text| !text.trim().is_empty()).prop_map(Command::Shell);
    let exec = ("[a-z/]{1,9}", vec(text(), 0..4))
        .prop_map(|(program, args)| Command::Exec(std::iter::once(program).chain(args).collect()));
    prop_oneof![shell, exec].prop_map(Action::Command)
}

fn words() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map("[A-Za-z_é.-][A-Za-z0-9_ :#]{0,8}", text(), 0..4)
}

fn policies() -> impl Strategy<Value = Policies> {
    let zone = option::of(prop::sample::select(vec!["UTC", "Europe/London", "Asia/Kathmandu"]));
    let output = prop_oneof![Just(OrNone::None), (0u64..1 << 50).prop_map(|bytes| OrNone::Some(ByteSize(bytes)))];
    let overlap = prop::sample::select(vec![Overlap::Skip, Overlap::Queue, Overlap::Replace, Overlap::Allow]);
    let directory = option::of("[a-z/.]{1,12}");
    (zone, duration(), directory, words(), option::of(duration()), duration(), overlap, 1u32..=10_000, output, words())
        .prop_map(|(zone, grace, directory, env, timeout, kill_grace, overlap, instances, output, labels)| Policies {
            timezone: zone.map(String::from),
            misfire_grace: grace,
            working_directory: directory,
            env: env.into_iter().collect(),
            timeout,
            kill_grace,
            overlap: Some(overlap),
            max_instances: instances,
            limits: Limits { output, ..Limits::default() },
            labels: labels.into_iter().collect(),
            ..Policies::default()
        })
        .prop_flat_map(|policies| {
            (Just(policies), waiting_policies(), btree_map("secret-[a-z]{1,3}", secret(), 0..3), redact())
        })
        .prop_map(|(policies, waiting, secrets, redact)| Policies {
            secrets,
            redact,
            jitter: waiting.jitter,
            catch_up: waiting.catch_up,
            retry: waiting.retry,
            breaker: waiting.breaker,
            max_queued: waiting.max_queued,
            pool: waiting.pool,
            priority: waiting.priority,
            success: waiting.success,
            ..policies
        })
}

fn secret() -> impl Strategy<Value = Secret> {
    let given = prop::sample::select(vec![Given::Env, Given::File]);
    // Nothing is filled into a command, so that it may hold what looks as if there were.
    let command = prop_oneof![
        "[a-z ${}]{0,9}x".prop_map(SecretCommand::Shell),
        vec("[a-z ${}]{1,9}", 1..3).prop_map(SecretCommand::Exec)
    ];
    let source = prop_oneof![
        text().prop_filter("a path", |path| !path.is_empty()).prop_map(|file| (Some(file), None)),
        command.prop_map(|command| (None, Some(command))),
        Just((None, None)),
    ];
    (source, "[A-Z_$]{1,6}", any::<bool>(), given).prop_map(|((file, command), name, is_credential, given)| {
        let is_named = file.is_none() && command.is_none();
        let env = (is_named && !is_credential).then(|| name.clone());
        Secret { file, command, env, credential: (is_named && is_credential).then_some(name), given }
    })
}

fn redact() -> impl Strategy<Value = Vec<String>> {
    let pattern = prop_oneof![Just(r"password=\S+"), Just("[0-9]{4}"), Just("^(a|b)+?"), Just("schlüssel")];
    vec(pattern.prop_map(String::from), 0..3)
}

/// What the engine keeps runs waiting for.
fn waiting_policies() -> impl Strategy<Value = Policies> {
    let seconds = |range: std::ops::Range<u64>| range.prop_map(HumanDuration::from_secs);
    let policy = prop::sample::select(vec![CatchUpPolicy::None, CatchUpPolicy::Last, CatchUpPolicy::All]);
    let catch_up = (option::of(policy), 1u32..=1_000, seconds(1..900_000));
    let catch_up = catch_up.prop_map(|(policy, max, within)| CatchUp { policy, max, within });
    let backoff = prop::sample::select(vec![Backoff::Constant, Backoff::Linear, Backoff::Exponential]);
    let when = prop::sample::subsequence(vec![RetryWhen::Failure, RetryWhen::Timeout], 1..=2);
    let codes = option::of(vec(0i32..=255, 1..4));
    let retry = (0u32..=1_000, seconds(1..100), backoff, 1u32..100, seconds(100..9_999), seconds(0..9), when, codes);
    let retry = retry.prop_map(|(max, delay, backoff, factor, max_delay, jitter, when, exit_codes)| Retry {
        max,
        delay,
        backoff,
        multiplier: f64::from(factor) + 0.5,
        max_delay,
        jitter,
        when,
        exit_codes,
    });
    let breaker = option::of((1u32..100, seconds(1..9_999)).prop_map(|(after, cooldown)| Breaker { after, cooldown }));
    let pool = option::of("[a-z]{1,6}");
    let success = vec(0i32..=255, 1..4).prop_map(|exit_codes| Success { exit_codes });
    (seconds(0..86_400), catch_up, retry, breaker, 0u32..=100_000, pool, 1u8..=10, success).prop_map(
        |(jitter, catch_up, retry, breaker, max_queued, pool, priority, success)| Policies {
            jitter,
            catch_up,
            retry,
            breaker,
            max_queued,
            pool,
            priority,
            success,
            ..Policies::default()
        },
    )
}

fn spec() -> impl Strategy<Value = JobSpec> {
    let about = (option::of("[a-z]{1,5}(/[a-z0-9]{1,5})?"), option::of(text()), any::<bool>(), any::<bool>());
    let about = about.prop_map(|(name, description, enabled, manual)| About { name, description, enabled, manual });
    (about, triggers(), action(), policies()).prop_map(|(about, triggers, action, policies)| JobSpec {
        about,
        triggers,
        action,
        policies: std::sync::Arc::new(policies),
    })
}

/// A spec as a file has it: a dollar is written twice, but for the command, in which nothing is filled in.
fn written(spec: &JobSpec) -> serde_json::Value {
    let mut value = serde_json::Value::Object(spec.to_map());
    double_dollars(&mut value);
    value
}

fn double_dollars(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => *text = text.replace('$', "$$"),
        serde_json::Value::Object(map) => {
            map.iter_mut().filter(|(key, _)| *key != "command").for_each(|(_, value)| double_dollars(value));
        }
        _ => {}
    }
}

#[track_caller]
fn reads_back(path: &str, text: &str, spec: &JobSpec) {
    let job = read(path, text.as_bytes());
    let errors: Vec<&Problem> = job.problems.iter().filter(|problem| problem.is_error()).collect();
    assert!(errors.is_empty(), "{errors:#?}\n{text}");
    assert_eq!(job.spec.as_ref(), Some(spec), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_spec_reads_back_from_json_as_it_was(spec in spec()) {
        reads_back("job.json", &serde_json::to_string_pretty(&written(&spec)).unwrap(), &spec);
        reads_back("job.json", &serde_json::to_string(&written(&spec)).unwrap(), &spec);
    }

    #[test]
    fn a_spec_reads_back_from_yaml_as_it_was(spec in spec()) {
        reads_back("job.yaml", &serde_yaml::to_string(&written(&spec)).unwrap(), &spec);
    }

    #[test]
    fn a_map_of_a_spec_is_the_spec_again(spec in spec()) {
        prop_assert_eq!(JobSpec::from_map(spec.to_map()).unwrap(), spec);
    }

    #[test]
    fn what_the_types_accept_the_schema_accepts(spec in spec()) {
        let schema = jsonschema::draft7::new(&spec::schema::job()).unwrap();
        let value = written(&spec);
        let errors: Vec<String> = schema.iter_errors(&value).map(|error| error.to_string()).collect();
        prop_assert!(errors.is_empty(), "{errors:?}\n{value:#}");
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_never_load(bytes in vec(any::<u8>(), 0..300)) {
        let job = read("job.yaml", &bytes);
        prop_assert!(job.spec.is_none());
        prop_assert!(job.problems.iter().any(Problem::is_error));
        runner::cli::problems::human(&job.problems, true);
        prop_assert!(read("job.json", &bytes).spec.is_none());
    }

    #[test]
    fn text_that_looks_like_a_file_never_panics(
        text in "([a-z_]{1,9}: ?)?[ \t\n'\"*&!|>%@`{}\\[\\],:#$~0-9a-zé🔑.-]{0,80}(\r?\n[ -]{0,4}(command|env|limits|x-a): ?.{0,20}){0,4}",
    ) {
        for path in ["job.yaml", "job.json", "_defaults.yaml"] {
            let job = read(path, text.as_bytes());
            prop_assert_eq!(job.spec.is_none(), job.problems.iter().any(Problem::is_error));
            for problem in &job.problems {
                prop_assert!(problem.line <= text.matches(['\n', '\r']).count() + 1);
                prop_assert!(problem.line == 0 || problem.column >= 1 && problem.length >= 1);
            }
            runner::cli::problems::human(&job.problems, false);
        }
    }

    #[test]
    fn invalid_text_is_refused(spec in spec(), at in 0usize..200, bad in prop::sample::select(vec!['{', '}', '\u{1}', ']'])) {
        let mut text = serde_json::to_string(&written(&spec)).unwrap();
        // Before a key or after all of it: nowhere inside of a text.
        let places: Vec<usize> = text.match_indices(",\"").map(|(at, _)| at).chain([0, text.len()]).collect();
        text.insert(places[at % places.len()], bad);
        let parsed = serde_json::from_str::<serde_json::Value>(&text);
        prop_assume!(parsed.is_err());
        let job = read("job.json", text.as_bytes());
        prop_assert!(job.spec.is_none());
        prop_assert!(job.problems.iter().any(|problem| problem.is_error() && problem.line > 0), "{text}");
    }

    #[test]
    fn a_missing_action_is_named(spec in spec()) {
        let mut map = written(&spec);
        map.as_object_mut().unwrap().remove(spec.action.key());
        prop_assume!(map != serde_json::json!({}));
        let job = read("job.yaml", serde_yaml::to_string(&map).unwrap().as_bytes());
        let errors: Vec<&str> =
            job.problems.iter().filter(|problem| problem.is_error()).map(|problem| problem.message.as_str()).collect();
        prop_assert_eq!(errors, ["the job has no action, so there is nothing to run"]);
        prop_assert!(job.spec.is_none());
    }

    #[test]
    fn an_unknown_field_is_named_at_its_place(spec in spec(), field in "[a-w]_[a-z]{3,12}_[a-z]{3,12}") {
        prop_assume!(!["kill_grace"].contains(&field.as_str()));
        let mut text = serde_yaml::to_string(&written(&spec)).unwrap();
        let line = text.lines().count() + 1;
        text += &format!("{field}: 1\n");
        let job = read("job.yaml", text.as_bytes());
        let found = job.problems.iter().find(|problem| problem.is_error()).unwrap();
        prop_assert_eq!(&found.message, &format!("unknown field `{field}`"));
        prop_assert_eq!((found.line, found.column, found.length), (line, 1, field.len()));
        prop_assert!(job.spec.is_none());
    }

    #[test]
    fn a_jobs_own_fields_win_over_defaults_and_the_nearest_over_the_farther(
        far in policies(), near in policies(), own in spec(),
    ) {
        let yaml = |policies: &Policies| {
            let mut value = serde_json::to_value(policies).unwrap();
            double_dollars(&mut value);
            serde_yaml::to_string(&value).unwrap()
        };
        let mut defaults = Defaults::default();
        for policies in [&far, &near] {
            let text = yaml(policies);
            let (read, problems) =
                spec::read_defaults(Source { path: "_defaults.yaml", bytes: text.as_bytes() }, &defaults, &context());
            defaults = read.unwrap_or_else(|| panic!("{problems:#?}\n{text}"));
        }
        let text = serde_json::to_string(&written(&own)).unwrap();
        let job = spec::read_job(Source { path: "job.json", bytes: text.as_bytes() }, "job", &defaults, &context());
        let read = job.spec.unwrap_or_else(|| panic!("{:#?}", job.problems)).policies;
        // A timezone of `null` in a defaults file unsets, so that the nearest file alone decides.
        let expected = own.policies.timezone.clone().or(near.timezone);
        prop_assert_eq!(&read.timezone, &expected);
        let nearest_wins = [&far.env, &near.env, &own.policies.env];
        let env = nearest_wins.into_iter().flat_map(|env| env.iter()).map(|(name, text)| (name.to_string(), text.to_string()));
        prop_assert_eq!(&read.env, &env.collect());
    }
}
