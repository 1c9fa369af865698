//! Who follows a log sees each line once, also across rotations and what others do to the file.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use runner::record::Follow;

struct Log {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl Log {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("output.log");
        Self { _directory: directory, path }
    }

    fn append(&self, text: &str) {
        OpenOptions::new().append(true).create(true).open(&self.path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn place(&self, n: u32) -> PathBuf {
        if n == 0 { self.path.clone() } else { self.path.with_extension(format!("log.{n}")) }
    }

    fn rotate(&self) {
        for n in (0..20).rev() {
            if self.place(n).exists() {
                fs::rename(self.place(n), self.place(n + 1)).unwrap();
            }
        }
    }
}

fn more(follow: &mut Follow) -> Vec<String> {
    let mut lines = Vec::new();
    follow.more(|line| lines.push(String::from_utf8(line.to_vec()).unwrap())).unwrap();
    lines
}

const NOTHING: [&str; 0] = [];

/// File systems tell times apart by a few milliseconds.
fn let_a_tick_pass(file: &Path) {
    let before = fs::metadata(file).unwrap().modified().unwrap();
    let probe = file.with_file_name("probe");
    loop {
        fs::write(&probe, "x").unwrap();
        if fs::metadata(&probe).unwrap().modified().unwrap() > before {
            return;
        }
    }
}

#[test]
fn only_whole_lines_come_and_each_once() {
    let log = Log::new();
    log.append("old\n");
    let mut follow = Follow::from_end(log.path.clone());
    assert_eq!(more(&mut follow), NOTHING);
    log.append("a\nb\nhal");
    assert_eq!(more(&mut follow), ["a", "b"]);
    log.append("f\n");
    assert_eq!(more(&mut follow), ["half"]);
    assert_eq!(more(&mut follow), NOTHING);
}

#[test]
fn a_log_that_is_not_there_yet_is_read_from_its_beginning() {
    let log = Log::new();
    let mut follow = Follow::from_end(log.path.clone());
    assert_eq!(more(&mut follow), NOTHING);
    log.append("a\n");
    assert_eq!(more(&mut follow), ["a"]);
    let mut all = Follow::new(log.path.clone());
    log.rotate();
    log.append("b\n");
    assert_eq!(more(&mut all), ["a", "b"]);
}

#[test]
fn rotations_lose_and_repeat_nothing() {
    let log = Log::new();
    log.append("0\n");
    log.rotate();
    log.append("1\n");
    let mut follow = Follow::from_end(log.path.clone());
    log.append("2\n");
    log.rotate();
    log.append("3\n");
    log.rotate();
    log.append("4\n");
    assert_eq!(more(&mut follow), ["2", "3", "4"]);
    // Just rotated: there is no current file for a moment.
    log.append("5\n");
    log.rotate();
    assert_eq!(more(&mut follow), ["5"]);
    let mut late = Follow::from_end(log.path.clone());
    log.append("6\n");
    assert_eq!(more(&mut follow), ["6"]);
    assert_eq!(more(&mut late), ["6"]);
}

#[test]
fn a_file_that_is_rotated_away_altogether_does_not_stop_the_rest() {
    let log = Log::new();
    log.append("1\n");
    let mut follow = Follow::new(log.path.clone());
    assert_eq!(more(&mut follow), ["1"]);
    let_a_tick_pass(&log.path);
    log.rotate();
    log.append("2\n");
    log.rotate();
    log.append("3\n");
    fs::remove_file(log.place(2)).unwrap();
    assert_eq!(more(&mut follow), ["2", "3"]);
}

#[test]
fn a_file_that_others_truncate_move_or_delete_is_followed_at_its_place() {
    let log = Log::new();
    log.append("0\n");
    log.rotate();
    let_a_tick_pass(&log.place(1));
    log.append("one\ntwo\n");
    let mut follow = Follow::from_end(log.path.clone());
    fs::write(&log.path, "").unwrap();
    assert_eq!(more(&mut follow), NOTHING);
    log.append("3\n");
    assert_eq!(more(&mut follow), ["3"]);
    fs::rename(&log.path, log.path.with_file_name("elsewhere")).unwrap();
    log.append("4\n");
    assert_eq!(more(&mut follow), ["4"]);
    let_a_tick_pass(&log.path);
    fs::remove_file(&log.path).unwrap();
    assert_eq!(more(&mut follow), NOTHING);
    // Its inode may be the one of the file that is gone.
    log.append("5\n6\n");
    assert_eq!(more(&mut follow), ["5", "6"]);
}
