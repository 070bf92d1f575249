//! Who may do what. The same rules hold for changes as they are applied and for reads as they are answered.

use super::{Auth, ROOT};
use crate::command::Command;
use crate::lease::Leases;
use seatrial_types::auth::{AuthRequest, Identity};
use seatrial_types::request::{DeleteRangeRequest, PutRequest, TxnOp, TxnRequest};
use seatrial_types::{Error, KeyRange, LeaseId, Request};

impl Auth {
    /// Whether the caller may have this change applied. Decided when it is applied, by the state at its place in
    /// the log: all members then come to the same answer, whatever each knew when it was proposed.
    ///
    /// # Errors
    /// [`Error::UserEmpty`], [`Error::AuthOldRevision`], [`Error::PermissionDenied`].
    pub(crate) fn check_command(
        &self,
        who: &Identity,
        command: &Command,
        leases: &Leases,
    ) -> Result<(), Error> {
        if !self.is_enabled() {
            return Ok(());
        }
        match command {
            Command::Put(put) => self.check_put(who, put, leases),
            Command::DeleteRange(delete) => self.check_delete(who, delete),
            Command::Txn(txn) => self.check_txn(who, txn, leases),
            Command::LeaseRevoke(id) => {
                self.check_user(who)?;
                self.check_lease(who, *id, leases)
            }
            Command::Compact(_) | Command::LeaseGrant(_) => self.check_user(who),
            // The face has seen the password.
            Command::Auth(AuthRequest::Admit { .. }) => Ok(()),
            Command::Auth(_) => self.check_admin(who),
            // A member's own affairs.
            Command::Meta(_) | Command::LeaseCheckpoint(_) | Command::V2Tick(_) => Ok(()),
            // The v2 key space has users and roles of its own, and its face asks them.
            Command::V2(_) => Ok(()),
            Command::As(..) => Err(Error::PermissionDenied),
        }
    }

    /// Whether the caller may be answered this. `who` is nobody where the caller gave no name.
    ///
    /// # Errors
    /// As [`Auth::check_command`].
    pub fn check_request(&self, who: &Identity, request: &Request, leases: &Leases) -> Result<(), Error> {
        if !self.is_enabled() {
            return Ok(());
        }
        match request {
            Request::Range(range) => self.check_read(who, &range.range),
            Request::Txn(txn) => self.check_txn(who, txn, leases),
            Request::Put(put) => self.check_put(who, put, leases),
            Request::DeleteRange(delete) => self.check_delete(who, delete),
            Request::LeaseTimeToLive(ask) if ask.keys => {
                self.check_user(who)?;
                for key in leases.keys(ask.id) {
                    self.check_read(who, &KeyRange::single(key))?;
                }
                Ok(())
            }
            Request::LeaseTimeToLive(_)
            | Request::LeaseGrant(_)
            | Request::LeaseRevoke(_)
            | Request::LeaseKeepAlive(_)
            | Request::LeaseLeases
            | Request::Compact(_)
            | Request::MemberList { .. }
            | Request::AlarmList => self.check_user(who),
            // What tells whether a server is there, and what a client must ask before it has a name.
            Request::Status => Ok(()),
            Request::V2(_) => Ok(()),
            Request::Auth(AuthRequest::Password { .. } | AuthRequest::Admit { .. }) => Ok(()),
            Request::Auth(AuthRequest::UserGet { name }) => {
                if who.user == *name && !name.is_empty() {
                    self.check_user(who)
                } else {
                    self.check_admin(who)
                }
            }
            Request::Auth(AuthRequest::RoleGet { role }) => {
                let own = self.users.get(&who.user).is_some_and(|user| user.roles.contains(role));
                if own { self.check_user(who) } else { self.check_admin(who) }
            }
            Request::As(..) => Err(Error::PermissionDenied),
            // Members, alarms, users: the administrator's.
            _ => self.check_admin(who),
        }
    }

    /// Whether the caller may watch these keys.
    ///
    /// # Errors
    /// As [`Auth::check_command`].
    pub fn check_watch(&self, who: &Identity, range: &KeyRange) -> Result<(), Error> {
        if self.is_enabled() { self.check_read(who, range) } else { Ok(()) }
    }

    /// Somebody with a name, and the rights that name has today.
    fn check_user(&self, who: &Identity) -> Result<(), Error> {
        if who.user.is_empty() {
            return Err(Error::UserEmpty);
        }
        if who.revision < self.revision() {
            return Err(Error::AuthOldRevision);
        }
        if self.users.contains_key(&who.user) { Ok(()) } else { Err(Error::PermissionDenied) }
    }

    fn is_root(&self, who: &Identity) -> bool {
        self.users.get(&who.user).is_some_and(|user| user.roles.contains(ROOT))
    }

    fn check_admin(&self, who: &Identity) -> Result<(), Error> {
        if who.user.is_empty() {
            return Err(Error::UserEmpty);
        }
        // The revision says nothing here: as in etcd, an administrator makes one change after another with one
        // token, and each of them raises it.
        if self.is_root(who) { Ok(()) } else { Err(Error::PermissionDenied) }
    }

    fn check_read(&self, who: &Identity, range: &KeyRange) -> Result<(), Error> {
        self.check_user(who)?;
        let granted = self.grants.get(&who.user).is_some_and(|grants| grants.read.contains(range));
        if granted || self.is_root(who) { Ok(()) } else { Err(Error::PermissionDenied) }
    }

    fn check_write(&self, who: &Identity, range: &KeyRange) -> Result<(), Error> {
        self.check_user(who)?;
        let granted = self.grants.get(&who.user).is_some_and(|grants| grants.write.contains(range));
        if granted || self.is_root(who) { Ok(()) } else { Err(Error::PermissionDenied) }
    }

    fn check_put(&self, who: &Identity, put: &PutRequest, leases: &Leases) -> Result<(), Error> {
        let range = KeyRange::single(put.key.clone());
        self.check_write(who, &range)?;
        // Who attaches a key to a lease may let that lease run out, and its other keys with it.
        self.check_lease(who, put.lease, leases)?;
        if put.prev_kv { self.check_read(who, &range) } else { Ok(()) }
    }

    fn check_delete(&self, who: &Identity, delete: &DeleteRangeRequest) -> Result<(), Error> {
        self.check_write(who, &delete.range)?;
        if delete.prev_kv { self.check_read(who, &delete.range) } else { Ok(()) }
    }

    /// Both branches, for which one is taken says something about the keys that are compared.
    fn check_txn(&self, who: &Identity, txn: &TxnRequest, leases: &Leases) -> Result<(), Error> {
        self.check_user(who)?;
        for compare in &txn.compare {
            self.check_read(who, &compare.range)?;
        }
        for op in txn.success.iter().chain(&txn.failure) {
            match op {
                TxnOp::Range(range) => self.check_read(who, &range.range)?,
                TxnOp::Put(put) => self.check_put(who, put, leases)?,
                TxnOp::DeleteRange(delete) => self.check_delete(who, delete)?,
                TxnOp::Txn(nested) => self.check_txn(who, nested, leases)?,
            }
        }
        Ok(())
    }

    fn check_lease(&self, who: &Identity, id: LeaseId, leases: &Leases) -> Result<(), Error> {
        for key in leases.keys(id) {
            self.check_write(who, &KeyRange::single(key))?;
        }
        Ok(())
    }
}
