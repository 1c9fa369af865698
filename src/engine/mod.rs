//! Decides: which job runs when, and what happens to due times that do not become runs.
//!
//! A pure state machine: [`Engine::handle`] takes an event and the time and adds to a list of decisions. No clock, no I/O,
//! no threads inside, so that months are simulated in seconds. See `docs/design/engine.md`.

mod backlog;
mod breaker;
mod chains;
mod decision;
mod due;
mod ends;
mod event;
mod job;
mod judge;
mod load;
mod machine;
mod places;
mod runs;
pub mod simulate;
mod upcoming;
mod waits;

pub use backlog::Backlog;
pub use breaker::{BreakerState, Failures};
pub use decision::{Accepted, Decision, Next};
pub use ends::wait_after;
pub use event::{Change, Entry, Event, Memory, Owed, Starting};
pub use machine::{Engine, Settings};
pub use runs::REPLACED;
pub use upcoming::{latest, upcoming};
pub use waits::WaitsFor;
