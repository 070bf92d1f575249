//! What things look like, in one list: the picture, its legend and the tests read it.
//!
//! Nothing may be told by colour alone: every look has a height, pattern, outline or sign of its own, and a test in a
//! browser compares them without their colours.

use crate::record::{ClientOperation, Ending, Role};
use std::fmt::Write as _;

/// How one kind of thing is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Its class in the style sheet, which gives it pattern and outline.
    pub(crate) class: &'static str,
    /// What the legend says.
    pub(crate) name: &'static str,
    /// Upper edge within its lane.
    pub(crate) y: f64,
    /// Height.
    pub(crate) height: f64,
    /// Drawn on it in the legend, as the picture does.
    pub(super) sign: &'static str,
}

const fn look(class: &'static str, name: &'static str, y: f64, height: f64, sign: &'static str) -> Look {
    Look { class, name, y, height, sign }
}

// The lower the role, the thinner its band: a leader stands out without any colour.
pub(crate) const LEADER: Look = look("leader", "leader", 2.0, 22.0, "");
pub(crate) const CANDIDATE: Look = look("candidate", "candidate", 4.0, 18.0, "");
pub(crate) const FOLLOWER: Look = look("follower", "follower", 10.0, 6.0, "");
pub(crate) const LEARNER: Look = look("learner", "learner", 7.0, 12.0, "");
pub(crate) const UNLED: Look = look("unled", "no leader", 0.0, 18.0, "");
pub(crate) const OUTAGE: Look = look("outage", "down (✕ stops, ❯ runs again)", 4.0, 18.0, "✕");
pub(crate) const FAULT: Look = look("fault", "fault", 0.0, 15.0, "");
pub(crate) const STRUCK: Look = look("struck", "a fault strikes this member", 26.0, 3.0, "");
pub(crate) const WRITE: Look = look("op", "write", 1.0, 13.0, "");
pub(crate) const READ: Look = look("op read", "read", 5.5, 8.5, "");
pub(crate) const FAILED: Look = look("op failed", "refused", 1.0, 13.0, "✕");
pub(crate) const UNKNOWN: Look = look("op unknown", "outcome unknown", 1.0, 13.0, "?");
pub(crate) const EVIDENCE: Look = look("op evidence", "evidence, with its number", 1.0, 13.0, "1");
pub(crate) const SPAN: Look = look("span", "watch, lease or lock held", 0.0, 7.0, "");

/// All that the legend shows, in its order.
const LEGEND: [Look; 14] = [
    LEADER, CANDIDATE, FOLLOWER, LEARNER, UNLED, OUTAGE, FAULT, STRUCK, WRITE, READ, FAILED, UNKNOWN,
    EVIDENCE, SPAN,
];

/// The look of a role.
pub(crate) fn of_role(role: Role) -> Look {
    match role {
        Role::Follower => FOLLOWER,
        Role::Learner => LEARNER,
        Role::PreCandidate | Role::Candidate => CANDIDATE,
        Role::Leader => LEADER,
    }
}

/// The look of an operation.
pub(crate) fn of_operation(operation: &ClientOperation) -> Look {
    match operation.ending {
        Ending::Ok if operation.reads() => READ,
        Ending::Ok => WRITE,
        Ending::Failed => FAILED,
        Ending::Unknown => UNKNOWN,
    }
}

/// The looks that occur in this picture, each with what the picture draws for it.
pub(crate) fn legend(picture: &str) -> String {
    let mut out = String::from("<p class=\"legend\" id=\"legend\">");
    for Look { class, name, y, height, sign } in LEGEND {
        let occurs = match class {
            "op evidence" => picture.contains(" evidence\""),
            "op" => picture.contains("\"b op\"") || picture.contains("\"b op evidence\""),
            class => {
                picture.contains(&format!("\"b {class}\"")) || picture.contains(&format!("\"b {class} "))
            }
        };
        if !occurs {
            continue;
        }
        let top = if class == "struck" { 10.0 } else { y };
        let _ = write!(
            out,
            "<span><svg width=\"30\" height=\"26\" aria-hidden=\"true\"><g class=\"b {class}\"><rect x=\"1\" y=\"{top}\" width=\"28\" height=\"{height}\"/>"
        );
        if !sign.is_empty() {
            let _ = write!(
                out,
                "<text x=\"15\" y=\"{}\" text-anchor=\"middle\">{sign}</text>",
                top + height / 2.0 + 4.0
            );
        }
        if class == "span" {
            out.push_str(&ends(1.0, 29.0, top, height));
        }
        let _ = write!(out, "</g></svg>{name}</span>");
    }
    out.push_str(
        "<span><svg width=\"30\" height=\"26\" aria-hidden=\"true\"><path class=\"applied\" d=\"M1 20H12V8H29\"/></svg>applied index</span>\
         <span><svg width=\"30\" height=\"26\" aria-hidden=\"true\"><path class=\"last\" d=\"M1 18H8V6H29\"/></svg>last durable index</span></p>\n",
    );
    out
}

/// The closed ends of a span.
pub(crate) fn ends(from: f64, to: f64, y: f64, height: f64) -> String {
    let bottom = y + height;
    format!("<path class=\"ends\" d=\"M{from:.4} {y:.1}V{bottom:.1}M{to:.4} {y:.1}V{bottom:.1}\"/>")
}

/// Patterns instead of colours alone; within the picture because one copied out of the page needs them too.
pub(crate) const PATTERNS: &str = "<defs>\
<pattern id=\"p-fault\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><rect width=\"7\" height=\"7\" fill=\"var(--fault-soft)\"/><rect width=\"2\" height=\"7\" fill=\"var(--fault)\" opacity=\".5\"/></pattern>\
<pattern id=\"p-down\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\"><rect width=\"6\" height=\"6\" fill=\"var(--soft)\"/><path d=\"M0 0L6 6M6 0L0 6\" stroke=\"var(--down)\" stroke-width=\"1.1\"/></pattern>\
<pattern id=\"p-candidate\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\"><circle cx=\"2.5\" cy=\"2.5\" r=\"1.5\" fill=\"var(--candidate)\"/></pattern>\
<pattern id=\"p-learner\" width=\"6\" height=\"4\" patternUnits=\"userSpaceOnUse\"><rect width=\"6\" height=\"1.4\" fill=\"var(--learner)\"/></pattern>\
<pattern id=\"p-unled\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\"><circle cx=\"1.5\" cy=\"1.5\" r=\".8\" fill=\"var(--dim)\"/></pattern>\
<pattern id=\"p-unknown\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(-45)\"><rect width=\"1.4\" height=\"5\" fill=\"var(--unknown)\" opacity=\".7\"/></pattern>\
</defs>";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_legend_shows_what_occurs_and_only_that() {
        let shown = legend("<g class=\"b leader tight\"><g class=\"b op unknown evidence\">");
        for (name, occurs) in [
            (">leader<", true),
            (">outcome unknown<", true),
            ("evidence, with", true),
            (">write<", false),
            (">fault<", false),
        ] {
            assert_eq!(shown.contains(name), occurs, "{name}");
        }
    }
}
