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
                Armed::AtStart | Armed::AtEnds(_) => None,
            })
            .min();
        let Some(next) = next else { break };
        found.push(next);
        at = next;
    }
    found
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::trigger::DueTimes;

    #[derive(Debug)]
    struct Each(i64);

    impl DueTimes for Each {
        fn next_after(&self, after: Timestamp, anchor: Timestamp) -> Option<Timestamp> {
            let steps = (after.as_second() - anchor.as_second()) / self.0 + 1;
            Timestamp::from_second(anchor.as_second() + steps * self.0).ok().filter(|due| due.as_second() <= 120)
        }
    }

    #[test]
    fn due_times_of_all_triggers_come_in_order_and_each_once_until_there_are_none() {
        let armed = [
            (TriggeredBy::Start, Armed::AtStart),
            (TriggeredBy::Cron, Armed::Times(Arc::new(Each(20)))),
            (TriggeredBy::Interval, Armed::Times(Arc::new(Each(30)))),
        ];
        let due = |count| -> Vec<i64> {
            let times = upcoming(&armed, Timestamp::UNIX_EPOCH, Timestamp::from_second(10).unwrap(), count);
            times.into_iter().map(Timestamp::as_second).collect()
        };
        assert_eq!(due(4), [20, 30, 40, 60]);
        assert_eq!(due(100), [20, 30, 40, 60, 80, 90, 100, 120]);
        assert_eq!(due(0), [0; 0]);
    }
}
