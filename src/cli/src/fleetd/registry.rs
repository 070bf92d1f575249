//! Fleet's HTTP interface over the store: requests are answered from a mirror, and changes are written as transactions.

use super::old_restart::{Lowered, as_before};
use seatrial_client::Store;
use seatrial_fleet::api::{self, ApiRequest, ApiResponse};
use seatrial_fleet::model::{Cluster, JobState};
use seatrial_fleet::registry::keys::PREFIX;
use seatrial_fleet::registry::{Key, Mirror, write};
use seatrial_fleet::run::Following;
use seatrial_fleet::unit::MachineId;
use seatrial_types::KeyRange;
use seatrial_types::request::RangeRequest;
use seatrial_world::{World, timeout};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// So often a change is tried anew that others were faster with.
const ATTEMPTS: u32 = 40;

/// Between two attempts, for the mirror to hear of what others wrote.
const PAUSE: Duration = Duration::from_millis(25);

/// How long the store may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(2);

/// The registry as this process sees it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Registry<W, S> {
    world: W,
    store: S,
    me: MachineId,
    mirror: Arc<Mutex<Option<Mirror>>>,
    lowered: Arc<Mutex<Lowered>>,
}

impl<W: World, S: Store> Registry<W, S> {
    pub(crate) fn start(world: W, store: S, me: MachineId) -> Self {
        let registry = Self { world, store, me, mirror: Arc::default(), lowered: Arc::default() };
        let kept = registry.clone();
        registry.world.spawn(async move {
            let mut following = Following::start(&kept.world, &kept.store, PREFIX);
            loop {
                let change = following.next().await;
                change.apply_to(&mut kept.mirror());
            }
        });
        registry
    }

    fn mirror(&self) -> MutexGuard<'_, Option<Mirror>> {
        self.mirror.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of the cluster; nothing before it was read once.
    pub(crate) fn with_cluster<T>(&self, look: impl FnOnce(&Cluster) -> T) -> Option<T> {
        self.mirror().as_ref().map(|mirror| look(mirror.cluster()))
    }

    /// A mirror shows what was, also while the store is away. Clients of the original are told then, and so are ours.
    pub(crate) async fn is_reachable(&self) -> bool {
        let range = KeyRange::single(Key::Machine(self.me.clone()).bytes());
        let asked = self.store.range(RangeRequest { range, count_only: true, ..RangeRequest::default() });
        matches!(timeout(&self.world, PATIENCE, asked).await, Ok(Ok(_)))
    }

    fn lowered(&self) -> MutexGuard<'_, Lowered> {
        self.lowered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For clients of the original, whose `restart` looks for what is over: see `old_restart`.
    async fn first_look(&self, request: &ApiRequest) -> Option<ApiResponse> {
        let unit = request.path.rsplit_once("/units/").filter(|_| request.method == "GET")?.1;
        let begun = self.world.now();
        let name = self.lowered().first_look(unit, begun)?;
        let is_up = |cluster: &Cluster| cluster.current_state(&name) == Some(JobState::Launched);
        while self.with_cluster(is_up)? && self.world.now() < begun + PATIENCE {
            self.world.sleep(PAUSE).await;
        }
        self.with_cluster(|cluster| api::handle(request, &as_before(cluster, &name)).response)
    }

    pub(crate) async fn handle(&self, request: &ApiRequest, is_generated: bool) -> ApiResponse {
        if !self.is_reachable().await {
            return ApiResponse::unavailable();
        }
        if is_generated && let Some(answer) = self.first_look(request).await {
            return answer;
        }
        for _ in 0..ATTEMPTS {
            let (response, transaction) = {
                let mirror = self.mirror();
                let Some(mirror) = mirror.as_ref() else { return ApiResponse::unavailable() };
                let handled = api::handle(request, mirror.cluster());
                if handled.writes.is_empty() {
                    return handled.response;
                }
                if is_generated {
                    let now = self.world.now();
                    handled
                        .writes
                        .iter()
                        .for_each(|write| self.lowered().order(write, mirror.cluster(), now));
                }
                match write(mirror, &handled.writes) {
                    Some(transaction) => (handled.response, transaction),
                    None => return ApiResponse::error(400, "too many changes in one request"),
                }
            };
            let operations = transaction.success.clone();
            match self.store.txn(transaction).await {
                Ok(answer) if answer.succeeded => {
                    if let Some(mirror) = self.mirror().as_mut() {
                        // Who asks next, asks us, and wants to see it.
                        mirror.wrote(&operations, answer.header.revision);
                    }
                    return response;
                }
                Ok(_) => self.world.sleep(PAUSE).await,
                Err(error) => {
                    tracing::warn!(%error, "could not write to the registry");
                    return ApiResponse::unavailable();
                }
            }
        }
        ApiResponse::error(503, "others change the same unit all the time\nhint: try again")
    }
}
