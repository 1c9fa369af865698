//! A watch that fires itself: its run writes below the watched paths, which makes the next one due, without an end.
//!
//! Who wrote a file cannot be asked of the kernel. But what comes while no run of the watch is active, no run of it has written. So each
//! change that comes while one is gets that run's generation plus one; once files of a high generation are all that is left to do, the
//! watch holds still and looks what comes.

use std::time::{Duration, Instant};

/// So often a watch may make itself due in a row.
pub const MOST: u32 = 20;

#[derive(Debug, Clone, PartialEq, Default)]
pub enum Guard {
    /// Nothing is suspicious.
    #[default]
    Free,
    /// It holds still, as soon as no run is active, until then.
    Suspects { until: Option<Instant> },
    /// It fired itself.
    Stopped { why: String },
}

impl Guard {
    /// Whether a run of this generation may begin. `quiet_for`: how long to hold still; `is_idle`: no run of the watch is active;
    /// `why`: what is said if it is stopped.
    pub fn allows(
        &mut self,
        generation: u32,
        is_idle: bool,
        quiet_for: Duration,
        now: Instant,
        why: impl FnOnce() -> String,
    ) -> bool {
        if let Self::Stopped { .. } = self {
            return false;
        }
        if generation < MOST {
            return true;
        }
        let begun = match self {
            Self::Suspects { until } => *until,
            _ => None,
        };
        match begun {
            Some(until) if now >= until => *self = Self::Stopped { why: why() },
            Some(_) => {}
            None => *self = Self::Suspects { until: is_idle.then(|| now + quiet_for) },
        }
        false
    }

    /// A change came while no run was active: somebody else makes them. Says whether that was in question.
    pub fn clear(&mut self) -> bool {
        let was = matches!(self, Self::Suspects { .. });
        if was {
            *self = Self::Free;
        }
        was
    }

    /// When to look again.
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Suspects { until } => *until,
            Self::Free | Self::Stopped { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stops_only_if_nothing_comes_while_it_holds_still() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut guard = Guard::Free;
        let allows =
            |guard: &mut Guard, generation, is_idle, at| guard.allows(generation, is_idle, second, at, || "why".into());
        assert!(allows(&mut guard, MOST - 1, false, now));
        assert!(!allows(&mut guard, MOST, false, now));
        assert_eq!(guard.deadline(), None, "a run is active still");
        assert!(!allows(&mut guard, MOST, true, now));
        assert_eq!(guard.deadline(), Some(now + second));
        assert!(guard.clear());
        assert!(allows(&mut guard, 0, true, now));
        allows(&mut guard, MOST, true, now);
        allows(&mut guard, MOST, true, now + second);
        assert_eq!(guard, Guard::Stopped { why: "why".into() });
        assert!(!guard.clear() && !allows(&mut guard, 0, true, now + second));
    }
}
