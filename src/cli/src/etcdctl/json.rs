//! etcdctl's JSON: field names and order are those of the Go structures, and nothing else.

use super::cluster::{EndpointHash, EndpointHealth, EndpointStatus};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use seatrial_types::auth::{Access, AuthAnswer, AuthResponse, Permission};
use seatrial_types::request::{
    AlarmKind, AlarmListResponse, DeleteRangeResponse, DowngradeResponse, Header, LeaseGrantResponse,
    LeaseKeepAliveResponse, LeaseLeasesResponse, LeaseTimeToLiveResponse, Member, MemberAddResponse,
    MemberListResponse, PutResponse, RangeResponse, TxnOpResponse, TxnResponse,
};
use seatrial_types::watch::WatchResponse;
use seatrial_types::{Event, EventKind, KeyValue};
use std::fmt::Display;

/// An object under construction. Fields without `always` are left out where they are zero or empty.
#[derive(Default)]
struct Object(String);

impl Object {
    fn raw(mut self, name: &str, json: impl Display) -> Self {
        let comma = if self.0.is_empty() { "" } else { "," };
        self.0 += &format!("{comma}\"{name}\":{json}");
        self
    }

    fn number<N: Display + Default + PartialEq>(self, name: &str, number: N) -> Self {
        if number == N::default() { self } else { self.raw(name, number) }
    }

    fn flag(self, name: &str, flag: bool) -> Self {
        if flag { self.raw(name, true) } else { self }
    }

    fn bytes(self, name: &str, bytes: &[u8]) -> Self {
        if bytes.is_empty() { self } else { self.raw(name, base64(bytes)) }
    }

    fn text(self, name: &str, text: &str) -> Self {
        if text.is_empty() { self } else { self.raw(name, string(text)) }
    }

    fn list(self, name: &str, items: Vec<String>) -> Self {
        if items.is_empty() { self } else { self.raw(name, list(&items)) }
    }

    fn done(self) -> String {
        format!("{{{}}}", self.0)
    }
}

fn base64(bytes: &[u8]) -> String {
    format!("\"{}\"", STANDARD.encode(bytes))
}

/// A string as Go's encoder writes it, which escapes what HTML minds.
fn string(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

fn list(items: &[String]) -> String {
    format!("[{}]", items.join(","))
}

fn head_fields(object: Object, h: &Header) -> Object {
    object
        .number("cluster_id", h.cluster_id.0)
        .number("member_id", h.member_id.0)
        .number("revision", h.revision.0)
        .number("raft_term", h.raft_term.0)
}

fn head(h: &Header) -> String {
    head_fields(Object::default(), h).done()
}

/// A header without any value is one that the server left out.
fn with_head(h: &Header) -> Object {
    if *h == Header::default() { Object::default() } else { Object::default().raw("header", head(h)) }
}

fn kv(kv: &KeyValue) -> String {
    Object::default()
        .bytes("key", &kv.key)
        .number("create_revision", kv.create_revision.0)
        .number("mod_revision", kv.mod_revision.0)
        .number("version", kv.version)
        .bytes("value", &kv.value)
        .number("lease", kv.lease.0)
        .done()
}

pub(super) fn just_header(h: &Header) -> String {
    with_head(h).done()
}

pub(super) fn get(r: &RangeResponse) -> String {
    with_head(&r.header)
        .list("kvs", r.kvs.iter().map(kv).collect())
        .flag("more", r.more)
        .number("count", r.count)
        .done()
}

pub(super) fn put(r: &PutResponse) -> String {
    let object = with_head(&r.header);
    match &r.prev_kv {
        Some(prev) => object.raw("prev_kv", kv(prev)),
        None => object,
    }
    .done()
}

pub(super) fn del(r: &DeleteRangeResponse) -> String {
    with_head(&r.header)
        .number("deleted", r.deleted)
        .list("prev_kvs", r.prev_kvs.iter().map(kv).collect())
        .done()
}

pub(super) fn txn(r: &TxnResponse) -> String {
    let response = |op: &TxnOpResponse| {
        let (name, json) = match op {
            TxnOpResponse::Range(r) => ("ResponseRange", get(r)),
            TxnOpResponse::Put(r) => ("ResponsePut", put(r)),
            TxnOpResponse::DeleteRange(r) => ("ResponseDeleteRange", del(r)),
            TxnOpResponse::Txn(r) => ("ResponseTxn", txn(r)),
        };
        Object::default().raw("Response", Object::default().raw(name, json).done()).done()
    };
    with_head(&r.header)
        .flag("succeeded", r.succeeded)
        .list("responses", r.responses.iter().map(response).collect())
        .done()
}

pub(super) fn watch(r: &WatchResponse) -> String {
    let event = |event: &Event| {
        let kind = if event.kind == EventKind::Delete { 1 } else { 0 };
        let object = Object::default().number("type", kind).raw("kv", kv(&event.kv));
        match &event.prev_kv {
            Some(prev) => object.raw("prev_kv", kv(prev)),
            None => object,
        }
        .done()
    };
    Object::default()
        .raw("Header", head(&r.header))
        .raw("Events", list(&r.events.iter().map(event).collect::<Vec<_>>()))
        .raw("CompactRevision", r.compact_revision)
        .raw("Canceled", r.canceled)
        .raw("Created", r.created)
        .done()
}

pub(super) fn grant(r: &LeaseGrantResponse) -> String {
    head_fields(Object::default(), &r.header)
        .raw("ID", r.id)
        .raw("TTL", r.ttl_seconds)
        .raw("Error", "\"\"")
        .done()
}

pub(super) fn keep_alive(r: &LeaseKeepAliveResponse) -> String {
    head_fields(Object::default(), &r.header).raw("ID", r.id).raw("TTL", r.ttl_seconds).done()
}

pub(super) fn time_to_live(r: &LeaseTimeToLiveResponse) -> String {
    let keys = if r.keys.is_empty() {
        "null".to_owned()
    } else {
        list(&r.keys.iter().map(|key| base64(key)).collect::<Vec<_>>())
    };
    head_fields(Object::default(), &r.header)
        .raw("id", r.id)
        .raw("ttl", r.ttl_seconds)
        .raw("granted-ttl", r.granted_ttl_seconds)
        .raw("keys", keys)
        .done()
}

pub(super) fn leases(r: &LeaseLeasesResponse) -> String {
    let lease = |id| Object::default().raw("id", id).done();
    head_fields(Object::default(), &r.header)
        .raw("leases", list(&r.leases.iter().map(lease).collect::<Vec<_>>()))
        .done()
}

fn member(m: &Member) -> String {
    let strings = |urls: &[String]| urls.iter().map(|url| string(url)).collect();
    Object::default()
        .number("ID", m.id.0)
        .text("name", &m.name)
        .list("peerURLs", strings(&m.peer_urls))
        .list("clientURLs", strings(&m.client_urls))
        .flag("isLearner", m.is_learner)
        .done()
}

pub(super) fn member_added(r: &MemberAddResponse) -> String {
    with_head(&r.header)
        .raw("member", member(&r.member))
        .list("members", r.members.iter().map(member).collect())
        .done()
}

pub(super) fn members(r: &MemberListResponse) -> String {
    with_head(&r.header).list("members", r.members.iter().map(member).collect()).done()
}

pub(super) fn downgrade(r: &DowngradeResponse) -> String {
    with_head(&r.header).text("version", &r.version).done()
}

pub(super) fn alarms(r: &AlarmListResponse) -> String {
    let alarm = |(member, kind): &(seatrial_types::MemberId, AlarmKind)| {
        let kind = match kind {
            AlarmKind::NoSpace => 1,
            AlarmKind::Corrupt => 2,
        };
        Object::default().number("memberID", member.0).number("alarm", kind).done()
    };
    with_head(&r.header).list("alarms", r.alarms.iter().map(alarm).collect()).done()
}

pub(super) fn health(all: &[EndpointHealth]) -> String {
    let one = |h: &EndpointHealth| {
        Object::default()
            .raw("endpoint", string(&h.endpoint))
            .raw("health", h.error.is_empty())
            .raw("took", string(&h.took))
            .text("error", &h.error)
            .done()
    };
    list(&all.iter().map(one).collect::<Vec<_>>())
}

pub(super) fn status(all: &[EndpointStatus]) -> String {
    let one = |s: &EndpointStatus| {
        let r = &s.status;
        let status = with_head(&r.header)
            .text("version", &r.version)
            .number("dbSize", r.db_size)
            .number("leader", r.leader.0)
            .number("raftIndex", r.raft_index.0)
            .number("raftTerm", r.raft_term.0)
            .number("raftAppliedIndex", r.raft_applied_index.0)
            .list("errors", r.errors.iter().map(|error| string(error)).collect())
            .number("dbSizeInUse", r.db_size_in_use)
            .flag("isLearner", r.is_learner)
            .done();
        Object::default().raw("Endpoint", string(&s.endpoint)).raw("Status", status).done()
    };
    list(&all.iter().map(one).collect::<Vec<_>>())
}

pub(super) fn hashes(all: &[EndpointHash]) -> String {
    let one = |h: &EndpointHash| {
        let hash = with_head(&h.hash.header)
            .number("hash", h.hash.hash)
            .number("compact_revision", h.hash.compact_revision.0)
            .done();
        Object::default().raw("Endpoint", string(&h.endpoint)).raw("HashKV", hash).done()
    };
    list(&all.iter().map(one).collect::<Vec<_>>())
}

/// An answer about users that holds no list.
pub(super) fn auth(r: &AuthResponse) -> String {
    let object = with_head(&r.header);
    match &r.body {
        AuthAnswer::Status { enabled, revision } => {
            object.flag("enabled", *enabled).number("authRevision", revision.0).done()
        }
        _ => object.done(),
    }
}

/// Names of users or roles.
pub(super) fn auth_names(r: &AuthResponse, field: &str) -> String {
    let names = if let AuthAnswer::Names(names) = &r.body { names.as_slice() } else { &[] };
    with_head(&r.header).list(field, names.iter().map(|name| string(name)).collect()).done()
}

/// The permissions of a role.
pub(super) fn permissions(header: &Header, permissions: &[Permission]) -> String {
    let permission = |p: &Permission| {
        let kind = match p.access {
            Access::Read => 0,
            Access::Write => 1,
            Access::ReadWrite => 2,
        };
        Object::default()
            .number("permType", kind)
            .bytes("key", &p.range.key)
            .bytes("range_end", &p.range.end)
            .done()
    };
    with_head(header).list("perm", permissions.iter().map(permission).collect()).done()
}
