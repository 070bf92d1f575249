//! Where members reach each other while links may be bent: one door for each machine. The machine's own address is told to
//! nobody, so every connection of a peer comes through here.

use super::links::Links;
use super::pipe::{self, Draw};
use super::whose;
use bytes::BytesMut;
use rustix::net::sockopt::set_socket_linger;
use seatrial_scenario::fault::Place;
use seatrial_types::MemberId;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// Answers with the processes that run now.
pub(super) type Running = Arc<dyn Fn() -> Vec<(MemberId, u32)> + Send + Sync>;

/// The door of one machine.
pub(super) struct Door {
    pub(super) links: Links,
    pub(super) draw: Draw,
    pub(super) running: Running,
    /// The machine behind it.
    pub(super) to: MemberId,
    /// Where the member there listens.
    pub(super) address: String,
}

impl Door {
    /// Lets peers in until the runtime ends.
    pub(super) async fn serve(self, listener: TcpListener) {
        let door = Arc::new(self);
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let door = Arc::clone(&door);
                    tokio::spawn(async move { door.let_in(stream).await });
                }
                // Too many open files, for a moment.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn let_in(&self, mut dialler: TcpStream) {
        let Some(from) = self.who(&dialler).await else { return reset(dialler) };
        let _ = dialler.set_nodelay(true);
        let (from, to) = (Place::Member(from), Place::Member(self.to));
        let (there, back) = (self.links.link(from, to), self.links.link(to, from));
        let mut early = BytesMut::new();
        // The kernel has taken the connection; for the dialler it stands, but nothing comes back on it until hands are
        // shaken. If it gives up before, nothing of it was ever there.
        let member = tokio::select! {
            biased;
            () = pipe::listen_early(&mut dialler, &mut early) => return reset(dialler),
            shaken = pipe::shake_hands(&there, &back, &self.draw) => match shaken {
                Ok(()) => TcpStream::connect(&self.address).await,
                Err(error) => Err(error),
            },
        };
        let Ok(mut member) = member else { return reset(dialler) };
        let _ = member.set_nodelay(true);
        let carried = pipe::carry(&mut dialler, &mut member, &there, &back, &self.draw, early.freeze()).await;
        if carried.is_err() {
            reset(dialler);
            reset(member);
        }
    }

    /// Which member dialled.
    async fn who(&self, dialler: &TcpStream) -> Option<MemberId> {
        let (here, there) = (dialler.local_addr().ok()?, dialler.peer_addr().ok()?);
        let running = Arc::clone(&self.running);
        let looked = tokio::task::spawn_blocking(move || whose::holder(there, here, &running()));
        looked.await.ok()?.ok()?
    }
}

/// Closes a connection in a way that its other end notices at once.
fn reset(stream: TcpStream) {
    let _ = set_socket_linger(&stream, Some(Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use super::*;
    use seatrial_scenario::fault::LinkRule;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const LONG: Duration = Duration::from_secs(20);

    /// A door to a listener; the process of this test is the member 1.
    async fn door(links: &Links) -> (std::net::SocketAddr, TcpListener) {
        let member = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let door = Door {
            links: links.clone(),
            draw: Arc::new(|| 0),
            running: Arc::new(|| vec![(MemberId(1), std::process::id())]),
            to: MemberId(2),
            address: member.local_addr().unwrap().to_string(),
        };
        tokio::spawn(door.serve(listener));
        (at, member)
    }

    fn one_to_two(links: &Links, cut: bool) {
        let rule = LinkRule { cut, ..LinkRule::default() };
        links.set(Place::Member(MemberId(1)), Place::Member(MemberId(2)), rule);
    }

    async fn accept(member: &TcpListener) -> TcpStream {
        tokio::time::timeout(LONG, member.accept()).await.expect("in time").unwrap().0
    }

    #[tokio::test]
    async fn a_connection_across_a_cut_comes_after_the_heal_unless_its_dialler_gave_up() {
        let links = Links::default();
        let (at, member) = door(&links).await;
        one_to_two(&links, true);
        let mut gave_up = TcpStream::connect(at).await.unwrap();
        gave_up.write_all(b"never mind").await.unwrap();
        let mut waits = TcpStream::connect(at).await.unwrap();
        waits.write_all(b"hello").await.unwrap();
        let short = Duration::from_millis(300);
        assert!(tokio::time::timeout(short, member.accept()).await.is_err(), "it came across the cut");
        drop(gave_up);
        tokio::time::sleep(short).await;
        one_to_two(&links, false);
        let mut heard = [0; 5];
        accept(&member).await.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
        assert!(tokio::time::timeout(short, member.accept()).await.is_err(), "who gave up came as well");
    }

    #[tokio::test]
    async fn who_ends_at_one_end_is_heard_at_the_other() {
        let links = Links::default();
        let (at, member) = door(&links).await;
        let mut dialler = TcpStream::connect(at).await.unwrap();
        dialler.write_all(b"x").await.unwrap();
        let mut heard = accept(&member).await;
        heard.read_exact(&mut [0]).await.unwrap();
        reset(heard);
        let end = tokio::time::timeout(LONG, dialler.read(&mut [0])).await.expect("in time");
        assert!(end.is_err(), "a reset, and no orderly end: {end:?}");
        // Nobody listens behind the door any more.
        drop(member);
        let mut dialler = TcpStream::connect(at).await.unwrap();
        let end = tokio::time::timeout(LONG, dialler.read(&mut [0])).await.expect("in time");
        assert!(end.is_err(), "{end:?}");
    }
}
