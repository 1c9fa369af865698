use serde_json::{Map, Value};

use super::about::About;
use super::policies::Policies;
use crate::action::Action;
use crate::trigger::Trigger;

/// One job as its file says it, with the defaults of its folders: an inert value that opens nothing and starts nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct JobSpec {
    pub about: About,
    /// Any number, at most one of each kind, in the order of [`Trigger::KEYS`].
    pub triggers: Vec<Trigger>,
    pub action: Action,
    pub policies: Policies,
}

impl JobSpec {
    /// The job as one map, as a file could say it: what has its default value is left out.
    pub fn to_map(&self) -> Map<String, Value> {
        let mut map = Map::new();
        let mut add = |part: serde_json::Result<Value>| {
            if let Ok(Value::Object(fields)) = part {
                map.extend(fields);
            }
        };
        let one = |key: &str, value: serde_json::Result<Value>| {
            value.map(|value| Value::Object([(key.to_string(), value)].into_iter().collect()))
        };
        add(serde_json::to_value(&self.about));
        for trigger in &self.triggers {
            add(one(trigger.key(), trigger.to_value()));
        }
        add(one(self.action.key(), self.action.to_value()));
        add(serde_json::to_value(&self.policies));
        map
    }

    /// Whether the job has a trigger that can fire.
    pub fn is_manual(&self) -> bool {
        self.triggers.is_empty()
    }
}

impl serde::Serialize for JobSpec {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_map().serialize(serializer)
    }
}
