//! The `_defaults.yaml` of folders: read from the top down, each over those above it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::Catalog;
use crate::catalog::last_good::{Entry, read_bounded};
use crate::catalog::load::{TextHash, hash};
use crate::catalog::scan::{Found, LARGEST_FILE, Stamp};
use crate::model::Problem;
use crate::spec::{Defaults, ReadContext, Source, read_defaults};

/// A folder's `_defaults.yaml`.
#[derive(Debug)]
pub(super) struct FolderDefaults {
    pub(super) stamp: Option<Stamp>,
    pub(super) text: TextHash,
    pub(super) parent: Arc<Defaults>,
    /// The last good ones, with those above.
    pub(super) in_force: Arc<Defaults>,
    /// There has been a good version of this very file: else nothing is known of what its jobs should get.
    pub(super) is_known: bool,
    pub(super) problems: Vec<Problem>,
}

impl Catalog {
    /// The defaults of a file, and the broken defaults file that makes it stale, if there is one.
    pub(super) fn defaults_for(&self, path: &str) -> (Arc<Defaults>, Option<&FolderDefaults>) {
        let mut folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut nearest = None;
        let mut broken = None;
        loop {
            if let Some(found) = self.defaults.get(folder) {
                nearest = nearest.or(Some(found.in_force.clone()));
                if found.problems.iter().any(Problem::is_error) {
                    broken = broken.or(Some(found));
                }
            }
            if folder.is_empty() {
                break;
            }
            folder = folder.rsplit_once('/').map_or("", |(above, _)| above);
        }
        (nearest.unwrap_or_else(|| self.settings.defaults.clone()), broken)
    }

    /// Whether the file's defaults are broken and no good version of them is known: then nobody can tell what the job should be.
    pub(super) fn lacks_defaults(&self, path: &str) -> bool {
        self.defaults_for(path).1.is_some_and(|defaults| !defaults.is_known)
    }

    pub(super) fn read_all_defaults(&mut self, files: Vec<Found>, now: Timestamp, to_keep: &mut Vec<Entry>) {
        let folder_of = |path: &str| path.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_string());
        let present: HashSet<String> = files.iter().map(|found| folder_of(&found.path)).collect();
        let before = self.defaults.len();
        self.defaults.retain(|folder, _| present.contains(folder));
        self.dirty |= self.defaults.len() != before;
        let mut taken: HashMap<String, String> = HashMap::new();
        // By depth: those above are read first.
        let mut files = files;
        files.sort_by_key(|found| found.path.matches('/').count());
        for found in files {
            let folder = folder_of(&found.path);
            let shown = self.shown_path(&found.path);
            if let Some(first) = taken.insert(folder.clone(), shown.to_string()) {
                if let Some(known) = self.defaults.get_mut(&folder) {
                    known.stamp = None;
                    known.problems.push(
                        Problem::of_file(&*shown, format!("this folder's defaults are also in {first}"))
                            .help("keep one of the two"),
                    );
                }
                continue;
            }
            let parent = match folder.is_empty() {
                true => self.settings.defaults.clone(),
                false => self.defaults_for(&folder).0,
            };
            self.read_defaults_file(&found, folder, &shown, parent, now, to_keep);
        }
    }

    pub(super) fn read_defaults_file(
        &mut self,
        found: &Found,
        folder: String,
        shown: &str,
        parent: Arc<Defaults>,
        now: Timestamp,
        to_keep: &mut Vec<Entry>,
    ) {
        let before = self.defaults.remove(&folder);
        let stamp = match &found.stamp {
            Ok(stamp) => *stamp,
            Err(problem) => {
                let problems = vec![Problem::clone(problem)];
                self.dirty |= before.as_ref().is_none_or(|before| before.problems != problems);
                let (in_force, is_known) =
                    before.map_or((parent.clone(), false), |before| (before.in_force, before.is_known));
                self.defaults.insert(
                    folder,
                    FolderDefaults { stamp: None, text: [0; 32], parent, in_force, is_known, problems },
                );
                return;
            }
        };
        if let Some(same) = before.as_ref().filter(|before| before.stamp == Some(stamp) && before.parent == parent) {
            let problems = same.problems.clone();
            self.defaults.insert(
                folder,
                FolderDefaults {
                    stamp: Some(stamp),
                    text: same.text,
                    parent,
                    in_force: same.in_force.clone(),
                    is_known: same.is_known,
                    problems,
                },
            );
            return;
        }
        self.dirty = true;
        let env = |name: &str| std::env::var(name).ok();
        let timezone = self.timezone.clone();
        let cx =
            ReadContext { env: &env, missing: self.options.missing, timezone: &timezone, means: self.options.means };
        let (defaults, problems, text, bytes) = match read_bounded(&self.options.jobs.join(&found.path), LARGEST_FILE) {
            Ok((_, bytes)) => {
                let (defaults, problems) = read_defaults(Source { path: shown, bytes: &bytes }, &parent, &cx);
                (defaults, problems, hash(&bytes), bytes)
            }
            Err(error) => {
                (None, vec![Problem::of_file(shown, format!("this file cannot be read: {error}"))], [0; 32], Vec::new())
            }
        };
        let (in_force, is_known) = match (defaults, before) {
            (Some(defaults), _) => {
                self.keep_text(shown, &text, bytes, now, to_keep);
                (Arc::new(defaults), true)
            }
            (None, Some(before)) => (before.in_force, before.is_known),
            (None, None) => {
                let revived = self.revived_text(shown).and_then(|entry| {
                    read_defaults(Source { path: shown, bytes: entry.text.as_bytes() }, &parent, &cx).0
                });
                let is_known = revived.is_some();
                (revived.map_or(parent.clone(), Arc::new), is_known)
            }
        };
        self.defaults.insert(folder, FolderDefaults { stamp: Some(stamp), text, parent, in_force, is_known, problems });
    }
}
