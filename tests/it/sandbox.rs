//! A user's machine in a temporary directory: a configuration directory, the real binary, and ways to wait for what it does.
//!
//! Nothing here sleeps in order to let something happen: [`wait_for`] looks until a condition holds, and fails with what the
//! runner said if it does not come to hold.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before a test fails. Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(40);

/// Looks until `condition` holds.
#[track_caller]
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    assert!(eventually(PATIENCE, &mut condition), "never came about: {what}");
}

fn eventually(patience: Duration, condition: &mut dyn FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A configuration directory and what lies around it. Gone when it is dropped.
pub struct Sandbox {
    top: TempDir,
    /// The configuration directory, resolved.
    pub dir: PathBuf,
}

impl Sandbox {
    /// With an empty `jobs/`.
    pub fn new() -> Self {
        let sandbox = Self::bare();
        fs::create_dir(sandbox.dir.join("jobs")).unwrap();
        sandbox
    }

    /// With nothing in it.
    pub fn bare() -> Self {
        let top = tempfile::tempdir().unwrap();
        let dir = top.path().canonicalize().unwrap().join("c");
        fs::create_dir(&dir).unwrap();
        Self { top, dir }
    }

    /// The same with a file in it.
    pub fn file(self, path: &str, text: &str) -> Self {
        self.write(path, text);
        self
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    /// A place outside of the configuration directory.
    pub fn outside(&self, path: &str) -> PathBuf {
        self.top.path().canonicalize().unwrap().join(path)
    }

    /// Writes a file in place, as `>` of a shell does.
    #[track_caller]
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Puts a whole file in the place of another, as careful editors do.
    #[track_caller]
    pub fn replace(&self, path: &str, text: &str) {
        let new = self.path(&format!("{path}~"));
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path(path)).unwrap();
    }

    /// Puts a whole file in place, whether there was one or not.
    #[track_caller]
    pub fn replace_or_write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        self.replace(path, text);
    }

    #[track_caller]
    pub fn remove(&self, path: &str) {
        fs::remove_file(self.path(path)).unwrap();
    }

    /// A file's text; empty if there is none.
    pub fn read(&self, path: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(path)).unwrap_or_default()).into_owned()
    }

    /// The binary with a clean environment, in the configuration directory.
    pub fn command<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runner"));
        self.clean(&mut command);
        command.args(args);
        command
    }

    /// Takes out of a command's environment what would change the runner's ways.
    pub fn clean(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("RUNNER_") {
                command.env_remove(name);
            }
        }
        command.current_dir(&self.dir).env("NO_COLOR", "1").env("COLUMNS", "100").env("LC_ALL", "C.UTF-8");
        command.stdin(Stdio::null());
    }

    /// Runs the binary to its end.
    #[track_caller]
    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Ran {
        self.finish(self.command(args))
    }

    /// Runs a command to its end.
    #[track_caller]
    pub fn finish(&self, mut command: Command) -> Ran {
        let shown = format!("{command:?}");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        let (sender, receiver) = std::sync::mpsc::channel();
        let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut err, &mut bytes).unwrap();
            bytes
        });
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut out, &mut bytes).unwrap();
            let stderr = reader.join().unwrap();
            let status = child.wait().unwrap();
            let _ = sender.send(Output { status, stdout: bytes, stderr });
        });
        match receiver.recv_timeout(PATIENCE) {
            Ok(output) => Ran { shown, output, dir: self.dir.to_string_lossy().into_owned() },
            Err(_) => {
                signal(pid, libc::SIGKILL);
                panic!("it hangs: {shown}");
            }
        }
    }

    /// What the binary prints as one JSON document.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let ran = self.run(args);
        serde_json::from_slice(&ran.output.stdout).unwrap_or_else(|error| panic!("{error}: {ran}"))
    }

    /// `runner start`, up and ready.
    #[track_caller]
    pub fn start(&self) -> Runner<'_> {
        self.start_with(&[])
    }

    /// `runner start` with arguments, up and ready.
    #[track_caller]
    pub fn start_with(&self, args: &[&str]) -> Runner<'_> {
        self.start_command(self.command(&[&["start"], args].concat()))
    }

    /// A command that becomes `runner start`, up and ready.
    #[track_caller]
    pub fn start_command(&self, mut command: Command) -> Runner<'_> {
        let (out, err) = (self.outside("stdout"), self.outside("stderr"));
        command.stdout(fs::File::create(&out).unwrap()).stderr(fs::File::create(&err).unwrap());
        let mut runner = Runner { sandbox: self, child: command.spawn().unwrap(), ended: false };
        let ready = eventually(PATIENCE, &mut || {
            runner.stdout().contains("Press Ctrl+C to stop\n") || runner.child.try_wait().unwrap().is_some()
        });
        assert!(ready && runner.child.try_wait().unwrap().is_none(), "not started:\n{}", runner.said());
        runner
    }

    /// Lines of a job's `runs.log`, the rotated ones first.
    #[track_caller]
    pub fn records(&self, job: &str) -> Vec<Value> {
        let path = format!("logs/jobs/{job}/runs.log");
        let mut text = String::new();
        for n in (1..10).rev() {
            text += &self.read(&format!("{path}.{n}"));
        }
        text += &self.read(&path);
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {path}: {line}\n{whole}")))
            .collect()
    }

    /// Records of one kind.
    pub fn events(&self, job: &str, event: &str) -> Vec<Value> {
        self.records(job).into_iter().filter(|record| record["event"] == event).collect()
    }

    /// Waits until so many runs of a job have ended; the records of all that have.
    #[track_caller]
    pub fn wait_for_ends(&self, job: &str, count: usize) -> Vec<Value> {
        let mut ends = Vec::new();
        let came = eventually(PATIENCE, &mut || {
            ends = self.events(job, "end");
            ends.len() >= count
        });
        assert!(came, "{job} ended {} times, not {count} times:\n{}", ends.len(), self.read("logs/runner.log"));
        ends
    }

    /// How many lines of `runner.log` have this text.
    pub fn logged(&self, text: &str) -> usize {
        self.read("logs/runner.log").lines().filter(|line| line.contains(text)).count()
    }

    /// Waits until `runner.log` has a line with this text.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        self.wait_for_logs(text, 1);
    }

    /// Waits until so many lines of `runner.log` have this text.
    #[track_caller]
    pub fn wait_for_logs(&self, text: &str, count: usize) {
        let came = eventually(PATIENCE, &mut || self.logged(text) >= count);
        assert!(came, "not {count} times in runner.log: {text:?}\n{}", self.read("logs/runner.log"));
    }

    /// How often the runner has taken up changes.
    pub fn reloads(&self) -> usize {
        self.logged(" catalog: reload: ")
    }

    /// A job's entry in `list`.
    #[track_caller]
    pub fn entry(&self, job: &str) -> Value {
        let list = self.json(&["list", "--json"]);
        let found = list.as_array().unwrap().iter().find(|entry| entry["name"] == job).cloned();
        found.unwrap_or_else(|| panic!("no {job} in {list}"))
    }

    /// A job's state in `list`; empty if it is not there.
    pub fn state(&self, job: &str) -> String {
        let list = self.json(&["list", "--json"]);
        let found = list.as_array().unwrap().iter().find(|entry| entry["name"] == job).cloned();
        found.map_or(String::new(), |entry| entry["state"].as_str().unwrap().to_string())
    }

    #[track_caller]
    pub fn wait_for_state(&self, job: &str, state: &str) {
        wait_for(&format!("{job} is {state:?}"), || self.state(job) == state);
    }
}

/// A process that ran to its end.
pub struct Ran {
    shown: String,
    pub output: Output,
    dir: String,
}

impl Ran {
    /// Its exit code; 128 + N for signal N.
    pub fn exit(&self) -> i32 {
        self.output.status.code().unwrap_or_else(|| 128 + self.output.status.signal().unwrap())
    }

    /// Its standard output, with the configuration directory as `[DIR]`.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).replace(&self.dir, "[DIR]")
    }

    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).replace(&self.dir, "[DIR]")
    }

    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.exit(), code, "{self}");
        self
    }

    #[track_caller]
    pub fn stdout(self, expected: &str) -> Self {
        assert_eq!(self.out(), expected, "standard output of {self}");
        self
    }

    #[track_caller]
    pub fn stderr(self, expected: &str) -> Self {
        assert_eq!(self.err(), expected, "standard error of {self}");
        self
    }

    /// Both streams together have this text.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.out().contains(text) || self.err().contains(text), "{text:?} is not in {self}");
        self
    }

    #[track_caller]
    pub fn never_says(self, text: &str) -> Self {
        assert!(!self.out().contains(text) && !self.err().contains(text), "{text:?} is in {self}");
        self
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\nexit {}\n-- stdout\n{}-- stderr\n{}", self.shown, self.exit(), self.out(), self.err())
    }
}

/// A running `runner start`. Dropping it ends it and what it runs.
pub struct Runner<'a> {
    sandbox: &'a Sandbox,
    child: Child,
    ended: bool,
}

impl Runner<'_> {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn stdout(&self) -> String {
        fs::read_to_string(self.sandbox.outside("stdout")).unwrap_or_default()
    }

    pub fn stderr(&self) -> String {
        fs::read_to_string(self.sandbox.outside("stderr")).unwrap_or_default()
    }

    fn said(&self) -> String {
        format!("-- stdout\n{}-- stderr\n{}", self.stdout(), self.stderr())
    }

    pub fn signal(&self, number: i32) {
        signal(self.pid(), number);
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until it has ended by itself; its exit code, 128 + N for signal N.
    #[track_caller]
    pub fn wait(mut self) -> i32 {
        let came = eventually(PATIENCE, &mut || self.child.try_wait().unwrap().is_some());
        assert!(came, "it does not end\n{}", self.said());
        self.ended = true;
        let status = self.child.wait().unwrap();
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
    }

    /// Stops it with SIGTERM, which is a clean end.
    #[track_caller]
    pub fn stop(self) {
        self.signal(libc::SIGTERM);
        assert_eq!(self.wait(), 0);
    }

    /// Stops it with all that is active.
    #[track_caller]
    pub fn stop_at_once(self) {
        drop(self);
    }

    /// Kills it, as a crash would.
    pub fn kill(self) {
        self.signal(libc::SIGKILL);
        assert_eq!(self.wait(), 128 + libc::SIGKILL);
    }
}

impl Drop for Runner<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if std::thread::panicking() {
            let log = self.sandbox.read("logs/runner.log");
            let _ = writeln!(std::io::stderr(), "{}-- runner.log\n{log}", self.said());
        }
        // A second signal ends the active runs at once. Signals that come together count as one, so it is said until it is done.
        let child = &mut self.child;
        let ended = eventually(Duration::from_secs(5), &mut || {
            let ended = child.try_wait().unwrap().is_some();
            if !ended {
                signal(child.id(), libc::SIGTERM);
            }
            ended
        });
        if !ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Sends a signal to a process that the test started.
pub fn signal(pid: u32, number: i32) {
    // SAFETY: a plain system call with the id of one process.
    unsafe { libc::kill(i32::try_from(pid).unwrap(), number) };
}

/// Whether a process is there and not a zombie.
pub fn is_alive(pid: i64) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

/// Says why a part of a test cannot be tried here: on standard error, and where `tests/run` gathers it.
pub fn skip(why: &str) {
    if let Some(path) = std::env::var_os("RUNNER_TESTS_SKIPPED") {
        let test = std::thread::current().name().unwrap_or_default().to_string();
        let file = fs::File::options().append(true).open(path);
        let _ = file.and_then(|mut file| file.write_all(format!("{test}: {why}\n").as_bytes()));
    }
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

pub fn is_root() -> bool {
    // SAFETY: a plain system call.
    unsafe { libc::geteuid() == 0 }
}

/// A link, made or swapped in one step.
#[track_caller]
pub fn link(target: impl AsRef<Path>, at: impl AsRef<Path>) {
    let at = at.as_ref();
    let new = at.with_file_name(format!(".new-{}", at.file_name().unwrap().to_string_lossy()));
    std::os::unix::fs::symlink(target, &new).unwrap();
    fs::rename(new, at).unwrap();
}
