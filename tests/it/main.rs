//! What the project promises, from outside: one module for each promise.

mod crash;
mod engine;
mod engine_properties;
mod engine_sim;
mod hostile_files;
mod layers;
mod logs;
mod properties;
mod record_follow;
mod record_lines;
mod record_output;
mod record_support;
mod record_unwritable;
mod reload;
mod samples;
mod sandbox;
mod schema_files;
mod shutdown;
mod soak;
mod spec_defaults;
mod spec_hostile;
mod spec_properties;
mod start;
mod verbs_house;
mod verbs_run;
mod verbs_show;
