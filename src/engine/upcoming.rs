use jiff::Timestamp;

use crate::model::TriggeredBy;
use crate::trigger::Armed;

/// The next `count` due times of a job's triggers after `after`, each once: what `next`, `show` and the start say.
pub fn upcoming(armed: &[(TriggeredBy, Armed)], anchor: Timestamp, after: Timestamp, count: usize) -> Vec<Timestamp> {
    let mut found = Vec::new();
    let mut at = after;
    while found.len() < count {
        let next = armed
            .iter()
            .filter_map(|(_, armed)| match armed {
                Armed::Times(times) => times.next_after(at, anchor),
                Armed::AtStart => None,
            })
            .min();
        let Some(next) = next else { break };
        found.push(next);
        at = next;
    }
    found
}
