//! Small changes to what schemars makes of the types, so that each fault has one error at its own place.

use serde_json::{Value, json};

/// Drops what says nothing: `"default": null`, formats of numbers, the `null` of an optional field, also where that is a type of
/// its own.
/// Turns a `oneOf` of documented words into one `enum`.
pub(super) fn tidy(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    if map.get("default").is_some_and(Value::is_null) {
        map.remove("default");
    }
    map.remove("format");
    map.remove("title");
    if let Some(value) = map.get_mut("anyOf").and_then(Value::as_array_mut).and_then(optional) {
        map.remove("anyOf");
        for (key, below) in value {
            // What the field says of itself goes before what its type says.
            map.entry(key).or_insert(below);
        }
    }
    if let Some(words) = map.get("oneOf").and_then(Value::as_array).and_then(|variants| words_of(variants)) {
        map.remove("oneOf");
        map.insert("type".into(), "string".into());
        map.insert("enum".into(), words);
    }
    if let Some(Value::Array(types)) = map.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = &types[..] {
            let only = only.clone();
            map.insert("type".into(), only);
        }
    }
    each_below(schema, tidy);
}

/// What is meant by "this or null".
fn optional(variants: &mut Vec<Value>) -> Option<serde_json::Map<String, Value>> {
    let place = variants.iter().position(|variant| *variant == json!({ "type": "null" }))?;
    if variants.len() != 2 {
        return None;
    }
    match variants.remove(1 - place) {
        Value::Object(map) => Some(map),
        _ => None,
    }
}

fn words_of(variants: &[Value]) -> Option<Value> {
    let word = |variant: &Value| variant.get("const").cloned().or_else(|| variant["enum"].get(0).cloned());
    variants.iter().map(word).collect::<Option<Vec<Value>>>().map(Value::Array)
}

/// Lets every pattern also take a text with `${…}`: it is filled in before the types see it.
pub(super) fn accept_variables(schema: &mut Value) {
    if let Some(Value::String(pattern)) = schema.get_mut("pattern") {
        pattern.push_str(r"|\$\{");
    }
    each_below(schema, accept_variables);
}

/// Lets the value and everything in it be `null`, which unsets a default.
pub(super) fn accept_null(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    if let Some(kind) = map.get_mut("type") {
        *kind = match kind.take() {
            Value::Array(mut kinds) => {
                kinds.push("null".into());
                kinds.into()
            }
            kind => json!([kind, "null"]),
        };
    }
    if let Some(Value::Array(words)) = map.get_mut("enum") {
        words.push(Value::Null);
    }
    each_below(schema, accept_null);
}

fn each_below(schema: &mut Value, change: fn(&mut Value)) {
    let Some(map) = schema.as_object_mut() else { return };
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().for_each(change);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(below) = map.get_mut(key).filter(|below| below.is_object()) {
            change(below);
        }
    }
}
