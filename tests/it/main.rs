//! What the project promises, from outside: one module for each promise.

mod engine;
mod engine_sim;
mod samples;
mod schema_files;
mod spec_defaults;
mod spec_hostile;
mod spec_properties;
