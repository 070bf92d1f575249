//! Looks at each member from outside, now and then: whether it serves, whether it leads, and how it ended where it did so by
//! itself. The driver asks past all links.

use super::cast::{Cast, Process};
use super::workings;
use seatrial_client::Endpoint;
use seatrial_scenario::observation::{Observation, Role};
use seatrial_scenario::theatre::Theatre;
use seatrial_types::request::StatusResponse;
use seatrial_types::{MemberId, Request, Response, Term};
use seatrial_wire::{ChannelOptions, GrpcEndpoint};
use seatrial_world_real::RealWorld;
use std::time::Duration;

/// How often members are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// A member that stands still does not answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// What one says that joins while those it asks have not heard of it yet; it may ask again.
const UNKNOWN: [&str; 2] = ["the cluster knows no member at", "no member of the cluster answers"];
/// So often at most: it may have been removed before it came.
const TRIES: u32 = 8;

/// Looks at one member until it is aborted.
pub(super) async fn watch(cast: Cast, member: MemberId) {
    let options =
        ChannelOptions { connect_timeout: PATIENCE, backoff_max: LOOK, ..ChannelOptions::default() };
    let Ok(endpoint) = GrpcEndpoint::new(cast.world().clone(), cast.address(member), options) else { return };
    let mut seen = Seen::default();
    loop {
        seen.look(&cast, member, &endpoint).await;
        tokio::time::sleep(LOOK).await;
    }
}

/// What is known of a member.
#[derive(Default)]
struct Seen {
    /// The process looked at, and whether it has served.
    process: Option<(u32, bool)>,
    /// Its end was written down.
    has_ended: bool,
    /// The last term in which it led.
    led: Option<Term>,
    /// How often it was started again because nobody knew it yet.
    tries: u32,
}

impl Seen {
    async fn look(&mut self, cast: &Cast, member: MemberId, endpoint: &GrpcEndpoint<RealWorld>) {
        let Ok((Some(pid), ended)) = cast.with(member, |actor| {
            let (log, from) = (actor.log.clone(), actor.log_from);
            let process = actor.process();
            let pid = process.as_ref().map(|process| process.pid());
            let ended = process.and_then(Process::ended).map(|status| (status, workings::tail(&log, from)));
            (pid, ended)
        }) else {
            return;
        };
        if self.process.is_none_or(|(known, _)| known != pid) {
            (self.process, self.has_ended) = (Some((pid, false)), false);
        }
        let has_served = self.process.is_some_and(|(_, served)| served);
        if let Some((status, tail)) = ended {
            let is_unknown = !has_served && UNKNOWN.iter().any(|words| tail.contains(words));
            // One that joins knows itself by its address. Who it asked may lag, and know one that lived there before: then it took
            // that one's id, and ended when it heard that it was removed.
            let is_mistaken = status.success() && cast.is_waited_for(member, None);
            if (is_unknown || is_mistaken) && self.tries < TRIES {
                self.tries += 1;
                tokio::time::sleep(LOOK * 3).await;
                cast.start_again(member, pid, is_mistaken);
            } else if !std::mem::replace(&mut self.has_ended, true) {
                end(cast, member, has_served, status.success(), &tail);
            }
            return;
        }
        let Ok(Response::Status(status)) = endpoint.call(Request::Status, PATIENCE).await else { return };
        // It may have been started anew meanwhile; then the next look tells.
        let is_same = cast.with(member, |actor| actor.process().is_some_and(|process| process.pid() == pid));
        if is_same == Ok(true) {
            self.answered(cast, member, pid, &status);
        }
    }

    fn answered(&mut self, cast: &Cast, member: MemberId, pid: u32, status: &StatusResponse) {
        if !cast.is_waited_for(member, Some(status.header.member_id)) {
            self.tries = 0;
        }
        if self.process == Some((pid, false)) {
            self.process = Some((pid, true));
            let (term, applied) = (status.raft_term, status.raft_applied_index);
            cast.notebook.observe(cast.now(), member, Observation::Started { term, applied });
        }
        if leads(status) && self.led != Some(status.raft_term) {
            self.led = Some(status.raft_term);
            // Etcd tells the term of the last entry it applied, which may be the one before the leader's: its elections are
            // numbered here, as they are seen.
            let term = if cast.is_foreign() { cast.next_election() } else { status.raft_term };
            let role = Observation::Role { term, role: Role::Leader, leader: member };
            cast.notebook.observe(cast.now(), member, role);
        }
    }
}

fn leads(status: &StatusResponse) -> bool {
    status.leader == status.header.member_id && status.leader != MemberId::NONE
}

/// A process ended by itself.
fn end(cast: &Cast, member: MemberId, has_served: bool, in_good_order: bool, tail: &str) {
    let words = workings::last_words(tail);
    if let Some(panic) = workings::panic_in(tail) {
        cast.notebook.panicked(Some(member), panic);
    }
    if in_good_order {
        // It was removed from the cluster. Under which id, only it could have told.
        return;
    }
    let what = if tail.contains("found data inconsistency with peers") {
        Observation::Inconsistent { text: words }
    } else if has_served {
        Observation::Failed { why: words }
    } else if tail.contains("address already in use") || tail.contains("Address already in use") {
        cast.notebook.harness_error(format!("the port of member {member} was taken: {words}"));
        return;
    } else {
        Observation::BootFailed { error: words }
    };
    cast.notebook.observe(cast.now(), member, what);
}
