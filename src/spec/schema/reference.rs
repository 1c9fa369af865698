//! The reference of all fields as Markdown, made from the schemas.

use std::fmt::Write;

use serde_json::Value;

const ONLY_VALIDATE: &str = "
## What only `runner validate` sees

Editors check what the schemas say. `runner validate` also finds:

- cron expressions that are wrong or never come due, dates of `at` that do not exist, intervals shorter than 1s;
- names of time zones that do not exist;
- names of jobs that cannot be used, and two files with one name;
- variables in `${NAME}` that are missing, and what they give where it does not fit;
- duplicate keys, two actions in one job, a job without a trigger, `manual: true` beside a trigger;
- a timeout of 0s, whole numbers written as `1.0`, durations and sizes that are too large;
- names of environment variables with `=` or NUL, NUL in commands, paths and variables;
- a secret with no source or with more than one, and one that has the name of a variable in `env` or one of the runner's;
- regular expressions in `redact` that are none;
- settings of `runner.yaml` that do not fit one another, such as `max_total` below `max_size`.
";

/// `docs/file-reference.md`: every field of the three kinds of file with its meaning, default and examples.
pub fn reference() -> String {
    let mut out = String::from(
        "# File reference\n\n\
         Made from the types (`RUNNER_UPDATE=1 tests/run` writes it anew); `schema/*.schema.json` say the same to editors.\n\n\
         At the top of each file `$schema` is accepted as well, and keys that begin with `x-`: they mean nothing to the runner and are a place\n\
         for anchors. `name[].field` is a field of each item of a list, `name.NAME.field` one of each entry of a map.\n",
    );
    let mut generator = super::generator();
    section(&mut out, "A job: `jobs/**/*.yaml`, `.yml`, `.json`", super::about(&mut generator));
    section(&mut out, "Triggers: any number of these in a job", super::triggers(&mut generator));
    section(&mut out, "Actions: exactly one of these in a job", super::actions(&mut generator));
    let policies = super::policies(&mut generator);
    section(&mut out, "Policies: in a job, in `_defaults.yaml`, below `defaults` in `runner.yaml`", policies);
    let mut runner = super::runner();
    let mut fields = runner["properties"].take().as_object().cloned().unwrap_or_default();
    fields.remove("$schema");
    if let Some(defaults) = fields.get_mut("defaults").and_then(Value::as_object_mut) {
        defaults.remove("properties"); // told above
    }
    section(&mut out, "Settings: `runner.yaml`, `.yml`, `.json`", fields);
    out + ONLY_VALIDATE
}

fn section(out: &mut String, title: &str, fields: serde_json::Map<String, Value>) {
    let _ = write!(out, "\n## {title}\n");
    for (name, schema) in &fields {
        field(out, name, schema);
    }
}

fn field(out: &mut String, name: &str, schema: &Value) {
    let text = |key: &str| schema[key].as_str().unwrap_or_default();
    let _ = write!(out, "\n### `{name}`\n\n{}\n\n", text("description").replace('\n', " "));
    let _ = writeln!(out, "- Value: {}", value_words(schema));
    if let Some(default) = schema.get("default") {
        let _ = writeln!(out, "- Default: `{}`", code(default));
    }
    if let Some(examples) = schema["examples"].as_array() {
        let examples: Vec<String> = examples.iter().map(|example| format!("`{}`", code(example))).collect();
        let _ = writeln!(out, "- Examples: {}", examples.join(", "));
    }
    for (below, schema) in schema["properties"].as_object().into_iter().flatten() {
        field(out, &format!("{name}.{below}"), schema);
    }
    for (below, schema) in schema["items"]["properties"].as_object().into_iter().flatten() {
        field(out, &format!("{name}[].{below}"), schema);
    }
    for (below, schema) in schema["additionalProperties"]["properties"].as_object().into_iter().flatten() {
        field(out, &format!("{name}.NAME.{below}"), schema);
    }
}

/// What a value has to be, in words.
pub(in crate::spec) fn value_words(schema: &Value) -> String {
    if let Some(expects) = schema["x-expects"].as_str() {
        return expects.to_string();
    }
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<String> = words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
        return match words.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => words.concat(),
        };
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null").collect(),
        _ => Vec::new(),
    };
    let word = |kind: &&str| match *kind {
        "boolean" => "true or false".to_string(),
        "integer" => match (schema["minimum"].as_u64(), schema["maximum"].as_u64()) {
            (Some(least), Some(most)) => format!("a whole number from {least} to {most}"),
            (Some(least), None) => format!("a whole number, at least {least}"),
            _ => "a whole number".to_string(),
        },
        "number" => "a number".to_string(),
        "string" => "text".to_string(),
        "array" => "a list".to_string(),
        _ if schema["additionalProperties"].is_object() => "a map of names to text".to_string(),
        _ => "a map".to_string(),
    };
    kinds.iter().map(word).collect::<Vec<_>>().join(" or ")
}

/// A value as a file would have it on one line.
fn code(value: &Value) -> String {
    value.to_string()
}
