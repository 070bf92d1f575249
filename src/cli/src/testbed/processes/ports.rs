//! Ports for members, which must be free again whenever a member is started anew.

use std::collections::BTreeSet;
use std::io;
use std::net::TcpListener;

/// Below what the kernel hands out by itself: a port from there may be taken by somebody's connection while its member is
/// down, even by one to that very port.
const RANGE: std::ops::Range<u64> = 10_000..32_000;
const TRIES: u32 = 1000;

/// Draws ports that nobody listens at.
pub(super) struct Ports<D: Fn() -> u64> {
    draw: D,
    given: BTreeSet<u16>,
}

impl<D: Fn() -> u64> Ports<D> {
    pub(super) fn new(draw: D) -> Self {
        Self { draw, given: BTreeSet::new() }
    }

    /// One that was not given before.
    ///
    /// # Errors
    /// Where hardly any port is free.
    pub(super) fn next(&mut self) -> io::Result<u16> {
        for _ in 0..TRIES {
            let port = RANGE.start + (self.draw)() % (RANGE.end - RANGE.start);
            let port = u16::try_from(port).expect("within the range");
            if !self.given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
                self.given.insert(port);
                return Ok(port);
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "no free port between 10000 and 32000"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn no_port_is_given_twice_nor_one_where_somebody_listens() {
        let counter = Cell::new(u64::from(std::process::id()));
        let mut ports = Ports::new(|| {
            // Every number twice.
            counter.set(counter.get() + 1);
            counter.get() / 2
        });
        let first = ports.next().unwrap();
        let _taken = TcpListener::bind(("127.0.0.1", first)).unwrap();
        assert_ne!(ports.next().unwrap(), first);
        let mut fresh = Ports::new(|| u64::from(first) - RANGE.start);
        assert!(fresh.next().is_err(), "somebody listens there");
    }
}
