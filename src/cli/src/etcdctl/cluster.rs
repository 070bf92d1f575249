//! endpoint, member, lease, alarm, move-leader.

use super::args::{number, text, words};
use super::go::{duration_text, parse_hex_id, parse_int};
use super::{Fail, Session, code, error_text};
use clap::ArgMatches;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use seatrial_client::keep_alive;
use seatrial_types::request::{
    AlarmChangeRequest, AlarmListResponse, HashKvResponse, LeaseGrantRequest, LeaseTimeToLiveRequest,
    RangeRequest, StatusResponse,
};
use seatrial_types::{Code, Error, KeyRange, LeaseId, MemberId, Request, Response, Revision};
use seatrial_world::World;

/// One line of `endpoint health`. Healthy where `error` is empty.
pub(super) struct EndpointHealth {
    pub(super) endpoint: String,
    pub(super) took: String,
    pub(super) error: String,
}

/// One line of `endpoint status`.
pub(super) struct EndpointStatus {
    pub(super) endpoint: String,
    pub(super) status: StatusResponse,
}

/// One line of `endpoint hashkv`.
pub(super) struct EndpointHash {
    pub(super) endpoint: String,
    pub(super) hash: HashKvResponse,
}

fn lease_id(matches: &ArgMatches, missing: &str) -> Result<LeaseId, Fail> {
    let words = words(matches);
    let [id] = words.as_slice() else { return Err(Fail::args(missing)) };
    parse_int(&text(id), 16)
        .map(LeaseId)
        .map_err(|error| Fail::args(format!("bad lease ID arg ({error}), expecting ID in Hex")))
}

impl Session<'_> {
    /// The endpoints given, or with `--cluster` those of all members.
    pub(super) async fn endpoints(&mut self, matches: &ArgMatches) -> Result<Vec<String>, Fail> {
        if !matches.get_flag("cluster") {
            return Ok(self.globals.endpoints.clone());
        }
        let answer = self.call(Request::MemberList { linearizable: true }).await.map_err(|fail| {
            let text = format!("failed to fetch endpoints from etcd cluster member list: {}", fail.text);
            Fail::new(code::ERROR, text)
        })?;
        let Response::MemberList(answer) = answer else { return Err(Fail::odd()) };
        Ok(answer.members.into_iter().flat_map(|member| member.client_urls).collect())
    }

    /// Where nobody believes who we are, no endpoint is healthy.
    pub(super) async fn endpoint_health(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let stranger = self.log_in().await.err().map(|fail| fail.text);
        let endpoints = self.endpoints(matches).await?;
        let mut asked = FuturesUnordered::new();
        for endpoint in endpoints {
            let client = self.client_of(&endpoint)?;
            let world = self.world.clone();
            let timeout = self.globals.command_timeout;
            let stranger = stranger.clone();
            asked.push(async move {
                let start = world.now();
                let range = RangeRequest { range: KeyRange::single("health"), ..RangeRequest::default() };
                let answer = client.call_within(Request::Range(range), timeout).await;
                let took = duration_text(world.now() - start);
                let error = match answer {
                    _ if stranger.is_some() => stranger.unwrap_or_default(),
                    Ok(_) => String::new(),
                    // Refusing needs a quorum too.
                    Err(error) if error.error.code() == Code::PermissionDenied => String::new(),
                    Err(error) => error_text(&error.error),
                };
                EndpointHealth { endpoint, took, error }
            });
        }
        let mut all = Vec::new();
        while let Some(health) = asked.next().await {
            all.push(health);
        }
        let (out, err) = self.globals.printer.health(&all)?;
        self.out(&out)?;
        self.err(&err);
        if all.iter().any(|health| !health.error.is_empty()) {
            return Err(Fail::new(code::ERROR, "unhealthy cluster"));
        }
        Ok(())
    }

    pub(super) async fn endpoint_status(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let mut all = Vec::new();
        let mut failed = false;
        for endpoint in self.endpoints(matches).await? {
            let client = self.client_of(&endpoint)?;
            match client.call_within(Request::Status, self.globals.command_timeout).await {
                Ok(Response::Status(status)) => all.push(EndpointStatus { endpoint, status }),
                Ok(_) => return Err(Fail::odd()),
                Err(error) => {
                    failed = true;
                    let why = error_text(&error.error);
                    self.err(format!("Failed to get the status of endpoint {endpoint} ({why})\n").as_bytes());
                }
            }
        }
        self.out(&self.globals.printer.status(&all)?)?;
        if failed { Err(Fail::silent(code::ERROR)) } else { Ok(()) }
    }

    pub(super) async fn endpoint_hashkv(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let revision = Revision(number(matches, "rev")?);
        let mut all = Vec::new();
        let mut failed = None;
        for endpoint in self.endpoints(matches).await? {
            let client = self.client_of(&endpoint)?;
            match client.call_within(Request::HashKv { revision }, self.globals.command_timeout).await {
                Ok(Response::HashKv(hash)) => all.push(EndpointHash { endpoint, hash }),
                Ok(_) => return Err(Fail::odd()),
                Err(error) => {
                    let why = error_text(&error.error);
                    self.err(format!("Failed to get the hash of endpoint {endpoint} ({why})\n").as_bytes());
                    failed = Some(why);
                }
            }
        }
        self.out(&self.globals.printer.hashes(&all)?)?;
        failed.map_or(Ok(()), |why| Err(Fail::new(code::ERROR, why)))
    }

    pub(super) async fn alarm_list(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        if !words(matches).is_empty() {
            return Err(Fail::args("alarm list command accepts no arguments"));
        }
        let Response::AlarmList(answer) = self.call(Request::AlarmList).await? else {
            return Err(Fail::odd());
        };
        self.out(&self.globals.printer.alarms(&answer)?)
    }

    /// Clears every alarm there is.
    pub(super) async fn alarm_disarm(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        if !words(matches).is_empty() {
            return Err(Fail::args("alarm disarm command accepts no arguments"));
        }
        let Response::AlarmList(on) = self.call(Request::AlarmList).await? else {
            return Err(Fail::odd());
        };
        let mut cleared = AlarmListResponse::default();
        for (member, kind) in on.alarms {
            let change = AlarmChangeRequest { raise: false, member, kind };
            let Response::AlarmChange(answer) = self.call(Request::AlarmChange(change)).await? else {
                return Err(Fail::odd());
            };
            cleared.header = answer.header;
            cleared.alarms.extend(answer.alarms);
        }
        self.out(&self.globals.printer.alarms(&cleared)?)
    }

    pub(super) async fn move_leader(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let words = words(matches);
        let [target] = words.as_slice() else {
            return Err(Fail::args("move-leader command needs 1 argument"));
        };
        let target = parse_hex_id(&text(target)).map(MemberId).map_err(Fail::args)?;
        // Only the leader gives its leadership away.
        let mut leader = None;
        for endpoint in self.globals.endpoints.clone() {
            let client = self.client_of(&endpoint)?;
            match client.call_within(Request::Status, self.globals.command_timeout).await {
                Ok(Response::Status(status)) if status.leader == status.header.member_id => {
                    leader = Some((client, status.leader));
                    break;
                }
                Ok(_) => {}
                Err(error) => return Err(Fail::new(code::ERROR, error_text(&error.error))),
            }
        }
        let Some((client, from)) = leader else {
            let endpoints = self.globals.endpoints.join(" ");
            return Err(Fail::args(format!("no leader endpoint given at [{endpoints}]")));
        };
        match client.call_within(Request::MoveLeader(target), self.globals.command_timeout).await {
            Ok(Response::MoveLeader(header)) => {
                self.out(&self.globals.printer.move_leader(from, target, &header)?)
            }
            Ok(_) => Err(Fail::odd()),
            Err(error) => Err(Fail::new(code::ERROR, error_text(&error.error))),
        }
    }

    pub(super) async fn lease_grant(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let words = words(matches);
        let [ttl] = words.as_slice() else {
            return Err(Fail::args("lease grant command needs TTL argument"));
        };
        let ttl_seconds =
            parse_int(&text(ttl), 10).map_err(|error| Fail::args(format!("bad TTL ({error})")))?;
        let request = Request::LeaseGrant(LeaseGrantRequest { id: LeaseId::NONE, ttl_seconds });
        let answer = self.call(request).await.map_err(|fail| fail.wrap("failed to grant lease"))?;
        let Response::LeaseGrant(answer) = answer else { return Err(Fail::odd()) };
        self.out(&self.globals.printer.grant(&answer)?)
    }

    pub(super) async fn lease_revoke(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let id = lease_id(matches, "lease revoke command needs 1 argument")?;
        let answer = self.call(Request::LeaseRevoke(id)).await;
        let answer = answer.map_err(|fail| fail.wrap("failed to revoke lease"))?;
        self.out(&self.globals.printer.revoke(id, answer.header())?)
    }

    pub(super) async fn lease_timetolive(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let id = lease_id(matches, "lease timetolive command needs lease ID as argument")?;
        let keys = matches.get_flag("keys");
        let answer = self.call(Request::LeaseTimeToLive(LeaseTimeToLiveRequest { id, keys })).await;
        let Response::LeaseTimeToLive(answer) = answer.map_err(|fail| fail.code(code::BAD_CONNECTION))?
        else {
            return Err(Fail::odd());
        };
        self.out(&self.globals.printer.time_to_live(&answer, keys)?)
    }

    pub(super) async fn lease_list(&mut self) -> Result<(), Fail> {
        let answer = self.call(Request::LeaseLeases).await;
        let Response::LeaseLeases(answer) = answer.map_err(|fail| fail.code(code::BAD_CONNECTION))? else {
            return Err(Fail::odd());
        };
        self.out(&self.globals.printer.leases(&answer)?)
    }

    pub(super) async fn lease_keep_alive(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let id = lease_id(matches, "lease keep-alive command needs lease ID as argument")?;
        let printer = self.globals.printer;
        if matches.get_flag("once") {
            let answer = self.call(Request::LeaseKeepAlive(id)).await;
            let Response::LeaseKeepAlive(answer) = answer.map_err(|fail| fail.code(code::BAD_CONNECTION))?
            else {
                return Err(Fail::odd());
            };
            if answer.ttl_seconds <= 0 {
                return Err(Fail::new(code::BAD_CONNECTION, Error::LeaseNotFound.to_string()));
            }
            return self.out(&printer.keep_alive(&answer)?);
        }
        let client = self.client()?;
        let world = self.world.clone();
        let (answers, mut print) = futures::channel::mpsc::unbounded();
        let keeping = keep_alive(&world, &client, id, move |answer| {
            if answer.ttl_seconds > 0 {
                let _ = answers.unbounded_send(answer.clone());
            }
        });
        let printing = async {
            while let Some(answer) = print.next().await {
                self.out(&printer.keep_alive(&answer)?)?;
            }
            Ok(())
        };
        // Printing ends with the sender, which ends with the keeping.
        let (_ended, printed) = futures::future::join(keeping, printing).await;
        printed?;
        if printer.format == super::print::Format::Simple {
            self.out(format!("lease {:016x} expired or revoked.\n", id.0).as_bytes())?;
        }
        Ok(())
    }
}
