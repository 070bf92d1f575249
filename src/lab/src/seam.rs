//! The lab as the world of a client: it has time and chance for it, and neither sockets nor files.

use crate::theatre::{LabTheatre, Sleep};
use futures::future::{AbortHandle, Abortable};
use seatrial_scenario::theatre::Theatre;
use seatrial_world::{Disk, DiskFile, DiskWork, Listener, OpenMode, Task, World};
use std::future::Future;
use std::io;
use std::time::Duration;

impl World for LabTheatre {
    type Stream = tokio::io::Empty;
    type Listener = Nobody;
    type Sleep = Sleep;
    type Disk = Nobody;
    type Task = Spawned;

    fn now(&self) -> Duration {
        Theatre::now(self)
    }

    fn wall(&self) -> Duration {
        Theatre::now(self)
    }

    fn sleep_until(&self, deadline: Duration) -> Sleep {
        self.sleep_till(deadline)
    }

    fn spawn<F>(&self, task: F) -> Spawned
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (handle, registration) = AbortHandle::new_pair();
        Theatre::spawn(self, 0, async move {
            let _ = Abortable::new(task, registration).await;
        });
        Spawned(handle)
    }

    fn rand(&self) -> u64 {
        self.shared().lab.below(u64::MAX)
    }

    async fn listen(&self, address: &str) -> io::Result<Nobody> {
        Err(nothing("hear at", address))
    }

    async fn connect(&self, address: &str) -> io::Result<tokio::io::Empty> {
        Err(nothing("connect to", address))
    }

    fn disk(&self, root: &str) -> io::Result<Nobody> {
        Err(nothing("open", root))
    }

    async fn work<T, F>(&self, _: DiskWork, work: F) -> T
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        work()
    }
}

fn nothing(what: &str, place: &str) -> io::Error {
    let text = format!("cannot {what} {place}: there are neither sockets nor files in the lab");
    io::Error::new(io::ErrorKind::Unsupported, text)
}

/// A task of a client.
pub struct Spawned(AbortHandle);

impl Task for Spawned {
    fn abort(&self) {
        self.0.abort();
    }
}

/// What there is none of.
#[derive(Clone, Copy, Debug)]
pub enum Nobody {}

impl Listener for Nobody {
    type Stream = tokio::io::Empty;

    async fn accept(&mut self) -> io::Result<(tokio::io::Empty, String)> {
        match *self {}
    }

    fn local_address(&self) -> String {
        match *self {}
    }
}

impl Disk for Nobody {
    type File = Nobody;

    fn open(&self, _: &str, _: OpenMode) -> io::Result<Nobody> {
        match *self {}
    }

    fn create_dir(&self, _: &str) -> io::Result<()> {
        match *self {}
    }

    fn list(&self, _: &str) -> io::Result<Vec<String>> {
        match *self {}
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        match *self {}
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        match *self {}
    }

    fn sync_dir(&self, _: &str) -> io::Result<()> {
        match *self {}
    }
}

impl DiskFile for Nobody {
    fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
        match *self {}
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        match *self {}
    }

    fn len(&self) -> io::Result<u64> {
        match *self {}
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        match *self {}
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        match *self {}
    }

    fn sync(&self) -> io::Result<()> {
        match *self {}
    }

    fn lock(&self) -> io::Result<()> {
        match *self {}
    }
}
