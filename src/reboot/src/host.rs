//! The loop that runs an agent: on a world, with a lock, for a machine.

use crate::agent::{Action, Agent, Input, Moment, Settings, State};
use crate::coordinator::Coordinator;
use crate::error::RebootError;
use crate::guard::Guards;
use crate::keys::Keys;
use crate::ledger::{Freed, Phase};
use crate::operation::{Done, Verb};
use crate::wall::Wall;
use seatrial_world::{Disk, DiskFile, OpenMode, World};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// How often a need for a reboot is looked for.
const LOOK_PERIOD: Duration = Duration::from_secs(60);

/// The machine. What fails says why, for people.
pub trait Host: Send + Sync + 'static {
    /// Whether a reboot is needed now, as a sentinel file says it.
    fn needs_reboot(&self) -> impl Future<Output = bool> + Send;

    /// Ready when somebody says that a reboot is needed; never where nobody does. Cancel-safe.
    fn told(&self) -> impl Future<Output = ()> + Send;

    /// Whether the machine does its work.
    fn healthy(&self) -> impl Future<Output = Result<(), String>> + Send;

    /// How many people are logged in.
    fn users(&self) -> impl Future<Output = u32> + Send;

    /// Tells them when the reboot comes.
    fn warn(&self, delay: Duration) -> impl Future<Output = ()> + Send;

    /// Moves what runs here.
    fn drain(&self) -> impl Future<Output = Result<(), String>> + Send;

    /// Lets it come back. Also asked for where nothing was moved.
    fn undrain(&self) -> impl Future<Output = Result<(), String>> + Send;

    /// Reboots. `Ok`: the command was accepted.
    fn reboot(&self) -> impl Future<Output = Result<(), String>> + Send;
}

/// A lock as an agent needs it. What fails says why, for people.
pub trait Lock: Send + Sync + 'static {
    /// Asks for a slot: the number of the grant, or why not.
    fn lock(&self, guards: Guards) -> impl Future<Output = Result<u64, String>> + Send;

    /// Gives back the slot of this grant, or whatever is held, and leaves the queue.
    fn release(&self, grant: Option<u64>) -> impl Future<Output = Result<(), String>> + Send;

    /// Writes down that the reboot begins, and says whether the grant is still held.
    fn confirm(&self, grant: u64) -> impl Future<Output = Result<bool, String>> + Send;

    /// Ready when it may be worth while to ask again. Cancel-safe.
    fn changed(&self) -> impl Future<Output = ()> + Send;
}

/// One machine's view of the lock of its group, in the store.
#[derive(Clone)]
pub struct MachineLock<W, K> {
    /// The lock of the group.
    pub coordinator: Coordinator<W, K>,
    /// The machine's id.
    pub id: String,
    /// The boot it runs in.
    pub boot: Option<String>,
    /// Alerts and the store's members, asked for at every question.
    pub guards: Arc<dyn Fn() -> Guards + Send + Sync>,
}

impl<W: World, K: Keys> Lock for MachineLock<W, K> {
    async fn lock(&self, own: Guards) -> Result<u64, String> {
        let mut guards = (self.guards)();
        guards.closed = guards.closed.or(own.closed);
        guards.alerts.extend(own.alerts);
        let (id, boot) = (self.id.clone(), self.boot.clone());
        match self.coordinator.run(Verb::Lock { id, boot, phase: Phase::Draining, guards }).await {
            Ok(Done::Granted { generation, .. }) => Ok(generation),
            Ok(Done::Refused(refusal)) => Err(refusal.to_string()),
            Ok(other) => unreachable!("a question for a slot ends with {other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn release(&self, generation: Option<u64>) -> Result<(), String> {
        let unlock = Verb::Unlock { id: self.id.clone(), generation, by: Freed::Holder };
        self.coordinator.run(unlock).await.map(|_| ()).map_err(|error| error.to_string())
    }

    async fn confirm(&self, generation: u64) -> Result<bool, String> {
        let mark = Verb::Mark { id: self.id.clone(), generation, phase: Phase::Rebooting };
        match self.coordinator.run(mark).await {
            Ok(done) => Ok(done == Done::Marked { held: true }),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn changed(&self) {
        if self.coordinator.changed().await.is_err() {
            // The pause of the agent goes on; to ask again at once would help nobody.
            std::future::pending().await
        }
    }
}

/// What the file `coordinator.conf` holds, as locksmith writes it: a shell can read it.
#[must_use]
pub fn coordinator_conf(name: &str, settings: &Settings, state: State) -> String {
    format!("NAME={name}\nSTRATEGY={}\nSTATE={state}\n", settings.strategy)
}

/// Runs an agent until the future is dropped. `folder` is where `coordinator.conf` lies.
///
/// # Errors
/// [`RebootError::File`] where the folder cannot be used. That the file cannot be written later is told and nothing
/// more: a reboot does not hang on it.
pub async fn run_agent<W: World, L: Lock, H: Host>(
    world: W,
    lock: L,
    host: H,
    settings: Settings,
    name: &str,
    folder: &str,
) -> Result<(), RebootError> {
    let disk = world
        .disk(folder)
        .map_err(|error| RebootError::File { path: folder.to_owned(), why: error.to_string() })?;
    let (mut agent, mut actions) = Agent::new(settings.clone());
    loop {
        let mut answer = None;
        for action in actions {
            tracing::debug!(?action, "the reboot agent acts");
            match action {
                Action::Write(state) => {
                    let text = coordinator_conf(name, &settings, state);
                    if let Err(error) = write_file(&disk, "coordinator.conf", &text) {
                        tracing::warn!(%error, folder, "could not write coordinator.conf");
                    }
                }
                Action::CheckHealth => answer = Some(Input::Healthy(host.healthy().await)),
                Action::Release(grant) => answer = Some(Input::Released(lock.release(grant).await)),
                Action::Lock => {
                    let closed = settings.windows.closed(Wall::from_epoch(world.wall()));
                    answer = Some(Input::Locked(lock.lock(Guards { closed, ..Guards::default() }).await));
                }
                Action::Users => answer = Some(Input::Users(host.users().await)),
                Action::Warn(delay) => host.warn(delay).await,
                Action::Drain => answer = Some(Input::Drained(host.drain().await)),
                Action::Undrain => {
                    if let Err(error) = host.undrain().await {
                        tracing::error!(%error, "what runs here could not be let back");
                    }
                }
                Action::Confirm(grant) => answer = Some(Input::Confirmed(lock.confirm(grant).await)),
                Action::Reboot => {
                    tracing::info!("reboot sent");
                    answer = Some(Input::Sent(host.reboot().await));
                }
            }
        }
        let input = match answer {
            Some(answer) => answer,
            None => next_input(&world, &lock, &host, &agent).await,
        };
        let at = Moment { now: world.now(), wall: Wall::from_epoch(world.wall()) };
        actions = agent.step(at, input);
        if !agent.why().is_empty() {
            tracing::info!(why = agent.why(), "the reboot waits");
        }
    }
}

async fn next_input<W: World, L: Lock, H: Host>(world: &W, lock: &L, host: &H, agent: &Agent) -> Input {
    if agent.is_idle() && host.needs_reboot().await {
        return Input::NeedReboot;
    }
    let look = world.now() + LOOK_PERIOD;
    let deadline = agent.deadline().unwrap_or(look);
    let changed = async {
        if agent.waits_for_slot() {
            lock.changed().await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    // Biased, for an unbiased select rolls dice which no seed controls.
    tokio::select! {
        biased;
        () = host.told() => Input::NeedReboot,
        () = world.sleep_until(deadline) => Input::Due,
        () = changed => Input::Woken,
    }
}

/// Writes a file so that a reader sees the old text or the new one.
fn write_file<D: Disk>(disk: &D, path: &str, text: &str) -> std::io::Result<()> {
    let draft = format!("{path}.new");
    let file = disk.open(&draft, OpenMode::Create)?;
    file.set_len(0)?;
    file.write_at(0, text.as_bytes())?;
    // No sync: it describes this boot, and is of no use to the next one.
    disk.rename(&draft, path)
}
