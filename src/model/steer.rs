//! Texts of others as a terminal may be shown them.

use std::borrow::Cow;

/// Whether a terminal obeys the character, or it turns the direction of what follows. A tab does neither.
pub fn steers(c: char) -> bool {
    c.is_control() && c != '\t'
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with such characters as escapes, on one line.
pub fn safe(text: &str) -> Cow<'_, str> {
    if !text.chars().any(steers) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if steers(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown.into()
}

/// JSON in which nothing steers a terminal: the same document, with escapes. Its own line breaks stay.
pub fn safe_json(json: &str) -> Cow<'_, str> {
    let is_to_be_escaped = |c: char| steers(c) && c != '\n';
    if !json.chars().any(is_to_be_escaped) {
        return json.into();
    }
    let mut shown = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_to_be_escaped(c) {
            shown.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            shown.push(c);
        }
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_is_shown_as_escapes_and_json_stays_the_same_document() {
        let wild = "\u{1b}[31mred\tx\r\u{9b}2J\u{202e}\u{2066}\u{7f}é";
        assert_eq!(safe(wild), "\\u{1b}[31mred\tx\\r\\u{9b}2J\\u{202e}\\u{2066}\\u{7f}é");
        let json = serde_json::to_string_pretty(&serde_json::json!({ "text": wild })).unwrap();
        let shown = safe_json(&json);
        assert!(!shown.chars().any(|c| steers(c) && c != '\n'), "{shown}");
        assert_eq!(shown.lines().count(), 3);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap()["text"], wild);
        assert!(matches!((safe("a\té"), safe_json("{}")), (Cow::Borrowed(_), Cow::Borrowed(_))));
    }
}
