use std::borrow::Cow;
use std::ffi::OsString;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::placeholder;
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

    fn file_problems(&self, is_each: bool, other: Option<&str>) -> Vec<Fault> {
        match self {
            Self::Shell(text) => placeholder::first_in(text).map(placeholder::in_shell_text).into_iter().collect(),
            Self::Exec(argv) => placeholder::problems(argv, is_each, other),
        }
    }

    fn fileless_problems(&self) -> Vec<Fault> {
        match self {
            Self::Shell(_) => Vec::new(),
            Self::Exec(argv) => placeholder::without_files(argv),
        }
    }

    fn needs_file(&self) -> Option<String> {
        let Self::Exec(argv) = self else { return None };
        let word = argv.iter().find_map(|arg| placeholder::first_in(arg))?;
        Some(format!("its command has `{word}`, so it needs a file"))
    }

    fn work(&self, firing: &Firing) -> Work {
        match self {
            Self::Shell(text) => {
                let mut argv: Vec<OsString> = vec!["/bin/sh".into(), "-c".into(), text.into()];
                let mut direct = simple_words(text);
                if !firing.args.is_empty() {
                    argv.push("sh".into());
                    argv.extend(firing.args.iter().map(OsString::from));
                    // They are the shell's, and a simple command does not look at them.
                    direct = None;
                }
                let direct = direct.map(|words| words.into_iter().map(OsString::from).collect());
                Work::Process { argv, through_shell: true, direct }
            }
            Self::Exec(argv) => {
                let item = firing.input.as_ref().and_then(|input| input.one());
                let filled = argv.iter().map(|arg| match item {
                    Some(item) => placeholder::filled(arg, item),
                    None => arg.into(),
                });
                let argv = filled.chain(firing.args.iter().map(OsString::from)).collect();
                Work::Process { argv, through_shell: false, direct: None }
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

/// What a shell does by itself if it is the first word: reserved words and built-in commands of dash and bash. Executed as a
/// program, some of them would do something else, and some nothing.
const OF_THE_SHELL: [&str; 80] = [
    ".",
    ":",
    "[",
    "[[",
    "alias",
    "bg",
    "bind",
    "break",
    "builtin",
    "caller",
    "case",
    "cd",
    "chdir",
    "command",
    "compgen",
    "complete",
    "compopt",
    "continue",
    "coproc",
    "declare",
    "dirs",
    "disown",
    "do",
    "done",
    "echo",
    "elif",
    "else",
    "enable",
    "esac",
    "eval",
    "exec",
    "exit",
    "export",
    "false",
    "fc",
    "fg",
    "fi",
    "for",
    "function",
    "getopts",
    "hash",
    "help",
    "history",
    "if",
    "in",
    "jobs",
    "kill",
    "let",
    "local",
    "logout",
    "mapfile",
    "popd",
    "printf",
    "pushd",
    "pwd",
    "read",
    "readarray",
    "readonly",
    "return",
    "select",
    "set",
    "shift",
    "shopt",
    "source",
    "suspend",
    "test",
    "then",
    "time",
    "times",
    "trap",
    "true",
    "type",
    "typeset",
    "ulimit",
    "umask",
    "unalias",
    "unset",
    "until",
    "wait",
    "while",
];

/// The words of a text that a shell would do nothing with but execute them: no character that means something to it, and a
/// first word that is a program. As make(1) decides it.
fn simple_words(text: &str) -> Option<Vec<String>> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,+@% ".contains(c) || !c.is_ascii();
    if !text.chars().all(is_plain) {
        return None;
    }
    let words: Vec<String> = text.split(' ').filter(|word| !word.is_empty()).map(str::to_string).collect();
    let first = words.first()?;
    // `%1` is a job of the shell.
    let is_program = !OF_THE_SHELL.contains(&first.as_str()) && !first.starts_with('%');
    is_program.then_some(words)
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
                            `${NAME}` is left to the shell. In a watch the arguments of a list may hold `{path}`, `{name}`, `{dir}` and \
                            `{event}`.",
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
    fn only_a_simple_command_goes_without_the_shell() {
        let words = |text: &str| simple_words(text).map(|words| words.join("|"));
        assert_eq!(words("./bin/summary --day  yesterday "), Some("./bin/summary|--day|yesterday".into()));
        assert_eq!(words("rsync -a host:/srv/a /srv/b"), Some("rsync|-a|host:/srv/a|/srv/b".into()));
        for text in [
            "", " ", "a; b", "a && b", "a | b", "a > b", "a $B", "a `b`", "a 'b'", "a \"b\"", "a \\ b", "a *", "a ?",
            "a [b]", "~/a", "A=b c", "a # b", "a &", "(a)", "{ a }", "! a", "a\nb", "a\tb", "echo hi", "cd /srv",
            "if a", ". ./env", "exec a", "%1", "a b=c", "a ^b",
        ] {
            assert_eq!(words(text), None, "{text}");
        }
    }

    #[test]
    fn lists_are_shown_as_a_shell_would_need_them() {
        let command = Command::Exec(vec!["echo".into(), "it's".into(), "a b".into(), "".into()]);
        assert_eq!(command.words(), r"echo 'it'\''s' 'a b' ''");
    }
}
