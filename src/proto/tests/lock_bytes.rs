//! The messages of the lock and election services have etcd's field numbers.

use prost::Message;
use seatrial_proto::{v3electionpb as election, v3lockpb as lock};

#[test]
fn a_lock_request_has_its_bytes() {
    let request = lock::LockRequest { name: "n".into(), lease: 5 };
    assert_eq!(request.encode_to_vec(), b"\x0a\x01n\x10\x05");
    let answer = lock::LockResponse { header: None, key: "n/5".into() };
    assert_eq!(answer.encode_to_vec(), b"\x12\x03n/5");
    assert_eq!(lock::UnlockRequest { key: "k".into() }.encode_to_vec(), b"\x0a\x01k");
}

#[test]
fn an_election_request_has_its_bytes() {
    let request = election::CampaignRequest { name: "n".into(), lease: 5, value: "v".into() };
    assert_eq!(request.encode_to_vec(), b"\x0a\x01n\x10\x05\x1a\x01v");
    let leader = election::LeaderKey { name: "n".into(), key: "k".into(), rev: 7, lease: 5 };
    assert_eq!(leader.encode_to_vec(), b"\x0a\x01n\x12\x01k\x18\x07\x20\x05");
    let request = election::ProclaimRequest { leader: None, value: "v".into() };
    assert_eq!(request.encode_to_vec(), b"\x12\x01v");
    let leader = Some(leader);
    let answer = election::CampaignResponse { header: None, leader: leader.clone() };
    let inside = b"\x12\x0a\x0a\x01n\x12\x01k\x18\x07\x20\x05";
    assert_eq!(answer.encode_to_vec(), inside);
    let request = election::ResignRequest { leader };
    assert_eq!(request.encode_to_vec()[1..], inside[1..]);
    assert_eq!(request.encode_to_vec()[0], 0x0a);
    let found = seatrial_proto::mvccpb::KeyValue { version: 3, ..Default::default() };
    let answer = election::LeaderResponse { header: None, kv: Some(found) };
    assert_eq!(answer.encode_to_vec(), b"\x12\x02\x20\x03");
}
