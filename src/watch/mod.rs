//! Files that make a job due. Events are hints, a scan is the truth, and a ledger remembers.
//!
//! [`Book`] is what a watch knows: each file with its identity and its state. [`watcher`] fills it, on a thread of its own; whoever
//! runs the job takes files from it and tells what became of them. See `docs/design/watch.md`.

mod afterwards;
mod book;
mod compaction;
mod completing;
mod due;
mod entries;
mod entry;
mod explain;
mod file_system;
mod followers;
mod following;
mod gitignore;
mod hash;
mod hints;
mod last_look;
mod ledger;
mod line;
mod live;
mod looping;
mod missing;
mod new_rules;
mod noticing;
mod ready;
mod remembering;
mod renames;
mod replaced;
mod replay;
mod root;
mod rules;
mod settling;
mod shared;
mod shown;
mod stat;
mod taking;
pub mod thread;
#[cfg(test)]
mod transitions;
mod visit;
mod walk;
mod watched;
pub mod watcher;
mod writing;

pub use book::{Book, Counts, Looked, Now, Sight};
pub use entries::Entries;
pub use entry::{Entry, State};
pub use explain::{Explanation, Watched, explain};
pub use last_look::LastLook;
pub use ledger::{Ledger, Loaded, load};
pub use replay::{Refused, Replayed, Selection, replay_offline};
pub use root::{Health, Root, plain, roots};
pub use rules::{Rules, Verdict, Why};
pub use shared::{Shared, in_logs, now};
pub use shown::{FileRow, WatchStatus};
pub use stat::{Found, Stat, file_at};
pub use taking::{Backlog, Ended, Taken};
