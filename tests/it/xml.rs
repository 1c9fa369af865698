//! Whether a text is well-formed XML, as far as pictures need it: tags that nest, attributes in quotes, entities that are known.

/// Says what is wrong first.
pub fn well_formed(text: &str) -> Result<(), String> {
    let allowed =
        |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    if let Some(c) = text.chars().find(|c| !allowed(*c)) {
        return Err(format!("no character of XML: {c:?}"));
    }
    let mut rest = text;
    if let Some(declaration) = rest.strip_prefix("<?xml ") {
        rest = declaration.split_once("?>").ok_or("an endless declaration")?.1;
    }
    let mut open: Vec<String> = Vec::new();
    let mut roots = 0;
    while !rest.is_empty() {
        let Some(after) = rest.strip_prefix('<') else {
            let (words, next) = rest.split_at(rest.find('<').unwrap_or(rest.len()));
            entities(words)?;
            if words.contains("]]>") || open.is_empty() && !words.trim().is_empty() {
                return Err(format!("text where none may be: {words:?}"));
            }
            rest = next;
            continue;
        };
        // A `>` in an attribute's value is allowed, and is not the tag's end.
        let mut quote = None;
        let end = after.find(|c| match quote {
            Some(open) if c == open => {
                quote = None;
                false
            }
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                false
            }
            open => open.is_none() && c == '>',
        });
        let (tag, next) = after.split_at(end.ok_or("an endless tag")?);
        rest = &next[1..];
        if let Some(name) = tag.strip_prefix('/') {
            let last = open.pop();
            if last.as_deref() != Some(name.trim_end()) {
                return Err(format!("</{name}> ends {last:?}"));
            }
            continue;
        }
        let is_empty = tag.ends_with('/');
        let tag = tag.trim_end_matches('/');
        let (name, list) = tag.split_once([' ', '\n']).unwrap_or((tag, ""));
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-:_".contains(c)) {
            return Err(format!("no name of a tag: {name:?}"));
        }
        attributes(list)?;
        roots += usize::from(open.is_empty());
        if !is_empty {
            open.push(name.to_string());
        }
    }
    match (roots, open.pop()) {
        (1, None) => Ok(()),
        (_, Some(name)) => Err(format!("<{name}> has no end")),
        (roots, None) => Err(format!("{roots} roots")),
    }
}

fn attributes(list: &str) -> Result<(), String> {
    let mut rest = list.trim();
    let mut names: Vec<&str> = Vec::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or_else(|| format!("no value: {rest:?}"))?;
        let quote = after.chars().next().filter(|c| *c == '"' || *c == '\'').ok_or("a value without quotes")?;
        let (value, after) = after[1..].split_once(quote).ok_or("an endless value")?;
        if value.contains('<') || names.contains(&name) || name.contains(char::is_whitespace) {
            return Err(format!("a bad attribute: {name}={value:?}"));
        }
        if !after.is_empty() && !after.starts_with(char::is_whitespace) {
            return Err(format!("no space behind {name}"));
        }
        entities(value)?;
        names.push(name);
        rest = after.trim();
    }
    Ok(())
}

fn entities(text: &str) -> Result<(), String> {
    for part in text.split('&').skip(1) {
        let known = ["amp;", "lt;", "gt;", "quot;", "#39;"].iter().any(|entity| part.starts_with(entity));
        if !known {
            return Err(format!("no entity: &{part}"));
        }
    }
    Ok(())
}

#[test]
fn what_is_not_well_formed_is_seen() {
    for good in ["<a/>", "<?xml version=\"1.0\"?>\n<a b=\"c > d\"><c>&amp;</c></a>\n"] {
        assert_eq!(well_formed(good), Ok(()));
    }
    for bad in [
        "",
        "<a>",
        "</a>",
        "<a></b>",
        "<a/><b/>",
        "<a b=c/>",
        "<a b=\"<\"/>",
        "<a b=\"1\" b=\"2\"/>",
        "<a>&</a>",
        "<a>&x;</a>",
        "<a>\u{1}</a>",
        "text",
        "<a>]]></a>",
        "<a b=\"1\"c=\"2\"/>",
        "<a",
        "<>x</>",
    ] {
        assert!(well_formed(bad).is_err(), "{bad:?}");
    }
}
