//! The agent of a machine, put together as `seatrial reboot-agent` is: the same loop, lock, keys, guard and client of FleetLock. Between them and
//! the world stands only what takes down what they do, and what can stop them at the worst moment.

use seatrial_client::{ClientOptions, Store};
use seatrial_reboot::{
    Coordinator, Done, Entry, Found, Group, Guards, Host, Keys, KeysError, Lock, Locksmith, LocksmithWindow,
    MachineLock, Quorum, RebootError, Semaphore, Settings, Strategy, Verb, Window, Windows, Zone,
};
use seatrial_scenario::machines::{AgentHost, AgentNote, AgentWish, Order};
use seatrial_scenario::theatre::CallError;
use seatrial_types::{Code, Error, MemberId, Request, Response};
use seatrial_wire::{
    ChannelOptions, FleetLock, FleetLockOptions, Survey, V2Client, V2ClientOptions, V2Keys, connect,
};
use seatrial_world::{World, timeout};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Minutes of a run, of each of which a machine with a window has a part.
const MINUTES: u32 = 60;

/// Locksmith's pauses, a tenth of each or less: a storm has no hours.
fn settings(wish: &AgentWish) -> Result<Settings, CallError> {
    let mut windows = Vec::new();
    for minute in 0..wish.window.map_or(0, |_| MINUTES) {
        let length = wish.window.unwrap_or_default().as_secs();
        let window = LocksmithWindow::parse(&format!("00:{minute:02}"), &format!("{length}s"));
        windows.push(Window::Locksmith(window.map_err(|error| refused(&error.to_string()))?));
    }
    Ok(Settings {
        strategy: if wish.fleetlock { Strategy::FleetLock } else { Strategy::EtcdLock },
        windows: Windows::new(Zone::utc(), windows),
        drains: true,
        users_delay: Duration::from_secs(1),
        reboot_patience: Duration::from_secs(30),
        release_pause: Duration::from_millis(500),
        lock_pause: Duration::from_secs(1),
        pause_max: Duration::from_secs(5),
    })
}

fn refused(why: &str) -> CallError {
    CallError { error: Error::Other(Code::Internal, why.to_owned()), ambiguous: false }
}

/// The addresses of members, this one's first.
fn endpoints(addresses: &BTreeMap<MemberId, String>, first: MemberId) -> Vec<String> {
    let behind = addresses.range(first..).chain(addresses.range(..first));
    behind.map(|(_, address)| address.clone()).collect()
}

fn keys<W: World>(world: &W, endpoints: &[String]) -> Result<V2Keys<W>, CallError> {
    let second = Duration::from_secs(1);
    let options =
        V2ClientOptions { connect_timeout: second, header_timeout: second * 2, ..V2ClientOptions::default() };
    V2Client::new(world.clone(), endpoints, options).map(V2Keys).map_err(|why| refused(&why))
}

/// Runs an agent until the future is dropped.
pub(crate) async fn run_agent<W: World, H: AgentHost>(
    world: &W,
    addresses: &BTreeMap<MemberId, String>,
    wish: AgentWish,
    host: H,
) -> Result<(), CallError> {
    let settings = settings(&wish)?;
    let (host, endpoints) = (Arc::new(host), endpoints(addresses, wish.member));
    let seen = Seen { world: world.clone(), host: Arc::clone(&host) };
    let ended = if wish.fleetlock {
        let second = Duration::from_secs(1);
        let options = FleetLockOptions { connect_timeout: second, ..FleetLockOptions::default() };
        let lock = FleetLock::new(world.clone(), &endpoints, Group::new(wish.group), wish.id, &options);
        let lock = Told { lock: lock.map_err(|why| refused(&why))?, host };
        seatrial_reboot::run_agent(world.clone(), lock, seen, settings, "seatrial", "agent").await
    } else {
        let keys = Watched { keys: keys(world, &endpoints)?, host: Arc::clone(&host) };
        let plain = MachineLock {
            coordinator: Coordinator::new(world.clone(), keys, Group::new(wish.group)),
            id: wish.id,
            boot: Some(wish.boot),
            guards: Arc::new(Guards::default),
        };
        let lock = Told { lock: Guarded { world: world.clone(), endpoints, plain }, host };
        seatrial_reboot::run_agent(world.clone(), lock, seen, settings, "seatrial", "agent").await
    };
    ended.map_err(|error| refused(&error.to_string()))
}

/// The machine.
struct Seen<W, H> {
    world: W,
    host: Arc<H>,
}

impl<W: World, H: AgentHost> Host for Seen<W, H> {
    async fn needs_reboot(&self) -> bool {
        self.host.needs_reboot()
    }

    async fn told(&self) {
        self.host.told().await;
    }

    async fn healthy(&self) -> Result<(), String> {
        self.host.healthy().await;
        Ok(())
    }

    async fn users(&self) -> u32 {
        0
    }

    async fn warn(&self, _: Duration) {}

    async fn drain(&self) -> Result<(), String> {
        self.host.drain().await;
        Ok(())
    }

    async fn undrain(&self) -> Result<(), String> {
        Ok(())
    }

    async fn reboot(&self) -> Result<(), String> {
        self.host.reboot(self.world.wall()).await;
        Ok(())
    }
}

/// A lock of which it is taken down how it is used.
struct Told<L, H> {
    lock: L,
    host: Arc<H>,
}

impl<L: Lock, H: AgentHost> Lock for Told<L, H> {
    async fn lock(&self, guards: Guards) -> Result<u64, String> {
        self.host.note(AgentNote::Asks);
        let told = self.lock.lock(guards).await;
        self.host.note(AgentNote::Told(told.clone()));
        told
    }

    async fn release(&self, grant: Option<u64>) -> Result<(), String> {
        self.host.note(AgentNote::Releases);
        let done = self.lock.release(grant).await;
        self.host.note(AgentNote::Released(done.is_ok()));
        done
    }

    async fn confirm(&self, grant: u64) -> Result<bool, String> {
        self.host.note(AgentNote::Confirms);
        let held = self.lock.confirm(grant).await;
        self.host.note(AgentNote::Confirmed(held.clone().ok()));
        held
    }

    async fn changed(&self) {
        self.lock.changed().await;
    }
}

/// The store's lock, with the guard of its quorum.
struct Guarded<W, K> {
    world: W,
    endpoints: Vec<String>,
    plain: MachineLock<W, K>,
}

impl<W: World, K: Keys> Guarded<W, K> {
    async fn quorum(&self) -> Result<Quorum, String> {
        let channel = ChannelOptions::default();
        let client = connect(&self.world, &self.endpoints, &channel, ClientOptions::default())?;
        let members = match client.call(Request::MemberList { linearizable: true }).await {
            Ok(Response::MemberList(list)) => list.members,
            Ok(other) => return Err(format!("the store answered {other:?} when asked for its members")),
            Err(error) => return Err(format!("the store's members are not known: {}", error.error)),
        };
        let (placed, keys) = (BTreeMap::new(), self.plain.coordinator.keys());
        let survey = Survey { world: &self.world, keys, layer: None, placed: &placed };
        survey.look(&members, &[]).await.map_err(|error| error.to_string())
    }
}

impl<W: World, K: Keys> Lock for Guarded<W, K> {
    async fn lock(&self, own: Guards) -> Result<u64, String> {
        let guards = Guards { quorum: Some(self.quorum().await?), ..Guards::default() };
        MachineLock { guards: Arc::new(move || guards.clone()), ..self.plain.clone() }.lock(own).await
    }

    async fn release(&self, grant: Option<u64>) -> Result<(), String> {
        self.plain.release(grant).await
    }

    async fn confirm(&self, grant: u64) -> Result<bool, String> {
        self.plain.confirm(grant).await
    }

    async fn changed(&self) {
        self.plain.changed().await;
    }
}

/// Keys whose owner may be stopped right before it takes a slot.
struct Watched<K, H> {
    keys: K,
    host: Arc<H>,
}

impl<K: Clone, H> Clone for Watched<K, H> {
    fn clone(&self) -> Self {
        Self { keys: self.keys.clone(), host: Arc::clone(&self.host) }
    }
}

impl<K: Keys, H: AgentHost> Keys for Watched<K, H> {
    async fn get(&self, key: &str) -> Result<Found, KeysError> {
        self.keys.get(key).await
    }

    async fn create(&self, key: &str, value: &str) -> Result<u64, KeysError> {
        self.keys.create(key, value).await
    }

    async fn compare_and_swap(&self, key: &str, value: &str, index: u64) -> Result<u64, KeysError> {
        if key.ends_with("/semaphore") {
            self.host.before_taking().await;
        }
        self.keys.compare_and_swap(key, value, index).await
    }

    async fn compare_and_delete(&self, key: &str, index: u64) -> Result<(), KeysError> {
        self.keys.compare_and_delete(key, index).await
    }

    async fn list(&self, directory: &str) -> Result<Vec<Entry>, KeysError> {
        self.keys.list(directory).await
    }

    async fn changed(&self, key: &str, after: u64) -> Result<u64, KeysError> {
        self.keys.changed(key, after).await
    }
}

/// As locksmith does it: the semaphore is read, changed, and written where nobody else has changed it since. To give back what is
/// not held is success here, for that is what its caller wants.
async fn as_of_old<K: Keys>(
    keys: &K,
    group: &Group,
    id: &str,
    is_lock: bool,
) -> Result<Vec<String>, CallError> {
    let failed = |error: KeysError| {
        let ambiguous = matches!(error, KeysError::Unavailable { ambiguous: true, .. });
        CallError { ambiguous, ..refused(&error.to_string()) }
    };
    let found = keys.get(&group.semaphore_key()).await.map_err(failed)?;
    let mut semaphore = Semaphore::parse(&found.value).map_err(|error| refused(&error.to_string()))?;
    if is_lock {
        semaphore.lock(id).map_err(|error| refused(&error.to_string()))?;
    } else if semaphore.unlock(id).is_err() {
        return Ok(Vec::new());
    }
    let (key, value) = (group.semaphore_key(), semaphore.to_json());
    keys.compare_and_swap(&key, &value, found.index).await.map(|_| Vec::new()).map_err(failed)
}

/// What an operator does, as `locksmithctl` does it.
pub(crate) async fn order<W: World>(
    world: &W,
    addresses: &BTreeMap<MemberId, String>,
    group: String,
    order: Order,
    limit: Duration,
) -> Result<Vec<String>, CallError> {
    let keys = keys(world, &endpoints(addresses, MemberId(1)))?;
    if let Order::OldLock(id) | Order::OldUnlock(id) = &order {
        let is_lock = matches!(order, Order::OldLock(_));
        let done = timeout(world, limit, as_of_old(&keys, &Group::new(group), id, is_lock)).await;
        return done.unwrap_or(Err(CallError { ambiguous: true, ..refused("nothing in time") }));
    }
    let coordinator = Coordinator::new(world.clone(), keys, Group::new(group));
    let verb = match order {
        Order::Look => Verb::Look,
        Order::SetMax(max) => Verb::Locksmith(Locksmith::SetMax(max)),
        Order::Unlock(id) => Verb::Locksmith(Locksmith::Unlock(id)),
        Order::Pause => Verb::Pause("an operator of a scenario".to_owned()),
        Order::Resume => Verb::Resume,
        Order::OldLock(_) | Order::OldUnlock(_) => unreachable!("done above"),
    };
    let lost = || CallError { ambiguous: true, ..refused("the store did not answer in time") };
    let done = timeout(world, limit, coordinator.run(verb)).await.map_err(|_| lost())?;
    match done {
        Ok(Done::Seen(view)) => Ok(view.semaphore.holders().to_vec()),
        Ok(_) => Ok(Vec::new()),
        Err(error) => {
            let ambiguous = match &error {
                RebootError::Keys(KeysError::Unavailable { ambiguous, .. }) => *ambiguous,
                RebootError::Contended { .. } => true,
                _ => false,
            };
            Err(CallError { ambiguous, ..refused(&error.to_string()) })
        }
    }
}
