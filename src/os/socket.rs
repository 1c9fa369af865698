//! Unix sockets by path, also where the path is longer than a socket's address may be (unix(7): 107 bytes).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen as start_listening, socket_with,
};

const LONGEST: usize = 107;
/// Connections that wait to be accepted.
const MOST_WAITING: i32 = 128;

/// Calls `f` with a path that is short enough: the same one, or one through the directory's descriptor.
fn with_short_path<T>(path: &Path, f: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().len() <= LONGEST {
        return f(path);
    }
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "a socket's path has no file name");
    let directory = File::open(path.parent().ok_or_else(invalid)?)?;
    let name = path.file_name().ok_or_else(invalid)?;
    f(&PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name))
}

/// Listens at `path`, for this user alone. A socket that nobody answers at is replaced.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    with_short_path(path, |short| {
        match std::fs::remove_file(short) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // Linux makes the file with the mode that the socket has (less the umask): so it is private from its first instant.
        fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        bind(&socket, &SocketAddrUnix::new(short)?)?;
        start_listening(&socket, MOST_WAITING)?;
        Ok(socket.into())
    })
}

/// Connects to the socket at `path`.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    with_short_path(path, |short| UnixStream::connect(short))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn it_is_private_from_the_first_instant() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runner.sock");
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let looks = scope.spawn(|| {
                let mut seen = std::collections::BTreeSet::new();
                while !is_done.load(Ordering::Relaxed) {
                    seen.extend(std::fs::metadata(&path).map(|meta| meta.permissions().mode() & 0o777));
                }
                seen
            });
            (0..3_000).for_each(|_| drop(listen(&path).unwrap()));
            is_done.store(true, Ordering::Relaxed);
            assert_eq!(Vec::from_iter(looks.join().unwrap()), [0o600]);
        });
    }

    #[test]
    fn a_path_longer_than_an_address_works_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let path = deep.join("runner.sock");
        let listener = listen(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut client = connect(&path).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(b"hello").unwrap();
        drop(client);
        let mut text = String::new();
        server.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        drop(listen(&path).unwrap());
    }
}
