//! What was probably meant by a word that is not known.

/// Fields that the design knows and this version does not have yet, as dotted paths.
const LATER: &[&str] = &[
    "query",
    "request",
    "prune",
    "container",
    "webhook",
    "feed",
    "site",
    "notify",
    "service",
    "heartbeat",
    "http",
    "health.disk_warning",
    "health.disk_critical",
    "health.file",
];
/// Actions that the design knows and this version does not have yet.
pub(super) const LATER_ACTIONS: &[&str] = &["query", "request", "prune", "container"];
/// Triggers that the design knows and this version does not have yet.
pub(super) const LATER_TRIGGERS: &[&str] = &["webhook", "feed", "site"];

/// Whether a later version has this field; `path` is dotted.
pub(super) fn is_later(path: &str) -> bool {
    LATER.contains(&path.strip_prefix("defaults.").unwrap_or(path))
}

/// What other programs call some fields.
const ELSEWHERE: &[(&str, &str)] = &[
    ("cron", "schedule"),
    ("crontab", "schedule"),
    ("interval", "every"),
    ("run", "command"),
    ("cmd", "command"),
    ("exec", "command"),
    ("script", "command"),
    ("cwd", "working_directory"),
    ("dir", "working_directory"),
    ("workdir", "working_directory"),
    ("environment", "env"),
    ("tz", "timezone"),
    ("time_zone", "timezone"),
    ("tags", "labels"),
];

/// The known word that was probably meant: what other programs call so, or the nearest if it is near enough.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    if length > 100 {
        return None;
    }
    let known: Vec<&str> = known.into_iter().collect();
    let elsewhere = ELSEWHERE.iter().find(|(other, _)| word.eq_ignore_ascii_case(other)).map(|(_, ours)| *ours);
    if let Some(ours) = known.iter().find(|name| Some(**name) == elsewhere) {
        return Some(ours);
    }
    let near = known.into_iter().filter_map(|candidate| {
        let distance = distance(&word.to_lowercase(), &candidate.to_lowercase());
        let enough = (length.max(candidate.chars().count()) / 3).clamp(1, 3);
        (distance <= enough).then_some((distance, candidate))
    });
    near.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// How many letters have to be put in, left out, replaced or swapped with their neighbour.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows = vec![vec![0; to.len() + 1]; from.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=from.len() {
        for j in 1..=to.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_finds_the_word_and_another_word_does_not() {
        let known = ["timeout", "command", "schedule", "every", "at", "env"];
        for (word, meant) in [
            ("timeuot", "timeout"),
            ("cron", "schedule"),
            ("comand", "command"),
            ("Schedule", "schedule"),
            ("evry", "every"),
        ] {
            assert_eq!(nearest(word, known), Some(meant));
        }
        for word in ["shell", "x", "", "working", &"t".repeat(1_000_000)] {
            assert_eq!(nearest(word, known), None, "{word:.10}");
        }
    }
}
