//! `cluster-health`.

use super::flags::Given;
use super::{Fail, Session, code};
use seatrial_wire::{V2Client, V2ClientError, V2Failure, V2Member};
use seatrial_world::World;
use seatrial_world_real::RealWorld;
use std::time::Duration;

/// Between two looks with `--forever`.
const PAUSE: Duration = Duration::from_secs(10);

/// How one address of a member answered.
enum Found {
    Healthy,
    Unhealthy,
    /// With what Go's client says of it.
    Failed(String),
}

async fn look(client: &V2Client<RealWorld>, url: &str) -> Found {
    client.set_endpoints(&[url]);
    match client.health().await {
        Ok(true) => Found::Healthy,
        Ok(false) => Found::Unhealthy,
        // A member without a leader says so with this status.
        Err(V2ClientError::Unreachable { failures, .. })
            if failures.iter().all(|failure| matches!(failure, V2Failure::NoLeader { .. })) =>
        {
            Found::Unhealthy
        }
        Err(V2ClientError::Unreachable { failures, .. }) => {
            let why = failures.first().map(ToString::to_string).unwrap_or_default();
            Found::Failed(format!("Get \"{url}/health\": {why}"))
        }
        Err(error) => Found::Failed(format!("Get \"{url}/health\": {error}")),
    }
}

impl Session<'_> {
    pub(super) async fn cluster_health(&mut self, given: &Given) -> Result<(), Fail> {
        let client = self.unsynced()?;
        if let Err(error) = client.sync().await {
            return self.unlisted(&error);
        }
        loop {
            let members = match client.members().await {
                Ok(members) => members,
                Err(error) => return self.unlisted(&error),
            };
            let healthy = self.look_at_all(&members).await?;
            let word = match (healthy, members.len()) {
                (healthy, all) if healthy == all => "healthy",
                (healthy, all) if healthy > all / 2 => "degraded",
                _ => "unavailable",
            };
            self.say(&format!("cluster is {word}\n"))?;
            if !given.switch("forever") {
                return if word == "healthy" { Ok(()) } else { Err(Fail::silent(code::NOT_HEALTHY)) };
            }
            self.say(&format!("\nnext check after {} second...\n\n", PAUSE.as_secs()))?;
            tokio::select! {
                biased;
                _ = tokio::signal::ctrl_c() => return Ok(()),
                () = self.world.sleep(PAUSE) => {}
            }
        }
    }

    fn unlisted(&mut self, error: &V2ClientError) -> Result<(), Fail> {
        self.say("cluster may be unhealthy: failed to list members\n")?;
        Err(Fail::server(error))
    }

    /// How many of them are healthy.
    async fn look_at_all(&mut self, members: &[V2Member]) -> Result<usize, Fail> {
        let mut healthy = 0;
        for member in members {
            let id = &member.id;
            if member.client_urls.is_empty() {
                self.say(&format!("member {id} is unreachable: no available published client urls\n"))?;
                continue;
            }
            let asking = self.unsynced()?;
            let mut is_reached = false;
            for url in &member.client_urls {
                match look(&asking, url).await {
                    Found::Healthy => {
                        self.say(&format!("member {id} is healthy: got healthy result from {url}\n"))?;
                        healthy += 1;
                    }
                    Found::Unhealthy => {
                        self.say(&format!("member {id} is unhealthy: got unhealthy result from {url}\n"))?;
                    }
                    Found::Failed(why) => {
                        self.say(&format!("failed to check the health of member {id} on {url}: {why}\n"))?;
                        continue;
                    }
                }
                is_reached = true;
                break;
            }
            if !is_reached {
                let urls = member.client_urls.join(" ");
                self.say(&format!("member {id} is unreachable: [{urls}] are all unreachable\n"))?;
            }
        }
        Ok(healthy)
    }
}
