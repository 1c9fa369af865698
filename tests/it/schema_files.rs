//! What is generated from the types is committed, and stays what the code makes.
//!
//! `RUNNER_UPDATE=1 cargo test` writes the files anew.

use std::fs;
use std::path::Path;

use runner::spec::schema;

#[track_caller]
fn is_committed(file: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("RUNNER_UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, made).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == made, "{file} is not what the code makes; write it with RUNNER_UPDATE=1 cargo test");
}

#[test]
fn the_schemas_are_what_the_types_make() {
    for (name, schema) in schema::files() {
        is_committed(&format!("schema/{name}"), &schema::text(&schema));
    }
}

#[test]
fn the_file_reference_is_what_the_schemas_say() {
    is_committed("docs/file-reference.md", &schema::reference());
}

/// What loads is also fine to an editor, which sees the files before any variable is filled in.
#[test]
fn editors_accept_every_example_and_every_valid_sample() {
    let validator = |schema| jsonschema::draft7::new(&schema).unwrap();
    let (job, defaults, runner) =
        (validator(schema::job()), validator(schema::defaults()), validator(schema::runner()));
    for folder in ["examples", "examples/defaults", "tests/samples/valid"] {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let mut options = serde_saphyr::Options::default();
            options.strict_booleans = true;
            options.leading_zero_numbers_as_strings = true;
            options.underscored_numbers_as_strings = true;
            let value: serde_json::Value = serde_saphyr::from_str_with_options(&text, options).unwrap();
            let schema = match name {
                name if name.starts_with("_defaults") => &defaults,
                name if name.starts_with("runner") => &runner,
                _ => &job,
            };
            let errors: Vec<String> = schema.iter_errors(&value).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{}: {errors:?}", path.display());
        }
    }
}

#[test]
fn every_field_has_a_description_and_none_is_vague() {
    fn walk(path: &str, schema: &serde_json::Value) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}/{name}");
            assert!(field["description"].as_str().is_some_and(|words| words.ends_with('.')), "{path}: {field:#}");
            assert!(
                field.get("anyOf").is_none() && field.get("oneOf").is_none() && field.get("$ref").is_none(),
                "{path}"
            );
            walk(&path, field);
        }
    }
    for (name, schema) in schema::files() {
        walk(name, &schema);
        jsonschema::draft7::meta::validate(&schema).unwrap();
    }
}
