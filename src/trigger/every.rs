use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::{Armed, DueTimes, TriggerContext, TriggerKind};
use crate::model::{Fault, HumanDuration, TriggeredBy};

/// A fixed interval on a grid.
///
/// The first due time lies one interval after the job was first loaded; manual runs, lateness and restarts do not move the grid.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Every(pub HumanDuration);

impl TriggerKind for Every {
    fn triggered_by(&self) -> TriggeredBy {
        TriggeredBy::Interval
    }

    fn problems(&self, _: TriggerContext<'_>) -> Vec<Fault> {
        if self.0 < HumanDuration::from_secs(1) {
            return vec![Fault::error("", format!("{} is shorter than the shortest interval, 1s", self.0))];
        }
        Vec::new()
    }

    fn arm(&self, context: TriggerContext<'_>) -> Option<Armed> {
        self.problems(context).is_empty().then(|| Armed::Times(Arc::new(Grid { step_ms: self.0.0.as_millis() as i64 })))
    }

    fn words(&self, _: TriggerContext<'_>) -> String {
        format!("every {}", self.0)
    }

    fn written(&self) -> Vec<String> {
        vec![format!("every {}", self.0)]
    }
}

impl JsonSchema for Every {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Every".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = HumanDuration::json_schema(generator);
        schema.insert(
            "description".into(),
            "A fixed interval, at least 1s. The first run is due one interval after the job was first loaded.".into(),
        );
        schema.insert("examples".into(), serde_json::json!(["10m", "1h30m"]));
        schema
    }
}

#[derive(Debug)]
struct Grid {
    step_ms: i64,
}

impl DueTimes for Grid {
    fn next_after(&self, after: Timestamp, anchor: Timestamp) -> Option<Timestamp> {
        let gone = after.duration_since(anchor).as_millis();
        let steps = gone.div_euclid(i128::from(self.step_ms)) + 1;
        let ms = i64::try_from(steps.max(1) * i128::from(self.step_ms)).ok()?;
        anchor.checked_add(SignedDuration::from_millis(ms)).ok()
    }

    fn count_between(
        &self,
        after: Timestamp,
        until: Timestamp,
        anchor: Timestamp,
        _limit: u64,
    ) -> Option<(u64, Timestamp)> {
        let first = self.next_after(after, anchor)?;
        if first > until {
            return None;
        }
        let more = until.duration_since(first).as_millis() as i64 / self.step_ms;
        let last = first.checked_add(SignedDuration::from_millis(more * self.step_ms)).ok()?;
        Some((more as u64 + 1, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    #[test]
    fn due_times_lie_on_the_grid_whenever_one_asks() {
        let grid = Grid { step_ms: 10_000 };
        for (after, due) in [(-100, 10), (0, 10), (9, 10), (10, 20), (11, 20), (1_000, 1_010)] {
            assert_eq!(grid.next_after(at(after), at(0)), Some(at(due)), "after {after}");
        }
    }

    #[test]
    fn counting_agrees_with_walking() {
        struct Walk(Grid);
        impl std::fmt::Debug for Walk {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("Walk")
            }
        }
        impl DueTimes for Walk {
            fn next_after(&self, after: Timestamp, anchor: Timestamp) -> Option<Timestamp> {
                self.0.next_after(after, anchor)
            }
        }
        for until in [-5, 0, 9, 10, 99, 100, 101] {
            let grid = Grid { step_ms: 10_000 };
            let counted = grid.count_between(at(3), at(until), at(0), u64::MAX);
            assert_eq!(counted, Walk(grid).count_between(at(3), at(until), at(0), u64::MAX), "until {until}");
        }
    }
}
