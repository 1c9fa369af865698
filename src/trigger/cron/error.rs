//! What is wrong with an expression, and what is odd about one that is right.

use std::ops::Range;

use thiserror::Error;

/// Why a text is not a cron expression, where, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct CronError {
    /// What is wrong: a lowercase fragment that names the field and what it takes.
    pub message: String,
    /// The cure, where it is known.
    pub help: Option<String>,
    /// The bytes of the given text that are at fault; both ends lie on character boundaries.
    pub span: Range<usize>,
}

/// Something in a correct expression that often means something else than was wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronWarning {
    /// What the expression does: a lowercase fragment.
    pub message: String,
    /// What to write if that is not what was meant.
    pub help: Option<String>,
}

impl CronError {
    pub(super) fn new(message: impl Into<String>, span: Range<usize>) -> Self {
        Self { message: message.into(), help: None, span }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
