//! The words that all stages share: names, ids, firings, outcomes, problems, the clock. This layer does no I/O.

mod clock;
mod count;
mod duration;
mod firing;
mod item;
mod kinds;
mod name;
mod or_none;
mod outcome;
mod problem;
mod run_id;
mod secret;
mod size;
pub mod stable_hash;
mod steer;
mod text_map;
mod time;

pub use clock::Clock;
pub use count::{count, decimal};
pub use duration::{DurationError, HumanDuration};
pub use firing::{Firing, Gap, GapKind, Parent, Stream, TriggeredBy};
pub use item::{FileEvent, Input, Item, path_of, put_path};
pub(crate) use kinds::kinds;
pub use name::{JobName, NameError};
pub use or_none::{OrNone, Written, written_schema};
pub use outcome::{Outcome, Output, Status, Usage};
pub use problem::{Fault, Problem, Severity};
pub use run_id::{RunId, RunIds};
pub use secret::SecretValue;
pub use size::{ByteSize, SizeError};
pub use steer::{safe, safe_json, steers};
pub use text_map::TextMap;
pub use time::{digits, rfc3339, serde_rfc3339};

pub use jiff::Timestamp;

/// Locks a mutex whose owner may have panicked: what it guards is kept whole by every writer, so the value stands.
pub fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
