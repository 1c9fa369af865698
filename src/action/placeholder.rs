//! `{path}`, `{name}`, `{dir}` and `{event}` in the arguments of a watch's command. File names are data: they become arguments, and
//! never text that a shell reads.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::model::{Fault, Item};

/// What may stand in an argument.
const PLACEHOLDERS: [&str; 4] = ["{path}", "{name}", "{dir}", "{event}"];

/// Programs that read the argument after `-c` as text of theirs.
const SHELLS: [&str; 11] = ["sh", "ash", "bash", "dash", "fish", "ksh", "mksh", "zsh", "csh", "tcsh", "busybox"];

/// Where the next placeholder stands, and which. One after a dollar is a variable of some language.
fn next_in(text: &str) -> Option<(usize, &'static str)> {
    let found = PLACEHOLDERS.iter().flat_map(|word| text.match_indices(word).map(|(at, _)| (at, *word)));
    found.filter(|(at, _)| !text[..*at].ends_with('$')).min()
}

/// The first placeholder of a text.
pub(super) fn first_in(text: &str) -> Option<&'static str> {
    next_in(text).map(|(_, word)| word)
}

/// An argument with its placeholders filled in.
pub(super) fn filled(arg: &str, item: &Item) -> OsString {
    let mut found = OsString::new();
    let mut rest = arg;
    while let Some((at, word)) = next_in(rest) {
        found.push(&rest[..at]);
        found.push(match word {
            "{path}" => item.path.as_os_str(),
            "{name}" => item.name(),
            "{dir}" => item.path.parent().map_or(OsStr::new("/"), Path::as_os_str),
            _ => OsStr::new(item.event.as_str()),
        });
        rest = &rest[at + word.len()..];
    }
    found.push(rest);
    found
}

/// A placeholder in text that a shell reads.
pub(super) fn in_shell_text(word: &str) -> Fault {
    let message = format!("`{word}` is not filled in here: a file's name is never pasted into shell text");
    let help = match word {
        "{event}" => "write `\"$RUNNER_EVENT\"`, or the list form".to_string(),
        "{path}" => "write `\"$RUNNER_PATH\"`, or the list form such as `[convert, \"{path}\"]`".to_string(),
        _ => format!("write the list form such as `[convert, \"{word}\"]`, or use `\"$RUNNER_PATH\"`"),
    };
    Fault::error("", message).help(help)
}

/// What is wrong with the arguments of a command that is for files.
pub(super) fn problems(argv: &[String], is_each: bool, other: Option<&str>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let Some((first, word)) = argv.iter().enumerate().find_map(|(at, arg)| Some((at, first_in(arg)?))) else {
        return faults;
    };
    let pointer = || format!("/{first}");
    if !is_each {
        let message = format!("`{word}` means one file, and `batch` has `mode: all`");
        faults.push(
            Fault::error(pointer(), message)
                .help("read the paths from the file that RUNNER_ITEMS names, or write `mode: each`"),
        );
    } else if let Some(other) = other {
        let message = format!("`{word}` means a file, and runs of `{other}` have none");
        faults.push(Fault::error(pointer(), message).help("make two jobs of it"));
    }
    if let Some((shell, at, word)) =
        shell_text(argv).and_then(|(shell, at)| Some((shell, at, first_in(argv.get(at)?)?)))
    {
        let message = format!("`{word}` stands in text that {shell} reads: a file's name could be read as commands");
        let help =
            format!("hand it over as an argument: `[\"{shell}\", \"-c\", \"… \\\"$1\\\"\", \"sh\", \"{word}\"]`");
        faults.push(Fault::error(format!("/{at}"), message).help(help));
    }
    faults
}

/// The shell among the arguments, and which of them it reads as its text.
fn shell_text(argv: &[String]) -> Option<(&str, usize)> {
    let is_shell =
        |arg: &String| Path::new(arg).file_name().and_then(OsStr::to_str).is_some_and(|name| SHELLS.contains(&name));
    // Also behind `env`, `nice`, `sudo` and the like.
    let shell = argv.iter().position(is_shell)?;
    let is_c = |arg: &String| arg.starts_with('-') && !arg.starts_with("--") && arg.ends_with('c');
    let flag = argv[shell..].iter().position(is_c)? + shell;
    Some((&argv[shell], flag + 1))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;
    use crate::model::FileEvent;

    fn argv(args: &[&str]) -> Vec<String> {
        args.iter().map(|arg| arg.to_string()).collect()
    }

    #[test]
    fn names_are_filled_in_whole_whatever_they_are() {
        for name in [&b"a b.pdf"[..], b"$(rm -rf x)", b"\xff\n'\"", b"{name}"] {
            let path = Path::new("/in/sub").join(OsStr::from_bytes(name));
            let item = Item { path: path.clone(), event: FileEvent::Modified, size: 0, modified: None, from: None };
            assert_eq!(filled("{path}", &item), path.as_os_str());
            assert_eq!(filled("{dir}/{name}", &item), path.as_os_str());
            let mut expected = OsString::from("--in=");
            expected.push(&path);
            expected.push(" modified ${path} {other}");
            assert_eq!(filled("--in={path} {event} ${path} {other}", &item), expected);
        }
    }

    #[test]
    fn no_name_comes_into_text_that_a_shell_reads() {
        let found = |args: &[&str]| {
            problems(&argv(args), true, None).into_iter().map(|fault| fault.pointer).collect::<Vec<_>>()
        };
        assert_eq!(found(&["sh", "-c", "cat {path}"]), ["/2"]);
        assert_eq!(found(&["/bin/bash", "-euc", "cat '{name}'"]), ["/2"]);
        assert_eq!(found(&["env", "A=b", "sh", "-c", "cat {path}"]), ["/4"]);
        assert_eq!(found(&["sh", "-c", "cat \"$1\"", "sh", "{path}"]), [""; 0]);
        assert_eq!(found(&["sh", "-c", "cat ${path}"]), [""; 0]);
        assert_eq!(found(&["convert", "-c", "{path}"]), [""; 0]);
        assert!(
            problems(&argv(&["sh", "-c", "x {path}"]), true, None)[0]
                .help
                .as_ref()
                .is_some_and(|help| help.contains("$1"))
        );
    }

    #[test]
    fn one_file_is_meant_where_there_is_one() {
        assert_eq!(problems(&argv(&["x", "{path}"]), false, None).len(), 1);
        assert_eq!(problems(&argv(&["x", "{path}"]), true, Some("schedule")).len(), 1);
        assert_eq!(problems(&argv(&["x", "-v"]), false, Some("schedule")).len(), 0);
    }
}
