//! How problems are shown: to people, to programs, and to GitHub.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde::Serialize;

use crate::model::{Problem, Severity};

/// How much of a source line is shown before and after what is meant.
const BEFORE: usize = 60;
const AFTER: usize = 100;

/// As a compiler shows them: the message, the place, the source line with a caret, help.
pub fn human(problems: &[Problem], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    problems.iter().map(|problem| one(&renderer, problem)).collect::<Vec<_>>().join("\n")
}

fn one(renderer: &Renderer, problem: &Problem) -> String {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let path = clean(&problem.path);
    let message = clean(&problem.headline());
    let help = problem.help.as_deref().map(clean);
    let mut group = Group::with_title(level.primary_title(message));
    let excerpt = Excerpt::of(problem);
    group = match &excerpt {
        Some(excerpt) => {
            let annotation = AnnotationKind::Primary.span(excerpt.span.clone());
            let snippet = Snippet::source(excerpt.text.as_str()).path(path.as_str()).line_start(problem.line);
            group.element(snippet.fold(false).annotation(annotation))
        }
        None => group.element(Origin::path(path.as_str())),
    };
    if let Some(help) = help {
        group = group.element(Level::HELP.message(help));
    }
    let shown = renderer.render(&[group]) + "\n";
    match excerpt {
        // The place counts in the whole line, not in what is shown of it.
        Some(excerpt) if excerpt.column != problem.column => {
            let place = |column: usize| format!("{path}:{}:{column}", problem.line);
            shown.replacen(&place(excerpt.column), &place(problem.column), 1)
        }
        _ => shown,
    }
}

/// The part of a source line around what is meant, with the bytes of it that are meant.
struct Excerpt {
    text: String,
    span: std::ops::Range<usize>,
    /// The column at which that begins in what is shown.
    column: usize,
}

impl Excerpt {
    fn of(problem: &Problem) -> Option<Self> {
        if problem.line == 0 {
            return None;
        }
        let meant = problem.column.saturating_sub(problem.source_column);
        let from = meant.saturating_sub(BEFORE);
        let from = if from < 10 { 0 } else { from };
        let mut text = String::new();
        if from > 0 || problem.source_column > 1 {
            text.push('…');
        }
        let (mut start, mut end) = (None, None);
        let mut chars = problem.source_line.chars().enumerate().skip(from);
        let length = problem.length.min(AFTER);
        for (i, c) in chars.by_ref().take_while(|(i, _)| *i < meant + AFTER) {
            if i == meant {
                start = Some(text.len());
            }
            text.push(visible(c));
            if i + 1 == meant + length {
                end = Some(text.len());
            }
        }
        if chars.next().is_some() {
            text.push('…');
        }
        let start = start.unwrap_or(text.len());
        let column = text[..start].chars().count() + 1;
        Some(Self { span: start..end.unwrap_or(text.len()).max(start), text, column })
    }
}

/// One character for one, none of which a terminal obeys.
fn visible(c: char) -> char {
    match c {
        '\t' => ' ',
        '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        // Among these are the marks that turn the direction of writing.
        '\u{80}'..='\u{9f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => '\u{fffd}',
        c => c,
    }
}

fn clean(text: &str) -> String {
    text.chars().map(visible).collect()
}

/// One document: `{"files":N,"jobs":N,"problems":[…]}`.
pub fn json(files: usize, jobs: usize, problems: &[Problem]) -> String {
    #[derive(Serialize)]
    struct Document<'a> {
        files: usize,
        jobs: usize,
        problems: &'a [Problem],
    }
    let document = serde_json::to_string(&Document { files, jobs, problems }).unwrap_or_default();
    format!("{document}\n")
}

/// One workflow command a line, which GitHub shows beside the line that is meant.
pub fn github(problems: &[Problem]) -> String {
    problems.iter().map(command).collect()
}

fn command(problem: &Problem) -> String {
    let level = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut properties = format!("file={}", escape_property(&problem.path));
    if problem.line > 0 {
        properties += &format!(",line={},col={}", problem.line, problem.column);
    }
    let mut message = problem.headline();
    if let Some(help) = &problem.help {
        message += &format!("\nhelp: {help}");
    }
    format!("::{level} {properties}::{}\n", escape(&message))
}

fn escape(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn escape_property(text: &str) -> String {
    escape(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem() -> Problem {
        Problem {
            line: 4,
            column: 11,
            length: 2,
            field: "schedule".into(),
            help: Some("use 0-59".into()),
            source_line: "schedule: \u{1b}61 * * * *".into(),
            ..Problem::of_file("jobs/etl/load.yaml", "minute 61 is outside 0-59")
        }
    }

    #[test]
    fn people_get_the_place_the_line_and_a_caret() {
        let expected = "\
error: schedule: minute 61 is outside 0-59
 --> jobs/etl/load.yaml:4:12
  |
4 | schedule: ␛61 * * * *
  |            ^^
  |
  = help: use 0-59
";
        assert_eq!(human(&[Problem { column: 12, ..problem() }], false), expected);
    }

    #[test]
    fn a_long_line_is_cut_around_what_is_meant_and_keeps_its_column() {
        let line = format!("{}XY{}", "a".repeat(500), "b".repeat(500));
        let shown = human(&[Problem { column: 501, source_line: line, ..problem() }], false);
        assert!(shown.contains("load.yaml:4:501\n"), "{shown}");
        let rows: Vec<&str> = shown.lines().filter(|row| row.contains("XY") || row.contains('^')).collect();
        assert_eq!(rows[0].find("XY").map(|at| rows[0][..at].chars().count()), rows[1].find("^^"), "{shown}");
        assert!(rows[0].chars().count() < 200, "{shown}");
    }

    #[test]
    fn nothing_of_a_file_reaches_the_terminal_as_a_command() {
        let bad = "\u{1b}[2J\u{9b}\u{202e}\u{7}";
        let problem = Problem {
            path: bad.into(),
            message: bad.into(),
            help: Some(bad.into()),
            field: bad.into(),
            source_line: bad.into(),
            ..problem()
        };
        let shown = human(&[problem], false);
        assert!(shown.chars().all(|c| c == '\n' || visible(c) == c), "{shown:?}");
    }

    #[test]
    fn github_gets_what_its_syntax_needs_escaped() {
        let problem = Problem { path: "jobs/a,b:c%.yaml".into(), ..problem() };
        assert_eq!(
            github(&[problem]),
            "::error file=jobs/a%2Cb%3Ac%25.yaml,line=4,col=11::\
             schedule: minute 61 is outside 0-59%0Ahelp: use 0-59\n"
        );
    }

    #[test]
    fn programs_get_one_document() {
        assert_eq!(
            json(2, 1, &[problem()]),
            "{\"files\":2,\"jobs\":1,\"problems\":[{\"path\":\"jobs/etl/load.yaml\",\"line\":4,\"column\":11,\
             \"field\":\"schedule\",\"severity\":\"error\",\"message\":\"minute 61 is outside 0-59\",\"help\":\"use 0-59\"}]}\n"
        );
    }
}
