//! WHAT: what a run does. One file for each kind; [`Action`] is the one list of them.
//!
//! An action is an inert value; `work()` says what `run` has to carry out for one firing. This layer does no I/O.
//!
//! To add a kind: one new file with a type that implements [`ActionKind`], and one line in `kinds!` below: it declares the
//! file, and the key in job files, the part of the schema and the help follow from it.

mod interpreters;
mod placeholder;

use std::ffi::OsString;

use crate::model::{Fault, Firing, kinds};

pub use placeholder::is_placeholder;

/// One kind of action.
pub trait ActionKind {
    /// Whether `${NAME}` in its strings is filled in when the job is loaded; not where another program reads the text.
    fn expands_environment() -> bool
    where
        Self: Sized,
    {
        true
    }

    /// What is wrong with the value, each at its pointer below the action's own key. Pure.
    fn problems(&self) -> Vec<Fault>;

    /// What is wrong with it in a job that is made due by files, each at its pointer below the action's own key. `is_each`: a run
    /// is for one file; `other`: the key of another trigger of the job, whose runs have no file. Pure.
    fn file_problems(&self, _is_each: bool, _other: Option<&str>) -> Vec<Fault> {
        Vec::new()
    }

    /// What is odd about it in a job that no file makes due, each at its pointer below the action's own key. Pure.
    fn fileless_problems(&self) -> Vec<Fault> {
        Vec::new()
    }

    /// Why it cannot be carried out without a file; `None` if it can.
    fn needs_file(&self) -> Option<String> {
        None
    }

    /// What is to be carried out for one firing.
    fn work(&self, firing: &Firing) -> Work;

    /// The action on one line, as lists show it.
    fn words(&self) -> String;
}

/// What `run` carries out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// A program with its arguments, found along `PATH` unless it has a slash.
    Process {
        argv: Vec<OsString>,
        /// Whether the program is the shell that the runner itself put in front of the text.
        through_shell: bool,
        /// The same without the shell, where that comes to the same; the shell is left for what cannot be executed.
        direct: Option<Vec<OsString>>,
    },
}

// The one list of actions.
kinds! {
    /// A job's action, of any kind.
    Action: ActionKind {
        command::Command = "command",
    }
}

impl Action {
    /// What is wrong with it, each at its pointer from the job's root. Pure.
    pub fn problems(&self) -> Vec<Fault> {
        Fault::below(self.key(), self.kind().problems())
    }

    /// What is wrong with it in a job that is made due by files, each at its pointer from the job's root. Pure.
    pub fn file_problems(&self, is_each: bool, other: Option<&str>) -> Vec<Fault> {
        Fault::below(self.key(), self.kind().file_problems(is_each, other))
    }

    /// What is odd about it in a job that no file makes due, each at its pointer from the job's root. Pure.
    pub fn fileless_problems(&self) -> Vec<Fault> {
        Fault::below(self.key(), self.kind().fileless_problems())
    }

    /// Why it cannot be carried out without a file; `None` if it can.
    pub fn needs_file(&self) -> Option<String> {
        self.kind().needs_file()
    }

    /// What is to be carried out for one firing.
    pub fn work(&self, firing: &Firing) -> Work {
        self.kind().work(firing)
    }

    /// The action on one line, as lists show it.
    pub fn words(&self) -> String {
        self.kind().words()
    }
}
