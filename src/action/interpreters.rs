//! Arguments that a program reads as text in some language. A file's name in one of them could be read as commands.
//!
//! What each program takes such text by is as its manual has it: `sh`, `su`, `flock`, `script` and Python after `-c`, Perl, Ruby, Lua and
//! Node after `-e`, PHP after `-r`, env(1) after `-S`; awk and sed as their first argument; ssh(1) and watch(1) join all that follows and
//! hand it to a shell.

use std::ffi::OsStr;
use std::path::Path;

/// How a program takes text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// In the argument after an option: one of these letters, alone or the last one of several, or one of these words.
    After(&'static str, &'static [&'static str]),
    /// The same, or as its first argument where no option gives it. The letters after `:` are of options that have a value.
    First(&'static str, &'static [&'static str], &'static str),
    /// All arguments after so many that are no options; the letters are of options that have a value.
    Rest(usize, &'static str),
    /// Anywhere.
    Anywhere,
}

/// A program that reads text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Interpreter {
    /// Without version numbers.
    names: &'static [&'static str],
    takes: Takes,
    /// How the first argument after the text is called in it; `None`: there is none.
    argument: Option<&'static str>,
}

const INTERPRETERS: &[Interpreter] = &[
    Interpreter {
        names: &["sh", "ash", "bash", "dash", "ksh", "mksh", "zsh"],
        takes: Takes::After("c", &[]),
        argument: Some("\"$1\""),
    },
    Interpreter { names: &["fish", "csh", "tcsh"], takes: Takes::After("c", &["--command"]), argument: None },
    Interpreter {
        names: &["su", "runuser", "flock", "script"],
        takes: Takes::After("c", &["--command", "--session-command"]),
        argument: None,
    },
    Interpreter { names: &["python", "pypy"], takes: Takes::After("c", &[]), argument: Some("sys.argv[1]") },
    Interpreter { names: &["perl"], takes: Takes::After("eE", &[]), argument: Some("$ARGV[0]") },
    Interpreter { names: &["ruby"], takes: Takes::After("e", &[]), argument: Some("ARGV[0]") },
    Interpreter {
        names: &["node", "nodejs", "bun", "deno"],
        takes: Takes::After("ep", &["--eval", "--print", "eval"]),
        argument: Some("process.argv[1]"),
    },
    Interpreter { names: &["php"], takes: Takes::After("rBRE", &["--run"]), argument: Some("$argv[1]") },
    Interpreter { names: &["lua", "luajit", "Rscript", "tclsh"], takes: Takes::After("e", &[]), argument: None },
    Interpreter { names: &["env"], takes: Takes::After("S", &["--split-string"]), argument: None },
    Interpreter {
        names: &["awk", "gawk", "mawk", "nawk"],
        takes: Takes::First("e", &["--source"], "Fvf"),
        argument: Some("ARGV[1]"),
    },
    Interpreter { names: &["sed", "gsed"], takes: Takes::First("e", &["--expression"], "lf"), argument: None },
    Interpreter { names: &["ssh"], takes: Takes::Rest(1, "BbcDEeFIiJLlmOopPQRSWw"), argument: None },
    Interpreter { names: &["watch", "eval", "parallel"], takes: Takes::Rest(0, "nq"), argument: None },
    // `$(shell …)` counts in the values of variables.
    Interpreter { names: &["make", "gmake"], takes: Takes::Anywhere, argument: None },
];

/// An argument that is text of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text<'a> {
    /// The program, as it is written.
    pub program: &'a str,
    /// Where the program stands among the arguments, and where the text does.
    pub program_at: usize,
    pub at: usize,
    /// How the first argument after the text is called in it.
    pub argument: Option<&'static str>,
    /// The arguments from the program to the text.
    pub options: &'a [String],
}

/// The interpreter of that name, of whatever version.
fn interpreter(arg: &str) -> Option<&'static Interpreter> {
    let name = Path::new(arg).file_name().and_then(OsStr::to_str)?;
    let plain = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    let one = INTERPRETERS.iter().find(|one| one.names.contains(&name) || one.names.contains(&plain))?;
    // What is refused wherever it stands is so of the system's own program, not of somebody's `./watch`.
    let is_systems = !arg.contains('/') || ["/bin/", "/usr/"].iter().any(|folder| arg.starts_with(folder));
    (is_systems || !matches!(one.takes, Takes::Rest(..) | Takes::Anywhere)).then_some(one)
}

/// Whether it is an option of one of these letters, alone or the last one of several.
fn ends_with_letter(arg: &str, letters: &str) -> bool {
    let short = arg.strip_prefix('-').filter(|rest| !rest.starts_with('-') && rest.chars().all(char::is_alphanumeric));
    short.and_then(|rest| rest.chars().last()).is_some_and(|last| letters.contains(last))
}

/// Whether it is such an option with its text in the same argument, as in `--eval=…` or `-c'…'`.
fn holds_text(arg: &str, letters: &str, words: &[&str]) -> bool {
    let is_long = words.iter().any(|word| arg.strip_prefix(word).is_some_and(|rest| rest.starts_with('=')));
    let is_short = || {
        let mut rest = arg.strip_prefix('-').filter(|rest| !rest.starts_with('-')).unwrap_or_default().chars();
        rest.next().is_some_and(|first| letters.contains(first)) && rest.next().is_some()
    };
    is_long || is_short()
}

/// All arguments that somebody reads as text. The programs may stand behind others, such as `env`, `nice` or `sudo`.
pub(super) fn texts(argv: &[String]) -> Vec<Text<'_>> {
    let mut found = Vec::new();
    for (program_at, program) in argv.iter().enumerate() {
        let Some(one) = interpreter(program) else { continue };
        let rest = &argv[program_at + 1..];
        let places: Vec<usize> = match one.takes {
            Takes::After(letters, words) => after(rest, letters, words),
            Takes::First(letters, words, with_value) => {
                let given = after(rest, letters, words);
                let is_elsewhere = rest.iter().any(|arg| ends_with_letter(arg, "f") || arg.starts_with("--file"));
                match given.is_empty() && !is_elsewhere {
                    true => first_operand(rest, with_value).into_iter().collect(),
                    false => given,
                }
            }
            Takes::Rest(leave, with_value) => {
                let begin = first_operand(rest, with_value).map_or(rest.len(), |at| at + leave);
                (begin..rest.len()).collect()
            }
            Takes::Anywhere => (0..rest.len()).collect(),
        };
        found.extend(places.into_iter().map(|place| Text {
            program,
            program_at,
            at: program_at + 1 + place,
            argument: one.argument,
            options: &rest[..place],
        }));
    }
    found
}

/// The texts that options give.
fn after(args: &[String], letters: &str, words: &[&str]) -> Vec<usize> {
    let mut found = Vec::new();
    for (at, arg) in args.iter().enumerate() {
        if ends_with_letter(arg, letters) || words.contains(&arg.as_str()) {
            // Options may stand in between, as in `sh -c -e -- '…'`.
            found.extend(args[at + 1..].iter().position(|arg| !arg.starts_with('-')).map(|next| at + 1 + next));
        } else if holds_text(arg, letters, words) {
            found.push(at);
        }
    }
    found
}

/// The first argument that is no option, nor the value of one of these.
fn first_operand(args: &[String], with_value: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        let arg = args.get(at)?;
        if arg == "--" {
            return (at + 1 < args.len()).then_some(at + 1);
        }
        if !arg.starts_with('-') {
            return Some(at);
        }
        at += if ends_with_letter(arg, with_value) { 2 } else { 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(args: &[&str]) -> Vec<usize> {
        let argv: Vec<String> = args.iter().map(|arg| arg.to_string()).collect();
        texts(&argv).into_iter().map(|text| text.at).collect()
    }

    #[test]
    fn each_program_has_its_own_way_to_take_text() {
        for (args, expected) in [
            (&["sh", "-c", "x", "sh", "a"][..], &[2][..]),
            (&["/bin/bash", "-euc", "x", "y"], &[2]),
            (&["sh", "-c", "--", "x"], &[3]),
            (&["sh", "-c", "-e", "x", "y"], &[3]),
            (&["sh", "x.sh", "y"], &[]),
            (&["sudo", "-u", "me", "busybox", "sh", "-c", "x"], &[6]),
            (&["su", "me", "-c", "x"], &[3]),
            (&["su", "--command=x"], &[1]),
            (&["flock", "lock", "-c", "x"], &[3]),
            (&["flock", "lock", "cp", "x", "y"], &[]),
            (&["script", "-qc", "x", "/dev/null"], &[2]),
            (&["python3.11", "-c", "x", "y"], &[2]),
            (&["python3", "-cx()", "y"], &[1]),
            (&["python3", "tool.py", "y"], &[]),
            (&["perl", "-ne", "x", "y"], &[2]),
            (&["node", "--eval=x"], &[1]),
            (&["php", "-r", "x"], &[2]),
            (&["env", "-S", "sh -c x"], &[2]),
            (&["env", "A=b", "convert", "x"], &[]),
            (&["awk", "-F", ",", "x", "y"], &[3]),
            (&["awk", "-f", "x.awk", "y"], &[]),
            (&["awk", "-v", "n=y", "x", "z"], &[3]),
            (&["sed", "-n", "x", "y"], &[2]),
            (&["sed", "-e", "x", "y"], &[2]),
            (&["ssh", "-i", "key", "host", "cat", "x"], &[4, 5]),
            (&["watch", "-n", "5", "ls", "x"], &[3, 4]),
            (&["make", "F=x"], &[1]),
            (&["/usr/bin/make", "F=x"], &[1]),
            (&["./watch", "x"], &[]),
            (&["bin/make", "F=x"], &[]),
            (&["convert", "-c", "x"], &[]),
        ] {
            assert_eq!(found(args), expected, "{args:?}");
        }
    }
}
