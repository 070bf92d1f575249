//! Rows of the tables as values: for those who carry the state to another system and back.

use crate::auth;
use crate::backend::{BackendError, Table};
use crate::mvcc::{At, record};
use crate::snapshot::SnapshotHeader;
use crate::store::{self, StateRow};
use bytes::Bytes;
use seatrial_types::auth::{AuthRevision, Permission, Secret};
use seatrial_types::{Event, LeaseId};
use std::collections::BTreeSet;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// A version of a key, or that it was deleted.
    Version {
        /// Which change within its revision, counted from 0.
        sub: u32,
        /// What happened; no value before it.
        event: Event,
    },
    /// A lease.
    Lease {
        /// Which.
        id: LeaseId,
        /// As granted, in seconds.
        ttl_seconds: i64,
        /// What was left of it by the last checkpoint, in seconds.
        left_seconds: Option<i64>,
    },
    /// Whether authentication is on.
    Auth {
        /// It is.
        enabled: bool,
        /// Of users and roles.
        revision: AuthRevision,
    },
    /// A user.
    User {
        /// Their name.
        name: String,
        /// A hash or nothing.
        secret: Secret,
        /// Names of roles.
        roles: BTreeSet<String>,
    },
    /// A role.
    Role {
        /// Its name.
        name: String,
        /// What it allows, sorted by range.
        permissions: Vec<Permission>,
    },
    /// How far the tables are.
    State(SnapshotHeader),
    /// What is a member's or its cluster's own.
    Own {
        /// Its key.
        key: Bytes,
        /// Its value.
        value: Bytes,
    },
}

impl Row {
    /// # Errors
    /// Damage found.
    pub fn decode(table: Table, key: &Bytes, value: &Bytes) -> Result<Self, BackendError> {
        Ok(match table {
            Table::Kv => {
                let at = At::from_row(key)?;
                Self::Version { sub: at.sub, event: record::decode(at, value)? }
            }
            Table::Lease => {
                let (id, ttl_seconds, left_seconds) = store::read_lease(key, value)?;
                Self::Lease { id, ttl_seconds, left_seconds }
            }
            Table::Meta => match auth::read(key, value)? {
                Some(row) => row,
                None => Self::Own { key: key.clone(), value: value.clone() },
            },
            Table::State => match StateRow::decode(key, value)? {
                Some(state) => Self::State(state.header()),
                None => return Err(BackendError::damaged(format!("the row {key:?} is not the state"))),
            },
        })
    }

    /// Table, key and value.
    #[must_use]
    pub fn encode(&self) -> (Table, Bytes, Bytes) {
        match self {
            Self::Version { sub, event } => {
                let at = At { main: event.kv.mod_revision, sub: *sub };
                (Table::Kv, at.row(), record::encode(at, event.kind, &event.kv))
            }
            Self::Lease { id, ttl_seconds, left_seconds } => {
                (Table::Lease, store::lease_row(*id), store::lease_value(*ttl_seconds, *left_seconds))
            }
            Self::Auth { .. } | Self::User { .. } | Self::Role { .. } => {
                let (key, value) = auth::write(self);
                (Table::Meta, key, value)
            }
            Self::State(header) => {
                let (key, value) = StateRow::of(header).row();
                (Table::State, key, value)
            }
            Self::Own { key, value } => (Table::Meta, key.clone(), value.clone()),
        }
    }
}
