//! The fleet's interface for an operator: the function that answers it, over the store as it is.

use seatrial_client::{ClientError, Store};
use seatrial_fleet::api::{self, ApiRequest};
use seatrial_fleet::registry::keys::PREFIX;
use seatrial_fleet::registry::{restore, write};
use seatrial_scenario::theatre::{FleetAnswer, FleetAsk};

/// So often a change is tried anew that others were faster with.
const ATTEMPTS: u32 = 10;

/// Asks once.
///
/// # Errors
/// The store's; what was to be written may be there all the same.
pub(crate) async fn ask<S: Store>(store: &S, ask: FleetAsk) -> Result<FleetAnswer, ClientError> {
    let FleetAsk { method, path, query, body } = ask;
    let request = ApiRequest {
        method: method.to_owned(),
        path,
        query,
        content_types: vec!["application/json".to_owned()],
        body: body.into_bytes(),
    };
    for _ in 0..ATTEMPTS {
        let mirror = restore(store, PREFIX).await?;
        let handled = api::handle(&request, mirror.cluster());
        let status = handled.response.status;
        let answer = FleetAnswer { status, body: handled.response.body.unwrap_or_default() };
        if handled.writes.is_empty() {
            return Ok(answer);
        }
        let Some(transaction) = write(&mirror, &handled.writes) else {
            return Ok(FleetAnswer { status: 400, body: String::new() });
        };
        if store.txn(transaction).await?.succeeded {
            return Ok(answer);
        }
    }
    Ok(FleetAnswer { status: 503, body: String::new() })
}
