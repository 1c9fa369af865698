//! A watch that fires itself: its run writes below the watched paths, which makes the next one due, without an end.
//!
//! Who wrote a file cannot be asked of the kernel. But what comes while no run of the watch is active, no run of it has written. So each
//! change that comes while one is gets that run's generation plus one; once files of a high generation are all that is left to do, the
//! watch holds still and looks what comes. If nothing does, whoever made them may have ended just then: what is left is run for. Only if
//! that makes the watch due once more, and again nothing comes while it holds still, it is stopped.

use std::time::{Duration, Instant};

/// So often a watch may make itself due in a row.
pub const MOST: u32 = 20;

#[derive(Debug, Clone, PartialEq, Default)]
pub enum Guard {
    /// Nothing is suspicious.
    #[default]
    Free,
    /// It holds still, as soon as no run is active, until then. `is_tried`: what was left after it held still before was run for, and
    /// that made it due once more.
    Suspects { until: Option<Instant>, is_tried: bool },
    /// Nothing came while it held still: what is left up to this generation is run for. Whoever else made it has ended; a watch that
    /// fires itself does so once more.
    Tries { most: u32 },
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
        match self {
            Self::Stopped { .. } => return false,
            _ if generation < MOST => return true,
            Self::Tries { most } if generation <= *most => return true,
            Self::Suspects { until: Some(until), is_tried } if now >= *until => {
                if *is_tried {
                    *self = Self::Stopped { why: why() };
                    return false;
                }
                *self = Self::Tries { most: generation };
                return true;
            }
            Self::Suspects { until: Some(_), .. } => return false,
            Self::Free | Self::Suspects { until: None, .. } | Self::Tries { .. } => {}
        }
        let is_tried = matches!(self, Self::Tries { .. } | Self::Suspects { is_tried: true, .. });
        *self = Self::Suspects { until: is_idle.then(|| now + quiet_for), is_tried };
        false
    }

    /// A change came while no run was active: somebody else makes them. Says whether that was in question.
    pub fn clear(&mut self) -> bool {
        let was = matches!(self, Self::Suspects { .. } | Self::Tries { .. });
        if was {
            *self = Self::Free;
        }
        was
    }

    /// When to look again.
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Suspects { until, .. } => *until,
            Self::Free | Self::Tries { .. } | Self::Stopped { .. } => None,
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
        // What is left is run for, and nothing follows from it.
        allows(&mut guard, MOST, true, now);
        assert!(allows(&mut guard, MOST, true, now + second) && allows(&mut guard, MOST, false, now + second));
        assert!(guard.clear() && allows(&mut guard, 0, true, now + second));
        // It makes itself due again: it holds still once more.
        allows(&mut guard, MOST, true, now);
        assert!(allows(&mut guard, MOST, true, now + second));
        assert!(!allows(&mut guard, MOST + 1, false, now + second) && guard.deadline().is_none());
        assert!(!allows(&mut guard, MOST + 1, true, now + second) && guard.deadline() == Some(now + 2 * second));
        assert!(!allows(&mut guard, MOST + 1, true, now + 2 * second));
        assert_eq!(guard, Guard::Stopped { why: "why".into() });
        assert!(!guard.clear() && !allows(&mut guard, 0, true, now + second));
    }
}
