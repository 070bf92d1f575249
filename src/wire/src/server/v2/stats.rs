//! `/v2/stats`: what was counted.

use super::body::json;
use super::keys::refused;
use super::members::failed;
use super::{Face, only};
use http::{Method, Response, StatusCode};
use seatrial_etcd::Ask;
use seatrial_etcd::v2::{json as text_of, unavailable};
use seatrial_types::MemberId;
use seatrial_types::v2::{V2Answer, V2Error, V2Follower, V2Request, V2Standing, V2Stats, V2Verb};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SelfStats {
    name: String,
    id: String,
    state: &'static str,
    start_time: String,
    leader_info: LeaderInfo,
    recv_append_request_cnt: u64,
    send_append_request_cnt: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LeaderInfo {
    leader: String,
    uptime: String,
    start_time: String,
}

#[derive(Serialize)]
struct LeaderStats {
    leader: String,
    followers: BTreeMap<String, FollowerStats>,
}

#[derive(Serialize)]
struct FollowerStats {
    latency: Latency,
    counts: Counts,
}

/// In milliseconds.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Latency {
    current: f64,
    average: f64,
    standard_deviation: f64,
    minimum: f64,
    maximum: f64,
}

#[derive(Serialize)]
struct Counts {
    fail: u64,
    success: u64,
}

impl From<V2Follower> for FollowerStats {
    fn from(told: V2Follower) -> Self {
        let ms = |us: f64| us / 1000.0;
        let count = told.success.max(1) as f64;
        let average = told.sum_us as f64 / count;
        let variance = (told.squares_us as f64 / count - average * average).max(0.0);
        Self {
            latency: Latency {
                current: ms(told.current_us as f64),
                average: ms(average),
                standard_deviation: ms(variance.sqrt()),
                minimum: ms(told.min_us as f64),
                maximum: ms(told.max_us as f64),
            },
            counts: Counts { fail: told.fail, success: told.success },
        }
    }
}

/// A time as Go writes it: `1h2m3.4s`.
fn duration(time: Duration) -> String {
    let (seconds, nanos) = (time.as_secs(), time.subsec_nanos());
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let fraction = format!("{nanos:09}");
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    let rest = format!("{}{point}{fraction}s", seconds % 60);
    match (hours, minutes) {
        (0, 0) if seconds == 0 && nanos > 0 => format!("{}ms", f64::from(nanos) / 1e6),
        (0, 0) => rest,
        (0, _) => format!("{minutes}m{rest}"),
        _ => format!("{hours}h{minutes}m{rest}"),
    }
}

impl<A: Ask> Face<A> {
    async fn standing(&self) -> Result<(MemberId, V2Standing), V2Error> {
        match self
            .service
            .v2(V2Request::Standing)
            .await
            .map(|answer| (answer.header.member_id, answer.result))
        {
            Ok((id, Ok(V2Answer::Standing(standing)))) => Ok((id, standing)),
            Ok((_, other)) => unreachable!("asked for the standing, got {other:?}"),
            Err(error) => Err(unavailable(&error)),
        }
    }

    pub(super) async fn stats_self(&self, method: &Method) -> Response<Body> {
        if let Some(response) = only(&[Method::GET], method) {
            return response;
        }
        let (id, standing) = match self.standing().await {
            Ok(told) => told,
            Err(error) => return refused(&error),
        };
        let wall = self.outside.wall();
        let ago = |time: Duration| {
            let ns = i64::try_from(wall.saturating_sub(time).as_nanos()).unwrap_or(i64::MAX);
            seatrial_etcd::v2::when(ns)
        };
        let state = match standing.leader {
            leader if leader == id => "StateLeader",
            MemberId::NONE => "StateCandidate",
            _ => "StateFollower",
        };
        let told = SelfStats {
            name: standing.name,
            id: format!("{:x}", id.0),
            state,
            start_time: ago(standing.runs_for),
            leader_info: LeaderInfo {
                leader: format!("{:x}", standing.leader.0),
                uptime: duration(standing.led_for),
                start_time: ago(standing.led_for),
            },
            recv_append_request_cnt: standing.appends_received,
            send_append_request_cnt: standing.appends_sent,
        };
        json(StatusCode::OK, text_of(&told))
    }

    pub(super) async fn stats_leader(&self, method: &Method) -> Response<Body> {
        if let Some(response) = only(&[Method::GET], method) {
            return response;
        }
        let (id, standing) = match self.standing().await {
            Ok(told) => told,
            Err(error) => return refused(&error),
        };
        if standing.leader != id {
            return failed(StatusCode::FORBIDDEN, "not current leader");
        }
        let follower = |(id, told): (MemberId, V2Follower)| (format!("{:x}", id.0), told.into());
        let followers = standing.followers.into_iter().map(follower).collect();
        json(StatusCode::OK, text_of(&LeaderStats { leader: format!("{:x}", id.0), followers }))
    }

    pub(super) async fn stats_store(&self, method: &Method) -> Response<Body> {
        if let Some(response) = only(&[Method::GET], method) {
            return response;
        }
        match self.service.v2(V2Request::Stats).await.map(|answer| answer.result) {
            Ok(Ok(V2Answer::Stats(stats))) => json(StatusCode::OK, text_of(&StoreStats::from(stats))),
            Ok(Ok(other)) => unreachable!("asked for figures, got {other:?}"),
            Ok(Err(error)) => refused(&error),
            Err(error) => refused(&unavailable(&error)),
        }
    }
}
