//! Arguments that a program reads as text in some language. A file's name in one of them could be read as commands.
//!
//! What each program takes such text by is as its manual has it: `sh`, `su`, `flock`, `script` and Python after `-c`, Perl, Ruby, Lua and
//! Node after `-e`, PHP after `-r`, env(1) after `-S`; awk and sed as their first argument; ssh(1) and watch(1) join all that follows and
//! hand it to a shell; psql after `-c`, mysql after `-e` and sqlite3 behind its database take SQL.

use std::ffi::OsStr;
use std::path::Path;

/// How a program takes text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// In the first argument that is no option, if one of the options before it has this letter, alone or among others: `-ce`.
    Shell,
    /// In the argument after an option, or in the same: one of these letters, alone or the last one of several, or one of these words.
    /// Options may stand anywhere; the letters behind are of those that have a value.
    After(&'static str, &'static [&'static str], &'static str),
    /// The same, but what follows the first argument that is no option is not the program's own: a script, a module, a command. The
    /// letters are of options that have a value, and of those behind which all is another's.
    Before(&'static str, &'static [&'static str], &'static str, &'static str),
    /// The same, or as its first argument where no option gives it. The letters after `:` are of options that have a value.
    First(&'static str, &'static [&'static str], &'static str),
    /// All arguments after so many that are no options; the letters are of options that have a value.
    Rest(usize, &'static str),
    /// All arguments after the first that is no option, and what the first of these words has as its value; each of the words, behind one
    /// or two dashes, has one.
    BehindDatabase(&'static [&'static str]),
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

/// Programs that run another one, which stands among their arguments.
const RUN_ANOTHER: [&str; 33] = [
    "bwrap",
    "busybox",
    "chpst",
    "chroot",
    "chrt",
    "doas",
    "env",
    "find",
    "firejail",
    "flock",
    "ionice",
    "ltrace",
    "nice",
    "nohup",
    "nsenter",
    "runuser",
    "script",
    "setpriv",
    "setsid",
    "ssh",
    "sshpass",
    "stdbuf",
    "strace",
    "su",
    "sudo",
    "systemd-inhibit",
    "systemd-run",
    "taskset",
    "time",
    "timeout",
    "unbuffer",
    "unshare",
    "xargs",
];

const INTERPRETERS: &[Interpreter] = &[
    Interpreter {
        names: &["sh", "ash", "bash", "dash", "ksh", "mksh", "zsh"],
        takes: Takes::Shell,
        argument: Some("\"$1\""),
    },
    Interpreter { names: &["csh", "tcsh"], takes: Takes::Shell, argument: None },
    Interpreter {
        names: &["fish"],
        takes: Takes::Before("cC", &["--command", "--init-command"], "dDfop", ""),
        argument: None,
    },
    Interpreter {
        names: &["su", "runuser", "flock", "script"],
        takes: Takes::After("c", &["--command", "--session-command"], "gGsuw"),
        argument: None,
    },
    Interpreter {
        names: &["python", "pypy"],
        takes: Takes::Before("c", &[], "WXQ", "cm"),
        argument: Some("sys.argv[1]"),
    },
    Interpreter { names: &["perl"], takes: Takes::Before("eE", &[], "IMm", ""), argument: Some("$ARGV[0]") },
    Interpreter { names: &["ruby"], takes: Takes::Before("e", &[], "ICrE", ""), argument: Some("ARGV[0]") },
    Interpreter {
        names: &["node", "nodejs", "bun", "deno"],
        takes: Takes::Before("ep", &["--eval", "--print", "eval"], "rC", ""),
        argument: Some("process.argv[1]"),
    },
    Interpreter { names: &["php"], takes: Takes::Before("rBRE", &["--run"], "dczfSt", ""), argument: Some("$argv[1]") },
    Interpreter {
        names: &["lua", "luajit", "Rscript", "tclsh"],
        takes: Takes::Before("e", &[], "lj", ""),
        argument: None,
    },
    Interpreter { names: &["env"], takes: Takes::Before("S", &["--split-string"], "uC", ""), argument: None },
    Interpreter {
        names: &["awk", "gawk", "mawk", "nawk"],
        takes: Takes::First("e", &["--source"], "Fvf"),
        argument: Some("ARGV[1]"),
    },
    Interpreter { names: &["sed", "gsed"], takes: Takes::First("e", &["--expression"], "lf"), argument: None },
    Interpreter { names: &["psql"], takes: Takes::After("c", &["--command"], "dhUpvfoFLPRT"), argument: None },
    Interpreter {
        names: &["mysql", "mariadb"],
        takes: Takes::After("e", &["--execute", "--init-command"], "uphPDS"),
        argument: None,
    },
    // Behind the database; `.shell` is a command of it.
    Interpreter {
        names: &["sqlite3"],
        takes: Takes::BehindDatabase(&["cmd", "init", "separator", "newline", "nullvalue", "maxsize", "mmap", "vfs"]),
        argument: None,
    },
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

/// The letters of an option such as `-ec`.
fn letters_of(arg: &str) -> Option<&str> {
    arg.strip_prefix('-').filter(|rest| !rest.is_empty() && !rest.starts_with('-'))
}

/// Where one of these letters stands in such an option: what is behind it. Behind a letter with a value the rest is that.
fn behind<'a>(arg: &'a str, letters: &str, with_value: &str) -> Option<&'a str> {
    let own = letters_of(arg)?;
    for (at, letter) in own.char_indices() {
        if letters.contains(letter) {
            return Some(&own[at + letter.len_utf8()..]);
        }
        if with_value.contains(letter) || !letter.is_alphanumeric() {
            return None;
        }
    }
    None
}

/// Whether the text is the next argument; `Some(false)`: it stands in this one, as in `--eval=…` or `-c'…'`.
fn is_next(arg: &str, letters: &str, words: &[&str], with_value: &str) -> Option<bool> {
    if words.contains(&arg) {
        return Some(true);
    }
    if words.iter().any(|word| arg.strip_prefix(word).is_some_and(|rest| rest.starts_with('='))) {
        return Some(false);
    }
    // Node has `-pe` as well.
    behind(arg, letters, with_value).map(|rest| rest.chars().all(|letter| letters.contains(letter)))
}

/// All arguments that somebody reads as text. The programs may stand behind others, such as `env`, `nice` or `sudo`.
pub(super) fn texts(argv: &[String]) -> Vec<Text<'_>> {
    let mut found = Vec::new();
    let runs_another = argv
        .first()
        .and_then(|first| Path::new(first).file_name()?.to_str())
        .is_some_and(|name| RUN_ANOTHER.contains(&name));
    for (program_at, program) in argv.iter().enumerate() {
        let Some(one) = interpreter(program) else { continue };
        // A word such as `watch` or `eval` may be anything where another program reads it.
        let is_anything = matches!(one.takes, Takes::Rest(..) | Takes::Anywhere);
        if is_anything && program_at > 0 && !runs_another {
            continue;
        }
        let rest = &argv[program_at + 1..];
        let places: Vec<usize> = match one.takes {
            Takes::Shell => of_shell(rest),
            Takes::After(letters, words, with_value) => after(rest, letters, words, with_value),
            Takes::Before(letters, words, with_value, ends) => before(rest, letters, words, with_value, ends),
            Takes::First(letters, words, with_value) => {
                let given = after(rest, letters, words, with_value);
                let is_elsewhere = rest.iter().any(|arg| behind(arg, "f", "").is_some() || arg.starts_with("--file"));
                match given.is_empty() && !is_elsewhere {
                    true => first_operand(rest, with_value).into_iter().collect(),
                    false => given,
                }
            }
            Takes::Rest(leave, with_value) => {
                let begin = first_operand(rest, with_value).map_or(rest.len(), |at| at + leave);
                (begin..rest.len()).collect()
            }
            Takes::BehindDatabase(words) => behind_database(rest, words),
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

/// The text that a shell is given.
fn of_shell(args: &[String]) -> Vec<usize> {
    let (mut found, mut has_text, mut at) = (Vec::new(), false, 0);
    while let Some(arg) = args.get(at) {
        let own = arg.strip_prefix(['-', '+']).filter(|own| !own.is_empty() && *own != "-");
        let Some(own) = own else {
            // What comes after one or two dashes is none of its options.
            let is_end = arg == "-" || arg == "--";
            found.extend(has_text.then_some(if is_end { at + 1 } else { at }));
            break;
        };
        if let Some(word) = own.strip_prefix('-') {
            at += if ["rcfile", "init-file"].contains(&word) { 2 } else { 1 };
            continue;
        }
        if arg.starts_with('-') && own.contains('c') {
            has_text = true;
            found.extend((!own.chars().all(char::is_alphanumeric)).then_some(at));
        }
        // Each of these has the name of an option behind it.
        at += 1 + own.matches(['o', 'O']).count();
    }
    found.retain(|at| *at < args.len());
    found
}

/// The texts that options give.
fn after(args: &[String], letters: &str, words: &[&str], with_value: &str) -> Vec<usize> {
    let mut found = Vec::new();
    for (at, arg) in args.iter().enumerate() {
        match is_next(arg, letters, words, with_value) {
            // Options may stand in between.
            Some(true) => found.extend(next_operand(args, at)),
            Some(false) => found.push(at),
            None => {}
        }
    }
    found
}

/// The texts that options before the first argument give that is none.
fn before(args: &[String], letters: &str, words: &[&str], with_value: &str, ends: &str) -> Vec<usize> {
    let (mut found, mut at, mut is_value_perhaps) = (Vec::new(), 0, false);
    while let Some(arg) = args.get(at) {
        let text = is_next(arg, letters, words, with_value);
        let is_option = arg.starts_with('-') && arg != "-" && arg != "--";
        match text {
            Some(true) => found.extend(next_operand(args, at)),
            Some(false) => found.push(at),
            // A variable for the command that env(1) runs has an equals sign.
            None if !is_option && !found.contains(&at) && !is_value_perhaps && !arg.contains('=') => break,
            None => {}
        }
        if behind(arg, ends, with_value).is_some() {
            break;
        }
        is_value_perhaps = arg.starts_with("--") && !arg.contains('=');
        at += if behind(arg, with_value, letters).is_some_and(str::is_empty) { 2 } else { 1 };
    }
    found
}

/// What is SQL, or a command of the program, behind a database and as the value of the first of the words.
fn behind_database(args: &[String], words: &[&str]) -> Vec<usize> {
    let (mut found, mut operands, mut at) = (Vec::new(), 0, 0);
    while let Some(arg) = args.get(at) {
        let word = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-'));
        match word.map(|word| words.iter().position(|own| *own == word)) {
            Some(Some(place)) => {
                found.extend((place == 0 && at + 1 < args.len()).then_some(at + 1));
                at += 1;
            }
            Some(None) => {}
            None => {
                found.extend((operands > 0).then_some(at));
                operands += 1;
            }
        }
        at += 1;
    }
    found
}

fn next_operand(args: &[String], at: usize) -> Option<usize> {
    args[at + 1..].iter().position(|arg| !arg.starts_with('-')).map(|next| at + 1 + next)
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
        at += if behind(arg, with_value, "").is_some_and(str::is_empty) { 2 } else { 1 };
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
            (&["sh", "-ce", "x", "y"], &[2]),
            (&["sh", "-ecx", "x", "y"], &[2]),
            (&["bash", "-ceuo", "pipefail", "x", "y"], &[3]),
            (&["bash", "-c", "-o", "pipefail", "x", "y"], &[4]),
            (&["bash", "-euo", "pipefail", "-c", "x"], &[4]),
            (&["bash", "--rcfile", "y", "-c", "x"], &[4]),
            (&["sh", "-c", "+e", "x", "y"], &[3]),
            (&["sh", "x.sh", "y"], &[]),
            (&["sh", "x.sh", "-c", "y"], &[]),
            (&["sh", "-c"], &[]),
            (&["csh", "-fc", "x"], &[2]),
            (&["fish", "-C", "x", "y"], &[2]),
            (&["sudo", "-u", "me", "busybox", "sh", "-c", "x"], &[6]),
            (&["su", "me", "-c", "x"], &[3]),
            (&["su", "--command=x"], &[1]),
            (&["flock", "lock", "-c", "x"], &[3]),
            (&["flock", "lock", "cp", "x", "y"], &[]),
            (&["script", "-qc", "x", "/dev/null"], &[2]),
            (&["python3.11", "-c", "x", "y"], &[2]),
            (&["python3", "-cx()", "y"], &[1]),
            (&["python3", "tool.py", "y"], &[]),
            (&["python3", "tool.py", "-c", "y"], &[]),
            (&["python3", "-m", "tool", "-c", "y"], &[]),
            (&["python3", "-X", "dev", "-Werror", "-Ic", "x", "-c", "y"], &[5]),
            (&["perl", "-ne", "x", "y"], &[2]),
            (&["perl", "-Mstrict", "-I", "lib", "-i.bak", "-e", "x", "-e", "y", "z"], &[6, 8]),
            (&["perl", "tool.pl", "-file", "y"], &[]),
            (&["node", "-pe", "x", "y"], &[2]),
            (&["node", "--require", "m", "-e", "x"], &[4]),
            (&["node", "tool.js", "-p", "y"], &[]),
            (&["deno", "eval", "x"], &[2]),
            (&["node", "--eval=x"], &[1]),
            (&["php", "-r", "x"], &[2]),
            (&["env", "-S", "sh -c x"], &[2]),
            (&["env", "A=b", "convert", "x"], &[]),
            (&["awk", "-F", ",", "x", "y"], &[3]),
            (&["awk", "-f", "x.awk", "y"], &[]),
            (&["awk", "-Fv", "x", "y"], &[2]),
            (&["sed", "-fx.sed", "y"], &[]),
            (&["awk", "-v", "n=y", "x", "z"], &[3]),
            (&["sed", "-n", "x", "y"], &[2]),
            (&["sed", "-e", "x", "y"], &[2]),
            (&["ssh", "-i", "key", "host", "cat", "x"], &[4, 5]),
            (&["ssh", "-lalice", "host", "cat x"], &[3]),
            (&["sudo", "-u", "me", "ssh", "host", "x"], &[5]),
            (&["watch", "-n", "5", "ls", "x"], &[3, 4]),
            (&["npm", "run", "watch", "x"], &[]),
            (&["python3", "train.py", "eval", "x"], &[]),
            (&["rsync", "-e", "ssh", "host:x", "y"], &[]),
            (&["make", "F=x"], &[1]),
            (&["psql", "-d", "x", "-c", "y"], &[4]),
            (&["psql", "-v", "file=x", "-f", "y"], &[]),
            (&["mysql", "-e", "x"], &[2]),
            (&["sqlite3", "-csv", "x.db", ".import y t"], &[3]),
            (&["sqlite3", "x.db"], &[]),
            (&["sqlite3", "-separator", ",", "-cmd", ".import y t", "x.db", "select 1"], &[4, 6]),
            (&["psql", "-vsrc=x", "-Umarc", "-f", "load.sql"], &[]),
            (&["gawk", "-vfile=x", "-f", "y.awk"], &[]),
            (&["su", "-smine", "me"], &[]),
            (&["/usr/bin/make", "F=x"], &[1]),
            (&["./watch", "x"], &[]),
            (&["bin/make", "F=x"], &[]),
            (&["convert", "-c", "x"], &[]),
        ] {
            assert_eq!(found(args), expected, "{args:?}");
        }
    }
}
