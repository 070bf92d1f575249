//! Recorded histories of other tools, and our own.
//!
//! Those of others list events: `:invoke`, and one of `:ok`, `:fail`, `:info`, per process in turn. Time is
//! the place of an event in the list. `:info`, or no completion, leaves the outcome unknown. [`read`] tells the
//! format and the model by the content; docs/check-history.md shows each with an example.

mod detect;
mod edn;
mod events;
mod log;
mod operations;

pub use detect::{Format, ModelName};
pub use edn::{Edn, EdnError, read_all};
pub use operations::{FailedCas, Initial};

use crate::jsonl;
use crate::op::History;
use crate::search::{AppendStep, AppendText, CasRegister, MultiRegister, MultiRegisterOp, RegisterOp, Timed};
use events::Wrong;

/// A recording could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {why}")]
pub struct ReadError {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong there, and what was expected.
    pub why: String,
    /// What to try, where something is known.
    pub hint: Option<String>,
}

/// What a reader is told beside the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The format; told by the content where it is not given.
    pub format: Option<Format>,
    /// The model; told by the content where it is not given.
    pub model: Option<ModelName>,
    /// What a failed compare-and-swap says; by the format where it is not given.
    pub failed_cas: Option<FailedCas>,
    /// What registers hold at first.
    pub initial: Initial,
}

/// The operations on one object: those on one key, or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<O> {
    /// The key, where keys are independent of each other.
    pub key: Option<String>,
    /// Its operations, by call.
    pub operations: Vec<Timed<O>>,
}

impl Part<AppendStep> {
    /// The model of its text.
    #[must_use]
    pub fn text_model(&self) -> AppendText {
        AppendText::of(self.operations.iter().map(|operation| &operation.op))
    }
}

/// What there is to judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Registers with compare-and-swap, each for itself.
    Register(CasRegister, Vec<Part<RegisterOp>>),
    /// Transactions over several registers.
    MultiRegister(MultiRegister, Vec<Timed<MultiRegisterOp>>),
    /// Texts that are replaced and appended to, each for itself.
    Append(Vec<Part<AppendStep>>),
    /// Operations on an etcd-like store, with revisions.
    Etcd(History),
}

/// A history as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// In which format.
    pub format: Format,
    /// By which model it is to be judged.
    pub model: ModelName,
    /// The operations. Those which certainly did not happen, and reads without an answer, are left out.
    pub content: Content,
    /// The line of each event, by its time; empty for our own format, whose times are those of clocks.
    pub lines: Vec<usize>,
    /// What was taken for granted, for people.
    pub notes: Vec<String>,
}

impl Recording {
    /// How many operations there are to judge.
    #[must_use]
    pub fn operations(&self) -> usize {
        match &self.content {
            Content::Register(_, parts) => parts.iter().map(|part| part.operations.len()).sum(),
            Content::MultiRegister(_, operations) => operations.len(),
            Content::Append(parts) => parts.iter().map(|part| part.operations.len()).sum(),
            Content::Etcd(history) => history.operations.len(),
        }
    }
}

/// The format of a text, by how it begins.
///
/// # Errors
/// Where it begins like none of them.
pub fn detect(text: &str) -> Result<Format, ReadError> {
    detect::format(text)
}

/// Reads a history.
///
/// # Errors
/// The first place at which the text is not what its format wants; a format or model that cannot be told;
/// a model that does not go with the format.
pub fn read(text: &str, options: &Options) -> Result<Recording, ReadError> {
    let format = match options.format {
        Some(format) => format,
        None => detect::format(text)?,
    };
    if format == Format::Seatrial {
        return read_ours(text, options);
    }
    let events = match format {
        Format::JepsenLog => log::events(text),
        _ => events::of_edn(text),
    };
    recording(text, format, options, events).map_err(|wrong| wrong.at(text))
}

fn recording(
    text: &str,
    format: Format,
    options: &Options,
    events: Result<Vec<events::Event>, Wrong>,
) -> Result<Recording, Wrong> {
    let events = events?;
    let model = match options.model {
        Some(model) => model,
        None => detect::model(format, &events)?,
    };
    let lines = events::lines(text, &events);
    let pairs = events::pair(events)?;
    let failed_cas = options.failed_cas.unwrap_or(match format {
        Format::JepsenLog => FailedCas::Mismatch,
        _ => FailedCas::Nothing,
    });
    let mut notes = Vec::new();
    let content = match model {
        ModelName::CasRegister => {
            let initial = options.initial.single().map_err(|why| Wrong::new(0, why))?;
            let parts = operations::registers(&pairs, failed_cas)?;
            Content::Register(CasRegister { initial }, parts)
        }
        ModelName::MultiRegister => {
            let operations = operations::transactions(&pairs)?;
            let (model, note) = operations::multi_register(&options.initial, &operations);
            notes.extend(note);
            Content::MultiRegister(model, operations)
        }
        ModelName::KvAppend => Content::Append(operations::appends(&pairs)?),
        ModelName::Etcd => {
            let why = format!("the format {format} has no revisions, which the model etcd judges by");
            return Err(Wrong::new(0, why).hint("leave --model out, and the model is told by the content"));
        }
    };
    Ok(Recording { format, model, content, lines, notes })
}

fn read_ours(text: &str, options: &Options) -> Result<Recording, ReadError> {
    if let Some(model) = options.model.filter(|&model| model != ModelName::Etcd) {
        return Err(ReadError {
            line: 1,
            column: 1,
            why: format!("a history in the format seatrial is judged by the model etcd, not by {model}"),
            hint: Some("leave --model out".to_owned()),
        });
    }
    let history = jsonl::from_json_lines(text).map_err(|error| {
        let hint = "docs/check-history.md shows the fields of a line";
        let (line, column, hint) = match &error {
            jsonl::ParseError::Line { line, column, .. } => (*line, *column, hint),
            jsonl::ParseError::Newer { .. } => (1, 1, "read it with the version that wrote it"),
        };
        let why = match error {
            jsonl::ParseError::Line { why, .. } => why,
            newer @ jsonl::ParseError::Newer { .. } => newer.to_string(),
        };
        ReadError { line, column, why, hint: Some(hint.to_owned()) }
    })?;
    Ok(Recording {
        format: Format::Seatrial,
        model: ModelName::Etcd,
        content: Content::Etcd(history),
        lines: Vec::new(),
        notes: Vec::new(),
    })
}
