//! Small work on files and logs of members.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes of a log that are looked at for why its process ended.
const TAIL_BYTES: u64 = 64 << 10;

/// Makes a folder that is empty.
pub(super) fn empty(folder: &Path) -> io::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)
}

/// The end of what a process wrote into its log, from this byte on.
pub(super) fn tail(log: &Path, from: u64) -> String {
    let read = || {
        let mut file = File::open(log)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(from.max(end.saturating_sub(TAIL_BYTES))))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok::<_, io::Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_default()
}

/// In the path of the database's sources. Where it panics at a page that a disk has altered, the store catches it, takes it for
/// what it is, and says so; only the words of the panic are in the log all the same.
const DATABASE: &str = "/redb-";

/// Where a process says that it stopped at an assertion of its own: Rust's words and Go's.
pub(super) fn panic_in(tail: &str) -> Option<String> {
    let lines: Vec<&str> = tail.lines().collect();
    let is_rusts = |line: &str| line.contains("panicked at ") && !line.contains(DATABASE);
    let at = lines.iter().position(|line| is_rusts(line) || line.starts_with("panic: "))?;
    // Rust has the message in the next line.
    let end = if lines[at].contains("panicked at ") { at + 2 } else { at + 1 };
    Some(lines[at..end.min(lines.len())].join(" "))
}

/// The last line that says something.
pub(super) fn last_words(tail: &str) -> String {
    let said = |line: &&str| !line.trim().is_empty() && !line.starts_with("hint:");
    tail.lines().rev().find(said).unwrap_or("it said nothing").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_found_in_both_tongues_with_its_message() {
        let rust =
            "INFO a\n\nthread 'main' (7) panicked at src/x.rs:1:2:\napplied 7 beyond commit 6\nnote: run";
        let found = panic_in(rust).unwrap();
        assert!(found.ends_with("src/x.rs:1:2: applied 7 beyond commit 6"), "{found}");
        let go = "{\"level\":\"panic\"}\npanic: tocommit(9) is out of range [lastIndex(4)]\n\ngoroutine 1";
        assert_eq!(panic_in(go).unwrap(), "panic: tocommit(9) is out of range [lastIndex(4)]");
        let caught = "thread 'disk-1' (9) panicked at /x/redb-4.6.0/src/tree_store/btree_base.rs:35:22:\nInvalid page\n";
        assert_eq!(panic_in(caught), None);
        assert!(panic_in(&format!("{caught}{rust}")).unwrap().ends_with("commit 6"), "another one is found");
        assert_eq!(panic_in("WARN no panic here\nall is well"), None);
    }

    #[test]
    fn the_last_words_are_no_hint_and_no_empty_line() {
        assert_eq!(
            last_words("a\nseatrial: the disk is full\nhint: free some\n\n"),
            "seatrial: the disk is full"
        );
        assert_eq!(last_words(""), "it said nothing");
    }
}
