use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::Sender;

use tokio::sync::mpsc::UnboundedSender;

use super::control::Reply;
use super::event::{Event, Refreshed};
use super::reload::timing;
use crate::catalog::Catalog;
use crate::catalog::watch::{Message, Wake, Watcher};
use crate::model::Clock;
use crate::os::clock::SystemClock;
use crate::os::file_events::Hub;
use crate::spec::RunnerSpec;

/// Who owns the catalog, on a thread of its own: waits for reasons to compare, compares, tells the loop.
pub(super) struct CatalogThread {
    catalog: Catalog,
    watcher: Watcher<UnboundedSender<Reply>>,
    events: UnboundedSender<Event>,
    /// Whether changes of the files are taken up by themselves.
    is_watching: bool,
    /// What stood at the watched paths when they were watched.
    identities: Vec<(PathBuf, Option<(u64, u64)>)>,
    /// It was something else when that was looked at before.
    was_other: bool,
}

impl CatalogThread {
    /// Watches the files and compares them once more, so that whatever is changed after this returns is noticed.
    pub fn start(
        catalog: Catalog,
        settings: &RunnerSpec,
        events: UnboundedSender<Event>,
        is_watching: bool,
        hub: &Hub,
    ) -> io::Result<Sender<Message<UnboundedSender<Reply>>>> {
        let (watcher, sender) = Watcher::new(timing(settings), is_watching, hub);
        let mut thread = Self { catalog, watcher, events, is_watching, identities: Vec::new(), was_other: false };
        if is_watching {
            thread.watch();
            thread.compare(None, false);
        }
        std::thread::Builder::new().name("catalog".into()).spawn(move || thread.run())?;
        Ok(sender)
    }

    fn run(mut self) {
        loop {
            let goes_on = match self.watcher.wait() {
                Wake::Scan => self.compare(None, false),
                Wake::Changed => self.compare(None, true),
                Wake::Asked(reply) => self.compare(Some(reply), true),
                Wake::Stop => false,
            };
            if !goes_on {
                return;
            }
        }
    }

    /// Says whether anybody still wants to know. `closely`: also looks whether what is watched is what is read, which costs a
    /// little where there are many links.
    fn compare(&mut self, asked: Option<UnboundedSender<Reply>>, closely: bool) -> bool {
        let compared = guarded(asked.as_ref(), || {
            let (generation, delta) = self.catalog.refresh(SystemClock.now());
            if self.is_watching
                && (delta.is_new
                    || self.watcher.trouble.is_some()
                    || self.watcher.is_stale()
                    || (closely && self.catalog.watched_identities() != self.identities))
            {
                let is_other = self.watch();
                // What came there before it was watched was told to nobody. Once: some file systems have other numbers each time.
                self.watcher.compares_again |= is_other && !self.was_other;
                self.was_other = is_other;
            } else if closely {
                self.was_other = false;
            }
            (generation, delta)
        });
        let Some((generation, delta)) = compared else { return !self.events.is_closed() };
        let refreshed = Refreshed {
            generation,
            asked,
            trouble: self.watcher.trouble.clone(),
            last_good_error: self.catalog.last_good_error.take(),
            delta,
        };
        self.events.send(Event::Catalog(refreshed)).is_ok()
    }

    /// Says whether it is something else now.
    fn watch(&mut self) -> bool {
        let before = std::mem::replace(&mut self.identities, self.catalog.watched_identities());
        let (folders, paths) = self.catalog.watched();
        self.watcher.watch(&folders, &paths);
        before != self.identities
    }
}

/// Compares. If that panics, it is said, also to whoever asked for it, and there is nothing new.
fn guarded<T>(asked: Option<&UnboundedSender<Reply>>, compare: impl FnOnce() -> T) -> Option<T> {
    let panic = match catch_unwind(AssertUnwindSafe(compare)) {
        Ok(compared) => return Some(compared),
        Err(panic) => panic,
    };
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    let error = format!(
        "the files could not be compared, this is a bug; what is loaded goes on: {}",
        text.unwrap_or("a panic")
    );
    tracing::error!(target: "catalog", "{error}");
    if let Some(asked) = asked {
        let _ = asked.send(Reply::Error(error));
    }
    None
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[test]
    fn a_panic_while_comparing_is_an_answer_and_the_next_comparison_goes_on() {
        let (asked, mut replies) = unbounded_channel();
        assert_eq!(guarded(Some(&asked), || Vec::<u8>::new()[std::hint::black_box(3)]), None);
        assert!(matches!(replies.try_recv(), Ok(Reply::Error(error))
            if error.contains("this is a bug; what is loaded goes on: index out of bounds")));
        assert_eq!(guarded(Some(&asked), || 7), Some(7));
        assert!(replies.try_recv().is_err());
    }
}
