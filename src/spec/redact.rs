//! `redact`: what is masked wherever a job prints it.

use regex::bytes::{Regex, RegexBuilder};

use crate::model::{Fault, count};

/// What one compiled expression may take, in bytes.
const LARGEST: usize = 1 << 20;
/// How many expressions a job may have: each looks through every line.
const MOST: usize = 100;
const TOO_LARGE: &str = "it becomes larger than 1 MiB";

/// One expression of `redact`, ready to look for: it matches bytes, since that is what a job prints.
///
/// # Errors
/// What is wrong with it, on one line.
pub fn pattern(text: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(text).unicode(false).size_limit(LARGEST).dfa_size_limit(LARGEST).build();
    built.map_err(|error| match error {
        regex::Error::Syntax(words) => {
            // The last line of several says what is wrong; those above draw a picture.
            let last = words.lines().last().unwrap_or_default();
            last.strip_prefix("error: ").unwrap_or(last).to_string()
        }
        regex::Error::CompiledTooBig(_) => TOO_LARGE.to_string(),
        other => other.to_string(),
    })
}

/// What is wrong with expressions, each at its pointer.
pub(super) fn problems(patterns: &[String]) -> Vec<Fault> {
    let fault = |(at, text): (usize, &String)| {
        let pointer = format!("/redact/{at}");
        if text.is_empty() {
            return Some(Fault::error(pointer, "an empty expression masks nothing").help("remove it"));
        }
        let error = pattern(text).err()?;
        let help = match &*error {
            TOO_LARGE => "make its repeats smaller, or write several expressions",
            error if error.starts_with("Unicode") => {
                "bytes are matched: write letters beyond ASCII outside of `[…]`, such as `(ä|ö)`"
            }
            _ => "a plain text is an expression too; write `\\` before `. * + ? ( ) [ ] { } | ^ $ \\` to mean these",
        };
        Some(Fault::error(pointer, format!("this is not a regular expression: {error}")).help(help))
    };
    let too_many = (patterns.len() > MOST).then(|| {
        let message = format!("the job has {}, at most {MOST}", count(patterns.len(), "expression"));
        Fault::error("/redact", message).help("put some of them together with `|`")
    });
    patterns.iter().take(MOST).enumerate().filter_map(fault).chain(too_many).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_in_one_line_at_its_place() {
        let faults = problems(&["ok".into(), "a(b".into(), String::new(), "(?:a{1000}){1000}".into(), "[ä]".into()]);
        let told: Vec<(&str, &str)> = faults.iter().map(|f| (f.pointer.as_str(), f.message.as_str())).collect();
        assert_eq!(
            told,
            [
                ("/redact/1", "this is not a regular expression: unclosed group"),
                ("/redact/2", "an empty expression masks nothing"),
                ("/redact/3", "this is not a regular expression: it becomes larger than 1 MiB"),
                ("/redact/4", "this is not a regular expression: Unicode not allowed here"),
            ]
        );
        assert_eq!(problems(&vec!["x".into(); 101])[0].message, "the job has 101 expressions, at most 100");
        assert!(pattern("schlüssel=\\S+").unwrap().is_match("schlüssel=a\u{e4}".as_bytes()));
    }
}
