//! The folder: the set of jobs that is loaded now, and how it changes.
//!
//! Events are hints, a comparison with the files is the truth. [`Catalog::refresh`] walks the folder, reads what differs,
//! parses what changed and swaps in a new [`Generation`]; [`watch::Watcher`] says when it is worth while. A file that has
//! become invalid keeps its last good version in force, also across a restart ([`last_good`]). See `docs/design/catalog.md`.

mod commit;
mod generation;
mod insecure;
mod last_good;
mod links;
mod load;
mod names;
mod read_file;
mod refresh;
mod scan;
mod spec_hash;
pub mod watch;

pub use generation::{Delta, Generation, Invalid, Job};
pub use read_file::read_file;
pub use refresh::{Catalog, Options, StartError};
pub use spec_hash::{NoHash, SpecHash};
