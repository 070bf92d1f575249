//! The members of the cluster as the log has made them: a value kept in the store beside the data.

use crate::proposal::RequestId;
use seatrial_raft::{Config, ConfigStep};
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::request::Member as MemberInfo;
use seatrial_types::{ClusterId, Error, MemberId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Who belongs to the cluster, with addresses; and who once did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cluster {
    /// Drawn from the initial members' addresses and the token.
    pub id: ClusterId,
    /// Everybody, learners included.
    pub members: BTreeMap<MemberId, MemberInfo>,
    /// Members that were removed and count nowhere any more; their ids are never used again.
    pub removed: BTreeSet<MemberId>,
    /// Members that were removed and still vote in the outgoing half of a joint configuration: without them it
    /// might never be left (thesis §4.3). They go on, and are reached, until it is.
    pub leaving: BTreeMap<MemberId, MemberInfo>,
    /// Raft's configuration as of the last applied entry.
    pub config: Config,
    /// Members that were added to vote and are still catching up: Raft has them as learners until then, so that
    /// nobody's start is waited for (thesis §4.2.1).
    pub joining: BTreeSet<MemberId>,
    /// The members with which the cluster began. A member that joins begins from them, too, and comes by the log
    /// or a snapshot to what the others have; so all have the same table at the same entry.
    pub genesis: BTreeMap<MemberId, MemberInfo>,
}

/// What goes with a change of configuration in the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ClusterChange {
    /// A new member: a learner for good, or one that is to vote once it has caught up.
    Add(MemberInfo),
    /// A member goes.
    Remove(MemberId),
    /// A member is reached elsewhere.
    Update {
        /// Which.
        id: MemberId,
        /// Where.
        peer_urls: Vec<String>,
    },
    /// A learner votes, because an operator said so.
    Promote(MemberId),
    /// A member that was added to vote has caught up and votes.
    Admit(MemberId),
    /// The majority was lost for good: this member goes on without all others.
    Alone(MemberId),
}

/// The context of a change of configuration in the log: what changes, and who waits for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChangeContext {
    /// The member that answers the client.
    pub origin: MemberId,
    /// Its request, or [`crate::Proposal::NOBODY`].
    pub request: RequestId,
    /// The change.
    pub change: ClusterChange,
}

/// Learners at one time (etcd: `--max-learners`).
const LEARNERS_MAX: usize = 1;

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
        Ok(Self::begun(id, members, config))
    }

    fn begun(id: ClusterId, genesis: BTreeMap<MemberId, MemberInfo>, config: Config) -> Self {
        let (removed, leaving, joining) = <_>::default();
        Self { id, members: genesis.clone(), removed, leaving, config, joining, genesis }
    }

    /// The cluster as it was before its first entry.
    #[must_use]
    pub fn first(&self) -> Self {
        let config = Config { voters: self.genesis.keys().copied().collect(), ..Config::default() };
        Self::begun(self.id, self.genesis.clone(), config)
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
    pub fn apply(&mut self, config: Config, change: Option<&ClusterChange>) {
        match change {
            Some(ClusterChange::Add(member)) => {
                if !member.is_learner {
                    self.joining.insert(member.id);
                }
                if is_planted(Planted::R12) {
                    self.removed.remove(&member.id);
                }
                self.members.insert(member.id, member.clone());
            }
            Some(ClusterChange::Remove(id)) => {
                self.joining.remove(id);
                match self.members.remove(id) {
                    Some(member) => drop(self.leaving.insert(*id, member)),
                    None => drop(self.removed.insert(*id)),
                }
            }
            Some(ClusterChange::Update { id, peer_urls }) => {
                if let Some(member) = self.members.get_mut(id) {
                    member.peer_urls.clone_from(peer_urls);
                }
            }
            Some(ClusterChange::Promote(id)) => {
                if let Some(member) = self.members.get_mut(id) {
                    member.is_learner = false;
                }
            }
            Some(ClusterChange::Admit(id)) => {
                self.joining.remove(id);
            }
            Some(ClusterChange::Alone(_)) if is_planted(Planted::F02) => {}
            Some(ClusterChange::Alone(id)) => {
                let others: Vec<MemberId> =
                    self.members.keys().copied().filter(|other| other != id).collect();
                self.members.retain(|member, _| member == id);
                self.removed.extend(others);
                self.joining.clear();
                if let Some(member) = self.members.get_mut(id) {
                    member.is_learner = false;
                }
            }
            None => {}
        }
        self.config = config;
        let config = &self.config;
        let left = self.leaving.extract_if(.., |id, _| !config.contains(*id));
        self.removed.extend(left.map(|(id, _)| id));
    }

    /// The members that vote or are to vote soon.
    fn voting(&self) -> impl Iterator<Item = &MemberInfo> {
        self.members.values().filter(|member| !member.is_learner)
    }

    /// Whether `more` voters besides those of `voting` leave a majority of members that have started. One that
    /// was added but has told no name may never come, and must not be counted on (etcd: strict reconfiguration).
    fn enough_started<'a>(voting: impl Iterator<Item = &'a MemberInfo>, more: usize) -> bool {
        let (mut members, mut started) = (more, 0);
        for member in voting {
            members += 1;
            started += usize::from(!member.name.is_empty());
        }
        if is_planted(Planted::R41) {
            return true;
        }
        // A lone member may be given a second, or no cluster could grow.
        started > members / 2 || (more == 1 && started == 1 && members == 2)
    }

    /// Whether an address of `urls` belongs to a member other than `but`.
    fn is_taken(&self, urls: &[String], but: MemberId) -> bool {
        self.members
            .values()
            .filter(|member| member.id != but)
            .any(|member| member.peer_urls.iter().any(|url| urls.contains(url)))
    }

    /// The id of a new member: it must never have been another's, so `salt` has to be new each time.
    fn new_id(&self, peer_urls: &[String], salt: u64) -> MemberId {
        let bytes = peer_urls.join(",");
        if is_planted(Planted::R12) {
            let first = self.genesis.values().find(|member| member.peer_urls == peer_urls);
            return first.map_or_else(|| MemberId(spread(fnv1a(bytes.bytes())).max(1)), |first| first.id);
        }
        (0..)
            .map(|attempt: u64| {
                let numbers = [self.id.0, salt, attempt];
                let numbers = numbers.iter().flat_map(|number| number.to_be_bytes());
                MemberId(spread(fnv1a(bytes.bytes().chain(numbers))).max(1))
            })
            .find(|id| {
                let known = [self.members.contains_key(id), self.leaving.contains_key(id)];
                !known.contains(&true) && !self.removed.contains(id)
            })
            .expect("there are more ids than members")
    }

    /// What adding a member means, where it may be added. `is_up` says who is heard now.
    ///
    /// # Errors
    /// Etcd's: too few members have started or are up, an address is taken, too many learners.
    pub fn add(
        &self,
        mut peer_urls: Vec<String>,
        is_learner: bool,
        salt: u64,
        is_up: impl Fn(MemberId) -> bool,
    ) -> Result<(ConfigStep, ClusterChange), Error> {
        peer_urls.sort();
        if !is_learner {
            if !Self::enough_started(self.voting(), 1) {
                return Err(Error::MemberNotEnoughStarted);
            }
            if !self.voting().all(|member| is_up(member.id)) {
                return Err(Error::Unhealthy);
            }
        }
        if self.is_taken(&peer_urls, MemberId::NONE) {
            return Err(Error::PeerUrlExists);
        }
        if is_learner && self.members.values().filter(|member| member.is_learner).count() >= LEARNERS_MAX {
            return Err(Error::TooManyLearners);
        }
        let id = self.new_id(&peer_urls, salt);
        let member = MemberInfo { id, name: String::new(), peer_urls, client_urls: Vec::new(), is_learner };
        Ok((ConfigStep::AddLearner(id), ClusterChange::Add(member)))
    }

    /// What removing a member means, where it may be removed.
    ///
    /// # Errors
    /// Etcd's: there is no such member, or a majority would be lost with it.
    pub fn remove(
        &self,
        id: MemberId,
        is_up: impl Fn(MemberId) -> bool,
    ) -> Result<(ConfigStep, ClusterChange), Error> {
        let member = self.members.get(&id).ok_or(Error::MemberNotFound)?;
        if !member.is_learner {
            if !Self::enough_started(self.voting().filter(|member| member.id != id), 0) {
                return Err(Error::MemberNotEnoughStarted);
            }
            let all = self.voting().count();
            let up = self.voting().filter(|member| is_up(member.id)).count();
            // Who is down takes nothing away from the majority that works now.
            if is_up(id) && up - 1 < 1 + (all - 1) / 2 {
                return Err(Error::Unhealthy);
            }
        }
        Ok((ConfigStep::Remove(id), ClusterChange::Remove(id)))
    }

    /// What a new address of a member means, where it may have it.
    ///
    /// # Errors
    /// Etcd's: there is no such member, or the address is another's.
    pub fn update(&self, id: MemberId, mut peer_urls: Vec<String>) -> Result<ClusterChange, Error> {
        if !self.members.contains_key(&id) {
            return Err(Error::MemberNotFound);
        }
        if self.is_taken(&peer_urls, id) {
            return Err(Error::PeerUrlExists);
        }
        peer_urls.sort();
        Ok(ClusterChange::Update { id, peer_urls })
    }

    /// What promoting a learner means, where it may be promoted. `is_ready` says that it has caught up.
    ///
    /// # Errors
    /// Etcd's: no such member, not caught up, not a learner, too few members started.
    pub fn promote(&self, id: MemberId, is_ready: bool) -> Result<(ConfigStep, ClusterChange), Error> {
        let member = self.members.get(&id).ok_or(Error::MemberNotFound)?;
        // In etcd's order: a voter that lags is told of that first.
        if !is_ready {
            return Err(Error::LearnerNotReady);
        }
        if !member.is_learner {
            return Err(Error::MemberNotLearner);
        }
        if !Self::enough_started(self.voting().chain([member]), 0) {
            return Err(Error::MemberNotEnoughStarted);
        }
        Ok((ConfigStep::AddVoter(id), ClusterChange::Promote(id)))
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

    /// A cluster of `voters` members of which `started` have told a name.
    fn grown(voters: usize, started: usize) -> Cluster {
        let names: Vec<String> = (0..voters).map(|i| format!("m{i}")).collect();
        let mut cluster = Cluster::bootstrap(
            names.iter().map(|name| (name.as_str(), vec![format!("http://{name}:2380")])),
            "t",
        )
        .unwrap();
        for member in cluster.members.values_mut().skip(started) {
            member.name.clear();
        }
        cluster
    }

    fn all(_: MemberId) -> bool {
        true
    }

    #[test]
    fn a_member_is_added_only_where_a_majority_of_started_ones_is_left() {
        let url = || vec!["http://new:2380".to_owned()];
        let add = |cluster: &Cluster| cluster.add(url(), false, 1, all).map(|_| ());
        assert_eq!(add(&grown(1, 1)), Ok(()), "a lone member may be given a second");
        assert_eq!(add(&grown(2, 1)), Err(Error::MemberNotEnoughStarted));
        assert_eq!(add(&grown(3, 3)), Ok(()));
        assert_eq!(add(&grown(3, 2)), Err(Error::MemberNotEnoughStarted));
        let down = grown(3, 3).add(url(), false, 1, |id| id != *grown(3, 3).members.keys().next().unwrap());
        assert_eq!(down, Err(Error::Unhealthy));
        let taken = grown(3, 3).add(vec!["http://m1:2380".into()], false, 1, all);
        assert_eq!(taken, Err(Error::PeerUrlExists));
    }

    #[test]
    fn a_new_member_votes_only_once_it_is_admitted_and_its_id_was_nobodys() {
        let mut cluster = grown(3, 3);
        let (step, change) = cluster.add(vec!["http://new:2380".into()], false, 7, all).unwrap();
        let ConfigStep::AddLearner(id) = step else { panic!("{step:?}") };
        let config = Config { learners: [id].into(), ..cluster.config.clone() };
        cluster.apply(config.clone(), Some(&change));
        assert!(cluster.joining.contains(&id) && !cluster.members[&id].is_learner);
        let without = Config { learners: [].into(), ..config };
        cluster.apply(without, Some(&ClusterChange::Remove(id)));
        assert!(cluster.joining.is_empty() && cluster.removed.contains(&id));
        let (_, again) = cluster.add(vec!["http://new:2380".into()], false, 7, all).unwrap();
        let ClusterChange::Add(again) = again else { panic!("{again:?}") };
        assert_ne!(again.id, id, "the id of a removed member came back");
        assert_eq!(cluster.first(), grown(3, 3), "where it began is not forgotten");
    }

    #[test]
    fn a_member_is_removed_only_where_the_majority_that_works_is_kept() {
        let cluster = grown(3, 3);
        let ids: Vec<MemberId> = cluster.members.keys().copied().collect();
        assert!(cluster.remove(ids[0], all).is_ok());
        assert_eq!(cluster.remove(MemberId(1), all), Err(Error::MemberNotFound));
        let one_down = |id| id != ids[2];
        assert!(cluster.remove(ids[2], one_down).is_ok(), "who is down may go");
        assert_eq!(cluster.remove(ids[0], one_down), Err(Error::Unhealthy));
        let lone = grown(1, 1);
        assert_eq!(
            lone.remove(*lone.members.keys().next().unwrap(), all),
            Err(Error::MemberNotEnoughStarted)
        );
    }

    #[test]
    fn a_member_that_is_removed_jointly_is_gone_only_once_the_joint_configuration_is_left() {
        let mut cluster = grown(2, 2);
        let ids: Vec<MemberId> = cluster.members.keys().copied().collect();
        let joint =
            Config { voters: [ids[0]].into(), outgoing: ids.iter().copied().collect(), ..Config::default() };
        let member = cluster.members[&ids[1]].clone();
        cluster.apply(joint, Some(&ClusterChange::Remove(ids[1])));
        assert_eq!(cluster.list().len(), 1, "clients hear of it at once");
        assert_eq!(cluster.leaving, [(ids[1], member)].into());
        assert!(cluster.removed.is_empty(), "its vote is needed to leave");
        cluster.apply(Config { voters: [ids[0]].into(), ..Config::default() }, None);
        assert!(cluster.leaving.is_empty() && cluster.removed.contains(&ids[1]));
    }

    #[test]
    fn one_learner_at_a_time_which_is_promoted_once_it_has_caught_up() {
        let mut cluster = grown(3, 3);
        let (step, change) = cluster.add(vec!["http://new:2380".into()], true, 7, all).unwrap();
        let ConfigStep::AddLearner(id) = step else { panic!("{step:?}") };
        cluster.apply(Config { learners: [id].into(), ..cluster.config.clone() }, Some(&change));
        assert_eq!(cluster.add(vec!["http://x:1".into()], true, 8, all), Err(Error::TooManyLearners));
        assert_eq!(cluster.promote(id, false), Err(Error::LearnerNotReady));
        let voter = *cluster.config.voters.first().unwrap();
        assert_eq!(cluster.promote(voter, true), Err(Error::MemberNotLearner));
        assert_eq!(cluster.promote(voter, false), Err(Error::LearnerNotReady));
        let (step, change) = cluster.promote(id, true).unwrap();
        assert_eq!(step, ConfigStep::AddVoter(id));
        cluster.apply(cluster.config.clone(), Some(&change));
        assert!(!cluster.members[&id].is_learner);
    }

    #[test]
    fn an_address_is_changed_unless_it_is_anothers() {
        let mut cluster = grown(2, 2);
        let id = *cluster.members.keys().next().unwrap();
        let change = cluster.update(id, vec!["http://elsewhere:1".into()]).unwrap();
        cluster.apply(cluster.config.clone(), Some(&change));
        assert_eq!(cluster.members[&id].peer_urls, ["http://elsewhere:1"]);
        let other = cluster.members.values().find(|member| member.id != id).unwrap().peer_urls.clone();
        assert_eq!(cluster.update(id, other), Err(Error::PeerUrlExists));
    }
}
