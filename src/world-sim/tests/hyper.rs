//! hyper runs over the simulated world through the glue of the world seam.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use seatrial_world::hyper_glue::{Executor, Timer};
use seatrial_world::{Listener, World};
use seatrial_world_sim::{Event, NodeId, Options, Sim, SimWorld, run_seed};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let bytes = request.into_body().collect().await.expect("a body").to_bytes();
    Ok(Response::new(Full::new(bytes)))
}

async fn serve(world: SimWorld) {
    let mut listener = world.listen("0.0.0.0:80").await.expect("listen");
    while let Ok((stream, _)) = listener.accept().await {
        let serving = world.clone();
        world.spawn(async move {
            let _ = hyper::server::conn::http2::Builder::new(Executor::new(serving.clone()))
                .timer(Timer::new(serving))
                .serve_connection(TokioIo::new(stream), hyper::service::service_fn(answer))
                .await;
        });
    }
}

type Sender = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

/// An HTTP/2 client with pings every five seconds; sends when its connection has ended.
async fn client(world: &SimWorld) -> (Sender, tokio::sync::oneshot::Receiver<bool>) {
    let stream = world.connect("server:80").await.expect("connect");
    let (sender, connection) = hyper::client::conn::http2::Builder::new(Executor::new(world.clone()))
        .timer(Timer::new(world.clone()))
        .keep_alive_interval(5 * SECOND)
        .keep_alive_timeout(3 * SECOND)
        .keep_alive_while_idle(true)
        .handshake(TokioIo::new(stream))
        .await
        .expect("handshake");
    let (ended, end) = tokio::sync::oneshot::channel();
    world.spawn(async move {
        let _ = ended.send(connection.await.is_err());
    });
    (sender, end)
}

async fn post(sender: &mut Sender, body: Vec<u8>) -> Bytes {
    let request = Request::post("http://server/").body(Full::new(Bytes::from(body))).expect("a request");
    let response = sender.send_request(request).await.expect("a response");
    response.into_body().collect().await.expect("a body").to_bytes()
}

#[test]
fn http2_exchanges_bodies_and_an_idle_connection_is_quiet() {
    let packets = Arc::new(AtomicU64::new(0));
    let counting = packets.clone();
    let options = Options { packet_sample: 1, ..Options::default() };
    let outcome = run_seed(1, options, move |sim: Sim| async move {
        sim.observe(move |_, event: &Event| {
            counting.fetch_add(u64::from(matches!(event, Event::Packet { .. })), Ordering::Relaxed);
        });
        let _server: NodeId = sim.node("server").init(serve).build();
        sim.sleep(SECOND).await;
        let world = sim.world();
        let (mut sender, _end) = client(&world).await;
        for size in [0, 1, 3_000, 400_000] {
            let body: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
            assert!(post(&mut sender, body.clone()).await == body, "a body of {size} bytes was changed");
        }
        let before = packets.load(Ordering::Relaxed);
        sim.sleep(60 * SECOND).await;
        let idle = packets.load(Ordering::Relaxed) - before;
        assert!((20..60).contains(&idle), "{idle} packets in an idle minute with twelve pings");
    });
    outcome.result.expect("no failure");
}

#[test]
fn http2_notices_a_silent_peer_by_its_pings_on_the_worlds_clock() {
    for seed in 0..10 {
        let outcome = run_seed(seed, Options::default(), move |sim: Sim| async move {
            let server = sim.node("server").init(serve).build();
            sim.sleep(SECOND).await;
            let world = sim.world();
            let (mut sender, end) = client(&world).await;
            post(&mut sender, vec![1; 10]).await;
            sim.net().isolate(server);
            let cut = sim.now();
            assert!(end.await.expect("the connection ended"), "with an error");
            let took = sim.now() - cut;
            assert!(took > 3 * SECOND && took < 9 * SECOND, "{took:?}");
        });
        if let Err(failure) = outcome.result {
            panic!("seed {seed}: {failure}");
        }
    }
}
