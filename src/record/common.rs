//! What holds of the logs of all jobs.

use std::path::Path;
use std::sync::RwLock;

use super::faults::Faults;
use super::layout::Layout;

/// How logs are rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Bytes that a file may have.
    pub max_size: u64,
    /// Rotated files beside the current one.
    pub max_files: u32,
    pub synced: Synced,
}

/// What is on the disk before the runner goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Synced {
    /// The kernel writes when it likes.
    #[default]
    Nothing,
    /// Starts, attempts and ends of runs.
    Runs,
    /// All lines of all logs.
    Everything,
}

/// What lines tell of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    Runs,
    /// Due times that did not become runs.
    Gaps,
}

impl Settings {
    pub(super) fn syncs(&self, about: About) -> bool {
        match self.synced {
            Synced::Nothing => false,
            Synced::Runs => about == About::Runs,
            Synced::Everything => true,
        }
    }
}

/// What all jobs' logs have in common.
#[derive(Debug)]
pub struct Common {
    pub layout: Layout,
    pub faults: Faults,
    settings: RwLock<Settings>,
}

impl Common {
    pub(super) fn new(layout: Layout, settings: Settings) -> Self {
        Self { layout, faults: Faults::default(), settings: RwLock::new(settings) }
    }

    pub fn settings(&self) -> Settings {
        *self.settings.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// For lines that have to be on the disk before somebody goes on: the directory that is there for sure.
    pub(super) fn synced_below(&self, about: About) -> Option<&Path> {
        self.settings().syncs(about).then(|| self.layout.root())
    }

    pub fn set_settings(&self, settings: Settings) {
        *self.settings.write().unwrap_or_else(std::sync::PoisonError::into_inner) = settings;
    }
}
