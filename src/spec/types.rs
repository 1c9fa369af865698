//! From checked values to types. What the schema did not see is found here, and still gets its place.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::model::Fault;

/// The map as a type, or its faults, each at the smallest part that cannot be read.
pub(super) fn read<T: DeserializeOwned>(map: Map<String, Value>) -> Result<T, Vec<Fault>> {
    let map = Value::Object(map);
    let error = match T::deserialize(&map) {
        Ok(value) => return Ok(value),
        Err(error) => error.to_string(),
    };
    let fails = |map: Map<String, Value>| T::deserialize(&Value::Object(map)).err().map(|error| error.to_string());
    let faults = map.as_object().map(|map| culprits(map, &fails)).unwrap_or_default();
    Err(if faults.is_empty() { vec![Fault::error("", error)] } else { faults })
}

/// Tries each key alone, and each key of a map below it alone.
fn culprits(map: &Map<String, Value>, fails: &dyn Fn(Map<String, Value>) -> Option<String>) -> Vec<Fault> {
    let alone = |key: &str, value: Value| fails(Map::from_iter([(key.to_string(), value)]));
    let mut faults = Vec::new();
    for (key, value) in map {
        let Some(message) = alone(key, value.clone()) else { continue };
        let prefix = format!("/{}", escape(key));
        let below = match value {
            Value::Object(inner) => culprits(inner, &|inner| alone(key, Value::Object(inner))),
            _ => Vec::new(),
        };
        if below.is_empty() {
            faults.push(Fault::error(prefix.clone(), reworded(&message, value)));
        }
        faults.extend(below.into_iter().map(|fault| Fault { pointer: format!("{prefix}{}", fault.pointer), ..fault }));
    }
    faults
}

/// A key as a segment of a JSON pointer.
pub(super) fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// serde's words name Rust's types; people write numbers.
pub(super) fn reworded(message: &str, value: &Value) -> String {
    match value {
        Value::Number(number) if number.is_f64() => format!("expected a whole number, found {number}"),
        Value::Number(number) => format!("the number {number} does not fit here"),
        _ => message.to_string(),
    }
}
