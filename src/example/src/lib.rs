//! A service of somebody else on our world: one register, kept twice.
//!
//! The primary answers clients and copies every write to its backup; when the primary dies, clients turn to the backup. It is
//! 120 lines of ordinary async code that asks nothing but a [`World`] for time, network, disk and tasks, and so runs on
//! real sockets and in the simulation alike. Two of the three ways to copy have a bug which tests on one machine do not
//! show; `tests/simulated.rs` finds both within a few seeds. docs/own-service.md tells the story.
//!
//! Knows nothing of our store, nor of what runs it: the seam alone.
//!
//! Read first: [`serve`], [`Copying`].

use seatrial_world::{Disk, DiskFile, DiskWork, Listener, OpenMode, World};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::Mutex;

/// When a write is copied to the backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copying {
    /// The client is answered at once, and the copy follows. What was acknowledged may die with the primary.
    InBackground,
    /// The client is answered once the backup has it. Others may have read it from the primary before that.
    BeforeAnswering,
    /// Nobody sees it, on the primary either, before the backup has it; one write after the other.
    BeforeApplying,
}

/// What a process of the service is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// `host:port`.
    pub listen: String,
    /// Where its backup listens; `None`: it is one.
    pub backup: Option<String>,
    /// When writes are copied.
    pub copying: Copying,
}

/// What the register holds; nil at first.
type Register = Arc<Mutex<Option<i64>>>;

/// Serves clients until the process ends.
///
/// # Errors
/// Where the address or the disk cannot be had.
pub async fn serve<W: World>(world: W, config: Config) -> io::Result<()> {
    let disk = world.disk("data")?;
    let file = Arc::new(disk.open("register", OpenMode::Create)?);
    // The file's name must outlive a power loss too.
    disk.sync_dir("")?;
    let register: Register = Arc::new(Mutex::new(load(file.as_ref())?));
    // One write after the other where that is promised.
    let turn = Arc::new(Mutex::new(()));
    let mut listener = world.listen(&config.listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let client = Client {
            world: world.clone(),
            config: config.clone(),
            register: register.clone(),
            turn: turn.clone(),
            file: file.clone(),
        };
        world.spawn(async move {
            // A client that hangs up is no error of ours.
            let _ = client.serve(stream).await;
        });
    }
}

struct Client<W: World, F> {
    world: W,
    config: Config,
    register: Register,
    turn: Arc<Mutex<()>>,
    file: Arc<F>,
}

impl<W: World, F: DiskFile> Client<W, F> {
    async fn serve(&self, stream: W::Stream) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while stream.read_line(&mut line).await? > 0 {
            let answer = self.answer(line.trim()).await?;
            stream.get_mut().write_all(format!("{answer}\n").as_bytes()).await?;
            line.clear();
        }
        Ok(())
    }

    async fn answer(&self, line: &str) -> io::Result<String> {
        let value = |text: &str| text.parse::<i64>().ok();
        match line.split_once(' ') {
            None if line == "read" => Ok(show(*self.register.lock().await)),
            Some(("copy", text)) if value(text).is_some() => self.apply(value(text)).await,
            Some(("write", text)) if value(text).is_some() => self.write(value(text)).await,
            _ => Ok(format!("error: {line:?} is neither read nor write NUMBER")),
        }
    }

    async fn write(&self, value: Option<i64>) -> io::Result<String> {
        let Some(backup) = self.config.backup.clone() else { return self.apply(value).await };
        let copy = format!("copy {}", show(value));
        match self.config.copying {
            Copying::InBackground => {
                let world = self.world.clone();
                self.world.spawn(async move {
                    let _ = ask(&world, &backup, &copy).await;
                });
                self.apply(value).await
            }
            Copying::BeforeAnswering => {
                let answer = self.apply(value).await?;
                ask(&self.world, &backup, &copy).await?;
                Ok(answer)
            }
            Copying::BeforeApplying => {
                let _turn = self.turn.lock().await;
                ask(&self.world, &backup, &copy).await?;
                self.apply(value).await
            }
        }
    }

    /// On the disk first, then where others see it.
    async fn apply(&self, value: Option<i64>) -> io::Result<String> {
        let mut register = self.register.lock().await;
        let (file, bytes) = (self.file.clone(), value.unwrap_or_default().to_be_bytes());
        let write = move || file.write_at(0, &bytes).and_then(|()| file.sync());
        self.world.work(DiskWork::Sync, write).await?;
        *register = value;
        Ok("ok".to_owned())
    }
}

fn load(file: &impl DiskFile) -> io::Result<Option<i64>> {
    let mut bytes = [0; 8];
    if file.len()? < bytes.len() as u64 {
        return Ok(None);
    }
    file.read_at(0, &mut bytes)?;
    Ok(Some(i64::from_be_bytes(bytes)))
}

fn show(value: Option<i64>) -> String {
    value.map_or_else(|| "nil".to_owned(), |value| value.to_string())
}

/// Asks a process of the service, and waits for its answer.
///
/// # Errors
/// Where it does not answer; whether it has done what it was asked to is not known then.
pub async fn ask<W: World>(world: &W, address: &str, line: &str) -> io::Result<String> {
    let mut stream = BufReader::new(world.connect(address).await?);
    stream.get_mut().write_all(format!("{line}\n").as_bytes()).await?;
    let mut answer = String::new();
    if stream.read_line(&mut answer).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer.trim().to_owned())
}
