//! `/v2/stats`: what was counted.

use super::body::json;
use super::keys::refused;
use super::{Face, only};
use http::{Method, Response, StatusCode};
use seatrial_etcd::Ask;
use seatrial_etcd::v2::{json as text_of, unavailable};
use seatrial_types::v2::{V2Answer, V2Request, V2Stats, V2Verb};
use serde::Serialize;
use tonic::body::Body;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StoreStats {
    gets_success: u64,
    gets_fail: u64,
    sets_success: u64,
    sets_fail: u64,
    delete_success: u64,
    delete_fail: u64,
    update_success: u64,
    update_fail: u64,
    create_success: u64,
    create_fail: u64,
    compare_and_swap_success: u64,
    compare_and_swap_fail: u64,
    compare_and_delete_success: u64,
    compare_and_delete_fail: u64,
    expire_count: u64,
    watchers: u64,
}

impl From<V2Stats> for StoreStats {
    fn from(stats: V2Stats) -> Self {
        let of = |verb: V2Verb| stats.counts[verb as usize];
        let (gets_success, gets_fail) = of(V2Verb::Get);
        let (sets_success, sets_fail) = of(V2Verb::Set);
        let (delete_success, delete_fail) = of(V2Verb::Delete);
        let (update_success, update_fail) = of(V2Verb::Update);
        let (create_success, create_fail) = of(V2Verb::Create);
        let (compare_and_swap_success, compare_and_swap_fail) = of(V2Verb::CompareAndSwap);
        let (compare_and_delete_success, compare_and_delete_fail) = of(V2Verb::CompareAndDelete);
        let (expire_count, _) = of(V2Verb::Expire);
        Self {
            gets_success,
            gets_fail,
            sets_success,
            sets_fail,
            delete_success,
            delete_fail,
            update_success,
            update_fail,
            create_success,
            create_fail,
            compare_and_swap_success,
            compare_and_swap_fail,
            compare_and_delete_success,
            compare_and_delete_fail,
            expire_count,
            watchers: stats.watchers,
        }
    }
}

impl<A: Ask> Face<A> {
    pub(super) async fn stats_store(&self, method: &Method) -> Response<Body> {
        if let Some(response) = only(&[Method::GET], method) {
            return response;
        }
        match self.service.v2(V2Request::Stats).await.map(|answer| answer.result) {
            Ok(Ok(V2Answer::Stats(stats))) => json(StatusCode::OK, text_of(&StoreStats::from(stats))),
            Ok(Ok(V2Answer::Event(event))) => unreachable!("asked for figures, got {event:?}"),
            Ok(Err(error)) => refused(&error, None),
            Err(error) => refused(&unavailable(&error), None),
        }
    }
}
