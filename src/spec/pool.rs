use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::model::{HumanDuration, Written};

/// A named limit that jobs share: how many of their runs are active at once, and how many begin in a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Runs that are active at once; absent where only the rate is limited.
    pub max: Option<u32>,
    pub rate: Option<Rate>,
}

/// So many in any span of this length, written `10/1m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub count: u32,
    pub per: HumanDuration,
}

const MOST: u32 = 10_000;

impl Written for Rate {
    const PATTERN: &'static str = r"^[0-9]+/([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";
    const EXPECTS: &'static str = "a rate such as `10/1m`";
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || format!("`{text}` is not a rate, expected one such as `10/1m`");
        let (count, per) = text.split_once('/').ok_or_else(shape)?;
        let count: u32 = count.parse().map_err(|_| shape())?;
        let per: HumanDuration = per.parse().map_err(|error| format!("{error}"))?;
        if !(1..=MOST).contains(&count) {
            return Err(format!("{count} is outside 1 to {MOST}"));
        }
        if per < HumanDuration::from_secs(1) {
            return Err(format!("a span of {per} is too short for a rate, at least 1s"));
        }
        Ok(Self { count, per })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.per)
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// As files write it: a number, or a map.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Short {
    Max(u32),
    Long(Long),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Long {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate: Option<String>,
}

impl Serialize for Pool {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.max, self.rate) {
            (Some(max), None) => serializer.serialize_u32(max),
            (max, rate) => Long { max, rate: rate.map(|rate| rate.to_string()) }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Pool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (max, rate) = match Short::deserialize(deserializer)? {
            Short::Max(max) => (Some(max), None),
            Short::Long(Long { max, rate }) => {
                (max, rate.map(|rate| rate.parse()).transpose().map_err(D::Error::custom)?)
            }
        };
        if max.is_some_and(|max| !(1..=MOST).contains(&max)) {
            return Err(D::Error::custom(format!("`max` is outside 1 to {MOST}")));
        }
        if max.is_none() && rate.is_none() {
            return Err(D::Error::custom("a pool needs `max`, `rate` or both"));
        }
        Ok(Self { max, rate })
    }
}

impl JsonSchema for Pool {
    fn schema_name() -> Cow<'static, str> {
        "Pool".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number: how many runs of the pool's jobs may be active at once. Or a map with `max`, and with `rate`: \
                            how many may begin in any span of time.",
            "type": ["integer", "object"],
            "minimum": 1,
            "maximum": MOST,
            "additionalProperties": false,
            "minProperties": 1,
            "x-expects": "a whole number such as 3, or a map with `max` and `rate`",
            "properties": {
                "max": {
                    "description": "How many runs of the pool's jobs may be active at once. Default: any number, where there is a `rate`.",
                    "type": "integer",
                    "minimum": 1,
                    "maximum": MOST,
                },
                "rate": {
                    "description": "How many may begin in any span of this length.",
                    "type": "string",
                    "pattern": Rate::PATTERN,
                    "x-expects": Rate::EXPECTS,
                    "examples": ["10/1m"],
                },
            },
            "examples": [3, { "max": 3, "rate": "10/1m" }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Pool, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn a_pool_is_a_number_or_a_map() {
        assert_eq!(read("3"), Ok(Pool { max: Some(3), rate: None }));
        let rate = Rate { count: 10, per: HumanDuration::from_secs(60) };
        assert_eq!(read(r#"{"rate": "10/1m"}"#), Ok(Pool { max: None, rate: Some(rate) }));
        assert_eq!(read(r#"{"max": 2, "rate": "10/1m"}"#), Ok(Pool { max: Some(2), rate: Some(rate) }));
        for pool in ["3", r#"{"rate":"10/1m"}"#, r#"{"max":2,"rate":"10/1m"}"#] {
            assert_eq!(serde_json::to_string(&read(pool).unwrap()).unwrap(), pool);
        }
    }

    #[test]
    fn a_pool_that_makes_no_sense_says_why() {
        for (json, words) in [
            ("0", "`max` is outside 1 to 10000"),
            ("{}", "a pool needs `max`, `rate` or both"),
            (r#"{"rate": "10"}"#, "`10` is not a rate, expected one such as `10/1m`"),
            (r#"{"rate": "0/1m"}"#, "0 is outside 1 to 10000"),
            (r#"{"rate": "5/10ms"}"#, "a span of 10ms is too short for a rate, at least 1s"),
            (r#"{"rate": "5/1x"}"#, "`x` is not a unit of time, expected ms, s, m, h, d or w"),
        ] {
            assert_eq!(read(json).unwrap_err(), words, "{json}");
        }
    }
}
