//! The operator of a cluster whose quota is full: has old versions forgotten, files written anew, and takes the alarms back.

use super::Actor;
use crate::plan::StepKind;
use crate::record::{Notebook, Sighting, SpaceRecord, SpaceStep};
use crate::theatre::{Client, Theatre};
use seatrial_types::request::{AlarmChangeRequest, AlarmKind, CompactRequest, Request, Response};
use seatrial_types::{MemberId, Revision};
use std::time::Duration;

/// Clients run against the alarm for so long before anything is done, and between two steps: what is let through then is
/// let through wrongly.
const PAUSE: Duration = Duration::from_millis(400);

impl<T: Theatre> Actor<T> {
    pub(super) async fn space(&mut self) {
        let mut at = 0;
        while let Some(step) = self.next_step(at).await {
            at += 1;
            if step.what == StepKind::FreeSpace {
                let order: Vec<MemberId> = (0..self.members)
                    .map(|next| MemberId((step.member.0 + next - 1) % self.members + 1))
                    .collect();
                let timeout = self.plan.spec.timeout;
                let Self { theatre, client, notebook, .. } = self;
                free_space(theatre, client, notebook, &order, timeout).await;
            }
        }
    }
}

/// Looks for an alarm at the first of these members that answers, and frees space where there is one.
pub(crate) async fn free_space<T: Theatre>(
    theatre: &T,
    client: &mut T::Client,
    notebook: &Notebook,
    order: &[MemberId],
    timeout: Duration,
) {
    let mut operator = Operator { theatre, client, notebook, timeout };
    let mut told = None;
    for member in order {
        let call = theatre.now();
        if let Ok(Response::AlarmList(list)) =
            operator.client.call(*member, Request::AlarmList, timeout).await
        {
            told = Some((Sighting { call, ret: theatre.now() }, list));
            break;
        }
    }
    let Some((seen, list)) = told else { return };
    let full = |(_, kind): &&(MemberId, AlarmKind)| *kind == AlarmKind::NoSpace;
    let alarmed: Vec<MemberId> = list.alarms.iter().filter(full).map(|(member, _)| *member).collect();
    if alarmed.is_empty() {
        return;
    }
    let revision = list.header.revision;
    notebook.space(SpaceRecord { what: SpaceStep::Alarmed, seen, revision: revision.0, done: true });
    theatre.sleep_until(theatre.now() + PAUSE).await;
    let request = Request::Compact(CompactRequest { revision, physical: true });
    operator.anywhere(order, SpaceStep::Compact, revision, request).await;
    for member in order {
        operator.ask(*member, SpaceStep::Defragment, Revision(0), Request::Defragment).await;
        // This member has room again, and the alarm is on.
        theatre.sleep_until(theatre.now() + PAUSE).await;
    }
    for member in alarmed {
        let change = AlarmChangeRequest { raise: false, member, kind: AlarmKind::NoSpace };
        operator.anywhere(order, SpaceStep::Disarm, Revision(0), Request::AlarmChange(change)).await;
    }
}

struct Operator<'a, T: Theatre> {
    theatre: &'a T,
    client: &'a mut T::Client,
    notebook: &'a Notebook,
    timeout: Duration,
}

impl<T: Theatre> Operator<'_, T> {
    /// Whether it was done.
    async fn ask(&mut self, member: MemberId, what: SpaceStep, revision: Revision, request: Request) -> bool {
        let call = self.theatre.now();
        let seen = Sighting { call, ret: call };
        let place = self.notebook.space(SpaceRecord { what, seen, revision: revision.0, done: false });
        let done = self.client.call(member, request, self.timeout).await.is_ok();
        self.notebook.space_done(place, self.theatre.now(), done);
        done
    }

    /// Asks one member after the other until one does it.
    async fn anywhere(&mut self, order: &[MemberId], what: SpaceStep, revision: Revision, request: Request) {
        for member in order {
            if self.ask(*member, what, revision, request.clone()).await {
                return;
            }
        }
    }
}
