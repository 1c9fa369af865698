//! Days on which a zone's clock is moved, as far as they concern a job.

use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan};
use serde_json::Value;

use super::output::local_with_zone;
use crate::catalog::Job;
use crate::engine::upcoming;
use crate::model::TriggeredBy;
use crate::trigger::{Trigger, TriggerContext, spread};

/// What the clock did on the day of that time, and which rule holds for the job; one sentence for each change and each expression
/// that names a time that meets it.
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
    let named = named(job);
    let mut sentences = Vec::new();
    for change in changes.map(|change| Change::new(job, change.timestamp())) {
        for one in &named {
            sentences.extend(change.sentence(one, &named).filter(|sentence| !sentences.contains(sentence)));
        }
    }
    sentences
}

/// An expression of a job's file that names times of the clock: each of a list follows its own rule.
struct Named {
    trigger: Trigger,
    /// As it is written, where there are several.
    words: Option<String>,
}

fn named(job: &Job) -> Vec<Named> {
    let by_the_clock = |trigger: &&Trigger| matches!(trigger.triggered_by(), TriggeredBy::Cron | TriggeredBy::At);
    let mut found = Vec::new();
    for trigger in job.spec.triggers.iter().filter(by_the_clock) {
        let parts = match trigger.to_value() {
            Ok(Value::Array(parts)) => parts,
            Ok(one) => vec![one],
            Err(_) => Vec::new(),
        };
        for part in parts {
            let words = part.as_str().map(str::to_string);
            if let Some(Ok(trigger)) = Trigger::from_value(trigger.key(), part) {
                found.push(Named { trigger, words });
            }
        }
    }
    if let [one] = &mut found[..] {
        one.words = None;
    }
    found
}

/// A change of the clock.
struct Change<'a> {
    job: &'a Job,
    at: Timestamp,
    before: Offset,
    after: Offset,
    moved: SignedDuration,
}

impl<'a> Change<'a> {
    fn new(job: &'a Job, at: Timestamp) -> Self {
        let before = job.zone.to_offset(at - SignedDuration::from_nanos(1));
        let after = job.zone.to_offset(at);
        let moved = SignedDuration::from_secs(i64::from(after.seconds()) - i64::from(before.seconds()));
        Self { job, at, before, after, moved }
    }

    /// What the change means for an expression, if it does for a time that it names. `all`: those of the job.
    fn sentence(&self, one: &Named, all: &[Named]) -> Option<String> {
        let Self { at, before, after, moved, .. } = *self;
        let zone = &self.job.zone;
        let (old, new) = (TimeZone::fixed(before), TimeZone::fixed(after));
        // As if the clock had gone on as it did before.
        let (first, last) = if moved.is_positive() { (at, at + moved) } else { (at + moved, at) };
        let due = self.due(one, &old, first, last)?;
        // A time with an offset of its own is the same by any clock.
        if one.trigger.triggered_by() == TriggeredBy::At && self.due(one, &new, first, last) == Some(due) {
            return None;
        }
        let example = due.to_zoned(old).strftime("%H:%M:%S").to_string();
        let example = one.words.iter().fold(example, |example, words| format!("{example} (`{words}`)"));
        let name = zone.iana_name().unwrap_or("UTC");
        let time =
            |time: Timestamp, offset: Offset| time.to_zoned(TimeZone::fixed(offset)).strftime("%H:%M").to_string();
        let (shown, now) = (time(at, before), time(at, after));
        let day = at.to_zoned(zone.clone()).strftime("%a %Y-%m-%d").to_string();
        if moved.is_positive() {
            let end = at + SignedDuration::from_millis(1);
            let is_due_at_its_end = self.due(one, zone, at, end).is_some();
            let is_due_then = |one: &Named| self.due(one, &new, at, end).is_some();
            let (is_due_anyway, is_any_due) = (is_due_then(one), all.iter().any(is_due_then));
            let shift = spread(&self.job.name, self.job.spec.policies.jitter);
            let mut local = local_with_zone(at, zone);
            if !shift.is_zero() {
                local += &format!(", which its jitter makes {}", local_with_zone(at + shift, zone));
            }
            let rule = match (is_due_at_its_end, is_due_anyway) {
                (true, false) if is_any_due => {
                    format!(
                        "all that is due in the gap is made up for at its end, {local}, when another expression is due as well"
                    )
                }
                (true, false) => format!("all that is due in the gap becomes one due time at its end, {local}"),
                (true, true) => format!("what is due in the gap adds nothing to the due time at its end, {local}"),
                (false, _) => {
                    "the hour field begins with `*`, so the schedule follows the clock, and nothing was due for it"
                        .into()
                }
            };
            return Some(format!(
                "On {day} the clock in {name} went from {shown} to {now}, so {example} did not exist: {rule}."
            ));
        }
        let rule = match self.due(one, zone, at, at - moved) {
            None => "only the first pass is due",
            Some(_) => "the hour field begins with `*`, so both passes are due",
        };
        Some(format!("On {day} the clock in {name} went back from {shown} to {now}, so {example} came twice: {rule}."))
    }

    /// The first due time of an expression from `first` on, before `last`, as it would be in that zone; without jitter.
    fn due(&self, one: &Named, zone: &TimeZone, first: Timestamp, last: Timestamp) -> Option<Timestamp> {
        let armed = one.trigger.arm(TriggerContext::of(&self.job.name, zone))?;
        let armed = [(one.trigger.triggered_by(), armed)];
        upcoming(&armed, first, first - SignedDuration::from_nanos(1), 1).first().copied().filter(|due| *due < last)
    }
}
