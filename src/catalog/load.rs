//! Reads and parses files, on a few threads where there are many: most of the time is waiting for the disk.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::last_good::read_bounded;
use super::scan::{LARGEST_FILE, Stamp};
use super::spec_hash::SpecHash;
use crate::model::{JobName, Problem};
use crate::spec::{Defaults, JobSpec, ReadContext, Reference, Source, read_job};

/// A file that has to be read.
pub(super) struct Task {
    /// Below `jobs/`.
    pub path: String,
    /// From the configuration directory.
    pub shown: Arc<str>,
    pub default_name: String,
    pub defaults: Arc<Defaults>,
    /// The text that is known already: read again, but parsed only if it differs.
    pub known: Option<TextHash>,
}

pub(super) type TextHash = [u8; 32];

/// What came of it.
pub(super) struct Loaded {
    pub path: String,
    pub shown: Arc<str>,
    /// Of the file that was really read.
    pub stamp: Option<Stamp>,
    pub text: TextHash,
    /// `None`: the text is the known one.
    pub parsed: Option<Parsed>,
}

pub(super) struct Parsed {
    pub name: Option<JobName>,
    pub good: Option<Good>,
    pub problems: Vec<Problem>,
    pub bytes: Vec<u8>,
}

/// A job that was read without an error.
#[derive(Clone)]
pub(super) struct Good {
    pub name: JobName,
    pub spec: Arc<JobSpec>,
    pub written: Option<Arc<Map<String, Value>>>,
    /// `sha256:…` of the spec as written.
    pub hash: SpecHash,
    /// What it names and has to be there.
    pub references: Arc<[Reference]>,
}

const MOST_THREADS: usize = 8;
const FILES_A_THREAD: usize = 64;

/// Reads all of them, in any order, and gives them back in order of path.
pub(super) fn load(tasks: &[Task], jobs: &Path, cx: &ReadContext<'_>) -> Vec<Loaded> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut loaded = Vec::new();
        while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            loaded.push(load_one(task, jobs, cx));
        }
        loaded
    };
    let threads = (tasks.len() / FILES_A_THREAD).clamp(1, MOST_THREADS);
    if threads == 1 {
        return work();
    }
    let mut all: Vec<Loaded> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        // A thread that panicked takes its files with it: they are missing, and the next scan reads them again.
        handles.into_iter().flat_map(|handle| handle.join().unwrap_or_default()).collect()
    });
    all.sort_by(|a, b| a.path.cmp(&b.path));
    all
}

fn load_one(task: &Task, jobs: &Path, cx: &ReadContext<'_>) -> Loaded {
    let refused = |message: String| Loaded {
        path: task.path.clone(),
        shown: task.shown.clone(),
        stamp: None,
        text: [0; 32],
        parsed: Some(Parsed {
            name: JobName::new(&task.default_name).ok(),
            good: None,
            problems: vec![Problem::of_file(&*task.shown, message)],
            bytes: Vec::new(),
        }),
    };
    let (stat, bytes) = match read_bounded(&jobs.join(&task.path), LARGEST_FILE) {
        Ok(read) => read,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return refused("this file may not be read: permission denied".into());
        }
        Err(error) => return refused(format!("this file cannot be read: {error}")),
    };
    if bytes.len() as u64 > LARGEST_FILE {
        return refused("the file has more than 1 MiB, which is the most that is allowed".into());
    }
    let text = hash(&bytes);
    let parsed = (task.known != Some(text)).then(|| parse(&task.shown, &task.default_name, bytes, &task.defaults, cx));
    Loaded { path: task.path.clone(), shown: task.shown.clone(), stamp: Stamp::if_settled(&stat), text, parsed }
}

/// Parses a job's text.
pub(super) fn parse(
    shown: &str,
    default_name: &str,
    bytes: Vec<u8>,
    defaults: &Defaults,
    cx: &ReadContext<'_>,
) -> Parsed {
    let read = read_job(Source { path: shown, bytes: &bytes }, default_name, defaults, cx);
    let good = match (&read.name, read.spec) {
        (Some(name), Some(spec)) => {
            let map = read.written.as_ref().cloned().unwrap_or_else(|| spec.to_map());
            Some(Good {
                name: name.clone(),
                spec: Arc::new(spec),
                written: read.written.map(Arc::new),
                hash: SpecHash::of(&serde_json::to_vec(&map).unwrap_or_default()),
                references: if read.references.is_empty() { Arc::default() } else { read.references.into() },
            })
        }
        _ => None,
    };
    Parsed { name: read.name, good, problems: read.problems, bytes }
}

pub(super) fn hash(bytes: &[u8]) -> TextHash {
    Sha256::digest(bytes).into()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| DIGITS[usize::from(digit)]).collect()
}

/// The bytes of a hash as [`hex`] writes it.
pub(super) fn unhex(text: &str) -> Option<TextHash> {
    let mut hash = TextHash::default();
    if text.len() != 2 * hash.len() {
        return None;
    }
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(hash)
}
