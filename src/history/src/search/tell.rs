//! What a model can say of its operations beside their steps: enough to make a failing history small without
//! changing what it proves, and to put the failure into words.

use super::Model;
use super::models::{
    AppendStep, AppendText, CasRegister, Cell, Cells, MultiRegister, MultiRegisterOp, RegisterOp,
    RegisterStep, Text, quoted,
};

/// A model whose failures can be explained.
///
/// The first four say what may be left out of a history that is not linearizable so that what is left is
/// still a proof: *if the whole were linearizable, so would be the rest*.
pub trait Tell: Model {
    /// What remains of an operation whose answer nobody has heard yet; `None` where nothing does, as of a
    /// read. Where its answer was possible, the state after it is the same.
    fn unanswered(&self, op: &Self::Op) -> Option<Self::Op>;

    /// Whether `other` may have needed what `op` left behind: whether, in any order, `op` could not be
    /// taken away from before it. Where no `other` may, an order of all is one of all without `op`.
    fn needs(&self, other: &Self::Op, op: &Self::Op) -> bool;

    /// Whether `op` is possible on every state.
    fn always_fits(&self, op: &Self::Op) -> bool;

    /// Whether the state after `op` is the same whatever it was before.
    fn resets(&self, op: &Self::Op) -> bool;

    /// What the answer of `op` says of the moment it took effect, after "can": "the register have held 2".
    fn claim(&self, op: &Self::Op) -> String;

    /// Why `op` cannot have come on `state`, on which it is impossible.
    fn why_not(&self, state: &Self::State, op: &Self::Op) -> String;

    /// Whether `op` brought about what `seer` saw.
    fn is_origin(&self, op: &Self::Op, seer: &Self::Op) -> bool {
        self.needs(seer, op)
    }

    /// Whether what `op` left behind is not to be seen in the answer of `seer`, though nothing but a reset
    /// takes it away.
    fn is_missing(&self, op: &Self::Op, seer: &Self::Op) -> bool {
        let _ = (op, seer);
        false
    }
}

impl RegisterOp {
    /// What it leaves in the register, where it changes it at all.
    fn leaves(&self) -> Option<i64> {
        match *self {
            Self::Read(_) | Self::Cas { swapped: Some(false), .. } => None,
            Self::Write(value) => Some(value),
            Self::Cas { new, .. } => Some(new),
        }
    }
}

impl Tell for CasRegister {
    fn unanswered(&self, op: &RegisterOp) -> Option<RegisterOp> {
        match *op {
            RegisterOp::Read(_) => None,
            RegisterOp::Write(value) => Some(RegisterOp::Write(value)),
            RegisterOp::Cas { expected, new, .. } => Some(RegisterOp::Cas { expected, new, swapped: None }),
        }
    }

    /// After `op` the register holds what it wrote, until the next write. Who can have come in that time?
    fn needs(&self, other: &RegisterOp, op: &RegisterOp) -> bool {
        let Some(left) = op.leaves() else { return false };
        match *other {
            RegisterOp::Read(value) => value == Some(left),
            RegisterOp::Write(_) => false,
            RegisterOp::Cas { expected, swapped: Some(false), .. } => expected != left,
            RegisterOp::Cas { expected, .. } => expected == left,
        }
    }

    fn always_fits(&self, op: &RegisterOp) -> bool {
        matches!(op, RegisterOp::Write(_))
    }

    fn resets(&self, op: &RegisterOp) -> bool {
        matches!(op, RegisterOp::Write(_))
    }

    fn claim(&self, op: &RegisterOp) -> String {
        match *op {
            RegisterOp::Read(value) => format!("the register have held {}", Cell(value)),
            RegisterOp::Cas { expected, swapped: Some(false), .. } => {
                format!("the register have held anything but {expected}")
            }
            RegisterOp::Cas { expected, .. } => format!("the register have held {expected}"),
            RegisterOp::Write(_) => "it have been written".to_owned(),
        }
    }

    fn why_not(&self, _: &Cell, op: &RegisterOp) -> String {
        match *op {
            RegisterOp::Read(value) => format!("the read answered {}", Cell(value)),
            RegisterOp::Cas { expected, swapped: Some(false), .. } => {
                format!("the swap was refused, which {expected} would have allowed")
            }
            RegisterOp::Cas { expected, .. } => format!("the swap was done, which only {expected} allows"),
            RegisterOp::Write(_) => "a write fits everywhere".to_owned(),
        }
    }

    fn is_origin(&self, op: &RegisterOp, seer: &RegisterOp) -> bool {
        !matches!(seer, RegisterOp::Cas { swapped: Some(false), .. }) && self.needs(seer, op)
    }
}

impl Tell for MultiRegister {
    fn unanswered(&self, op: &MultiRegisterOp) -> Option<MultiRegisterOp> {
        let forget = |step: &RegisterStep| match step {
            RegisterStep::Read { register, .. } => {
                RegisterStep::Read { register: register.clone(), value: None }
            }
            write @ RegisterStep::Write { .. } => write.clone(),
        };
        (!self.is_read(op)).then(|| MultiRegisterOp(op.0.iter().map(forget).collect()))
    }

    fn needs(&self, other: &MultiRegisterOp, op: &MultiRegisterOp) -> bool {
        op.0.iter().any(|step| match step {
            RegisterStep::Read { .. } => false,
            RegisterStep::Write { register: written, value: left } => other.0.iter().any(|step| {
                matches!(step, RegisterStep::Read { register, value: Some(Some(value)) }
                    if register == written && value == left)
            }),
        })
    }

    fn always_fits(&self, op: &MultiRegisterOp) -> bool {
        !op.0.iter().any(|step| matches!(step, RegisterStep::Read { value: Some(_), .. }))
    }

    fn resets(&self, _: &MultiRegisterOp) -> bool {
        false
    }

    fn claim(&self, op: &MultiRegisterOp) -> String {
        let reads: Vec<String> =
            op.0.iter()
                .filter_map(|step| match step {
                    RegisterStep::Read { register, value: Some(value) } => {
                        Some(format!("{register}={}", Cell(*value)))
                    }
                    _ => None,
                })
                .collect();
        format!("the registers have held {}", reads.join(" "))
    }

    fn why_not(&self, state: &Cells, op: &MultiRegisterOp) -> String {
        let mut held = state.0.clone();
        for step in &op.0 {
            match step {
                RegisterStep::Read { register, value: Some(value) }
                    if *value != held.get(register).copied().flatten() =>
                {
                    return format!("the answer was {register}={}", Cell(*value));
                }
                RegisterStep::Read { .. } => {}
                RegisterStep::Write { register, value } => {
                    held.insert(register.clone(), Some(*value));
                }
            }
        }
        "it fits".to_owned()
    }
}

fn show(text: &str) -> String {
    let mut shown = String::new();
    quoted(&mut shown, text).expect("a String takes all that is written to it");
    shown
}

impl Tell for AppendText {
    fn unanswered(&self, op: &AppendStep) -> Option<AppendStep> {
        (!self.is_read(op)).then(|| op.clone())
    }

    /// What was put or appended is in the text until the next put.
    fn needs(&self, other: &AppendStep, op: &AppendStep) -> bool {
        match (other, op) {
            (AppendStep::Get(text), AppendStep::Put(left) | AppendStep::Append(left)) => text.contains(left),
            _ => false,
        }
    }

    fn always_fits(&self, op: &AppendStep) -> bool {
        !self.is_read(op)
    }

    fn resets(&self, op: &AppendStep) -> bool {
        matches!(op, AppendStep::Put(_))
    }

    fn claim(&self, op: &AppendStep) -> String {
        match op {
            AppendStep::Get(text) => format!("the text have been {}", show(text)),
            AppendStep::Put(_) | AppendStep::Append(_) => "it have been written".to_owned(),
        }
    }

    fn why_not(&self, state: &Text, op: &AppendStep) -> String {
        let AppendStep::Get(text) = op else { return "it fits everywhere".to_owned() };
        let held = state.text();
        let common = text.bytes().zip(held.bytes()).take_while(|(left, right)| left == right).count();
        let from = (0..=common).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        match (&text[from..], held.len() > common) {
            ("", _) => format!("the answer lacks the last {} bytes", held.len() - common),
            (rest, false) => format!("the answer goes on with {}", show(rest)),
            (rest, true) => format!("from byte {from} on the answer has {}", show(rest)),
        }
    }

    fn is_missing(&self, op: &AppendStep, seer: &AppendStep) -> bool {
        match (op, seer) {
            (AppendStep::Append(left), AppendStep::Get(text)) => !text.contains(left),
            _ => false,
        }
    }
}
