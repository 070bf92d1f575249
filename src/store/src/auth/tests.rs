//! Rules of etcd's, one by one, and the whole against a naive reading of them.

use super::*;
use crate::backend::MemBackend;
use crate::command::Command;
use crate::lease::Leases;
use proptest::prelude::*;
use seatrial_types::auth::Identity;
use seatrial_types::request::{
    Compare, CompareOp, CompareTarget, DeleteRangeRequest, PutRequest, RangeRequest, TxnOp, TxnRequest,
};
use seatrial_types::{LeaseId, Request, Revision};
use std::time::Duration;

/// Users and roles with their rows.
#[derive(Default)]
struct Desk {
    auth: Auth,
    backend: MemBackend,
}

impl Desk {
    fn change(&mut self, request: &AuthRequest) -> Result<AuthAnswer, Error> {
        let answer = self.auth.change(request, &mut self.backend);
        self.auth.check();
        assert_eq!(Auth::load(&self.backend).unwrap(), self.auth, "what a restart would find");
        answer
    }

    fn done(&mut self, request: &AuthRequest) {
        assert_eq!(self.change(request), Ok(AuthAnswer::Done), "{request:?}");
    }

    fn user(&mut self, name: &str, roles: &[&str]) {
        self.done(&add_user(name));
        for role in roles {
            self.done(&grant(name, role));
        }
    }

    fn allow(&mut self, role: &str, access: Access, key: &str, end: &str) {
        self.done(&AuthRequest::RoleGrantPermission {
            role: role.into(),
            permission: Some(Permission { access, range: range(key, end) }),
        });
    }

    /// With root, and a user `ann` whose role `dev` reads `[a, c)`, writes `[b, d)` and does both with `x`.
    fn enabled() -> Self {
        let mut desk = Self::default();
        desk.user(ROOT, &[ROOT]);
        desk.done(&AuthRequest::RoleAdd { role: "dev".into() });
        desk.allow("dev", Access::Read, "a", "c");
        desk.allow("dev", Access::Write, "b", "d");
        desk.allow("dev", Access::ReadWrite, "x", "");
        desk.user("ann", &["dev"]);
        desk.done(&AuthRequest::Enable);
        desk
    }

    fn who(&self, name: &str) -> Identity {
        Identity { user: name.into(), revision: self.auth.revision() }
    }

    fn may(&self, name: &str, command: &Command) -> Result<(), Error> {
        self.auth.check_command(&self.who(name), command, &Leases::default())
    }

    fn reads(&self, name: &str, key: &str, end: &str) -> Result<(), Error> {
        let request = Request::Range(RangeRequest { range: range(key, end), ..RangeRequest::default() });
        self.auth.check_request(&self.who(name), &request, &Leases::default())
    }
}

fn range(key: &str, end: &str) -> KeyRange {
    KeyRange { key: key.to_owned().into(), end: end.to_owned().into() }
}

fn add_user(name: &str) -> AuthRequest {
    AuthRequest::UserAdd { name: name.into(), password: Secret::Hash("h".into()) }
}

fn grant(user: &str, role: &str) -> AuthRequest {
    AuthRequest::UserGrantRole { user: user.into(), role: role.into() }
}

fn revoke(user: &str, role: &str) -> AuthRequest {
    AuthRequest::UserRevokeRole { user: user.into(), role: role.into() }
}

fn put(key: &str) -> PutRequest {
    PutRequest { key: key.to_owned().into(), ..PutRequest::default() }
}

fn delete(key: &str, end: &str, prev_kv: bool) -> DeleteRangeRequest {
    DeleteRangeRequest { range: range(key, end), prev_kv }
}

const DENIED: Result<(), Error> = Err(Error::PermissionDenied);

#[test]
fn authentication_begins_only_with_a_root_that_has_its_role() {
    let mut desk = Desk::default();
    assert_eq!(desk.change(&AuthRequest::Enable), Err(Error::RootUserNotExist));
    desk.done(&add_user(ROOT));
    assert_eq!(desk.change(&AuthRequest::Enable), Err(Error::RootRoleNotExist));
    // The root role need not have been added before it is given.
    desk.done(&grant(ROOT, ROOT));
    desk.done(&AuthRequest::Enable);
    desk.done(&AuthRequest::Enable);
    assert!(desk.auth.is_enabled());

    for forbidden in [
        AuthRequest::UserDelete { name: ROOT.into() },
        AuthRequest::RoleDelete { role: ROOT.into() },
        revoke(ROOT, ROOT),
    ] {
        assert_eq!(desk.change(&forbidden), Err(Error::InvalidAuthManagement), "{forbidden:?}");
    }
    desk.done(&AuthRequest::Disable);
    desk.done(&revoke(ROOT, ROOT));
    desk.done(&AuthRequest::UserDelete { name: ROOT.into() });
}

#[test]
fn every_change_raises_the_revision_but_those_that_change_nothing() {
    let mut desk = Desk::default();
    let revision = |desk: &Desk| desk.auth.revision().0;
    assert_eq!(revision(&desk), 1);
    desk.done(&AuthRequest::Disable);
    assert_eq!(revision(&desk), 1, "it was off");
    desk.user(ROOT, &[ROOT]);
    assert_eq!(revision(&desk), 3);
    desk.done(&grant(ROOT, ROOT));
    assert_eq!(revision(&desk), 3, "it had the role");
    desk.done(&AuthRequest::Enable);
    assert_eq!(revision(&desk), 3, "as in etcd");
    assert_eq!(desk.change(&add_user(ROOT)), Err(Error::UserExists));
    assert_eq!(revision(&desk), 3);
    desk.done(&AuthRequest::RoleAdd { role: "r".into() });
    desk.allow("r", Access::Read, "k", "");
    desk.done(&AuthRequest::Disable);
    assert_eq!(revision(&desk), 6);
}

#[test]
fn what_is_not_there_is_refused_by_name() {
    let mut desk = Desk::default();
    let role = || "r".to_owned();
    let cases = [
        (add_user(""), Error::UserEmpty),
        (AuthRequest::RoleAdd { role: String::new() }, Error::RoleEmpty),
        (AuthRequest::UserDelete { name: "u".into() }, Error::UserNotFound),
        (grant("u", "r"), Error::UserNotFound),
        (revoke("u", "r"), Error::UserNotFound),
        (AuthRequest::RoleDelete { role: role() }, Error::RoleNotFound),
        (AuthRequest::RoleGrantPermission { role: role(), permission: None }, Error::PermissionNotGiven),
        (AuthRequest::RoleRevokePermission { role: role(), range: range("k", "") }, Error::RoleNotFound),
        (
            AuthRequest::UserChangePassword { name: "u".into(), password: Secret::Hash("h".into()) },
            Error::UserNotFound,
        ),
    ];
    for (request, error) in cases {
        assert_eq!(desk.change(&request), Err(error), "{request:?}");
    }
    desk.user("u", &[]);
    desk.done(&AuthRequest::RoleAdd { role: role() });
    assert_eq!(desk.change(&grant("u", "other")), Err(Error::RoleNotFound));
    assert_eq!(desk.change(&revoke("u", "r")), Err(Error::RoleNotGranted));
    assert_eq!(desk.change(&AuthRequest::RoleAdd { role: role() }), Err(Error::RoleExists));
    let other = AuthRequest::RoleRevokePermission { role: role(), range: range("k", "") };
    assert_eq!(desk.change(&other), Err(Error::PermissionNotGranted));
    let backwards = Permission { access: Access::Read, range: range("k", "a") };
    let backwards = AuthRequest::RoleGrantPermission { role: role(), permission: Some(backwards) };
    assert_eq!(desk.change(&backwards), Err(Error::InvalidAuthManagement));
}

#[test]
fn a_password_itself_is_never_kept() {
    let mut desk = Desk::default();
    let plain = AuthRequest::UserAdd { name: "u".into(), password: Secret::Plain("secret".into()) };
    assert_eq!(desk.change(&plain), Err(Error::InvalidAuthManagement));
    assert_eq!(desk.auth.read(&AuthRequest::UserList), Ok(AuthAnswer::Names(Vec::new())));
}

#[test]
fn a_user_without_a_password_never_gets_one() {
    let mut desk = Desk::default();
    desk.done(&AuthRequest::UserAdd { name: "u".into(), password: Secret::Nothing });
    desk.done(&AuthRequest::UserChangePassword { name: "u".into(), password: Secret::Hash("h".into()) });
    assert_eq!(desk.auth.users["u"].secret, Secret::Nothing);
}

#[test]
fn keys_are_read_and_written_within_the_permissions_alone() {
    let desk = Desk::enabled();
    assert_eq!(desk.reads("ann", "a", "c"), Ok(()));
    assert_eq!(desk.reads("ann", "a", "d"), DENIED);
    assert_eq!(desk.reads("ann", "x", ""), Ok(()));
    assert_eq!(desk.reads("ann", "a", "\0"), DENIED);
    assert_eq!(desk.reads(ROOT, "a", "\0"), Ok(()));
    assert_eq!(desk.may("ann", &Command::Put(put("c"))), Ok(()));
    assert_eq!(desk.may("ann", &Command::Put(put("a"))), DENIED);
    assert_eq!(desk.may("ann", &Command::DeleteRange(delete("b", "d", false))), Ok(()));
    assert_eq!(desk.may("ann", &Command::DeleteRange(delete("b", "e", false))), DENIED);
    assert_eq!(desk.may("stranger", &Command::Put(put("c"))), DENIED);
    assert_eq!(desk.may("", &Command::Put(put("c"))), Err(Error::UserEmpty));
}

#[test]
fn the_version_before_is_given_only_to_those_who_may_read() {
    let desk = Desk::enabled();
    let with = |key: &str| Command::Put(PutRequest { prev_kv: true, ..put(key) });
    assert_eq!(desk.may("ann", &with("b")), Ok(()));
    assert_eq!(desk.may("ann", &with("c")), DENIED);
    assert_eq!(desk.may("ann", &Command::DeleteRange(delete("b", "c", true))), Ok(()));
    assert_eq!(desk.may("ann", &Command::DeleteRange(delete("b", "d", true))), DENIED);
}

#[test]
fn a_transaction_is_checked_in_both_branches_and_to_its_depth() {
    let desk = Desk::enabled();
    let compare = |key: &str| Compare {
        range: range(key, ""),
        op: CompareOp::Equal,
        target: CompareTarget::Mod(Revision(0)),
    };
    let txn = |compares: Vec<Compare>, success: Vec<TxnOp>, failure: Vec<TxnOp>| {
        desk.may("ann", &Command::Txn(TxnRequest { compare: compares, success, failure }))
    };
    let writes = |key: &str| TxnOp::Put(put(key));
    let nested =
        |op: TxnOp| TxnOp::Txn(TxnRequest { compare: Vec::new(), success: Vec::new(), failure: vec![op] });
    assert_eq!(txn(vec![compare("a")], vec![writes("b")], vec![writes("c")]), Ok(()));
    assert_eq!(txn(vec![compare("c")], vec![writes("b")], vec![]), DENIED);
    assert_eq!(txn(vec![], vec![writes("a")], vec![]), DENIED);
    assert_eq!(txn(vec![], vec![], vec![writes("a")]), DENIED);
    assert_eq!(txn(vec![], vec![nested(nested(writes("c")))], vec![]), Ok(()));
    assert_eq!(txn(vec![], vec![nested(nested(writes("a")))], vec![]), DENIED);
}

#[test]
fn a_lease_belongs_to_those_who_may_write_all_its_keys() {
    let desk = Desk::enabled();
    let mut leases = Leases::default();
    leases.grant(LeaseId(1), 10, Duration::ZERO);
    leases.attach(&Bytes::from_static(b"b"), LeaseId(1));
    let who = desk.who("ann");
    let revoke = Command::LeaseRevoke(LeaseId(1));
    let attach = Command::Put(PutRequest { lease: LeaseId(1), ..put("c") });
    assert_eq!(desk.auth.check_command(&who, &revoke, &leases), Ok(()));
    assert_eq!(desk.auth.check_command(&who, &attach, &leases), Ok(()));
    leases.attach(&Bytes::from_static(b"z"), LeaseId(1));
    assert_eq!(desk.auth.check_command(&who, &revoke, &leases), DENIED);
    assert_eq!(desk.auth.check_command(&who, &attach, &leases), DENIED);
    let ask = |keys| {
        let ask = seatrial_types::request::LeaseTimeToLiveRequest { id: LeaseId(1), keys };
        desk.auth.check_request(&who, &Request::LeaseTimeToLive(ask), &leases)
    };
    assert_eq!(ask(false), Ok(()));
    assert_eq!(ask(true), DENIED);
}

#[test]
fn users_and_members_are_for_root_and_everybody_sees_themselves() {
    let desk = Desk::enabled();
    let asks = |name: &str, request: AuthRequest| {
        desk.auth.check_request(&desk.who(name), &Request::Auth(request), &Leases::default())
    };
    assert_eq!(asks("ann", AuthRequest::UserGet { name: "ann".into() }), Ok(()));
    assert_eq!(asks("ann", AuthRequest::UserGet { name: ROOT.into() }), DENIED);
    assert_eq!(asks("ann", AuthRequest::RoleGet { role: "dev".into() }), Ok(()));
    assert_eq!(asks("ann", AuthRequest::RoleGet { role: ROOT.into() }), DENIED);
    assert_eq!(asks("ann", AuthRequest::UserList), DENIED);
    assert_eq!(asks("", AuthRequest::UserList), Err(Error::UserEmpty));
    assert_eq!(asks(ROOT, AuthRequest::UserList), Ok(()));
    assert_eq!(desk.may("ann", &Command::Auth(AuthRequest::Disable)), DENIED);
    let moved = Request::MoveLeader(seatrial_types::MemberId(1));
    assert_eq!(desk.auth.check_request(&desk.who("ann"), &moved, &Leases::default()), DENIED);
    assert_eq!(desk.auth.check_request(&desk.who(""), &Request::Status, &Leases::default()), Ok(()));
}

#[test]
fn who_was_known_before_a_change_must_come_again() {
    let mut desk = Desk::enabled();
    let before = desk.who("ann");
    desk.done(&AuthRequest::RoleAdd { role: "more".into() });
    let command = Command::Put(put("c"));
    let leases = Leases::default();
    assert_eq!(desk.auth.check_command(&before, &command, &leases), Err(Error::AuthOldRevision));
    assert_eq!(desk.may("ann", &command), Ok(()));
}

#[test]
fn a_token_is_refused_where_the_password_may_have_changed_since() {
    let mut desk = Desk::enabled();
    let checked = desk.auth.revision();
    let admit = AuthRequest::Admit { name: "ann".into(), checked, prefix: "p".into() };
    let token = AuthAnswer::Token { token: "p".into(), revision: checked };
    assert_eq!(desk.change(&admit), Ok(token));
    desk.done(&AuthRequest::UserChangePassword { name: "ann".into(), password: Secret::Hash("2".into()) });
    assert_eq!(desk.change(&admit), Err(Error::AuthOldRevision));
}

#[test]
fn a_role_that_is_deleted_is_taken_from_its_users() {
    let mut desk = Desk::enabled();
    desk.done(&AuthRequest::RoleDelete { role: "dev".into() });
    assert_eq!(desk.auth.read(&AuthRequest::UserGet { name: "ann".into() }), Ok(AuthAnswer::Names(vec![])));
    assert_eq!(desk.may("ann", &Command::Put(put("c"))), DENIED);
}

fn permission() -> impl Strategy<Value = (Access, KeyRange)> {
    let key = prop::sample::select(vec!["a", "b", "c", "d"]);
    let end = prop::sample::select(vec!["", "b", "c", "d", "e", "\0"]);
    let access = prop::sample::select(vec![Access::Read, Access::Write, Access::ReadWrite]);
    (access, key, end).prop_map(|(access, key, end)| (access, range(key, end)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// The definition: a request is allowed where each of its keys is in a permission of one of the user's roles.
    #[test]
    fn permissions_agree_with_a_look_at_each_key(
        given in prop::collection::vec((0..3usize, permission()), 0..8),
        has in prop::collection::btree_set(0..3usize, 0..3),
        (_, asked) in permission(),
    ) {
        let mut desk = Desk::default();
        desk.user(ROOT, &[ROOT]);
        let roles = ["r0", "r1", "r2"];
        for role in roles {
            desk.done(&AuthRequest::RoleAdd { role: role.into() });
        }
        // The last word on a range counts.
        let mut last = BTreeMap::new();
        for (role, (access, range)) in &given {
            let permission = Some(Permission { access: *access, range: range.clone() });
            let granted = desk.change(&AuthRequest::RoleGrantPermission { role: roles[*role].into(), permission });
            if granted.is_ok() {
                last.insert((*role, range.key.clone(), range.end.clone()), *access);
            }
        }
        let names: Vec<_> = has.iter().map(|role| roles[*role]).collect();
        desk.user("ann", &names);
        desk.done(&AuthRequest::Enable);

        // Between any two bounds lies one of these.
        let points: Vec<Vec<u8>> = ["a", "b", "c", "d", "e"]
            .iter()
            .flat_map(|key| [key.as_bytes().to_vec(), format!("{key}\0").into_bytes(), format!("{key}z").into_bytes()])
            .collect();
        let allowed = |write: bool| {
            let mut some = false;
            let all = points.iter().filter(|key| asked.contains(key)).all(|key| {
                some = true;
                last.iter().any(|((role, from, to), access)| {
                    let range = KeyRange { key: from.clone(), end: to.clone() };
                    has.contains(role) && range.contains(key) && if write { access.writes() } else { access.reads() }
                })
            });
            some && all
        };
        let read = Request::Range(RangeRequest { range: asked.clone(), ..RangeRequest::default() });
        let read = desk.auth.check_request(&desk.who("ann"), &read, &Leases::default());
        prop_assert_eq!(read.is_ok(), allowed(false));
        let write = Command::DeleteRange(DeleteRangeRequest { range: asked.clone(), prev_kv: false });
        prop_assert_eq!(desk.may("ann", &write).is_ok(), allowed(true));
    }
}
