//! Which of a job's limits and walls this machine can keep, and how.

use std::fmt;

use super::policies::Policies;
use super::{MissingVariable, Tmp};
use crate::model::Fault;
use crate::os::cgroup::Controller;
use crate::os::means::Means;
use crate::os::users::Identity;

/// One limit or wall of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its place in the job's file.
    pub pointer: &'static str,
    pub how: How,
}

/// How a limit is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// For all processes of a run together, by its control group.
    Group,
    /// For each process by itself.
    EachProcess,
    /// For all processes of the user of `run_as`.
    EachUser,
    /// By the kernel, in another way that leaves nothing out.
    Kernel,
    /// It cannot be kept.
    Not(String),
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group => f.write_str("all processes together (cgroup)"),
            Self::EachProcess => f.write_str("each process (rlimit)"),
            Self::EachUser => f.write_str("all processes of its user (rlimit)"),
            Self::Kernel => f.write_str("kept by the kernel"),
            Self::Not(why) => write!(f, "not kept here: {why}"),
        }
    }
}

/// How each limit and wall that a job asks for is kept by a runner with these means.
pub fn kept(policies: &Policies, means: &Means) -> Vec<Kept> {
    let limits = &policies.limits;
    let mut kept = Vec::new();
    let mut add = |pointer: &'static str, how: How| kept.push(Kept { pointer, how });
    let by_group = |controller: Controller| match &means.groups {
        Ok(controllers) if controllers.has(controller) => Ok(()),
        Ok(_) => Err(format!("the runner has no {} controller of cgroup v2", controller.name())),
        Err(why) => Err(why.to_string()),
    };
    let group_or_not = |controller| by_group(controller).map_or_else(How::Not, |()| How::Group);
    if limits.memory.is_some() {
        add("/limits/memory", by_group(Controller::Memory).map_or(How::EachProcess, |()| How::Group));
    }
    if limits.cpu.is_some() {
        add("/limits/cpu", group_or_not(Controller::Cpu));
    }
    if limits.processes.is_some() {
        let has_own_user = means.is_root && identity(policies).is_some_and(|identity| identity.uid != 0);
        let how = match by_group(Controller::Pids) {
            Ok(()) => How::Group,
            Err(_) if has_own_user => How::EachUser,
            Err(why) => How::Not(format!("{why}, and there is no `run_as` with a user other than root")),
        };
        add("/limits/processes", how);
    }
    if limits.open_files.is_some() {
        add("/limits/open_files", How::EachProcess);
    }
    if policies.nice < 0 && !means.is_root {
        add("/nice", How::Not("below 0 needs root".into()));
    } else if policies.nice != 0 {
        add("/nice", How::EachProcess);
    }
    if policies.io_weight.is_some() {
        add("/io_weight", group_or_not(Controller::Io));
    }
    if let Some(run_as) = &policies.run_as {
        let how = match Identity::find(&run_as.user, run_as.group.as_deref()) {
            Err(error) => How::Not(error.to_string()),
            Ok(_) if !means.is_root => {
                How::Not("the runner does not run as root, so it cannot become another user".into())
            }
            Ok(_) => How::Kernel,
        };
        add("/run_as", how);
    }
    if let Some(sandbox) = &policies.sandbox {
        let or_not = |is_there: bool, why: &str| if is_there { How::Kernel } else { How::Not(why.into()) };
        if sandbox.read_only {
            add(
                "/sandbox/read_only",
                or_not(means.landlock.is_some(), "this kernel has no Landlock, or it is turned off"),
            );
        }
        if !sandbox.network {
            add("/sandbox/network", or_not(means.networks(), "the runner may not make a network namespace"));
        }
        if sandbox.tmp == Tmp::Private {
            add("/sandbox/tmp", or_not(means.mounts(), "the runner may not make a mount namespace"));
        }
    }
    kept
}

/// Whom the command runs as, if that is somebody on this machine.
fn identity(policies: &Policies) -> Option<Identity> {
    let run_as = policies.run_as.as_ref()?;
    Identity::find(&run_as.user, run_as.group.as_deref()).ok()
}

/// What cannot be kept, as the findings of a file.
pub(super) fn faults(policies: &Policies, means: &Means, missing: MissingVariable) -> Vec<Fault> {
    let may_be_left_out = |pointer: &str| policies.limits.best_effort && !is_wall(pointer);
    let fault = |kept: Kept| {
        let How::Not(why) = kept.how else { return None };
        let name = kept.pointer.trim_start_matches('/').replace('/', ".");
        Some(if may_be_left_out(kept.pointer) {
            Fault::warning(kept.pointer, format!("`{name}` is left out here: {why}"))
        } else {
            let message = format!("`{name}` cannot be kept here: {why}");
            let fault = match missing {
                MissingVariable::Error => Fault::error(kept.pointer, message),
                MissingVariable::Warning => Fault::warning(kept.pointer, message),
            };
            if is_wall(kept.pointer) {
                fault
            } else {
                fault.help("`limits: { best_effort: true }` runs the job without it")
            }
        })
    };
    kept(policies, means).into_iter().filter_map(fault).collect()
}

/// What keeps others safe from the command is never left out.
fn is_wall(pointer: &str) -> bool {
    pointer.starts_with("/run_as") || pointer.starts_with("/sandbox")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Severity;

    #[test]
    fn what_this_machine_cannot_do_is_an_error_and_best_effort_does_without_limits_alone() {
        let policies = |best_effort: bool| -> Policies {
            serde_json::from_value(serde_json::json!({
                "limits": { "cpu": "50%", "memory": "64M", "processes": 9, "best_effort": best_effort },
                "io_weight": 50, "nice": -1, "run_as": { "user": "root" },
                "sandbox": { "read_only": true, "network": false, "tmp": "private" },
            }))
            .unwrap()
        };
        let walls = ["/run_as", "/sandbox/read_only", "/sandbox/network", "/sandbox/tmp"];
        let limits = ["/limits/cpu", "/limits/processes", "/nice", "/io_weight"];
        for best_effort in [false, true] {
            let faults = faults(&policies(best_effort), &Means::NONE, MissingVariable::Error);
            let found: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
            // Memory is kept for each process.
            assert_eq!(found, [&limits[..], &walls[..]].concat());
            for fault in &faults {
                let is_left_out = best_effort && limits.contains(&fault.pointer.as_str());
                let severity = if is_left_out { Severity::Warning } else { Severity::Error };
                assert_eq!(fault.severity, severity, "{fault:?}");
            }
        }
        assert_eq!(faults(&policies(false), &Means::ALL, MissingVariable::Error), []);
    }
}
