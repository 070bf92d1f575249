//! Who lives on which machine: what members of the cluster are called, and where they are.

use seatrial_node::Cluster;
use seatrial_types::MemberId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where members hear their peers.
pub const PEER_PORT: u16 = 2380;
/// Where they hear clients.
pub const CLIENT_PORT: u16 = 2379;

/// A member's name, which is its machine's, too.
#[must_use]
pub fn host(machine: MemberId) -> String {
    format!("m{machine}")
}

/// Where peers reach a machine.
#[must_use]
pub fn peer_url(machine: MemberId) -> String {
    format!("http://{}:{PEER_PORT}", host(machine))
}

/// Where clients reach it.
#[must_use]
pub fn client_url(machine: MemberId) -> String {
    format!("http://{}:{CLIENT_PORT}", host(machine))
}

/// The machine at an address.
pub(crate) fn machine_at(url: &str) -> Option<MemberId> {
    let host = url.strip_prefix("http://m")?.split(':').next()?;
    host.parse().ok().map(MemberId)
}

/// A place in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) id: MemberId,
    /// It was not there at the beginning: it asks the others who they are.
    pub(crate) joins: bool,
}

/// All of them.
#[derive(Clone, Debug)]
pub(crate) struct Seats {
    /// The cluster as it begins.
    pub(crate) cluster: Arc<Cluster>,
    taken: BTreeMap<MemberId, Seat>,
    machines: BTreeMap<MemberId, MemberId>,
    /// These go on alone when they start next.
    pub(crate) alone: BTreeSet<MemberId>,
}

impl Seats {
    /// A new cluster on these machines.
    pub(crate) fn new(members: impl Iterator<Item = MemberId>) -> Self {
        let members: Vec<MemberId> = members.collect();
        let named: Vec<(String, Vec<String>)> =
            members.iter().map(|member| (host(*member), vec![peer_url(*member)])).collect();
        let initial = named.iter().map(|(name, urls)| (name.as_str(), urls.clone()));
        let cluster = Cluster::bootstrap(initial, "simulated").expect("names and addresses are unique");
        let mut seats = Self {
            taken: BTreeMap::new(),
            machines: BTreeMap::new(),
            alone: BTreeSet::new(),
            cluster: Arc::new(cluster),
        };
        for machine in members {
            let id = seats.cluster.id_of(&host(machine)).expect("just bootstrapped with it");
            seats.taken.insert(machine, Seat { id, joins: false });
            seats.machines.insert(id, machine);
        }
        seats
    }

    /// The machine of a member; none stays none.
    pub(crate) fn number(&self, id: MemberId) -> MemberId {
        self.machines.get(&id).copied().unwrap_or(MemberId::NONE)
    }

    pub(crate) fn seat(&self, machine: MemberId) -> Option<Seat> {
        self.taken.get(&machine).copied()
    }

    /// Gives a machine to a member that joins.
    pub(crate) fn assign(&mut self, machine: MemberId, id: MemberId) {
        self.taken.insert(machine, Seat { id, joins: true });
        self.machines.insert(id, machine);
    }
}
