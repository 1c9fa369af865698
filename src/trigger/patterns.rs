//! What is wrong with the patterns of a watch, as they are written.

use std::path::Path;

use super::files::Pattern;
use crate::model::Fault;

/// The faults of `patterns` and `ignore`, each at its pointer below `watch`.
pub(super) fn problems(paths: &[String], patterns: &[String], ignore: &[String], recursive: bool) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (key, list) in [("patterns", patterns), ("ignore", ignore)] {
        for (at, pattern) in list.iter().enumerate() {
            let found = no_pattern(key, pattern)
                .or_else(|| matches_nothing(key, pattern, paths, recursive))
                .or_else(|| leaves_all_out(key, pattern));
            faults.extend(found.map(|fault| Fault { pointer: format!("/{key}/{at}"), ..fault }));
        }
    }
    for (at, pattern) in patterns.iter().enumerate().filter(|(_, pattern)| ignore.contains(pattern)) {
        let fault =
            Fault::warning(format!("/patterns/{at}"), format!("all that `{pattern}` matches is left out by `ignore`"));
        faults.push(fault.help("remove one of the two"));
    }
    faults
}

fn no_pattern(key: &str, pattern: &str) -> Option<Fault> {
    if let Some(meant) = pattern.strip_prefix('!') {
        let help = match key {
            "patterns" => format!("write `{meant}` in `ignore`"),
            _ => "name what is wanted in `patterns`".to_string(),
        };
        return Some(Fault::error("", "a pattern cannot be turned round with `!`").help(help));
    }
    if pattern.is_empty() {
        return Some(Fault::error("", "a pattern is empty").help("write one such as `*.pdf`, or remove it"));
    }
    let error = Pattern::new(pattern).err()?;
    let help = "`*` and `?` stand for what is in a name, `**` for folders, `{a,b}` for one of both, `[a-z]` for one letter; a `\\` before \
                any of them takes it as it is";
    Some(Fault::error("", format!("`{pattern}` is not a pattern: {error}")).help(help))
}

/// A pattern is compared with what stands below the watched path.
fn matches_nothing(key: &str, pattern: &str, paths: &[String], recursive: bool) -> Option<Fault> {
    let nothing = |why: &str| Fault::warning("", format!("`{pattern}` matches nothing: {why}"));
    let below = "patterns are compared with the path below the watched one";
    let top = |path: &String| Path::new(path).is_absolute() && path.trim_end_matches('/').len() > 1;
    if let Some(path) = paths.iter().filter(|path| top(path)).find(|path| Path::new(pattern).starts_with(path)) {
        let rest = Path::new(pattern).strip_prefix(path).ok()?;
        let rest = rest.to_string_lossy();
        let help = if rest.is_empty() { "leave it out".to_string() } else { format!("write `{rest}`") };
        return Some(nothing(below).help(help));
    }
    if pattern.starts_with("~/") || pattern.split('/').any(|part| part == "..") {
        return Some(nothing(below).help("name the folder in `paths`, and the files here"));
    }
    // In `ignore` it would be a folder that is not looked into anyway.
    let pattern = pattern.trim_start_matches("./").trim_start_matches('/');
    if key == "patterns" && !recursive && !pattern.contains('{') && pattern.contains('/') && !pattern.starts_with("**/")
    {
        return Some(nothing("`recursive` is false, so no folder is looked into").help("leave `recursive` out"));
    }
    None
}

fn leaves_all_out(key: &str, pattern: &str) -> Option<Fault> {
    let covers = |pattern: Pattern| ["a", ".b", "C1.txt", "d/e.f"].iter().all(|name| pattern.covers(Path::new(name)));
    let is_all = key == "ignore" && Pattern::new(pattern).is_ok_and(covers);
    let fault = || Fault::warning("", format!("`{pattern}` leaves every file out: none makes this job due"));
    is_all.then(|| fault().help("name what is not wanted, or what is wanted in `patterns`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(paths: &[&str], patterns: &[&str], ignore: &[&str], recursive: bool) -> Vec<String> {
        let texts = |all: &[&str]| all.iter().map(|text| text.to_string()).collect::<Vec<_>>();
        let faults = problems(&texts(paths), &texts(patterns), &texts(ignore), recursive);
        faults.into_iter().map(|fault| format!("{} {}", fault.pointer, fault.help.unwrap_or_default())).collect()
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_told_of() {
        let good = ["*.pdf", "/top.pdf", "./a/*.pdf", "**/x/*.pdf", "a..b", "folder/", "/srv/other/*.pdf"];
        assert_eq!(found(&["/srv/in", "in", "/"], &good, &[], true), [""; 0]);
        assert_eq!(found(&["/srv/in/"], &["/srv/in/*.pdf"], &[], true), ["/patterns/0 write `*.pdf`"]);
        assert_eq!(found(&["/srv/in"], &["*.pdf"], &["/srv/in"], true), ["/ignore/0 leave it out"]);
        for pattern in ["../x/*", "a/../b", "~/in/*.pdf"] {
            assert_eq!(found(&["in"], &[pattern], &[], true).len(), 1, "{pattern}");
        }
        assert_eq!(found(&["in"], &["sub/*.pdf"], &["sub/*.pdf"], false).len(), 2);
        assert_eq!(found(&["in"], &["**/*.pdf", "/*.pdf", "{*.pdf,sub/*.csv}"], &["sub/"], false), [""; 0]);
        assert_eq!(found(&["in"], &["*.txt"], &["*.txt"], true), ["/patterns/0 remove one of the two"]);
    }

    #[test]
    fn what_is_no_pattern_has_a_cure() {
        for pattern in ["", "!a", "[a", "*.{pdf"] {
            assert!(found(&["in"], &[pattern], &[], true)[0].len() > "/patterns/0 ".len(), "{pattern}");
        }
    }
}
