//! A recording judged, and a failure put into words: what `seatrial check-history` prints.

mod etcd;
mod words;

pub use words::{Line, Told};

use crate::budget::Budget;
use crate::parse::{Content, Part, Recording};
use crate::search::{Spend, Tell, Timed, check_while, explain};
use crate::verdict::Verdict;
use words::Words;

/// What came of an examination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Examined {
    /// An order of all operations explains every answer.
    Linearizable,
    /// No order does.
    NotLinearizable(Box<Told>),
    /// Neither was shown. Never counts as a pass.
    Unknown {
        /// What was missing.
        why: String,
    },
}

/// Judges a recording. Where it fails, the first key that does is explained.
#[must_use]
pub fn examine(recording: &Recording, spend: Spend<'_>) -> Examined {
    if recording.operations() == 0 {
        return Examined::Unknown { why: "the history has no operation that says anything".to_owned() };
    }
    let words = Words::new(recording);
    match &recording.content {
        Content::Register(model, parts) => parts_of(&words, parts, |_| *model, spend),
        Content::Append(parts) => parts_of(&words, parts, Part::text_model, spend),
        Content::MultiRegister(model, operations) => one(
            &words,
            model,
            None,
            operations,
            spend,
            check_while(model, operations, spend.budget, spend.goes_on),
        ),
        Content::Etcd(history) => etcd::examine(history, spend),
    }
}

/// Judges key after key, with few steps at first: one that fails soon should not wait for one that is hard.
fn parts_of<M: Tell>(
    words: &Words<'_>,
    parts: &[Part<M::Op>],
    model: impl Fn(&Part<M::Op>) -> M,
    spend: Spend<'_>,
) -> Examined {
    const FIRST_STEPS: u64 = 50_000;
    let models: Vec<M> = parts.iter().map(model).collect();
    let mut left: Vec<usize> = (0..parts.len()).collect();
    let mut steps = FIRST_STEPS.min(spend.budget.steps);
    loop {
        let budget = Budget { steps, ..spend.budget };
        let mut unknown = None;
        let mut hard = Vec::new();
        for place in left {
            let (part, model) = (&parts[place], &models[place]);
            match check_while(model, &part.operations, budget, spend.goes_on) {
                Verdict::Ok => {}
                verdict @ Verdict::Violation(_) => {
                    return one(words, model, part.key.as_deref(), &part.operations, spend, verdict);
                }
                Verdict::Unknown { why } => {
                    unknown.get_or_insert((part.key.clone(), why));
                    hard.push(place);
                }
            }
        }
        let Some((key, why)) = unknown else { return Examined::Linearizable };
        if steps == spend.budget.steps || !(spend.goes_on)() {
            let key = key.map(|key| format!("key {key}: ")).unwrap_or_default();
            return Examined::Unknown { why: format!("{key}{why}") };
        }
        left = hard;
        steps = steps.saturating_mul(64).min(spend.budget.steps);
    }
}

fn one<M: Tell>(
    words: &Words<'_>,
    model: &M,
    key: Option<&str>,
    operations: &[Timed<M::Op>],
    spend: Spend<'_>,
    verdict: Verdict,
) -> Examined {
    match verdict {
        Verdict::Ok => Examined::Linearizable,
        Verdict::Unknown { why } => Examined::Unknown { why },
        Verdict::Violation(violation) => {
            let told = match explain(model, operations, spend) {
                Some(story) => words.tell(model, key, operations, &story),
                // The failure was shown; only the time for words was short.
                None => Told::bare(key, violation.sentence),
            };
            Examined::NotLinearizable(Box::new(told))
        }
    }
}
