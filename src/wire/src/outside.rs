//! What passwords and tokens need of a world, for code that is not generic over it.

use seatrial_etcd::Outside;
use seatrial_etcd::auth::Job;
use seatrial_world::{DiskWork, World};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// A world.
pub(crate) struct Of<W>(pub(crate) W);

impl<W: World> Outside for Of<W> {
    fn wall(&self) -> Duration {
        self.0.wall()
    }

    fn rand(&self) -> u64 {
        self.0.rand()
    }

    fn work(&self, job: Job) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let world = self.0.clone();
        // Not disk work, but as slow and as far from any task's thread.
        Box::pin(async move { world.work(DiskWork::Read, job).await })
    }
}
