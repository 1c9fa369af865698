//! Runs that a crash of the runner cut short: what is left of them is ended before anything new runs, and they get the end
//! that is missing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::model::{Clock, Firing, JobName, Outcome, Parent, RunId, Status};
use crate::os::boot;
use crate::os::cgroup::{Home, Leftover};
use crate::os::clock::SystemClock;
use crate::os::process::Handle;
use crate::record::{JobLog, OutputLog, RunFacts, Start};

/// When the runs were due that were cut short, and their parents, by job.
pub(super) type CutShort = HashMap<JobName, Vec<(Timestamp, Vec<Parent>)>>;

const WHY: &str = "the runner ended while the run was active";
const GRACE: Duration = Duration::from_secs(10);
/// How often it is looked again for processes that others started meanwhile.
const LOOKS: usize = 5;

/// Ends what is left of these runs, and records them as interrupted. Returns how many processes had to be ended.
///
/// `place`: how the place of this runner's groups is called ([`crate::os::cgroup::place_name`]). A group of another place that the
/// records name is another runner's, and holds another run by now: these logs are a copy of that one's.
pub(super) fn settle(unfinished: &[(Arc<JobLog>, Start)], place: &str) -> usize {
    if unfinished.is_empty() {
        return 0;
    }
    let mut count = 0;
    // Nobody leaves a control group, and a group carries its run's id, or the run's record says which it was.
    let is_own = |group: &str| group.split_once('/').is_some_and(|(of, _)| of == place);
    let of_run = |start: &Start, name: &str| {
        let is_recorded =
            start.boot == boot::boot_id() && start.group.as_deref().is_some_and(|group| group == name && is_own(group));
        is_recorded || start.run.to_string() == name
    };
    let groups = Home::leftovers(|name| unfinished.iter().any(|(_, start)| of_run(start, name)));
    let mut survivors = find(unfinished, &groups);
    // Looked for again, since one that is told to end may start others before it does.
    for _ in 0..LOOKS {
        if survivors.is_empty() {
            break;
        }
        count += survivors.len();
        end(&mut survivors, libc::SIGTERM, GRACE);
        groups.iter().for_each(Leftover::kill);
        end(&mut survivors, libc::SIGKILL, GRACE);
        for survivor in &survivors {
            tracing::error!(target: "run", pid = survivor.pid, "a process of an interrupted run could not be ended");
        }
        if !survivors.is_empty() {
            break;
        }
        survivors = find(unfinished, &groups);
    }
    // One that starts another and ends, again and again, may have been missed by each look. In its group it is not.
    for group in &groups {
        if !group.wait_until_empty(Instant::now()) {
            count += group.pids().len();
            group.kill();
            group.wait_until_empty(Instant::now() + GRACE);
        }
        group.remove();
    }
    for (log, start) in unfinished {
        let facts = RunFacts {
            run: start.run,
            firing: Firing {
                parents: start.parents.clone(),
                ..Firing::new(start.job.clone(), start.triggered_by, start.due)
            },
            attempt: start.attempt,
            started: start.started,
            spec: start.spec.clone(),
            commit: start.commit.clone(),
        };
        let now = SystemClock.now();
        OutputLog::new(log.clone(), start.run, None).marker(&format!("end {}: {WHY}", Status::Interrupted), now);
        log.end(&facts, Outcome { status: Status::Interrupted, ..Outcome::failed(WHY) }, now);
        tracing::warn!(target: "run", run = %start.run, "{}: interrupted, the runner had ended while it was active", start.job);
    }
    // All are written before the first is waited for. Before anything new runs.
    for (log, _) in unfinished {
        log.commit();
    }
    count
}

/// The run that this process is a part of, if that is one of these.
pub(super) fn own_run(unfinished: &[(Arc<JobLog>, Start)]) -> Option<RunId> {
    let own = std::env::var("RUNNER_RUN_ID").ok()?;
    unfinished.iter().map(|(_, start)| start.run).find(|run| run.to_string() == own)
}

fn find(unfinished: &[(Arc<JobLog>, Start)], groups: &[Leftover]) -> Vec<Handle> {
    let same_boot = |start: &Start| start.boot == boot::boot_id();
    let grouped = || groups.iter().flat_map(Leftover::pids).collect::<Vec<i32>>();
    let in_groups = grouped();
    let mut survivors = Vec::new();
    for pid in boot::all_pids() {
        if pid == std::process::id() as i32 {
            continue;
        }
        let Some(handle) = Handle::open(pid) else { continue };
        // The command itself by what its record says of it, its children by what it gave them.
        let is_command = unfinished.iter().any(|(_, start)| {
            same_boot(start)
                && start.pid == Some(pid)
                && start.pid_started.is_some_and(|ticks| boot::start_time(pid) == Some(ticks))
        });
        // Looked at a second time now that it is held.
        let is_in_group = in_groups.contains(&pid) && grouped().contains(&pid);
        let is_child = || {
            let run = boot::run_id_of(pid);
            run.is_some_and(|run| unfinished.iter().any(|(_, start)| start.run.to_string() == run))
        };
        if !is_command && !is_in_group && !is_child() {
            continue;
        }
        // The process that is held is still there, so the number was its own while it was looked at.
        if !handle.has_ended() {
            survivors.push(handle);
        }
    }
    survivors
}

/// Sends the signal to all and waits until they are gone; leaves those that are not.
fn end(survivors: &mut Vec<Handle>, signal: i32, grace: Duration) {
    for survivor in survivors.iter() {
        survivor.signal(signal);
        survivor.signal(libc::SIGCONT);
    }
    let deadline = Instant::now() + grace;
    while !survivors.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        let gone: Vec<bool> = {
            let mut fds: Vec<PollFd<'_>> = survivors.iter().map(|s| PollFd::new(s.fd(), PollFlags::IN)).collect();
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) as _ };
            if poll(&mut fds, Some(&timeout)).is_err() {
                continue;
            }
            fds.iter().map(|fd| !fd.revents().is_empty()).collect()
        };
        let mut gone = gone.into_iter();
        survivors.retain(|_| !gone.next().unwrap_or(false));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};

    use crate::model::{JobName, TriggeredBy};
    use crate::record::{Layout, Records, Settings, Synced, TornTail, restore_all};

    use super::*;

    /// A process of this test alone, which is ended with it.
    struct Process(Child);

    impl Drop for Process {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    impl Process {
        /// In a session of its own, ready when this returns.
        fn start(script: &str, run: Option<RunId>) -> Self {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", &format!("{script}\necho ready; while :; do sleep 0.05; done")]);
            command.env_remove("RUNNER_RUN_ID").stdout(Stdio::piped());
            if let Some(run) = run {
                command.env("RUNNER_RUN_ID", run.to_string());
            }
            // SAFETY: one async-signal-safe call.
            unsafe { command.pre_exec(|| rustix::process::setsid().map(drop).map_err(Into::into)) };
            let mut child = command.spawn().unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, "ready\n");
            Self(child)
        }

        fn pid(&self) -> i32 {
            self.0.id() as i32
        }

        fn is_running(&mut self) -> bool {
            self.0.try_wait().unwrap().is_none()
        }

        fn survivor(&self) -> Handle {
            Handle::open(self.pid()).unwrap()
        }
    }

    struct Crashed {
        _directory: tempfile::TempDir,
        records: Arc<Records>,
        job: JobName,
    }

    impl Crashed {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let settings = Settings { max_size: 1_000_000, max_files: 2, synced: Synced::Nothing };
            let records = Records::new(Layout::new(directory.path()), settings);
            Self { _directory: directory, records, job: JobName::new("a").unwrap() }
        }

        /// A run that began as this process and has no end.
        fn run(&self, run: RunId, process: Option<(i32, u64)>) {
            let due = SystemClock.now();
            let firing = Firing::new(self.job.clone(), TriggeredBy::Cron, due);
            let facts = RunFacts { run, firing, attempt: 1, started: due, spec: None, commit: None };
            let log = self.records.job(&self.job);
            let mut start = log.prepare_start(&facts);
            if let Some((pid, ticks)) = process {
                start.write_in_child(pid, ticks);
            }
            start.settle();
        }

        /// The run's line names another boot.
        fn was_before_the_boot(&self, run: RunId) {
            let path = self.records.layout.runs(&self.job);
            let text = std::fs::read_to_string(&path).unwrap();
            let old = |line: &str| match line.contains(&format!("\"run\":\"{run}\"")) {
                true => line.replace(boot::boot_id(), "00000000-0000-4000-8000-000000000000"),
                false => line.to_string(),
            };
            let lines: Vec<String> = text.lines().map(|line| old(line) + "\n").collect();
            assert_ne!(lines.concat(), text);
            std::fs::write(&path, lines.concat()).unwrap();
        }

        /// As a runner that starts again does it.
        fn start_again(&self) -> (usize, Arc<Records>) {
            let records = Records::new(self.records.layout.clone(), self.records.settings());
            let mut unfinished = Vec::new();
            for (job, restored) in restore_all(&records.layout, TornTail::Cut) {
                let log = records.restored(&job, restored.unwrap());
                unfinished.extend(log.unfinished().into_iter().map(|start| (log.clone(), start)));
            }
            (settle(&unfinished, "runner-1-2"), records)
        }
    }

    fn id(n: u128) -> RunId {
        use std::hash::{BuildHasher, Hasher};
        thread_local! {
            /// Of this test alone, so that tests side by side do not find each other's.
            static OWN: u64 = std::hash::RandomState::new().build_hasher().finish();
        }
        RunId::from_u128(u128::from(OWN.with(|own| *own)) << 64 | 0x7000_8000_0000_0000_0000 | n)
    }

    #[test]
    fn the_command_of_an_unfinished_run_and_its_children_are_ended_and_nobody_else() {
        let crashed = Crashed::new();
        let mut command = Process::start("", None);
        let mut child = Process::start("", Some(id(1)));
        let mut of_another_run = Process::start("", Some(id(2)));
        let mut with_a_used_number = Process::start("", None);
        let ticks = |process: &Process| boot::start_time(process.pid()).unwrap();
        crashed.run(id(1), Some((command.pid(), ticks(&command))));
        crashed.run(id(3), Some((with_a_used_number.pid(), ticks(&with_a_used_number) - 1)));
        crashed.run(id(4), None);
        // Its number and ticks are those of a process that is here now, but the machine was started anew since.
        let mut from_before_the_boot = Process::start("", None);
        crashed.run(id(5), Some((from_before_the_boot.pid(), ticks(&from_before_the_boot))));
        crashed.was_before_the_boot(id(5));
        let (ended, records) = crashed.start_again();
        // The two, and perhaps the `sleep 0.05` of the child.
        assert!(ended >= 2);
        assert!(!command.is_running() && !child.is_running());
        assert!(of_another_run.is_running() && with_a_used_number.is_running());
        assert!(from_before_the_boot.is_running());
        let summary = records.summary("a");
        assert_eq!((summary.runs, summary.failures), (4, 4));
        let last = summary.last.unwrap();
        assert_eq!(last.status, Status::Interrupted);
        assert_eq!(last.error.as_deref(), Some("the runner ended while the run was active"));
        assert_eq!(crashed.start_again().0, 0, "the runs have their end now");
    }

    #[test]
    fn a_process_that_one_starts_while_it_is_told_to_end_is_ended_too() {
        let crashed = Crashed::new();
        let script = "trap 'setsid sleep 300 >/dev/null 2>&1 & exit' TERM";
        let mut process = Process::start(script, Some(id(1)));
        crashed.run(id(1), None);
        // The shell, perhaps its own `sleep 0.05`, and the one that it leaves.
        assert!(crashed.start_again().0 >= 2);
        assert!(!process.is_running());
        assert!(boot::all_pids().into_iter().all(|pid| boot::run_id_of(pid) != Some(id(1).to_string())));
    }

    #[test]
    fn without_unfinished_runs_nobody_is_looked_for() {
        assert_eq!(Crashed::new().start_again().0, 0);
    }

    #[test]
    fn who_ignores_sigterm_or_is_stopped_is_killed_after_the_grace() {
        let mut deaf = Process::start("trap '' TERM", None);
        let mut stopped = Process::start("trap '' TERM", None);
        // SAFETY: a signal to a child of this test.
        unsafe { libc::kill(stopped.pid(), libc::SIGSTOP) };
        let mut survivors = vec![deaf.survivor(), stopped.survivor()];
        end(&mut survivors, libc::SIGTERM, Duration::from_millis(50));
        assert_eq!(survivors.len(), 2);
        end(&mut survivors, libc::SIGKILL, GRACE);
        assert!(survivors.is_empty() && !deaf.is_running() && !stopped.is_running());
    }
}
