use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::entry::Hash;

/// SHA-256 of what a file holds, as long as it is when that begins: one that grows all the time has an end as well.
///
/// # Errors
/// It cannot be read.
pub fn content_hash(path: &Path) -> io::Result<Hash> {
    let file = open_regular(path)?;
    let length = file.metadata()?.len();
    let mut file = file.take(length);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 128 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finalize().into()),
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Opens a file to read it. Whatever took its place since somebody looked, such as a pipe, is not waited for.
///
/// # Errors
/// It cannot be opened, or is no file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::line::hex;

    #[test]
    fn it_is_the_usual_hash() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "abc").unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&content_hash(&dir.path().join("a")).unwrap()), expected);
    }

    #[test]
    fn what_is_no_file_any_more_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        let (sender, answers) = std::sync::mpsc::channel();
        std::thread::spawn(move || sender.send(content_hash(&pipe).map_err(|error| error.to_string())));
        let answer = answers.recv_timeout(std::time::Duration::from_secs(20)).expect("it waits for the pipe");
        assert_eq!(answer, Err("it is no file".to_string()));
    }
}
