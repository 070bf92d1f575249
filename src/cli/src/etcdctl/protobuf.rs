//! etcdctl's `-w protobuf`: the bytes of etcd's messages. Of leases the real one prints the header alone, and so do we.

use seatrial_types::auth::{Access, AuthAnswer, AuthResponse, Permission};
use seatrial_types::request::{
    AlarmKind, AlarmListResponse, DeleteRangeResponse, DowngradeResponse, Header, Member, MemberAddResponse,
    MemberListResponse, PutResponse, RangeResponse, TxnOpResponse, TxnResponse,
};
use seatrial_types::watch::WatchResponse;
use seatrial_types::{Event, EventKind, KeyValue};

/// A message under construction. Zero and empty fields are left out, as the format wants it.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(mut self, field: u64, value: u64) -> Self {
        if value != 0 {
            self.varint(field << 3);
            self.varint(value);
        }
        self
    }

    fn signed(self, field: u64, value: i64) -> Self {
        self.number(field, value as u64)
    }

    fn flag(self, field: u64, value: bool) -> Self {
        self.number(field, u64::from(value))
    }

    /// There even where it is empty: an item of a list, or another message.
    fn item(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn bytes(self, field: u64, bytes: &[u8]) -> Self {
        if bytes.is_empty() { self } else { self.item(field, bytes) }
    }

    fn list<T>(self, field: u64, items: impl IntoIterator<Item = T>, item: impl Fn(T) -> Vec<u8>) -> Self {
        items.into_iter().fold(self, |message, one| message.item(field, &item(one)))
    }
}

pub(super) fn header(h: &Header) -> Vec<u8> {
    Message::default()
        .number(1, h.cluster_id.0)
        .number(2, h.member_id.0)
        .signed(3, h.revision.0)
        .number(4, h.raft_term.0)
        .0
}

/// A header without any value is one that the server left out.
fn with_header(h: &Header) -> Message {
    if *h == Header::default() { Message::default() } else { Message::default().item(1, &header(h)) }
}

pub(super) fn just_header(h: &Header) -> Vec<u8> {
    with_header(h).0
}

fn kv(kv: &KeyValue) -> Vec<u8> {
    Message::default()
        .bytes(1, &kv.key)
        .signed(2, kv.create_revision.0)
        .signed(3, kv.mod_revision.0)
        .signed(4, kv.version)
        .bytes(5, &kv.value)
        .signed(6, kv.lease.0)
        .0
}

pub(super) fn get(r: &RangeResponse) -> Vec<u8> {
    with_header(&r.header).list(2, &r.kvs, kv).flag(3, r.more).signed(4, r.count).0
}

pub(super) fn put(r: &PutResponse) -> Vec<u8> {
    with_header(&r.header).list(2, &r.prev_kv, kv).0
}

pub(super) fn del(r: &DeleteRangeResponse) -> Vec<u8> {
    with_header(&r.header).signed(2, r.deleted).list(3, &r.prev_kvs, kv).0
}

pub(super) fn txn(r: &TxnResponse) -> Vec<u8> {
    let response = |op: &TxnOpResponse| {
        let (field, bytes) = match op {
            TxnOpResponse::Range(r) => (1, get(r)),
            TxnOpResponse::Put(r) => (2, put(r)),
            TxnOpResponse::DeleteRange(r) => (3, del(r)),
            TxnOpResponse::Txn(r) => (4, txn(r)),
        };
        Message::default().item(field, &bytes).0
    };
    with_header(&r.header).flag(2, r.succeeded).list(3, &r.responses, response).0
}

/// Without the number of the watch, as the real one.
pub(super) fn watch(r: &WatchResponse) -> Vec<u8> {
    let event = |event: &Event| {
        let deleted = event.kind == EventKind::Delete;
        Message::default().flag(1, deleted).item(2, &kv(&event.kv)).list(3, &event.prev_kv, kv).0
    };
    with_header(&r.header)
        .flag(3, r.created)
        .flag(4, r.canceled)
        .signed(5, r.compact_revision.0)
        .list(11, &r.events, event)
        .0
}

fn member(m: &Member) -> Vec<u8> {
    let text = |text: &String| text.as_bytes().to_vec();
    Message::default()
        .number(1, m.id.0)
        .bytes(2, m.name.as_bytes())
        .list(3, &m.peer_urls, text)
        .list(4, &m.client_urls, text)
        .flag(5, m.is_learner)
        .0
}

pub(super) fn member_added(r: &MemberAddResponse) -> Vec<u8> {
    with_header(&r.header).item(2, &member(&r.member)).list(3, &r.members, member).0
}

pub(super) fn members(r: &MemberListResponse) -> Vec<u8> {
    with_header(&r.header).list(2, &r.members, member).0
}

pub(super) fn downgrade(r: &DowngradeResponse) -> Vec<u8> {
    with_header(&r.header).bytes(2, r.version.as_bytes()).0
}

pub(super) fn alarms(r: &AlarmListResponse) -> Vec<u8> {
    let alarm = |(member, kind): &(seatrial_types::MemberId, AlarmKind)| {
        let kind = match kind {
            AlarmKind::NoSpace => 1,
            AlarmKind::Corrupt => 2,
        };
        Message::default().number(1, member.0).number(2, kind).0
    };
    with_header(&r.header).list(2, &r.alarms, alarm).0
}

/// An answer about users or roles.
pub(super) fn auth(r: &AuthResponse) -> Vec<u8> {
    let message = with_header(&r.header);
    let permission = |p: &Permission| {
        let kind = match p.access {
            Access::Read => 0,
            Access::Write => 1,
            Access::ReadWrite => 2,
        };
        Message::default().number(1, kind).bytes(2, &p.range.key).bytes(3, &p.range.end).0
    };
    match &r.body {
        AuthAnswer::Status { enabled, revision } => message.flag(2, *enabled).number(3, revision.0),
        AuthAnswer::Names(names) => message.list(2, names, |name| name.as_bytes().to_vec()),
        AuthAnswer::Permissions(permissions) => message.list(2, permissions, permission),
        _ => message,
    }
    .0
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;
    use seatrial_proto::etcdserverpb as pb;
    use seatrial_types::auth::AuthRevision;
    use seatrial_types::watch::WatchId;
    use seatrial_types::{ClusterId, KeyRange, LeaseId, MemberId, Revision, Term};

    fn some_header() -> Header {
        Header {
            cluster_id: ClusterId(300),
            member_id: MemberId(u64::MAX),
            revision: Revision(7),
            raft_term: Term(0),
        }
    }

    fn some_kv(lease: i64) -> KeyValue {
        KeyValue {
            key: "k".into(),
            value: vec![0xff; 200].into(),
            create_revision: Revision(2),
            mod_revision: Revision(i64::MAX),
            version: 3,
            lease: LeaseId(lease),
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_generated_code() {
        let range = RangeResponse {
            header: some_header(),
            kvs: vec![some_kv(-4), some_kv(0)],
            more: true,
            count: 300,
        };
        assert_eq!(get(&range), pb::RangeResponse::from(range.clone()).encode_to_vec());
        let written = PutResponse { header: some_header(), prev_kv: Some(KeyValue::default()) };
        assert_eq!(put(&written), pb::PutResponse::from(written.clone()).encode_to_vec());
        let deleted = DeleteRangeResponse { header: some_header(), deleted: 1, prev_kvs: vec![some_kv(1)] };
        assert_eq!(del(&deleted), pb::DeleteRangeResponse::from(deleted.clone()).encode_to_vec());
        let responses = vec![
            TxnOpResponse::Range(range),
            TxnOpResponse::Put(written),
            TxnOpResponse::DeleteRange(deleted),
            TxnOpResponse::Txn(TxnResponse {
                header: some_header(),
                succeeded: false,
                responses: Vec::new(),
            }),
        ];
        let all = TxnResponse { header: some_header(), succeeded: true, responses };
        assert_eq!(txn(&all), pb::TxnResponse::from(all).encode_to_vec());
        let listed = MemberListResponse {
            header: some_header(),
            members: vec![Member {
                id: MemberId(8),
                name: "m".into(),
                peer_urls: vec!["http://p:1".into(), "http://q:1".into()],
                client_urls: Vec::new(),
                is_learner: true,
            }],
        };
        assert_eq!(members(&listed), pb::MemberListResponse::from(listed.clone()).encode_to_vec());
        let alarmed =
            AlarmListResponse { header: some_header(), alarms: vec![(MemberId(9), AlarmKind::Corrupt)] };
        assert_eq!(alarms(&alarmed), pb::AlarmResponse::from(alarmed).encode_to_vec());
        let named =
            AuthResponse { header: some_header(), body: AuthAnswer::Names(vec!["a".into(), String::new()]) };
        assert_eq!(auth(&named), pb::AuthRoleListResponse::from(named.clone()).encode_to_vec());
    }

    #[test]
    fn so_are_those_of_watches_changes_of_members_and_rights() {
        let event = |kind, prev_kv| Event { kind, kv: some_kv(0), prev_kv };
        let watched = WatchResponse {
            header: some_header(),
            // The real one leaves the number out.
            watch_id: WatchId(0),
            created: true,
            canceled: true,
            cancel_reason: String::new(),
            compact_revision: Revision(300),
            fragment: false,
            events: vec![event(EventKind::Put, None), event(EventKind::Delete, Some(some_kv(5)))],
        };
        assert_eq!(watch(&watched), pb::WatchResponse::from(watched.clone()).encode_to_vec());
        let member = Member {
            id: MemberId(8),
            name: "m".into(),
            peer_urls: vec!["http://p:1".into()],
            client_urls: vec!["http://c:1".into(), "http://d:1".into()],
            is_learner: false,
        };
        let members = vec![member.clone(), Member { id: MemberId(9), is_learner: true, ..member.clone() }];
        let added = MemberAddResponse { header: some_header(), member, members };
        assert_eq!(member_added(&added), pb::MemberAddResponse::from(added.clone()).encode_to_vec());
        let version = DowngradeResponse { header: some_header(), version: "3.4.0".into() };
        assert_eq!(downgrade(&version), pb::DowngradeResponse::from(version.clone()).encode_to_vec());
        let permission = |access| Permission { access, range: KeyRange { key: "a".into(), end: "b".into() } };
        let permissions = [Access::Read, Access::Write, Access::ReadWrite].map(permission).to_vec();
        let role = AuthResponse { header: some_header(), body: AuthAnswer::Permissions(permissions) };
        assert_eq!(auth(&role), pb::AuthRoleGetResponse::from(role.clone()).encode_to_vec());
        let body = AuthAnswer::Status { enabled: true, revision: AuthRevision(300) };
        let status = AuthResponse { header: some_header(), body };
        assert_eq!(auth(&status), pb::AuthStatusResponse::from(status.clone()).encode_to_vec());
    }
}
