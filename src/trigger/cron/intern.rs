//! Equal expressions share their parts.
//!
//! Ten thousand jobs hold few different schedules. The pool keeps weak references only, so it never keeps a schedule
//! alive; dead entries are swept whenever the pool has doubled, so it stays below twice what is in use.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError, Weak};

use super::fields::Fields;
use super::local::LocalTimes;

/// The parts of an expression that all of its holders share.
#[derive(Debug)]
pub(super) struct Shared {
    pub fields: Fields,
    times: OnceLock<LocalTimes>,
}

impl Shared {
    /// The local times, built at the first use.
    pub(super) fn times(&self) -> &LocalTimes {
        self.times.get_or_init(|| LocalTimes::new(&self.fields))
    }
}

#[derive(Default)]
struct Pool {
    known: HashMap<Fields, Weak<Shared>>,
    sweep_at: usize,
}

static POOL: LazyLock<Mutex<Pool>> = LazyLock::new(Mutex::default);

/// The one living value with these fields.
pub(super) fn intern(fields: Fields) -> Arc<Shared> {
    // A panic elsewhere cannot leave the map half changed.
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(shared) = pool.known.get(&fields).and_then(Weak::upgrade) {
        return shared;
    }
    if pool.known.len() >= pool.sweep_at {
        pool.known.retain(|_, shared| shared.strong_count() > 0);
        pool.sweep_at = (pool.known.len() * 2).max(256);
    }
    let shared = Arc::new(Shared { fields, times: OnceLock::new() });
    pool.known.insert(fields, Arc::downgrade(&shared));
    shared
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::{POOL, intern};

    #[test]
    fn the_pool_forgets_what_nobody_holds() {
        for minute in 0..60 {
            for hour in 0..24 {
                let fields = parse(&format!("{minute} {hour} 3 7 *"), "job").expect("an expression");
                drop(intern(fields));
            }
        }
        let size = POOL.lock().expect("no test panics with the lock").known.len();
        assert!(size < 1_000, "{size} entries");
    }
}
