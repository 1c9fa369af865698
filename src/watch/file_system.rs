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

/// What a path's file system is called, where events cannot be relied on.
///
/// # Errors
/// It cannot be asked.
pub fn remote(path: &Path) -> io::Result<Option<&'static str>> {
    let kind = statfs(path)?.f_type as u32;
    Ok(REMOTE.iter().find(|(number, _)| *number == kind).map(|(_, name)| *name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_disk_is_told_of_by_the_kernel() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(remote(dir.path()).unwrap(), None);
        assert_eq!(remote(Path::new("/proc")).unwrap(), None);
        assert!(remote(&dir.path().join("missing")).is_err());
    }
}
