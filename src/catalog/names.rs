//! Two files with one name: the one that is loaded stays, the newcomer is refused.

use std::borrow::Cow;

use crate::model::{JobName, Problem};

/// A file that would like to be a job.
pub(super) struct Claim<'a> {
    /// From the configuration directory.
    pub shown: &'a str,
    pub name: &'a JobName,
    /// It is loaded now, under this very name.
    pub is_loaded: bool,
}

/// A name without its case.
fn folded(name: &str) -> Cow<'_, str> {
    match name.bytes().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii()) {
        true => name.to_lowercase().into(),
        false => name.into(),
    }
}

/// The claims that are refused, each with its problem. Names that differ only in case count as one: on some file systems their
/// logs would be.
pub(super) fn refused(claims: &[Claim<'_>]) -> Vec<(String, Problem)> {
    let mut by_name: Vec<(Cow<'_, str>, &Claim<'_>)> = claims.iter().map(|claim| (folded(claim.name), claim)).collect();
    // Stable: those of one name stay in the order of their files.
    by_name.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut problems = Vec::new();
    for rivals in by_name.chunk_by(|(a, _), (b, _)| a == b).filter(|rivals| rivals.len() > 1) {
        let rivals: Vec<&Claim<'_>> = rivals.iter().map(|(_, claim)| *claim).collect();
        let holder = match rivals.iter().filter(|claim| claim.is_loaded).collect::<Vec<_>>()[..] {
            [one] => Some(*one),
            _ => None,
        };
        for claim in &rivals {
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
