//! Members and endpoints by their SRV records.

use super::dns::{self, Reply, Service};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::Duration;

/// For one server to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Times each server is asked.
const ROUNDS: u32 = 2;

/// Largest answer over a stream.
const BYTES_MAX: usize = 1 << 16;

/// The servers that are asked: this one, or those of the machine.
fn servers(given: Option<&str>) -> Result<Vec<SocketAddr>, String> {
    if let Some(given) = given {
        let found = given.to_socket_addrs().map_err(|error| format!("--discovery-dns {given}: {error}"))?;
        return Ok(found.collect());
    }
    let file = "/etc/resolv.conf";
    let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let named = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let found: Vec<SocketAddr> = named
        .filter_map(|rest| rest.trim().parse::<std::net::IpAddr>().ok())
        .map(|address| SocketAddr::new(address, 53))
        .collect();
    if found.is_empty() {
        return Err(format!("{file} names no server\nhint: --discovery-dns HOST:PORT"));
    }
    Ok(found)
}

fn over_datagrams(server: SocketAddr, id: u16, question: &[u8]) -> std::io::Result<Reply> {
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    // Only what comes from there is taken.
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(question)?;
    let mut bytes = [0; 4096];
    for _ in 0..8 {
        let length = socket.recv(&mut bytes)?;
        if let Some(reply) = dns::reply(id, &bytes[..length]) {
            return Ok(reply);
        }
    }
    Err(std::io::Error::other("it answers what nobody asked"))
}

fn over_a_stream(server: SocketAddr, id: u16, question: &[u8]) -> std::io::Result<Reply> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = u16::try_from(question.len()).map_err(std::io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length)).min(BYTES_MAX)];
    stream.read_exact(&mut bytes)?;
    dns::reply(id, &bytes).ok_or_else(|| std::io::Error::other("its answer cannot be read"))
}

/// The records of one name; none where it does not exist. `chance` is any number.
fn records(name: &str, dns: Option<&str>, chance: u64) -> Result<Vec<Service>, String> {
    let id = (chance & 0xffff) as u16;
    let question = dns::question(id, name)?;
    let servers = servers(dns)?;
    let mut failures = Vec::new();
    for server in servers.iter().cycle().take(servers.len() * ROUNDS as usize) {
        let asked = match over_datagrams(*server, id, &question) {
            Ok(Reply::Truncated) => over_a_stream(*server, id, &question),
            other => other,
        };
        match asked {
            Ok(Reply::Found(found)) => return Ok(found),
            Ok(Reply::NoSuchName) => return Ok(Vec::new()),
            Ok(Reply::Truncated) => failures.push(format!("{server}: an answer that is cut short")),
            Err(error) => failures.push(format!("{server}: {error}")),
        }
    }
    Err(format!("the SRV records of {name} cannot be had: {}", failures.join("; ")))
}

fn both(
    service: &str,
    suffix: &str,
    domain: &str,
    dns: Option<&str>,
    chance: u64,
) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    for (secure, scheme) in [("-ssl", "https"), ("", "http")] {
        let name = format!("_{service}{secure}{suffix}._tcp.{domain}");
        for record in records(&name, dns, chance)? {
            found.push((scheme.to_owned(), format!("{}:{}", record.target, record.port)));
        }
    }
    if found.is_empty() {
        return Err(format!(
            "no SRV records of {domain}\nhint: `_{service}{suffix}._tcp.{domain}` (http) or `_{service}-ssl{suffix}._tcp.{domain}` (https) is asked for"
        ));
    }
    Ok(found)
}

/// Where a domain's members serve clients.
pub(crate) fn client_urls(domain: &str, dns: Option<&str>, chance: u64) -> Result<Vec<String>, String> {
    let found = both("etcd-client", "", domain, dns, chance)?;
    Ok(found.into_iter().map(|(scheme, address)| format!("{scheme}://{address}")).collect())
}

/// The peers' URLs of a domain's members; `name` tells several clusters apart.
pub(crate) fn peer_urls(
    domain: &str,
    name: &str,
    dns: Option<&str>,
    chance: u64,
) -> Result<Vec<String>, String> {
    let suffix = if name.is_empty() { String::new() } else { format!("-{name}") };
    let found = both("etcd-server", &suffix, domain, dns, chance)?;
    Ok(found.into_iter().map(|(scheme, address)| format!("{scheme}://{address}")).collect())
}

/// Which of the members' URLs is ours: as it is written, else by where it leads.
pub(crate) fn own<'a>(found: &'a [String], advertised: &[String]) -> Option<&'a String> {
    let written = |url: &&String| advertised.iter().any(|own| own.trim_end_matches('/') == url.as_str());
    if let Some(url) = found.iter().find(written) {
        return Some(url);
    }
    let address = |url: &String| -> Vec<SocketAddr> {
        let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        rest.trim_end_matches('/').to_socket_addrs().map(Iterator::collect).unwrap_or_default()
    };
    let ours: Vec<SocketAddr> = advertised.iter().flat_map(address).collect();
    found.iter().find(|url| address(url).iter().any(|place| ours.contains(place)))
}
