//! v2's own users and roles (etcd: `v2auth`): who may do what below `/v2`. They have nothing to do with those of v3.

mod records;
mod store;

pub use records::{AuthError, List, Permissions, Role, RwPermission, User};
pub use store::{Credentials, Users};

/// The user and the role that may do everything.
pub const ROOT: &str = "root";

/// The role of whoever shows no name.
pub const GUEST: &str = "guest";
