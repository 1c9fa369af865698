//! One file for each verb; the only place that prints and picks an exit code.

pub mod problems;
