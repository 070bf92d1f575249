//! Messages by hand, and what a member answers to them.

use super::lab::Lab;
use super::{at, id, term};
use bytes::Bytes;
use seatrial_raft::{Body, ConfigChange, ConfigStep, Entry, Message, Payload};

pub fn message(from: u64, to: u64, in_term: u64, body: Body) -> Message {
    Message { from: id(from), to: id(to), term: term(in_term), body }
}

pub fn heartbeat(commit: u64) -> Body {
    Body::Heartbeat { commit: at(commit), round: 1 }
}

pub fn vote_request(last_index: u64, last_term: u64) -> Body {
    Body::Vote { last_index: at(last_index), last_term: term(last_term), transfer: false }
}

pub fn append(prev: (u64, u64), entries: &[(u64, u64, &str)], commit: u64) -> Body {
    let entries = entries.iter().map(|(index, in_term, data)| Entry {
        index: at(*index),
        term: term(*in_term),
        payload: Payload::Data(Bytes::copy_from_slice(data.as_bytes())),
    });
    Body::Append {
        prev_index: at(prev.0),
        prev_term: term(prev.1),
        entries: entries.collect(),
        commit: at(commit),
    }
}

/// The answers a member has given and nobody has fetched.
pub fn answers(lab: &mut Lab, from: u64) -> Vec<Body> {
    lab.take_messages(|message| message.from == id(from)).into_iter().map(|message| message.body).collect()
}

pub fn terms(lab: &Lab, member: u64) -> Vec<u64> {
    let raft = lab.raft(member);
    (1..=raft.last_index().0).filter_map(|index| raft.entry(at(index))).map(|entry| entry.term.0).collect()
}

pub fn change(steps: &[ConfigStep]) -> ConfigChange {
    ConfigChange { steps: steps.to_vec(), context: Bytes::new() }
}
