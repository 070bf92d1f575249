//! Keeping the original's registry in step with ours: what the machine does whose engine leads.

use super::following::Following;
use crate::registry::keys::{ENGINE, PREFIX};
use crate::registry::view::{Base, Pass, Sides, Taken, View, ViewWrite, reconcile};
use crate::registry::{Fence, LeaderRecord, Mirror, fenced, restore, write};
use crate::unit::{MachineId, UnitName};
use bytes::Bytes;
use seatrial_client::{ClientError, Store};
use seatrial_types::request::{DeleteRangeRequest, PutRequest, RangeRequest, TxnOp, TxnRequest};
use seatrial_types::{KeyRange, Revision};
use seatrial_world::World;
use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

/// What both sides agreed on, by unit.
const BASES: &str = "/_seatrial/fleet/v2/";

/// Orders or bases in one transaction.
const CHUNK: usize = 40;

/// The v2 keys could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the v2 keys of the original's registry: {0}\nhint: the store must serve the v2 API (--enable-v2)")]
pub struct ViewError(pub String);

/// The original's registry in the v2 keys. Cheap to clone.
pub trait OldRegistry: Clone + Send + Sync + 'static {
    /// Reads everything, as new as any answer given before.
    fn read(&self) -> impl Future<Output = Result<View, ViewError>> + Send;

    /// Writes; `false` where somebody has changed the key since it was read.
    fn write(&self, write: &ViewWrite) -> impl Future<Output = Result<bool, ViewError>> + Send;

    /// Waits until something has changed after this index, or until that cannot be known any more.
    fn changed(&self, after: u64) -> impl Future<Output = Result<(), ViewError>> + Send;
}

/// How the view is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ViewOptions {
    /// A pass at least this often; changes on either side wake it.
    pub interval: Duration,
    /// So long is gathered what has changed.
    pub gather: Duration,
    /// So long nothing is shown after an order was taken over. The original's `restart` looks a quarter of a second after it
    /// has ordered a unit to stop whether that is still launched, and waits for ever where it is not.
    pub rest: Duration,
}

impl Default for ViewOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            gather: Duration::from_millis(100),
            rest: Duration::from_secs(1),
        }
    }
}

/// What the view has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ViewNews {
    /// It is kept from here.
    Keeps,
    /// Orders of old clients were taken over.
    Took(Vec<Taken>),
    /// It is kept from elsewhere.
    Rests,
    /// Both sides were looked at and brought into step; so long it took.
    Passed(Duration),
    /// They were not.
    Failed(ViewError),
}

/// What lies at one revision.
struct Snapshot {
    mirror: Mirror,
    leader: Option<(Fence, LeaderRecord)>,
    bases: BTreeMap<UnitName, Base>,
}

async fn leader<S: Store>(
    store: &S,
    revision: Revision,
) -> Result<Option<(Fence, LeaderRecord)>, ClientError> {
    let range = KeyRange::prefix(format!("{ENGINE}/"));
    let answer = store.range(RangeRequest { range, revision, ..RangeRequest::default() }).await?;
    let first = answer.kvs.into_iter().min_by_key(|kv| kv.create_revision);
    Ok(first.and_then(|kv| {
        let record = serde_json::from_slice(&kv.value).ok()?;
        Some((Fence { key: kv.key, created: kv.create_revision }, record))
    }))
}

async fn look<S: Store>(store: &S) -> Result<Snapshot, ClientError> {
    let mirror = restore(store, PREFIX).await?;
    let revision = mirror.revision();
    let leader = leader(store, revision).await?;
    let range = KeyRange::prefix(BASES);
    let answer = store.range(RangeRequest { range, revision, ..RangeRequest::default() }).await?;
    let bases = answer.kvs.iter().filter_map(|kv| {
        let name = std::str::from_utf8(&kv.key).ok()?.strip_prefix(BASES)?;
        // One that cannot be read is as good as none.
        Some((UnitName::parse(name).ok()?, serde_json::from_slice(&kv.value).ok()?))
    });
    let bases = bases.collect();
    Ok(Snapshot { mirror, leader, bases })
}

fn base_operation((name, base): (&UnitName, &Base)) -> TxnOp {
    let key: Bytes = format!("{BASES}{name}").into();
    if *base == Base::nothing() {
        return TxnOp::DeleteRange(DeleteRangeRequest { range: KeyRange::single(key), prev_kv: false });
    }
    let value = serde_json::to_vec(base).expect("a base is made of texts").into();
    TxnOp::Put(PutRequest { key, value, ..PutRequest::default() })
}

/// The transactions that write a pass to our store, in order. Each holds only as long as the engine leads, and as long as the
/// units in it are those that were looked at.
fn transactions(pass: &Pass, mirror: &Mirror, fence: &Fence) -> Vec<TxnRequest> {
    let taken = pass.taken.chunks(CHUNK).filter_map(|chunk| {
        let writes: Vec<_> = chunk.iter().map(|taken| taken.write.clone()).collect();
        let mut request = write(mirror, &writes)?;
        request.success.extend(chunk.iter().map(|taken| base_operation((&taken.name, &taken.base))));
        Some(request)
    });
    let bases: Vec<_> = pass.bases.iter().collect();
    let bases = bases.chunks(CHUNK).map(|chunk| TxnRequest {
        success: chunk.iter().copied().map(base_operation).collect(),
        ..TxnRequest::default()
    });
    taken.chain(bases).map(|request| fenced(request, fence)).collect()
}

/// Keeps the original's registry in step, as long as the engine of this machine leads; until it is dropped.
///
/// Whatever is wrong is tried again. The v2 keys cannot be compared with who leads: a leader that slept may write what is old,
/// but only over what nobody has written since. The next pass of the one that leads puts that right; only where a unit was
/// changed while it slept, and changed back, is it taken for a client's order.
pub async fn run_view<W: World, S: Store, V: OldRegistry>(
    world: W,
    store: S,
    view: V,
    me: MachineId,
    options: ViewOptions,
    mut news: impl FnMut(ViewNews) + Send,
) {
    loop {
        match leader(&store, Revision(0)).await {
            Ok(Some((_, record))) if record.machine == me => {
                news(ViewNews::Keeps);
                keep(&world, &store, &view, &me, &options, &mut news).await;
                news(ViewNews::Rests);
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "could not ask who leads the fleet"),
        }
        world.sleep(options.rest).await;
    }
}

/// Until somebody else leads.
async fn keep<W: World, S: Store, V: OldRegistry>(
    world: &W,
    store: &S,
    view: &V,
    me: &MachineId,
    options: &ViewOptions,
    news: &mut (impl FnMut(ViewNews) + Send),
) {
    let mut following = Following::start(world, store, PREFIX);
    loop {
        let begun = world.now();
        let passed = pass(store, view, me, news).await;
        match &passed {
            Ok(Some(_)) => news(ViewNews::Passed(world.now().saturating_sub(begun))),
            Ok(None) => {}
            Err(error) => news(ViewNews::Failed(error.clone())),
        }
        let (index, pause) = match passed {
            Ok(Some(Passed { index, has_taken: true, .. })) => (Some(index), options.rest),
            // As long as a base allows two orders, one of them is not known from a client's.
            Ok(Some(Passed { has_begun: true, .. })) => continue,
            Ok(Some(Passed { index, .. })) => (Some(index), options.gather),
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "the view of the registry is not in step");
                (None, options.rest)
            }
        };
        world.sleep(pause).await;
        let until = world.now() + options.interval;
        tokio::select! {
            biased;
            _ = following.next() => while following.try_next().is_some() {},
            () = changed(view, index) => {}
            () = world.sleep_until(until) => {}
        }
    }
}

async fn changed<V: OldRegistry>(view: &V, after: Option<u64>) {
    if let Some(after) = after {
        match view.changed(after).await {
            Ok(()) => return,
            Err(error) => tracing::debug!(%error, "could not wait for old clients"),
        }
    }
    // The interval wakes us.
    std::future::pending::<()>().await;
}

struct Passed {
    index: u64,
    /// Orders of old clients.
    has_taken: bool,
    /// Changes of ours.
    has_begun: bool,
}

/// One pass; `None` where another one leads.
async fn pass<S: Store, V: OldRegistry>(
    store: &S,
    view: &V,
    me: &MachineId,
    news: &mut (impl FnMut(ViewNews) + Send),
) -> Result<Option<Passed>, ViewError> {
    let problem = |error: ClientError| ViewError(error.to_string());
    let theirs = view.read().await?;
    let Snapshot { mirror, leader, bases } = look(store).await.map_err(problem)?;
    let Some((fence, leader)) = leader.filter(|(_, record)| record.machine == *me) else { return Ok(None) };
    let todo = reconcile(&Sides { cluster: mirror.cluster(), leader: &leader, bases: &bases, view: &theirs });
    let (has_taken, has_begun) = (!todo.taken.is_empty(), !todo.bases.is_empty());
    let passed = Passed { index: theirs.index, has_taken, has_begun };
    for request in transactions(&todo, &mirror, &fence) {
        if !store.txn(request).await.map_err(problem)?.succeeded {
            // A unit has changed, or another one leads: what was decided is not good any more.
            return Ok(Some(Passed { has_begun: false, ..passed }));
        }
    }
    if passed.has_taken {
        news(ViewNews::Took(todo.taken));
    }
    for write in &todo.writes {
        // Whoever was faster has waked us.
        view.write(write).await?;
    }
    Ok(Some(passed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::JobState;
    use crate::registry::Write;
    use crate::registry::view::Order;
    use seatrial_types::request::{Compare, CompareTarget};

    #[test]
    fn everything_that_a_pass_writes_to_our_store_is_fenced_and_an_order_goes_with_its_base() {
        let name = UnitName::parse("a.service").unwrap();
        let fence = Fence { key: Bytes::from_static(b"/_seatrial/fleet/engine/7"), created: Revision(5) };
        let base = |desired| {
            let order = Order { hash: "aa".into(), desired };
            Base { one_of: [Some(order)].into() }
        };
        let write = Write::SetDesired { name: name.clone(), desired: JobState::Loaded };
        let pass = Pass {
            taken: vec![Taken { name: name.clone(), write, base: base(JobState::Loaded) }],
            bases: [(name, Base::nothing())].into(),
            writes: Vec::new(),
        };
        let requests = transactions(&pass, &Mirror::default(), &fence);
        let leads = |compare: &Compare| {
            compare.range == KeyRange::single(fence.key.clone())
                && compare.target == CompareTarget::Create(fence.created)
        };
        assert!(requests.iter().all(|request| request.compare.iter().any(leads)));
        let [taken, bases] = requests.as_slice() else { panic!("{requests:?}") };
        assert_eq!((taken.compare.len(), taken.success.len()), (2, 2), "the unit is compared too");
        assert!(matches!(bases.success.as_slice(), [TxnOp::DeleteRange(_)]));
    }
}
