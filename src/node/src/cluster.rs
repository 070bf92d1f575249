//! The members of the cluster as the log has made them: a value kept in the store beside the data.

use seatrial_raft::Config;
use seatrial_types::request::Member as MemberInfo;
use seatrial_types::{ClusterId, MemberId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Who belongs to the cluster, with addresses; and who once did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cluster {
    /// Drawn from the initial members' addresses and the token.
    pub id: ClusterId,
    /// Everybody, learners included.
    pub members: BTreeMap<MemberId, MemberInfo>,
    /// Members that were removed; their ids are never used again.
    pub removed: BTreeSet<MemberId>,
    /// Raft's configuration as of the last applied entry.
    pub config: Config,
}

/// What goes with a change of configuration in the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ClusterChange {
    /// A new member, or one with a new role.
    Put(MemberInfo),
    /// A member goes.
    Remove(MemberId),
}

/// A start that cannot be, because the initial members make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootstrapError {
    /// The same name twice.
    #[error("the name {0:?} stands twice in the initial cluster\nhint: every member needs a name of its own")]
    DuplicateName(String),
    /// The same address twice.
    #[error(
        "the peer address {0:?} stands twice in the initial cluster\nhint: one address belongs to one member"
    )]
    DuplicateUrl(String),
    /// No member.
    #[error(
        "the initial cluster is empty\nhint: --initial-cluster a=http://127.0.0.1:2380,b=http://127.0.0.1:2480"
    )]
    Empty,
    /// This member is not among them.
    #[error(
        "the member {name:?} is not in the initial cluster ({known})\nhint: --name must be one of the names in --initial-cluster"
    )]
    NotAMember {
        /// Who asked.
        name: String,
        /// The names given.
        known: String,
    },
}

/// A 64-bit FNV-1a: ids must be the same on every member and in every version, so the hash is spelled out.
fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// FNV's low bits are better than its high ones, and similar inputs differ in few bits; one round of
/// splitmix64's finaliser spreads them.
fn spread(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Cluster {
    /// The cluster that a set of members with the same flags bootstrap, each by itself and all alike.
    ///
    /// # Errors
    /// Where names or addresses are not unique, or there are none.
    pub fn bootstrap<'a>(
        initial: impl IntoIterator<Item = (&'a str, Vec<String>)>,
        token: &str,
    ) -> Result<Self, BootstrapError> {
        let mut members = BTreeMap::new();
        let mut names = BTreeSet::new();
        let mut urls_seen = BTreeSet::new();
        for (name, mut peer_urls) in initial {
            if !names.insert(name.to_owned()) {
                return Err(BootstrapError::DuplicateName(name.to_owned()));
            }
            peer_urls.sort();
            for url in &peer_urls {
                if !urls_seen.insert(url.clone()) {
                    return Err(BootstrapError::DuplicateUrl(url.clone()));
                }
            }
            let id =
                MemberId(spread(fnv1a(peer_urls.join(",").bytes().chain([0]).chain(token.bytes()))).max(1));
            members.insert(
                id,
                MemberInfo {
                    id,
                    name: name.to_owned(),
                    peer_urls,
                    client_urls: Vec::new(),
                    is_learner: false,
                },
            );
        }
        if members.is_empty() {
            return Err(BootstrapError::Empty);
        }
        let ids = members.keys().flat_map(|id| id.0.to_be_bytes());
        let id = ClusterId(spread(fnv1a(ids.chain(token.bytes()))).max(1));
        let config = Config { voters: members.keys().copied().collect(), ..Config::default() };
        Ok(Self { id, members, removed: BTreeSet::new(), config })
    }

    /// The id of the member with this name.
    ///
    /// # Errors
    /// [`BootstrapError::NotAMember`].
    pub fn id_of(&self, name: &str) -> Result<MemberId, BootstrapError> {
        self.members.values().find(|member| member.name == name).map(|member| member.id).ok_or_else(|| {
            let known: Vec<&str> = self.members.values().map(|member| member.name.as_str()).collect();
            BootstrapError::NotAMember { name: name.to_owned(), known: known.join(", ") }
        })
    }

    /// Carries out a change that came through the log.
    pub fn apply(&mut self, config: Config, change: Option<ClusterChange>) {
        match change {
            Some(ClusterChange::Put(member)) => {
                self.members.insert(member.id, member);
            }
            Some(ClusterChange::Remove(id)) => {
                self.members.remove(&id);
                self.removed.insert(id);
            }
            None => {}
        }
        for (id, member) in &mut self.members {
            member.is_learner = config.learners.contains(id);
        }
        self.config = config;
    }

    /// The members for an answer, in order of id.
    #[must_use]
    pub fn list(&self) -> Vec<MemberInfo> {
        self.members.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Vec<(&'static str, Vec<String>)> {
        vec![
            ("a", vec!["http://127.0.0.1:2380".into()]),
            ("b", vec!["http://127.0.0.1:2480".into()]),
            ("c", vec!["http://127.0.0.1:2580".into()]),
        ]
    }

    #[test]
    fn members_with_the_same_flags_agree_on_all_ids() {
        let one = Cluster::bootstrap(three(), "t").unwrap();
        let mut reversed = three();
        reversed.reverse();
        assert_eq!(one, Cluster::bootstrap(reversed, "t").unwrap());
        assert_ne!(one.id, Cluster::bootstrap(three(), "other token").unwrap().id);
        assert_eq!(one.members.len(), 3);
    }

    #[test]
    fn a_name_or_address_given_twice_is_named() {
        let mut twice = three();
        twice[1].0 = "a";
        assert_eq!(Cluster::bootstrap(twice, "").unwrap_err(), BootstrapError::DuplicateName("a".into()));
        let mut twice = three();
        twice[2].1 = twice[0].1.clone();
        assert!(matches!(Cluster::bootstrap(twice, "").unwrap_err(), BootstrapError::DuplicateUrl(_)));
        assert_eq!(Cluster::bootstrap([], "").unwrap_err(), BootstrapError::Empty);
    }
}
