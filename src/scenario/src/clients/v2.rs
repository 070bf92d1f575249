//! Clients of etcd's v2 keys: some change and read them, some wait for changes, one after the other, from where they are.

use super::{Actor, Curtain};
use crate::format::spec::V2Op;
use crate::plan::StepKind;
use crate::record::v2::{V2Asked, V2Heard, V2View, V2Waiting};
use crate::theatre::{Client, JoinTrouble, Theatre, V2Answered, V2Trouble};
use futures::future::{Either, select};
use seatrial_types::MemberId;
use seatrial_types::v2::{
    KEYS, V2Action, V2Change, V2Code, V2Compare, V2Event, V2Life, V2Node, V2Request, V2Watch,
};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// Directories that the keys lie in.
const DIRS: u32 = 3;

/// Where those register who form a cluster: written by a client of several requests, which stand in no record.
pub(crate) const REGISTRY: &str = "/1/registry";

/// How many form a cluster.
pub(crate) const JOIN_SIZE: u32 = 3;

/// How long one waits for the others.
const JOIN_PATIENCE: Duration = Duration::from_secs(6);

/// Below the space of clients' keys.
fn v2_key(path: &str) -> &str {
    path.strip_prefix(KEYS).unwrap_or(path)
}

/// Between two tries of one who waits.
const LOOK: Duration = Duration::from_millis(250);

/// What lies above all keys.
fn top() -> String {
    format!("{KEYS}/t")
}

fn dir(key: u32) -> String {
    format!("{}/d{}", top(), key % DIRS)
}

fn file(key: u32) -> String {
    format!("{}/k{key}", dir(key))
}

fn heard(answer: V2Answered) -> V2Heard {
    match answer {
        Ok((event, index)) => V2Heard::Event { event: Box::new(event), index },
        Err(V2Trouble::Refused(error)) => V2Heard::Refused(error),
        Err(V2Trouble::Lost { text, ambiguous: true }) => V2Heard::Unknown(text),
        Err(V2Trouble::Lost { text, ambiguous: false }) => V2Heard::Failed(text),
    }
}

/// A file as a client saw it last.
type Seen = (Arc<str>, u64);

impl<T: Theatre> Actor<T> {
    pub(super) async fn v2(&mut self) {
        let mut seen: BTreeMap<String, Seen> = BTreeMap::new();
        let mut at = 0;
        while let Some(step) = self.next_step(at).await {
            at += 1;
            let StepKind::V2 { op, key, lives } = step.what else { continue };
            if op == V2Op::Join {
                self.join(step.member, key).await;
                continue;
            }
            let request = self.v2_request(op, key, lives, &seen);
            let answer = self.one_v2(step.member, request).await;
            if let Ok((event, _)) = &answer
                && let Some(value) = &event.node.value
            {
                seen.insert(event.node.path.clone(), (Arc::clone(value), event.node.modified));
            }
        }
    }

    /// Asks one thing and writes it down.
    async fn one_v2(&mut self, member: MemberId, request: V2Request) -> V2Answered {
        let (machine, called) = (self.plan.machine, self.theatre.now());
        let place = self.notebook.v2_asked(machine, member, V2Asked::Request(request.clone()), called);
        let answer = self.client.v2(member, request, self.plan.spec.timeout).await;
        self.notebook.v2_heard(place, self.theatre.now(), heard(answer.clone()));
        answer
    }

    fn v2_request(&mut self, op: V2Op, key: u32, lives: bool, seen: &BTreeMap<String, Seen>) -> V2Request {
        let ttl = lives.then_some(self.plan.spec.ttl.as_secs());
        let life = V2Life { ttl_seconds: ttl, refresh: false };
        let path = file(key);
        // A value that nobody ever wrote: what is compared with it is refused.
        let (value, index) = seen.get(&path).cloned().unwrap_or_else(|| (Arc::from("never"), u64::MAX));
        let read = |path, quorum| V2Request::Read { path, recursive: false, quorum };
        let (path, action) = match op {
            V2Op::Get => return read(path, true),
            V2Op::Own => return read(path, false),
            V2Op::List => return read(dir(key), true),
            V2Op::Set => (path, V2Action::Set { dir: false, value: self.value(), life }),
            V2Op::Create => (path, V2Action::Create { dir: false, value: self.value(), life }),
            V2Op::Update => (path, V2Action::Update { value: self.value(), life }),
            V2Op::Swap => {
                let prev = V2Compare { value: value.to_string(), index: 0 };
                (path, V2Action::CompareAndSwap { prev, value: self.value(), life })
            }
            V2Op::SwapIndex => {
                let prev = V2Compare { value: String::new(), index };
                (path, V2Action::CompareAndSwap { prev, value: self.value(), life })
            }
            V2Op::Delete => (path, V2Action::Delete { dir: false, recursive: false }),
            V2Op::DeleteIf => {
                let prev = V2Compare { value: value.to_string(), index: 0 };
                (path, V2Action::CompareAndDelete { prev })
            }
            V2Op::InOrder => (dir(key), V2Action::CreateInOrder { dir: false, value: self.value(), life }),
            V2Op::Refresh => {
                let life = V2Life { ttl_seconds: Some(self.plan.spec.ttl.as_secs()), refresh: true };
                (path, V2Action::Update { value: String::new(), life })
            }
            V2Op::MakeDir => (dir(key), V2Action::Create { dir: true, value: String::new(), life }),
            V2Op::Join => unreachable!("it is more than one request"),
            V2Op::DropDir => (dir(key), V2Action::Delete { dir: true, recursive: true }),
        };
        V2Request::Change(V2Change { path, action, wall_ns: 0 })
    }

    async fn join(&mut self, member: MemberId, token: u32) {
        let id = self.plan.machine.to_string();
        let life = V2Life::default();
        let size = V2Request::Change(V2Change {
            path: format!("{REGISTRY}/{token}/_config/size"),
            action: V2Action::Create { dir: false, value: JOIN_SIZE.to_string(), life },
            wall_ns: 0,
        });
        match self.one_v2(member, size).await {
            Ok(_) => {}
            Err(V2Trouble::Refused(error)) if error.code == V2Code::KeyExists => {}
            Err(_) => return,
        }
        let asked = V2Asked::Join { token, id: id.clone() };
        let place = self.notebook.v2_asked(self.plan.machine, member, asked, self.theatre.now());
        let directory = v2_key(&format!("{REGISTRY}/{token}")).to_owned();
        let value = format!("c{id}=http://c{id}:2380");
        let nap = self.theatre.sleep_until(self.theatre.now() + JOIN_PATIENCE);
        let joining = self.client.v2_join(directory, id, value);
        let heard = match select(pin!(joining), pin!(nap)).await {
            Either::Left((Ok(registered), _)) => V2Heard::Joined(registered),
            Either::Left((Err(JoinTrouble::Full(registered)), _)) => V2Heard::Full(registered),
            Either::Left((Err(JoinTrouble::Refused(why)), _)) => V2Heard::Failed(why),
            Either::Left((Err(JoinTrouble::Lost(why)), _)) => V2Heard::Unknown(why),
            Either::Right(_) => V2Heard::Nothing,
        };
        self.notebook.v2_heard(place, self.theatre.now(), heard);
    }

    /// Waits until the curtain falls: what the storm held back must be told.
    pub(super) async fn wait_for_v2(&mut self, curtain: &Curtain) {
        let mut steps = self.plan.steps.clone().into_iter().peekable();
        let Some(first) = steps.next() else { return };
        let StepKind::V2Wait { key } = first.what else { return };
        self.theatre.sleep_until(first.at).await;
        let mut member = first.member;
        let (path, recursive) = key.map_or_else(|| (top(), true), |key| (file(key), false));
        // Half of those who wait want all there ever was, half what comes from now on.
        let mut since = u64::from(self.plan.number % 4 < 2);
        while !curtain.has_fallen() {
            let waiting = V2Waiting { path: path.clone(), recursive, since };
            let watch = V2Watch { path: path.clone(), recursive, stream: false, since };
            let (machine, called) = (self.plan.machine, self.theatre.now());
            let place = self.notebook.v2_asked(machine, member, V2Asked::Wait(waiting), called);
            let mut answer = pin!(self.client.v2_wait(member, watch));
            let told = loop {
                let nap = self.theatre.sleep_until(self.theatre.now() + LOOK);
                match select(answer.as_mut(), pin!(nap)).await {
                    Either::Left((told, _)) => break Some(told),
                    Either::Right(_) if curtain.has_fallen() => break None,
                    // A member whose machine lost its power says nothing to who waited there, ever.
                    Either::Right(_) if called < self.until && self.theatre.now() >= self.until => {
                        break None;
                    }
                    Either::Right(_) if steps.peek().is_some_and(|step| step.at <= self.theatre.now()) => {
                        member = steps.next().expect("just seen").member;
                        break None;
                    }
                    Either::Right(_) => {}
                }
            };
            let now = self.theatre.now();
            match told {
                None => self.notebook.v2_heard(place, now, V2Heard::Nothing),
                Some(answer) => {
                    match &answer {
                        Ok((event, _)) => since = event.index() + 1,
                        Err(V2Trouble::Refused(error)) if error.code == V2Code::EventIndexCleared => {
                            since = error.index + 1;
                        }
                        Err(_) => {
                            self.theatre.sleep_until(self.theatre.now() + LOOK).await;
                            member = MemberId(member.0 % self.members + 1);
                        }
                    }
                    self.notebook.v2_heard(place, now, heard(answer));
                }
            }
        }
    }
}

/// What a member holds, and every change it remembers.
pub(crate) async fn v2_view_of<T: Theatre>(
    theatre: &T,
    client: &mut T::Client,
    member: MemberId,
    timeout: Duration,
) -> V2View {
    let mut view = V2View {
        member,
        at: theatre.now(),
        index: 0,
        nodes: Vec::new(),
        events: Vec::new(),
        from: 1,
        whole: false,
    };
    // A read through the log brings the member up to date; what it says of its own comes after.
    let read = |quorum| V2Request::Read { path: KEYS.to_owned(), recursive: true, quorum };
    if client.v2(member, read(true), timeout).await.is_err() {
        return view;
    }
    let Ok((root, index)) = client.v2(member, read(false), timeout).await else { return view };
    (view.at, view.index) = (theatre.now(), index);
    flatten(root.node, &mut view.nodes);
    view.nodes.sort_by(|one, other| one.path.cmp(&other.path));
    let mut since = 1;
    while since <= index {
        let watch = V2Watch { path: KEYS.to_owned(), recursive: true, stream: false, since };
        let nap = theatre.sleep_until(theatre.now() + timeout / 4);
        match select(pin!(client.v2_wait(member, watch)), pin!(nap)).await {
            Either::Left((Ok((event, _)), _)) => {
                since = event.index() + 1;
                view.events.push(event);
            }
            Either::Left((Err(V2Trouble::Refused(error)), _))
                if error.code == V2Code::EventIndexCleared && view.events.is_empty() =>
            {
                // The cause ends with the first index that is remembered, and the one asked for.
                let Some(first) = first_remembered(&error.cause).filter(|first| *first > since) else {
                    return view;
                };
                (view.from, since) = (first, first);
            }
            Either::Left((Err(_), _)) => return view,
            // The last changes are such that nobody is told of them: time alone began anew.
            Either::Right(_) => break,
        }
    }
    view.events.retain(|event: &V2Event| event.index() <= index);
    view.whole = true;
    view
}

/// The first number of `[first/asked]`.
fn first_remembered(cause: &str) -> Option<u64> {
    let (_, numbers) = cause.rsplit_once('[')?;
    numbers.split('/').next()?.parse().ok()
}

fn flatten(mut node: V2Node, all: &mut Vec<V2Node>) {
    for below in std::mem::take(&mut node.nodes) {
        flatten(below, all);
    }
    if node.path != KEYS {
        all.push(node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_becomes_one_line_for_each_node_and_the_root_none() {
        let leaf = |path: &str| V2Node { path: path.to_owned(), ..V2Node::default() };
        let root = V2Node {
            nodes: vec![V2Node { nodes: vec![leaf("/1/a/b")], ..leaf("/1/a") }, leaf("/1/c")],
            ..leaf(KEYS)
        };
        let mut all = Vec::new();
        flatten(root, &mut all);
        let paths: Vec<&str> = all.iter().map(|node| node.path.as_str()).collect();
        assert_eq!(paths, ["/1/a/b", "/1/a", "/1/c"]);
        assert!(all.iter().all(|node| node.nodes.is_empty()));
    }

    #[test]
    fn the_first_remembered_index_is_read_from_the_refusal() {
        assert_eq!(first_remembered("the requested history has been cleared [12/1]"), Some(12));
        assert_eq!(first_remembered("something else"), None);
    }
}
