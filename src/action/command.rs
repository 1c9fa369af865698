use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{ActionKind, Work};
use crate::model::{Fault, Firing};

/// A command: a string for `sh -c`, or a list of a program and its arguments without a shell.
///
/// What a person adds with `run JOB -- ARGS` follows the list, and is `"$@"` in the string form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Command {
    Shell(String),
    Exec(Vec<String>),
}

impl ActionKind for Command {
    fn expands_environment() -> bool {
        false
    }

    fn problems(&self) -> Vec<Fault> {
        let nul = |pointer: String, text: &str| {
            text.contains('\0').then(|| Fault::error(pointer, "a command cannot hold a NUL character"))
        };
        match self {
            Self::Shell(text) if text.trim().is_empty() => vec![Fault::error("", "the command is empty")],
            Self::Shell(text) => nul(String::new(), text).into_iter().collect(),
            Self::Exec(argv) => {
                let mut faults: Vec<Fault> =
                    argv.iter().enumerate().filter_map(|(i, text)| nul(format!("/{i}"), text)).collect();
                if argv.first().is_none_or(|program| program.is_empty()) {
                    faults.push(
                        Fault::error("", "the command is empty").help("the list's first item is the program to run"),
                    );
                }
                faults
            }
        }
    }

    fn work(&self, firing: &Firing) -> Work {
        match self {
            Self::Shell(text) => {
                let mut argv: Vec<String> = vec!["/bin/sh".into(), "-c".into(), text.clone()];
                if !firing.args.is_empty() {
                    argv.push("sh".into());
                    argv.extend_from_slice(&firing.args);
                }
                Work::Process { argv, through_shell: true }
            }
            Self::Exec(argv) => {
                Work::Process { argv: argv.iter().chain(&firing.args).cloned().collect(), through_shell: false }
            }
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Shell(text) => text.trim().to_string(),
            Self::Exec(argv) => argv.iter().map(|arg| quoted(arg)).collect::<Vec<_>>().join(" "),
        }
    }
}

/// An argument as a shell would need it written.
fn quoted(arg: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%{}".contains(c);
    if !arg.is_empty() && arg.chars().all(plain) {
        return arg.into();
    }
    format!("'{}'", arg.replace('\'', r"'\''")).into()
}

impl JsonSchema for Command {
    fn schema_name() -> Cow<'static, str> {
        "Command".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The command: a string is run by `sh -c`, a list is a program and its arguments without a shell. \
                            `${NAME}` is left to the shell.",
            "type": ["string", "array"],
            "items": { "type": "string" },
            "minLength": 1,
            "minItems": 1,
            "x-expects": "a command: a string for the shell, or a list of a program and its arguments",
            "examples": ["./bin/summary --day yesterday", ["rsync", "-a", "src/", "dst/"]],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_shown_as_a_shell_would_need_them() {
        let command = Command::Exec(vec!["echo".into(), "it's".into(), "a b".into(), "".into()]);
        assert_eq!(command.words(), r"echo 'it'\''s' 'a b' ''");
    }
}
