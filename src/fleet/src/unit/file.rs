//! Unit files: systemd's syntax with the reading that fleet gave it, and the hash by which fleet names a file.

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};
use std::fmt;

/// The longest line, in bytes. Fleet stopped at 2,048, for the systemd of its day cut such lines off without a word.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// The largest file, in bytes: it must fit into one request to the store.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// One line of a file: `name=value` in a section.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnitOption {
    /// Without the brackets.
    pub section: String,
    /// Before the `=`.
    pub name: String,
    /// Behind it. Lines that were continued are still lines, each with its backslash.
    pub value: String,
}

impl UnitOption {
    /// An option.
    #[must_use]
    pub fn new(section: &str, name: &str, value: &str) -> Self {
        Self { section: section.to_owned(), name: name.to_owned(), value: value.to_owned() }
    }

    /// The value as systemd reads it: where a line goes on, the backslash is a blank, the next line's indent is gone, and
    /// comments in between do not count.
    #[must_use]
    pub fn value_in_one_line(&self) -> String {
        let mut lines = self.value.split('\n').enumerate().peekable();
        let mut joined = String::with_capacity(self.value.len());
        while let Some((at, line)) = lines.next() {
            let line = if at == 0 { line } else { line.trim_start() };
            if at > 0 && line.starts_with(['#', ';']) {
                continue;
            }
            match line.strip_suffix('\\').filter(|_| lines.peek().is_some()) {
                Some(begun) => {
                    joined.push_str(begun);
                    joined.push(' ');
                }
                None => joined.push_str(line),
            }
        }
        joined
    }
}

/// Why a text is no unit file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FileError {
    /// Something that is no comment stands before the first section.
    #[error(
        "line {line}: {text:?} stands before the first section\nhint: begin with a section such as [Unit]"
    )]
    BeforeSection {
        /// Counted from 1.
        line: usize,
        /// What stands there.
        text: String,
    },
    /// `[Unit` and no `]`.
    #[error("line {line}: the section {text:?} has no end\nhint: write it as [Unit]")]
    OpenSection {
        /// Counted from 1.
        line: usize,
        /// What stands there.
        text: String,
    },
    /// `[Unit] and more`.
    #[error("line {line}: {text:?} stands behind the name of a section\nhint: begin a new line")]
    BehindSection {
        /// Counted from 1.
        line: usize,
        /// What stands there.
        text: String,
    },
    /// No `=`.
    #[error(
        "line {line}: {text:?} is no option\nhint: write Name=value; a line goes on only where the one before ends with a backslash"
    )]
    NoOption {
        /// Counted from 1.
        line: usize,
        /// What stands there.
        text: String,
    },
    /// More than [`LINE_BYTES_MAX`].
    #[error("line {line}: too long (max {LINE_BYTES_MAX} bytes)")]
    LineTooLong {
        /// Counted from 1.
        line: usize,
    },
    /// More than [`FILE_BYTES_MAX`].
    #[error(
        "the file has {bytes} bytes (max {FILE_BYTES_MAX})\nhint: put what is large where the unit can fetch it"
    )]
    TooLarge {
        /// How large it is.
        bytes: usize,
    },
    /// An option which, written into a file, would be read as something else.
    #[error(
        "[{section}] {name}={value:?} would not be read back as it is\nhint: no line breaks without a backslash before them, and no brackets in the name of a section"
    )]
    NotReadBack {
        /// Its section.
        section: String,
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
}

/// The SHA-1 of a file as [`UnitFile::render`] writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitHash(pub [u8; 20]);

impl UnitHash {
    /// Seven hexadecimal digits, as people are shown it.
    #[must_use]
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(7);
        text
    }

    /// Reads forty hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 40 {
            return None;
        }
        let mut bytes = [0; 20];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |c: u8| (c as char).to_digit(16);
            *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for UnitHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The options of a unit, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UnitFile {
    options: Vec<UnitOption>,
}

impl UnitFile {
    /// Reads a file.
    ///
    /// Sections and options repeat as often as they like and keep their order. Comments begin with `#` or `;`. A
    /// backslash at the end of a line goes on with the next one; the value keeps both.
    ///
    /// # Errors
    /// The first line that is none, by its number.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        if text.len() > FILE_BYTES_MAX {
            return Err(FileError::TooLarge { bytes: text.len() });
        }
        let lines = text.split('\n').enumerate().map(|(at, line)| (at + 1, line));
        let mut lines = lines.peekable();
        let mut options = Vec::new();
        let mut section: Option<&str> = None;
        while let Some((line, raw)) = lines.next() {
            if raw.len() > LINE_BYTES_MAX {
                return Err(FileError::LineTooLong { line });
            }
            let text = raw.trim();
            if text.is_empty() {
                continue;
            }
            if text.starts_with(['#', ';']) {
                // A comment goes on like any other line.
                let mut comment = raw;
                while ends_open(comment.strip_suffix(' ').unwrap_or(comment)) {
                    let Some((_, next)) = lines.next() else { break };
                    comment = next;
                }
                continue;
            }
            if let Some(rest) = text.strip_prefix('[') {
                let open = || FileError::OpenSection { line, text: text.to_owned() };
                let (name, behind) = rest.split_once(']').ok_or_else(open)?;
                if !behind.trim().is_empty() {
                    return Err(FileError::BehindSection { line, text: behind.trim().to_owned() });
                }
                section = Some(name);
                continue;
            }
            let Some(section) = section else {
                return Err(FileError::BeforeSection { line, text: text.to_owned() });
            };
            let no_option = || FileError::NoOption { line, text: text.to_owned() };
            let (name, first) = raw.split_once('=').ok_or_else(no_option)?;
            let name = name.trim();
            if name.is_empty() {
                return Err(no_option());
            }
            let mut value = String::new();
            let mut part = first;
            loop {
                if part.trim().is_empty() {
                    break;
                }
                value.push_str(part);
                if !ends_open(part) {
                    break;
                }
                // The end of the text is no line break.
                let Some((line, next)) = lines.next() else { break };
                if next.len() > LINE_BYTES_MAX {
                    return Err(FileError::LineTooLong { line });
                }
                value.push('\n');
                part = next;
            }
            let is_open = value.ends_with('\n');
            let mut value = value.trim().to_owned();
            if is_open {
                value.push('\n');
            }
            options.push(UnitOption { section: section.to_owned(), name: name.to_owned(), value });
        }
        Ok(Self { options })
    }

    /// A file of these options, as they come from a client.
    ///
    /// # Errors
    /// Where a file with these options would be read as another one, and where it is too large.
    pub fn from_options(options: Vec<UnitOption>) -> Result<Self, FileError> {
        let file = Self { options };
        let grouped: Vec<&UnitOption> =
            file.sections().into_iter().flat_map(|(_, options)| options).collect();
        let again = Self::parse(&file.render())?;
        let differs = grouped.iter().enumerate().find(|(at, option)| {
            // A file says nothing of the blanks around a value.
            !again.options.get(*at).is_some_and(|read| {
                (&read.section, &read.name) == (&option.section, &option.name)
                    && read.value.trim() == option.value.trim()
            })
        });
        let too_many =
            || grouped.last().map(|last| (0, last)).filter(|_| again.options.len() > grouped.len());
        if let Some((_, option)) = differs.or_else(too_many) {
            let UnitOption { section, name, value } = (**option).clone();
            return Err(FileError::NotReadBack { section, name, value });
        }
        Ok(file)
    }

    /// The options, in order.
    #[must_use]
    pub fn options(&self) -> &[UnitOption] {
        &self.options
    }

    /// The values of an option, in order.
    pub fn values<'a>(&'a self, section: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        let found =
            self.options.iter().filter(move |option| option.section == section && option.name == name);
        found.map(|option| option.value.as_str())
    }

    /// What `[Unit] Description=` says first, or nothing.
    #[must_use]
    pub fn description(&self) -> &str {
        self.values("Unit", "Description").next().unwrap_or_default()
    }

    /// The sections in the order in which each is first used, with all their options.
    fn sections(&self) -> Vec<(&str, Vec<&UnitOption>)> {
        let mut sections: Vec<(&str, Vec<&UnitOption>)> = Vec::new();
        for option in &self.options {
            match sections.iter_mut().find(|(name, _)| *name == option.section) {
                Some((_, options)) => options.push(option),
                None => sections.push((&option.section, vec![option])),
            }
        }
        sections
    }

    /// The file as fleet writes it: each section once, an empty line between two.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        for (at, (section, options)) in self.sections().into_iter().enumerate() {
            if at > 0 {
                out.push('\n');
            }
            out.push_str(&format!("[{section}]\n"));
            for UnitOption { name, value, .. } in options {
                out.push_str(&format!("{name}={value}\n"));
            }
        }
        out
    }

    /// The hash of [`UnitFile::render`].
    #[must_use]
    pub fn hash(&self) -> UnitHash {
        UnitHash(Sha1::digest(self.render()).into())
    }
}

/// The next line belongs to this one. With a carriage return behind the backslash it does not, as in fleet.
fn ends_open(line: &str) -> bool {
    line.ends_with('\\')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_that_go_on_are_one_line_to_systemd() {
        for (value, read) in [
            ("/bin/a b", "/bin/a b"),
            ("/bin/a \\\n  b \\\n\tc", "/bin/a  b  c"),
            ("/bin/a \\\n# why \\\n  b", "/bin/a  b"),
            ("/bin/a\\\n", "/bin/a "),
            // No line follows: the backslash is one.
            ("/bin/a \\", "/bin/a \\"),
            ("/bin/a \\\\n b", "/bin/a \\\\n b"),
        ] {
            assert_eq!(UnitOption::new("Service", "ExecStart", value).value_in_one_line(), read, "{value:?}");
        }
    }

    fn read(text: &str) -> Vec<(String, String, String)> {
        let file = UnitFile::parse(text).unwrap();
        file.options.into_iter().map(|option| (option.section, option.name, option.value)).collect()
    }

    fn option(section: &str, name: &str, value: &str) -> (String, String, String) {
        (section.to_owned(), name.to_owned(), value.to_owned())
    }

    #[test]
    fn options_keep_their_order_and_repeat() {
        let text = "# a comment\n\n[Unit]\nAfter = a\n; another\nAfter=b\r\n[Service]\n  ExecStart=/bin/x --a=b\n[Unit]\nAfter=\n";
        let expected = [
            option("Unit", "After", "a"),
            option("Unit", "After", "b"),
            option("Service", "ExecStart", "/bin/x --a=b"),
            option("Unit", "After", ""),
        ];
        assert_eq!(read(text), expected);
    }

    #[test]
    fn a_line_goes_on_behind_a_backslash_and_keeps_it() {
        let value = |text: &str| read(&format!("[S]\nA={text}")).remove(0).2;
        assert_eq!(value("b \\\n  c \\\n  d\nE=f"), "b \\\n  c \\\n  d");
        assert_eq!(value("b \\ c\nE=f"), "b \\ c");
        // An empty line ends it, and the line break stays.
        assert_eq!(value("b \\\n\nE=f"), "b \\\n");
        assert_eq!(value("b \\"), "b \\");
        assert_eq!(read("[S]\n# a \\\nB=c\nD=e"), [option("S", "D", "e")]);
    }

    #[test]
    fn what_is_no_option_is_named_by_its_line() {
        for (text, said) in [
            ("\nA=b\n[S]\n", "line 2: \"A=b\" stands before the first section"),
            ("[S]\nA=b\n[T\nC=d", "line 3: the section \"[T\" has no end"),
            ("[S] x\n", "line 1: \"x\" stands behind the name of a section"),
            ("[S]\n\nplain\n", "line 3: \"plain\" is no option"),
            ("[S]\n=b\n", "line 2: \"=b\" is no option"),
        ] {
            let error = UnitFile::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(said) && error.contains("\nhint: "), "{error}");
        }
        assert!(
            UnitFile::parse(&"x".repeat(FILE_BYTES_MAX + 1)).unwrap_err().to_string().contains("1048577")
        );
        assert_eq!(UnitFile::parse("").unwrap(), UnitFile::default());
    }

    #[test]
    fn a_file_is_written_by_sections_in_the_order_of_their_first_use() {
        let file = UnitFile::parse("[B]\nx=1\n[A]\ny=2\n\n\n[B]\nz=3\n").unwrap();
        assert_eq!(file.render(), "[B]\nx=1\nz=3\n\n[A]\ny=2\n");
        assert_eq!(UnitFile::default().render(), "");
    }

    #[test]
    fn the_hash_is_fleets() {
        // The example of fleet's documentation, which shows this hash.
        let hello = "[Unit]\nDescription=Hello World\n\n[Service]\nExecStart=/bin/bash -c \"while true; do echo \\\"Hello, world\\\"; sleep 1; done\"\n";
        let hash = UnitFile::parse(hello).unwrap().hash();
        assert_eq!(UnitHash::from_hex(&hash.to_string()), Some(hash));
        assert_eq!(hash.short(), "e55c0ae");
        assert_eq!(UnitHash::from_hex("e55c0ae"), None);
        assert_eq!(UnitHash::from_hex(&"g".repeat(40)), None);
    }

    #[test]
    fn options_that_would_be_read_as_others_are_refused() {
        let with = |section: &str, name: &str, value: &str| {
            let rest = UnitOption::new("Service", "ExecStart", "/bin/true");
            UnitFile::from_options(vec![UnitOption::new(section, name, value), rest])
        };
        assert!(with("Unit", "Description", " fine ").is_ok());
        assert!(with("Unit", "Description", "go \\\n on").is_ok());
        for (section, name, value) in [
            ("Unit", "Description", "a\nExecStart=/bin/evil"),
            ("Service", "Description", "a \\"),
            ("Un]it", "Description", "a"),
            ("Unit", "#Description", "a"),
            ("Unit", "De=scription", "a"),
            ("Unit", "", "a"),
            ("Unit]\n[X", "a", "b"),
        ] {
            assert!(with(section, name, value).is_err(), "[{section}] {name}={value:?}");
        }
    }

    prop_compose! {
        fn any_option()(
            section in "[A-Z][a-z]{0,3}",
            name in "[A-Z][A-Za-z]{0,4}",
            value in "([ -~&&[^\\\\ ]]([ -~&&[^\\\\]]{0,6}[ -~&&[^\\\\ ]])?( \\\\\n [a-z]{1,3})?)?",
        ) -> UnitOption {
            UnitOption { section, name, value }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(options in prop::collection::vec(any_option(), 0..8)) {
            let file = UnitFile::from_options(options).unwrap();
            let again = UnitFile::parse(&file.render()).unwrap();
            prop_assert_eq!(again.render(), file.render());
            prop_assert_eq!(again.hash(), file.hash());
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(\\[|\\]|=|\\\\|#|;|\n|\r| |[a-c]){0,40}") {
            if let Ok(file) = UnitFile::parse(&text) {
                prop_assert!(file.options().iter().all(|option| !option.name.is_empty()));
            }
        }
    }
}
