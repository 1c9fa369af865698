use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::machine::Settings;
use crate::model::RunId;
use crate::spec::{Pool, Rate};

/// Who has a place among the runs that may be active at once, and who waits for one.
///
/// Of the runs that wait the one that has waited longest goes first, each step of priority counting like a minute of
/// waiting: a run of the lowest priority is overtaken only by those that come within nine minutes after it, so none starves.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    max: usize,
    in_use: usize,
    pools: BTreeMap<String, State>,
    /// Runs that wait and belong to no pool.
    free: BTreeSet<Key>,
    waiting: HashMap<RunId, (Key, Option<String>)>,
    arrivals: u64,
}

#[derive(Debug, Clone, Default)]
struct State {
    max: Option<usize>,
    rate: Option<Rate>,
    in_use: usize,
    /// When its latest runs began: as many as the rate allows in its span, and some more, as it may be raised.
    begun: VecDeque<Timestamp>,
    waiting: BTreeSet<Key>,
}

/// The smallest goes first: by the time it came, less a minute for each step of priority, then by arrival.
type Key = (i64, u64, RunId);

const STEP_MS: i64 = 60_000;

/// So many begins are remembered of each pool, whatever its rate.
const BEGINS: usize = 1_000;

/// A pool that is named and that nobody has told of: it had limits once, so one run at a time goes through.
fn unknown() -> State {
    State { max: Some(1), ..State::default() }
}

impl Places {
    pub fn new(settings: &Settings) -> Self {
        let mut places = Self::default();
        places.configure(settings, &HashSet::new());
        places
    }

    /// Puts other limits in force. Runs that have a place keep it. A pool that goes limits on as before those that name it: its
    /// runs, those that wait for it, and jobs, whose pools are `named`.
    pub fn configure(&mut self, settings: &Settings, named: &HashSet<&str>) {
        self.max = settings.max_concurrent_runs as usize;
        self.pools.retain(|name, state| {
            let is_used = state.in_use > 0 || !state.waiting.is_empty() || named.contains(name.as_str());
            is_used || settings.pools.contains_key(name)
        });
        for (name, Pool { max, rate }) in &settings.pools {
            let state = self.pools.entry(name.clone()).or_default();
            (state.max, state.rate) = (max.map(|max| max as usize), *rate);
        }
    }

    fn set_of(&mut self, pool: Option<&str>) -> &mut BTreeSet<Key> {
        match pool {
            Some(pool) => &mut self.pools.entry(pool.to_string()).or_insert_with(unknown).waiting,
            None => &mut self.free,
        }
    }

    /// Whether a run may begin now.
    pub fn has_room(&self, pool: Option<&str>, now: Timestamp) -> bool {
        self.in_use < self.max && pool.and_then(|pool| self.pools.get(pool)).is_none_or(|state| state.has_room(now))
    }

    /// Whether a run that comes now begins at once: there is room, and nobody waits who may begin. Nobody goes before those.
    pub fn lets_in(&self, pool: Option<&str>, now: Timestamp) -> bool {
        self.has_room(pool, now) && self.next(now).is_none()
    }

    /// A run begins.
    pub fn take(&mut self, pool: Option<&str>, now: Timestamp) {
        self.in_use += 1;
        if let Some(pool) = pool {
            let state = self.pools.entry(pool.to_string()).or_insert_with(unknown);
            state.in_use += 1;
            state.begun.push_back(now);
            let most = state.rate.map_or(0, |rate| rate.count as usize).max(BEGINS);
            while state.begun.len() > most {
                state.begun.pop_front();
            }
        }
    }

    /// A run of an earlier runner began then: it counts into the pool's rate.
    pub fn began(&mut self, pool: &str, at: Timestamp) {
        if let Some(state) = self.pools.get_mut(pool)
            && state.rate.is_some()
        {
            let place = state.begun.partition_point(|other| *other <= at);
            state.begun.insert(place, at);
        }
    }

    /// A run that had a place has ended.
    pub fn release(&mut self, pool: Option<&str>) {
        self.in_use = self.in_use.saturating_sub(1);
        if let Some(state) = pool.and_then(|pool| self.pools.get_mut(pool)) {
            state.in_use = state.in_use.saturating_sub(1);
        }
    }

    /// A run waits from now on.
    pub fn wait(&mut self, run: RunId, pool: Option<&str>, priority: u8, now: Timestamp) {
        self.arrivals += 1;
        let key = (now.as_millisecond() - i64::from(priority) * STEP_MS, self.arrivals, run);
        self.set_of(pool).insert(key);
        self.waiting.insert(run, (key, pool.map(str::to_string)));
    }

    /// A run that waits has another pool or priority now; how long it has waited still counts.
    pub fn change(&mut self, run: RunId, pool: Option<&str>, from: u8, to: u8) {
        if let Some(((at, arrival, _), _)) = self.leave(run) {
            let key = (at + (i64::from(from) - i64::from(to)) * STEP_MS, arrival, run);
            self.set_of(pool).insert(key);
            self.waiting.insert(run, (key, pool.map(str::to_string)));
        }
    }

    /// A run waits no more.
    pub fn leave(&mut self, run: RunId) -> Option<(Key, Option<String>)> {
        let (key, pool) = self.waiting.remove(&run)?;
        self.set_of(pool.as_deref()).remove(&key);
        Some((key, pool))
    }

    /// The run that may begin next.
    pub fn next(&self, now: Timestamp) -> Option<RunId> {
        if self.in_use >= self.max {
            return None;
        }
        let of_pools =
            self.pools.values().filter(|state| state.has_room(now)).filter_map(|state| state.waiting.first());
        of_pools.chain(self.free.first()).min().map(|(_, _, run)| *run)
    }

    /// When a pool with free places has one for a run again, where its rate is used up.
    pub fn rate_until(&self, pool: &str, now: Timestamp) -> Option<Timestamp> {
        let state = self.pools.get(pool).filter(|state| state.has_free_place())?;
        state.rate_allows_at().filter(|at| *at > now)
    }

    /// When a run that waits only for a pool's rate may begin.
    pub fn wake_at(&self) -> Option<Timestamp> {
        if self.in_use >= self.max {
            return None;
        }
        let waits_for_rate = |state: &&State| !state.waiting.is_empty() && state.has_free_place();
        self.pools.values().filter(waits_for_rate).filter_map(State::rate_allows_at).min()
    }

    /// The clock went back by so much: what is a length of time stays one.
    pub fn shift_back(&mut self, by: SignedDuration) {
        for state in self.pools.values_mut() {
            for at in &mut state.begun {
                *at = at.checked_sub(by).unwrap_or(*at);
            }
        }
        let ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        let waiting: Vec<RunId> = self.waiting.keys().copied().collect();
        for run in waiting {
            if let Some(((at, arrival, _), pool)) = self.leave(run) {
                let key = (at.saturating_sub(ms), arrival, run);
                self.set_of(pool.as_deref()).insert(key);
                self.waiting.insert(run, (key, pool));
            }
        }
    }

    /// How many runs have a place.
    #[cfg(test)]
    fn in_use(&self) -> usize {
        self.in_use
    }
}

impl State {
    fn has_free_place(&self) -> bool {
        self.max.is_none_or(|max| self.in_use < max)
    }

    fn has_room(&self, now: Timestamp) -> bool {
        self.has_free_place() && self.rate_allows_at().is_none_or(|at| at <= now)
    }

    /// When the rate allows the next run; `None`: at once.
    fn rate_allows_at(&self) -> Option<Timestamp> {
        let rate = self.rate?;
        let over = self.begun.len().checked_sub(rate.count as usize)?;
        let span = SignedDuration::try_from(rate.per.0).unwrap_or(SignedDuration::MAX);
        self.begun.get(over)?.saturating_add(span).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HumanDuration;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn run(n: u128) -> RunId {
        RunId::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 | n)
    }

    /// A pool's name, how many at once, how many in how many seconds.
    type Limits = (&'static str, Option<u32>, Option<(u32, u64)>);

    fn places(max: u32, pools: &[Limits]) -> Places {
        Places::new(&settings(max, pools))
    }

    fn settings(max: u32, pools: &[Limits]) -> Settings {
        let pool = |&(name, max, rate): &Limits| {
            let rate = rate.map(|(count, per)| Rate { count, per: HumanDuration::from_secs(per) });
            (name.to_string(), Pool { max, rate })
        };
        Settings { max_concurrent_runs: max, pools: pools.iter().map(pool).collect() }
    }

    /// All that may begin now, in order.
    fn begin(places: &mut Places, now: i64) -> Vec<u128> {
        let mut begun = Vec::new();
        while let Some(run) = places.next(at(now)) {
            let (_, pool) = places.leave(run).unwrap();
            places.take(pool.as_deref(), at(now));
            begun.push(run.as_u128() & 0xffff);
        }
        begun
    }

    #[test]
    fn a_higher_priority_goes_first_and_waiting_makes_up_for_a_lower_one() {
        let mut places = places(0, &[]);
        places.wait(run(1), None, 1, at(0));
        places.wait(run(2), None, 10, at(0));
        places.wait(run(3), None, 5, at(0));
        places.wait(run(4), None, 10, at(539));
        places.wait(run(5), None, 10, at(541));
        places.max = 9;
        assert_eq!(begin(&mut places, 600), [2, 3, 4, 1, 5], "nine minutes of waiting are nine steps of priority");
    }

    #[test]
    fn a_pool_limits_its_own_runs_and_does_not_hold_up_others() {
        let mut places = places(3, &[("p", Some(1), None)]);
        for n in 1..=2 {
            places.wait(run(n), Some("p"), 10, at(0));
        }
        places.wait(run(3), None, 1, at(1));
        places.wait(run(4), Some("unknown"), 1, at(2));
        assert_eq!(begin(&mut places, 3), [1, 3, 4]);
        places.release(None);
        assert_eq!(begin(&mut places, 3), [0; 0], "the pool is full");
        places.release(Some("p"));
        assert_eq!(begin(&mut places, 4), [2]);
        assert_eq!(places.in_use(), 2);
    }

    #[test]
    fn a_rate_holds_in_every_span_of_its_length_and_names_the_time_at_which_it_allows_more() {
        let mut places = places(100, &[("p", None, Some((2, 60)))]);
        for n in 1..=5 {
            places.wait(run(n), Some("p"), 5, at(0));
        }
        assert_eq!(begin(&mut places, 0), [1, 2]);
        assert_eq!(places.wake_at(), Some(at(60)));
        assert_eq!(begin(&mut places, 59), [0; 0]);
        assert_eq!(begin(&mut places, 60), [3, 4]);
        assert_eq!(begin(&mut places, 121), [5]);
        assert_eq!(places.wake_at(), None);
        // A clock that goes back makes nobody wait longer than the span.
        places.wait(run(6), Some("p"), 5, at(121));
        places.take(Some("p"), at(121));
        assert_eq!(places.wake_at(), Some(at(181)));
        places.shift_back(SignedDuration::from_secs(1_000));
        assert_eq!(places.wake_at(), Some(at(181 - 1_000)));
    }

    #[test]
    fn other_limits_keep_who_waits_and_who_has_a_place() {
        let mut places = places(1, &[("p", Some(1), None)]);
        places.take(Some("p"), at(0));
        places.wait(run(1), Some("p"), 5, at(1));
        places.wait(run(2), Some("q"), 5, at(2));
        // `p` goes, `q` comes with more than it had while nobody had told of it.
        places.configure(&settings(9, &[("q", Some(2), None)]), &HashSet::new());
        places.wait(run(3), Some("q"), 5, at(2));
        assert_eq!(begin(&mut places, 3), [2, 3], "`p` is full");
        places.wait(run(4), Some("q"), 5, at(4));
        assert_eq!(begin(&mut places, 5), [0; 0]);
        places.release(Some("p"));
        assert_eq!(begin(&mut places, 6), [1], "it limits those that named it");
        places.release(Some("p"));
        places.release(Some("q"));
        assert_eq!(begin(&mut places, 7), [4]);
        assert_eq!(places.in_use(), 2);
        // Nobody names it any more, or a job still does.
        places.configure(&settings(9, &[("q", Some(2), None)]), &HashSet::from(["p"]));
        assert!(places.pools.contains_key("p"));
        places.configure(&settings(9, &[("q", Some(2), None)]), &HashSet::new());
        assert!(!places.pools.contains_key("p"));
    }

    #[test]
    fn a_changed_priority_or_pool_keeps_the_time_that_was_waited() {
        let mut places = places(0, &[("p", Some(5), None)]);
        places.wait(run(1), None, 5, at(0));
        places.wait(run(2), None, 5, at(1));
        places.change(run(2), Some("p"), 5, 6);
        places.max = 5;
        assert_eq!(begin(&mut places, 2), [2, 1]);
    }
}
