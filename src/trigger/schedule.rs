use std::borrow::Cow;

use jiff::{Timestamp, tz::TimeZone};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::cron::Cron;
use super::{Armed, DueTimes, TriggerContext, TriggerKind};
use crate::model::{Fault, TriggeredBy};

/// Cron times: one expression, or a list of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Schedule {
    One(String),
    Many(Vec<String>),
}

impl Schedule {
    /// The expressions, each with its pointer below `schedule`.
    fn expressions(&self) -> Vec<(String, &str)> {
        match self {
            Self::One(text) => vec![(String::new(), text)],
            Self::Many(texts) => texts.iter().enumerate().map(|(i, text)| (format!("/{i}"), text.as_str())).collect(),
        }
    }
}

impl TriggerKind for Schedule {
    fn triggered_by(&self) -> TriggeredBy {
        TriggeredBy::Cron
    }

    fn problems(&self, context: TriggerContext<'_>) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (pointer, text) in self.expressions() {
            match Cron::parse(text, context.job) {
                Ok(cron) => {
                    faults.extend(cron.warnings().into_iter().map(|warning| Fault {
                        help: warning.help,
                        ..Fault::warning(pointer.clone(), warning.message)
                    }))
                }
                Err(error) => faults.push(Fault {
                    span: Some(error.span),
                    help: error.help,
                    ..Fault::error(pointer, error.message)
                }),
            }
        }
        faults
    }

    fn arm(&self, context: TriggerContext<'_>) -> Option<Armed> {
        let crons: Vec<Cron> =
            self.expressions().into_iter().filter_map(|(_, text)| Cron::parse(text, context.job).ok()).collect();
        (!crons.is_empty())
            .then(|| Armed::times(CronTimes { crons: crons.into(), zone: context.zone.clone() }, context.shift))
    }

    fn words(&self, context: TriggerContext<'_>) -> String {
        let words: Vec<String> = self
            .expressions()
            .into_iter()
            .filter_map(|(_, text)| Some(Cron::parse(text, context.job).ok()?.words()))
            .collect();
        match context.zone.iana_name() {
            Some(zone) if !words.is_empty() => format!("{}, {zone}", words.join("; ")),
            _ => words.join("; "),
        }
    }

    fn written(&self) -> Vec<String> {
        self.expressions().into_iter().map(|(_, text)| text.to_string()).collect()
    }
}

#[derive(Debug)]
struct CronTimes {
    crons: Box<[Cron]>,
    zone: TimeZone,
}

impl DueTimes for CronTimes {
    fn next_after(&self, after: Timestamp, _anchor: Timestamp) -> Option<Timestamp> {
        self.crons.iter().filter_map(|cron| cron.next_after(after, &self.zone)).min()
    }
}

impl JsonSchema for Schedule {
    fn schema_name() -> Cow<'static, str> {
        "Schedule".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Cron times: one expression, or a list of them. Five fields (minute, hour, day of month, month, day of week), \
                            six (seconds first), or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.",
            "type": ["string", "array"],
            "items": { "type": "string", "minLength": 1 },
            "minLength": 1,
            "minItems": 1,
            "x-expects": "a cron expression such as \"0 9 * * mon-fri\", or a list of them",
            "examples": ["0 9 * * mon-fri", "*/5 * * * *", ["0 9 * * *", "0 18 * * *"]],
        })
    }
}
