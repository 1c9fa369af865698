use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use super::control::{Reply, Request};
use super::runs::Ended;
use crate::catalog::{Delta, Generation};
use crate::model::{JobName, RunId};
use crate::os::timer::Wake;
use crate::record::End;

/// Everything that wakes the loop.
#[derive(Debug)]
pub(super) enum Event {
    /// The time has come, or the clock was set.
    Timer(Wake),
    /// The catalog was compared with the files.
    Catalog(Refreshed),
    /// An attempt is over and recorded.
    Ended(Ended),
    /// The end of a run that was not to be tried again is recorded.
    Settled(Arc<End>),
    /// Somebody asks through the socket.
    Request { request: Request, reply: UnboundedSender<Reply> },
    /// SIGTERM or SIGINT.
    Stop(&'static str),
    /// SIGHUP.
    Hangup,
    /// How many runs could be had of a watch may have changed.
    Backlog(JobName),
    /// Files that a run was to have are its watch's again; the run never was, where it would have had no others.
    GivenBack { job: JobName, withdrawn: Option<RunId> },
    /// Something was mounted or unmounted.
    Mounts,
    /// Every few seconds: what has to be looked at now and then.
    Tick,
    /// What waits was written.
    PendingKept,
    /// The time that running jobs had to end by themselves is over.
    ShutdownTimeout,
}

/// What a comparison came to.
#[derive(Debug)]
pub(super) struct Refreshed {
    pub generation: Arc<Generation>,
    pub delta: Delta,
    /// Who asked for it.
    pub asked: Option<UnboundedSender<Reply>>,
    /// Why changes may go unnoticed until the next periodic look.
    pub trouble: Option<String>,
    pub last_good_error: Option<String>,
}
