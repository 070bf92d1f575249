//! Users, roles, and whether they count.

use super::answer::status;
use super::client::{Question, V2Client};
use super::error::V2ClientError;
use super::members::{JSON, value};
use http::{Method, StatusCode};
use seatrial_etcd::v2::{escape, json};
use seatrial_world::World;
use serde::{Deserialize, Serialize};

/// What may be read and written: paths, which may end with `*`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct V2Paths {
    /// What may be read. `None` where nobody said.
    pub read: Option<Vec<String>>,
    /// What may be written.
    pub write: Option<Vec<String>>,
}

/// What a role may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct V2Permissions {
    /// In the key space, the only one there is.
    pub kv: V2Paths,
}

/// A role. Also the order to change one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct V2Role {
    /// Its name.
    pub role: String,
    /// What it may do.
    #[serde(default)]
    pub permissions: V2Permissions,
    /// What it may do from now on, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<V2Permissions>,
    /// What it may do no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoke: Option<V2Permissions>,
}

/// An order to make or change a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct V2UserOrder {
    /// Its name.
    pub user: String,
    /// The new password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The roles of a new user.
    pub roles: Option<Vec<String>>,
    /// Roles it has from now on, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<Vec<String>>,
    /// Roles it has no longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoke: Option<Vec<String>>,
}

/// A user with its roles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct V2User {
    /// Its name.
    pub user: String,
    /// Its roles.
    #[serde(default)]
    pub roles: Option<Vec<V2Role>>,
}

fn put(target: String, body: String) -> Question {
    Question { method: Method::PUT, target, body: Some((JSON, body)) }
}

const WRITTEN: [StatusCode; 2] = [StatusCode::OK, StatusCode::CREATED];

impl<W: World> V2Client<W> {
    /// The names of all users.
    ///
    /// # Errors
    /// [`V2ClientError::Status`] where the cluster refuses.
    pub async fn users(&self) -> Result<Vec<String>, V2ClientError> {
        #[derive(Deserialize)]
        struct Users {
            users: Option<Vec<V2User>>,
        }
        let answer = self.ask(&Question::get("/v2/auth/users")).await?;
        let users: Users = value(&answer, &[StatusCode::OK])?;
        Ok(users.users.unwrap_or_default().into_iter().map(|user| user.user).collect())
    }

    /// A user.
    ///
    /// # Errors
    /// As [`V2Client::users`].
    pub async fn user(&self, name: &str) -> Result<V2User, V2ClientError> {
        let question = Question::get(format!("/v2/auth/users/{}", escape(name)));
        value(&self.ask(&question).await?, &[StatusCode::OK])
    }

    /// Makes or changes a user.
    ///
    /// # Errors
    /// As [`V2Client::users`].
    pub async fn user_put(&self, order: &V2UserOrder) -> Result<(), V2ClientError> {
        let question = put(format!("/v2/auth/users/{}", escape(&order.user)), json(order));
        let answer = self.ask(&question).await?;
        if WRITTEN.contains(&answer.status) { Ok(()) } else { Err(status(&answer)) }
    }

    /// Removes a user.
    ///
    /// # Errors
    /// As [`V2Client::users`].
    pub async fn user_remove(&self, name: &str) -> Result<(), V2ClientError> {
        self.auth_delete(format!("/v2/auth/users/{}", escape(name))).await
    }

    /// The names of all roles.
    ///
    /// # Errors
    /// As [`V2Client::users`].
    pub async fn roles(&self) -> Result<Vec<String>, V2ClientError> {
        #[derive(Deserialize)]
        struct Roles {
            roles: Option<Vec<V2Role>>,
        }
        let answer = self.ask(&Question::get("/v2/auth/roles")).await?;
        let roles: Roles = value(&answer, &[StatusCode::OK])?;
        Ok(roles.roles.unwrap_or_default().into_iter().map(|role| role.role).collect())
    }

    /// A role.
    ///
    /// # Errors
    /// As [`V2Client::users`].
    pub async fn role(&self, name: &str) -> Result<V2Role, V2ClientError> {
        let question = Question::get(format!("/v2/auth/roles/{}", escape(name)));
        value(&self.ask(&question).await?, &[StatusCode::OK])
    }

    /// Makes or changes a role.
    ///
    /// # Errors
    /// As [`V2Client::users`].
    pub async fn role_put(&self, order: &V2Role) -> Result<(), V2ClientError> {
        let question = put(format!("/v2/auth/roles/{}", escape(&order.role)), json(order));
        let answer = self.ask(&question).await?;
        if WRITTEN.contains(&answer.status) { Ok(()) } else { Err(status(&answer)) }
    }

    /// Removes a role.
    ///
    /// # Errors
    /// As [`V2Client::users`].
    pub async fn role_remove(&self, name: &str) -> Result<(), V2ClientError> {
        self.auth_delete(format!("/v2/auth/roles/{}", escape(name))).await
    }

    /// From now on users and roles count.
    ///
    /// # Errors
    /// As [`V2Client::users`].
    pub async fn auth_enable(&self) -> Result<(), V2ClientError> {
        let question = Question { method: Method::PUT, target: "/v2/auth/enable".to_owned(), body: None };
        let answer = self.ask(&question).await?;
        if answer.status == StatusCode::OK { Ok(()) } else { Err(status(&answer)) }
    }

    /// From now on users and roles count no more.
    ///
    /// # Errors
    /// As [`V2Client::users`].
    pub async fn auth_disable(&self) -> Result<(), V2ClientError> {
        self.auth_delete("/v2/auth/enable".to_owned()).await
    }

    async fn auth_delete(&self, target: String) -> Result<(), V2ClientError> {
        let answer = self.ask(&Question { method: Method::DELETE, target, body: None }).await?;
        if answer.status == StatusCode::OK { Ok(()) } else { Err(status(&answer)) }
    }
}
