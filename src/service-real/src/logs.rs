//! Logs: a file per unit which its processes write into themselves, rotated by size, and the last lines of it at hand.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// Lines of a unit as they come.
pub type Follow = mpsc::UnboundedReceiver<String>;

/// Longer lines are cut into several.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// How much is read at once; the rest waits for the next turn.
const READ_BYTES_MAX: u64 = 1024 * 1024;

/// The log of one unit. Processes append to the file; we read what they wrote.
///
/// A file that has grown too long is copied to `name.1` and emptied, for its writers keep it open: what is written
/// between the two is lost, which takes microseconds.
pub(crate) struct Log {
    path: PathBuf,
    /// How far we have read.
    read: u64,
    /// The last line, as long as it has no end.
    open: Vec<u8>,
    tail: VecDeque<String>,
    tail_lines: usize,
    followers: Vec<mpsc::UnboundedSender<String>>,
}

impl Log {
    /// Opens a log; of what is there already the end is read.
    pub(crate) fn open(path: PathBuf, tail_lines: usize) -> Self {
        let mut log = Self {
            path,
            read: 0,
            open: Vec::new(),
            tail: VecDeque::new(),
            tail_lines,
            followers: Vec::new(),
        };
        let length = std::fs::metadata(&log.path).map_or(0, |found| found.len());
        log.read = length.saturating_sub(READ_BYTES_MAX);
        log.poll();
        log
    }

    pub(crate) fn tail(&self, lines: usize) -> Vec<String> {
        let skip = self.tail.len().saturating_sub(lines);
        self.tail.iter().skip(skip).cloned().collect()
    }

    /// The last lines, and those to come.
    pub(crate) fn follow(&mut self, lines: usize) -> Follow {
        let (sender, receiver) = mpsc::unbounded_channel();
        for line in self.tail(lines) {
            // The receiver is in our hands.
            let _ = sender.send(line);
        }
        self.followers.push(sender);
        receiver
    }

    /// Reads what is new.
    pub(crate) fn poll(&mut self) {
        let Ok(found) = std::fs::metadata(&self.path) else { return };
        if found.len() < self.read {
            // Somebody emptied it.
            self.read = 0;
        }
        if found.len() == self.read {
            return;
        }
        let mut bytes = Vec::new();
        let read = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.read))?;
            file.take(READ_BYTES_MAX).read_to_end(&mut bytes)
        });
        if read.is_err() {
            return;
        }
        self.read += bytes.len() as u64;
        for byte in bytes {
            if byte == b'\n' || self.open.len() >= LINE_BYTES_MAX {
                let line = String::from_utf8_lossy(&std::mem::take(&mut self.open)).into_owned();
                self.line(line);
            }
            if byte != b'\n' {
                self.open.push(byte);
            }
        }
    }

    fn line(&mut self, line: String) {
        self.followers.retain(|follower| follower.send(line.clone()).is_ok());
        if self.tail.len() >= self.tail_lines {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }

    /// Moves a file that is too long out of the way.
    pub(crate) fn rotate(&mut self, bytes_max: u64, files: usize) -> io::Result<()> {
        if std::fs::metadata(&self.path).map_or(0, |found| found.len()) <= bytes_max {
            return Ok(());
        }
        for number in (1..files).rev() {
            let older = numbered(&self.path, number);
            if older.exists() {
                std::fs::rename(older, numbered(&self.path, number + 1))?;
            }
        }
        let mut from = File::open(&self.path)?;
        let mut to = File::create(numbered(&self.path, 1))?;
        // Twice: what came during the first copy is little, and what comes during the second next to nothing.
        io::copy(&mut from, &mut to)?;
        io::copy(&mut from, &mut to)?;
        self.poll();
        File::options().write(true).open(&self.path)?.set_len(0)?;
        self.read = 0;
        Ok(())
    }
}

fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn lines_are_read_as_they_end_and_the_last_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut file = File::options().create(true).append(true).open(&path).unwrap();
        file.write_all(b"one\ntwo\nthr").unwrap();
        let mut log = Log::open(path, 2);
        assert_eq!(log.tail(9), ["one", "two"]);
        let mut follow = log.follow(1);
        file.write_all(b"ee\n\xff\n").unwrap();
        log.poll();
        assert_eq!(log.tail(9), ["three", "\u{fffd}"]);
        let seen: Vec<String> = std::iter::from_fn(|| follow.try_recv().ok()).collect();
        assert_eq!(seen, ["two", "three", "\u{fffd}"]);
    }

    #[test]
    fn a_file_that_is_too_long_is_moved_away_and_its_writers_write_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut file = File::options().create(true).append(true).open(&path).unwrap();
        let mut log = Log::open(path.clone(), 9);
        for round in ["first", "second", "third"] {
            writeln!(file, "{round}").unwrap();
            log.rotate(3, 2).unwrap();
        }
        writeln!(file, "fourth").unwrap();
        log.poll();
        let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(log.tail(9), ["first", "second", "third", "fourth"]);
        assert_eq!(read(path.clone()), "fourth\n");
        assert_eq!(
            (read(numbered(&path, 1)), read(numbered(&path, 2))),
            ("third\n".into(), "second\n".into())
        );
        assert!(!numbered(&path, 3).exists());
    }
}
