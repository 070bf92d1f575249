//! lock and elect.

use super::args::{number, words};
use super::{Fail, Session, code, error_text, go};
use bytes::Bytes;
use clap::ArgMatches;
use seatrial_client::{Client, Election, LockError, Mutex, Place, Store, keep_alive};
use seatrial_types::request::{LeaseGrantRequest, RangeRequest, RangeResponse};
use seatrial_types::{Error, KeyRange, LeaseId};
use seatrial_wire::GrpcEndpoint;
use seatrial_world::World;
use seatrial_world_real::RealWorld;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

type Connected = Client<RealWorld, GrpcEndpoint<RealWorld>>;

/// Lifetime of a lease in seconds where nobody says another.
const TTL_SECONDS: i64 = 60;

fn failed(error: impl Into<LockError>) -> Fail {
    Fail::new(
        code::ERROR,
        match error.into() {
            LockError::Client(error) => error_text(&error.error),
            other => other.to_string(),
        },
    )
}

/// What a wait ends with that a signal has interrupted.
fn interrupted() -> Fail {
    Fail::new(code::ERROR, "context canceled")
}

/// The wishes to end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self, Fail> {
        let heard = |kind| {
            signal(kind)
                .map_err(|error| Fail::new(code::ERROR, format!("could not listen to signals: {error}")))
        };
        Ok(Self { interrupt: heard(SignalKind::interrupt())?, terminate: heard(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// A lease that is kept alive as long as [`Kept::lost`] is waited for.
struct Kept {
    world: RealWorld,
    client: Connected,
    lease: LeaseId,
    ttl: Duration,
}

impl Kept {
    async fn grant(world: &RealWorld, client: &Connected, ttl_seconds: i64) -> Result<Self, Fail> {
        let ttl_seconds = if ttl_seconds > 0 { ttl_seconds } else { TTL_SECONDS };
        let request = LeaseGrantRequest { id: LeaseId::NONE, ttl_seconds };
        let granted = client.lease_grant(request).await.map_err(failed)?;
        let ttl = Duration::from_secs(granted.ttl_seconds.unsigned_abs());
        Ok(Self { world: world.clone(), client: client.clone(), lease: granted.id, ttl })
    }

    /// Ready once the lease is gone, or nobody has confirmed it for its whole lifetime.
    async fn lost(&self) {
        let mut confirmed = self.world.now();
        loop {
            let world = &self.world;
            let ended = keep_alive(world, &self.client, self.lease, |answer| {
                if answer.ttl_seconds > 0 {
                    confirmed = world.now();
                }
            });
            if ended.await.error == Error::LeaseNotFound || world.now() >= confirmed + self.ttl {
                return;
            }
        }
    }
}

/// What a wait came to.
enum Waited<T> {
    Done(T),
    Interrupted,
    Lost,
}

/// Waits while the lease is kept alive and nobody wants us to end.
async fn waiting<T>(
    lost: impl Future<Output = ()>,
    signals: &mut Signals,
    wait: impl Future<Output = T>,
) -> Waited<T> {
    tokio::select! {
        biased;
        done = wait => Waited::Done(done),
        () = signals.next() => Waited::Interrupted,
        () = lost => Waited::Lost,
    }
}

impl Session<'_> {
    pub(super) async fn lock(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let words = words(matches);
        let ttl = number(matches, "ttl")?;
        let Some((name, command)) = words.split_first() else {
            return Err(Fail::args("lock takes a lock name argument and an optional command to execute"));
        };
        let client = self.client()?;
        let kept = Kept::grant(&self.world, &client, ttl).await?;
        let mut signals = Signals::new()?;
        let mutex = Mutex::new(client.clone(), name, kept.lease);
        let lost = kept.lost();
        let mut lost = std::pin::pin!(lost);
        let (mut place, ours) = mutex.join().await.map_err(failed)?;
        if !ours {
            let waited = waiting(lost.as_mut(), &mut signals, mutex.wait(&place)).await;
            let why = match waited {
                Waited::Done(Ok(header)) => {
                    place.header = header;
                    None
                }
                Waited::Done(Err(error)) => Some(failed(error)),
                Waited::Interrupted => Some(interrupted()),
                Waited::Lost => Some(failed(LockError::SessionExpired)),
            };
            if let Some(why) = why {
                // What it says is of less interest than why we leave.
                let _ = mutex.unlock(&place).await;
                return Err(why);
            }
        }
        if command.is_empty() {
            self.show_key(&client, &place).await?;
            if let Waited::Lost = waiting(lost, &mut signals, std::future::pending::<()>()).await {
                return Err(Fail::new(code::ERROR, "session expired"));
            }
            mutex.unlock(&place).await.map_err(failed)?;
            return Ok(());
        }
        let mut running = std::pin::pin!(run(command.to_vec(), place.clone()));
        // Neither a signal nor the end of the lease ends the command: it may ask the store, or ask us to be fenced.
        let ran = tokio::select! {
            biased;
            ran = running.as_mut() => ran,
            () = lost => running.await,
        };
        let unlocked = mutex.unlock(&place).await;
        ran?;
        unlocked.map(|_| ()).map_err(failed)
    }

    pub(super) async fn elect(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let words = words(matches);
        let listen = matches.get_flag("listen");
        match (words.as_slice(), listen) {
            ([name], true) => self.observe(name).await,
            ([_], false) => Err(Fail::args("no proposal argument but -l not set")),
            ([name, value], false) => self.campaign(name, value.clone().into()).await,
            ([_, _], true) => Err(Fail::args("proposal given but -l is set")),
            _ => Err(Fail::args("elect takes one election name argument and an optional proposal argument")),
        }
    }

    async fn observe(&mut self, name: &[u8]) -> Result<(), Fail> {
        let mut signals = Signals::new()?;
        let mut observer = Election::new(self.client()?, name).observe();
        loop {
            let news = tokio::select! {
                biased;
                news = observer.next() => news,
                () = signals.next() => return Ok(()),
            };
            let Ok((header, kv)) = news else { return Err(Fail::new(code::ERROR, "elect: observer lost")) };
            let answer = RangeResponse { header, kvs: vec![kv], ..RangeResponse::default() };
            self.out(&self.globals.printer.get(&answer)?)?;
        }
    }

    async fn campaign(&mut self, name: &[u8], value: Bytes) -> Result<(), Fail> {
        let client = self.client()?;
        let kept = Kept::grant(&self.world, &client, TTL_SECONDS).await?;
        let mut signals = Signals::new()?;
        let election = Election::new(client.clone(), name);
        let lost = kept.lost();
        let mut lost = std::pin::pin!(lost);
        let place = election.stand(kept.lease, value).await.map_err(failed)?;
        match waiting(lost.as_mut(), &mut signals, election.wait(&place)).await {
            Waited::Done(won) => won.map_err(failed)?,
            Waited::Interrupted => {
                let _ = election.resign(&place).await;
                return Err(interrupted());
            }
            Waited::Lost => return Err(Fail::new(code::ERROR, "elect: session expired")),
        }
        self.show_key(&client, &place).await?;
        if let Waited::Lost = waiting(lost, &mut signals, std::future::pending::<()>()).await {
            return Err(Fail::new(code::ERROR, "elect: session expired"));
        }
        election.resign(&place).await.map_err(failed)?;
        Ok(())
    }

    /// Prints the key that proves our place.
    async fn show_key(&mut self, client: &Connected, place: &Place) -> Result<(), Fail> {
        let request = RangeRequest { range: KeyRange::single(place.key.clone()), ..RangeRequest::default() };
        let answer = client.range(request).await.map_err(failed)?;
        if answer.kvs.is_empty() {
            return Err(Fail::new(code::ERROR, "lock lost on init"));
        }
        self.out(&self.globals.printer.get(&answer)?)
    }
}

/// Runs the command, which finds our place in its environment; its exit code becomes ours.
async fn run(command: Vec<Vec<u8>>, place: Place) -> Result<(), Fail> {
    let program = command.first().cloned().unwrap_or_default();
    let ran = tokio::task::spawn_blocking(move || {
        let mut words = command.iter().map(|word| OsStr::from_bytes(word));
        Command::new(words.next().unwrap_or_default())
            .args(words)
            .env("ETCD_LOCK_KEY", OsStr::from_bytes(&place.key))
            .env("ETCD_LOCK_REV", place.header.revision.to_string())
            .stdin(Stdio::null())
            .status()
    });
    let status = match ran.await {
        Ok(Ok(status)) => status,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            let text = format!("exec: {}: executable file not found in $PATH", go::quote(&program));
            return Err(Fail::new(code::ERROR, text));
        }
        Ok(Err(error)) => return Err(Fail::new(code::ERROR, error.to_string())),
        Err(error) => return Err(Fail::new(code::ERROR, error.to_string())),
    };
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(number), _) => Err(Fail::new(number as u8, format!("exit status {number}"))),
        (None, signal) => Err(Fail::new(255, format!("signal: {}", signal.unwrap_or_default()))),
    }
}
