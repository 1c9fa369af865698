//! The JSON Schemas of the three kinds of file, made from the types: draft-07, which editors understand.
//!
//! Everything stands inline, so that the schema of each field is whole by itself and can be checked alone.

mod reference;
mod transform;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::about::About;
use super::policies::Policies;
use super::runner::RunnerSpec;
use crate::action::Action;
use crate::trigger::Trigger;

pub use reference::reference;
pub(super) use reference::value_words;

const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// The three schemas with the names of their files in `schema/`.
pub fn files() -> [(&'static str, Value); 3] {
    [("job.schema.json", job()), ("defaults.schema.json", defaults()), ("runner.schema.json", runner())]
}

/// A schema as its file holds it: pretty, with a newline at the end.
pub fn text(schema: &Value) -> String {
    format!("{schema:#}\n")
}

/// The schema of a job's file.
pub fn job() -> Value {
    let mut generator = generator();
    let mut properties = about(&mut generator);
    properties.extend(triggers(&mut generator));
    properties.extend(actions(&mut generator));
    properties.extend(policies(&mut generator));
    let one_action: Vec<Value> = Action::KEYS.iter().map(|key| json!({ "required": [key] })).collect();
    let mut schema = file("A job", "One job of the runner: any number of triggers, exactly one action.", properties);
    schema["oneOf"] = one_action.into();
    schema
}

/// The schema of `_defaults.yaml`.
pub fn defaults() -> Value {
    let about = "Defaults for every job in the folder and below it: policies only, no trigger and no action.";
    file("Defaults of a folder", about, policies(&mut generator()))
}

/// The schema of runner.yaml.
pub fn runner() -> Value {
    let mut generator = generator();
    let mut properties = fields_of::<RunnerSpec>(&mut generator);
    let defaults = json!({
        "description": "Defaults for every job, below those of `_defaults.yaml`.",
        "type": "object",
        "additionalProperties": false,
        "properties": policies(&mut generator),
    });
    properties.insert("defaults".into(), defaults);
    properties.values_mut().for_each(transform::accept_variables);
    file("Settings of the runner", "runner.yaml: settings of the whole runner.", properties)
}

fn file(title: &str, description: &str, mut properties: Map<String, Value>) -> Value {
    let schema = json!({ "description": "The schema that editors check the file with.", "type": "string" });
    properties.insert("$schema".into(), schema);
    json!({
        "$schema": DRAFT,
        "title": title,
        "description": description,
        "type": "object",
        "properties": properties,
        "patternProperties": { "^x-": { "description": "Anything: a place for anchors." } },
        "additionalProperties": false,
    })
}

pub(super) fn about(generator: &mut SchemaGenerator) -> Map<String, Value> {
    let mut fields = fields_of::<About>(generator);
    fields.values_mut().for_each(transform::accept_variables);
    fields
}

pub(super) fn triggers(generator: &mut SchemaGenerator) -> Map<String, Value> {
    kinds(Trigger::schemas(generator), |key| Trigger::expands_environment(key) == Some(true))
}

pub(super) fn actions(generator: &mut SchemaGenerator) -> Map<String, Value> {
    kinds(Action::schemas(generator), |key| Action::expands_environment(key) == Some(true))
}

pub(in crate::spec) fn policies(generator: &mut SchemaGenerator) -> Map<String, Value> {
    let mut fields = fields_of::<Policies>(generator);
    for schema in fields.values_mut() {
        transform::accept_variables(schema);
        transform::accept_null(schema);
    }
    fields
}

fn kinds(schemas: Vec<(&'static str, schemars::Schema)>, expands: fn(&str) -> bool) -> Map<String, Value> {
    let tidy = |(key, schema): (&'static str, schemars::Schema)| {
        let mut schema = schema.to_value();
        transform::tidy(&mut schema);
        if expands(key) {
            transform::accept_variables(&mut schema);
        }
        (key.to_string(), schema)
    };
    schemas.into_iter().map(tidy).collect()
}

fn fields_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Map<String, Value> {
    let mut schema = T::json_schema(generator).to_value();
    transform::tidy(&mut schema);
    match schema.get_mut("properties").map(Value::take) {
        Some(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

pub(in crate::spec) fn generator() -> SchemaGenerator {
    SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true).into_generator()
}
