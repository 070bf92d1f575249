//! One run as one page.
//!
//! Everything a reader needs stands in the markup: what happened first, then the picture, then the tables. The script
//! makes the picture move and lets the tables follow it; without it the page is complete, only longer to read.

mod head;
mod moment;
mod picture;
mod tables;
mod verdicts;

use crate::assets;
use crate::cuts::{Cuts, Limits};
use crate::escape::{escape_content, script_json, shorten};
use crate::record::RunRecord;
use crate::timeline;
use std::fmt::Write as _;

/// No page of a run is larger than this.
pub const PAGE_BYTES_MAX: usize = 500_000;

/// Texts that everything hangs on may be long, but not endless.
const SENTENCE_MAX: usize = 4_000;

/// The page of one run: self-contained, at most [`PAGE_BYTES_MAX`] bytes; says what was cut to stay below.
///
/// # Panics
/// Never for records of this crate's making: the smallest page of any record is far below the limit.
#[must_use]
pub fn render_html(record: &RunRecord) -> String {
    let mut limits = Limits::FULL;
    for _ in 0..40 {
        let page = render(record, limits);
        if page.len() <= PAGE_BYTES_MAX {
            return page;
        }
        limits = limits.smaller();
    }
    unreachable!("a page within {limits:?} is larger than {PAGE_BYTES_MAX} bytes")
}

/// What the page's script must know and no markup says.
#[derive(serde::Serialize)]
struct PageData {
    /// Length of the run, in nanoseconds.
    end: u64,
    /// When it first went wrong.
    bad: Option<u64>,
    /// What the picture shows at first: from and to, in nanoseconds.
    view: (u64, u64),
    messages: timeline::Messages,
    progress: Vec<timeline::Series>,
}

fn render(record: &RunRecord, limits: Limits) -> String {
    let mut cuts = Cuts::default();
    let drawing = timeline::draw(record, limits, &mut cuts);
    let title = format!(
        "{} {} seed {}: {}",
        record.verdict.sign(),
        shorten(&record.scenario.name, 80),
        record.seed,
        record.verdict.word()
    );
    let mut out = assets::beginning(&title, &[assets::PAGE_CSS, assets::PICTURE_CSS]);
    out.push_str("<body>\n");
    head::head(&mut out, record, limits);
    out.push_str("<main>\n");
    moment::first_bad(&mut out, record, limits);
    picture::picture(&mut out, record, &drawing, limits);
    tables::logs(&mut out, record, limits, &mut cuts);
    tables::operations(&mut out, record, limits);
    tables::elections(&mut out, record, limits);
    tables::faults(&mut out, record, limits);
    out.push_str("<div class=\"columns\">\n");
    verdicts::oracles(&mut out, record, limits);
    verdicts::goals(&mut out, record, limits);
    verdicts::counts(&mut out, record, limits);
    out.push_str("</div>\n");
    notes(&mut out, record, limits, &cuts);
    let data = PageData {
        end: record.end_ns(),
        bad: record.first_bad.as_ref().map(|bad| bad.at),
        view: moment::view(record),
        messages: drawing.messages,
        progress: drawing.progress,
    };
    let _ = write!(
        out,
        "</main>\n<footer>Seatrial report, format {}. The page needs nothing but itself.</footer>\n\
         <script type=\"application/json\" id=\"data\">{}</script>\n<script>{}</script>\n</body>\n</html>\n",
        RunRecord::FORMAT,
        script_json(&data),
        assets::PAGE_JS
    );
    out
}

fn notes(out: &mut String, record: &RunRecord, limits: Limits, cuts: &Cuts) {
    for note in record.notes.iter().take(limits.rows) {
        let _ = writeln!(out, "<p class=\"note\">{}</p>", escape_content(&shorten(note, SENTENCE_MAX)));
    }
    if !cuts.notes().is_empty() {
        let _ = writeln!(
            out,
            "<p class=\"note cut\">To keep this page small: {} The record itself has everything.</p>",
            escape_content(&cuts.notes().join(" "))
        );
    }
}

#[cfg(test)]
mod tests;
