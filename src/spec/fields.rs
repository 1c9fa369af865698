//! The fields that stand at the top of each kind of file, each with its schema, compiled once.

use std::sync::LazyLock;

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

use super::schema;
use crate::action::Action;
use crate::trigger::Trigger;

/// What a field of a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Says something about the file's job.
    About,
    Trigger,
    Action,
    Policy,
    /// A setting of the runner.
    Setting,
}

/// One field with the schema of what stands behind it.
pub(super) struct Field {
    pub name: String,
    pub part: Part,
    pub schema: Value,
    pub validator: Validator,
}

impl Field {
    /// Whether the value is what absence means.
    pub fn is_default(&self, value: &Value) -> bool {
        self.schema.get("default") == Some(value)
    }
}

/// The fields of one kind of file.
pub(super) struct Fields(Vec<Field>);

impl Fields {
    pub fn get(&self, name: &str) -> Option<&Field> {
        self.0.iter().find(|field| field.name == name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|field| field.name.as_str())
    }
}

/// The fields of a job's file; the policies among them are those of `_defaults.yaml`.
pub(super) fn job() -> &'static Fields {
    static FIELDS: LazyLock<Fields> = LazyLock::new(|| {
        let generator = &mut schema::generator();
        let policies = schema::policies(generator);
        fields(&schema::job(), |name| match name {
            name if Trigger::KEYS.contains(&name) => Part::Trigger,
            name if Action::KEYS.contains(&name) => Part::Action,
            name if policies.contains_key(name) => Part::Policy,
            _ => Part::About,
        })
    });
    &FIELDS
}

/// The fields of runner.yaml.
pub(super) fn runner() -> &'static Fields {
    static FIELDS: LazyLock<Fields> = LazyLock::new(|| fields(&schema::runner(), |_| Part::Setting));
    &FIELDS
}

fn fields(file: &Value, part: impl Fn(&str) -> Part) -> Fields {
    let properties = file["properties"].as_object().into_iter().flatten();
    let field = |(name, schema): (&String, &Value)| Field {
        name: name.clone(),
        part: part(name),
        schema: schema.clone(),
        validator: jsonschema::options()
            .with_draft(Draft::Draft7)
            .with_pattern_options(PatternOptions::regex())
            .build(schema)
            .expect("the schema is made from the types, and a test compiles it"),
    };
    Fields(properties.filter(|(name, _)| *name != "$schema").map(field).collect())
}
