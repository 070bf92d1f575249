//! `member list`, `add`, `remove` and `update`.

use super::flags::Given;
use super::{Fail, Session};
use seatrial_wire::{V2ClientError, V2Member};

/// What the cluster says, and no more.
fn said(error: &V2ClientError) -> Fail {
    Fail::plain(error.to_string())
}

/// A peer's URL, in the form in which etcd takes it.
fn peer_url(url: &str) -> Result<String, Fail> {
    let known = ["http://", "https://", "unix://", "unixs://"];
    let Some(scheme) = known.iter().find(|scheme| url.starts_with(**scheme)) else {
        return Err(Fail::plain(format!("URL scheme must be http, https, unix, or unixs: {url}")));
    };
    let rest = url[scheme.len()..].trim_end_matches('/');
    if scheme.starts_with("http") {
        if !rest.contains(':') {
            return Err(Fail::plain(format!("URL address does not have the form \"host:port\": {url}")));
        }
        if rest.contains('/') {
            return Err(Fail::plain(format!("URL must not contain a path: {url}")));
        }
    }
    Ok(url.to_owned())
}

fn peer_urls(list: &str) -> Result<Vec<String>, Fail> {
    let mut urls = list.split(',').map(|url| peer_url(url.trim())).collect::<Result<Vec<_>, _>>()?;
    urls.sort();
    Ok(urls)
}

fn line(member: &V2Member, leader: &str) -> String {
    let peers = member.peer_urls.join(",");
    if member.name.is_empty() {
        return format!("{}[unstarted]: peerURLs={peers}\n", member.id);
    }
    format!(
        "{}: name={} peerURLs={peers} clientURLs={} isLeader={}\n",
        member.id,
        member.name,
        member.client_urls.join(","),
        member.id == leader
    )
}

impl Session<'_> {
    pub(super) async fn member_list(&mut self, given: &Given) -> Result<(), Fail> {
        if !given.rest.is_empty() {
            return Err(Fail::plain("No arguments accepted"));
        }
        let client = self.client().await?;
        let members = client.members().await.map_err(|error| said(&error))?;
        let leader =
            client.leader().await.map_err(|error| Fail::plain(format!("Failed to get leader:  {error}")))?;
        let text: String = members.iter().map(|member| line(member, &leader.id)).collect();
        self.say(&text)
    }

    pub(super) async fn member_add(&mut self, given: &Given) -> Result<(), Fail> {
        let [name, urls] = given.rest.as_slice() else {
            return Err(Fail::plain("Provide a name and a single member peerURL"));
        };
        let client = self.client().await?;
        let urls = [peer_url(urls)?];
        let added = client.member_add(&urls).await.map_err(|error| said(&error))?;
        self.say(&format!("Added member named {name} with ID {} to cluster\n", added.id))?;
        let members = client.members().await.map_err(|error| said(&error))?;
        let mut parts = Vec::new();
        for member in &members {
            let name = if member.id == added.id { name } else { &member.name };
            parts.extend(member.peer_urls.iter().map(|url| format!("{name}={url}")));
        }
        self.say(&format!(
            "\nETCD_NAME={name:?}\nETCD_INITIAL_CLUSTER={:?}\nETCD_INITIAL_CLUSTER_STATE=\"existing\"\n",
            parts.join(",")
        ))
    }

    pub(super) async fn member_remove(&mut self, given: &Given) -> Result<(), Fail> {
        let [id] = given.rest.as_slice() else { return Err(Fail::plain("Provide a single member ID")) };
        let client = self.client().await?;
        let members = client.members().await;
        let members = members.map_err(|error| {
            Fail::plain(format!("Error while verifying ID against known members:  {error}"))
        })?;
        // By its number or by its name, where that is unique.
        let named: Vec<&V2Member> =
            members.iter().filter(|member| member.name == *id && !id.is_empty()).collect();
        let found = match members.iter().find(|member| member.id == *id) {
            Some(found) => found,
            None => match named.as_slice() {
                [] => {
                    return Err(Fail::plain(format!(
                        "Couldn't find a member in the cluster with an ID of {id}."
                    )));
                }
                [found] => found,
                _ => {
                    return Err(Fail::plain(format!(
                        "Multiple members found with name {id}. Please use an ID instead."
                    )));
                }
            },
        };
        let removed = client.member_remove(&found.id).await;
        removed.map_err(|error| {
            Fail::plain(format!("Received an error trying to remove member {}: {error}", found.id))
        })?;
        self.say(&format!("Removed member {} from cluster\n", found.id))
    }

    pub(super) async fn member_update(&mut self, given: &Given) -> Result<(), Fail> {
        let [id, urls] = given.rest.as_slice() else {
            return Err(Fail::plain(
                "Provide an ID and a list of comma separated peerURL (0xabcd http://example.com,http://example1.com)",
            ));
        };
        let client = self.client().await?;
        let urls = peer_urls(urls)?;
        client.member_update(id, &urls).await.map_err(|error| said(&error))?;
        self.say(&format!("Updated member with ID {id} in cluster\n"))
    }
}
