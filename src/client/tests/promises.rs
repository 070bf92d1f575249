//! What a client promises, against endpoints that misbehave on cue.
#![allow(clippy::disallowed_methods, reason = "a composition root of its own")]

use seatrial_client::{
    Client, ClientError, ClientOptions, Endpoint, Store, WatchChannel, Watching, keep_alive,
};
use seatrial_types::request::{
    Header, LeaseKeepAliveResponse, PutRequest, PutResponse, RangeRequest, RangeResponse,
};
use seatrial_types::watch::{WatchCreate, WatchId, WatchRequest, WatchResponse};
use seatrial_types::{
    Code, Error, Event, EventKind, KeyRange, KeyValue, LeaseId, Request, Response, Revision,
};
use seatrial_world_real::RealWorld;
use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What an endpoint does with the next call.
#[derive(Clone)]
enum Act {
    Answer,
    Fail(ClientError),
    /// Gives no answer; the call runs into its limit after it was sent.
    Silence,
}

/// What a watch stream brings, until it breaks.
type Stream = Vec<WatchResponse>;

#[derive(Clone, Default)]
struct Scripted {
    acts: Arc<Mutex<VecDeque<Act>>>,
    /// What is done when the script is at its end.
    rest: Option<Act>,
    calls: Arc<Mutex<Vec<Request>>>,
    streams: Arc<Mutex<VecDeque<Stream>>>,
    created: Arc<Mutex<Vec<WatchCreate>>>,
    name: String,
}

impl Scripted {
    fn new(name: &str, acts: Vec<Act>, rest: Act) -> Self {
        let acts = Arc::new(Mutex::new(acts.into()));
        Self { acts, rest: Some(rest), name: name.to_owned(), ..Self::default() }
    }

    fn calls(&self) -> usize {
        self.calls.lock().unwrap().len()
    }
}

impl Endpoint for Scripted {
    type Watch = ScriptedWatch;

    fn address(&self) -> &str {
        &self.name
    }

    async fn call(&self, request: Request, timeout: Duration) -> Result<Response, ClientError> {
        self.calls.lock().unwrap().push(request.clone());
        let act = self.acts.lock().unwrap().pop_front().or(self.rest.clone()).unwrap();
        match act {
            Act::Answer => Ok(match request {
                Request::Put(_) => Response::Put(PutResponse::default()),
                Request::LeaseKeepAlive(id) => Response::LeaseKeepAlive(LeaseKeepAliveResponse {
                    id,
                    ttl_seconds: 1,
                    ..LeaseKeepAliveResponse::default()
                }),
                _ => Response::Range(RangeResponse::default()),
            }),
            Act::Fail(error) => Err(error),
            Act::Silence => {
                tokio::time::sleep(timeout).await;
                Err(ClientError::deadline(seatrial_client::has_effect(&request)))
            }
        }
    }

    fn watch(&self) -> ScriptedWatch {
        let stream = self.streams.lock().unwrap().pop_front().unwrap_or_default();
        ScriptedWatch { stream: stream.into(), created: self.created.clone() }
    }
}

struct ScriptedWatch {
    stream: VecDeque<WatchResponse>,
    created: Arc<Mutex<Vec<WatchCreate>>>,
}

impl WatchChannel for ScriptedWatch {
    fn send(&mut self, request: WatchRequest) {
        if let WatchRequest::Create(create) = request {
            self.created.lock().unwrap().push(create);
        }
    }

    async fn next(&mut self) -> Result<WatchResponse, ClientError> {
        self.stream.pop_front().ok_or_else(|| ClientError::unreachable("stream broke"))
    }
}

fn refused() -> Act {
    Act::Fail(ClientError::unreachable("connection refused"))
}

fn lost() -> Act {
    let error = Error::Other(Code::Unavailable, "connection lost".into());
    Act::Fail(ClientError { error, ambiguous: true })
}

fn put() -> Request {
    Request::Put(PutRequest { key: "k".into(), value: "v".into(), ..PutRequest::default() })
}

fn get() -> Request {
    Request::Range(RangeRequest { range: KeyRange::single("k"), ..RangeRequest::default() })
}

fn run<F: Future>(test: impl FnOnce(RealWorld) -> F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = RealWorld::on(runtime.handle().clone());
    runtime.block_on(test(world))
}

fn options() -> ClientOptions {
    ClientOptions {
        request_timeout: Duration::from_millis(400),
        read_attempt_timeout: Duration::from_millis(100),
        backoff_min: Duration::from_millis(5),
        backoff_max: Duration::from_millis(20),
    }
}

#[test]
fn a_read_goes_on_elsewhere_whatever_happened() {
    for act in [refused(), Act::Silence, Act::Fail(ClientError::certain(Error::NoLeader))] {
        let bad = Scripted::new("bad", vec![], act);
        let good = Scripted::new("good", vec![], Act::Answer);
        run(async |world| {
            let client = Client::new(world, vec![bad.clone(), good.clone()], options());
            assert!(client.call(get()).await.is_ok());
            // From now on the good one is asked first.
            let asked = bad.calls();
            assert!(client.call(get()).await.is_ok());
            assert_eq!(bad.calls(), asked);
        });
    }
}

#[test]
fn a_write_that_was_not_sent_goes_on_elsewhere() {
    let bad = Scripted::new("bad", vec![], refused());
    let good = Scripted::new("good", vec![], Act::Answer);
    run(async |world| {
        let client = Client::new(world, vec![bad, good], options());
        assert!(client.call(put()).await.is_ok());
    });
}

#[test]
fn a_write_that_may_have_happened_is_never_repeated() {
    for error in [
        ClientError { error: Error::Other(Code::Unavailable, "connection lost".into()), ambiguous: true },
        ClientError::answered(Error::Timeout, &put()),
        ClientError::answered(Error::LeaderChanged, &put()),
        ClientError::answered(Error::Other(Code::DeadlineExceeded, "too late".into()), &put()),
    ] {
        let endpoints: Vec<_> =
            (0..3).map(|at| Scripted::new(&format!("e{at}"), vec![], Act::Fail(error.clone()))).collect();
        run(async |world| {
            let client = Client::new(world, endpoints.clone(), options());
            let got = client.call(put()).await.unwrap_err();
            assert!(got.ambiguous, "{got:?}");
            let calls: usize = endpoints.iter().map(Scripted::calls).sum();
            assert_eq!(calls, 1, "after {error:?}");
        });
    }
}

#[test]
fn an_unknown_outcome_is_not_forgotten_in_later_attempts() {
    // First certainly not sent, then lost: the second decides.
    let endpoint = Scripted::new("e", vec![refused(), lost()], Act::Answer);
    run(async |world| {
        let client = Client::new(world, vec![endpoint.clone()], options());
        let got = client.call(put()).await.unwrap_err();
        assert!(got.ambiguous);
        assert_eq!(endpoint.calls(), 2);
    });
}

#[test]
fn with_nobody_at_home_a_write_has_certainly_not_happened() {
    let endpoints = vec![Scripted::new("a", vec![], refused()), Scripted::new("b", vec![], refused())];
    run(async |world| {
        let start = std::time::Instant::now();
        let client = Client::new(world, endpoints.clone(), options());
        let got = client.call(put()).await.unwrap_err();
        assert!(!got.ambiguous);
        assert_eq!(got.error.code(), Code::Unavailable);
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(390) && took < Duration::from_millis(900), "{took:?}");
        // Both were tried, again and again, with pauses.
        assert!(endpoints.iter().all(|e| e.calls() > 2 && e.calls() < 100), "{}", endpoints[0].calls());
    });
}

#[test]
fn an_answer_that_refuses_is_final() {
    let endpoint = Scripted::new("e", vec![], Act::Fail(ClientError::certain(Error::Compacted)));
    run(async |world| {
        let client = Client::new(world, vec![endpoint.clone()], options());
        assert_eq!(client.call(get()).await.unwrap_err(), ClientError::certain(Error::Compacted));
        assert_eq!(endpoint.calls(), 1);
    });
}

fn event(revision: i64) -> Event {
    Event {
        kind: EventKind::Put,
        kv: KeyValue { key: "k".into(), mod_revision: Revision(revision), ..KeyValue::default() },
        prev_kv: None,
    }
}

fn message(at: i64, revisions: &[i64]) -> WatchResponse {
    WatchResponse {
        header: Header { revision: Revision(at), ..Header::default() },
        watch_id: WatchId(0),
        created: false,
        canceled: false,
        cancel_reason: String::new(),
        compact_revision: Revision(0),
        fragment: false,
        events: revisions.iter().map(|revision| event(*revision)).collect(),
    }
}

fn created(at: i64) -> WatchResponse {
    WatchResponse { created: true, ..message(at, &[]) }
}

fn watch(streams: Vec<Stream>, start: i64) -> (Scripted, Vec<WatchResponse>) {
    let endpoint = Scripted::new("e", vec![], Act::Answer);
    *endpoint.streams.lock().unwrap() = streams.into();
    let got = run(async |world| {
        let client = Client::new(world, vec![endpoint.clone()], options());
        let create = WatchCreate {
            range: KeyRange::single("k"),
            start_revision: Revision(start),
            ..WatchCreate::default()
        };
        let mut watcher = client.watch(create);
        let mut got = Vec::new();
        while let Ok(Some(response)) = tokio::time::timeout(Duration::from_millis(150), watcher.next()).await
        {
            got.push(response.unwrap());
        }
        got
    });
    (endpoint, got)
}

fn revisions(got: &[WatchResponse]) -> Vec<i64> {
    got.iter().flat_map(|response| &response.events).map(|event| event.kv.mod_revision.0).collect()
}

#[test]
fn a_watch_goes_on_right_after_what_it_has_handed_out() {
    let first = vec![created(9), message(9, &[3, 4]), message(9, &[7])];
    let second = vec![created(9), message(9, &[8, 9])];
    let (endpoint, got) = watch(vec![first, second], 2);
    assert_eq!(revisions(&got), [3, 4, 7, 8, 9]);
    let asked: Vec<_> = endpoint.created.lock().unwrap().iter().map(|c| c.start_revision.0).take(3).collect();
    assert_eq!(asked, [2, 8, 10]);
    assert_eq!(got.iter().filter(|response| response.created).count(), 1, "later confirmations are not told");
}

#[test]
fn a_watch_from_now_on_loses_nothing_that_happens_while_it_is_broken() {
    let (endpoint, got) = watch(vec![vec![created(5)], vec![created(8), message(8, &[6, 8])]], 0);
    assert_eq!(revisions(&got), [6, 8]);
    let asked: Vec<_> = endpoint.created.lock().unwrap().iter().map(|c| c.start_revision.0).take(3).collect();
    assert_eq!(asked, [0, 6, 9]);
}

#[test]
fn news_of_progress_moves_the_place_where_a_watch_goes_on() {
    let (endpoint, _) = watch(vec![vec![created(5), message(20, &[])]], 2);
    assert_eq!(endpoint.created.lock().unwrap()[1].start_revision, Revision(21));
}

#[test]
fn fragments_come_out_in_one_piece_or_not_at_all() {
    let begun = |revisions: &[i64]| WatchResponse { fragment: true, ..message(9, revisions) };
    let first = vec![created(9), begun(&[4]), begun(&[4])];
    let second = vec![created(9), begun(&[4]), begun(&[4]), message(9, &[4, 5])];
    let (endpoint, got) = watch(vec![first, second], 2);
    let sizes: Vec<_> = got.iter().filter(|r| !r.created).map(|response| response.events.len()).collect();
    assert_eq!(sizes, [4]);
    assert!(got.iter().all(|response| !response.fragment));
    assert_eq!(endpoint.created.lock().unwrap()[1].start_revision, Revision(2));
}

#[test]
fn a_cancelled_watch_says_so_and_ends() {
    let canceled = WatchResponse { canceled: true, compact_revision: Revision(7), ..message(9, &[]) };
    let (endpoint, got) = watch(vec![vec![created(9), canceled]], 2);
    assert_eq!(got.last().unwrap().compact_revision, Revision(7));
    assert_eq!(endpoint.created.lock().unwrap().len(), 1);
}

#[test]
fn a_lease_is_kept_until_it_is_gone() {
    let gone = Act::Fail(ClientError::certain(Error::LeaseNotFound));
    let acts = vec![Act::Answer, refused(), Act::Answer, gone];
    let endpoint = Scripted::new("e", acts, Act::Answer);
    run(async |world| {
        let client = Client::new(world.clone(), vec![endpoint.clone()], options());
        let mut answers = 0;
        let ended = keep_alive(&world, &client, LeaseId(7), |_| answers += 1).await;
        assert_eq!((ended.error, answers), (Error::LeaseNotFound, 2));
    });
}

#[test]
fn a_lease_is_given_up_once_nobody_has_answered_for_its_whole_time() {
    let endpoint = Scripted::new("e", vec![Act::Answer], refused());
    run(async |world| {
        let client = Client::new(world.clone(), vec![endpoint.clone()], options());
        let start = std::time::Instant::now();
        let ended = keep_alive(&world, &client, LeaseId(7), |_| {}).await;
        assert_eq!(ended.error.code(), Code::Unavailable);
        assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    });
}
