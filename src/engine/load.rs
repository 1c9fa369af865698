//! A new generation comes in force.

use jiff::{SignedDuration, Timestamp};

use super::chains::{self, Arrival};
use super::decision::Decision;
use super::ends::Unbegun;
use super::event::{Change, Entry, Memory, Owed, Starting};
use super::job::Job;
use super::judge::Look;
use super::machine::{CORRECTION, Engine, is_current};
use crate::model::{Firing, Gap, GapKind, JobName, Parent, RunId, TriggeredBy, rfc3339};
use crate::spec::CatchUpPolicy;

impl Engine {
    pub(super) fn load(
        &mut self,
        changes: Vec<Change>,
        starting: Option<Starting>,
        now: Timestamp,
        decisions: &mut Vec<Decision>,
    ) {
        let mut from_the_future = None;
        let mut remembered = Vec::new();
        for change in changes {
            match change {
                Change::Put(entry) => {
                    let name = entry.name.clone();
                    let memory = self.put(*entry, starting, now, &mut from_the_future, decisions);
                    let is_news = !memory.owed.is_empty() || !memory.arrived.is_empty() || !memory.cut_short.is_empty();
                    if starting.is_some() && is_news {
                        remembered.push((name, memory));
                    }
                }
                Change::Removed(name) => self.remove(&name, now, decisions),
            }
        }
        if let Some(from) = from_the_future {
            decisions.push(Decision::ClockCorrected { from, to: now });
        }
        self.loaded = true;
        let Self { slots, due, by_name, .. } = self;
        due.tidy(by_name.len(), |due, slot| is_current(slots, due, slot));
        let Some(Starting { down_since }) = starting else { return };
        for (name, memory) in &mut remembered {
            // What passed before the end of a pause is accounted for with that, and no record tells of it yet.
            let job = self.job(name).filter(|job| job.pause.is_some_and(|pause| pause.is_over(now)));
            if let Some((job, Some(until))) = job.map(|job| (job, job.pause.and_then(|pause| pause.until))) {
                memory.owed.retain(|owed| {
                    let is_passed = owed.due > job.handled && owed.due < until;
                    !(is_passed && job.is_due_at(owed.triggered_by, owed.due))
                });
            }
        }
        self.end_pauses(now, decisions);
        for (name, memory) in remembered {
            self.remember(&name, memory, self.look(now, down_since), decisions);
        }
        if down_since.is_some() {
            self.fire_due(now, down_since, decisions);
        }
    }

    fn put(
        &mut self,
        entry: Entry,
        starting: Option<Starting>,
        now: Timestamp,
        from_the_future: &mut Option<Timestamp>,
        decisions: &mut Vec<Decision>,
    ) -> Memory {
        let last_due = entry.memory.last_due;
        // Nothing is due before the job was there, also where the clock has gone back a little since; if it went back far, it
        // was wrong.
        let is_from_the_future = entry.first_loaded.duration_since(now) > CORRECTION;
        let first_loaded = if is_from_the_future { Timestamp::MIN } else { entry.first_loaded };
        let handled = match starting {
            // Known before: what has passed since is accounted for under the spec that is loaded now.
            Some(Starting { down_since: Some(since) }) if entry.first_loaded != now => {
                let known = last_due.unwrap_or(since).max(since);
                let known = known.max(first_loaded);
                // A record from the future comes from a clock that was wrong.
                if known.duration_since(now) > CORRECTION {
                    *from_the_future = (*from_the_future).max(Some(known));
                    now
                } else {
                    known
                }
            }
            // New to the engine. What ran before a small step back of the clock does not run again.
            _ => last_due.filter(|due| due.duration_since(now) <= CORRECTION).map_or(now, |due| due.max(now)),
        };
        let (mut job, at_start, memory) = Job::new(entry, handled);
        if job.anchor.duration_since(now) > CORRECTION {
            job.anchor = now;
        }
        job.pause = self.pauses.get(&job.name).copied();
        self.chains.put(&job.name, job.after.as_deref());
        let name = job.name.clone();
        let spec = job.spec.clone();
        let slot = match self.by_name.get(&name) {
            Some(slot) => {
                let slot = *slot;
                if let Some(before) = &self.slots[slot as usize] {
                    // No due time runs twice, also where the clock went back a little before the reload.
                    job.last_due = before.last_due;
                    job.handled = job.handled.max(first_loaded).max(before.last_due.unwrap_or(job.handled));
                    // The grid goes on; where nothing has come due on it yet, another jitter moves it.
                    if before.interval_due.is_some() || before.spec.policies.jitter == spec.policies.jitter {
                        (job.anchor, job.interval_due) = (before.anchor, before.interval_due);
                    }
                    self.respec_waiting(&name, &before.spec.clone(), &spec);
                }
                self.slots[slot as usize] = Some(job);
                if !spec.about.enabled {
                    self.drop_what_waits(&name, now, decisions);
                }
                self.advance(&name, now, decisions);
                slot
            }
            None => {
                if let (failed @ 1.., Some(at)) = (memory.failed_in_row, memory.failed_at) {
                    // A failure from the future does not make the job rest longer than its cooldown.
                    self.breakers.restore(&name, failed, at.min(now));
                }
                let slot = self.free.pop().unwrap_or_else(|| {
                    self.slots.push(None);
                    self.slots.len() as u32 - 1
                });
                self.slots[slot as usize] = Some(job);
                self.by_name.insert(name.clone(), slot);
                slot
            }
        };
        self.schedule(slot);
        if starting.is_some() && at_start && !self.stopping {
            let firing = Firing::new(name, TriggeredBy::Start, now);
            if self.pauses.get(&firing.job).is_some_and(|pause| !pause.is_over(now)) {
                decisions.push(Decision::Gap(skipped(&firing, "paused".into())));
            } else if let Some(reason) = self.job(&firing.job).and_then(|job| job.closed_at(now)) {
                decisions.push(Decision::Gap(skipped(&firing, reason.as_ref().into())));
            } else {
                self.fire(firing, &spec, false, now, decisions);
            }
        }
        memory
    }

    fn remove(&mut self, name: &JobName, now: Timestamp, decisions: &mut Vec<Decision>) {
        let Some(slot) = self.by_name.remove(name) else { return };
        self.slots[slot as usize] = None;
        self.free.push(slot);
        self.chains.remove(name);
        self.breakers.forget(name);
        self.backlogs.forget(name);
        for run in self.not_under_way(name) {
            let reason = "the job was removed while the run waited for its turn";
            self.give_up(run, reason, Unbegun::Skipped, now, decisions);
        }
    }

    /// A job is disabled: what its triggers made due and has not begun never does. A run between two attempts goes on, and so
    /// does what a person asked for.
    fn drop_what_waits(&mut self, name: &JobName, now: Timestamp, decisions: &mut Vec<Decision>) {
        let waiting: Vec<RunId> = self
            .waiting_runs()
            .filter(|(_, firing, attempt)| {
                firing.job == *name && *attempt == 1 && firing.triggered_by != TriggeredBy::Manual
            })
            .map(|(run, ..)| *run)
            .collect();
        for run in waiting {
            let reason = "the job was disabled while the run waited for its turn";
            self.give_up(run, reason, Unbegun::Skipped, now, decisions);
        }
    }

    /// What happened before the start and had no consequence yet.
    fn remember(&mut self, name: &JobName, memory: Memory, look: Look, decisions: &mut Vec<Decision>) {
        let Some(slot) = self.by_name.get(name).copied() else { return };
        let by_time = |by: TriggeredBy| {
            matches!(by, TriggeredBy::Cron | TriggeredBy::Interval | TriggeredBy::At | TriggeredBy::CatchUp)
        };
        let is_enabled = self.job(name).is_some_and(|job| job.spec.about.enabled);
        let (timed, others): (Vec<_>, Vec<_>) = memory.owed.into_iter().partition(|owed| by_time(owed.triggered_by));
        if !is_enabled {
            for Owed { run, triggered_by, due } in timed.into_iter().chain(others) {
                let firing = Firing::new(name.clone(), triggered_by, due);
                let reason = "its run waited when the runner was killed, and the job is disabled now".into();
                decisions.push(Decision::Drop { run, gap: skipped(&firing, reason) });
            }
            return;
        }
        self.run_again(name, memory.cut_short, look.now, decisions);
        for Owed { run, triggered_by, due } in others {
            let firing = Firing::new(name.clone(), triggered_by, due);
            let gap =
                Gap { kind: GapKind::Missed, ..skipped(&firing, "the runner was killed while the run waited".into()) };
            decisions.push(Decision::Drop { run, gap });
        }
        if !timed.is_empty() {
            // Handled before the clock went back a little: it does not come again.
            let newest = timed.iter().map(|owed| owed.due).filter(|due| *due > look.now).max();
            if let (Some(newest), Some(job)) = (newest, &mut self.slots[slot as usize]) {
                job.handled = job.handled.max(newest);
                job.last_due = job.last_due.max(Some(newest));
            }
            self.account_for(slot, &timed, look, decisions);
        }
        self.remember_chain(name, memory.arrived, look, decisions);
    }

    /// Runs that a crash cut short, where the job is to be run again then.
    fn run_again(
        &mut self,
        name: &JobName,
        cut_short: Vec<(Timestamp, Vec<Parent>)>,
        now: Timestamp,
        decisions: &mut Vec<Decision>,
    ) {
        let Some(job) = self.job(name).filter(|job| job.spec.policies.rerun_interrupted) else { return };
        let spec = job.spec.clone();
        for (due, parents) in cut_short {
            let firing = Firing { parents, ..Firing::new(name.clone(), TriggeredBy::Rerun, due) };
            self.fire(firing, &spec, true, now, decisions);
        }
    }

    /// The firings of a chain that nobody handled: those that are not too late run.
    fn remember_chain(
        &mut self,
        name: &JobName,
        arrived: Vec<(Parent, Timestamp)>,
        look: Look,
        decisions: &mut Vec<Decision>,
    ) {
        let Some((chain, spec)) = self.job(name).and_then(|job| Some((job.after.clone()?, job.spec.clone()))) else {
            return;
        };
        let mut firings = Vec::new();
        for (parent, at) in arrived {
            if chain.waits_for(&parent.job, name)
                && chain.when.is_met_by(parent.status)
                && let Some(arrivals) = self.chains.arrive(name, &chain, Arrival::new(parent, &[], at.min(look.now)))
            {
                firings.extend(chains::firing(name, arrivals));
            }
        }
        let policies = &spec.policies;
        let may_be_late = match policies.catch_up.policy.unwrap_or(CatchUpPolicy::None) {
            CatchUpPolicy::None => policies.misfire_grace,
            CatchUpPolicy::Last | CatchUpPolicy::All => policies.catch_up.within,
        };
        let may_be_late = SignedDuration::try_from(may_be_late.0).unwrap_or(SignedDuration::MAX);
        let away = match look.down_since {
            Some(since) => format!("the runner was down from {} to {}", rfc3339(since), rfc3339(look.now)),
            None => "the runner was down".to_string(),
        };
        for firing in firings {
            if look.now.duration_since(firing.due) <= may_be_late {
                self.fire_chain(firing, look.now, decisions);
                continue;
            }
            let parents: Vec<&str> = firing.parents.iter().map(|parent| parent.job.as_str()).collect();
            let reason = format!("due after {}, too late: {away}", parents.join(", "));
            decisions.push(Decision::Gap(Gap { kind: GapKind::Missed, ..skipped(&firing, reason) }));
        }
    }
}

/// A firing that does not become a run.
pub(super) fn skipped(firing: &Firing, reason: String) -> Gap {
    Gap {
        kind: GapKind::Skipped,
        job: firing.job.clone(),
        triggered_by: firing.due_of,
        reason,
        due: firing.due,
        until: firing.due,
        count: 1,
    }
}
