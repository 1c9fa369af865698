use std::sync::Arc;

use globset::{Glob, GlobSet, GlobSetBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Armed, Chain, Parents, TriggerContext, TriggerKind, When};
use crate::model::{Fault, JobName, TriggeredBy};

/// The ends of other jobs' runs.
///
/// Exact names: due once each of them has ended so since this job's last firing. Patterns such as `etl/*` or `*`: due at each
/// end of any of them. A job never waits for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-short" = "jobs", "examples" = [{ "jobs": ["etl/load"], "when": "success" }, { "jobs": ["*"], "when": "failure" }]))]
pub struct After {
    /// The jobs: exact names, all of which have to end; or patterns, any of which.
    #[schemars(length(min = 1, max = 1_000), extend("x-expects" = "a list of jobs' names or patterns such as `[\"etl/*\"]`"))]
    pub jobs: Vec<String>,
    /// How their runs have to end.
    #[serde(default)]
    pub when: When,
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', ']', '{', '}'])
}

impl After {
    /// The jobs that are named exactly, each with its place in the list.
    fn exact_names(&self) -> impl Iterator<Item = (usize, &str)> {
        self.jobs.iter().enumerate().filter(|(_, name)| !is_pattern(name)).map(|(at, name)| (at, name.as_str()))
    }

    fn patterns(&self) -> Result<GlobSet, globset::Error> {
        let mut set = GlobSetBuilder::new();
        for pattern in &self.jobs {
            set.add(Glob::new(pattern)?);
        }
        set.build()
    }
}

impl TriggerKind for After {
    fn triggered_by(&self) -> TriggeredBy {
        TriggeredBy::After
    }

    fn problems(&self, context: TriggerContext<'_>) -> Vec<Fault> {
        let mut faults = Vec::new();
        let patterns = self.jobs.iter().filter(|name| is_pattern(name)).count();
        if patterns > 0 && patterns < self.jobs.len() {
            let message = "names and patterns are mixed: of names all have to end, of patterns any";
            faults.push(
                Fault::error("/jobs", message).help("write a job for each, or write names only or patterns only"),
            );
        }
        for (at, name) in self.jobs.iter().enumerate() {
            let pointer = format!("/jobs/{at}");
            if is_pattern(name) {
                if let Err(error) = Glob::new(name) {
                    faults.push(Fault::error(pointer, format!("`{name}` is not a pattern: {}", error.kind())));
                }
            } else if name == context.job {
                let fault = Fault::error(pointer, "a job cannot wait for its own end");
                faults.push(fault.help("for runs one after another write `every:`, or remove the name"));
            } else if let Err(error) = JobName::new(name) {
                faults.push(Fault::error(pointer, error.to_string()));
            } else if self.jobs[..at].contains(name) {
                faults.push(Fault::error(pointer, format!("`{name}` is named twice")).help("remove one of the two"));
            }
        }
        faults
    }

    fn arm(&self, context: TriggerContext<'_>) -> Option<Armed> {
        if !self.problems(context).is_empty() {
            return None;
        }
        let parents = match self.exact_names().count() {
            0 => Parents::Any(self.patterns().ok()?),
            _ => Parents::All(self.jobs.iter().filter_map(|name| JobName::new(name).ok()).collect()),
        };
        Some(Armed::AtEnds(Arc::new(Chain { parents, when: self.when })))
    }

    fn named_jobs(&self) -> Vec<(String, &str)> {
        self.exact_names().map(|(at, name)| (format!("/jobs/{at}"), name)).collect()
    }

    fn words(&self, _: TriggerContext<'_>) -> String {
        let is_any = self.exact_names().count() == 0;
        let how = match self.when {
            When::Success => "has succeeded",
            When::Failure => "has failed",
            When::Always => "has ended",
        };
        match &self.jobs[..] {
            [one] if is_any => format!("after any job that matches {one} {how}"),
            [one] => format!("after {one} {how}"),
            jobs if is_any => format!("after any job that matches {} {how}", jobs.join(" or ")),
            jobs => format!("after each of {} {how}", jobs.join(", ")),
        }
    }

    fn written(&self) -> Vec<String> {
        vec![format!("after {}", self.jobs.join(", "))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(jobs: &[&str], when: When) -> After {
        After { jobs: jobs.iter().map(|job| job.to_string()).collect(), when }
    }

    fn problems(jobs: &[&str]) -> Vec<String> {
        let zone = jiff::tz::TimeZone::UTC;
        let context = TriggerContext::of("own", &zone);
        after(jobs, When::Success).problems(context).into_iter().map(|fault| fault.message).collect()
    }

    fn chain(jobs: &[&str]) -> Arc<Chain> {
        match after(jobs, When::Always).arm(TriggerContext::of("own", &jiff::tz::TimeZone::UTC)) {
            Some(Armed::AtEnds(chain)) => chain,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_can_be_seen_in_one_file_is_refused_there() {
        assert_eq!(problems(&["a", "etl/load"]), [""; 0]);
        assert_eq!(problems(&["own"]), ["a job cannot wait for its own end"]);
        assert_eq!(problems(&["a", "a"]), ["`a` is named twice"]);
        assert_eq!(problems(&["a", "b*"]), ["names and patterns are mixed: of names all have to end, of patterns any"]);
        assert_eq!(problems(&["a b"]).len(), 1);
        assert_eq!(problems(&["[z"]).len(), 1);
    }

    #[test]
    fn a_star_stands_for_any_part_of_a_name_and_never_for_the_job_itself() {
        let name = |name: &str| JobName::new(name).unwrap();
        let own = name("own");
        assert!(chain(&["*"]).waits_for(&name("etl/load"), &own));
        assert!(!chain(&["*"]).waits_for(&own, &own));
        assert!(chain(&["etl/*"]).waits_for(&name("etl/deep/load"), &own));
        assert!(!chain(&["etl/*"]).waits_for(&name("other/load"), &own));
        assert!(chain(&["a", "b"]).waits_for(&name("b"), &own));
        assert!(!chain(&["a", "b"]).waits_for(&name("c"), &own));
    }

    #[test]
    fn the_words_say_who_and_how() {
        let zone = jiff::tz::TimeZone::UTC;
        let context = TriggerContext::of("own", &zone);
        let words = |jobs: &[&str], when| after(jobs, when).words(context);
        assert_eq!(words(&["a"], When::Success), "after a has succeeded");
        assert_eq!(words(&["a", "b"], When::Always), "after each of a, b has ended");
        assert_eq!(words(&["*"], When::Failure), "after any job that matches * has failed");
    }
}
