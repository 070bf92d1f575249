//! member add, list, promote, remove, update.

use super::args::{text, words};
use super::go::{parse_hex_id, quote};
use super::print::Format;
use super::{Fail, Session, code};
use clap::ArgMatches;
use seatrial_types::request::{MemberAddRequest, MemberUpdateRequest};
use seatrial_types::{MemberId, Request, Response};

/// `--peer-urls`, checked as far as the client does.
fn peer_urls(matches: &ArgMatches) -> Result<Vec<String>, Fail> {
    let given = matches.get_one::<String>("peer-urls").map_or("", String::as_str);
    if given.is_empty() {
        return Err(Fail::args("member peer urls not provided"));
    }
    let mut urls = Vec::new();
    for url in given.split(',') {
        let known = ["http://", "https://", "unix://", "unixs://"];
        if !known.iter().any(|scheme| url.starts_with(scheme)) {
            let why = format!("URL scheme must be http, https, unix, or unixs: {url}");
            return Err(Fail::new(code::ERROR, why));
        }
        urls.push(url.to_owned());
    }
    Ok(urls)
}

fn member_id(matches: &ArgMatches) -> Result<MemberId, Fail> {
    let words = words(matches);
    let [id] = words.as_slice() else { return Err(Fail::args("member ID is not provided")) };
    parse_hex_id(&text(id))
        .map(MemberId)
        .map_err(|error| Fail::args(format!("bad member ID arg ({error}), expecting ID in Hex")))
}

impl Session<'_> {
    pub(super) async fn member_list(&mut self) -> Result<(), Fail> {
        let Response::MemberList(answer) = self.call(Request::MemberList { linearizable: true }).await?
        else {
            return Err(Fail::odd());
        };
        self.out(&self.globals.printer.members(&answer)?)
    }

    pub(super) async fn member_add(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let words = words(matches);
        let name = match words.as_slice() {
            [] => return Err(Fail::args("member name not provided")),
            [name] => text(name),
            _ => return Err(Fail::args("too many arguments")),
        };
        let peer_urls = peer_urls(matches)?;
        let request =
            MemberAddRequest { peer_urls: peer_urls.clone(), is_learner: matches.get_flag("learner") };
        let Response::MemberAdd(answer) = self.call(Request::MemberAdd(request)).await? else {
            return Err(Fail::odd());
        };
        self.out(&self.globals.printer.member_added(&answer)?)?;
        if self.globals.printer.format != Format::Simple {
            return Ok(());
        }
        // What the new member's machine needs to be told.
        let id = answer.member.id;
        let initial: Vec<String> = answer
            .members
            .iter()
            .flat_map(|member| {
                let name = if member.id == id { &name } else { &member.name };
                member.peer_urls.iter().map(move |url| format!("{name}={url}"))
            })
            .collect();
        let lines = format!(
            "\nETCD_NAME={}\nETCD_INITIAL_CLUSTER={}\nETCD_INITIAL_ADVERTISE_PEER_URLS={}\nETCD_INITIAL_CLUSTER_STATE=\"existing\"\n",
            quote(name.as_bytes()),
            quote(initial.join(",").as_bytes()),
            quote(peer_urls.join(",").as_bytes())
        );
        self.out(lines.as_bytes())
    }

    pub(super) async fn member_remove(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let id = member_id(matches)?;
        let Response::MemberRemove(answer) = self.call(Request::MemberRemove(id)).await? else {
            return Err(Fail::odd());
        };
        self.out(&self.globals.printer.member_changed(id, "removed from", &answer)?)
    }

    pub(super) async fn member_update(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let id = member_id(matches)?;
        let peer_urls = peer_urls(matches)?;
        let request = Request::MemberUpdate(MemberUpdateRequest { id, peer_urls });
        let Response::MemberUpdate(answer) = self.call(request).await? else {
            return Err(Fail::odd());
        };
        self.out(&self.globals.printer.member_changed(id, "updated in", &answer)?)
    }

    pub(super) async fn member_promote(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let id = member_id(matches)?;
        let Response::MemberPromote(answer) = self.call(Request::MemberPromote(id)).await? else {
            return Err(Fail::odd());
        };
        self.out(&self.globals.printer.member_changed(id, "promoted in", &answer)?)
    }
}
