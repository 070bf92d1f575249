//! The v2 key space in a cluster: every member tells the same, also after the leader was killed and all were restarted.

use crate::support::Cluster;
use crate::{ask, get, index, put};
use std::time::{Duration, Instant};

fn same_everywhere(cluster: &Cluster, path: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let bodies: Vec<String> = (1..=3).map(|member| get(&cluster.endpoint(member), path).body).collect();
        if bodies.iter().all(|body| *body == bodies[0]) {
            return bodies[0].clone();
        }
        assert!(Instant::now() < deadline, "{path} is not the same everywhere: {bodies:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn all_members_tell_the_same_and_go_on_after_kills() {
    let cluster = Cluster::start(3, &[]);
    let at = |member: u16| cluster.endpoint(member);
    for number in 0..30 {
        let answer = put(&at(1 + number % 3), &format!("/dir/{number}"), "value=x");
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    let answer = put(&at(2), "/short", "value=x&ttl=3");
    assert_eq!(answer.status, 201, "{answer:?}");
    // Of this change; on a slow machine the key may have run out before anything else is asked.
    let since = index(&answer);
    let leader = cluster.leader();
    cluster.kill_9(leader);
    let other = 1 + leader % 3;
    let deadline = Instant::now() + Duration::from_secs(20);
    // The one write that the kill may have met can be refused; then it is asked again.
    while put(&at(other), "/after", "value=x").status / 100 != 2 {
        assert!(Instant::now() < deadline, "no write after the leader was killed");
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut restarted = cluster.restart(leader);
    // It runs out under the next leader, at one index for all.
    let deadline = Instant::now() + Duration::from_secs(20);
    while get(&at(other), "/v2/keys/short").status == 200 {
        assert!(Instant::now() < deadline, "it never runs out");
        std::thread::sleep(Duration::from_millis(100));
    }
    let path = format!("/v2/keys/short?wait=true&waitIndex={}", since + 1);
    let told = same_everywhere(&cluster, &path);
    assert!(told.contains("\"action\":\"expire\""), "{told}");
    let tree = same_everywhere(&cluster, "/v2/keys/?recursive=true");
    assert_eq!(tree.matches("\"key\":\"/dir/").count(), 30, "{tree}");
    let _ = restarted.kill();
    let _ = restarted.wait();
    cluster.down();
    cluster.up();
    assert_eq!(same_everywhere(&cluster, "/v2/keys/?recursive=true"), tree);
    assert_eq!(same_everywhere(&cluster, &path), told, "history too outlives a restart");
}

#[test]
fn who_waits_is_told_once_and_in_order_also_of_what_comes_quickly() {
    let cluster = Cluster::start(1, &[]);
    let at = cluster.endpoint(1);
    put(&at, "/w/first", "value=x");
    let since = index(&get(&at, "/v2/keys/w"));
    for number in 0..50 {
        put(&at, &format!("/w/{number}"), "value=x");
    }
    // A stream begins with what has happened, and goes on with what happens: the real etcd tells one old change and
    // then nothing.
    let path = format!("/v2/keys/w?wait=true&recursive=true&stream=true&waitIndex={since}");
    let writer = {
        let at = at.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            for number in 50..60 {
                put(&at, &format!("/w/{number}"), "value=x");
            }
            ask(&at, "DELETE", "/v2/keys/w?recursive=true", &[], b"", None);
        })
    };
    let answer = ask(&at, "GET", &path, &[], b"", Some(62));
    writer.join().unwrap();
    let told: Vec<serde_json::Value> =
        answer.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let indices: Vec<u64> = told.iter().map(|one| one["node"]["modifiedIndex"].as_u64().unwrap()).collect();
    let want: Vec<u64> = (since..since + 62).collect();
    assert_eq!(indices, want);
    assert_eq!(told[61]["action"], "delete");
}

#[test]
fn v2_is_no_way_around_the_users_of_v3() {
    let cluster = Cluster::start(1, &[]);
    let at = cluster.endpoint(1);
    cluster.ctl(&["user", "add", "root:secret"]);
    cluster.ctl(&["user", "grant-role", "root", "root"]);
    cluster.ctl(&["auth", "enable"]);
    let json = [("content-type", "application/json")];
    let add = br#"{"peerURLs":["http://127.0.0.1:1"]}"#;
    for (method, path) in [
        ("POST", "/v2/members".to_owned()),
        ("PUT", "/v2/members/1234".to_owned()),
        ("DELETE", "/v2/members/1234".to_owned()),
    ] {
        let answer = ask(&at, method, &path, &json, add, None);
        assert_eq!(
            (answer.status, answer.body.contains("Insufficient credentials")),
            (401, true),
            "{answer:?}"
        );
    }
    assert_eq!(put(&at, "/a", "value=x").status, 201, "the keys of v2 have users of their own");
}

#[test]
fn what_was_forgotten_is_refused_by_name() {
    let cluster = Cluster::start(1, &[]);
    let at = cluster.endpoint(1);
    for number in 0..1001 {
        put(&at, "/k", &format!("value={number}"));
    }
    let answer = get(&at, "/v2/keys/k?wait=true&waitIndex=1");
    assert_eq!(answer.status, 400);
    let cause = "the requested history has been cleared [2/1]";
    assert!(answer.body.contains("\"errorCode\":401") && answer.body.contains(cause), "{answer:?}");
}
