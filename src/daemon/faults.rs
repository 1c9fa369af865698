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

/// More logs than these are counted, not named.
const MOST_NAMED: usize = 5;

impl FaultSpeaker {
    /// Says which logs others moved or deleted while they were in use.
    fn say_taken_away(&self, records: &Records, control: &runner_log::Control) {
        let mut paths = records.faults.take_taken_away();
        if control.take_taken_away() {
            paths.push(records.layout.runner_log());
        }
        if paths.is_empty() {
            return;
        }
        let named: Vec<_> = paths.iter().take(MOST_NAMED).map(|path| path.display().to_string()).collect();
        let more = match paths.len().saturating_sub(MOST_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        tracing::warn!(
            target: "record",
            "moved or deleted by others while in use, begun anew: {}{more}",
            named.join(", ")
        );
    }

    /// Looks at what has gone wrong since the last tick.
    pub fn tick(&mut self, records: &Records, control: &runner_log::Control) {
        let lost_lines = control.take_lost();
        if lost_lines > 0 {
            // The log itself may be what cannot be written: standard error hears it too.
            tracing::error!(target: "record", "{} of runner.log could not be written", count(lost_lines, "line"));
        }
        if let Some(error) = control.take_not_synced() {
            records.faults.not_synced(&records.layout.runner_log(), &error);
        }
        self.say_taken_away(records, control);
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
