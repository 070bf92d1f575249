//! Locks and elections on a real cluster of processes: the services through different members, our command line, and
//! etcd's own where it is installed (Debian package `etcd-client`).

#![allow(clippy::disallowed_methods, reason = "tests of processes talk to the machine itself")]
#![allow(clippy::disallowed_types, reason = "tests of processes talk to the machine itself")]

mod support;

use rustix::process::{Pid, Signal, kill_process};
use seatrial_client::{Client, ClientOptions, Store};
use seatrial_proto::v3electionpb::election_client::ElectionClient;
use seatrial_proto::v3electionpb::{CampaignRequest, LeaderRequest, ProclaimRequest, ResignRequest};
use seatrial_proto::v3lockpb::lock_client::LockClient;
use seatrial_proto::v3lockpb::{LockRequest, LockResponse, UnlockRequest};
use seatrial_types::request::{LeaseGrantRequest, PutRequest, RangeRequest};
use seatrial_types::{KeyRange, LeaseId};
use seatrial_wire::{Channel, ChannelOptions, GrpcEndpoint, connect};
use seatrial_world_real::RealWorld;
use std::future::Future;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::pin::Pin;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use support::{Cluster, OURS, REAL, clients};

type Locks = LockClient<Channel<RealWorld>>;

const SECOND: Duration = Duration::from_secs(1);

fn channel(cluster: &Cluster, world: &RealWorld, member: u16) -> Channel<RealWorld> {
    Channel::new(world.clone(), cluster.endpoint(member), ChannelOptions::default())
}

fn client_of(
    cluster: &Cluster,
    world: &RealWorld,
    members: &[u16],
) -> Client<RealWorld, GrpcEndpoint<RealWorld>> {
    let endpoints: Vec<_> = members.iter().map(|member| cluster.endpoint(*member)).collect();
    connect(world, &endpoints, &ChannelOptions::default(), ClientOptions::default()).unwrap()
}

fn run<F: Future>(test: impl FnOnce(RealWorld) -> F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = RealWorld::on(runtime.handle().clone());
    runtime.block_on(async { tokio::time::timeout(60 * SECOND, test(world)).await.expect("the test hangs") })
}

async fn lease<S: Store>(client: &S, ttl_seconds: i64) -> i64 {
    client.lease_grant(LeaseGrantRequest { id: LeaseId(0), ttl_seconds }).await.unwrap().id.0
}

async fn keys<S: Store>(client: &S, prefix: &'static str) -> Vec<String> {
    let request = RangeRequest { range: KeyRange::prefix(prefix), ..RangeRequest::default() };
    let answer = client.range(request).await.unwrap();
    answer.kvs.iter().map(|kv| String::from_utf8(kv.key.to_vec()).unwrap()).collect()
}

async fn value<S: Store>(client: &S, key: &'static str) -> u64 {
    let request = RangeRequest { range: KeyRange::single(key), ..RangeRequest::default() };
    let answer = client.range(request).await.unwrap();
    answer.kvs.first().map_or(0, |kv| std::str::from_utf8(&kv.value).unwrap().parse().unwrap())
}

/// Waits until the keys below a prefix are so many.
async fn expect_keys<S: Store>(client: &S, prefix: &'static str, count: usize) {
    let begun = Instant::now();
    loop {
        let keys = keys(client, prefix).await;
        if keys.len() == count {
            return;
        }
        assert!(begun.elapsed() < 5 * SECOND, "not {count}: {keys:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn lock_request(name: &'static str, lease: i64) -> LockRequest {
    LockRequest { name: name.into(), lease }
}

/// A call for a lock that runs beside others.
fn locked(
    locks: &Locks,
    request: LockRequest,
) -> Pin<Box<dyn Future<Output = Result<LockResponse, tonic::Status>>>> {
    let mut locks = locks.clone();
    Box::pin(async move { Ok(locks.lock(request).await?.into_inner()) })
}

/// Nothing may come of this for a while.
async fn expect_waiting<T: std::fmt::Debug>(waiting: &mut (impl Future<Output = T> + Unpin)) {
    if let Ok(ended) = tokio::time::timeout(Duration::from_millis(300), waiting).await {
        panic!("did not wait: {ended:?}");
    }
}

#[test]
fn a_lock_is_held_by_one_and_passed_on() {
    let cluster = Cluster::start(3, &[]);
    run(async |world| {
        let client = client_of(&cluster, &world, &[1, 2, 3]);
        let mut locks: Vec<_> =
            (1..=3).map(|member| LockClient::new(channel(&cluster, &world, member))).collect();
        let (first, second) = (lease(&client, 60).await, lease(&client, 60).await);

        let held = locks[0].lock(lock_request("l", first)).await.unwrap().into_inner();
        assert_eq!(held.key, format!("l/{first:x}"));
        // The same lease has it already, whichever member it asks.
        let again = locks[2].lock(lock_request("l", first)).await.unwrap().into_inner();
        assert_eq!(again.key, held.key);

        // Another waits at another member, and gets it when it is given back at a third.
        let mut waiting = locked(&locks[1], lock_request("l", second));
        expect_waiting(&mut waiting).await;
        let unlocked = locks[2].unlock(UnlockRequest { key: held.key.clone() }).await.unwrap().into_inner();
        let passed_on = waiting.await.unwrap();
        assert_eq!(passed_on.key, format!("l/{second:x}"));
        assert!(passed_on.header.unwrap().revision >= unlocked.header.unwrap().revision);

        // A call that is given up leaves the queue; a held lock does not go with its call.
        let mut waiting = locked(&locks[0], lock_request("l", first));
        expect_waiting(&mut waiting).await;
        assert_eq!(keys(&client, "l/").await.len(), 2);
        drop(waiting);
        expect_keys(&client, "l/", 1).await;
        assert_eq!(keys(&client, "l/").await, [format!("l/{second:x}")]);

        // So does one whose time is over.
        let mut request = tonic::Request::new(lock_request("l", first));
        request.set_timeout(Duration::from_millis(300));
        let status = locks[0].lock(request).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
        expect_keys(&client, "l/", 1).await;
        assert_eq!(keys(&client, "l/").await, [format!("l/{second:x}")]);

        // Whoever has no lease is given one.
        let anonymous = locks[0].lock(lock_request("other", 0)).await.unwrap().into_inner();
        assert!(anonymous.key.len() > "other/".len());

        // The end of a lease passes the lock on, too.
        client.lease_revoke(LeaseId(second)).await.unwrap();
        let short = lease(&client, 2).await;
        locks[0].lock(lock_request("l", short)).await.unwrap();
        let begun = Instant::now();
        locks[1].lock(lock_request("l", first)).await.unwrap();
        assert!(begun.elapsed() > SECOND, "passed on after {:?}", begun.elapsed());

        // A waiter whose own lease ends hears of it when its turn comes.
        let short = lease(&client, 600).await;
        let mut waiting = locked(&locks[1], lock_request("l", short));
        expect_waiting(&mut waiting).await;
        client.lease_revoke(LeaseId(short)).await.unwrap();
        locks[0].unlock(UnlockRequest { key: format!("l/{first:x}").into() }).await.unwrap();
        let status = waiting.await.unwrap_err();
        assert_eq!((status.code(), status.message()), (tonic::Code::Unknown, "mutex: session is expired"));

        let status = locks[0].lock(lock_request("l", 12345)).await.unwrap_err();
        let told = (status.code(), status.message());
        assert_eq!(told, (tonic::Code::Unknown, "etcdserver: requested lease not found"));
        let status = locks[0].unlock(UnlockRequest::default()).await.unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (tonic::Code::Unknown, "etcdserver: key is not provided")
        );
    });
}

#[test]
fn holders_exclude_each_other_and_a_leader_killed_meanwhile_changes_nothing() {
    let cluster = Cluster::start(3, &[]);
    run(async |world| {
        const CONTENDERS: u16 = 6;
        const ROUNDS: u16 = 5;
        // Reading and writing back apart from each other loses counts unless only one does it at a time.
        let contend = |contender: u16| {
            let (cluster, world) = (&cluster, &world);
            async move {
                let member = contender % 3 + 1;
                let client = client_of(cluster, world, &[member]);
                let mut locks = LockClient::new(channel(cluster, world, member));
                let lease = lease(&client, 60).await;
                for _ in 0..ROUNDS {
                    let held = locks.lock(lock_request("c", lease)).await.unwrap().into_inner();
                    let value = (value(&client, "count").await + 1).to_string();
                    let put =
                        PutRequest { key: "count".into(), value: value.into(), ..PutRequest::default() };
                    client.put(put).await.unwrap();
                    locks.unlock(UnlockRequest { key: held.key }).await.unwrap();
                }
            }
        };
        futures::future::join_all((0..CONTENDERS).map(contend)).await;
        let all = client_of(&cluster, &world, &[1, 2, 3]);
        assert_eq!(value(&all, "count").await, u64::from(CONTENDERS * ROUNDS));
        assert_eq!(keys(&all, "c/").await, Vec::<String>::new());

        // Held through one follower, waited for through the other; then the leader dies.
        let mut leader = 0;
        for member in 1..=3 {
            let status = client_of(&cluster, &world, &[member]).status().await.unwrap();
            if status.leader == status.header.member_id {
                leader = member;
            }
        }
        let followers: Vec<_> = (1..=3).filter(|member| *member != leader).collect();
        let (holder, waiter) = (lease(&all, 60).await, lease(&all, 60).await);
        let mut at_first = LockClient::new(channel(&cluster, &world, followers[0]));
        let mut at_second = LockClient::new(channel(&cluster, &world, followers[1]));
        let held = at_first.lock(lock_request("k", holder)).await.unwrap().into_inner();
        let mut waiting = Box::pin(at_second.lock(lock_request("k", waiter)));
        expect_waiting(&mut waiting).await;
        cluster.kill_9(leader);
        let alive = client_of(&cluster, &world, &followers);
        // A write in the new term: the others have a leader again.
        let put = PutRequest { key: "again".into(), ..PutRequest::default() };
        while alive.put(put.clone()).await.is_err() {}
        assert_eq!(keys(&alive, "k/").await.len(), 2);
        expect_waiting(&mut waiting).await;
        at_first.unlock(UnlockRequest { key: held.key }).await.unwrap();
        assert_eq!(waiting.await.unwrap().into_inner().key, format!("k/{waiter:x}"));
    });
}

#[test]
fn an_election_has_one_leader_and_observers_hear_of_each() {
    let cluster = Cluster::start(3, &[]);
    run(async |world| {
        let client = client_of(&cluster, &world, &[1, 2, 3]);
        let mut elections: Vec<_> =
            (1..=3).map(|member| ElectionClient::new(channel(&cluster, &world, member))).collect();
        let name = || LeaderRequest { name: "e".into() };
        let status = elections[0].leader(name()).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (tonic::Code::Unknown, "election: no leader"));

        let mut news = elections[2].observe(name()).await.unwrap().into_inner();
        let (first, second) = (lease(&client, 60).await, lease(&client, 60).await);
        let campaign =
            |lease, value: &'static str| CampaignRequest { name: "e".into(), lease, value: value.into() };
        let won = elections[0].campaign(campaign(first, "one")).await.unwrap().into_inner();
        let leader = won.leader.unwrap();
        assert_eq!((leader.name.clone(), leader.lease), ("e".into(), first));
        assert_eq!(leader.key, format!("e/{first:x}"));
        assert_eq!(leader.rev, won.header.unwrap().revision);
        let mut heard = async || {
            let kv = news.message().await.unwrap().unwrap().kv.unwrap();
            (String::from_utf8(kv.key.to_vec()).unwrap(), String::from_utf8(kv.value.to_vec()).unwrap())
        };
        assert_eq!(heard().await, (format!("e/{first:x}"), "one".to_owned()));

        let mut other = elections[1].clone();
        let mut waiting = Box::pin(other.campaign(campaign(second, "two")));
        expect_waiting(&mut waiting).await;
        let kv = elections[1].leader(name()).await.unwrap().into_inner().kv.unwrap();
        assert_eq!((kv.key, kv.value, kv.create_revision), (leader.key.clone(), "one".into(), leader.rev));

        let proclaim =
            |value: &'static str| ProclaimRequest { leader: Some(leader.clone()), value: value.into() };
        elections[2].proclaim(proclaim("one and a half")).await.unwrap();
        assert_eq!(heard().await, (format!("e/{first:x}"), "one and a half".to_owned()));
        // Whoever leads and campaigns again changes its value, and leads.
        elections[0].campaign(campaign(first, "still one")).await.unwrap();
        assert_eq!(heard().await, (format!("e/{first:x}"), "still one".to_owned()));

        elections[2].resign(ResignRequest { leader: Some(leader.clone()) }).await.unwrap();
        let next = waiting.await.unwrap().into_inner().leader.unwrap();
        assert_eq!(heard().await, (format!("e/{second:x}"), "two".to_owned()));
        assert!(next.rev > leader.rev);
        // A leadership that is over proves nothing any more, even where the key exists again.
        elections[0].resign(ResignRequest { leader: Some(leader.clone()) }).await.unwrap();
        let status = elections[0].proclaim(proclaim("ghost")).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (tonic::Code::Unknown, "election: not leader"));
        let status = elections[0].proclaim(ProclaimRequest::default()).await.unwrap_err();
        assert_eq!(status.message(), "\"leader\" field must be provided");
        let mut stale = next.clone();
        stale.rev -= 1;
        elections[0].resign(ResignRequest { leader: Some(stale) }).await.unwrap();
        assert_eq!(keys(&client, "e/").await, [format!("e/{second:x}")]);

        // A candidacy that is given up is taken back.
        let mut other = elections[0].clone();
        let mut waiting = Box::pin(other.campaign(campaign(first, "three")));
        expect_waiting(&mut waiting).await;
        assert_eq!(keys(&client, "e/").await.len(), 2);
        drop(waiting);
        expect_keys(&client, "e/", 1).await;
        // With the lease ends the leadership.
        client.lease_revoke(LeaseId(second)).await.unwrap();
        elections[0].campaign(campaign(first, "four")).await.unwrap();
        assert_eq!(heard().await, (format!("e/{first:x}"), "four".to_owned()));
    });
}

/// A client that runs on, with what it prints.
struct Running {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }

    fn interrupt(&self) {
        kill_process(Pid::from_raw(self.child.id() as i32).unwrap(), Signal::INT).unwrap();
    }

    /// The exit code, and what it said at the end.
    fn end(mut self) -> (Option<i32>, String) {
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            if begun.elapsed() > 10 * SECOND {
                let _ = self.child.kill();
                panic!("does not end");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let code = self.child.wait().unwrap().code();
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (code, said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

fn text(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_command_line_takes_locks_and_stands_for_election() {
    let cluster = Cluster::start(3, &[]);
    // Each pair: who holds, and who waits. They understand each other's keys.
    let mut pairs = vec![(OURS, OURS)];
    if clients().contains(&REAL) {
        pairs.extend([(REAL, OURS), (OURS, REAL)]);
    }
    for (holder, waiter) in pairs {
        // The key, and its empty value.
        let mut holding = Running::start(cluster.etcdctl_at(1, holder, &["lock", "l"]));
        let first = holding.line();
        assert!(first.starts_with("l/"), "{first}");
        assert_eq!(holding.line(), "\n");
        let script = "echo $ETCD_LOCK_KEY; test $ETCD_LOCK_REV -gt 1 && exit 7";
        let command = cluster.etcdctl_at(2, waiter, &["lock", "l", "--", "sh", "-c", script]);
        let mut waiting = Running::start(command);
        std::thread::sleep(Duration::from_millis(500));
        assert!(waiting.child.try_wait().unwrap().is_none(), "did not wait");
        holding.interrupt();
        assert_eq!(holding.end(), (Some(0), String::new()));
        let second = waiting.line();
        assert!(second.starts_with("l/") && second != first, "{second}");
        // The code of the command, as etcd's does it since 3.5; the one of 3.4 has its own for all that fails.
        let code = if waiter == OURS { 7 } else { 1 };
        assert_eq!(waiting.end(), (Some(code), "Error: exit status 7\n".to_owned()));

        // A wait that is interrupted.
        let mut holding = Running::start(cluster.etcdctl_at(3, holder, &["lock", "l", "--ttl", "2"]));
        holding.line();
        let waiting = Running::start(cluster.etcdctl_at(1, waiter, &["lock", "l"]));
        std::thread::sleep(Duration::from_millis(500));
        waiting.interrupt();
        assert_eq!(waiting.end(), (Some(1), "Error: context canceled\n".to_owned()));
        let left = cluster.etcdctl_at(2, OURS, &["get", "l/", "--prefix", "--keys-only"]).output().unwrap();
        assert_eq!(text(&left).1.lines().filter(|line| !line.is_empty()).count(), 1);
        // A holder that is killed is in the way as long as its lease lives, and no longer.
        holding.child.kill().unwrap();
        holding.child.wait().unwrap();
        let taken = cluster.etcdctl_at(1, waiter, &["lock", "l", "true"]).output().unwrap();
        assert_eq!(text(&taken), (Some(0), String::new(), String::new()));

        let mut observing = Running::start(cluster.etcdctl_at(3, waiter, &["elect", "-l", "e"]));
        let mut leading = Running::start(cluster.etcdctl_at(1, holder, &["elect", "e", "one"]));
        let key = leading.line();
        assert!(key.starts_with("e/"), "{key}");
        assert_eq!(leading.line(), "one\n");
        assert_eq!((observing.line(), observing.line()), (key.clone(), "one\n".to_owned()));
        let mut standing = Running::start(cluster.etcdctl_at(2, waiter, &["elect", "e", "two"]));
        std::thread::sleep(Duration::from_millis(300));
        leading.interrupt();
        assert_eq!(leading.end(), (Some(0), String::new()));
        let key = standing.line();
        assert_eq!(standing.line(), "two\n");
        assert_eq!((observing.line(), observing.line()), (key, "two\n".to_owned()));
        standing.interrupt();
        assert_eq!(standing.end(), (Some(0), String::new()));
        observing.interrupt();
        assert_eq!(observing.end(), (Some(0), String::new()));
    }
    if Path::new(REAL[0]).exists() {
        let refused: [&[&str]; 6] = [
            &["lock"],
            &["elect"],
            &["elect", "e"],
            &["elect", "-l", "e", "v"],
            &["elect", "e", "v", "w"],
            &["lock", "l", "no-such-command-anywhere"],
        ];
        for args in refused {
            let ours = cluster.etcdctl_at(1, OURS, args).output().unwrap();
            let real = cluster.etcdctl_at(1, REAL, args).output().unwrap();
            assert_eq!(text(&ours), text(&real), "{args:?}");
        }
    }
}
