//! Runs a helper for what it prints, bounded in time and in size. What it prints is shown to nobody but the asker.

use super::attempt::{Attempt, Observer, Plan};
use super::control::Control;
use crate::model::{SecretValue, Status, Stream};
use crate::os::spawn::Newborn;

/// What a helper answered.
#[derive(Debug)]
pub enum Answer {
    /// It has done what it should; `None`: it printed more than was asked for.
    Printed(Option<SecretValue>),
    /// It failed, was too slow, or could not be run: why, what it had printed by then, and the end of what it said on standard
    /// error. The latter two may hold secrets.
    Failed { why: String, printed: SecretValue, said: SecretValue },
    /// It was ended because the run has to end.
    Stopped,
}

/// How much is kept of what a helper says on standard error: the end.
const MOST_SAID: usize = 2_000;

/// Carries out the plan and gives what it prints, at most so many bytes. The run's own `control` also ends a helper.
pub fn ask(plan: Plan, control: &Control, most: usize) -> Answer {
    let mut ear = Ear { printed: Vec::new(), is_too_much: false, said: Vec::new(), most };
    let ended = Attempt::carry_out(plan, control, &mut ear);
    match (ended.outcome.status, ended.outcome.error) {
        (Status::Success, _) => Answer::Printed((!ear.is_too_much).then(|| SecretValue::new(ear.printed))),
        (Status::Cancelled, _) => Answer::Stopped,
        (Status::Failed | Status::Timeout | Status::Interrupted, why) => Answer::Failed {
            why: why.unwrap_or_default(),
            printed: SecretValue::new(ear.printed),
            said: SecretValue::new(ear.said),
        },
    }
}

struct Ear {
    printed: Vec<u8>,
    is_too_much: bool,
    said: Vec<u8>,
    most: usize,
}

impl Observer for Ear {
    fn newborn(&mut self, _: Newborn) {}

    fn settled(&mut self, _: Option<i32>) {}

    fn warning(&mut self, _: &str) {}

    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        match stream {
            Stream::Out => {
                let fits = bytes.len().min(self.most - self.printed.len());
                self.printed.extend_from_slice(&bytes[..fits]);
                self.is_too_much |= fits < bytes.len();
            }
            Stream::Err => {
                self.said.extend_from_slice(bytes);
                let gone = self.said.len().saturating_sub(MOST_SAID);
                self.said.drain(..gone);
            }
        }
    }
}
