//! The engine: campaigns, and while it leads decides and writes.

use super::following::{Change, Following};
use crate::engine::{Decision, Outcome, Policy};
use crate::lead::{Lead, Verdict};
use crate::registry::keys::{ENGINE, SPEC};
use crate::registry::{Fence, LeaderRecord};
use crate::unit::MachineId;
use seatrial_client::{ClientError, Election, LockError, Place, Store, keep_alive};
use seatrial_types::request::LeaseGrantRequest;
use seatrial_types::{LeaseId, Revision};
use seatrial_world::{Backoff, World};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How an engine works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EngineOptions {
    /// A pass at least this often; changes wake it at once.
    pub interval: Duration,
    /// How long an engine that is gone stays in the way. Whole seconds.
    pub lease_ttl: Duration,
    /// How it treats lost machines.
    pub policy: Policy,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(2),
            lease_ttl: Duration::from_secs(10),
            policy: Policy::default(),
        }
    }
}

/// What an engine has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineNews {
    /// It leads; its writes are fenced with this revision.
    Leads(Revision),
    /// A pass. It says too why units wait.
    Passed(Outcome),
    /// These decisions are written, at this revision.
    Wrote(Vec<Decision>, Revision),
    /// These were not, for something had changed meanwhile. The next pass looks again.
    Refused(Vec<Decision>),
    /// The pass is over, with all that it wrote; so long it took.
    Took(Duration),
    /// It leads no more.
    Rests,
}

/// Version of what an engine proclaims.
const VERSION: u32 = 1;

/// Runs an engine until it is dropped. Of all engines on one store one leads; the others wait for their turn.
pub async fn run_engine<W: World, S: Store>(
    world: W,
    store: S,
    me: MachineId,
    options: EngineOptions,
    mut news: impl FnMut(EngineNews) + Send,
) {
    let mut backoff =
        Backoff::new(Duration::from_millis(100), options.interval.max(Duration::from_millis(100)));
    loop {
        match term(&world, &store, &me, &options, &mut news, &mut backoff).await {
            Ok(()) => {}
            Err(error) => tracing::debug!(machine = %me, %error, "the engine begins anew"),
        }
        backoff.wait(&world).await;
    }
}

/// From the campaign to the end of the leadership.
async fn term<W: World, S: Store>(
    world: &W,
    store: &S,
    me: &MachineId,
    options: &EngineOptions,
    news: &mut (impl FnMut(EngineNews) + Send),
    backoff: &mut Backoff,
) -> Result<(), LockError> {
    let ttl_seconds = i64::try_from(options.lease_ttl.as_secs().max(1)).unwrap_or(i64::MAX);
    let granted =
        store.lease_grant(LeaseGrantRequest { ttl_seconds, ..LeaseGrantRequest::default() }).await?;
    let lease = granted.id;
    let leads = AtomicBool::new(false);
    let ended = {
        let heard = |what: EngineNews| {
            leads.fetch_or(matches!(what, EngineNews::Leads(_)), Ordering::Relaxed);
            news(what);
        };
        tokio::select! {
            biased;
            gone = keep_alive(world, store, lease, |_| {}) => Err(gone.into()),
            ended = elected(world, store, me, lease, options, heard, backoff) => ended,
        }
    };
    if leads.into_inner() {
        tracing::info!(machine = %me, "leads the fleet no more");
        news(EngineNews::Rests);
    }
    // So that the next one need not wait for our lease to run out. Where the store cannot be asked, it will.
    let _ = store.lease_revoke(lease).await;
    ended
}

async fn elected<W: World, S: Store>(
    world: &W,
    store: &S,
    me: &MachineId,
    lease: LeaseId,
    options: &EngineOptions,
    mut news: impl FnMut(EngineNews) + Send,
    backoff: &mut Backoff,
) -> Result<(), LockError> {
    let election = Election::new(store.clone(), ENGINE.as_bytes());
    let record = LeaderRecord { machine: me.clone(), version: VERSION };
    let value = serde_json::to_vec(&record).expect("a record of a string and a number");
    let place = election.campaign(lease, value.into()).await?;
    backoff.reset();
    tracing::info!(machine = %me, revision = place.revision.0, "leads the fleet");
    news(EngineNews::Leads(place.revision));
    Ok(Leading::new(world, store, options, &place).run(&mut news).await?)
}

struct Leading<'a, W: World, S> {
    world: &'a W,
    store: &'a S,
    options: &'a EngineOptions,
    following: Following<W::Task>,
    lead: Lead,
}

impl<'a, W: World, S: Store> Leading<'a, W, S> {
    fn new(world: &'a W, store: &'a S, options: &'a EngineOptions, place: &Place) -> Self {
        let fence = Fence { key: place.key.clone(), created: place.revision };
        Self {
            following: Following::start(world, store, SPEC),
            lead: Lead::new(fence, options.policy, world.now()),
            world,
            store,
            options,
        }
    }

    /// Until somebody else leads (`Ok`) or the outcome of a write is unknown.
    async fn run(mut self, news: &mut (impl FnMut(EngineNews) + Send)) -> Result<(), ClientError> {
        let mut next_pass = self.world.now() + self.options.interval;
        loop {
            let is_due = tokio::select! {
                biased;
                change = self.following.next() => self.take(change),
                () = self.world.sleep_until(next_pass) => true,
            };
            if !is_due || self.lead.mirror().is_none() {
                if is_due {
                    next_pass = self.world.now() + self.options.interval;
                }
                continue;
            }
            let begun = self.world.now();
            if !self.pass(news).await? {
                return Ok(());
            }
            let now = self.world.now();
            news(EngineNews::Took(now.saturating_sub(begun)));
            let usual = now + self.options.interval;
            next_pass = self.lead.due(now).map_or(usual, |due| due.min(usual));
        }
    }

    /// Takes a change and all that have come with it; says whether there may be something to decide.
    fn take(&mut self, change: Change) -> bool {
        let mut is_due = false;
        let mut next = Some(change);
        while let Some(change) = next {
            is_due |= self.lead.take(change);
            next = self.following.try_next();
        }
        is_due
    }

    /// One pass; false where another one leads.
    async fn pass(&mut self, news: &mut (impl FnMut(EngineNews) + Send)) -> Result<bool, ClientError> {
        let Some((outcome, batches)) = self.lead.pass(self.world.now()) else { return Ok(true) };
        news(EngineNews::Passed(outcome));
        for batch in batches {
            let answer = match self.store.txn(batch.request.clone()).await {
                Ok(answer) => answer,
                // Certainly nothing has happened: the next pass tries it again.
                Err(error) if !error.ambiguous => {
                    tracing::debug!(%error, "could not schedule");
                    return Ok(true);
                }
                // Whether it has happened the registry alone knows: a new term reads it.
                Err(error) => return Err(error),
            };
            match self.lead.answered(batch, &answer) {
                Verdict::Wrote(decisions, revision) => news(EngineNews::Wrote(decisions, revision)),
                // What has changed is on its way to us and will wake us.
                Verdict::Refused(decisions) => news(EngineNews::Refused(decisions)),
                Verdict::Deposed => return Ok(false),
            }
        }
        Ok(true)
    }
}
