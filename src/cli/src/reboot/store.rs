//! How the commands reach the store, and who this machine is.

use seatrial_client::{ClientOptions, Store};
use seatrial_reboot::{Quorum, parse_go_duration};
use seatrial_types::{Request, Response};
use seatrial_wire::{ChannelOptions, Survey, Tls, TlsFiles, V2Client, V2ClientOptions, V2Keys, connect};
use seatrial_world::Secure;
use seatrial_world_real::RealWorld;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Locksmith's endpoints where none is given.
pub(super) const ENDPOINTS: [&str; 2] = ["http://127.0.0.1:2379", "http://127.0.0.1:4001"];

/// Where the store is, and who asks.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    pub(super) endpoints: Vec<String>,
    pub(super) tls: TlsFiles,
    pub(super) user: Option<(String, String)>,
    pub(super) debug: bool,
}

impl Place {
    fn is_secure(&self) -> bool {
        self.tls != TlsFiles::default() || self.endpoints.iter().any(|url| seatrial_wire::is_https(url))
    }

    /// The lock's keys there.
    pub(super) fn keys(&self, world: &RealWorld) -> Result<V2Keys<RealWorld>, String> {
        let layer = match self.is_secure() {
            true => {
                Some(Arc::new(Tls::client_http1(self.tls.clone(), crate::tls::reader())?) as Arc<dyn Secure>)
            }
            false => None,
        };
        let tell = |curl: &str| eprintln!("{curl}");
        let options = V2ClientOptions {
            layer,
            user: self.user.clone(),
            tell: if self.debug { Some(Arc::new(tell)) } else { None },
            ..V2ClientOptions::default()
        };
        V2Client::new(world.clone(), &self.endpoints, options).map(V2Keys)
    }

    /// The store's members now, for the guard of its quorum.
    pub(super) async fn quorum(&self, world: &RealWorld, keys: &V2Keys<RealWorld>) -> Result<Quorum, String> {
        let layer = match self.is_secure() {
            true => Some(Arc::new(Tls::client(self.tls.clone(), crate::tls::reader())?) as Arc<dyn Secure>),
            false => None,
        };
        let channel = ChannelOptions { layer: layer.clone(), ..ChannelOptions::default() };
        let client = connect(world, &self.endpoints, &channel, ClientOptions::default())?;
        let members = match client.call(Request::MemberList { linearizable: true }).await {
            Ok(Response::MemberList(list)) => list.members,
            Ok(other) => return Err(format!("the store answered {other:?} when asked for its members")),
            Err(error) => {
                return Err(format!(
                    "the store's members are not known: {}\nhint: --quorum-guard=false asks without them",
                    error.error
                ));
            }
        };
        let placed = BTreeMap::new();
        let survey = Survey { world, keys, layer, placed: &placed };
        survey.look(&members, &[]).await.map_err(|error| error.to_string())
    }
}

/// The first line of a file that is not empty.
#[allow(clippy::disallowed_methods, reason = "the machine is asked, not a member's data")]
pub(super) fn first_line(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

/// A time with a unit, as Go writes them.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    parse_go_duration(text).map_err(|why| format!("{why}; a time has a unit, such as 90s, 10m or 2h"))
}
