//! Telling the store how the units of a machine do.

use crate::model::UnitState;
use crate::registry::agent::publish;
use crate::unit::{MachineId, UnitName};
use seatrial_client::Store;
use seatrial_types::LeaseId;
use seatrial_world::World;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc;

pub(super) type States = BTreeMap<UnitName, UnitState>;

/// What differs, and so must be told.
fn changes(told: &States, now: &States) -> Vec<(UnitName, Option<UnitState>)> {
    let put = now.iter().filter(|(name, state)| told.get(*name) != Some(*state));
    let put = put.map(|(name, state)| (name.clone(), Some(state.clone())));
    let gone = told.keys().filter(|name| !now.contains_key(*name)).map(|name| (name.clone(), None));
    put.chain(gone).collect()
}

/// Writes what comes, and only what has changed since; of several that have come, the last one. Under a new lease everything
/// is written anew. Ends with the channel.
pub(super) async fn run<W: World, S: Store>(
    world: W,
    store: S,
    me: MachineId,
    mut news: mpsc::UnboundedReceiver<(LeaseId, States)>,
) {
    let mut told: Option<(LeaseId, States)> = None;
    while let Some(mut next) = news.recv().await {
        'tell: loop {
            while let Ok(newer) = news.try_recv() {
                next = newer;
            }
            let (lease, states) = &next;
            let known = told.as_ref().filter(|(of, _)| of == lease).map(|(_, states)| states.clone());
            let known = known.unwrap_or_default();
            for request in publish(&me, &changes(&known, states), *lease) {
                if let Err(error) = store.txn(request).await {
                    tracing::debug!(%error, "could not say how units do");
                    // What was written and what not is unknown now; and the lease may be gone.
                    told = None;
                    world.sleep(Duration::from_millis(200)).await;
                    match news.try_recv() {
                        Ok(newer) => {
                            next = newer;
                            continue 'tell;
                        }
                        Err(_) => break 'tell,
                    }
                }
            }
            told = Some(next);
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::*;

    #[test]
    fn only_what_differs_is_told() {
        let state = |sub: &str| UnitState { sub: sub.into(), ..UnitState::default() };
        let told: States = [
            (name("a.service"), state("running")),
            (name("b.service"), state("running")),
            (name("c.service"), state("running")),
        ]
        .into();
        let now: States = [(name("a.service"), state("running")), (name("b.service"), state("dead"))].into();
        let changes = changes(&told, &now);
        assert_eq!(changes, [(name("b.service"), Some(state("dead"))), (name("c.service"), None)]);
    }
}
