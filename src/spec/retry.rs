use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{HumanDuration, Status};

/// Whether and when an attempt that failed is followed by another one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// How many further attempts follow the first one at the most.
    #[schemars(range(max = 1_000))]
    pub max: u32,
    /// How long the first wait takes, at least 100ms.
    pub delay: HumanDuration,
    /// How the waits grow.
    pub backoff: Backoff,
    /// What `exponential` multiplies the wait with each time.
    #[schemars(range(min = 1, max = 100))]
    pub multiplier: f64,
    /// How long a wait may get; never less than `delay`.
    pub max_delay: HumanDuration,
    /// A random part of up to this length is added to each wait.
    pub jitter: HumanDuration,
    /// After which outcomes another attempt is made.
    #[schemars(extend("minItems" = 1))]
    pub when: Vec<RetryWhen>,
    /// Only these exit codes of a failure are worth another attempt. Default: all.
    #[schemars(example = &[75], inner(range(min = 0, max = 255)), extend("minItems" = 1, "x-expects" = "a list of exit codes from 0 to 255"))]
    pub exit_codes: Option<Vec<i32>>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max: 0,
            delay: HumanDuration::from_secs(1),
            backoff: Backoff::Exponential,
            multiplier: 2.0,
            max_delay: HumanDuration::from_secs(600),
            jitter: HumanDuration::default(),
            when: vec![RetryWhen::Failure, RetryWhen::Timeout],
            exit_codes: None,
        }
    }
}

/// How the waits between attempts grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Backoff {
    /// Each takes `delay`.
    Constant,
    /// The n-th takes n times `delay`.
    Linear,
    /// Each takes `multiplier` times the one before.
    Exponential,
}

/// An outcome after which another attempt is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RetryWhen {
    /// The command failed, or could not be started.
    Failure,
    /// It took longer than `timeout`.
    Timeout,
}

impl Retry {
    /// How long to wait after the attempt with this number, the first being 1, before the next one begins; `None` if there
    /// is none. Pure: `chance`, any number, decides the random part.
    pub fn wait_after(&self, attempt: u32, status: Status, exit_code: Option<i32>, chance: u64) -> Option<Duration> {
        let is_asked_for = match status {
            Status::Failed => {
                let codes = self.exit_codes.as_deref();
                self.when.contains(&RetryWhen::Failure)
                    && codes.is_none_or(|codes| exit_code.is_some_and(|code| codes.contains(&code)))
            }
            Status::Timeout => self.when.contains(&RetryWhen::Timeout),
            Status::Success | Status::Cancelled | Status::Interrupted => false,
        };
        (is_asked_for && attempt <= self.max).then(|| self.wait(attempt) + self.random_part(chance))
    }

    /// The wait after the attempt with this number, without its random part.
    pub fn wait(&self, attempt: u32) -> Duration {
        let factor = match self.backoff {
            Backoff::Constant => 1.0,
            Backoff::Linear => f64::from(attempt),
            Backoff::Exponential => self.multiplier.powf(f64::from(attempt.saturating_sub(1))),
        };
        let most = self.max_delay.0.max(self.delay.0);
        // A factor beyond all bounds makes the longest wait.
        Duration::try_from_secs_f64(self.delay.0.as_secs_f64() * factor).map_or(most, |wait| wait.min(most))
    }

    fn random_part(&self, chance: u64) -> Duration {
        let most = self.jitter.0.as_millis() as u64;
        Duration::from_millis(if most == 0 { 0 } else { chance % (most + 1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(retry: &Retry, count: u32) -> Vec<u64> {
        (1..=count).map(|attempt| retry.wait(attempt).as_millis() as u64).collect()
    }

    #[test]
    fn the_waits_grow_as_the_backoff_says_up_to_the_longest() {
        let retry = |backoff| Retry { max: 9, backoff, max_delay: HumanDuration::from_secs(10), ..Retry::default() };
        assert_eq!(waits(&retry(Backoff::Constant), 4), [1_000; 4]);
        assert_eq!(waits(&retry(Backoff::Linear), 4), [1_000, 2_000, 3_000, 4_000]);
        assert_eq!(waits(&retry(Backoff::Exponential), 6), [1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
        let endless = Retry { max: 1_000, max_delay: HumanDuration::from_secs(600), ..Retry::default() };
        assert_eq!(endless.wait(1_000), Duration::from_secs(600), "2 to the power of 999 is no reason to fail");
    }

    #[test]
    fn only_what_is_asked_for_is_tried_again_and_no_more_often_than_that() {
        let retry = Retry { max: 2, exit_codes: Some(vec![75]), ..Retry::default() };
        let wait = |attempt, status, code| retry.wait_after(attempt, status, code, 0).is_some();
        assert!(wait(1, Status::Failed, Some(75)) && wait(2, Status::Failed, Some(75)));
        assert!(!wait(3, Status::Failed, Some(75)), "two attempts follow the first");
        assert!(!wait(1, Status::Failed, Some(1)) && !wait(1, Status::Failed, None), "not one of the exit codes");
        assert!(wait(1, Status::Timeout, None));
        for status in [Status::Success, Status::Cancelled, Status::Interrupted] {
            assert!(!wait(1, status, Some(75)), "{status}");
        }
        let only_timeouts = Retry { max: 1, when: vec![RetryWhen::Timeout], ..Retry::default() };
        assert_eq!(only_timeouts.wait_after(1, Status::Failed, Some(1), 0), None);
        assert_eq!(Retry::default().wait_after(1, Status::Failed, Some(1), 0), None, "by default there is one attempt");
    }

    #[test]
    fn the_random_part_is_within_its_bound_and_covers_it() {
        let retry = Retry { max: 1, jitter: HumanDuration::from_millis(9), ..Retry::default() };
        let mut seen: Vec<u64> = (0..1_000u64)
            .filter_map(|chance| {
                retry.wait_after(1, Status::Failed, Some(1), chance.wrapping_mul(0x9E37_79B9_7F4A_7C15))
            })
            .map(|wait| wait.as_millis() as u64)
            .collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, (1_000..=1_009).collect::<Vec<_>>());
    }
}
