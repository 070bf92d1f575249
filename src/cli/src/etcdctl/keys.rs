//! get, put, del, compaction: what their words and flags mean. The first three stand in transactions too.

use super::args::{number, text, value, words};
use super::go::{parse_int, quote};
use super::print::Format;
use super::{Fail, Session, code};
use bytes::Bytes;
use clap::ArgMatches;
use seatrial_types::request::{
    CompactRequest, DeleteRangeRequest, PutRequest, RangeRequest, SortOrder, SortTarget,
};
use seatrial_types::{KeyRange, LeaseId, Request, Response, Revision};

/// Where a value comes from that is not on the command line.
pub(super) type Input<'a> = &'a mut dyn FnMut() -> Vec<u8>;

fn key_range(matches: &ArgMatches, words: &[Vec<u8>]) -> Result<KeyRange, Fail> {
    let (prefix, from_key) = (matches.get_flag("prefix"), matches.get_flag("from-key"));
    if prefix && from_key {
        return Err(Fail::args("`--prefix` and `--from-key` cannot be set at the same time, choose one"));
    }
    if words.len() > 1 && (prefix || from_key) {
        return Err(Fail::args(
            "too many arguments, only accept one argument when `--prefix` or `--from-key` is set",
        ));
    }
    let key = Bytes::from(words[0].clone());
    if prefix {
        return Ok(KeyRange::prefix(key));
    }
    if from_key {
        let key = if key.is_empty() { Bytes::from_static(b"\0") } else { key };
        return Ok(KeyRange { key, end: Bytes::from_static(b"\0") });
    }
    Ok(KeyRange { key, end: words.get(1).cloned().unwrap_or_default().into() })
}

pub(super) fn get_request(matches: &ArgMatches) -> Result<RangeRequest, Fail> {
    let words = words(matches);
    let (limit, revision) = (number(matches, "limit")?, number(matches, "rev")?);
    if words.is_empty() {
        return Err(Fail::args(
            "get command needs one argument as key and an optional argument as range_end",
        ));
    }
    let serializable = match value(matches, "consistency") {
        "s" => true,
        "l" => false,
        other => {
            let text = format!("unknown consistency flag {}", quote(other.as_bytes()));
            return Err(Fail::new(code::BAD_FEATURE, text));
        }
    };
    let range = key_range(matches, &words)?;
    let order = value(matches, "order");
    let mut sort_order = match order.to_uppercase().as_str() {
        "ASCEND" => SortOrder::Ascend,
        "DESCEND" => SortOrder::Descend,
        "" => SortOrder::None,
        _ => return Err(Fail::new(code::BAD_FEATURE, format!("bad sort order {order}"))),
    };
    let target = value(matches, "sort-by");
    let sort_target = match target.to_uppercase().as_str() {
        "CREATE" => SortTarget::Create,
        "KEY" | "" => SortTarget::Key,
        "MODIFY" => SortTarget::Mod,
        "VALUE" => SortTarget::Value,
        "VERSION" => SortTarget::Version,
        _ => return Err(Fail::new(code::BAD_FEATURE, format!("bad sort target {target}"))),
    };
    if sort_target == SortTarget::Key && sort_order == SortOrder::Ascend {
        // That is the natural order; asking for it would cost the server its limit.
        sort_order = SortOrder::None;
    }
    Ok(RangeRequest {
        range,
        limit,
        revision: Revision(revision.max(0)),
        sort_order,
        sort_target,
        serializable,
        keys_only: matches.get_flag("keys-only"),
        count_only: matches.get_flag("count-only"),
        ..RangeRequest::default()
    })
}

pub(super) fn put_request(matches: &ArgMatches, input: Input<'_>) -> Result<PutRequest, Fail> {
    const NEEDS: &str = "put command needs 1 argument and input from stdin or 2 arguments";
    let words = words(matches);
    let Some(key) = words.first() else { return Err(Fail::args(NEEDS)) };
    let ignore_value = matches.get_flag("ignore-value");
    if ignore_value && words.len() > 1 {
        return Err(Fail::args("put command needs only 1 argument when 'ignore-value' is set"));
    }
    let value_given = match words.get(1) {
        _ if ignore_value => Vec::new(),
        Some(value) => value.clone(),
        None => Some(input()).filter(|value| !value.is_empty()).ok_or_else(|| Fail::args(NEEDS))?,
    };
    let lease = parse_int(value(matches, "lease"), 16)
        .map_err(|error| Fail::args(format!("bad lease ID ({error}), expecting ID in Hex")))?;
    Ok(PutRequest {
        key: key.clone().into(),
        value: value_given.into(),
        lease: LeaseId(lease),
        prev_kv: matches.get_flag("prev-kv"),
        ignore_value,
        ignore_lease: matches.get_flag("ignore-lease"),
    })
}

pub(super) fn del_request(matches: &ArgMatches) -> Result<DeleteRangeRequest, Fail> {
    let words = words(matches);
    if words.is_empty() || words.len() > 2 {
        return Err(Fail::args(
            "del command needs one argument as key and an optional argument as range_end",
        ));
    }
    Ok(DeleteRangeRequest { range: key_range(matches, &words)?, prev_kv: matches.get_flag("prev-kv") })
}

impl Session<'_> {
    pub(super) async fn get(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let request = get_request(matches)?;
        let count_only = request.count_only;
        if count_only && self.globals.printer.format != Format::Fields {
            return Err(Fail::args("--count-only is only for `--write-out=fields`"));
        }
        let Response::Range(answer) = self.call(Request::Range(request)).await? else {
            return Err(Fail::odd());
        };
        let mut printer = self.globals.printer;
        if matches.get_flag("print-value-only") {
            if printer.format != Format::Simple {
                return Err(Fail::args("print-value-only is only for `--write-out=simple`"));
            }
            printer.value_only = true;
        }
        self.out(&printer.get(&answer)?)
    }

    pub(super) async fn put(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let request = put_request(matches, &mut || self.read_all())?;
        let Response::Put(answer) = self.call(Request::Put(request)).await? else { return Err(Fail::odd()) };
        self.out(&self.globals.printer.put(&answer)?)
    }

    pub(super) async fn del(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let request = del_request(matches)?;
        let Response::DeleteRange(answer) = self.call(Request::DeleteRange(request)).await? else {
            return Err(Fail::odd());
        };
        self.out(&self.globals.printer.del(&answer)?)
    }

    pub(super) async fn compaction(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let words = words(matches);
        let [revision] = words.as_slice() else {
            return Err(Fail::args("compaction command needs 1 argument"));
        };
        let revision = parse_int(&text(revision), 10).map_err(|error| Fail::new(code::ERROR, error))?;
        let physical = matches.get_flag("physical");
        self.call(Request::Compact(CompactRequest { revision: Revision(revision), physical })).await?;
        self.out(format!("compacted revision {revision}\n").as_bytes())
    }
}
