//! Whether a `.json` file is JSON, said before the common reader takes it: that one would read more.

use serde::de::IgnoredAny;

use super::page::Page;
use super::syntax::too_deep;
use crate::model::Problem;

/// Whether a text is JSON.
pub(super) fn check(page: Page<'_>) -> Result<(), Box<Problem>> {
    if page.text.trim().is_empty() {
        return Ok(()); // an empty file gets its own words
    }
    let Err(error) = serde_json::from_str::<IgnoredAny>(page.text) else { return Ok(()) };
    let said = error.to_string();
    let said = said.split(" at line ").next().unwrap_or(&said);
    if said.starts_with("recursion limit") {
        return Err(page.problem(page.place_of(error.line(), 1), 1, too_deep()).into());
    }
    // serde_json counts bytes, and the byte that it has read last.
    let line = page.text.split('\n').nth(error.line().saturating_sub(1)).unwrap_or_default(); // as serde_json counts
    let byte = error.column().saturating_sub(1).min(line.len());
    let column = line.char_indices().take_while(|(at, _)| *at < byte).count() + 1;
    let place = page.place_of(error.line(), column);
    let rest = line.get(byte..).unwrap_or_default();
    let before = page.text[..place.start as usize].trim_end();
    let comma = rest.starts_with(['}', ']']) && before.ends_with(',');
    let said = if comma { "trailing comma" } else { said };
    let help = if comma {
        "JSON has no comma after the last item, remove it"
    } else if rest.starts_with(['/', '#']) {
        "JSON has no comments; remove them, or rename the file to end in .yaml"
    } else if rest.starts_with('\'') {
        "JSON strings stand in double quotes"
    } else {
        "rename the file to end in .yaml if it is meant to be YAML"
    };
    Err(page.problem(place, 1, format!("this is not JSON: {said}")).help(help).into())
}
