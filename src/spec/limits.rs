use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::model::{ByteSize, OrNone};

/// What a run may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// How much of what a run prints is kept: the first and the last half, the bytes between are counted. `none` keeps all.
    #[schemars(example = &"1MB", example = &"none")]
    pub output: OrNone<ByteSize>,
    /// Memory, swap included: of all processes of a run together where the runner has the memory controller of cgroup v2, else
    /// the data of each process.
    #[schemars(example = &"512M")]
    pub memory: Option<ByteSize>,
    /// CPU time of all processes of a run together, as a part of one core: `50%` or `0.5`; `200%` are two cores. Needs the cpu
    /// controller of cgroup v2.
    pub cpu: Option<CpuShare>,
    /// Processes and threads of a run at one time. Needs the pids controller of cgroup v2, or `run_as` with a user other than
    /// root: then all processes of that user count.
    #[schemars(range(min = 1, max = 4_194_304))]
    pub processes: Option<u32>,
    /// Files that each process of a run may have open.
    #[schemars(range(min = 8, max = 1_048_576))]
    pub open_files: Option<u32>,
    /// Limits that this machine cannot keep are left out, with a warning. Otherwise they are errors.
    pub best_effort: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            output: OrNone::Some(ByteSize(10_000_000)),
            memory: None,
            cpu: None,
            processes: None,
            open_files: None,
            best_effort: false,
        }
    }
}

/// A part of one core, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuShare(pub u32);

impl CpuShare {
    const EXPECTS: &'static str = "a part of one core such as `50%` or `0.5`";
    /// As many cores as no machine has.
    const MOST: f64 = 10_000.0;

    fn of_cores(cores: f64) -> Result<Self, String> {
        let thousandths = (cores * 1000.0).round();
        if cores.is_finite() && thousandths >= 10.0 && cores <= Self::MOST {
            Ok(Self(thousandths as u32))
        } else {
            Err(format!("expected {}, at least `1%`, at most {} cores", Self::EXPECTS, Self::MOST))
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let number =
            |text: &str| text.parse::<f64>().map_err(|_| format!("expected {}, found `{text}`", Self::EXPECTS));
        match text.strip_suffix('%') {
            Some(percent) => Self::of_cores(number(percent)? / 100.0),
            None => Self::of_cores(number(text)?),
        }
    }
}

impl fmt::Display for CpuShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.0) / 10.0)
    }
}

impl Serialize for CpuShare {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CpuShare {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parsed = match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Self::parse(&text),
            serde_json::Value::Number(number) => Self::of_cores(number.as_f64().unwrap_or(f64::NAN)),
            _ => Err(format!("expected {}", Self::EXPECTS)),
        };
        parsed.map_err(D::Error::custom)
    }
}

impl JsonSchema for CpuShare {
    fn schema_name() -> Cow<'static, str> {
        "CpuShare".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "number"],
            "pattern": r"^[0-9]+(\.[0-9]+)?%?$",
            "exclusiveMinimum": 0,
            "x-expects": Self::EXPECTS,
            "examples": ["50%", 0.5],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(text: &str) -> Result<String, String> {
        serde_json::from_str::<CpuShare>(text).map(|share| share.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn half_a_core_is_written_in_two_ways() {
        for (text, shown) in
            [("\"50%\"", "50%"), ("0.5", "50%"), ("\"0.5\"", "50%"), ("2", "200%"), ("\"12.5%\"", "12.5%")]
        {
            assert_eq!(share(text).as_deref(), Ok(shown), "{text}");
        }
        for text in ["0", "-1", "\"0%\"", "\"half\"", "\"%\"", "1e9", "true", "\"nan\""] {
            assert!(share(text).is_err(), "{text}");
        }
    }
}
