//! The world of a client's machine: the real one, but its connections to members go over links that may be bent.

use super::links::Links;
use super::pipe::{self, Draw};
use bytes::Bytes;
use seatrial_scenario::fault::Place;
use seatrial_types::MemberId;
use seatrial_world::{DiskWork, Layered, Listener, World};
use seatrial_world_real::{RealDisk, RealStream, RealTask, RealWorld};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Bytes that wait at a client's end of a connection.
const END_BYTES: usize = 64 << 10;

/// The roads from one machine of a client.
#[derive(Clone)]
pub(super) struct Road {
    pub(super) real: RealWorld,
    pub(super) machine: u32,
    /// Empty where no link is ever bent: connections are direct then.
    pub(super) links: Option<Links>,
    /// Members by the addresses at which they hear clients.
    pub(super) members: Arc<BTreeMap<String, MemberId>>,
    pub(super) draw: Draw,
}

impl World for Road {
    type Stream = Layered<RealStream>;
    type Listener = Nobody;
    type Sleep = <RealWorld as World>::Sleep;
    type Disk = RealDisk;
    type Task = RealTask;

    fn now(&self) -> Duration {
        self.real.now()
    }

    fn wall(&self) -> Duration {
        self.real.wall()
    }

    fn sleep_until(&self, deadline: Duration) -> Self::Sleep {
        self.real.sleep_until(deadline)
    }

    fn spawn<F>(&self, task: F) -> RealTask
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.real.spawn(task)
    }

    fn rand(&self) -> u64 {
        self.real.rand()
    }

    async fn listen(&self, _address: &str) -> io::Result<Nobody> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "nobody listens on a client's machine"))
    }

    async fn connect(&self, address: &str) -> io::Result<Layered<RealStream>> {
        let (Some(links), Some(member)) = (&self.links, self.members.get(address)) else {
            return self.real.connect(address).await.map(Layered::Plain);
        };
        let (from, to) = (Place::Client(self.machine), Place::Member(*member));
        let (there, back) = (links.link(from, to), links.link(to, from));
        // Whoever gives up before hands are shaken has sent nothing.
        pipe::shake_hands(&there, &back, &self.draw).await?;
        let mut member = self.real.connect(address).await?;
        let (end, mut inner) = tokio::io::duplex(END_BYTES);
        let draw = Arc::clone(&self.draw);
        self.real.spawn(async move {
            // A client hears of a reset as of any other end of its connection.
            let _ = pipe::carry(&mut inner, &mut member, &there, &back, &draw, Bytes::new()).await;
        });
        Ok(Layered::Secured(Box::new(end)))
    }

    fn disk(&self, root: &str) -> io::Result<RealDisk> {
        self.real.disk(root)
    }

    fn work<T, F>(&self, kind: DiskWork, work: F) -> impl Future<Output = T> + Send
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.real.work(kind, work)
    }
}

/// Accepts nothing: there is none.
pub(super) struct Nobody;

impl Listener for Nobody {
    type Stream = Layered<RealStream>;

    async fn accept(&mut self) -> io::Result<(Self::Stream, String)> {
        std::future::pending().await
    }

    fn local_address(&self) -> String {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seatrial_scenario::fault::LinkRule;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_clients_connection_hangs_across_a_cut_and_another_machines_does_not() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let links = Links::default();
        let road = |machine| Road {
            real: RealWorld::new(),
            machine,
            links: Some(links.clone()),
            members: Arc::new([(address.clone(), MemberId(1))].into()),
            draw: Arc::new(|| 0),
        };
        let rule = LinkRule { cut: true, ..LinkRule::default() };
        links.set(Place::Member(MemberId(1)), Place::Client(1), rule);
        let cut_off = road(1);
        let hanging = cut_off.connect(&address);
        assert!(seatrial_world::timeout(&cut_off, Duration::from_millis(200), hanging).await.is_err());
        let mut stream = road(2).connect(&address).await.unwrap();
        stream.write_all(b"hi").await.unwrap();
        let (mut accepted, _) = tokio::time::timeout(LONG, listener.accept()).await.unwrap().unwrap();
        let mut heard = [0; 2];
        accepted.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hi");
        drop(accepted);
        let end = tokio::time::timeout(LONG, stream.read(&mut [0])).await.unwrap();
        assert!(matches!(end, Ok(0) | Err(_)), "the end was heard: {end:?}");
        drop(listener);
        let refused = road(2).connect(&address).await.err().expect("nobody listens");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
