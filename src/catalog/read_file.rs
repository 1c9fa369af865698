use std::path::Path;

use rustix::fs::{CWD, FileType, stat};
use rustix::io::Errno;

use super::insecure;
use super::last_good::read_bounded;
use super::scan::{LARGEST_FILE, kind_in_words};
use crate::model::Problem;

/// A configuration file by itself, such as runner.yaml: its bytes, or why it is not read. Never waits, whatever stands there.
pub fn read_file(path: &Path, shown: &str, allow_insecure: bool) -> Result<Vec<u8>, Box<Problem>> {
    let refused = |message: String| Box::new(Problem::of_file(shown, message));
    let stat = stat(path).map_err(|errno| match std::fs::read_link(path) {
        Ok(target) if errno == Errno::NOENT => refused(format!("this link leads to nothing: {}", target.display())),
        _ => refused(format!("this file cannot be looked at: {errno}")),
    })?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        other => return Err(refused(format!("this is {}, not a regular file", kind_in_words(other)))),
    }
    if stat.st_size as u64 > LARGEST_FILE {
        return Err(refused(format!("the file has {} bytes, at most 1 MiB is allowed", stat.st_size)));
    }
    if !allow_insecure && let Some(reason) = insecure::why(&stat, || insecure::is_read_only_at(CWD, path)) {
        let problem = refused(format!("this file is refused: {}", reason.words()));
        return Err(Box::new(problem.help(reason.mend(shown))));
    }
    read_bounded(path, LARGEST_FILE)
        .map(|(_, bytes)| bytes)
        .map_err(|error| refused(format!("this file cannot be read: {error}")))
}
