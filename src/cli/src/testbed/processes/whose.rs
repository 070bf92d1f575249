//! Whose a connection is: the kernel knows the process behind each socket.
//!
//! So members need not say who they are: it works for every server, encrypted or not, and for connections on which nothing
//! was said yet.

use std::fs;
use std::io;
use std::net::SocketAddr;

/// Connections of this machine over IPv4.
const CONNECTIONS: &str = "/proc/net/tcp";

/// Whether the kernel can be asked.
///
/// # Errors
/// Where this is no Linux, or the folder of processes is not there.
pub(super) fn check() -> io::Result<()> {
    fs::read_to_string(CONNECTIONS).map(|_| ())
}

/// Which of these processes holds the end `own` of the connection to `other`; `None` where it is none of them, or gone
/// already.
pub(super) fn holder<T: Copy>(
    own: SocketAddr,
    other: SocketAddr,
    processes: &[(T, u32)],
) -> io::Result<Option<T>> {
    let table = fs::read_to_string(CONNECTIONS)?;
    let Some(inode) = inode(&table, own, other) else { return Ok(None) };
    let socket = format!("socket:[{inode}]");
    let holds = |pid: u32| {
        // A process that is gone has no files.
        let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == &*socket))
    };
    Ok(processes.iter().find(|(_, pid)| holds(*pid)).map(|(who, _)| *who))
}

/// The number of the socket with these two ends in the kernel's table.
fn inode(table: &str, own: SocketAddr, other: SocketAddr) -> Option<u64> {
    let (own, other) = (in_hex(own)?, in_hex(other)?);
    // `0: 0100007F:0CEA 0100007F:9C40 01 …`: a number, the two ends, a state, and seven columns on the inode.
    let mut rows = table.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row.get(1) == Some(&own.as_str()) && row.get(2) == Some(&other.as_str()))?;
    // A socket that nobody holds any more has the inode 0.
    row.get(9)?.parse().ok().filter(|inode| *inode != 0)
}

/// As the kernel writes addresses: the four bytes as one number of this machine, then the port.
fn in_hex(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else { return None };
    let number = u32::from_ne_bytes(address.ip().octets());
    Some(format!("{number:08X}:{:04X}", address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_process_behind_a_connection_is_found_and_no_other() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let dialler = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, from) = listener.accept().unwrap();
        let here = accepted.local_addr().unwrap();
        let me = std::process::id();
        assert_eq!(holder(from, here, &[("init", 1), ("me", me)]).unwrap(), Some("me"));
        assert_eq!(holder(from, here, &[("init", 1)]).unwrap(), None);
        drop(dialler);
        assert_eq!(holder(from, here, &[("me", me)]).unwrap(), None, "it was closed");
    }
}
