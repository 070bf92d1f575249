//! What the runner needs of a world in which it can play a scenario: a cluster, machines for the clients,
//! and the machinery of faults.
//!
//! The simulation answers with simulated nodes, the real world with processes. Each says which faults it
//! can play; a scenario that needs others is declined before it starts.

use crate::fault::{ClockFault, DiskDamage, DiskFault, LinkRule, Place};
use crate::machines::{AgentHost, AgentWish, Order};
use futures::stream::BoxStream;
use seatrial_types::v2::{V2Error, V2Event, V2Request, V2Watch};
use seatrial_types::watch::{WatchCreate, WatchResponse};
use seatrial_types::{Code, Error, KeyValue, LeaseId, MemberId, Request, Response};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

/// A request that was not answered with success.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct CallError {
    /// What the client was told.
    pub error: Error,
    /// The request may have taken effect all the same, now or later.
    pub ambiguous: bool,
}

/// The theatre could not do what the plan asks: the harness failed, not the system under test.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the harness could not {what}: {why}")]
pub struct TheatreError {
    /// What was asked.
    pub what: String,
    /// What went wrong.
    pub why: String,
}

/// Which program a member runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Build {
    /// One that knows only the oldest version of the peer protocol that today's understands.
    Before,
    /// Today's.
    #[default]
    Now,
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "the build before",
            Self::Now => "today's build",
        })
    }
}

/// How a lock is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockWish {
    /// The lock.
    pub name: String,
    /// For whom.
    pub lease: LeaseId,
    /// A member waits on the client's behalf (the service Lock); otherwise the client waits itself.
    pub by_member: bool,
}

/// A lock that its client was told to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockHeld {
    /// The key that shows it.
    pub key: String,
    /// The revision of the answer that said so.
    pub revision: i64,
}

/// A leadership that its client was told to have won.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderKey {
    /// The election.
    pub name: String,
    /// The key that shows it.
    pub key: String,
    /// The revision that created the key.
    pub revision: i64,
    /// For whom.
    pub lease: LeaseId,
}

/// Leaders of an election as an observer hears of them: the key, and the revision of the answer.
pub type Leaders = BoxStream<'static, (i64, KeyValue)>;

/// Why a request for the v2 keys was not answered with success.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum V2Trouble {
    /// The key space refused it, and nothing has changed.
    #[error("{0}")]
    Refused(V2Error),
    /// It came to no decision that this client heard of.
    #[error("{text}")]
    Lost {
        /// What the client was told.
        text: String,
        /// It may have taken effect all the same, now or later.
        ambiguous: bool,
    },
}

/// Who forms a cluster, by a discovery directory: numbers and values, the earliest first.
pub type Registered = Vec<(String, String)>;

/// Why a discovery directory gave no cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinTrouble {
    /// Others were earlier.
    #[error("the places are taken by {0:?}")]
    Full(Registered),
    /// The directory makes no sense.
    #[error("{0}")]
    Refused(String),
    /// It was not heard of.
    #[error("{0}")]
    Lost(String),
}

/// An event of the v2 keys, and how far they were when it was answered.
pub type V2Answered = Result<(V2Event, u64), V2Trouble>;

/// The id of the machine of the fleet that a client stands for.
#[must_use]
pub fn machine_id(machine: u32) -> String {
    format!("{machine:08x}fleet")
}

/// What a machine of the fleet says of itself: half of them are here, half there.
#[must_use]
pub fn machine_metadata(machine: u32) -> BTreeMap<String, String> {
    let region = if machine.is_multiple_of(2) { "us" } else { "eu" };
    BTreeMap::from([("region".to_owned(), region.to_owned())])
}

/// A request to the fleet's interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetAsk {
    /// `GET`, `PUT`, …
    pub method: &'static str,
    /// `/fleet/v1/…`, percent-encoding undone.
    pub path: String,
    /// The query.
    pub query: Vec<(String, String)>,
    /// The body, as JSON.
    pub body: String,
}

/// Its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetAnswer {
    /// HTTP's status.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// What happens to a machine of the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FleetOrder {
    /// It gets power where it has none, and its fleetd is started.
    Start,
    /// Its fleetd is killed; its units run on.
    Kill,
    /// It loses its power.
    PowerOff,
    /// Its fleetd stands still.
    Pause,
    /// It goes on.
    Resume,
    /// It hears nobody and nobody hears it.
    CutOff,
    /// It is reached again.
    PlugIn,
    /// Its clock goes wrong by so many parts per million.
    Drift(i64),
}

/// What a theatre says that cannot do something.
fn unable(what: &str) -> CallError {
    let error = Error::Other(Code::Unimplemented, format!("clients of this world know no {what}"));
    CallError { error, ambiguous: false }
}

/// One client on a machine of its own.
pub trait Client: Send + Sync + 'static {
    /// An open watch.
    type Watch: Watch;

    /// Asks one member, once: no retry and no other endpoint, so that the history says what was asked of
    /// whom. Gives up after `timeout`.
    fn call(
        &mut self,
        member: MemberId,
        request: Request,
        timeout: Duration,
    ) -> impl Future<Output = Result<Response, CallError>> + Send;

    /// Opens a watch at one member.
    fn watch(
        &mut self,
        member: MemberId,
        create: WatchCreate,
        timeout: Duration,
    ) -> impl Future<Output = Result<Self::Watch, CallError>> + Send;

    /// Takes a lock, as a real client does. `member` is asked where a member waits on the client's behalf. Given up
    /// after `timeout`; the client's place in the queue may stay behind then.
    fn lock(
        &mut self,
        member: MemberId,
        wish: LockWish,
        timeout: Duration,
    ) -> impl Future<Output = Result<LockHeld, CallError>> + Send {
        let _ = (member, wish, timeout);
        async { Err(unable("locks")) }
    }

    /// Gives a lock back.
    fn unlock(
        &mut self,
        member: MemberId,
        key: String,
        timeout: Duration,
    ) -> impl Future<Output = Result<(), CallError>> + Send {
        let _ = (member, key, timeout);
        async { Err(unable("locks")) }
    }

    /// Stands for election at a member with this value, and waits until the lease leads. Given up after `timeout`; the
    /// candidacy may stay behind then.
    fn campaign(
        &mut self,
        member: MemberId,
        name: String,
        lease: LeaseId,
        value: String,
        timeout: Duration,
    ) -> impl Future<Output = Result<LeaderKey, CallError>> + Send {
        let _ = (member, name, lease, value, timeout);
        async { Err(unable("elections")) }
    }

    /// Changes the value of a leader; answers with the revision.
    fn proclaim(
        &mut self,
        member: MemberId,
        leader: LeaderKey,
        value: String,
        timeout: Duration,
    ) -> impl Future<Output = Result<i64, CallError>> + Send {
        let _ = (member, leader, value, timeout);
        async { Err(unable("elections")) }
    }

    /// Gives a leadership or candidacy up.
    fn resign(
        &mut self,
        member: MemberId,
        leader: LeaderKey,
        timeout: Duration,
    ) -> impl Future<Output = Result<(), CallError>> + Send {
        let _ = (member, leader, timeout);
        async { Err(unable("elections")) }
    }

    /// The revision of the answer, and the key of who leads.
    fn leader(
        &mut self,
        member: MemberId,
        name: String,
        timeout: Duration,
    ) -> impl Future<Output = Result<(i64, KeyValue), CallError>> + Send {
        let _ = (member, name, timeout);
        async { Err(unable("elections")) }
    }

    /// Follows the leaders. The stream ends where the member's does, for whatever reason.
    fn observe(
        &mut self,
        member: MemberId,
        name: String,
        timeout: Duration,
    ) -> impl Future<Output = Result<Leaders, CallError>> + Send {
        let _ = (member, name, timeout);
        async { Err(unable("elections")) }
    }

    /// Asks one member for v2 keys, once. Gives up after `timeout`.
    fn v2(
        &mut self,
        member: MemberId,
        request: V2Request,
        timeout: Duration,
    ) -> impl Future<Output = V2Answered> + Send {
        let _ = (member, request, timeout);
        async { Err(V2Trouble::Lost { text: unable("v2 keys").to_string(), ambiguous: false }) }
    }

    /// Waits at one member for the first change of v2 keys that is asked for, for as long as it is waited for.
    fn v2_wait(&mut self, member: MemberId, watch: V2Watch) -> impl Future<Output = V2Answered> + Send {
        let _ = (member, watch);
        async { Err(V2Trouble::Lost { text: unable("v2 keys").to_string(), ambiguous: false }) }
    }

    /// Registers in a discovery directory, and waits until all places are taken. Asks whichever member answers, for as long as it is waited for.
    fn v2_join(
        &mut self,
        directory: String,
        id: String,
        value: String,
    ) -> impl Future<Output = Result<Registered, JoinTrouble>> + Send {
        let _ = (directory, id, value);
        async { Err(JoinTrouble::Lost(unable("v2 keys").to_string())) }
    }

    /// Runs the reboot agent of a machine. It ends only where it cannot run: whoever asks drops it.
    fn reboot_agent<H: AgentHost>(
        &mut self,
        wish: AgentWish,
        host: H,
    ) -> impl Future<Output = Result<(), CallError>> + Send {
        let _ = (wish, host);
        async { Err(unable("reboot agents")) }
    }

    /// Does, once, what an operator does with the lock of a group; answers with the holders, where it was asked to look.
    fn reboot_order(
        &mut self,
        group: String,
        order: Order,
        timeout: Duration,
    ) -> impl Future<Output = Result<Vec<String>, CallError>> + Send {
        let _ = (group, order, timeout);
        async { Err(unable("reboot lock")) }
    }

    /// Asks the fleet's interface for something.
    fn fleet(
        &mut self,
        ask: FleetAsk,
        timeout: Duration,
    ) -> impl Future<Output = Result<FleetAnswer, CallError>> + Send {
        let _ = (ask, timeout);
        async { Err(unable("fleet")) }
    }

    /// From now on this client is that user, wherever it is asked who it is.
    fn identify(&mut self, user: &str, password: &str) {
        let _ = (user, password);
    }
}

/// An open watch.
pub trait Watch: Send + 'static {
    /// The next answer; `None` once the stream has ended, for whatever reason. Must be safe to drop and
    /// call again.
    fn next(&mut self) -> impl Future<Output = Option<WatchResponse>> + Send;

    /// Asks how far the stream is; the answer comes among the others.
    fn ask_progress(&mut self);
}

/// A world with a cluster in it. Cheap to clone.
///
/// Members are numbered from 1; all places are reachable and healthy at first, and no member runs.
pub trait Theatre: Clone + Send + Sync + 'static {
    /// Its clients.
    type Client: Client;

    /// World time: true time, which no member's clock need share.
    fn now(&self) -> Duration;

    /// Ready when the time has come.
    fn sleep_until(&self, at: Duration) -> impl Future<Output = ()> + Send;

    /// Runs a task beside the runner, on the machine of client `machine`.
    fn spawn<F>(&self, machine: u32, task: F)
    where
        F: Future<Output = ()> + Send + 'static;

    /// A client on the machine `machine`.
    fn client(&self, machine: u32) -> Self::Client;

    /// Starts a member, or starts it again on the disk it left. It must not be running.
    fn start(&self, member: MemberId) -> impl Future<Output = Result<(), TheatreError>> + Send;

    /// Ends the member's process at once; what it wrote stays in the page cache. Harmless where it does
    /// not run.
    fn kill(&self, member: MemberId) -> impl Future<Output = Result<(), TheatreError>> + Send;

    /// Takes the machine's power: what was not synced may be lost, reordered or torn. Harmless where it
    /// does not run.
    fn power_loss(&self, member: MemberId) -> impl Future<Output = Result<(), TheatreError>> + Send;

    /// The machine is to lose its power in the middle of what its disk does, after so many more operations that change
    /// something; `None`: it is not to any more.
    fn power_loss_after(&self, member: MemberId, operations: Option<u64>) -> Result<(), TheatreError> {
        let what = format!("take the power of member {member} after {operations:?} operations of its disk");
        Err(TheatreError { what, why: "nobody counts them in this world".to_owned() })
    }

    /// Stops the process's time (SIGSTOP).
    fn pause(&self, member: MemberId) -> impl Future<Output = Result<(), TheatreError>> + Send;

    /// Lets it go on.
    fn resume(&self, member: MemberId) -> impl Future<Output = Result<(), TheatreError>> + Send;

    /// The storm is over: members do from now on what they do by themselves.
    fn storm_is_over(&self) {}

    /// The rule of one directed link from now on; [`LinkRule::default`] is a healthy one.
    fn link(&self, from: Place, to: Place, rule: LinkRule) -> Result<(), TheatreError>;

    /// The behaviour of a member's disk from now on; [`DiskFault::default`] is a healthy one.
    fn disk(&self, member: MemberId, fault: DiskFault) -> Result<(), TheatreError>;

    /// Damages what is on the disk of a member that does not run. Answers in words what was done; `None`
    /// where there was nothing to damage.
    fn damage(&self, member: MemberId, damage: DiskDamage) -> Result<Option<String>, TheatreError>;

    /// The behaviour of a member's clock from now on; [`ClockFault::default`] is a true one.
    fn clock(&self, member: MemberId, fault: ClockFault) -> Result<(), TheatreError>;

    /// The behaviour of the clock of a client's machine from now on.
    ///
    /// # Errors
    /// Where clients have no clocks of their own.
    fn client_clock(&self, machine: u32, fault: ClockFault) -> Result<(), TheatreError> {
        let what = format!("set the clock of client {machine} to {fault:?}");
        Err(TheatreError { what, why: "clients have no clocks of their own in this world".to_owned() })
    }

    /// Where peers reach a machine: what is said of it when it is added to the cluster.
    fn peer_url(&self, machine: MemberId) -> String {
        let _ = machine;
        String::new()
    }

    /// The machine at this address.
    fn machine_at(&self, url: &str) -> Option<MemberId> {
        let _ = url;
        None
    }

    /// The id, in the cluster, of the member that lives on a machine.
    fn occupant(&self, machine: MemberId) -> Option<MemberId> {
        let _ = machine;
        None
    }

    /// Gives a machine that does not run an empty disk and the place of the member `id` of the cluster: started, it
    /// asks the others who they are and joins them.
    fn assign(&self, machine: MemberId, id: MemberId) -> Result<(), TheatreError> {
        let what = format!("let machine {machine} join as {id}");
        Err(TheatreError { what, why: "members do not come and go in this world".to_owned() })
    }

    /// Tells the member, which does not run, to go on alone when it starts next: all others are lost for good.
    fn go_alone(&self, member: MemberId) -> Result<(), TheatreError> {
        let what = format!("let member {member} go on alone");
        Err(TheatreError { what, why: "no member goes on alone in this world".to_owned() })
    }

    /// From its next start on a member is of this build. All are of the newest at first.
    ///
    /// # Errors
    /// Where this world has one build only.
    fn build(&self, member: MemberId, build: Build) -> Result<(), TheatreError> {
        let what = format!("let member {member} be of {build}");
        Err(TheatreError { what, why: "there is one build in this world".to_owned() })
    }

    /// Does something to the machine of the fleet that the client `machine` stands for.
    ///
    /// # Errors
    /// Where this world has no fleet.
    fn fleet(&self, machine: u32, order: FleetOrder) -> Result<(), TheatreError> {
        let what = format!("{order:?} the machine {machine} of the fleet");
        Err(TheatreError { what, why: "there is no fleet in this world".to_owned() })
    }

    /// Whether the member's process runs now (it may have stopped by itself).
    fn is_running(&self, member: MemberId) -> bool;
}
