//! Who asks, and what can be asked about users and roles (etcd API: Auth).

use crate::ids::Revision;
use crate::kv::KeyRange;
use crate::request::Header;
use serde::{Deserialize, Serialize};

/// Counts the changes of users and roles, from 1. It is not the revision of keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AuthRevision(pub u64);

/// Who asks, as the face that took the request knows it. A request without one comes from nobody in particular,
/// which is enough as long as authentication is off.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Caller {
    /// The bearer of this token; the member that is asked knows whose it is.
    Token(String),
    /// The user to whom a certificate was made out.
    Certificate(String),
    /// This user, as of that revision of users and roles.
    User(Identity),
    /// Somebody with a token that proves nothing.
    Invalid,
    /// The server itself, which looks after its own health.
    Server,
}

/// A user, as of a revision of users and roles: a change since then makes it worthless.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Empty for nobody.
    pub user: String,
    /// The revision at which the user was known.
    pub revision: AuthRevision,
}

/// What a permission allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "etcd's names")]
pub enum Access {
    Read,
    Write,
    ReadWrite,
}

impl Access {
    /// Whether it allows to read.
    #[must_use]
    pub fn reads(self) -> bool {
        self != Self::Write
    }

    /// Whether it allows to write.
    #[must_use]
    pub fn writes(self) -> bool {
        self != Self::Read
    }
}

/// Access to a range of keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Permission {
    /// What is allowed.
    pub access: Access,
    /// With which keys.
    pub range: KeyRange,
}

/// How a user proves who they are.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Secret {
    /// The password itself. Never in the log: the member's face turns it into a hash.
    Plain(String),
    /// The bcrypt hash of a password, in its usual text form.
    Hash(String),
    /// No password: such a user comes with a certificate only.
    Nothing,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Requests are printed in logs and reports.
        f.write_str(match self {
            Self::Plain(_) => "Plain(..)",
            Self::Hash(_) => "Hash(..)",
            Self::Nothing => "Nothing",
        })
    }
}

/// Questions and changes around users and roles.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AuthRequest {
    /// Ask everybody who they are from now on.
    Enable,
    /// Let everybody do everything again.
    Disable,
    /// Whether authentication is on.
    Status,
    /// A client wants a token for its password.
    Authenticate {
        /// The user.
        name: String,
        /// The password.
        password: Secret,
    },
    /// Add a user.
    UserAdd {
        /// The user.
        name: String,
        /// The password, if any.
        password: Secret,
    },
    /// The roles of a user.
    UserGet {
        /// The user.
        name: String,
    },
    /// All users.
    UserList,
    /// Delete a user.
    UserDelete {
        /// The user.
        name: String,
    },
    /// Give a user another password.
    UserChangePassword {
        /// The user.
        name: String,
        /// The new one.
        password: Secret,
    },
    /// Give a user a role.
    UserGrantRole {
        /// The user.
        user: String,
        /// The role.
        role: String,
    },
    /// Take a role from a user.
    UserRevokeRole {
        /// The user.
        user: String,
        /// The role.
        role: String,
    },
    /// Add a role.
    RoleAdd {
        /// The role.
        role: String,
    },
    /// The permissions of a role.
    RoleGet {
        /// The role.
        role: String,
    },
    /// All roles.
    RoleList,
    /// Delete a role.
    RoleDelete {
        /// The role.
        role: String,
    },
    /// Give a role a permission.
    RoleGrantPermission {
        /// The role.
        role: String,
        /// `None` where the client named none.
        permission: Option<Permission>,
    },
    /// Take a permission from a role.
    RoleRevokePermission {
        /// The role.
        role: String,
        /// The range, exactly as it was given.
        range: KeyRange,
    },
    /// The hash of a user's password. Asked by a face of this member, never by a client.
    Password {
        /// The user.
        name: String,
    },
    /// Give a user a token, now that a face has seen the right password. Asked by a face, never by a client.
    Admit {
        /// The user.
        name: String,
        /// The revision at which the password was looked at; a change since then refuses the token.
        checked: AuthRevision,
        /// The token's first part, drawn by chance. Empty: the face makes the token itself.
        prefix: String,
    },
}

impl AuthRequest {
    /// Whether it only asks.
    #[must_use]
    pub fn is_read(&self) -> bool {
        matches!(
            self,
            Self::Status
                | Self::UserGet { .. }
                | Self::UserList
                | Self::RoleGet { .. }
                | Self::RoleList
                | Self::Password { .. }
        )
    }
}

/// The answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AuthResponse {
    /// Who answered.
    pub header: Header,
    /// What there is to say.
    pub body: AuthAnswer,
}

/// What there is to say.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AuthAnswer {
    /// It is done.
    Done,
    /// To [`AuthRequest::Status`].
    Status {
        /// Whether authentication is on.
        enabled: bool,
        /// Of users and roles.
        revision: AuthRevision,
    },
    /// To [`AuthRequest::Authenticate`] and [`AuthRequest::Admit`].
    Token {
        /// Empty where the face makes it.
        token: String,
        /// Of users and roles when it was given.
        revision: AuthRevision,
    },
    /// Names of users or roles, sorted.
    Names(Vec<String>),
    /// Of a role.
    Permissions(Vec<Permission>),
    /// To [`AuthRequest::Password`].
    Password {
        /// What was stored.
        secret: Secret,
        /// At which revision.
        revision: AuthRevision,
    },
}

impl AuthResponse {
    /// An answer at this revision of the keys; the rest of the header is the member's.
    #[must_use]
    pub fn at(revision: Revision, body: AuthAnswer) -> Self {
        Self { header: Header { revision, ..Header::default() }, body }
    }
}
