use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};

use crate::model::Clock;

/// The system's wall clock (CLOCK_REALTIME).
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Times from a beginning on, by a clock that nobody sets and that goes on while the machine sleeps (CLOCK_BOOTTIME).
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch {
    began: Timestamp,
    since: Duration,
}

impl Stopwatch {
    /// Counts from `began`, which is now.
    pub fn start(began: Timestamp) -> Self {
        Self { began, since: since_boot() }
    }

    /// The beginning and what has passed since, whatever the wall clock was set to meanwhile.
    pub fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(since_boot().saturating_sub(self.since)).unwrap_or_default();
        self.began.saturating_add(passed).unwrap_or(self.began)
    }
}

fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopwatch_goes_on_from_its_beginning_though_the_wall_clock_is_hours_away() {
        for hours in [-7, 7] {
            let began = Timestamp::now() + SignedDuration::from_hours(hours);
            let (begun, watch) = (std::time::Instant::now(), Stopwatch::start(began));
            std::thread::yield_now();
            let passed = watch.now().duration_since(began);
            let most = SignedDuration::try_from(begun.elapsed()).unwrap() + SignedDuration::from_millis(1);
            assert!(!passed.is_negative() && passed <= most, "{passed:?}");
            assert!(watch.now() >= began + passed);
        }
    }
}
