//! What the project promises, from outside: one module for each promise.

mod samples;
