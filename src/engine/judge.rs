//! What becomes of due times that have passed: which of them run, and why the others do not.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::event::Owed;
use super::job::{Job, MOST_COUNTED, Passed};
use crate::model::{Firing, Gap, GapKind, HumanDuration, RunId, TriggeredBy, rfc3339};
use crate::spec::CatchUpPolicy;

/// Lateness below this counts as none: a timer is never exact.
pub(super) const ON_TIME: SignedDuration = SignedDuration::from_secs(1);

/// What was decided about the due times of a job that have passed.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub gaps: Vec<Gap>,
    /// Runs that waited when the runner was killed, and now never begin.
    pub drops: Vec<(RunId, Gap)>,
    /// These run, in this order; each with the run that waited for it already, if one did.
    pub firings: Vec<(Firing, Option<RunId>)>,
    /// They run one after another, whatever the job's overlap says.
    pub all: bool,
}

/// When and why due times were not handled in time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub now: Timestamp,
    /// The runner was away from then on.
    pub down_since: Option<Timestamp>,
    /// It was there and handled nothing from then on: that is when it should have been woken.
    pub held_since: Option<Timestamp>,
}

/// A due time with the trigger that it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Due {
    at: Timestamp,
    by: TriggeredBy,
    /// The run that waited for it when the runner was killed.
    run: Option<RunId>,
}

impl Due {
    fn owed(owed: &Owed) -> Self {
        Self { at: owed.due, by: owed.triggered_by, run: Some(owed.run) }
    }
}

/// Decides about all due times in `passed`, and in `owed`: those whose runs still waited when the runner was killed.
///
/// Several triggers that are due at one instant fire once. Which due times run is decided by the job's `misfire_grace` and
/// `catch_up`; the others are recorded with their reason, those of one trigger and reason as one.
pub(super) fn judge(job: &Job, passed: &[Passed], owed: &[Owed], look: Look) -> Verdict {
    let mut judge = Judge { job, look, verdict: Verdict::default() };
    if job.pause.is_some() {
        let owed_dues: Vec<Due> = owed.iter().map(Due::owed).collect();
        let twice = twice_of(job, &owed_dues);
        for one in passed {
            let is_twice = |at: &Timestamp| twice.iter().any(|due| due.by == one.triggered_by && due.at == *at);
            if !one.is_capped && twice.iter().any(|due| due.by == one.triggered_by) {
                for at in job.newest_of(one, one.count).into_iter().filter(|at| !is_twice(at)) {
                    judge.gap(GapKind::Skipped, "paused".into(), Due { at, by: one.triggered_by, run: None });
                }
            } else {
                judge.lump(GapKind::Skipped, "paused".into(), *one);
            }
        }
        for owed in owed {
            judge.gap(GapKind::Skipped, "paused".into(), Due::owed(owed));
        }
        return judge.verdict;
    }
    // A policy that is written holds for all triggers; else each has its own default.
    let policy_of = |by: TriggeredBy| {
        let default = if by == TriggeredBy::At { CatchUpPolicy::Last } else { CatchUpPolicy::None };
        job.spec.policies.catch_up.policy.unwrap_or(default)
    };
    for policy in [CatchUpPolicy::None, CatchUpPolicy::Last, CatchUpPolicy::All] {
        let passed: Vec<&Passed> = passed.iter().filter(|one| policy_of(one.triggered_by) == policy).collect();
        let owed: Vec<Due> = owed.iter().filter(|owed| policy_of(owed.triggered_by) == policy).map(Due::owed).collect();
        if !passed.is_empty() || !owed.is_empty() {
            judge.group(policy, &passed, owed);
        }
    }
    let mut verdict = judge.verdict;
    verdict.firings.sort_by_key(|(firing, _)| firing.due);
    verdict
}

/// No record may tell yet that a due time was handled whose run waited: then it has passed as well, and counts once.
fn twice_of(job: &Job, owed: &[Due]) -> Vec<Due> {
    owed.iter().filter(|due| due.at > job.handled && job.is_due_at(due.by, due.at)).copied().collect()
}

struct Judge<'a> {
    job: &'a Job,
    look: Look,
    verdict: Verdict,
}

impl Judge<'_> {
    /// Decides about the due times of all triggers with one policy.
    fn group(&mut self, policy: CatchUpPolicy, passed: &[&Passed], owed: Vec<Due>) {
        // How many of them may be looked at one by one.
        let most = MOST_COUNTED / passed.len().max(1) as u64;
        let wanted = match policy {
            CatchUpPolicy::All => u64::from(self.job.spec.policies.catch_up.max),
            CatchUpPolicy::None | CatchUpPolicy::Last => 1,
        };
        let twice = twice_of(self.job, &owed);
        let is_twice = |by: TriggeredBy, at: Timestamp| twice.iter().any(|due| due.by == by && due.at == at);
        let mut dues = owed;
        let mut has_older = false;
        for one in passed {
            if self.job.closed.is_some() && (one.is_capped || one.count > most) {
                let (newest, older) = self.open_of_many(policy, one, wanted, &twice);
                has_older |= older;
                let newest = newest.into_iter().filter(|at| !is_twice(one.triggered_by, *at));
                dues.extend(newest.map(|at| Due { at, by: one.triggered_by, run: None }));
                continue;
            }
            // Where none of them is closed or counts twice, only the newest matter.
            let is_simple = self.job.closed.is_none() && twice.is_empty();
            let most = if is_simple { wanted } else { most.max(wanted) };
            let mut newest = self.job.newest_of(one, most);
            if let Some(first) = newest.first().copied()
                && first > one.first
            {
                // A count that was capped may not hold these.
                let known = newest.len() as u64;
                let count = if one.is_capped { one.count } else { one.count.saturating_sub(known).max(1) };
                let older = Passed { newest: self.job.last_before(one, first), count, ..**one };
                has_older = true;
                self.lump(GapKind::Missed, self.why_missed(policy, one.newest), older);
            }
            newest.retain(|at| !is_twice(one.triggered_by, *at));
            dues.extend(newest.into_iter().map(|at| Due { at, by: one.triggered_by, run: None }));
        }
        dues.sort_by_key(|due| due.at);
        let dues = self.without_closed(dues);
        let Some(newest) = dues.last().map(|due| due.at) else { return };
        let is_in_time = self.late(newest) <= self.grace().max(ON_TIME);
        let is_alone = !has_older && dues.iter().all(|due| due.at == newest);
        let is_catching_up = match policy {
            CatchUpPolicy::None => false,
            CatchUpPolicy::Last => self.look.down_since.is_some() || !is_in_time,
            CatchUpPolicy::All => self.look.down_since.is_some() || !is_in_time || !is_alone,
        };
        if !is_catching_up {
            for due in dues {
                if is_in_time && due.at == newest {
                    self.fire(due, due.by);
                } else {
                    self.gap(GapKind::Missed, self.why_missed(policy, newest), due);
                }
            }
            return;
        }
        let within = self.job.spec.policies.catch_up.within;
        let mut instants: Vec<Timestamp> = dues.iter().map(|due| due.at).collect();
        instants.dedup();
        let from = instants[instants.len().saturating_sub(wanted as usize)];
        for due in dues {
            if due.at < from {
                self.gap(GapKind::Missed, self.why_missed(policy, newest), due);
            } else if self.late(due.at) > signed(within) {
                let reason = format!("{}; older than catch_up.within, {within}", self.away());
                self.gap(GapKind::Missed, reason, due);
            } else {
                self.fire(due, TriggeredBy::CatchUp);
                self.verdict.all |= policy == CatchUpPolicy::All;
            }
        }
    }

    /// Of very many due times of one trigger, the newest `most` at which the job did not rest; the others are recorded. Goes from
    /// rest to rest instead of from due time to due time. Says as well whether there were older ones at which it did not rest.
    fn open_of_many(
        &mut self,
        policy: CatchUpPolicy,
        one: &Passed,
        most: u64,
        twice: &[Due],
    ) -> (Vec<Timestamp>, bool) {
        let Some(closed) = self.job.closed.clone() else { return (Vec::new(), false) };
        let mut rests: Vec<(Arc<str>, Passed)> = Vec::new();
        let mut open: Vec<Passed> = Vec::new();
        let (mut rests_left, mut open_left) = (MOST_COUNTED, MOST_COUNTED);
        let nanosecond = SignedDuration::from_nanos(1);
        let mut next = Some(one.first);
        while let Some(first) = next {
            let until = closed.changes_after(first, one.newest + nanosecond) - nanosecond;
            let reason = closed.reason_at(first);
            let left = if reason.is_some() { &mut rests_left } else { &mut open_left };
            let mut part = self.job.part(one.triggered_by, first, until, (*left).max(1));
            next = self.job.next_of(one.triggered_by, part.newest).filter(|next| *next <= one.newest);
            // What is told by the run that waited for it is not told here as well.
            let is_inside = |due: &&Due| due.by == one.triggered_by && (first..=part.newest).contains(&due.at);
            let (found, told) = (part.count, twice.iter().filter(is_inside).count() as u64);
            if *left == 0 {
                (part.count, part.is_capped) = (0, true);
            } else if !part.is_capped && told >= found {
                continue;
            } else {
                part.count -= told.min(found - 1);
            }
            *left = left.saturating_sub(found);
            let Some(reason) = reason else {
                open.push(part);
                continue;
            };
            match rests.iter_mut().find(|(own, _)| *own == reason) {
                Some((_, all)) => all.extend(part),
                None => rests.push((reason, part)),
            }
        }
        for (reason, all) in rests {
            self.lump(GapKind::Skipped, reason.as_ref().into(), all);
        }
        let Some(newest) = open.last().map(|part| part.newest) else { return (Vec::new(), false) };
        let mut found: Vec<Timestamp> = Vec::new();
        while (found.len() as u64) < most
            && let Some(part) = open.pop()
        {
            let mut newest = self.job.newest_of(&part, most - found.len() as u64);
            if let Some(first) = newest.first().copied()
                && first > part.first
            {
                let count = part.count.saturating_sub(newest.len() as u64).max(1);
                open.push(Passed { newest: self.job.last_before(&part, first), count, ..part });
            }
            newest.append(&mut found);
            found = newest;
        }
        let older = open.into_iter().reduce(|mut all, part| {
            all.extend(part);
            all
        });
        if let Some(all) = older {
            let reason = self.why_missed(policy, newest);
            self.lump(GapKind::Missed, reason, all);
        }
        (found, older.is_some())
    }

    /// Passes over what lies in a time in which the job rests.
    fn without_closed(&mut self, dues: Vec<Due>) -> Vec<Due> {
        if self.job.closed.is_none() {
            return dues;
        }
        let mut open = Vec::new();
        for due in dues {
            match self.job.closed_at(due.at) {
                Some(reason) => self.gap(GapKind::Skipped, Arc::clone(&reason).as_ref().into(), due),
                None => open.push(due),
            }
        }
        open
    }

    fn fire(&mut self, due: Due, by: TriggeredBy) {
        if let Some(same) = self.verdict.firings.iter_mut().find(|(other, _)| other.due == due.at) {
            // The interval's grid goes on from it as well.
            if due.by == TriggeredBy::Interval {
                same.0.due_of = TriggeredBy::Interval;
            }
            match (same.1, due.run) {
                (None, run) => same.1 = run,
                (Some(_), Some(_)) => self.gap(GapKind::Missed, "another run waited for the same due time".into(), due),
                (Some(_), None) => {}
            }
        } else {
            let firing = Firing::new(self.job.name.clone(), by, due.at);
            self.verdict.firings.push((Firing { due_of: due.by, ..firing }, due.run));
        }
    }

    /// One due time that does not run, added to those before it of the same trigger and reason.
    fn gap(&mut self, kind: GapKind, reason: String, due: Due) {
        let job = self.job.name.clone();
        let reason = match due.run {
            Some(_) => format!("its run waited when the runner was killed; {reason}"),
            None => reason,
        };
        let alone = Gap { kind, job, triggered_by: due.by, reason, due: due.at, until: due.at, count: 1 };
        if let Some(run) = due.run {
            self.verdict.drops.push((run, alone));
            return;
        }
        let reason = &alone.reason;
        let fits = |gap: &&mut Gap| {
            gap.triggered_by == due.by && gap.kind == kind && gap.reason == *reason && gap.until <= due.at
        };
        if let Some(gap) = self.verdict.gaps.iter_mut().rfind(fits) {
            gap.until = due.at;
            gap.count += 1;
            return;
        }
        self.verdict.gaps.push(alone);
    }

    /// Many due times of one trigger that do not run.
    fn lump(&mut self, kind: GapKind, reason: String, of: Passed) {
        let Passed { triggered_by, first: due, newest: until, count, is_capped } = of;
        let reason = if is_capped { format!("{reason} (counted up to {MOST_COUNTED})") } else { reason };
        let job = self.job.name.clone();
        self.verdict.gaps.push(Gap { kind, job, triggered_by, reason, due, until, count: count.max(1) });
    }

    fn late(&self, due: Timestamp) -> SignedDuration {
        self.look.now.duration_since(due)
    }

    fn grace(&self) -> SignedDuration {
        signed(self.job.spec.policies.misfire_grace)
    }

    fn away(&self) -> String {
        match self.look.down_since {
            Some(since) => format!("the runner was down from {} to {}", rfc3339(since), rfc3339(self.look.now)),
            None => match self.held() {
                Some(held) => format!("it was handled late: {held}"),
                None => "it was handled late".into(),
            },
        }
    }

    /// When nothing was handled though the runner was there, in words.
    fn held(&self) -> Option<String> {
        let since = self.look.held_since?;
        Some(format!("nothing was handled from {} to {}", rfc3339(since), rfc3339(self.look.now)))
    }

    /// Why a due time that is not the newest one, or is too late, does not run.
    fn why_missed(&self, policy: CatchUpPolicy, newest: Timestamp) -> String {
        let is_in_time = self.late(newest) <= self.grace().max(ON_TIME);
        let held = || self.held().map(|held| format!("; {held}")).unwrap_or_default();
        match (policy, self.look.down_since) {
            (CatchUpPolicy::None, Some(_)) => self.away(),
            (CatchUpPolicy::None, None) if is_in_time => {
                format!("several due times had passed, only the newest runs{}", held())
            }
            (CatchUpPolicy::None, None) => {
                let grace = self.job.spec.policies.misfire_grace;
                format!("handled later than the misfire_grace of {grace}{}", held())
            }
            (CatchUpPolicy::Last, _) => format!("{}; catch_up runs only the newest", self.away()),
            (CatchUpPolicy::All, _) => {
                format!("{}; catch_up runs only the newest {}", self.away(), self.job.spec.policies.catch_up.max)
            }
        }
    }
}

fn signed(duration: HumanDuration) -> SignedDuration {
    SignedDuration::try_from(duration.0).unwrap_or(SignedDuration::MAX)
}
