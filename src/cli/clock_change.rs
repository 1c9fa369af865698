//! Days on which a zone's clock is moved, as far as they concern a job.

use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan};

use super::output::local_with_zone;
use crate::catalog::Job;
use crate::engine::upcoming;
use crate::model::TriggeredBy;
use crate::trigger::{Armed, Trigger, TriggerContext};

/// What the clock did on the day of that time, and which rule holds for the job; one sentence for each change that meets a time
/// that the job's file names.
pub(super) fn on_the_day_of(job: &Job, time: Timestamp) -> Vec<String> {
    let zone = &job.zone;
    let day = time.to_zoned(zone.clone());
    let (Ok(begin), Ok(next)) = (day.start_of_day(), day.checked_add(1.day()).and_then(|day| day.start_of_day()))
    else {
        return Vec::new();
    };
    // A day that is missing altogether belongs to the one after it.
    let from = begin.timestamp() - SignedDuration::from_nanos(1);
    let changes = zone.following(from).take_while(|change| change.timestamp() < next.timestamp());
    changes.filter_map(|change| sentence(job, change.timestamp())).collect()
}

fn sentence(job: &Job, change: Timestamp) -> Option<String> {
    let zone = &job.zone;
    let before = zone.to_offset(change - SignedDuration::from_nanos(1));
    let after = zone.to_offset(change);
    let moved = SignedDuration::from_secs(i64::from(after.seconds()) - i64::from(before.seconds()));
    // As if the clock had gone on as it did before.
    let (first, last) = if moved.is_positive() { (change, change + moved) } else { (change + moved, change) };
    let named = dues(job, &TimeZone::fixed(before), first, last);
    let example = named.first()?.to_zoned(TimeZone::fixed(before)).strftime("%H:%M:%S").to_string();
    let name = zone.iana_name().unwrap_or("UTC");
    let time = |time: Timestamp, offset: Offset| time.to_zoned(TimeZone::fixed(offset)).strftime("%H:%M").to_string();
    let (shown, now) = (time(change, before), time(change, after));
    let day = change.to_zoned(zone.clone()).strftime("%a %Y-%m-%d").to_string();
    if moved.is_positive() {
        let end = change + SignedDuration::from_millis(1);
        let (at_its_end, regular) = (dues(job, zone, change, end), dues(job, &TimeZone::fixed(after), change, end));
        let local = local_with_zone(change, zone);
        let rule = match (at_its_end.is_empty(), regular.is_empty()) {
            (false, true) => format!("all that is due in the gap becomes one due time at its end, {local}"),
            (false, false) => format!("what is due in the gap adds nothing to the due time at its end, {local}"),
            (true, _) => {
                "the hour field begins with `*`, so the schedule follows the clock, and nothing was due for it".into()
            }
        };
        return Some(format!(
            "On {day} the clock in {name} went from {shown} to {now}, so {example} did not exist: {rule}."
        ));
    }
    let again = dues(job, zone, change, change - moved);
    let rule = match again.is_empty() {
        true => "only the first pass is due",
        false => "the hour field begins with `*`, so both passes are due",
    };
    Some(format!("On {day} the clock in {name} went back from {shown} to {now}, so {example} came twice: {rule}."))
}

/// The wall-clock due times of a job's triggers from `first` on, before `last`, as they would be in that zone; without jitter.
fn dues(job: &Job, zone: &TimeZone, first: Timestamp, last: Timestamp) -> Vec<Timestamp> {
    let context = TriggerContext::of(&job.name, zone);
    let by_the_clock = |trigger: &&Trigger| matches!(trigger.triggered_by(), TriggeredBy::Cron | TriggeredBy::At);
    let triggers = job.spec.triggers.iter().filter(by_the_clock);
    let armed: Vec<(TriggeredBy, Armed)> =
        triggers.filter_map(|trigger| Some((trigger.triggered_by(), trigger.arm(context)?))).collect();
    let mut found = upcoming(&armed, first, first - SignedDuration::from_nanos(1), 1);
    found.retain(|due| *due < last);
    found
}
