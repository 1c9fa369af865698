//! The ledger is written anew, with what counts.

use super::book::{Book, Now};
use super::entries::Id;
use super::entry::{Entry, State};
use super::line::Line;

/// Of files that are gone this many are remembered at least, and for so long.
pub(super) const GONE_KEPT: usize = 10_000;

pub(super) const GONE_FOR_MS: i64 = 30 * 86_400_000;

impl Book {
    /// Whether the file of the ledger has so many lines more than are needed that it should be written anew.
    pub fn is_worth_rewriting(&self, at_start: bool) -> bool {
        let needed = (self.entries.len() + self.roots.len()) as u64;
        match at_start {
            true => self.written > needed + needed / 4,
            false => self.written > 2 * needed + 50_000,
        }
    }

    /// Forgets files that are gone for long, and hands out the lines of the roots: the beginning of a ledger that is written anew.
    pub fn rewriting(&mut self, now: &Now) -> Vec<u8> {
        self.forget_gone(now);
        self.is_rewriting = true;
        let mut lines = Vec::new();
        for (root, (at, whole)) in &self.roots {
            Line::root(*at, root, *whole).put(&mut lines);
        }
        self.written = (self.entries.len() + self.roots.len()) as u64;
        lines
    }

    /// It is written, or it could not be.
    pub fn is_rewritten(&mut self) {
        self.is_rewriting = false;
    }

    /// The lines of entries for such a ledger, from that place on; `None` after the last. What is made meanwhile is written after
    /// them, and counts.
    pub fn lines_from(&self, place: Id, most: u32) -> Option<Vec<u8>> {
        let entries = self.entries.from(place, most)?;
        let mut lines = Vec::new();
        entries.for_each(|entry| Line::of(entry).put(&mut lines));
        Some(lines)
    }

    pub(super) fn forget_gone(&mut self, now: &Now) {
        // Where a run is to be told that it is gone, it is not over.
        let is_over = |id: Id, entry: &Entry| {
            entry.gone && !matches!(entry.state, State::Stable | State::Running) && self.settling.get(id).is_none()
        };
        let mut gone: Vec<(i64, Id)> =
            self.entries.iter().filter(|(id, entry)| is_over(*id, entry)).map(|(id, entry)| (entry.at, id)).collect();
        gone.sort_unstable();
        let most = GONE_KEPT.max(self.entries.len() - gone.len());
        let above = gone.len().saturating_sub(most);
        for (place, (at, id)) in gone.into_iter().enumerate() {
            if place < above || now.ms() - at > GONE_FOR_MS {
                self.entries.remove(id);
            }
        }
    }
}
