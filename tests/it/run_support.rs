//! What the tests of attempts stand on: real processes in a directory of their own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use runner::model::{HumanDuration, Stream};
use runner::os::exec::Text;
use runner::os::spawn::Newborn;
use runner::run::{Attempt, Control, Ended, Observer, Plan, Stop};

/// What an attempt told.
#[derive(Default)]
pub struct Told {
    pub out: Vec<u8>,
    pub err: Vec<u8>,
    pub newborn: Option<Newborn>,
    pub settled: Option<Option<i32>>,
    pub warnings: Vec<String>,
}

impl Told {
    pub fn out(&self) -> String {
        String::from_utf8(self.out.clone()).unwrap()
    }
}

/// Listens, and may answer to what is printed.
struct Ear<'a> {
    told: Told,
    on_output: &'a mut dyn FnMut(&str, &Told),
}

impl Observer for Ear<'_> {
    fn newborn(&mut self, newborn: Newborn) {
        self.told.newborn = Some(newborn);
    }

    fn settled(&mut self, pid: Option<i32>) {
        assert_eq!(self.told.settled, None, "settled is called once");
        self.told.settled = Some(pid);
    }

    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        assert!(self.told.settled.is_some(), "settled comes first");
        match stream {
            Stream::Out => self.told.out.extend_from_slice(bytes),
            Stream::Err => self.told.err.extend_from_slice(bytes),
        }
        (self.on_output)(&String::from_utf8_lossy(bytes), &self.told);
    }

    fn warning(&mut self, text: &str) {
        self.told.warnings.push(text.to_string());
    }
}

pub struct Bench {
    pub directory: tempfile::TempDir,
    pub plan: Plan,
    pub control: Control,
}

impl Bench {
    /// A text for the shell.
    pub fn shell(text: &str) -> Self {
        Self {
            plan: Plan { through_shell: true, ..Self::program(&["/bin/sh", "-c", text]).plan },
            ..Self::program(&[])
        }
        .there()
    }

    pub fn program(argv: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let plan = Plan {
            env: vec![(
                text("PATH"),
                text(std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"))),
            )],
            kill_grace: HumanDuration::from_secs(20),
            ..Plan::new(argv.iter().map(ToString::to_string).collect(), directory.path().to_path_buf())
        };
        Self { directory, plan, control: Control::new().unwrap() }
    }

    fn there(mut self) -> Self {
        self.plan.directory = self.directory.path().to_path_buf();
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn timeout(mut self, ms: u64) -> Self {
        self.plan.timeout = Some(HumanDuration::from_millis(ms));
        self
    }

    pub fn grace(mut self, ms: u64) -> Self {
        self.plan.kill_grace = HumanDuration::from_millis(ms);
        self
    }

    pub fn run(&self) -> (Ended, Told) {
        self.run_and(|_, _| {})
    }

    pub fn run_and(&self, mut on_output: impl FnMut(&str, &Told)) -> (Ended, Told) {
        let mut ear = Ear { told: Told::default(), on_output: &mut on_output };
        let ended = Attempt::carry_out(Box::new(self.plan.clone()), &self.control, &mut ear);
        (ended, ear.told)
    }

    pub fn stop(&self, reason: &str, at_once: bool) {
        self.control.stop(Stop { reason: reason.into(), at_once });
    }

    /// The error of an attempt that could not begin.
    #[track_caller]
    pub fn refusal(&self) -> String {
        let (ended, told) = self.run();
        assert_eq!(told.settled, Some(None), "{ended:?}");
        assert_eq!((ended.outcome.exit_code, ended.outcome.signal, ended.outcome.usage), (None, None, None));
        assert!(!ended.left_behind);
        ended.outcome.error.unwrap()
    }
}

/// Whether a process is there and has not ended.
pub fn is_running(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X'])))
}

#[track_caller]
pub fn is_within(begun: Instant, most: Duration) {
    assert!(begun.elapsed() < most, "{:?}", begun.elapsed());
}

pub fn script(path: &Path, text: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A name or value in the environment of a command.
pub fn text(text: impl Into<OsString>) -> Text {
    Text::Owned(text.into())
}
