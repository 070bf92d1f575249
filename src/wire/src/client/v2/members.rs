//! Who the cluster is.

use super::answer::status;
use super::client::{Answer, Question, V2Client};
use super::error::V2ClientError;
use http::{Method, StatusCode};
use seatrial_etcd::v2::json;
use seatrial_world::World;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct V2Member {
    /// Its number, in hexadecimal digits.
    pub id: String,
    /// Its name; empty until it has started once.
    #[serde(default)]
    pub name: String,
    /// Where its peers reach it.
    #[serde(rename = "peerURLs", default)]
    pub peer_urls: Vec<String>,
    /// Where it serves clients.
    #[serde(rename = "clientURLs", default)]
    pub client_urls: Vec<String>,
}

/// The versions of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct V2Version {
    /// Of the member that was asked.
    #[serde(rename = "etcdserver", default)]
    pub server: String,
    /// Of the cluster.
    #[serde(rename = "etcdcluster", default)]
    pub cluster: String,
}

#[derive(Serialize)]
struct Urls<'a> {
    #[serde(rename = "peerURLs")]
    peer_urls: &'a [String],
}

pub(super) const JSON: &str = "application/json";

/// An answer with this status, as a value.
pub(super) fn value<T: DeserializeOwned>(answer: &Answer, wanted: &[StatusCode]) -> Result<T, V2ClientError> {
    if !wanted.contains(&answer.status) {
        return Err(status(answer));
    }
    serde_json::from_slice(&answer.body).map_err(|error| V2ClientError::Odd { why: error.to_string() })
}

fn done(answer: &Answer) -> Result<(), V2ClientError> {
    if answer.status == StatusCode::NO_CONTENT { Ok(()) } else { Err(status(answer)) }
}

impl<W: World> V2Client<W> {
    /// All members.
    ///
    /// # Errors
    /// As any request.
    pub async fn members(&self) -> Result<Vec<V2Member>, V2ClientError> {
        #[derive(Deserialize)]
        struct Collection {
            members: Option<Vec<V2Member>>,
        }
        let answer = self.ask(&Question::get("/v2/members")).await?;
        let collection: Collection = value(&answer, &[StatusCode::OK])?;
        Ok(collection.members.unwrap_or_default())
    }

    /// The member that leads.
    ///
    /// # Errors
    /// As any request; an election that goes on is a failure of the member.
    pub async fn leader(&self) -> Result<V2Member, V2ClientError> {
        value(&self.ask(&Question::get("/v2/members/leader")).await?, &[StatusCode::OK])
    }

    /// Adds a member.
    ///
    /// # Errors
    /// [`V2ClientError::Status`] where the cluster refuses.
    pub async fn member_add(&self, peer_urls: &[String]) -> Result<V2Member, V2ClientError> {
        let question = Question {
            method: Method::POST,
            target: "/v2/members".to_owned(),
            body: Some((JSON, json(&Urls { peer_urls }))),
        };
        value(&self.ask(&question).await?, &[StatusCode::CREATED])
    }

    /// Removes a member.
    ///
    /// # Errors
    /// [`V2ClientError::Status`] with 404 where there is none, 410 where it is gone already.
    pub async fn member_remove(&self, id: &str) -> Result<(), V2ClientError> {
        let target = format!("/v2/members/{}", seatrial_etcd::v2::escape(id));
        done(&self.ask(&Question { method: Method::DELETE, target, body: None }).await?)
    }

    /// Changes where a member's peers reach it.
    ///
    /// # Errors
    /// [`V2ClientError::Status`] where the cluster refuses.
    pub async fn member_update(&self, id: &str, peer_urls: &[String]) -> Result<(), V2ClientError> {
        let question = Question {
            method: Method::PUT,
            target: format!("/v2/members/{}", seatrial_etcd::v2::escape(id)),
            body: Some((JSON, json(&Urls { peer_urls }))),
        };
        done(&self.ask(&question).await?)
    }

    /// Where clients are served.
    ///
    /// # Errors
    /// As any request.
    pub async fn machines(&self) -> Result<Vec<String>, V2ClientError> {
        let answer = self.ask(&Question::get("/v2/machines")).await?;
        if answer.status != StatusCode::OK {
            return Err(status(&answer));
        }
        let text = String::from_utf8_lossy(&answer.body);
        Ok(text.split(',').map(|url| url.trim().to_owned()).filter(|url| !url.is_empty()).collect())
    }

    /// The versions of the member that answers and of its cluster.
    ///
    /// # Errors
    /// As any request.
    pub async fn version(&self) -> Result<V2Version, V2ClientError> {
        value(&self.ask(&Question::get("/version")).await?, &[StatusCode::OK])
    }

    /// Whether the member that answers calls itself healthy.
    ///
    /// # Errors
    /// As any request.
    pub async fn health(&self) -> Result<bool, V2ClientError> {
        #[derive(Deserialize)]
        struct Health {
            health: serde_json::Value,
        }
        let answer = self.ask(&Question::get("/health")).await?;
        let health: Health = value(&answer, &[StatusCode::OK])?;
        Ok(health.health == serde_json::json!("true") || health.health == serde_json::json!(true))
    }
}
