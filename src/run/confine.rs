//! From a job's policies to what holds of its processes.

use std::path::Path;

use crate::os::cgroup::Most;
use crate::os::means::Means;
use crate::os::sandbox::Walls;
use crate::os::users::{Identity, Unknown};
use crate::spec::{How, Kept, Policies, Tmp, kept};

/// The limits of one attempt, by who keeps them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// For its control group.
    pub in_group: Most,
    /// For each of its processes, as setrlimit(2) numbers them.
    pub resources: Vec<(libc::__rlimit_resource_t, u64)>,
}

impl Limits {
    /// Those that this machine can keep.
    pub fn of(policies: &Policies, means: &Means) -> Self {
        let all = kept(policies, means);
        let how = |pointer: &str| all.iter().find(|kept| kept.pointer == pointer).map(|Kept { how, .. }| how);
        let asked = &policies.limits;
        let mut limits =
            Self { in_group: Most { is_best_effort: asked.best_effort, ..Most::default() }, ..Self::default() };
        match (asked.memory, how("/limits/memory")) {
            (Some(most), Some(How::Group)) => limits.in_group.memory = Some(most.0),
            (Some(most), Some(How::EachProcess)) => limits.resources.push((libc::RLIMIT_DATA, most.0)),
            _ => {}
        }
        match (asked.processes.map(u64::from), how("/limits/processes")) {
            (Some(most), Some(How::Group)) => limits.in_group.processes = Some(most),
            (Some(most), Some(How::EachUser)) => limits.resources.push((libc::RLIMIT_NPROC, most)),
            _ => {}
        }
        if let (Some(share), Some(How::Group)) = (asked.cpu, how("/limits/cpu")) {
            limits.in_group.cpu = Some(share.0);
        }
        if let (Some(weight), Some(How::Group)) = (policies.io_weight, how("/io_weight")) {
            limits.in_group.io_weight = Some(weight);
        }
        if let Some(most) = asked.open_files {
            limits.resources.push((libc::RLIMIT_NOFILE, u64::from(most)));
        }
        limits
    }
}

/// Whom the command runs as; `None`: whoever the runner is.
///
/// # Errors
/// There is no such user or group any more.
pub fn identity(policies: &Policies) -> Result<Option<Identity>, Unknown> {
    policies.run_as.as_ref().map(|run_as| Identity::find(&run_as.user, run_as.group.as_deref())).transpose()
}

/// What the command may see and reach; paths count from `directory`.
pub fn walls(policies: &Policies, directory: &Path, means: &Means) -> Option<Walls> {
    let sandbox = policies.sandbox.as_ref()?;
    let write = || sandbox.write.iter().map(|path| directory.join(path)).collect();
    let walls = Walls {
        write: sandbox.read_only.then(write),
        // Landlock does it alone where a user namespace would be needed for this, or no mounts are to be had.
        with_mounts: sandbox.read_only && means.is_root && means.mounts(),
        no_network: !sandbox.network,
        private_tmp: sandbox.tmp == Tmp::Private,
    };
    (walls != Walls::default()).then_some(walls)
}

/// Whether programs can give the command no more rights than it has.
pub fn no_new_privs(policies: &Policies) -> bool {
    // Landlock asks for it of everybody but root, and is worth little without it.
    policies.no_new_privs.unwrap_or(policies.run_as.is_some() || policies.sandbox.is_some())
}
