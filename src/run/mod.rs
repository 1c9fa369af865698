//! One attempt: a command in a session of its own, both streams read to the end, a deadline, an outcome.
//!
//! Knows neither the engine nor the logs: what happens is told to an [`Observer`]. See `docs/design/run.md`.

mod ask;
mod attempt;
pub mod confine;
mod control;
mod explain;
mod pipe;
mod pool;
mod tree;

pub use ask::{Answer, Said, ask};
pub use attempt::{Attempt, Ended, Observer, Plan};
pub use control::{Control, Stop};
pub use pool::Pool;
