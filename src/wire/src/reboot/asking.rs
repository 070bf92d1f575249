//! A machine that asks for its reboot over FleetLock, as Zincati does.

use crate::client::{Begun, Endpoint, Line, Outgoing, V2Failure};
use bytes::{Bytes, BytesMut};
use http::Method;
use http_body_util::BodyExt;
use seatrial_reboot::fleetlock::{Ask, HEADER, Wish, judge};
use seatrial_reboot::{Group, Guards, Lock};
use seatrial_world::{Secure, World, timeout};
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Bytes of an answer that are read. It holds a word and a sentence.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// The number of every grant: the protocol numbers none.
const GRANT: u64 = 0;

/// How a FleetLock server is asked.
#[derive(Clone)]
pub struct FleetLockOptions {
    /// Limit for making a connection, handshake included.
    pub connect_timeout: Duration,
    /// Limit for a whole request. Our own server gives up after ten seconds, and a drain that others do takes longer.
    pub request_timeout: Duration,
    /// What lies around connections to https servers; it must offer HTTP/1.1 (see [`crate::Tls::client_http1`]).
    pub layer: Option<Arc<dyn Secure>>,
}

impl Default for FleetLockOptions {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self { connect_timeout: 2 * second, request_timeout: 12 * second, layer: None }
    }
}

/// A server, by its base.
struct Server<W> {
    line: Line<W>,
    /// What stands before the protocol's own paths.
    base: String,
}

/// The lock of a group behind servers of FleetLock, all of which know the same slots. One machine's view of it.
///
/// The protocol has no word for "do I still hold it?". Its servers say yes again to whoever holds, so that this asks anew
/// right before the reboot: either way the machine holds a slot.
pub struct FleetLock<W> {
    world: W,
    servers: Vec<Server<W>>,
    request_timeout: Duration,
    id: String,
    group: Group,
    /// Who is asked first the next time.
    first: AtomicUsize,
}

impl<W: World> FleetLock<W> {
    /// A machine of this id in this group. `bases` are URLs below which servers have `/v1/pre-reboot`; nobody is asked yet.
    ///
    /// # Errors
    /// A sentence about the first of them that can be none, or about there being none.
    pub fn new(
        world: W,
        bases: &[impl AsRef<str>],
        group: Group,
        id: String,
        options: &FleetLockOptions,
    ) -> Result<Self, String> {
        let server = |url: &str| {
            let (endpoint, base) =
                parse(url).map_err(|why| format!("{url:?} is no base of FleetLock: {why}"))?;
            let line = Line {
                world: world.clone(),
                endpoint,
                layer: options.layer.clone(),
                connect_timeout: options.connect_timeout,
                idle: Mutex::default(),
            };
            Ok::<_, String>(Server { line, base })
        };
        let servers = bases.iter().map(|url| server(url.as_ref())).collect::<Result<Vec<_>, _>>()?;
        if servers.is_empty() {
            return Err("no server of FleetLock is given".to_owned());
        }
        let request_timeout = options.request_timeout;
        Ok(Self { world, servers, request_timeout, id, group, first: AtomicUsize::new(0) })
    }

    /// Asks the first server that can be reached. Whoever has heard the request may have done it, so that no other is asked
    /// before the next time; then it is another, for one that is cut off from its store refuses for ever.
    async fn ask(&self, wish: Wish) -> Result<(), String> {
        let body = Bytes::from(Ask { wish, group: self.group.clone(), id: self.id.clone() }.body());
        let first = self.first.load(Ordering::Relaxed);
        let mut unreached = Vec::new();
        for at in (first..first + self.servers.len()).map(|at| at % self.servers.len()) {
            let Server { line, base } = &self.servers[at];
            let outgoing = Outgoing {
                method: Method::POST,
                target: format!("{base}{}", wish.path()),
                body: Some(("application/json", body.clone())),
                authorization: None,
                headers: &[(HEADER, "true")],
            };
            let url = &line.endpoint.url;
            let asked = timeout(&self.world, self.request_timeout, exchange(line, &outgoing)).await;
            let answered = match asked {
                Ok(Ok((status, said))) => judge(status, &said).map_err(|error| format!("{url}: {error}")),
                Ok(Err(failure)) if failure.is_certain() => {
                    unreached.push(format!("{url}: {failure}"));
                    continue;
                }
                Ok(Err(failure)) => Err(format!("{url}: {failure}")),
                Err(elapsed) => Err(format!("{url}: no answer within {:?}", elapsed.limit)),
            };
            self.first.store(if answered.is_ok() { at } else { at + 1 }, Ordering::Relaxed);
            return answered;
        }
        Err(unreached.join("; "))
    }
}

async fn exchange<W: World>(line: &Line<W>, outgoing: &Outgoing) -> Result<(u16, Bytes), V2Failure> {
    let Begun { response, sender } = line.send(outgoing).await?;
    let (head, mut body) = response.into_parts();
    let mut said = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| V2Failure::Lost(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        let room = ANSWER_BYTES_MAX - said.len();
        said.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            // The connection goes, and the rest with it.
            return Ok((head.status.as_u16(), said.freeze()));
        }
    }
    line.keep(sender);
    Ok((head.status.as_u16(), said.freeze()))
}

/// The server of an URL, and the path of its base.
fn parse(url: &str) -> Result<(Endpoint, String), String> {
    let endpoint = Endpoint::parse(url)?;
    let (_, rest) = endpoint.url.split_once("://").expect("it was read as an URL");
    let base = rest.find('/').map_or("", |at| &rest[at..]);
    if rest.contains(['?', '#', '@']) || base.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err("it is http://host:port/path, and nothing more".to_owned());
    }
    if seatrial_reboot::fleetlock::wish(base).is_some() {
        return Err("it ends before /v1/".to_owned());
    }
    let base = base.to_owned();
    Ok((endpoint, base))
}

impl<W: World> Lock for FleetLock<W> {
    async fn lock(&self, own: Guards) -> Result<u64, String> {
        // The server knows nothing of this machine's window.
        own.allow().map_err(|refusal| refusal.to_string())?;
        self.ask(Wish::PreReboot).await.map(|()| GRANT)
    }

    async fn release(&self, _: Option<u64>) -> Result<(), String> {
        self.ask(Wish::SteadyState).await
    }

    async fn confirm(&self, _: u64) -> Result<bool, String> {
        self.ask(Wish::PreReboot).await.map(|()| true)
    }

    async fn changed(&self) {
        // Nobody tells. The pauses of the agent are all there is.
        pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_an_url_with_whatever_path_before_the_protocols_own() {
        for (url, address, base) in [
            ("http://h:1", "h:1", ""),
            ("http://h:1/", "h:1", ""),
            ("https://h/locks/a/", "h:443", "/locks/a"),
            ("http://[::1]/x", "[::1]:80", "/x"),
        ] {
            let (endpoint, path) = parse(url).unwrap();
            assert_eq!((endpoint.address.as_str(), path.as_str()), (address, base), "{url}");
        }
        for (url, why) in [
            ("h:1", "no Host"),
            ("ftp://h", "unsupported protocol scheme"),
            ("http://h/v1/pre-reboot", "ends before /v1/"),
            ("http://h/v1/steady-state/", "ends before /v1/"),
            ("http://h/a?b=c", "nothing more"),
            ("http://me:word@h/", "nothing more"),
            ("http://h/a b", "nothing more"),
        ] {
            let told = parse(url).unwrap_err();
            assert!(told.contains(why), "{url}: {told}");
        }
    }
}
