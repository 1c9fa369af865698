//! One face over the platform: processes in sessions of their own, timers, file locks, sockets, limits.
//!
//! Raw system calls live here, and nearly everything that is `unsafe`: the one other place that runs in a newborn process is
//! `record`'s start line. Linux is what is proven.

pub mod boot;
pub mod buffers;
pub mod cgroup;
pub mod clock;
#[cfg(test)]
pub mod eventually;
pub mod exec;
pub mod file;
pub mod file_events;
mod file_routes;
pub mod limits;
pub mod lock;
pub mod means;
pub mod memory;
pub mod mounts;
pub mod open_files;
pub mod orphans;
pub mod private;
pub mod process;
mod rulesets;
pub mod sandbox;
pub mod socket;
mod spare_groups;
pub mod spawn;
pub mod stack;
pub mod timer;
pub mod users;
pub mod wait;
