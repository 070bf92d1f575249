//! The output formats simple, fields and table; JSON stands in its own file.

use super::cluster::{EndpointHash, EndpointHealth, EndpointStatus};
use super::go::{human_bytes, quote};
use super::{Fail, code, json, protobuf};
use seatrial_types::request::{
    AlarmKind, AlarmListResponse, DeleteRangeResponse, DowngradeAction, DowngradeResponse, Header,
    LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse, LeaseTimeToLiveResponse,
    MemberAddResponse, MemberListResponse, PutResponse, RangeResponse, TxnOpResponse, TxnResponse,
};
use seatrial_types::watch::WatchResponse;
use seatrial_types::{EventKind, KeyValue, LeaseId, MemberId};
use std::fmt::Write;

/// `-w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Simple,
    Fields,
    Json,
    Table,
    Protobuf,
}

/// Turns answers into what is printed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Printer {
    pub(super) format: Format,
    pub(super) hex: bool,
    pub(super) value_only: bool,
}

/// What is printed: keys and values may be any bytes.
type Text = Result<Vec<u8>, Fail>;

fn no_table() -> Fail {
    Fail::new(code::BAD_FEATURE, "table not supported as output format")
}

fn no_protobuf() -> Fail {
    Fail::new(code::BAD_FEATURE, "protobuf not supported as output format")
}

fn line(text: impl Into<String>) -> Vec<u8> {
    let mut text: String = text.into();
    text.push('\n');
    text.into_bytes()
}

impl Printer {
    pub(super) fn get(&self, r: &RangeResponse) -> Text {
        match self.format {
            Format::Simple => Ok(self.simple_kvs(&r.kvs)),
            Format::Fields => Ok(fields_get(r).into_bytes()),
            Format::Json => Ok(line(json::get(r))),
            Format::Protobuf => Ok(protobuf::get(r)),
            Format::Table => Err(no_table()),
        }
    }

    pub(super) fn put(&self, r: &PutResponse) -> Text {
        match self.format {
            Format::Simple => Ok(self.simple_put(r)),
            Format::Fields => Ok(fields_put(r).into_bytes()),
            Format::Json => Ok(line(json::put(r))),
            Format::Protobuf => Ok(protobuf::put(r)),
            Format::Table => Err(no_table()),
        }
    }

    pub(super) fn del(&self, r: &DeleteRangeResponse) -> Text {
        match self.format {
            Format::Simple => Ok(self.simple_del(r)),
            Format::Fields => Ok(fields_del(r).into_bytes()),
            Format::Json => Ok(line(json::del(r))),
            Format::Protobuf => Ok(protobuf::del(r)),
            Format::Table => Err(no_table()),
        }
    }

    pub(super) fn txn(&self, r: &TxnResponse) -> Text {
        match self.format {
            Format::Simple => {
                let mut out = line(if r.succeeded { "SUCCESS" } else { "FAILURE" });
                for op in &r.responses {
                    out.push(b'\n');
                    out.extend(match op {
                        TxnOpResponse::Range(r) => self.simple_kvs(&r.kvs),
                        TxnOpResponse::Put(r) => self.simple_put(r),
                        TxnOpResponse::DeleteRange(r) => self.simple_del(r),
                        TxnOpResponse::Txn(_) => line("unexpected response of a nested transaction"),
                    });
                }
                Ok(out)
            }
            Format::Fields => {
                let mut out = fields_header(&r.header);
                let _ = writeln!(out, "\"Succeeded\" : {}", r.succeeded);
                for op in &r.responses {
                    match op {
                        TxnOpResponse::Range(r) => out += &fields_get(r),
                        TxnOpResponse::Put(r) => out += &fields_put(r),
                        TxnOpResponse::DeleteRange(r) => out += &fields_del(r),
                        TxnOpResponse::Txn(_) => out += "\"Unknown\" : \"nested transaction\"\n",
                    }
                }
                Ok(out.into_bytes())
            }
            Format::Json => Ok(line(json::txn(r))),
            Format::Protobuf => Ok(protobuf::txn(r)),
            Format::Table => Err(no_table()),
        }
    }

    pub(super) fn watch(&self, r: &WatchResponse) -> Text {
        let kind = |kind| if kind == EventKind::Put { "PUT" } else { "DELETE" };
        match self.format {
            Format::Simple => {
                let mut out = Vec::new();
                for event in &r.events {
                    out.extend(line(kind(event.kind)));
                    if let Some(prev) = &event.prev_kv {
                        out.extend(self.simple_kv(prev));
                    }
                    out.extend(self.simple_kv(&event.kv));
                }
                Ok(out)
            }
            Format::Fields => {
                let mut out = fields_header(&r.header);
                for event in &r.events {
                    let _ = writeln!(out, "\"Type\" : {}", kind(event.kind));
                    if let Some(prev) = &event.prev_kv {
                        out += &fields_kv("Prev", prev);
                    }
                    out += &fields_kv("", &event.kv);
                }
                Ok(out.into_bytes())
            }
            Format::Json => Ok(line(json::watch(r))),
            Format::Protobuf => Ok(protobuf::watch(r)),
            Format::Table => Err(no_table()),
        }
    }

    pub(super) fn grant(&self, r: &LeaseGrantResponse) -> Text {
        match self.format {
            Format::Simple => Ok(line(format!("lease {:016x} granted with TTL({}s)", r.id.0, r.ttl_seconds))),
            Format::Fields => Ok(fields_lease(&r.header, r.id, r.ttl_seconds).into_bytes()),
            Format::Json => Ok(line(json::grant(r))),
            Format::Protobuf => Ok(protobuf::header(&r.header)),
            Format::Table => Err(no_table()),
        }
    }

    pub(super) fn revoke(&self, id: LeaseId, header: &Header) -> Text {
        match self.format {
            Format::Simple => Ok(line(format!("lease {:016x} revoked", id.0))),
            Format::Fields => Ok(fields_header(header).into_bytes()),
            Format::Json => Ok(line(json::just_header(header))),
            Format::Protobuf => Ok(protobuf::just_header(header)),
            Format::Table => Err(no_table()),
        }
    }

    pub(super) fn keep_alive(&self, r: &LeaseKeepAliveResponse) -> Text {
        match self.format {
            Format::Simple => {
                Ok(line(format!("lease {:016x} keepalived with TTL({})", r.id.0, r.ttl_seconds)))
            }
            Format::Fields => Ok(fields_lease(&r.header, r.id, r.ttl_seconds).into_bytes()),
            Format::Json => Ok(line(json::keep_alive(r))),
            Format::Protobuf => Ok(protobuf::header(&r.header)),
            Format::Table => Err(no_table()),
        }
    }

    pub(super) fn time_to_live(&self, r: &LeaseTimeToLiveResponse, keys: bool) -> Text {
        match self.format {
            Format::Simple => {
                if r.granted_ttl_seconds == 0 && r.ttl_seconds == -1 {
                    return Ok(line(format!("lease {:016x} already expired", r.id.0)));
                }
                let mut out = format!(
                    "lease {:016x} granted with TTL({}s), remaining({}s)",
                    r.id.0, r.granted_ttl_seconds, r.ttl_seconds
                )
                .into_bytes();
                if keys {
                    out.extend(b", attached keys([");
                    out.extend(r.keys.join(&b' '));
                    out.extend(b"])");
                }
                out.push(b'\n');
                Ok(out)
            }
            Format::Fields => {
                let mut out = fields_lease(&r.header, r.id, r.ttl_seconds);
                let _ = writeln!(out, "\"GrantedTTL\" : {}", r.granted_ttl_seconds);
                for key in &r.keys {
                    let _ = writeln!(out, "\"Key\" : {}", quote(key));
                }
                Ok(out.into_bytes())
            }
            Format::Json => Ok(line(json::time_to_live(r))),
            Format::Protobuf => Ok(protobuf::header(&r.header)),
            Format::Table => Err(no_table()),
        }
    }

    pub(super) fn leases(&self, r: &LeaseLeasesResponse) -> Text {
        let mut out = String::new();
        match self.format {
            Format::Simple => {
                let _ = writeln!(out, "found {} leases", r.leases.len());
                for id in &r.leases {
                    let _ = writeln!(out, "{:016x}", id.0);
                }
            }
            Format::Fields => {
                out += &fields_header(&r.header);
                for id in &r.leases {
                    let _ = writeln!(out, "\"ID\" : {id}");
                }
            }
            Format::Json => return Ok(line(json::leases(r))),
            Format::Protobuf => return Ok(protobuf::header(&r.header)),
            Format::Table => return Err(no_table()),
        }
        Ok(out.into_bytes())
    }

    pub(super) fn members(&self, r: &MemberListResponse) -> Text {
        let headers = ["ID", "Status", "Name", "Peer Addrs", "Client Addrs", "Is Learner"];
        let rows = r.members.iter().map(|m| {
            let status = if m.name.is_empty() { "unstarted" } else { "started" };
            vec![
                format!("{:x}", m.id.0),
                status.to_owned(),
                m.name.clone(),
                m.peer_urls.join(","),
                m.client_urls.join(","),
                m.is_learner.to_string(),
            ]
        });
        match self.format {
            Format::Simple => Ok(comma_rows(rows)),
            Format::Table => Ok(table(&headers, rows.collect())),
            Format::Json => Ok(line(json::members(r))),
            Format::Protobuf => Ok(protobuf::members(r)),
            Format::Fields => {
                let mut out = fields_header(&r.header);
                for m in &r.members {
                    let _ = writeln!(out, "\"ID\" : {}", m.id);
                    let _ = writeln!(out, "\"Name\" : {}", quote(m.name.as_bytes()));
                    for url in &m.peer_urls {
                        let _ = writeln!(out, "\"PeerURL\" : {}", quote(url.as_bytes()));
                    }
                    for url in &m.client_urls {
                        let _ = writeln!(out, "\"ClientURL\" : {}", quote(url.as_bytes()));
                    }
                    let _ = writeln!(out, "\"IsLearner\" : {}\n", m.is_learner);
                }
                Ok(out.into_bytes())
            }
        }
    }

    pub(super) fn member_added(&self, r: &MemberAddResponse) -> Text {
        match self.format {
            Format::Simple => Ok(line(format!(
                "Member {:16x} added to cluster {:16x}",
                r.member.id.0, r.header.cluster_id.0
            ))),
            Format::Json => Ok(line(json::member_added(r))),
            Format::Protobuf => Ok(protobuf::member_added(r)),
            Format::Fields => Err(Fail::new(code::BAD_FEATURE, "fields not supported as output format")),
            Format::Table => Err(no_table()),
        }
    }

    /// `what` is what has been done to the member, with its preposition.
    pub(super) fn member_changed(&self, id: MemberId, what: &str, r: &MemberListResponse) -> Text {
        match self.format {
            Format::Simple => {
                Ok(line(format!("Member {:16x} {what} cluster {:16x}", id.0, r.header.cluster_id.0)))
            }
            Format::Json => Ok(line(json::members(r))),
            Format::Protobuf => Ok(protobuf::members(r)),
            Format::Fields => Err(Fail::new(code::BAD_FEATURE, "fields not supported as output format")),
            Format::Table => Err(no_table()),
        }
    }

    pub(super) fn alarms(&self, r: &AlarmListResponse) -> Text {
        let name = |kind: &AlarmKind| match kind {
            AlarmKind::NoSpace => "NOSPACE",
            AlarmKind::Corrupt => "CORRUPT",
        };
        let mut out = String::new();
        match self.format {
            Format::Simple => {
                for (member, kind) in &r.alarms {
                    let _ = writeln!(out, "memberID:{member} alarm:{} ", name(kind));
                }
            }
            Format::Fields => {
                out += &fields_header(&r.header);
                for (member, kind) in &r.alarms {
                    let _ = writeln!(out, "\"MemberID\" : {member}\n\"AlarmType\" : {}\n", name(kind));
                }
            }
            Format::Json => return Ok(line(json::alarms(r))),
            Format::Protobuf => return Ok(protobuf::alarms(r)),
            Format::Table => return Err(no_table()),
        }
        Ok(out.into_bytes())
    }

    pub(super) fn downgrade(&self, action: DowngradeAction, r: &DowngradeResponse) -> Text {
        let what = match action {
            DowngradeAction::Validate => "validate",
            DowngradeAction::Enable => "enable",
            DowngradeAction::Cancel => "cancel",
        };
        match self.format {
            Format::Simple => Ok(line(format!("Downgrade {what} success, cluster version {}", r.version))),
            Format::Json => Ok(line(json::downgrade(r))),
            Format::Protobuf => Ok(protobuf::downgrade(r)),
            Format::Fields => Err(Fail::new(code::BAD_FEATURE, "fields not supported as output format")),
            Format::Table => Err(no_table()),
        }
    }

    pub(super) fn move_leader(&self, from: MemberId, to: MemberId, header: &Header) -> Text {
        match self.format {
            Format::Simple => Ok(line(format!("Leadership transferred from {:x} to {:x}", from.0, to.0))),
            Format::Json => Ok(line(json::just_header(header))),
            Format::Protobuf => Ok(protobuf::just_header(header)),
            Format::Fields => Err(Fail::new(code::BAD_FEATURE, "fields not supported as output format")),
            Format::Table => Err(no_table()),
        }
    }

    /// What goes to standard output, and what to standard error (where the simple format has it).
    pub(super) fn health(&self, all: &[EndpointHealth]) -> Result<(Vec<u8>, Vec<u8>), Fail> {
        let mut out = String::new();
        match self.format {
            Format::Simple => {
                for h in all {
                    if h.error.is_empty() {
                        let (endpoint, took) = (&h.endpoint, &h.took);
                        let _ = writeln!(
                            out,
                            "{endpoint} is healthy: successfully committed proposal: took = {took}"
                        );
                    } else {
                        let (endpoint, error) = (&h.endpoint, &h.error);
                        let _ = writeln!(out, "{endpoint} is unhealthy: failed to commit proposal: {error}");
                    }
                }
                return Ok((Vec::new(), out.into_bytes()));
            }
            Format::Fields => {
                for h in all {
                    let _ = writeln!(out, "\"Endpoint\" : {}", quote(h.endpoint.as_bytes()));
                    let _ = writeln!(out, "\"Health\" : {}", h.error.is_empty());
                    let _ = writeln!(out, "\"Took\" : {}", h.took);
                    let _ = writeln!(out, "\"Error\" : {}\n", h.error);
                }
            }
            Format::Json => return Ok((line(json::health(all)), Vec::new())),
            Format::Protobuf => return Err(no_protobuf()),
            Format::Table => {
                let rows = all.iter().map(|h| {
                    let health = h.error.is_empty().to_string();
                    vec![h.endpoint.clone(), health, h.took.clone(), h.error.clone()]
                });
                return Ok((table(&["endpoint", "health", "took", "error"], rows.collect()), Vec::new()));
            }
        }
        Ok((out.into_bytes(), Vec::new()))
    }

    pub(super) fn status(&self, all: &[EndpointStatus]) -> Text {
        let headers = [
            "endpoint",
            "ID",
            "version",
            "db size",
            "is leader",
            "is learner",
            "raft term",
            "raft index",
            "raft applied index",
            "errors",
        ];
        let rows = all.iter().map(|s| {
            let r = &s.status;
            vec![
                s.endpoint.clone(),
                format!("{:x}", r.header.member_id.0),
                r.version.clone(),
                human_bytes(r.db_size.max(0).unsigned_abs()),
                (r.leader == r.header.member_id).to_string(),
                r.is_learner.to_string(),
                r.raft_term.to_string(),
                r.raft_index.to_string(),
                r.raft_applied_index.to_string(),
                r.errors.join(", "),
            ]
        });
        match self.format {
            Format::Simple => Ok(comma_rows(rows)),
            Format::Table => Ok(table(&headers, rows.collect())),
            Format::Json => Ok(line(json::status(all))),
            Format::Protobuf => Err(no_protobuf()),
            Format::Fields => {
                let mut out = String::new();
                for s in all {
                    let r = &s.status;
                    out += &fields_header(&r.header);
                    let _ = writeln!(out, "\"Version\" : {}", quote(r.version.as_bytes()));
                    let _ = writeln!(out, "\"DBSize\" : {}", r.db_size);
                    let _ = writeln!(out, "\"Leader\" : {}", r.leader);
                    let _ = writeln!(out, "\"IsLearner\" : {}", r.is_learner);
                    let _ = writeln!(out, "\"RaftIndex\" : {}", r.raft_index);
                    let _ = writeln!(out, "\"RaftTerm\" : {}", r.raft_term);
                    let _ = writeln!(out, "\"RaftAppliedIndex\" : {}", r.raft_applied_index);
                    let _ = writeln!(out, "\"Errors\" : [{}]", r.errors.join(" "));
                    let _ = writeln!(out, "\"Endpoint\" : {}\n", quote(s.endpoint.as_bytes()));
                }
                Ok(out.into_bytes())
            }
        }
    }

    pub(super) fn hashes(&self, all: &[EndpointHash]) -> Text {
        let rows = all.iter().map(|h| vec![h.endpoint.clone(), h.hash.hash.to_string()]);
        match self.format {
            Format::Simple => Ok(comma_rows(rows)),
            Format::Table => Ok(table(&["endpoint", "hash"], rows.collect())),
            Format::Json => Ok(line(json::hashes(all))),
            Format::Protobuf => Err(no_protobuf()),
            Format::Fields => {
                let mut out = String::new();
                for h in all {
                    out += &fields_header(&h.hash.header);
                    let _ = writeln!(out, "\"Endpoint\" : {}", quote(h.endpoint.as_bytes()));
                    let _ = writeln!(out, "\"Hash\" : {}\n", h.hash.hash);
                }
                Ok(out.into_bytes())
            }
        }
    }

    fn simple_kv(&self, kv: &KeyValue) -> Vec<u8> {
        let show = |bytes: &[u8]| -> Vec<u8> {
            if !self.hex {
                return bytes.to_vec();
            }
            bytes.iter().flat_map(|byte| format!("\\x{byte:02x}").into_bytes()).collect()
        };
        let mut out = Vec::new();
        if !self.value_only {
            out.extend(show(&kv.key));
            out.push(b'\n');
        }
        out.extend(show(&kv.value));
        out.push(b'\n');
        out
    }

    fn simple_kvs(&self, kvs: &[KeyValue]) -> Vec<u8> {
        kvs.iter().flat_map(|kv| self.simple_kv(kv)).collect()
    }

    fn simple_put(&self, r: &PutResponse) -> Vec<u8> {
        let mut out = line("OK");
        if let Some(prev) = &r.prev_kv {
            out.extend(self.simple_kv(prev));
        }
        out
    }

    fn simple_del(&self, r: &DeleteRangeResponse) -> Vec<u8> {
        let mut out = line(r.deleted.to_string());
        out.extend(self.simple_kvs(&r.prev_kvs));
        out
    }
}

pub(super) fn fields_header(h: &Header) -> String {
    format!(
        "\"ClusterID\" : {}\n\"MemberID\" : {}\n\"Revision\" : {}\n\"RaftTerm\" : {}\n",
        h.cluster_id, h.member_id, h.revision, h.raft_term
    )
}

fn fields_kv(prefix: &str, kv: &KeyValue) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "\"{prefix}Key\" : {}", quote(&kv.key));
    let _ = writeln!(out, "\"{prefix}CreateRevision\" : {}", kv.create_revision);
    let _ = writeln!(out, "\"{prefix}ModRevision\" : {}", kv.mod_revision);
    let _ = writeln!(out, "\"{prefix}Version\" : {}", kv.version);
    let _ = writeln!(out, "\"{prefix}Value\" : {}", quote(&kv.value));
    let _ = writeln!(out, "\"{prefix}Lease\" : {}", kv.lease);
    out
}

fn fields_get(r: &RangeResponse) -> String {
    let mut out = fields_header(&r.header);
    for kv in &r.kvs {
        out += &fields_kv("", kv);
    }
    let _ = writeln!(out, "\"More\" : {}\n\"Count\" : {}", r.more, r.count);
    out
}

fn fields_put(r: &PutResponse) -> String {
    let mut out = fields_header(&r.header);
    if let Some(prev) = &r.prev_kv {
        out += &fields_kv("Prev", prev);
    }
    out
}

fn fields_del(r: &DeleteRangeResponse) -> String {
    let mut out = fields_header(&r.header);
    let _ = writeln!(out, "\"Deleted\" : {}", r.deleted);
    for kv in &r.prev_kvs {
        out += &fields_kv("Prev", kv);
    }
    out
}

fn fields_lease(h: &Header, id: LeaseId, ttl: i64) -> String {
    let mut out = fields_header(h);
    let _ = writeln!(out, "\"ID\" : {id}\n\"TTL\" : {ttl}");
    out
}

fn comma_rows(rows: impl Iterator<Item = Vec<String>>) -> Vec<u8> {
    rows.flat_map(|row| line(row.join(", "))).collect()
}

/// A table as etcdctl draws it: headers in capitals and centred, cells to the right.
fn table(headers: &[&str], rows: Vec<Vec<String>>) -> Vec<u8> {
    let headers: Vec<String> = headers.iter().map(|header| header.to_uppercase()).collect();
    let chars = |text: &String| text.chars().count();
    let width =
        |at: usize| rows.iter().map(|row| chars(&row[at])).chain([chars(&headers[at])]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..headers.len()).map(width).collect();
    let rule = || {
        let dashes = widths.iter().map(|width| "-".repeat(width + 2));
        format!("+{}+", dashes.collect::<Vec<_>>().join("+"))
    };
    let mut out = rule() + "\n|";
    for (header, width) in headers.iter().zip(&widths) {
        let gap = width - chars(header);
        let _ = write!(out, " {}{header}{} |", " ".repeat(gap / 2), " ".repeat(gap - gap / 2));
    }
    out += "\n";
    out += &rule();
    for row in &rows {
        out += "\n|";
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(out, " {}{cell} |", " ".repeat(width - chars(cell)));
        }
    }
    if !rows.is_empty() {
        out += "\n";
        out += &rule();
    }
    line(out)
}
