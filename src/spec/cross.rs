//! Checks that need more than one field, or more than a schema can say.

use std::path::Path;

use jiff::tz::TimeZone;

use super::identity::{InheritEnv, Tmp};
use super::job::JobSpec;
use super::overlap::Overlap;
use super::policies::Policies;
use super::redact;
use super::retry::Retry;
use super::runner::RunnerSpec;
use super::secrets;
use super::shown::shown;
use super::suggest;
use super::types::escape;
use crate::action::is_placeholder;
use crate::model::{ByteSize, Fault, HumanDuration, OrNone};
use crate::trigger::{BatchMode, Trigger};

/// The shortest size at which logs may rotate: one whole record fits.
const LEAST_LOG: ByteSize = ByteSize(64 << 10);
const SECOND: HumanDuration = HumanDuration::from_secs(1);
const DAY: HumanDuration = HumanDuration::from_secs(86_400);
/// The shortest wait between two attempts.
const SHORTEST_WAIT: HumanDuration = HumanDuration::from_millis(100);

/// What is wrong with a job across its fields.
pub(super) fn job(spec: &JobSpec) -> Vec<Fault> {
    let mut faults = policies(&spec.policies);
    if let (true, Some(trigger)) = (spec.about.manual, spec.triggers.first()) {
        let message = format!("`manual: true` is for jobs without a trigger, this one has `{}`", trigger.key());
        faults.push(Fault::warning("/manual", message).help("remove one of the two"));
    }
    if let Some(mode) = spec.files() {
        faults.extend(watch(spec, mode));
    }
    faults
}

/// What its own file says and means nothing, where files alone make the job due. `is_own`: whether its own file has that field, as
/// the defaults of a folder are for other jobs too.
pub(super) fn idle_in_a_watch(spec: &JobSpec, is_own: impl Fn(&str) -> bool) -> Vec<Fault> {
    if spec.triggers.is_empty() || spec.triggers.iter().any(|trigger| trigger.files().is_none()) {
        return Vec::new();
    }
    let about_times = "is about times, and files alone make this job due";
    let idle = ["jitter", "misfire_grace", "catch_up"].into_iter().filter(|name| is_own(name));
    idle.map(|name| Fault::warning(format!("/{name}"), format!("`{name}` {about_times}")).help("remove it")).collect()
}

/// What is wrong with a watch across its fields.
fn watch(spec: &JobSpec, mode: BatchMode) -> Vec<Fault> {
    let others = spec.triggers.iter().find(|trigger| trigger.files().is_none()).map(Trigger::key);
    let mut faults = spec.action.file_problems(mode == BatchMode::Each, others);
    if spec.overlap() == Overlap::Skip {
        let message = "files that become complete while a run is active are passed over";
        let fault = Fault::warning("/overlap", message);
        faults.push(fault.help("leave `overlap` out: they wait in the watch's ledger then"));
    }
    if spec.overlap() == Overlap::Replace && mode == BatchMode::Each {
        let message = "a file that becomes complete ends the run of another one, which is failed then";
        let fault = Fault::warning("/overlap", message);
        faults.push(fault.help("leave `overlap` out: it waits then; or write `batch: { mode: all }`"));
    }
    for (name, value) in spec.policies.env.iter().filter(|(_, value)| is_placeholder(value)) {
        let message = format!("`{value}` is not filled in here");
        let fault = Fault::warning(format!("/env/{}", escape(name)), message);
        faults.push(fault.help("the command gets the file in RUNNER_PATH and RUNNER_EVENT"));
    }
    faults
}

/// What is wrong with policies across their fields, in a job or in defaults.
pub(super) fn policies(policies: &Policies) -> Vec<Fault> {
    let mut faults: Vec<Fault> = policies.timezone.iter().filter_map(|name| zone("/timezone", name)).collect();
    if policies.timeout.is_some_and(HumanDuration::is_zero) {
        let fault = Fault::error("/timeout", "a timeout of 0s would end every run at once");
        faults.push(fault.help("leave `timeout` out, or write `null`, for no limit"));
    }
    for (at, window) in policies.blackout.iter().enumerate() {
        faults.extend(
            window
                .problems()
                .into_iter()
                .map(|fault| Fault { pointer: format!("/blackout/{at}{}", fault.pointer), ..fault }),
        );
    }
    faults.extend(retry(&policies.retry));
    if let Some(sandbox) = &policies.sandbox {
        if !sandbox.write.is_empty() && !sandbox.read_only {
            let message = "`write` means nothing without `read_only: true`: the command may write everywhere";
            faults.push(Fault::error("/sandbox/write", message).help("write `read_only: true` beside it"));
        }
        if sandbox.read_only && policies.no_new_privs == Some(false) {
            let message =
                "`sandbox.read_only` needs it: the kernel lets nobody close himself in who may get more rights";
            faults.push(Fault::error("/no_new_privs", message).help("leave `no_new_privs` out"));
        }
        for (at, path) in sandbox.write.iter().enumerate() {
            if path.as_os_str().is_empty() || path.to_string_lossy().contains('\0') {
                faults.push(Fault::error(format!("/sandbox/write/{at}"), "this is not a path"));
            }
        }
    }
    faults.extend(below_private_tmp(policies));
    if matches!(policies.stop_signal.0, libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU | libc::SIGCONT) {
        let message = "this signal stops or continues a command and does not ask it to end";
        faults.push(Fault::error("/stop_signal", message).help("write one such as `SIGTERM` or `SIGINT`"));
    }
    if let InheritEnv::Names(names) = &policies.inherit_env {
        for (at, _) in names.iter().enumerate().filter(|(_, name)| name.contains(['=', '\0'])) {
            let message = "the name of an environment variable cannot hold `=` or NUL";
            faults.push(Fault::error(format!("/inherit_env/{at}"), message));
        }
    }
    if policies.jitter > DAY {
        let message = format!("{} is too long a spread, at most {DAY}", policies.jitter);
        faults.push(Fault::error("/jitter", message));
    }
    if policies.catch_up.within < SECOND {
        let message = format!("{} is too short, at least {SECOND}", policies.catch_up.within);
        faults.push(Fault::error("/catch_up/within", message).help("for no catching up write `policy: none`"));
    }
    if let Some(breaker) = &policies.breaker
        && breaker.cooldown < SECOND
    {
        let message = format!("{} is too short, at least {SECOND}", breaker.cooldown);
        faults.push(Fault::error("/breaker/cooldown", message));
    }
    if policies.max_instances > 1 && policies.overlap == Some(Overlap::Allow) {
        let message = "`max_instances` means nothing beside `overlap: allow`, which sets no limit";
        faults.push(Fault::warning("/max_instances", message).help("remove one of the two"));
    }
    if policies.working_directory.as_ref().is_some_and(|path| path.contains('\0')) {
        faults.push(Fault::error("/working_directory", "a path cannot hold a NUL character"));
    }
    for (name, value) in policies.env.iter() {
        let pointer = || format!("/env/{}", escape(name));
        faults.extend(variable_name(pointer(), name));
        if value.contains('\0') {
            faults.push(Fault::error(pointer(), "an environment variable cannot hold a NUL character"));
        }
    }
    faults.extend(secrets::problems(policies));
    faults.extend(redact::problems(&policies.redact));
    faults
}

/// Paths that a private /tmp covers: what stands there cannot be seen any more.
fn below_private_tmp(policies: &Policies) -> Vec<Fault> {
    let Some(sandbox) = policies.sandbox.as_ref().filter(|sandbox| sandbox.tmp == Tmp::Private) else {
        return Vec::new();
    };
    let own = policies.working_directory.as_ref().map(|path| ("/working_directory".to_string(), Path::new(path)));
    let write = sandbox.write.iter().enumerate().map(|(at, path)| (format!("/sandbox/write/{at}"), path.as_path()));
    let covered = own.into_iter().chain(write).filter_map(|(pointer, path)| {
        let tmp = ["/tmp", "/var/tmp"].into_iter().find(|tmp| path.strip_prefix(tmp).is_ok_and(|rest| rest != ""))?;
        let message = format!("`tmp: private` covers what stands below {tmp}, so this is not there for the command");
        Some(Fault::error(pointer, message).help(format!("name a place outside of {tmp}, or leave out `tmp: private`")))
    });
    covered.collect()
}

/// What is wrong with the name of an environment variable, the key at the pointer.
pub(super) fn variable_name(pointer: String, name: &str) -> Option<Fault> {
    if name.is_empty() {
        return Some(Fault::error(pointer, "the name of an environment variable is empty").of_key());
    }
    name.contains(['=', '\0']).then(|| {
        let message = format!("the name of an environment variable cannot hold `=` or NUL, found `{}`", shown(name));
        Fault::error(pointer, message).of_key()
    })
}

/// What is wrong with the waits between attempts.
fn retry(retry: &Retry) -> Vec<Fault> {
    let mut faults = Vec::new();
    if retry.delay < SHORTEST_WAIT {
        let message = format!("{} is too short a wait, at least {SHORTEST_WAIT}", retry.delay);
        faults.push(
            Fault::error("/retry/delay", message).help("a command that fails at once would be started without end"),
        );
    } else if retry.max_delay < retry.delay && retry.max_delay != Retry::default().max_delay {
        let message = format!("no wait may be longer than {}, and the first one is {}", retry.max_delay, retry.delay);
        faults.push(Fault::error("/retry/max_delay", message).help("raise `max_delay`, or lower `delay`"));
    }
    if retry.jitter > DAY {
        faults.push(Fault::error("/retry/jitter", format!("{} is too long, at most {DAY}", retry.jitter)));
    }
    faults
}

/// What is wrong with the settings of the runner across their fields.
pub(super) fn runner(spec: &RunnerSpec) -> Vec<Fault> {
    let mut faults: Vec<Fault> = zone("/timezone", &spec.timezone).into_iter().collect();
    let mut at_least = |pointer: &str, value: HumanDuration, least: HumanDuration| {
        if value < least {
            faults.push(Fault::error(pointer, format!("{value} is too short, at least {least}")));
        }
    };
    at_least("/reload/debounce", spec.reload.debounce, HumanDuration::from_millis(10));
    at_least("/reload/max_wait", spec.reload.max_wait, spec.reload.debounce);
    at_least("/reload/scan", spec.reload.scan, SECOND);
    at_least("/health/interval", spec.health.interval, SECOND);
    if let OrNone::Some(age) = spec.logs.max_age {
        at_least("/logs/max_age", age, HumanDuration::from_secs(60));
    }
    if spec.logs.max_size < LEAST_LOG {
        let message = format!("{} is too small, at least 64K, so that each record fits", spec.logs.max_size);
        faults.push(Fault::error("/logs/max_size", message));
    }
    if let OrNone::Some(total) = spec.logs.max_total
        && total < spec.logs.max_size
    {
        let message = format!("{total} in all is less than one file's `max_size`, {}", spec.logs.max_size);
        faults.push(Fault::error("/logs/max_total", message));
    }
    for name in spec.pools.keys().filter(|name| name.is_empty()) {
        faults.push(Fault::error(format!("/pools/{}", escape(name)), "the name of a pool is empty").of_key());
    }
    if spec.logs.directory.contains('\0') {
        faults.push(Fault::error("/logs/directory", "a path cannot hold a NUL character"));
    }
    faults
}

/// What is wrong with the name of a time zone.
pub(super) fn zone(pointer: &str, name: &str) -> Option<Fault> {
    if TimeZone::get(name).is_ok_and(|zone| !zone.is_unknown()) {
        return None;
    }
    let fault = Fault::error(pointer, format!("there is no time zone `{}`", shown(name)));
    let known: Vec<String> = jiff::tz::db().available().map(|name| name.as_str().to_string()).collect();
    let city = |name: &str| name.to_lowercase().replace(' ', "_");
    let meant = known
        .iter()
        .find(|known| known.rsplit('/').next().is_some_and(|last| city(last) == city(name)))
        .map(String::as_str)
        .or_else(|| suggest::nearest(name, known.iter().map(String::as_str)));
    Some(match meant {
        Some(meant) => fault.help(format!("did you mean `{meant}`?")),
        None => fault.help("write an IANA name such as `Europe/London`, or `UTC`"),
    })
}
