use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::os::wait::{signal_name, signal_number};

/// Whom the command runs as. Needs root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunAs {
    /// The user, by name or number. The supplementary groups are the user's own.
    #[schemars(example = &"reports", extend("minLength" = 1))]
    pub user: String,
    /// The group, by name or number. Default: the user's own.
    #[serde(default)]
    #[schemars(example = &"reports", extend("minLength" = 1))]
    pub group: Option<String>,
}

/// What of the runner's environment a command gets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum InheritEnv {
    #[default]
    All,
    Nothing,
    /// These variables alone.
    Names(Vec<String>),
}

impl InheritEnv {
    /// Whether the command gets the variable.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Nothing => false,
            Self::Names(names) => names.iter().any(|one| one == name),
        }
    }
}

impl Serialize for InheritEnv {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_bool(true),
            Self::Nothing => serializer.serialize_bool(false),
            Self::Names(names) => names.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for InheritEnv {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::Bool(true) => Ok(Self::All),
            serde_json::Value::Bool(false) => Ok(Self::Nothing),
            list => serde_json::from_value(list).map(Self::Names).map_err(D::Error::custom),
        }
    }
}

impl JsonSchema for InheritEnv {
    fn schema_name() -> Cow<'static, str> {
        "InheritEnv".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["boolean", "array"],
            "items": { "type": "string", "minLength": 1 },
            "x-expects": "`true`, `false` or a list of names such as `[PATH, LANG]`",
            "examples": [false, ["PATH", "LANG"]],
        })
    }
}

/// The mode bits that files of a command do not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Umask(pub u32);

impl fmt::Display for Umask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl Serialize for Umask {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Umask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match u32::from_str_radix(&text, 8) {
            Ok(bits) if bits <= 0o777 => Ok(Self(bits)),
            _ => Err(D::Error::custom("expected three octal digits in quotes such as `\"027\"`")),
        }
    }
}

impl JsonSchema for Umask {
    fn schema_name() -> Cow<'static, str> {
        "Umask".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^[0-7]{1,4}$",
            "x-expects": "three octal digits in quotes such as `\"027\"`",
            "examples": ["027"],
        })
    }
}

/// What a command that has to end is sent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopSignal(pub i32);

impl Default for StopSignal {
    fn default() -> Self {
        Self(libc::SIGTERM)
    }
}

impl Serialize for StopSignal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&signal_name(self.0))
    }
}

impl<'de> Deserialize<'de> for StopSignal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        signal_number(&text).map(Self).ok_or_else(|| {
            D::Error::custom(format!("there is no signal `{text}`, write one such as `SIGINT` or `SIGRTMIN+3`"))
        })
    }
}

impl JsonSchema for StopSignal {
    fn schema_name() -> Cow<'static, str> {
        "StopSignal".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "x-expects": "a signal such as `SIGINT`",
            "examples": ["SIGINT"],
        })
    }
}

/// What the command sees and reaches of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sandbox {
    /// Nothing can be written to but what `write` names and a private /tmp.
    pub read_only: bool,
    /// Paths below which the command may write in spite of `read_only`; a relative one counts from the configuration directory.
    #[schemars(example = &["/srv/reports"], extend("x-expects" = "a list of paths"))]
    pub write: Vec<PathBuf>,
    /// Whether the command reaches the network; if not, it has a loopback interface of its own and nothing else.
    pub network: bool,
    /// Which /tmp and /var/tmp the command has.
    pub tmp: Tmp,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self { read_only: false, write: Vec::new(), network: true, tmp: Tmp::Shared }
    }
}

/// Which /tmp and /var/tmp a command has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tmp {
    /// The machine's.
    Shared,
    /// Empty ones of its own, in memory, which end with it.
    Private,
}
