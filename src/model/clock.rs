use jiff::Timestamp;

/// Where a component learns what time it is.
///
/// Components that need the time take one of these, so that a test can hand in a clock of its own.
pub trait Clock: Send + Sync {
    /// The present wall-clock time.
    fn now(&self) -> Timestamp;
}
