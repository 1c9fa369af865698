//! `docs/promises.md` names tests that are there, and gives each promise a number of its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// What is wrong with the rows of promises; `read` gives the text of a file.
fn problems(text: &str, read: impl Fn(&str) -> String) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut numbers = BTreeSet::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [number, promise, held_by] = cells[..] else { continue };
        let Ok(number) = number.parse::<u32>() else { continue };
        if !numbers.insert(number) {
            wrong.push(format!("{number} is the number of two promises"));
        }
        let mut tests = 0;
        for of_file in held_by.split(';') {
            let mut names = quoted(of_file);
            let Some(file) = names.next() else { continue };
            let source = read(file);
            for test in names {
                tests += 1;
                if !source.contains(&format!("fn {test}(")) {
                    wrong.push(format!("{number}: {file} has no test {test}"));
                }
            }
        }
        if tests == 0 {
            wrong.push(format!("{number}: no test holds it: {promise}"));
        }
    }
    if numbers.is_empty() {
        wrong.push("no promise was found".into());
    }
    wrong
}

#[test]
fn every_promise_has_a_number_and_names_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/promises.md")).unwrap();
    let read = |file: &str| fs::read_to_string(root.join(file)).unwrap_or_default();
    let wrong = problems(&text, read);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn this_test_sees_what_is_wrong() {
    let text = "| 1 | a | `x.rs` `good`; `y.rs` `gone` |\n| 1 | b | `x.rs` |\n";
    let read = |file: &str| if file == "x.rs" { "fn good() {}".into() } else { String::new() };
    let expected = ["1: y.rs has no test gone", "1 is the number of two promises", "1: no test holds it: b"];
    assert_eq!(problems(text, read), expected);
    assert_eq!(problems("", read), ["no promise was found"]);
}
