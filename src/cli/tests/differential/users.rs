//! Episodes of another kind: users, roles and permissions, and who may read and write what. Each has new servers, for
//! what it leaves behind cannot be wiped by nobody.
//!
//! What stands in docs/differences-from-etcd.md about authentication is not asked: leases, compaction and members while
//! it is on, old values and further transactions inside of one, ranges whose end lies before their start.

use crate::episode::Tally;
use crate::support::SEATRIAL;
use crate::support::server::{Servers, version};
use bytes::Bytes;
use pb::auth_client::AuthClient;
use pb::kv_client::KvClient;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use seatrial_proto::{authpb, etcdserverpb as pb};
use seatrial_wire::{Channel, ChannelOptions};
use seatrial_world_real::RealWorld;
use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;
use tonic::{Request, Response, Status};

/// Who asks: nobody, and four that have logged in, or have not.
const SLOTS: [&str; 5] = ["", "root", "ann", "bob", "ann"];

#[derive(Clone, Debug)]
enum Ask {
    Enable(pb::AuthEnableRequest),
    Disable(pb::AuthDisableRequest),
    Status(pb::AuthStatusRequest),
    LogIn(pb::AuthenticateRequest),
    UserAdd(pb::AuthUserAddRequest),
    UserGet(pb::AuthUserGetRequest),
    UserList(pb::AuthUserListRequest),
    UserDelete(pb::AuthUserDeleteRequest),
    Password(pb::AuthUserChangePasswordRequest),
    GrantRole(pb::AuthUserGrantRoleRequest),
    RevokeRole(pb::AuthUserRevokeRoleRequest),
    RoleAdd(pb::AuthRoleAddRequest),
    RoleGet(pb::AuthRoleGetRequest),
    RoleList(pb::AuthRoleListRequest),
    RoleDelete(pb::AuthRoleDeleteRequest),
    Grant(pb::AuthRoleGrantPermissionRequest),
    Revoke(pb::AuthRoleRevokePermissionRequest),
    Range(pb::RangeRequest),
    Put(pb::PutRequest),
    Delete(pb::DeleteRangeRequest),
    Txn(pb::TxnRequest),
}

struct Dice {
    chance: ChaCha8Rng,
    /// Whether passwords are changed to empty ones: nobody has such a one since etcd 3.5, and any user may in 3.4.
    empties: bool,
}

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        (self.chance.next_u64() % end as u64) as usize
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let index = self.below(from.len());
        from[index].clone()
    }

    fn user(&mut self) -> String {
        self.pick(&["root", "ann", "ann", "bob", "bob", "carl", ""]).to_owned()
    }

    fn role(&mut self) -> String {
        self.pick(&["root", "r", "r", "s", "s", "t", ""]).to_owned()
    }

    fn changed_password(&mut self) -> String {
        let password = self.pick(&["one", "two", ""]);
        if password.is_empty() && !self.empties { "one".to_owned() } else { password.to_owned() }
    }

    fn password(&mut self) -> String {
        self.pick(&["one", "one", "one", "two", ""]).to_owned()
    }

    /// A key, and an end behind it or none.
    fn range(&mut self) -> (Bytes, Bytes) {
        let key = self.pick(&["a", "a/1", "b", "c", "c/2"]);
        let end = match self.below(6) {
            0 => "\0".to_owned(),
            1 => format!("{key}0"),
            2 => "d".to_owned(),
            _ => String::new(),
        };
        (key.into(), end.into())
    }

    /// Every key with one end of its own: where a role has two ranges that begin alike, etcd may enter one of them twice,
    /// and lists them in the order in which they came.
    fn granted(&mut self) -> (Bytes, Bytes) {
        let (key, end) = [("a", ""), ("a/1", "a/2"), ("b", "\0"), ("c", "d"), ("c/2", "")][self.below(5)];
        (key.into(), end.into())
    }

    fn range_request(&mut self) -> pb::RangeRequest {
        let (key, range_end) = self.range();
        pb::RangeRequest { key, range_end, serializable: self.below(3) == 0, ..pb::RangeRequest::default() }
    }

    fn put_request(&mut self) -> pb::PutRequest {
        pb::PutRequest { key: self.range().0, value: "v".into(), ..pb::PutRequest::default() }
    }

    fn op(&mut self) -> pb::RequestOp {
        use pb::request_op::Request;
        let request = match self.below(3) {
            0 => Request::RequestRange(self.range_request()),
            1 => Request::RequestPut(self.put_request()),
            _ => {
                let (key, range_end) = self.range();
                Request::RequestDeleteRange(pb::DeleteRangeRequest { key, range_end, prev_kv: false })
            }
        };
        pb::RequestOp { request: Some(request) }
    }

    fn ask(&mut self) -> Ask {
        let (name, role) = (self.user(), self.role());
        match self.below(60) {
            0 | 1 => Ask::Enable(pb::AuthEnableRequest {}),
            2 => Ask::Disable(pb::AuthDisableRequest {}),
            3 => Ask::Status(pb::AuthStatusRequest {}),
            4..12 => Ask::LogIn(pb::AuthenticateRequest { name, password: self.password() }),
            12..16 => {
                let no_password = self.below(8) == 0;
                let password = if no_password { String::new() } else { self.password() };
                let options = Some(authpb::UserAddOptions { no_password });
                let options = options.filter(|_| no_password || self.below(2) == 0);
                Ask::UserAdd(pb::AuthUserAddRequest { name, password, options, ..Default::default() })
            }
            // Nobody may ask there for the user of no name.
            16 | 17 if !name.is_empty() => Ask::UserGet(pb::AuthUserGetRequest { name }),
            18 => Ask::UserList(pb::AuthUserListRequest {}),
            19 => Ask::UserDelete(pb::AuthUserDeleteRequest { name }),
            20 => {
                let password = self.changed_password();
                Ask::Password(pb::AuthUserChangePasswordRequest { name, password, ..Default::default() })
            }
            21..26 => Ask::GrantRole(pb::AuthUserGrantRoleRequest { user: name, role }),
            26 => Ask::RevokeRole(pb::AuthUserRevokeRoleRequest { name, role }),
            27..30 => Ask::RoleAdd(pb::AuthRoleAddRequest { name: role }),
            30 | 31 => Ask::RoleGet(pb::AuthRoleGetRequest { role }),
            32 => Ask::RoleList(pb::AuthRoleListRequest {}),
            33 => Ask::RoleDelete(pb::AuthRoleDeleteRequest { role }),
            34..38 => {
                let (key, range_end) = self.granted();
                let perm = Some(authpb::Permission { perm_type: self.below(3) as i32, key, range_end });
                Ask::Grant(pb::AuthRoleGrantPermissionRequest { name: role, perm })
            }
            38 => {
                let (key, range_end) = self.granted();
                Ask::Revoke(pb::AuthRoleRevokePermissionRequest { role, key, range_end })
            }
            39..45 => Ask::Range(self.range_request()),
            45..51 => Ask::Put(self.put_request()),
            51..54 => {
                let (key, range_end) = self.range();
                Ask::Delete(pb::DeleteRangeRequest { key, range_end, prev_kv: self.below(2) == 0 })
            }
            _ => {
                let compare = (0..self.below(2)).map(|_| {
                    let (key, range_end) = self.range();
                    pb::Compare { key, range_end, ..pb::Compare::default() }
                });
                let compare = compare.collect();
                // One that asks for nothing may be asked by anybody there.
                let first = self.op();
                let [mut success, failure] =
                    [0, 1].map(|_| (0..self.below(3)).map(|_| self.op()).collect::<Vec<_>>());
                success.push(first);
                Ask::Txn(pb::TxnRequest { compare, success, failure })
            }
        }
    }
}

struct Side {
    auth: AuthClient<Channel<RealWorld>>,
    kv: KvClient<Channel<RealWorld>>,
    tokens: [Option<String>; SLOTS.len()],
}

/// Terms, members and clusters are each server's own.
fn header(text: String) -> String {
    let mut out = text;
    for field in ["cluster_id: ", "member_id: ", "raft_term: "] {
        let parts: Vec<&str> = out.split(field).collect();
        let rest = parts[1..].iter().map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit()));
        out = [parts[0]].into_iter().chain(rest).collect::<Vec<_>>().join("");
    }
    out
}

impl Side {
    async fn connect(servers: &Servers) -> Self {
        let world = RealWorld::on(tokio::runtime::Handle::current());
        let options = ChannelOptions { keepalive_interval: None, ..ChannelOptions::default() };
        let channel = Channel::new(world, servers.address(), options);
        let mut kv = KvClient::new(channel.clone());
        let begun = std::time::Instant::now();
        while kv.range(pb::RangeRequest { key: "k".into(), ..Default::default() }).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "the server does not come up");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        Self { auth: AuthClient::new(channel), kv, tokens: Default::default() }
    }

    async fn call(&mut self, slot: usize, ask: Ask) -> String {
        async fn said<T: Debug>(call: impl Future<Output = Result<Response<T>, Status>>) -> String {
            match tokio::time::timeout(crate::DELIVERY, call).await {
                Ok(Ok(answer)) => header(format!("{:?}", answer.into_inner())),
                Ok(Err(status)) => format!("{:?}: {}", status.code(), status.message()),
                Err(_) => "no answer".to_owned(),
            }
        }
        let token = self.tokens[slot].clone();
        macro_rules! named {
            ($message:expr) => {{
                let mut request = Request::new($message);
                if let Some(token) = &token {
                    request.metadata_mut().insert("token", token.parse().unwrap());
                }
                request
            }};
        }
        match ask {
            Ask::Enable(r) => said(self.auth.auth_enable(named!(r))).await,
            Ask::Disable(r) => {
                let told = said(self.auth.auth_disable(named!(r))).await;
                if told.starts_with("AuthDisableResponse") {
                    // These versions of etcd refuse a token that is over even where nobody needs one.
                    self.tokens = Default::default();
                }
                told
            }
            Ask::Status(r) => said(self.auth.auth_status(named!(r))).await,
            Ask::LogIn(r) => {
                let name = r.name.clone();
                match self.auth.authenticate(Request::new(r)).await {
                    Ok(answer) => {
                        let token = answer.into_inner().token;
                        for (at, owner) in SLOTS.iter().enumerate() {
                            // The last of the names keeps its first token.
                            if *owner == name && (at < SLOTS.len() - 1 || self.tokens[at].is_none()) {
                                self.tokens[at] = Some(token.clone());
                            }
                        }
                        format!("a token, empty {}", token.is_empty())
                    }
                    Err(status) => format!("{:?}: {}", status.code(), status.message()),
                }
            }
            Ask::UserAdd(r) => said(self.auth.user_add(named!(r))).await,
            Ask::UserGet(r) => said(self.auth.user_get(named!(r))).await,
            Ask::UserList(r) => said(self.auth.user_list(named!(r))).await,
            Ask::UserDelete(r) => said(self.auth.user_delete(named!(r))).await,
            Ask::Password(r) => said(self.auth.user_change_password(named!(r))).await,
            Ask::GrantRole(r) => said(self.auth.user_grant_role(named!(r))).await,
            Ask::RevokeRole(r) => said(self.auth.user_revoke_role(named!(r))).await,
            Ask::RoleAdd(r) => said(self.auth.role_add(named!(r))).await,
            Ask::RoleGet(r) => said(self.auth.role_get(named!(r))).await,
            Ask::RoleList(r) => said(self.auth.role_list(named!(r))).await,
            Ask::RoleDelete(r) => said(self.auth.role_delete(named!(r))).await,
            Ask::Grant(r) => said(self.auth.role_grant_permission(named!(r))).await,
            Ask::Revoke(r) => said(self.auth.role_revoke_permission(named!(r))).await,
            Ask::Range(r) => said(self.kv.range(named!(r))).await,
            Ask::Put(r) => said(self.kv.put(named!(r))).await,
            Ask::Delete(r) => said(self.kv.delete_range(named!(r))).await,
            Ask::Txn(r) => said(self.kv.txn(named!(r))).await,
        }
    }
}

/// So many requests from one number; what differs first, with what went before.
pub(crate) async fn run(program: &str, seed: u64, requests: u64, tally: &mut Tally) -> Result<(), String> {
    let flags = ["--bcrypt-cost".to_owned(), "4".to_owned()];
    let pair = [Servers::start(&[program], 1, &flags), Servers::start(&[SEATRIAL, "server"], 1, &flags)];
    let (mut theirs, mut ours) = tokio::join!(Side::connect(&pair[0]), Side::connect(&pair[1]));
    let empties = !version(program).starts_with("etcd 3.4.");
    let mut dice = Dice { chance: ChaCha8Rng::seed_from_u64(seed), empties };
    let mut done = Vec::new();
    for number in 0..requests {
        // Mostly as root, or nothing would ever be changed.
        let slot = if dice.below(2) == 0 { 1 } else { dice.below(SLOTS.len()) };
        let ask = dice.ask();
        // A root there is from the beginning.
        let ask = match number {
            0 => Ask::UserAdd(pb::AuthUserAddRequest {
                name: "root".into(),
                password: "one".into(),
                ..Default::default()
            }),
            1 => Ask::GrantRole(pb::AuthUserGrantRoleRequest { user: "root".into(), role: "root".into() }),
            _ => ask,
        };
        let what = format!("{}: {ask:?}", SLOTS[slot]);
        let (said, our) = tokio::join!(theirs.call(slot, ask.clone()), ours.call(slot, ask.clone()));
        tally.count(if said.starts_with(char::is_uppercase) && said.contains(": etcdserver") {
            "as users, refused"
        } else {
            "as users"
        });
        // New in 3.5.
        let unknown_there = matches!(ask, Ask::Status(_)) && said.starts_with("Unimplemented");
        if said != our && !unknown_there {
            let before = done.split_off(done.len().saturating_sub(60)).join("\n    ");
            return Err(format!(
                "users, seed {seed}, request {number}:\n    {before}\n  request: {what}\n  etcd:    {said}\n  ours:    {our}"
            ));
        }
        if !said.contains("permission denied") && !said.contains("kvs: [") {
            done.push(format!("{what} -> {said}"));
        }
    }
    Ok(())
}
