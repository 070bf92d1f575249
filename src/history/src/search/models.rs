//! The objects that recorded histories of other tools speak of.

use super::Model;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

/// One register with compare-and-swap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CasRegister {
    /// What it holds at first; `None` is nil.
    pub initial: Option<i64>,
}

/// What a [`CasRegister`] holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell(pub Option<i64>);

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => write!(f, "{value}"),
            None => f.write_str("nil"),
        }
    }
}

/// An operation on a [`CasRegister`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegisterOp {
    /// Read this value.
    Read(Option<i64>),
    /// Write this value.
    Write(i64),
    /// Write `new` where the register holds `expected`.
    Cas {
        /// What it must hold.
        expected: i64,
        /// What it then holds.
        new: i64,
        /// Whether it did; `None` where no answer came.
        swapped: Option<bool>,
    },
}

impl fmt::Display for RegisterOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(value) => write!(f, "read {}", Cell(*value)),
            Self::Write(value) => write!(f, "write {value}"),
            Self::Cas { expected, new, swapped } => {
                write!(f, "cas {expected}->{new}")?;
                if *swapped == Some(false) { f.write_str(" refused") } else { Ok(()) }
            }
        }
    }
}

impl Model for CasRegister {
    type State = Cell;
    type Op = RegisterOp;

    fn initial(&self) -> Cell {
        Cell(self.initial)
    }

    fn step(&self, state: &Cell, op: &RegisterOp) -> Option<Cell> {
        match *op {
            RegisterOp::Read(value) => (state.0 == value).then_some(*state),
            RegisterOp::Write(value) => Some(Cell(Some(value))),
            RegisterOp::Cas { expected, new, swapped } => {
                let held = state.0 == Some(expected);
                let after = if held { Cell(Some(new)) } else { *state };
                swapped.is_none_or(|swapped| swapped == held).then_some(after)
            }
        }
    }

    fn is_read(&self, op: &RegisterOp) -> bool {
        match *op {
            RegisterOp::Read(_) => true,
            RegisterOp::Write(_) => false,
            RegisterOp::Cas { expected, new, swapped } => swapped == Some(false) || expected == new,
        }
    }
}

/// Several registers, read and written together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MultiRegister {
    /// What they hold at first.
    pub initial: BTreeMap<String, i64>,
    /// What a register holds at first that is not listed.
    pub others: Unlisted,
}

/// What a register holds at first of which nothing is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Unlisted {
    /// Nil.
    #[default]
    Nil,
    /// Whatever makes the history linearizable, if anything does.
    Anything,
}

/// What the registers of a [`MultiRegister`] hold, those of which something is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cells(pub BTreeMap<String, Option<i64>>);

impl fmt::Display for Cells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing written");
        }
        for (place, (register, value)) in self.0.iter().enumerate() {
            let space = if place > 0 { " " } else { "" };
            write!(f, "{space}{register}={}", Cell(*value))?;
        }
        Ok(())
    }
}

/// A transaction on a [`MultiRegister`].
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MultiRegisterOp(pub Vec<RegisterStep>);

/// One step of a [`MultiRegisterOp`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegisterStep {
    /// Read a register.
    Read {
        /// Which.
        register: String,
        /// What it held (`Some(None)`: nil); `None` where no answer came.
        value: Option<Option<i64>>,
    },
    /// Write a register.
    Write {
        /// Which.
        register: String,
        /// What it then holds.
        value: i64,
    },
}

impl RegisterStep {
    /// Which register it reads or writes.
    #[must_use]
    pub fn register(&self) -> &String {
        match self {
            Self::Read { register, .. } | Self::Write { register, .. } => register,
        }
    }
}

impl fmt::Display for MultiRegisterOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str(", ")?;
            }
            match step {
                RegisterStep::Read { register, value: Some(value) } => {
                    write!(f, "read {register}={}", Cell(*value))?
                }
                RegisterStep::Read { register, value: None } => write!(f, "read {register}")?,
                RegisterStep::Write { register, value } => write!(f, "write {register}={value}")?,
            }
        }
        Ok(())
    }
}

impl Model for MultiRegister {
    type State = Cells;
    type Op = MultiRegisterOp;

    fn initial(&self) -> Cells {
        Cells(self.initial.iter().map(|(register, value)| (register.clone(), Some(*value))).collect())
    }

    fn step(&self, state: &Cells, op: &MultiRegisterOp) -> Option<Cells> {
        let mut after = state.clone();
        for step in &op.0 {
            match step {
                RegisterStep::Read { value: None, .. } => {}
                RegisterStep::Read { register, value: Some(value) } => match after.0.get(register) {
                    Some(held) if held != value => return None,
                    Some(_) => {}
                    // The first to look settles what was there.
                    None if self.others == Unlisted::Anything => {
                        after.0.insert(register.clone(), *value);
                    }
                    None if value.is_some() => return None,
                    None => {}
                },
                RegisterStep::Write { register, value } => {
                    after.0.insert(register.clone(), Some(*value));
                }
            }
        }
        Some(after)
    }

    // Where a read settles what was there at first, it changes the state, and the search sees that.
    fn is_read(&self, op: &MultiRegisterOp) -> bool {
        op.0.iter().all(|step| matches!(step, RegisterStep::Read { .. }))
    }

    fn keys(&self, op: &MultiRegisterOp) -> Option<Vec<Vec<u8>>> {
        Some(op.0.iter().map(|step| step.register().clone().into_bytes()).collect())
    }
}

/// A text with get, put and append; empty at first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AppendText {
    /// All that was ever read, in order; `None` where that is not known.
    read: Option<Vec<String>>,
}

impl AppendText {
    /// A model for these operations: texts with which no answer begins are not told apart. Without that,
    /// appends that nobody read before a put make a state for each of their orders.
    pub fn of<'a>(operations: impl IntoIterator<Item = &'a AppendStep>) -> Self {
        let texts = operations.into_iter().filter_map(|step| match step {
            AppendStep::Get(text) => Some(text.clone()),
            AppendStep::Put(_) | AppendStep::Append(_) => None,
        });
        let mut read: Vec<String> = texts.collect();
        read.sort_unstable();
        read.dedup();
        Self { read: Some(read) }
    }

    fn state(&self, text: String) -> Text {
        let is_read = self.read.as_ref().is_none_or(|read| {
            // The texts that begin with it are neighbours.
            let first = read.partition_point(|other| *other < text);
            read.get(first).is_some_and(|other| other.starts_with(&text))
        });
        Text { text, is_unread: !is_read }
    }
}

/// What an [`AppendText`] holds.
#[derive(Clone, Debug, Default)]
pub struct Text {
    text: String,
    /// Whether no answer begins with it. All such texts are equal.
    is_unread: bool,
}

impl Text {
    /// The text, or one that stands for all that nobody read.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    fn key(&self) -> Option<&str> {
        (!self.is_unread).then_some(&self.text)
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Text {}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        quoted(f, &self.text)?;
        if self.is_unread { f.write_str(", or another that nobody read") } else { Ok(()) }
    }
}

/// For people: quoted; of a long text the end, which is what operations differ in.
pub(super) fn quoted(f: &mut impl fmt::Write, text: &str) -> fmt::Result {
    const SHOWN_MAX: usize = 40;
    let long = text.chars().count().saturating_sub(SHOWN_MAX);
    if long == 0 {
        return write!(f, "{text:?}");
    }
    let end: String = text.chars().skip(long).collect();
    write!(f, "…{end:?} ({} bytes)", text.len())
}

/// An operation on an [`AppendText`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AppendStep {
    /// Read this text.
    Get(String),
    /// Replace.
    Put(String),
    /// Add at the end.
    Append(String),
}

impl fmt::Display for AppendStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, text) = match self {
            Self::Get(text) => ("get", text),
            Self::Put(text) => ("put", text),
            Self::Append(text) => ("append", text),
        };
        write!(f, "{word} ")?;
        quoted(f, text)
    }
}

impl Model for AppendText {
    type State = Text;
    type Op = AppendStep;

    fn initial(&self) -> Text {
        self.state(String::new())
    }

    fn step(&self, state: &Text, op: &AppendStep) -> Option<Text> {
        match op {
            AppendStep::Get(text) => (state.key() == Some(text)).then(|| state.clone()),
            AppendStep::Put(text) => Some(self.state(text.clone())),
            // What nobody read does not become so by more.
            AppendStep::Append(_) if state.is_unread => Some(state.clone()),
            AppendStep::Append(text) => Some(self.state(format!("{}{text}", state.text))),
        }
    }

    fn is_read(&self, op: &AppendStep) -> bool {
        matches!(op, AppendStep::Get(_))
    }

    // A text only grows until it is replaced.
    fn rules_out(&self, state: &Text, op: &AppendStep) -> bool {
        matches!(op, AppendStep::Get(text) if state.key().is_none_or(|held| !text.starts_with(held)))
    }

    fn renews(&self, op: &AppendStep) -> bool {
        matches!(op, AppendStep::Put(_))
    }
}
