use std::io;
use std::path::Path;

use rustix::fs::statfs;

/// A file system whose changes are not all told of by the kernel: others change it elsewhere.
///
/// The numbers are those of statfs(2).
const REMOTE: [(u32, &str); 17] = [
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x517b, "SMB"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "FUSE"),
    (0x6573_5543, "FUSE"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x564c, "NCP"),
    (0x786f_4256, "VirtualBox shared folders"),
    (0xbacb_acbc, "VMware shared folders"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x0116_1970, "GFS2"),
];

/// What a file's inode says of it on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Inodes {
    /// Which file it is, as long as there is one; with the time of its birth also which one of those that had the same.
    #[default]
    Last,
    /// The same, but the time of birth is another one once the file is copied up.
    WithoutBirth,
    /// Nothing: the number is made up each time the file is looked for, as there is none on the disk.
    MadeUp,
}

/// What is to be known of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileSystem {
    /// How it is called, where events cannot be relied on.
    pub remote: Option<&'static str>,
    pub inodes: Inodes,
}

impl FileSystem {
    /// That of a path.
    ///
    /// # Errors
    /// It cannot be asked.
    pub fn of(path: &Path) -> io::Result<Self> {
        Ok(Self::of_kind(statfs(path)?.f_type as u32))
    }

    /// Whether a file that has another inode is another file. On shares the number may change with each mount.
    pub fn tells_by_inode(self) -> bool {
        self.remote.is_none() && self.inodes != Inodes::MadeUp
    }

    fn of_kind(kind: u32) -> Self {
        let remote = REMOTE.iter().find(|(number, _)| *number == kind).map(|(_, name)| *name);
        let inodes = match kind {
            _ if remote.is_some() => Inodes::WithoutBirth,
            OVERLAY => Inodes::WithoutBirth,
            FAT | EXFAT => Inodes::MadeUp,
            _ => Inodes::Last,
        };
        Self { remote, inodes }
    }
}

const OVERLAY: u32 = 0x794c_7630;
const FAT: u32 = 0x4d44;
const EXFAT: u32 = 0x2011_bab0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_disk_is_told_of_by_the_kernel() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(FileSystem::of(dir.path()).unwrap().remote, None);
        assert_eq!(FileSystem::of(Path::new("/proc")).unwrap(), FileSystem::default());
        assert!(FileSystem::of(&dir.path().join("missing")).is_err());
    }

    #[test]
    fn numbers_that_do_not_last_are_known_by_the_file_system() {
        let of = |kind| FileSystem::of_kind(kind);
        assert_eq!(of(0x6969), FileSystem { remote: Some("NFS"), inodes: Inodes::WithoutBirth });
        assert_eq!(of(OVERLAY), FileSystem { remote: None, inodes: Inodes::WithoutBirth });
        assert_eq!(of(FAT), FileSystem { remote: None, inodes: Inodes::MadeUp });
        assert_eq!(of(0xef53), FileSystem::default(), "ext4");
    }
}
