//! Whether what jobs name is there: other jobs, whose chains must not go in circles, and pools.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::{Catalog, JobFile};
use crate::model::Problem;
use crate::spec::{JobSpec, Reference, Target, nearest};
use crate::trigger::Trigger;

/// Whom each job waits for, by name.
type Graph<'a> = HashMap<&'a str, Vec<&'a str>>;

impl Catalog {
    /// Finds out which files name what is not there, or close a circle.
    pub(super) fn find_dangling(&mut self) {
        if self.files.values().all(|file| file.references().is_empty() && file.dangling.is_empty()) {
            return;
        }
        let mut dangling: BTreeMap<String, Vec<Problem>> = BTreeMap::new();
        let names: HashSet<&str> = self.files.values().map(|file| file.name.as_str()).collect();
        for (path, file) in &self.files {
            let missing = file.references().iter().filter_map(|reference| self.missing(reference, &names));
            let missing: Vec<Problem> = missing.collect();
            if !missing.is_empty() {
                dangling.insert(path.clone(), missing);
            }
        }
        // A file that is refused goes on as what it was, and waits as that did: so it is looked again until nothing changes.
        loop {
            let circles = self.circles(&dangling);
            if circles.is_empty() {
                break;
            }
            dangling.extend(circles);
        }
        for (path, file) in &mut self.files {
            file.dangling = dangling.remove(path).unwrap_or_default();
        }
    }

    fn missing(&self, reference: &Reference, names: &HashSet<&str>) -> Option<Problem> {
        match &reference.to {
            Target::Job(name) if !names.contains(name.as_str()) => {
                let problem = reference.error(format!("there is no job `{name}`"));
                Some(match nearest(name, names.iter().copied()) {
                    Some(meant) => problem.help(format!("did you mean `{meant}`?")),
                    None => {
                        problem.help("a job is named by its path below `jobs/` without the ending, such as `etl/load`")
                    }
                })
            }
            Target::Pool(name) if !self.settings.in_force.pools.contains_key(name) => {
                let pools = &self.settings.in_force.pools;
                let problem = reference.error(format!("there is no pool `{name}`"));
                Some(match nearest(name, pools.keys().map(String::as_str)) {
                    Some(meant) => problem.help(format!("did you mean `{meant}`?")),
                    None => problem.help(format!("add it to runner.yaml: `pools: {{ {name}: 3 }}`")),
                })
            }
            Target::Holidays(file) => match self.holidays.get(file) {
                Some(Err(error)) => Some(reference.error(format!("the holidays in `{file}` cannot be read: {error}"))),
                _ => None,
            },
            Target::Job(_) | Target::Pool(_) => None,
        }
    }

    /// The newcomers that close a circle of chains; what was loaded before is not to blame.
    fn circles(&self, refused: &BTreeMap<String, Vec<Problem>>) -> BTreeMap<String, Vec<Problem>> {
        let mut graph = Graph::new();
        let mut newcomers: Vec<(&String, &JobFile)> = Vec::new();
        for (path, file) in &self.files {
            let spec = match (&file.good, &file.in_force) {
                (Some(good), in_force) if !refused.contains_key(path) && file.clash.is_none() => {
                    if !in_force.as_ref().is_some_and(|job| job.is_of(good)) {
                        newcomers.push((path, file));
                    }
                    &good.spec
                }
                (_, Some(job)) => &job.spec,
                (_, None) => continue,
            };
            graph.insert(&file.name, parents(spec));
        }
        cut_loose_ends(&mut graph);
        let mut found = BTreeMap::new();
        for (path, file) in newcomers {
            let own = file.name.as_str();
            let circle = file.references().iter().find_map(|reference| match &reference.to {
                Target::Job(parent) => Some((reference, way(&graph, own, parent)?)),
                Target::Pool(_) | Target::Holidays(_) => None,
            });
            if let Some((reference, names)) = circle {
                let message = format!("the chain goes in a circle: {}", names.join(" waits for "));
                found.insert(path.clone(), vec![reference.error(message).help("leave one of them out")]);
            }
        }
        found
    }
}

impl JobFile {
    /// Whether a file that is good by itself cannot be taken.
    pub(super) fn is_refused(&self) -> bool {
        self.clash.is_some() || !self.dangling.is_empty()
    }

    pub(super) fn references(&self) -> &[Reference] {
        self.good.as_ref().map(|good| &*good.references).unwrap_or_default()
    }
}

fn parents(spec: &JobSpec) -> Vec<&str> {
    spec.triggers.iter().flat_map(Trigger::named_jobs).map(|(_, name)| name).collect()
}

/// Takes away, again and again, the jobs that wait for nobody who is left. What stays are circles and what waits for them.
fn cut_loose_ends(graph: &mut Graph<'_>) {
    let mut children: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut open: HashMap<&str, usize> = HashMap::new();
    for (job, parents) in graph.iter() {
        let known: Vec<&str> = parents.iter().copied().filter(|parent| graph.contains_key(parent)).collect();
        open.insert(job, known.len());
        for parent in known {
            children.entry(parent).or_default().push(job);
        }
    }
    let mut free: Vec<&str> = open.iter().filter(|(_, count)| **count == 0).map(|(job, _)| *job).collect();
    while let Some(job) = free.pop() {
        graph.remove(job);
        for child in children.get(job).into_iter().flatten() {
            if let Some(count) = open.get_mut(child) {
                *count -= 1;
                if *count == 0 {
                    free.push(child);
                }
            }
        }
    }
}

/// The jobs on the shortest way on which `own`, waiting for `parent`, waits for itself.
fn way<'a>(graph: &Graph<'a>, own: &'a str, parent: &'a str) -> Option<Vec<&'a str>> {
    let mut from: HashMap<&str, &str> = HashMap::from([(parent, own)]);
    let mut next = VecDeque::from([parent]);
    while let Some(job) = next.pop_front() {
        if job == own {
            let mut names = vec![own];
            let mut at = *from.get(own)?;
            while at != own {
                names.push(at);
                at = from.get(at)?;
            }
            names.push(own);
            names.reverse();
            return Some(names);
        }
        for waits_for in graph.get(job).into_iter().flatten() {
            if !from.contains_key(waits_for) {
                from.insert(waits_for, job);
                next.push_back(waits_for);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_found_by_its_shortest_way_and_loose_ends_are_cut() {
        let mut graph: Graph<'_> = HashMap::from([
            ("a", vec!["b", "x"]),
            ("b", vec!["c"]),
            ("c", vec!["d", "a"]),
            ("d", vec!["a"]),
            ("x", vec![]),
            ("y", vec!["x"]),
            ("waits", vec!["a"]),
        ]);
        cut_loose_ends(&mut graph);
        let mut left: Vec<&str> = graph.keys().copied().collect();
        left.sort_unstable();
        assert_eq!(left, ["a", "b", "c", "d", "waits"]);
        assert_eq!(way(&graph, "a", "b"), Some(vec!["a", "b", "c", "a"]));
        assert_eq!(way(&graph, "waits", "a"), None);
    }

    #[test]
    fn a_long_line_of_jobs_is_no_work() {
        let names: Vec<String> = (0..20_000).map(|n| format!("job{n}")).collect();
        let mut graph: Graph<'_> = names.windows(2).map(|pair| (&*pair[1], vec![&*pair[0]])).collect();
        graph.insert(&names[0], Vec::new());
        let begun = std::time::Instant::now();
        cut_loose_ends(&mut graph);
        assert!(graph.is_empty());
        assert!(begun.elapsed().as_secs() < 2);
    }
}
