//! The same service on real sockets and files.

#![allow(clippy::disallowed_methods, reason = "this test is about the machine itself")]

use seatrial_example::{Config, Copying, ask, serve};
use seatrial_world::World;
use seatrial_world_real::RealWorld;

#[test]
fn the_register_serves_on_real_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("127.0.0.1:{port}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // A process's disk lies below the folder it runs in.
    std::env::set_current_dir(folder.path()).unwrap();
    runtime.block_on(async {
        let world = RealWorld::new();
        let config = Config { listen: listen.clone(), backup: None, copying: Copying::BeforeApplying };
        let serving = world.clone();
        world.spawn(async move {
            let _ = serve(serving, config).await;
        });
        let asked = |line: &'static str| {
            let (world, listen) = (world.clone(), listen.clone());
            async move {
                for _ in 0..200 {
                    if let Ok(answer) = ask(&world, &listen, line).await {
                        return answer;
                    }
                    world.sleep(std::time::Duration::from_millis(20)).await;
                }
                panic!("nobody answers {line:?}");
            }
        };
        assert_eq!(asked("read").await, "nil");
        assert_eq!(asked("write 7").await, "ok");
        assert_eq!(asked("read").await, "7");
        assert!(asked("wirte 7").await.contains("is neither read nor write"));
    });
    assert_eq!(std::fs::read("data/register").unwrap(), 7_i64.to_be_bytes());
}
