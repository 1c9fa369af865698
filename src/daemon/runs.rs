//! Carries out what the engine decided: one attempt on a thread of the pool, observed into the records.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use rustix::process::geteuid;
use tokio::sync::mpsc::UnboundedSender;

use super::as_written::AsWritten;
use super::environment::Environment;
use super::event::Event;
use super::run_files::{self, Handed, RunFiles};
use super::secrets::{self, Secrets};
use crate::action::Work;
use crate::engine::wait_after;
use crate::model::{Clock, HumanDuration, Outcome, Parent, RunId, Stream, rfc3339};
use crate::os::cgroup::Groups;
use crate::os::clock::SystemClock;
use crate::os::exec::Text;
use crate::os::means::Means;
use crate::os::private::Shelves;
use crate::os::spawn::Newborn;
use crate::os::users::{About, Identity};
use crate::record::{End, JobLog, Mask, OutputLog, PreparedStart, Records, RunFacts};
use crate::run::{Attempt, Control, Ended as AttemptEnded, Observer, Plan, confine};
use crate::spec::{InheritEnv, JobSpec};
use crate::watch::Shared;

/// What all runs need.
#[derive(Debug, Clone)]
pub(super) struct RunContext {
    pub records: Arc<Records>,
    pub directory: PathBuf,
    /// Where secrets lie that a command gets as files.
    pub shelves: Shelves,
    pub events: UnboundedSender<Event>,
    /// Where each attempt gets a control group of its own.
    pub groups: Option<Arc<Groups>>,
    pub means: &'static Means,
}

/// One attempt that was decided.
pub(super) struct Run {
    pub facts: RunFacts,
    pub spec: Arc<JobSpec>,
    pub written: AsWritten,
    pub control: Arc<Control>,
    /// The watch whose files it has.
    pub watch: Option<Arc<Shared>>,
    /// The runner ends its runs.
    pub stopping: Arc<AtomicBool>,
}

/// An attempt that is over and recorded.
#[derive(Debug)]
pub(super) struct Ended {
    pub facts: RunFacts,
    pub end: Arc<End>,
    /// Whether it was its run's last one. The engine, which decides so by the same words, may still give the run up.
    pub is_last: bool,
}

impl Ended {
    /// Records the end of an attempt: as the run's end, or as one that is followed by another, which tells of itself alone.
    #[inline(never)]
    pub fn record(
        log: &JobLog,
        facts: RunFacts,
        spec: &JobSpec,
        outcome: Outcome,
        (started, at): (Timestamp, Timestamp),
    ) -> Self {
        let is_last = wait_after(spec, facts.run, facts.attempt, outcome.status, outcome.exit_code).is_none();
        let end = match is_last {
            true => log.end(&facts, outcome, at),
            false => log.attempt(&RunFacts { started, ..facts.clone() }, outcome, at),
        };
        // Before anything that follows from it, such as a chain, or an answer to somebody who waits.
        log.commit();
        Self { facts, end, is_last }
    }
}

impl Run {
    /// The files that it has.
    fn files(&self) -> Option<RunFiles<'_>> {
        let (shared, input) = (self.watch.as_ref()?, self.facts.firing.input.as_deref()?);
        Some(RunFiles { shared, input, stopping: &self.stopping })
    }

    /// Whether the user and the group of `run_as` are shown as they are: nothing was filled in there.
    fn says_whom(&self) -> bool {
        self.spec.policies.run_as.as_ref().is_none_or(|run_as| {
            let is_so = |key, text: &str| self.written.text(&["run_as", key], text) == text;
            is_so("user", &run_as.user) && run_as.group.as_ref().is_none_or(|group| is_so("group", group))
        })
    }

    /// How paths are named in errors.
    fn shown_paths(&self, directory: &Path) -> Vec<(PathBuf, String)> {
        let policies = &self.spec.policies;
        let own = policies.working_directory.iter().map(|path| {
            let path = Path::new(path);
            (directory.join(path), self.written.path(&["working_directory"], path, directory))
        });
        let write = policies.sandbox.iter().flat_map(|sandbox| &sandbox.write).enumerate();
        let write = write.map(|(at, path)| {
            let at = at.to_string();
            (directory.join(path), self.written.path(&["sandbox", "write", &at], path, directory))
        });
        own.chain(write).collect()
    }
}

impl RunContext {
    /// Carries the attempt out to its end. Always tells the loop that it has ended.
    pub fn carry_out(&self, mut run: Run) {
        let started = SystemClock.now();
        if run.facts.attempt == 1 {
            run.facts.started = started;
        }
        let id = run.facts.run;
        if run.facts.attempt > 1 {
            Self::look_again(&mut run);
        } else if !self.has_files(&mut run) {
            return;
        }
        let facts = &run.facts;
        let log = self.records.job(&facts.firing.job);
        if facts.attempt == 1
            && let Some(files) = run.files()
        {
            unharmed(id, || files.begin());
        }
        let attempt = catch_unwind(AssertUnwindSafe(|| self.attempt(&run, &log)));
        let (outcome, ended) = attempt.unwrap_or_else(|_| {
            tracing::error!(target: "run", job = %facts.firing.job, run = %id, "the runner failed while it carried out a run; this is a bug");
            let outcome = Outcome::failed("the runner itself failed; runner.log and standard error say more");
            (outcome, SystemClock.now())
        });
        self.conclude(&run, &log, outcome, (started, ended));
    }

    /// Records the end of an attempt, says it, and tells the loop.
    #[inline(never)]
    fn conclude(&self, run: &Run, log: &JobLog, outcome: Outcome, (started, ended): (Timestamp, Timestamp)) {
        let id = run.facts.run;
        let ended = Ended::record(log, run.facts.clone(), &run.spec, outcome, (started, ended));
        if ended.is_last
            && let Some(files) = run.files()
        {
            unharmed(id, || files.end(&ended.end));
        }
        let (end, job) = (&ended.end, &ended.end.job);
        let ms = end.duration_ms;
        let what = match ended.is_last {
            true => String::new(),
            false => format!("attempt {} of {}: ", end.attempt, run.spec.policies.retry.max + 1),
        };
        match &end.error {
            None => tracing::info!(target: "run", run = %id, "{job}: {what}{} in {ms} ms", end.status),
            Some(error) => {
                tracing::warn!(target: "run", run = %id, "{job}: {what}{} after {ms} ms: {error}", end.status)
            }
        }
        let _ = self.events.send(Event::Ended(ended));
    }

    /// Whether there is anything to run for. Where files have gone since they were looked at last, the run is for the others, or never
    /// was.
    #[inline(never)]
    fn has_files(&self, run: &mut Run) -> bool {
        let mut left = None;
        unharmed(run.facts.run, || left = run.files().and_then(|files| files.look(run.facts.run)));
        let Some(left) = left else { return true };
        let (job, id, is_none_left) = (run.facts.firing.job.clone(), run.facts.run, left.items.is_empty());
        run.facts.firing.input = Some(left);
        let _ = self.events.send(Event::GivenBack { job, withdrawn: is_none_left.then_some(id) });
        !is_none_left
    }

    /// A further attempt is for the same files, whatever they are called by now.
    #[inline(never)]
    fn look_again(run: &mut Run) {
        let mut other = None;
        unharmed(run.facts.run, || other = run.files().and_then(|files| files.look_again(run.facts.run)));
        if let Some(other) = other {
            run.facts.firing.input = Some(other);
        }
    }

    fn attempt(&self, run: &Run, log: &Arc<JobLog>) -> (Outcome, Timestamp) {
        let facts = &run.facts;
        let of = run.spec.policies.retry.max + 1;
        let limit = run.spec.policies.limits.output.into_option().map(|size| size.0);
        let policies = &run.spec.policies;
        let identity = confine::identity(policies).map_err(|error| match run.says_whom() {
            true => format!("`run_as`: {error}"),
            false => "`run_as`: there is no such user or group on this machine".into(),
        });
        let ask = secrets::Ask {
            policies,
            control: &run.control,
            directory: &self.directory,
            written: &run.written,
            inherited: &INHERITED,
            shelves: &self.shelves,
            groups: self.groups.as_ref(),
            owner: identity.as_ref().ok().and_then(Option::as_ref).map(|identity| (identity.uid, identity.gid)),
            facts,
        };
        // Before the job's log is held for the start: a command that prints a secret may take its time.
        let fetched = secrets::fetch(&ask);
        let mask = fetched.mask;
        let mut output = OutputLog::new(log.clone(), facts.run, limit).masked(mask.clone());
        let firing = &facts.firing;
        let words = match facts.attempt {
            1 => format!("start {} {} due {}", firing.job, firing.triggered_by.as_str(), rfc3339(firing.due)),
            attempt => format!("attempt {attempt} of {of}"),
        };
        output.marker(&words, SystemClock.now());
        let mut observer = Recorder { start: Some(log.prepare_start(facts)), output, control: &run.control, facts };
        let handed = run_files::hand(firing.input.as_deref(), facts, &self.shelves, ask.owner);
        let plan = match (identity, &fetched.secrets, &handed) {
            (Ok(identity), Ok(secrets), Ok(handed)) => Ok(self.plan(run, facts, identity, secrets, handed)),
            (Err(error), ..) => Err(error),
            (_, Err(error), _) | (_, _, Err(error)) => Err(error.clone()),
        };
        let ended = match plan {
            Ok(plan) => Attempt::carry_out(plan, &run.control, &mut observer),
            Err(error) => {
                observer.settled(None);
                AttemptEnded { outcome: Outcome::failed(error), ended: SystemClock.now(), left_behind: false }
            }
        };
        drop(fetched.secrets);
        drop(handed);
        Self::outcome(run, observer.output, ended, mask.as_ref())
    }

    /// What an attempt came to, with its output whole and marked.
    #[inline(never)]
    fn outcome(
        run: &Run,
        mut output: OutputLog,
        ended: AttemptEnded,
        mask: Option<&Arc<Mask>>,
    ) -> (Outcome, Timestamp) {
        let (facts, firing) = (&run.facts, &run.facts.firing);
        let of = run.spec.policies.retry.max + 1;
        let now = SystemClock.now();
        if ended.left_behind {
            output.marker("processes that the command left behind were ended", now);
            tracing::warn!(target: "run", run = %facts.run, "{}: processes that the command left behind were ended", firing.job);
        }
        let mut outcome = ended.outcome;
        if let Some(mask) = mask {
            outcome.error = outcome.error.map(|error| mask.text(error.as_bytes()));
        }
        outcome.output = output.finish(now);
        let next = wait_after(&run.spec, facts.run, facts.attempt, outcome.status, outcome.exit_code);
        let words = match (&outcome.error, next) {
            (None, _) => format!("end {}", outcome.status),
            (Some(error), None) => format!("end {}: {error}", outcome.status),
            (Some(error), Some(wait)) => {
                let (status, wait) = (outcome.status, HumanDuration(wait));
                format!("attempt {} of {of} {status}: {error}; next in {wait}", facts.attempt)
            }
        };
        output.marker(&words, now);
        (outcome, ended.ended)
    }

    #[inline(never)]
    fn plan(
        &self,
        run: &Run,
        facts: &RunFacts,
        identity: Option<Identity>,
        secrets: &Secrets,
        handed: &Handed,
    ) -> Box<Plan> {
        let policies = &run.spec.policies;
        let Work::Process { argv, through_shell, direct } = run.spec.action.work(&facts.firing);
        let directory = match &policies.working_directory {
            Some(path) => self.directory.join(path),
            None => self.directory.clone(),
        };
        let mut env = Environment::inherited(INHERITED.iter().map(pair));
        if policies.inherit_env != InheritEnv::All {
            env.retain(|key| policies.inherit_env.has(&key.to_string_lossy()));
        }
        // Who somebody is stands there too.
        if let Some(identity) = &identity {
            become_in(&mut env, identity, geteuid().as_raw());
        }
        for key in &secrets.withheld {
            env.remove(OsStr::new(key));
        }
        for (key, value) in policies.env.iter() {
            env.insert(owned(key), owned(value));
        }
        env.extend(secrets.env.iter().map(|(key, value)| (owned(key), owned(value))));
        let firing = &facts.firing;
        let told: [(&str, OsString); 7] = [
            ("RUNNER_JOB", firing.job.as_str().into()),
            ("RUNNER_RUN_ID", facts.run.to_string().into()),
            ("RUNNER_TRIGGER", firing.triggered_by.as_str().into()),
            ("RUNNER_DUE", rfc3339(firing.due).into()),
            ("RUNNER_ATTEMPT", facts.attempt.to_string().into()),
            ("RUNNER_PRIORITY", policies.priority.to_string().into()),
            ("RUNNER_LOG_DIR", self.records.layout.root().into()),
        ];
        env.extend(told.map(|(key, value)| (known(key), Text::Owned(value))));
        env.extend(handed.env.iter().map(|(key, value)| (owned(key), owned(value))));
        if !firing.parents.is_empty() {
            // Names, ids and statuses hold no spaces, so that several of them are told apart.
            let all = |word: fn(&Parent) -> String| firing.parents.iter().map(word).collect::<Vec<_>>().join(" ");
            env.insert(known("RUNNER_PARENT_JOB"), owned(all(|parent| parent.job.to_string())));
            env.insert(known("RUNNER_PARENT_RUN"), owned(all(|parent| parent.run.to_string())));
            env.insert(known("RUNNER_PARENT_STATUS"), owned(all(|parent| parent.status.to_string())));
        }
        // A shell takes it for granted that this names where it is.
        env.insert(known("PWD"), owned(&directory));
        Box::new(Plan {
            through_shell,
            direct: direct.filter(|_| suits_all(&env)),
            env: env.into_pairs(),
            timeout: policies.timeout,
            stop_signal: policies.stop_signal.0,
            kill_grace: policies.kill_grace,
            success: policies.success.exit_codes.clone(),
            run: facts.run.to_string(),
            attempt: facts.attempt,
            shown_paths: run.shown_paths(&self.directory),
            groups: self.groups.clone(),
            limits: confine::Limits::of(policies, self.means),
            nice: policies.nice,
            umask: policies.umask.map(|umask| umask.0),
            identity,
            walls: confine::walls(policies, &self.directory, self.means),
            no_new_privs: confine::no_new_privs(policies),
            ..Plan::new(argv, directory)
        })
    }
}

/// Whatever becomes of its files, a run comes to its end, and the loop hears of that.
fn unharmed(run: RunId, of_files: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(of_files)).is_err() {
        tracing::error!(target: "run", run = %run, "the runner failed with the files of a run, the next start settles them; this is a bug");
    }
}

/// Variables that say who somebody is.
const WHO: [&str; 4] = ["USER", "LOGNAME", "HOME", "SHELL"];
/// Variables that name what is one user's own: another one could do nothing with it, or should not.
const OF_THE_RUNNERS_USER: [&str; 3] = ["XDG_RUNTIME_DIR", "CREDENTIALS_DIRECTORY", "DBUS_SESSION_BUS_ADDRESS"];

/// Makes an environment that of the user. `own`: who the runner is.
fn become_in(env: &mut Environment, identity: &Identity, own: u32) {
    if identity.uid != own {
        for key in OF_THE_RUNNERS_USER {
            env.remove(OsStr::new(key));
        }
    }
    match &identity.about {
        Some(About { name, home, shell }) => {
            env.extend(WHO.into_iter().map(known).zip([name, name, home, shell].map(owned)));
        }
        // Whoever has no entry is nobody known, at home nowhere, as with login(1).
        None => {
            for key in WHO {
                env.remove(OsStr::new(key));
            }
            env.insert(known("HOME"), known("/"));
        }
    }
}

/// Whether a shell would pass all of it on as it is, and look for programs along the same path: dash drops variables whose
/// names are none of its own, and has another `PATH` where none is set.
fn suits_all(env: &Environment) -> bool {
    let is_name = |key: &OsStr| {
        let key = key.as_bytes();
        key.first().is_some_and(|first| !first.is_ascii_digit())
            && key.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
    };
    env.has(OsStr::new("PATH")) && env.names().all(is_name)
}

fn pair((key, value): (&'static OsString, &'static OsString)) -> (Text, Text) {
    (Text::Borrowed(key), Text::Borrowed(value))
}

fn known(text: &'static str) -> Text {
    Text::Borrowed(OsStr::new(text))
}

fn owned(text: impl AsRef<OsStr>) -> Text {
    Text::Owned(text.as_ref().to_owned())
}

/// The runner's own environment, without what is meant for the runner alone.
static INHERITED: LazyLock<BTreeMap<OsString, OsString>> =
    LazyLock::new(|| std::env::vars_os().filter(|(key, _)| !is_for_us(&key.to_string_lossy())).collect());

/// What a command is told of its own run. A runner that is itself a command of another one has been told it too, of that run.
const TOLD: [&str; 10] = [
    "RUNNER_JOB",
    "RUNNER_RUN_ID",
    "RUNNER_TRIGGER",
    "RUNNER_DUE",
    "RUNNER_ATTEMPT",
    "RUNNER_PRIORITY",
    "RUNNER_LOG_DIR",
    "RUNNER_PATH",
    "RUNNER_EVENT",
    "RUNNER_ITEMS",
];

fn is_for_us(key: &str) -> bool {
    key == "NOTIFY_SOCKET"
        || ["WATCHDOG_", "LISTEN_", "RUNNER_PARENT_"].iter().any(|prefix| key.starts_with(prefix))
        || TOLD.contains(&key)
}

struct Recorder<'a> {
    start: Option<PreparedStart<'a>>,
    output: OutputLog,
    control: &'a Control,
    facts: &'a RunFacts,
}

impl Observer for Recorder<'_> {
    fn is_in_group(&mut self, name: &str) {
        if let Some(start) = &mut self.start {
            start.is_in_group(name);
        }
    }

    fn newborn(&mut self, newborn: Newborn) {
        if let Some(start) = &mut self.start {
            start.write_in_child(newborn.pid, newborn.start_time);
        }
    }

    fn settled(&mut self, pid: Option<i32>) {
        if let Some(start) = self.start.take() {
            start.settle();
        }
        let firing = &self.facts.firing;
        let run = self.facts.run;
        match self.facts.attempt {
            1 => {
                tracing::info!(target: "run", run = %run, "{}: started by {}", firing.job, firing.triggered_by.as_str())
            }
            attempt => tracing::info!(target: "run", run = %run, "{}: attempt {attempt} started", firing.job),
        }
        // The loop looks at it when somebody asks: it is not woken for that.
        if let Some(pid) = pid {
            self.control.runs_as(pid);
        }
    }

    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        self.output.write(stream, bytes, SystemClock.now());
    }

    fn warning(&mut self, text: &str) {
        tracing::warn!(target: "run", run = %self.facts.run, "{}: {text}", self.facts.firing.job);
        self.output.marker(text, SystemClock.now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        let mut env = Environment::inherited([].into_iter());
        env.extend(pairs.iter().map(|(key, value)| (owned(key), owned(value))));
        env
    }

    #[test]
    fn the_shell_is_left_out_only_where_it_would_pass_all_on() {
        assert!(suits_all(&environment(&[("PATH", "/bin"), ("A_b1", "x"), ("_", "y")])));
        for name in ["my.var", "A-B", "1A", "é", ""] {
            assert!(!suits_all(&environment(&[("PATH", "/bin"), (name, "x")])), "{name}");
        }
        assert!(!suits_all(&environment(&[("A", "x")])), "its own path");
    }

    #[test]
    fn another_user_inherits_nothing_that_is_the_runners_users_own() {
        let all = WHO.into_iter().chain(OF_THE_RUNNERS_USER).chain(["LANG"]);
        let inherited = environment(&all.map(|name| (name, "root's")).collect::<Vec<_>>());
        let with = |uid: u32, about: Option<About>| {
            let mut env = inherited.clone();
            become_in(&mut env, &Identity { uid, gid: 1, groups: vec![1], about }, 0);
            env
        };
        assert_eq!(with(7, None), environment(&[("LANG", "root's"), ("HOME", "/")]));
        let about = || About { name: "u".into(), home: "/home/u".into(), shell: "/bin/ash".into() };
        let own = [("HOME", "/home/u"), ("LOGNAME", "u"), ("SHELL", "/bin/ash"), ("USER", "u"), ("LANG", "root's")];
        assert_eq!(with(7, Some(about())), environment(&own));
        assert_eq!(with(0, Some(about())).names().count(), own.len() + OF_THE_RUNNERS_USER.len());
    }

    #[test]
    fn what_this_runner_was_told_of_a_run_of_another_one_is_for_it_alone() {
        for name in ["NOTIFY_SOCKET", "RUNNER_PARENT_JOB", "RUNNER_PATH", "RUNNER_EVENT", "RUNNER_ITEMS", "RUNNER_JOB"]
        {
            assert!(is_for_us(name), "{name}");
        }
        for name in ["PATH", "RUNNER_DIR", "RUNNER_LOGS", "RUNNER_OF_OURS"] {
            assert!(!is_for_us(name), "{name}");
        }
    }
}
