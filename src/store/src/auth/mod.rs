//! Users, roles and permissions (etcd API: Auth): a state machine of its own beside the keys.
//!
//! Changes come through the log like all others. Passwords come as bcrypt hashes: computing one takes a tenth of a
//! second and a salt drawn by chance, and neither has a place where entries are applied.

mod check;
mod ranges;

use crate::backend::{Backend, BackendError, Table, View};
use crate::rows::Row;
use bytes::Bytes;
use ranges::Ranges;
use seatrial_types::auth::{Access, AuthAnswer, AuthRequest, AuthRevision, Permission, Secret};
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::{Error, KeyRange};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// The user that must exist before authentication can be on, and the role that may do everything.
pub const ROOT: &str = "root";

/// All rows of users and roles begin so, in the cluster's table; `0` is the character behind the slash.
const ROWS: (&[u8], &[u8]) = (b"auth/", b"auth0");
const HEAD_KEY: &[u8] = b"auth/head";
const USER_PREFIX: &str = "auth/user/";
const ROLE_PREFIX: &str = "auth/role/";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Head {
    enabled: bool,
    revision: AuthRevision,
}

impl Default for Head {
    fn default() -> Self {
        // etcd's own store counts its making.
        Self { enabled: false, revision: AuthRevision(1) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct User {
    secret: Secret,
    roles: BTreeSet<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Role {
    permissions: BTreeMap<(Bytes, Bytes), Access>,
}

impl Role {
    fn list(&self) -> Vec<Permission> {
        let permission = |((key, end), access): (&(Bytes, Bytes), &Access)| Permission {
            access: *access,
            range: KeyRange { key: key.clone(), end: end.clone() },
        };
        self.permissions.iter().map(permission).collect()
    }
}

/// What all roles of a user allow together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Grants {
    read: Ranges,
    write: Ranges,
}

/// Users and roles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Auth {
    head: Head,
    users: BTreeMap<String, User>,
    roles: BTreeMap<String, Role>,
    /// By user. Invariant: made of `users` and `roles` as they are now.
    grants: BTreeMap<String, Grants>,
}

impl Auth {
    /// From the rows in the backend.
    ///
    /// # Errors
    /// The backend's, and damage found.
    pub(crate) fn load<V: View>(view: &V) -> Result<Self, BackendError> {
        let mut auth = Self::default();
        let rows = view.scan(Table::Meta, Bound::Included(ROWS.0), Bound::Excluded(ROWS.1), usize::MAX)?;
        for (key, value) in rows {
            let name = std::str::from_utf8(&key).unwrap_or_default();
            if key == HEAD_KEY {
                auth.head = read_row(&key, &value)?;
            } else if let Some(user) = name.strip_prefix(USER_PREFIX) {
                auth.users.insert(user.to_owned(), read_row(&key, &value)?);
            } else if let Some(role) = name.strip_prefix(ROLE_PREFIX) {
                auth.roles.insert(role.to_owned(), read_row(&key, &value)?);
            } else {
                return Err(BackendError::damaged(format!("the row {key:?} is neither user nor role")));
            }
        }
        if !is_planted(Planted::A01) {
            auth.merge_grants();
        }
        Ok(auth)
    }

    /// Whether authentication is on.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.head.enabled
    }

    /// Of users and roles.
    #[must_use]
    pub fn revision(&self) -> AuthRevision {
        self.head.revision
    }

    /// Answers a question.
    ///
    /// # Errors
    /// etcd's, where there is no such user or role.
    ///
    /// # Panics
    /// Where the request is a change.
    pub fn read(&self, request: &AuthRequest) -> Result<AuthAnswer, Error> {
        let Head { enabled, revision } = self.head;
        Ok(match request {
            AuthRequest::Status => AuthAnswer::Status { enabled, revision },
            AuthRequest::UserGet { name } => {
                AuthAnswer::Names(self.user(name)?.roles.iter().cloned().collect())
            }
            AuthRequest::UserList => AuthAnswer::Names(self.users.keys().cloned().collect()),
            AuthRequest::RoleGet { role } => AuthAnswer::Permissions(self.permissions(role)?),
            AuthRequest::RoleList => AuthAnswer::Names(self.roles.keys().cloned().collect()),
            AuthRequest::Password { name } => {
                if !enabled {
                    return Err(Error::AuthNotEnabled);
                }
                let user = self.users.get(name).ok_or(Error::AuthFailed)?;
                AuthAnswer::Password { secret: user.secret.clone(), revision }
            }
            change => panic!("{change:?} is not a question"),
        })
    }

    fn permissions(&self, role: &str) -> Result<Vec<Permission>, Error> {
        Ok(self.roles.get(role).ok_or(Error::RoleNotFound)?.list())
    }

    fn user(&self, name: &str) -> Result<&User, Error> {
        self.users.get(name).ok_or(Error::UserNotFound)
    }

    /// Carries a change out, in memory and in the backend. A refused one changes nothing.
    ///
    /// # Errors
    /// etcd's.
    ///
    /// # Panics
    /// Where the request is a question.
    pub(crate) fn change<B: Backend>(
        &mut self,
        request: &AuthRequest,
        backend: &mut B,
    ) -> Result<AuthAnswer, Error> {
        let before = self.head;
        let answer = self.change_in_memory(request, backend)?;
        if self.head != before {
            backend.put(Table::Meta, Bytes::from_static(HEAD_KEY), row(&self.head));
        }
        let is_lost = matches!(request, AuthRequest::RoleRevokePermission { .. }) && is_planted(Planted::A02);
        if self.head.revision != before.revision && !is_lost {
            self.merge_grants();
        }
        Ok(answer)
    }

    fn change_in_memory<B: Backend>(
        &mut self,
        request: &AuthRequest,
        backend: &mut B,
    ) -> Result<AuthAnswer, Error> {
        let enabled = self.head.enabled;
        match request {
            // Neither the revision nor an error says that it was on already.
            AuthRequest::Enable => {
                let root = self.users.get(ROOT).ok_or(Error::RootUserNotExist)?;
                if !enabled && !root.roles.contains(ROOT) {
                    return Err(Error::RootRoleNotExist);
                }
                self.head.enabled = true;
                return Ok(AuthAnswer::Done);
            }
            AuthRequest::Disable => {
                if !enabled {
                    return Ok(AuthAnswer::Done);
                }
                self.head.enabled = false;
            }
            AuthRequest::Admit { name, checked, prefix } => return self.admit(name, *checked, prefix),
            AuthRequest::UserAdd { name, password } => {
                if name.is_empty() {
                    return Err(Error::UserEmpty);
                }
                if self.users.contains_key(name) {
                    return Err(Error::UserExists);
                }
                self.put_user(name, User { secret: stored(password)?, roles: BTreeSet::new() }, backend);
            }
            AuthRequest::UserDelete { name } => {
                if enabled && name == ROOT {
                    return Err(Error::InvalidAuthManagement);
                }
                self.users.remove(name).ok_or(Error::UserNotFound)?;
                backend.delete(Table::Meta, user_key(name));
            }
            AuthRequest::UserChangePassword { name, password } => {
                let mut user = self.user(name)?.clone();
                // Who comes by certificate only goes on doing so.
                if user.secret != Secret::Nothing {
                    user.secret = stored(password)?;
                }
                self.put_user(name, user, backend);
            }
            AuthRequest::UserGrantRole { user: name, role } => {
                let mut user = self.user(name)?.clone();
                if role != ROOT && !self.roles.contains_key(role) {
                    return Err(Error::RoleNotFound);
                }
                if !user.roles.insert(role.clone()) {
                    return Ok(AuthAnswer::Done);
                }
                self.put_user(name, user, backend);
            }
            AuthRequest::UserRevokeRole { user: name, role } => {
                if enabled && name == ROOT && role == ROOT {
                    return Err(Error::InvalidAuthManagement);
                }
                let mut user = self.user(name)?.clone();
                if !user.roles.remove(role) {
                    return Err(Error::RoleNotGranted);
                }
                self.put_user(name, user, backend);
            }
            AuthRequest::RoleAdd { role } => {
                if role.is_empty() {
                    return Err(Error::RoleEmpty);
                }
                if self.roles.contains_key(role) {
                    return Err(Error::RoleExists);
                }
                self.put_role(role, Role::default(), backend);
            }
            AuthRequest::RoleDelete { role } => self.delete_role(role, backend)?,
            AuthRequest::RoleGrantPermission { role, permission } => {
                let Permission { access, range } = permission.as_ref().ok_or(Error::PermissionNotGiven)?;
                if !is_permission_range(range) {
                    return Err(Error::InvalidAuthManagement);
                }
                let mut changed = self.roles.get(role).ok_or(Error::RoleNotFound)?.clone();
                changed.permissions.insert((range.key.clone(), range.end.clone()), *access);
                self.put_role(role, changed, backend);
            }
            AuthRequest::RoleRevokePermission { role, range } => {
                let mut changed = self.roles.get(role).ok_or(Error::RoleNotFound)?.clone();
                let key = (range.key.clone(), range.end.clone());
                changed.permissions.remove(&key).ok_or(Error::PermissionNotGranted)?;
                self.put_role(role, changed, backend);
            }
            AuthRequest::Status
            | AuthRequest::UserGet { .. }
            | AuthRequest::UserList
            | AuthRequest::RoleGet { .. }
            | AuthRequest::RoleList
            | AuthRequest::Password { .. } => panic!("{request:?} changes nothing"),
            // A face looks at the password and proposes to admit.
            AuthRequest::Authenticate { .. } => return Err(Error::AuthFailed),
        }
        self.head.revision.0 += 1;
        Ok(AuthAnswer::Done)
    }

    fn admit(&self, name: &str, checked: AuthRevision, prefix: &str) -> Result<AuthAnswer, Error> {
        if !self.head.enabled {
            return Err(Error::AuthNotEnabled);
        }
        if !self.users.contains_key(name) {
            return Err(Error::AuthFailed);
        }
        // The password may have been changed since it was looked at.
        let revision = self.head.revision;
        if checked != revision {
            return Err(Error::AuthOldRevision);
        }
        Ok(AuthAnswer::Token { token: prefix.to_owned(), revision })
    }

    fn delete_role<B: Backend>(&mut self, role: &str, backend: &mut B) -> Result<(), Error> {
        if self.head.enabled && role == ROOT {
            return Err(Error::InvalidAuthManagement);
        }
        self.roles.remove(role).ok_or(Error::RoleNotFound)?;
        backend.delete(Table::Meta, role_key(role));
        for (name, user) in &mut self.users {
            if user.roles.remove(role) {
                backend.put(Table::Meta, user_key(name), row(user));
            }
        }
        Ok(())
    }

    fn put_user<B: Backend>(&mut self, name: &str, user: User, backend: &mut B) {
        backend.put(Table::Meta, user_key(name), row(&user));
        self.users.insert(name.to_owned(), user);
    }

    fn put_role<B: Backend>(&mut self, name: &str, role: Role, backend: &mut B) {
        backend.put(Table::Meta, role_key(name), row(&role));
        self.roles.insert(name.to_owned(), role);
    }

    fn merge_grants(&mut self) {
        let roles = &self.roles;
        let merged = self.users.iter().map(|(name, user)| {
            let mut grants = Grants::default();
            for role in user.roles.iter().filter_map(|role| roles.get(role)) {
                for ((key, end), access) in &role.permissions {
                    let range = KeyRange { key: key.clone(), end: end.clone() };
                    if access.reads() {
                        grants.read.add(&range);
                    }
                    if access.writes() {
                        grants.write.add(&range);
                    }
                }
            }
            (name.clone(), grants)
        });
        self.grants = merged.collect();
    }

    /// Panics where an invariant does not hold.
    pub(crate) fn check(&self) {
        let mut again = self.clone();
        again.merge_grants();
        assert_eq!(self.grants, again.grants, "permissions and what was merged of them");
        assert!(!self.head.enabled || self.users.contains_key(ROOT), "authentication is on without root");
    }
}

/// A password as it may be kept.
fn stored(secret: &Secret) -> Result<Secret, Error> {
    match secret {
        // The face that should have hashed it did not; it must not come to lie on disk.
        Secret::Plain(_) => Err(Error::InvalidAuthManagement),
        Secret::Hash(_) | Secret::Nothing => Ok(secret.clone()),
    }
}

/// Whether a permission can be given for it: some key, and an end behind it (or none, or all that follows).
fn is_permission_range(range: &KeyRange) -> bool {
    let KeyRange { key, end } = range;
    if key.is_empty() {
        return false;
    }
    end.is_empty() || end.as_ref() == b"\0" || key < end
}

/// A row of users and roles as a value; `None` for another's.
pub(crate) fn read(key: &[u8], value: &[u8]) -> Result<Option<Row>, BackendError> {
    let name = std::str::from_utf8(key).unwrap_or_default();
    Ok(if key == HEAD_KEY {
        let Head { enabled, revision } = read_row(key, value)?;
        Some(Row::Auth { enabled, revision })
    } else if let Some(name) = name.strip_prefix(USER_PREFIX) {
        let User { secret, roles } = read_row(key, value)?;
        Some(Row::User { name: name.to_owned(), secret, roles })
    } else if let Some(name) = name.strip_prefix(ROLE_PREFIX) {
        let role: Role = read_row(key, value)?;
        Some(Row::Role { name: name.to_owned(), permissions: role.list() })
    } else {
        None
    })
}

/// The row of such a value.
///
/// # Panics
/// Where it is none of users and roles.
pub(crate) fn write(of: &Row) -> (Bytes, Bytes) {
    match of {
        Row::Auth { enabled, revision } => {
            let head = Head { enabled: *enabled, revision: *revision };
            (Bytes::from_static(HEAD_KEY), row(&head))
        }
        Row::User { name, secret, roles } => {
            (user_key(name), row(&User { secret: secret.clone(), roles: roles.clone() }))
        }
        Row::Role { name, permissions } => {
            let allowed = |permission: &Permission| {
                let KeyRange { key, end } = permission.range.clone();
                ((key, end), permission.access)
            };
            (role_key(name), row(&Role { permissions: permissions.iter().map(allowed).collect() }))
        }
        other => unreachable!("{other:?} is no row of users and roles"),
    }
}

fn user_key(name: &str) -> Bytes {
    format!("{USER_PREFIX}{name}").into()
}

fn role_key(name: &str) -> Bytes {
    format!("{ROLE_PREFIX}{name}").into()
}

fn row<T: Serialize>(value: &T) -> Bytes {
    let written = postcard::to_extend(value, Vec::new());
    written.expect("users and roles are made of text and lists; writing them to memory cannot fail").into()
}

fn read_row<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, BackendError> {
    postcard::from_bytes(value).map_err(|error| {
        BackendError::damaged(format!("the row {:?}: {error}", String::from_utf8_lossy(key)))
    })
}

#[cfg(test)]
mod tests;
