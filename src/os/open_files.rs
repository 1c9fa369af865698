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
            // What the kernel itself says of it comes first: a look at the file may wait for a server that is gone.
            let info = process.path().join("fdinfo").join(descriptor.file_name());
            let Some(info) = std::fs::read_to_string(info).ok().and_then(|text| Info::of(&text)) else { continue };
            if !info.writes || info.inode.is_some_and(|inode| !files.iter().any(|(_, other)| *other == inode)) {
                continue;
            }
            let Ok(meta) = std::fs::metadata(descriptor.path()) else { continue };
            let file = (meta.dev(), meta.ino());
            if files.contains(&file) {
                found.insert(file);
            }
        }
    }
    found
}

/// What proc_pid_fdinfo(5) says of a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Info {
    /// It is open for writing.
    writes: bool,
    /// Since Linux 5.14.
    inode: Option<u64>,
}

impl Info {
    fn of(text: &str) -> Option<Self> {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim);
        let flags = i32::from_str_radix(value("flags")?, 8).ok()?;
        let inode = value("ino").and_then(|inode| inode.parse().ok());
        Some(Self { writes: flags & libc::O_ACCMODE != libc::O_RDONLY, inode })
    }
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

    #[test]
    fn what_the_kernel_says_of_a_descriptor_is_understood_with_and_without_its_inode() {
        let info = |text: &str| Info::of(text).map(|info| (info.writes, info.inode));
        assert_eq!(info("pos:\t0\nflags:\t0100001\nmnt_id:\t29\nino:\t77\n"), Some((true, Some(77))));
        assert_eq!(info("pos:\t0\nflags:\t0100000\nmnt_id:\t29\n"), Some((false, None)));
        assert_eq!(info("flags:\t02000002\n"), Some((true, None)));
        assert_eq!((info("pos:\t0\n"), info("flags:\tx\n")), (None, None));
    }
}
