//! The driver's thread, and how to reach it from tasks and threads.

use crate::DriveError;
use crate::driver::{Driver, Options};
use seatrial_service::{ActiveState, UnitStatus, Warning};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
use tokio::sync::oneshot;

type Ask = Box<dyn FnOnce(&mut Driver) + Send>;

/// Reaches a [`Driver`]. Cheap to clone. When the last is dropped the driver ends, and units run on.
#[derive(Clone)]
pub struct Handle {
    asks: mpsc::Sender<Ask>,
}

/// Begins a driver on a thread of its own.
///
/// # Errors
/// As of [`Driver::open`].
pub fn start(options: Options) -> Result<Handle, DriveError> {
    let (asks, received) = mpsc::channel::<Ask>();
    let mut driver = Driver::open(options)?;
    let run = move || {
        let mut wait = Duration::ZERO;
        loop {
            match received.recv_timeout(wait) {
                Ok(ask) => ask(&mut driver),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // Whoever else has asked meanwhile.
            while let Ok(ask) = received.try_recv() {
                ask(&mut driver);
            }
            wait = driver.turn().unwrap_or_else(|error| {
                // The units run on; what cannot be written down now is tried again.
                tracing::error!(%error, "could not keep track of units");
                Duration::from_secs(1)
            });
        }
    };
    let thread = std::thread::Builder::new().name("units".to_owned()).spawn(run);
    thread.map_err(|error| DriveError::File { what: "cannot start", path: "a thread".to_owned(), error })?;
    Ok(Handle { asks })
}

impl Handle {
    /// Does something with the driver, on its thread.
    ///
    /// # Errors
    /// [`DriveError::Ended`].
    pub async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Driver) -> T + Send + 'static,
    ) -> Result<T, DriveError> {
        self.ask(work)?.await.map_err(|_| DriveError::Ended)
    }

    /// The same for who is not in a task.
    ///
    /// # Errors
    /// [`DriveError::Ended`].
    pub fn with_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Driver) -> T + Send + 'static,
    ) -> Result<T, DriveError> {
        self.ask(work)?.blocking_recv().map_err(|_| DriveError::Ended)
    }

    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Driver) -> T + Send + 'static,
    ) -> Result<oneshot::Receiver<T>, DriveError> {
        let (sender, receiver) = oneshot::channel();
        let ask = move |driver: &mut Driver| {
            // Whoever asked may not care any more.
            let _ = sender.send(work(driver));
        };
        self.asks.send(Box::new(ask)).map_err(|_| DriveError::Ended)?;
        Ok(receiver)
    }

    /// Loads a unit file and lets it count; what has no effect in it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn load(
        &self,
        name: &str,
        options: Vec<(String, String, String)>,
    ) -> Result<Vec<Warning>, DriveError> {
        let name = name.to_owned();
        self.with(move |driver| {
            let warnings = driver.load(&name, &options)?;
            driver.daemon_reload()?;
            Ok(warnings)
        })
        .await?
    }

    /// Forgets a unit file; a unit that runs stays until it is stopped.
    ///
    /// # Errors
    /// [`DriveError::Ended`], or what happened cannot be written down.
    pub async fn unload(&self, name: &str) -> Result<(), DriveError> {
        let name = name.to_owned();
        self.with(move |driver| driver.unload(&name)).await?
    }

    /// Begins to start a unit.
    ///
    /// # Errors
    /// Why that cannot be.
    pub async fn start(&self, name: &str) -> Result<(), DriveError> {
        let name = name.to_owned();
        self.with(move |driver| driver.start(&name)).await?
    }

    /// Begins to stop a unit.
    ///
    /// # Errors
    /// The unit is unknown.
    pub async fn stop(&self, name: &str) -> Result<(), DriveError> {
        let name = name.to_owned();
        self.with(move |driver| driver.stop(&name)).await?
    }

    /// One unit; `None` where it is unknown.
    ///
    /// # Errors
    /// [`DriveError::Ended`].
    pub async fn status(&self, name: &str) -> Result<Option<UnitStatus>, DriveError> {
        let name = name.to_owned();
        self.with(move |driver| driver.status(&name)).await
    }

    /// All units, by name.
    ///
    /// # Errors
    /// [`DriveError::Ended`].
    pub async fn list(&self) -> Result<Vec<UnitStatus>, DriveError> {
        self.with(|driver| driver.list()).await
    }

    /// Whether a unit is active now.
    ///
    /// # Errors
    /// [`DriveError::Ended`].
    pub async fn is_active(&self, name: &str) -> Result<bool, DriveError> {
        Ok(self.status(name).await?.is_some_and(|unit| unit.active == ActiveState::Active))
    }
}
