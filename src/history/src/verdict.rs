//! What a checker says.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a checker says of a history.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The property holds.
    Ok,
    /// It does not.
    Violation(Violation),
    /// The checker ran out of its budget or was given too little to judge by. Never counts as a pass.
    Unknown {
        /// What was missing.
        why: String,
    },
}

impl Verdict {
    /// Whether the property was shown to hold.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Ok)
    }

    /// The violation, where there is one.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        match self {
            Self::Violation(violation) => Some(violation),
            Self::Ok | Self::Unknown { .. } => None,
        }
    }

    /// The worse of the two: a violation before an unknown before a pass; of two alike, the first.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (&self, &other) {
            (Self::Violation(_), _) | (Self::Unknown { .. }, Self::Ok | Self::Unknown { .. }) => self,
            (Self::Ok, _) | (Self::Unknown { .. }, Self::Violation(_)) => other,
        }
    }
}

impl From<Violation> for Verdict {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::Violation(violation) => write!(f, "{violation}"),
            Self::Unknown { why } => write!(f, "unknown: {why}"),
        }
    }
}

/// A rule that was broken, with the evidence.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Violation {
    /// Which rule.
    pub rule: Rule,
    /// What happened, for a person: who, when, which revisions and values.
    pub sentence: String,
    /// Places in the history of the operations that are the evidence; the last is the one that cannot be.
    pub operations: Vec<usize>,
    /// The moment at which it became visible, in ns, where one can be named.
    pub at: Option<u64>,
    /// The revision at which it became visible, where one can be named.
    pub revision: Option<i64>,
}

impl Violation {
    pub(crate) fn new(rule: Rule, sentence: impl Into<String>) -> Self {
        Self { rule, sentence: sentence.into(), operations: Vec::new(), at: None, revision: None }
    }

    pub(crate) fn operations(mut self, places: impl IntoIterator<Item = usize>) -> Self {
        self.operations = places.into_iter().collect();
        self
    }

    pub(crate) fn at(mut self, time: Option<u64>) -> Self {
        self.at = time;
        self
    }

    pub(crate) fn revision(mut self, revision: i64) -> Self {
        self.revision = Some(revision);
        self
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.sentence)
    }
}

macro_rules! rules {
    ($($(#[doc = $doc:literal])+ $name:ident = $word:literal,)*) => {
        /// The rules that a checker can find broken.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Rule { $($(#[doc = $doc])+ $name,)* }

        impl Rule {
            /// All of them.
            pub const ALL: &[Rule] = &[$(Rule::$name),*];

            /// As it stands in files and sentences.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
        }
    };
}

rules! {
    /// The history contradicts itself, as by an answer before the question.
    Malformed = "malformed",
    /// Two writes were given one revision.
    DuplicateRevision = "duplicate-revision",
    /// An operation answered with an older revision than one that had ended before it began, or a write
    /// took effect before it was asked.
    RealTime = "real-time",
    /// A revision exists which no operation can have made.
    UnexplainedRevision = "unexplained-revision",
    /// Two answers disagree about what one revision wrote.
    Contradiction = "contradiction",
    /// A linearizable answer differs from the state at its revision.
    WrongAnswer = "wrong-answer",
    /// A serializable read differs from the state at its revision.
    SerializableRead = "serializable-read",
    /// An acknowledged write is missing at the end.
    Durability = "durability",
    /// The state at the end differs from what the writes make.
    FinalState = "final-state",
    /// No order of the operations explains the answers.
    NotLinearizable = "not-linearizable",
    /// A watch delivered a key it was not asked for.
    WatchFilter = "watch-filter",
    /// A watch delivered an older revision after a newer one.
    WatchOrdered = "watch-ordered",
    /// A watch delivered one change twice.
    WatchUnique = "watch-unique",
    /// The changes of one revision came in more than one message.
    WatchAtomic = "watch-atomic",
    /// A watch left a change out.
    WatchReliable = "watch-reliable",
    /// A watch did not begin with the first change at or after the revision it asked for.
    WatchResumable = "watch-resumable",
    /// A progress notification was ahead of the events, or went back.
    WatchBookmarkable = "watch-bookmarkable",
    /// A watch delivered something other than what was written.
    WatchContent = "watch-content",
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
