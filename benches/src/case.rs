//! What is asked, and by how many at once.

use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// What the clients ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Writes one key.
    Put,
    /// Reads one key, linearizable.
    Get,
    /// Reads one key from the asked member's own state.
    GetSerializable,
    /// Reads a range of many keys, linearizable.
    Range,
    /// Counts all keys, linearizable.
    Count,
    /// Puts one key if it is there.
    Txn,
    /// Ten puts of different keys in one transaction.
    TxnTenPuts,
    /// Nine reads to one write.
    MixedNineToOne,
    /// As many reads as writes.
    MixedHalf,
    /// Grants a lease.
    LeaseGrant,
    /// Renews a lease, each client its own on a stream of its own.
    LeaseKeepAlive,
    /// Watches one key that is written at a steady pace; an operation is an event at a watcher.
    Watch,
}

impl Kind {
    /// All, as they are listed.
    pub const ALL: [Self; 12] = [
        Self::Put,
        Self::Get,
        Self::GetSerializable,
        Self::Range,
        Self::Count,
        Self::Txn,
        Self::TxnTenPuts,
        Self::MixedNineToOne,
        Self::MixedHalf,
        Self::LeaseGrant,
        Self::LeaseKeepAlive,
        Self::Watch,
    ];

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::GetSerializable => "get-serializable",
            Self::Range => "range",
            Self::Count => "count",
            Self::Txn => "txn",
            Self::TxnTenPuts => "txn-10-puts",
            Self::MixedNineToOne => "mixed-90-10",
            Self::MixedHalf => "mixed-50-50",
            Self::LeaseGrant => "lease-grant",
            Self::LeaseKeepAlive => "lease-keep-alive",
            Self::Watch => "watch",
        }
    }
}

/// A kind and a number of clients, written `put:100`; for watches watchers and streams, written `watch:1000/10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Case {
    /// What they ask.
    pub kind: Kind,
    /// How many ask at once; at least 1.
    pub clients: usize,
    /// Over how many streams; for anything but watches, the same number. At least 1, and no more than `clients`.
    pub streams: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.name(), self.clients)?;
        if self.streams == self.clients { Ok(()) } else { write!(f, "/{}", self.streams) }
    }
}

impl Serialize for Case {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, many) = text.split_once(':').unwrap_or((text, "1"));
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        let known = Kind::ALL.map(Kind::name).join(", ");
        let kind =
            kind.ok_or_else(|| format!("unknown kind {name:?}; hint: one of {known}, as in put:100"))?;
        let (clients, streams) = many.split_once('/').unwrap_or((many, many));
        let number = |text: &str| text.parse().ok().filter(|number: &usize| *number > 0);
        let (Some(clients), Some(streams)) = (number(clients), number(streams)) else {
            return Err(format!("{many:?} is no number of clients; hint: at least 1, as in put:100"));
        };
        if streams != clients && kind != Kind::Watch {
            return Err(format!(
                "{text:?}: only watchers share streams; hint: {name}:{clients}, and see --connections"
            ));
        }
        if streams > clients {
            return Err(format!("{text:?}: there are more streams than watchers"));
        }
        Ok(Self { kind, clients, streams })
    }
}

/// The cases of a whole comparison.
#[must_use]
pub fn standard() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in Kind::ALL {
        let clients: &[usize] = match kind {
            Kind::Put | Kind::Get | Kind::GetSerializable => &[1, 16, 100, 1000],
            // Few can be answered in a second; more clients would only wait longer.
            Kind::Range | Kind::Count => &[1, 16],
            Kind::Txn | Kind::LeaseGrant | Kind::LeaseKeepAlive => &[1, 100, 1000],
            Kind::TxnTenPuts => &[1, 100],
            Kind::MixedNineToOne | Kind::MixedHalf => &[100, 1000],
            Kind::Watch => &[],
        };
        cases.extend(clients.iter().map(|clients| Case { kind, clients: *clients, streams: *clients }));
    }
    for streams in [10, 1000] {
        cases.push(Case { kind: Kind::Watch, clients: 1000, streams });
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_read_as_it_is_written() {
        for text in ["put:100", "get:1", "get-serializable:7", "watch:1000/10", "watch:5"] {
            assert_eq!(text.parse::<Case>().unwrap().to_string(), text);
        }
        for case in standard() {
            assert_eq!(case.to_string().parse::<Case>().unwrap(), case);
        }
        assert_eq!("put".parse::<Case>().unwrap().clients, 1);
        let refused = [
            ("pet:1", "get-serializable"),
            ("put:0", "at least 1"),
            ("put:4/2", "--connections"),
            ("watch:2/4", "more streams than watchers"),
            ("watch:2/", "at least 1"),
        ];
        for (text, why) in refused {
            let error = text.parse::<Case>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
