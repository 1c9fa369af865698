//! What tests wait for.

use std::time::{Duration, Instant};

/// Waits until the condition holds, for at most 40 s.
#[track_caller]
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(40);
    while !condition() {
        assert!(Instant::now() < deadline, "never came about: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
