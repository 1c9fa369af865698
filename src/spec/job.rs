use std::sync::Arc;

use jiff::tz::TimeZone;
use serde::de::Error as _;
use serde_json::{Map, Value};

use super::about::About;
use super::overlap::Overlap;
use super::policies::Policies;
use crate::action::Action;
use crate::model::TriggeredBy;
use crate::trigger::{Armed, BatchMode, Trigger, TriggerContext};

/// One job as its file says it, with the defaults of its folders: an inert value that opens nothing and starts nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct JobSpec {
    pub about: About,
    /// Any number, at most one of each kind, in the order of [`Trigger::KEYS`].
    pub triggers: Vec<Trigger>,
    pub action: Action,
    /// Mostly many jobs have the same ones, and share them.
    pub policies: Arc<Policies>,
}

impl JobSpec {
    /// The job as one map, as a file could say it: what has its default value is left out.
    pub fn to_map(&self) -> Map<String, Value> {
        let mut map = without_defaults(&self.about);
        let mut add = |key: &str, value: serde_json::Result<Value>| {
            if let Ok(value) = value {
                map.insert(key.to_string(), value);
            }
        };
        for trigger in &self.triggers {
            add(trigger.key(), trigger.to_value());
        }
        add(self.action.key(), self.action.to_value());
        map.extend(without_defaults(&*self.policies));
        map
    }

    /// The job of a map as [`Self::to_map`] makes it.
    ///
    /// # Errors
    /// It is no such map.
    pub fn from_map(mut map: Map<String, Value>) -> serde_json::Result<Self> {
        let mut triggers = Vec::new();
        for key in Trigger::KEYS {
            if let Some(trigger) = map.remove(*key).and_then(|value| Trigger::from_value(key, value)) {
                triggers.push(trigger?);
            }
        }
        let action = Action::KEYS.iter().find_map(|key| Action::from_value(key, map.remove(*key)?));
        let about = object(&About::default());
        let (about, policies): (Map<_, _>, Map<_, _>) = map.into_iter().partition(|(key, _)| about.contains_key(key));
        Ok(Self {
            about: serde_json::from_value(Value::Object(about))?,
            triggers,
            action: action.ok_or_else(|| serde_json::Error::custom("the job has no action"))??,
            policies: Arc::new(serde_json::from_value(Value::Object(policies))?),
        })
    }

    /// Its triggers, ready to be put in force; also those of a job that is disabled.
    pub fn arm(&self, job: &str, zone: &TimeZone) -> Vec<(TriggeredBy, Armed)> {
        let context = TriggerContext::with_jitter(job, zone, self.policies.jitter);
        let armed = |trigger: &Trigger| Some((trigger.triggered_by(), trigger.arm(context)?));
        self.triggers.iter().filter_map(armed).collect()
    }

    /// The zone in which the job's wall-clock times are meant; `runner_zone` where neither it nor its folders name one.
    pub fn zone(&self, runner_zone: &str) -> TimeZone {
        let name = self.policies.timezone.as_deref().unwrap_or(runner_zone);
        TimeZone::get(name).unwrap_or(TimeZone::UTC)
    }

    /// How many files a run is for, where the job is a watch.
    pub fn files(&self) -> Option<BatchMode> {
        self.triggers.iter().find_map(Trigger::files)
    }

    /// What happens to a firing while as many runs are active as may be.
    pub fn overlap(&self) -> Overlap {
        let default = if self.files().is_some() { Overlap::Queue } else { Overlap::Skip };
        self.policies.overlap.unwrap_or(default)
    }

    /// How many runs of it may be active at once.
    pub fn most_at_once(&self) -> usize {
        match self.overlap() {
            Overlap::Allow => usize::MAX,
            Overlap::Skip | Overlap::Queue | Overlap::Replace => self.policies.max_instances as usize,
        }
    }

    /// Whether the job has no trigger, so that it only runs by hand.
    pub fn is_manual(&self) -> bool {
        self.triggers.is_empty()
    }
}

impl serde::Serialize for JobSpec {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_map().serialize(serializer)
    }
}

/// A part of a job without the fields that have their default value.
fn without_defaults<T: serde::Serialize + Default>(part: &T) -> Map<String, Value> {
    let defaults = object(&T::default());
    let mut map = object(part);
    map.retain(|key, value| defaults.get(key) != Some(value));
    map
}

fn object<T: serde::Serialize>(part: &T) -> Map<String, Value> {
    match serde_json::to_value(part) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}
