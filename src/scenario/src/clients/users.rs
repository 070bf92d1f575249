//! Users whose rights change while they use them. The first client is the administrator: it makes the users, turns
//! authentication on, and from then on gives and takes what each may do with its keys.

use super::Actor;
use crate::plan::StepKind;
use crate::record::{PermitRecord, Sighting, TryRecord, UsersView};
use crate::theatre::{CallError, Client, Theatre};
use seatrial_types::auth::{Access, AuthAnswer, AuthRequest, AuthResponse, Permission, Secret};
use seatrial_types::request::{PutRequest, RangeRequest, Request, Response};
use seatrial_types::{Error, KeyRange, MemberId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The user who may do everything.
pub(crate) const ROOT: &str = "root";
/// Its password.
pub(crate) const ROOT_PASSWORD: &str = "root's";

/// Between two tries of the administrator.
const LOOK: Duration = Duration::from_millis(250);

fn user_name(user: u32) -> String {
    format!("user-{user}")
}

fn role_name(user: u32) -> String {
    format!("role-{user}")
}

fn password(user: u32) -> String {
    format!("password of {user}")
}

/// The keys of a user.
fn keys_of(user: u32) -> KeyRange {
    KeyRange::prefix(format!("user/{user}/"))
}

fn permit(user: u32, allowed: bool) -> AuthRequest {
    let (role, range) = (role_name(user), keys_of(user));
    if allowed {
        let permission = Some(Permission { access: Access::ReadWrite, range });
        AuthRequest::RoleGrantPermission { role, permission }
    } else {
        AuthRequest::RoleRevokePermission { role, range }
    }
}

impl<T: Theatre> Actor<T> {
    pub(super) async fn administer(&mut self) {
        self.client.identify(ROOT, ROOT_PASSWORD);
        let users = self.plan.spec.clients - 1;
        let Some(first) = self.next_step(0).await else { return };
        let mut allowed: BTreeMap<u32, bool> = BTreeMap::new();
        // Of these nobody knows what they may do: a change whose answer was lost may still come.
        let mut lost: BTreeSet<u32> = BTreeSet::new();
        if !self.make_users(first.member, users).await {
            return;
        }
        for user in 1..=users {
            self.decide(first.member, user, true, &mut allowed, &mut lost).await;
        }
        if !self.insist(first.member, AuthRequest::Enable).await {
            return;
        }
        self.notebook.users_on(self.theatre.now());
        let mut at = 1;
        while let Some(step) = self.next_step(at).await {
            at += 1;
            let StepKind::Permit { user } = step.what else { continue };
            if !lost.contains(&user) {
                let is_allowed = allowed.get(&user).copied().unwrap_or(false);
                self.decide(step.member, user, !is_allowed, &mut allowed, &mut lost).await;
            }
        }
    }

    /// Users, roles, and root, without whom authentication cannot be on.
    async fn make_users(&mut self, member: MemberId, users: u32) -> bool {
        let plain = |text: String| Secret::Plain(text);
        let mut wanted = vec![
            AuthRequest::UserAdd { name: ROOT.to_owned(), password: plain(ROOT_PASSWORD.to_owned()) },
            AuthRequest::RoleAdd { role: ROOT.to_owned() },
            AuthRequest::UserGrantRole { user: ROOT.to_owned(), role: ROOT.to_owned() },
        ];
        for user in 1..=users {
            wanted.push(AuthRequest::UserAdd { name: user_name(user), password: plain(password(user)) });
            wanted.push(AuthRequest::RoleAdd { role: role_name(user) });
            wanted.push(AuthRequest::UserGrantRole { user: user_name(user), role: role_name(user) });
        }
        for request in wanted {
            if !self.insist(member, request).await {
                return false;
            }
        }
        true
    }

    /// Until it is done, or the storm is over.
    async fn insist(&mut self, from: MemberId, request: AuthRequest) -> bool {
        let mut member = from;
        loop {
            let timeout = self.plan.spec.timeout;
            match self.call_round(&mut member, Request::Auth(request.clone()), timeout).await {
                Ok(_) => return true,
                // Done already, by an attempt whose answer was lost.
                Err(CallError { error: Error::UserExists | Error::RoleExists, .. }) => return true,
                Err(_) => {}
            }
            if self.theatre.now() + LOOK >= self.until {
                return false;
            }
            self.theatre.sleep_until(self.theatre.now() + LOOK).await;
        }
    }

    async fn decide(
        &mut self,
        member: MemberId,
        user: u32,
        allows: bool,
        allowed: &mut BTreeMap<u32, bool>,
        lost: &mut BTreeSet<u32>,
    ) {
        let call = self.theatre.now();
        // Whoever judges must know of a change that is under way when the run ends.
        let record = PermitRecord { user, allowed: allows, seen: Sighting { call, ret: call }, done: None };
        let place = self.notebook.open_permit(record);
        let timeout = self.plan.spec.timeout;
        let answer = self.client.call(member, Request::Auth(permit(user, allows)), timeout).await;
        let done = match &answer {
            Ok(_) => Some(true),
            Err(CallError { ambiguous: true, .. }) => None,
            Err(_) => Some(false),
        };
        match done {
            Some(true) => {
                allowed.insert(user, allows);
            }
            Some(false) => {}
            None => {
                lost.insert(user);
            }
        }
        self.notebook.permitted(place, self.theatre.now(), done);
    }

    pub(super) async fn try_rights(&mut self) {
        let user = self.plan.number;
        self.client.identify(&user_name(user), &password(user));
        let key = format!("user/{user}/x");
        let mut at = 0;
        while let Some(step) = self.next_step(at).await {
            at += 1;
            let StepKind::Try { write } = step.what else { continue };
            let request = if write {
                let value = self.value().into();
                Request::Put(PutRequest { key: key.clone().into(), value, ..PutRequest::default() })
            } else {
                let range = KeyRange::single(key.clone());
                Request::Range(RangeRequest { range, ..RangeRequest::default() })
            };
            let call = self.theatre.now();
            let answer = self.client.call(step.member, request, self.plan.spec.timeout).await;
            let allowed = match answer {
                Ok(_) => true,
                Err(CallError { error: Error::PermissionDenied, .. }) => false,
                // It did not come to a decision, or nobody knows.
                Err(_) => continue,
            };
            let seen = Sighting { call, ret: self.theatre.now() };
            self.notebook.tried(TryRecord { user, member: step.member, write, seen, allowed });
        }
    }
}

/// What one member knows of users and roles; `None` where it does not answer.
pub(crate) async fn view_of<C: Client>(
    client: &mut C,
    member: MemberId,
    users: u32,
    timeout: Duration,
) -> Option<UsersView> {
    let mut parts = Vec::new();
    let mut wanted = vec![AuthRequest::Status, AuthRequest::UserList, AuthRequest::RoleList];
    for user in 1..=users {
        wanted.push(AuthRequest::UserGet { name: user_name(user) });
        wanted.push(AuthRequest::RoleGet { role: role_name(user) });
    }
    for request in wanted {
        match client.call(member, Request::Auth(request), timeout).await {
            Ok(Response::Auth(AuthResponse { body: AuthAnswer::Token { .. }, .. })) => return None,
            Ok(Response::Auth(answer)) => parts.push(format!("{:?}", answer.body)),
            // The storm may have been over before everybody was made.
            Err(CallError { error: Error::UserNotFound | Error::RoleNotFound, .. }) => {
                parts.push("none".to_owned());
            }
            _ => return None,
        }
    }
    Some(UsersView { member, text: parts.join("; ") })
}
