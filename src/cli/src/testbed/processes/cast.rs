//! The members of one run as processes, and what the runner may do to them.

use super::disks::{self, Faults};
use super::links::Links;
use super::netns::Yard;
use super::peers::Door;
use super::pipe::Draw;
use super::ports::Ports;
use super::program::Program;
use super::road::Road;
use super::{whose, workings};
use rustix::process::{Pid, Signal};
use seatrial_node::Cluster;
use seatrial_scenario::fault::{ClockFault, DiskDamage, DiskFault, LinkRule, Place};
use seatrial_scenario::format::spec::NemesisKind;
use seatrial_scenario::record::Notebook;
use seatrial_scenario::theatre::{Build, Theatre, TheatreError};
use seatrial_scenario::{Knobs, Plan};
use seatrial_sims::{GrpcClient, Operation};
use seatrial_types::{MemberId, Term};
use seatrial_world::World;
use seatrial_world_real::RealWorld;
use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// Where a member lives and what it is told of the others.
#[derive(Clone, Debug, Default)]
pub(super) struct Seat {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    pub(super) client_url: String,
    /// Where peers are told that it is.
    pub(super) peer_url: String,
    /// Where it is: behind its door, where links are bent.
    pub(super) listen_peer_url: String,
    /// All members, as the flag has it.
    pub(super) initial: String,
    /// It joins a cluster that runs.
    pub(super) joins: bool,
    /// It runs the build before.
    pub(super) before: bool,
    /// The folder that its disk asks, where disks are broken.
    pub(super) faults: Option<PathBuf>,
}

/// A machine, and the member on it.
pub(super) struct Actor {
    pub(super) seat: Seat,
    /// The id, in the cluster, of who lives here; `None` where it is not known, or the machine is a spare one.
    id: Option<MemberId>,
    /// A spare machine has nothing to run until somebody joins on it.
    is_spare: bool,
    /// How many have lived here.
    tenants: u32,
    /// The one that lives here has served under its id.
    has_joined: bool,
    pub(super) log: PathBuf,
    faults: Option<Faults>,
    process: Option<Process>,
    /// Bytes of the log that earlier processes wrote.
    pub(super) log_from: u64,
}

/// A child that does not outlive the run, however that ends.
pub(super) struct Process(Child);

impl Process {
    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().ok().flatten()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Actor {
    /// Another one lives here, on an empty disk.
    fn move_in(&mut self) {
        self.tenants += 1;
        let folder = format!("{}-{}", self.seat.name, self.tenants);
        self.seat.folder.set_file_name(folder);
        self.has_joined = false;
    }

    pub(super) fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }
}

/// What the servers take where no flag says another (etcd: the same).
const CLUSTER_TOKEN: &str = "etcd-cluster";

type Actors = Mutex<BTreeMap<MemberId, Actor>>;

/// The members of one run. Cheap to clone.
#[derive(Clone)]
pub(super) struct Cast {
    world: RealWorld,
    begun: Duration,
    program: Program,
    knobs: Knobs,
    pub(super) notebook: Notebook,
    actors: Arc<Actors>,
    /// `None` where the plan bends none: connections are direct then.
    links: Option<Links>,
    /// Members' links are cut in here, where there is one; `links` is for those of clients then.
    yard: Option<Arc<Yard>>,
    addresses: Arc<BTreeMap<MemberId, String>>,
    by_address: Arc<BTreeMap<String, MemberId>>,
    draw: Draw,
    /// Elections seen so far, where terms cannot be had.
    elections: Arc<AtomicU64>,
}

pub(super) fn cannot(what: impl Into<String>, why: impl ToString) -> TheatreError {
    TheatreError { what: what.into(), why: why.to_string() }
}

fn locked(actors: &Actors) -> MutexGuard<'_, BTreeMap<MemberId, Actor>> {
    actors.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a plan does something to links.
fn bends_links(plan: &Plan) -> bool {
    let kinds = [
        NemesisKind::Partition,
        NemesisKind::Flapping,
        NemesisKind::Loss,
        NemesisKind::Latency,
        NemesisKind::Bandwidth,
    ];
    plan.faults.iter().any(|fault| kinds.contains(&fault.kind))
}

impl Cast {
    /// The machines of a plan, with doors for peers where links are bent. No member runs yet.
    pub(super) async fn new(
        plan: &Plan,
        program: &Program,
        folder: &Path,
        notebook: &Notebook,
    ) -> Result<Self, TheatreError> {
        let world = RealWorld::new();
        let folder = folder.join(format!("{}-{}-data", plan.scenario.name, plan.seed));
        workings::empty(&folder).map_err(|error| cannot(format!("empty {}", folder.display()), error))?;
        let links = bends_links(plan).then(Links::default);
        let has_doors = links.is_some() && !program.in_netns;
        let (breaks_disks, loses_power) = disks::breaks(plan);
        if has_doors {
            whose::check().map_err(|error| cannot("learn from the kernel whose a connection is", error))?;
        }
        let chance = world.clone();
        let draw: Draw = Arc::new(move || chance.rand());
        let yard = match program.in_netns {
            true => {
                let machines: Vec<MemberId> = plan.machines().collect();
                let yard = Yard::build(&machines, &*draw);
                Some(Arc::new(yard.map_err(|error| cannot("make a network", error))?))
            }
            false => None,
        };
        let mut ports = Ports::new(|| draw());
        let mut next = || ports.next().map_err(|error| cannot("draw a port", error));
        let mut actors = BTreeMap::new();
        let mut doors = Vec::new();
        for member in plan.machines() {
            let name = format!("m{member}");
            let host = yard.as_ref().map_or_else(|| "127.0.0.1".to_owned(), |yard| yard.address(member));
            let inner = next()?;
            let outer = if has_doors { next()? } else { inner };
            if has_doors {
                doors.push((member, outer, format!("127.0.0.1:{inner}")));
            }
            let seat = Seat {
                folder: folder.join(&name),
                client_url: format!("http://{host}:{}", next()?),
                peer_url: format!("http://{host}:{outer}"),
                listen_peer_url: format!("http://{host}:{inner}"),
                name,
                ..Seat::default()
            };
            let mut actor = Actor {
                log: folder.join(format!("{}.log", seat.name)),
                seat,
                id: None,
                is_spare: member.0 > plan.scenario.members,
                tenants: 1,
                has_joined: false,
                faults: None,
                process: None,
                log_from: 0,
            };
            if breaks_disks {
                let faults = Faults::new(folder.join(format!("{}.faults", actor.seat.name)), loses_power);
                let faults = faults.map_err(|error| cannot("make a folder for faults", error))?;
                actor.seat.faults = Some(faults.folder().to_owned());
                actor.faults = Some(faults);
            }
            actors.insert(member, actor);
        }
        introduce(&mut actors, program)?;
        let addresses: BTreeMap<MemberId, String> =
            actors.iter().map(|(member, actor)| (*member, actor.seat.client_url.clone())).collect();
        let bare = |url: &String| url.trim_start_matches("http://").to_owned();
        let cast = Self {
            begun: world.now(),
            world,
            program: program.clone(),
            knobs: plan.knobs.clone(),
            notebook: notebook.clone(),
            actors: Arc::new(Mutex::new(actors)),
            links,
            yard,
            by_address: Arc::new(addresses.iter().map(|(member, url)| (bare(url), *member)).collect()),
            addresses: Arc::new(addresses),
            draw,
            elections: Arc::default(),
        };
        cast.open_doors(doors).await?;
        Ok(cast)
    }

    async fn open_doors(&self, doors: Vec<(MemberId, u16, String)>) -> Result<(), TheatreError> {
        let Some(links) = &self.links else { return Ok(()) };
        for (to, port, address) in doors {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await;
            let listener = listener.map_err(|error| cannot("open a door for peers", error))?;
            let actors = Arc::downgrade(&self.actors);
            let door = Door {
                links: links.clone(),
                draw: Arc::clone(&self.draw),
                running: Arc::new(move || running(&actors)),
                to,
                address,
            };
            tokio::spawn(door.serve(listener));
        }
        Ok(())
    }

    pub(super) fn with<T>(
        &self,
        member: MemberId,
        act: impl FnOnce(&mut Actor) -> T,
    ) -> Result<T, TheatreError> {
        let mut actors = locked(&self.actors);
        let actor = actors
            .get_mut(&member)
            .ok_or_else(|| cannot(format!("find member {member}"), "there is none"))?;
        Ok(act(actor))
    }

    /// Every machine.
    pub(super) fn machines(&self) -> Vec<MemberId> {
        self.addresses.keys().copied().collect()
    }

    /// Where a member serves clients, past all links.
    pub(super) fn address(&self, member: MemberId) -> &str {
        &self.addresses[&member]
    }

    pub(super) fn is_foreign(&self) -> bool {
        self.program.is_foreign()
    }

    pub(super) fn next_election(&self) -> Term {
        Term(self.elections.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(super) fn world(&self) -> &RealWorld {
        &self.world
    }

    fn spawn_process(&self, member: MemberId, actor: &mut Actor) -> Result<(), TheatreError> {
        if actor.is_spare {
            return Ok(());
        }
        let log = fs::OpenOptions::new().create(true).append(true).open(&actor.log);
        let log = log.map_err(|error| cannot(format!("open {}", actor.log.display()), error))?;
        actor.log_from = log.metadata().map_or(0, |metadata| metadata.len());
        let also = log.try_clone().map_err(|error| cannot("share a log", error))?;
        let mut command = self.program.command(&actor.seat, &self.knobs);
        if let Some(yard) = &self.yard {
            command = yard.within(member, &command);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(also)
            .stderr(log)
            .spawn()
            .map_err(|error| cannot(format!("start member {member}"), error))?;
        actor.process = Some(Process(child));
        Ok(())
    }

    /// Whether a member that was added has not served yet under the id that it was given; `told` is what it says of itself.
    pub(super) fn is_waited_for(&self, member: MemberId, told: Option<MemberId>) -> bool {
        let looked = self.with(member, |actor| {
            actor.has_joined |= told.is_some() && told == actor.id;
            actor.seat.joins && !actor.has_joined
        });
        looked.unwrap_or(false)
    }

    /// Starts a member once more whose last process, of this pid, has ended, on an empty disk where asked; not where somebody
    /// else did something to it since.
    pub(super) fn start_again(&self, member: MemberId, pid: u32, afresh: bool) {
        let started = self.with(member, |actor| {
            let has_ended =
                actor.process().is_some_and(|process| process.pid() == pid && process.ended().is_some());
            if !has_ended {
                return Ok(());
            }
            if afresh {
                actor.move_in();
            }
            self.spawn_process(member, actor)
        });
        if let Err(error) = started.and_then(|started| started) {
            self.notebook.harness_error(error.to_string());
        }
    }

    fn signal(&self, member: MemberId, signal: Signal) -> Result<(), TheatreError> {
        self.with(member, |actor| {
            let Some(process) = &mut actor.process else { return Ok(()) };
            if process.ended().is_some() {
                return Ok(());
            }
            let pid = i32::try_from(process.pid()).ok().and_then(Pid::from_raw);
            let pid = pid.ok_or_else(|| cannot("signal a member", "it has no pid"))?;
            rustix::process::kill_process(pid, signal)
                .map_err(|error| cannot(format!("signal {member}"), error))
        })?
    }

    /// Ends every process that still runs.
    pub(super) fn end(&self) {
        for actor in locked(&self.actors).values_mut() {
            actor.process = None;
        }
    }
}

/// Tells the first members of each other. Who they are in the cluster is known of our own, whose ids follow from that.
fn introduce(actors: &mut BTreeMap<MemberId, Actor>, program: &Program) -> Result<(), TheatreError> {
    let initial = names(actors.values().filter(|actor| !actor.is_spare));
    let first = actors.values().filter(|actor| !actor.is_spare);
    let first = first.map(|actor| (actor.seat.name.as_str(), vec![actor.seat.peer_url.clone()]));
    let cluster =
        Cluster::bootstrap(first, CLUSTER_TOKEN).map_err(|error| cannot("name the members", error))?;
    for actor in actors.values_mut().filter(|actor| !actor.is_spare) {
        actor.seat.initial.clone_from(&initial);
        if !program.is_foreign() {
            actor.id = cluster.id_of(&actor.seat.name).ok();
        }
    }
    Ok(())
}

/// As `--initial-cluster` has it.
fn names<'a>(actors: impl Iterator<Item = &'a Actor>) -> String {
    let named = actors.map(|actor| format!("{}={}", actor.seat.name, actor.seat.peer_url));
    named.collect::<Vec<String>>().join(",")
}

/// The processes that run now.
fn running(actors: &Weak<Actors>) -> Vec<(MemberId, u32)> {
    let Some(actors) = actors.upgrade() else { return Vec::new() };
    let actors = locked(&actors);
    actors.iter().filter_map(|(member, actor)| Some((*member, actor.process.as_ref()?.pid()))).collect()
}

impl Theatre for Cast {
    type Client = GrpcClient<Road>;

    fn now(&self) -> Duration {
        self.world.now().saturating_sub(self.begun)
    }

    async fn sleep_until(&self, at: Duration) {
        self.world.sleep_until(self.begun + at).await;
    }

    fn spawn<F>(&self, _machine: u32, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        tokio::spawn(task);
    }

    fn client(&self, machine: u32) -> GrpcClient<Road> {
        let road = Road {
            real: self.world.clone(),
            machine,
            links: self.links.clone(),
            members: Arc::clone(&self.by_address),
            draw: Arc::clone(&self.draw),
        };
        GrpcClient::new(road, Arc::clone(&self.addresses))
    }

    async fn start(&self, member: MemberId) -> Result<(), TheatreError> {
        self.with(member, |actor| self.spawn_process(member, actor))?
    }

    fn build(&self, member: MemberId, build: Build) -> Result<(), TheatreError> {
        self.with(member, |actor| actor.seat.before = build == Build::Before)
    }

    async fn kill(&self, member: MemberId) -> Result<(), TheatreError> {
        self.with(member, |actor| actor.process = None)
    }

    async fn power_loss(&self, member: MemberId) -> Result<(), TheatreError> {
        self.with(member, |actor| {
            actor.process = None;
            let lost = actor
                .faults
                .as_ref()
                .map_or(Ok(()), |faults| faults.lose_power(&actor.seat.folder, &*self.draw));
            lost.map_err(|error| cannot(format!("take the power of member {member}"), error))
        })?
    }

    async fn pause(&self, member: MemberId) -> Result<(), TheatreError> {
        self.signal(member, Signal::STOP)
    }

    async fn resume(&self, member: MemberId) -> Result<(), TheatreError> {
        self.signal(member, Signal::CONT)
    }

    fn link(&self, from: Place, to: Place, rule: LinkRule) -> Result<(), TheatreError> {
        if let (Some(yard), Place::Member(from), Place::Member(to)) = (&self.yard, from, to) {
            let set = yard.set_cut(from, to, rule.cut);
            return set.map_err(|error| cannot(format!("cut the link from {from} to {to}"), error));
        }
        if let Some(links) = &self.links {
            links.set(from, to, rule);
        }
        Ok(())
    }

    fn disk(&self, member: MemberId, fault: DiskFault) -> Result<(), TheatreError> {
        self.with(member, |actor| {
            let set = actor.faults.as_mut().map_or(Ok(()), |faults| faults.set(fault));
            set.map_err(|error| cannot(format!("break the disk of member {member}"), error))
        })?
    }

    fn damage(&self, member: MemberId, damage: DiskDamage) -> Result<Option<String>, TheatreError> {
        let data = self.with(member, |actor| actor.seat.folder.clone())?;
        let (operation, text) = match damage {
            DiskDamage::Value => (Operation::Damage, "a value in its store becomes another"),
            DiskDamage::ValueRepaired => (Operation::Repair, "the value is put right"),
            DiskDamage::StoreRot { .. } => {
                return disks::damage_store(&data, damage, &*self.draw)
                    .map_err(|error| cannot(format!("damage the store of member {member}"), error));
            }
            DiskDamage::WalTail | DiskDamage::WalMiddle { .. } => {
                return disks::damage_log(&data, damage, &*self.draw)
                    .map_err(|error| cannot(format!("damage the log of member {member}"), error));
            }
        };
        Ok(disks::damage_value(&self.world, &data, operation).map(|what| {
            self.notebook.observe(self.now(), member, what);
            text.to_owned()
        }))
    }

    fn clock(&self, member: MemberId, fault: ClockFault) -> Result<(), TheatreError> {
        if fault == ClockFault::default() {
            return Ok(());
        }
        Err(cannot(format!("bend the clock of member {member}"), "real clocks can only be true"))
    }

    fn peer_url(&self, machine: MemberId) -> String {
        self.with(machine, |actor| actor.seat.peer_url.clone()).unwrap_or_default()
    }

    fn machine_at(&self, url: &str) -> Option<MemberId> {
        let actors = locked(&self.actors);
        actors.iter().find(|(_, actor)| actor.seat.peer_url == url).map(|(machine, _)| *machine)
    }

    fn occupant(&self, machine: MemberId) -> Option<MemberId> {
        self.with(machine, |actor| actor.id).ok().flatten()
    }

    fn assign(&self, machine: MemberId, id: MemberId) -> Result<(), TheatreError> {
        // One that joins asks all the others; who is not there, or not any more, does not answer.
        let all = names(locked(&self.actors).values());
        self.with(machine, |actor| {
            actor.move_in();
            (actor.seat.joins, actor.seat.initial) = (true, all);
            (actor.id, actor.is_spare) = (Some(id), false);
        })
    }

    fn is_running(&self, member: MemberId) -> bool {
        self.with(member, |actor| actor.process().is_some_and(|process| process.ended().is_none()))
            .unwrap_or(false)
    }
}
