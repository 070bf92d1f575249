//! Users and roles in the store: read, changed, and asked who may do what.

use super::records::{AuthError, Role, User, refuse};
use super::{GUEST, ROOT};
use crate::ask::Ask;
use crate::service::EtcdService;
use seatrial_types::v2::{
    SECURITY, V2Action, V2Answer, V2Change, V2Code, V2Error, V2Event, V2Life, V2Request,
};
use seatrial_types::{Error, auth::Secret};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// A name and a password, as HTTP's basic authentication carries them.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
}

/// v2's users and roles at one member. Cheap to clone.
#[derive(Clone)]
pub struct Users<A: Ask> {
    service: EtcdService<A>,
}

/// The member gave no answer, or not one of this kind.
fn failed(error: &Error) -> AuthError {
    AuthError { status: 500, text: error.to_string() }
}

fn path(kind: &str, name: &str) -> String {
    format!("{SECURITY}/{kind}/{name}")
}

/// The name becomes an element of a path, and must stay one.
fn check_name(name: &str) -> Result<(), AuthError> {
    if name.is_empty() || name.contains('/') || name == "." || name == ".." {
        return refuse(400, format!("{name:?} cannot be a name"));
    }
    Ok(())
}

impl<A: Ask> Users<A> {
    /// Those of this member.
    pub fn new(service: EtcdService<A>) -> Self {
        Self { service }
    }

    async fn ask(&self, request: V2Request) -> Result<Result<Arc<V2Event>, V2Error>, AuthError> {
        let answer = self.service.v2(request).await.map_err(|error| failed(&error))?;
        match answer.result {
            Ok(V2Answer::Event(event)) => Ok(Ok(event)),
            Ok(other) => unreachable!("asked for keys, got {other:?}"),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn read(&self, path: String) -> Result<Option<Arc<V2Event>>, AuthError> {
        match self.ask(V2Request::Read { path, recursive: false, quorum: false }).await? {
            Ok(event) => Ok(Some(event)),
            Err(error) if error.code == V2Code::KeyNotFound => Ok(None),
            Err(error) => refuse(500, error.to_string()),
        }
    }

    async fn read_json<T: DeserializeOwned>(&self, path: String) -> Result<Option<T>, AuthError> {
        let Some(event) = self.read(path.clone()).await? else { return Ok(None) };
        let text = event.node.value.as_deref().unwrap_or_default();
        match serde_json::from_str(text) {
            Ok(value) => Ok(Some(value)),
            Err(error) => refuse(500, format!("{path} cannot be read: {error}")),
        }
    }

    async fn change(&self, path: String, action: V2Action) -> Result<Result<(), V2Error>, AuthError> {
        let change = V2Change { path, action, wall_ns: 0 };
        Ok(self.ask(V2Request::Change(change)).await?.map(drop))
    }

    /// The directories in which all lies, and whether users are on.
    async fn ensure(&self) -> Result<(), AuthError> {
        if self.read(format!("{SECURITY}/enabled")).await?.is_some() {
            return Ok(());
        }
        let life = V2Life::default();
        let create = |dir: bool, value: &str| V2Action::Create { dir, value: value.to_owned(), life };
        for (path, action) in [
            (SECURITY.to_owned(), create(true, "")),
            (format!("{SECURITY}/users"), create(true, "")),
            (format!("{SECURITY}/roles"), create(true, "")),
            (format!("{SECURITY}/enabled"), create(false, "false")),
        ] {
            match self.change(path, action).await? {
                Err(error) if error.code != V2Code::KeyExists => return refuse(500, error.to_string()),
                _ => {}
            }
        }
        Ok(())
    }

    async fn create<T: Serialize>(&self, path: String, value: &T) -> Result<bool, AuthError> {
        self.ensure().await?;
        let value = super::super::json(value);
        let create = V2Action::Create { dir: false, value, life: V2Life::default() };
        match self.change(path, create).await? {
            Ok(()) => Ok(true),
            Err(error) if error.code == V2Code::KeyExists => Ok(false),
            Err(error) => refuse(500, error.to_string()),
        }
    }

    async fn update<T: Serialize>(&self, path: String, value: &T) -> Result<(), AuthError> {
        self.ensure().await?;
        let value = super::super::json(value);
        match self.change(path, V2Action::Update { value, life: V2Life::default() }).await? {
            Ok(()) => Ok(()),
            Err(error) => refuse(500, error.to_string()),
        }
    }

    async fn delete(&self, path: String) -> Result<bool, AuthError> {
        self.ensure().await?;
        match self.change(path, V2Action::Delete { dir: false, recursive: false }).await? {
            Ok(()) => Ok(true),
            Err(error) if error.code == V2Code::KeyNotFound => Ok(false),
            Err(error) => refuse(500, error.to_string()),
        }
    }

    async fn names(&self, kind: &str) -> Result<Vec<String>, AuthError> {
        let event = self.read(format!("{SECURITY}/{kind}")).await?;
        let nodes = event.as_ref().map_or(&[][..], |event| &event.node.nodes);
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(nodes.iter().map(|node| name(&node.path)).collect())
    }

    /// Whether users are on.
    ///
    /// # Errors
    /// Where the member does not answer.
    pub async fn is_enabled(&self) -> Result<bool, AuthError> {
        Ok(self.read_json(format!("{SECURITY}/enabled")).await?.unwrap_or(false))
    }

    /// Turns users on.
    ///
    /// # Errors
    /// Where they are on already, or there is no user `root`.
    pub async fn enable(&self) -> Result<(), AuthError> {
        if self.is_enabled().await? {
            return refuse(409, "already enabled");
        }
        if self.user(ROOT).await.is_err() {
            return refuse(409, "No root user available, please create one");
        }
        if self.role(GUEST).await.is_err() {
            self.create_role(&Role::guest()).await?;
        }
        self.set_enabled(true).await
    }

    /// Turns them off.
    ///
    /// # Errors
    /// Where they are off already.
    pub async fn disable(&self) -> Result<(), AuthError> {
        if !self.is_enabled().await? {
            return refuse(409, "already disabled");
        }
        self.set_enabled(false).await
    }

    async fn set_enabled(&self, on: bool) -> Result<(), AuthError> {
        self.update(format!("{SECURITY}/enabled"), &on).await
    }

    /// All users' names, in order.
    ///
    /// # Errors
    /// Where the member does not answer.
    pub async fn users(&self) -> Result<Vec<String>, AuthError> {
        self.names("users").await
    }

    /// A user, with the password's hash.
    ///
    /// # Errors
    /// Where there is none of this name.
    pub async fn user(&self, name: &str) -> Result<User, AuthError> {
        check_name(name)?;
        let user: Option<User> = self.read_json(path("users", name)).await?;
        match user {
            Some(user) => Ok(user.with_root()),
            None => refuse(404, format!("User {name} does not exist.")),
        }
    }

    async fn hashed(&self, password: &str) -> Result<String, AuthError> {
        let desk = self.service.desk().ok_or_else(|| failed(&Error::AuthNotEnabled))?;
        match desk.hashed(Secret::Plain(password.to_owned())).await {
            Ok(Secret::Hash(hash)) => Ok(hash),
            Ok(_) => refuse(500, "a password without a hash"),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Makes a user, whose password comes plain.
    ///
    /// # Errors
    /// Without a password, and where there is one of this name.
    pub async fn create_user(&self, user: &User) -> Result<User, AuthError> {
        check_name(&user.user)?;
        if user.password.is_empty() {
            return refuse(400, format!("Cannot create user {} with an empty password", user.user));
        }
        let password = self.hashed(&user.password).await?;
        let made = User { password, ..user.clone() }.with_root();
        match self.create(path("users", &made.user), &made).await? {
            true => Ok(made),
            false => refuse(409, format!("User {} already exists.", made.user)),
        }
    }

    /// Changes password and roles of a user.
    ///
    /// # Errors
    /// Where there is none, or nothing changes.
    pub async fn update_user(&self, change: &User) -> Result<User, AuthError> {
        let old = self.user(&change.user).await?;
        let mut change = change.clone();
        if !change.password.is_empty() {
            change.password = self.hashed(&change.password).await?;
        }
        let new = old.merged(&change)?;
        if new == old {
            return refuse(400, "User not updated. Use grant/revoke/password to update the user.");
        }
        self.update(path("users", &new.user), &new).await?;
        Ok(new)
    }

    /// # Errors
    /// Where there is none, and for `root` while users are on.
    pub async fn delete_user(&self, name: &str) -> Result<(), AuthError> {
        check_name(name)?;
        if name == ROOT && self.is_enabled().await? {
            return refuse(403, "Cannot delete root user while auth is enabled.");
        }
        match self.delete(path("users", name)).await? {
            true => Ok(()),
            false => refuse(404, format!("User {name} does not exist")),
        }
    }

    /// All roles' names, in order; `root` is always among them.
    ///
    /// # Errors
    /// Where the member does not answer.
    pub async fn roles(&self) -> Result<Vec<String>, AuthError> {
        let mut names = self.names("roles").await?;
        names.push(ROOT.to_owned());
        names.sort();
        Ok(names)
    }

    /// # Errors
    /// Where there is none of this name.
    pub async fn role(&self, name: &str) -> Result<Role, AuthError> {
        check_name(name)?;
        if name == ROOT {
            return Ok(Role::root());
        }
        match self.read_json(path("roles", name)).await? {
            Some(role) => Ok(role),
            None => refuse(404, format!("Role {name} does not exist.")),
        }
    }

    /// # Errors
    /// Where there is one of this name.
    pub async fn create_role(&self, role: &Role) -> Result<(), AuthError> {
        check_name(&role.role)?;
        guard_root(&role.role)?;
        match self.create(path("roles", &role.role), role).await? {
            true => Ok(()),
            false => refuse(409, format!("Role {} already exists.", role.role)),
        }
    }

    /// # Errors
    /// Where there is none, or nothing changes.
    pub async fn update_role(&self, change: &Role) -> Result<Role, AuthError> {
        guard_root(&change.role)?;
        let old = self.role(&change.role).await?;
        let new = old.merged(change)?;
        if new == old {
            return refuse(400, "Role not updated. Use grant/revoke to update the role.");
        }
        self.update(path("roles", &new.role), &new).await?;
        Ok(new)
    }

    /// # Errors
    /// Where there is none.
    pub async fn delete_role(&self, name: &str) -> Result<(), AuthError> {
        check_name(name)?;
        guard_root(name)?;
        match self.delete(path("roles", name)).await? {
            true => Ok(()),
            false => refuse(404, format!("Role {name} doesn't exist.")),
        }
    }

    /// The user these credentials prove, if they do.
    async fn proved(&self, credentials: &Credentials) -> Option<User> {
        let user = self.user(&credentials.name).await.ok()?;
        let desk = self.service.desk()?;
        desk.fits(&credentials.password, &user.password).await.then_some(user)
    }

    /// Whether the caller may do what only root may. Where it cannot be found out, nobody may.
    pub async fn is_root(&self, credentials: Option<&Credentials>) -> bool {
        match self.is_enabled().await {
            Ok(false) => return true,
            Ok(true) => {}
            Err(_) => return false,
        }
        let Some(credentials) = credentials else { return false };
        let user = self.proved(credentials).await;
        user.is_some_and(|user| user.roles.iter().any(|role| role == ROOT))
    }

    /// Whether the caller may read or write a key. Where it cannot be found out, nobody may.
    pub async fn may(
        &self,
        credentials: Option<&Credentials>,
        key: &str,
        write: bool,
        recursive: bool,
    ) -> bool {
        match self.is_enabled().await {
            Ok(false) => return true,
            Ok(true) => {}
            Err(_) => return false,
        }
        let roles = match credentials {
            None => vec![GUEST.to_owned()],
            Some(credentials) => match self.proved(credentials).await {
                Some(user) => user.roles.to_vec(),
                None => return false,
            },
        };
        for name in roles {
            if let Ok(role) = self.role(&name).await
                && role.allows(key, write, recursive)
            {
                return true;
            }
        }
        false
    }
}

fn guard_root(role: &str) -> Result<(), AuthError> {
    if role == ROOT {
        return refuse(403, format!("Cannot modify role {role}: is root role."));
    }
    Ok(())
}
