//! Moves the bytes of one connection and keeps its clients busy.

use crate::asks::PATHS;
use crate::connection::{Connection, Event};
use anyhow::{Context, Result, ensure};
use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// A server that refuses at once would otherwise be asked in a hot loop.
const PAUSE: Duration = Duration::from_millis(10);
const READ_BYTES: usize = 256 << 10;

/// What the clients of one connection ask, and what they make of the answers.
pub(crate) trait Script {
    /// What a client asks next: which method, and the message. `None`: nothing any more.
    fn next(&mut self, client: usize) -> Option<(usize, &[u8])>;

    /// An answer came, or a refusal.
    fn answered(&mut self, client: usize, asked: Instant, now: Instant, ok: bool);
}

/// A socket and what is spoken on it.
#[derive(Debug)]
pub(crate) struct Line {
    socket: TcpStream,
    pub(crate) connection: Connection,
    buffer: Vec<u8>,
}

impl Line {
    /// Connects to `host:port` in plain text.
    pub(crate) async fn connect(address: &str) -> Result<Self> {
        let socket = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, connection: Connection::new(address, PATHS), buffer: vec![0; READ_BYTES] })
    }

    /// Writes what there is to write, without waiting.
    pub(crate) fn write(&mut self) -> Result<()> {
        let out = &mut self.connection.out;
        let mut written = 0;
        while written < out.len() {
            match self.socket.try_write(&out[written..]) {
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("writing to the server"),
            }
        }
        out.drain(..written);
        Ok(())
    }

    /// Waits until something came in or more can be written, and hands out what came.
    pub(crate) async fn turn(&mut self, each: impl FnMut(Event<'_>)) -> Result<()> {
        self.write()?;
        let blocked = !self.connection.out.is_empty();
        let interest = if blocked { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        let ready = self.socket.ready(interest).await.context("waiting for the server")?;
        if !ready.is_readable() {
            return Ok(());
        }
        match self.socket.try_read(&mut self.buffer) {
            Ok(0) => anyhow::bail!("the server has closed the connection"),
            Ok(length) => self.connection.receive(&self.buffer[..length], each),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error).context("reading from the server"),
        }
    }
}

/// Keeps `clients` clients busy, each with one request at a time, until all have nothing to ask any more.
/// `is_long`: each asks on one stream of its own, message by message.
pub(crate) async fn drive(
    address: &str,
    clients: usize,
    is_long: bool,
    script: &mut impl Script,
) -> Result<()> {
    let mut line = Line::connect(address).await?;
    let mut under_way: HashMap<u32, (usize, Instant)> = HashMap::new();
    let mut streams: Vec<Option<u32>> = vec![None; clients];
    let mut due: Vec<usize> = (0..clients).collect();
    let mut answers: Vec<(u32, bool)> = Vec::new();
    loop {
        let asked = Instant::now();
        for client in due.drain(..) {
            let Some((path, body)) = script.next(client) else { continue };
            let stream = if is_long {
                let stream = *streams[client].get_or_insert_with(|| line.connection.open(path));
                line.connection.message(stream, body);
                stream
            } else {
                line.connection.ask(path, body)
            };
            under_way.insert(stream, (client, asked));
        }
        if under_way.is_empty() {
            return Ok(());
        }
        line.turn(|event| match event {
            Event::Message { stream, .. } => answers.push((stream, true)),
            // An answer to one question; on a long stream nothing else may end it.
            Event::End { stream, ok } => answers.push((stream, ok && !is_long)),
        })
        .await?;
        let max = line.connection.streams_max();
        ensure!(
            clients <= max,
            "{address} allows {max} streams on a connection; hint: more than {} --connections",
            clients / max.max(1)
        );
        let now = Instant::now();
        let mut is_refused = false;
        for (stream, ok) in answers.drain(..) {
            let Some((client, asked)) = under_way.remove(&stream) else { continue };
            script.answered(client, asked, now, ok);
            if !ok {
                is_refused = true;
                streams[client] = None;
            }
            due.push(client);
        }
        if is_refused {
            tokio::time::sleep(PAUSE).await;
        }
    }
}
