use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{Armed, TriggerContext, TriggerKind};
use crate::model::{Fault, TriggeredBy};

/// Once, when the runner starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OnStart(pub bool);

impl TriggerKind for OnStart {
    fn triggered_by(&self) -> TriggeredBy {
        TriggeredBy::Start
    }

    fn problems(&self, _: TriggerContext<'_>) -> Vec<Fault> {
        Vec::new()
    }

    fn arm(&self, _: TriggerContext<'_>) -> Option<Armed> {
        self.0.then_some(Armed::AtStart)
    }

    fn words(&self, _: TriggerContext<'_>) -> String {
        if self.0 { "when the runner starts".into() } else { String::new() }
    }

    fn written(&self) -> Vec<String> {
        if self.0 { vec!["on start".into()] } else { Vec::new() }
    }
}

impl JsonSchema for OnStart {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "OnStart".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Whether the job runs once when the runner starts (a reload is not a start).",
            "type": "boolean",
            "default": false,
        })
    }
}
