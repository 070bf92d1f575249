//! Scenarios on real processes: the same plan, workloads and oracles, with `seatrial server` on loopback,
//! `kill -9` and `SIGSTOP`.
//!
//! What it cannot do (cut links, break disks, bend clocks) it says before the scenario starts. It does not see
//! into the members either: who leads is asked of them, and the oracles that need a member's own
//! observations judge what little there is.

use rustix::process::{Pid, Signal};
use seatrial_client::{Endpoint, WatchChannel};
use seatrial_scenario::batch::Stage;
use seatrial_scenario::fault::{ClockFault, DiskDamage, DiskFault, LinkRule, Place};
use seatrial_scenario::observation::{Observation, Role};
use seatrial_scenario::record::{Notebook, RunLog};
use seatrial_scenario::theatre::{CallError, Client, Theatre, TheatreError, Watch};
use seatrial_scenario::{Plan, runner};
use seatrial_types::watch::{WatchCreate, WatchRequest, WatchResponse};
use seatrial_types::{MemberId, Request, Response};
use seatrial_wire::{ChannelOptions, GrpcEndpoint, GrpcWatch};
use seatrial_world::World;
use seatrial_world_real::RealWorld;
use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often members are asked who leads.
const LOOK: Duration = Duration::from_millis(100);

/// Plays plans with processes.
#[derive(Debug)]
pub(crate) struct Processes {
    /// Where data folders and logs go; one folder below for each run.
    pub(crate) folder: PathBuf,
}

impl Stage for Processes {
    fn world(&self) -> &str {
        "real"
    }

    fn run(&self, plan: &Plan) -> RunLog {
        let notebook = Notebook::new(plan.clone());
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let begun = std::time::Instant::now();
        match runtime {
            Err(error) => notebook.harness_error(format!("the runtime cannot start: {error}")),
            Ok(runtime) => {
                let limit = runner::time_limit(plan);
                runtime.block_on(async {
                    match Cast::new(plan, &self.folder, &notebook) {
                        Err(error) => notebook.harness_error(error.to_string()),
                        Ok(cast) => {
                            let watching = tokio::spawn(watch_leader(cast.clone()));
                            if tokio::time::timeout(limit, runner::play(&cast, plan, &notebook))
                                .await
                                .is_err()
                            {
                                notebook.harness_error(format!("the run did not end within {limit:?}"));
                            }
                            watching.abort();
                            cast.end();
                        }
                    }
                });
                runtime.shutdown_timeout(Duration::from_secs(1));
            }
        }
        // There is no trace of a real run: no two are equal.
        notebook.finish(begun.elapsed(), 0, Duration::ZERO)
    }
}

struct Actor {
    endpoint: GrpcEndpoint<RealWorld>,
    flags: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
}

/// The members of one run. Ends every process it started when the last clone goes.
#[derive(Clone)]
struct Cast {
    world: RealWorld,
    begun: Duration,
    notebook: Notebook,
    actors: Arc<Mutex<BTreeMap<MemberId, Actor>>>,
}

fn cannot(what: impl Into<String>, why: impl ToString) -> TheatreError {
    TheatreError { what: what.into(), why: why.to_string() }
}

impl Cast {
    fn new(plan: &Plan, folder: &std::path::Path, notebook: &Notebook) -> Result<Self, TheatreError> {
        let world = RealWorld::new();
        if !plan.knobs.lease_checkpoint.is_zero() {
            let why = "processes write them every five minutes; leave the knob `lease_checkpoint` out";
            return Err(cannot(format!("write checkpoints every {:?}", plan.knobs.lease_checkpoint), why));
        }
        let folder = folder.join(format!("{}-{}-data", plan.scenario.name, plan.seed));
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .map_err(|error| cannot(format!("empty {}", folder.display()), error))?;
        }
        fs::create_dir_all(&folder).map_err(|error| cannot(format!("make {}", folder.display()), error))?;
        // Free ports, held together until all are known, so that none is drawn twice.
        let mut held = Vec::new();
        let mut ports = BTreeMap::new();
        for member in plan.members() {
            let mut draw = || -> Result<u16, TheatreError> {
                let listener =
                    TcpListener::bind("127.0.0.1:0").map_err(|error| cannot("draw a port", error))?;
                let port = listener.local_addr().map_err(|error| cannot("draw a port", error))?.port();
                held.push(listener);
                Ok(port)
            };
            ports.insert(member, (draw()?, draw()?));
        }
        drop(held);
        let initial: Vec<String> =
            ports.iter().map(|(member, (_, peer))| format!("m{member}=http://127.0.0.1:{peer}")).collect();
        let mut actors = BTreeMap::new();
        for (member, (client, peer)) in &ports {
            let name = format!("m{member}");
            let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
            let knobs = &plan.knobs;
            let flags = [
                ("--name", name.clone()),
                ("--data-dir", folder.join(&name).display().to_string()),
                ("--initial-cluster", initial.join(",")),
                ("--listen-client-urls", client.clone()),
                ("--advertise-client-urls", client.clone()),
                ("--listen-peer-urls", peer.clone()),
                ("--initial-advertise-peer-urls", peer),
                ("--heartbeat-interval", knobs.heartbeat.as_millis().max(1).to_string()),
                ("--election-timeout", knobs.election_timeout.as_millis().to_string()),
                ("--snapshot-count", knobs.snapshot_entries.to_string()),
                ("--snapshot-catchup-entries", knobs.keep_entries.to_string()),
                ("--wal-segment-bytes", knobs.segment_bytes.to_string()),
                ("--corrupt-check-time", format!("{}ms", knobs.corrupt_check.as_millis())),
                ("--feature-gates", format!("InitialCorruptCheck={}", knobs.initial_check)),
            ];
            let endpoint = GrpcEndpoint::new(world.clone(), &client, ChannelOptions::default())
                .map_err(|error| cannot("reach a member", error))?;
            let flags = flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect();
            let log = folder.join(format!("{name}.log"));
            actors.insert(*member, Actor { endpoint, flags, log, child: None });
        }
        let begun = world.now();
        Ok(Self { world, begun, notebook: notebook.clone(), actors: Arc::new(Mutex::new(actors)) })
    }

    fn with<T>(&self, member: MemberId, act: impl FnOnce(&mut Actor) -> T) -> Result<T, TheatreError> {
        let mut actors = self.actors.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let actor = actors
            .get_mut(&member)
            .ok_or_else(|| cannot(format!("find member {member}"), "there is none"))?;
        Ok(act(actor))
    }

    fn signal(&self, member: MemberId, signal: Signal) -> Result<(), TheatreError> {
        self.with(member, |actor| {
            let Some(child) = &actor.child else { return Ok(()) };
            let pid =
                Pid::from_raw(child.id() as i32).ok_or_else(|| cannot("signal a member", "it has no pid"))?;
            rustix::process::kill_process(pid, signal)
                .map_err(|error| cannot(format!("signal {member}"), error))
        })?
    }

    /// Ends every process that still runs.
    fn end(&self) {
        let mut actors = self.actors.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for actor in actors.values_mut() {
            if let Some(mut child) = actor.child.take() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// Asks every member now and then, and notes who says that it leads.
async fn watch_leader(cast: Cast) {
    let mut known = None;
    loop {
        let endpoints: Vec<(MemberId, GrpcEndpoint<RealWorld>)> = {
            let actors = cast.actors.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            actors
                .iter()
                .filter(|(_, actor)| actor.child.is_some())
                .map(|(id, a)| (*id, a.endpoint.clone()))
                .collect()
        };
        for (member, endpoint) in endpoints {
            let Ok(Response::Status(status)) = endpoint.call(Request::Status, LOOK * 5).await else {
                continue;
            };
            let leads = status.leader == status.header.member_id;
            if leads && known != Some((member, status.raft_term)) {
                known = Some((member, status.raft_term));
                let role = Observation::Role { term: status.raft_term, role: Role::Leader, leader: member };
                cast.notebook.observe(cast.now(), member, role);
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A client of the members' real ports.
struct RealClient {
    cast: Cast,
}

impl Client for RealClient {
    type Watch = RealWatch;

    async fn call(
        &mut self,
        member: MemberId,
        request: Request,
        timeout: Duration,
    ) -> Result<Response, CallError> {
        let endpoint = self.cast.with(member, |actor| actor.endpoint.clone()).map_err(unreachable)?;
        endpoint
            .call(request, timeout)
            .await
            .map_err(|error| CallError { error: error.error, ambiguous: error.ambiguous })
    }

    async fn watch(
        &mut self,
        member: MemberId,
        create: WatchCreate,
        _timeout: Duration,
    ) -> Result<RealWatch, CallError> {
        let endpoint = self.cast.with(member, |actor| actor.endpoint.clone()).map_err(unreachable)?;
        let mut watch = endpoint.watch();
        watch.send(WatchRequest::Create(create));
        Ok(RealWatch(watch))
    }
}

fn unreachable(error: TheatreError) -> CallError {
    let error = seatrial_types::Error::Other(seatrial_types::Code::Unavailable, error.to_string());
    CallError { error, ambiguous: false }
}

struct RealWatch(GrpcWatch);

impl Watch for RealWatch {
    async fn next(&mut self) -> Option<WatchResponse> {
        WatchChannel::next(&mut self.0).await.ok()
    }

    fn ask_progress(&mut self) {
        WatchChannel::send(&mut self.0, WatchRequest::Progress);
    }
}

impl Theatre for Cast {
    type Client = RealClient;

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

    fn client(&self, _machine: u32) -> RealClient {
        RealClient { cast: self.clone() }
    }

    async fn start(&self, member: MemberId) -> Result<(), TheatreError> {
        let exe = std::env::current_exe().map_err(|error| cannot("find our own program", error))?;
        self.with(member, |actor| {
            let log = fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(&actor.log)
                .map_err(|error| cannot(format!("open {}", actor.log.display()), error))?;
            let child = Command::new(exe)
                .arg("server")
                .args(&actor.flags)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .map_err(|error| cannot(format!("start member {member}"), error))?;
            actor.child = Some(child);
            Ok(())
        })?
    }

    async fn kill(&self, member: MemberId) -> Result<(), TheatreError> {
        self.with(member, |actor| {
            if let Some(mut child) = actor.child.take() {
                child.kill().map_err(|error| cannot(format!("kill member {member}"), error))?;
                child.wait().map_err(|error| cannot(format!("wait for member {member}"), error))?;
            }
            Ok(())
        })?
    }

    async fn power_loss(&self, member: MemberId) -> Result<(), TheatreError> {
        Err(cannot(format!("take the power of member {member}"), "a process's page cache outlives it"))
    }

    async fn pause(&self, member: MemberId) -> Result<(), TheatreError> {
        self.signal(member, Signal::STOP)
    }

    async fn resume(&self, member: MemberId) -> Result<(), TheatreError> {
        self.signal(member, Signal::CONT)
    }

    fn link(&self, from: Place, to: Place, rule: LinkRule) -> Result<(), TheatreError> {
        if rule.is_healthy() {
            return Ok(());
        }
        Err(cannot(format!("bend the link from {from} to {to}"), "real links can only be healthy yet"))
    }

    fn disk(&self, member: MemberId, fault: DiskFault) -> Result<(), TheatreError> {
        if fault == DiskFault::default() {
            return Ok(());
        }
        Err(cannot(format!("break the disk of member {member}"), "real disks can only be healthy yet"))
    }

    fn damage(&self, member: MemberId, _damage: DiskDamage) -> Result<Option<String>, TheatreError> {
        Err(cannot(format!("damage the disk of member {member}"), "real disks can only be healthy yet"))
    }

    fn clock(&self, member: MemberId, fault: ClockFault) -> Result<(), TheatreError> {
        if fault == ClockFault::default() {
            return Ok(());
        }
        Err(cannot(format!("bend the clock of member {member}"), "real clocks can only be true"))
    }

    fn is_running(&self, member: MemberId) -> bool {
        self.with(member, |actor| {
            actor.child.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|status| status.is_none()))
        })
        .unwrap_or(false)
    }
}
