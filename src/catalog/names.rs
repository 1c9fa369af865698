//! Two files with one name: the one that is loaded stays, the newcomer is refused.

use std::collections::BTreeMap;

use crate::model::{JobName, Problem};

/// A file that would like to be a job.
pub(super) struct Claim<'a> {
    /// From the configuration directory.
    pub shown: &'a str,
    pub name: &'a JobName,
    /// It is loaded now, under this very name.
    pub is_loaded: bool,
}

/// The claims that are refused, each with its problem. Names that differ only in case count as one: on some file systems their
/// logs would be.
pub(super) fn refused(claims: &[Claim<'_>]) -> Vec<(String, Problem)> {
    let mut by_name: BTreeMap<String, Vec<&Claim<'_>>> = BTreeMap::new();
    for claim in claims {
        by_name.entry(claim.name.to_lowercase()).or_default().push(claim);
    }
    let mut problems = Vec::new();
    for rivals in by_name.values().filter(|rivals| rivals.len() > 1) {
        let holder = match rivals.iter().filter(|claim| claim.is_loaded).collect::<Vec<_>>()[..] {
            [one] => Some(*one),
            _ => None,
        };
        for claim in rivals {
            if holder.is_some_and(|holder| holder.shown == claim.shown) {
                continue;
            }
            let other = holder.or_else(|| rivals.iter().copied().find(|other| other.shown != claim.shown));
            let Some(other) = other else { continue };
            let message = if claim.name == other.name {
                format!("the job's name `{}` is also that of {}", claim.name, other.shown)
            } else {
                format!("the job's name `{}` differs only in case from `{}` in {}", claim.name, other.name, other.shown)
            };
            let mut problem =
                Problem::of_file(claim.shown, message).help("rename one of the files, or give one job another `name:`");
            problem.field = "name".into();
            problems.push((claim.shown.to_string(), problem));
        }
    }
    problems
}
