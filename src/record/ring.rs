use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use jiff::Timestamp;

use crate::model::Stream;
use crate::os::file::nameless;

/// The last so many bytes of a run's output, in a file without a name: memory stays small whatever a job prints, and the file
/// goes with the process.
#[derive(Debug)]
pub(super) struct Ring {
    file: File,
    size: u64,
    /// Bytes that came in all; a byte's place in the file is its number modulo `size`.
    end: u64,
    /// The oldest byte that is kept.
    begin: u64,
    chunks: VecDeque<Chunk>,
}

/// Consecutive bytes of one stream that came at about one time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk {
    pub at: u64,
    pub length: u64,
    pub stream: Stream,
    pub time: Timestamp,
}

/// More pieces than this are not told apart: the oldest go, as if the ring were smaller.
const MOST_CHUNKS: usize = 4096;
const SAME_TIME_MS: i128 = 1_000;

impl Ring {
    pub fn new(directory: &Path, size: u64) -> io::Result<Self> {
        Ok(Self { file: nameless(directory)?, size: size.max(1), end: 0, begin: 0, chunks: VecDeque::new() })
    }

    pub fn push(&mut self, stream: Stream, bytes: &[u8], time: Timestamp) -> io::Result<()> {
        // Of a piece larger than the ring only the end would stay.
        let skipped = (bytes.len() as u64).saturating_sub(self.size);
        let mut at = self.end + skipped;
        let mut rest = &bytes[skipped as usize..];
        while !rest.is_empty() {
            let place = at % self.size;
            let fits = rest.len().min((self.size - place) as usize);
            self.file.write_all_at(&rest[..fits], place)?;
            at += fits as u64;
            rest = &rest[fits..];
        }
        match self.chunks.back_mut() {
            Some(last) if last.stream == stream && time.duration_since(last.time).as_millis().abs() < SAME_TIME_MS => {
                last.length += bytes.len() as u64;
            }
            _ => self.chunks.push_back(Chunk { at: self.end, length: bytes.len() as u64, stream, time }),
        }
        self.end += bytes.len() as u64;
        self.begin = self.begin.max(self.end.saturating_sub(self.size));
        if self.chunks.len() > MOST_CHUNKS
            && let Some(oldest) = self.chunks.pop_front()
        {
            self.begin = self.begin.max(oldest.at + oldest.length);
        }
        while let Some(first) = self.chunks.front_mut() {
            if first.at + first.length <= self.begin {
                self.chunks.pop_front();
                continue;
            }
            let gone = self.begin.saturating_sub(first.at);
            first.at += gone;
            first.length -= gone;
            break;
        }
        Ok(())
    }

    /// Bytes that were overwritten.
    pub fn lost(&self) -> u64 {
        self.begin
    }

    /// Bytes that are there to be read back.
    pub fn kept(&self) -> u64 {
        self.end - self.begin
    }

    /// Hands out what is kept, oldest first, in pieces of at most `buffer`'s length.
    pub fn drain(mut self, buffer: &mut [u8], mut take: impl FnMut(Stream, &[u8], Timestamp)) -> io::Result<()> {
        for chunk in std::mem::take(&mut self.chunks) {
            let mut at = chunk.at;
            let end = chunk.at + chunk.length;
            while at < end {
                let place = at % self.size;
                let length = (end - at).min(self.size - place).min(buffer.len() as u64) as usize;
                self.file.read_exact_at(&mut buffer[..length], place)?;
                take(chunk.stream, &buffer[..length], chunk.time);
                at += length as u64;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_stay_whatever_the_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let time = Timestamp::UNIX_EPOCH;
        for piece in [1usize, 3, 7, 10, 11, 25, 1000] {
            let mut ring = Ring::new(dir.path(), 10).unwrap();
            let all: Vec<u8> = (0..1000u32).map(|n| (n % 251) as u8).collect();
            for bytes in all.chunks(piece) {
                ring.push(Stream::Out, bytes, time).unwrap();
            }
            assert_eq!(ring.lost(), 990);
            let mut kept = Vec::new();
            ring.drain(&mut [0; 4], |_, bytes, _| kept.extend_from_slice(bytes)).unwrap();
            assert_eq!(kept, all[990..], "pieces of {piece}");
        }
    }

    #[test]
    fn alternating_streams_stay_bounded_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        let mut ring = Ring::new(dir.path(), 1 << 20).unwrap();
        for n in 0..20_000u32 {
            let stream = if n % 2 == 0 { Stream::Out } else { Stream::Err };
            ring.push(stream, b"x", Timestamp::UNIX_EPOCH).unwrap();
        }
        let lost = ring.lost();
        assert!(ring.chunks.len() <= MOST_CHUNKS);
        let mut kept = 0;
        ring.drain(&mut [0; 64], |_, bytes, _| kept += bytes.len() as u64).unwrap();
        assert_eq!(lost + kept, 20_000);
    }
}
