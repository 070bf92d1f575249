//! A failure in words and lines.

use crate::op::seconds;
use crate::parse::{Format, Recording};
use crate::search::{Story, Tell, Timed};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// An operation as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its number in the recording, from 0, by invocation.
    pub operation: usize,
    /// Who asked.
    pub who: String,
    /// What, with the answer.
    pub what: String,
    /// From when to when.
    pub when: String,
    /// Whether this is the one that cannot be.
    pub is_culprit: bool,
}

/// Why a history is not linearizable, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    /// The key, where keys are judged apart.
    pub key: Option<String>,
    /// What cannot be, first; then what is known of it. Each is a sentence.
    pub sentences: Vec<String>,
    /// All that was going on at the same time, the operation that cannot be last.
    pub open: Vec<Line>,
    /// The states which the operation can have met, each with why it does not fit.
    pub states: Vec<(String, String)>,
    /// Whether there are no others.
    pub states_are_all: bool,
    /// A part of the history that fails for itself, the operation that cannot be last.
    pub small: Vec<Line>,
    /// Of how many operations.
    pub of: usize,
}

impl Told {
    /// Just a sentence.
    pub(super) fn bare(key: Option<&str>, sentence: String) -> Self {
        Self {
            key: key.map(str::to_owned),
            sentences: vec![sentence],
            open: Vec::new(),
            states: Vec::new(),
            states_are_all: false,
            small: Vec::new(),
            of: 0,
        }
    }
}

/// How a recording speaks of its operations.
pub(super) struct Words<'a> {
    lines: &'a [usize],
    client: &'static str,
}

impl<'a> Words<'a> {
    pub(super) fn new(recording: &'a Recording) -> Self {
        let client = if recording.format == Format::Seatrial { "client" } else { "process" };
        Self { lines: &recording.lines, client }
    }

    /// The line of an event, or the time of a clock.
    fn moment(&self, time: u64) -> String {
        let line = usize::try_from(time).ok().and_then(|time| self.lines.get(time));
        line.map_or_else(|| seconds(time), ToString::to_string)
    }

    fn when<O>(&self, operation: &Timed<O>) -> String {
        let call = self.moment(operation.call);
        match operation.ret.map(|ret| self.moment(ret)) {
            None => format!("line {call}, outcome unknown"),
            // A whole vector may stand on one line.
            Some(ret) if ret == call => format!("line {call}"),
            Some(ret) => format!("lines {call} to {ret}"),
        }
    }

    fn line<O: ToString>(&self, operation: &Timed<O>, culprit: usize) -> Line {
        Line {
            operation: operation.id,
            who: format!("{} {}", self.client, operation.client),
            what: operation.op.to_string(),
            when: self.when(operation),
            is_culprit: operation.id == culprit,
        }
    }

    pub(super) fn tell<M: Tell>(
        &self,
        model: &M,
        key: Option<&str>,
        all: &[Timed<M::Op>],
        story: &Story<M::Op, M::State>,
    ) -> Told {
        // As they were recorded: with the answers that came after the moment in question.
        let originals: BTreeMap<usize, &Timed<M::Op>> = all.iter().map(|one| (one.id, one)).collect();
        let original = |one: &Timed<M::Op>| originals.get(&one.id).copied().cloned().unwrap_or(one.clone());
        let name = |one: &Timed<M::Op>| {
            let one = original(one);
            format!("{} {}'s {} ({})", self.client, one.client, one.op, self.when(&one))
        };
        let culprit = &story.culprit;
        let mut sentences = vec![format!(
            "{} {}: {} ({}), but at no moment of that time can {}.",
            self.client,
            culprit.client,
            culprit.op,
            self.when(culprit),
            model.claim(&culprit.op)
        )];
        sentences.extend(self.origin(model, story, &name));
        if !story.is_first {
            let more = "An earlier answer may be wrong already: there was no time to show that it is not.";
            sentences.push(more.to_owned());
        }
        let lines = |operations: &[Timed<M::Op>]| -> Vec<Line> {
            operations.iter().map(|one| self.line(&original(one), culprit.id)).collect()
        };
        let mut open = lines(&story.open);
        open.push(self.line(culprit, culprit.id));
        let mut small = lines(&story.small);
        small.sort_by_key(|line| line.is_culprit);
        let why = |(state, fits): &(M::State, bool)| {
            let why = if *fits {
                "fits, but then no order is left for what others were answered".to_owned()
            } else {
                model.why_not(state, &culprit.op)
            };
            (state.to_string(), why)
        };
        Told {
            key: key.map(str::to_owned),
            sentences,
            open,
            states: story.states.iter().map(why).collect(),
            states_are_all: story.states_are_exact,
            small,
            of: all.len(),
        }
    }

    /// Where what the culprit saw came from, or what it should have seen.
    fn origin<M: Tell>(
        &self,
        model: &M,
        story: &Story<M::Op, M::State>,
        name: &dyn Fn(&Timed<M::Op>) -> String,
    ) -> Option<String> {
        if let Some(missing) = &story.missing {
            return Some(format!("{} had ended before, and is missing in the answer.", name(missing)));
        }
        match (&story.origin, &story.replaced_by) {
            (Some(origin), Some(replaced_by)) => Some(format!(
                "The last to bring that about was {}; {} came after it and had ended before the question.",
                name(origin),
                name(replaced_by)
            )),
            (Some(origin), None) => Some(format!("The last to bring that about was {}.", name(origin))),
            (None, _) if model.step(&model.initial(), &story.culprit.op).is_some() => {
                Some("It was so at first, and nothing brought it about again.".to_owned())
            }
            (None, _) if story.states.iter().any(|(_, fits)| *fits) => None,
            (None, _) => Some("Nobody had asked for anything that would bring that about.".to_owned()),
        }
    }
}

/// The operations at these places, each once, in order of place.
pub(super) fn unique(places: impl IntoIterator<Item = usize>) -> Vec<usize> {
    places.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}
