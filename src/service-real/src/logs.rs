//! Logs: a file per unit which its processes write into themselves, rotated by size, and the last lines of it at hand.

use crate::follow::{Feed, Follow, LeftOut, follow};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Longer lines are cut into several.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// How much is read at once; the rest waits for the next turn.
const READ_BYTES_MAX: u64 = 1024 * 1024;

/// A unit that writes faster than its log is copied is not waited for.
const COPIES_MAX: u32 = 20;

/// So much of the last lines is at hand, however many they are to be.
const TAIL_BYTES_MAX: usize = 1024 * 1024;

/// The log of one unit. Processes append to the file; we read what they wrote.
///
/// A file that has grown too long is copied to `name.1` and emptied, for its writers keep it open: what is written
/// between the last look and that is lost, which takes microseconds.
pub(crate) struct Log {
    path: PathBuf,
    /// How far we have read.
    read: u64,
    /// The last line, as long as it has no end.
    open: Vec<u8>,
    tail: VecDeque<String>,
    tail_bytes: usize,
    tail_lines: usize,
    followers: Vec<Feed>,
}

impl Log {
    /// Opens a log; of what is there already the end is read.
    pub(crate) fn open(path: PathBuf, tail_lines: usize) -> Self {
        let mut log = Self {
            path,
            read: 0,
            open: Vec::new(),
            tail: VecDeque::new(),
            tail_bytes: 0,
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
        let (feed, reader) = follow();
        for line in self.tail(lines) {
            feed.line(&line);
        }
        self.followers.push(feed);
        reader
    }

    /// Reads what is new.
    pub(crate) fn poll(&mut self) {
        // Of a unit that says nothing, too, readers go.
        self.followers.retain(Feed::is_read);
        let Ok(found) = std::fs::metadata(&self.path) else { return };
        if found.len() < self.read {
            // Somebody emptied it.
            self.read = 0;
        }
        if found.len() > self.read {
            self.read_on(&self.path.clone());
        }
    }

    /// Reads a part of a file, from where we are; whether there was any.
    fn read_on(&mut self, path: &Path) -> bool {
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.read))?;
            file.take(READ_BYTES_MAX).read_to_end(&mut bytes)
        });
        if read.is_err() || bytes.is_empty() {
            return false;
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
        true
    }

    fn line(&mut self, line: String) {
        for follower in &self.followers {
            follower.line(&line);
        }
        self.tail_bytes += line.len();
        self.tail.push_back(line);
        while self.tail.len() > self.tail_lines || (self.tail_bytes > TAIL_BYTES_MAX && self.tail.len() > 1) {
            self.tail_bytes -= self.tail.pop_front().map_or(0, |line| line.len());
        }
    }

    /// Passes over all but the last of what is in a file and was not read yet, for a unit may write faster than lines are
    /// made of it. What is passed over is counted, and its last line ends where reading goes on.
    fn pass_over(&mut self, path: &Path) -> io::Result<()> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let Some(until) = length.checked_sub(READ_BYTES_MAX).filter(|until| *until > self.read) else {
            return Ok(());
        };
        file.seek(SeekFrom::Start(self.read))?;
        let mut missing = LeftOut { lines: 0, bytes: self.open.len() as u64 };
        let (mut at, mut buffer) = (self.read, vec![0; 64 * 1024]);
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            let (part, left) = (&buffer[..count], until.saturating_sub(at).min(count as u64) as usize);
            missing.lines += part[..left].iter().filter(|byte| **byte == b'\n').count() as u64;
            // The line that is open at the end of it goes too.
            let end = if left < count { part[left..].iter().position(|byte| *byte == b'\n') } else { None };
            let passed = end.map_or(count, |end| left + end + 1) as u64;
            missing.bytes += passed;
            at += passed;
            if end.is_some() {
                missing.lines += 1;
                break;
            }
        }
        self.open.clear();
        self.read = at;
        for follower in &self.followers {
            follower.leave_out(missing);
        }
        Ok(())
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
        let old = numbered(&self.path, 1);
        let mut from = File::open(&self.path)?;
        let mut to = File::create(&old)?;
        let emptied = File::options().write(true).open(&self.path)?;
        // Its writers go on meanwhile: until nothing is left to be copied, and not for ever.
        let mut copied = 0;
        for _ in 0..COPIES_MAX {
            copied += io::copy(&mut from, &mut to)?;
            if from.metadata()?.len() <= copied {
                break;
            }
        }
        emptied.set_len(0)?;
        // What was not read yet is read from the copy, where there is time for it.
        self.pass_over(&old)?;
        while self.read_on(&old) {}
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
    use crate::follow::Followed;
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
        let seen: Vec<Followed> = std::iter::from_fn(|| follow.try_next()).collect();
        assert_eq!(seen, ["two", "three", "\u{fffd}"].map(|line| Followed::Line(line.to_owned())));
    }

    #[test]
    fn the_last_lines_at_hand_are_bounded_in_bytes_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut log = Log::open(path.clone(), 1000);
        let mut file = File::options().create(true).append(true).open(&path).unwrap();
        for _ in 0..100 {
            writeln!(file, "{}", "x".repeat(LINE_BYTES_MAX - 1)).unwrap();
            log.poll();
        }
        assert_eq!(log.tail(1000).len(), TAIL_BYTES_MAX / (LINE_BYTES_MAX - 1));
    }

    #[test]
    fn what_a_unit_wrote_faster_than_it_was_read_is_counted_line_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut log = Log::open(path.clone(), 10);
        let mut follow = log.follow(0);
        let mut file = File::options().create(true).append(true).open(&path).unwrap();
        let text: String = (0..1_000_000).map(|at| format!("line {at}\n")).collect();
        file.write_all(b"first\nhalf of the ").unwrap();
        log.poll();
        file.write_all(b"second\n").unwrap();
        file.write_all(text.as_bytes()).unwrap();
        log.rotate(1000, 2).unwrap();
        let (mut lines, mut missing) = (Vec::new(), LeftOut::default());
        while let Some(piece) = follow.try_next() {
            match piece {
                Followed::Line(line) => lines.push(line),
                Followed::LeftOut(more) => {
                    missing.lines += more.lines;
                    missing.bytes += more.bytes;
                }
            }
        }
        let seen: usize = lines.iter().map(|line| line.len() + 1).sum();
        assert_eq!(lines.len() as u64 + missing.lines, 1_000_002);
        let all = "first\nhalf of the second\n".len() + text.len();
        assert_eq!(seen as u64 + missing.bytes, all as u64);
        assert_eq!(lines.last().unwrap(), "line 999999");
        let first_kept = lines.iter().find(|line| *line != "first").unwrap();
        assert!(first_kept.starts_with("line "), "whole lines only: {first_kept}");
        assert_eq!(log.tail(1), ["line 999999"]);
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
