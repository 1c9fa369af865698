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
    Failed { why: String, printed: SecretValue, said: Said },
    /// It was ended because the run has to end.
    Stopped,
}

/// The end of what a helper said on standard error.
#[derive(Debug)]
pub struct Said {
    pub text: SecretValue,
    /// So many of its first bytes are there only so that the others can be masked: where more was said than is kept, a value
    /// may have been cut in two, and its rest is known as such by nobody.
    pub to_be_hidden: usize,
}

/// How much may be shown of what a helper says on standard error: the end.
const MOST_SAID: usize = 2_000;

/// Carries out the plan and gives what it prints, at most so many bytes. The run's own `control` also ends a helper.
///
/// `most` is also how long the values are at the most that have to be masked in what it says.
pub fn ask(plan: Plan, control: &Control, most: usize) -> Answer {
    let mut ear = Ear { printed: Vec::new(), is_too_much: false, said: Vec::new(), was_cut: false, most };
    let ended = Attempt::carry_out(Box::new(plan), control, &mut ear);
    match (ended.outcome.status, ended.outcome.error) {
        (Status::Success, _) => Answer::Printed((!ear.is_too_much).then(|| SecretValue::new(ear.printed))),
        (Status::Cancelled, _) => Answer::Stopped,
        (Status::Failed | Status::Timeout | Status::Interrupted, why) => Answer::Failed {
            why: why.unwrap_or_default(),
            printed: SecretValue::new(std::mem::take(&mut ear.printed)),
            said: ear.said(),
        },
    }
}

struct Ear {
    printed: Vec<u8>,
    is_too_much: bool,
    said: Vec<u8>,
    /// More was said than is kept.
    was_cut: bool,
    most: usize,
}

impl Ear {
    /// A value that was cut in two ends within the first `most` bytes of what is kept, and what may be the beginning of
    /// another one is as long at the most.
    fn margin(&self) -> usize {
        2 * self.most
    }

    fn forget_beginning(&mut self) {
        let gone = self.said.len().saturating_sub(MOST_SAID + self.margin());
        self.was_cut |= gone > 0;
        self.said.drain(..gone);
    }

    fn said(mut self) -> Said {
        // What it printed is not known to its end, so it cannot be masked.
        if self.is_too_much {
            self.said.clear();
        }
        self.forget_beginning();
        let to_be_hidden = if self.was_cut { self.margin().min(self.said.len()) } else { 0 };
        Said { text: SecretValue::new(self.said), to_be_hidden }
    }
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
                // Not with each piece: all that stays is moved then.
                if self.said.len() > 2 * (MOST_SAID + self.margin()) {
                    self.forget_beginning();
                }
            }
        }
    }
}
