//! Room `report`: makes files for people and machines out of finished runs.
//!
//! In goes a [`RunRecord`], plain data filled by whoever ran the scenario; out comes text: one
//! self-contained HTML page ([`render_html`]), JSON ([`render_json`]), JUnit ([`render_junit`]), or a page
//! over many runs ([`render_batch`]). All functions are pure: same record, same bytes.
//!
//! Deliberately knows nothing of files, clocks, worlds or how a run is made; it does not judge either:
//! the verdict comes with the record.
//!
//! Read first: [`RunRecord`] (what a run leaves behind), [`RunVerdict`] (how it can end), [`BatchEntry`]
//! (one run in the page over many).

mod assets;
mod batch;
pub mod campaign;
mod cuts;
mod escape;
mod from_history;
mod junit;
mod page;
mod record;
mod timeline;
#[cfg(test)]
mod wellformed;

pub use batch::{Batch, BatchEntry, render_batch};
pub use junit::render_junit;
pub use page::{PAGE_BYTES_MAX, render_html};
pub use record::{
    ClientOperation, ClientSpan, Ending, FaultBand, FirstBad, Goal, LogLine, MemberInfo, Message,
    OracleResult, Outage, OutageKind, Phase, ProgressPoint, ProgressSeries, Role, RoleBand, RunRecord,
    RunVerdict, ScenarioInfo,
};

/// The record as JSON, indented; [`parse_json`] reads it back.
#[must_use]
pub fn render_json(record: &RunRecord) -> String {
    serde_json::to_string_pretty(record).expect("a run record has only string keys and finite numbers") + "\n"
}

/// Reads what [`render_json`] wrote. Fields of other versions that this one does not know are ignored.
///
/// # Errors
/// The parser's, with line and column.
pub fn parse_json(text: &str) -> Result<RunRecord, serde_json::Error> {
    serde_json::from_str(text)
}
