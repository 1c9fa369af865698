//! `{path}`, `{name}`, `{dir}` and `{event}` in the arguments of a watch's command. File names are data: they become arguments, and
//! never text that a shell reads.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::interpreters::{Text, texts};
use crate::model::{Fault, Item};

/// What may stand in an argument.
const PLACEHOLDERS: [&str; 4] = ["{path}", "{name}", "{dir}", "{event}"];

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

/// Whether a text is nothing but a placeholder.
pub fn is_placeholder(text: &str) -> bool {
    PLACEHOLDERS.contains(&text)
}

/// What is odd about the arguments of a command that no file makes due.
pub(super) fn without_files(argv: &[String]) -> Vec<Fault> {
    let odd = argv.iter().enumerate().filter(|(_, arg)| is_placeholder(arg)).map(|(at, arg)| {
        let message = format!("`{arg}` is not filled in here: it means a file, and this job has no `watch`");
        Fault::warning(format!("/{at}"), message).help("add a `watch`, or write what is meant")
    });
    odd.collect()
}

/// Arguments that look like a placeholder, and are none.
fn unknown(argv: &[String]) -> impl Iterator<Item = Fault> {
    let is_word = |arg: &str| {
        let word = arg.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        word.is_some_and(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphabetic() || c == '_'))
    };
    // One that stands there twice is another program's own, such as `xargs -I {file}`.
    let is_once = |arg: &str| argv.iter().filter(|other| *other == arg).count() == 1;
    let odd = argv.iter().enumerate().filter(move |(_, arg)| is_word(arg) && !is_placeholder(arg) && is_once(arg));
    odd.map(|(at, arg)| {
        let known = PLACEHOLDERS.map(|word| format!("`{word}`")).join(", ");
        let help = match PLACEHOLDERS.iter().find(|word| word.eq_ignore_ascii_case(arg)) {
            Some(word) => format!("write `{word}`"),
            None => format!("known are {known}"),
        };
        Fault::warning(format!("/{at}"), format!("`{arg}` is not filled in")).help(help)
    })
}

/// What is wrong with the arguments of a command that is for files.
pub(super) fn problems(argv: &[String], is_each: bool, other: Option<&str>) -> Vec<Fault> {
    let mut faults: Vec<Fault> = unknown(argv).collect();
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
    let in_text = texts(argv).into_iter().find_map(|text| Some((first_in(argv.get(text.at)?)?, text)));
    if let Some((word, text)) = in_text {
        let program = text.program;
        let message = format!("`{word}` stands in text that {program} reads: a file's name could be read as commands");
        faults.push(Fault::error(format!("/{}", text.at), message).help(cure(argv, word, &text)));
    }
    faults
}

/// How the same is written so that the name stays data.
fn cure(argv: &[String], word: &str, text: &Text<'_>) -> String {
    let Some(argument) = text.argument else {
        return format!(
            "let a script of its own take `{word}` as an argument, such as `[\"./take.sh\", \"{word}\"]`, or read it there from \
             RUNNER_PATH"
        );
    };
    // What stands before the text stays, and what a shell calls itself goes between.
    let before =
        argv[..=text.program_at].iter().chain(text.options).map(|arg| format!("\"{arg}\"")).collect::<Vec<_>>();
    let own_name = if argument == "\"$1\"" { "\"sh\", " } else { "" };
    let argument = argument.replace('"', "\\\"");
    format!("hand it over as an argument: `[{}, \"… {argument} …\", {own_name}\"{word}\"]`", before.join(", "))
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
        assert_eq!(found(&["sh", "-c", "--", "echo {name}"]), ["/3"]);
        assert_eq!(found(&["python3", "-c", "print('{name}')"]), ["/2"]);
        assert_eq!(found(&["python3", "-c", "import sys; print(sys.argv[1])", "{path}"]), [""; 0]);
        assert_eq!(found(&["ssh", "host", "cat", "{path}"]), ["/3"]);
        let help = |args: &[&str]| problems(&argv(args), true, None)[0].help.clone().unwrap();
        assert!(
            help(&["timeout", "5", "sh", "-ec", "x {path}"])
                .contains(r#"["timeout", "5", "sh", "-ec", "… \"$1\" …", "sh", "{path}"]"#)
        );
        assert!(help(&["perl", "-ne", "x '{path}'"]).contains(r#"["perl", "-ne", "… $ARGV[0] …", "{path}"]"#));
        assert!(help(&["ssh", "host", "x {path}"]).contains("RUNNER_PATH"));
        assert!(
            problems(&argv(&["sh", "-c", "x {path}"]), true, None)[0]
                .help
                .as_ref()
                .is_some_and(|help| help.contains("$1"))
        );
    }

    #[test]
    fn what_looks_like_a_placeholder_and_is_not_filled_in_is_told_of() {
        let help = |args: &[&str]| {
            problems(&argv(args), true, None).into_iter().map(|fault| fault.help.unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(help(&["cp", "{Path}", "x"]), ["write `{path}`"]);
        assert_eq!(help(&["cp", "{file}"]), ["known are `{path}`, `{name}`, `{dir}`, `{event}`"]);
        assert_eq!(help(&["find", "-exec", "x", "{}", ";", "{1}", "-w{file}"]), [""; 0]);
        assert_eq!(help(&["xargs", "-a", "{path}", "-I", "{item}", "cp", "{item}", "x"]), [""; 0]);
        assert_eq!(without_files(&argv(&["cp", "{path}", "x{name}"])).len(), 1);
    }

    #[test]
    fn one_file_is_meant_where_there_is_one() {
        assert_eq!(problems(&argv(&["x", "{path}"]), false, None).len(), 1);
        assert_eq!(problems(&argv(&["x", "{path}"]), true, Some("schedule")).len(), 1);
        assert_eq!(problems(&argv(&["x", "-v"]), false, Some("schedule")).len(), 0);
    }
}
