//! WHEN: what makes a run due. One file for each kind; [`Trigger`] is the one list of them.
//!
//! A trigger is an inert value: it opens nothing and starts nothing. `problems()` says what is wrong with it,
//! `arm()` makes the live thing that knows the due times. This layer does no I/O.
//!
//! To add a kind: one new file with a type that implements [`TriggerKind`], and one line in `kinds!` below: it declares
//! the file, and the key in job files, the part of the schema, the help and the records follow from it.

mod blackout;
mod chain;
pub mod cron;
mod files;
mod local_time;
mod patterns;
mod settle;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use crate::model::{Fault, HumanDuration, TriggeredBy, kinds, stable_hash};

pub use blackout::{Blackout, Holidays, Window, read_holidays};
pub use chain::{Chain, Parents, When};
pub use files::{Backend, BatchMode, DoneFile, Existing, Files, Identity, Order, Pattern};
pub use local_time::Moment;
pub use settle::Settle;

/// What a trigger may know of the job that it belongs to.
#[derive(Debug, Clone, Copy)]
pub struct TriggerContext<'a> {
    /// The job's name: what `H` in a cron expression is a hash of.
    pub job: &'a str,
    /// The zone in which the job's wall-clock times are meant.
    pub zone: &'a TimeZone,
    /// How far due times are shifted: see [`spread`].
    pub shift: SignedDuration,
}

impl<'a> TriggerContext<'a> {
    /// Of a job whose due times are not shifted.
    pub fn of(job: &'a str, zone: &'a TimeZone) -> Self {
        Self { job, zone, shift: SignedDuration::ZERO }
    }

    /// Of a job whose due times are shifted by its own part of `jitter`.
    pub fn with_jitter(job: &'a str, zone: &'a TimeZone, jitter: HumanDuration) -> Self {
        Self { job, zone, shift: spread(job, jitter) }
    }
}

/// A job's own part of `jitter`, in whole milliseconds: always the same for the name, and evenly spread over all names.
pub fn spread(job: &str, jitter: HumanDuration) -> SignedDuration {
    let most = jitter.0.as_millis() as u64;
    if most == 0 {
        return SignedDuration::ZERO;
    }
    // Not the hash of `H`, so that jobs that share one do not share the other.
    let hash = stable_hash::mixed(stable_hash::fnv1a(job) ^ 0x6a69_7474_6572);
    SignedDuration::from_millis((hash % (most + 1)) as i64)
}

/// Where a job's grid of intervals begins: at the last interval due that is known, else when the job was first loaded,
/// shifted by its part of the jitter.
pub fn anchor(first_loaded: Timestamp, interval_due: Option<Timestamp>, shift: SignedDuration) -> Timestamp {
    interval_due.unwrap_or_else(|| first_loaded.saturating_add(shift).unwrap_or(first_loaded))
}

/// One kind of trigger.
pub trait TriggerKind {
    /// Whether `${NAME}` in its strings is filled in when the job is loaded; not where another program reads the text.
    fn expands_environment() -> bool
    where
        Self: Sized,
    {
        true
    }

    /// The word that records have for runs of this kind.
    fn triggered_by(&self) -> TriggeredBy;

    /// What is wrong with the value, each at its pointer below the trigger's own key. Pure.
    fn problems(&self, context: TriggerContext<'_>) -> Vec<Fault>;

    /// The live trigger; `None` if it has an error, or never fires.
    fn arm(&self, context: TriggerContext<'_>) -> Option<Armed>;

    /// Whether it comes to an end, after which it never fires again.
    fn has_an_end(&self) -> bool {
        false
    }

    /// The jobs that it names and that have to be there, each with its pointer below the trigger's own key.
    fn named_jobs(&self) -> Vec<(String, &str)> {
        Vec::new()
    }

    /// How many files a run of it is for; `None` if it is not for files.
    fn files(&self) -> Option<BatchMode> {
        None
    }

    /// The trigger in words, such as "Monday to Friday at 09:00"; empty if there is nothing to say.
    fn words(&self, context: TriggerContext<'_>) -> String;

    /// What the job's file says, as short as it can be shown; empty if there is nothing to show.
    fn written(&self) -> Vec<String>;
}

/// A trigger that is in force.
#[derive(Debug, Clone)]
pub enum Armed {
    /// Fires at due times.
    Times(Arc<dyn DueTimes>),
    /// Fires once, when the runner starts.
    AtStart,
    /// Fires when runs of other jobs have ended.
    AtEnds(Arc<Chain>),
    /// Fires when files have arrived or changed.
    AtFiles(Arc<Files>),
}

impl Armed {
    /// Fires at these times, shifted by the job's part of its jitter.
    fn times(times: impl DueTimes + 'static, shift: SignedDuration) -> Self {
        match shift.is_zero() {
            true => Self::Times(Arc::new(times)),
            false => Self::Times(Arc::new(Shifted { times, shift })),
        }
    }
}

/// Due times, each later by the same length.
#[derive(Debug)]
struct Shifted<T> {
    times: T,
    shift: SignedDuration,
}

impl<T: DueTimes> DueTimes for Shifted<T> {
    fn next_after(&self, after: Timestamp, anchor: Timestamp) -> Option<Timestamp> {
        let before = after.checked_sub(self.shift).ok()?;
        self.times.next_after(before, anchor)?.checked_add(self.shift).ok()
    }
}

/// Spans of time in which a job's due times are passed over.
pub trait Closed: Send + Sync + std::fmt::Debug {
    /// Why the job rests at that time, in words such as "blackout: saturday, sunday"; `None` if it does not.
    fn reason_at(&self, time: Timestamp) -> Option<Arc<str>>;

    /// The first moment after `time` at which the answer is another one, or one before it up to which it is not; `most` at the
    /// latest. Whoever looks for due times outside of these spans goes from one such moment to the next.
    fn changes_after(&self, time: Timestamp, most: Timestamp) -> Timestamp;
}

/// The due times of a trigger. Pure: time is an argument.
pub trait DueTimes: Send + Sync + std::fmt::Debug {
    /// The first due time after `after`, or `None` if there is none.
    ///
    /// `anchor` is where a grid of intervals begins: when the job was first loaded, or its last interval due.
    fn next_after(&self, after: Timestamp, anchor: Timestamp) -> Option<Timestamp>;

    /// The last due time at or before `until`, if it lies after `after`; how many there are from `after` to there.
    ///
    /// Walks from due time to due time, at most `limit` of them; a kind with arithmetic of its own does better.
    fn count_between(
        &self,
        after: Timestamp,
        until: Timestamp,
        anchor: Timestamp,
        limit: u64,
    ) -> Option<(u64, Timestamp)> {
        let mut found = None;
        let mut count = 0;
        let mut at = after;
        while count < limit {
            match self.next_after(at, anchor) {
                Some(due) if due <= until => {
                    count += 1;
                    found = Some((count, due));
                    at = due;
                }
                _ => break,
            }
        }
        found
    }
}

// The one list of triggers.
kinds! {
    /// One trigger of a job, of any kind.
    Trigger: TriggerKind {
        schedule::Schedule = "schedule",
        every::Every = "every",
        at::At = "at",
        on_start::OnStart = "on_start",
        after::After = "after",
        watch::Watch = "watch",
    }
}

impl Trigger {
    /// The word that records have for runs of this kind.
    pub fn triggered_by(&self) -> TriggeredBy {
        self.kind().triggered_by()
    }

    /// What is wrong with it, each at its pointer from the job's root. Pure.
    pub fn problems(&self, context: TriggerContext<'_>) -> Vec<Fault> {
        Fault::below(self.key(), self.kind().problems(context))
    }

    /// The live trigger; `None` if it has an error, or never fires.
    pub fn arm(&self, context: TriggerContext<'_>) -> Option<Armed> {
        self.kind().arm(context)
    }

    /// Whether it comes to an end, after which it never fires again.
    pub fn has_an_end(&self) -> bool {
        self.kind().has_an_end()
    }

    /// The jobs that it names and that have to be there, each with its pointer from the job's root.
    pub fn named_jobs(&self) -> Vec<(String, &str)> {
        let key = self.key();
        self.kind().named_jobs().into_iter().map(|(pointer, name)| (format!("/{key}{pointer}"), name)).collect()
    }

    /// How many files a run of it is for; `None` if it is not for files.
    pub fn files(&self) -> Option<BatchMode> {
        self.kind().files()
    }

    /// The trigger in words; empty if there is nothing to say.
    pub fn words(&self, context: TriggerContext<'_>) -> String {
        self.kind().words(context)
    }

    /// What the job's file says, as short as it can be shown.
    pub fn written(&self) -> Vec<String> {
        self.kind().written()
    }
}
