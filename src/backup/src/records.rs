//! What lies in etcd's buckets, and which rows of ours that is.

use bytes::Bytes;
use prost::Message;
use seatrial_proto::{authpb, leasepb};
use seatrial_store::{ForeignVersion, Row, SnapshotHeader, V2_ROWS, foreign_key, read_foreign_key};
use seatrial_types::auth::{Access, AuthRevision, Permission, Secret};
use seatrial_types::{Event, EventKind, KeyRange, KeyValue, LeaseId, LogIndex, Revision, Term};

/// Versions of keys, by revision.
pub const KEY: &[u8] = b"key";
/// Leases, by id.
pub const LEASE: &[u8] = b"lease";
/// Whether authentication is on, and the revision of users and roles.
pub const AUTH: &[u8] = b"auth";
/// Users, by name.
pub const USERS: &[u8] = b"authUsers";
/// Roles, by name.
pub const ROLES: &[u8] = b"authRoles";
/// How far the log was applied and the keys are compacted.
pub const META: &[u8] = b"meta";
/// Rows of the v2 key space, as they are. Not one of etcd's, which passes over it, and there only where that space is in
/// use.
pub const V2: &[u8] = b"seatrial_v2";
/// Buckets that etcd wants to be there, and that a restored cluster fills itself.
pub const EMPTY: [&[u8]; 4] = [b"alarm", b"cluster", b"members", b"members_removed"];

const ENABLED: &[u8] = b"authEnabled";
const AUTH_REVISION: &[u8] = b"authRevision";
const APPLIED: &[u8] = b"consistent_index";
const APPLIED_TERM: &[u8] = b"term";
const COMPACTED: &[u8] = b"scheduledCompactRev";
const COMPACTED_TO_THE_END: &[u8] = b"finishedCompactRev";

/// An entry of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which bucket.
    pub bucket: &'static [u8],
    /// Its key there.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Value,
}

/// A value, not written yet: of many only the length is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A version of a key.
    Version(ForeignVersion),
    /// Anything else.
    Bytes(Vec<u8>),
}

impl Eq for Value {}

impl Value {
    /// How long it is.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Version(kv) => kv.encoded_len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    /// It.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Version(kv) => kv.encode_to_vec(),
            Self::Bytes(bytes) => bytes.clone(),
        }
    }
}

fn record(bucket: &'static [u8], key: &[u8], value: Vec<u8>) -> Record {
    Record { bucket, key: key.to_vec(), value: Value::Bytes(value) }
}

/// The entries of a row; none for what a restored cluster makes anew.
#[must_use]
pub fn of_row(row: &Row) -> Vec<Record> {
    match row {
        Row::Version { sub, event } => {
            let key = foreign_key(event.kv.mod_revision, *sub, event.kind);
            vec![Record { bucket: KEY, key, value: Value::Version(ForeignVersion::of(event.clone())) }]
        }
        Row::Lease { id, ttl_seconds, left_seconds } => {
            let lease = leasepb::Lease {
                id: id.0,
                ttl: *ttl_seconds,
                remaining_ttl: left_seconds.unwrap_or_default(),
            };
            vec![record(LEASE, &id.0.to_be_bytes(), lease.encode_to_vec())]
        }
        Row::Auth { enabled, revision } => vec![
            record(AUTH, ENABLED, vec![u8::from(*enabled)]),
            record(AUTH, AUTH_REVISION, revision.0.to_be_bytes().to_vec()),
        ],
        Row::User { name, secret, roles } => {
            let password = match secret {
                Secret::Hash(hash) | Secret::Plain(hash) => Bytes::from(hash.clone()),
                Secret::Nothing => Bytes::new(),
            };
            let no_password = *secret == Secret::Nothing;
            let user = authpb::User {
                name: name.clone().into(),
                password,
                roles: roles.iter().cloned().collect(),
                options: Some(authpb::UserAddOptions { no_password }),
            };
            vec![record(USERS, name.as_bytes(), user.encode_to_vec())]
        }
        Row::Role { name, permissions } => {
            let permission = |permission: &Permission| authpb::Permission {
                perm_type: match permission.access {
                    Access::Read => authpb::permission::Type::Read,
                    Access::Write => authpb::permission::Type::Write,
                    Access::ReadWrite => authpb::permission::Type::Readwrite,
                } as i32,
                key: permission.range.key.clone(),
                range_end: permission.range.end.clone(),
            };
            let key_permission = permissions.iter().map(permission).collect();
            let role = authpb::Role { name: name.clone().into(), key_permission };
            vec![record(ROLES, name.as_bytes(), role.encode_to_vec())]
        }
        Row::State(header) => {
            let mut records = vec![record(META, APPLIED, header.applied.0.to_be_bytes().to_vec())];
            if header.compacted >= Revision(0) {
                // Not that it has come to its end: whoever restores this goes through it again.
                let value = foreign_key(header.compacted, 0, EventKind::Put);
                records.push(record(META, COMPACTED, value));
            }
            records.push(record(META, APPLIED_TERM, header.applied_term.0.to_be_bytes().to_vec()));
            records
        }
        Row::Own { key, value } if is_v2(key) => vec![record(V2, key, value.to_vec())],
        Row::Own { .. } => Vec::new(),
    }
}

fn is_v2(key: &[u8]) -> bool {
    (V2_ROWS.0..V2_ROWS.1).contains(&key)
}

/// A row of the v2 key space.
///
/// # Errors
/// What is wrong with it.
pub fn v2(key: &[u8], value: &[u8]) -> Result<Row, String> {
    if !is_v2(key) {
        return Err(format!("{:?} is no row of the v2 key space", Bytes::copy_from_slice(key)));
    }
    Ok(Row::Own { key: Bytes::copy_from_slice(key), value: Bytes::copy_from_slice(value) })
}

/// What an entry is.
///
/// # Errors
/// What is wrong with it.
pub fn version(key: &[u8], value: Bytes) -> Result<Row, String> {
    let (main, sub, kind) = read_foreign_key(key).ok_or("its key is no revision")?;
    let stored = ForeignVersion::decode(value).map_err(|error| format!("revision {main}: {error}"))?;
    let mut kv = stored.into_kv();
    if kv.key.is_empty() || main < Revision(2) {
        return Err(format!("revision {main} has no key, or is none of a change"));
    }
    if kind == EventKind::Put && (kv.mod_revision != main || kv.version < 1 || kv.create_revision > main) {
        return Err(format!("revision {main} is said to be of revision {} in its value", kv.mod_revision));
    }
    if kind == EventKind::Delete {
        kv = KeyValue { key: kv.key, mod_revision: main, ..KeyValue::default() };
    }
    Ok(Row::Version { sub, event: Event { kind, kv, prev_kv: None } })
}

/// A lease.
///
/// # Errors
/// What is wrong with it.
pub fn lease(key: &[u8], value: &[u8]) -> Result<Row, String> {
    let lease = leasepb::Lease::decode(value).map_err(|error| error.to_string())?;
    if key != lease.id.to_be_bytes() || lease.id <= 0 {
        return Err(format!("lease {:x} lies under another's key", lease.id));
    }
    let left_seconds = Some(lease.remaining_ttl).filter(|left| *left > 0);
    Ok(Row::Lease { id: LeaseId(lease.id), ttl_seconds: lease.ttl, left_seconds })
}

/// A user.
///
/// # Errors
/// What is wrong with it.
pub fn user(key: &[u8], value: &[u8]) -> Result<Row, String> {
    let user = authpb::User::decode(value).map_err(|error| error.to_string())?;
    let text =
        |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|error| format!("a user's name: {error}"));
    let no_password = user.options.as_ref().is_some_and(|options| options.no_password);
    let secret = match text(&user.password)? {
        hash if no_password || hash.is_empty() => Secret::Nothing,
        hash => Secret::Hash(hash),
    };
    Ok(Row::User { name: text(key)?, secret, roles: user.roles.into_iter().collect() })
}

/// A role.
///
/// # Errors
/// What is wrong with it.
pub fn role(key: &[u8], value: &[u8]) -> Result<Row, String> {
    let role = authpb::Role::decode(value).map_err(|error| error.to_string())?;
    let name = String::from_utf8(key.to_vec()).map_err(|error| format!("a role's name: {error}"))?;
    let permission = |permission: authpb::Permission| {
        let access = match authpb::permission::Type::try_from(permission.perm_type) {
            Ok(authpb::permission::Type::Read) => Access::Read,
            Ok(authpb::permission::Type::Write) => Access::Write,
            Ok(authpb::permission::Type::Readwrite) => Access::ReadWrite,
            Err(_) => return Err(format!("role {name}: unknown permission {}", permission.perm_type)),
        };
        Ok(Permission { access, range: KeyRange { key: permission.key, end: permission.range_end } })
    };
    let mut permissions = role.key_permission.into_iter().map(permission).collect::<Result<Vec<_>, _>>()?;
    permissions.sort_by(|a, b| (&a.range.key, &a.range.end).cmp(&(&b.range.key, &b.range.end)));
    Ok(Row::Role { name, permissions })
}

/// What the buckets with single entries say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Few {
    applied: u64,
    applied_term: u64,
    compacted: Option<Revision>,
    auth_enabled: bool,
    auth_revision: Option<u64>,
}

impl Few {
    /// Takes an entry of [`META`] or [`AUTH`] in; others of these are passed over.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let wrong = || format!("{} has {} bytes", String::from_utf8_lossy(key), value.len());
        let number = || value.try_into().map(u64::from_be_bytes).map_err(|_| wrong());
        match key {
            APPLIED => self.applied = number()?,
            APPLIED_TERM => self.applied_term = number()?,
            COMPACTED | COMPACTED_TO_THE_END => {
                let (main, ..) = read_foreign_key(value).ok_or_else(wrong)?;
                self.compacted = self.compacted.max(Some(main));
            }
            ENABLED => self.auth_enabled = value == [1],
            AUTH_REVISION => self.auth_revision = Some(number()?),
            _ => {}
        }
        Ok(())
    }

    /// The state, where `newest` is the last revision found.
    #[must_use]
    pub fn header(&self, newest: Revision) -> SnapshotHeader {
        let compacted = self.compacted.unwrap_or(Revision(-1));
        SnapshotHeader {
            // A log that nothing was written to is none that a member could go on from.
            applied: LogIndex(self.applied.max(1)),
            applied_term: Term(self.applied_term.max(1)),
            // All of the newest revisions may be deletions that compaction took away.
            revision: newest.max(compacted).max(Revision(1)),
            compacted,
        }
    }

    /// Whether authentication is on; `None` where it never was looked at.
    #[must_use]
    pub fn auth(&self) -> Option<Row> {
        let revision = self.auth_revision.filter(|revision| *revision > 0);
        (revision.is_some() || self.auth_enabled)
            .then(|| Row::Auth { enabled: self.auth_enabled, revision: AuthRevision(revision.unwrap_or(1)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// etcd forgets a deletion at the very revision of a compaction; the revision must not go back with it.
    #[test]
    fn the_revision_is_not_below_the_compaction_where_no_row_tells_of_it() {
        let mut few = Few::default();
        few.take(COMPACTED, &foreign_key(Revision(9), 0, EventKind::Put)).unwrap();
        assert_eq!(
            (few.header(Revision(4)).revision, few.header(Revision(4)).compacted),
            (Revision(9), Revision(9))
        );
        assert_eq!(few.header(Revision(12)).revision, Revision(12));
    }
}
