use serde::{Deserialize, Serialize};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Success,
    Failed,
    Timeout,
    Cancelled,
    Interrupted,
}

impl Status {
    /// The word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether it counts into `failures`: everything but a success and what a person or a shutdown ended.
    pub fn is_failure(self) -> bool {
        match self {
            Self::Failed | Self::Timeout | Self::Interrupted => true,
            Self::Success | Self::Cancelled => false,
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// What one attempt came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub status: Status,
    /// The command's exit code; absent where it never ran or was ended by a signal.
    pub exit_code: Option<i32>,
    /// The signal that ended the command.
    pub signal: Option<i32>,
    /// What went wrong, in words.
    pub error: Option<String>,
    pub output: Output,
    /// Absent where the command never ran.
    pub usage: Option<Usage>,
}

impl Outcome {
    /// An attempt that came to nothing before a command ran.
    pub fn failed(error: impl Into<String>) -> Self {
        Self {
            status: Status::Failed,
            exit_code: None,
            signal: None,
            error: Some(error.into()),
            output: Output::default(),
            usage: None,
        }
    }
}

/// What a command printed on both streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Output {
    /// Bytes printed, whether they were kept or not.
    pub bytes: u64,
    /// Lines printed, a last one without a line break included.
    pub lines: u64,
    /// Whether bytes were left out of output.log.
    pub truncated: bool,
    /// How many bytes were left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// What a command used with the children it waited for; where it had a control group, all its processes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time in user mode, milliseconds.
    pub user_ms: u64,
    /// CPU time in the kernel, milliseconds.
    pub system_ms: u64,
    /// Peak resident memory, KiB; absent where the kernel's figure may be another process's.
    pub max_rss_kb: Option<u64>,
    /// Peak memory of all its processes together, KiB, with what the kernel keeps for them; absent without the memory controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_kb: Option<u64>,
    /// Bytes read from disks; absent without the io controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_bytes: Option<u64>,
    /// Bytes written to disks; absent without the io controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_bytes: Option<u64>,
}
