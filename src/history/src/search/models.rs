//! The objects that recorded histories of other tools speak of.

use super::Model;
use std::collections::BTreeMap;
use std::fmt;

/// One register with compare-and-swap, nil at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CasRegister;

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
        Cell(None)
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
    /// What they hold at first; a register not listed holds nil.
    pub initial: BTreeMap<String, i64>,
}

/// What the registers of a [`MultiRegister`] hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cells(pub BTreeMap<String, i64>);

impl fmt::Display for Cells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
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
    fn register(&self) -> &String {
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
        Cells(self.initial.clone())
    }

    fn step(&self, state: &Cells, op: &MultiRegisterOp) -> Option<Cells> {
        let mut after = state.clone();
        for step in &op.0 {
            match step {
                RegisterStep::Read { register, value } => {
                    let held = after.0.get(register).copied();
                    if value.is_some_and(|value| value != held) {
                        return None;
                    }
                }
                RegisterStep::Write { register, value } => {
                    after.0.insert(register.clone(), *value);
                }
            }
        }
        Some(after)
    }

    fn is_read(&self, op: &MultiRegisterOp) -> bool {
        op.0.iter().all(|step| matches!(step, RegisterStep::Read { .. }))
    }

    fn keys(&self, op: &MultiRegisterOp) -> Option<Vec<Vec<u8>>> {
        Some(op.0.iter().map(|step| step.register().clone().into_bytes()).collect())
    }
}

/// Text by key with get, put and append; empty at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AppendKv;

/// What an [`AppendKv`] holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Texts(pub BTreeMap<String, String>);

impl fmt::Display for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// An operation on an [`AppendKv`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppendOp {
    /// The key.
    pub key: String,
    /// What is done to it.
    pub step: AppendStep,
}

/// What an [`AppendOp`] does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AppendStep {
    /// Read; `None` where no answer came.
    Get(Option<String>),
    /// Replace.
    Put(String),
    /// Add at the end.
    Append(String),
}

impl fmt::Display for AppendOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.step {
            AppendStep::Get(Some(value)) => write!(f, "get {:?} = {value:?}", self.key),
            AppendStep::Get(None) => write!(f, "get {:?}", self.key),
            AppendStep::Put(value) => write!(f, "put {:?} = {value:?}", self.key),
            AppendStep::Append(value) => write!(f, "append {value:?} to {:?}", self.key),
        }
    }
}

impl Model for AppendKv {
    type State = Texts;
    type Op = AppendOp;

    fn initial(&self) -> Texts {
        Texts::default()
    }

    fn step(&self, state: &Texts, op: &AppendOp) -> Option<Texts> {
        let held = state.0.get(&op.key).map_or("", String::as_str);
        let after = match &op.step {
            AppendStep::Get(value) => {
                return value.as_ref().is_none_or(|value| value == held).then(|| state.clone());
            }
            AppendStep::Put(value) => value.clone(),
            AppendStep::Append(value) => format!("{held}{value}"),
        };
        let mut texts = state.clone();
        texts.0.insert(op.key.clone(), after);
        Some(texts)
    }

    fn is_read(&self, op: &AppendOp) -> bool {
        matches!(op.step, AppendStep::Get(_))
    }

    fn keys(&self, op: &AppendOp) -> Option<Vec<Vec<u8>>> {
        Some(vec![op.key.clone().into_bytes()])
    }
}
