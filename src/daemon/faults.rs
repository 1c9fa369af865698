use crate::model::count;
use crate::record::Records;
use crate::record::runner_log;

/// Says what could not be written: at once when it begins, then now and then, and when it is over.
#[derive(Debug, Default)]
pub(super) struct FaultSpeaker {
    in_trouble: bool,
    ticks_since_said: u32,
    records: u64,
    output_bytes: u64,
}

const SAY_AGAIN_AFTER_TICKS: u32 = 6;

impl FaultSpeaker {
    /// Looks at what has gone wrong since the last tick.
    pub fn tick(&mut self, records: &Records, control: &runner_log::Control) {
        let lost_lines = control.take_lost();
        if lost_lines > 0 {
            // The log itself may be what cannot be written: standard error hears it too.
            tracing::error!(target: "record", "{} of runner.log could not be written", count(lost_lines, "line"));
        }
        match records.faults.report() {
            Some(report) => {
                self.records += report.records;
                self.output_bytes += report.output_bytes;
                self.ticks_since_said += 1;
                if !self.in_trouble || self.ticks_since_said >= SAY_AGAIN_AFTER_TICKS {
                    tracing::error!(
                        target: "record",
                        "the logs cannot be written, jobs go on: {}; lost so far: {}, {} of output; waiting: {}",
                        report.error.as_deref().unwrap_or("no new error"),
                        count(self.records, "record"),
                        count(self.output_bytes, "byte"),
                        count(report.waiting, "record"),
                    );
                    self.ticks_since_said = 0;
                }
                self.in_trouble = true;
            }
            None if self.in_trouble => {
                tracing::warn!(
                    target: "record",
                    "the logs can be written again; lost meanwhile: {}, {} of output",
                    count(self.records, "record"),
                    count(self.output_bytes, "byte"),
                );
                *self = Self::default();
            }
            None => {}
        }
    }
}
