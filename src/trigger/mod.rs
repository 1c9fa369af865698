//! WHEN: what makes a run due. One file for each kind; [`Trigger`] is the one list of them.
//!
//! A trigger is an inert value: it opens nothing and starts nothing. `problems()` says what is wrong with it,
//! `arm()` makes the live thing that knows the due times. This layer does no I/O.
//!
//! To add a kind: one new file with a type that implements [`TriggerKind`], and one line in `kinds!` below. Its key in job
//! files, its part of the schema, its help and its records follow from that line.

mod after;
mod at;
pub mod cron;
mod every;
mod on_start;
mod schedule;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, de::DeserializeOwned};

use crate::model::{Fault, HumanDuration, TriggeredBy, stable_hash};

pub use after::{After, Chain, Parents, When};
pub use at::At;
pub use every::Every;
pub use on_start::OnStart;
pub use schedule::Schedule;

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
pub trait TriggerKind: Clone + PartialEq + std::fmt::Debug + Serialize + DeserializeOwned + JsonSchema {
    /// The word that records have for runs of this kind.
    const TRIGGERED_BY: TriggeredBy;

    /// What is wrong with the value, each at its pointer below the trigger's own key. Pure.
    fn problems(&self, context: TriggerContext<'_>) -> Vec<Fault>;

    /// The live trigger; `None` if it has an error, or never fires.
    fn arm(&self, context: TriggerContext<'_>) -> Option<Armed>;

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
    After(Arc<Chain>),
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

macro_rules! kinds {
    ($($variant:ident = $key:literal),+ $(,)?) => {
        /// One trigger of a job, of any kind.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Trigger { $($variant($variant)),+ }

        impl Trigger {
            /// The keys of all kinds in job files, in the order in which they are shown.
            pub const KEYS: &'static [&'static str] = &[$($key),+];

            /// This trigger's key in job files.
            pub fn key(&self) -> &'static str {
                match self { $(Self::$variant(_) => $key),+ }
            }

            /// The word that records have for runs of this kind.
            pub fn triggered_by(&self) -> TriggeredBy {
                match self { $(Self::$variant(_) => <$variant as TriggerKind>::TRIGGERED_BY),+ }
            }

            /// The trigger that `key: value` says; `None` if no kind has this key.
            pub fn from_value(key: &str, value: serde_json::Value) -> Option<serde_json::Result<Self>> {
                match key {
                    $($key => Some(serde_json::from_value(value).map(Self::$variant)),)+
                    _ => None,
                }
            }

            /// What stands behind the key in job files.
            pub fn to_value(&self) -> serde_json::Result<serde_json::Value> {
                match self { $(Self::$variant(value) => serde_json::to_value(value)),+ }
            }

            /// The schema of what stands behind each key.
            pub fn schemas(generator: &mut SchemaGenerator) -> Vec<(&'static str, Schema)> {
                vec![$(($key, <$variant as JsonSchema>::json_schema(generator))),+]
            }

            /// What is wrong with it, each at its pointer from the job's root. Pure.
            pub fn problems(&self, context: TriggerContext<'_>) -> Vec<Fault> {
                let mut faults = match self { $(Self::$variant(value) => value.problems(context)),+ };
                for fault in &mut faults {
                    fault.pointer.insert_str(0, self.key());
                    fault.pointer.insert(0, '/');
                }
                faults
            }

            /// The live trigger; `None` if it has an error, or never fires.
            pub fn arm(&self, context: TriggerContext<'_>) -> Option<Armed> {
                match self { $(Self::$variant(value) => value.arm(context)),+ }
            }

            /// The trigger in words; empty if there is nothing to say.
            pub fn words(&self, context: TriggerContext<'_>) -> String {
                match self { $(Self::$variant(value) => value.words(context)),+ }
            }

            /// What the job's file says, as short as it can be shown.
            pub fn written(&self) -> Vec<String> {
                match self { $(Self::$variant(value) => value.written()),+ }
            }
        }
    };
}

// The one list of triggers: a type of its own file, and its key in job files.
kinds! {
    Schedule = "schedule",
    Every = "every",
    At = "at",
    OnStart = "on_start",
    After = "after",
}
