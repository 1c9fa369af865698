//! What `doctor` says of files that hold secrets. None is read: whether it could be, and by whom else, is all that is asked.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::catalog::Generation;
use crate::spec::SecretSource;

/// The files that secrets of enabled jobs come from, each with one job and the name that the secret has there.
fn files(directory: &Path, generation: &Generation) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    for job in generation.jobs.iter().filter(|job| job.spec.about.enabled) {
        for (name, secret) in &job.spec.policies.secrets {
            if let Some(SecretSource::File(path)) = secret.source() {
                files.entry(directory.join(path)).or_insert_with(|| format!("{}: secret `{name}`", job.name));
            }
        }
    }
    files
}

/// How many such files there are, and what is wrong with them, with the mend.
pub(super) fn look(directory: &Path, generation: &Generation) -> (usize, Vec<(String, String)>) {
    let files = files(directory, generation);
    let trouble = |(path, whose): (&PathBuf, &String)| {
        // What is no regular file must not be waited for.
        let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        let (what, mend) = match opened.and_then(|file| file.metadata()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                ("does not exist".to_string(), "write it there, or mend the path; until then each attempt fails".into())
            }
            Err(error) => (format!("cannot be read: {error}"), "let the runner's user read it, and nobody else".into()),
            Ok(meta) if !meta.is_file() => ("is not a regular file".into(), "mend the path".to_string()),
            Ok(meta) if is_open_to_all(&meta) => {
                ("can be read by every user".into(), format!("`chmod o-rwx {}`", path.display()))
            }
            Ok(_) => return None,
        };
        Some((format!("{whose}: the file {} {what}", path.display()), mend))
    };
    (files.len(), files.iter().filter_map(trouble).collect())
}

fn is_open_to_all(meta: &Metadata) -> bool {
    meta.mode() & 0o004 != 0
}
