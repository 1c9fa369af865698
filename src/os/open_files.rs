//! Who has files open.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;

/// Of these files, given as device and inode, those that a process that this one may look at has open for writing. A look at all
/// processes: not for each file, and not often.
pub fn open_for_writing(files: &HashSet<(u64, u64)>) -> HashSet<(u64, u64)> {
    let mut found = HashSet::new();
    let Ok(processes) = std::fs::read_dir("/proc") else { return found };
    for process in processes.flatten() {
        if !process.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        let Ok(descriptors) = std::fs::read_dir(process.path().join("fd")) else { continue };
        for descriptor in descriptors.flatten() {
            let Ok(meta) = std::fs::metadata(descriptor.path()) else { continue };
            let file = (meta.dev(), meta.ino());
            if files.contains(&file) && writes(&process.path().join("fdinfo").join(descriptor.file_name())) {
                found.insert(file);
            }
        }
    }
    found
}

/// Whether a descriptor is open for writing: `flags` of proc_pid_fdinfo(5), octal.
fn writes(info: &std::path::Path) -> bool {
    let Ok(text) = std::fs::read_to_string(info) else { return false };
    let flags = text.lines().find_map(|line| i32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
    flags.is_some_and(|flags| flags & libc::O_ACCMODE != libc::O_RDONLY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_open_for_writing_is_found_and_one_for_reading_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let file = std::fs::File::create(&path).unwrap();
        let meta = file.metadata().unwrap();
        let files = HashSet::from([(meta.dev(), meta.ino())]);
        assert_eq!(open_for_writing(&files), files);
        drop(file);
        let _reading = std::fs::File::open(&path).unwrap();
        assert_eq!(open_for_writing(&files), HashSet::new());
    }
}
