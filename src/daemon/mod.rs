//! The one loop that joins the stages: files, engine, runs, records, and the people who ask.
//!
//! [`event::Event`] is the closed list of what wakes the loop; [`main_loop::Daemon`] owns all state; nothing else decides.
//! The whole flow reads in `main_loop.rs`. See `docs/design/daemon.md`.

mod as_written;
mod begin;
mod catalog_thread;
pub mod control;
mod decisions;
mod environment;
mod event;
mod faults;
mod interrupted;
pub mod loaded;
mod main_loop;
mod maintenance;
pub mod memory;
pub mod pauses;
pub mod pending;
mod record_queue;
mod reload;
mod requests;
mod run_files;
mod runs;
mod secrets;
mod service_manager;
pub mod setup;
mod shutdown;
mod signals;
pub mod view;
pub mod watches;

pub use main_loop::{Daemon, Finished};
pub use setup::{Overrides, Paths, Prepared, SetupError, StartOptions};
