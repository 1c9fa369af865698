//! One face over the platform: processes in sessions of their own, timers, file locks, sockets, limits.
//!
//! Everything that is `unsafe` or a raw system call lives here. Linux is what is proven.

pub mod boot;
pub mod clock;
pub mod exec;
pub mod file;
pub mod limits;
pub mod lock;
pub mod memory;
pub mod orphans;
pub mod socket;
pub mod spawn;
pub mod timer;
pub mod wait;
