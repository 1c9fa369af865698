//! Text of a file on its way into a message.

/// A text of the file on its way into a message: short, and without control characters.
pub(super) fn shown(text: &str) -> String {
    let mut out: String = text
        .chars()
        .take(60)
        .flat_map(|c| {
            let escape = c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
            if escape { c.escape_debug().collect::<Vec<_>>() } else { vec![c] }
        })
        .collect();
    if text.chars().nth(60).is_some() {
        out.push('…');
    }
    out
}
