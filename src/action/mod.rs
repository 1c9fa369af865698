//! WHAT: what a run does. One file for each kind; [`Action`] is the one list of them.
//!
//! An action is an inert value; `work()` says what `run` has to carry out for one firing. This layer does no I/O.
//!
//! To add a kind: one new file with a type that implements [`ActionKind`], and one line in `kinds!` below. Its key in job
//! files, its part of the schema and its help follow from that line.

mod command;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, de::DeserializeOwned};

use crate::model::{Fault, Firing};

pub use command::Command;

/// One kind of action.
pub trait ActionKind: Clone + PartialEq + std::fmt::Debug + Serialize + DeserializeOwned + JsonSchema {
    /// Whether `${NAME}` in its strings is filled in when the job is loaded; not where another program reads the text.
    const EXPANDS_ENVIRONMENT: bool;

    /// What is wrong with the value, each at its pointer below the action's own key. Pure.
    fn problems(&self) -> Vec<Fault>;

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
        argv: Vec<String>,
        /// Whether the program is the shell that the runner itself put in front of the text.
        through_shell: bool,
    },
}

macro_rules! kinds {
    ($($variant:ident = $key:literal),+ $(,)?) => {
        /// A job's action, of any kind.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Action { $($variant($variant)),+ }

        impl Action {
            /// The keys of all kinds in job files.
            pub const KEYS: &'static [&'static str] = &[$($key),+];

            /// This action's key in job files.
            pub fn key(&self) -> &'static str {
                match self { $(Self::$variant(_) => $key),+ }
            }

            /// Whether `${NAME}` is filled in below this key; `None` if no kind has it.
            pub fn expands_environment(key: &str) -> Option<bool> {
                match key {
                    $($key => Some(<$variant as ActionKind>::EXPANDS_ENVIRONMENT),)+
                    _ => None,
                }
            }

            /// The action that `key: value` says; `None` if no kind has this key.
            pub fn from_value(key: &str, value: serde_json::Value) -> Option<serde_json::Result<Self>> {
                match key {
                    $($key => Some(serde_json::from_value(value).map(Self::$variant)),)+
                    _ => None,
                }
            }

            /// What stands behind the key in job files.
            pub fn to_value(&self) -> serde_json::Result<serde_json::Value> {
                match self { $(Self::$variant(value) => serde_json::to_value(value)),+ }
            }

            /// The schema of what stands behind each key.
            pub fn schemas(generator: &mut SchemaGenerator) -> Vec<(&'static str, Schema)> {
                vec![$(($key, <$variant as JsonSchema>::json_schema(generator))),+]
            }

            /// What is wrong with it, each at its pointer from the job's root. Pure.
            pub fn problems(&self) -> Vec<Fault> {
                let mut faults = match self { $(Self::$variant(value) => value.problems()),+ };
                for fault in &mut faults {
                    fault.pointer.insert_str(0, self.key());
                    fault.pointer.insert(0, '/');
                }
                faults
            }

            /// What is to be carried out for one firing.
            pub fn work(&self, firing: &Firing) -> Work {
                match self { $(Self::$variant(value) => value.work(firing)),+ }
            }

            /// The action on one line, as lists show it.
            pub fn words(&self) -> String {
                match self { $(Self::$variant(value) => value.words()),+ }
            }
        }
    };
}

// The one list of actions: a type of its own file, and its key in job files.
kinds! {
    Command = "command",
}
