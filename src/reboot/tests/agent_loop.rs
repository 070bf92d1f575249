//! The loop of an agent, on the real world's clock and files.

use seatrial_reboot::{
    Coordinator, Done, Freed, Group, Guards, Host, MachineLock, Memory, Phase, Settings, Strategy, Verb,
    run_agent,
};
use seatrial_world_real::RealWorld;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

struct Machine {
    rebooted: Arc<Notify>,
}

impl Host for Machine {
    async fn needs_reboot(&self) -> bool {
        true
    }

    async fn told(&self) {
        std::future::pending().await
    }

    async fn healthy(&self) -> Result<(), String> {
        Ok(())
    }

    async fn users(&self) -> u32 {
        0
    }

    async fn warn(&self, _: Duration) {}

    async fn drain(&self) -> Result<(), String> {
        Ok(())
    }

    async fn undrain(&self) -> Result<(), String> {
        Ok(())
    }

    async fn reboot(&self) -> Result<(), String> {
        self.rebooted.notify_one();
        Ok(())
    }
}

#[tokio::test(flavor = "current_thread")]
async fn an_agent_reboots_once_the_slot_is_free_and_says_so_in_its_file() {
    let (world, memory, folder) = (RealWorld::new(), Memory::default(), tempfile::tempdir().unwrap());
    let coordinator = Coordinator::new(world.clone(), memory, Group::default());
    let other =
        Verb::Lock { id: "other".into(), boot: None, phase: Phase::Rebooting, guards: Guards::default() };
    assert!(matches!(coordinator.run(other).await, Ok(Done::Granted { .. })));
    let rebooted = Arc::new(Notify::new());
    let lock = MachineLock {
        coordinator: coordinator.clone(),
        id: "m1".into(),
        boot: Some("b1".into()),
        guards: Arc::new(Guards::default),
    };
    let settings = Settings { strategy: Strategy::EtcdLock, ..Settings::default() };
    let host = Machine { rebooted: rebooted.clone() };
    let agent = run_agent(world, lock, host, settings, "seatrial", folder.path().to_str().unwrap());
    let watch = async {
        // Its place in the queue is seen; then the slot becomes free, which wakes it well before its pause of 10 s ends.
        while coordinator.look().await.unwrap().ledger.queue.is_empty() {
            tokio::task::yield_now().await;
        }
        coordinator
            .run(Verb::Unlock { id: "other".into(), generation: None, by: Freed::Holder })
            .await
            .unwrap();
        rebooted.notified().await;
    };
    tokio::select! {
        biased;
        () = watch => {}
        ended = agent => panic!("the agent ended with {ended:?}"),
    }
    let view = coordinator.look().await.unwrap();
    assert_eq!(view.semaphore.holders(), ["m1"]);
    assert_eq!(view.ledger.holders["m1"].phase, Phase::Rebooting);
    #[allow(clippy::disallowed_methods, reason = "a test that looks at a file")]
    let text = std::fs::read_to_string(folder.path().join("coordinator.conf")).unwrap();
    assert_eq!(text, "NAME=seatrial\nSTRATEGY=etcd-lock\nSTATE=rebooting\n");
}
