//! Decides: which job runs when, and what happens to due times that do not become runs.
//!
//! A pure state machine: [`Engine::handle`] takes an event and the time and adds to a list of decisions. No clock, no I/O,
//! no threads inside, so that months are simulated in seconds. See `docs/design/engine.md`.

mod decision;
mod due;
mod event;
mod job;
mod machine;
mod upcoming;

pub use decision::{Accepted, Decision};
pub use event::{Change, Entry, Event, Starting};
pub use machine::{Engine, Settings};
pub use upcoming::upcoming;
