use jiff::{SignedDuration, Timestamp};

use super::job::newest_until;
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
                Armed::AtStart | Armed::AtEnds(_) | Armed::AtFiles(_) => None,
            })
            .min();
        let Some(next) = next else { break };
        found.push(next);
        at = next;
    }
    found
}

/// The last due time of a job's triggers at or before `until`, found without walking through all of them.
pub fn latest(armed: &[(TriggeredBy, Armed)], anchor: Timestamp, until: Timestamp) -> Option<(Timestamp, TriggeredBy)> {
    let of_trigger = |(by, armed): &(TriggeredBy, Armed)| {
        let Armed::Times(times) = armed else { return None };
        // Looks back further and further: rare due times are found late, and dense ones at once.
        let known = LOOKS_BACK.iter().find_map(|back| {
            let from = until.checked_sub(*back).unwrap_or(Timestamp::MIN);
            times.next_after(from, anchor).filter(|due| *due <= until)
        })?;
        Some((newest_until(&**times, known, until, anchor), *by))
    };
    armed.iter().filter_map(of_trigger).max_by_key(|(due, _)| *due)
}

const LOOKS_BACK: [SignedDuration; 6] = [
    SignedDuration::from_mins(1),
    SignedDuration::from_hours(1),
    SignedDuration::from_hours(25),
    SignedDuration::from_hours(32 * 24),
    SignedDuration::from_hours(367 * 24),
    SignedDuration::from_hours(40 * 366 * 24),
];

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

    #[test]
    fn the_latest_due_time_is_found_however_long_ago_it_was() {
        let armed = [
            (TriggeredBy::Start, Armed::AtStart),
            (TriggeredBy::Cron, Armed::Times(Arc::new(Each(20)))),
            (TriggeredBy::Interval, Armed::Times(Arc::new(Each(30)))),
        ];
        assert_eq!(super::latest(&armed[..1], Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH), None);
        let latest = |until: i64| {
            let found = latest(&armed, Timestamp::UNIX_EPOCH, Timestamp::from_second(until).unwrap());
            found.map(|(due, by)| (due.as_second(), by))
        };
        assert_eq!(latest(95), Some((90, TriggeredBy::Interval)));
        assert_eq!(latest(100), Some((100, TriggeredBy::Cron)));
        assert_eq!(latest(1_000_000_000).map(|(due, _)| due), Some(120));
    }
}
